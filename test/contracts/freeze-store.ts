// What every store of freezes must do, as guarantees: in memory and on Redis the same.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Control } from '../../src/broker/ports.ts'
import type { Freeze } from '../../src/domain/freeze.ts'
import { type FreezeId, freezeIdFrom, named, type Shard } from '../../src/domain/ids.ts'
import { after, type Instant, seconds } from '../../src/domain/instant.ts'
import { printFreezeEvent } from '../../src/redis/freeze-record.ts'
import type { ShardStore } from '../../src/redis/grant-store.ts'
import { ALL, digest, nextGrantId, sampleBirth, sampleStep, sha256 } from '../support/sample-grants.ts'
import { codeOf, RULES, type StoreUnderTest } from './grant-store.ts'

let made = 0
export function sampleFreeze(at: Instant, part: Partial<Freeze> = {}): Freeze {
  made += 1
  const id: FreezeId = freezeIdFrom(Buffer.from(sha256(`freeze ${made}`), 'base64url'))
  return {
    v: 2,
    id,
    tenant: named.tenant('northwind'),
    selector: { target: 'payments-db', ticket: { system: 'desk', id: 'CHG-1' } },
    reason: 'Alarm — “4711”',
    by: named.principal('sol'),
    at,
    contains: false,
    everything: false,
    answered: {},
    lifted: undefined,
    ...part,
  }
}
export const liftedBy = (freeze: Freeze, by: string, at: Instant): Freeze => ({
  ...freeze,
  lifted: { at, by: named.principal(by), reason: 'over' },
})

