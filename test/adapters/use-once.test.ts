import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RedisService, startRedis } from '../../deploy/dev/redis.ts'
import { shard } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import { grantCalls } from '../../src/redis/calls.ts'
import { requestPathOptions } from '../../src/redis/connect.ts'
import { renderLibrary } from '../../src/redis/library.ts'
import { redisUseOnce } from '../../src/redis/use-once.ts'
import { proofChecker } from '../../src/tokens/dpop.ts'
import { codeOf } from '../support/code-of.ts'
import { clientKey, proof } from '../support/keys.ts'

let service: RedisService
const clients: Redis[] = []
const client = async (): Promise<Redis> => {
  const redis = new Redis(
    service.url,
    requestPathOptions(() => 0.5),
  )
  redis.on('error', () => undefined)
  clients.push(redis)
  await expect.poll(() => redis.status).toBe('ready')
  return redis
}
const library = renderLibrary()
const over = (redis: Redis) => grantCalls({ redis, library, deadlineMs: 450 })
const calls = async () => over(await client())
const inMs = (ms: number): Instant => instant(Date.now() + ms)

beforeAll(async () => {
  service = await startRedis({ own: true })
})
afterAll(async () => {
  for (const redis of clients) redis.disconnect()
  await service.stop()
})

describe('what may be used once', () => {
  it('is used by one of many at several brokers, and by nobody again until its time is over', async () => {
    const brokers = [redisUseOnce(await calls(), shard(0)), redisUseOnce(await calls(), shard(0))]
    const until = inMs(400)
    const uses = await Promise.all(Array.from({ length: 50 }, (_, n) => brokers[n % 2]?.('dpop:key:jti', until)))
    expect(uses.filter((first) => first)).toHaveLength(1)
    expect(await brokers[0]?.('dpop:key:jti', inMs(400))).toBe(false)
    expect(await brokers[0]?.('dpop:key:other', until)).toBe(true)
    await pause(500)
    expect(await brokers[1]?.('dpop:key:jti', inMs(400))).toBe(true)
  })

  it('leaves nothing behind when its time is over, in the cluster slot of its shard', async () => {
    const redis = await client()
    await redisUseOnce(over(redis), shard(7))('dpop:key:jti', inMs(200))
    expect(await redis.keys('{writ:7}:*')).toEqual(['{writ:7}:once:dpop:key:jti'])
    await pause(300)
    expect(await redis.keys('{writ:7}:*')).toEqual([])
  })

  it('lets one of fifty parallel uses of one DPoP proof pass', async () => {
    const useOnce = redisUseOnce(await calls(), shard(0))
    const checker = proofChecker({ now: () => instant(Date.now()), useOnce })
    const url = 'https://writ.example/v1/grants'
    const text = await proof(await clientKey(), {
      jti: 'one',
      htm: 'POST',
      htu: url,
      iat: Math.floor(Date.now() / 1_000),
    })
    const codes = await Promise.all(
      Array.from({ length: 50 }, () =>
        codeOf(checker.check({ proof: text, method: 'POST', url }).then(({ spend }) => spend())),
      ),
    )
    expect(codes.filter((code) => code === 'accepted')).toHaveLength(1)
    expect(codes.filter((code) => code === 'unauthenticated')).toHaveLength(49)
  })

  it('is taken by a full Redis too: who must show a proof could not end anything otherwise', async () => {
    const redis = await client()
    const useOnce = redisUseOnce(over(redis), shard(0))
    expect(await useOnce('dpop:key:before', inMs(60_000))).toBe(true)
    await redis.config('SET', 'maxmemory', '1mb')
    try {
      expect(await useOnce('dpop:key:full', inMs(60_000))).toBe(true)
      expect(await useOnce('dpop:key:full', inMs(60_000))).toBe(false)
    } finally {
      await redis.config('SET', 'maxmemory', '256mb')
    }
  })

  it('is refused within half a second while Redis hangs, and while it is down', async () => {
    const useOnce = redisUseOnce(await calls(), shard(0))
    const refused = async () => {
      const started = performance.now()
      expect(await codeOf(useOnce('dpop:key:unknown', inMs(60_000)))).toBe('store_unavailable')
      expect(performance.now() - started).toBeLessThan(550)
    }
    await service.freeze()
    try {
      await refused()
    } finally {
      await service.thaw()
    }
    await service.kill()
    await refused()
  })
})
