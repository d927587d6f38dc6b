// The grant store on a real Redis: the contract of the port, and what only a real server, a real network and real crashes show.
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Control, Index } from '../../src/broker/ports.ts'
import { retire } from '../../src/broker/retire.ts'
import { LOCAL_LANE } from '../../src/domain/entitlement.ts'
import { BrokerError, isBrokerError } from '../../src/domain/errors.ts'
import { denials } from '../../src/domain/flood.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named, type Shard } from '../../src/domain/ids.ts'
import { days, instant, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import { ALLOWING, LIFECYCLE, LIVE } from '../../src/domain/lifecycle.ts'
import { LIST_SIZE, type StatusPlace, statusPlaceOf } from '../../src/domain/status-list.ts'
import { openArchive } from '../../src/log/archive.ts'
import { type Calls, grantCalls } from '../../src/redis/calls.ts'
import { assertSafeRedis, inspectRedis, type RedisConnections, safeAtEachConnect } from '../../src/redis/connect.ts'
import { grantStore, type ShardStore } from '../../src/redis/grant-store.ts'
import {
  deniedKey,
  dueKey,
  grantKeys,
  indexKey,
  shardKeys,
  statusKey,
  statusListsKey,
  tallyKey,
} from '../../src/redis/keys.ts'
import { FUNCTIONS, loadLibrary, renderLibrary } from '../../src/redis/library.ts'
import { containmentStoreContract } from '../contracts/containment-store.ts'
import { freezeStoreContract, liftedBy, sampleFreeze } from '../contracts/freeze-store.ts'
import { codeOf, grantStoreContract, RULES } from '../contracts/grant-store.ts'
import { revocationStoreContract } from '../contracts/revocation-store.ts'
import { shippedDirectory } from '../support/directory.ts'
import { offsetLibrary } from '../support/offset-library.ts'
import {
  connected,
  eventually,
  freshShard,
  type RedisService,
  startRedis,
  storeOn,
  underTest,
} from '../support/redis-shards.ts'
import {
  ALL,
  digest,
  nextGrantId,
  sampleBirth,
  sampleDecision,
  sampleMints,
  sampleStep,
  sha256,
} from '../support/sample-grants.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'
import { policyWith } from '../support/world.ts'

let service: RedisService
let connections: RedisConnections

beforeAll(async () => {
  service = await startRedis()
  connections = await connected(service)
})
afterAll(async () => {
  connections?.close()
  await service?.stop()
})

const nowOf = async ({ issue }: RedisConnections) => instant(Number((await issue.time())[0]) * 1_000)

interface Ready {
  readonly store: ShardStore
  readonly shard: Shard
  readonly control: Control
}
/** A shard with a control record, through these connections, under the shipped functions. */
async function published(through: RedisConnections = connections): Promise<Ready> {
  const shard = await freshShard(through.issue)
  const store = storeOn(through, shard)
  return { store, shard, control: await store.publish(shard, RULES, true) }
}
async function grantIn({ store, shard, control }: Ready, through: RedisConnections = connections): Promise<Grant> {
  const birth = sampleBirth(nextGrantId(shard), await nowOf(through))
  await store.commit(birth, { judgedUnder: control })
  return birth.grant
}
const timed = async <T>(work: Promise<T>): Promise<{ readonly ms: number; readonly value: T }> => {
  const start = performance.now()
  const value = await work
  return { ms: performance.now() - start, value }
}

describe('the Redis store', () => {
  grantStoreContract(() => underTest(connections))
  freezeStoreContract(() => underTest(connections))
  containmentStoreContract(() => underTest(connections))
  revocationStoreContract(() => underTest(connections))
})

describe('the functions', () => {
  it("are shipped with Redis's own clock and no way to move it", () => {
    const { code } = renderLibrary()
    expect(code.match(/'TIME'/g)).toHaveLength(1)
    expect(code).not.toMatch(/offset/i)
    expect(code).not.toContain('--[[')
  })

  it('hold exactly the edges of the lifecycle table, and which of them allow', () => {
    const { code } = renderLibrary()
    const edgesIn = (name: string) =>
      [...(code.match(new RegExp(`^local ${name} = .*$`, 'm'))?.[0] ?? '').matchAll(/\['(\w+>\w+)'\] = true/g)].map(
        (match) => match[1],
      )
    const table = Object.entries(LIFECYCLE).flatMap(([from, next]) => next.map((to) => `${from}>${to}`))
    expect(edgesIn('EDGES').sort()).toEqual(['none>pending', ...table].sort())
    expect(edgesIn('ALLOWING')).toEqual(ALLOWING)
  })

  it('know the statuses of the lifecycle table in which a grant is live', () => {
    expect(renderLibrary().code).toContain(
      `local LIVE = { ${LIVE.map((status) => `['${status}'] = true`).join(', ')} }`,
    )
  })

  it('of two releases run side by side, and are loaded again when they are gone', async () => {
    const { store, shard, control } = await published()
    const other = renderLibrary("local function now_ms() local at = redis.call('TIME') return at[1] * 1000 end")
    const newer = storeOn(connections, shard, other)
    await newer.commit(sampleBirth(nextGrantId(shard), await nowOf(connections)), { judgedUnder: control })
    const loaded = (await connections.issue.function('LIST')) as readonly (readonly string[])[]
    expect(JSON.stringify(loaded)).toContain(other.name)
    expect(JSON.stringify(loaded)).toContain(renderLibrary().name)
    await connections.issue.function('FLUSH')
    const both = [store, newer, store, newer].map(async (one) =>
      one.commit(sampleBirth(nextGrantId(shard), await nowOf(connections)), { judgedUnder: control }),
    )
    expect(new Set((await Promise.all(both)).map((receipt) => receipt.seq)).size).toBe(4)
  })

  it('refuse arguments that are not what they should be, before anything is written', async () => {
    const { issue } = connections
    const library = renderLibrary()
    await loadLibrary(issue, library)
    const shard = await freshShard(issue)
    const base = [shardKeys(shard).control, shardKeys(shard).events]
    for (const name of FUNCTIONS) {
      const reply = (await issue.fcall(library.nameOf(name), 2, ...base, 'x', '')) as readonly unknown[]
      expect([name, reply[0]]).toEqual([name, 'malformed'])
    }
    expect(await issue.keys(`{writ:${shard}}:*`)).toEqual([])
  })

  it('refuse a key or an argument too many, so that nothing that was meant to be written is left out', async () => {
    const { issue } = connections
    const { shard, control } = await published()
    const birth = sampleBirth(nextGrantId(shard), await nowOf(connections))
    const redis = new Proxy(issue, {
      get: (target, name) =>
        name === 'fcall'
          ? (of: string, count: number, ...rest: (string | number)[]) => {
              const [keys, args] = [rest.slice(0, count), rest.slice(count)]
              return more === 'key'
                ? target.fcall(of, count + 1, ...keys, `{writ:${shard}}:more`, ...args)
                : target.fcall(of, count, ...keys, ...args, 'more')
            }
          : Reflect.get(target, name),
    })
    const library = renderLibrary()
    const calls = grantCalls({ redis, library, deadlineMs: 700 })
    const settings = { sha256, shards: [shard], lowWater: () => 0, connects: () => 1 }
    const store = grantStore({ issuing: calls, ending: calls, ...settings })
    let more: 'key' | 'argument' = 'key'
    expect(await codeOf(store.commit(birth, { judgedUnder: control }))).toBe('store_unavailable')
    more = 'argument'
    expect(await codeOf(store.commit(birth, { judgedUnder: control }))).toBe('store_unavailable')
    expect(await issue.exists(grantKeys(birth.grant.id).head)).toBe(0)
  })
})

describe('a key of the wrong type', () => {
  // What a birth needs, and what an end with a last vote needs.
  it.each([
    [
      'allowing',
      ['control', 'events', 'ask', 'decisions', 'head', 'due', 'enters', 'party', 'ticket', 'asker', 'rest'],
    ],
    ['ending', ['control', 'events', 'retire', 'decisions', 'head', 'due', 'leaves', 'enters', 'asker', 'rest']],
  ] as const)('is refused before anything is written, whichever it is, when %s', async (kind, names) => {
    const { issue } = connections
    for (const name of names) {
      const ready = await published()
      const at = await nowOf(connections)
      const birth = sampleBirth(nextGrantId(ready.shard), at)
      const [denied] = denials(birth.grant.ask, sha256)
      if (denied === undefined) throw new Error('nobody is behind the sample')
      const guard = { judgedUnder: ready.control, denied: [denied] }
      if (kind === 'ending') await ready.store.commit(birth, guard)
      const vote = { decisions: [sampleDecision('olivia', at)] }
      const end = { ...sampleStep(birth.grant, 'denied', at, vote), rests: minutes(60) }
      const { tenant, requester } = birth.grant.ask.intent
      const index = (of: Index) => indexKey(ready.shard, of)
      const keys = {
        ...shardKeys(ready.shard),
        ...grantKeys(birth.grant.id),
        due: dueKey(ready.shard, LOCAL_LANE),
        leaves: index({ tenant, status: 'pending' }),
        enters: index({ tenant, status: kind === 'ending' ? 'denied' : 'pending' }),
        party: index({ party: requester }),
        asker: tallyKey(ready.shard, { asker: named.person('vera') }),
        rest: deniedKey(ready.shard, denied),
        ticket: index({ whose: { tenant }, ticket: { system: 'desk', id: 'CHG-1' } }),
      }
      await issue.del(keys[name])
      if (name === 'ask' || name === 'rest') await issue.lpush(keys[name], 'x')
      else await issue.set(keys[name], 'x')
      const before = await contents(ready.shard)
      const taken = kind === 'allowing' && (name === 'ask' || name === 'decisions')
      const answer = await codeOf(kind === 'ending' ? ready.store.commit(end) : ready.store.commit(birth, guard))
      expect([name, answer]).toEqual([name, taken ? 'store_conflict' : 'store_unavailable'])
      expect([name, await contents(ready.shard)]).toEqual([name, before])
    }
  })

  it('of one grant hides no other from a list', async () => {
    const ready = await published()
    const grants = [await grantIn(ready), await grantIn(ready), await grantIn(ready)]
    const [first, damaged, last] = grants.map(({ id }) => id)
    if (damaged === undefined || grants[0] === undefined) throw new Error('no grant')
    await connections.issue.del(grantKeys(damaged).ask)
    await connections.issue.lpush(grantKeys(damaged).ask, 'x')
    const of: readonly Index[] = [{ party: grants[0].ask.intent.requester }]
    const page = await ready.store.list({ of, limit: 10, cursor: undefined })
    expect(page.grants.map(({ id }) => id).sort()).toEqual([first, last].sort())
  })

  it('of one grant does not keep others from ending in the same call', async () => {
    const ready = await published()
    const grants = [await grantIn(ready), await grantIn(ready), await grantIn(ready)]
    const damaged = grants[1]
    if (!damaged) throw new Error('no grant')
    await connections.issue.del(grantKeys(damaged.id).head)
    await connections.issue.set(grantKeys(damaged.id).head, 'x')
    const results = await ready.store.commitEach(grants.map((grant) => sampleStep(grant, 'lapsed', grant.ask.filedAt)))
    expect(results.map((result) => result.receipt !== undefined)).toEqual([true, false, true])
  })

  const contents = async (shard: Shard): Promise<Record<string, string>> => {
    const { issue } = connections
    const keys = (await issue.keys(`{writ:${shard}}:*`)).sort()
    const dumps = await Promise.all(
      keys.map(async (key) => [key, (await issue.dumpBuffer(key))?.toString('base64') ?? '']),
    )
    return Object.fromEntries(dumps)
  }
})

describe('a server that answers after a reconnect', () => {
  it('is inspected like the first: set up unsafely it allows nothing, set up well again it does', async () => {
    const told: BrokerError[] = []
    const own = await connected(service)
    try {
      const assertSafe = safeAtEachConnect(own.issue, { dev: false }, (refusal) => told.push(refusal))
      const anew = async (policy: string) => {
        await connections.issue.config('SET', 'maxmemory-policy', policy)
        own.issue.disconnect(true)
      }
      expect(assertSafe).not.toThrow()
      await anew('allkeys-lru')
      await expect.poll(() => told.length, { timeout: 5_000 }).toBe(1)
      expect(assertSafe).toThrow(BrokerError)
      expect(told[0]?.facts).toEqual({ problems: ['maxmemory-policy must be noeviction'] })
      await anew('noeviction')
      await expect.poll(() => assertSafe(), { timeout: 5_000 }).toBeUndefined()
    } finally {
      await connections.issue.config('SET', 'maxmemory-policy', 'noeviction')
      own.close()
    }
  })
})

describe('what lies in Redis', () => {
  it('lists every other grant when one cannot be read, and says so of that one', async () => {
    const ready = await published()
    const [good, bad] = [await grantIn(ready), await grantIn(ready)]
    await connections.issue.hset(grantKeys(bad.id).head, 'head', '{"v":99}')
    const { grants } = await ready.store.list({ of: ALL, limit: 10, cursor: undefined })
    expect(grants.map(({ id }) => id)).toEqual([good.id])
    expect(await codeOf(ready.store.loadToEnd(bad.id))).toBe('store_unavailable')
  })

  it('takes a grant of before births were kept for older than every freeze', async () => {
    const ready = await published()
    const grant = await grantIn(ready)
    expect((await ready.store.load(grant.id))?.born).toBeGreaterThan(0)
    await connections.issue.hdel(grantKeys(grant.id).head, 'born')
    expect((await ready.store.load(grant.id))?.born).toBe(0)
  })

  it('issues nothing where a freeze cannot be read, and takes another one all the same', async () => {
    const { issue } = connections
    for (const damage of ['nonsense', '5 0 {"v":99}', '5 0 {"v":1']) {
      const ready = await published()
      await ready.store.freezes.put(sampleFreeze(instant(1)))
      const control = await ready.store.control(ready.shard)
      await issue.hset(shardKeys(ready.shard).freezes, sampleFreeze(instant(1)).id, damage)
      expect(await codeOf(ready.store.freezes.under(control))).toBe('store_unavailable')
      expect(await codeOf(ready.store.freezes.put(sampleFreeze(instant(1))))).toBe('resolved')
    }
    const ready = await published()
    await issue.set(shardKeys(ready.shard).freezes, 'of another type')
    expect(await codeOf(ready.store.freezes.put(sampleFreeze(instant(1))))).toBe('store_unavailable')
    expect(await ready.store.control(ready.shard)).toEqual(ready.control)
  })

  it('reads no event above the stored version', async () => {
    const ready = await published()
    const grant = await grantIn(ready)
    const { issue } = connections
    const entry = await issue.xadd(
      shardKeys(ready.shard).events,
      '*',
      'grant',
      grant.id,
      'version',
      '2',
      'seq',
      '99',
      'event',
      JSON.stringify(sampleBirth(grant.id, grant.ask.filedAt).event),
    )
    const { head } = grantKeys(grant.id)
    await issue.hset(head, 'ev', `${await issue.hget(head, 'ev')},${entry}`)
    expect((await ready.store.events(grant.id)).map((event) => event.version)).toEqual([1])
  })

  it('keeps a full head in the compact form when the server is set up as advised', async () => {
    const { issue } = connections
    const former = ((await issue.config('GET', 'hash-max-listpack-value')) as string[])[1] ?? '64'
    await issue.config('SET', 'hash-max-listpack-value', '2048')
    const ready = await published()
    const grant = await grantIn(ready)
    const mints = sampleMints(grant.ask.filedAt)
    await ready.store.commit(sampleStep(grant, 'pending', grant.ask.filedAt, { head: { mints } }))
    expect(await issue.object('ENCODING', grantKeys(grant.id).head)).toBe('listpack')
    await issue.config('SET', 'hash-max-listpack-value', former)
  })

  it('is refused by a reader when somebody else wrote it', async () => {
    const { issue } = connections
    const ready = await published()
    const forged: readonly ((grant: Grant) => Promise<unknown>)[] = [
      (grant) => issue.hset(grantKeys(grant.id).head, 'head', '{"v":2}'),
      (grant) => issue.hset(grantKeys(grant.id).head, 'head', 'not json'),
      (grant) => issue.del(grantKeys(grant.id).ask),
      async (grant) =>
        issue.set(grantKeys(grant.id).ask, (await issue.get(grantKeys((await grantIn(ready)).id).ask)) ?? ''),
      (grant) =>
        issue.rpush(
          grantKeys(grant.id).decisions,
          JSON.stringify({ ...sampleDecision('olivia', grant.ask.filedAt), more: 1 }),
        ),
      (grant) => issue.del(grantKeys(grant.id).ask).then(() => issue.lpush(grantKeys(grant.id).ask, 'x')),
    ]
    for (const forge of forged) {
      const grant = await grantIn(ready)
      await forge(grant)
      expect(await codeOf(ready.store.load(grant.id))).toBe('store_unavailable')
      expect(await codeOf(ready.store.loadToEnd(grant.id))).toBe('store_unavailable')
    }
  })

  it('treats half a control record as none', async () => {
    const ready = await published()
    const grant = await grantIn(ready)
    const { control } = shardKeys(ready.shard)
    const judged = (await connections.issue.hget(control, 'judged')) ?? ''
    await connections.issue.hset(control, 'judged', judged.slice(0, judged.lastIndexOf('|')))
    expect(await codeOf(ready.store.load(grant.id))).toBe('recovering')
    const step = sampleStep(grant, 'approved', grant.ask.filedAt)
    expect(await codeOf(ready.store.commit(step, { judgedUnder: ready.control }))).toBe('recovering')
    expect(await codeOf(ready.store.publish(ready.shard, RULES, true))).toBe('recovering')
    expect(await codeOf(ready.store.commit(sampleStep(grant, 'withdrawn', grant.ask.filedAt)))).toBe('resolved')
  })

  it('notes every ended grant by the time of its end, for whoever archives it', async () => {
    const ready = await published()
    const grant = await grantIn(ready)
    await ready.store.commit(sampleStep(grant, 'withdrawn', grant.ask.filedAt))
    const [id, endedAt] = await connections.issue.zrange(shardKeys(ready.shard).retire, '0', '-1', 'WITHSCORES')
    expect(id).toBe(grant.id)
    expect(Number(endedAt)).toBeGreaterThanOrEqual(grant.ask.filedAt)
    expect(await connections.issue.zscore(dueKey(ready.shard, LOCAL_LANE), grant.id)).toBeNull()
  })
})

describe('what has been forgotten', () => {
  it('leaves no key, index or event of its own', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const birth = sampleBirth(nextGrantId(under.shard), await under.now())
    await under.store.commit(birth, { judgedUnder: control })
    const decisions = [sampleDecision('olivia', birth.grant.ask.filedAt)]
    await under.store.commit(sampleStep(birth.grant, 'denied', birth.grant.ask.filedAt, { decisions }))
    await under.advance(minutes(30))
    expect(await under.store.forget(await under.store.retired(minutes(30), 10), minutes(30))).toBe(1)
    const { issue } = connections
    const left = (await issue.keys(`{writ:${under.shard}}:*`)).sort()
    expect(left).toEqual([
      shardKeys(under.shard).control,
      shardKeys(under.shard).events,
      `{writ:${under.shard}}:test-offset`,
    ])
    expect(await issue.xlen(shardKeys(under.shard).events)).toBe(0)
  })

  it('was over: an open grant in the index of those that are over stays as it is', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const birth = sampleBirth(nextGrantId(under.shard), await under.now())
    const { seq } = await under.store.commit(birth, { judgedUnder: control })
    await connections.issue.zadd(shardKeys(under.shard).retire, 1, birth.grant.id)
    expect(await under.store.forget([birth.grant], minutes(30))).toBe(0)
    expect(await under.store.loadToEnd(birth.grant.id)).toStrictEqual({ ...birth.grant, born: seq })
  })

  it('is on disk, also when several brokers forget at once', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const births = Array.from({ length: 150 }, async () => sampleBirth(nextGrantId(under.shard), await under.now()))
    const ids: string[] = []
    for (const birth of await Promise.all(births)) {
      await under.store.commit(birth, { judgedUnder: control })
      await under.store.commit(sampleStep(birth.grant, 'withdrawn', birth.grant.ask.filedAt))
      ids.push(birth.grant.id)
    }
    await under.advance(days(30))
    const folders = [1, 2, 3].map(() => mkdtempSync(join(tmpdir(), 'writ-retire-')))
    const now = await under.now()
    const policy = policyWith()
    const directory = await shippedDirectory()
    const brokers = await Promise.all(
      folders.map(async (folder) => {
        const archive = await openArchive(folder)
        const rulesToEnd = () => ({ policy, directory })
        const run = retire({ grants: under.another(), now: () => now, rulesToEnd, archive, retention: days(30) })
        let forgotten = 0
        for (let more = true; more; ) {
          const done = await run()
          forgotten += done.forgotten
          more = done.more
        }
        await archive.close()
        return forgotten
      }),
    )
    expect(brokers.reduce((sum, forgotten) => sum + forgotten)).toBe(150)
    const lines = folders.flatMap((folder) =>
      readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1)),
    )
    const archived = new Map(lines.map((line) => [(JSON.parse(line) as { id: string }).id, line]))
    expect([...archived.keys()].sort()).toEqual(ids.sort())
    // Twice, perhaps; but never once whole and once in part.
    expect(lines.filter((line) => archived.get(JSON.parse(line).id) !== line)).toEqual([])
    expect(await under.store.retired(days(30), 10)).toEqual([])
  })

  it('is not read in part by a broker that was reading it when another forgot it', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const birth = sampleBirth(nextGrantId(under.shard), await under.now())
    await under.store.commit(birth, { judgedUnder: control })
    const over = sampleStep(birth.grant, 'withdrawn', birth.grant.ask.filedAt).grant
    await under.store.commit(sampleStep(birth.grant, 'withdrawn', birth.grant.ask.filedAt))
    await under.advance(minutes(30))
    const library = offsetLibrary(String(under.shard))
    const calls = grantCalls({ redis: connections.issue, library, deadlineMs: 900 })
    const forgottenAfter = async <T>(reply: Promise<T>): Promise<T> => {
      const read = await reply
      await under.store.forget([over], minutes(30))
      return read
    }
    const overtaken: Calls = {
      ...calls,
      load: (...asked) => forgottenAfter(calls.load(...asked)),
      events: (...asked) => forgottenAfter(calls.events(...asked)),
    }
    const settings = { sha256, shards: [under.shard], lowWater: () => 0, connects: () => 1 }
    const reader = grantStore({ issuing: overtaken, ending: calls, ...settings })
    expect(await reader.retired(minutes(30), 10)).toEqual([])
    expect(await under.store.loadToEnd(over.id)).toBeUndefined()
  })

  it('is not waited for by others when one grant is damaged', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const grants: Grant[] = []
    for (let n = 0; n < 3; n++) {
      const birth = sampleBirth(nextGrantId(under.shard), await under.now())
      await under.store.commit(birth, { judgedUnder: control })
      await under.store.commit(sampleStep(birth.grant, 'withdrawn', birth.grant.ask.filedAt))
      grants.push(birth.grant)
    }
    await under.advance(minutes(30))
    const damaged = grants[1] as Grant
    await connections.issue.del(grantKeys(damaged.id).ask)
    await connections.issue.lpush(grantKeys(damaged.id).ask, 'x')
    const found = await under.store.retired(minutes(30), 10)
    expect(found.map(({ id }) => id)).toEqual([grants[0]?.id, grants[2]?.id])
    expect(await under.store.forget(found, minutes(30))).toBe(2)
    expect(await codeOf(under.store.retired(minutes(30), 10))).toBe('store_unavailable')
  })
})

