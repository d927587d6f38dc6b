// A queue that loses what waits in it, again and again while little is asked for: what is due then ends by the sweep, or by nothing.
import type { Redis } from 'ioredis'
import { shard } from '../../src/domain/ids.ts'
import { prefixOf, QUEUE } from '../../src/queue/jobs.ts'

const EVERY_MS = 50
/** BullMQ's set of jobs whose time has not come. */
const WAITING = `${prefixOf(shard(0))}:${QUEUE}:delayed`

export interface LostJobs {
  readonly many: () => number
  stop(): void
}

export function loseJobs(redis: Redis, isToLose: () => boolean): LostJobs {
  let lost = 0
  const lose = async (): Promise<void> => {
    lost += await redis.zremrangebyrank(WAITING, 0, -1)
  }
  // While Redis is down there is nothing to lose.
  const timer = setInterval(() => void (isToLose() && lose().catch(() => undefined)), EVERY_MS)
  return { many: () => lost, stop: () => clearInterval(timer) }
}
