// A real Redis for store tests: every test gets a shard of its own, so that tests do not see each other's grants.
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type RedisService, startRedis } from '../../deploy/dev/redis.ts'
import { type Shard, shard } from '../../src/domain/ids.ts'
import { after, type Duration, instant } from '../../src/domain/instant.ts'
import { secret } from '../../src/domain/secret.ts'
import { connectRedis, type RedisConnections } from '../../src/redis/connect.ts'
import { redisGrantStore, type ShardStore } from '../../src/redis/grant-store.ts'
import { shardKeys } from '../../src/redis/keys.ts'
import { type Library, renderLibrary } from '../../src/redis/library.ts'
import type { StoreUnderTest } from '../contracts/grant-store.ts'
import { advanceOffset, offsetLibrary, offsetOf } from './offset-library.ts'
import { sha256 } from './sample-grants.ts'

/** Connections like the broker's, to a service or to a proxy in front of it. */
export async function connected(service: RedisService, port: number = service.port): Promise<RedisConnections> {
  const connections = connectRedis({
    address: { url: `redis://${service.host}:${port}`, username: undefined, password: secret(service.password) },
    jitter: () => 0.5,
    onError: () => {},
  })
  await connections.ready(5_000)
  return connections
}

export const storeOn = (
  { issue, end, connects }: Pick<RedisConnections, 'issue' | 'end' | 'connects'>,
  of: Shard,
  library: Library = renderLibrary(),
  lowWater = 0,
): ShardStore => redisGrantStore({ issue, end, connects, library, sha256, shards: [of], lowWater: () => lowWater })

const used = new Set<Shard>()
/** A shard on which this test run wrote nothing yet; whatever an earlier run left there is removed. */
export async function freshShard(redis: Redis): Promise<Shard> {
  const of = shard(1_000 + used.size)
  used.add(of)
  await clear(redis, of)
  return of
}
const keysOf = (redis: Redis, of: Shard): Promise<string[]> => redis.keys(`{writ:${of}}:*`)
const clear = async (redis: Redis, of: Shard): Promise<void> => {
  for (const key of await keysOf(redis, of)) await redis.del(key)
}

/** The store under test on a fresh shard, with a clock that can be advanced. */
export async function underTest(connections: RedisConnections): Promise<StoreUnderTest> {
  const { issue } = connections
  const of = await freshShard(issue)
  const library = offsetLibrary(String(of))
  const another = (lowWater = 0) => storeOn(connections, of, library, lowWater)
  return {
    store: another(),
    another,
    shard: of,
    now: async () => {
      const [seconds, microseconds] = await issue.time()
      return after(
        instant(Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000)),
        (await offsetOf(issue, String(of))) as Duration,
      )
    },
    advance: (span) => advanceOffset(issue, String(of), span),
    passes: (span) => pause(span),
    loseControl: async () => {
      await issue.hdel(shardKeys(of).control, 'judged')
    },
    snapshot: async () => {
      const kept = await Promise.all(
        (await keysOf(issue, of)).map(async (key) => [key, await issue.dumpBuffer(key)] as const),
      )
      return async () => {
        await clear(issue, of)
        for (const [key, bytes] of kept) if (bytes) await issue.restore(key, 0, bytes)
        // A server is restored while it is down, so every connection is a new one afterwards.
        const again = new Promise((resolve) => issue.once('ready', resolve))
        issue.disconnect(true)
        await again
      }
    },
  }
}

/** Tries until it resolves; for what comes back by itself. */
export async function eventually<T>(work: () => Promise<T>, withinMs = 5_000): Promise<T> {
  const end = performance.now() + withinMs
  for (;;) {
    try {
      return await work()
    } catch (thrown) {
      if (performance.now() > end) throw thrown
      await pause(20)
    }
  }
}

export { type RedisService, startRedis }
