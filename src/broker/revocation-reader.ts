// One reader of the ends for all who listen at this broker, so that a hundred thousand of them are read once and not once for each verifier.
// What it has read lately is kept, up to a bound; who is further behind reads the store by position. Invariant: what is told as read has been
// read, and no failure is ever silence: whoever waits hears of it.
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { Shard } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { covers, type EventId, isAfter, laterOf, type Places } from '../domain/place.ts'
import type { Ports, Revocation, RevocationsRead } from './ports.ts'

export interface ReaderLimits {
  /** Between two looks of which the first has found all there was. */
  readonly lookEveryMs: number
  /** Events in one look. */
  readonly look: number
  /** Ends that are kept here, and for about how long: whoever is further behind than that has been away. */
  readonly most: number
  readonly keepMs: number
  /** How many looks it goes on for after nobody waits any more: who listens comes again at once. */
  readonly linger: number
  /** For so long a store that does not answer is asked again before those who wait are told. */
  readonly patienceMs: number
}
export const READER_LIMITS: ReaderLimits = {
  lookEveryMs: 100,
  look: 500,
  most: 20_000,
  keepMs: 120_000,
  linger: 50,
  patienceMs: 1_000,
}

/** What was read, as it stands after the newest look. */
export interface Lately {
  /** Everything after `from`, up to `to`, that is not cut. */
  readonly from: Places
  readonly to: Places
  /** By the store's clock: everything until then was read. */
  readonly until: Instant
  /** Counts the looks that were answered. */
  readonly looks: number
}

export interface Reader {
  /** Resolves after a look that began later than this call. Rejects with what hinders it, `recovering` at once. */
  fresh(): Promise<Lately>
  /**
   * Resolves at the next look that is answered; undefined when `over` is, and the newest look was answered too: what cannot be read at that
   * moment is waited for or thrown. Rejects as `fresh` does.
   */
  next(after: Lately, over: Promise<unknown>): Promise<Lately | undefined>
  /**
   * What of these audiences follows that place, oldest first, at most so many, and the place after it; undefined for a place from before
   * what is kept here.
   */
  following(
    places: Places,
    audiences: readonly string[],
    most: number,
  ): { readonly revocations: readonly Revocation[]; readonly places: Places } | undefined
  /** From where on, up to `places`, nothing was told to these audiences, as far as is kept here. */
  unbroken(places: Places, audiences: readonly string[]): Places
}

interface Entry extends Revocation {
  /** Up to and with this one. */
  readonly places: Places
}
type State = { readonly lately: Lately | undefined; readonly failure: unknown; readonly began: number }

