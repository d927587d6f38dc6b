// What is wrong with a policy file, where, and what to write instead. All problems of a load are told at once.
// Invariant: a file with one problem yields no policy at all.

export interface PolicyProblem {
  readonly file: string
  /** From 1. */
  readonly line: number
  /** From 1, in UTF-16 code units. */
  readonly column: number
  /** `entitlements.sales-report.tier`, or the id of a guard. */
  readonly path: string
  /** What is wrong, and what to write instead. */
  readonly message: string
}

export interface Place {
  readonly line: number
  readonly column: number
}

/** Thrown by the compiler of a policy; `message` lists every problem as `file:line:column path: message`. */
export class PolicyError extends Error {
  readonly problems: readonly PolicyProblem[]
  constructor(problems: readonly PolicyProblem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.name = 'PolicyError'
    this.problems = problems
  }
}

export const formatProblem = ({ file, line, column, path, message }: PolicyProblem): string =>
  `${file}:${line}:${column} ${path === '' ? '' : `${path}: `}${message}`

/** By file and place, so that a report reads from top to bottom. */
export const inOrder = (problems: readonly PolicyProblem[]): readonly PolicyProblem[] =>
  problems.toSorted(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column,
  )

/** Line and column of an offset in UTF-16 code units. */
export function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, offset)
  const line = before.split('\n').length
  return { line, column: offset - (before.lastIndexOf('\n') + 1) + 1 }
}
