// What is looked at in a soak: the processes from outside, what they say of themselves, and what lies in Redis, Vault and PostgreSQL.
import { readdirSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import type { Eyes } from '../support/journey-actors.ts'

export interface Watched {
  readonly name: string
  readonly pid: number
  readonly url: string
}

// By kind: what a grant leaves until it goes to the archive, what goes by itself, what is kept for ever, and the rest, which only lives.
const SCRIPT = `
local kinds = { ended = 0, passing = 0, kept = 0, queue = 0, live = 0, grants = 0 }
for _, key in ipairs(redis.call('KEYS', '*')) do
  local name = string.match(key, '^{writ:%d+}:([a-z-]+)') or ''
  if name == 'head' then kinds.grants = kinds.grants + 1 end
  if name == 'once' or name == 'rate' or name == 'denied' or name == 'ceremony' then kinds.passing = kinds.passing + 1
  elseif name == 'queue' then kinds.queue = kinds.queue + 1
  elseif name == 'containment' or name == 'contained' then kinds.kept = kinds.kept + 1
  elseif name == 'ask' or name == 'head' or name == 'decisions' or name == 'uses' or name == 'of' then kinds.ended = kinds.ended + 1
  else kinds.live = kinds.live + 1 end
end
-- A freeze is kept for ever, with its two events; here each contains, and has two keys. Anything beyond those is a growth like any other.
local freezes = redis.call('HLEN', '{writ:0}:freezes')
local oldest = redis.call('ZRANGE', '{writ:0}:retire', 0, 0, 'WITHSCORES')
local now = redis.call('TIME')
local age = 0
if oldest[2] then age = tonumber(now[1]) - tonumber(oldest[2]) / 1000 end
return { kinds.ended, kinds.passing, kinds.kept, kinds.queue, kinds.live, kinds.grants,
  redis.call('ZCARD', '{writ:0}:retire'), math.floor(age),
  redis.call('LLEN', '{writ:0}:queue:looks:wait') + redis.call('LLEN', '{writ:0}:queue:looks:active'),
  redis.call('ZCARD', '{writ:0}:queue:looks:delayed'), redis.call('ZCARD', '{writ:0}:queue:looks:failed'), redis.call('XLEN', '{writ:0}:events') - 2 * freezes, redis.call('DBSIZE') - 2 * freezes }`
const NAMES = [
  ...(['grantKeys', 'passing', 'kept', 'queue', 'live', 'grants', 'ended', 'oldestEnded'] as const),
  ...(['jobsNow', 'jobsLater', 'jobsFailed', 'events', 'keys'] as const),
] as const

const numbersIn = (value: unknown): readonly number[] => (Array.isArray(value) ? value.map(Number) : [])

export interface Figures {
  /** Everything that is cheap to look at. */
  often(): Promise<Readonly<Record<string, number>>>
  /** What Vault and PostgreSQL hold in our name. */
  seldom(): Promise<Readonly<Record<string, number>>>
  close(): void
}

/** `open`: how many connections to this broker are the load's own, which are no business of the broker's. */
export function figures(
  brokers: readonly Watched[],
  redisUrl: string,
  { eyes, open }: { readonly eyes: Eyes; open(url: string): number },
): Figures {
  const redis = new Redis(redisUrl)
  const often: Figures['often'] = async () => {
    const found: Record<string, number> = {}
    for (const { name, pid, url } of brokers) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      found[`${name}.rssMb`] = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024
      const text = await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text()
      const ours = open(url)
      found[`${name}.fds`] = readdirSync(`/proc/${pid}/fd`).length - ours
      const figure = (metric: string): number => Number(new RegExp(`^${metric} (\\S+)$`, 'm').exec(text)?.[1])
      found[`${name}.heapMb`] = figure('nodejs_heap_size_used_bytes') / 1_048_576
      found[`${name}.externalMb`] = figure('nodejs_external_memory_bytes') / 1_048_576
      found[`${name}.handles`] = figure('nodejs_active_handles_total') - ours
      found[`${name}.waiting`] = figure('writ_http_waiting')
      found[`${name}.lagP99Ms`] = figure('nodejs_eventloop_lag_p99_seconds') * 1_000
    }
    const memory = /used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]
    const clients = /connected_clients:(\d+)/.exec(await redis.info('clients'))?.[1]
    const rows = numbersIn(await redis.eval(SCRIPT, 0))
    NAMES.forEach((name, n) => {
      found[`redis.${name}`] = rows[n] ?? Number.NaN
    })
    found['redis.usedMb'] = Number(memory) / 1_048_576
    found['redis.clients'] = Number(clients)
    return found
  }
  const seldom: Figures['seldom'] = async () => {
    const { leases, holds, roles, logins, sessions } = await eyes.left()
    return {
      ...{ 'vault.leases': leases, 'vault.holds': holds, 'vault.roles': roles },
      ...{ 'postgres.logins': logins, 'postgres.sessions': sessions },
    }
  }
  return { often, seldom, close: () => redis.disconnect() }
}
