// How late the ends are, as the deadlines themselves say: what was leased to somebody has a later one. For figures only, so it reads no
// record and takes no part in the comparison that notices a rollback.
import type { Redis } from 'ioredis'
import type { Lane } from '../domain/entitlement.ts'
import type { Shard } from '../domain/ids.ts'
import { type Instant, instant } from '../domain/instant.ts'
import { unavailable } from './connect.ts'
import { dueKey } from './keys.ts'

/** The first deadline of a lane, past or not; undefined where there is none. Rejects `store_unavailable`. */
export function firstDeadline(redis: Redis, shards: readonly Shard[]): (lane: Lane) => Promise<Instant | undefined> {
  return async (lane) => {
    try {
      const rows = await Promise.all(shards.map((shard) => redis.zrange(dueKey(shard, lane), '0', '0', 'WITHSCORES')))
      const firsts = rows.flatMap(([, score]) => (score === undefined ? [] : [Number(score)]))
      return firsts.length === 0 ? undefined : instant(Math.min(...firsts))
    } catch (thrown) {
      throw unavailable(thrown)
    }
  }
}
