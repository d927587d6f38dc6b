// The grant store in memory: the shipped store over functions that do in this process what the Lua functions do in Redis.
// The replies are type-checked against the real ones, and the same contract suite runs on both.
import type { Shard } from '../../src/domain/ids.ts'
import type { Instant } from '../../src/domain/instant.ts'
import { ALLOWING, BIRTH, isLive, isTerminal, LIFECYCLE, type Status } from '../../src/domain/lifecycle.ts'
import type { Calls, GuardRecord, Position, Reply, StepRecord } from '../../src/redis/calls.ts'
import { grantStore, type ShardStore } from '../../src/redis/grant-store.ts'
import { statusKey } from '../../src/redis/keys.ts'
import { sha256 } from './sample-grants.ts'

interface Row {
  version: number
  status: string
  head: string
  ask: string
  decisions: string[]
  events: string[]
  born: number
}
interface Contained {
  walks: Map<string, string>
  until: Map<string, number>
  residue: number
  matched: Map<string, number>
  each: number | undefined
  at: number | undefined
}
interface ShardData {
  seq: number
  event: string
  events: Map<string, { grant: string; version: number; seq: number; text: string }>
  judged: string
  rows: Map<string, Row>
  due: Map<string, Map<string, number>>
  indexes: Map<string, Map<string, number>>
  buckets: Map<string, number>
  marks: Map<string, number>
  denied: Map<string, number>
  retire: Map<string, number>
  gone: string
  epoch: number
  floor: number
  clearing: string
  held: string
  recovered: string
  freezes: Map<string, { seq: number; lifted: boolean; text: string }>
  containments: Map<string, Contained>
  /** Status lists by key: a bit per place as Redis counts them, and until when it is kept. */
  lists: Map<string, { bits: Uint8Array; keepUntil: number }>
  consumers: Map<string, Map<string, { first: number; last: number }>>
  acks: Map<string, { place: string; at: number }[]>
  uses: Map<string, { rows: Map<string, { at: number; event: string; text: string }>; counts: Map<string, number> }>
}

export interface MemoryStore {
  readonly store: ShardStore
  /** Another broker on the same data. */
  another(lowWater?: (shard: Shard) => number): ShardStore
  /** Another broker on the same data, whose calls are answered by these instead. */
  failing(instead: (calls: Calls) => Partial<Calls>): ShardStore
  /** Remembers the data as they are; the returned function puts them back. */
  snapshot(): () => void
  /** Takes the control record away and leaves all the rest. */
  loseControl(shard: Shard): void
}

export interface MemoryStoreSettings {
  readonly now: () => Instant
  readonly shards?: readonly Shard[]
}

/** Which server it is: a cursor of another one is good for nothing. */
const RUN = 'memory'

export function memoryStore({ now, shards = [0 as Shard] }: MemoryStoreSettings): MemoryStore {
  let data = new Map<Shard, ShardData>()
  let entries = 0
  let connects = 1
  const of = (shard: Shard): ShardData => {
    const known = data.get(shard)
    if (known) return known
    const fresh: ShardData = {
      seq: 0,
      event: '',
      events: new Map(),
      judged: '',
      rows: new Map(),
      due: new Map(),
      indexes: new Map(),
      buckets: new Map(),
      marks: new Map(),
      denied: new Map(),
      retire: new Map(),
      gone: '',
      epoch: 0,
      floor: 0,
      clearing: '',
      held: '',
      recovered: '',
      freezes: new Map(),
      containments: new Map(),
      lists: new Map(),
      consumers: new Map(),
      acks: new Map(),
      uses: new Map(),
    }
    data.set(shard, fresh)
    return fresh
  }
  const calls = memoryCalls(of, now, () => `${now()}-${++entries}`)
  const over = (all: Calls, lowWater: (shard: Shard) => number = () => 0): ShardStore =>
    grantStore({ issuing: all, ending: all, connects: () => connects, sha256, shards, lowWater })
  const another = (lowWater?: (shard: Shard) => number): ShardStore => over(calls, lowWater)
  return {
    store: another(),
    another,
    failing: (instead) => over({ ...calls, ...instead(calls) }),
    loseControl: (shard) => {
      of(shard).judged = ''
    },
    snapshot: () => {
      const kept = structuredClone(data)
      return () => {
        data = structuredClone(kept)
        // A server is restored while it is down.
        connects += 1
      }
    },
  }
}

