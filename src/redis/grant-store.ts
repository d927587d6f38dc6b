// The store of grants and of the control record, in Redis. One function call per commit; issuing and ending on connections of their own.
// Invariant: what allows is refused whenever this broker has seen more than Redis shows (a rolled-back Redis) or there is no control
// record; what ends goes on.
import type { Redis } from 'ioredis'
import type {
  ContainmentStore,
  Control,
  ControlStore,
  EndResult,
  FedEvent,
  FreezeStore,
  GrantStore,
  Guard,
  Index,
  Loaded,
  Receipt,
  RestoredStore,
  Retired,
  RevocationStore,
  ShardRecovery,
  StatusLists,
  UseStore,
} from '../broker/ports.ts'
import { stageOf } from '../domain/containment.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { type Bound, denialRests, denials, overBound, tallies } from '../domain/flood.ts'
import { deadlineOf, type Grant, inStatus, type Step } from '../domain/grant.ts'
import { type FreezeId, type GrantId, isGrantId, type Shard, shardOf, type TenantId } from '../domain/ids.ts'
import { days, hours, type Instant, milliseconds } from '../domain/instant.ts'
import type { Sha256 } from '../domain/intent.ts'
import { isLive, STATUSES, type Status } from '../domain/lifecycle.ts'
import { parsePlaces, printPlaces } from '../domain/place.ts'
import { type ListName, parseList, statusPlaceOf } from '../domain/status-list.ts'
import {
  type AnyReply,
  type Calls,
  type ContainedRecord,
  type GuardRecord,
  grantCalls,
  type Position,
  type StepRecord,
} from './calls.ts'
import { damaged, isDamage, unavailable } from './connect.ts'
import { containmentStore, KEEP, stageNumber } from './containment-store.ts'
import { printControl } from './control-record.ts'
import { freezeStore } from './freeze-store.ts'
import { printAsk, printDecisions, printEvent, printHead, readEvent, readGrant } from './grant-record.ts'
import { deniedKey, grantKeys, indexKey, lastingIndexes, statusKey, statusListsKey, tallyKey } from './keys.ts'
import type { Library } from './library.ts'
import { revocationStore } from './revocation-store.ts'
import { BEHIND, NO_CONTROL, recoveringError, shardMemory } from './shard-memory.ts'
import { storedUses, useStore } from './use-store.ts'

export type PublishedRules = Parameters<ControlStore['publish']>[1]

/** GrantStore, ControlStore, the freezes and the status lists, and what an operator does with a shard. */
export interface ShardStore extends GrantStore, ControlStore, RestoredStore {
  readonly freezes: FreezeStore
  readonly containments: ContainmentStore
  readonly statuses: StatusLists
  readonly revocations: RevocationStore
  readonly uses: UseStore
  /**
   * As ControlStore says. `mayCreate`: the caller knows of no commit on this shard, so the record may be made; the store refuses it all
   * the same (`recovering`) on a shard that has ever been committed to.
   */
  publish(shard: Shard, rules: PublishedRules, mayCreate?: boolean): Promise<Control>
  /** The control record under which new grants are judged. Rejects `recovering`. */
  control(shard: Shard): Promise<Control>
  /** Why this shard allows nothing at present, as far as this broker has noticed; undefined when all is well. */
  recovering(shard: Shard): string | undefined
  /** Somebody outside Redis says that this shard has come so far: it is recovering from its next answer on if it has not. */
  heard(shard: Shard, seq: number): void
  /**
   * Takes the shard as it is: the sequence is raised above everything this broker has seen, and a missing control record is restored,
   * under these rules where none was kept aside. The caller must record who did it. `floor`: that of the recovery that is over; refused
   * (`store_conflict`) where there is another one.
   */
  accept(
    shard: Shard,
    rules: PublishedRules,
    floor?: number,
  ): Promise<{ readonly seq: number; readonly control: Control }>
}

