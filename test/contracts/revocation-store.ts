// What every store of ended grants' word and of reported uses must do, as guarantees: in memory and on Redis the same.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Acknowledgement, UseToKeep } from '../../src/broker/ports.ts'
import type { Grant } from '../../src/domain/grant.ts'
import type { GrantId, Shard } from '../../src/domain/ids.ts'
import { after, hours, type Instant, instant, milliseconds, seconds } from '../../src/domain/instant.ts'
import type { Status } from '../../src/domain/lifecycle.ts'
import { type Places, parsePlaces, printPlaces } from '../../src/domain/place.ts'
import { misuseOf, type Use } from '../../src/domain/use.ts'
import type { ShardStore } from '../../src/redis/grant-store.ts'
import { MOST_USES } from '../../src/redis/use-store.ts'
import { nextGrantId, ROADS, sampleBirth, sampleEvent, sampleStep, sha256 } from '../support/sample-grants.ts'
import { codeOf, RULES, type StoreUnderTest } from './grant-store.ts'

const SERVER = 'payments-db'
const NOWHERE: Places = new Map()

let uses = 0
export const sampleUse = (at: Instant, part: Partial<Use> = {}): Use => ({
  id: `use-${++uses}`,
  at,
  credential: 'jti-3',
  outcome: 'used',
  reason: undefined,
  action: 'db.migrate',
  target: 'schema:payments — “öffnen”',
  argumentDigest: undefined,
  ...part,
})