export function revocationReader(
  p: Pick<Ports, 'revocations' | 'pause'>,
  limits: ReaderLimits = READER_LIMITS,
): Reader {
  let entries: Entry[] = []
  let lately: Lately | undefined
  /** Looks begun, and those who wait for the next that is over. */
  let begun = 0
  let waiting: ((state: State) => void)[] = []
  let listeners = 0
  let running = false
  /** Whether the newest look was not answered. */
  let failing = false

  const told = (state: State): void => {
    const now = waiting
    waiting = []
    for (const tell of now) tell(state)
  }
  const nextState = (): Promise<State> => new Promise((resolve) => waiting.push(resolve))

  function take(read: RevocationsRead): Lately {
    let at = lately?.to ?? read.next
    for (const one of read.revocations) {
      at = new Map([...at, [one.shard, one.event]])
      entries.push({ ...one, places: at })
    }
    let from = lately?.from ?? read.next
    // A quarter at a time: cutting one by one would move all the others each time.
    const quarter = Math.floor(entries.length / 4)
    const isOld = (entries[quarter]?.at ?? read.until) < read.until - limits.keepMs
    const cut = entries.length > limits.most ? entries.length - Math.ceil(limits.most * 0.75) : isOld ? quarter : 0
    if (cut > 0) {
      from = entries[cut - 1]?.places ?? from
      entries = entries.slice(cut)
    }
    return { from, to: read.next, until: read.until, looks: (lately?.looks ?? 0) + 1 }
  }

  async function run(): Promise<void> {
    for (let idle = 0; idle <= limits.linger; idle = listeners > 0 ? 0 : idle + 1) {
      const began = ++begun
      let more = false
      try {
        const read = await p.revocations.read(lately?.to, limits.look)
        lately = take(read)
        more = read.more
        failing = false
        told({ lately, failure: undefined, began })
      } catch (failure) {
        failing = true
        told({ lately, failure, began })
        if (listeners === 0) break
      }
      if (!more) await p.pause(limits.lookEveryMs)
    }
    // What is kept would be read on from long ago when somebody comes again: from then on is soon enough.
    entries = []
    lately = undefined
    running = false
    if (listeners > 0) start()
  }
  function start(): void {
    if (running) return
    running = true
    void run()
  }

  /** Counts whoever waits, so that the reader goes on. */
  async function listening<T>(work: () => Promise<T>): Promise<T> {
    listeners += 1
    try {
      start()
      return await work()
    } finally {
      listeners -= 1
    }
  }

  /** The first state that is good enough; a failure that lasts, or that nothing but a person ends, is thrown. */
  async function until(good: (state: State) => boolean, over: Promise<unknown>): Promise<Lately | undefined> {
    const overSoon = over.then(() => 'over' as const)
    let patience: Promise<'out'> | undefined
    let isOver = false
    for (;;) {
      const seen = await Promise.race([
        nextState(),
        ...(isOver ? [] : [overSoon]),
        ...(patience === undefined ? [] : [patience]),
      ])
      if (seen === 'out') throw unread()
      if (seen === 'over') {
        if (!failing) return undefined
        isOver = true
        patience ??= out()
        continue
      }
      if (seen.failure !== undefined) {
        if (!isBrokerError(seen.failure, 'store_unavailable')) throw seen.failure
        patience ??= out()
        continue
      }
      patience = undefined
      if (seen.lately !== undefined && good(seen)) return seen.lately
    }
  }
  const out = (): Promise<'out'> => p.pause(limits.patienceMs).then(() => 'out' as const)
  const never = new Promise<never>(() => undefined)

  return {
    fresh: () =>
      listening(async () => {
        const after = begun
        return (await until(({ began }) => began > after, never)) ?? raise(unread())
      }),

    next: (after, over) =>
      listening(async () => (lately !== undefined && lately.looks > after.looks ? lately : until(() => true, over))),

    following: (places, audiences, most) => {
      if (lately === undefined || !covers(places, lately.from)) return undefined
      const revocations: Revocation[] = []
      for (let n = firstAfter(entries, places); n < entries.length; n += 1) {
        const entry = entries[n] as Entry
        const passed = places.get(entry.shard)
        if (!audiences.includes(entry.audience) || (passed !== undefined && !isAfter(entry.event, passed))) continue
        revocations.push(entry)
        if (revocations.length === most) return { revocations, places: laterOf(places, entry.places) }
      }
      return { revocations, places: laterOf(places, lately.to) }
    },

    unbroken: (places, audiences) => {
      // Of what was not read here nobody can say that there is nothing.
      if (lately === undefined || !covers(lately.to, places)) return new Map()
      const from = new Map<Shard, EventId>()
      for (let n = entries.length - 1; n >= 0 && from.size < lately.to.size; n -= 1) {
        const { shard, event, audience } = entries[n] as Entry
        const upTo = places.get(shard)
        if (from.has(shard) || upTo === undefined || isAfter(event, upTo) || !audiences.includes(audience)) continue
        from.set(shard, event)
      }
      return new Map([...lately.from, ...from])
    },
  }
}

/** By halves: the places of what was read only rise, so those that have been passed come first. */
function firstAfter(entries: readonly Entry[], places: Places): number {
  let [low, high] = [0, entries.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (covers(places, (entries[middle] as Entry).places)) low = middle + 1
    else high = middle
  }
  return low
}

const unread = (): BrokerError =>
  new BrokerError('store_unavailable', 'Whether anything was revoked could not be read.', {
    nextAction: 'Accept nothing that you cannot check otherwise, and come again at once.',
  })
const raise = (error: Error): never => {
  throw error
}