describe('the asks of many', () => {
  it('are read beside their heads, and one that is gone hides no other and is named', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const now = await under.now()
    const [one, other] = [sampleBirth(nextGrantId(under.shard), now), sampleBirth(nextGrantId(under.shard), now)]
    for (const birth of [one, other]) await under.store.commit(birth, { judgedUnder: control })
    expect((await under.store.load(one.grant.id))?.grant.ask).toStrictEqual(one.grant.ask)
    await connections.issue.del(grantKeys(one.grant.id).ask)
    const { grants, unreadable } = await under.store.loadManyToEnd([one.grant.id, other.grant.id])
    expect(unreadable).toEqual([one.grant.id])
    expect(grants.map(({ ask }) => ask)).toStrictEqual([other.grant.ask])
    expect(await codeOf(under.store.load(one.grant.id))).toBe('store_unavailable')
  })
})

describe('the status lists', () => {
  const activeIn = async (ready: Ready): Promise<Grant> => {
    const { id } = await grantIn(ready)
    for (const to of ['approved', 'active'] as const) {
      const grant = (await ready.store.loadToEnd(id)) as Grant
      await ready.store.commit(sampleStep(grant, to, grant.ask.filedAt), { judgedUnder: ready.control })
    }
    return (await ready.store.loadToEnd(id)) as Grant
  }

  it('begin anew after so many commits, and the former stays; each is kept for a day longer than any window in it', async () => {
    const { issue } = connections
    const ready = await published()
    const first = await activeIn(ready)
    await issue.hset(shardKeys(ready.shard).control, 'n', String(LIST_SIZE - 1))
    const second = await activeIn(ready)
    expect([statusPlaceOf(first), statusPlaceOf(second)]).toEqual([
      { list: { shard: ready.shard, block: 0 }, idx: first.born },
      { list: { shard: ready.shard, block: 1 }, idx: 0 },
    ])
    expect(await ready.store.statuses.live({ shard: ready.shard, block: 1 })).toEqual(Buffer.from([0b1000_0000]))
    expect((await ready.store.statuses.live({ shard: ready.shard, block: 0 }))?.length).toBe(1)
    expect(await ready.store.statuses.all()).toEqual([0, 1].map((block) => ({ shard: ready.shard, block })))
    for (const grant of [first, second]) {
      const { list } = statusPlaceOf(grant) as StatusPlace
      const left = (await issue.pexpiretime(statusKey(list))) - grant.ask.intent.window.closesAt
      expect(left).toBeGreaterThanOrEqual(days(1))
      expect(left).toBeLessThan(days(1) + minutes(60))
    }
  })

  it('that are over are named no more, and one that was lost is not made again by an end', async () => {
    const { issue } = connections
    const ready = await published()
    const grant = await activeIn(ready)
    const { list } = statusPlaceOf(grant) as StatusPlace
    await issue.zadd(statusListsKey(ready.shard), 1, statusKey({ ...list, block: 9 }))
    expect(await ready.store.statuses.all()).toEqual([list])
    await issue.del(statusKey(list))
    await ready.store.commit(sampleStep(grant, 'ended', grant.ask.filedAt))
    expect([await issue.exists(statusKey(list)), await ready.store.statuses.live(list)]).toEqual([0, undefined])
    const again = await activeIn(ready)
    expect(await issue.zrange(statusListsKey(ready.shard), '0', '-1')).toEqual([statusKey(list)])
    expect((await ready.store.statuses.live(list))?.at(-1)).toBe(128 >> (again.born & 7))
  })

  it('whose key is not what it should be let nothing be half written', async () => {
    const { issue } = connections
    const ready = await published()
    const grant = await activeIn(ready)
    const { list } = statusPlaceOf(grant) as StatusPlace
    await issue.del(statusKey(list))
    await issue.lpush(statusKey(list), 'x')
    const before = await ready.store.read(ready.shard)
    expect(await codeOf(ready.store.commit(sampleStep(grant, 'ended', grant.ask.filedAt)))).toBe('store_unavailable')
    expect((await ready.store.commitEach([sampleStep(grant, 'ended', grant.ask.filedAt)]))[0]?.receipt).toBeUndefined()
    expect(await codeOf(ready.store.statuses.live(list))).toBe('store_unavailable')
    expect([await ready.store.loadToEnd(grant.id), await ready.store.read(ready.shard)]).toEqual([grant, before])
  })
})

