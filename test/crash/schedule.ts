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

type How = 'point' | 'random'
const times = <T>(many: number, one: T): readonly T[] => Array.from({ length: many }, () => one)
/** Of each twenty kills. A broker costs a start; between two of them services die, so that it has time for it. */
const BROKERS: readonly How[] = [...times<How>(7, 'point'), 'random']
const SERVICES = (['redis', 'vault'] as const).flatMap((victim) =>
  [...times<How>(5, 'point'), 'random' as How].map((how) => [victim, how] as const),
)
/** So long at most until a kill at random. */
const RANDOM_MS = 400

/** Vault is only met where it is asked. */
const meets = (victim: Victim, point: Point): boolean => victim !== 'vault' || /^(credentials|gates)\./.test(point)
/** What is only reached when grants have been over for a while is not aimed at before so many kills. */
const LATER = /^(archive\.|grants\.forget)/
const LATER_FROM = 90

/** Without an end. `first`: points that brokers are aimed at before all others, again and again. */
export function* schedule(
  seed: number,
  points: readonly Point[],
  first: readonly Point[] = [],
): Generator<Kill, never> {
  const random = randomOf(seed, 'schedule')
  let kills = 0
  const round = (all: readonly Point[]): Iterator<Point> =>
    around(random, all, (point) => kills >= LATER_FROM || !LATER.test(point))
  const rounds = {
    broker: round(points),
    redis: round(points),
    vault: round(points.filter((point) => meets('vault', point))),
  }
  const favourites = round(first)
  const next = (victim: Victim, how: How): Kill => {
    const afterMs = random.below(RANDOM_MS)
    const isFavourite = first.length > 0 && victim === 'broker' && random.chance(0.7)
    const point = how === 'random' ? undefined : (isFavourite ? favourites : rounds[victim]).next().value
    kills += 1
    return { victim, at: point ?? 'random', afterMs }
  }
  for (;;) {
    const [brokers, services] = [random.shuffled(BROKERS), random.shuffled(SERVICES)]
    for (const [n, how] of brokers.entries()) {
      yield next('broker', how)
      const share = services.length / brokers.length
      for (const service of services.slice(Math.floor(n * share), Math.floor((n + 1) * share))) yield next(...service)
    }
  }
}

/** All of them in a random order, then all of them in another one, and so on; without those that `may` leaves out. */
function* around(random: Random, all: readonly Point[], may: (point: Point) => boolean): Generator<Point> {
  while (all.length > 0) for (const point of random.shuffled(all)) if (may(point)) yield point
}
