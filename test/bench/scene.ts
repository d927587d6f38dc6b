// What every scene is given and gives back.
import type { SceneId } from './goals.ts'
import type { Measured } from './rounds.ts'
import type { Stages } from './stages.ts'
import type { Effective } from './switched.ts'

export interface Scope {
  readonly quick: boolean
  readonly rounds: number
  readonly stages: Stages
  /** Progress, for people. */
  say(line: string): void
}
/** Numbers by name; all rounds of a side have the same ones. */
export type Row = Readonly<Record<string, number>>
export interface SceneSide {
  readonly name: string
  readonly rounds: readonly Row[]
  readonly median: Row
}
export interface Measurement {
  /** By the names of the goal's criteria. */
  readonly numbers: Row
  readonly sides: readonly SceneSide[]
  readonly notes: readonly string[]
  readonly effective: Effective
}
export interface Scene {
  readonly id: SceneId
  /** The stages it plays on; one is closed when no later scene plays there. */
  readonly uses: readonly StageName[]
  measure(scope: Scope): Promise<Measurement>
}
export type StageName = 'exchange' | 'oidc' | 'tail' | 'contain' | 'ends' | 'vault' | 'small' | 'large'

export const sideOf = ({ name, rounds, median }: Measured): SceneSide => ({
  name,
  rounds: rounds.map((one) => ({ ...one })),
  median: { ...median },
})