describe('a full Redis', () => {
  it('refuses what allows and takes what ends', async () => {
    const own = await startRedis({ own: true })
    const through = await connected(own)
    try {
      const ready = await published(through)
      const grant = (await ready.store.loadToEnd((await grantIn(ready, through)).id)) as Grant
      const active = sampleStep(sampleStep(grant, 'approved', grant.ask.filedAt).grant, 'active', grant.ask.filedAt)
      const place = statusPlaceOf(grant) as StatusPlace
      const isListedLive = async () => {
        const bits = await ready.store.statuses.live(place.list)
        return ((bits?.[place.idx >> 3] ?? 0) & (128 >> (place.idx & 7))) !== 0
      }
      await ready.store.commit(sampleStep(grant, 'approved', grant.ask.filedAt), { judgedUnder: ready.control })
      await ready.store.commit(active, { judgedUnder: ready.control })
      await through.issue.config('SET', 'maxmemory', '1mb')
      expect(await isListedLive()).toBe(true)
      const birth = sampleBirth(nextGrantId(ready.shard), grant.ask.filedAt)
      expect(await codeOf(ready.store.commit(birth, { judgedUnder: ready.control }))).toBe('store_unavailable')
      expect(await codeOf(ready.store.load(grant.id))).toBe('resolved')
      expect(await codeOf(ready.store.claimDue(LOCAL_LANE, 10, seconds(30)))).toBe('resolved')
      const tighter = { ...RULES, policyRevision: 4, policyDigest: digest('policy 4') }
      expect(await codeOf(ready.store.publish(ready.shard, tighter))).toBe('resolved')
      const freeze = sampleFreeze(grant.ask.filedAt)
      expect(await codeOf(ready.store.freezes.put(freeze))).toBe('resolved')
      const today = await ready.store.control(ready.shard)
      expect(await ready.store.freezes.under(today)).toHaveLength(1)
      // Lifting lets something through, and has time until there is room.
      const lifted = liftedBy(freeze, 'sol', grant.ask.filedAt)
      expect(await codeOf(ready.store.freezes.lift(lifted, today))).toBe('store_unavailable')
      const ending = sampleStep(active.grant, 'ending', grant.ask.filedAt)
      expect(await codeOf(ready.store.commit(ending))).toBe('resolved')
      expect(await isListedLive()).toBe(false)
      const [result] = await ready.store.commitEach([sampleStep(ending.grant, 'ended', grant.ask.filedAt)])
      expect(result?.receipt).toBeDefined()
      expect((await ready.store.loadToEnd(grant.id))?.head.status).toBe('ended')
      // What is over makes room.
      await pause(5)
      const over = await ready.store.retired(milliseconds(1), 10)
      expect(await ready.store.forget(over, milliseconds(1))).toBe(1)
    } finally {
      through.close()
      await own.stop()
    }
  })
})

