// What every store of grants must do, as guarantees. The memory store of the tests and the Redis store run the same suite, so a verb
// that was tested on one behaves on the other.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Control, Index, Receipt } from '../../src/broker/ports.ts'
import { LOCAL_LANE } from '../../src/domain/entitlement.ts'
import { type ErrorCode, isBrokerError } from '../../src/domain/errors.ts'
import { denials, type Tally, tallies } from '../../src/domain/flood.ts'
import { type Ask, deadlineOf, type Grant, type Step } from '../../src/domain/grant.ts'
import { type Digest, type GrantId, named, type Shard } from '../../src/domain/ids.ts'
import {
  type Duration,
  type Instant,
  after as later,
  milliseconds,
  minutes,
  seconds,
} from '../../src/domain/instant.ts'
import { intentDigest } from '../../src/domain/intent.ts'
import { ALLOWING, isLive, isTerminal, LIFECYCLE, STATUSES, type Status } from '../../src/domain/lifecycle.ts'
import { printList, statusPlaceOf } from '../../src/domain/status-list.ts'
import type { ShardStore } from '../../src/redis/grant-store.ts'
import {
  ALL,
  digest,
  nextGrantId,
  ROADS,
  sampleBirth,
  sampleDecision,
  sampleHead,
  sampleMints,
  sampleStep,
  sha256,
  VAULT,
} from '../support/sample-grants.ts'

export interface StoreUnderTest {
  /** Over one empty shard. */
  readonly store: ShardStore
  readonly shard: Shard
  /** The store's own time. */
  now(): Promise<Instant>
  advance(span: Duration): Promise<void>
  /** Lets a short time pass by which events are dated as well. */
  passes(span: Duration): Promise<void>
  /** Another broker on the same data, which knows of this sequence from elsewhere. */
  another(lowWater?: number): ShardStore
  /** Takes the control record away and leaves all the rest. */
  loseControl(): Promise<void>
  /** Remembers the data as they are; the returned function puts them back, as a restored snapshot would. */
  snapshot(): Promise<() => Promise<void>>
}

export const RULES = {
  policyRevision: 3,
  policyDigest: digest('policy 3'),
  peopleRevision: 7,
  peopleDigest: digest('people 7'),
}

export async function codeOf(work: Promise<unknown>): Promise<ErrorCode | 'resolved'> {
  try {
    await work
    return 'resolved'
  } catch (thrown) {
    if (isBrokerError(thrown)) return thrown.code
    throw thrown
  }
}