export interface RedisGrantStore extends StoreSettings {
  /** For loads, allowing commits and lists. */
  readonly issue: Redis
  /** For everything that ends: its budget is its own. */
  readonly end: Redis
  readonly library: Library
}
export interface StoreFunctions {
  readonly issuing: Calls
  readonly ending: Calls
}
export interface StoreSettings {
  /** How often the connection for issuing was made so far: the server behind a new one may be another, or an older one. */
  readonly connects: () => number
  readonly sha256: Sha256
  /** The shards that this broker looks after; one unless the store is spread. */
  readonly shards: readonly Shard[]
  /** The highest sequence of a shard that is on record outside Redis; 0 for none. Asked once per shard. */
  readonly lowWater: (shard: Shard) => number
}

const CALL_DEADLINE_MS = 700
/** Steps or grants in one call: more would hold Redis up for everybody else. */
const BATCH = 100

export function redisGrantStore({ issue, end, library, ...settings }: RedisGrantStore): ShardStore {
  const issuing = grantCalls({ redis: issue, library, deadlineMs: CALL_DEADLINE_MS })
  const ending = grantCalls({ redis: end, library, deadlineMs: CALL_DEADLINE_MS })
  return grantStore({ issuing, ending, ...settings })
}

/** The store over its atomic functions, wherever those run. */
export function grantStore({
  issuing,
  ending,
  sha256,
  shards,
  lowWater,
  connects,
}: StoreSettings & StoreFunctions): ShardStore {
  const memory = shardMemory(lowWater)
  type Call<Reply> = (seen: Position) => Promise<Reply>
  const issued = <Reply extends AnyReply>(shard: Shard, call: Call<Reply>) => memory.watch(shard, call, connects())
  const ended = <Reply extends AnyReply>(shard: Shard, call: Call<Reply>) => memory.watch(shard, call)

  const receiptOf = (shard: Shard, seq: number, record: StepRecord): Receipt => ({
    shard,
    seq,
    eventHash: sha256(record.event),
  })

  async function commit(step: Step, guard?: Guard): Promise<Receipt> {
    const record = stepRecord(step, sha256)
    const shard = shardOf(step.grant.id)
    if (guard) memory.refuseIfBehind(shard)
    const reply = guard
      ? await issued(shard, (seen) => issuing.commit(shard, seen, guardRecord(shard, guard), record))
      : await ended(shard, (seen) => ending.endCommit(shard, seen, record))
    switch (reply[0]) {
      case 'ok':
        return receiptOf(shard, reply[2], record)
      case 'exists':
      case 'missing':
      case 'conflict':
        throw new BrokerError('store_conflict', 'The grant has changed meanwhile.', { facts: { found: reply[0] } })
      case 'illegal':
        throw new BrokerError('wrong_status', `A grant that is ${reply[4]} cannot become ${reply[5]} this way.`, {
          facts: { status: reply[4] },
        })
      case 'late':
        throw new BrokerError('window_closed', 'The time for this has passed.', { facts: { now: reply[4] } })
      case 'stale':
        throw new BrokerError('stale', 'Policy, people or a freeze changed while this was judged.')
      case 'absent':
        throw memory.withoutControl(shard)
      case 'behind':
        throw recoveringError(BEHIND)
      case 'full':
        throw refusedBy(guard?.bounds?.[reply[4] - 1], reply)
      case 'resting':
        throw denialRests(reply[4])
      default:
        throw broken(reply)
    }
  }

  async function commitEach(steps: readonly Step[], contains?: FreezeId): Promise<readonly EndResult[]> {
    const receipts: (Receipt | undefined)[] = []
    const numbered = steps.map((step, place) => ({
      place,
      shard: shardOf(step.grant.id),
      step,
      record: stepRecord(step, sha256),
    }))
    for (const [shard, all] of byShard(numbered, (step) => step.shard)) {
      for (const some of batches(all)) {
        const records = some.map(({ record }) => record)
        const contained =
          contains &&
          containedRecord(
            contains,
            some.map(({ step }) => step),
          )
        const reply = expect('ok', await ended(shard, (seen) => ending.commitEach(shard, seen, records, contained)))
        for (const [n, { place, record }] of some.entries()) {
          const row = reply[4][n]
          if (row?.[0] === 'ok') receipts[place] = receiptOf(shard, row[1], record)
        }
      }
    }
    return steps.map((step, place) => ({ id: step.grant.id, receipt: receipts[place] }))
  }

  /** The grants and the control record, read at one moment of one shard. */
  async function loadMany(shard: Shard, ids: readonly GrantId[], toEnd = false) {
    const keys = ids.map(grantKeys)
    // What is ended is hardly read again, and thousands of them would push out what is.
    const reading = !toEnd ? 'again' : ids.length === 1 ? 'last' : 'once'
    const isBulk = reading === 'once'
    const answer = toEnd
      ? ended(shard, (seen) => ending.load(shard, seen, keys, { asks: !isBulk }))
      : issued(shard, (seen) => issuing.load(shard, seen, keys, { asks: true }))
    // After the heads: an ask is there for as long as its head.
    const [answered, asks] = await Promise.all([answer, isBulk ? ending.asks(shard, keys) : undefined])
    const reply = expect('ok', answered)
    const control = memory.noteControl(shard, reply[4])
    const grants = ids.map((id, n) => {
      const [version, head, text, decisions, born = 0] = reply[5][n] ?? []
      if (version === undefined || head === undefined || text === undefined || decisions === undefined) return undefined
      const ask = asks?.[n] ?? text
      return readable(() => readGrant(id, { version, head, ask, decisions, born }, reading))
    })
    return { grants, control, behind: reply[1] === 1 }
  }

  /** A grant of a shard that nobody looks after does not exist. */
  const isOurs = (id: GrantId): boolean => shards.includes(shardOf(id))

  async function loadTogether(shard: Shard, ids: readonly GrantId[]): Promise<readonly (Loaded | undefined)[]> {
    memory.refuseIfBehind(shard)
    const { grants, control, behind } = await loadMany(shard, ids)
    if (behind) throw recoveringError(BEHIND)
    if (control === undefined) throw memory.withoutControl(shard)
    return grants.map((grant) => grant && { grant, control, born: grant.born })
  }
  const loadInTurn = gathering(loadTogether)
  const load = async (id: GrantId): Promise<Loaded | undefined> =>
    isOurs(id) ? loadInTurn(shardOf(id), id) : undefined

  /** Everything that is stored of one grant; undefined where it has gone. What is over changes no more, so two reads are as good as one. */
  async function whole(shard: Shard, id: GrantId): Promise<Retired | undefined> {
    const keys = grantKeys(id)
    // The events first: if the grant is still there afterwards, none of them had been forgotten.
    const events = expect('ok', await issued(shard, (seen) => issuing.events(shard, seen, keys)))[4]
    const { uses } = await storedUses({ issuing, memory, connects }, id)
    const [row] = expect('ok', await issued(shard, (seen) => issuing.load(shard, seen, [keys], { asks: true })))[5]
    const [version, head, ask, decisions, born = 0] = row ?? []
    if (version === undefined || head === undefined || ask === undefined || decisions === undefined) return undefined
    // What it is found by follows from what it says: one that cannot be read could not be forgotten.
    readable(() => readGrant(id, { version, head, ask, decisions, born }))
    return {
      id,
      version,
      ask,
      decisions,
      head,
      events: events.map(([of, seq, text]) => ({ version: of, seq, text })),
      uses,
    }
  }

  async function retired(shard: Shard, keepMs: number, limit: number): Promise<readonly Retired[]> {
    memory.refuseIfBehind(shard)
    const reply = await issued(shard, (seen) => issuing.retired(shard, seen, { keepMs, limit }))
    if (reply[0] === 'behind') throw recoveringError(BEHIND)
    const ids = expect('ok', reply)[4].filter(isGrantId)
    const read = await Promise.allSettled(ids.map((id) => whole(shard, id)))
    // One that is damaged must not keep the others from leaving.
    const failed = read.filter((one) => one.status === 'rejected')
    if (failed.length === ids.length && failed[0] !== undefined) throw failed[0].reason
    return read.flatMap((one) => (one.status === 'fulfilled' ? (one.value ?? []) : []))
  }

  /**
   * One record that cannot be read must not hide all the others; the sweep names it. A store that does not answer hides nothing: what it
   * was not asked for would be passed over, by a reader of the feed for ever, and by an end as if it were not there.
   */
  const readableOnly = (toEnd: boolean) => async (shard: Shard, ids: readonly GrantId[]) => {
    const unlessDamaged = (thrown: unknown) => {
      if (isDamage(thrown)) return { grants: [] }
      throw thrown
    }
    return loadMany(shard, ids, toEnd).catch(async (thrown: unknown) => {
      unlessDamaged(thrown)
      const each = await Promise.all(ids.map((id) => loadMany(shard, [id], toEnd).catch(unlessDamaged)))
      return { grants: each.flatMap(({ grants }) => grants) }
    })
  }

  async function read(shard: Shard) {
    const reply = expect('ok', await issued(shard, (seen) => issuing.readControl(shard, seen)))
    const control = memory.noteControl(shard, reply[4])
    memory.noteRecovery(shard, reply[5], reply[6] !== '', { seq: reply[2], event: reply[3] })
    return { control, seq: reply[2], behind: reply[1] === 1 && memory.reason(shard) === BEHIND }
  }

  async function recovery(shard: Shard): Promise<ShardRecovery> {
    const seen = memory.seen(shard)
    const reply = expect('ok', await ended(shard, () => ending.readControl(shard, seen)))
    const [, , here, event, judged, floor, clearing, recovered, known] = reply
    memory.noteControl(shard, judged)
    memory.noteRecovery(shard, floor, clearing !== '', { seq: here, event })
    const reason = memory.reason(shard)
    return {
      reason,
      clearing: clearing === '' ? undefined : clearing,
      recovered: recovered === '' ? undefined : recovered,
      floor,
      seen: seen.seq,
      here,
      intact: reason !== BEHIND || known === 1,
    }
  }

  /** Each alone where one of them is damaged: that one is named. */
  async function loadSome(shard: Shard, ids: readonly GrantId[]) {
    const some = async (of: readonly GrantId[]) =>
      (await loadMany(shard, of, true)).grants.flatMap((grant) =>
        grant === undefined ? [] : [{ grant, born: grant.born }],
      )
    const damagedOnly = (thrown: unknown): undefined => {
      if (!isDamage(thrown)) throw thrown
      return undefined
    }
    const all = ids.length === 0 ? [] : await some(ids).catch(damagedOnly)
    if (all !== undefined) return { grants: all, unread: [] }
    const each = await Promise.all(ids.map((id) => some([id]).catch(damagedOnly)))
    return { grants: each.flatMap((one) => one ?? []), unread: ids.filter((_, n) => each[n] === undefined) }
  }

  const statuses: StatusLists = {
    live: async (list) => {
      const { shard } = list
      if (!shards.includes(shard)) return undefined
      memory.refuseIfBehind(shard)
      const reply = expect('ok', await issued(shard, (seen) => issuing.readStatus(shard, seen, list)))
      const control = memory.noteControl(shard, reply[4])
      if (reply[1] === 1) throw recoveringError(BEHIND)
      if (control === undefined) throw recoveringError(NO_CONTROL)
      return reply[5] === 1 ? reply[6] : undefined
    },
    all: async () => {
      const found: ListName[] = []
      for (const shard of shards) {
        const reply = expect('ok', await issued(shard, (seen) => issuing.statusLists(shard, seen)))
        const names = reply[4].map((key) => parseList(`${shard}-${key.slice(key.lastIndexOf(':') + 1)}`))
        found.push(...names.filter((name) => name !== undefined))
      }
      return found
    },
  }

  async function loadEach(ids: readonly GrantId[]): ReturnType<GrantStore['loadEach']> {
    const found = new Map<GrantId, Grant | 'unreadable'>()
    const note = async (shard: Shard, some: readonly GrantId[]): Promise<void> => {
      const { grants, control, behind } = await loadMany(shard, some)
      if (behind) throw recoveringError(BEHIND)
      if (control === undefined) throw recoveringError(NO_CONTROL)
      for (const grant of grants) if (grant) found.set(grant.id, grant)
    }
    for (const [shard, all] of byShard(ids.filter(isOurs), shardOf)) {
      for (const some of batches(all)) {
        memory.refuseIfBehind(shard)
        await note(shard, some).catch(async (thrown: unknown) => {
          if (!isDamage(thrown)) throw thrown
          for (const id of some)
            await note(shard, [id]).catch((alone: unknown) => {
              if (!isDamage(alone)) throw alone
              found.set(id, 'unreadable')
            })
        })
      }
    }
    return ids.map((id) => found.get(id))
  }

  return {
    statuses,
    loadEach,
    freezes: freezeStore({ issuing, ending, memory, connects, shards, sha256 }),
    containments: containmentStore({ ending, memory, shards }),
    revocations: revocationStore({ issuing, memory, connects, shards }),
    uses: useStore({ issuing, memory, connects, shards, sha256 }),
    load,
    commit,
    commitEach,
    loadToEnd: async (id) => (isOurs(id) ? (await loadMany(shardOf(id), [id], true)).grants[0] : undefined),
    loadManyToEnd: async (ids) => {
      const pages = [...byShard(ids.filter(isOurs), shardOf)].flatMap(([shard, all]) =>
        batches(all).map((some) => loadSome(shard, some)),
      )
      const read = await Promise.all(pages)
      return {
        grants: read.flatMap(({ grants }) => grants.map(({ grant }) => grant)),
        unreadable: read.flatMap(({ unread }) => unread),
      }
    },

    claimDue: async (lane, limit, lease) => {
      const claimed: GrantId[] = []
      for (const [n, shard] of shards.entries()) {
        // An even share of what is left for each shard that is left, so that a busy one cannot starve the others.
        const share = Math.ceil((limit - claimed.length) / (shards.length - n))
        const claim = { lane, limit: share, leaseMs: lease }
        const reply = expect('ok', await ended(shard, (seen) => ending.claimDue(shard, seen, claim)))
        claimed.push(...reply[4].filter(isGrantId))
      }
      return claimed
    },

    events: async (id) => {
      const shard = shardOf(id)
      const reply = expect('ok', await issued(shard, (seen) => issuing.events(shard, seen, grantKeys(id))))
      return reply[4].map(([version, seq, text]) => ({ ...readable(() => readEvent(text)), version, seq }))
    },

    list: async ({ of, limit, cursor, filedFrom, filedTo, toEnd = false }) => {
      const last = cursor === undefined ? undefined : parseCursor(cursor)
      // Everything filed before a time is what follows a page that ended there.
      const after = last ?? (filedTo && { filedAt: filedTo, id: '' })
      const pages = await Promise.all(
        shards.map(async (shard) => {
          const page = { indexes: of.map((index) => indexKey(shard, index)), limit: limit + 1, after, from: filedFrom }
          const answer = toEnd
            ? ended(shard, (seen) => ending.list(shard, seen, page))
            : issued(shard, (seen) => issuing.list(shard, seen, page))
          return expect('ok', await answer)[4]
        }),
      )
      const found = pages.flat().sort(newestFirst)
      const page = found.slice(0, limit)
      const end = page.at(-1)
      const grants = await loadInOrder(page.map(([id]) => id).filter(isGrantId), readableOnly(toEnd))
      const places = grants.map(({ id, ask }) => printCursor(ask.filedAt, id))
      return { grants, places, next: found.length > limit && end ? printCursor(end[1], end[0]) : undefined }
    },

    feed: async (after, limit) => {
      const places = parsePlace(after, shards)
      const fed: FedEvent[] = []
      let more = false
      for (const shard of shards) {
        const from = places.get(shard) ?? ''
        const reply = expect('ok', await issued(shard, (seen) => issuing.feed(shard, seen, { after: from, limit })))
        more ||= reply[5] === 1
        const ids = [...new Set(reply[6].map(([, grant]) => grant).filter(isGrantId))]
        const grants = new Map((await loadInOrder(ids, readableOnly(false))).map((grant) => [grant.id, grant]))
        for (const [event, id, version, seq, text] of reply[6]) {
          const grant = isGrantId(id) ? grants.get(id) : undefined
          places.set(shard, event)
          // An event above the stored version was never committed: its writer died between the two.
          if (grant === undefined || version > grant.version) continue
          fed.push({ ...readable(() => readEvent(text)), version, seq, place: printPlaces(places), of: grant })
        }
        places.set(shard, reply[4])
      }
      return { events: fed, next: printPlaces(places), more }
    },

    live: async ({ shard, lane, cursor, about }) => {
      const [run = '', from = '0'] = cursor?.split(':') ?? []
      const page = { lane, cursor: from, run, about }
      const reply = expect('ok', await ended(shard, (seen) => ending.live(shard, seen, page)))
      const [, , , , next, server, found] = reply
      const ids = [...new Set(found.filter(isGrantId))]
      const load = async () => {
        const pages = await Promise.all(batches(ids).map((some) => loadSome(shard, some)))
        return {
          grants: pages.flatMap(({ grants }) => grants),
          unread: pages.reduce((sum, { unread }) => sum + unread.length, found.length - found.filter(isGrantId).length),
        }
      }
      const loading = load()
      // Whoever looks at it hears that it failed; nobody has to look.
      loading.catch(() => undefined)
      return { found: loading, cursor: next === '0' ? undefined : `${server}:${next}` }
    },

    counts: async (tenants) => {
      const of: readonly Index[] = tenants.flatMap((tenant: TenantId) => STATUSES.map((status) => ({ tenant, status })))
      const counts = Object.fromEntries(STATUSES.map((status) => [status, 0])) as Record<Status, number>
      for (const shard of shards) {
        const keys = of.map((index) => indexKey(shard, index))
        const reply = expect('ok', await issued(shard, (seen) => issuing.counts(shard, seen, keys)))
        for (const [n, count] of reply[4].entries()) counts[STATUSES[n % STATUSES.length] ?? 'pending'] += count
      }
      return counts
    },

    retired: async (keep, limit) => {
      const found: Retired[] = []
      for (const shard of shards) found.push(...(await retired(shard, keep, limit - found.length)))
      return found
    },

    forget: async (grants, keep) => {
      let forgotten = 0
      for (const [shard, all] of byShard(grants, ({ id }) => shardOf(id))) {
        memory.refuseIfBehind(shard)
        for (const some of batches(all)) {
          // What a grant is found by follows from what it says, and what is over says the same for ever.
          const stored = await loadInOrder(
            some.map(({ id }) => id),
            readableOnly(false),
          )
          const records = some.flatMap(({ id, version, uses = [] }) => {
            const grant = stored.find((candidate) => candidate.id === id)
            if (grant === undefined) return []
            const of = [statusIndex(grant, grant.head.status), ...lastingIndexes(grant.ask)]
            const indexes = of.map((index) => indexKey(shard, index))
            return { keys: grantKeys(id), id, version, uses: uses.length, indexes }
          })
          if (records.length === 0) continue
          const reply = await issued(shard, (seen) => issuing.forget(shard, seen, keep, records))
          if (reply[0] === 'behind') throw recoveringError(BEHIND)
          forgotten += expect('ok', reply)[4]
        }
      }
      return forgotten
    },

    read: async (shard) => {
      const { control, seq } = await read(shard)
      return control && { control, seq }
    },

    control: async (shard) => {
      const { control, behind } = await read(shard)
      memory.refuseIfBehind(shard)
      if (behind) throw recoveringError(BEHIND)
      if (control === undefined) throw memory.withoutControl(shard)
      return control
    },

    publish: async (shard, rules, mayCreate = false) => {
      const reply = await issued(shard, (seen) =>
        issuing.publish(shard, seen, printControl({ ...rules, freezeEpoch: 0 }), mayCreate),
      )
      switch (reply[0]) {
        case 'ok':
          return memory.noteControl(shard, reply[4]) ?? raise(memory.withoutControl(shard))
        case 'lower':
        case 'differs':
          throw new BrokerError(
            'policy_outdated',
            `A newer ${reply[4]} revision is in force, or another one of the same number.`,
            {
              facts: { which: reply[4], how: reply[0] },
            },
          )
        case 'absent':
        case 'used':
          throw memory.withoutControl(shard)
        default:
          throw broken(reply)
      }
    },

    recovering: memory.reason,
    heard: memory.heard,
    recovery,

    clear: async (shard, text) => {
      const reply = expect('ok', await ending.clear(shard, memory.seen(shard), text))
      memory.accepted(shard, { seq: reply[2], event: reply[3] })
      memory.noteControl(shard, '')
      memory.noteRecovery(shard, reply[4], true, { seq: reply[2], event: reply[3] })
      return { floor: reply[4], text: reply[5] }
    },

    accept: async (shard, rules, floor) => {
      const record = printControl({ ...rules, freezeEpoch: memory.freezeEpoch(shard) })
      const reply = await ending.accept(shard, memory.seen(shard), { record, floor })
      if (reply[0] === 'moved') throw new BrokerError('store_conflict', 'The store is recovered by somebody else.')
      if (reply[0] !== 'ok') throw broken(reply)
      memory.accepted(shard, { seq: reply[2], event: reply[3] })
      const control = memory.noteControl(shard, reply[4]) ?? raise(memory.withoutControl(shard))
      return { seq: reply[2], control }
    },

    born: async (shard, after, limit) => {
      const reply = expect('ok', await ended(shard, (seen) => ending.born(shard, seen, { after, limit })))
      return { ids: reply[6].filter(isGrantId), next: reply[4], more: reply[5] === 1 }
    },
  }
}

