// A whole broker on memory ports, with the shipped configuration, a clock that only tests move, and counting ids. Several brokers can
// stand on the same store and backend; each can be given wrapped ports, to die where a test wants.
import { readFileSync } from 'node:fs'
import { type Broker, broker } from '../../src/broker/broker.ts'
import type { Ports, Rules } from '../../src/broker/ports.ts'
import type { Asking } from '../../src/broker/request.ts'
import { publishedOf, type Rulebook, rulebook } from '../../src/broker/rulebook.ts'
import type { Lane } from '../../src/domain/entitlement.ts'
import type { Grant } from '../../src/domain/grant.ts'
import {
  type AttemptId,
  freezeIdFrom,
  grantId,
  grantIdFrom,
  named,
  type Shard,
  shard,
  type Thumbprint,
} from '../../src/domain/ids.ts'
import { after, type Duration, type Instant, instant, minutes, seconds } from '../../src/domain/instant.ts'
import type { Caller } from '../../src/domain/principal.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import type { ShardStore } from '../../src/redis/grant-store.ts'
import { relyingParty } from '../../src/webauthn/relying-party.ts'
import { stepUp } from '../../src/webauthn/step-up.ts'
import { shippedDirectory } from './directory.ts'
import { type MemoryCredentials, memoryCredentials } from './memory-credentials.ts'
import {
  type MemoryCeremonies,
  type MemoryForges,
  type MemorySeal,
  type MemoryTimetable,
  memoryCanaries,
  memoryCeremonies,
  memoryDecisionSigner,
  memoryForges,
  memoryPasskeys,
  memoryRecordSigner,
  memorySeal,
  memoryTimetable,
  memoryTokenSigner,
} from './memory-ports.ts'
import { type MemoryStore, memoryStore } from './memory-store.ts'
import { sha256 } from './sample-grants.ts'

const CONFIG = new URL('../../config/', import.meta.url)
const config = (name: string): string => readFileSync(new URL(name, CONFIG), 'utf8')
export const HOME: Shard = shard(0)
export const LANES: readonly Lane[] = ['local', 'vault-main']
export const ISSUER = 'https://broker.example'

/** The shipped policy with its entitlements file edited: each pair is a text that must be there and what stands there instead. */
export function policyWith(...edits: readonly (readonly [string, string])[]): Rules['policy'] {
  const key = JSON.stringify(edits)
  const known = compiled.get(key)
  if (known !== undefined) return known
  let text = config('entitlements.yaml')
  for (const [from, to] of edits) {
    if (!text.includes(from)) throw new Error(`entitlements.yaml has no ${from}`)
    text = text.replace(from, to)
  }
  const file = (name: string, content = config(name)) => ({ file: name, text: content })
  const policy = compilePolicy({
    entitlements: file('entitlements.yaml', text),
    guards: file('guards.cedar'),
    schema: file('guards.cedarschema'),
  })
  compiled.set(key, policy)
  return policy
}
/** A policy is a value: what was compiled once serves every test. */
const compiled = new Map<string, Rules['policy']>()

/** Two uses of the database login, so that a later mint can be tried. */
const SEVERAL_USES = [
  'limits: { maxDuration: 4h, horizon: 14d, maxUses: 1 }',
  'limits: { maxDuration: 4h, horizon: 14d, maxUses: 3 }',
] as const

export interface World {
  readonly ports: Ports
  readonly broker: Broker
  readonly store: ShardStore
  readonly book: Rulebook
  readonly backend: MemoryCredentials
  readonly seal: MemorySeal
  readonly timetable: MemoryTimetable
  readonly ceremonies: MemoryCeremonies
  readonly forges: MemoryForges
  now(): Instant
  advance(span: Duration): void
  /** Another broker on the same data; `over` replaces single ports. */
  another(over?: Partial<Ports>): Broker
  as(id: string, more?: Partial<Pick<Caller, 'key' | 'session' | 'facts'>>): Caller
  /** New rules, published and taken over by this broker. */
  publish(rules: Partial<Rules>): Promise<void>
  /** Files an asking by this broker. */
  file(caller: Caller, asking: Asking, key?: string): Promise<Grant>
  /** Sweeps every lane, and goes on with what comes due, for this long. */
  settle(span?: Duration, verbs?: Broker): Promise<void>
  /** A database login asked for by vera, approved by olivia, with a window of an hour from now. */
  approvedLogin(uses?: number): Promise<Grant>
  /** A token asked for by the triage agent, approved by lena. */
  approvedToken(uses?: number): Promise<Grant>
  snapshot(): () => void
  /** The store as a broker sees it whose calls to Redis are answered by these instead. */
  failing: MemoryStore['failing']
}

export const KEY = 'k'.repeat(43) as Thumbprint
export const attempt = (text: string): AttemptId => text as AttemptId

