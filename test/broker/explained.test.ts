// How dangerous an asking is, and what is told before it is filed: derived, never declared, and the dry run says exactly what filing does.
import { describe, expect, it } from 'vitest'
import type { Asking } from '../../src/broker/request.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { grantId, named } from '../../src/domain/ids.ts'
import { after, hours, minutes, seconds } from '../../src/domain/instant.ts'
import type { Caller } from '../../src/domain/principal.ts'
import { FLAGS, FLOOR, type Impact, NO_IMPACT } from '../../src/domain/risk.ts'
import { higher } from '../../src/domain/tier.ts'
import {
  type Change,
  FORGE,
  FRIDAY,
  ledger,
  MONDAY,
  REPOSITORY,
  type ReviewWorld,
  refusal,
  reviewWorld,
} from '../support/review-world.ts'
import { asking, HOME, KEY } from '../support/world.ts'

const of = (entitlement: string, action: string, part: Partial<Asking> = {}): Asking =>
  asking(FRIDAY, { entitlement: named.entitlement(entitlement), actions: [action], ...part })
const read = (part: Partial<Asking> = {}) =>
  of('customers-read', 'customers.read', { dataTypes: ['customer-contact'], task: 'task-1', ...part })
const send = (part: Partial<Asking> = {}) =>
  of('files-send', 'files.send', { destination: 'partner', task: 'task-1', ...part })
const triage = (part: Partial<Asking> = {}) => of('desk-triage', 'tickets.update', part)
const dana = (w: ReviewWorld, session = 'run-1'): Caller => w.as('dana', { key: KEY, session })

describe('what the requester declares', () => {
  it('false takes nothing away: every flag sent as false is the same tier as none', async () => {
    const w = await reviewWorld()
    for (const asked of [read(), send(), triage(), ledger(FRIDAY, { actions: ['ledger.drop'] })]) {
      const [without] = await w.broker.explain(dana(w, ''), asked)
      const impact = Object.fromEntries(FLAGS.map((flag) => [flag, false])) as Impact
      const [declared] = await w.broker.explain(dana(w, ''), { ...asked, impact })
      expect(declared).toEqual(without)
    }
  })

  it.each(FLAGS)('true can only raise: %s', async (flag) => {
    const w = await reviewWorld()
    // More persons than the one owner, so that no tier is out of reach for want of them.
    const reviewers = [
      { role: 'privacy', group: 'privacy' },
      { role: 'security', group: 'security' },
    ]
    await w.put({ entitlements: { 'desk-triage': { approval: { owner: 'lena', reviewers } } } })
    const { ask } = await w.file(dana(w), triage({ impact: { ...NO_IMPACT, [flag]: true } }))
    expect(ask.tier).toBe(higher('elevated', FLOOR[flag]))
    expect(ask.flags).toEqual([flag])
  })

  it('no destination, no kind of data and no class is as harmless as the catalogue does not say', async () => {
    const w = await reviewWorld()
    const tierOf = async (asked: Asking) => (await w.broker.explain(dana(w, ''), asked))[0]?.tier
    expect(await tierOf(read({ dataTypes: ['metrics'], destination: 'archive', task: '' }))).toBe('elevated')
    expect(await tierOf(read({ dataTypes: ['unheard-of'], task: '' }))).toBe('high')
    expect(await tierOf(read({ dataTypes: ['metrics'], destination: 'unheard-of', task: '' }))).toBe('high')
    expect(await tierOf(read({ destination: 'unheard-of', task: '' }))).toBe('critical')
  })

  it('is never approved by the policy itself once it was raised', async () => {
    const w = await reviewWorld()
    await w.put({ guards: '@id("auto") permit (principal, action == Action::"AutoApprove", resource);' })
    expect((await w.file(dana(w), of('sales-report', 'report.read'))).head.status).toBe('approved')
    const raised = of('sales-report', 'report.read', { impact: { ...NO_IMPACT, resilience: true } })
    expect(await refusal(w.file(dana(w), raised))).toMatchObject({ code: 'policy_refused', limit: 'approval' })
  })
})

