// What filing promises beyond one grant: an asking under a key is filed once whoever dies in between, a replaced grant is gone before the
// new one is there, linked grants are judged together, and a dry run says what filing would, and does nothing.
import { describe, expect, it } from 'vitest'
import { broker } from '../../src/broker/broker.ts'
import type { Asking } from '../../src/broker/request.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { type GrantId, named, type Thumbprint } from '../../src/domain/ids.ts'
import { hours, minutes, seconds } from '../../src/domain/instant.ts'
import { codeOf } from '../support/code-of.ts'
import { dyingPorts } from '../support/crash.ts'
import { ALL } from '../support/sample-grants.ts'
import { asking, KEY, login, policyWith, triage, type World, world } from '../support/world.ts'

const everything = async (w: World): Promise<readonly Grant[]> =>
  (await w.store.list({ of: ALL, limit: 100, cursor: undefined })).grants
const statuses = async (w: World): Promise<readonly string[]> =>
  (await everything(w)).map(({ ask, head }) => `${ask.intent.entitlement} ${head.status}`).sort()
const ONCE = 'the-key-of-one-asking'
const report = (w: World, part: Partial<Asking> = {}): Asking =>
  asking(w.now(), {
    entitlement: named.entitlement('sales-report'),
    actions: ['report.read'],
    scope: ['report:sales'],
    ...part,
  })
const part = (entitlement: string, action: string, scope: readonly string[] = []) => ({
  entitlement: named.entitlement(entitlement),
  actions: [action],
  scope,
  dataTypes: [],
  destination: '',
  uses: 1,
})

describe('an asking under a key', () => {
  it('is one grant however often it is sent, and is answered as it is by then', async () => {
    const w = await world()
    const asked = login(w.now())
    const first = await w.broker.request(w.as('vera'), asked, ONCE)
    expect(first.again).toBe(false)
    w.advance(minutes(5))
    await w.broker.decide(w.as('olivia'), first.grant.id, { verdict: 'approve', reason: '', digest: undefined })
    const second = await w.broker.request(w.as('vera'), asked, ONCE)
    expect(second).toMatchObject({ again: true, grant: { id: first.grant.id, head: { status: 'approved' } } })
    expect(await everything(w)).toHaveLength(1)
  })

  it('is one grant when twenty brokers are asked at the same moment', async () => {
    const w = await world()
    const asked = login(w.now())
    const askings = Array.from({ length: 20 }, () => w.another().request(w.as('vera'), asked, ONCE))
    const filed = await Promise.all(askings)
    expect(new Set(filed.map(({ grant }) => grant.id)).size).toBe(1)
    expect(filed.filter(({ again }) => !again)).toHaveLength(1)
    expect(await everything(w)).toHaveLength(1)
  })

  it('with a window by duration opens when it was filed first, not when it was repeated', async () => {
    const w = await world()
    const asked = { ...login(w.now()), window: { duration: minutes(30) } }
    const first = await w.file(w.as('vera'), asked, ONCE)
    w.advance(minutes(10))
    const second = await w.file(w.as('vera'), asked, ONCE)
    expect(second.id).toBe(first.id)
    expect(second.ask.intent.window).toEqual(first.ask.intent.window)
  })

  it.each<[string, Partial<Asking>]>([
    ['task', { task: 'another' }],
    ['summary', { texts: { ...login(0 as never).texts, summary: 'another' } }],
    ['uses', { uses: 2 }],
    ['window', { window: { duration: hours(1) } }],
    ['impact', { impact: { ...login(0 as never).impact, resilience: true } }],
    ['further entitlement', { more: [part('sales-report', 'report.read')] }],
  ])('is refused with another %s, and nothing is filed', async (_, changed) => {
    const w = await world()
    const asked = login(w.now())
    await w.file(w.as('vera'), asked, ONCE)
    expect(await codeOf(w.file(w.as('vera'), { ...asked, ...changed }, ONCE))).toBe('idempotency_mismatch')
    expect(await everything(w)).toHaveLength(1)
  })

  it('is refused with another key of the caller or from another run: the grant is bound to the first', async () => {
    const w = await world()
    const agent = (more: object) => w.as('triage-agent', { key: KEY, session: 'run-1', ...more })
    const asked = triage(w.now())
    await w.file(agent({}), asked, ONCE)
    expect(await codeOf(w.file(agent({ key: 'x'.repeat(43) as Thumbprint }), asked, ONCE))).toBe('idempotency_mismatch')
    expect(await codeOf(w.file(agent({ session: 'run-2' }), asked, ONCE))).toBe('idempotency_mismatch')
    expect((await w.broker.request(agent({}), asked, ONCE)).again).toBe(true)
  })

  it('is somebody else’s own under the same key', async () => {
    const w = await world()
    const ids = await Promise.all(['dana', 'sam'].map(async (who) => (await w.file(w.as(who), report(w), ONCE)).id))
    expect(new Set(ids).size).toBe(2)
  })

  it('is answered though the policy would refuse it by now', async () => {
    const w = await world()
    const asked = login(w.now())
    const first = await w.file(w.as('vera'), asked, ONCE)
    const stricter = policyWith(
      ['revision: 1', 'revision: 2'],
      [
        'limits: { maxDuration: 4h, horizon: 14d, maxUses: 1 }',
        'limits: { maxDuration: 5m, horizon: 14d, maxUses: 1 }',
      ],
    )
    await w.publish({ policy: stricter })
    expect((await w.file(w.as('vera'), asked, ONCE)).id).toBe(first.id)
    expect(await codeOf(w.file(w.as('vera'), asked))).toBe('policy_refused')
  })

  it('and approved by the policy is approved by the repetition, if the first try died in between', async () => {
    const w = await world()
    const asked = report(w)
    for (let n = 1; ; n += 1) {
      const fresh = await world()
      const { ports, hasDied } = dyingPorts(fresh.ports, n, 'after')
      await broker(ports)
        .request(fresh.as('dana'), asked, ONCE)
        .catch(() => undefined)
      if (!hasDied()) break
      const again = await fresh.broker.request(fresh.as('dana'), asked, ONCE)
      expect([n, again.grant.head.status]).toEqual([n, 'approved'])
      expect(await everything(fresh)).toHaveLength(1)
    }
  })

  it('for several entitlements is finished by the repetition, at whichever effect the first try died', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let n = 1; ; n += 1) {
        const w = await world()
        const asked = report(w, { more: [part('sales-report', 'report.read'), part('sales-report', 'report.read')] })
        const { ports, hasDied } = dyingPorts(w.ports, n, when)
        await broker(ports)
          .request(w.as('dana'), asked, ONCE)
          .catch(() => undefined)
        if (!hasDied()) break
        w.advance(seconds(2))
        const first = await w.file(w.as('dana'), asked, ONCE)
        const all = await everything(w)
        expect([n, all.length, new Set(all.map(({ ask }) => ask.intent.window.closesAt)).size]).toEqual([n, 3, 1])
        expect(new Set([first.id, ...first.ask.linked])).toEqual(new Set(all.map(({ id }) => id)))
      }
    }
  })
})

