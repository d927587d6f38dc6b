// A store that grows: more and more live grants, planted once for all scenes that look at it, and what each step took of Redis.
import type { GrantId } from '../../src/domain/ids.ts'
import type { Ours } from './ours.ts'
import { later, modelOf, planted } from './planting.ts'

export interface Growth {
  readonly model: GrantId
  readonly live: number
  /** What the planted ones took, measured around each step, so that nothing else that happened counts. */
  readonly bytes: number
  /** How long planting one took, on average. */
  readonly msEach: number
  /** Some of them. */
  readonly some: readonly GrantId[]
}
const grown = new WeakMap<Ours, Growth[]>()
const SOME = 200

/** So many are there afterwards, unless there are more already; then it says how it was when there were as many. */
export async function grownTo(ours: Ours, live: number, say: (line: string) => void): Promise<Growth> {
  const steps = grown.get(ours) ?? []
  grown.set(ours, steps)
  const last = steps.at(-1)
  const reached = steps.find((step) => step.live >= live)
  if (reached !== undefined) return reached
  const model = last?.model ?? (await modelOf(ours, 'bearer'))
  const many = live - (last?.live ?? 0)
  const { ids, bytes, seconds } = await planted(ours, model, many, { closesAt: later() })
  say(`${live} live grants in Redis, ${many} of them planted in ${seconds.toFixed(1)} s`)
  const msEach = (seconds * 1_000) / many
  const step = { model, live, bytes: bytes + (last?.bytes ?? 0), msEach, some: last?.some ?? ids.slice(-SOME) }
  steps.push(step)
  return step
}