function memoryCalls(of: (shard: Shard) => ShardData, now: () => Instant, nextEntry: () => string): Calls {
  const isAfter = (id: string, other: string): boolean => {
    const [ms = 0, n = 0] = id.split('-').map(Number)
    const [otherMs = 0, otherN = 0] = other.split('-').map(Number)
    return ms > otherMs || (ms === otherMs && n > otherN)
  }
  const isMissing = (shard: ShardData, event: string): boolean =>
    event !== '' && event !== shard.event && isAfter(event, shard.gone) && !shard.events.has(event)
  const isBehind = (shard: ShardData, seen: Position): 0 | 1 =>
    shard.seq < seen.seq || isMissing(shard, seen.event) ? 1 : 0
  const top = <Tag extends string>(tag: Tag, shard: ShardData, behind: 0 | 1): [Tag, 0 | 1, number, string] => [
    tag,
    behind,
    shard.seq,
    shard.event,
  ]
  const dueIn = (shard: ShardData, lane: string): Map<string, number> => {
    const lanes = shard.due.get(lane) ?? new Map<string, number>()
    shard.due.set(lane, lanes)
    return lanes
  }

  const containedIn = (shard: ShardData, id: string): Contained => {
    const kept = shard.containments.get(id) ?? {
      ...{ walks: new Map(), until: new Map(), residue: 0, matched: new Map() },
      ...{ each: undefined, at: undefined },
    }
    shard.containments.set(id, kept)
    return kept
  }

  const keepPace = (kept: Contained, over: number): void => {
    if (over === 0) return
    const each = (now() - (kept.at ?? now())) / over
    kept.each = kept.each === undefined ? each : kept.each * 0.7 + each * 0.3
    kept.at = now()
  }

  const indexIn = (shard: ShardData, key: string): Map<string, number> => {
    const index = shard.indexes.get(key) ?? new Map<string, number>()
    shard.indexes.set(key, index)
    return index
  }

  type Refusal =
    | ['exists' | 'missing']
    | ['conflict', number, string]
    | ['illegal', string, string]
    | ['malformed', string]
  function refusal(shard: ShardData, step: StepRecord, guarded: boolean): Refusal | undefined {
    const allows = (ALLOWING as readonly string[]).includes(`${step.from}>${step.to}`)
    if (allows && !guarded) return ['illegal', step.from, step.to]
    const row = shard.rows.get(step.keys.head)
    if (step.version === 1 && row) return ['exists']
    if (step.version > 1 && !row) return ['missing']
    const status = row?.status ?? 'none'
    if ((row?.version ?? 0) !== step.version - 1 || status !== step.from) return ['conflict', row?.version ?? 0, status]
    const next: readonly string[] = status === 'none' ? [BIRTH] : LIFECYCLE[status as Status]
    if (!next.includes(step.to)) return ['illegal', status, step.to]
    const unplaced = isLive(status) || isLive(step.to)
    if (unplaced && step.born !== (row?.born ?? 0)) return ['conflict', row?.version ?? 0, status]
    if (isTerminal(step.to as Status) !== (step.deadline === undefined)) return ['malformed', 'deadline']
    if (step.decisions.length < (row?.decisions.length ?? 0)) return ['malformed', 'decisions']
    return undefined
  }

  function refuse(
    shard: ShardData,
    refused: Refusal,
    behind: 0 | 1,
  ): Exclude<Reply<'grant_end_commit'>, ['ok', ...unknown[]]> {
    switch (refused[0]) {
      case 'conflict':
        return [...top(refused[0], shard, behind), refused[1], refused[2]]
      case 'illegal':
        return [...top(refused[0], shard, behind), refused[1], refused[2]]
      case 'malformed':
        return [...top(refused[0], shard, behind), refused[1]]
      default:
        return top(refused[0], shard, behind)
    }
  }

  function mark(shard: ShardData, { listed, to }: StepRecord): void {
    if (listed === undefined) return
    const { bits, keepUntil } = listIn(shard, listed.list) ?? { bits: new Uint8Array(8_192), keepUntil: 0 }
    const byte = bits[listed.place >> 3] ?? 0
    const bit = 128 >> (listed.place & 7)
    bits[listed.place >> 3] = isLive(to) ? byte | bit : byte & ~bit
    if (isLive(to)) shard.lists.set(listed.list, { bits, keepUntil: Math.max(keepUntil, listed.keepUntil) })
  }

  const listIn = (shard: ShardData, key: string) => {
    const list = shard.lists.get(key)
    return list !== undefined && list.keepUntil > now() ? list : undefined
  }

  function write(shard: ShardData, step: StepRecord): void {
    shard.seq += 1
    shard.event = nextEntry()
    shard.events.set(shard.event, { grant: step.id, version: step.version, seq: shard.seq, text: step.event })
    const row = shard.rows.get(step.keys.head)
    indexIn(shard, step.leaves).delete(step.id)
    for (const key of [step.enters, ...step.lasting]) indexIn(shard, key).set(step.id, step.filedAt)
    for (const key of step.parts) indexIn(shard, key).delete(step.id)
    for (const key of step.denied) shard.denied.set(key, now() + step.restsMs)
    mark(shard, step)
    const due = dueIn(shard, step.lane)
    if (step.deadline === undefined) {
      due.delete(step.id)
      shard.retire.set(step.id, now())
    } else due.set(step.id, step.deadline)
    shard.rows.set(step.keys.head, {
      version: step.version,
      status: step.to,
      head: step.head,
      ask: row?.ask ?? step.ask,
      decisions: [...(row?.decisions ?? []), ...step.decisions.slice(row?.decisions.length ?? 0)],
      events: [...(row?.events ?? []), shard.event],
      born: row?.born ?? shard.seq,
    })
  }

  function guardRefusal(shard: ShardData, seen: Position, guard: GuardRecord) {
    if (isBehind(shard, seen)) return 'behind'
    if (shard.judged === '') return 'absent'
    return shard.judged === guard.judged ? undefined : 'stale'
  }

  const highest = (shard: ShardData, seen: Position): number =>
    Math.max(shard.seq, seen.seq, [...shard.events.values()].at(-1)?.seq ?? 0)
  const put = (shard: ShardData, judged: string): void => {
    shard.seq += 1
    shard.judged = judged
  }
  const raised = (shard: ShardData, judged: string): string => {
    const members = judged.split('|')
    shard.epoch = Math.max(shard.epoch, Number(members[4])) + 1
    return [...members.slice(0, 4), shard.epoch].join('|')
  }
  function putFreeze(shard: ShardData, id: string, version: number, event: string): void {
    shard.seq += 1
    shard.event = nextEntry()
    shard.events.set(shard.event, { grant: id, version, seq: shard.seq, text: event })
    if (shard.judged === '') shard.epoch += 1
    else shard.judged = raised(shard, shard.judged)
  }

  return {
    commit: async (at, seen, guard, step) => {
      const shard = of(at)
      const guarded = guardRefusal(shard, seen, guard)
      if (guarded) return top(guarded, shard, isBehind(shard, seen))
      const refused = refusal(shard, step, true)
      if (refused) return refuse(shard, refused, 0)
      if (guard.notAfter !== undefined && now() >= guard.notAfter) return [...top('late', shard, 0), now()]
      for (const [n, { key, most }] of guard.bounds.entries()) {
        const [first] = [...indexIn(shard, key)].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))
        if (first !== undefined && indexIn(shard, key).size >= most) return [...top('full', shard, 0), n + 1, first[0]]
      }
      for (const key of guard.denied) {
        const left = (shard.denied.get(key) ?? 0) - now()
        if (left > 0) return [...top('resting', shard, 0), left]
      }
      write(shard, step)
      return top('ok', shard, 0)
    },
    endCommit: async (at, seen, step) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      const refused = refusal(shard, step, false)
      if (refused) return refuse(shard, refused, behind)
      write(shard, step)
      return top('ok', shard, behind)
    },
    commitEach: async (at, seen, steps, contained) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      const kept = contained && containedIn(shard, contained.id)
      let over = 0
      const rows = steps.map((step, n): ['ok', number] | Refusal => {
        const refused = refusal(shard, step, false)
        if (refused) return refused
        write(shard, step)
        const stage = contained?.stages[n] ?? 0
        kept?.matched.set(step.id, stage)
        if (stage >= 2) over += 1
        return ['ok', shard.seq]
      })
      if (kept !== undefined && rows.some(([tag]) => tag === 'ok')) {
        keepPace(kept, over)
        kept.residue = Math.max(kept.residue, contained?.residue ?? 0)
      }
      return [...top('ok', shard, behind), rows]
    },
    claimDue: async (at, seen, { lane, limit, leaseMs }) => {
      const shard = of(at)
      const due = dueIn(shard, lane)
      const ids = [...due]
        .filter(([, deadline]) => deadline <= now())
        .sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))
        .slice(0, limit)
        .map(([id]) => id)
      for (const id of ids) due.set(id, now() + leaseMs)
      return [...top('ok', shard, isBehind(shard, seen)), ids]
    },
    load: async (at, seen, grants, { asks }) => {
      const shard = of(at)
      const rows = grants.map(({ head }): [] | [number, string, string, string[], number] => {
        const row = shard.rows.get(head)
        if (row === undefined) return []
        return [row.version, row.head, asks ? row.ask : '', [...row.decisions], row.born]
      })
      return [...top('ok', shard, isBehind(shard, seen)), shard.judged, rows]
    },
    asks: async (at, grants) => grants.map(({ head }) => of(at).rows.get(head)?.ask ?? ''),
    events: async (at, seen, { head }) => {
      const shard = of(at)
      const events = (shard.rows.get(head)?.events ?? []).flatMap((entry): [number, number, string][] => {
        const event = shard.events.get(entry)
        return event ? [[event.version, event.seq, event.text]] : []
      })
      return [...top('ok', shard, isBehind(shard, seen)), events]
    },
    list: async (at, seen, { indexes, limit, after, from = 0 }) => {
      const shard = of(at)
      const rows = [...new Map(indexes.flatMap((key) => [...indexIn(shard, key)]))]
        .filter(([, filedAt]) => filedAt >= from)
        .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? 1 : -1))
        .filter(([id, filedAt]) => !after || filedAt < after.filedAt || (filedAt === after.filedAt && id < after.id))
        .slice(0, limit)
      return [...top('ok', shard, isBehind(shard, seen)), rows]
    },
    feed: async (at, seen, { after, limit }) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      const over = `${now() - 1}-999999999999999`
      if (after === '' || !isAfter(over, after)) return [...top('ok', shard, behind), after || over, 0, []]
      const rows = [...shard.events]
        .filter(([id]) => isAfter(id, after) && !isAfter(id, over))
        .slice(0, limit)
        .map(([id, { grant, version, seq, text }]): [string, string, number, number, string] => [
          id,
          grant,
          version,
          seq,
          text,
        ])
      const more = rows.length === limit
      return [...top('ok', shard, behind), more ? (rows.at(-1)?.[0] ?? over) : over, more ? 1 : 0, rows]
    },
    counts: async (at, seen, indexes) => {
      const shard = of(at)
      return [...top('ok', shard, isBehind(shard, seen)), indexes.map((key) => indexIn(shard, key).size)]
    },
    useOnce: async (at, seen, { mark, until }) => {
      const shard = of(at)
      const first = (shard.marks.get(mark) ?? 0) <= now()
      if (first) shard.marks.set(mark, until)
      return [...top('ok', shard, isBehind(shard, seen)), first ? 1 : 0]
    },
    readStatus: async (at, seen, name) => {
      const shard = of(at)
      const list = listIn(shard, statusKey(name))
      const bits = list?.bits.slice() ?? new Uint8Array()
      return [...top('ok', shard, isBehind(shard, seen)), shard.judged, list === undefined ? 0 : 1, bits]
    },
    statusLists: async (at, seen) => {
      const shard = of(at)
      const keys = [...shard.lists.keys()].filter((key) => listIn(shard, key) !== undefined)
      return [...top('ok', shard, isBehind(shard, seen)), keys]
    },
    take: async (at, seen, { bucket, perMs, most, want }) => {
      const shard = of(at)
      const each = perMs / most
      const stored = shard.buckets.get(bucket) ?? 0
      const fullAt = Math.min(Math.max(stored, now()), now() + perMs)
      const there = Math.floor((perMs - (fullAt - now())) / each + 0.001)
      const given = Math.max(0, Math.min(want, there))
      const next = fullAt + given * each
      if (given > 0 || stored > fullAt) shard.buckets.set(bucket, next)
      const retry = there - given > 0 ? 0 : Math.max(0, Math.ceil(next + each - perMs - now()))
      return [...top('ok', shard, isBehind(shard, seen)), given, Math.max(0, there - given), retry]
    },
    retired: async (at, seen, { keepMs, limit }) => {
      const shard = of(at)
      if (isBehind(shard, seen)) return top('behind', shard, 1)
      const ids = [...shard.retire]
        .filter(([, over]) => over <= now() - keepMs)
        .sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))
        .slice(0, limit)
        .map(([id]) => id)
      return [...top('ok', shard, 0), ids]
    },
    forget: async (at, seen, keepMs, grants) => {
      const shard = of(at)
      if (isBehind(shard, seen)) return top('behind', shard, 1)
      let forgotten = 0
      for (const { keys, id, version, uses, indexes } of grants) {
        const row = shard.rows.get(keys.head)
        const over = shard.retire.get(id)
        if (row?.version !== version || !isTerminal(row.status as Status)) continue
        if (over === undefined || over > now() - keepMs) continue
        const reported = [...(shard.uses.get(keys.uses)?.rows.values() ?? [])]
        if (reported.length !== uses) continue
        for (const entry of [...row.events, ...reported.flatMap(({ event }) => event || [])]) {
          if (isAfter(entry, shard.gone)) shard.gone = entry
          shard.events.delete(entry)
        }
        shard.rows.delete(keys.head)
        shard.uses.delete(keys.uses)
        for (const key of indexes) indexIn(shard, key).delete(id)
        shard.retire.delete(id)
        forgotten += 1
      }
      return [...top('ok', shard, 0), forgotten]
    },
    readControl: async (at, seen) => {
      const { judged, floor, clearing, recovered, events } = of(at)
      const known = events.has(seen.event) ? 1 : 0
      return [...top('ok', of(at), isBehind(of(at), seen)), judged, floor, clearing, recovered, known]
    },
    publish: async (at, seen, record, mayCreate) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      if (shard.judged === '') {
        if (shard.seq > 0) return top('used', shard, behind)
        if (!mayCreate) return top('absent', shard, behind)
        put(shard, record)
        return [...top('ok', shard, behind), shard.judged]
      }
      const [policy = '', policyDigest = '', people = '', peopleDigest = '', epoch = ''] = shard.judged.split('|')
      const next = record.split('|')
      if (Number(next[0]) < Number(policy)) return [...top('lower', shard, behind), 'policy']
      if (Number(next[2]) < Number(people)) return [...top('lower', shard, behind), 'people']
      if (next[0] === policy && next[1] !== policyDigest) return [...top('differs', shard, behind), 'policy']
      if (next[2] === people && next[3] !== peopleDigest) return [...top('differs', shard, behind), 'people']
      const newer = [...next.slice(0, 4), epoch].join('|')
      if (newer !== shard.judged) put(shard, newer)
      return [...top('ok', shard, behind), shard.judged]
    },
    clear: async (at, seen, text) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      if (shard.clearing !== '' && shard.floor >= seen.seq)
        return [...top('ok', shard, behind), shard.floor, shard.clearing]
      shard.seq = highest(shard, seen) + 1_000_000
      Object.assign(shard, { floor: shard.seq, clearing: text, held: shard.judged || shard.held, judged: '' })
      return [...top('ok', shard, behind), shard.floor, shard.clearing]
    },
    accept: async (at, seen, { record, floor }) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      if (shard.clearing === '' ? floor !== undefined : floor !== shard.floor)
        return [...top('moved', shard, behind), shard.floor]
      shard.seq = highest(shard, seen)
      shard.epoch = Math.max(shard.epoch, Number(record.split('|')[4]))
      put(shard, raised(shard, shard.judged || shard.held || record))
      Object.assign(shard, { recovered: shard.clearing || shard.recovered, clearing: '', held: '' })
      return [...top('ok', shard, behind), shard.judged]
    },
    born: async (at, seen, { after, limit }) => {
      const shard = of(at)
      const rows = [...shard.events].filter(([id]) => after === '' || isAfter(id, after)).slice(0, limit)
      const more = rows.length === limit
      const ids = rows.flatMap(([, { grant, version }]) => (version === 1 ? [grant] : []))
      return [...top('ok', shard, isBehind(shard, seen)), more ? (rows.at(-1)?.[0] ?? after) : after, more ? 1 : 0, ids]
    },
    putFreeze: async (at, seen, { id, text, event }) => {
      const shard = of(at)
      const behind = isBehind(shard, seen)
      const before = shard.freezes.get(id)
      if (before !== undefined) return [...top('ok', shard, behind), before.seq]
      putFreeze(shard, id, 1, event)
      shard.freezes.set(id, { seq: shard.seq, lifted: false, text })
      return [...top('ok', shard, behind), shard.seq]
    },
    liftFreeze: async (at, seen, { id, text, event, rules }) => {
      const shard = of(at)
      if (isBehind(shard, seen)) return top('behind', shard, 1)
      if (shard.judged === '') return top('absent', shard, 0)
      if (!shard.judged.startsWith(`${rules}|`)) return top('stale', shard, 0)
      const before = shard.freezes.get(id)
      if (before === undefined) return top('missing', shard, 0)
      if (before.lifted) return [...top('ok', shard, 0), shard.seq, before.text]
      putFreeze(shard, id, 2, event)
      shard.freezes.set(id, { ...before, lifted: true, text })
      return [...top('ok', shard, 0), shard.seq, text]
    },
    live: async (at, seen, { lane, cursor, run, about }) => {
      const shard = of(at)
      const from = run === RUN ? Number(cursor) : 0
      // In the order of their births, which nothing changes.
      const born = (id: string): number => [...shard.rows.values()].find(({ ask }) => ask.includes(id))?.born ?? 0
      const page = [...dueIn(shard, lane).keys()]
        .map((id) => ({ id, at: born(id) }))
        .filter((one) => one.at > from)
        .sort((one, other) => one.at - other.at)
        .slice(0, about)
      const next = page.length < about ? 0 : (page.at(-1)?.at ?? 0)
      return [...top('ok', shard, isBehind(shard, seen)), String(next), RUN, page.map(({ id }) => id)]
    },
    claimWalk: async (at, seen, { id, lane, leaseMs }) => {
      const shard = of(at)
      const kept = containedIn(shard, id)
      if ((kept.until.get(lane) ?? 0) > now()) return top('held', shard, isBehind(shard, seen))
      kept.until.set(lane, now() + leaseMs)
      kept.at ??= now()
      return [...top('ok', shard, isBehind(shard, seen)), kept.walks.get(lane) ?? '']
    },
    noteContained: async (at, seen, id, { lane, walk, leaseMs, residue, stages }) => {
      const shard = of(at)
      const kept = containedIn(shard, id)
      const over = stages.filter((one) => one.stage >= 2 && (kept.matched.get(one.id) ?? 0) < 2).length
      for (const one of stages) kept.matched.set(one.id, one.stage)
      keepPace(kept, over)
      kept.residue = Math.max(kept.residue, residue)
      if (lane !== '') {
        kept.walks.set(lane, walk)
        kept.until.set(lane, now() + leaseMs)
      }
      return top('ok', shard, isBehind(shard, seen))
    },
    readContainment: async (at, seen, id, stages) => {
      const shard = of(at)
      const { walks, residue, matched, each, at: last } = containedIn(shard, id)
      const counts = Array.from({ length: stages }, (_, n) => [...matched.values()].filter((one) => one === n).length)
      const pace: [string, number] = [each === undefined ? '' : each.toFixed(3), last ?? 0]
      return [...top('ok', shard, isBehind(shard, seen)), [...walks].flat(), residue, counts, ...pace]
    },
    pageContained: async (at, seen, id, { from, to, offset, limit }) => {
      const shard = of(at)
      const rows = [...containedIn(shard, id).matched]
        .filter(([, stage]) => stage >= from && stage <= to)
        .sort((one, other) => one[1] - other[1] || (one[0] < other[0] ? -1 : 1))
      return [...top('ok', shard, isBehind(shard, seen)), rows.slice(offset, offset + limit)]
    },
    acknowledge: async (at, seen, { server, consumer, event, unbroken, most, mostConsumers, freshMs }) => {
      const shard = of(at)
      if (isBehind(shard, seen)) return top('behind', shard, 1)
      if (isAfter(event, `${now()}-999999999999999`)) return top('ahead', shard, 0)
      const consumers = shard.consumers.get(server) ?? new Map<string, { first: number; last: number }>()
      shard.consumers.set(server, consumers)
      if (!consumers.has(consumer) && consumers.size >= mostConsumers) {
        const [oldest] = [...consumers]
          .filter(([, { last }]) => last < now() - freshMs)
          .sort((a, b) => a[1].last - b[1].last)
        if (oldest === undefined) return top('full', shard, 0)
        consumers.delete(oldest[0])
      }
      consumers.set(consumer, { first: consumers.get(consumer)?.first ?? now(), last: now() })
      const key = `${server}/${consumer}`
      const acks = shard.acks.get(key) ?? []
      shard.acks.set(key, acks)
      const last = acks.at(-1)
      if (last !== undefined && !isAfter(event, last.place)) return top('ok', shard, 0)
      if (last !== undefined && unbroken !== '' && !isAfter(unbroken, last.place)) last.place = event
      else acks.push({ place: event, at: now() })
      acks.splice(0, acks.length - most)
      return top('ok', shard, 0)
    },
    left: async (at, seen, { grant, server }) => {
      const shard = of(at)
      const events = (shard.rows.get(grant.head)?.events ?? []).flatMap((id): [string, string][] => {
        const event = shard.events.get(id)
        return event ? [[id, event.text]] : []
      })
      const consumers = [...(shard.consumers.get(server) ?? [])].flatMap(([name, { first, last }]) => [
        name,
        `${first} ${last}`,
      ])
      return [...top('ok', shard, isBehind(shard, seen)), events, consumers]
    },
    acked: async (at, seen, { server, consumers, event }) => {
      const shard = of(at)
      const times = consumers.map((consumer) => {
        const acks = shard.acks.get(`${server}/${consumer}`) ?? []
        return String(acks.find(({ place }) => !isAfter(event, place))?.at ?? '')
      })
      return [...top('ok', shard, isBehind(shard, seen)), times]
    },
    reportUses: async (at, seen, { keys, id, most, uses }) => {
      const shard = of(at)
      if (isBehind(shard, seen)) return top('behind', shard, 1)
      const grant = shard.rows.get(keys.head)
      if (grant === undefined) return top('missing', shard, 0)
      const stored = shard.uses.get(keys.uses) ?? { rows: new Map(), counts: new Map<string, number>() }
      shard.uses.set(keys.uses, stored)
      const count = (kind: string): void => void stored.counts.set(kind, (stored.counts.get(kind) ?? 0) + 1)
      const rows = uses.map((use): ['kept' | 'left' | 'repeated', number] => {
        if (stored.rows.has(use.id)) return ['repeated', 0]
        if ((stored.counts.get(use.kind) ?? 0) >= most) {
          count(use.kind)
          count('left')
          return ['left', 0]
        }
        let event = ''
        if (use.event !== '') {
          shard.seq += 1
          event = nextEntry()
          shard.event = event
          shard.events.set(event, { grant: id, version: grant.version, seq: shard.seq, text: use.event })
        }
        stored.rows.set(use.id, { at: now(), event, text: use.text })
        count(use.kind)
        return ['kept', event === '' ? 0 : shard.seq]
      })
      return [...top('ok', shard, 0), rows]
    },
    uses: async (at, seen, keys) => {
      const shard = of(at)
      const stored = shard.uses.get(keys.uses)
      const rows = [...(stored?.rows.values() ?? [])].map(({ at: when, text }): [number, string] => [when, text])
      return [...top('ok', shard, isBehind(shard, seen)), rows, [...(stored?.counts ?? [])]]
    },
    freezes: async (at, seen) => {
      const shard = of(at)
      const rows = [...shard.freezes.values()].map(({ seq, text }): [number, string] => [seq, text])
      return [...top('ok', shard, isBehind(shard, seen)), shard.judged, rows]
    },
  }
}
