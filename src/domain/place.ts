// Where a reader of the commits is: of each shard the id of the last event that it has passed. Invariant: ids of one shard are in the order of
// its commits, and those of two shards are not comparable; so a place is after another only where it is so in every shard.
import type { Shard } from './ids.ts'
import { type Instant, instant } from './instant.ts'

/** The id of an event in its shard's stream: `<milliseconds>-<n>`. */
export type EventId = string
export type Places = ReadonlyMap<Shard, EventId>

const EVENT = /^(\d{1,15})-(\d{1,15})$/
/** After every event of its millisecond. */
const LAST = 999_999_999_999_999

const partsOf = (id: EventId): readonly [ms: number, n: number] => {
  const [, ms, n] = EVENT.exec(id) ?? []
  return [Number(ms ?? 0), Number(n ?? 0)]
}

export function isAfter(id: EventId, other: EventId): boolean {
  const [ms, n] = partsOf(id)
  const [otherMs, otherN] = partsOf(other)
  return ms > otherMs || (ms === otherMs && n > otherN)
}

/** The place that everything follows that was committed at this time or later. */
export const placeBefore = (at: Instant): EventId => `${Math.max(0, at - 1)}-${LAST}`
/** Up to which time everything has been passed: of an event that is not the last of its millisecond, up to the one before. */
export function passedUntil(id: EventId): Instant {
  const [ms, n] = partsOf(id)
  return instant(n === LAST ? ms : Math.max(0, ms - 1))
}
export const timeOf = (id: EventId): Instant => instant(partsOf(id)[0])

/** Sorts as text as the ids do as numbers. */
export const sortable = (id: EventId): string => {
  const [ms, n] = partsOf(id)
  return `${String(ms).padStart(15, '0')}-${String(n).padStart(15, '0')}`
}

/** `0.1732540000000-0`, joined by `_`; undefined for anything else. */
export function parsePlaces(text: string): Places | undefined {
  const places = new Map<Shard, EventId>()
  for (const part of text.split('_')) {
    const [, of, event] = /^(\d{1,4})\.(\d{1,15}-\d{1,15})$/.exec(part) ?? []
    if (of === undefined || event === undefined) return undefined
    places.set(Number(of) as Shard, event)
  }
  return places
}
export const printPlaces = (places: Places): string =>
  [...places].map(([shard, event]) => `${shard}.${event}`).join('_')

/**
 * A place in exactly these shards. One that it does not name was not there when it was given out, so all of its events are later: it is read from
 * the earliest of the others on.
 */
export function placesIn(shards: readonly Shard[], places: Places): Places {
  const [first, ...more] = places.values()
  const earliest = more.reduce((least, one) => (least !== undefined && isAfter(least, one) ? one : least), first)
  return new Map(
    shards.flatMap((shard) => {
      const place = places.get(shard) ?? (earliest && placeBefore(timeOf(earliest)))
      return place === undefined ? [] : [[shard, place] as const]
    }),
  )
}

/** Whether everything up to `other` has been passed at `places`. */
export const covers = (places: Places, other: Places): boolean =>
  [...other].every(([shard, event]) => {
    const place = places.get(shard)
    return place !== undefined && !isAfter(event, place)
  })

/** In each shard the later of both. */
export function laterOf(places: Places, other: Places): Places {
  const later = new Map(places)
  for (const [shard, event] of other) {
    const place = later.get(shard)
    if (place === undefined || isAfter(event, place)) later.set(shard, event)
  }
  return later
}