/**
 * What is asked for one by one in one turn of the event loop is read in one call: under load most of what a call costs is the call. One that is
 * damaged must not keep the others from being read, so then each is read alone.
 */
function gathering<T>(
  read: (shard: Shard, ids: readonly GrantId[]) => Promise<readonly T[]>,
): (shard: Shard, id: GrantId) => Promise<T> {
  interface Asked {
    readonly id: GrantId
    readonly done: (found: T) => void
    readonly failed: (thrown: unknown) => void
  }
  const waiting = new Map<Shard, Asked[]>()
  const answer = async (shard: Shard, asked: readonly Asked[]): Promise<void> => {
    try {
      const found = await read(
        shard,
        asked.map(({ id }) => id),
      )
      for (const [n, one] of found.entries()) asked[n]?.done(one)
    } catch (thrown) {
      if (asked.length > 1 && isDamage(thrown)) await Promise.all(asked.map((one) => answer(shard, [one])))
      else for (const { failed } of asked) failed(thrown)
    }
  }
  return (shard, id) =>
    new Promise((done, failed) => {
      const gathered = waiting.get(shard)
      if (gathered !== undefined) return void gathered.push({ id, done, failed })
      const asked: Asked[] = [{ id, done, failed }]
      waiting.set(shard, asked)
      setImmediate(() => {
        waiting.delete(shard)
        for (const some of batches(asked)) void answer(shard, some)
      })
    })
}

