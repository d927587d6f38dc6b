// The real side of a sequence: shipped verbs over the shipped store on a real Redis, with a backend in memory, real signatures under decisions,
// and a clock that brokers and store share. Two brokers take turns, each with connections and a memory of its own, until one is loaded anew.
import { Redis } from 'ioredis'
import { startRedis } from '../../deploy/dev/redis.ts'
import { type Broker, broker } from '../../src/broker/broker.ts'
import { type CleanUpMemory, cleanUp, cleanUpMemory } from '../../src/broker/contain.ts'
import { offboard } from '../../src/broker/offboard.ts'
import type { DecisionSigner, Ports, Receipt, Rules, TokenFacts } from '../../src/broker/ports.ts'
import { publishedOf, type Rulebook, rulebook } from '../../src/broker/rulebook.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import {
  type AttemptId,
  type FreezeId,
  freezeIdFrom,
  type GrantId,
  grantId,
  grantIdFrom,
  isAttemptId,
  isThumbprint,
  named,
  type Shard,
  shard,
} from '../../src/domain/ids.ts'
import { type Instant, instant, milliseconds, minutes } from '../../src/domain/instant.ts'
import type { Caller } from '../../src/domain/principal.ts'
import { reveal } from '../../src/domain/secret.ts'
import { grantCalls } from '../../src/redis/calls.ts'
import { requestPathOptions } from '../../src/redis/connect.ts'
import { grantStore, type ShardStore } from '../../src/redis/grant-store.ts'
import type { Library } from '../../src/redis/library.ts'
import { decisionSigner } from '../../src/tokens/decisions.ts'
import { relyingParty } from '../../src/webauthn/relying-party.ts'
import { stepUp } from '../../src/webauthn/step-up.ts'
import { Crash, dyingPorts, EFFECTS } from '../support/crash.ts'
import { freshRing } from '../support/keys.ts'
import { type MemoryCredentials, memoryCredentials } from '../support/memory-credentials.ts'
import {
  memoryCanaries,
  memoryCeremonies,
  memoryForges,
  memoryPasskeys,
  memoryRecordSigner,
  memorySeal,
  memoryTimetable,
  memoryTokenSigner,
} from '../support/memory-ports.ts'
import { sha256 } from '../support/sample-grants.ts'
import { clockKey, type LuaEdits, modelLibrary } from './library.ts'
import { looker, type Seen } from './look.ts'
import { directoryOf, policyOf } from './policy.ts'
import { MOST_PENDING_OF_OWNER, MOST_PENDING_OF_REQUESTER, type Who } from './rules.ts'
import type { RulesState } from './state.ts'
import type { Hand } from './verbs.ts'

const ISSUER = 'https://broker.example'
const CALL_MS = 60_000

/** A bug on purpose: in the functions as they are loaded, or between a broker and its ports. */
export interface Plant {
  readonly lua?: LuaEdits
  readonly ports?: (ports: Ports) => Ports
}

/** A server, and shards of it on which sequences run side by side. */
export interface Bench {
  readonly lanes: readonly Lane[]
  stop(): Promise<void>
}
interface Connections {
  readonly issue: Redis
  readonly end: Redis
}
export interface Lane {
  /** Of each of two brokers. */
  readonly brokers: readonly [Connections, Connections]
  readonly shard: Shard
  readonly signatures: DecisionSigner
}

const connect = async (url: string): Promise<Redis> => {
  const redis = new Redis(url, { ...requestPathOptions(() => 0.5), commandTimeout: CALL_MS, socketTimeout: CALL_MS })
  await new Promise((resolve) => redis.once('ready', resolve))
  return redis
}

/** What a server keeps of a sequence is gone with it, so this one writes nothing to a disk. */
export async function openBench(lanes: number): Promise<Bench> {
  const service = await startRedis({ own: true, settings: ['--appendonly', 'no'] })
  const { ring } = await freshRing(() => instant(Date.now()))
  const signatures = decisionSigner({ ring, now: () => instant(Date.now()) })
  const opened = await Promise.all(
    Array.from({ length: lanes }, async (_, n): Promise<Lane> => {
      const pair = async (): Promise<Connections> => {
        const [issue, end] = await Promise.all([connect(service.url), connect(service.url)])
        return { issue, end }
      }
      return { brokers: [await pair(), await pair()], shard: shard(7_000 + n), signatures }
    }),
  )
  return {
    lanes: opened,
    stop: async () => {
      for (const { issue, end } of opened.flatMap(({ brokers }) => brokers)) {
        issue.disconnect()
        end.disconnect()
      }
      await service.stop()
    },
  }
}

