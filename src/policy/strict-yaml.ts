// YAML as a policy may be written: one document of mappings, lists and plain values, each with its place in the file.
// Anchors, aliases, tags, directives, merge keys, complex or duplicate keys and deep nesting are refused before they cost anything.
import { isMap, isScalar, isSeq, Lexer, LineCounter, type Node, parseDocument } from 'yaml'
import { type Place, type PolicyProblem, placeAt } from './problem.ts'

export const MAX_BYTES = 256 * 1024
const MAX_TOKENS = 150_000
const MAX_DEPTH = 12

export type Path = readonly (string | number)[]
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain }

export interface YamlReading {
  /** Undefined where the file could not be read at all. */
  readonly value: Plain | undefined
  readonly problems: readonly PolicyProblem[]
  /** Where a member stands: its key where it has one; for what is absent, the nearest member above it. */
  place(path: Path): Place
}

/** Never throws: whatever is wrong with the text is a problem with its place. */
export function readYaml(file: string, text: string): YamlReading {
  const refused = (message: string, place: Place = { line: 1, column: 1 }): YamlReading => ({
    value: undefined,
    problems: [{ file, ...place, path: '', message }],
    place: () => place,
  })
  if (text.length > MAX_BYTES || Buffer.byteLength(text) > MAX_BYTES)
    return refused(`The file is larger than ${MAX_BYTES / 1024} KiB; split off what is not needed.`)
  if (!text.isWellFormed()) return refused('The file is not well-formed Unicode; save it as UTF-8.')
  const bomb = bombIn(text)
  if (bomb !== undefined) return refused(bomb.message, placeAt(text, bomb.offset))
  return parse(file, text)
}

/** One cheap pass over the tokens, because the parser builds everything before it complains. */
function bombIn(text: string): { readonly message: string; readonly offset: number } | undefined {
  let offset = 0
  let tokens = 0
  let depth = 0
  let indicators = 0
  let inScalar = false
  for (const token of new Lexer().lex(text)) {
    const found = (message: string) => ({ message, offset })
    // What follows a scalar mark is plain text, whatever it begins with.
    const first = inScalar ? '' : token[0]
    inScalar = token === SCALAR
    if (first === '&' || first === '*') return found('Anchors and aliases are not read here; write the value out.')
    if (first === '!') return found('Tags are not read here; remove it, the schema says what the type is.')
    if (first === '%') return found('Directives are not read here; remove the line.')
    if (first === '[' || first === '{') depth += 1
    if (first === ']' || first === '}') depth -= 1
    if (depth > MAX_DEPTH) return found(`Nested more than ${MAX_DEPTH} deep; no policy needs that.`)
    indicators =
      token === '-' || token === '?' ? indicators + 1 : token.trim() === '' && token !== '\n' ? indicators : 0
    if (indicators > MAX_DEPTH) return found(`Nested more than ${MAX_DEPTH} deep; no policy needs that.`)
    tokens += 1
    if (tokens > MAX_TOKENS) return found('The file has too many parts to be a policy.')
    // Control characters mark the kind of the next token and are not in the text.
    if (!isMark(token)) offset += token.length
  }
  return undefined
}

const SCALAR = '\u001f'
const MARKS: readonly string[] = ['\u0002', '\u0018', SCALAR]
const isMark = (token: string): boolean => MARKS.includes(token)

function parse(file: string, text: string): YamlReading {
  const lines = new LineCounter()
  // Duplicate keys are looked for below: the parser's own check is quadratic in the number of keys.
  const options = {
    lineCounter: lines,
    version: '1.2',
    schema: 'core',
    uniqueKeys: false,
    prettyErrors: false,
  } as const
  const document = parseDocument(text, options)
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const problems: PolicyProblem[] = [...document.errors, ...document.warnings].slice(0, 20).map((fault) => ({
    file,
    ...at(fault.pos[0]),
    path: '',
    message: `This is not the YAML that is read here: ${fault.message}.`,
  }))
  const places = new Map<string, number>()
  const walk = (node: Node | null, path: Path): Plain => {
    if (path.length > MAX_DEPTH) return problem(node, path, `Nested more than ${MAX_DEPTH} deep; no policy needs that.`)
    if (isSeq<Node>(node)) {
      return node.items.map((item, index) => {
        places.set(keyOf([...path, index]), item?.range?.[0] ?? 0)
        return walk(item, [...path, index])
      })
    }
    if (isMap<Node, Node | null>(node)) return mapping(node.items, path)
    if (node === null) return null
    if (isScalar(node)) {
      const { value } = node
      if (value === null || typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number')
        return value
    }
    return problem(node, path, 'Write a plain value here.')
  }
  const mapping = (items: readonly { readonly key: Node; readonly value: Node | null }[], path: Path): Plain => {
    const members = new Map<string, Plain>()
    for (const { key, value } of items) {
      const name = isScalar(key) && typeof key.value !== 'object' ? String(key.value) : undefined
      if (name === undefined || name === '__proto__') {
        problem(key, path, 'A key is a plain word; write one.')
        continue
      }
      if (members.has(name)) {
        problem(key, [...path, name], `The key ${name} is here twice; keep one.`)
        continue
      }
      places.set(keyOf([...path, name]), key.range?.[0] ?? 0)
      members.set(name, walk(value, [...path, name]))
    }
    return Object.fromEntries(members)
  }
  const problem = (node: Node | null, path: Path, message: string): null => {
    problems.push({ file, ...at(node?.range?.[0] ?? 0), path: path.join('.'), message })
    return null
  }
  const value = problems.length > 0 ? undefined : walk(document.contents, [])
  const place = (path: Path): Place => {
    for (let length = path.length; length > 0; length -= 1) {
      const offset = places.get(keyOf(path.slice(0, length)))
      if (offset !== undefined) return at(offset)
    }
    return { line: 1, column: 1 }
  }
  return { value, problems, place }
}

const keyOf = (path: Path): string => JSON.stringify(path)
