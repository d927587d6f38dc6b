// How a sweep with very much before it leaves room for everybody else. Invariant: what is late is ended as fast as the machine can while nobody
// asks anything, and at a bounded share of it while somebody waits for an answer; it is never put off altogether.
import type { Lane } from '../domain/entitlement.ts'

export interface PacePorts {
  /** Milliseconds of processor time that this process has used. */
  workedMs(): number
  /** Whether somebody waits for an answer right now. */
  isBusy(): boolean
  /** Resolves after so many milliseconds. */
  pause(ms: number): Promise<unknown>
}

/** A batch that was worked at for longer was not the only one. */
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

/**
 * Sweeps one batch. Where there is more and somebody waits, it stands back for as long as the batch was worked at; what it waited for, a disk or a
 * backend, held up nobody.
 */
export const paced =
  <Swept extends { readonly more: boolean }>(sweep: (lane: Lane) => Promise<Swept>, p: PacePorts) =>
  async (lane: Lane): Promise<Swept> => {
    const before = p.workedMs()
    const swept = await sweep(lane)
    if (swept.more && p.isBusy()) await p.pause(Math.min(LONGEST_MS, p.workedMs() - before))
    return swept
  }