describe('to read personal data and then to send out', () => {
  const SAYS =
    'raised to critical: it sends data out, and personal or regulated data was asked for in the same task or session'

  it.each<[string, (w: ReviewWorld) => { first: Caller; second: Caller; one: Asking; two: Asking }, string]>([
    [
      'for the same task is critical',
      (w) => ({ first: dana(w, 'run-1'), second: dana(w, 'run-2'), one: read(), two: send() }),
      'critical',
    ],
    [
      'for the same task by two hands is critical',
      (w) => ({ first: w.as('fix-agent', { key: KEY }), second: dana(w), one: read(), two: send() }),
      'critical',
    ],
    [
      'in the same session is critical',
      (w) => ({ first: dana(w), second: dana(w), one: read({ task: 'a' }), two: send({ task: 'b' }) }),
      'critical',
    ],
    [
      'for other tasks in other sessions is not',
      (w) => ({
        first: dana(w, 'run-1'),
        second: dana(w, 'run-2'),
        one: read({ task: 'a' }),
        two: send({ task: 'b' }),
      }),
      'high',
    ],
    [
      'without task and session is not',
      (w) => ({ first: dana(w, ''), second: dana(w, ''), one: read({ task: '' }), two: send({ task: '' }) }),
      'high',
    ],
    [
      'within the house is not',
      (w) => ({ first: dana(w), second: dana(w), one: read(), two: send({ destination: 'archive' }) }),
      'elevated',
    ],
    [
      'of plain data is not',
      (w) => ({ first: dana(w), second: dana(w), one: read({ dataTypes: ['metrics'] }), two: send() }),
      'high',
    ],
  ])('%s', async (_, scene, tier) => {
    const w = await reviewWorld()
    const { first, second, one, two } = scene(w)
    const earlier = await w.file(first, one)
    expect(earlier.ask.tier).toBe('elevated')
    const { ask } = await w.file(second, two)
    expect(ask.tier).toBe(tier)
    expect(ask.reasons.includes(SAYS)).toBe(tier === 'critical')
    expect(ask.rule).toMatchObject({ approvals: 3 })
  })

  it('counts what became nothing: what was denied or withdrawn was asked for', async () => {
    const w = await reviewWorld()
    const one = await w.file(dana(w), read())
    await w.no('lena', one)
    const two = await w.file(dana(w), read({ task: 'task-2' }))
    await w.broker.withdraw(dana(w), two.id, 'not needed')
    expect((await w.file(dana(w, 'run-9'), send())).ask.tier).toBe('critical')
    expect((await w.file(dana(w, 'run-9'), send({ task: 'task-2' }))).ask.tier).toBe('critical')
  })

  it('counts as the worst where it was more than is kept with each asking: fifty different ones', async () => {
    const w = await reviewWorld()
    const { ask } = await w.file(dana(w, ''), read({ task: 'another' }))
    const busy = async (many: number) => {
      const grants = Array.from({ length: many }, (_, n) => ({
        id: grantId(HOME, `${n}`.padStart(26, 'a').replace(/[01]/g, 'b').replace(/[89]/g, 'c')),
        ask: { ...ask, intent: { ...ask.intent, entitlement: named.entitlement(`customers-read-${n}`) } },
      }))
      // Twice each: what is the same is kept once.
      const page = { grants: [...grants, ...grants], places: [], next: undefined }
      const list: typeof w.store.list = async (query) =>
        query.of.some((index) => 'task' in index) ? (page as never) : w.store.list(query)
      return w.another({ grants: { ...w.store, list } })
    }
    expect(await (await busy(50)).explain(dana(w), read())).toMatchObject([{ tier: 'elevated' }])
    expect(await (await busy(51)).explain(dana(w), read())).toMatchObject([{ tier: 'critical' }])
  })

  it('the other way round is the same', async () => {
    const w = await reviewWorld()
    expect((await w.file(dana(w), send())).ask.tier).toBe('high')
    expect((await w.file(dana(w), read())).ask.tier).toBe('critical')
  })

  it('in one asking raises both of its parts', async () => {
    const w = await reviewWorld()
    const { entitlement, actions, scope, dataTypes, destination, uses } = send()
    const both = read({ more: [{ entitlement, actions, scope, dataTypes, destination, uses }], task: '' })
    const told = await w.broker.explain(dana(w, ''), both)
    expect(told.map(({ tier }) => tier)).toEqual(['critical', 'critical'])
    const { ask } = await w.file(dana(w, ''), both)
    const [linked] = ask.linked
    if (linked === undefined) throw new Error('nothing is linked')
    const other = await w.store.loadToEnd(linked)
    expect([ask.tier, other?.ask.tier]).toEqual(['critical', 'critical'])
    expect((await w.file(dana(w, ''), read({ task: '', changeClass: 'emergency' }))).ask.tier).toBe('elevated')
  })

  it('holds at the exchange: what was filed as critical stays that', async () => {
    const w = await reviewWorld()
    const alone = await w.file(dana(w, 'run-2'), send({ task: 'alone' }))
    await w.file(dana(w), read())
    const raised = await w.file(dana(w), send())
    for (const grant of [alone, raised]) for (const who of ['priya', 'paula', 'lena']) await w.yes(who, grant)
    // Also where the catalogue calls the destination harmless today.
    await w.put({ tiers: { critical: { approvals: 4 } }, destinations: { partner: 'internal' } })
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(dana(w, 'run-2'), alone.id))).toBe('ok')
    expect(await refusal(w.broker.exchange(dana(w), raised.id))).toMatchObject({
      limit: 'approval',
      missing: ['1 more person'],
    })
  })
})

