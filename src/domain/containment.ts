// How far the clean-up behind a containment has come. Invariant: what it has matched is in exactly one stage, and only `ended` and `stopped`
// are over; whatever cannot be read is counted, so that nothing is called done that nobody has seen.
import type { Grant } from './grant.ts'
import type { Instant } from './instant.ts'
import type { Status } from './lifecycle.ts'

/** `stopped`: nothing had been handed out. `stuck`: its end keeps failing and is tried again for ever. */
export const STAGES = ['ending', 'stuck', 'stopped', 'ended'] as const
export type Stage = (typeof STAGES)[number]

export const isOver = (stage: Stage): boolean => stage === 'stopped' || stage === 'ended'

/** Undefined where its end has not even begun. */
export const STAGE_OF = {
  pending: undefined,
  approved: undefined,
  issuing: undefined,
  active: undefined,
  ending: 'ending',
  stuck: 'stuck',
  ended: 'ended',
  denied: 'stopped',
  withdrawn: 'stopped',
  lapsed: 'stopped',
} as const satisfies Record<Status, Stage | undefined>

export const stageOf = (grant: Grant): Stage | undefined => STAGE_OF[grant.head.status]

/** One lane of one shard, gone through once from beginning to end. */
export interface Walk {
  /** Where it goes on; undefined at the beginning. */
  readonly cursor: string | undefined
  readonly over: boolean
  /** Records that could not be read, and so not judged. */
  readonly unread: number
}
export const FIRST_STEP: Walk = { cursor: undefined, over: false, unread: 0 }

export interface Progress {
  /** Lanes of shards whose walk is over, of all that there are. */
  readonly walked: number
  readonly walks: number
  readonly unread: number
  readonly counts: Readonly<Record<Stage, number>>
  /** The latest moment at which something that was handed out may still be taken somewhere that does not ask us. */
  readonly residueUntil: Instant | undefined
  /** How long one took to be over, the latest counting most, and when one was last; undefined before the first. */
  readonly pace: { readonly eachMs: number; readonly at: Instant } | undefined
}

/** Whether everything has been seen, and everything that was matched is over and confirmed. */
export const isDone = ({ walked, walks, unread, counts }: Progress): boolean =>
  walked === walks && unread === 0 && counts.ending === 0 && counts.stuck === 0

const LEAST_MS = 1_000

/**
 * How long until all is confirmed, in milliseconds, at the pace of late; where nothing has come to its end for longer than that, as long as
 * nothing has. It counts what has been found, so while it is being walked it is at least so long. Undefined while that cannot be said.
 */
export function timeLeft(progress: Progress, now: Instant): number | undefined {
  const { counts, pace } = progress
  if (isDone(progress)) return 0
  if (pace === undefined) return undefined
  const left = counts.ending + counts.stuck
  const waited = left === 0 ? 0 : now - pace.at
  return Math.max(LEAST_MS, Math.round(left * pace.eachMs), waited)
}
