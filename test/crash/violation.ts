// What a run found that must never be. Each names its invariant, so that a reader finds it in THREATS.md §5 and in this folder.

export interface Violation {
  readonly invariant: string
  readonly grant?: string
  readonly expected: string
  readonly seen: string
}
export interface Found extends Violation {
  readonly seed: number
  /** How many kills there had been. */
  readonly kill: number
  /** Of the grant, in order: version and type. */
  readonly events: readonly string[]
}
export type Report = (violation: Violation) => void
