// The stored form of a grant, and the only place that knows it. Every record names its version; a version or a member that this
// broker does not know is refused, never guessed at. A member whose value is undefined is absent in the text and back after reading.
import { z } from 'zod'
import type { CredentialRule } from '../domain/entitlement.ts'
import { EVENT_TYPES, type GrantEvent } from '../domain/events.ts'
import type { Ask, Decision, Grant, Head } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Mint } from '../domain/mint.ts'
import { TIERS } from '../domain/tier.ts'

const text = z.string()
/** A name whose text was checked when it came in, before it was stored. */
const name = <T extends string>() => text as unknown as z.ZodType<T>
const at = z.int().nonnegative() as unknown as z.ZodType<Instant>
const count = z.int().nonnegative()
/** Absent in the text, a member with the value undefined in the domain. */
const maybe = <T extends z.ZodType>(schema: T) =>
  schema.optional().default(undefined as never) as unknown as z.ZodType<z.output<T> | undefined>

const record = z.strictObject
const window = record({ opensAt: at, closesAt: at })

const intent: z.ZodType<Intent> = record({
  tenant: name<Intent['tenant']>(),
  entitlement: name<Intent['entitlement']>(),
  requester: name<Intent['requester']>(),
  executor: record({
    principal: name<Intent['executor']['principal']>(),
    key: maybe(name<NonNullable<Intent['executor']['key']>>()),
  }),
  task: text,
  session: text,
  target: text,
  environment: text,
  actions: z.array(text),
  scope: z.array(text),
  dataTypes: z.array(text),
  destination: text,
  changeClass: z.enum(['standard', 'normal', 'emergency']),
  impact: record({
    dataFlow: z.boolean(),
    privilegedAccess: z.boolean(),
    resilience: z.boolean(),
    externalTransfer: z.boolean(),
  }),
  plan: maybe(record({ digest: name<Ask['digest']>(), mediaType: text })),
  ticket: maybe(record({ system: text, id: text })),
  window,
  credential: record({ kind: z.enum(['jwt', 'vault']), uses: count }),
})

const span = z.int().nonnegative() as unknown as z.ZodType<Extract<CredentialRule, { kind: 'jwt' }>['maxLife']>
const credential: z.ZodType<CredentialRule> = z.discriminatedUnion('kind', [
  record({ kind: z.literal('jwt'), sender: z.enum(['dpop', 'bearer']), maxLife: span, verifierCache: span }),
  record({
    kind: z.literal('vault'),
    backend: text,
    engine: z.literal('database'),
    database: record({ mount: text, connection: text, grantedRole: text, ownerRole: text }),
    revocability: z.enum(['at_once', 'expiry']),
  }),
])

const rule: z.ZodType<Ask['rule']> = z.discriminatedUnion('mode', [
  record({ mode: z.literal('auto') }),
  record({
    mode: z.literal('people'),
    owners: z.array(name<Extract<Ask['rule'], { mode: 'people' }>['owners'][number]>()),
    reviewers: z.array(
      record({ group: name<Extract<Ask['rule'], { mode: 'people' }>['reviewers'][number]['group']>(), count }),
    ),
    approvals: count,
  }),
])

const asked1 = {
  id: name<GrantId>(),
  intent,
  texts: record({ summary: text, expectedOutcome: text, rollback: text, ticketUrl: text, planUri: text }),
  digest: name<Ask['digest']>(),
  textsDigest: name<Ask['digest']>(),
  requesterTenant: name<Ask['requesterTenant']>(),
  tier: z.enum(TIERS),
  rule,
  credential,
  audience: text,
  filedAt: at,
  decideBy: at,
  policy: record({ revision: count, digest: name<Ask['digest']>() }),
  reasons: z.array(text),
}
const ask1 = record({ v: z.literal(1), ...asked1 })
const asked2 = {
  ...asked1,
  asked: text,
  replaces: maybe(name<GrantId>()),
  linked: z.array(name<GrantId>()),
}
const ask2 = record({ v: z.literal(2), ...asked2 })
const ask3: z.ZodType<Ask> = record({ v: z.literal(3), ...asked2, askers: z.array(name<Ask['askers'][number]>()) })
/** What the first version could not say: nothing was asked under a key, replaced or linked then. */
const from1 = (stored: z.infer<typeof ask1>): Ask =>
  from2({ ...stored, v: 2, asked: '', replaces: undefined, linked: [] })
/** Nor the second: what is asked by nobody counts with nobody. */
const from2 = (stored: z.infer<typeof ask2>): Ask => ({ ...stored, v: 3, askers: [] })

const decision1: z.ZodType<Decision> = record({
  v: z.literal(1),
  by: name<Decision['by']>(),
  verdict: z.enum(['approve', 'deny']),
  reason: text,
  at,
  digest: name<Ask['digest']>(),
  textsDigest: name<Ask['digest']>(),
  policyDigest: name<Ask['digest']>(),
  peopleDigest: name<Ask['digest']>(),
  signature: text,
})

