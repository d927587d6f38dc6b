// `npm run hostile -- --requests N [--seed S] [--json]`: hostile requests against the shipped broker on a real Redis. Progress goes to stderr, one
// JSON object to stdout; 1 where anything was found, 2 where the command line is wrong, and then nothing was started.
import { parseArgs } from 'node:util'
import { clean, type HostileReport, hostileRun } from './run.ts'
import { stageTarget } from './stage-target.ts'

const USAGE = `usage: npm run hostile -- [--requests <1 to 100000000>] [--seed <0 to 4294967295>] [--json]
  --requests  how many are sent; 20000 where it is left out. Every field meets every bad value once before any does again.
  --seed      the order, and what comes together in the last rounds; 1 where it is left out
  --json      nothing but the JSON object, and no progress
`
interface Asked {
  readonly requests: number
  readonly seed: number
  readonly json: boolean
}

/** The command line, or what is wrong with it. */
export function askedFor(args: readonly string[]): Asked | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        requests: { type: 'string', default: '20000' },
        seed: { type: 'string', default: '1' },
        json: { type: 'boolean', default: false },
      },
    })
    const requests = wholeNumber(values.requests, 1, 100_000_000)
    const seed = wholeNumber(values.seed, 0, 4_294_967_295)
    if (requests === undefined) return `--requests is a whole number from 1 to 100000000, not ${values.requests}`
    if (seed === undefined) return `--seed is a whole number from 0 to 4294967295, not ${values.seed}`
    return { requests, seed, json: values.json }
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}
const wholeNumber = (text: string, least: number, most: number): number | undefined => {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  return number >= least && number <= most ? number : undefined
}

const say = (line: string): unknown => process.stderr.write(`${line}\n`)

function tell(report: HostileReport): void {
  for (const { kind, what, request, curl } of report.findings) say(`${kind}: ${what}\n  ${request}\n  ${curl}`)
  if (!clean(report)) say(`again: npm run hostile -- --requests ${report.requests} --seed ${report.seed}`)
  say(
    `${report.requests} requests in ${report.seconds} s, ${report.covered} of ${report.product} combinations with roles, ${report.accepted.all} taken by right; ${clean(report) ? 'nothing found' : 'FOUND, see above'}`,
  )
}

export async function main(args: readonly string[]): Promise<number> {
  const asked = askedFor(args)
  if (typeof asked === 'string') {
    process.stderr.write(`${asked}\n${USAGE}`)
    return 2
  }
  say(
    'starting a broker on a Redis of its own; its limits of rate and of what may be pending are set far up, or 429 would be the answer to all',
  )
  const target = await stageTarget()
  try {
    const progress = asked.json ? {} : { progress: say }
    let isOver = false
    // The first signal ends the run with a report of what was sent; the second ends it.
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        isOver = true
      })
    const report = await hostileRun(target, { ...asked, ...progress, isOver: () => isOver })
    if (!asked.json || !clean(report)) tell(report)
    process.stdout.write(`${JSON.stringify(report)}\n`)
    return clean(report) ? 0 : 1
  } finally {
    await target.stop()
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
