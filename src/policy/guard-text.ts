// One cheap pass over Cedar text before the engine sees it: splits it into rules and bounds what they may be.
// The bounds are no matter of taste: the engine is WebAssembly with a fixed stack, and a rule nested deeper than about 100 levels, or
// longer than about 300 operators, breaks the instance for every later question (measured). These stay well below.
import { type PolicyProblem, placeAt } from './problem.ts'

const MAX_BYTES = 64 * 1024
const MAX_RULES = 200
const MAX_DEPTH = 24
const MAX_OPERATORS = 128
/** JavaScript numbers hold more, but not every engine in the chain agrees beyond. */
const MAX_DIGITS = 15
const MAX_LITERAL = 256
/** Of all patterns together: matching costs text × pattern. */
const MAX_WILDCARDS = 64

export interface RuleText {
  readonly text: string
  /** In UTF-16 code units from the start of the file. */
  readonly offset: number
}
export interface GuardText {
  readonly rules: readonly RuleText[]
  readonly problems: readonly PolicyProblem[]
}

const TOKEN =
  /(?<space>\s+|\/\/[^\n]*)|(?<text>"(?:[^"\\\n]|\\.)*")|(?<number>\d+)|(?<word>[A-Za-z_]\w*)|(?<open>[([{])|(?<close>[)\]}])|(?<end>;)|(?<comma>,)|(?<path>::)|(?<operator>&&|\|\||[<>=!]=|[^\s])/gy
const OPERATOR_WORDS = new Set(['if', 'when', 'unless', 'has', 'like', 'in', 'is'])

/** For guards (`rules`), or for their schema, which has no rules and is only bounded. Never throws. */
export function readGuardText(file: string, text: string): GuardText {
  if (text.length > MAX_BYTES || Buffer.byteLength(text) > MAX_BYTES || !text.isWellFormed()) {
    const message = `The file is larger than ${MAX_BYTES / 1024} KiB or not UTF-8; write fewer, more general rules.`
    return { rules: [], problems: [{ file, line: 1, column: 1, path: '', message }] }
  }
  const rules: RuleText[] = []
  let start = -1
  let depth = 0
  let operators = 0
  let wildcards = 0
  const fault = (offset: number, message: string): GuardText => ({
    rules: [],
    problems: [{ file, ...placeAt(text, offset), path: '', message }],
  })
  for (const { groups = {}, index, 0: token } of text.matchAll(TOKEN)) {
    if (groups.space !== undefined) continue
    if (start < 0) start = index
    if (groups.open !== undefined || token === '<') depth += 1
    if (groups.close !== undefined || token === '>') depth = Math.max(0, depth - 1)
    if (groups.operator !== undefined || OPERATOR_WORDS.has(token) || token === '[') operators += 1
    wildcards += groups.text === undefined ? 0 : token.split('*').length - 1
    if (depth > MAX_DEPTH) return fault(index, `Nested more than ${MAX_DEPTH} deep; write a flatter rule.`)
    if (operators > MAX_OPERATORS)
      return fault(start, `More than ${MAX_OPERATORS} operators in one rule; split it into several.`)
    if (wildcards > MAX_WILDCARDS)
      return fault(index, `More than ${MAX_WILDCARDS} "*" in texts; compare with == or a set instead.`)
    if (token.length > MAX_LITERAL && groups.text !== undefined)
      return fault(index, `A text longer than ${MAX_LITERAL} characters; shorten it.`)
    if (token.length > MAX_DIGITS && groups.number !== undefined)
      return fault(index, `A number of more than ${MAX_DIGITS} digits; write a smaller one.`)
    if (token === '"') return fault(index, 'A text that does not end on its line; close the quote.')
    if (groups.end === undefined) continue
    if (rules.length === MAX_RULES) return fault(index, `More than ${MAX_RULES} rules; write more general ones.`)
    rules.push({ text: text.slice(start, index + 1), offset: start })
    start = -1
    depth = 0
    operators = 0
  }
  if (start >= 0) return fault(start, 'This does not end; close it with ";".')
  return { rules, problems: [] }
}
