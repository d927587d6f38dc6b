// Exchanges beside something else that is measured: so many a second, until that is over.
import { fire, quantile } from './load.ts'
import type { Ours } from './ours.ts'
import { CONNECTIONS, refusalsOf, round } from './rounds.ts'

export interface Tail {
  readonly count: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}
export interface Beside {
  /** When the first was sent, by performance.now(). */
  readonly startedAt: number
  /** What took how long of those that were answered between these two times. */
  tail(from: number, to: number): Tail
  /** Resolves when all were sent and answered, or it was stopped. */
  readonly finished: Promise<unknown>
  stop(): Promise<void>
}

/** `perSecond` absent: as fast as it goes. `stop` rejects as `refusalsOf` says. */
export function exchangesBeside(ours: Ours, requests: readonly Buffer[], perSecond?: number): Beside {
  const shots: { readonly at: number; readonly ms: number }[] = []
  let over = false
  const refusals = refusalsOf('an exchange beside')
  const startedAt = performance.now()
  const firing = fire({
    port: ours.port,
    connections: CONNECTIONS,
    requests,
    ...(perSecond === undefined ? {} : { perSecond }),
    over: () => over,
    seen: (shot) => {
      shots.push({ at: performance.now(), ms: shot.ms })
      refusals.seen(shot)
    },
  })
  // A failure is told at `stop`.
  const finished = firing.catch(() => undefined)
  return {
    startedAt,
    finished,
    tail: (from, to) =>
      tailOf(
        shots.filter(({ at }) => at >= from && at <= to).map(({ ms }) => ms),
        to - from,
      ),
    stop: async () => {
      over = true
      await firing
      refusals.judge(shots.length)
    },
  }
}

export function tailOf(ms: readonly number[] | Float64Array, tookMs: number): Tail {
  if (ms.length === 0) throw new Error('no exchange was answered meanwhile')
  return {
    count: ms.length,
    perSecond: round((ms.length * 1_000) / tookMs, 0),
    p50: round(quantile(ms, 0.5), 2),
    p99: round(quantile(ms, 0.99), 2),
  }
}
