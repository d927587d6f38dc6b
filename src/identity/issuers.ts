// Which issuers are trusted, for what, and with which pins. Set by an administrator in issuers.yaml and nowhere else:
// nothing in a token can add an issuer, a key address or an algorithm.
import { z } from 'zod'
import { type Duration, duration, parseDuration } from '../domain/instant.ts'
import { type Compiled, type Problem, type ReadFile, readConfig } from './config-file.ts'
import { type Algorithm, algorithmField, claimName, freezeDeep, lineField, nameField, unique } from './fields.ts'
import { type KeySet, parseKeySet } from './keys.ts'

/** Where the keys come from. */
export type KeySource =
  | { readonly from: 'discovery' }
  | { readonly from: 'address'; readonly url: string }
  | { readonly from: 'file'; readonly keys: KeySet }

export interface Issuer {
  /** The short name that people.yaml and clients.yaml use. */
  readonly name: string
  /** Compared with `iss` exactly. */
  readonly url: string
  /** The only `aud`; undefined means the broker's own public URL. */
  readonly audience: string | undefined
  readonly algorithms: readonly Algorithm[]
  /** Accepted `typ` header values, exactly; `absent` stands for a token without one. */
  readonly types: readonly string[]
  /** Header members that this issuer writes and that are not looked at. */
  readonly ignoredHeaders: readonly string[]
  readonly keys: KeySource
  /** Since `iat`. */
  readonly maximalAge: Duration
  /** From `iat` to `exp`. */
  readonly maximalLife: Duration
  readonly clockTolerance: Duration
  /** The claim that names an agent's or workload's session or run, where the client's own entry names none. */
  readonly session: string | undefined
  /** Claims that become facts of an agent or workload. */
  readonly facts: readonly string[]
  /** How persons log in here with the command line: its public client, and the scope it asks for. At most one issuer has it. */
  readonly cli: { readonly clientId: string; readonly scope: string } | undefined
}

const span = (least: string, most: string) => {
  const bounds = [parseDuration(least) ?? duration(0), parseDuration(most) ?? duration(0)] as const
  return z
    .string({ error: 'a time span such as 10m is needed' })
    .refine((text) => {
      const given = parseDuration(text)
      return given !== undefined && given >= bounds[0] && given <= bounds[1]
    }, `a time span from ${least} to ${most} is needed`)
    .meta({ description: `A time span from ${least} to ${most}, such as 90s or 10m.` })
}

const url = z
  .string({ error: 'a URL is needed' })
  .max(500)
  .refine(isPlainUrl, 'an http or https URL without user, query and fragment is needed, in its normal form')

function isPlainUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const parsed = new URL(text)
  const plain = parsed.username === '' && parsed.password === '' && parsed.search === '' && parsed.hash === ''
  // The normal form keeps what is compared exactly from having a second spelling. A bare origin may leave out its slash.
  return plain && /^https?:$/.test(parsed.protocol) && (parsed.href === text || parsed.href === `${text}/`)
}

const IssuerEntry = z
  .strictObject({
    url: url.describe('The issuer, exactly as it stands in `iss`.'),
    audience: lineField.optional().describe('The only `aud` that is accepted. Default: the public URL of the broker.'),
    algorithms: unique(algorithmField)
      .min(1, 'at least one algorithm is needed')
      .default(['ES256', 'RS256', 'PS256', 'EdDSA'])
      .describe('Signature algorithms that this issuer uses. Name as few as possible.'),
    types: unique(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.+/-]{0,63}$/, 'this is not a token type'))
      .min(1, 'at least one type is needed')
      .describe('Accepted `typ` headers, exactly. `absent` stands for a token without one.'),
    ignoredHeaders: unique(z.enum(['x5t', 'x5t#S256', 'cty'], { error: 'only x5t, x5t#S256 and cty can be ignored' }))
      .default([])
      .describe('Harmless header members that this issuer writes. Without this a token that has one is refused.'),
    discovery: z
      .literal(true, { error: 'write true, or leave it out' })
      .optional()
      .describe('Find the keys by OpenID Connect Discovery.'),
    jwksUri: url.optional().describe('Where the keys are. Stronger than discovery.'),
    jwksFile: lineField
      .optional()
      .describe('A file with the keys. Stronger than both; for issuers in private networks.'),
    maximalAge: span('1s', '1d').default('15m').describe('How old a token may be.'),
    maximalLife: span('1s', '1d').default('1h').describe('The longest span between `iat` and `exp`.'),
    clockTolerance: span('0s', '5s').default('5s').describe('How far the clocks may be apart.'),
    session: claimName.optional().describe('The claim that names the session of an agent or workload.'),
    facts: unique(claimName).max(20).default([]).describe('Claims that become facts of an agent or workload.'),
    cli: z
      .strictObject({
        clientId: lineField.max(200).describe('Its public client: code with PKCE, redirect http://127.0.0.1/callback.'),
        scope: lineField.max(500).default('openid').describe('What it asks for; offline_access where it may refresh.'),
      })
      .optional()
      .describe('Persons log in here with the command line. At most one issuer has this.'),
  })
  .refine((entry) => [entry.discovery, entry.jwksUri, entry.jwksFile].filter((one) => one !== undefined).length === 1, {
    error: 'exactly one of discovery, jwksUri and jwksFile is needed',
  })

