// Status lists on a real Redis: two brokers say the same, and a storm of ends is in the list as soon as it is committed.
import { getListFromStatusListJWT, type StatusList } from '@sd-jwt/jwt-status-list'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Control } from '../../src/broker/ports.ts'
import type { Grant } from '../../src/domain/grant.ts'
import type { Shard } from '../../src/domain/ids.ts'
import { type Instant, instant, seconds } from '../../src/domain/instant.ts'
import { LIST_SIZE, printList, statusPlaceOf } from '../../src/domain/status-list.ts'
import type { RedisConnections } from '../../src/redis/connect.ts'
import type { ShardStore } from '../../src/redis/grant-store.ts'
import { signedLists } from '../../src/tokens/status-list.ts'
import { RULES } from '../contracts/grant-store.ts'
import { freshRing } from '../support/keys.ts'
import { connected, freshShard, type RedisService, startRedis, storeOn } from '../support/redis-shards.ts'
import { nextGrantId, sampleBirth, sampleStep } from '../support/sample-grants.ts'

let service: RedisService
let connections: RedisConnections
let others: RedisConnections
beforeAll(async () => {
  service = await startRedis()
  connections = await connected(service)
  others = await connected(service)
})
afterAll(async () => {
  connections?.close()
  others?.close()
  await service?.stop()
})

interface Ready {
  readonly shard: Shard
  readonly store: ShardStore
  readonly control: Control
  readonly now: Instant
  /** As each of two brokers on this Redis, with the same keys, says it. */
  readonly brokers: readonly ReturnType<typeof signedLists>[]
}
async function ready(): Promise<Ready> {
  const shard = await freshShard(connections.issue)
  const store = storeOn(connections, shard)
  const control = await store.publish(shard, RULES, true)
  const now = instant(Number((await connections.issue.time())[0]) * 1_000)
  const { ring } = await freshRing(() => now)
  const brokers = [store, storeOn(others, shard)].map(({ statuses }) =>
    signedLists({ lists: statuses, ring, issuer: 'https://writ.example', now: () => now, ttl: seconds(30) }),
  )
  return { shard, store, control, now, brokers }
}

/** So many active grants, the calls for them in bunches. */
async function active({ shard, store, control, now }: Ready, count: number): Promise<readonly Grant[]> {
  const guard = { judgedUnder: control }
  const one = async (): Promise<Grant> => {
    const birth = sampleBirth(nextGrantId(shard), now)
    const { seq } = await store.commit(birth, guard)
    const approved = sampleStep({ ...birth.grant, born: seq }, 'approved', now)
    await store.commit(approved, guard)
    const step = sampleStep(approved.grant, 'active', now)
    await store.commit(step, guard)
    return step.grant
  }
  const grants: Grant[] = []
  while (grants.length < count)
    grants.push(...(await Promise.all(Array.from({ length: Math.min(100, count - grants.length) }, one))))
  return grants
}

const listOf = (grant: Grant): string => printList(statusPlaceOf(grant)?.list ?? { shard: 0 as Shard, block: -1 })
const said = async (by: ReturnType<typeof signedLists>, name: string): Promise<StatusList> =>
  getListFromStatusListJWT((await by.list(name))?.token ?? '')
const statusIn = (list: StatusList, grant: Grant): number => list.getStatus(statusPlaceOf(grant)?.idx ?? -1)

describe('the status list of a shard', () => {
  it('is the same at two brokers at every moment, whichever of them ends a grant', async () => {
    const on = await ready()
    const grants = await active(on, 6)
    const [name = ''] = [...new Set(grants.map(listOf))]
    for (const [n, grant] of grants.entries()) {
      const by = n % 2 === 0 ? on.store : storeOn(others, on.shard)
      await by.commit(sampleStep(grant, n % 3 === 0 ? 'ending' : 'ended', on.now))
      const lists = await Promise.all(on.brokers.map((broker) => said(broker, name)))
      for (const list of lists)
        expect(grants.map((one) => statusIn(list, one))).toEqual(grants.map((_, at) => (at <= n ? 1 : 0)))
    }
    expect(await Promise.all(on.brokers.map((broker) => broker.uris()))).toEqual(
      [name, name].map((one) => [`https://writ.example/status/${one}`]),
    )
  })

  it('holds a storm of ten thousand ends as soon as it is committed, and is small and quick to sign', {
    timeout: 300_000,
  }, async () => {
    const on = await ready()
    const grants = await active(on, 10_500)
    const [broker, other] = on.brokers
    if (broker === undefined || other === undefined) throw new Error('two brokers')
    const [storm, rest] = [grants.slice(0, 10_000), grants.slice(10_000)]
    const names = [...new Set(grants.map(listOf))]
    expect(names).toEqual([`${on.shard}-0`])
    const [name = ''] = names
    const largest = ((await broker.list(name))?.token ?? '').length
    for (let n = 0; n < storm.length; n += 1_000)
      await on.store.commitEach(storm.slice(n, n + 1_000).map((grant) => sampleStep(grant, 'ended', on.now)))
    const started = performance.now()
    const token = (await other.list(name))?.token ?? ''
    const ms = performance.now() - started
    const list = getListFromStatusListJWT(token)
    expect(list.statusList).toHaveLength(LIST_SIZE)
    expect(new Set(storm.map((grant) => statusIn(list, grant)))).toEqual(new Set([1]))
    expect(new Set(rest.map((grant) => statusIn(list, grant)))).toEqual(new Set([0]))
    const again = performance.now()
    await other.list(name)
    console.log({ before: largest, after: token.length, signedMs: ms, keptMs: performance.now() - again })
    // Two bits a place, deflated and in base64url, cannot be longer than the list itself in base64url.
    expect(token.length).toBeLessThan(24_000)
  })
})
