// How a sweep with very much before it leaves room for everybody else. Invariant: what is late is ended as fast as the machine can while nobody
// asks anything, and at a bounded share of it while somebody waits for an answer; it is never put off altogether.
import type { Lane } from '../domain/entitlement.ts'

export interface PacePorts {
  /** Monotonic milliseconds. */
  ticks(): number
  /** Whether somebody waits for an answer right now. */
  isBusy(): boolean
  /** Resolves after so many milliseconds. */
  pause(ms: number): Promise<unknown>
}

/** So much longer than a batch took nothing is swept after it while somebody waits: the sweep gets half of the time at most. */
const SHARE = 1
/** A batch that waited for a slow backend has held up nobody. */
const LONGEST_MS = 100

/** Whether something was noted within the last tenth of a second. */
export function lately(ticks: () => number): { note(): void; isSo(): boolean } {
  let last = Number.NEGATIVE_INFINITY
  return {
    note: () => {
      last = ticks()
    },
    isSo: () => ticks() - last < LATELY_MS,
  }
}
const LATELY_MS = 100

/** Sweeps one batch, and stands back after it where there is more and somebody waits. */
export const paced =
  <Swept extends { readonly more: boolean }>(sweep: (lane: Lane) => Promise<Swept>, p: PacePorts) =>
  async (lane: Lane): Promise<Swept> => {
    const started = p.ticks()
    const swept = await sweep(lane)
    if (swept.more && p.isBusy()) await p.pause(Math.min(LONGEST_MS, SHARE * (p.ticks() - started)))
    return swept
  }
