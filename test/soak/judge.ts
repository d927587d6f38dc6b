// Whether a run was level and whether everything came back: pure, over series of samples, so that a leak can be planted in numbers. Invariant:
// a figure is level when the median of its last tenth is not above the median just after the warm-up by more than the tolerance; a growth that is
// smaller than the grain of a figure (a descriptor, a few keys) is none.

export interface Sample {
  /** Since the load began; negative before. */
  readonly seconds: number
  readonly figures: Readonly<Record<string, number>>
}
export interface Rule {
  /** By how much the last tenth may lie above the level, in percent. */
  readonly percent: number
  /** By how much in its own unit, where that is more. */
  readonly grain: number
  /** By how much more than at the base line it may be when all is quiet; absent where it need not come back. */
  readonly left?: number
}
export interface Windows {
  /** Seconds until which nothing is judged. */
  readonly warmUp: number
  /** The end of the load. */
  readonly end: number
  /** How long each of the two windows is. */
  readonly length: number
}
export interface Judged {
  readonly baseline: number
  readonly level: number
  readonly tail: number
  readonly end: number
  readonly drift: number
  readonly met: boolean
  /** What is wrong, in words. */
  readonly why: readonly string[]
}

/** The first ten minutes, or the first sixth of a shorter run, and never less than what is over needs to leave. */
export function windowsOf(minutes: number, leavesAfter: number): Windows {
  const end = minutes * 60
  const first = Math.min(600, end / 6)
  const warmUp = end >= 2 * leavesAfter ? Math.max(first, leavesAfter) : first
  return { warmUp, end, length: Math.min(end / 10 < 20 ? Math.min(20, end / 3) : end / 10, (end - warmUp) / 2) }
}

export const medianOf = (all: readonly number[]): number => {
  const sorted = all.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
const between = (samples: readonly Sample[], name: string, from: number, to: number): readonly number[] =>
  samples.flatMap(({ seconds, figures }) => {
    const value = figures[name]
    return seconds >= from && seconds <= to && value !== undefined ? [value] : []
  })

/** One figure: `last` is what it was when all was quiet again. */
export function judge(
  samples: readonly Sample[],
  name: string,
  { rule, windows, last }: { readonly rule: Rule; readonly windows: Windows; readonly last: number | undefined },
): Judged {
  const { warmUp, end, length } = windows
  const baseline = medianOf(between(samples, name, Number.NEGATIVE_INFINITY, 0))
  const level = medianOf(between(samples, name, warmUp, warmUp + length))
  const tail = medianOf(between(samples, name, end - length, end))
  const grown = tail - level
  const drift = level === 0 ? (grown === 0 ? 0 : 100) : (grown / level) * 100
  const left = (last ?? Number.NaN) - baseline
  const why = [
    ...([baseline, level, tail].some(Number.isNaN) ? ['there are no samples of it where it is judged'] : []),
    ...(grown > Math.max((level * rule.percent) / 100, rule.grain)
      ? [`grew by ${rounded(grown)}, ${rounded(drift)} percent of its level`]
      : []),
    ...(rule.left !== undefined && !(left <= rule.left)
      ? [`is ${last === undefined ? 'not known' : rounded(last)} when all is quiet, and was ${rounded(baseline)}`]
      : []),
  ]
  return {
    baseline: rounded(baseline),
    level: rounded(level),
    tail: rounded(tail),
    end: rounded(last ?? Number.NaN),
    drift: rounded(drift),
    met: why.length === 0,
    why,
  }
}
const rounded = (value: number): number => Math.round(value * 100) / 100

export function judgeAll(
  samples: readonly Sample[],
  rules: Readonly<Record<string, Rule>>,
  { windows, last }: { readonly windows: Windows; readonly last: Readonly<Record<string, number>> },
): Readonly<Record<string, Judged>> {
  return Object.fromEntries(
    Object.entries(rules).map(([name, rule]) => [name, judge(samples, name, { rule, windows, last: last[name] })]),
  )
}
