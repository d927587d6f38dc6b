// A store full of live grants: copies of one that the measured broker issued, planted as test/support/storm.ts does, and the looks of the queue
// that their own exchanges would have added.
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type GrantId, isGrantId, shard } from '../../src/domain/ids.ts'
import { instant, seconds } from '../../src/domain/instant.ts'
import { reveal, secret } from '../../src/domain/secret.ts'
import { openTimetable } from '../../src/queue/timetable.ts'
import { dueKey, shardKeys } from '../../src/redis/keys.ts'
import { loadKeyRing } from '../../src/tokens/key-ring.ts'
import { tokenSigner } from '../../src/tokens/sign.ts'
import { loadPlanted, plant } from '../support/storm.ts'
import { answersOf, type Ours, type Sender } from './ours.ts'

const HOME = shard(0)
export const LANE = 'local'
export const DUE = dueKey(HOME, LANE)
export const EVENTS = shardKeys(HOME).events
const BUCKET_MS = 100

export interface Crowd {
  readonly ids: readonly GrantId[]
  readonly seconds: number
  /** How much more Redis uses since. */
  readonly bytes: number
}

/** One that was asked for, approved and exchanged over HTTP: what all others are copies of. */
export async function modelOf(ours: Ours, sender: Sender): Promise<GrantId> {
  const ids = await ours.approved(1, sender, '3h')
  await answersOf(ours.port, ours.exchanges(ids, sender, false))
  const [id = ''] = ids
  if (!isGrantId(id)) throw new Error('not the id of a grant')
  return id
}

/** So many live grants whose windows close from then on, evenly over `spreadMs`. Rejects where they are due before they are there. */
export async function planted(
  ours: Ours,
  model: GrantId,
  many: number,
  { closesAt, spreadMs = 0 }: { readonly closesAt: number; readonly spreadMs?: number },
): Promise<Crowd> {
  const before = await usedMemory(ours.redis)
  const { maxmemory } = ours
  const { ids, seconds: took } = await plant(ours.stage.redis, model, many, closesAt, { spreadMs, maxmemory })
  const bytes = (await usedMemory(ours.redis)) - before
  if (spreadMs > 0) await looksAt(ours, closesAt, spreadMs)
  if (Date.now() > closesAt)
    throw new Error(`this machine is too slow: ${many} grants took ${took.toFixed(1)} s to plant`)
  return { ids, seconds: took, bytes }
}

/** An hour and a half from now: nothing of it ends while anything is measured. */
export const later = (): number => Date.now() + 5_400_000

export async function usedMemory(redis: Redis): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
}

/** The broker adds a look of the queue with the exchange; what is planted has passed it by. */
async function looksAt({ stage }: Ours, from: number, spreadMs: number): Promise<void> {
  const { host, port, password } = stage.redis
  let failure: unknown
  const timetable = openTimetable({
    redis: { url: `redis://${host}:${port}`, username: undefined, password: secret(password) },
    jitter: () => 0.5,
    onError: (error) => {
      failure = error
    },
    shards: [HOME],
    now: () => instant(Date.now()),
  })
  const add = async (): Promise<void> => {
    failure = undefined
    for (let at = from; at <= from + spreadMs + BUCKET_MS; at += BUCKET_MS) await timetable.at(LANE, instant(at))
  }
  try {
    // The first come before the connection does; adding again adds what is missing.
    for (let tries = 0; tries === 0 || (failure !== undefined && tries < 100); tries += 1) {
      if (tries > 0) await pause(50)
      await add()
    }
  } finally {
    await timetable.close()
  }
  if (failure !== undefined) throw failure
}

/** When each of these is due, as the store has it. */
export async function duesOf(redis: Redis, ids: readonly GrantId[]): Promise<ReadonlyMap<string, number>> {
  const dues = new Map<string, number>()
  for (let n = 0; n < ids.length; n += 1_000) {
    const some = ids.slice(n, n + 1_000)
    const scores = await redis.zmscore(DUE, ...some)
    for (const [k, id] of some.entries()) dues.set(id, Number(scores[k] ?? Number.NaN))
  }
  return dues
}

/** When Redis took the end of each grant, by the stream's own ids, from this time on. */
export async function endsSince(redis: Redis, from: number): Promise<ReadonlyMap<string, number>> {
  const ends = new Map<string, number>()
  let at = String(from)
  for (;;) {
    const page = await redis.xrange(EVENTS, at, '+', 'COUNT', 5_000)
    for (const [id, fields] of page) {
      const text = fields[fields.indexOf('event') + 1] ?? ''
      const grant = fields[fields.indexOf('grant') + 1] ?? ''
      if (text.includes('"type":"ended"')) ends.set(grant, Number(id.split('-', 1)[0]))
    }
    const last = page.at(-1)
    if (page.length < 5_000 || last === undefined) return ends
    at = `(${last[0]}`
  }
}

/** Tokens of planted grants, as the broker would have signed them. */
export async function tokensOf(ours: Ours, ids: readonly GrantId[]): Promise<readonly string[]> {
  const ring = await loadKeyRing(`${ours.stage.dir}/keys`, { now: () => instant(Date.now()) })
  const { sign } = tokenSigner({ ring, issuer: ours.stage.url, statusTtl: seconds(30) })
  const issuedAt = instant(Date.now() - 2_000)
  const grants = await loadPlanted(ours.stage.redis, ids)
  return Promise.all(
    grants.map(async (grant) => {
      const [mint] = grant.head.mints
      if (mint?.status !== 'live' || mint.kind !== 'jwt') throw new Error('no token is live')
      const facts = {
        grant,
        audience: grant.ask.audience,
        subject: grant.ask.intent.requester,
        jti: mint.jti,
        issuedAt,
        notBefore: issuedAt,
        expiresAt: instant(Date.now() + 600_000),
        policyDigest: grant.ask.policy.digest,
      }
      return reveal(await sign(facts, mint.key))
    }),
  )
}
