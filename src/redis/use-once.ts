// Remembers what may be used once (a proof, an assertion) until it could not be accepted any more. One SET NX decides, so of any number
// of parallel uses at any number of brokers one is the first. If Redis does not answer, nobody is: the caller must refuse.
import type { Redis } from 'ioredis'
import type { Shard } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { unavailable, within } from './connect.ts'

const ANSWER_WITHIN_MS = 450

/**
 * True the first time, false until `until` (by Redis's clock). Rejects `store_unavailable`: it may have been recorded, so the same
 * use tried again may be refused. `shard` is the same in every broker.
 */
export function redisUseOnce(redis: Redis, shard: Shard): (key: string, until: Instant) => Promise<boolean> {
  return async (key, until) => {
    try {
      const reply = await within(ANSWER_WITHIN_MS, redis.set(`{writ:${shard}}:once:${key}`, '1', 'PXAT', until, 'NX'))
      return reply === 'OK'
    } catch (thrown) {
      throw unavailable(thrown)
    }
  }
}
