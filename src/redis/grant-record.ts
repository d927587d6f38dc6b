// The stored form of a grant, and the only place that knows it. Every record names its version; a version or a member that this
// broker does not know is refused, never guessed at. A member whose value is undefined is absent in the text and back after reading.
import { z } from 'zod'
import type { Decision } from '../domain/decision.ts'
import { ACTION_CLASSES, type CredentialRule, EVIDENCE_KINDS, REVIEWER_ROLES } from '../domain/entitlement.ts'
import { EVENT_TYPES, type GrantEvent } from '../domain/events.ts'
import type { Ask, Grant, Head } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import { type Instant, instant } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Mint } from '../domain/mint.ts'
import { memory } from '../domain/remembered.ts'
import { FLAGS, type Flag, NO_IMPACT } from '../domain/risk.ts'
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
const FOR_EVER = instant(8_640_000_000_000_000)
const window = record({ opensAt: at, closesAt: at })

const intent2 = {
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
}
const manifest = maybe(name<Ask['digest']>())
const intent: z.ZodType<Intent> = record({
  ...intent2,
  manifests: record({ requester: manifest, executor: manifest }),
  exposure: maybe(record({ segment: text, from: count, to: count, rollbackCriteria: text })),
  change: maybe(record({ forge: text, repository: text, sha: text })),
  impact: record(Object.fromEntries(FLAGS.map((flag) => [flag, z.boolean()])) as Record<Flag, z.ZodBoolean>),
})

const span = z.int().nonnegative() as unknown as z.ZodType<Extract<CredentialRule, { kind: 'jwt' }>['maxLife']>
const ofVault = { kind: z.literal('vault'), backend: text, revocability: z.enum(['at_once', 'expiry']) }
/** Also where a rule is kept beside a grant. */
export const credential: z.ZodType<CredentialRule> = z.discriminatedUnion('kind', [
  record({ kind: z.literal('jwt'), sender: z.enum(['dpop', 'bearer']), maxLife: span, verifierCache: span }),
  z.discriminatedUnion('engine', [
    record({
      ...ofVault,
      engine: z.literal('database'),
      database: record({ mount: text, connection: text, grantedRole: text, ownerRole: text }),
    }),
    record({
      ...ofVault,
      engine: z.literal('path'),
      path: record({
        mount: text,
        path: text,
        method: z.enum(['read', 'write']),
        parameters: z.record(text, text),
        lifeParameter: maybe(text),
        endMember: maybe(text),
      }),
      maxLife: span,
    }),
  ]),
])

type People = Extract<Ask['rule'], { mode: 'people' }>
const person = name<People['owner']>()
const group = name<People['reviewers'][number]['group']>()
const automatic = record({ mode: z.literal('auto') })
const rule2 = z.discriminatedUnion('mode', [
  automatic,
  record({
    mode: z.literal('people'),
    owners: z.array(person),
    reviewers: z.array(record({ group, count })),
    approvals: count,
  }),
])
const rule: z.ZodType<Ask['rule']> = z.discriminatedUnion('mode', [
  automatic,
  record({
    mode: z.literal('people'),
    owner: person,
    deputies: z.array(record({ person: maybe(person), group: maybe(group), from: at, until: at })),
    reviewers: z.array(
      record({
        role: z.enum(REVIEWER_ROLES),
        group,
        count,
        criteria: z.record(text, text),
        evidence: z.array(z.enum(EVIDENCE_KINDS)),
        veto: z.boolean(),
      }),
    ),
    approvals: count,
    stepUp: z.boolean(),
  }),
])

const texts2 = { summary: text, expectedOutcome: text, rollback: text, ticketUrl: text, planUri: text }
const asked = {
  id: name<GrantId>(),
  digest: name<Ask['digest']>(),
  textsDigest: name<Ask['digest']>(),
  requesterTenant: name<Ask['requesterTenant']>(),
  tier: z.enum(TIERS),
  credential,
  audience: text,
  filedAt: at,
  decideBy: at,
  policy: record({ revision: count, digest: name<Ask['digest']>() }),
  reasons: z.array(text),
}
const linking = { asked: text, replaces: maybe(name<GrantId>()), linked: z.array(name<GrantId>()) }
const former = { ...asked, intent: record(intent2), texts: record(texts2), rule: rule2 }
const ask1 = record({ v: z.literal(1), ...former })
const ask2 = record({ v: z.literal(2), ...former, ...linking })
const earlier = record({
  entitlement: name<Intent['entitlement']>(),
  classes: z.array(z.enum(ACTION_CLASSES)),
  flags: z.array(z.enum(FLAGS)),
  dataTypes: z.array(text),
  destination: text,
})
const ask3: z.ZodType<Ask> = record({
  v: z.literal(3),
  ...asked,
  ...linking,
  askers: z.array(name<Ask['askers'][number]>()),
  intent,
  texts: record({ ...texts2, objective: text }),
  rule,
  flags: z.array(z.enum(FLAGS)),
  earlier: maybe(z.array(earlier)),
  lapsesAt: at,
})
/** What the first version could not say: nothing was asked under a key, replaced or linked then. */
const from1 = (stored: z.infer<typeof ask1>): Ask =>
  from2({ ...stored, v: 2, asked: '', replaces: undefined, linked: [] })
