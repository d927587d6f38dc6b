// What a run says in the end, as one JSON object.
import type { Bug } from '../support/planted-bugs.ts'
import type { Desk } from './desk.ts'
import type { Life } from './journal.ts'
import type { Killed } from './killer.ts'
import type { Model } from './model.ts'
import { VICTIMS, type Victim } from './schedule.ts'
import type { Found } from './violation.ts'

/** Of each victim the milliseconds from each kill until it was ready again. */
export type Recovery = Readonly<Record<Victim, number[]>>

export interface CrashResult {
  readonly seed: number
  readonly plant?: Bug
  readonly kills: number
  readonly byVictim: Readonly<Record<Victim, number>>
  /** Every point that there is, and `random`. */
  readonly byPoint: Readonly<Record<string, number>>
  /** Points at which nobody was killed. */
  readonly unreached: readonly string[]
  /** Kills that were aimed and whose point was not reached in time: they are counted as random. */
  readonly missed: number
  /** Requests that were answered with certainty, and of which kind. */
  readonly verbs: number
  readonly byVerb: Readonly<Record<string, number>>
  readonly grants: number
  readonly credentials: number
  readonly commits: number
  /** Looks that the queue lost while little was asked for. */
  readonly jobsLost: number
  /** Kills of Vault that left an accessor without its token. */
  readonly halfMade: number
  readonly maxRecoveryMs: number
  readonly recoveryMs: Readonly<Record<Victim, { readonly p50: number; readonly max: number }>>
  readonly seconds: number
  /** How many kills there had been when the first of them was found. */
  readonly foundAtKill?: number
  readonly violations: readonly Found[]
}

export interface Ran {
  readonly seed: number
  readonly plant: Bug | undefined
  readonly points: readonly string[]
  readonly done: readonly Killed[]
  readonly office: Pick<Desk, 'counts' | 'verbs'>
  readonly lives: ReadonlyMap<string, Life>
  readonly known: Pick<Model, 'handed'>
  readonly recovery: Recovery
  readonly found: readonly Found[]
  readonly jobsLost: number
  readonly halfMade: number
  /** By `performance.now`. */
  readonly started: number
}

export function resultOf({
  seed,
  plant,
  points,
  done,
  office,
  lives,
  known,
  recovery,
  found,
  jobsLost,
  halfMade,
  started,
}: Ran): CrashResult {
  const byPoint = countsOf(
    [...points, 'random'],
    done.map(({ at }) => at),
  )
  const [first] = found
  return {
    seed,
    ...(plant === undefined ? {} : { plant }),
    kills: done.length,
    byVictim: countsOf(
      VICTIMS,
      done.map(({ victim }) => victim),
    ),
    byPoint,
    unreached: points.filter((point) => byPoint[point] === 0),
    missed: done.filter(({ missed }) => missed).length,
    verbs: office.verbs(),
    byVerb: Object.fromEntries([...office.counts].toSorted()),
    grants: lives.size,
    credentials: known.handed.length,
    commits: sum([...lives.values()].map(({ told }) => told.length)),
    jobsLost,
    halfMade,
    maxRecoveryMs: Math.max(0, ...Object.values(recovery).flat()),
    recoveryMs: {
      broker: figures(recovery.broker),
      redis: figures(recovery.redis),
      vault: figures(recovery.vault),
    },
    seconds: Math.round((performance.now() - started) / 1_000),
    ...(first === undefined ? {} : { foundAtKill: first.kill }),
    violations: found,
  }
}

const sum = (all: readonly number[]): number => all.reduce((one, other) => one + other, 0)

function countsOf<T extends string>(names: readonly T[], seen: readonly T[]): Record<T, number> {
  const counts = Object.fromEntries(names.map((name) => [name, 0])) as Record<T, number>
  for (const one of seen) counts[one] += 1
  return counts
}

function figures(all: readonly number[]): { readonly p50: number; readonly max: number } {
  const sorted = all.toSorted((a, b) => a - b)
  return { p50: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 }
}
