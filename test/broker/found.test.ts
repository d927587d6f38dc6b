// What a hostile reading found: ways in which a word counted although it must not, or somebody was kept from one that is theirs.
import { describe, expect, it } from 'vitest'
import { broker } from '../../src/broker/broker.ts'
import type { Ballot } from '../../src/broker/decide.ts'
import type { Ports } from '../../src/broker/ports.ts'
import { named } from '../../src/domain/ids.ts'
import { after, days, formatInstant, hours, milliseconds } from '../../src/domain/instant.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import {
  type Change,
  FRIDAY,
  ledger,
  MONDAY,
  PRIVACY,
  REVIEW,
  type ReviewWorld,
  refusal,
  reviewWorld,
} from '../support/review-world.ts'
import { asking, KEY } from '../support/world.ts'

const conditions: Ballot['conditions'] = [
  { text: 'restore tested', owner: named.person('oscar'), due: after(FRIDAY, hours(1)) },
]

describe('a deputy out of turn', () => {
  it('takes no risk upon the owner, who is there, once it is approved', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const told = await w.yes('paula', grant, { ...REVIEW, conditions })
    await w.yes('priya', grant)
    await w.yes('olivia', grant)
    w.until(FRIDAY)
    const [vote] = told.decisions
    const id = vote?.act === 'vote' ? vote.conditions[0]?.id : undefined
    const accepts = [{ risk: `condition:${id}`, until: after(FRIDAY, hours(1)) }]
    const take = (who: string) => refusal(w.broker.acceptRisks(w.as(who), grant.id, { accepts, reason: 'mine' }))
    expect(await take('lena')).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'condition' })
    expect(await take('olivia')).toBe('ok')
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it('decides nothing again, once it is approved', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    w.until(FRIDAY)
    expect(await refusal(w.yes('lena', grant))).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'approval' })
    await w.yes('dora', grant)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it('whose word was given in the escalation still has it counted where another decides again', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    w.until(grant.ask.decideBy)
    await w.settle(hours(1))
    await w.yes('lena', grant)
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ code: 'wrong_status' })
  })
})

