// What a run says: each scene as JSON, all of them as a table for people, and RESULTS.md.
import type { About } from './about.ts'
import { GOALS, type Judged, judge, type SceneId } from './goals.ts'
import { round } from './rounds.ts'
import type { Measurement, Row, SceneSide } from './scene.ts'
import type { Effective } from './switched.ts'

export interface SceneReport extends Effective {
  readonly id: SceneId
  readonly title: string
  readonly goal: { readonly compares: string; readonly must: Bounds; readonly aim: Bounds }
  /** The scene's own number: of two sides, or of ours alone. */
  readonly ratio?: number
  readonly value?: number
  /** By criterion, the scene's own first. */
  readonly measured: Row
  readonly met: boolean
  readonly aimMet: boolean
  readonly missed: readonly string[]
  readonly sides: readonly SceneSide[]
  readonly notes: readonly string[]
  readonly seconds: number
}
type Bounds = Readonly<Record<string, string>>
/** A scene that could not be measured says why, and meets nothing. */
export interface FailedScene {
  readonly id: SceneId
  readonly title: string
  readonly error: string
  readonly met: false
  readonly aimMet: false
}
export type Reported = SceneReport | FailedScene

export function reportOf(id: SceneId, { numbers, sides, notes, effective }: Measurement, seconds: number): SceneReport {
  const goal = GOALS[id]
  const judged = judge(goal, numbers)
  const [own] = judged.criteria
  const number = round(own?.value ?? Number.NaN, 3)
  const bounds = (which: 'must' | 'aim'): Bounds =>
    Object.fromEntries(goal.criteria.map((one) => [one.name, boundOf(one, which)]))
  return {
    id,
    title: goal.title,
    goal: { compares: goal.compares, must: bounds('must'), aim: bounds('aim') },
    ...(own?.unit === 'ratio' ? { ratio: number } : { value: number }),
    measured: Object.fromEntries(judged.criteria.map(({ name, value }) => [name, round(value, 3)])),
    met: judged.met,
    aimMet: judged.aimMet,
    missed: judged.criteria.filter(({ met }) => !met).map(missedLine),
    sides,
    notes,
    ...effective,
    seconds: round(seconds, 1),
  }
}

export const failedScene = (id: SceneId, thrown: unknown): FailedScene => ({
  id,
  title: GOALS[id].title,
  error: thrown instanceof Error ? thrown.message : String(thrown),
  met: false,
  aimMet: false,
})

const SIGN = { 'at least': '≥', 'at most': '≤' } as const
const UNIT = { ratio: '', ms: ' ms', s: ' s', bytes: ' B', answers: '' } as const
type Bound = Pick<Judged, 'reached' | 'unit' | 'must' | 'aim'>
const boundOf = (one: Bound, which: 'must' | 'aim'): string => `${SIGN[one.reached]} ${one[which]}${UNIT[one.unit]}`
const missedLine = (one: Judged): string =>
  `${one.name}: ${round(one.value, 2)}${UNIT[one.unit]}, must be ${boundOf(one, 'must')}`

/** A row per criterion, then what each side did, then what was missed. */
export function tableOf(reports: readonly Reported[]): string {
  const rows = reports.flatMap((report): readonly (readonly string[])[] =>
    'error' in report
      ? [[report.id, report.title, 'not measured', '', '', 'FAIL']]
      : GOALS[report.id].criteria.map((one, n) => [
          n === 0 ? report.id : '',
          n === 0 ? `${report.title}: ${one.name}` : one.name,
          `${round(report.measured[one.name] ?? Number.NaN, 2)}${UNIT[one.unit]}`,
          boundOf(one, 'must'),
          one.aim === one.must ? '' : boundOf(one, 'aim'),
          verdictOf(report, one.name),
        ]),
  )
  const missed = reports.flatMap((report) =>
    'error' in report
      ? [`${report.id} could not be measured: ${report.error}`]
      : report.missed.map((line) => `${report.id} missed: ${line}`),
  )
  const off = reports.flatMap((report) =>
    'error' in report || report.switchedOff.length === 0 ? [] : [`${report.id}, off: ${report.switchedOff.join('; ')}`],
  )
  return [
    markdown(['', 'what', 'measured', 'must', 'aim', ''], rows),
    '',
    sidesTable(reports),
    '',
    ...(missed.length === 0 ? ['Every goal is met.'] : missed),
    ...off,
    '',
  ].join('\n')
}

const verdictOf = (report: SceneReport, name: string): string => {
  const value = report.measured[name] ?? Number.NaN
  const judged = judge(GOALS[report.id], report.measured).criteria.find((one) => one.name === name)
  if (!Number.isFinite(value) || judged === undefined || !judged.met) return 'MISSED'
  return judged.aimMet ? 'met' : 'met, not the aim'
}

function sidesTable(reports: readonly Reported[]): string {
  const rows = reports.flatMap((report) =>
    'error' in report
      ? []
      : report.sides.map((side) => [
          report.id,
          side.name,
          Object.entries(side.median)
            .map(([name, value]) => `${name} ${round(value, 2)}`)
            .join(', '),
          String(side.rounds.length),
        ]),
  )
  return markdown(['', 'side', 'median of its rounds', 'rounds'], rows)
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, n) => Math.max(title.length, ...rows.map((row) => (row[n] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join(' | ')} |`
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n')
}

export function resultsPage(about: About, reports: readonly Reported[]): string {
  const settings = new Map(
    reports.flatMap((report) => ('error' in report ? [] : Object.entries(report.settings).map((one) => one))),
  )
  const versions = (
    ['node', 'redis', 'vault', 'postgres', 'oidcProvider', 'express', 'bullmq', 'ioredis', 'jose'] as const
  )
    .map((name) => `${name} ${about[name]}`)
    .join(', ')
  return `# The last full run

Written by \`npm run bench\`; what each scene does is in README.md.

${about.date}, commit ${about.commit}${about.dirty ? ' with changes' : ''}, ${about.cores} cores (${about.cpu}), ${Math.round(about.seconds)} s, ${about.rounds} rounds.
${versions}.

${tableOf(reports)}
Settings of the broker that are not the usual ones:

${[...settings].map(([name, { value, usual, why }]) => `- \`${name}=${value}\` (usually \`${usual}\`): ${why}`).join('\n')}
`
}