describe('a grant asked for instead of another', () => {
  const asked = (w: World, old: GrantId) => ({ ...login(w.now()), task: 'the corrected one', replaces: old })

  it('takes the place of one that is pending, approved, denied, lapsed or withdrawn; no vote carries over', async () => {
    const w = await world()
    const make: Record<string, () => Promise<Grant>> = {
      pending: () => w.file(w.as('vera'), login(w.now())),
      approved: () => w.approvedLogin(),
      denied: async () => {
        const grant = await w.file(w.as('vera'), login(w.now()))
        return w.broker.decide(w.as('olivia'), grant.id, { verdict: 'deny', reason: 'no', digest: undefined })
      },
      withdrawn: async () => w.broker.withdraw(w.as('vera'), (await w.approvedLogin()).id, 'a mistake'),
    }
    for (const [status, old] of Object.entries(make)) {
      const before = await old()
      const grant = await w.file(w.as('vera'), { ...asked(w, before.id), task: `instead of the ${status}` })
      expect([status, grant.head.status, grant.decisions, grant.ask.replaces]).toEqual([
        status,
        'pending',
        [],
        before.id,
      ])
      const now = await w.store.loadToEnd(before.id)
      expect(now?.head.status).toBe(status === 'denied' ? 'denied' : 'withdrawn')
      if (status === 'pending' && now?.head.status === 'withdrawn')
        expect(now.head.facts.reason).toBe(`replaced by ${grant.id}`)
    }
  })

  it('is refused where the old one has been exchanged, and nothing is filed', async () => {
    const w = await world()
    const old = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), old.id)
    expect(await codeOf(w.file(w.as('vera'), asked(w, old.id)))).toBe('wrong_status')
    expect(await everything(w)).toHaveLength(1)
  })

  it('leaves the old one alone where the new one is refused, or the old one is somebody else’s', async () => {
    const w = await world()
    const old = await w.approvedLogin()
    expect(await codeOf(w.file(w.as('vera'), { ...asked(w, old.id), uses: 99 }))).toBe('policy_refused')
    const token = await w.approvedToken()
    expect(await codeOf(w.file(w.as('vera'), asked(w, token.id)))).toBe('grant_not_found')
    const missing = `${token.id.slice(0, -3)}777` as GrantId
    expect(await codeOf(w.file(w.as('vera'), asked(w, missing)))).toBe('grant_not_found')
    expect(await codeOf(w.broker.explain(w.as('vera'), asked(w, token.id)))).toBe('grant_not_found')
    expect(await statuses(w)).toEqual(['payments-migrator approved', 'ticket-triage approved'])
  })

  it('never stands beside the old one, at whichever effect the broker dies', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let n = 1; ; n += 1) {
        const w = await world()
        const old = await w.approvedLogin()
        const again = asked(w, old.id)
        const { ports, hasDied } = dyingPorts(w.ports, n, when)
        await broker(ports)
          .request(w.as('vera'), again, ONCE)
          .catch(() => undefined)
        const open = (await everything(w)).filter(({ head }) => ['pending', 'approved'].includes(head.status))
        expect([n, open.length <= 1]).toEqual([n, true])
        await w.file(w.as('vera'), again, ONCE)
        expect([n, await statuses(w)]).toEqual([n, ['payments-migrator pending', 'payments-migrator withdrawn']])
        if (!hasDied()) break
      }
    }
  })
})

