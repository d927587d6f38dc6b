// clients.yaml: workloads, told by the exact claims of their issuer, and resource servers, told by pinned keys.
// A workload is found by identifiers that nobody can take over; names that can be given away are refused as a criterion.
import { z } from 'zod'
import type { Account } from '../broker/ports.ts'
import { type Compiled, type Locate, type Problem, type ReadFile, readConfig } from './config-file.ts'
import {
  type Algorithm,
  activeField,
  algorithmField,
  claimName,
  freezeDeep,
  lineField,
  nameField,
  revisionField,
  standingAccessField,
  unique,
} from './fields.ts'
import { type KeySet, parseKeySet } from './keys.ts'

export interface WorkloadEntry {
  readonly id: string
  readonly tenant: string
  readonly groups: readonly string[]
  readonly sponsors: readonly string[]
  readonly issuer: string
  /** Claims that must be there with exactly this text. */
  readonly match: Readonly<Record<string, string>>
  /** Claims that must be there with none of these texts. */
  readonly not: Readonly<Record<string, readonly string[]>>
  /** Claims that must not be there at all. */
  readonly absent: readonly string[]
  /** The claim that names the run; a token without it is not of this workload. Undefined: as the issuer says. */
  readonly session: string | undefined
  /** Claims that become facts. Undefined: as the issuer says. */
  readonly facts: readonly string[] | undefined
  readonly active: boolean
  /** Targets that it reaches without Writ. */
  readonly standingAccess: readonly string[]
}

export interface ResourceServer {
  readonly id: string
  readonly tenant: string
  readonly audiences: readonly string[]
  readonly algorithms: readonly Algorithm[]
  readonly keys: KeySet
  /** What the `aud` of its client assertions is. */
  readonly assertionAudience: 'issuer' | 'token-endpoint'
  /** With an access token of this account it introspects without a signature of its own each time. */
  readonly account: Account | undefined
}

export interface Clients {
  readonly file: string
  readonly revision: number
  readonly workloads: readonly WorkloadEntry[]
  readonly resourceServers: readonly ResourceServer[]
  readonly line: Locate
}

/** Claims whose value can pass to somebody else: after a renaming or a deletion the next owner would be the workload. */
const TRANSFERABLE = [
  'repository',
  'repository_owner',
  'project_path',
  'namespace_path',
  'user_login',
  'user_email',
  'actor',
  'email',
  'preferred_username',
  'name',
]

const matchedClaim = claimName.refine((claim) => !TRANSFERABLE.includes(claim), {
  error: 'the value of this claim can pass to somebody else: use the id (repository_id, project_id, sub, ...)',
})

const WorkloadFields = z
  .strictObject({
    tenant: nameField,
    groups: unique(nameField).max(100).default([]),
    sponsors: unique(nameField).min(1, 'at least one sponsor is needed: somebody answers for it').max(20),
    issuer: nameField.describe('Short name of an issuer in issuers.yaml.'),
    match: z
      .record(matchedClaim, lineField, { error: 'claims and their exact values are needed' })
      .refine((claims) => Object.keys(claims).length > 0, 'at least one claim is needed')
      .describe('Claims that must be there with exactly this text.'),
    not: z
      .record(claimName, unique(lineField).min(1, 'at least one value is needed'), {
        error: 'claims and forbidden values are needed',
      })
      .default({})
      .describe('Claims that must be there with none of these texts.'),
    absent: unique(claimName).default([]).describe('Claims that must not be there at all.'),
    session: claimName.optional().describe('The claim that names the run. A token without it is not of this workload.'),
    facts: unique(claimName).max(20).optional().describe('Claims that become facts of the caller.'),
    active: activeField,
    standingAccess: standingAccessField,
  })
  .refine(
    (entry) => entry.absent.every((claim) => !Object.hasOwn(entry.match, claim) && !Object.hasOwn(entry.not, claim)),
    {
      error: 'a claim cannot be both absent and there',
      path: ['absent'],
    },
  )
  .refine((entry) => Object.entries(entry.not).every(([claim, values]) => !values.includes(entry.match[claim] ?? '')), {
    error: 'a claim cannot have a value and not have it',
    path: ['not'],
  })

const PublicJwk = z.record(z.string(), z.unknown()).describe('A public key as a JWK.')
const ServerFields = z
  .strictObject({
    tenant: nameField,
    audiences: unique(lineField)
      .min(1, 'at least one audience is needed')
      .max(20)
      .describe('The `aud` of the tokens that it accepts.'),
    jwks: z
      .strictObject({ keys: z.array(PublicJwk).min(1).max(20) })
      .optional()
      .describe('Its public keys.'),
    jwksFile: lineField.optional().describe('A file with its public keys.'),
    algorithms: unique(algorithmField)
      .min(1, 'at least one algorithm is needed')
      .describe('What it signs its client assertions with.'),
    account: z
      .strictObject({ issuer: nameField, subject: lineField })
      .optional()
      .describe('Its account at an issuer of issuers.yaml: with an access token of that, it may introspect too.'),
    assertionAudience: z
      .enum(['issuer', 'token-endpoint'], { error: 'issuer or token-endpoint' })
      .default('issuer')
      .describe('What the `aud` of its client assertions is: the URL of the broker, or of its token endpoint.'),
  })
  .refine((entry) => (entry.jwks === undefined) !== (entry.jwksFile === undefined), {
    error: 'exactly one of jwks and jwksFile is needed',
  })

