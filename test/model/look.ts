// One look at everything that the store holds of a sequence, in one call that changes nothing, in raw texts: not by the store's own reader.
import type { Redis } from 'ioredis'
import { z } from 'zod'
import type { GrantId, Shard } from '../../src/domain/ids.ts'
import { PEOPLE, STATUSES } from './rules.ts'

const count = z.number()
const text = z.string()
const rowReply = z.union([
  z.tuple([]),
  z.tuple([text, text, text, z.array(text), text, text, text, text, z.array(count), count]),
])
const eventReply = z.tuple([text, text, text, text, text])
const reply = z.tuple([text, text, z.array(eventReply), z.array(text), z.array(count), z.array(rowReply)])

const mint = z.object({
  n: count,
  attempt: text,
  key: text.optional(),
  claimedAt: count,
  status: z.enum(['claimed', 'opened', 'live', 'closing', 'closed']),
  deadline: count.optional(),
  makerUntil: count.optional(),
  handedOut: z.boolean().optional(),
  released: z.boolean().optional(),
  expiresAt: count.optional(),
})
const head = z.object({
  status: z.enum(STATUSES),
  facts: z.object({
    escalatedAt: count.optional(),
    useBy: count.optional(),
    attempts: count.optional(),
    retryAt: count.optional(),
    outcome: text.optional(),
    cause: z.object({ outcome: text }).optional(),
  }),
  mints: z.array(mint),
})
const decision = z.object({
  act: text,
  by: text,
  verdict: text.optional(),
  seat: text.optional(),
  vote: text.optional(),
  signature: text,
})
const event = z.object({ type: text, by: text, digest: text })
const freeze = z.object({
  id: text,
  selector: z.record(text, text),
  contains: z.boolean(),
  lifted: z.unknown().optional(),
})

export type Head = z.infer<typeof head>
export type StoredDecision = z.infer<typeof decision>
export interface Row {
  readonly version: number
  readonly status: string
  readonly head: Head
  readonly decisions: readonly StoredDecision[]
  readonly born: number
  /** In the set of deadlines of tokens, and of logins. */
  readonly due: readonly [number | undefined, number | undefined]
  readonly isRetired: boolean
  /** In whose index of which status it is. */
  readonly indexes: readonly string[]
  readonly isLive: boolean
}
export interface SeenEvent {
  readonly place: string
  readonly grant: string
  readonly version: number
  readonly seq: number
  readonly type: string
  readonly by: string
  readonly digest: string
}
export type SeenFreeze = z.infer<typeof freeze> & { readonly seq: number }
export interface Seen {
  readonly seq: number
  readonly judged: string
  readonly rows: ReadonlyMap<GrantId, Row>
  /** Since the last look. */
  readonly events: readonly SeenEvent[]
  readonly freezes: readonly SeenFreeze[]
  /** How many wait, by asker and then by owner. */
  readonly waiting: readonly number[]
}

const SCRIPT = `
local control, events, retire, token, login, freezes, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local statuses, tallies = tonumber(ARGV[2]), tonumber(ARGV[3])
local news, cards, rows = {}, {}, {}
for _, found in ipairs(redis.call('XRANGE', events, ARGV[1] == '' and '-' or ('(' .. ARGV[1]), '+')) do
  news[#news + 1] = { found[1], found[2][2], found[2][4], found[2][6], found[2][8] }
end
for n = 1, tallies do cards[n] = redis.call('ZCARD', KEYS[7 + statuses + n]) end
for n = 5, #ARGV do
  local id = ARGV[n]
  local head = redis.call('HMGET', ARGV[4] .. 'head:' .. id, 'version', 'status', 'head', 'born')
  if not head[1] then rows[#rows + 1] = {} else
    local found = {}
    for k = 1, statuses do if redis.call('ZSCORE', KEYS[7 + k], id) then found[#found + 1] = k end end
    rows[#rows + 1] = {
      head[1], head[2], head[3], redis.call('LRANGE', ARGV[4] .. 'decisions:' .. id, 0, -1), head[4] or '0',
      redis.call('ZSCORE', token, id) or '', redis.call('ZSCORE', login, id) or '', redis.call('ZSCORE', retire, id) or '', found,
      redis.call('GETBIT', list, tonumber(head[4] or '0')),
    }
  end
end
return { redis.call('HGET', control, 'n') or '0', redis.call('HGET', control, 'judged') or '', news,
  redis.call('HVALS', freezes), cards, rows }`

export function looker(redis: Redis, of: Shard) {
  const tag = `{writ:${of}}:`
  const keys = [
    ...['control', 'events', 'retire', 'due:local', 'due:vault-main', 'freezes', 'status:0'],
    ...STATUSES.map((status) => `in:northwind:${status}`),
    ...PEOPLE.map((who) => `pending:asker:${who}`),
    'pending:owner:northwind:olivia',
  ].map((name) => tag + name)
  const heads = new Map<string, { readonly text: string; readonly head: Head }>()
  let last = ''
  let sha: string | undefined

  const headOf = (id: GrantId, stored: string): Head => {
    const known = heads.get(id)
    if (known?.text === stored) return known.head
    const read = head.parse(JSON.parse(stored))
    heads.set(id, { text: stored, head: read })
    return read
  }
  const score = (stored: string): number | undefined => (stored === '' ? undefined : Number(stored))
  const rowOf = (id: GrantId, row: z.infer<typeof rowReply>): Row | undefined => {
    if (row.length === 0) return undefined
    const [version, status, stored, decisions, born, token, login, retired, found, bit] = row
    return {
      version: Number(version),
      status,
      head: headOf(id, stored),
      decisions: decisions.map((one) => decision.parse(JSON.parse(one))),
      born: Number(born),
      due: [score(token), score(login)],
      isRetired: retired !== '',
      indexes: found.map((k) => STATUSES[k - 1] ?? ''),
      isLive: bit === 1,
    }
  }
  return async (ids: readonly GrantId[]): Promise<Seen> => {
    sha ??= z.string().parse(await redis.script('LOAD', SCRIPT))
    const args = [last, STATUSES.length, PEOPLE.length + 1, tag, ...ids]
    const [seq, judged, news, freezes, waiting, rows] = reply.parse(
      await redis.evalsha(sha, keys.length, ...keys, ...args),
    )
    const events = news.map(([place, grant, version, at, stored]) => ({
      place,
      grant,
      version: Number(version),
      seq: Number(at),
      ...eventOf(stored),
    }))
    last = events.at(-1)?.place ?? last
    const found = ids.flatMap((id, n) => {
      const row = rowOf(id, rows[n] ?? [])
      return row === undefined ? [] : [[id, row] as const]
    })
    return {
      seq: Number(seq),
      judged,
      rows: new Map(found),
      events,
      freezes: freezes.map((stored) => ({
        ...freeze.parse(JSON.parse(stored.slice(stored.indexOf('{')))),
        seq: Number(stored.slice(0, stored.indexOf(' '))),
      })),
      waiting,
    }
  }
}
/** A freeze's event has other members, and is told by its type alone. */
const eventOf = (stored: string): z.infer<typeof event> =>
  event.catch({ type: 'freeze', by: '', digest: '' }).parse(JSON.parse(stored))
