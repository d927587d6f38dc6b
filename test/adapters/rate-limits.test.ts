// Budgets per caller on a real Redis: what all brokers together give out, what is told, and what Redis away means for each budget.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Limits } from '../../src/broker/ports.ts'
import { named, type Shard } from '../../src/domain/ids.ts'
import { milliseconds } from '../../src/domain/instant.ts'
import { type Calls, grantCalls } from '../../src/redis/calls.ts'
import type { RedisConnections } from '../../src/redis/connect.ts'
import { renderLibrary } from '../../src/redis/library.ts'
import { type Rate, redisRateLimits } from '../../src/redis/rate-limits.ts'
import { codeOf } from '../support/code-of.ts'
import { advanceOffset, offsetLibrary } from '../support/offset-library.ts'
import { connected, freshShard, type RedisService, startRedis } from '../support/redis-shards.ts'

let service: RedisService
let connections: RedisConnections
let shard: Shard
beforeAll(async () => {
  service = await startRedis()
  connections = await connected(service)
})
afterAll(async () => {
  connections?.close()
  await service?.stop()
})

const ENDS: Rate = { count: 1_000, per: 60_000 }
const both = (calls: Calls) => ({ requests: calls, ends: calls })
/** A broker's limits, on a clock that only this test moves: Redis's by an offset, the broker's own by the same. */
async function brokers(requests: Rate, count = 1) {
  shard = await freshShard(connections.issue)
  let ms = 0
  const calls = grantCalls({ redis: connections.issue, library: offsetLibrary(String(shard)), deadlineMs: 700 })
  const rates = { requests, ends: ENDS }
  const limits = Array.from({ length: count }, () =>
    redisRateLimits({ calls: both(calls), shard, rates, ticks: () => ms }),
  )
  return {
    limits,
    advance: async (by: number) => {
      ms += by
      await advanceOffset(connections.issue, String(shard), milliseconds(by))
    },
  }
}
const vera = named.principal('vera')
async function taken(limits: readonly Limits[], tries: number, who = vera): Promise<number> {
  let given = 0
  for (let n = 0; n < tries; n += 1) {
    const quota = await limits[n % limits.length]?.take(who, 'requests')
    if (quota?.retryMs === undefined) given += 1
  }
  return given
}

describe('a budget', () => {
  it('gives out what it holds, however many brokers are asked, and refills evenly', async () => {
    const { limits, advance } = await brokers({ count: 30, per: 60_000 }, 3)
    const started = performance.now()
    const given = await taken(limits, 200)
    // Real time goes on under the offset: half a minute of it would be needed for fifteen more.
    expect(given).toBeGreaterThanOrEqual(30)
    expect(given).toBeLessThanOrEqual(30 + Math.ceil((performance.now() - started) / 2_000))
    await advance(10_000)
    const more = await taken(limits, 200)
    expect(more).toBeGreaterThanOrEqual(5)
    expect(more).toBeLessThanOrEqual(6)
  })

  it('is each caller’s own, and ends have one of their own', async () => {
    const { limits } = await brokers({ count: 3, per: 600_000 })
    expect(await taken(limits, 10)).toBe(3)
    expect(await taken(limits, 10, named.principal('olivia'))).toBe(3)
    expect((await limits[0]?.take(vera, 'ends'))?.retryMs).toBeUndefined()
  })

  it('says what is left and when to come again', async () => {
    const { limits } = await brokers({ count: 4, per: 40_000 })
    const left: number[] = []
    for (let n = 0; n < 4; n += 1) left.push((await limits[0]?.take(vera, 'requests'))?.left ?? -1)
    expect(left).toEqual([3, 2, 1, 0])
    const refused = await limits[0]?.take(vera, 'requests')
    expect(refused?.retryMs).toBeGreaterThan(8_000)
    expect(refused?.retryMs).toBeLessThanOrEqual(10_000)
  })

  it('asks Redis for some at a time, so that most requests cost it nothing, and never gives more for it', async () => {
    const { limits } = await brokers({ count: 1_000, per: 600_000 }, 2)
    const before = await commands()
    expect(await taken(limits, 1_500)).toBe(1_000)
    expect((await commands()) - before).toBeLessThan(200)
  })

  it('counts right when many ask at the same moment', async () => {
    const { limits } = await brokers({ count: 500, per: 6_000_000 }, 2)
    const quotas = await Promise.all(Array.from({ length: 2_000 }, (_, n) => limits[n % 2]?.take(vera, 'requests')))
    expect(quotas.filter((quota) => quota?.retryMs === undefined)).toHaveLength(500)
  })

  it('is whole again within one period also when the clock of Redis is set back', async () => {
    const { limits, advance } = await brokers({ count: 4, per: 40_000 })
    await advance(3_600_000)
    expect(await taken(limits, 5)).toBe(4)
    await advance(10_000)
    await advanceOffset(connections.issue, String(shard), milliseconds(-3_600_000))
    expect(await taken(limits, 1)).toBe(0)
    await advance(40_000)
    expect(await taken(limits, 5)).toBe(4)
  })

  it('is still given out by a full Redis, which can be read: who cannot ask could not see what must be ended', async () => {
    const own = await startRedis({ own: true })
    const through = await connected(own)
    try {
      const calls = grantCalls({ redis: through.issue, library: renderLibrary(), deadlineMs: 700 })
      const rates = { requests: { count: 2, per: 600_000 }, ends: ENDS }
      const full = redisRateLimits({
        calls: both(calls),
        shard: await freshShard(through.issue),
        rates,
        ticks: () => 0,
      })
      // Taken once before, so that the library is there.
      await full.take(named.principal('olivia'), 'requests')
      await through.issue.config('SET', 'maxmemory', '1mb')
      expect(await taken([full], 3)).toBe(2)
    } finally {
      through.close()
      await own.stop()
    }
  })

  it('of ends does not wait behind requests: each is asked for over its own connection', async () => {
    const { limits } = await brokers({ count: 10, per: 60_000 })
    expect((await limits[0]?.take(vera, 'ends'))?.left).toBe(ENDS.count - 1)
    const hung: Pick<Calls, 'take'> = { take: () => new Promise(() => undefined) }
    const ends = grantCalls({ redis: connections.end, library: offsetLibrary(String(shard)), deadlineMs: 700 })
    const rates = { requests: ENDS, ends: ENDS }
    const half = redisRateLimits({ calls: { requests: hung, ends }, shard, rates, ticks: () => 0 })
    void half.take(vera, 'requests')
    expect((await half.take(named.principal('olivia'), 'ends')).left).toBe(ENDS.count - 1)
  })

  it('with Redis away refuses requests and lets ends through', async () => {
    await brokers({ count: 10, per: 60_000 })
    const away = await connected(service)
    const calls = grantCalls({ redis: away.issue, library: offsetLibrary(String(shard)), deadlineMs: 300 })
    away.close()
    const cut = redisRateLimits({ calls: both(calls), shard, rates: { requests: ENDS, ends: ENDS }, ticks: () => 0 })
    expect(await codeOf(cut.take(vera, 'requests'))).toBe('store_unavailable')
    expect((await cut.take(vera, 'ends')).retryMs).toBeUndefined()
  })
})

const commands = async (): Promise<number> =>
  Number(/cmdstat_fcall:calls=(\d+)/.exec(await connections.issue.info('commandstats'))?.[1] ?? 0)
