// What lies in the queue: a job says only that a lane is worth a look at an instant. It names no grant and holds no secret, so one job serves
// every deadline of its 100 ms, and a lost, late, doubled or forged one can change nothing but when somebody looks.
import { z } from 'zod'
import type { Lane } from '../domain/entitlement.ts'
import { isName, type Shard } from '../domain/ids.ts'
import { type Duration, type Instant, instant, milliseconds } from '../domain/instant.ts'

export const QUEUE = 'looks'
export const LOOK = 'look'
/** A job that proves that jobs are done. */
export const CANARY = 'canary'
export const BUCKET: Duration = milliseconds(100)
/** A bucket that begins this soon counts as begun: another broker's clock may be there already. */
const SLACK: Duration = milliseconds(10)

export const LookData = z.strictObject({ v: z.literal(1), lane: z.string().refine(isName) })
export const CanaryData = z.strictObject({ v: z.literal(1) })

/** The braces put everything of the queue into the shard's cluster slot, as a script of BullMQ touches several keys. */
export const prefixOf = (shard: Shard): string => `{writ:${shard}}:queue`

/** Every deadline in `((bucket - 1) * 100 ms, bucket * 100 ms]` is looked at when the bucket begins: never early, at most 100 ms late. */
export interface Look {
  readonly id: string
  readonly at: Instant
}

/**
 * The job for a deadline. One that has passed, or whose bucket is beginning now, goes to the next bucket: the job of this one may be
 * running already, and BullMQ ignores in silence what is added under the id of a job that exists.
 */
export function lookFor(shard: Shard, lane: Lane, when: Instant, now: Instant): Look {
  const bucket = Math.max(Math.ceil(when / BUCKET), Math.floor((now + SLACK) / BUCKET) + 1)
  // BullMQ wants no ':' in an id and not only digits; a lane is a name, so there is neither.
  return { id: `${shard}-${lane}-${bucket}`, at: instant(bucket * BUCKET) }
}

/** When the bucket of this job begins; undefined for an id that `lookFor` did not make. */
export function beginOf(id: string): Instant | undefined {
  const bucket = Number(/^\d+-.+-(\d{1,13})$/.exec(id)?.[1] ?? Number.NaN)
  return Number.isSafeInteger(bucket * BUCKET) ? instant(bucket * BUCKET) : undefined
}

/** How long after its n-th failure a job is tried again: doubling from half a second to 15 s, spread by `jitter` (0 <= j < 1). */
export const retryAfterMs = (failures: number, jitter: number): number =>
  Math.round(Math.min(15_000, 500 * 2 ** Math.min(failures - 1, 10)) * (0.5 + jitter / 2))

/** Retried, in effect, for ever: whether an end is due is not the queue's to give up. */
export const ATTEMPTS = 1_000_000