describe('a lost answer', () => {
  it('is store_unavailable within a second, and the commit was made at most once', async () => {
    const proxy = await tcpProxy(service)
    const through = await connected(service, proxy.port)
    try {
      const ready = await published()
      const store = storeOn(through, ready.shard)
      for (let round = 0; round < 10; round++) {
        const birth = sampleBirth(nextGrantId(ready.shard), await nowOf(connections))
        const guard = { judgedUnder: ready.control }
        if (round % 2) await ready.store.commit(birth, guard)
        const end = sampleStep(birth.grant, 'withdrawn', birth.grant.ask.filedAt)
        const send = (by: ShardStore) => (round % 2 ? by.commit(end) : by.commit(birth, guard))
        await eventually(() => through.ready(2_000).then(() => store.loadToEnd(birth.grant.id)))
        proxy.cutAfterRequest()
        const { ms, value } = await timed(codeOf(send(store)))
        expect(value).toBe('store_unavailable')
        expect(ms).toBeLessThan(1_000)
        // The request had reached the server: it is there, once, and a repetition is refused rather than made again.
        await eventually(() => through.ready(2_000))
        await pause(20)
        const events = await ready.store.events(birth.grant.id)
        expect(events.map((event) => event.version)).toEqual(round % 2 ? [1, 2] : [1])
        expect(await codeOf(send(ready.store))).toBe('store_conflict')
      }
    } finally {
      through.close()
      await proxy.close()
    }
  })

  it("of a silent network is store_unavailable within a second, and a late one is not taken for another's", async () => {
    const proxy = await tcpProxy(service)
    const through = await connected(service, proxy.port)
    try {
      const ready = await published()
      const store = storeOn(through, ready.shard)
      const grant = await grantIn(ready)
      await store.load(grant.id)
      proxy.hold(true)
      const none = nextGrantId(ready.shard)
      const calls = [
        store.load(none),
        store.loadToEnd(none),
        store.claimDue(LOCAL_LANE, 1, seconds(1)),
        store.list({ of: ALL, limit: 1, cursor: undefined }),
      ]
      for (const { ms, value } of await Promise.all(calls.map((call) => timed(codeOf(call))))) {
        expect(value).toBe('store_unavailable')
        expect(ms).toBeLessThan(1_000)
      }
      proxy.hold(false)
      for (let n = 0; n < 20; n++) expect((await store.load(grant.id))?.grant.id).toBe(grant.id)
    } finally {
      through.close()
      await proxy.close()
    }
  })

  it('of a peer that stays silent makes the connection be given up and made anew', async () => {
    const proxy = await tcpProxy(service)
    const through = await connected(service, proxy.port)
    try {
      const ready = await published()
      const store = storeOn(through, ready.shard)
      const grant = await grantIn(ready)
      proxy.hold(true)
      const closed = new Promise<void>((resolve) => through.issue.once('close', () => resolve()))
      expect(await codeOf(store.load(grant.id))).toBe('store_unavailable')
      await closed
      proxy.hold(false)
      await eventually(() => store.load(grant.id), 8_000)
    } finally {
      through.close()
      await proxy.close()
    }
  })
})

