// `npm run model -- --sequences 100000 --seed 7`: as many sequences as asked for, and at the end one JSON object on stdout. Progress goes to
// stderr; an interrupt ends it with what was run until then. Exit 1 where the store and the model differ, 2 for an option that is none. `--path` with `--replay-path` runs what was told again.
import { parseArgs } from 'node:util'
import { type Found, type Report, runSequences } from './run.ts'

const USAGE = `usage: npm run model -- [--sequences N] [--seed S] [--json]
       npm run model -- --seed S --path P [--replay-path R]     a difference that was told, again`
const DEFAULT_SEQUENCES = 2_000

interface Options {
  readonly sequences: number
  readonly seed: number
  readonly path: string | undefined
  readonly replayPath: string | undefined
  readonly json: boolean
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

function wholeNumber(name: string, text: string | undefined, fallback: number, least: number, most: number): number {
  if (text === undefined) return fallback
  const number = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new Error(`--${name} is a whole number from ${least} to ${most}, not ${text}`)
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    options: {
      sequences: { type: 'string' },
      seed: { type: 'string' },
      path: { type: 'string' },
      'replay-path': { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const { path, 'replay-path': replayPath, json } = values
  if (path !== undefined && !/^\d+(:\d+)*$/.test(path)) throw new Error(`--path is numbers joined by ":", not ${path}`)
  if (path !== undefined && values.seed === undefined) throw new Error('--path needs the --seed that was told with it')
  if (replayPath !== undefined && path === undefined) throw new Error('--replay-path goes with --path')
  return {
    sequences: wholeNumber('sequences', values.sequences, path === undefined ? DEFAULT_SEQUENCES : 1, 1, 10_000_000),
    seed: wholeNumber('seed', values.seed, Date.now() % 1_000_000_000, -2_147_483_648, 2_147_483_000),
    path,
    replayPath,
    json,
  }
}

function tell({ seed, path, replayPath, sequence, what, after }: Found): void {
  say(`\nA difference, after ${after} sequences:\n${sequence}\n${what}`)
  say(`Again: npm run model -- --seed ${seed} --path ${path} --replay-path '${replayPath}'`)
}

const interrupted = new AbortController()
// Not once: whoever is left alone with a signal ends the process, and the report with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort())

const run = ({ sequences, seed, path, replayPath }: Options): Promise<Report> =>
  runSequences({
    sequences,
    seed,
    ...(path === undefined ? {} : { path }),
    ...(replayPath === undefined ? {} : { replayPath }),
    signal: interrupted.signal,
    onProgress: (n) => say(`${n} of ${sequences}`),
  })

async function main(args: readonly string[]): Promise<number> {
  let options: Options
  try {
    options = optionsOf(args)
  } catch (thrown) {
    say(`${thrown instanceof Error ? thrown.message : thrown}\n${USAGE}`)
    return 2
  }
  const { differences, ...report } = await run(options)
  for (const found of differences) tell(found)
  if (!options.json) {
    const { sequences, commands, seconds } = report
    process.stdout.write(
      `${sequences} sequences, ${commands} commands, ${differences.length} differences, ${seconds} s\n`,
    )
  }
  const shown = {
    ...report,
    interrupted: interrupted.signal.aborted,
    differences: differences.length,
    found: differences,
  }
  process.stdout.write(`${JSON.stringify(shown)}\n`)
  // Whoever asked for more must not take this for all of it.
  if (interrupted.signal.aborted) say(`Interrupted: ${report.sequences} of ${options.sequences} sequences.`)
  return differences.length === 0 && !interrupted.signal.aborted ? 0 : 1
}

process.exitCode = await main(process.argv.slice(2))
