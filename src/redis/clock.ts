// The one source of time: Redis's TIME, sampled, and counted on by a monotonic clock between samples. No other file asks what time it is.
// Invariant: `now()` never runs backwards, and answers only while the samples are fresh and agree with the monotonic clock.
import type { Redis } from 'ioredis'
import { BrokerError } from '../domain/errors.ts'
import { type Instant, instant } from '../domain/instant.ts'

export type ClockState = 'trusted' | 'not_sampled' | 'old' | 'jumped'

export interface RedisClock {
  /** Milliseconds by Redis. Throws `clock_untrusted` when nothing was sampled lately, or Redis's clock jumped. */
  now(): Instant
  /** For ending, which goes on whatever the clock did: the last sample, counted on, also backwards. Throws only before the first one. */
  nowToEnd(): Instant
  state(): ClockState
  /** How far Redis's clock is from where it should be, in milliseconds; 0 unless it jumped. */
  jumpMs(): number
  /** An operator takes Redis's clock as it is now. The caller must record who did it. */
  acceptJump(): Instant
  /** Takes one sample. Rejects as the source does; a failed sample changes nothing. */
  sample(): Promise<void>
  stop(): void
}

export interface Clockwork {
  /** Milliseconds since the epoch by Redis, fractions allowed. */
  readonly time: () => Promise<number>
  /** Milliseconds of a clock that is never set, fractions allowed. */
  readonly monotonicNow: () => number
  /** Runs the task every so many milliseconds until the returned function is called. */
  readonly every: (ms: number, task: () => void) => () => void
  /** Told of a sample that could not be taken. */
  readonly onError: (error: unknown) => void
}

const SAMPLE_EVERY_MS = 250
const OLD_AFTER_MS = 3_000
const JUMP_MS = 5_000
/** What two honest clocks may drift apart: 500 parts in a million. Small steps that add up to a jump are a jump. */
const DRIFT = 0.000_5
/** A slower answer says too little about when it was given. */
const SLOWEST_ROUND_TRIP_MS = 1_000
/** Two seconds' worth: an offset older than that may have drifted further than a slow answer is off. */
const REMEMBERED_SAMPLES = 8

/** The source for `redisClock`: Redis's own TIME, in milliseconds. */
export const timeOf = (redis: Redis) => async (): Promise<number> => {
  const [seconds, microseconds] = await redis.time()
  return Number(seconds) * 1_000 + Number(microseconds) / 1_000
}

/** One answer of Redis. It was given some time during the round trip: the truth lies within `slack` of the offset. */
interface Sample {
  /** Redis's time minus monotonic time. */
  readonly offset: number
  readonly at: number
  readonly slack: number
}

export function redisClock({ time, monotonicNow, every, onError }: Clockwork): RedisClock {
  /** Where the offset was first seen, or last accepted. */
  let anchor: Sample | undefined
  /** The quickest of the last answers: a slow one puts the clock off by up to half its round trip, in either direction. */
  let best: Sample | undefined
  let recent: readonly Sample[] = []
  let sampledAt = 0
  let jumpedBy = 0
  let served = 0

  const sample = async (): Promise<void> => {
    const before = monotonicNow()
    const theirs = await time()
    const after = monotonicNow()
    if (!Number.isFinite(theirs) || after - before > SLOWEST_ROUND_TRIP_MS) return
    const at = (before + after) / 2
    // An answer that was overtaken by a later one is no news.
    if (best && at < sampledAt) return
    sampledAt = at
    const fresh: Sample = { offset: theirs - at, at, slack: (after - before) / 2 }
    // What the new answer rules out was measured before Redis's clock was moved.
    recent = [...recent.filter((older) => agree(older, fresh)), fresh].slice(-REMEMBERED_SAMPLES)
    best = recent.reduce((quickest, one) => (one.slack <= quickest.slack ? one : quickest))
    anchor ??= fresh
    const moved = fresh.offset - anchor.offset
    if (Math.abs(moved) > JUMP_MS + fresh.slack + anchor.slack + DRIFT * (at - anchor.at)) jumpedBy = moved
  }

  const state = (): ClockState => {
    if (best === undefined) return 'not_sampled'
    if (jumpedBy !== 0) return 'jumped'
    return monotonicNow() - sampledAt > OLD_AFTER_MS ? 'old' : 'trusted'
  }

  const nowToEnd = (): Instant => {
    if (best === undefined) throw untrusted('not_sampled')
    return instant(Math.floor(monotonicNow() + best.offset))
  }

  const stop = every(SAMPLE_EVERY_MS, () => {
    sample().catch(onError)
  })

  return {
    now: () => {
      const found = state()
      if (found !== 'trusted') throw untrusted(found)
      served = Math.max(served, nowToEnd())
      return instant(served)
    },
    nowToEnd,
    state,
    jumpMs: () => Math.round(jumpedBy),
    acceptJump: () => {
      anchor = best
      jumpedBy = 0
      served = nowToEnd()
      return instant(served)
    },
    sample,
    stop,
  }
}

const agree = (a: Sample, b: Sample): boolean =>
  Math.abs(a.offset - b.offset) <= a.slack + b.slack + DRIFT * Math.abs(a.at - b.at) + 1

const untrusted = (state: keyof typeof UNTRUSTED): BrokerError =>
  new BrokerError('clock_untrusted', UNTRUSTED[state], { facts: { clock: state } })

const UNTRUSTED = {
  not_sampled: 'The time is not known yet.',
  old: 'The time has not been confirmed lately.',
  jumped: 'The clock of the store has jumped; an operator must accept it.',
} as const satisfies Record<Exclude<ClockState, 'trusted'>, string>