describe('a Redis that goes away', () => {
  it('is store_unavailable in less than a second while it is frozen, killed or gone, and works when it is back', async () => {
    const own = await startRedis({ own: true })
    const through = await connected(own)
    try {
      const ready = await published(through)
      const grant = await grantIn(ready, through)
      const refusals = async () => {
        const work = [
          ready.store.load(grant.id),
          ready.store.loadToEnd(grant.id),
          ready.store.control(ready.shard),
          ready.store.commitEach([sampleStep(grant, 'withdrawn', grant.ask.filedAt)]),
        ]
        for (const { ms, value } of await Promise.all(work.map((one) => timed(codeOf(one))))) {
          expect(value).toBe('store_unavailable')
          expect(ms).toBeLessThan(1_000)
        }
      }
      await own.freeze()
      await refusals()
      await own.thaw()
      await eventually(() => ready.store.load(grant.id), 8_000)

      await own.kill()
      await refusals()
      await own.restart()
      // The functions are part of the data, and so is every acknowledged commit.
      const found = await eventually(() => ready.store.loadToEnd(grant.id), 8_000)
      expect(found?.id).toBe(grant.id)
      expect(ready.store.recovering(ready.shard)).toBeUndefined()
    } finally {
      through.close()
      await own.stop()
    }
  })

  it('keeps every acknowledged commit when it is killed in the middle of many, and none by halves', async () => {
    const own = await startRedis({ own: true })
    const through = await connected(own)
    try {
      const ready = await published(through)
      const filedAt = await nowOf(through)
      const acknowledged: Grant[] = []
      const tried: Grant[] = []
      let going = true
      const writer = async () => {
        while (going) {
          const birth = sampleBirth(nextGrantId(ready.shard), filedAt)
          tried.push(birth.grant)
          if ((await codeOf(ready.store.commit(birth, { judgedUnder: ready.control }))) !== 'resolved') return
          acknowledged.push(birth.grant)
        }
      }
      const writers = Promise.all(Array.from({ length: 8 }, writer))
      await pause(150)
      await own.kill()
      going = false
      await writers
      await own.restart()
      const store = storeOn(through, ready.shard)
      await eventually(() => store.control(ready.shard), 8_000)
      expect(acknowledged.length).toBeGreaterThan(10)
      const there = new Set<string>()
      for (const grant of tried) {
        const found = await store.loadToEnd(grant.id)
        const events = await store.events(grant.id)
        expect(events.length).toBe(found ? 1 : 0)
        const score = await through.issue.zscore(dueKey(ready.shard, LOCAL_LANE), grant.id)
        expect(score !== null).toBe(found !== undefined)
        if (found) there.add(found.id)
      }
      expect(acknowledged.filter((grant) => !there.has(grant.id))).toEqual([])
      const seq = (await store.read(ready.shard))?.seq
      // One place in the order for each commit, and one for the publishing.
      expect(seq).toBe(there.size + 1)
    } finally {
      through.close()
      await own.stop()
    }
  })

  it('is a rolled-back one when it comes back empty', async () => {
    const own = await startRedis({ own: true })
    const through = await connected(own)
    try {
      const ready = await published(through)
      const grant = await grantIn(ready, through)
      await through.end.flushall()
      expect(await codeOf(ready.store.load(grant.id))).toBe('recovering')
      expect(await codeOf(ready.store.publish(ready.shard, RULES, false))).toBe('recovering')
      expect(await ready.store.loadToEnd(grant.id)).toBeUndefined()
    } finally {
      through.close()
      await own.stop()
    }
  })
})