export const ClientsFile = z.strictObject({
  revision: revisionField.describe('Raise it with every change: brokers with an older file issue nothing.'),
  workloads: z.record(nameField, WorkloadFields, { error: 'workloads by id are needed' }).default({}),
  resourceServers: z.record(nameField, ServerFields, { error: 'resource servers by id are needed' }).default({}),
})

/** The JSON Schema for editors. */
export const clientsSchema = (): object => z.toJSONSchema(ClientsFile, { io: 'input', unrepresentable: 'any' })

/** Compiles clients.yaml, or says everything that is wrong with it. `file` is for messages; `readFile` reads a `jwksFile`. */
export function compileClients(text: string, file: string, readFile: ReadFile): Compiled<Clients> {
  const { value, problems, line } = readConfig(text, file, ClientsFile)
  if (value === undefined) return { ok: false, problems }
  const found: Problem[] = []
  const report = (path: readonly PropertyKey[], message: string): void => {
    found.push({ file, line: line(path), message: `${path.join('.')}: ${message}` })
  }
  const workloads = Object.entries(value.workloads).map(
    ([id, entry]): WorkloadEntry => ({ id, ...entry, session: entry.session, facts: entry.facts }),
  )
  const resourceServers: ResourceServer[] = []
  const audiences = new Map<string, string>()
  for (const [id, entry] of Object.entries(value.resourceServers)) {
    if (Object.hasOwn(value.workloads, id)) report(['resourceServers', id], 'a workload has this id')
    for (const [n, audience] of entry.audiences.entries()) {
      const owner = audiences.get(audience)
      if (owner !== undefined)
        report(['resourceServers', id, 'audiences', n], `this audience belongs to '${owner}' already`)
      audiences.set(audience, id)
    }
    const { jwks, jwksFile, account, ...rest } = entry
    const member = jwksFile === undefined ? 'jwks' : 'jwksFile'
    try {
      const keys = parseKeySet(jwksFile === undefined ? JSON.stringify(jwks) : readFile(jwksFile))
      resourceServers.push({ id, ...rest, account, keys })
    } catch (thrown) {
      report(
        ['resourceServers', id, member],
        `cannot be used (${thrown instanceof Error ? thrown.message : 'unknown'})`,
      )
    }
  }
  if (found.length > 0) return { ok: false, problems: found }
  const warnings = overlaps(workloads).map(([one, other]) => ({
    file,
    line: line(['workloads', other.id]),
    message: `workloads.${other.id}: a token can match '${one.id}' too; such a token is nobody's and is refused`,
  }))
  return {
    ok: true,
    value: Object.freeze({ file, revision: value.revision, ...freezeDeep({ workloads, resourceServers }), line }),
    warnings,
  }
}

/** Pairs that no claim keeps apart. */
function overlaps(workloads: readonly WorkloadEntry[]): readonly (readonly [WorkloadEntry, WorkloadEntry])[] {
  return workloads.flatMap((one, n) =>
    workloads
      .slice(n + 1)
      .flatMap((other) => (areApart(one, other) || areApart(other, one) ? [] : [[one, other] as const])),
  )
}

function areApart(one: WorkloadEntry, other: WorkloadEntry): boolean {
  if (one.issuer !== other.issuer) return true
  const mustBeThere = [
    ...Object.keys(one.match),
    ...Object.keys(one.not),
    ...(one.session === undefined ? [] : [one.session]),
  ]
  if (mustBeThere.some((claim) => other.absent.includes(claim))) return true
  return Object.entries(one.match).some(([claim, value]) => {
    const rival = other.match[claim]
    return (rival !== undefined && rival !== value) || (other.not[claim]?.includes(value) ?? false)
  })
}

/** Whether these verified claims are of this workload. Exact texts only: a number, a list or another spelling never matches. */
export function isOf(workload: WorkloadEntry, claims: Readonly<Record<string, unknown>>): boolean {
  const text = (claim: string): string | undefined => {
    const value = Object.hasOwn(claims, claim) ? claims[claim] : undefined
    return typeof value === 'string' ? value : undefined
  }
  return (
    Object.entries(workload.match).every(([claim, value]) => text(claim) === value) &&
    Object.entries(workload.not).every(
      ([claim, values]) => text(claim) !== undefined && !values.includes(text(claim) ?? ''),
    ) &&
    workload.absent.every((claim) => !Object.hasOwn(claims, claim)) &&
    (workload.session === undefined || (text(workload.session) ?? '') !== '')
  )
}