const statusIndex = (grant: Grant, status: Status): Index => ({ tenant: grant.ask.intent.tenant, status })

function stepRecord({ grant, event, from, rests = ZERO }: Step, sha256: Sha256): StepRecord {
  const shard = shardOf(grant.id)
  const { status } = grant.head
  const counted = (in_: Status) => tallies(grant.ask, in_).map((of) => tallyKey(shard, of))
  return {
    keys: grantKeys(grant.id),
    id: grant.id,
    lane: laneOf(grant.ask.credential),
    from,
    to: status,
    version: grant.version,
    head: printHead(grant.head),
    event: printEvent(event),
    // Written once: only a birth carries it.
    ask: from === 'none' ? printAsk(grant.ask) : '',
    filedAt: grant.ask.filedAt,
    deadline: deadlineOf(grant),
    leaves: indexKey(shard, statusIndex(grant, from === 'none' ? status : from)),
    enters: indexKey(shard, statusIndex(grant, status)),
    lasting:
      from === 'none' ? [...lastingIndexes(grant.ask).map((index) => indexKey(shard, index)), ...counted(status)] : [],
    parts: from === 'none' || from === status ? [] : without(counted(from), counted(status)),
    denied: rests > 0 ? denials(grant.ask, sha256).map((denied) => deniedKey(shard, denied)) : [],
    restsMs: rests,
    born: grant.born,
    listed: listedRecord(grant, from),
    decisions: printDecisions(grant),
  }
}