describe('an error of the store', () => {
  it('carries neither the command nor what was sent', async () => {
    const { issue } = connections
    const ready = await published()
    const grant = await grantIn(ready)
    await issue.del(grantKeys(grant.id).head)
    await issue.set(grantKeys(grant.id).head, 'x')
    const library = {
      ...renderLibrary(),
      nameOf: () => 'no_such_function',
      code: '#!lua name=writ_broken\nredis.register_function("a", function() end)',
    }
    const broken = storeOn(connections, ready.shard, library)
    const birth = sampleBirth(grant.id, grant.ask.filedAt)
    for (const work of [
      () => ready.store.load(grant.id),
      () => ready.store.commit(birth, { judgedUnder: ready.control }),
      () => broken.load(grant.id),
    ]) {
      const thrown = await work().catch((error: unknown) => error)
      expect(isBrokerError(thrown, 'store_unavailable')).toBe(true)
      for (let error = thrown; error instanceof Error; error = error.cause) {
        expect(Object.keys(error)).not.toContain('command')
        const said = JSON.stringify({ ...error, message: error.message, stack: error.stack })
        for (const sent of ['payments-migrator', grant.id, 'fcall']) expect(said.toLowerCase()).not.toContain(sent)
      }
    }
    await issue.function('DELETE', 'writ_broken')
  })
})

