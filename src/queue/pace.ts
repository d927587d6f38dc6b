// How what ends leaves room for everybody else. Broker and store do nothing else while they are at a batch, so while many ask for something a batch
// is small, and whoever asks has their turn between two. Invariant: nothing is put off, whatever else goes on.
import { type Lane, LOCAL_LANE } from '../domain/entitlement.ts'

/** Whether something was noted often within the last tenth of a second. */
export function often(ticks: () => number): { note(): void; isSo(): boolean } {
  const noted = Array.from({ length: OFTEN }, () => Number.NEGATIVE_INFINITY)
  let next = 0
  return {
    note: () => {
      noted[next] = ticks()
      next = (next + 1) % OFTEN
    },
    // The oldest of the last ten.
    isSo: () => ticks() - (noted[next] ?? Number.NEGATIVE_INFINITY) < LATELY_MS,
  }
}
const LATELY_MS = 100
/** Of asking and answering each: five people, or a pipeline. Whoever only watches how far something has come asks less often. */
const OFTEN = 10

/** How many are ended in one batch. One of few costs a fifth more for each. */
export const batchOf = (isCrowded: boolean): number => (isCrowded ? FEW : MANY)
const FEW = 25
const MANY = 100

/** Sweeps one batch. What is ended at a backend is waited for, and holds nobody up: of that it is always many. */
export const paced =
  <Swept>(sweep: (lane: Lane, most: number) => Promise<Swept>, isCrowded: () => boolean) =>
  (lane: Lane): Promise<Swept> =>
    sweep(lane, batchOf(lane === LOCAL_LANE && isCrowded()))