function containedRecord(id: FreezeId, steps: readonly Step[]): ContainedRecord {
  const residues = steps.map(({ grant }) => (inStatus(grant, 'ended') ? grant.head.facts.residueUntil : 0))
  const stages = steps.map(({ grant }) => stageNumber(stageOf(grant) ?? 'ending'))
  return { id, keepMs: KEEP, residue: Math.max(0, ...residues), stages }
}

/** What this step says in a status list: that the grant is live, or is so no more. */
function listedRecord(grant: Grant, from: Status | 'none'): StepRecord['listed'] {
  const place = isLive(grant.head.status) || isLive(from) ? statusPlaceOf(grant) : undefined
  if (place === undefined) return undefined
  const { list, idx } = place
  // By the hour, so that not every commit moves it.
  const keepUntil = Math.ceil((grant.ask.intent.window.closesAt + LIST_OUTLIVES) / hours(1)) * hours(1)
  return { list: statusKey(list), lists: statusListsKey(list.shard), place: idx, keepUntil }
}
/** No token outlives its window; whoever still asks a day later gets no answer, which is none to rely on. */
const LIST_OUTLIVES = days(1)

const guardRecord = (shard: Shard, { notAfter, judgedUnder, bounds = [], denied = [] }: Guard): GuardRecord => ({
  notAfter,
  judged: printControl(judgedUnder),
  bounds: bounds.map(({ of, most }) => ({ key: tallyKey(shard, of), most })),
  denied: denied.map((one) => deniedKey(shard, one)),
})

