// A YAML file for people, read strictly: everything that is wrong with it at once, each problem with its line.
// YAML's own traps are closed: no anchors, no aliases, no tags, no duplicate keys, and nothing is coerced into text.
import { type Document, isAlias, isMap, isNode, isPair, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import type { z } from 'zod'

export interface Problem {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly message: string
}

/** What became of a configuration text. `warnings` do not stop anything and belong into the log of the load. */
export type Compiled<T> =
  | { readonly ok: true; readonly value: T; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** How a compile step reads a file named inside a configuration; it throws when it cannot. */
export type ReadFile = (path: string) => string

/** `file:line: message`, one per line. */
export const explain = (problems: readonly Problem[]): string =>
  problems.map(({ file, line, message }) => `${file}:${line}: ${message}`).join('\n')

/** Where a member was written: its line, or that of the closest parent that exists. */
export type Locate = (path: readonly PropertyKey[]) => number

interface Read<T> {
  readonly value: T | undefined
  readonly problems: readonly Problem[]
  readonly line: Locate
}

const MAX_BYTES = 1024 * 1024

/** Parses and checks the text. `value` is undefined exactly when there are problems. */
export function readConfig<Schema extends z.ZodType>(
  text: string,
  file: string,
  schema: Schema,
): Read<z.output<Schema>> {
  if (Buffer.byteLength(text) > MAX_BYTES)
    return { value: undefined, problems: [{ file, line: 1, message: 'the file is larger than 1 MiB' }], line: () => 1 }
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    strict: true,
    version: '1.2',
    schema: 'core',
  })
  const line: Locate = (path) => lines.linePos(offsetOf(document, path)).line
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => ({
    file,
    line: lines.linePos(error.pos[0]).line,
    message: error.code === 'DUPLICATE_KEY' ? 'the same key is here twice' : firstLine(error.message),
  }))
  visit(document, {
    Node: (role, node) => {
      // A schema would drop it without a word, and with it a whole entry.
      const isHidden = role === 'key' && isScalar(node) && node.value === '__proto__'
      const trick = isHidden
        ? 'a member named __proto__'
        : isAlias(node)
          ? 'an alias'
          : node.anchor
            ? 'an anchor'
            : node.tag
              ? 'a tag'
              : undefined
      if (trick !== undefined)
        problems.push({
          file,
          line: lines.linePos(node.range?.[0] ?? 0).line,
          message: `${trick} is not allowed here`,
        })
    },
  })
  if (problems.length > 0) return { value: undefined, problems, line }
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (parsed.success) return { value: parsed.data, problems: [], line }
  return { value: undefined, problems: parsed.error.issues.flatMap((issue) => problemsOf(issue, file, line)), line }
}

const firstLine = (text: string): string => (text.split('\n')[0] ?? '').replace(/:$/, '')

function problemsOf(issue: z.core.$ZodIssue, file: string, line: Locate): readonly Problem[] {
  const at = issue.path.map(String).join('.')
  const where = at === '' ? '' : `${at}: `
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      file,
      line: line([...issue.path, key]),
      message: `${where}there is no setting named '${key}'`,
    }))
  if (issue.code === 'invalid_key')
    return [{ file, line: line(issue.path), message: `${where}${issue.issues[0]?.message ?? issue.message}` }]
  return [{ file, line: line(issue.path), message: `${where}${issue.message}` }]
}

/** The offset of the key at this path, so that a problem points at the line that has to change. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = 0
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isNode(item.key) && String(item.key) === String(step))
      if (pair === undefined) return offset
      offset = (isNode(pair.key) ? pair.key.range?.[0] : undefined) ?? offset
      node = pair.value
    } else {
      const item: unknown = isNode(node) && 'items' in node ? node.items[Number(step)] : undefined
      if (!isNode(item)) return offset
      offset = item.range?.[0] ?? offset
      node = item
    }
  }
  return offset
}