export function revocationStoreContract(make: () => Promise<StoreUnderTest>): void {
  let under: StoreUnderTest
  let store: ShardStore
  let shard: Shard
  let now: Instant

  beforeEach(async () => {
    under = await make()
    store = under.store
    shard = under.shard
    await store.publish(shard, RULES, true)
    now = await under.now()
  })
  /** The feed tells of milliseconds that are over. */
  const tick = () => under.passes(milliseconds(3))
  const stored = async (status: Status, by: ShardStore = store): Promise<Grant> => {
    const id = nextGrantId(shard)
    const judgedUnder = await by.control(shard)
    await by.commit(sampleBirth(id, await under.now()), { judgedUnder })
    for (const to of ROADS[status]) await move(id, to, by)
    return loaded(id)
  }
  const loaded = async (id: GrantId): Promise<Grant> => {
    const grant = await store.loadToEnd(id)
    if (!grant) throw new Error('the grant is not there')
    return grant
  }
  const move = async (id: GrantId, to: Status, by: ShardStore = store): Promise<void> => {
    const at = await under.now()
    const step = sampleStep(await loaded(id), to, at)
    const event = to === 'ending' || to === 'ended' ? sampleEvent(id, to, at) : step.event
    await by.commit({ ...step, event }, { judgedUnder: await by.control(shard) })
  }
  const here = async (by: ShardStore = store): Promise<Places> => {
    await tick()
    return (await by.revocations.read(undefined, 1)).next
  }
  /** All that follows, in steps of so many events. */
  const all = async (from: Places, step = 100, by: ShardStore = store) => {
    await tick()
    const found = []
    let at = from
    for (let more = true; more; ) {
      const read = await by.revocations.read(at, step)
      found.push(...read.revocations)
      at = read.next
      more = read.more
    }
    return { found, at }
  }
  const idsIn = (found: readonly { readonly grant: GrantId }[]) => found.map(({ grant }) => grant)

  describe('the feed of ended grants', () => {
    it('tells of each grant that begins or finishes its end, in the order of the commits, and of nothing else', async () => {
      const from = await here()
      const ended = await stored('ended')
      const ending = await stored('ending')
      for (const other of ['pending', 'active', 'denied', 'withdrawn', 'lapsed'] as const) await stored(other)
      await move(ending.id, 'ended')
      const { found } = await all(from)
      const told = found.map(({ grant, status, audience, shard: of }) => ({ grant, status, audience, of }))
      const of = shard
      const { audience } = ended.ask
      expect(told.filter(({ grant }) => grant === ending.id)).toEqual([
        { grant: ending.id, status: 'ending', audience, of },
        { grant: ending.id, status: 'ended', audience, of },
      ])
      expect(new Set(idsIn(found))).toEqual(new Set([ended.id, ending.id]))
      expect(told.filter(({ grant }) => grant === ended.id).at(-1)).toEqual({
        grant: ended.id,
        status: 'ended',
        audience,
        of,
      })
    })

    it.each([1, 2, 7, 100])(
      'goes on at any place in steps of %i events without losing or doubling one',
      async (step) => {
        const from = await here()
        const grants: Grant[] = []
        for (let n = 0; n < 5; n++) grants.push(await stored('ended'))
        const whole = (await all(from)).found
        expect((await all(from, step)).found).toEqual(whole)
        for (const [n, { event }] of whole.entries()) {
          const place = parsePlaces(printPlaces(new Map([[shard, event]])))
          expect((await all(place as Places, step)).found).toEqual(whole.slice(n + 1))
        }
      },
    )

    it('is the same to every broker, also to one that has seen nothing', async () => {
      const from = await here()
      await stored('ended')
      await stored('ending', under.another())
      const whole = (await all(from)).found
      expect((await all(from, 100, under.another())).found).toEqual(whole)
    })

    it('begins at a time: with all that was committed then or later', async () => {
      const old = await stored('ended')
      await tick()
      const at = await under.now()
      const young = await stored('ended')
      const ids = idsIn((await all(store.revocations.since(at))).found)
      expect(ids).toContain(young.id)
      expect(ids).not.toContain(old.id)
      expect(idsIn((await all(store.revocations.since(instant(0)))).found)).toContain(old.id)
    })

    it('says up to which time nothing is missing, and that of an empty shard is now', async () => {
      const read = await store.revocations.read(undefined, 10)
      const seen = await under.now()
      expect(read).toMatchObject({ revocations: [], more: false })
      expect(read.until).toBeLessThanOrEqual(seen)
      expect(read.until).toBeGreaterThan(seen - 1_000)
      const from = await here()
      await stored('ended')
      await tick()
      const cut = await store.revocations.read(from, 1)
      expect(cut.until).toBeLessThan(await under.now())
    })

    it('takes back a position as text, and refuses what is none', async () => {
      const from = await here()
      await stored('ended')
      expect(store.revocations.parse(printPlaces(from))).toEqual(from)
      for (const text of ['', 'x', '0', '0.1', '0.1-', '0.1-1_', '0.1-1 0.2-2', `${'9'.repeat(20)}.1-1`])
        expect(await codeOf(Promise.resolve().then(() => store.revocations.parse(text))), text).toBe('invalid_request')
    })

    it('is an error and never empty while the store is behind, or has no control record', async () => {
      const from = await here()
      const back = await under.snapshot()
      await stored('ended')
      await back()
      expect(await codeOf(store.revocations.read(from, 10))).toBe('recovering')
      expect(await codeOf(store.revocations.read(undefined, 10))).toBe('recovering')
      expect(await codeOf(under.another().revocations.read(from, 10))).toBe('resolved')
      await under.loseControl()
      expect(await codeOf(under.another().revocations.read(from, 10))).toBe('recovering')
    })
  })

  describe('an acknowledgement', () => {
    const ack = (consumer: string, places: Places, unbroken: Places = NOWHERE, by: ShardStore = store) =>
      by.revocations.acknowledge({ server: SERVER, consumer, places, unbroken } satisfies Acknowledgement)
    const seen = async (id: GrantId, server = SERVER) => {
      const reach = await store.revocations.reach(id, server)
      return reach?.consumers.map(({ name, acknowledgedAt }) => [
        name,
        acknowledgedAt === undefined ? undefined : acknowledgedAt - reach.at,
      ])
    }

    it('counts for what ended up to its place, from when that was first reached', async () => {
      await ack('eu-1', await here())
      await ack('eu-2', await here())
      const grant = await stored('ended')
      const left = (await store.revocations.reach(grant.id, SERVER))?.at ?? 0
      const { at } = await all(await here())
      await under.passes(milliseconds(400))
      await ack('eu-1', at)
      await under.advance(seconds(60))
      await ack('eu-1', (await store.revocations.read(undefined, 1)).next)
      const reach = await store.revocations.reach(grant.id, SERVER)
      expect(reach?.consumers).toEqual([
        { name: 'eu-1', acknowledgedAt: expect.any(Number) },
        { name: 'eu-2', acknowledgedAt: undefined },
      ])
      const took = (reach?.consumers[0]?.acknowledgedAt ?? 0) - left
      expect(took).toBeGreaterThanOrEqual(400)
      expect(took).toBeLessThan(30_000)
    })

    it('of the place just before the end is none of the end', async () => {
      const before = await here()
      await ack('eu-1', before)
      const grant = await stored('ended')
      expect(await seen(grant.id)).toEqual([['eu-1', undefined]])
      const { found } = await all(before)
      const last = found.filter((one) => one.grant === grant.id)
      await ack('eu-1', new Map([[shard, last[0]?.event ?? '']]))
      expect((await seen(grant.id))?.[0]?.[1]).toEqual(expect.any(Number))
    })

    it('never goes back: an older place, or the same again, changes nothing', async () => {
      const early = await here()
      await ack('eu-1', early)
      const grant = await stored('ended')
      const late = (await all(early)).at
      await ack('eu-1', late)
      const before = await store.revocations.reach(grant.id, SERVER)
      await under.advance(seconds(5))
      await ack('eu-1', early)
      await ack('eu-1', late)
      await ack('eu-1', late, late)
      expect(await store.revocations.reach(grant.id, SERVER)).toEqual(before)
    })

    it('that moves past nothing takes no room and no time away: the first that reached a revocation stands', async () => {
      const from = await here()
      await ack('eu-1', from)
      const grant = await stored('ended')
      const at = (await all(from)).at
      await ack('eu-1', at)
      const before = await store.revocations.reach(grant.id, SERVER)
      for (let n = 0; n < 20; n++) await ack('eu-1', await here(), at)
      expect(await store.revocations.reach(grant.id, SERVER)).toEqual(before)
      const next = await here()
      const other = await stored('ended')
      expect(await seen(other.id)).toEqual([['eu-1', undefined]])
      await under.passes(milliseconds(300))
      await ack('eu-1', (await all(next)).at, next)
      // Something lay between: its time is its own.
      expect((await seen(other.id))?.[0]?.[1]).toBeGreaterThanOrEqual(300)
    })

    it('ahead of the clock is refused, and counts for nothing', async () => {
      const ahead = store.revocations.since(after(await under.now(), hours(1)))
      expect(await codeOf(ack('eu-1', ahead))).toBe('invalid_request')
      const grant = await stored('ended')
      expect(await seen(grant.id)).toEqual([])
    })

    it('makes an instance count for what ends within a day, and from then on no more', async () => {
      await ack('gone', await here())
      await under.advance(hours(23))
      const within = await stored('ended')
      await ack('here', await here())
      await under.advance(hours(2))
      const later = await stored('ended')
      expect((await seen(within.id))?.map(([name]) => name)).toEqual(['gone'])
      expect((await seen(later.id))?.map(([name]) => name)).toEqual(['here'])
    })

    it('of the first instance ever counts also for what ended before it, and of a later one does not', async () => {
      const grant = await stored('ended')
      expect(await seen(grant.id)).toEqual([])
      await under.advance(seconds(10))
      await ack('first', await here())
      await under.advance(seconds(10))
      await ack('second', await here())
      expect((await seen(grant.id))?.map(([name]) => name)).toEqual(['first'])
    })

    it('is of one resource server, and of nothing that another one said', async () => {
      await ack('eu-1', await here())
      const grant = await stored('ended')
      await ack('eu-1', await here())
      expect(await seen(grant.id, 'another')).toEqual([])
    })

    it('is nothing while a grant lives, and counts from the beginning of the end', async () => {
      await ack('eu-1', await here())
      const active = await stored('active')
      expect(await store.revocations.reach(active.id, SERVER)).toBeUndefined()
      const ending = await stored('ending')
      const first = await store.revocations.reach(ending.id, SERVER)
      await under.advance(seconds(5))
      await move(ending.id, 'ended')
      expect((await store.revocations.reach(ending.id, SERVER))?.at).toBe(first?.at)
      expect(await store.revocations.reach(nextGrantId(shard), SERVER)).toBeUndefined()
    })

    it('is refused while the store is behind', async () => {
      const back = await under.snapshot()
      await stored('ended')
      await back()
      await codeOf(store.load(nextGrantId(shard)))
      expect(await codeOf(ack('eu-1', store.revocations.since(now)))).toBe('recovering')
    })

    it('of a thousand fresh instances there are no more, and a stale one makes room', async () => {
      const places = await here()
      for (let n = 0; n < 1_000; n++) await ack(`pod-${n}`, places)
      expect(await codeOf(ack('one-more', places))).toBe('too_many_requests')
      await ack('pod-7', places)
      await under.advance(hours(36))
      await ack('one-more', places)
      const grant = await stored('ended')
      expect((await seen(grant.id))?.map(([name]) => name)).toEqual(['one-more'])
    }, 60_000)
  })

  describe('reported uses', () => {
    const misuse = (part: Partial<Use> = {}) => sampleUse(now, { outcome: 'refused', reason: 'replay', ...part })
    const toKeep = (grant: Grant, use: Use): UseToKeep => ({
      use,
      event: misuseOf(use) === undefined ? undefined : { ...sampleEvent(grant.id, 'misuse', now), by: SERVER },
    })
    const report = (grant: Grant, ...some: readonly Use[]) =>
      store.uses.report(
        grant.id,
        SERVER,
        some.map((use) => toKeep(grant, use)),
      )

    it('are brought back as they were reported, oldest first, each once', async () => {
      const grant = await stored('active')
      expect(await store.uses.of(grant.id)).toEqual({ uses: [], counts: { used: 0, refused: 0 }, left: 0 })
      const first = sampleUse(now, { argumentDigest: `sha-256:${'A'.repeat(43)}` as never })
      const second = sampleUse(now, { outcome: 'refused', reason: 'stale' })
      expect(await report(grant, first)).toMatchObject({ kept: [first], repeated: [], left: [], receipts: [] })
      await under.advance(seconds(1))
      expect(await report(grant, first, second, second)).toMatchObject({ kept: [second], repeated: [first, second] })
      const { uses: found, counts, left } = await store.uses.of(grant.id)
      expect(found.map(({ receivedAt: _, ...use }) => use)).toStrictEqual([
        { ...first, by: SERVER },
        { ...second, by: SERVER },
      ])
      expect(found[1]?.receivedAt).toBeGreaterThan(found[0]?.receivedAt ?? 0)
      expect([counts, left]).toEqual([{ used: 1, refused: 1 }, 0])
    })

    it('move no version, and of misuse there is one event in the order of commits, whose receipt is answered', async () => {
      const grant = await stored('active')
      await tick()
      const { next } = await store.feed(undefined, 1)
      const seq = (await under.another().read(shard))?.seq ?? 0
      const use = misuse()
      const kept = await report(grant, sampleUse(now), use)
      const { event } = toKeep(grant, use)
      expect(kept?.receipts).toEqual([{ shard, seq: seq + 1, eventHash: sha256(JSON.stringify(event)) }])
      expect((await report(grant, use))?.receipts).toEqual([])
      expect(await loaded(grant.id)).toStrictEqual(grant)
      expect(await store.events(grant.id)).toHaveLength(grant.version)
      await tick()
      const fed = await store.feed(next, 10)
      expect(fed.events.map(({ type, grant: of, version, seq: at }) => [type, of, version, at])).toEqual([
        ['misuse', grant.id, grant.version, seq + 1],
      ])
      const [only] = fed.events
      expect((await all(next === undefined ? NOWHERE : (parsePlaces(next) as Places))).found).toEqual([])
      expect(only?.of.id).toBe(grant.id)
    })

    it('of one kind are kept up to a bound and then counted, and hide none of the other kind', async () => {
      const grant = await stored('active')
      for (let n = 0; n < MOST_USES; n += 100)
        await report(
          grant,
          ...Array.from({ length: 100 }, () => sampleUse(now, { outcome: 'refused', reason: 'stale' })),
        )
      const over = misuse()
      expect(await report(grant, over)).toMatchObject({ kept: [], left: [over], receipts: [] })
      const used = sampleUse(now)
      expect(await report(grant, used)).toMatchObject({ kept: [used], left: [] })
      const known = await store.uses.of(grant.id)
      expect([known.uses.length, known.counts, known.left]).toEqual([
        MOST_USES + 1,
        { used: 1, refused: MOST_USES + 1 },
        1,
      ])
    })

    it('of no grant are none, and while the store is behind they are refused', async () => {
      const birth = sampleBirth(nextGrantId(shard), now).grant
      expect(await report(birth, sampleUse(now))).toBeUndefined()
      const grant = await stored('active')
      const back = await under.snapshot()
      await stored('active')
      await back()
      await codeOf(store.load(grant.id))
      expect(await codeOf(report(grant, sampleUse(now)))).toBe('recovering')
    })

    it('leave with their grant, their events too, and one that came meanwhile keeps it there', async () => {
      const KEEP = hours(1)
      const grant = await stored('ended')
      const first = misuse()
      await report(grant, first, sampleUse(now))
      await under.advance(KEEP)
      const [whole] = await store.retired(KEEP, 10)
      expect(whole?.uses.map(({ text }) => JSON.parse(text).id)).toContain(first.id)
      expect(whole?.uses).toHaveLength(2)
      const late = misuse()
      await report(grant, late)
      expect(await store.forget(whole === undefined ? [] : [whole], KEEP)).toBe(0)
      expect((await store.uses.of(grant.id)).uses).toHaveLength(3)
      const again = await store.retired(KEEP, 10)
      expect(await store.forget(again, KEEP)).toBe(1)
      expect(await store.uses.of(grant.id)).toEqual({ uses: [], counts: { used: 0, refused: 0 }, left: 0 })
      await tick()
      expect((await store.feed(printPlaces(store.revocations.since(instant(0))), 100)).events).toEqual([])
      // What was forgotten is no rollback.
      expect(await codeOf(store.load(grant.id))).toBe('resolved')
      expect(await codeOf(under.another().load(grant.id))).toBe('resolved')
    })
  })
}
