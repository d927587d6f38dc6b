// The end of grants as those hear of it who check our tokens, and what they say to it. It is read from the stream of commits itself: no list of
// its own that could miss one. Invariant: an answer is only given where the store is as this broker knows it; whatever else it is, is an error.
import { z } from 'zod'
import type { Reach, Revocation, RevocationStore, RevocationsRead } from '../broker/ports.ts'
import { BrokerError } from '../domain/errors.ts'
import { type GrantId, isGrantId, type Shard, shardOf } from '../domain/ids.ts'
import { type Duration, days, earliest, type Instant, instant } from '../domain/instant.ts'
import { type EventId, parsePlaces, passedUntil, placeBefore, placesIn } from '../domain/place.ts'
import type { Calls, Reply } from './calls.ts'
import { damaged, isDamage, unavailable } from './connect.ts'
import { readEvent } from './grant-record.ts'
import { grantKeys } from './keys.ts'
import { BEHIND, NO_CONTROL, recoveringError, type ShardMemory } from './shard-memory.ts'

export interface RevocationStoreParts {
  readonly issuing: Calls
  readonly memory: ShardMemory
  readonly connects: () => number
  readonly shards: readonly Shard[]
}

/** An instance that has not been heard of for so long does not count in what ends from then on. */
export const FRESH: Duration = days(1)
/** How long is kept who acknowledged what, since they last did. */
const KEEP: Duration = days(90)
/** Of one instance. An acknowledgement that moves past no revocation is none more. */
const MOST_ACKS = 10_000
/** Of one resource server: instances that have a new name at each start. */
const MOST_CONSUMERS = 1_000
/** Grants in one call: more would hold Redis up for everybody else. */
const BATCH = 100

/** All that is wanted of an ask that may be long: it is read once for each grant that ends. */
const Heard = z.object({ audience: z.string() })

