// `npm run soak -- --minutes N [--rate R] [--seed S] [--quick] [--json]`: a steady mixed load on two shipped brokers, watched from outside. Progress
// goes to stderr, one JSON object to stdout; 1 where something was not level, not back or not answered, 2 where the command line is wrong.
import { parseArgs } from 'node:util'
import { level, type SoakReport, soak } from './run.ts'

const USAGE = `usage: npm run soak -- --minutes <0.2 to 10080> [--rate <0.1 to 200>] [--seed <0 to 4294967295>] [--quick] [--json]
  --minutes  how long the load lasts; before it comes a base line, after it up to five minutes of quiet
  --rate     stories begun in a second, each of several requests; 4 where it is left out
  --seed     which stories, in which order; 1 where it is left out
  --quick    does not wait until what is over has left for the archive: whether all has ended, and nothing is left at the backends
  --json     nothing but the JSON object, and no progress
`
interface Asked {
  readonly minutes: number
  readonly rate: number
  readonly seed: number
  readonly quick: boolean
  readonly json: boolean
}

/** The command line, or what is wrong with it. */
export function askedFor(args: readonly string[]): Asked | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string' },
        rate: { type: 'string', default: '4' },
        seed: { type: 'string', default: '1' },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    })
    const minutes = numberIn(values.minutes ?? '', 0.2, 10_080)
    const rate = numberIn(values.rate, 0.1, 200)
    const seed = /^\d{1,10}$/.test(values.seed) ? numberIn(values.seed, 0, 4_294_967_295) : undefined
    if (minutes === undefined) return `--minutes is a number from 0.2 to 10080, not ${values.minutes ?? 'nothing'}`
    if (rate === undefined) return `--rate is a number from 0.1 to 200, not ${values.rate}`
    if (seed === undefined) return `--seed is a whole number from 0 to 4294967295, not ${values.seed}`
    return { minutes, rate, seed, quick: values.quick, json: values.json }
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}
const numberIn = (text: string, least: number, most: number): number | undefined => {
  const number = /^\d{1,10}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
  return number >= least && number <= most ? number : undefined
}

const say = (line: string): unknown => process.stderr.write(`${line}\n`)

function tell(report: SoakReport): void {
  for (const text of report.why) say(`not level: ${text}`)
  for (const text of report.errors) say(`failed: ${text}`)
  say(
    `${report.minutes} minutes at ${report.perSecond} requests a second: ${level(report) ? 'level, and all came back' : 'NOT LEVEL, see above'}`,
  )
}

export async function main(args: readonly string[]): Promise<number> {
  const asked = askedFor(args)
  if (typeof asked === 'string') {
    process.stderr.write(`${asked}\n${USAGE}`)
    return 2
  }
  const report = await soak({ ...asked, ...(asked.json ? {} : { progress: say }) })
  if (!asked.json || !level(report)) tell(report)
  process.stdout.write(`${JSON.stringify(report)}\n`)
  return level(report) ? 0 : 1
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