export interface WorldOptions {
  readonly nativeExpiry?: boolean
  /** The public URL, where a browser comes to it. */
  readonly issuer?: string
}
export async function world({ issuer = ISSUER, ...options }: WorldOptions = {}): Promise<World> {
  let time: Instant = instant(1_795_000_000_000)
  const now = (): Instant => time
  const memory = memoryStore({ now })
  const { store } = memory
  const rules: Rules = { policy: policyWith(SEVERAL_USES), directory: await shippedDirectory() }
  const book = rulebook(rules)
  await store.publish(HOME, publishedOf(rules), true)
  const backend = memoryCredentials({ now, ...options })
  const seal = memorySeal()
  const timetable = memoryTimetable()
  const ceremonies = memoryCeremonies({ now })
  const forges = memoryForges()
  let made = 0
  const counted = (letters: number): string => {
    made += 1
    return made
      .toString()
      .padStart(letters, '0')
      .replace(/\d/g, (digit) => String.fromCharCode(97 + Number(digit)))
  }
  const ports: Ports = {
    grants: store,
    freezes: store.freezes,
    containments: store.containments,
    revocations: store.revocations,
    uses: store.uses,
    credentials: backend.source,
    canaries: memoryCanaries({ now }),
    tokens: memoryTokenSigner(),
    signatures: memoryDecisionSigner(),
    records: memoryRecordSigner(),
    relyingParty: relyingParty(issuer),
    passkeys: memoryPasskeys(),
    ceremonies,
    stepUp: stepUp(issuer),
    forges,
    timetable,
    seal,
    rules: book.under,
    rulesToEnd: book.current,
    control: () => store.control(HOME),
    now,
    nowToEnd: now,
    evenly: async () => undefined,
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 50)).unref()),
    newGrantId: () => grantId(HOME, counted(26)),
    grantIdOf: (text) => grantIdFrom(HOME, 'aaaaaa', Buffer.from(sha256(text), 'base64url')),
    newFreezeId: () => freezeIdFrom(Buffer.from(sha256(counted(26)), 'base64url')),
    newAttemptId: () => attempt(`attempt-${counted(8)}`),
    newTokenId: () => counted(12),
    newCeremonyId: () => sha256(`ceremony ${counted(4)}`),
    jitter: () => 0.5,
    sha256,
    // Out of the way of what is not about them.
    flood: { maxPendingPerRequester: 100_000, maxPendingPerOwner: 100_000, deniedRests: minutes(60) },
    shards: [HOME],
    lanes: LANES,
    issuer,
  }
  const verbs = broker(ports)
  const as: World['as'] = (id, more = {}) => {
    const principal = book.current().directory.principal(named.principal(id))
    if (principal === undefined) throw new Error(`nobody is called ${id}`)
    return { principal, key: undefined, session: '', facts: {}, ...more }
  }
  // The tests of other things file the same asking as often as they like.
  const unbounded = broker({
    ...ports,
    grants: {
      ...store,
      commit: (step, guard) => store.commit(step, guard && { ...guard, bounds: [], denied: [] }),
    },
  })
  const file: World['file'] = async (caller, asking, key) => (await unbounded.request(caller, asking, key)).grant
  const advance = (span: Duration): void => {
    time = after(time, span)
  }
  return {
    ports,
    broker: verbs,
    store,
    book,
    backend,
    seal,
    timetable,
    ceremonies,
    forges,
    now,
    advance,
    as,
    another: (over = {}) => broker({ ...ports, ...over }),
    publish: async (next) => {
      const changed = { ...book.current(), ...next }
      book.adopt(changed)
      await store.publish(HOME, publishedOf(changed))
    },
    settle: async (span = minutes(2), by = verbs) => {
      for (let spent = 0; spent <= span; spent += seconds(5)) {
        for (const lane of LANES) while ((await by.sweep(lane)).more);
        advance(seconds(5))
      }
    },
    file,
    approvedLogin: async (uses = 1) => {
      const grant = await file(as('vera'), login(now(), uses))
      return verbs.decide(as('olivia'), grant.id, { verdict: 'approve', reason: 'fine', digest: grant.ask.digest })
    },
    approvedToken: async (uses = 1) => {
      const grant = await file(as('triage-agent', { key: KEY }), triage(now(), uses))
      return verbs.decide(as('lena'), grant.id, { verdict: 'approve', reason: 'fine', digest: undefined })
    },
    snapshot: memory.snapshot,
    failing: memory.failing,
  }
}

const texts = { summary: 'a change', objective: '', expectedOutcome: '', rollback: '', ticketUrl: '', planUri: '' }

let tasks = 0
/** Each asking is another one, unless a test says that it is the same. */
const nextTask = (): string => `task-${++tasks}`

export const asking = (now: Instant, part: Partial<Asking> & Pick<Asking, 'entitlement' | 'actions'>): Asking => ({
  scope: [],
  dataTypes: [],
  destination: '',
  task: nextTask(),
  changeClass: 'normal',
  impact: NO_IMPACT,
  exposure: undefined,
  plan: undefined,
  ticket: undefined,
  window: { opensAt: now, closesAt: after(now, minutes(60)) },
  uses: 1,
  executor: undefined,
  executorKey: undefined,
  texts,
  replaces: undefined,
  more: [],
  ...part,
})

export const login = (now: Instant, uses = 1): Asking =>
  asking(now, {
    entitlement: named.entitlement('payments-migrator'),
    actions: ['db.migrate'],
    ticket: { system: 'desk', id: 'CHG-1' },
    uses,
  })

export const triage = (now: Instant, uses = 1): Asking =>
  asking(now, { entitlement: named.entitlement('ticket-triage'), actions: ['tickets.update'], uses })
