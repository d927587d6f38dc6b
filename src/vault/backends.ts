// backends.yaml: where the Vaults are, how the broker logs in there, and how it asks the databases behind them. Unknown keys are errors,
// and every problem is told at once, with its line. It holds paths of secrets, never a secret; those files are read when they are used.
import { dirname, resolve } from 'node:path'
import { isAlias, LineCounter, parseDocument, visit } from 'yaml'
import { z } from 'zod'
import { isMount, isSegment } from './names.ts'
import type { ProbeSettings } from './postgres-connections.ts'

export interface VaultBackend {
  readonly kind: 'vault'
  /** No trailing slash. */
  readonly address: string
  /** PEM; undefined for the authorities of the system. */
  readonly ca: string | undefined
  readonly namespace: string | undefined
  readonly appRoleMount: string
  readonly roleIdFile: string
  readonly secretIdFile: string
  readonly tokenRole: string
  /** Of one HTTP call. */
  readonly callTimeoutMs: number
  /** Of `open`, `keep` and `issue`, waiting for a slot included. */
  readonly issueTimeoutMs: number
  /** Of `close` and of `confirmGone`, waiting for a slot included: together below the 30 s for which a grant that ends is leased. */
  readonly endTimeoutMs: number
  readonly issueConcurrency: number
  readonly issueQueue: number
  readonly endConcurrency: number
  readonly endQueue: number
  readonly probes: ReadonlyMap<string, ProbeSettings>
  /** The second login, which lists what is there; undefined where nothing is looked through. */
  readonly inventory: { readonly roleIdFile: string; readonly secretIdFile: string } | undefined
}
export type Backends = ReadonlyMap<string, VaultBackend>

export interface BackendsProblem {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly message: string
}
export type CompiledBackends =
  | { readonly ok: true; readonly value: Backends; readonly warnings: readonly BackendsProblem[] }
  | { readonly ok: false; readonly problems: readonly BackendsProblem[] }

export interface BackendsOptions {
  /** Of the file, for messages; relative paths inside it start from its folder. */
  readonly file: string
  /** Allows http:// to other machines. Never in production: tokens and passwords would travel in the clear. */
  readonly plainHttp: boolean
  /** Reads a `caFile`; throws when it cannot. */
  readonly readFile: (path: string) => string
}

const word = z
  .string()
  .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'write lower case words joined by "-"')
  .max(32)
const path = z.string().min(1).max(1_024)
const milliseconds = (least: number, most: number, otherwise: number) =>
  z.int().min(least).max(most).default(otherwise).describe(`Milliseconds, ${least} to ${most}; default ${otherwise}.`)
const count = (most: number, otherwise: number) => z.int().min(1).max(most).default(otherwise)

const probe = z.strictObject({
  host: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, 'write a host name or an address'),
  port: z.int().min(1).max(65_535).default(5_432),
  database: z.string().min(1).max(63).describe('Any database of the server: logins and sessions are seen from each.'),
  user: z.string().min(1).max(63).describe('A login with pg_monitor and pg_signal_backend, and nothing else.'),
  passwordFile: path,
  tls: z.strictObject({ caFile: path.optional() }).optional().describe('Absent: no TLS; only for this machine.'),
  timeoutMs: milliseconds(500, 10_000, 4_000),
})

const backend = z.strictObject({
  kind: z.literal('vault'),
  address: z.url({ protocol: /^https?$/, error: 'write https://host:port' }).refine(
    (text) => {
      const { pathname, search, hash, username, password } = new URL(text)
      return pathname === '/' && search + hash + username + password === ''
    },
    { error: 'write scheme, host and port only', abort: true },
  ),
  caFile: path.optional().describe('PEM of the authority that signed its certificate; absent: those of the system.'),
  namespace: z.string().refine(isMount, 'write words joined by "/"').optional(),
  appRoleMount: z.string().refine(isMount, 'write words joined by "/"').default('approle'),
  roleIdFile: path,
  secretIdFile: path,
  tokenRole: z.string().refine(isSegment, 'write one word').default('writ'),
  callTimeoutMs: milliseconds(500, 10_000, 5_000),
  issueTimeoutMs: milliseconds(1_000, 15_000, 10_000),
  endTimeoutMs: milliseconds(1_000, 14_000, 12_000),
  issueConcurrency: count(64, 4),
  issueQueue: count(10_000, 200),
  endConcurrency: count(64, 8),
  endQueue: count(10_000, 1_000),
  inventory: z
    .strictObject({ roleIdFile: path, secretIdFile: path })
    .optional()
    .describe('The AppRole that lists what Writ may have left behind; absent: nothing looks for orphans.'),
  probes: z.record(z.string().refine(isSegment, 'name a connection of the database engine'), probe),
})