/** Whole seconds, as tokens count them. */
const BEGIN: Instant = instant(Math.ceil(Date.now() / 1_000) * 1_000)

export const rulesOf = ({ edition, off, revision }: RulesState): Rules => ({
  policy: policyOf(edition, revision + 1),
  directory: directoryOf(off, revision + 1),
})
export const FIRST_RULES: RulesState = { edition: 'plain', off: [], revision: 0 }

/** A credential that left a broker. */
export interface Answer {
  readonly grant: GrantId
  readonly attempt: string
  readonly mint: number
  readonly kind: 'jwt' | 'vault'
  readonly secret: string
}
export interface Actor {
  readonly verbs: Broker
  readonly ports: Ports
  readonly cleaned: CleanUpMemory
}
export interface Acting {
  readonly hand: Hand
  /** What is made in this act is called so. */
  readonly name: number
  readonly dies?: { readonly n: number; readonly when: 'before' | 'after' }
}
export interface Done {
  /** `ok`, or the code of the refusal. */
  readonly result: string
  readonly died: boolean
}
export interface Stage {
  readonly backend: MemoryCredentials
  readonly answers: readonly Answer[]
  readonly signed: readonly { readonly facts: TokenFacts }[]
  readonly sealed: readonly Receipt[]
  readonly store: ShardStore
  now(): Instant
  advance(ms: number): Promise<void>
  setSeal(up: boolean): void
  /** Both brokers start anew. */
  reload(): void
  publish(next: RulesState): Promise<void>
  act(acting: Acting, work: (actor: Actor) => Promise<unknown>): Promise<Done>
  caller(who: Who, keyed?: boolean): Caller
  look(names: readonly number[]): Promise<Seen>
  idOf(name: number): GrantId
  freezeIdOf(name: number): FreezeId
  exchanged(actor: Actor, who: Caller, name: number, attempt: string): Promise<void>
}

export const attemptId = (text: string): AttemptId => {
  if (!isAttemptId(text)) throw new Error(`${text} is no attempt`)
  return text
}
const KEY = 'k'.repeat(43)
export const BOT_KEY = isThumbprint(KEY) ? KEY : undefined
const letters = (name: number): string => {
  let text = ''
  for (let left = name; left > 0; left = Math.floor(left / 26)) text = String.fromCharCode(97 + (left % 26)) + text
  return text.padStart(26, 'a')
}

/** What a broker keeps from one act to the next: what it has seen of the store, and what it knows to be cleaned up. */
interface Process {
  readonly store: ShardStore
  readonly cleaned: CleanUpMemory
}
/** The store over connections that wait as long as a busy machine may take. */
function storeOver({ issue, end }: Connections, of: Shard, library: Library): ShardStore {
  const issuing = grantCalls({ redis: issue, library, deadlineMs: CALL_MS })
  const ending = grantCalls({ redis: end, library, deadlineMs: CALL_MS })
  return grantStore({ issuing, ending, connects: () => 1, sha256, shards: [of], lowWater: () => 0 })
}