export function revocationStore({ issuing, memory, connects, shards }: RevocationStoreParts): RevocationStore {
  type Row = Extract<Reply<'grant_feed'>, ['ok', ...unknown[]]>[6][number]

  /** With what the store knows at that moment of the grants that end in these rows. */
  async function heardIn(shard: Shard, rows: readonly Row[]): Promise<readonly Revocation[]> {
    const ends = rows.flatMap(([event, id, version, , text]) => {
      // By a look first: most of what is committed ends nothing.
      const found = isGrantId(id) && text.includes('"type":"end') ? unlessDamaged(() => readEvent(text)) : undefined
      const status = found?.type
      if (found === undefined || (status !== 'ending' && status !== 'ended')) return []
      return [{ event, version, at: found.at, status, grant: found.grant }]
    })
    const stored = new Map<GrantId, { readonly version: number; readonly audience: string }>()
    const ids = [...new Set(ends.map(({ grant }) => grant))]
    const batches = Array.from({ length: Math.ceil(ids.length / BATCH) }, (_, n) =>
      ids.slice(n * BATCH, (n + 1) * BATCH),
    )
    // Asked together: in a storm of ends the way to Redis and back is most of the time.
    for (const some of await Promise.all(batches.map((batch) => loaded(shard, batch))))
      for (const one of some) stored.set(one.id, one)
    return ends.flatMap(({ version, ...end }) => {
      const grant = stored.get(end.grant)
      // An event above the stored version was never committed: its writer died between the two.
      return grant === undefined || version > grant.version ? [] : [{ ...end, shard, audience: grant.audience }]
    })
  }

  async function loaded(shard: Shard, ids: readonly GrantId[]) {
    const load = async (some: readonly GrantId[]) => {
      const keys = some.map(grantKeys)
      const [reply, asks] = await Promise.all([
        memory.watch(shard, (seen) => issuing.load(shard, seen, keys, { asks: false }), connects()),
        issuing.asks(shard, keys),
      ])
      if (reply[0] !== 'ok') throw damaged(new Error(`${reply[0]}: ${reply[4]}`))
      return some.flatMap((id, n) => {
        const [version] = reply[5][n] ?? []
        const ask = asks[n]
        if (version === undefined || ask === undefined) return []
        const heard = unlessDamaged(() => Heard.parse(JSON.parse(ask)))
        return heard === undefined ? [] : [{ id, version, audience: heard.audience }]
      })
    }
    try {
      return await load(ids)
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown
      // One that is damaged must not keep the word of all the others.
      const each = await Promise.all(
        ids.map((id) =>
          load([id]).catch((cause: unknown) => {
            if (isDamage(cause)) return []
            throw cause
          }),
        ),
      )
      return each.flat()
    }
  }

  /** The state of the shard and what follows there, asked together. */
  async function readOn(shard: Shard, after: EventId | undefined, limit: number) {
    memory.refuseIfBehind(shard)
    const connection = connects()
    const [control, feed] = await Promise.all([
      memory.watch(shard, (seen) => issuing.readControl(shard, seen), connection),
      memory.watch(shard, (seen) => issuing.feed(shard, seen, { after: after ?? '', limit }), connection),
    ])
    if (control[0] !== 'ok') throw unavailable(new Error(`${control[0]}: ${control[4]}`))
    if (feed[0] !== 'ok') throw unavailable(new Error(`${feed[0]}: ${feed[4]}`))
    if (control[1] === 1 || feed[1] === 1) throw recoveringError(BEHIND)
    if (memory.noteControl(shard, control[4]) === undefined) throw recoveringError(NO_CONTROL)
    return { place: feed[4], more: feed[5] === 1, revocations: await heardIn(shard, feed[6]) }
  }

  return {
    read: async (after, limit): Promise<RevocationsRead> => {
      const places = after && placesIn(shards, after)
      const found = await Promise.all(
        shards.map(async (shard) => ({ shard, ...(await readOn(shard, places?.get(shard), limit)) })),
      )
      const [first, ...others] = found.map(({ place }) => passedUntil(place))
      if (first === undefined) throw recoveringError(NO_CONTROL)
      return {
        revocations: found.flatMap(({ revocations }) => revocations),
        next: new Map(found.map(({ shard, place }) => [shard, place])),
        until: earliest(first, ...others),
        more: found.some(({ more }) => more),
      }
    },

    parse: (text) => {
      const places = parsePlaces(text)
      if (places !== undefined) return placesIn(shards, places)
      throw new BrokerError('invalid_request', 'This is not a position of the feed.', {
        nextAction: 'Send a position as the feed gave it.',
        facts: { member: 'position' },
      })
    },

    since: (at) => new Map(shards.map((shard) => [shard, placeBefore(at)])),

    acknowledge: async ({ server, consumer, places, unbroken }) => {
      await Promise.all(
        [...placesIn(shards, places)].map(async ([shard, event]) => {
          memory.refuseIfBehind(shard)
          const ack = {
            server,
            consumer,
            event,
            unbroken: unbroken.get(shard) ?? '',
            most: MOST_ACKS,
            keepMs: KEEP,
            mostConsumers: MOST_CONSUMERS,
            freshMs: FRESH,
          }
          const reply = await memory.watch(shard, (seen) => issuing.acknowledge(shard, seen, ack), connects())
          switch (reply[0]) {
            case 'ok':
              return
            case 'behind':
              throw recoveringError(BEHIND)
            case 'ahead':
              throw new BrokerError('invalid_request', 'Nobody can have read that far.', {
                facts: { member: 'position' },
              })
            case 'full':
              throw new BrokerError('too_many_requests', 'This server has too many instances that acknowledge.', {
                nextAction: 'Give each instance a name that stays over its restarts.',
                facts: { limit: 'consumers of one resource server' },
              })
            default:
              throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
          }
        }),
      )
    },

    reach: async (id, server): Promise<Reach | undefined> => {
      const shard = shardOf(id)
      if (!shards.includes(shard)) return undefined
      const of = { grant: grantKeys(id), server }
      const reply = await memory.watch(shard, (seen) => issuing.left(shard, seen, of), connects())
      if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
      const left = reply[4].flatMap(([event, text]) => {
        const told = unlessDamaged(() => readEvent(text))
        return told?.type === 'ending' || told?.type === 'ended' ? [{ event, at: told.at }] : []
      })[0]
      if (left === undefined) return undefined
      const { event, at } = left
      const consumers = countingAt(at, consumersIn(reply[5]))
      if (consumers.length === 0) return { at, consumers: [] }
      const acked = await memory.watch(
        shard,
        (seen) => issuing.acked(shard, seen, { server, consumers, event }),
        connects(),
      )
      if (acked[0] !== 'ok') throw unavailable(new Error(`${acked[0]}: ${acked[4]}`))
      const times = acked[4]
      return {
        at,
        consumers: consumers.map((name, n) => ({
          name,
          acknowledgedAt: times[n] === undefined || times[n] === '' ? undefined : instant(Number(times[n])),
        })),
      }
    },
  }
}

interface Consumer {
  readonly name: string
  readonly first: Instant
  readonly last: Instant
}

/** Names and `first last`, by turns. */
const consumersIn = (flat: readonly string[]): readonly Consumer[] =>
  flat.flatMap((name, at) => {
    const [, first, last] = at % 2 === 0 ? (/^(\d+) (\d+)$/.exec(flat[at + 1] ?? '') ?? []) : []
    return first === undefined || last === undefined
      ? []
      : [{ name, first: instant(Number(first)), last: instant(Number(last)) }]
  })

/** Who is to know of what happened at this moment: who was there, or else who came first afterwards. */
function countingAt(at: Instant, consumers: readonly Consumer[]): readonly string[] {
  const there = consumers.filter(({ first, last }) => first <= at && last >= at - FRESH)
  const later = consumers.toSorted((a, b) => a.first - b.first).filter(({ first }) => first > at)
  return (there.length > 0 ? there : later.slice(0, 1)).map(({ name }) => name).toSorted()
}

function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
