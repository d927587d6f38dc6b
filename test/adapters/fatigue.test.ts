// fatigue.flood: ten thousand askings at once, by one requester and by five hundred, at three brokers over one real Redis. Neither bound is
// passed at any moment, and who asks honestly meanwhile is answered within two seconds: filed, where the owner asked has room.
import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Rules } from '../../src/broker/ports.ts'
import { request } from '../../src/broker/request.ts'
import { publishedOf } from '../../src/broker/rulebook.ts'
import { withdraw } from '../../src/broker/withdraw.ts'
import { isBrokerError } from '../../src/domain/errors.ts'
import { grantId, grantIdFrom, named } from '../../src/domain/ids.ts'
import { instant, minutes } from '../../src/domain/instant.ts'
import type { Caller, Person } from '../../src/domain/principal.ts'
import type { RedisConnections } from '../../src/redis/connect.ts'
import { tallyKey } from '../../src/redis/keys.ts'
import { connected, freshShard, type RedisService, startRedis, storeOn } from '../support/redis-shards.ts'
import { login, triage, type World, world } from '../support/world.ts'

const ASKINGS = 10_000
const LIMITS = { maxPendingPerRequester: 5, maxPendingPerOwner: 50, deniedRests: minutes(60) }
const NORTHWIND = named.tenant('northwind')
/** At a time. More would only wait for this one process, and be told so by the deadline of its calls. */
const WIDTH = 20

let service: RedisService
let connections: RedisConnections
/** Looks on from outside, with patience. */
let eyes: Redis
beforeAll(async () => {
  service = await startRedis()
  eyes = new Redis(service.port, service.host, { password: service.password })
  connections = await connected(service)
})
afterAll(async () => {
  eyes?.disconnect()
  connections?.close()
  await service?.stop()
})

const personNamed = (name: string): Person => ({
  kind: 'person',
  id: named.principal(name),
  person: named.person(name),
  tenant: named.tenant('acme'),
  groups: [named.group('vendor-engineers')],
})

/** Three brokers on a fresh shard, under the shipped entitlements, with this crowd in the directory. */
async function brokers(crowd: readonly string[]) {
  const w: World = await world()
  const [at = 0] = await connections.issue.time()
  const now = instant(Number(at) * 1_000)
  const of = await freshShard(connections.issue)
  const store = storeOn(connections, of)
  const { policy, directory } = w.book.current()
  const persons = new Map(crowd.map((name) => [named.principal(name), personNamed(name)]))
  const rules: Rules = {
    // Who may ask is not what is tried here, and ten thousand questions to the guards would be most of the time.
    policy: { ...policy, judge: () => ({ allowed: true, because: [] }) },
    directory: {
      ...directory,
      principal: (id) => persons.get(id) ?? directory.principal(id),
      persons: () => directory.persons(),
    },
  }
  await store.publish(of, publishedOf(rules), true)
  let made = 0
  const newGrantId = () => {
    made += 1
    const letters = made.toString(26).replace(/./g, (c) => String.fromCharCode(97 + Number.parseInt(c, 26)))
    return grantId(of, letters.padStart(26, 'a'))
  }
  const one = () =>
    request({
      ...w.ports,
      grants: store,
      control: () => store.control(of),
      rules: () => rules,
      rulesToEnd: () => rules,
      newGrantId,
      grantIdOf: (text) => grantIdFrom(of, 'aaaaaa', createHash('sha256').update(text).digest()),
      now: () => now,
      nowToEnd: () => now,
      flood: LIMITS,
    })
  const verbs = [one(), one(), one()]
  const caller = (principal: Caller['principal']): Caller => ({ principal, key: undefined, session: '', facts: {} })
  return { w, of, verbs, caller, store, now }
}
type House = Awaited<ReturnType<typeof brokers>>

/** Asks so many times by these in turns, and reads both tallies all the while. */
async function flood({ of, verbs, caller, now }: House, crowd: readonly string[]) {
  const said = new Map<string, number>()
  const seen = { requester: 0, owner: 0 }
  let next = 0
  const look = async (asker: string): Promise<void> => {
    const owner = tallyKey(of, { owner: named.person('olivia'), tenant: NORTHWIND })
    const own = tallyKey(of, { asker: named.person(asker) })
    seen.owner = Math.max(seen.owner, await eyes.zcard(owner))
    seen.requester = Math.max(seen.requester, await eyes.zcard(own))
  }
  const worker = async (): Promise<void> => {
    for (let n = next++; n < ASKINGS; n = next++) {
      const name = crowd[n % crowd.length] ?? ''
      const by = verbs[n % verbs.length]
      const word = await by?.(caller(personNamed(name)), login(now)).then(
        () => 'filed',
        (thrown: unknown) => (isBrokerError(thrown) ? `${thrown.code} ${thrown.facts.limit}` : String(thrown)),
      )
      said.set(String(word), (said.get(String(word)) ?? 0) + 1)
      if (n % 50 === 0) await look(name)
    }
  }
  await Promise.all(Array.from({ length: WIDTH }, worker))
  return { said: Object.fromEntries(said), seen }
}