describe('one asking for several entitlements', () => {
  it('is a grant each, which name each other and are decided each for itself', async () => {
    const w = await world()
    await w.file(w.as('dana'), report(w, { more: [part('sales-report', 'report.read')] }))
    const all = await everything(w)
    expect(all.map(({ head }) => head.status)).toEqual(['approved', 'approved'])
    for (const grant of all) expect([...grant.ask.linked, grant.id].sort()).toEqual(all.map(({ id }) => id).sort())
    expect(all.map(({ ask }) => ask.intent.scope.join()).sort()).toEqual(['', 'report:sales'])
  })

  it('files each of them once when the rules change between two of them', async () => {
    const w = await world()
    let moved = false
    const verbs = w.another({
      grants: {
        ...w.store,
        commit: async (step, guard) => {
          const receipt = await w.store.commit(step, guard)
          if (!moved) await w.publish({ policy: policyWith(['revision: 1', 'revision: 2']) })
          moved = true
          return receipt
        },
      },
    })
    const asked = report(w, { more: [part('sales-report', 'report.read')] })
    const { grant, again } = await verbs.request(w.as('dana'), asked)
    const all = await everything(w)
    expect([all.length, again, [grant.id, ...grant.ask.linked].sort()]).toEqual([
      2,
      false,
      all.map(({ id }) => id).sort(),
    ])
    expect(new Set(all.map(({ ask }) => ask.policy.revision))).toEqual(new Set([1, 2]))
  })

  it('files none of them when one of them is refused', async () => {
    const w = await world()
    const more = [part('sales-report', 'report.read'), part('no-such-thing', 'x')]
    expect(await codeOf(w.file(w.as('dana'), report(w, { more })))).toBe('policy_refused')
    expect(await everything(w)).toEqual([])
  })
})

describe('a dry run', () => {
  it('says tier, needs, who could decide and until when, and writes nothing', async () => {
    const w = await world()
    const asked = login(w.now())
    const [explained] = await w.broker.explain(w.as('vera'), asked)
    expect(explained).toMatchObject({ auto: false, couldDecide: 1, reasons: ['tier elevated', 'needs owner'] })
    const filed = await w.file(w.as('vera'), asked)
    expect(explained?.digest).toBe(filed.ask.digest)
    expect(explained?.decideBy).toBe(filed.ask.decideBy)
    expect(await everything(w)).toHaveLength(1)
    expect((await w.broker.explain(w.as('dana'), report(w)))[0]).toMatchObject({ auto: true, couldDecide: 0 })
  })

  it('refuses what filing refuses, with the same code', async () => {
    const w = await world()
    const bad: Asking[] = [
      { ...login(w.now()), uses: 99 },
      { ...login(w.now()), executor: named.principal('ghost') },
      { ...login(w.now()), ticket: undefined },
    ]
    for (const one of bad) {
      const code = await codeOf(w.broker.explain(w.as('vera'), one))
      expect(code).not.toBe('accepted')
      expect(await codeOf(w.file(w.as('vera'), one))).toBe(code)
    }
    expect(await everything(w)).toEqual([])
  })
})

describe('a vote', () => {
  it('that is repeated word for word because its answer was lost is no second vote; another one is', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    const vote = { verdict: 'approve', reason: 'fine', digest: undefined } as const
    await w.broker.decide(w.as('olivia'), grant.id, vote)
    const again = await w.broker.decide(w.as('olivia'), grant.id, { ...vote, again: true })
    expect([again.head.status, again.decisions.length]).toEqual(['approved', 1])
    expect(await codeOf(w.broker.decide(w.as('olivia'), grant.id, vote))).toBe('already_decided')
    const other = { ...vote, reason: 'no, wait', again: true }
    expect(await codeOf(w.broker.decide(w.as('olivia'), grant.id, other))).toBe('already_decided')
  })
})
