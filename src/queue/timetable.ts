// Punctual looks at what is due, as BullMQ jobs: one per lane and 100 ms, however many deadlines fall into it. A job that cannot be added is
// reported, not thrown: the deadline was committed with the state, the sweep finds it, and a verb that failed here would leave its
// caller in doubt about a grant that is well.
import type { Timetable } from '../broker/ports.ts'
import type { Shard } from '../domain/ids.ts'
import { type Duration, type Instant, seconds } from '../domain/instant.ts'
import { bare, openProducer, type QueueServer } from './connections.ts'
import { LOOK, LookData, lookFor, prefixOf } from './jobs.ts'

export interface TimetableOptions extends QueueServer {
  /** The queue lies in the slot of the first; a job looks at its lane in all of them. */
  readonly shards: readonly Shard[]
  readonly now: () => Instant
}
export interface QueueTimetable extends Timetable {
  close(): Promise<void>
}

/** So many jobs are known to have been added; each is a deadline's 100 ms. */
const REMEMBERED = 10_000
/** For so long, as Redis may have lost them meanwhile: adding a job that exists costs one call and changes nothing. */
const REMEMBER_FOR: Duration = seconds(30)

/** `at` resolves when the job was added before, is added now, or could not be added (then `onError` is told); within about 400 ms. */
export function openTimetable(options: TimetableOptions): QueueTimetable {
  const home = firstOf(options.shards)
  const producer = openProducer(options, prefixOf(home))
  const added = new Map<string, { readonly since: Instant; readonly adding: Promise<void> }>()

  const add = async (id: string, lane: string, delay: number): Promise<void> => {
    try {
      const queue = await producer.queue()
      // BullMQ takes the delay from its own `Date.now`; ours is a distance on Redis's clock, so a wrong host clock cancels out.
      await queue.add(LOOK, LookData.parse({ v: 1, lane }), { jobId: id, delay })
    } catch (thrown) {
      added.delete(id)
      options.onError(bare(thrown))
    }
  }
  return {
    at: (lane, when) => {
      const now = options.now()
      const { id, at } = lookFor(home, lane, when, now)
      const known = added.get(id)
      if (known !== undefined && now - known.since < REMEMBER_FOR) return known.adding
      const adding = add(id, lane, at - now)
      // Deleted first, so that the oldest stay in front.
      added.delete(id)
      added.set(id, { since: now, adding })
      const [oldest] = added
      if (oldest !== undefined && (added.size > REMEMBERED || now - oldest[1].since >= REMEMBER_FOR))
        added.delete(oldest[0])
      return adding
    },
    close: () => producer.close(),
  }
}

export function firstOf(shards: readonly Shard[]): Shard {
  const [home] = shards
  if (home === undefined) throw new RangeError('a broker has at least one shard')
  return home
}
