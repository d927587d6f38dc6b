// The shipped functions with a clock that tests can move: Redis's TIME plus an offset key. Only tests render this.
import type { Redis } from 'ioredis'
import type { Duration } from '../../src/domain/instant.ts'
import { type Library, REDIS_TIME, renderLibrary } from '../../src/redis/library.ts'

/** One offset per shard, so that tests on one server do not move each other's clock. `keys` is not in scope, so the tag is rendered. */
const keyOf = (name: string): string => `{writ:${name}}:test-offset`

export const offsetLibrary = (name: string): Library =>
  renderLibrary(
    `${REDIS_TIME.replace('now_ms()', 'redis_ms()')} ` +
      `local function now_ms() return redis_ms() + tonumber(redis.call('GET', '${keyOf(name)}') or '0') end`,
  )

export const advanceOffset = async (redis: Redis, name: string, span: Duration): Promise<void> => {
  await redis.incrby(keyOf(name), span)
}
export const offsetOf = async (redis: Redis, name: string): Promise<number> =>
  Number((await redis.get(keyOf(name))) ?? 0)
