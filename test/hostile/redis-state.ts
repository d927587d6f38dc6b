// What is in a real Redis, as a map from key to a digest of its content, made in Redis itself so that a thousand grants are read in one call.
// Left out is what every request moves by right: the marks of what may be used once, the budgets, and the queue's own bookkeeping, whose jobs
// only say when to look.
import type { Redis } from 'ioredis'
import type { State } from './target.ts'

// Sets and hashes have no order of their own; the rest has. A stream is told by its length and its last entry.
const SCRIPT = `
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if not (string.find(key, ':once:', 1, true) or string.find(key, ':rate:', 1, true) or string.find(key, ':queue:', 1, true)) then
    local kind = redis.call('TYPE', key)['ok']
    local content = {}
    if kind == 'string' then content = { redis.call('GET', key) }
    elseif kind == 'list' then content = redis.call('LRANGE', key, 0, -1)
    elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    elseif kind == 'set' then content = redis.call('SMEMBERS', key) table.sort(content)
    elseif kind == 'hash' then
      local flat = redis.call('HGETALL', key)
      for n = 1, #flat, 2 do content[#content + 1] = flat[n] .. '\\0' .. flat[n + 1] end
      table.sort(content)
    elseif kind == 'stream' then
      content = { tostring(redis.call('XLEN', key)), cjson.encode(redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)) }
    end
    out[#out + 1] = { key, redis.call('PTTL', key) >= 0 and 1 or 0, redis.sha1hex(table.concat(content, '\\1')) }
  end
end
return out`

export async function redisState(redis: Redis): Promise<State> {
  const rows: unknown = await redis.eval(SCRIPT, 0)
  const kept = new Map<string, string>()
  const passing = new Set<string>()
  for (const row of Array.isArray(rows) ? rows : []) {
    const [key, goes, digest]: readonly unknown[] = Array.isArray(row) ? row : []
    if (goes === 1) passing.add(String(key))
    else kept.set(String(key), String(digest))
  }
  return { kept, passing }
}

export const redisCommits = async (redis: Redis): Promise<string> => String(await redis.hget('{writ:0}:control', 'n'))