describe('the dry run', () => {
  const SHA = 'c'.repeat(40)
  const ASKINGS: Readonly<Record<string, (w: ReviewWorld) => readonly [Caller, Asking, Change?]>> = {
    'an agent for the ledger': (w) => [w.as('fix-agent'), ledger(FRIDAY)],
    'a person of another tenant': (w) => [w.as('vera'), ledger(FRIDAY, { executor: undefined })],
    destruction: (w) => [w.as('vera'), ledger(FRIDAY, { executor: undefined, actions: ['ledger.drop'] })],
    'one owner alone': (w) => [dana(w), triage()],
    'a veto': (w) => [dana(w), of('keys-rotate', 'keys.rotate')],
    passkeys: (w) => [dana(w), of('payout-run', 'payout.run')],
    'data out': (w) => [dana(w), send()],
    'data out for a task that has read': (w) => [dana(w, ''), send({ task: 'seen' })],
    'a duration': (w) => [dana(w), triage({ window: { duration: minutes(30) } })],
    'nobody is asked': (w) => [dana(w), of('sales-report', 'report.read')],
    'a release': (w) => [dana(w), of('shop-release', 'deploy', { scope: [`commit:${SHA}`] })],
    'an owner who answers for the executor': (w) => [
      dana(w),
      ledger(FRIDAY, { executor: named.principal('release-bot') }),
      { workloads: { 'release-bot': { sponsors: ['olivia'] } } },
    ],
    'a reviewer with standing access': (w) => [
      dana(w),
      ledger(FRIDAY),
      { persons: { paula: { standingAccess: ['ledger-db'] }, rob: { active: false } } },
    ],
    'one of two reviewers who has to do with it': (w) => [
      w.as('fix-agent'),
      ledger(FRIDAY),
      { agents: { 'fix-agent': { sponsors: ['sam', 'priya'] } } },
    ],
    'too long': (w) => [dana(w), triage({ window: { duration: hours(5) } })],
    'too far ahead': (w) => [dana(w), ledger(after(FRIDAY, hours(24 * 7)))],
    'in the past': (w) => [dana(w), ledger(after(MONDAY, hours(-5)))],
    'what is not offered': (w) => [w.as('vera'), triage()],
    'what does not exist': (w) => [dana(w), of('no-such-thing', 'x')],
    'an action that is none': (w) => [dana(w), triage({ actions: ['tickets.burn'] })],
    'an unknown executor': (w) => [dana(w), triage({ executor: named.principal('ghost') })],
    'the own hand where another is asked for': (w) => [dana(w), of('split-duty', 'split.run')],
    'somebody who may not ask': (w) => [w.as('sam', { key: KEY }), triage()],
    'a tier that one owner cannot give': (w) => [dana(w), triage({ impact: { ...NO_IMPACT, irreversible: true } })],
    'an unknown author': (w) => [dana(w), of('shop-release', 'deploy', { scope: [`commit:${'d'.repeat(40)}`] })],
    'an owner who is the author': (w) => [
      dana(w),
      of('shop-release', 'deploy', { scope: [`commit:${SHA}`] }),
      { persons: { rob: { accounts: [{ issuer: FORGE, subject: '205' }] }, paula: { accounts: [] } } },
    ],
  }

  async function scene(name: string) {
    const w = await reviewWorld()
    w.forges.add({ forge: FORGE, repository: REPOSITORY, sha: SHA }, [
      { account: { issuer: FORGE, subject: '205' }, login: 'paula', roles: ['author'] },
    ])
    await w.file(dana(w, ''), read({ task: 'seen' }))
    const [, , change] = ASKINGS[name]?.(w) ?? []
    await w.put(change)
    const [caller, asked] = ASKINGS[name]?.(w) ?? []
    if (caller === undefined || asked === undefined) throw new Error('no such asking')
    return { w, caller, asked }
  }

  /** Persons whose vote is not refused for who they are, asked one by one. */
  async function whoCould(w: ReviewWorld, grant: Grant): Promise<readonly string[]> {
    const ballot = { verdict: 'deny', reason: 'x', digest: undefined } as const
    const persons = w.book.current().directory.persons()
    const said = await Promise.all(
      persons.map(async ({ id }) => [id, await refusal(w.broker.prepareVote(w.as(id), grant.id, ballot))] as const),
    )
    const barred = ['not_permitted', 'own_request', 'grant_not_found']
    return said.flatMap(([id, one]) => (one !== 'ok' && barred.includes(String(one.code)) ? [] : [id]))
  }

  it.each(Object.keys(ASKINGS))('says what filing does: %s', async (name) => {
    const { w, caller, asked } = await scene(name)
    let told: Awaited<ReturnType<typeof w.broker.explain>> = []
    const dry = await refusal(
      w.broker.explain(caller, asked).then((parts) => {
        told = parts
      }),
    )
    let grant: Grant | undefined
    const wet = await refusal(
      w.file(caller, asked).then((filed) => {
        grant = filed
      }),
    )
    expect(wet).toEqual(dry)
    const [part] = told
    if (grant === undefined || part === undefined) return
    const { ask } = grant
    expect(part).toMatchObject({
      intent: ask.intent,
      digest: ask.digest,
      tier: ask.tier,
      flags: ask.flags,
      reasons: ask.reasons,
      decideBy: ask.decideBy,
      lapsesAt: ask.lapsesAt,
      policy: ask.policy,
      auto: ask.rule.mode === 'auto',
    })
    expect(part.entitlement.approval).toEqual(ask.rule)
    expect(part.executor.id).toBe(ask.intent.executor.principal)
    if (part.auto) return
    // Who could at all: every deputy counts, as after the escalation.
    if (ask.rule.mode === 'people' && ask.rule.deputies.length > 0) {
      w.until(ask.decideBy)
      await w.settle(seconds(5))
    }
    const could = await whoCould(w, grant)
    expect(could).toHaveLength(part.couldDecide)
    expect(part.couldDecide).toBeGreaterThanOrEqual(
      part.entitlement.approval.mode === 'people' ? part.entitlement.approval.approvals : 1,
    )
  })

  it.each(['an agent for the ledger', 'a release', 'nobody is asked', 'what does not exist'])(
    'writes nothing: %s',
    async (name) => {
      const { w, caller, asked } = await scene(name)
      const before = await w.store.read(HOME)
      await refusal(w.broker.explain(caller, asked))
      expect(await w.store.read(HOME)).toEqual(before)
    },
  )

  it('names what raised the tier, and every seat that is needed', async () => {
    const w = await reviewWorld()
    const [part] = await w.broker.explain(
      w.as('vera'),
      ledger(FRIDAY, { executor: undefined, actions: ['ledger.drop'] }),
    )
    expect(part).toMatchObject({ tier: 'critical', auto: false })
    expect(part?.reasons).toEqual([
      'tier critical',
      'raised to critical: it destroys and cannot be undone',
      'needs owner',
      'needs privacy',
      'needs security',
    ])
    const [signed] = await w.broker.explain(dana(w), of('payout-run', 'payout.run'))
    expect(signed?.reasons).toContain('needs passkeys')
  })
})