export async function openStage(lane: Lane, plant: Plant = {}): Promise<Stage> {
  const { shard: of } = lane
  const redis = lane.brokers[0].issue
  const library = modelLibrary(of, plant.lua)
  const left = await redis.keys(`{writ:${of}}:*`)
  if (left.length > 0) await redis.unlink(...left)
  let time = BEGIN
  await redis.set(clockKey(of), time)
  const now = (): Instant => time
  const first = rulesOf(FIRST_RULES)
  const book = rulebook(first)
  const shared = sharedPorts(lane, now)
  const fresh = (): readonly [Process, Process] => {
    const [one, other] = lane.brokers
    const process = (by: Connections) => ({ store: storeOver(by, of, library), cleaned: cleanUpMemory() })
    return [process(one), process(other)]
  }
  let processes = fresh()
  const store = storeOver(lane.brokers[0], of, library)
  await store.publish(of, publishedOf(first), true)
  const look = looker(redis, of)
  const answers: Answer[] = []
  const idOf = (name: number): GrantId => grantId(of, letters(name))
  const caller: Stage['caller'] = (who, keyed = true) => {
    const principal = first.directory.principal(named.principal(who))
    if (principal === undefined) throw new Error(`nobody is called ${who}`)
    return { principal, key: who === 'bot' && keyed ? BOT_KEY : undefined, session: '', facts: {} }
  }
  const processOf = (name: number): Process => processes[name % 2 === 0 ? 0 : 1]
  const portsFor = ({ hand, name }: Acting): Ports => {
    const ports = composed({ ...shared, store: processOf(name).store, of }, hand.old ? rulebook(first) : book, {
      now: () => instant(time - hand.behindMs),
      newGrantId: () => idOf(name),
      newFreezeId: () => freezeIdOf(name),
    })
    return plant.ports?.(ports) ?? ports
  }
  return {
    backend: shared.backend,
    answers,
    signed: shared.tokens.signed,
    sealed: shared.seal.sealed,
    store,
    now,
    advance: async (ms) => {
      time = instant(time + ms)
      await redis.set(clockKey(of), time)
    },
    setSeal: shared.seal.setWritable,
    reload: () => {
      processes = fresh()
    },
    publish: async (next) => {
      const rules = rulesOf(next)
      book.adopt(rules)
      await store.publish(of, publishedOf(rules))
    },
    act: async (acting, work) => {
      const ports = portsFor(acting)
      const { n, when } = acting.dies ?? { n: Number.POSITIVE_INFINITY, when: 'before' }
      const dying = dyingPorts(ports, n, when, [...EFFECTS, 'freezes'])
      const result = await told(
        work({ verbs: broker(dying.ports), ports: dying.ports, cleaned: processOf(acting.name).cleaned }),
      )
      return { result, died: dying.hasDied() }
    },
    caller,
    look: (names) => look(names.map(idOf)),
    idOf,
    freezeIdOf,
    exchanged: async ({ verbs }, who, name, attempt) => {
      const { grant, mint, credential } = await verbs.exchange(who, idOf(name), attemptId(attempt))
      const secret = credential.kind === 'jwt' ? reveal(credential.token) : JSON.stringify(reveal(credential.secret))
      answers.push({ grant: grant.id, attempt, mint: mint.n, kind: credential.kind, secret })
    },
  }
}
const freezeIdOf = (name: number): FreezeId => freezeIdFrom(Buffer.from(sha256(`freeze ${name}`), 'base64url'))

async function told(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'ok'
  } catch (thrown) {
    if (thrown instanceof BrokerError) return thrown.code
    if (thrown instanceof Crash) return 'crash'
    throw thrown
  }
}

const sharedPorts = ({ signatures }: Lane, now: () => Instant) => ({
  backend: memoryCredentials({ now }),
  seal: memorySeal(),
  tokens: memoryTokenSigner(),
  canaries: memoryCanaries({ now }),
  passkeys: memoryPasskeys(),
  ceremonies: memoryCeremonies({ now }),
  forges: memoryForges(),
  records: memoryRecordSigner(),
  signatures,
  made: { count: 0 },
})

function composed(
  {
    store,
    of,
    backend,
    made,
    ...shared
  }: ReturnType<typeof sharedPorts> & { readonly store: ShardStore; readonly of: Shard },
  book: Rulebook,
  own: Pick<Ports, 'now' | 'newGrantId' | 'newFreezeId'>,
): Ports {
  const counted = (): string => {
    made.count += 1
    return `${made.count}`
  }
  return {
    ...shared,
    ...own,
    nowToEnd: own.now,
    grants: store,
    freezes: store.freezes,
    containments: store.containments,
    revocations: store.revocations,
    uses: store.uses,
    credentials: backend.source,
    relyingParty: relyingParty(ISSUER),
    stepUp: stepUp(ISSUER),
    timetable: memoryTimetable(),
    rules: book.under,
    rulesToEnd: book.current,
    control: () => store.control(of),
    evenly: async () => undefined,
    pause: async () => undefined,
    grantIdOf: (text) => grantIdFrom(of, 'aaaaaa', Buffer.from(sha256(text), 'base64url')),
    newAttemptId: () => attemptId(`attempt-own-${counted()}`),
    newTokenId: counted,
    newCeremonyId: () => sha256(`ceremony ${counted()}`),
    jitter: () => 0.5,
    sha256,
    flood: {
      maxPendingPerRequester: MOST_PENDING_OF_REQUESTER,
      maxPendingPerOwner: MOST_PENDING_OF_OWNER,
      deniedRests: minutes(60),
    },
    shards: [of],
    lanes: ['local', 'vault-main'],
    issuer: ISSUER,
  }
}

export const cleanedUp = ({ ports, cleaned }: Actor): Promise<unknown> => cleanUp(ports, cleaned)()
export const offboarded = ({ ports }: Actor): Promise<unknown> => offboard(ports)()
export const span = milliseconds
