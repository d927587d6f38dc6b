// What hostile requests are sent to, as the run sees it: an address, somebody for each role, things in the right state, and a way to see
// whether anything changed. One is the shipped broker on a real Redis (stage-target.ts), another a door that is broken on purpose.
import type { Doc } from './fields.ts'
import type { OAuthMaterial } from './oauth-values.ts'
import type { Role, Seed } from './samples.ts'

/** What is kept, by where it lies. Equal texts are equal content. */
export interface State {
  readonly kept: ReadonlyMap<string, string>
  /** What goes by itself when its time is over: that it has gone is no change. */
  readonly passing: ReadonlySet<string>
}
export interface Target {
  readonly url: string
  readonly port: number
  readonly document: Doc
  /** The header of this role; undefined for whoever has none. A resource server's is good once. */
  authorization(role: Role): string | undefined
  /** The token of this role, or one of nobody. */
  subject(role: Role): string
  assertion(): string
  readonly oauth: OAuthMaterial
  /** The thing that this operation is tried on; another one when `spoiled` was told of it. */
  seed(operation: string): Promise<Seed>
  spoiled(operation: string): void
  /** Makes what the next of them will want, many at once. */
  ahead(operations: readonly string[]): Promise<void>
  /** New tokens where the old ones are soon over. */
  refresh(): Promise<void>
  state(): Promise<State>
  /** How many commits there were. */
  commits(): Promise<string>
  /** Whatever the broker took for its own failure since the last asking. */
  failures(): readonly string[]
  now(): number
}

/** What is there, gone or otherwise than before. */
export function changedFrom(before: State, after: State): readonly string[] {
  const found: string[] = []
  for (const [name, content] of after.kept) {
    const was = before.kept.get(name)
    if (was === undefined) found.push(`new: ${name}`)
    else if (was !== content) found.push(`changed: ${name}`)
  }
  for (const name of before.kept.keys()) if (!after.kept.has(name)) found.push(`gone: ${name}`)
  for (const name of after.passing) if (!before.passing.has(name)) found.push(`new: ${name}`)
  return found
}
