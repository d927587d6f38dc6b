// The sweep, watched: what it did is counted, what it could not end is named, and when each lane was last swept is remembered, because a
// sweep that has stopped is the one failure that nobody would notice before it matters.
import type { Lane } from '../domain/entitlement.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { GrantId } from '../domain/ids.ts'
import { type Log, thrownRecord } from './log.ts'
import type { Metrics } from './metrics.ts'

interface Swept {
  readonly done: number
  readonly failed: readonly GrantId[]
  readonly more: boolean
}
export interface SweepPorts {
  readonly sweep: (lane: Lane, most?: number) => Promise<Swept>
  readonly lanes: readonly Lane[]
  readonly figures: Metrics
  readonly log: Log
  /** Monotonic milliseconds. */
  readonly ticks: () => number
}
export interface WatchedSweep {
  sweep(lane: Lane, most?: number): Promise<Swept>
  /** Since the last sweep of this lane that worked, or since the start. */
  ageMs(lane: Lane): number
  /** Lanes in which no sweep has worked lately and none is at work either. */
  dead(): readonly Lane[]
}

/** Twenty intervals of the slowest setting. */
const DEAD_AFTER_MS = 20_000
/** A full batch against a backend that answers nothing takes this long: it is slow, not dead. */
const LONGEST_MS = 180_000

export function watchedSweep({ sweep, lanes, figures, log, ticks }: SweepPorts): WatchedSweep {
  const start = ticks()
  const worked = new Map<Lane, number>(lanes.map((lane) => [lane, start]))
  const begun = new Map<Lane, number>()
  const ageMs = (lane: Lane): number => ticks() - (worked.get(lane) ?? start)

  const finish = (lane: Lane, swept: Swept, started: number): void => {
    worked.set(lane, ticks())
    if (swept.done + swept.failed.length === 0) return
    figures.count('sweeps_total', { lane, result: 'done' })
    figures.count('swept_grants_total', { lane, result: 'done' }, swept.done)
    figures.count('swept_grants_total', { lane, result: 'failed' }, swept.failed.length)
    figures.observe('sweep_seconds', { lane }, (ticks() - started) / 1_000)
  }
  return {
    sweep: async (lane, most) => {
      const started = ticks()
      begun.set(lane, started)
      try {
        const swept = await sweep(lane, most)
        finish(lane, swept, started)
        for (const grant of swept.failed.slice(0, 10)) log('warn', 'not ended now; it is tried again', { lane, grant })
        return swept
      } catch (thrown) {
        figures.count('sweeps_total', { lane, result: 'failed' })
        if (!isBrokerError(thrown, 'store_unavailable'))
          log('error', 'a sweep failed', { lane, ...thrownRecord(thrown) })
        throw thrown
      } finally {
        // Job and interval may sweep one lane at once: the one that began last speaks for it.
        if (begun.get(lane) === started) begun.delete(lane)
      }
    },
    ageMs,
    dead: () =>
      lanes.filter((lane) => {
        const since = begun.get(lane)
        return ageMs(lane) > DEAD_AFTER_MS && (since === undefined || ticks() - since > LONGEST_MS)
      }),
  }
}
