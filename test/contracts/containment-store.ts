// What a store must do for a containment, as guarantees: in memory and on Redis the same. The live set, and how far a clean-up has come.
import { beforeEach, describe, expect, it } from 'vitest'
import { FIRST_STEP, isDone, type Stage } from '../../src/domain/containment.ts'
import { LOCAL_LANE, laneOf } from '../../src/domain/entitlement.ts'
import { inStatus } from '../../src/domain/grant.ts'
import { freezeIdFrom, type GrantId, type Shard } from '../../src/domain/ids.ts'
import { after, type Instant, seconds } from '../../src/domain/instant.ts'
import type { ShardStore } from '../../src/redis/grant-store.ts'
import { nextGrantId, sampleBirth, sampleStep, sha256, VAULT } from '../support/sample-grants.ts'
import { codeOf, RULES, type StoreUnderTest } from './grant-store.ts'

const VAULT_LANE = laneOf(VAULT)
const LANES = [LOCAL_LANE, VAULT_LANE]
let made = 0
const nextFreezeId = () => {
  made += 1
  return freezeIdFrom(Buffer.from(sha256(`containment ${made}`), 'base64url'))
}

export function containmentStoreContract(make: () => Promise<StoreUnderTest>): void {
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
  const birth = async (credential?: typeof VAULT) => {
    const step = sampleBirth(nextGrantId(shard), now, credential)
    await store.commit(step, { judgedUnder: await store.control(shard) })
    return step
  }
  const births = async (count: number, credential?: typeof VAULT): Promise<readonly GrantId[]> => {
    const ids: GrantId[] = []
    for (let n = 0; n < count; n += 1) ids.push((await birth(credential)).grant.id)
    return ids
  }
  /** From the beginning to the end, with something done between two pages. */
  async function walked(lane: string, between: (n: number) => Promise<unknown> = async () => undefined, about = 100) {
    const found: GrantId[] = []
    let cursor: string | undefined
    let pages = 0
    do {
      const page = await store.live({ shard, lane, cursor, about })
      found.push(...(await page.found).grants.map(({ grant }) => grant.id))
      cursor = page.cursor
      pages += 1
      await between(pages)
    } while (cursor !== undefined)
    return { found: new Set(found), pages }
  }

  describe('what lives', () => {
    it('is found whole, lane by lane, with its place in the order of births', async () => {
      const tokens = await births(3)
      const logins = await births(2, VAULT)
      expect((await walked(LOCAL_LANE)).found).toEqual(new Set(tokens))
      expect((await walked(VAULT_LANE)).found).toEqual(new Set(logins))
      const { grants } = await (await store.live({ shard, lane: LOCAL_LANE, cursor: undefined, about: 100 })).found
      for (const { grant, born } of grants) expect(born).toBe((await store.load(grant.id))?.born)
    })

    it('is found whole in pages of about the size that is asked for', async () => {
      const all = new Set(await births(400))
      const [large, small] = [await walked(LOCAL_LANE), await walked(LOCAL_LANE, undefined, 25)]
      expect([large.found, small.found]).toEqual([all, all])
      expect(small.pages).toBeGreaterThan(2 * large.pages)
    })

    it('is nothing that is over', async () => {
      const step = await birth()
      expect((await walked(LOCAL_LANE)).found.size).toBe(1)
      await store.commit(sampleStep(step.grant, 'denied', now))
      expect((await walked(LOCAL_LANE)).found.size).toBe(0)
    })

    it('is found whole whatever ends and is claimed meanwhile, page by page', async () => {
      const all = await births(400)
      const over = new Set<GrantId>()
      const { found, pages } = await walked(LOCAL_LANE, async (n) => {
        for (const id of all.slice((n - 1) * 40, n * 40)) {
          const loaded = await store.load(id)
          if (loaded) await store.commit(sampleStep(loaded.grant, 'denied', now))
          over.add(id)
        }
        await under.advance(seconds(3_600))
        await store.claimDue(LOCAL_LANE, 50, seconds(30))
      })
      expect(pages).toBeGreaterThan(2)
      expect(all.filter((id) => !over.has(id) && !found.has(id))).toEqual([])
    })

    it('is found from the beginning where the cursor is another server’s', async () => {
      const all = await births(300)
      const { cursor, found: first } = await store.live({
        shard,
        lane: LOCAL_LANE,
        cursor: 'abcdef0123456789:17',
        about: 100,
      })
      expect(cursor).toBeDefined()
      const found = new Set((await first).grants.map(({ grant }) => grant.id))
      let next = cursor
      while (next !== undefined) {
        const page = await store.live({ shard, lane: LOCAL_LANE, cursor: next, about: 100 })
        for (const { grant } of (await page.found).grants) found.add(grant.id)
        next = page.cursor
      }
      expect(found).toEqual(new Set(all))
    })

    it('is found while the store is recovering', async () => {
      const all = await births(2)
      await under.loseControl()
      expect((await walked(LOCAL_LANE)).found).toEqual(new Set(all))
    })
  })

  describe('the clean-up behind a containment', () => {
    const stage = (id: GrantId, as: Stage) => ({ id, stage: as })

    it('goes on where it was noted, also for another broker, once the lease is over', async () => {
      const of = { id: nextFreezeId(), shard, lane: LOCAL_LANE }
      expect(await store.containments.claim(of, seconds(1))).toEqual(FIRST_STEP)
      const walk = { cursor: 'abc:17', over: false, unread: 2 }
      await store.containments.note(of.id, shard, { stages: [], walk: { lane: of.lane, walk, lease: seconds(1) } })
      expect(await under.another().containments.claim(of, seconds(1))).toBeUndefined()
      await under.advance(seconds(1))
      expect(await under.another().containments.claim(of, seconds(1))).toEqual(walk)
    })

    it('is leased lane by lane, to one caller', async () => {
      const id = nextFreezeId()
      const claims = await Promise.all(
        Array.from({ length: 5 }, () => store.containments.claim({ id, shard, lane: LOCAL_LANE }, seconds(1))),
      )
      expect(claims.filter((walk) => walk !== undefined)).toHaveLength(1)
      expect(await store.containments.claim({ id, shard, lane: VAULT_LANE }, seconds(1))).toEqual(FIRST_STEP)
    })

    it('counts each grant once, in the stage that it is in', async () => {
      const id = nextFreezeId()
      const [one, two, three, four] = await births(4)
      if (!one || !two || !three || !four) throw new Error('four were born')
      const begun = [stage(one, 'ending'), stage(two, 'ending'), stage(three, 'stuck'), stage(four, 'stopped')]
      await store.containments.note(id, shard, { stages: begun, residueUntil: after(now, seconds(60)) })
      await store.containments.note(id, shard, { stages: [stage(one, 'ended')], residueUntil: after(now, seconds(30)) })
      const progress = await under.another().containments.progress(id, LANES)
      expect(progress).toEqual({
        walked: 0,
        walks: 2,
        unread: 0,
        counts: { ending: 1, stuck: 1, stopped: 1, ended: 1 },
        residueUntil: after(now, seconds(60)),
        pace: { eachMs: expect.any(Number), at: expect.any(Number) },
      })
      expect(isDone(progress)).toBe(false)
    })

    it('is told by the very commit that ends a grant, with how long it may still be taken; what is refused tells nothing', async () => {
      const id = nextFreezeId()
      await store.containments.claim({ id, shard, lane: LOCAL_LANE }, seconds(1))
      const [token, login, stale] = [await birth(), await birth(VAULT), await birth()]
      const approved = async ({ grant }: typeof token) => {
        const step = sampleStep(grant, 'approved', now)
        await store.commit(step, { judgedUnder: await store.control(shard) })
        return sampleStep(step.grant, 'ending', now)
      }
      const ending = await approved(login)
      const begun = await approved(token)
      const steps = [begun, sampleStep(begun.grant, 'ended', now), ending, sampleStep(stale.grant, 'denied', now)]
      await store.commit(sampleStep(stale.grant, 'withdrawn', now))
      await under.advance(seconds(2))
      const results = await store.commitEach(steps, id)
      expect(results.map(({ receipt }) => receipt !== undefined)).toEqual([true, true, true, false])
      const progress = await under.another().containments.progress(id, LANES)
      expect(progress.counts).toEqual({ ending: 1, stuck: 0, stopped: 0, ended: 1 })
      const [, ended] = steps
      expect(progress.residueUntil).toBe(
        ended && inStatus(ended.grant, 'ended') ? ended.grant.head.facts.residueUntil : undefined,
      )
      expect(progress.pace?.eachMs).toBeGreaterThanOrEqual(2_000)
      await store.commitEach([sampleStep(ending.grant, 'ended', now)], id)
      expect((await store.containments.progress(id, LANES)).counts).toMatchObject({ ending: 0, ended: 2 })
      expect((await store.containments.progress(nextFreezeId(), LANES)).counts.ended).toBe(0)
    })

    it('says at what pace they come to be over, the latest counting most, each once', async () => {
      const id = nextFreezeId()
      const all = await births(20)
      await store.containments.claim({ id, shard, lane: LOCAL_LANE }, seconds(1))
      expect((await store.containments.progress(id, LANES)).pace).toBeUndefined()
      await store.containments.note(id, shard, { stages: all.map((one) => stage(one, 'ending')) })
      expect((await store.containments.progress(id, LANES)).pace).toBeUndefined()
      await under.advance(seconds(10))
      const some = all.slice(0, 10).map((one) => stage(one, 'ended'))
      await store.containments.note(id, shard, { stages: some })
      const first = (await store.containments.progress(id, LANES)).pace?.eachMs ?? 0
      expect(first).toBeGreaterThanOrEqual(1_000)
      expect(first).toBeLessThan(1_200)
      await store.containments.note(id, shard, { stages: some })
      expect((await store.containments.progress(id, LANES)).pace?.eachMs).toBe(first)
      await under.advance(seconds(10))
      await store.containments.note(id, shard, { stages: all.slice(10, 11).map((one) => stage(one, 'ended')) })
      const second = (await store.containments.progress(id, LANES)).pace?.eachMs ?? 0
      expect(second).toBeGreaterThanOrEqual(3_700)
      expect(second).toBeLessThan(4_200)
    })

    it('is done when every lane has been walked and nothing is left to confirm', async () => {
      const id = nextFreezeId()
      const [one] = await births(1)
      if (one === undefined) throw new Error('one was born')
      const over = { cursor: undefined, over: true, unread: 0 }
      for (const lane of LANES) {
        expect(isDone(await store.containments.progress(id, LANES))).toBe(false)
        await store.containments.note(id, shard, {
          stages: [stage(one, 'ending')],
          walk: { lane, walk: over, lease: seconds(1) },
        })
      }
      expect(isDone(await store.containments.progress(id, LANES))).toBe(false)
      await store.containments.note(id, shard, { stages: [stage(one, 'ended')] })
      expect(isDone(await store.containments.progress(id, LANES))).toBe(true)
      // What is walked of one containment says nothing of another.
      expect((await store.containments.progress(nextFreezeId(), LANES)).walked).toBe(0)
    })

    it('tells page by page what is in which stage', async () => {
      const id = nextFreezeId()
      const all = await births(5)
      const open = all.slice(0, 3).map((grant, n) => stage(grant, n === 1 ? 'stuck' : 'ending'))
      const over = all.slice(3).map((grant) => stage(grant, 'ended'))
      await store.containments.note(id, shard, { stages: [...open, ...over] })
      const pages = async (stages: readonly Stage[], limit: number) => {
        const found: { id: GrantId; stage: Stage }[] = []
        let cursor: string | undefined
        do {
          const page = await store.containments.page(id, stages, cursor, limit)
          expect(page.grants.length).toBeLessThanOrEqual(limit)
          found.push(...page.grants)
          cursor = page.next
        } while (cursor !== undefined)
        return new Map(found.map((one) => [one.id, one.stage]))
      }
      const as = (rows: typeof open) => new Map(rows.map((one) => [one.id, one.stage]))
      for (const limit of [1, 2, 100]) {
        expect(await pages(['ending', 'stuck'], limit)).toEqual(as(open))
        expect(await pages(['stuck'], limit)).toEqual(as(open.slice(1, 2)))
        expect(await pages(['stopped', 'ended'], limit)).toEqual(as(over))
      }
      expect(await codeOf(store.containments.page(id, ['ended'], 'nonsense', 10))).toBe('invalid_request')
    })

    it('goes on while the store is recovering', async () => {
      const id = nextFreezeId()
      const [one] = await births(1)
      if (one === undefined) throw new Error('one was born')
      await under.loseControl()
      await store.containments.claim({ id, shard, lane: LOCAL_LANE }, seconds(1))
      await store.containments.note(id, shard, { stages: [stage(one, 'ended')] })
      expect((await store.containments.progress(id, LANES)).counts.ended).toBe(1)
    })
  })
}