describe('whoever was behind the asking when it was filed', () => {
  it('never decides on it, whoever answers for the requester since', async () => {
    const w = await reviewWorld()
    const sponsors = (...names: string[]): Change => ({ agents: { 'fix-agent': { sponsors: names } } })
    await w.put(sponsors('sam', 'priya'))
    const grant = await w.filed()
    await w.put(sponsors('sam'))
    await w.yes('paula', grant, REVIEW)
    const said = { code: 'own_request', conflict: 'requester_sponsor' }
    expect(await refusal(w.yes('priya', grant))).toMatchObject(said)
    expect((await w.broker.list(w.as('priya'), { waiting: true }, { limit: 9, cursor: undefined })).grants).toEqual([])
    await w.yes('piet', grant)
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it('is the owner for whom no deputy decides', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    const asked = (edit: string) =>
      w.edited(grant.id, (stored) => ({ ...stored, ask: stored.ask.replace('"askers":["sam"]', edit) }))
    const ballot = { verdict: 'approve', reason: 'x', digest: undefined } as const
    expect(await refusal(asked('"askers":["sam"]').prepareVote(w.as('rob'), grant.id, ballot))).toBe('ok')
    expect(await refusal(asked('"askers":["olivia"]').prepareVote(w.as('rob'), grant.id, ballot))).toMatchObject({
      code: 'not_permitted',
    })
  })
})

describe('a tier that was raised', () => {
  const raised = { entitlement: named.entitlement('desk-triage'), actions: ['tickets.update'] }
  const impact = { ...NO_IMPACT, resilience: true }

  it('asks for a person more than could ever decide: refused at once, deputies or not', async () => {
    const w = await reviewWorld()
    const term = { from: formatInstant(after(MONDAY, days(-1))), until: formatInstant(after(MONDAY, days(60))) }
    const approval = { owner: 'lena', deputies: [{ person: 'lars', ...term }] }
    for (const put of [{}, { entitlements: { 'desk-triage': { approval } } }]) {
      await w.put(put)
      const filing = w.broker.request(w.as('dana', { key: KEY }), asking(MONDAY, { ...raised, impact }))
      expect(await refusal(filing)).toMatchObject({ code: 'nobody_can_decide', missing: ['1 more person'] })
    }
  })

  it('looks through the grants of nobody in a group that is too large to approve there', async () => {
    const w = await reviewWorld()
    const crowd = Object.fromEntries(
      Array.from({ length: 30 }, (_, n) => [
        `crowd-${n}`,
        { name: 'x', tenant: 'northwind', groups: ['crowd'], accounts: [{ issuer: 'login', subject: `crowd-${n}` }] },
      ]),
    )
    const approval = { owner: 'lena', reviewers: [{ ...PRIVACY, group: 'crowd' }] }
    await w.put({ persons: crowd, entitlements: { 'desk-triage': { approval } } })
    let lists = 0
    const grants: Ports['grants'] = new Proxy(w.ports.grants, {
      get: (target, key) => {
        if (key === 'list') lists += 1
        const found: unknown = Reflect.get(target, key)
        return typeof found === 'function' ? found.bind(target) : found
      },
    })
    const asked = asking(MONDAY, { ...raised, impact })
    const filing = broker({ ...w.ports, grants }).request(w.as('dana', { key: KEY }), asked)
    expect(await refusal(filing)).toMatchObject({ code: 'nobody_can_decide', missing: ['privacy'] })
    expect(lists).toBeLessThan(5)
  })
})

describe('an owner', () => {
  it('ends with a no what others have said too much about', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    for (let full = false; !full; ) {
      w.advance(milliseconds(1))
      full = (await refusal(w.yes('priya', grant))) !== 'ok'
      if (!full) await w.broker.retract(w.as('priya'), grant.id, 'not so')
    }
    expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject({ code: 'too_many_requests' })
    expect(await refusal(w.no('paula', grant))).toMatchObject({ code: 'too_many_requests' })
    expect((await w.no('olivia', grant)).head.status).toBe('denied')
  })
})

describe('an executor of another tenant', () => {
  const lost = async (w: ReviewWorld, who: string) => {
    const grant = await w.file(w.as(who), ledger(FRIDAY, { executor: undefined }))
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    await w.yes('olivia', grant)
    await w.put({ persons: { paula: { active: false } } })
    w.until(FRIDAY)
    return w.broker.exchange(w.as(who), grant.id).then(
      () => 'ok',
      (thrown: Error & { facts?: unknown }) => `${thrown.message} ${JSON.stringify(thrown.facts)}`,
    )
  }

  it('is told which seat is missing, and not what became of the persons who sat there', async () => {
    const told = await lost(await reviewWorld(), 'vera')
    expect(told).toContain('security')
    expect(told).not.toMatch(/paula|active/)
    expect(await lost(await reviewWorld(), 'dana')).toMatch(/paula .security. no longer active/)
  })
})

describe('a credential that goes to another tenant', () => {
  it('crosses the boundary, also where a colleague asks for it', async () => {
    const w = await reviewWorld()
    const filed = (requester: string, executor: string) =>
      w.file(w.as(requester), ledger(FRIDAY, { executor: named.principal(executor) }))
    expect((await filed('fix-agent', 'vera')).ask.flags).toContain('tenancyBoundary')
    expect((await filed('vera', 'dana')).ask.flags).toContain('tenancyBoundary')
    expect((await filed('fix-agent', 'dana')).ask.flags).not.toContain('tenancyBoundary')
  })
})