const timed = async <T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> => {
  const began = performance.now()
  const value = await work()
  return { ms: performance.now() - began, value }
}
/** As an honest client does on a busy machine: the very same again, under its key, as long as the store does not answer in time. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (thrown) {
      if (!isBrokerError(thrown, 'store_unavailable')) throw thrown
    }
  }
}
/** Asks honestly again and again until the flood is over: the longest that anybody waited, and what was said. */
async function honest(flooded: Promise<unknown>, ask: (n: number) => Promise<unknown>) {
  let over = false
  const done = flooded.finally(() => {
    over = true
  })
  const waits: number[] = []
  try {
    for (let n = 0; !over; n += 1) waits.push((await timed(() => ask(n))).ms)
  } finally {
    await done
  }
  return waits
}

/** Everything was filed or refused for its limit. What the store did not answer in time may be either: the tallies tell, and it is rare. */
function expectOnly(said: Readonly<Record<string, number>>, limit: string, most: number): void {
  const {
    filed = 0,
    [`too_many_pending ${limit}`]: refused = 0,
    'store_unavailable undefined': late = 0,
    ...rest
  } = said
  expect(rest).toEqual({})
  expect(filed).toBeLessThanOrEqual(most)
  expect(filed).toBeGreaterThanOrEqual(most - late)
  expect(filed + refused + late).toBe(ASKINGS)
  expect(late).toBeLessThan(ASKINGS / 20)
}

describe('fatigue.flood', () => {
  it(`${ASKINGS} askings of one requester leave five; another is filed beside them, with the same owner, within 2 s`, {
    timeout: 300_000,
  }, async () => {
    const others = Array.from({ length: 200 }, (_, n) => `honest-${n}`)
    const house = await brokers(['flooder', ...others])
    const { verbs, caller, store, now } = house
    const flooded = flood(house, ['flooder'])
    // As many as the owner's queue has room for beside the flooder's five.
    const waits = await honest(flooded, async (n) => {
      if (n >= 40) return patiently(() => store.control(house.of))
      const asked = login(now)
      const filed = await patiently(async () => verbs[0]?.(caller(personNamed(others[n] ?? '')), asked, `honest-${n}`))
      expect(filed?.grant.head.status).toBe('pending')
      return filed
    })
    const { said, seen } = await flooded
    console.log({ said, seen, honest: waits.length, longest: Math.round(Math.max(...waits)) })
    expectOnly(said, 'requester', 5)
    expect(seen.requester).toBe(5)
    expect(await eyes.zcard(tallyKey(house.of, { asker: named.person('flooder') }))).toBe(5)
    expect(Math.max(...waits)).toBeLessThan(2_000)
    expect((await store.counts([NORTHWIND])).pending).toBe(5 + Math.min(40, waits.length))
  })

  it(`${ASKINGS} askings of five hundred leave fifty with their owner; who asks another owner is filed within 2 s`, {
    timeout: 300_000,
  }, async () => {
    const crowd = Array.from({ length: 500 }, (_, n) => `flooder-${n}`)
    const house = await brokers([...crowd, 'honest'])
    const { w, of, verbs, caller, store, now } = house
    const flooded = flood(house, crowd)
    const agent = caller(w.as('triage-agent').principal)
    const key = 'k'.repeat(43) as NonNullable<Caller['key']>
    let filed = 0
    const waits = await honest(flooded, async (n) => {
      const asked = triage(now)
      const { grant } = (await patiently(async () => verbs[n % 3]?.({ ...agent, key }, asked, `honest-${n}`))) ?? {}
      expect(grant?.head.status).toBe('pending')
      filed += 1
      if (grant !== undefined) await patiently(() => withdrawn(house, grant.id))
    })
    const { said, seen } = await flooded
    console.log({ said, seen, honest: filed, longest: Math.round(Math.max(...waits)) })
    expectOnly(said, 'owner', 50)
    expect(filed).toBeGreaterThan(10)
    expect(seen.owner).toBe(50)
    for (const name of crowd)
      expect(await eyes.zcard(tallyKey(of, { asker: named.person(name) }))).toBeLessThanOrEqual(5)
    expect(Math.max(...waits)).toBeLessThan(2_000)
    // Who asks the flooded owner is told so, at once, and is filed as soon as one is decided.
    const ask = async () => verbs[0]?.(caller(personNamed('honest')), login(now))
    const { ms } = await timed(() => expect(patiently(ask)).rejects.toMatchObject({ code: 'too_many_pending' }))
    expect(ms).toBeLessThan(2_000)
    const [waiting] = (
      await store.list({ of: [{ tenant: NORTHWIND, status: 'pending' }], limit: 1, cursor: undefined })
    ).grants
    if (waiting === undefined) throw new Error('nothing is pending')
    await patiently(() => withdrawn(house, waiting.id))
    expect((await patiently(ask))?.grant.head.status).toBe('pending')
  })
})

async function withdrawn({ store, w }: House, id: Parameters<House['store']['loadToEnd']>[0]): Promise<void> {
  const grant = await store.loadToEnd(id)
  const requester = grant?.ask.intent.requester ?? named.principal('')
  const principal = w.book.current().directory.principal(requester) ?? personNamed(requester)
  const rules = { ...w.book.current(), directory: { ...w.book.current().directory, principal: () => principal } }
  await withdraw({ ...w.ports, grants: store, rulesToEnd: () => rules })(
    { principal, key: undefined, session: '', facts: {} },
    id,
    'room',
  )
}
