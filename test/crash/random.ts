// Numbers that a seed decides: the same seed draws the same. Each part of the run has a sequence of its own, so that how often one part draws
// moves no other.
import { createHash } from 'node:crypto'

export interface Random {
  /** 0 <= x < 1. */
  next(): number
  /** 0 <= n < below. */
  below(below: number): number
  chance(share: number): boolean
  pick<T>(from: readonly T[]): T
  shuffled<T>(from: readonly T[]): readonly T[]
}

/** mulberry32: enough for a schedule, and three lines. */
export function randomOf(seed: number, part: string): Random {
  let state = createHash('sha256').update(`${seed} ${part}`).digest().readUInt32LE(0)
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (most: number): number => Math.floor(next() * most)
  return {
    next,
    below,
    chance: (share) => next() < share,
    pick: (from) => {
      const one = from[below(from.length)]
      if (one === undefined) throw new RangeError('nothing to pick from')
      return one
    },
    shuffled: (from) => {
      const all = [...from]
      for (let last = all.length - 1; last > 0; last -= 1) {
        const other = below(last + 1)
        const [a, b] = [all[last], all[other]]
        if (a !== undefined && b !== undefined) [all[last], all[other]] = [b, a]
      }
      return all
    },
  }
}