/**
 * Filed when fewer members were semantic: it can be seen and ended as before. Its digest was over those fewer, so that nothing is exchanged
 * under it any more. Of several owners the first stands; their names remain among the deputies, in a term that is over.
 */
function from2({ rule: old, ...stored }: z.infer<typeof ask2>): Ask {
  const over = stored.filedAt
  const owners = old.mode === 'people' ? old.owners : []
  const [owner = '' as People['owner'], ...others] = owners
  return {
    ...stored,
    v: 3,
    intent: {
      ...stored.intent,
      manifests: { requester: undefined, executor: undefined },
      exposure: undefined,
      change: undefined,
      impact: { ...NO_IMPACT, ...stored.intent.impact },
    },
    texts: { ...stored.texts, objective: '' },
    // What is asked by nobody counts with nobody.
    askers: [],
    flags: [],
    earlier: [],
    lapsesAt: stored.decideBy,
    rule:
      old.mode === 'auto'
        ? old
        : {
            mode: 'people',
            owner,
            deputies: others.map((one) => ({ person: one, group: undefined, from: over, until: over })),
            reviewers: old.reviewers.map((one, n) => ({
              ...one,
              role: REVIEWER_ROLES[n % REVIEWER_ROLES.length] ?? 'operations',
              criteria: {},
              evidence: [],
              veto: false,
            })),
            approvals: old.approvals,
            stepUp: false,
          },
  }
}

const speaker = name<Decision['by']>()
const about = {
  at,
  reason: text,
  digest: name<Ask['digest']>(),
  textsDigest: name<Ask['digest']>(),
  policyDigest: name<Ask['digest']>(),
  peopleDigest: name<Ask['digest']>(),
  signature: text,
}
const decision1 = record({ v: z.literal(1), by: speaker, verdict: z.enum(['approve', 'deny']), ...about })
/** Its signature was over what it said then, and does not hold for this form: it is shown, and counts for nothing. */
const decisionFrom1 = (stored: z.infer<typeof decision1>): Decision => ({
  ...stored,
  v: 2,
  act: 'vote',
  seat: stored.by === 'policy' ? 'policy' : 'owner',
  deputyFor: undefined,
  checklist: [],
  evidence: [],
  conditions: [],
  accepts: [],
  assertion: undefined,
})
const evidence = z.array(
  z.discriminatedUnion('kind', [
    record({ kind: z.literal('note'), text }),
    record({ kind: z.enum(EVIDENCE_KINDS), url: text, digest: name<Ask['digest']>() }),
  ]),
)
const accepts = z.array(record({ risk: text, until: at }))
const assertion = maybe(
  record({
    credentialId: text,
    authenticatorData: text,
    clientDataJSON: text,
    signature: text,
    publicKey: text,
    algorithm: z.union([z.literal(-7), z.literal(-8), z.literal(-257)]),
  }),
)
const said = { v: z.literal(2), by: speaker, ...about, assertion }
const decision2: z.ZodType<Decision> = z.discriminatedUnion('act', [
  record({
    act: z.literal('vote'),
    ...said,
    verdict: z.enum(['approve', 'deny']),
    seat: z.enum(['owner', 'policy', ...REVIEWER_ROLES]),
    deputyFor: maybe(person),
    checklist: z.array(text),
    evidence,
    conditions: z.array(record({ id: text, text, owner: person, due: at })),
    accepts,
  }),
  record({ act: z.literal('close'), ...said, condition: text, evidence }),
  record({ act: z.literal('accept'), ...said, accepts }),
  record({ act: z.literal('retract'), ...said, vote: text }),
])

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
const headOf = <V extends 1 | 2, S extends string, F extends z.ZodType>(v: V, status: S, facts: F) =>
  record({ v: z.literal(v), status: z.literal(status), facts, mints: z.array(mint), result })
