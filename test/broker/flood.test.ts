// Nobody who decides is flooded: so many pending per requester and per owner, the same asking once, and what was denied rests. The store's
// contract shows that no race passes a bound; this shows which askings count, for whom, and what a requester is told.
import { describe, expect, it } from 'vitest'
import type { Asking } from '../../src/broker/request.ts'
import { isBrokerError } from '../../src/domain/errors.ts'
import type { FloodLimits } from '../../src/domain/flood.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { type GrantId, named, type Thumbprint } from '../../src/domain/ids.ts'
import { minutes, seconds } from '../../src/domain/instant.ts'
import { codeOf } from '../support/code-of.ts'
import { ALL } from '../support/sample-grants.ts'
import { asking, KEY, login, triage, type World, world } from '../support/world.ts'

const LIMITS: FloodLimits = { maxPendingPerRequester: 5, maxPendingPerOwner: 50, deniedRests: minutes(60) }
async function limited(flood: Partial<FloodLimits> = {}) {
  const w = await world()
  return { w, verbs: w.another({ flood: { ...LIMITS, ...flood } }) }
}
type Verbs = Awaited<ReturnType<typeof limited>>['verbs']
const deny = { verdict: 'deny', reason: 'not like this', digest: undefined } as const
const approve = { verdict: 'approve', reason: 'fine', digest: undefined } as const
const refusal = async (work: Promise<unknown>) => {
  try {
    await work
  } catch (thrown) {
    if (isBrokerError(thrown)) return { code: thrown.code, facts: thrown.facts, next: thrown.nextAction }
    throw thrown
  }
  throw new Error('accepted')
}
const report = (w: World, part: Partial<Asking> = {}): Asking =>
  asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'], ...part })
const pending = async (w: World): Promise<number> => (await w.store.counts([named.tenant('northwind')])).pending

describe('too many at a time', () => {
  it('are refused to a person, who is told the limit and what to do; one decided or withdrawn makes room', async () => {
    const { w, verbs } = await limited()
    const filed: Grant[] = []
    for (let n = 0; n < 5; n += 1) filed.push((await verbs.request(w.as('vera'), login(w.now()))).grant)
    const [first, second, third] = filed.map(({ id }) => id)
    if (first === undefined || second === undefined || third === undefined) throw new Error('not filed')
    const told = await refusal(verbs.request(w.as('vera'), login(w.now())))
    expect([told.code, told.facts]).toEqual(['too_many_pending', { limit: 'requester', most: 5 }])
    expect(told.next).toContain('withdraw')
    const ways: (() => Promise<unknown>)[] = [
      () => verbs.decide(w.as('olivia'), first, approve),
      () => verbs.decide(w.as('olivia'), second, deny),
      () => verbs.withdraw(w.as('vera'), third, ''),
    ]
    for (const way of ways) {
      await way()
      expect(await codeOf(verbs.request(w.as('vera'), login(w.now())))).toBe('accepted')
      expect(await codeOf(verbs.request(w.as('vera'), login(w.now())))).toBe('too_many_pending')
    }
    expect(await pending(w)).toBe(5)
  })

  it('are refused to all machines of one person together', async () => {
    const { w, verbs } = await limited({ maxPendingPerRequester: 2 })
    const agent = w.as('triage-agent', { key: KEY })
    for (let n = 0; n < 2; n += 1) await verbs.request(agent, triage(w.now()))
    expect(await codeOf(verbs.request(agent, triage(w.now())))).toBe('too_many_pending')
    const [sponsor] = (await pendingOf(w))[0]?.ask.askers ?? []
    expect(sponsor).toBe('sam')
    // Sam answers for the agent: what it has asked for counts as his; what nobody is asked about does not count.
    expect(await codeOf(verbs.request(w.as('sam'), report(w)))).toBe('accepted')
  })

  it('are refused to everybody where they would wait for one owner', async () => {
    const { w, verbs } = await limited({ maxPendingPerOwner: 3 })
    for (let n = 0; n < 3; n += 1) await verbs.request(w.as('vera'), login(w.now()))
    const told = await refusal(verbs.request(w.as('vera'), login(w.now())))
    expect([told.code, told.facts]).toEqual(['too_many_pending', { limit: 'owner', most: 3 }])
    // Another owner's queue is another one.
    expect(await codeOf(verbs.request(w.as('triage-agent', { key: KEY }), triage(w.now())))).toBe('accepted')
  })

  it('leave no part of an asking behind that had room before the part that had none', async () => {
    const { w, verbs } = await limited({ maxPendingPerRequester: 2 })
    await verbs.request(w.as('vera'), login(w.now()))
    const one = login(w.now())
    const more = [{ ...one, dataTypes: ['sales-figures'] }]
    expect(await codeOf(verbs.request(w.as('vera'), { ...one, more }))).toBe('too_many_pending')
    expect(await pending(w)).toBe(1)
  })

  it('under a key stay, and the repetition files the rest once there is room', async () => {
    const { w, verbs } = await limited({ maxPendingPerRequester: 2 })
    const before = (await verbs.request(w.as('vera'), login(w.now()))).grant
    const one = login(w.now())
    const asked = { ...one, more: [{ ...one, dataTypes: ['sales-figures'] }] }
    const once = () => verbs.request(w.as('vera'), asked, 'the-key-of-two')
    expect(await codeOf(once())).toBe('too_many_pending')
    await verbs.withdraw(w.as('vera'), before.id, '')
    const { grant } = await once()
    expect([grant.head.status, grant.ask.linked.length, await pending(w)]).toEqual(['pending', 1, 2])
  })

  it('are not made by what the policy approves by itself: it does not stay pending', async () => {
    const { w, verbs } = await limited()
    for (let n = 0; n < 8; n += 1) {
      const { grant } = await verbs.request(w.as('dana'), report(w))
      expect(grant.head.status).toBe('approved')
    }
  })

  it('at the same moment at several brokers are refused above the bound', async () => {
    const { w } = await limited()
    const said = await Promise.all(
      Array.from({ length: 40 }, () => codeOf(w.another({ flood: LIMITS }).request(w.as('vera'), login(w.now())))),
    )
    expect(said.filter((word) => word === 'accepted')).toHaveLength(5)
    expect(await pending(w)).toBe(5)
  })
})

