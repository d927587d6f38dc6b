// Very many grants at once, put into Redis by the store's own commits: each is a copy of one that was asked for, approved and exchanged over
// HTTP, so that its record is as large as a real one. And exchanges under way meanwhile, timed.
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { RedisService } from '../../deploy/dev/redis.ts'
import type { Guard } from '../../src/broker/ports.ts'
import { isBrokerError } from '../../src/domain/errors.ts'
import type { GrantEvent } from '../../src/domain/events.ts'
import type { Grant, Step } from '../../src/domain/grant.ts'
import { type GrantId, grantIdFrom, groupOf, shard } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import type { Mint } from '../../src/domain/mint.ts'
import { eachOf, type Report, type Reports } from './journey-actors.ts'
import { connected, storeOn } from './redis-shards.ts'

const HOME = shard(0)

export interface Planted {
  readonly grants: readonly Grant[]
  /** How long it took. */
  readonly seconds: number
}

/** So many active grants like this one, whose windows close then. */
export async function plant(redis: RedisService, model: GrantId, many: number, closesAt: number): Promise<Planted> {
  const connections = await connected(redis)
  try {
    const store = storeOn(connections, HOME)
    const found = await store.load(model)
    if (found?.grant.head.status !== 'active') throw new Error('the model is not active')
    const { grant, control } = found
    const guard = { judgedUnder: control }
    const started = performance.now()
    const grants = await eachOf(many, 200, async () => {
      const copy = copyOf(grant, grantIdFrom(HOME, groupOf(model), randomBytes(17)), instant(closesAt))
      for (const step of stepsOf(copy)) await committed(store, step, guard)
      return copy
    })
    return { grants, seconds: (performance.now() - started) / 1_000 }
  } finally {
    connections.close()
  }
}

/** Once, also where a busy machine was too slow to say so in time. */
async function committed(store: ReturnType<typeof storeOn>, step: Step, guard: Guard): Promise<void> {
  for (;;) {
    try {
      await store.commit(step, guard)
      return
    } catch (thrown) {
      if (!isBrokerError(thrown, 'store_unavailable') && !isBrokerError(thrown, 'store_conflict')) throw thrown
      await pause(200)
      const found = await store.load(step.grant.id).catch(() => undefined)
      if ((found?.grant.version ?? 0) >= step.grant.version) return
    }
  }
}

/** The same grant under another id, until then; filed two seconds before that where it is over already. */
function copyOf(grant: Grant, id: GrantId, closesAt: Instant): Grant {
  const { ask, head } = grant
  const filedAt = instant(Math.min(ask.filedAt, closesAt - 2_000))
  const window = { opensAt: filedAt, closesAt }
  const mints = head.mints.map(
    (mint): Mint => (mint.status === 'live' ? { ...mint, issuedAt: filedAt, expiresAt: closesAt } : mint),
  )
  return {
    ...grant,
    id,
    // Whoever sweeps meanwhile has no hand in it.
    ask: { ...ask, id, filedAt, decideBy: closesAt, lapsesAt: closesAt, intent: { ...ask.intent, window } },
    head: { ...head, mints },
  } as Grant
}

/** Its three commits: filed, approved, exchanged. */
function stepsOf(grant: Grant): readonly Step[] {
  if (grant.head.status !== 'active') throw new Error('not active')
  const { ask, head, id, decisions, born } = grant
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
    { grant: { id, ask, decisions: [], head: pending, version: 1, born }, event: event('filed'), from: 'none' },
    { grant: { id, ask, decisions, head: approved, version: 2, born }, event: event('approved'), from: 'pending' },
    { grant: { id, ask, decisions, head, version: 3, born }, event: event('issued'), from: 'approved' },
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