const confirmation = record({ asked: z.enum(['nothing', 'introspection', 'backend']), answer: text, at })
const lease = record({ id: text, durationSeconds: count })
const made = { n: count, attempt: name<Mint['attempt']>(), key: maybe(name<NonNullable<Mint['key']>>()), claimedAt: at }
const live = { ...made, status: z.literal('live'), issuedAt: at, expiresAt: at, fingerprint: text }
const mint: z.ZodType<Mint> = z.discriminatedUnion('status', [
  record({ ...made, status: z.literal('claimed'), deadline: at }),
  record({ ...made, status: z.literal('opened'), deadline: at, accessor: text }),
  z.discriminatedUnion('kind', [
    record({ ...live, kind: z.literal('jwt'), jti: text }),
    record({ ...live, kind: z.literal('vault'), accessor: text, lease }),
  ]),
  record({
    ...made,
    status: z.literal('closing'),
    deadline: at,
    accessor: maybe(text),
    lease: maybe(lease),
    handedOut: z.boolean(),
    makerUntil: maybe(at),
  }),
  record({
    ...made,
    status: z.literal('closed'),
    closedAt: at,
    released: z.boolean(),
    expiresAt: maybe(at),
    confirmation,
  }),
])

const cause = record({
  outcome: z.enum(['completed', 'expired', 'revoked', 'failed']),
  by: name<Extract<Head, { status: 'ending' }>['facts']['cause']['by']>(),
  reason: text,
})
const result = maybe(z.record(text, text))
const ending = { cause, since: at, attempts: count, retryAt: at, lastError: text }
const headOf = <S extends string, F extends z.ZodType>(status: S, facts: F) =>
  record({ v: z.literal(1), status: z.literal(status), facts, mints: z.array(mint), result })
const head1: z.ZodType<Head> = z.discriminatedUnion('status', [
  headOf('pending', record({})),
  headOf('approved', record({ approvedAt: at })),
  headOf('issuing', record({ approvedAt: at })),
  headOf('active', record({ approvedAt: at, activeSince: at })),
  headOf('ending', record(ending)),
  headOf('stuck', record({ ...ending, stuckSince: at })),
  headOf('denied', record({ at, by: name<Decision['by']>(), reason: text })),
  headOf('withdrawn', record({ at, by: name<Intent['requester']>(), reason: text })),
  headOf('lapsed', record({ at, reason: text })),
  headOf('ended', record({ outcome: cause.shape.outcome, cause, endedAt: at, confirmation, residueUntil: at, result })),
])

const event1: z.ZodType<GrantEvent> = record({
  v: z.literal(1),
  type: z.enum(EVENT_TYPES),
  grant: name<GrantId>(),
  at,
  by: text,
  digest: name<Ask['digest']>(),
  policyDigest: name<Ask['digest']>(),
  details: z.record(text, z.union([text, z.number(), z.boolean(), z.array(text)])),
})

/** Every version that may lie in Redis, and how it becomes what the domain has today. A new version adds a row; none is taken away. */
const READERS = {
  ask: new Map<unknown, (stored: unknown) => Ask>([
    [1, (stored) => from1(ask1.parse(stored))],
    [2, (stored) => from2(ask2.parse(stored))],
    [3, (stored) => ask3.parse(stored)],
  ]),
  decision: new Map<unknown, (stored: unknown) => Decision>([[1, (stored) => decision1.parse(stored)]]),
  head: new Map<unknown, (stored: unknown) => Head>([[1, (stored) => head1.parse(stored)]]),
  event: new Map<unknown, (stored: unknown) => GrantEvent>([[1, (stored) => event1.parse(stored)]]),
} as const

function read<T>(what: string, readers: ReadonlyMap<unknown, (stored: unknown) => T>, stored: string): T {
  const value: unknown = JSON.parse(stored)
  const version = typeof value === 'object' && value !== null && 'v' in value ? value.v : undefined
  const reader = readers.get(version)
  if (reader === undefined) throw new Error(`a stored ${what} has a version that this broker does not know`)
  return reader(value)
}

export interface StoredTexts {
  readonly version: number
  readonly ask: string
  readonly decisions: readonly string[]
  readonly head: string
}

export const printAsk = (ask: Ask): string => JSON.stringify(ask)
export const printHead = (head: Head): string => JSON.stringify(head)
export const printDecision = (decision: Decision): string => JSON.stringify(decision)
export const printEvent = (event: GrantEvent): string => JSON.stringify(event)

/** A grant from its stored texts. Throws for anything that this broker did not write, also for a grant under another's key. */
export function readGrant(id: GrantId, stored: StoredTexts): Grant {
  const ask = read('ask', READERS.ask, stored.ask)
  if (ask.id !== id) throw new Error('a stored ask belongs to another grant')
  const decisions = stored.decisions.map((text) => read('decision', READERS.decision, text))
  const head = read('head', READERS.head, stored.head)
  return { id, ask, decisions, head, version: stored.version } as Grant
}
export const readEvent = (stored: string): GrantEvent => read('event', READERS.event, stored)