/** Every status but those that have got a member since. */
const sameHeads = <V extends 1 | 2>(v: V) =>
  [
    headOf(v, 'active', record({ approvedAt: at, activeSince: at })),
    headOf(v, 'ending', record(ending)),
    headOf(v, 'stuck', record({ ...ending, stuckSince: at })),
    headOf(v, 'denied', record({ at, by: speaker, reason: text })),
    headOf(v, 'withdrawn', record({ at, by: name<Intent['requester']>(), reason: text })),
    headOf(v, 'lapsed', record({ at, reason: text })),
    headOf(
      v,
      'ended',
      record({ outcome: cause.shape.outcome, cause, endedAt: at, confirmation, residueUntil: at, result }),
    ),
  ] as const
const approved1 = record({ approvedAt: at })
const head1 = z.discriminatedUnion('status', [
  headOf(1, 'pending', record({})),
  headOf(1, 'approved', approved1),
  headOf(1, 'issuing', approved1),
  ...sameHeads(1),
])
const approved2 = record({ approvedAt: at, useBy: at })
const head2: z.ZodType<Head> = z.discriminatedUnion('status', [
  headOf(2, 'pending', record({ escalatedAt: maybe(at) })),
  headOf(2, 'approved', approved2),
  headOf(2, 'issuing', approved2),
  ...sameHeads(2),
])
/** Before there was a time by which an approval is to be used, only the window was one. */
function headFrom1(stored: z.infer<typeof head1>): Head {
  switch (stored.status) {
    case 'pending':
      return { ...stored, v: 2, facts: { escalatedAt: undefined } }
    case 'approved':
    case 'issuing':
      return { ...stored, v: 2, facts: { ...stored.facts, useBy: FOR_EVER } } as Head
    default:
      return { ...stored, v: 2 } as Head
  }
}

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
  decision: new Map<unknown, (stored: unknown) => Decision>([
    [1, (stored) => decisionFrom1(decision1.parse(stored))],
    [2, (stored) => decision2.parse(stored)],
  ]),
  head: new Map<unknown, (stored: unknown) => Head>([
    [1, (stored) => headFrom1(head1.parse(stored))],
    [2, (stored) => head2.parse(stored)],
  ]),
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
  /** 0 where it is not known. */
  readonly born: number
}

export const printAsk = (ask: Ask): string => JSON.stringify(ask)
export const printHead = (head: Head): string => JSON.stringify(head)
/** A text for each, empty for what the store has. */
export const printDecisions = ({ decisions, recorded }: Grant): readonly string[] =>
  decisions.map((decision, n) => (n < recorded ? '' : JSON.stringify(decision)))
export const printEvent = (event: GrantEvent): string => JSON.stringify(event)

/**
 * What is remembered of a reading. `again`: it was read before, or will be. `last`: it may have been read before, and will hardly be again. `once`:
 * it is one of many that nobody was asking for; to look for each costs as much as to read it.
 */
export type Reading = 'again' | 'last' | 'once'

/** What was read before, by its whole text: most of what is read is read again, and the same text has the same meaning. */
function remembering<T extends object>(parse: (stored: string) => T): (stored: string, reading: Reading) => T {
  const known = memory<string, T>(MOST_READ)
  return (stored, reading) => {
    if (reading === 'once') return parse(stored)
    const before = known.get(stored)
    if (before !== undefined) return before
    const value = parse(stored)
    if (reading === 'again' && stored.length <= LONGEST_READ) known.set(stored, value)
    return value
  }
}
/** At most some thirty megabytes of asks, decisions and heads of the usual size. */
const MOST_READ = 8_192
const LONGEST_READ = 4_096

const readAsk = remembering((stored) => read('ask', READERS.ask, stored))
const readDecision = remembering((stored) => read('decision', READERS.decision, stored))
const readHead = remembering((stored) => read('head', READERS.head, stored))

/** A grant from its stored texts. Throws for anything that this broker did not write, also for a grant under another's key. */
export function readGrant(id: GrantId, stored: StoredTexts, reading: Reading = 'again'): Grant {
  const ask = readAsk(stored.ask, reading)
  if (ask.id !== id) throw new Error('a stored ask belongs to another grant')
  const decisions = stored.decisions.map((text) => readDecision(text, reading))
  const head = readHead(stored.head, reading)
  const { version, born } = stored
  return { id, ask, decisions, head, version, born, recorded: decisions.length } as Grant
}
export const readEvent = (stored: string): GrantEvent => read('event', READERS.event, stored)