export const IssuersFile = z.strictObject({
  issuers: z
    .record(nameField, IssuerEntry, { error: 'issuers by name are needed' })
    .refine((entries) => Object.keys(entries).length > 0, 'at least one issuer is needed'),
})

/** The JSON Schema for editors. */
export const issuersSchema = (): object => z.toJSONSchema(IssuersFile, { io: 'input', unrepresentable: 'any' })

/**
 * Compiles issuers.yaml, or says everything that is wrong with it. `file` is for messages; `readFile` reads a `jwksFile`.
 * Only with `dev` may a URL be plain http.
 */
export function compileIssuers(
  text: string,
  file: string,
  readFile: ReadFile,
  { dev = false }: { readonly dev?: boolean } = {},
): Compiled<readonly Issuer[]> {
  const { value, problems, line } = readConfig(text, file, IssuersFile)
  if (value === undefined) return { ok: false, problems }
  const found: Problem[] = []
  const byUrl = new Map<string, string>()
  const issuers = Object.entries(value.issuers).map(([name, entry]): Issuer => {
    const report = (member: string, message: string): void => {
      found.push({ file, line: line(['issuers', name, member]), message: `issuers.${name}.${member}: ${message}` })
    }
    const other = byUrl.get(entry.url)
    if (other !== undefined) report('url', `this is the URL of issuer '${other}' too`)
    byUrl.set(entry.url, name)
    for (const member of ['url', 'jwksUri'] as const)
      if (!dev && entry[member]?.startsWith('http:')) report(member, 'https is needed outside development')
    const first = Object.keys(value.issuers).find((one) => value.issuers[one]?.cli !== undefined)
    if (entry.cli !== undefined && first !== name) report('cli', `the command line logs in at '${first}' already`)
    return {
      name,
      url: entry.url,
      audience: entry.audience,
      algorithms: entry.algorithms,
      types: entry.types,
      ignoredHeaders: entry.ignoredHeaders,
      keys: keySource(entry, readFile, report),
      maximalAge: parseDuration(entry.maximalAge) ?? duration(0),
      maximalLife: parseDuration(entry.maximalLife) ?? duration(0),
      clockTolerance: parseDuration(entry.clockTolerance) ?? duration(0),
      session: entry.session,
      facts: entry.facts,
      cli: entry.cli,
    }
  })
  if (found.length > 0) return { ok: false, problems: found }
  return { ok: true, value: freezeDeep(issuers), warnings: [] }
}

function keySource(
  entry: z.output<typeof IssuerEntry>,
  readFile: ReadFile,
  report: (member: string, message: string) => void,
): KeySource {
  if (entry.jwksUri !== undefined) return { from: 'address', url: entry.jwksUri }
  if (entry.jwksFile === undefined) return { from: 'discovery' }
  try {
    return { from: 'file', keys: parseKeySet(readFile(entry.jwksFile)) }
  } catch (thrown) {
    report('jwksFile', `cannot be used (${thrown instanceof Error ? thrown.message : 'unknown'})`)
    return { from: 'discovery' }
  }
}

/** What the command line must know to log a person in; undefined where no issuer is meant for it. */
export function loginFor(issuers: readonly Issuer[], publicUrl: string) {
  const issuer = issuers.find(({ cli }) => cli !== undefined)
  if (issuer?.cli === undefined) return undefined
  return { issuer: issuer.url, ...issuer.cli, resource: issuer.audience ?? publicUrl }
}
