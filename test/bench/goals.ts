// What must be reached, as one table, and the judgement of what was measured. Invariant: a number that is missing or is none meets nothing.

export const SCENE_IDS = ['S1', 'S2', 'S3', 'S4', 'S5', 'S6', 'S7', 'S8', 'S9', 'S10', 'S11', 'S12'] as const
export type SceneId = (typeof SCENE_IDS)[number]

export interface Criterion {
  readonly name: string
  /** `ratio`: without a unit, of two sides of one run. */
  readonly unit: 'ratio' | 'ms' | 's' | 'bytes' | 'answers'
  readonly reached: 'at least' | 'at most'
  readonly must: number
  /** The must where nothing more is aimed at. */
  readonly aim: number
}
export interface Goal {
  readonly title: string
  /** What is compared with what, and which way the numbers go. */
  readonly compares: string
  /** The first is the scene's own number. */
  readonly criteria: readonly Criterion[]
}

const least = (name: string, must: number, aim = must): Criterion => ({
  name,
  unit: 'ratio',
  reached: 'at least',
  must,
  aim,
})
const most = (name: string, unit: Criterion['unit'], must: number, aim = must): Criterion => ({
  name,
  unit,
  reached: 'at most',
  must,
  aim,
})

export const GOALS: Readonly<Record<SceneId, Goal>> = {
  S1: {
    title: 'exchange, caller verified every time',
    compares: 'ours against oidc-provider, private_key_jwt to JWT, with Redis; CPU is server and Redis, theirs by ours',
    criteria: [least('requests per second', 1.4, 2), least('CPU per request', 1.7, 2)],
  },
  S2: {
    title: 'exchange, known caller',
    compares: 'ours against oidc-provider, secret to opaque token, with Redis; CPU is server and Redis, theirs by ours',
    criteria: [least('requests per second', 1.3, 1.8), least('CPU per request', 1.5, 1.8)],
  },
  S3: {
    title: 'exchange with DPoP',
    compares: 'ours against oidc-provider with DPoP, and Redis; CPU is server and Redis, theirs by ours',
    criteria: [least('requests per second', 1.3, 2), least('CPU per request', 1.7, 2)],
  },
  S4: {
    title: 'exchange against the floor',
    compares: 'ours by bare node:http with one load, one commit and the same signatures',
    criteria: [least('requests per second', 0.5, 0.75)],
  },
  S5: {
    title: 'introspection',
    compares: 'ours by bare express with one GET, and ours by oidc-provider with Redis',
    criteria: [least('of express and one GET', 0.6, 0.75), least('of oidc-provider', 2.5)],
  },
  S6: {
    title: 'tail of the exchange',
    compares: 'p99 by p50 at 64 connections when all is quiet; p99 meanwhile by p99 when all is quiet',
    criteria: [
      most('p99 by p50', 'ratio', 4),
      most('p99 under a contain of 100,000', 'ratio', 2),
      most('p99 under an AOF rewrite', 'ratio', 2),
    ],
  },
  S7: {
    title: 'contain of 100,000 live tokens',
    compares: 'seconds from asking until every state is written; what still passed after the first answer',
    criteria: [most('all states written', 's', 5, 3), most('still valid after the first answer', 'answers', 0)],
  },
  S8: {
    title: 'Redis per live grant at 500,000',
    compares: 'bytes of Redis beyond those of the ask and the decisions of the grant itself',
    criteria: [most('bytes per grant', 'bytes', 700)],
  },
  S9: {
    title: '1,000 ends a second, 100,000 live, exchanges meanwhile',
    compares: 'how late ends are, and what an end costs by what a delayed BullMQ job per grant costs',
    criteria: [
      most('p99 late at hz 100', 'ms', 250, 120),
      most('p99 late at hz 10', 'ms', 250),
      most('CPU by a job per grant', 'ratio', 0.2),
      most('memory by a job per grant', 'ratio', 0.2),
    ],
  },
  S10: {
    title: '100,000 ends due in one second, 1,000,000 live',
    compares: 'seconds from the first that is due to the last end; p99 of exchanges meanwhile by their usual p99',
    criteria: [most('drained', 's', 6), most('exchange p99 by its usual', 'ratio', 3)],
  },
  S11: {
    title: 'ends of Vault logins',
    compares: 'ends per second by those of a plain loop of the same Vault calls, as many at a time',
    criteria: [least('ends per second', 0.8)],
  },
  S12: {
    title: 'growth',
    compares: 'CPU per exchange with more live grants by that with 10,000; two brokers by one on one Redis',
    criteria: [
      most('CPU at 100,000 by 10,000', 'ratio', 1.15),
      most('CPU at 1,000,000 by 10,000', 'ratio', 1.15),
      most('CPU of two brokers by one', 'ratio', 1.1),
    ],
  },
}

export interface Judged extends Criterion {
  readonly value: number
  readonly met: boolean
  readonly aimMet: boolean
}
export interface Judgement {
  readonly met: boolean
  readonly aimMet: boolean
  readonly criteria: readonly Judged[]
}

/** `numbers` by the names of the criteria. Throws where one of them was not measured: then nothing can be said. */
export function judge(goal: Goal, numbers: Readonly<Record<string, number>>): Judgement {
  const criteria = goal.criteria.map((criterion): Judged => {
    const value = numbers[criterion.name]
    if (value === undefined || !Number.isFinite(value)) throw new Error(`${criterion.name} was not measured`)
    return { ...criterion, value, met: isReached(criterion, value, 'must'), aimMet: isReached(criterion, value, 'aim') }
  })
  return { met: criteria.every(({ met }) => met), aimMet: criteria.every(({ aimMet }) => aimMet), criteria }
}

const isReached = (criterion: Criterion, value: number, which: 'must' | 'aim'): boolean =>
  criterion.reached === 'at least' ? value >= criterion[which] : value <= criterion[which]