export function freezeStoreContract(make: () => Promise<StoreUnderTest>): void {
  let under: StoreUnderTest
  let store: ShardStore
  let shard: Shard
  let control: Control
  let now: Instant

  beforeEach(async () => {
    under = await make()
    store = under.store
    shard = under.shard
    control = await store.publish(shard, RULES, true)
    now = await under.now()
  })
  const born = async (by: ShardStore = store): Promise<ReturnType<typeof nextGrantId>> => {
    const id = nextGrantId(shard)
    await by.commit(sampleBirth(id, now), { judgedUnder: await by.control(shard) })
    return id
  }
  const seqNow = async (): Promise<number> => (await under.another().read(shard))?.seq ?? 0

  describe('a freeze', () => {
    it('is brought back exactly as it was stored, with its place in the order of commits', async () => {
      const freeze = sampleFreeze(now)
      const before = await seqNow()
      const receipts = await store.freezes.put(freeze)
      expect(receipts).toEqual([{ shard, seq: before + 1, eventHash: sha256(printFreezeEvent('frozen', freeze)) }])
      expect(await store.freezes.list()).toStrictEqual([freeze])
      const today = await store.control(shard)
      expect(await store.freezes.under(today)).toStrictEqual([{ freeze, seq: before + 1 }])
    })

    it('raises the freeze epoch in the same commit, so that what was judged before it is stale', async () => {
      const pending = sampleBirth(nextGrantId(shard), now)
      await store.commit(pending, { judgedUnder: control })
      const judged = [
        sampleBirth(nextGrantId(shard), now),
        sampleStep(pending.grant, 'approved', now),
        sampleStep(pending.grant, 'pending', now),
      ]
      const seq = await seqNow()
      await store.freezes.put(sampleFreeze(now))
      expect(await seqNow()).toBe(seq + 1)
      expect(await store.control(shard)).toEqual({ ...control, freezeEpoch: control.freezeEpoch + 1 })
      for (const step of judged) expect(await codeOf(store.commit(step, { judgedUnder: control }))).toBe('stale')
      for (const step of judged.slice(0, 2))
        expect(await codeOf(store.commit(step, { judgedUnder: await store.control(shard) }))).toBe('resolved')
    })

    it('is the same when it is stored again: no other place, no other epoch', async () => {
      const freeze = sampleFreeze(now)
      const receipts = await store.freezes.put(freeze)
      const epoch = (await store.control(shard)).freezeEpoch
      await born()
      expect(await under.another().freezes.put(freeze)).toEqual(receipts)
      expect((await store.control(shard)).freezeEpoch).toBe(epoch)
      expect(await store.freezes.list()).toHaveLength(1)
    })

    it('parts what was born before it from what was born after it', async () => {
      const before = await born()
      const [receipt] = await store.freezes.put(sampleFreeze(now))
      const later = await born()
      const seq = receipt?.seq ?? 0
      expect((await store.load(before))?.born).toBeLessThanOrEqual(seq)
      expect((await store.load(later))?.born).toBeGreaterThan(seq)
      // A birth is where it was, whatever became of the grant.
      const grant = (await store.load(later))?.grant
      if (grant === undefined) throw new Error('the grant is not there')
      const was = (await store.load(later))?.born
      await store.commit(sampleStep(grant, 'approved', now), { judgedUnder: await store.control(shard) })
      expect((await store.load(later))?.born).toBe(was)
    })

    it('is seen by every broker with its next read of the control record', async () => {
      const other = under.another()
      expect(await other.freezes.under(control)).toEqual([])
      const freeze = sampleFreeze(now)
      await store.freezes.put(freeze)
      expect((await other.freezes.under(await other.control(shard))).map((one) => one.freeze)).toStrictEqual([freeze])
      const loaded = await other.load(await born())
      if (loaded === undefined) throw new Error('the grant is not there')
      expect(await other.freezes.under(loaded.control, loaded.grant.id)).toHaveLength(1)
    })

    it('is taken without a control record, and counts under the record that comes after', async () => {
      const other = under.another()
      expect(await other.freezes.under(control)).toEqual([])
      await under.loseControl()
      const freeze = sampleFreeze(now)
      await store.freezes.put(freeze)
      expect(await under.another().freezes.list()).toStrictEqual([freeze])
      expect(await codeOf(store.freezes.under({ ...control, freezeEpoch: 99 }))).toBe('recovering')
      const accepted = await store.accept(shard, RULES)
      expect(accepted.control.freezeEpoch).toBeGreaterThan(control.freezeEpoch + 1)
      expect((await other.freezes.under(accepted.control)).map((one) => one.freeze)).toStrictEqual([freeze])
    })

    it('is taken by a store that was rolled back', async () => {
      const back = await under.snapshot()
      await born()
      await back()
      expect(await codeOf(store.control(shard))).toBe('recovering')
      await store.freezes.put(sampleFreeze(now))
      expect(await store.freezes.list()).toHaveLength(1)
      expect(await codeOf(store.freezes.under({ ...control, freezeEpoch: 99 }))).toBe('recovering')
      const { control: accepted } = await store.accept(shard, RULES)
      expect(await store.freezes.under(accepted)).toHaveLength(1)
    })

    it('that was read before a store was rolled back is read again once an operator has accepted it', async () => {
      const back = await under.snapshot()
      await store.freezes.put(sampleFreeze(now))
      expect(await store.freezes.under(await store.control(shard))).toHaveLength(1)
      await back()
      expect(await codeOf(store.control(shard))).toBe('recovering')
      const { control: accepted } = await store.accept(shard, RULES)
      expect(accepted.freezeEpoch).toBeGreaterThan(control.freezeEpoch + 1)
      expect(await store.freezes.under(accepted)).toEqual([])
    })

    it('is passed over by the feed and by the grants, and hides nothing of them', async () => {
      const { next } = await store.feed(undefined, 10)
      const first = await born()
      const freeze = sampleFreeze(now)
      await store.freezes.put(freeze)
      await store.freezes.lift(liftedBy(freeze, 'sol', now), await store.control(shard))
      const second = await born()
      await under.advance(seconds(1))
      expect((await store.feed(next, 10)).events.map((event) => event.grant)).toEqual([first, second])
      expect((await store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toHaveLength(2)
    })
  })

  describe('a lifted freeze', () => {
    it('stays where it was, with who lifted it; the epoch moves again', async () => {
      const freeze = sampleFreeze(now)
      const [receipt] = await store.freezes.put(freeze)
      const frozen = await store.control(shard)
      const lifted = liftedBy(freeze, 'audra', after(now, seconds(5)))
      const seq = await seqNow()
      expect(await store.freezes.lift(lifted, frozen)).toStrictEqual({
        freeze: lifted,
        receipts: [{ shard, seq: seq + 1, eventHash: sha256(printFreezeEvent('freeze_lifted', lifted)) }],
      })
      const today = await store.control(shard)
      expect(today.freezeEpoch).toBe(frozen.freezeEpoch + 1)
      expect(await store.freezes.under(today)).toStrictEqual([{ freeze: lifted, seq: receipt?.seq }])
      expect(await store.freezes.list()).toStrictEqual([lifted])
    })

    it('is lifted once: again, it is answered as it was lifted then', async () => {
      const freeze = sampleFreeze(now)
      await store.freezes.put(freeze)
      const lifted = liftedBy(freeze, 'sol', now)
      await store.freezes.lift(lifted, await store.control(shard))
      const before = await store.control(shard)
      const again = await store.freezes.lift(liftedBy(freeze, 'audra', now), before)
      expect(again).toStrictEqual({ freeze: lifted, receipts: [] })
      expect(await store.control(shard)).toEqual(before)
    })

    it('must have been made', async () => {
      const seq = await seqNow()
      expect(await store.freezes.lift(liftedBy(sampleFreeze(now), 'sol', now), control)).toBeUndefined()
      expect(await seqNow()).toBe(seq)
    })

    it('is stale where the rules have moved since they were judged, and not where another freeze came', async () => {
      const freeze = sampleFreeze(now)
      await store.freezes.put(freeze)
      const lifted = liftedBy(freeze, 'sol', now)
      const judged = await store.control(shard)
      const moved: readonly Partial<Control>[] = [
        { policyRevision: 2 },
        { policyDigest: digest('other') },
        { peopleRevision: 8 },
        { peopleDigest: digest('other') },
      ]
      for (const member of moved)
        expect(await codeOf(store.freezes.lift(lifted, { ...judged, ...member }))).toBe('stale')
      await store.freezes.put(sampleFreeze(now))
      expect(await codeOf(store.freezes.lift(lifted, judged))).toBe('resolved')
    })

    it('is not taken without a control record, nor from a store that was rolled back', async () => {
      const freeze = sampleFreeze(now)
      await store.freezes.put(freeze)
      const lifted = liftedBy(freeze, 'sol', now)
      const judged = await store.control(shard)
      const back = await under.snapshot()
      await born()
      await back()
      expect(await codeOf(store.freezes.lift(lifted, judged))).toBe('recovering')
      await store.accept(shard, RULES)
      await under.loseControl()
      expect(await codeOf(store.freezes.lift(lifted, judged))).toBe('recovering')
      expect(await store.freezes.list()).toStrictEqual([freeze])
    })
  })
}