function refusedBy(
  bound: Bound | undefined,
  reply: readonly [string, number, number, string, number, string],
): BrokerError {
  const [, , , , , first] = reply
  return bound !== undefined && isGrantId(first) ? overBound(bound, first) : broken(reply)
}

const ZERO = milliseconds(0)
const without = (all: readonly string[], some: readonly string[]): readonly string[] =>
  all.filter((one) => !some.includes(one))

function expect<Reply extends readonly [string, ...unknown[]], Tag extends Reply[0]>(
  tag: Tag,
  reply: Reply,
): Extract<Reply, readonly [Tag, ...unknown[]]> {
  if (reply[0] !== tag) throw broken(reply)
  return reply as Extract<Reply, readonly [Tag, ...unknown[]]>
}

/** A key of the wrong type or an argument that the function refused: nothing was written, and nothing a caller can mend. */
const broken = (reply: readonly unknown[]): BrokerError => unavailable(new Error(`${reply[0]}: ${reply[4]}`))

function readable<T>(read: () => T): T {
  try {
    return read()
  } catch (thrown) {
    throw damaged(thrown)
  }
}

const raise = (error: Error): never => {
  throw error
}

function byShard<T>(items: readonly T[], of: (item: T) => Shard): ReadonlyMap<Shard, readonly T[]> {
  const groups = new Map<Shard, T[]>()
  for (const item of items) {
    const shard = of(item)
    const group = groups.get(shard)
    if (group) group.push(item)
    else groups.set(shard, [item])
  }
  return groups
}

