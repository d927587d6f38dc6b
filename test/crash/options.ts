// The options of `npm run crash`. Whatever is not understood is a sentence that says what to do, and nothing is started.
import { BUGS, type Bug, isBug } from '../support/planted-bugs.ts'

export interface Options {
  readonly json: boolean
  readonly minutes: number | undefined
  readonly kills: number | undefined
  readonly seed: number
  readonly plant: Bug | undefined
}
export type Parsed = { readonly options: Options } | { readonly help: string } | { readonly problem: string }

export const HELP = `npm run crash -- [options]
  --json         end with one JSON object on the last line of the output
  --minutes N    kill for so many minutes (default 10)
  --kills N      or until there were so many kills
  --seed S       draw the same kills and stories again: a whole number from 0 on
  --plant BUG    run brokers with a bug, to see that it is found; ends at the first violation
${Object.entries(BUGS)
  .map(([name, what]) => `                 ${name}: ${what}`)
  .join('\n')}
`
const MOST_MINUTES = 10_080

export function parseOptions(args: readonly string[], anySeed: () => number): Parsed {
  let options: Options = { json: false, minutes: undefined, kills: undefined, seed: anySeed(), plant: undefined }
  const wrong = (problem: string): Parsed => ({ problem: `${problem} See npm run crash -- --help.` })
  const left = args.flatMap((arg) => /^(--[a-z]+)=(.*)$/s.exec(arg)?.slice(1) ?? [arg])
  for (let arg = left.shift(); arg !== undefined; arg = left.shift()) {
    if (arg === '--help') return { help: HELP }
    if (arg === '--json') {
      options = { ...options, json: true }
      continue
    }
    if (!['--minutes', '--kills', '--seed', '--plant'].includes(arg))
      return wrong(`Leave out '${arg}': there is no such option.`)
    const value = left.shift()
    if (value === undefined) return wrong(`Give ${arg} a value.`)
    if (arg === '--plant') {
      if (!isBug(value)) return wrong(`Give --plant one of ${Object.keys(BUGS).join(', ')}; '${value}' is none.`)
      options = { ...options, plant: value }
      continue
    }
    const number = arg === '--minutes' ? minutesOf(value) : wholeOf(value, arg === '--seed' ? 0 : 1)
    if (number === undefined) return wrong(`Give ${arg} ${ASKED[arg]}; '${value}' is none.`)
    options = { ...options, [arg.slice(2)]: number }
  }
  if (options.minutes === undefined && options.kills === undefined) return { options: { ...options, minutes: 10 } }
  return { options }
}

const ASKED: Readonly<Record<string, string>> = {
  '--minutes': `a number of minutes above 0, at most ${MOST_MINUTES}`,
  '--kills': 'a whole number from 1 on',
  '--seed': 'a whole number from 0 to 4294967295',
}
function minutesOf(text: string): number | undefined {
  const minutes = /^\d{1,5}(\.\d{1,3})?$/.test(text) ? Number(text) : 0
  return minutes > 0 && minutes <= MOST_MINUTES ? minutes : undefined
}
function wholeOf(text: string, least: number): number | undefined {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : -1
  return number >= least && number < 2 ** 32 ? number : undefined
}