const pendingOf = async (w: World): Promise<readonly Grant[]> =>
  (await w.store.list({ of: ALL, limit: 100, cursor: undefined })).grants.filter(
    ({ head }) => head.status === 'pending',
  )

describe('the same asking', () => {
  it('is refused until the first is over, and told which that is', async () => {
    const { w, verbs } = await limited()
    const asked = login(w.now())
    const again = (): ReturnType<Verbs['request']> => {
      w.advance(seconds(1))
      return verbs.request(w.as('vera'), asked)
    }
    const { grant } = await again()
    const known = { code: 'already_asked', facts: { grant: grant.id } }
    expect(await refusal(again())).toMatchObject(known)
    await verbs.decide(w.as('olivia'), grant.id, approve)
    expect(await refusal(again())).toMatchObject(known)
    await verbs.exchange(w.as('vera'), grant.id)
    expect(await refusal(again())).toMatchObject(known)
    await verbs.complete(w.as('vera'), grant.id, {})
    expect(await codeOf(again())).toBe('accepted')
  })

  it('is filed where it names the first as the one it replaces', async () => {
    const { w, verbs } = await limited()
    const asked = login(w.now())
    const { grant } = await verbs.request(w.as('vera'), asked)
    const { grant: next } = await verbs.request(w.as('vera'), { ...asked, replaces: grant.id })
    expect([next.head.status, next.ask.digest]).toEqual(['pending', grant.ask.digest])
    expect((await w.store.loadToEnd(grant.id))?.head.status).toBe('withdrawn')
  })

  it('under its key is the same grant again, and no refusal', async () => {
    const { w, verbs } = await limited({ maxPendingPerRequester: 1 })
    const asked = login(w.now())
    const first = await verbs.request(w.as('vera'), asked, 'the-key-of-one')
    expect(await verbs.request(w.as('vera'), asked, 'the-key-of-one')).toMatchObject({
      again: true,
      grant: { id: first.grant.id },
    })
    expect(await codeOf(verbs.request(w.as('vera'), asked))).toBe('too_many_pending')
  })

  it('is another one from another run, with another key, of another requester, or where nobody is asked', async () => {
    const { w, verbs } = await limited()
    const asked = triage(w.now())
    const agent = (key: string, session: string) => w.as('triage-agent', { key: key.repeat(43) as Thumbprint, session })
    for (const caller of [agent('k', 'run-1'), agent('k', 'run-2'), agent('l', 'run-2')])
      expect(await codeOf(verbs.request(caller, asked))).toBe('accepted')
    expect(await codeOf(verbs.request(agent('k', 'run-1'), asked))).toBe('already_asked')
    const read = report(w)
    for (const who of ['dana', 'dana', 'sam']) expect(await codeOf(verbs.request(w.as(who), read))).toBe('accepted')
  })
})

describe('what was denied', () => {
  const denied = async (w: World, verbs: Verbs, asked: Asking): Promise<GrantId> => {
    const { grant } = await verbs.request(w.as('vera'), asked)
    await verbs.decide(w.as('olivia'), grant.id, deny)
    return grant.id
  }

  it('rests for its hour, also for the person’s agents and with another text; another change does not', async () => {
    const { w, verbs } = await limited()
    const asked = { ...login(w.now()), window: { duration: minutes(30) } }
    const id = await denied(w, verbs, asked)
    w.advance(minutes(1))
    const texts = { ...asked.texts, summary: 'Please' }
    for (const again of [asked, { ...asked, texts }, { ...asked, replaces: id }]) {
      const told = await refusal(verbs.request(w.as('vera'), again))
      expect([told.code, told.facts]).toEqual(['too_many_requests', { limit: 'cool_down', retryAfter: 59 * 60 }])
    }
    expect(await codeOf(verbs.request(w.as('vera'), { ...asked, task: 'smaller steps', replaces: id }))).toBe(
      'accepted',
    )
    w.advance(minutes(59))
    expect(await codeOf(verbs.request(w.as('vera'), asked))).toBe('accepted')
  })

  it('by the SOC rests too; what its requester ended by revoking it does not', async () => {
    const { w, verbs } = await limited()
    const asked = login(w.now())
    const own = (await verbs.request(w.as('vera'), asked)).grant
    expect((await verbs.revoke(w.as('vera'), own.id, 'a mistake')).head.status).toBe('denied')
    const { grant } = await verbs.request(w.as('vera'), asked)
    expect((await verbs.revoke(w.as('sol'), grant.id, 'alarm')).head.status).toBe('denied')
    expect(await codeOf(verbs.request(w.as('vera'), asked))).toBe('too_many_requests')
  })

  it('withdrawn or lapsed instead does not rest', async () => {
    const { w, verbs } = await limited()
    const asked = login(w.now())
    await verbs.withdraw(w.as('vera'), (await verbs.request(w.as('vera'), asked)).grant.id, '')
    expect(await codeOf(verbs.request(w.as('vera'), asked))).toBe('accepted')
  })
})