export function grantStoreContract(make: () => Promise<StoreUnderTest>): void {
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

  const guard = (notAfter?: Instant) => ({ judgedUnder: control, ...(notAfter === undefined ? {} : { notAfter }) })
  const loaded = async (id: GrantId): Promise<Grant> => {
    const grant = await store.loadToEnd(id)
    if (!grant) throw new Error('the grant is not there')
    return grant
  }
  /** A stored grant in this status. */
  const stored = async (status: Status, at: Instant = now): Promise<Grant> => {
    const id = nextGrantId(shard)
    await store.commit(sampleBirth(id, at), guard())
    for (const to of ROADS[status]) await store.commit(sampleStep(await loaded(id), to, at), guard())
    return loaded(id)
  }

  describe('what keeps people from being flooded', () => {
    const sponsor = named.person('olga')
    /** A birth asked for by these persons, of this task, and its guard. */
    const asked = (task: string, more: Partial<Ask> = {}, limits = { requester: 3, owner: 5 }) => {
      const birth = sampleBirth(nextGrantId(shard), now)
      const { askers, intent } = { ...birth.grant.ask, ...more }
      const requester = named.principal(askers[0] ?? 'vera')
      const intent1 = { ...intent, requester, task }
      const ask: Ask = {
        ...birth.grant.ask,
        ...more,
        intent: intent1,
        digest: intentDigest(intent1, 'https://writ.example', sha256),
      }
      const step = { ...birth, grant: { ...birth.grant, ask } }
      const most = (of: Tally) => ('digest' in of ? 1 : 'asker' in of ? limits.requester : limits.owner)
      const bounds = tallies(ask, 'pending').map((of) => ({ of, most: most(of) }))
      return { step, ask, guard: { judgedUnder: control, bounds, denied: denials(ask, sha256) } }
    }
    type Asked = ReturnType<typeof asked>
    const file = ({ step, guard }: Asked, by = store) => by.commit(step, guard)
    const refusal = async (work: Promise<unknown>): Promise<readonly unknown[]> => {
      try {
        await work
        return ['resolved']
      } catch (thrown) {
        if (!isBrokerError(thrown)) throw thrown
        return [thrown.code, thrown.facts]
      }
    }

    it('takes no more than the bound of one person, whichever of the machines asks, at however many brokers', async () => {
      const brokers = [store, under.another(), under.another()]
      const machines = [[named.person('vera')], [named.person('vera'), sponsor], [named.person('vera')]]
      const said = await Promise.all(
        Array.from({ length: 30 }, (_, n) =>
          refusal(file(asked(`flood-${n}`, { askers: machines[n % 3] ?? [] }), brokers[n % 3])),
        ),
      )
      const [full, ...rest] = said.filter(([code]) => code !== 'resolved')
      expect(said.filter(([code]) => code === 'resolved')).toHaveLength(3)
      expect([full, new Set(rest.map(String)).size]).toEqual([['too_many_pending', { limit: 'requester', most: 3 }], 1])
      expect((await store.counts([named.tenant('northwind')])).pending).toBe(3)
      expect(await refusal(file(asked('somebody else', { askers: [named.person('victor')] })))).toEqual(['resolved'])
    })

    it('counts a machine with two who answer for it with both', async () => {
      for (const n of [1, 2, 3]) await file(asked(`of both ${n}`, { askers: [named.person('vera'), sponsor] }))
      for (const askers of [[named.person('vera')], [sponsor], [named.person('victor'), sponsor]])
        expect((await refusal(file(asked('one more', { askers }))))[0]).toBe('too_many_pending')
    })

    it('lets no more wait for one owner, and counts neither those of another owner nor what nobody is asked for', async () => {
      const of = (n: number): Partial<Ask> => ({ askers: [named.person(`person-${n}`)] })
      const said = await Promise.all(Array.from({ length: 10 }, (_, n) => refusal(file(asked(`waiting-${n}`, of(n))))))
      expect(said.filter(([code]) => code === 'resolved')).toHaveLength(5)
      const { rule } = asked('x').ask
      expect(await refusal(file(asked('one more', of(20))))).toEqual(['too_many_pending', { limit: 'owner', most: 5 }])
      const other: Ask['rule'] = rule.mode === 'people' ? { ...rule, owner: named.person('paula') } : rule
      expect(await refusal(file(asked('another owner', { ...of(21), rule: other })))).toEqual(['resolved'])
      expect(await refusal(file(asked('automatic', { ...of(22), rule: { mode: 'auto' } })))).toEqual(['resolved'])
    })

    it('has room again as soon as one is not pending any more, whatever became of it', async () => {
      const ways: readonly Status[] = ['approved', 'denied', 'withdrawn', 'lapsed']
      for (const n of [1, 2, 3]) await file(asked(`room-${n}`))
      for (const [n, to] of ways.entries()) {
        expect((await refusal(file(asked(`no room ${n}`))))[0]).toBe('too_many_pending')
        const one = await loaded((await pendingOf())[0] ?? nextGrantId(shard))
        // Also in a call for many.
        if (to === 'lapsed') await store.commitEach([sampleStep(one, to, now)])
        else await store.commit(sampleStep(one, to, now), guard())
        expect(await refusal(file(asked(`room again ${n}`)))).toEqual(['resolved'])
      }
    })
    const pendingOf = async (): Promise<readonly GrantId[]> => {
      const of: readonly Index[] = [{ tenant: named.tenant('northwind'), status: 'pending' }]
      return (await store.list({ of, limit: 100, cursor: undefined })).grants.map(({ id }) => id)
    }

    it('takes the same asking of one requester once until it is over, and names the first', async () => {
      const same = () => asked('the same', {}, { requester: 100, owner: 100 })
      const first = same()
      await file(first)
      const known = ['already_asked', { grant: first.step.grant.id }]
      const roads: readonly Status[] = ['approved', 'issuing', 'active']
      for (const to of roads) {
        expect(await refusal(file(same()))).toEqual(known)
        await store.commit(sampleStep(await loaded(first.step.grant.id), to, now), guard())
      }
      expect(await refusal(file(same()))).toEqual(known)
      await store.commit(sampleStep(await loaded(first.step.grant.id), 'ending', now))
      const said = await Promise.all(Array.from({ length: 20 }, () => refusal(file(same(), under.another()))))
      expect(said.filter(([code]) => code === 'resolved')).toHaveLength(1)
      expect(said.filter(([code]) => code === 'already_asked')).toHaveLength(19)
    })

    it('knows a denied change again when its window began at the filing, and another when it begins elsewhere', async () => {
      const at = (filedAt: Instant, opensAt: Instant): Asked => {
        const { step, ask } = asked('again')
        const window = { opensAt, closesAt: later(opensAt, minutes(60)) }
        const moved: Ask = { ...ask, filedAt, intent: { ...ask.intent, window } }
        return { ...asked('again'), step: { ...step, grant: { ...step.grant, ask: moved } }, ask: moved }
      }
      const changeOf = ({ ask }: Asked) => denials(ask, sha256)[0]?.change
      const then = later(now, minutes(5))
      expect(changeOf(at(now, now))).toEqual(changeOf(at(then, then)))
      expect(changeOf(at(now, then))).not.toEqual(changeOf(at(now, now)))
      expect(changeOf(at(now, later(now, minutes(6))))).not.toEqual(changeOf(at(now, then)))
    })

    it('lets a denied change rest for as long as the denial says, for each who was behind it and for nobody else', async () => {
      const both = { askers: [named.person('vera'), sponsor] }
      const first = asked('risky', both)
      await file(first)
      const denial = sampleStep(await loaded(first.step.grant.id), 'denied', now)
      await store.commit({ ...denial, rests: minutes(60) })
      const machine = (name: string): Asked => {
        const { step, ask } = asked('risky', { askers: [sponsor] })
        const requester = named.principal(name)
        const intent = { ...ask.intent, requester, executor: { principal: requester, key: undefined }, session: name }
        const other: Ask = { ...ask, intent }
        return {
          step: { ...step, grant: { ...step.grant, ask: other } },
          ask: other,
          guard: { judgedUnder: control, bounds: [], denied: denials(other, sha256) },
        }
      }
      for (const again of [asked('risky', both), asked('risky'), machine('bot-1'), machine('bot-2')]) {
        const [code, facts] = await refusal(file(again))
        expect([code, facts]).toEqual([
          'too_many_requests',
          { limit: 'cool_down', retryAfter: expect.toSatisfy((left: number) => left > 3_500 && left <= 3_600) },
        ])
      }
      expect(await refusal(file(asked('risky', { askers: [named.person('victor')] })))).toEqual(['resolved'])
      expect(await refusal(file(asked('another change', both)))).toEqual(['resolved'])
      await under.advance(minutes(60))
      expect(await refusal(file(asked('risky', both)))).toEqual(['resolved'])
    })

    it('lets nothing rest after a denial that does not say so', async () => {
      const first = asked('not risky')
      await file(first)
      await store.commit(sampleStep(await loaded(first.step.grant.id), 'denied', now))
      expect(await refusal(file(asked('not risky')))).toEqual(['resolved'])
    })

    it('a repeated birth is told as such, not as one too many', async () => {
      const first = asked('once', {}, { requester: 1, owner: 1 })
      await file(first)
      expect(await codeOf(file(first))).toBe('store_conflict')
    })
  })

  describe('a commit', () => {
    it('brings back exactly what was written, members that are undefined included', async () => {
      const id = nextGrantId(shard)
      const birth = sampleBirth(id, now, VAULT)
      const { seq } = await store.commit(birth, guard())
      const found = await store.load(id)
      expect(found?.grant).toStrictEqual({ ...birth.grant, born: seq })
      expect(found?.born).toBe(seq)
      expect(found?.control).toStrictEqual(control)
      const mints = sampleMints(now)
      const decisions = [sampleDecision('olivia', now), sampleDecision('paula', now)]
      const one = sampleStep(await loaded(id), 'pending', now, { decisions: decisions.slice(0, 1) })
      await store.commit(one, guard())
      const two = sampleStep(await loaded(id), 'approved', now, { decisions, head: { mints, result: { rows: '3' } } })
      await store.commit(two, guard())
      expect(await loaded(id)).toStrictEqual({ ...two.grant, recorded: 2 })
    })

    it('knows nothing of a grant that was never committed', async () => {
      expect(await store.load(nextGrantId(shard))).toBeUndefined()
      expect(await store.loadToEnd(nextGrantId(shard))).toBeUndefined()
    })

    it('lets a grant be born pending or not at all', async () => {
      for (const status of STATUSES) {
        const id = nextGrantId(shard)
        const birth = sampleBirth(id, now)
        const step = { ...birth, grant: { ...birth.grant, head: sampleHead(status, now) } as Grant }
        expect([status, await codeOf(store.commit(step, guard()))]).toEqual([
          status,
          status === 'pending' ? 'resolved' : 'wrong_status',
        ])
        expect((await store.loadToEnd(id)) === undefined).toBe(status !== 'pending')
      }
    })

    it('refuses a second birth, and a first step of a grant that is not there', async () => {
      const id = nextGrantId(shard)
      const birth = sampleBirth(id, now)
      await store.commit(birth, guard())
      expect(await codeOf(store.commit(birth, guard()))).toBe('store_conflict')
      const missing = sampleBirth(nextGrantId(shard), now).grant
      expect(await codeOf(store.commit(sampleStep(missing, 'approved', now), guard()))).toBe('store_conflict')
    })

    it('takes an edge that the table has and refuses each of the others, for all hundred pairs', async () => {
      for (const from of STATUSES) {
        for (const to of STATUSES) {
          const grant = await stored(from)
          const legal = (LIFECYCLE[from] as readonly Status[]).includes(to)
          const answer = await codeOf(store.commit(sampleStep(grant, to, now), guard()))
          expect([from, to, answer]).toEqual([from, to, legal ? 'resolved' : 'wrong_status'])
          expect((await loaded(grant.id)).head.status).toBe(legal ? to : from)
        }
      }
    })

    it('lets one of fifty concurrent claims pass', async () => {
      const grant = await stored('approved')
      const claims = Array.from({ length: 50 }, () => codeOf(store.commit(sampleStep(grant, 'issuing', now), guard())))
      const answers = await Promise.all(claims)
      expect(answers.filter((answer) => answer === 'resolved')).toHaveLength(1)
      expect(answers.filter((answer) => answer === 'store_conflict')).toHaveLength(49)
      expect(await store.events(grant.id)).toHaveLength(3)
    })

    it('refuses the very same step a second time', async () => {
      const step = sampleStep(await stored('pending'), 'approved', now)
      await store.commit(step, guard())
      expect(await codeOf(store.commit(step, guard()))).toBe('store_conflict')
      const end = sampleStep(await loaded(step.grant.id), 'withdrawn', now)
      await store.commit(end)
      expect(await codeOf(store.commit(end))).toBe('store_conflict')
    })

    it('is refused without a guard when its edge allows something, whatever the version', async () => {
      for (const edge of ALLOWING) {
        const [from, to] = edge.split('>') as [Status | 'none', Status]
        const step = from === 'none' ? sampleBirth(nextGrantId(shard), now) : sampleStep(await stored(from), to, now)
        const before = await store.loadToEnd(step.grant.id)
        const seq = (await store.read(shard))?.seq
        for (const more of from === 'none' ? [0] : [0, 1, 7]) {
          const tried = { ...step, grant: { ...step.grant, version: step.grant.version + more } as Grant }
          expect([edge, more, await codeOf(store.commit(tried))]).toEqual([edge, more, 'wrong_status'])
          expect((await store.commitEach([tried]))[0]?.receipt).toBeUndefined()
        }
        expect(await store.loadToEnd(step.grant.id)).toStrictEqual(before)
        expect((await store.read(shard))?.seq).toBe(seq)
        expect([edge, await codeOf(store.commit(step, guard()))]).toEqual([edge, 'resolved'])
      }
    })

    it('needs no guard on any other edge', async () => {
      for (const from of STATUSES) {
        for (const to of LIFECYCLE[from]) {
          if ((ALLOWING as readonly string[]).includes(`${from}>${to}`)) continue
          const step = sampleStep(await stored(from), to, now)
          expect([from, to, await codeOf(store.commit(step))]).toEqual([from, to, 'resolved'])
        }
      }
    })

    it('refuses a step that names another status than the stored one', async () => {
      const grant = await stored('approved')
      const step: Step = { ...sampleStep(grant, 'active', now), from: 'issuing' }
      expect(await codeOf(store.commit(step, guard()))).toBe('store_conflict')
    })

    it('refuses to forget a decision', async () => {
      const pending = await stored('pending')
      const decisions = [sampleDecision('olivia', now)]
      await store.commit(sampleStep(pending, 'pending', now, { decisions }), guard())
      const step = sampleStep(await loaded(pending.id), 'approved', now, { decisions: [] })
      expect(await codeOf(store.commit(step, guard()))).toBe('store_unavailable')
      expect((await loaded(pending.id)).head.status).toBe('pending')
    })

    it("is refused by the store's own clock from notAfter on, and not before", async () => {
      const late = sampleStep(await stored('approved'), 'issuing', now)
      const notAfter = later(await under.now(), seconds(10))
      expect(await codeOf(store.commit(late, guard(await under.now())))).toBe('window_closed')
      await under.advance(seconds(10))
      expect(await codeOf(store.commit(late, guard(notAfter)))).toBe('window_closed')
      expect(await codeOf(store.commit(late, guard(later(notAfter, seconds(10)))))).toBe('resolved')
    })

    it('says where it stands in one order of commits, and what was written there', async () => {
      const first = await store.commit(sampleBirth(nextGrantId(shard), now), guard())
      const birth = sampleBirth(nextGrantId(shard), now)
      const second = await store.commit(birth, guard())
      expect(second).toEqual({ shard, seq: first.seq + 1, eventHash: sha256(JSON.stringify(birth.event)) })
      expect((await store.read(shard))?.seq).toBe(second.seq)
    })

    it('is refused as stale when any one of the five judged values has moved', async () => {
      const step = sampleStep(await stored('pending'), 'approved', now)
      const moved: readonly Partial<Control>[] = [
        { policyRevision: 2 },
        { policyDigest: digest('other') },
        { peopleRevision: 8 },
        { peopleDigest: digest('other') },
        { freezeEpoch: 1 },
      ]
      for (const member of moved) {
        expect(await codeOf(store.commit(step, { judgedUnder: { ...control, ...member } }))).toBe('stale')
      }
      expect(await codeOf(store.commit(step, guard()))).toBe('resolved')
    })
  })

  describe('state, deadline and event', () => {
    it('move together: every version has its event, every deadline is due when it has passed', async () => {
      const id = nextGrantId(shard)
      await store.commit(sampleBirth(id, now), guard())
      for (const to of ['approved', 'active', 'ending', 'stuck', 'ended'] as const) {
        const before = await loaded(id)
        const step = sampleStep(before, to, now)
        await store.commit(step, guard())
        const events = await store.events(id)
        expect(events.map((event) => event.version)).toEqual(
          Array.from({ length: step.grant.version }, (_, n) => n + 1),
        )
        expect(events.at(-1)).toStrictEqual({ ...step.event, version: step.grant.version, seq: events.at(-1)?.seq })
      }
      const seqs = (await store.events(id)).map((event) => event.seq)
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
      await under.advance(minutes(600))
      expect(await store.claimDue(LOCAL_LANE, 10, seconds(30))).toEqual([])
    })

    it('leave a terminal grant without a deadline, and every other one with its own', async () => {
      const grants = await Promise.all(STATUSES.map((status) => stored(status)))
      await under.advance(minutes(600))
      const due = await store.claimDue(LOCAL_LANE, 100, seconds(30))
      const open = grants.filter((grant) => !isTerminal(grant.head.status))
      expect([...due].sort()).toEqual(open.map((grant) => grant.id).sort())
      expect(open.every((grant) => deadlineOf(grant) !== undefined)).toBe(true)
    })

    it('stay as they were when a commit is refused', async () => {
      const grant = await stored('approved')
      const events = await store.events(grant.id)
      const seq = (await store.read(shard))?.seq
      await codeOf(store.commit(sampleStep(grant, 'pending', now), guard()))
      await codeOf(store.commit(sampleStep(grant, 'issuing', now), guard(now)))
      await codeOf(store.commit(sampleStep({ ...grant, version: 9 } as Grant, 'issuing', now), guard()))
      expect(await loaded(grant.id)).toStrictEqual(grant)
      expect(await store.events(grant.id)).toEqual(events)
      expect((await store.read(shard))?.seq).toBe(seq)
    })
  })

  describe('a status list', () => {
    /** Over what edge a grant came to this status, and where it stands in the lists. */
    const placed = (grant: Grant) => {
      const place = statusPlaceOf(grant)
      if (place === undefined) throw new Error('the grant has no place')
      return place
    }
    const isListedLive = async (grant: Grant, by = store): Promise<boolean | undefined> => {
      const { list, idx } = placed(grant)
      const bits = await by.statuses.live(list)
      return bits && ((bits[idx >> 3] ?? 0) & (128 >> (idx & 7))) !== 0
    }

    it('says live of a grant in exactly the statuses in which its token may be used, whichever way it went', async () => {
      for (const from of STATUSES) {
        for (const to of LIFECYCLE[from]) {
          const grant = await stored(from)
          expect([from, (await isListedLive(grant)) ?? false]).toEqual([from, isLive(from)])
          await store.commit(sampleStep(grant, to, now), guard())
          expect([from, to, (await isListedLive(grant)) ?? false]).toEqual([from, to, isLive(to)])
        }
      }
    })

    it('changes in the very commit, at every broker, also for many ended in one call and without a guard', async () => {
      const grants = await Promise.all(Array.from({ length: 20 }, () => stored('active')))
      const stays = await stored('active')
      const [first, ...rest] = grants
      if (first === undefined) throw new Error('no grant')
      await store.commit(sampleStep(first, 'ending', now))
      const others = [under.another(), under.another()]
      expect(await Promise.all(others.map((other) => isListedLive(first, other)))).toEqual([false, false])
      expect(await isListedLive(rest[0] ?? stays)).toBe(true)
      await under.another().commitEach(rest.map((grant) => sampleStep(grant, 'ended', now)))
      for (const grant of grants) expect(await isListedLive(grant)).toBe(false)
      expect(await isListedLive(stays)).toBe(true)
    })

    it('has a place for each grant, and no two share one', async () => {
      const grants = await Promise.all(Array.from({ length: 50 }, () => stored('active')))
      const places = grants.map((grant) => `${printList(placed(grant).list)}/${placed(grant).idx}`)
      expect(new Set(places).size).toBe(50)
      expect(grants.map(({ born }) => born)).toEqual(
        await Promise.all(grants.map(async ({ id }) => (await store.events(id))[0]?.seq)),
      )
    })

    it('is there once a token may name it, is named among all, and says nothing of what was never live', async () => {
      const list = { shard, block: 0 }
      await stored('approved')
      expect([await store.statuses.live(list), await store.statuses.all()]).toEqual([undefined, []])
      const id = nextGrantId(shard)
      await store.commit(sampleBirth(id, now, VAULT), guard())
      for (const to of ROADS.active) await store.commit(sampleStep(await loaded(id), to, now), guard())
      expect([await store.statuses.live(list), await store.statuses.all()]).toEqual([undefined, []])
      const grant = await stored('active')
      expect(placed(grant).list).toEqual(list)
      expect(await store.statuses.all()).toEqual([list])
      const bits = (await store.statuses.live(list)) ?? new Uint8Array()
      expect(bits.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)).toBe(1)
    })

    it('is not there for a block that nobody was born in, nor for a shard that nobody looks after', async () => {
      await stored('active')
      expect(await store.statuses.live({ shard, block: 1 })).toBeUndefined()
      expect(await store.statuses.live({ shard: 7_777 as Shard, block: 0 })).toBeUndefined()
    })

    it('is not left as it was by a step that does not know where its grant was born', async () => {
      const grant = await stored('active')
      for (const born of [0, grant.born + 1]) {
        const step = sampleStep({ ...grant, born }, 'ended', now)
        expect(await codeOf(store.commit(step))).toBe('store_conflict')
        expect((await store.commitEach([step]))[0]?.receipt).toBeUndefined()
      }
      const approved = await stored('approved')
      expect(await codeOf(store.commit(sampleStep({ ...approved, born: 0 }, 'active', now), guard()))).toBe(
        'store_conflict',
      )
      expect([await isListedLive(grant), await isListedLive(approved)]).toEqual([true, false])
    })

    it('stays as it was when a commit is refused', async () => {
      const grant = await stored('active')
      const approved = await stored('approved')
      await codeOf(store.commit(sampleStep({ ...grant, version: 9 } as Grant, 'ended', now)))
      await codeOf(store.commit(sampleStep(approved, 'active', now), guard(now)))
      await codeOf(store.commit(sampleStep(approved, 'active', now), { judgedUnder: { ...control, freezeEpoch: 7 } }))
      expect([await isListedLive(grant), await isListedLive(approved)]).toEqual([true, false])
    })

    it('is not told while the store is recovering, and a grant that a rollback has lost is live in none', async () => {
      const kept = await stored('active')
      const back = await under.snapshot()
      const lost = await stored('active')
      await store.commit(sampleStep(kept, 'ended', now))
      await back()
      expect(await codeOf(store.statuses.live(placed(kept).list))).toBe('recovering')
      await store.accept(shard, RULES)
      expect(await isListedLive(lost)).toBe(false)
      const { head } = await loaded(kept.id)
      expect([head.status, await isListedLive(kept)]).toEqual(['active', true])
      await under.loseControl()
      expect(await codeOf(under.another().statuses.live(placed(kept).list))).toBe('recovering')
    })
  })

  describe('what is due', () => {
    it('is given to one of many callers, and to the next when the lease is over', async () => {
      const grants = await Promise.all(Array.from({ length: 30 }, () => stored('pending')))
      expect(await store.claimDue(LOCAL_LANE, 100, seconds(30))).toEqual([])
      await under.advance(minutes(31))
      const claims = await Promise.all(Array.from({ length: 10 }, () => store.claimDue(LOCAL_LANE, 7, seconds(30))))
      expect(claims.every((claim) => claim.length <= 7)).toBe(true)
      expect(claims.flat().sort()).toEqual(grants.map((grant) => grant.id).sort())
      await under.advance(seconds(29))
      expect(await store.claimDue(LOCAL_LANE, 100, seconds(30))).toEqual([])
      await under.advance(seconds(2))
      expect(await store.claimDue(LOCAL_LANE, 100, seconds(30))).toHaveLength(30)
    })

    it('comes oldest first, and from its own lane only', async () => {
      const inLane = async (filedAt: Instant) => {
        const id = nextGrantId(shard)
        await store.commit(sampleBirth(id, filedAt, VAULT), guard())
        return id
      }
      const second = await inLane(later(now, milliseconds(20)))
      const first = await inLane(later(now, milliseconds(10)))
      await stored('pending')
      await under.advance(minutes(31))
      expect(await store.claimDue('vault-main', 10, seconds(30))).toEqual([first, second])
      expect(await store.claimDue('vault-other', 10, seconds(30))).toEqual([])
      expect(await store.claimDue(LOCAL_LANE, 10, seconds(30))).toHaveLength(1)
    })

    it('is due when its deadline has come, not a moment earlier', async () => {
      const grant = await stored('pending', later(now, minutes(-30)))
      expect(deadlineOf(grant)).toBe(now)
      expect(await store.claimDue(LOCAL_LANE, 10, seconds(30))).toEqual([grant.id])
    })

    it('has the deadline of the newest step, whatever was leased before', async () => {
      const grant = await stored('active')
      await under.advance(minutes(61))
      expect(await store.claimDue(LOCAL_LANE, 10, minutes(30))).toEqual([grant.id])
      await store.commit(sampleStep(grant, 'ending', await under.now()))
      expect(await store.claimDue(LOCAL_LANE, 10, seconds(30))).toEqual([])
      await under.advance(seconds(61))
      expect(await store.claimDue(LOCAL_LANE, 10, seconds(30))).toEqual([grant.id])
    })
  })

  describe('many steps in one call', () => {
    it('are judged each alone; a refused one has no receipt', async () => {
      const good = [await stored('active'), await stored('active')]
      const ended = await stored('ended')
      const steps = [good[0], ended, good[1]].flatMap((grant) => (grant ? [sampleStep(grant, 'ended', now)] : []))
      const results = await store.commitEach(steps)
      expect(results.map((result) => result.id)).toEqual(steps.map((step) => step.grant.id))
      expect(results.map((result) => result.receipt !== undefined)).toEqual([true, false, true])
      for (const grant of good) {
        expect((await loaded(grant.id)).head.status).toBe('ended')
        const events = await store.events(grant.id)
        const receipt = results.find((result) => result.id === grant.id)?.receipt
        expect(receipt?.seq).toBe(events.at(-1)?.seq)
      }
    })

    it('may be a hundred, and the same grant twice moves once', async () => {
      const grants = await Promise.all(Array.from({ length: 99 }, () => stored('active')))
      const steps = grants.map((grant) => sampleStep(grant, 'ended', now))
      const results = await store.commitEach([...steps, ...steps.slice(0, 1)])
      expect(results.filter((result) => result.receipt).length).toBe(99)
    })
  })

  describe('what is over', () => {
    const KEEP = minutes(30)
    const OVER = STATUSES.filter(isTerminal)
    const all = () => store.retired(KEEP, 100)
    /** One grant of each final status, old enough to leave. */
    const old = async (): Promise<readonly Grant[]> => {
      const grants: Grant[] = []
      for (const status of OVER) grants.push(await stored(status))
      await under.advance(KEEP)
      return grants
    }
    const idsOf = (grants: readonly { readonly id: GrantId }[]) => grants.map(({ id }) => id).sort()

    it('is found when it has been so for as long as said, oldest first, and not before', async () => {
      const first = await stored('ended')
      await stored('active')
      await under.advance(minutes(29))
      expect(await all()).toEqual([])
      const second = await stored('denied')
      await under.advance(minutes(1))
      expect((await all()).map(({ id }) => id)).toEqual([first.id])
      await under.advance(minutes(29))
      expect((await all()).map(({ id }) => id)).toEqual([first.id, second.id])
      expect((await store.retired(KEEP, 1)).map(({ id }) => id)).toEqual([first.id])
      expect(await store.retired(KEEP, 0)).toEqual([])
    })

    it('is given whole, in the very texts that were sealed', async () => {
      const decisions = [sampleDecision('olivia', now), sampleDecision('paula', now)]
      const birth = sampleBirth(nextGrantId(shard), now, VAULT)
      const steps = [birth, sampleStep(birth.grant, 'denied', now, { decisions, head: { mints: sampleMints(now) } })]
      const receipts: Receipt[] = []
      for (const step of steps) receipts.push(await store.commit(step, guard()))
      await under.advance(KEEP)
      const [found] = await all()
      const { grant } = steps[1] as Step
      expect({ ...found, events: [] }).toEqual({
        id: grant.id,
        version: 2,
        ask: JSON.stringify(grant.ask),
        decisions: decisions.map((decision) => JSON.stringify(decision)),
        head: JSON.stringify(grant.head),
        events: [],
        uses: [],
      })
      expect(found?.events.map(({ version, seq, text }) => ({ version, seq, eventHash: sha256(text) }))).toEqual(
        receipts.map(({ seq, eventHash }, n) => ({ version: n + 1, seq, eventHash })),
      )
    })

    it('is forgotten with its events, and nothing else is', async () => {
      const open = await stored('active')
      const grants = await old()
      const young = await stored('ended')
      const kept = [await store.events(open.id), await store.events(young.id)]
      expect(idsOf(await all())).toEqual(idsOf(grants))
      expect(await store.forget(await all(), KEEP)).toBe(grants.length)
      for (const { id } of grants) {
        expect(await store.load(id)).toBeUndefined()
        expect(await store.loadToEnd(id)).toBeUndefined()
        expect(await store.events(id)).toEqual([])
      }
      expect(idsOf((await store.list({ of: ALL, limit: 100, cursor: undefined })).grants)).toEqual(idsOf([open, young]))
      const { ticket, requester, tenant } = open.ask.intent
      if (ticket === undefined) throw new Error('no ticket')
      const whose = [{ tenant }, { tenant: open.ask.requesterTenant }]
      const lasting: readonly Index[] = [{ party: requester }, ...whose.map((one) => ({ whose: one, ticket }))]
      expect(idsOf((await store.list({ of: lasting, limit: 100, cursor: undefined })).grants)).toEqual(
        idsOf([open, young]),
      )
      expect([await loaded(open.id), await loaded(young.id)]).toStrictEqual([open, young])
      expect([await store.events(open.id), await store.events(young.id)]).toEqual(kept)
      expect(await all()).toEqual([])
    })

    it('is forgotten once, whoever asks and how many at once', async () => {
      const grants = await old()
      const asked = await Promise.all([1, 2, 3].map(() => under.another().forget(grants, KEEP)))
      expect(asked.reduce((sum, one) => sum + one)).toBe(grants.length)
      expect(await store.forget(grants, KEEP)).toBe(0)
      expect(await store.forget([], KEEP)).toBe(0)
    })

    it('may be more than a hundred at once', async () => {
      const births = Array.from({ length: 120 }, () => sampleBirth(nextGrantId(shard), now))
      for (const birth of births) await store.commit(birth, guard())
      await store.commitEach(births.map(({ grant }) => sampleStep(grant, 'lapsed', now)))
      await under.advance(KEEP)
      const found = await store.retired(KEEP, 200)
      expect(found).toHaveLength(120)
      expect(await store.forget(found, KEEP)).toBe(120)
    })

    it('is not forgotten while it is young or open, or as another version than the stored one', async () => {
      const open = await stored('active')
      const [one] = await old()
      const young = await stored('ended')
      expect(await store.forget([open, young], KEEP)).toBe(0)
      for (const more of [-1, 1])
        expect(await store.forget([{ ...(one as Grant), version: (one as Grant).version + more }], KEEP)).toBe(0)
      expect(await store.forget([{ id: nextGrantId(shard), version: 1 }], KEEP)).toBe(0)
      for (const grant of [open, young, one as Grant]) {
        expect(await loaded(grant.id)).toStrictEqual(grant)
        expect(await store.events(grant.id)).toHaveLength(grant.version)
      }
    })

    it('stays where it was while the store is behind', async () => {
      const [one] = await old()
      const back = await under.snapshot()
      await stored('active')
      await back()
      expect(await codeOf(store.retired(KEEP, 100))).toBe('recovering')
      expect(await codeOf(store.forget([one as Grant], KEEP))).toBe('recovering')
      expect(await store.loadToEnd((one as Grant).id)).toStrictEqual(one)
    })

    it('is not taken for a rollback when it has been forgotten, also by a broker that knew of nothing newer', async () => {
      const grants = await old()
      const idle = under.another()
      await idle.loadToEnd((grants[0] as Grant).id)
      const newer = await stored('active')
      await store.forget(await all(), KEEP)
      expect(await codeOf(idle.claimDue(LOCAL_LANE, 1, seconds(1)))).toBe('resolved')
      expect((await idle.load(newer.id))?.grant).toStrictEqual(newer)
      expect([idle.recovering(shard), store.recovering(shard)]).toEqual([undefined, undefined])
    })

    it('leaves a rollback as noticeable as it was, when everything has been forgotten', async () => {
      await old()
      await store.forget(await all(), KEEP)
      expect((await store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toEqual([])
      expect(await codeOf(store.load(nextGrantId(shard)))).toBe('resolved')
      const back = await under.snapshot()
      await stored('active')
      await back()
      const other = under.another()
      for (let n = 0; n < 10; n++) await other.commit(sampleBirth(nextGrantId(shard), now), guard())
      expect(await codeOf(store.load(nextGrantId(shard)))).toBe('recovering')
      expect(store.recovering(shard)).toMatch(/behind/)
    })

    it('leaves again after a restore that brought it back', async () => {
      const grants = await old()
      const back = await under.snapshot()
      const before = await all()
      await store.forget(before, KEEP)
      await back()
      expect(await all()).toEqual(before)
      expect(await store.forget(grants, KEEP)).toBe(grants.length)
    })
  })

  describe('a list', () => {
    it('shows every grant once, newest first, page by page, also those filed in the same millisecond', async () => {
      const ids: GrantId[] = []
      for (const filedAt of [now, now, later(now, milliseconds(1)), now, later(now, milliseconds(2))]) {
        const id = nextGrantId(shard)
        await store.commit(sampleBirth(id, filedAt), guard())
        ids.push(id)
      }
      const seen: GrantId[] = []
      let cursor: string | undefined
      do {
        const page = await store.list({ of: ALL, limit: 2, cursor })
        expect(page.grants.length).toBeLessThanOrEqual(2)
        seen.push(...page.grants.map((grant) => grant.id))
        cursor = page.next
      } while (cursor !== undefined)
      expect(seen).toEqual([4, 2, 3, 1, 0].map((n) => ids[n]))
    })

    it('holds what is in any of the sets asked for, each once; a grant is in the set of its status and no other', async () => {
      for (const status of STATUSES) await stored(status)
      const tenant = named.tenant('northwind')
      const statusesIn = async (of: readonly Index[]) =>
        (await store.list({ of, limit: 100, cursor: undefined })).grants.map(({ head }) => head.status).sort()
      for (const status of STATUSES) expect(await statusesIn([{ tenant, status }])).toEqual([status])
      const all = [...STATUSES].sort()
      // The target's tenant, and the requester's.
      const whose = [{ tenant }, { tenant: named.tenant('acme') }]
      const lasting: readonly Index[] = [
        { party: named.principal('vera') },
        ...whose.flatMap((one) => [
          { whose: one, ticket: { system: 'desk', id: 'CHG-1' } },
          { whose: one, task: 'migrate' },
        ]),
      ]
      for (const index of lasting) expect(await statusesIn([index])).toEqual(all)
      expect(await statusesIn([...ALL, ...lasting])).toEqual(all)
      const none: readonly Index[] = [
        { tenant: named.tenant('acme'), status: 'pending' },
        { party: named.principal('olivia') },
        { whose: { tenant }, ticket: { system: 'desk', id: 'CHG-2' } },
        // The same words in another tenant, or of somebody else, are another set.
        { whose: { tenant: named.tenant('initech') }, ticket: { system: 'desk', id: 'CHG-1' } },
        { whose: { party: named.principal('olivia') }, task: 'migrate' },
        { whose: { tenant }, task: '' },
        { whose: { tenant }, session: '' },
      ]
      expect(await statusesIn(none)).toEqual([])
      expect(await store.counts([tenant, named.tenant('acme')])).toEqual(
        Object.fromEntries(STATUSES.map((status) => [status, 1])),
      )
    })

    it('holds what was filed from one time on and before another, page by page', async () => {
      const times = [0, 1, 1, 2, 3].map((n) => later(now, milliseconds(n)))
      for (const filedAt of times) await store.commit(sampleBirth(nextGrantId(shard), filedAt), guard())
      const range = { filedFrom: later(now, milliseconds(1)), filedTo: later(now, milliseconds(3)) }
      const seen: number[] = []
      let cursor: string | undefined
      do {
        const page = await store.list({ of: ALL, limit: 2, cursor, ...range })
        seen.push(...page.grants.map(({ ask }) => ask.filedAt - now))
        expect(page.places).toHaveLength(page.grants.length)
        if (page.next !== undefined) expect(page.next).toBe(page.places.at(-1))
        cursor = page.next
      } while (cursor !== undefined)
      expect(seen).toEqual([2, 1, 1])
    })

    it('goes on behind any grant of a page', async () => {
      for (let n = 0; n < 4; n += 1) await store.commit(sampleBirth(nextGrantId(shard), now), guard())
      const page = await store.list({ of: ALL, limit: 4, cursor: undefined })
      for (const [n, cursor] of page.places.entries()) {
        const rest = await store.list({ of: ALL, limit: 4, cursor })
        expect(rest.grants.map(({ id }) => id)).toEqual(page.grants.slice(n + 1).map(({ id }) => id))
      }
    })

    it('refuses a cursor that no page returned', async () => {
      expect(await codeOf(store.list({ of: ALL, limit: 2, cursor: 'x' }))).toBe('invalid_request')
      const far = `9999999999999999-${nextGrantId(shard)}`
      expect(await codeOf(store.list({ of: ALL, limit: 2, cursor: far }))).toBe('invalid_request')
    })

    it('knows nothing of a grant whose shard nobody looks after', async () => {
      const elsewhere = nextGrantId(7_777 as Shard)
      expect(await store.load(elsewhere)).toBeUndefined()
      expect(await store.loadToEnd(elsewhere)).toBeUndefined()
    })
  })

  describe('the feed', () => {
    it('tells what was committed after a place, in order, with the grant as it is now', async () => {
      const { next: start, events } = await store.feed(undefined, 10)
      expect(events).toEqual([])
      const birth = sampleBirth(nextGrantId(shard), now)
      const { seq } = await store.commit(birth, guard())
      const approved = sampleStep(birth.grant, 'approved', now)
      await store.commit(approved, guard())
      await under.advance(milliseconds(1))
      const fed = await store.feed(start, 10)
      expect(fed.events.map(({ type, version }) => [type, version])).toEqual([
        [birth.event.type, 1],
        [approved.event.type, 2],
      ])
      for (const { of } of fed.events) expect(of).toStrictEqual({ ...approved.grant, born: seq })
      expect(fed.more).toBe(false)
      const second = await store.feed(fed.events[0]?.place, 10)
      expect(second.events.map(({ version }) => version)).toEqual([2])
      expect((await store.feed(fed.next, 10)).events).toEqual([])
      const one = await store.feed(start, 1)
      expect([one.events.length, one.next, one.more]).toEqual([1, fed.events[0]?.place, true])
    })

    it('tells each event once, and from where all was read goes on at a time that is nobody’s event', async () => {
      const { next: start } = await store.feed(undefined, 10)
      const births = [1, 2, 3].map(() => sampleBirth(nextGrantId(shard), now))
      const told: string[] = []
      let place = start
      const look = async (): Promise<void> => {
        const { events, next } = await store.feed(place, 10)
        told.push(...events.map(({ grant }) => grant))
        expect(events.map((event) => event.place)).not.toContain(next)
        place = next
      }
      for (const birth of births) {
        await store.commit(birth, guard())
        await look()
        await look()
      }
      await under.advance(milliseconds(1))
      await look()
      expect(told).toEqual(births.map(({ grant }) => grant.id))
    })

    it('refuses a place that no reader was ever at', async () => {
      for (const place of ['x', '', '1-0', '0.1', `${shard}.1-0_`])
        expect([place, await codeOf(store.feed(place, 10))]).toEqual([place, 'invalid_request'])
    })
  })

  describe('the control record', () => {
    it('says what was published last, and starts with freeze epoch 0', async () => {
      expect(control).toEqual({ ...RULES, freezeEpoch: 0 })
      expect(await store.control(shard)).toEqual(control)
      const raised = { ...RULES, policyRevision: 4, policyDigest: digest('policy 4') }
      expect(await store.publish(shard, raised)).toEqual({ ...raised, freezeEpoch: 0 })
      expect((await store.read(shard))?.control.policyRevision).toBe(4)
    })

    it('is not lowered, and one revision never has two digests', async () => {
      const attempts: readonly Partial<typeof RULES>[] = [
        { policyRevision: 2 },
        { peopleRevision: 6 },
        { policyDigest: digest('other') as Digest },
        { peopleDigest: digest('other') as Digest },
      ]
      for (const attempt of attempts) {
        expect(await codeOf(store.publish(shard, { ...RULES, ...attempt }))).toBe('policy_outdated')
      }
      expect(await store.control(shard)).toEqual(control)
    })

    it('is the same after publishing the same again, without a new place in the order of commits', async () => {
      const before = await store.read(shard)
      await store.publish(shard, RULES)
      expect(await store.read(shard)).toEqual(before)
    })

    it('makes a commit judged under a former one stale', async () => {
      const step = sampleStep(await stored('pending'), 'approved', now)
      await store.publish(shard, { ...RULES, peopleRevision: 8, peopleDigest: digest('people 8') })
      expect(await codeOf(store.commit(step, guard()))).toBe('stale')
    })
  })

  describe('many grants in one look', () => {
    it('are each as a load answers it, in the order asked for, and one that is not there is undefined', async () => {
      const [first, second] = [await stored('active'), await stored('ended')]
      const missing = nextGrantId(shard)
      expect(await store.loadEach([second.id, missing, first.id])).toStrictEqual([second, undefined, first])
      expect(await store.loadEach([])).toEqual([])
    })

    it('may be any number', async () => {
      const ids = (await Promise.all(Array.from({ length: 12 }, () => stored('pending')))).map(({ id }) => id)
      const many = Array.from({ length: 250 }, (_, n) => ids[n % 12] ?? nextGrantId(shard))
      expect((await store.loadEach(many)).map((grant) => (grant as Grant | undefined)?.id)).toEqual(many)
    })

    it('prove nothing while the store is behind or without its control record', async () => {
      const back = await under.snapshot()
      const lost = await stored('active')
      await back()
      expect(await codeOf(store.loadEach([lost.id]))).toBe('recovering')
      const { store: empty, shard: fresh } = await make()
      expect(await codeOf(empty.loadEach([nextGrantId(fresh)]))).toBe('recovering')
    })
  })

  describe('a store without a control record', () => {
    it('allows nothing, says why, and is not given a record by anybody who may not make one', async () => {
      const { store: empty, shard: fresh } = await make()
      expect(await codeOf(empty.load(nextGrantId(fresh)))).toBe('recovering')
      expect(await codeOf(empty.control(fresh))).toBe('recovering')
      expect(await codeOf(empty.commit(sampleBirth(nextGrantId(fresh), now), guard()))).toBe('recovering')
      expect(await empty.read(fresh)).toBeUndefined()
      expect(await codeOf(empty.publish(fresh, RULES))).toBe('recovering')
      expect(empty.recovering(fresh)).toMatch(/control record/)
      await empty.publish(fresh, RULES, true)
      expect(empty.recovering(fresh)).toBeUndefined()
    })

    it('goes on ending, and ending makes no record', async () => {
      const grant = await stored('active')
      await under.loseControl()
      const ending = under.another()
      await ending.commit(sampleStep(grant, 'ending', now))
      expect((await ending.loadToEnd(grant.id))?.head.status).toBe('ending')
      expect(await ending.read(shard)).toBeUndefined()
      expect(await codeOf(ending.publish(shard, RULES, true))).toBe('recovering')
      expect(await codeOf(ending.load(grant.id))).toBe('recovering')
    })
  })

  describe('a store that was rolled back', () => {
    const rolledBack = async () => {
      const kept = await stored('active')
      const back = await under.snapshot()
      const lost = await stored('active')
      await back()
      return { kept, lost }
    }

    it('allows nothing from then on, and goes on ending', async () => {
      const { kept, lost } = await rolledBack()
      expect(await codeOf(store.load(kept.id))).toBe('recovering')
      expect(store.recovering(shard)).toMatch(/behind/)
      expect(await codeOf(store.control(shard))).toBe('recovering')
      expect(await codeOf(store.commit(sampleBirth(nextGrantId(shard), now), guard()))).toBe('recovering')
      expect(await store.loadToEnd(lost.id)).toBeUndefined()
      expect((await store.loadToEnd(kept.id))?.head.status).toBe('active')
      await under.advance(minutes(61))
      expect(await store.claimDue(LOCAL_LANE, 10, seconds(30))).toEqual([kept.id])
      expect(await codeOf(store.commit(sampleStep(kept, 'ending', now)))).toBe('resolved')
    })

    it('is noticed by the allowing commit itself, before anything is written', async () => {
      const { kept } = await rolledBack()
      expect(await codeOf(store.commit(sampleStep(kept, 'active', now), guard()))).toBe('recovering')
      expect(await loaded(kept.id)).toStrictEqual(kept)
    })

    it('is noticed also when other brokers have counted further since', async () => {
      const { kept } = await rolledBack()
      const other = under.another()
      let grant = kept
      for (let n = 0; n < 10; n++) {
        await other.commit(sampleStep(grant, 'active', now))
        grant = (await other.loadToEnd(kept.id)) ?? grant
      }
      expect(await codeOf(store.load(kept.id))).toBe('recovering')
    })

    it('is noticed by a newcomer who hears how far it had come', async () => {
      const kept = await stored('active')
      const newcomer = under.another()
      const seq = (await newcomer.read(shard))?.seq ?? 0
      newcomer.heard(shard, seq)
      expect(await codeOf(newcomer.load(kept.id))).toBe('resolved')
      newcomer.heard(shard, seq + 1)
      expect(await codeOf(newcomer.loadEach([kept.id]))).toBe('recovering')
      await newcomer.accept(shard, RULES)
      expect(await codeOf(newcomer.load(kept.id))).toBe('resolved')
    })

    it('is noticed at start, by what is on record outside the store', async () => {
      const { kept } = await rolledBack()
      const seq = (await under.another().read(shard))?.seq ?? 0
      expect(await codeOf(under.another(seq + 1).load(kept.id))).toBe('recovering')
      expect(await codeOf(under.another(seq).load(kept.id))).toBe('resolved')
    })

    it('stays so until an operator accepts it, whatever it counts up to; then it goes on above all that was seen', async () => {
      const { kept } = await rolledBack()
      await codeOf(store.load(kept.id))
      let grant = kept
      for (let n = 0; n < 10; n++) {
        await store.commit(sampleStep(grant, 'active', now))
        grant = await loaded(kept.id)
      }
      expect(await codeOf(store.load(kept.id))).toBe('recovering')
      const before = (await under.another().read(shard))?.seq ?? 0
      const accepted = await store.accept(shard, RULES)
      expect(accepted.seq).toBeGreaterThan(before)
      expect(store.recovering(shard)).toBeUndefined()
      expect((await store.load(kept.id))?.grant).toStrictEqual(grant)
      const step = sampleStep(grant, 'active', now)
      expect(await codeOf(store.commit(step, guard()))).toBe('stale')
      expect(await codeOf(store.commit(step, { judgedUnder: accepted.control }))).toBe('resolved')
    })

    it('gets its control record back by acceptance, under a later freeze epoch', async () => {
      const other = await make()
      const empty = await other.snapshot()
      await other.store.publish(other.shard, RULES, true)
      const id = nextGrantId(other.shard)
      await other.store.commit(sampleBirth(id, now), { judgedUnder: control })
      await empty()
      expect(await codeOf(other.store.load(id))).toBe('recovering')
      const accepted = await other.store.accept(other.shard, RULES)
      expect(accepted.control).toEqual({ ...RULES, freezeEpoch: 1 })
      expect(await other.store.load(id)).toBeUndefined()
    })

    it('is not intact where a commit is missing that this broker knows of, and is where the record alone is gone', async () => {
      const id = (await stored('active')).id
      await store.load(id)
      await under.loseControl()
      expect(await codeOf(store.load(id))).toBe('recovering')
      expect(await store.recovery(shard)).toMatchObject({ intact: true, clearing: undefined })
      control = (await store.accept(shard, RULES)).control
      expect(await store.recovery(shard)).toMatchObject({ intact: true, reason: undefined, floor: 0 })
      const restore = await under.snapshot()
      await stored('pending')
      await restore()
      const found = await store.recovery(shard)
      expect(found).toMatchObject({ intact: false, reason: expect.stringMatching(/behind/) })
      expect(found.seen).toBeGreaterThan(found.here)
    })

    it('allows nothing at any broker while it is cleared, and each that noticed goes on by itself when that is over', async () => {
      const { kept } = await rolledBack()
      // One that has seen as much, one that has seen more, and one that has seen nothing.
      const [noticed, ahead, fresh] = [under.another(kept.version + 100), under.another(5_000), under.another()]
      for (const one of [store, noticed, ahead]) expect(await codeOf(one.load(kept.id))).toBe('recovering')
      expect(await codeOf(fresh.load(kept.id))).toBe('resolved')
      const begun = await store.clear(shard, 'the first')
      expect(await store.clear(shard, 'again')).toEqual(begun)
      for (const one of [store, noticed, ahead, fresh]) {
        expect(await one.recovery(shard)).toMatchObject({ clearing: 'the first', floor: begun.floor })
        expect(one.recovering(shard)).toMatch(/restored/)
        expect(await codeOf(one.load(kept.id))).toBe('recovering')
        expect(await codeOf(one.control(shard))).toBe('recovering')
        expect(await codeOf(one.publish(shard, RULES, true))).toBe('recovering')
        expect(await codeOf(one.commit(sampleStep(kept, 'active', now), guard()))).toBe('recovering')
        expect((await one.loadToEnd(kept.id))?.id).toBe(kept.id)
      }
      expect(await codeOf(store.accept(shard, RULES))).toBe('store_conflict')
      expect(await codeOf(store.accept(shard, RULES, begun.floor - 1))).toBe('store_conflict')
      // The rules that were in force stay so, whatever older ones a broker would bring.
      const older = { ...RULES, policyRevision: RULES.policyRevision - 1 }
      const accepted = await fresh.accept(shard, older, begun.floor)
      expect(accepted.control).toMatchObject(RULES)
      expect(accepted.control.freezeEpoch).toBeGreaterThan(control.freezeEpoch)
      expect(accepted.seq).toBeGreaterThan(begun.floor)
      for (const [n, one] of [store, noticed, ahead, fresh].entries()) {
        expect(await one.recovery(shard)).toMatchObject({ clearing: undefined, recovered: 'the first' })
        expect([n, await codeOf(one.load(kept.id))]).toEqual([n, 'resolved'])
      }
    })

    it('that is lost once more is noticed once more', async () => {
      const { kept } = await rolledBack()
      await codeOf(store.load(kept.id))
      const { floor } = await store.clear(shard, 'the first')
      await store.accept(shard, RULES, floor)
      control = await store.control(shard)
      const restore = await under.snapshot()
      await stored('active')
      await restore()
      expect(await store.recovery(shard)).toMatchObject({ intact: false, reason: expect.stringMatching(/behind/) })
      expect((await store.clear(shard, 'the second')).floor).toBeGreaterThan(floor)
    })

    it('names every grant that was born, in order, and nothing else, also while it is cleared', async () => {
      const born = []
      for (const status of ['active', 'pending', 'ended', 'approved'] as const) born.push((await stored(status)).id)
      await store.clear(shard, 'why')
      const found: GrantId[] = []
      let place = ''
      for (let more = true; more; ) {
        const page = await store.born(shard, place, 2)
        found.push(...page.ids)
        place = page.next
        more = page.more
      }
      expect(found).toEqual(born)
      expect(await store.born(shard, place, 10)).toEqual({ ids: [], next: place, more: false })
    })

    it('is not suspected because answers overtake each other', async () => {
      const grants: Grant[] = []
      for (let n = 0; n < 40; n++) grants.push(await stored('active'))
      const work = Array.from({ length: 40 }, async (_, n) => {
        const id = nextGrantId(shard)
        if (n % 4 === 0) return store.commit(sampleBirth(id, now), guard())
        if (n % 4 === 1) return store.commit(sampleStep(grants[n] as Grant, 'active', now))
        if (n % 4 === 2) return store.claimDue(LOCAL_LANE, 5, seconds(1))
        return store.load(id)
      })
      await Promise.all(work)
      expect(store.recovering(shard)).toBeUndefined()
    })
  })
}
