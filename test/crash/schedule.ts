// Whom to kill next, and where: a seed decides it. Each block of sixteen kills has its share of every victim; the points go round and round in
// an order of their own for each victim, so that kills spread over all of them.
import type { Point } from '../support/effect-points.ts'
import { type Random, randomOf } from './random.ts'

export const VICTIMS = ['broker', 'redis', 'vault'] as const
export type Victim = (typeof VICTIMS)[number]

/** At a point, or after some milliseconds of whatever is going on. */
export interface Kill {
  readonly victim: Victim
  readonly at: Point | 'random'
  readonly afterMs: number
}

const BLOCK: readonly (readonly [Victim, 'point' | 'random'])[] = [
  ...Array.from({ length: 9 }, () => ['broker', 'point'] as const),
  ['broker', 'random'],
  ['redis', 'point'],
  ['redis', 'point'],
  ['redis', 'random'],
  ['vault', 'point'],
  ['vault', 'point'],
  ['vault', 'random'],
]
/** So long at most until a kill at random. */
const RANDOM_MS = 400

/** Vault is only met where it is asked. */
const meets = (victim: Victim, point: Point): boolean => victim !== 'vault' || /^(credentials|gates)\./.test(point)

/** Without an end. `first`: points that are aimed at before all others, again and again. */
export function* schedule(
  seed: number,
  points: readonly Point[],
  first: readonly Point[] = [],
): Generator<Kill, never> {
  const random = randomOf(seed, 'schedule')
  const rounds = new Map(
    VICTIMS.map((victim) => [
      victim,
      around(
        random,
        points.filter((point) => meets(victim, point)),
      ),
    ]),
  )
  const favourites = around(random, first)
  for (;;) {
    for (const [victim, how] of random.shuffled(BLOCK)) {
      const afterMs = random.below(RANDOM_MS)
      const round = first.length > 0 && victim === 'broker' && random.chance(0.7) ? favourites : rounds.get(victim)
      const point = how === 'random' ? undefined : round?.next().value
      yield { victim, at: point ?? 'random', afterMs }
    }
  }
}

function* around<T>(random: Random, all: readonly T[]): Generator<T> {
  while (all.length > 0) yield* random.shuffled(all)
}
