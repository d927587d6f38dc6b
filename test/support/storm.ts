// Very many grants at once in Redis: each is a copy of one that was asked for, approved and exchanged over HTTP, so that its record is as large
// as a real one. And exchanges under way meanwhile, timed.
import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import type { RedisService } from '../../deploy/dev/redis.ts'
import type { GrantEvent } from '../../src/domain/events.ts'
import type { Grant, Step } from '../../src/domain/grant.ts'
import { type GrantId, grantIdFrom, groupOf, shard } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import type { Mint } from '../../src/domain/mint.ts'
import { grantKeys, shardKeys } from '../../src/redis/keys.ts'
import type { Report, Reports } from './journey-actors.ts'
import { connected, storeOn } from './redis-shards.ts'

const HOME = shard(0)

export interface Planted {
  readonly ids: readonly GrantId[]
  /** How long it took. */
  readonly seconds: number
}

export interface PlantOptions {
  /** Over how long the windows close, evenly, one after the other; all at once where absent. */
  readonly spreadMs?: number
  readonly maxmemory?: string
}

/**
 * So many active grants like this one, whose windows closed then. The first goes through the store's own commits; the others are what that left
 * in Redis, under ids of their own, in the same keys, sets and order of events.
 */
export async function plant(
  redis: RedisService,
  model: GrantId,
  many: number,
  closesAt: number,
  { spreadMs = 0, maxmemory = '4gb' }: PlantOptions = {},
): Promise<Planted> {
  const connections = await connected(redis)
  const raw = new Redis(redis.url)
  try {
    await raw.config('SET', 'maxmemory', maxmemory, 'appendfsync', 'no', 'auto-aof-rewrite-percentage', '0')
    const started = performance.now()
    const store = storeOn(connections, HOME)
    const found = await store.load(model)
    if (found?.grant.head.status !== 'active') throw new Error('the model is not active')
    const first = grantIdFrom(HOME, groupOf(model), randomBytes(17))
    const judged = { judgedUnder: found.control }
    const copy = copyOf(found.grant, first, instant(closesAt))
    const [birth, ...more] = stepsOf(copy)
    if (birth !== undefined) await store.commit(birth, judged)
    // Where it stands in the order of births is the store's to say.
    const born = (await store.load(first))?.born ?? 0
    for (const step of more) await store.commit({ ...step, grant: { ...step.grant, born } }, judged)
    const ids = await multiply(raw, first, many - 1, { filedAt: copy.ask.filedAt, closesAt, spreadMs })
    await raw.config('SET', 'appendfsync', 'always')
    return { ids: [first, ...ids], seconds: (performance.now() - started) / 1_000 }
  } finally {
    raw.disconnect()
    connections.close()
  }
}

/** As the store has them. */
export async function loadPlanted(redis: RedisService, ids: readonly GrantId[]): Promise<readonly Grant[]> {
  const connections = await connected(redis)
  try {
    const store = storeOn(connections, HOME)
    const loaded = await Promise.all(ids.map((id) => store.load(id)))
    return loaded.flatMap((one) => one?.grant ?? [])
  } finally {
    connections.close()
  }
}

const AT_ONCE = 500

/** What one grant left in Redis, so many times more. */
async function multiply(
  redis: Redis,
  first: GrantId,
  many: number,
  { filedAt, closesAt, spreadMs }: { readonly filedAt: number; readonly closesAt: number; readonly spreadMs: number },
): Promise<readonly GrantId[]> {
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
  const words = [first, ask ?? '', JSON.stringify(head), ...texts]
  const made: GrantId[] = []
  for (let done = 0; done < many; done += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, many - done) }, () =>
      grantIdFrom(HOME, groupOf(first), randomBytes(17)),
    )
    made.push(...ids)
    const closes = ids.map((_, n) => closesAt + Math.floor(((done + n + 1) * spreadMs) / (many + 1)))
    // A thousand a second: whatever lies in the order of filing does so here.
    const each = ids.flatMap((id, n) => [id, String(closes[n]), String(filedAt - many + done + n)])
    const args = [...words, '', ...decisions, '', ...sets.flat(), '', String(closesAt), String(filedAt), ...each]
    await redis.eval(COPIES, 2, control, events, ...args)
  }
  return made
}

/** The same writes that a birth and two steps make, of each id: events, ask, decisions, head, and every set that the first is in. */
const COPIES = `
local first, ask, head, texts, decisions, sets, i = ARGV[1], ARGV[2], cjson.decode(ARGV[3]), {}, {}, {}, 4
while ARGV[i] ~= '' do texts[#texts + 1] = ARGV[i] i = i + 1 end
i = i + 1
while ARGV[i] ~= '' do decisions[#decisions + 1] = ARGV[i] i = i + 1 end
i = i + 1
while ARGV[i] ~= '' do sets[#sets + 1] = { ARGV[i], ARGV[i + 1] } i = i + 2 end
local function split(text, by)
  local at, parts = 1, {}
  while true do
    local from, to = string.find(text, by, at, true)
    parts[#parts + 1] = string.sub(text, at, from and from - 1)
    if not from then return parts end
    at = to + 1
  end
end
local closes_at, filed_at, split_of = ARGV[i + 1], ARGV[i + 2], {}
local function of(text, id, closes)
  split_of[text] = split_of[text] or split(text, first)
  local copy = table.concat(split_of[text], id)
  return closes == closes_at and copy or table.concat(split(copy, closes_at), closes)
end
local seq, event = tonumber(redis.call('HGET', KEYS[1], 'n')), ''
for n = i + 3, #ARGV, 3 do
  local id, closes, filed, ev, born = ARGV[n], ARGV[n + 1], ARGV[n + 2], {}, seq + 1
  for version, text in ipairs(texts) do
    seq = seq + 1
    event = redis.call('XADD', KEYS[2], '*', 'grant', id, 'version', version, 'seq', string.format('%d', seq), 'event', of(text, id, closes))
    ev[#ev + 1] = event
  end
  local filed_ask = string.gsub(of(ask, id, closes), '"filedAt":' .. filed_at, '"filedAt":' .. filed, 1)
  redis.call('SET', '{writ:0}:ask:' .. id, filed_ask)
  if #decisions > 0 then redis.call('RPUSH', '{writ:0}:decisions:' .. id, unpack(decisions)) end
  local fields = { 'ev', table.concat(ev, ','), 'born', string.format('%d', born) }
  for name, value in pairs(head) do
    if name ~= 'ev' and name ~= 'born' then fields[#fields + 1] = name fields[#fields + 1] = of(value, id, closes) end
  end
  redis.call('HSET', '{writ:0}:head:' .. id, unpack(fields))
  for _, set in ipairs(sets) do
    redis.call('ZADD', set[1], set[2] == closes_at and closes or set[2] == filed_at and filed or set[2], id)
  end
end
redis.call('HSET', KEYS[1], 'n', string.format('%d', seq), 'event', event)`

/** The same grant under another id, filed two seconds before its end and over since. */
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
    {
      grant: { id, ask, decisions: [], head: pending, version: 1, born, recorded: 0 },
      event: event('filed'),
      from: 'none',
    },
    {
      grant: { id, ask, decisions, head: approved, version: 2, born, recorded: 0 },
      event: event('approved'),
      from: 'pending',
    },
    { grant: { id, ask, decisions, head, version: 3, born, recorded: 0 }, event: event('issued'), from: 'approved' },
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
