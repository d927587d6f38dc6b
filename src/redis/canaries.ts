// The canaries' results in Redis, shared by all brokers, and those that may still be there. What was written in another form, or by another
// version, is left out: a result that cannot be read says nothing. It holds accessors and lease ids, never a secret.
import type { Redis } from 'ioredis'
import { z } from 'zod'
import type { Canaries } from '../broker/ports.ts'
import { CANARY_RESULTS, CANARY_STEPS, type Canary, type OpenCanary } from '../domain/canary.ts'
import type { VaultCredential } from '../domain/entitlement.ts'
import { isGrantId, isName, named, type Shard } from '../domain/ids.ts'
import { duration, instant } from '../domain/instant.ts'
import { within } from './connect.ts'
import { credential } from './grant-record.ts'
import { canaryKeys, canaryTurnKey } from './keys.ts'

export interface CanaryStorePorts {
  readonly redis: Pick<Redis, 'hgetall' | 'hget' | 'hset' | 'hdel' | 'set' | 'del'>
  /** The same in every broker. */
  readonly shard: Shard
  readonly deadlineMs: number
}

const entitlement = z.string().refine(isName).transform(named.entitlement)
const at = z.int().min(0).transform(instant)
const span = z.int().min(0).transform(duration)
const word = z.string().max(200)
/** Absent in the text, a member with the value undefined in the domain. */
const maybe = <T extends z.ZodType>(schema: T) =>
  schema.optional().default(undefined as never) as unknown as z.ZodType<z.output<T> | undefined>

const Result: z.ZodType<Canary> = z.strictObject({
  v: z.literal(1),
  entitlement,
  rule: word,
  result: z.enum(CANARY_RESULTS),
  step: maybe(z.enum(CANARY_STEPS)),
  reason: maybe(word),
  at,
  took: span,
  next: at,
})
const Open: z.ZodType<OpenCanary> = z.strictObject({
  v: z.literal(1),
  entitlement,
  grant: z.string().refine(isGrantId),
  credential: credential.refine((rule): rule is VaultCredential => rule.kind === 'vault') as z.ZodType<VaultCredential>,
  since: at,
  accessor: maybe(word),
  lease: maybe(z.strictObject({ id: z.string().max(1_000), durationSeconds: z.int().min(0) })),
})

export function redisCanaries({ redis, shard, deadlineMs }: CanaryStorePorts): Canaries {
  const keys = canaryKeys(shard)
  const all = async <T extends { readonly entitlement: string }>(key: string, schema: z.ZodType<T>) =>
    Object.entries(await within(deadlineMs, redis.hgetall(key))).flatMap(([field, text]) => {
      const read = readAs(schema, text)
      return read?.entitlement === field ? [read] : []
    })
  return {
    all: () => all(keys.results, Result),
    last: async (id) => {
      const text = await within(deadlineMs, redis.hget(keys.results, id))
      const read = text === null ? undefined : readAs(Result, text)
      return read?.entitlement === id ? read : undefined
    },
    keep: async (canary) => {
      await within(deadlineMs, redis.hset(keys.results, canary.entitlement, JSON.stringify(canary)))
    },
    open: () => all(keys.open, Open),
    note: async (open) => {
      await within(deadlineMs, redis.hset(keys.open, open.entitlement, JSON.stringify(open)))
    },
    ended: async (id) => {
      await within(deadlineMs, redis.hdel(keys.open, id))
    },
    turn: async (id, lease) =>
      (await within(deadlineMs, redis.set(canaryTurnKey(shard, id), '1', 'PX', lease, 'NX'))) === 'OK',
    giveBack: async (id) => {
      await within(deadlineMs, redis.del(canaryTurnKey(shard, id)))
    },
  }
}

function readAs<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