describe('the settings of Redis', () => {
  it('are refused with all problems at once, and are warnings in dev', async () => {
    const bad = [
      '--appendonly',
      'no',
      '--appendfsync',
      'everysec',
      '--maxmemory',
      '0',
      '--maxmemory-policy',
      'allkeys-lru',
      '--min-replicas-to-write',
      '1',
      '--hz',
      '10',
    ]
    const own = await startRedis({ own: true, settings: bad })
    const through = await connected(own)
    try {
      const thrown = await assertSafeRedis(through.issue, { dev: false }).catch((error: unknown) => error)
      expect(isBrokerError(thrown, 'store_unavailable') && thrown.facts.problems).toHaveLength(5)
      const warnings = await assertSafeRedis(through.issue, { dev: true })
      expect(warnings.filter((warning) => warning.includes('hz'))).toHaveLength(1)
      expect(warnings.length).toBeGreaterThanOrEqual(6)
    } finally {
      through.close()
      await own.stop()
    }
  })

  it('that Writ demands are those of the server that tests and dev start', async () => {
    expect((await inspectRedis(connections.issue)).problems).toEqual([])
    expect(Array.isArray(await assertSafeRedis(connections.issue, { dev: false }))).toBe(true)
  })
})

describe('issuing and ending', () => {
  it('do not share a connection: a held-up issue connection leaves the end connection free', async () => {
    const proxy = await tcpProxy(service)
    const slow = await connected(service, proxy.port)
    try {
      const ready = await published()
      const store = storeOn({ issue: slow.issue, end: connections.end, connects: slow.connects }, ready.shard)
      const grant = await grantIn(ready)
      proxy.hold(true)
      const stuck = Array.from({ length: 200 }, () => codeOf(store.load(grant.id)))
      const { ms, value } = await timed(codeOf(store.commit(sampleStep(grant, 'withdrawn', grant.ask.filedAt))))
      expect(value).toBe('resolved')
      expect(ms).toBeLessThan(300)
      expect(new Set(await Promise.all(stuck))).toEqual(new Set(['store_unavailable']))
    } finally {
      slow.close()
      await proxy.close()
    }
  })
})

describe('a lease on what is due', () => {
  it('moves only the deadline set, so the grant itself is as it was', async () => {
    const under = await underTest(connections)
    const control = await under.store.publish(under.shard, RULES, true)
    const birth = sampleBirth(nextGrantId(under.shard), await under.now())
    const { seq } = await under.store.commit(birth, { judgedUnder: control })
    await under.advance(minutes(31))
    await under.store.claimDue(LOCAL_LANE, 1, seconds(30))
    expect(await under.store.loadToEnd(birth.grant.id)).toStrictEqual({ ...birth.grant, born: seq })
  })
})
