// How a sweep with very much before it leaves room for everybody else. Invariant: what is late is ended as fast as the machine can while nobody
// asks anything, and at a bounded share of it while somebody waits for an answer; it is never put off altogether.
import { type Lane, LOCAL_LANE } from '../domain/entitlement.ts'

export interface PacePorts {
  /** Milliseconds of processor time that this process has used. */
  workedMs(): number
  /** Whether somebody waits for an answer right now. */
  isBusy(): boolean
  /** Whether many do. */
  isCrowded(): boolean
  /** Resolves after so many milliseconds. */
  pause(ms: number): Promise<unknown>
}

/** A batch that was worked at for longer was not the only one. */
const LONGEST_MS = 100

/** Whether something was noted within the last tenth of a second, and whether it was often. */
export function lately(ticks: () => number): { note(): void; isSo(): boolean; isOften(): boolean } {
  const noted = Array.from({ length: OFTEN }, () => Number.NEGATIVE_INFINITY)
  let last = 0
  const isNow = (at: number | undefined): boolean => at !== undefined && ticks() - at < LATELY_MS
  return {
    note: () => {
      last = (last + 1) % OFTEN
      noted[last] = ticks()
    },
    isSo: () => isNow(noted[last]),
    // The one that would be forgotten next.
    isOften: () => isNow(noted[(last + 1) % OFTEN]),
  }
}
const LATELY_MS = 100
/** Of asking and answering each: five people, or a pipeline. Whoever only watches how far something has come asks less often. */
const OFTEN = 10

/**
 * How many are ended in one batch. Broker and store do nothing else while they are at it, so while many wait it is few; each costs a fifth more then.
 */
export const batchOf = (isCrowded: boolean): number => (isCrowded ? FEW : MANY)
const FEW = 25
const MANY = 100

/**
 * Sweeps one batch. Where there is more and somebody waits, it stands back for as long as the batch was worked at; what it waited for, a disk or a
 * backend, held up nobody.
 */
export const paced =
  <Swept extends { readonly more: boolean }>(sweep: (lane: Lane, most: number) => Promise<Swept>, p: PacePorts) =>
  async (lane: Lane): Promise<Swept> => {
    const before = p.workedMs()
    // What is ended at a backend is waited for, and holds nobody up.
    const swept = await sweep(lane, batchOf(lane === LOCAL_LANE && p.isCrowded()))
    if (swept.more && p.isBusy()) await p.pause(Math.min(LONGEST_MS, p.workedMs() - before))
    return swept
  }