describe('a risk that the owner took', () => {
  const accepts = [{ risk: 'review:privacy', until: after(FRIDAY, hours(1)) }]

  it('is taken back like a vote: nobody builds on it afterwards, and it may be taken anew', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    const take = () => w.broker.acceptRisks(w.as('olivia'), grant.id, { accepts, reason: 'mine' })
    await take()
    expect((await w.broker.retract(w.as('olivia'), grant.id, 'not so')).head.status).toBe('pending')
    expect(await refusal(take())).toMatchObject({ code: 'already_decided' })
    expect(await refusal(w.yes('rob', grant))).toMatchObject({ limit: 'reviews', missing: ['privacy'] })
    w.advance(milliseconds(1))
    await take()
    expect((await w.yes('rob', grant)).head.status).toBe('approved')
  })

  it('and takes back ends an approval that rests on it, whoever voted', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.broker.acceptRisks(w.as('olivia'), grant.id, { accepts, reason: 'mine' })
    await w.yes('rob', grant)
    const ended = await w.broker.retract(w.as('olivia'), grant.id, 'not so')
    expect(ended.head).toMatchObject({ status: 'withdrawn', facts: { by: 'olivia' } })
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ code: 'wrong_status' })
  })
})

describe('what is marked as holding regulated data', () => {
  const marked: Change = { entitlements: { 'customers-read': { flags: ['regulated'] }, 'files-send': {} } }
  const read = asking(MONDAY, {
    entitlement: named.entitlement('customers-read'),
    actions: ['customers.read'],
    task: 't',
  })
  const send = asking(MONDAY, {
    entitlement: named.entitlement('files-send'),
    actions: ['files.send'],
    destination: 'partner',
    task: 't',
  })
  const tierOf = async (w: ReviewWorld, part: typeof read) =>
    (await w.broker.request(w.as('dana', { key: KEY }), part)).grant.ask.tier

  it('is sensitive in a combination, whether or not its requester names the data', async () => {
    for (const [first, second, tiers] of [
      [read, send, ['elevated', 'critical']],
      [send, read, ['high', 'critical']],
    ] as const) {
      const w = await reviewWorld()
      await w.put(marked)
      expect([await tierOf(w, first), await tierOf(w, second)]).toEqual(tiers)
    }
  })

  it('is not sent out below tier critical either', async () => {
    const w = await reviewWorld()
    await w.put({ entitlements: { 'files-send': { flags: ['regulated'] } } })
    expect(await tierOf(w, send)).toBe('critical')
  })
})

describe('what is marked as gaining rights, and what is marked as destroying', () => {
  it('are as dangerous together in either order', async () => {
    const part = (entitlement: string, action: string) =>
      asking(MONDAY, {
        entitlement: named.entitlement(entitlement),
        actions: [action],
        destination: 'archive',
        task: 't',
      })
    const both = [part('customers-read', 'customers.read'), part('files-send', 'files.send')] as const
    for (const [first, second] of [both, both.toReversed()]) {
      const w = await reviewWorld()
      const entitlements = {
        'customers-read': { flags: ['destructive'] },
        'files-send': { flags: ['privilegedAccess'] },
      }
      await w.put({ entitlements })
      const tiers = []
      for (const one of [first, second])
        if (one !== undefined) tiers.push((await w.file(w.as('dana', { key: KEY }), one)).ask.tier)
      expect(tiers).toEqual(['high', 'critical'])
    }
  })
})

describe('a closure that counts for nothing', () => {
  it('does not keep its reviewer from closing the condition', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const [vote] = (await w.yes('paula', grant, { ...REVIEW, conditions })).decisions
    await w.yes('priya', grant)
    await w.yes('olivia', grant)
    const condition = (vote?.act === 'vote' ? vote.conditions[0]?.id : undefined) ?? ''
    await w.broker.closeCondition(w.as('paula'), grant.id, { condition, reason: 'restored', evidence: [] })
    w.until(FRIDAY)
    const altered = w.edited(grant.id, (stored) => ({
      ...stored,
      decisions: stored.decisions.map((one) => one.replace('"reason":"restored"', '"reason":"rest0red"')),
    }))
    expect(await refusal(altered.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'condition' })
    await altered.closeCondition(w.as('paula'), grant.id, { condition, reason: 'once more', evidence: [] })
    expect(await refusal(altered.exchange(w.as('dana'), grant.id))).toBe('ok')
  })
})