/** The file's shape, also for the JSON Schema that editors use. */
export const backendsFile = z.strictObject({ backends: z.record(word, backend) })
type BackendText = z.output<typeof backend>

/** Compiles backends.yaml, or says everything that is wrong with it. */
export function compileBackends(text: string, options: BackendsOptions): CompiledBackends {
  const { file } = options
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    strict: true,
    version: '1.2',
    schema: 'core',
  })
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line)
  const lineOf = (members: readonly PropertyKey[]): number => {
    for (let length = members.length; length > 0; length -= 1) {
      const node = document.getIn(members.slice(0, length), true) as
        | { readonly range?: readonly number[] | null }
        | undefined
      if (node?.range) return lineAt(node.range[0] ?? 0)
    }
    return 1
  }
  const problems: BackendsProblem[] = [...document.errors, ...document.warnings].map((fault) => ({
    file,
    line: lineAt(fault.pos[0]),
    message: fault.code === 'DUPLICATE_KEY' ? 'the same key is here twice' : (fault.message.split('\n')[0] ?? ''),
  }))
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node) || node.anchor !== undefined || node.tag !== undefined)
        problems.push({
          file,
          line: lineAt(node.range?.[0] ?? 0),
          message: 'no anchors, aliases or tags: write the value out',
        })
    },
  })
  if (problems.length > 0) return { ok: false, problems }
  const parsed = backendsFile.safeParse(document.toJS({ maxAliasCount: 0 }))
  const say = (members: readonly PropertyKey[], message: string): void => {
    problems.push({ file, line: lineOf(members), message: `${members.map(String).join('.')}: ${message}` })
  }
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      if (issue.code === 'unrecognized_keys')
        for (const key of issue.keys) say([...issue.path, key], 'there is no such setting')
      else say(issue.path, issue.message)
    }
    return { ok: false, problems }
  }
  const compiled = Object.entries(parsed.data.backends).map(
    ([name, settings]) => [name, compiledBackend(name, settings, options, say)] as const,
  )
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: new Map(compiled), warnings: [] }
}

function compiledBackend(
  name: string,
  { caFile, namespace, probes, inventory, ...settings }: BackendText,
  options: BackendsOptions,
  say: (members: readonly PropertyKey[], message: string) => void,
): VaultBackend {
  const at = ['backends', name]
  const fromHere = (relative: string): string => resolve(dirname(options.file), relative)
  const pem = (members: readonly PropertyKey[], file: string | undefined): string | undefined => {
    if (file === undefined) return undefined
    try {
      return options.readFile(fromHere(file))
    } catch {
      say(members, 'this file cannot be read')
      return undefined
    }
  }
  const url = new URL(settings.address)
  if (url.protocol === 'http:' && !options.plainHttp && !isThisMachine(url.hostname))
    say([...at, 'address'], 'write https://: tokens and passwords travel over it')
  const compiledProbes = Object.entries(probes).map(([connection, { tls, ...rest }]) => {
    const here = [...at, 'probes', connection]
    if (tls === undefined && !options.plainHttp && !isThisMachine(rest.host))
      say(here, 'write tls: {} (or with a caFile): the password of the probe travels over it')
    return [
      connection,
      {
        ...rest,
        passwordFile: fromHere(rest.passwordFile),
        tls: tls === undefined ? undefined : { ca: pem([...here, 'tls', 'caFile'], tls.caFile) },
      },
    ] as const
  })
  return {
    ...settings,
    address: url.origin,
    ca: pem([...at, 'caFile'], caFile),
    namespace,
    roleIdFile: fromHere(settings.roleIdFile),
    secretIdFile: fromHere(settings.secretIdFile),
    probes: new Map(compiledProbes),
    inventory: inventory && {
      roleIdFile: fromHere(inventory.roleIdFile),
      secretIdFile: fromHere(inventory.secretIdFile),
    },
  }
}

const isThisMachine = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host)
