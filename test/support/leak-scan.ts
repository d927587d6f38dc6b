// The end of every journey: the search for secrets where none may be, and the stop of its stage.
import { expect } from 'vitest'
import type { DevStage } from '../../deploy/dev/stage.ts'
import { leaksIn, type Sink, sinksOnDisk } from './leaks.ts'

export { leaksIn, redisAsText, type Sink, sinksOnDisk } from './leaks.ts'

/** Stops a stage, and fails if anything like a secret lies in what its Redis and its brokers wrote, or in `more`. Every journey ends here. */
export async function closeStage(stage: DevStage | undefined, more: readonly Sink[] = []): Promise<void> {
  if (stage === undefined) return
  try {
    expect([...leaksIn(sinksOnDisk(stage), []), ...leaksIn(more, [])]).toEqual([])
  } finally {
    await stage.stop()
  }
}
