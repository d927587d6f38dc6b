// Passkeys and ceremonies in a real Redis, with the broker's real signature under each passkey; and what one who edits Redis gets out of it.
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type RedisService, startRedis } from '../../deploy/dev/redis.ts'
import type { Passkeys } from '../../src/broker/ports.ts'
import { shard } from '../../src/domain/ids.ts'
import { minutes } from '../../src/domain/instant.ts'
import { requestPathOptions } from '../../src/redis/connect.ts'
import { redisCeremonies, redisPasskeys } from '../../src/redis/passkeys.ts'
import type { KeyRing } from '../../src/tokens/key-ring.ts'
import { recordSigner } from '../../src/tokens/records.ts'
import { ceremoniesContract, LENA, OLIVIA, passkeyOf, passkeysContract } from '../contracts/passkeys.ts'
import { codeOf } from '../support/code-of.ts'
import { freshRing, NOON } from '../support/keys.ts'

let service: RedisService
let redis: Redis
let ring: KeyRing
const HOME = shard(0)
const RECORDS = '{writ:0}:passkeys:olivia'
const COUNTERS = '{writ:0}:passkey-counters:olivia'

beforeAll(async () => {
  service = await startRedis({ own: true })
  redis = new Redis(
    service.url,
    requestPathOptions(() => 0.5),
  )
  redis.on('error', () => undefined)
  await once(redis, 'ready')
  ring = (await freshRing()).ring
})
afterAll(async () => {
  redis.disconnect()
  await service.stop()
})
beforeEach(async () => {
  await redis.flushall()
})

const records = () => recordSigner({ ring, now: () => NOON })
const passkeys = (): Passkeys => redisPasskeys({ redis, records: records(), shard: HOME, deadlineMs: 700 })

describe('passkeys in redis', () => {
  passkeysContract(async () => passkeys())

  it('lie in the cluster slot of their shard, and no name of a key holds anything but the person', async () => {
    await passkeys().add(passkeyOf('one'))
    expect((await redis.keys('*')).sort()).toEqual([COUNTERS, RECORDS])
  })

  it('do not count where any member was altered, taken away or added by hand', async () => {
    await passkeys().add(passkeyOf('one'))
    const stored = await redis.hget(RECORDS, 'one')
    const { record, signature } = JSON.parse(stored ?? '')
    const members = Object.keys(record)
    expect(members.sort()).toEqual(
      Object.keys(passkeyOf('one'))
        .filter((name) => name !== 'counter')
        .sort(),
    )
    for (const member of members) {
      const other = typeof record[member] === 'number' ? record[member] + 1 : Array.isArray(record[member]) ? [] : 'x'
      for (const changed of [
        { ...record, [member]: other },
        { ...record, [member]: undefined },
      ]) {
        await redis.hset(RECORDS, 'one', JSON.stringify({ record: changed, signature }))
        expect([member, await passkeys().of(OLIVIA)]).toEqual([member, []])
      }
    }
    for (const planted of [
      { record: { ...record, more: 1 }, signature },
      { record },
      { record, signature: '' },
      'x',
      null,
    ]) {
      await redis.hset(RECORDS, 'one', JSON.stringify(planted))
      expect(await passkeys().of(OLIVIA)).toEqual([])
    }
    await redis.hset(RECORDS, 'one', 'not json')
    expect(await passkeys().of(OLIVIA)).toEqual([])
    await redis.hset(RECORDS, 'one', stored ?? '')
    expect(await passkeys().of(OLIVIA)).toHaveLength(1)
  })

  it('do not count for another person, under another id, without a counter, or signed by another broker group', async () => {
    const lenas = passkeyOf('lenas', { person: LENA })
    await passkeys().add(lenas)
    const stored = (await redis.hget('{writ:0}:passkeys:lena', 'lenas')) ?? ''
    await redis.hset(RECORDS, { lenas: stored, other: stored })
    await redis.zadd(COUNTERS, 1, 'lenas', 1, 'other')
    expect(await passkeys().of(OLIVIA)).toEqual([])
    await redis.del('{writ:0}:passkey-counters:lena')
    expect(await passkeys().of(LENA)).toEqual([])
    const elsewhere = recordSigner({ ring: (await freshRing()).ring, now: () => NOON })
    await redisPasskeys({ redis, records: elsewhere, shard: HOME, deadlineMs: 700 }).add(passkeyOf('theirs'))
    expect(await passkeys().of(OLIVIA)).toEqual([])
  })

  it('are signed as what they are: a signature under another kind of record is none', async () => {
    const { counter: _, ...record } = passkeyOf('one')
    const signature = records().sign('writ/ceremony/v1', record)
    await redis.hset(RECORDS, 'one', JSON.stringify({ record, signature }))
    await redis.zadd(COUNTERS, 1, 'one')
    expect(await passkeys().of(OLIVIA)).toEqual([])
  })

  it('keep the highest count that Redis ever had of them, whoever adds them again', async () => {
    await passkeys().add(passkeyOf('one', { counter: 40 }))
    await passkeys().add(passkeyOf('one', { counter: 2 }))
    expect((await passkeys().of(OLIVIA))[0]?.counter).toBe(40)
  })
})

describe('ceremonies in redis', () => {
  const ceremonies = () => redisCeremonies({ redis, shard: HOME, deadlineMs: 700 })
  ceremoniesContract(async () => ({
    ceremonies: ceremonies(),
    // Redis's own clock is the one that counts here.
    pass: (span) => pause(span + 50),
  }))

  it('leave nothing behind when they are taken or over', async () => {
    await ceremonies().keep('hash', 'value', minutes(5))
    expect(await redis.pttl('{writ:0}:ceremony:hash')).toBeGreaterThan(290_000)
    await ceremonies().take('hash')
    expect(await redis.keys('*')).toEqual([])
  })
})

describe('a redis that does not answer', () => {
  it('is no passkey, no ceremony and no count: every question is refused', async () => {
    const lost = new Redis('redis://127.0.0.1:1', { ...requestPathOptions(() => 0.5), retryStrategy: () => null })
    lost.on('error', () => undefined)
    const from = redisPasskeys({ redis: lost, records: records(), shard: HOME, deadlineMs: 200 })
    const held = redisCeremonies({ redis: lost, shard: HOME, deadlineMs: 200 })
    const asked = [
      from.of(OLIVIA),
      from.add(passkeyOf('one')),
      from.count(OLIVIA, 'one', 4),
      from.remove(OLIVIA, 'one'),
      held.keep('hash', 'value', minutes(5)),
      held.read('hash'),
      held.take('hash'),
    ]
    expect(new Set(await Promise.all(asked.map(codeOf)))).toEqual(new Set(['store_unavailable']))
    lost.disconnect()
  })
})
