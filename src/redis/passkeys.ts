// Passkeys and ceremonies in Redis. A passkey's record is signed by the broker over its canonical form, and read only where that signature
// holds for this person: one who can edit Redis can take a passkey away, or put back what once was there, never plant one. Its counter lies
// beside it and only rises.
import type { Redis } from 'ioredis'
import { z } from 'zod'
import type { Ceremonies, Passkeys, RecordSigner } from '../broker/ports.ts'
import { PASSKEY_ALGORITHMS } from '../domain/assertion.ts'
import { named, type PersonId, type Shard } from '../domain/ids.ts'
import { instant } from '../domain/instant.ts'
import type { Passkey } from '../domain/passkey.ts'
import { within } from './connect.ts'
import { ceremonyKey, passkeyKeys } from './keys.ts'

export interface PasskeyPorts {
  readonly redis: Pick<Redis, 'hgetall' | 'hsetnx' | 'hdel' | 'zadd' | 'zrange' | 'zscore' | 'zrem'>
  readonly records: RecordSigner
  /** The same in every broker. */
  readonly shard: Shard
  readonly deadlineMs: number
}

const TYP = 'writ/passkey/v1'
const text = z.string().min(1)
const Stored = z.strictObject({
  record: z.strictObject({
    v: z.literal(1),
    person: text.transform(named.person),
    credentialId: text,
    publicKey: text,
    algorithm: z.literal(PASSKEY_ALGORITHMS),
    transports: z.array(text).readonly(),
    handle: text,
    name: text,
    registeredAt: z.int().min(0).transform(instant),
  }),
  signature: text,
})

export function redisPasskeys({ redis, records, shard, deadlineMs }: PasskeyPorts): Passkeys {
  const read = (person: PersonId, field: string, written: string): Passkey | undefined => {
    const stored = Stored.safeParse(jsonOf(written))
    if (!stored.success) return undefined
    const { record, signature } = stored.data
    if (record.person !== person || record.credentialId !== field) return undefined
    return records.verify(TYP, record, signature) ? record : undefined
  }
  return {
    of: async (person) => {
      const keys = passkeyKeys(shard, person)
      const [written, scores] = await within(
        deadlineMs,
        Promise.all([redis.hgetall(keys.records), redis.zrange(keys.counters, '0', '-1', 'WITHSCORES')]),
      )
      const counters = new Map(
        scores.flatMap((id, at) => (at % 2 === 0 ? [[id, Number(scores[at + 1])] as const] : [])),
      )
      return Object.entries(written)
        .flatMap(([field, stored]) => {
          const passkey = read(person, field, stored)
          const counter = counters.get(field)
          // Without its counter, it cannot be told from a copy of it.
          return passkey === undefined || counter === undefined ? [] : [{ ...passkey, counter }]
        })
        .sort((a, b) => a.registeredAt - b.registeredAt)
    },
    add: async ({ counter, ...record }) => {
      const keys = passkeyKeys(shard, record.person)
      const stored = JSON.stringify({ record, signature: records.sign(TYP, { ...record }) })
      // The counter first: what a crash leaves is then a counter of nothing, never a passkey that cannot be counted.
      await within(deadlineMs, redis.zadd(keys.counters, 'GT', counter, record.credentialId))
      return (await within(deadlineMs, redis.hsetnx(keys.records, record.credentialId, stored))) === 1
    },
    count: async (person, credentialId, counter) => {
      const { counters } = passkeyKeys(shard, person)
      // One command decides: XX leaves alone what is not there, GT what would not rise.
      if (Number(await within(deadlineMs, redis.zadd(counters, 'XX', 'GT', 'CH', counter, credentialId))) === 1)
        return true
      return counter === 0 && Number(await within(deadlineMs, redis.zscore(counters, credentialId))) === 0
    },
    remove: async (person, credentialId) => {
      const keys = passkeyKeys(shard, person)
      const removed = await within(deadlineMs, redis.hdel(keys.records, credentialId))
      await within(deadlineMs, redis.zrem(keys.counters, credentialId))
      return removed === 1
    },
  }
}

const jsonOf = (written: string): unknown => {
  try {
    return JSON.parse(written)
  } catch {
    return undefined
  }
}

export interface CeremonyPorts {
  readonly redis: Pick<Redis, 'set' | 'get' | 'getdel'>
  readonly shard: Shard
  readonly deadlineMs: number
}

/** Opaque here: whoever keeps one signs it. */
export function redisCeremonies({ redis, shard, deadlineMs }: CeremonyPorts): Ceremonies {
  return {
    keep: async (hash, value, life) => {
      await within(deadlineMs, redis.set(ceremonyKey(shard, hash), value, 'PX', life))
    },
    read: async (hash) => (await within(deadlineMs, redis.get(ceremonyKey(shard, hash)))) ?? undefined,
    take: async (hash) => (await within(deadlineMs, redis.getdel(ceremonyKey(shard, hash)))) ?? undefined,
  }
}