const batches = <T>(items: readonly T[]): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(items.length / BATCH) }, (_, n) => items.slice(n * BATCH, (n + 1) * BATCH))

/** Loads by shard and gives back in the order asked for; what has gone since it was listed is left out. */
async function loadInOrder(
  ids: readonly GrantId[],
  loadSome: (shard: Shard, ids: readonly GrantId[]) => Promise<{ readonly grants: readonly (Grant | undefined)[] }>,
): Promise<readonly Grant[]> {
  const found = new Map<GrantId, Grant>()
  for (const [shard, all] of byShard(ids, shardOf))
    for (const some of batches(all))
      for (const grant of (await loadSome(shard, some)).grants) if (grant) found.set(grant.id, grant)
  return ids.flatMap((id) => found.get(id) ?? [])
}

const newestFirst = (a: readonly [string, number], b: readonly [string, number]): number =>
  b[1] - a[1] || (a[0] < b[0] ? 1 : -1)

/** Of shards that there are none of, nothing is kept. */
function parsePlace(text: string | undefined, shards: readonly Shard[]): Map<Shard, string> {
  const places = text === undefined ? new Map() : parsePlaces(text)
  if (places === undefined) throw new BrokerError('invalid_request', 'This is not the id of an event of the feed.')
  return new Map([...places].filter(([shard]) => shards.includes(shard)))
}

const printCursor = (filedAt: number, id: string): string => `${filedAt}-${id}`

function parseCursor(cursor: string): { readonly filedAt: Instant; readonly id: GrantId } {
  const [, filedAt, id] = /^(\d{1,15})-(.+)$/.exec(cursor) ?? []
  if (filedAt === undefined || id === undefined || !isGrantId(id))
    throw new BrokerError('invalid_request', 'This cursor is not one that a former page returned.')
  return { filedAt: Number(filedAt) as Instant, id }
}
