// Very many grants at once in Redis: each is a copy of one that was asked for, approved and exchanged over HTTP, so that its record is as large
// as a real one. And exchanges under way meanwhile, timed.
import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import type { RedisService } from '../../deploy/dev/redis.ts'
import type { GrantEvent } from '../../src/domain/events.ts'
import type { Grant, Step } from '../../src/domain/grant.ts'
import { type GrantId, grantIdFrom, shard } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import type { Mint } from '../../src/domain/mint.ts'
import { grantKeys, shardKeys } from '../../src/redis/keys.ts'
import type { Report, Reports } from './journey-actors.ts'
import { connected, storeOn } from './redis-shards.ts'

const HOME = shard(0)

/**
 * So many active grants like this one, whose windows closed then. The first goes through the store's own commits; the others are what that left
 * in Redis, under ids of their own, in the same keys, sets and order of events. Resolves to how long it took, in seconds.
 */
export async function plant(redis: RedisService, model: GrantId, many: number, closesAt: number): Promise<number> {
  const connections = await connected(redis)
  const raw = new Redis(redis.url)
  try {
    await raw.config('SET', 'maxmemory', '4gb', 'appendfsync', 'no', 'auto-aof-rewrite-percentage', '0')
    const started = performance.now()
    const store = storeOn(connections, HOME)
    const found = await store.load(model)
    if (found?.grant.head.status !== 'active') throw new Error('the model is not active')
    const first = grantIdFrom(HOME, randomBytes(17))
    for (const step of stepsOf(copyOf(found.grant, first, instant(closesAt))))
      await store.commit(step, { judgedUnder: found.control })
    await multiply(raw, first, many - 1)
    await raw.config('SET', 'appendfsync', 'always')
    return (performance.now() - started) / 1_000
  } finally {
    raw.disconnect()
    connections.close()
  }
}

const AT_ONCE = 1_000

/** What one grant left in Redis, so many times more. */
async function multiply(redis: Redis, first: GrantId, many: number): Promise<void> {
  const keys = grantKeys(first)
  const [ask = '', decisions, head] = [
    await redis.get(keys.ask),
    await redis.lrange(keys.decisions, 0, -1),
    await redis.hgetall(keys.head),
  ]
  const { control, events } = shardKeys(HOME)
  const told = (head.ev ?? '').split(',')
  const texts: string[] = []
  for (const entry of told) {
    const [found] = (await redis.xrange(events, entry, entry)) as [string, string[]][]
    texts.push(found?.[1][7] ?? '')
  }
  const sets: (readonly [string, string])[] = []
  for (const key of [
    ...(await redis.keys('{writ:0}:due:*')),
    ...(await redis.keys('{writ:0}:in:*')),
    ...(await redis.keys('{writ:0}:of:*')),
  ]) {
    const score = await redis.zscore(key, first)
    if (score !== null) sets.push([key, score])
  }
  let seq = Number(await redis.hget(control, 'n'))
  // Ids of events are made here, so that the heads can name them; the clock of Redis has passed them when this is done.
  const ms = Number(told.at(-1)?.split('-')[0])
  let event = 0
  for (let done = 0; done < many; done += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, many - done) }, () => grantIdFrom(HOME, randomBytes(17)))
    const pipeline = redis.pipeline()
    for (const id of ids) {
      const of = grantKeys(id)
      const named = texts.map((text, at) => {
        event += 1
        seq += 1
        const entry = `${ms + 1}-${event}`
        pipeline.xadd(events, entry, 'grant', id, 'version', at + 1, 'seq', seq, 'event', text.replaceAll(first, id))
        return entry
      })
      pipeline.set(of.ask, (ask ?? '').replaceAll(first, id))
      if (decisions.length > 0) pipeline.rpush(of.decisions, ...decisions)
      pipeline.hset(of.head, { ...head, ev: named.join(','), born: String(seq - texts.length + 1) })
    }
    for (const [key, score] of sets) pipeline.zadd(key, ...ids.flatMap((id) => [score, id]))
    pipeline.hset(control, 'n', seq, 'event', `${ms + 1}-${event}`)
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error
  }
}

/** The same grant under another id, filed two seconds before its end and over since. */
function copyOf(grant: Grant, id: GrantId, closesAt: Instant): Grant {
  const { ask, head } = grant
  const filedAt = instant(closesAt - 2_000)
  const window = { opensAt: filedAt, closesAt }
  const mints = head.mints.map(
    (mint): Mint => (mint.status === 'live' ? { ...mint, issuedAt: filedAt, expiresAt: closesAt } : mint),
  )
  return {
    ...grant,
    id,
    ask: { ...ask, id, filedAt, intent: { ...ask.intent, window } },
    head: { ...head, mints },
  } as Grant
}

/** Its three commits: filed, approved, exchanged. */
function stepsOf(grant: Grant): readonly Step[] {
  if (grant.head.status !== 'active') throw new Error('not active')
  const { ask, head, id, decisions } = grant
  const event = (type: GrantEvent['type']): GrantEvent => ({
    v: 1,
    type,
    grant: id,
    at: ask.filedAt,
    by: ask.intent.requester,
    digest: ask.digest,
    policyDigest: ask.policy.digest,
    details: {},
  })
  const bare = { v: 2, mints: [], result: undefined } as const
  const approved = {
    ...bare,
    status: 'approved',
    facts: { approvedAt: ask.filedAt, useBy: ask.intent.window.closesAt },
  } as const
  const pending = { ...bare, status: 'pending', facts: { escalatedAt: undefined } } as const
  return [
    { grant: { id, ask, decisions: [], head: pending, version: 1 }, event: event('filed'), from: 'none' },
    { grant: { id, ask, decisions, head: approved, version: 2 }, event: event('approved'), from: 'pending' },
    { grant: { id, ask, decisions, head, version: 3 }, event: event('issued'), from: 'approved' },
  ]
}

export interface Timed {
  readonly count: number
  readonly refused: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Exchanges one after the other in so many lanes, each of another approved grant, until it is told to stop or there are none left. */
export function exchanging(report: Reports, url: string, waiting: Report[], lanes: number): () => Promise<Timed> {
  const took: number[] = []
  let refused = 0
  let running = true
  const lane = async (): Promise<void> => {
    for (let one = waiting.pop(); running && one !== undefined; one = waiting.pop()) {
      const started = performance.now()
      const { said } = await report.exchange(url, one)
      took.push(performance.now() - started)
      if (said !== 'ok') refused += 1
    }
  }
  const all = Promise.all(Array.from({ length: lanes }, lane))
  return async () => {
    running = false
    await all
    const sorted = took.toSorted((a, b) => a - b)
    const at = (part: number) =>
      Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN) * 10) / 10
    return { count: sorted.length, refused, p50: at(0.5), p99: at(0.99), max: at(1) }
  }
}

/** How many deadlines of this lane have passed and were not worked on yet. */
export async function overdue(redis: Redis, lane = 'local'): Promise<number> {
  const [seconds] = await redis.time()
  return redis.zcount(`{writ:0}:due:${lane}`, '-inf', Number(seconds) * 1_000)
}
