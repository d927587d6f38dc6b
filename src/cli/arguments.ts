// The words behind `writ <command>`, read strictly: an unknown option, a missing value or a word too many is a usage error that names
// what is known. Invariant: nothing is guessed, and no option takes a secret: what is in argv can be read by every process.
import { usage } from './failure.ts'

export interface Option {
  /** `flag`: there or not. `text`: one value. `many`: may be repeated. `maybe`: there, or with a value after `=`. */
  readonly takes: 'flag' | 'text' | 'many' | 'maybe'
  /** What stands for the value in the help, such as ID. */
  readonly value?: string
  readonly help: string
}
export type Options = Readonly<Record<string, Option>>

export interface Given {
  readonly words: readonly string[]
  has(name: string): boolean
  /** The value of a `text`, or of a `maybe` that has one. */
  text(name: string): string | undefined
  many(name: string): readonly string[]
}

/** Options of every command. */
export const GLOBAL: Options = {
  broker: { takes: 'text', value: 'URL', help: 'the broker; else WRIT_BROKER, else the one you logged in at last' },
  'token-file': {
    takes: 'text',
    value: 'FILE',
    help: 'a file with an access token, read at each use; else WRIT_TOKEN',
  },
  json: { takes: 'flag', help: 'the broker’s answer as it is on stdout, its refusal on stderr' },
  help: { takes: 'flag', help: 'this text' },
}

const SECRETIVE = new Set(['token', 'password', 'secret', 'key-file'])

export function readArguments(args: readonly string[], known: Options): Given {
  const values = new Map<string, string[]>()
  const words: string[] = []
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? ''
    if (arg === '--') {
      words.push(...args.slice(at + 1))
      break
    }
    if (arg === '-h') values.set('help', [])
    else if (!arg.startsWith('-') || arg === '-') words.push(arg)
    else {
      const { name, value } = split(arg)
      const option = Object.hasOwn(known, name) ? known[name] : undefined
      if (option === undefined) throw unknown(name, arg, known)
      const before = values.get(name)
      if (before !== undefined && option.takes !== 'many') throw usage(`--${name} is here twice.`)
      if (option.takes === 'flag' && value !== undefined) throw usage(`--${name} takes no value.`)
      const needsNext = value === undefined && (option.takes === 'text' || option.takes === 'many')
      const given = needsNext ? args[++at] : value
      // A word that begins with -- is the next option: the value was forgotten. Write --name=--value where it is meant.
      if (needsNext && (given === undefined || given.startsWith('--')))
        throw usage(`--${name} needs a value: --${name} ${option.value ?? 'VALUE'}.`)
      values.set(name, [...(before ?? []), ...(given === undefined ? [] : [given])])
    }
  }
  return {
    words,
    has: (name) => values.has(name),
    text: (name) => values.get(name)?.[0],
    many: (name) => values.get(name) ?? [],
  }
}

function split(arg: string): { readonly name: string; readonly value: string | undefined } {
  const equals = arg.indexOf('=')
  if (!arg.startsWith('--')) return { name: arg, value: undefined }
  return equals < 0
    ? { name: arg.slice(2), value: undefined }
    : { name: arg.slice(2, equals), value: arg.slice(equals + 1) }
}

/** The ids of conditions and passkeys may begin with a dash. */
const IS_A_WORD = 'See --help. An id that begins with a dash stands behind --, after all options: … -- ID.'

function unknown(name: string, arg: string, known: Options): Error {
  if (SECRETIVE.has(name))
    return usage(
      `There is no --${name}: every process on this machine could read it.`,
      'Use --token-file FILE or WRIT_TOKEN.',
    )
  const close = closest(name, Object.keys(known))
  // The option alone is named, never its value.
  const what = arg.startsWith('--') ? `--${name}` : arg
  return usage(`There is no option ${what}.`, close === undefined ? IS_A_WORD : `Did you mean --${close}?`)
}

/** The known word that is at most two changes away, if there is one. */
export const closest = (word: string, known: readonly string[]): string | undefined =>
  known
    .map((one) => ({ one, far: distance(word, one) }))
    .filter(({ one, far }) => far <= Math.min(2, one.length - 2))
    .toSorted((a, b) => a.far - b.far)[0]?.one

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
