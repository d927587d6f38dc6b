// Who may decide, in which seat, on what they must bring, and what their word does: owner, deputies, reviewers, conditions, risks, authors,
// separation of duties. Every refusal is one by its code and facts, and changes nothing.
import { describe, expect, it } from 'vitest'
import type { Asking } from '../../src/broker/request.ts'
import type { Evidence } from '../../src/domain/decision.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, days, hours, type Instant, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import {
  type Change,
  cited,
  DEPUTIES,
  FORGE,
  FRIDAY,
  HOUR,
  ledger,
  MONDAY,
  PRIVACY,
  REPOSITORY,
  REVIEW,
  type ReviewWorld,
  refusal,
  reviewWorld,
  SECURITY,
  TERM_END,
} from '../support/review-world.ts'
import { asking, KEY } from '../support/world.ts'

const statusOf = async (w: ReviewWorld, grant: Grant) => (await w.found(grant)).head.status
const lastEvent = async (w: ReviewWorld, { id }: Grant) => (await w.store.events(id)).at(-1)
const typesOf = async (w: ReviewWorld, { id }: Grant) => (await w.store.events(id)).map(({ type }) => type)
const exchangeOf = (w: ReviewWorld, { id }: Grant, who = 'dana') => refusal(w.broker.exchange(w.as(who), id))
const plain =
  (entitlement: string, action: string, part: Partial<Asking> = {}) =>
  (from: Instant) =>
    asking(from, { entitlement: named.entitlement(entitlement), actions: [action], ...part })
const rotate = plain('keys-rotate', 'keys.rotate')
const triage = plain('desk-triage', 'tickets.update')
const forLedger = (approval: Record<string, unknown>): Change => ({
  entitlements: {
    'ledger-repair': { approval: { owner: 'olivia', deputies: DEPUTIES, reviewers: [SECURITY, PRIVACY], ...approval } },
  },
})

describe('the owner', () => {
  it('decides last: before the reviewers it is refused, and told what is missing', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const says = { code: 'policy_refused', limit: 'reviews' }
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ ...says, missing: ['privacy', 'security'] })
    await w.yes('paula', grant, REVIEW)
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ ...says, missing: ['privacy'] })
    const ballot = { verdict: 'approve', reason: 'because', digest: undefined } as const
    expect(await refusal(w.broker.prepareVote(w.as('olivia'), grant.id, ballot))).toMatchObject(says)
    expect(await statusOf(w, grant)).toBe('pending')
    await w.yes('priya', grant)
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
    expect(await typesOf(w, grant)).toEqual(['filed', 'approval_added', 'approval_added', 'approved'])
  })

  it('that stays silent approves nothing: it is escalated once, and lapses', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    const { decideBy, lapsesAt } = grant.ask
    expect([decideBy, lapsesAt]).toEqual([after(MONDAY, hours(12)), after(MONDAY, hours(15))])
    expect(await exchangeOf(w, grant)).toMatchObject({ code: 'wrong_status', status: 'pending' })
    w.until(decideBy)
    await w.settle(minutes(2))
    expect(await typesOf(w, grant)).toEqual(['filed', 'approval_added', 'approval_added', 'escalated'])
    expect((await w.found(grant)).head.facts).toEqual({ escalatedAt: decideBy })
    expect(await exchangeOf(w, grant)).toMatchObject({ code: 'wrong_status' })
    w.until(after(lapsesAt, seconds(-10)))
    await w.settle(seconds(5))
    expect(await statusOf(w, grant)).toBe('pending')
    w.until(lapsesAt)
    await w.settle(seconds(5))
    expect(await statusOf(w, grant)).toBe('lapsed')
    expect((await typesOf(w, grant)).slice(-2)).toEqual(['escalated', 'lapsed'])
    expect(await exchangeOf(w, grant)).toMatchObject({ code: 'wrong_status', status: 'lapsed' })
    expect(w.backend.calls('open')).toBe(0)
  })

  it('still decides after the escalation', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    w.until(grant.ask.decideBy)
    await w.settle(seconds(5))
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
  })

  it('decides no more when it is over, swept or not', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    w.until(grant.ask.lapsesAt)
    expect(await statusOf(w, grant)).toBe('pending')
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ code: 'window_closed' })
    expect(await statusOf(w, grant)).toBe('pending')
  })

  it('ends it with a no', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    expect((await w.no('olivia', grant)).head).toMatchObject({ status: 'denied', facts: { by: 'olivia' } })
    expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject({ code: 'wrong_status' })
  })

  it('named since the filing decides together with the one at filing', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    await w.put(forLedger({ owner: 'lars' }))
    expect((await w.yes('olivia', grant)).head.status).toBe('pending')
    expect((await w.yes('lars', grant)).head.status).toBe('approved')
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })
})

describe('a risk that the owner takes by name', () => {
  const accepts = (risk: string, until: Instant = after(FRIDAY, minutes(30))) => ({ accepts: [{ risk, until }] })

  it('stands for a missing review, is in the events, and is one again when its time is over', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    expect((await w.yes('olivia', grant, accepts('review:privacy'))).head.status).toBe('approved')
    expect(await lastEvent(w, grant)).toMatchObject({
      type: 'approved',
      by: 'olivia',
      details: { as: 'owner', accepts: ['review:privacy'] },
    })
    w.until(after(FRIDAY, minutes(30)))
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'approval', missing: ['privacy'] })
    const later = { ...accepts('review:privacy', after(FRIDAY, minutes(40))), reason: 'ten minutes more' }
    expect(await refusal(w.broker.acceptRisks(w.as('rob'), grant.id, later))).toMatchObject({ code: 'not_permitted' })
    await w.broker.acceptRisks(w.as('olivia'), grant.id, later)
    expect(await lastEvent(w, grant)).toMatchObject({
      type: 'risk_accepted',
      by: 'olivia',
      details: { accepts: ['review:privacy'], reason: 'ten minutes more' },
    })
    w.until(after(FRIDAY, milliseconds(minutes(40) - 1)))
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('is good until the moment before its time is over', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('olivia', grant, accepts('review:privacy'))
    w.until(after(FRIDAY, milliseconds(minutes(30) - 1)))
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('stands for a negative review, which is no denial and is not healed by another yes', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    expect((await w.no('priya', grant)).head.status).toBe('pending')
    expect(await lastEvent(w, grant)).toMatchObject({ type: 'review_denied', by: 'priya', details: { as: 'privacy' } })
    await w.yes('piet', grant)
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({
      limit: 'reviews',
      missing: ['privacy, whose review is negative'],
    })
    expect((await w.yes('olivia', grant, accepts('review:privacy'))).head.status).toBe('approved')
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toBe('ok')
    const other = await reviewWorld()
    const negative = await other.filed()
    await other.yes('paula', negative, REVIEW)
    await other.no('priya', negative)
    await other.yes('olivia', negative, accepts('review:privacy'))
    other.until(after(FRIDAY, minutes(30)))
    expect(await exchangeOf(other, negative)).toMatchObject({ limit: 'approval', negative: ['privacy'] })
  })

  it('of a negative review is one again when its time is over, whoever else said yes', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.no('priya', grant)
    await w.yes('piet', grant)
    await w.yes('olivia', grant, accepts('review:privacy'))
    w.until(after(FRIDAY, minutes(30)))
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'approval', negative: ['privacy'] })
  })

  it('of a negative review is asked for although its reviewer has left', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.no('priya', grant)
    await w.put({ persons: { priya: { active: false } } })
    await w.yes('piet', grant)
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ limit: 'reviews' })
  })

  it('never stands for a review with a veto, missing or negative', async () => {
    const w = await reviewWorld()
    const grant = await w.file(w.as('dana', { key: KEY }), rotate(FRIDAY))
    await w.yes('priya', grant)
    const refused = { code: 'policy_refused', limit: 'veto', risk: 'review:security' }
    expect(await refusal(w.yes('olivia', grant, accepts('review:security')))).toMatchObject(refused)
    expect((await w.no('paula', grant)).head).toMatchObject({ status: 'denied', facts: { by: 'paula' } })
    expect(await refusal(w.yes('olivia', grant, accepts('review:security')))).toMatchObject({ code: 'wrong_status' })
    expect(await refusal(w.yes('pete', grant))).toMatchObject({ code: 'wrong_status' })
  })

  it('stands no more where the policy says veto since', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.no('paula', grant)
    await w.yes('priya', grant)
    await w.yes('olivia', grant, accepts('review:security', after(FRIDAY, HOUR)))
    await w.put(forLedger({ reviewers: [{ ...SECURITY, veto: true }, PRIVACY] }))
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'veto', negative: ['security'] })
    await w.put()
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('of a missing review stands no more where the policy says veto since', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('priya', grant)
    await w.yes('olivia', grant, accepts('review:security', after(FRIDAY, HOUR)))
    await w.put(forLedger({ reviewers: [{ ...SECURITY, veto: true }, PRIVACY] }))
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'approval', missing: ['security'] })
    await w.yes('paula', grant, REVIEW)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it.each<[string, { risk: string; until: Instant }, Record<string, unknown>]>([
    ['of a role that does not review here', { risk: 'review:legal', until: FRIDAY }, { limit: 'risk' }],
    ['of everything', { risk: '*', until: FRIDAY }, { limit: 'risk' }],
    ['of the owner', { risk: 'review:owner', until: FRIDAY }, { limit: 'risk' }],
    ['of a condition that nobody made', { risk: 'condition:none', until: FRIDAY }, { limit: 'risk' }],
    ['until a time that has passed', { risk: 'review:privacy', until: MONDAY }, { code: 'invalid_request' }],
  ])('%s is refused', async (_, risk, says) => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    expect(await refusal(w.yes('olivia', grant, { accepts: [risk] }))).toMatchObject(says)
    expect(
      await refusal(w.broker.acceptRisks(w.as('olivia'), grant.id, { accepts: [risk], reason: 'x' })),
    ).toMatchObject(says)
    expect(await statusOf(w, grant)).toBe('pending')
  })

  it('is taken by no reviewer, and with no no', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const says = { code: 'invalid_request', member: 'accepts' }
    expect(await refusal(w.yes('paula', grant, { ...REVIEW, ...accepts('review:privacy') }))).toMatchObject(says)
    expect(await refusal(w.no('olivia', grant, accepts('review:privacy')))).toMatchObject(says)
    const taken = { ...accepts('review:privacy'), reason: 'mine' }
    expect(await refusal(w.broker.acceptRisks(w.as('paula'), grant.id, taken))).toMatchObject({ code: 'not_permitted' })
  })

  it('said before the decision makes no approval, and counts at it', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    const said = await w.broker.acceptRisks(w.as('olivia'), grant.id, { ...accepts('review:privacy'), reason: 'mine' })
    expect(said.head.status).toBe('pending')
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
  })
})

describe('a condition', () => {
  const CONDITION = { text: 'tell the desk first', owner: named.person('sam'), due: FRIDAY }
  const close = (w: ReviewWorld, who: string, grant: Grant, condition: string) =>
    w.broker.closeCondition(w.as(who), grant.id, { condition, reason: 'done', evidence: [cited('test-results')] })

  async function conditional(): Promise<{ w: ReviewWorld; grant: Grant; id: string }> {
    const w = await reviewWorld()
    const grant = await w.filed()
    const reviewed = await w.yes('paula', grant, { ...REVIEW, conditions: [CONDITION] })
    await w.yes('priya', grant)
    const [vote] = reviewed.decisions
    const id = vote?.act === 'vote' ? (vote.conditions[0]?.id ?? '') : ''
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
    return { w, grant, id }
  }

  it('that is open is named, and blocks every exchange until its reviewer has closed it', async () => {
    const { w, grant, id } = await conditional()
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toMatchObject({
      code: 'policy_refused',
      limit: 'condition',
      conditions: [{ id, text: CONDITION.text, owner: 'sam', due: '2026-11-27T09:00:00.000Z' }],
    })
    for (const who of ['pete', 'olivia', 'priya', 'sam', 'dana'])
      expect(await refusal(close(w, who, grant, id)), who).toMatchObject({ code: 'invalid_request' })
    expect(await refusal(close(w, 'paula', grant, 'another'))).toMatchObject({ code: 'invalid_request' })
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'condition' })
    await close(w, 'paula', grant, id)
    expect(await lastEvent(w, grant)).toMatchObject({
      type: 'condition_closed',
      by: 'paula',
      details: { condition: id, reason: 'done' },
    })
    const { version } = await w.found(grant)
    expect((await close(w, 'paula', grant, id)).version).toBe(version)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('blocks until the owner has taken its risk, and again when that is over', async () => {
    const { w, grant, id } = await conditional()
    const until = after(FRIDAY, minutes(20))
    const accepts = [{ risk: `condition:${id}`, until }]
    expect(await refusal(w.broker.acceptRisks(w.as('paula'), grant.id, { accepts, reason: 'x' }))).toMatchObject({
      code: 'not_permitted',
    })
    await w.broker.acceptRisks(w.as('olivia'), grant.id, { accepts, reason: 'mine' })
    w.until(until)
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'condition' })
    const longer = [{ risk: `condition:${id}`, until: after(until, minutes(1)) }]
    await w.broker.acceptRisks(w.as('olivia'), grant.id, { accepts: longer, reason: 'mine' })
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('can be taken by the owner in the deciding vote', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const reviewed = await w.yes('paula', grant, { ...REVIEW, conditions: [CONDITION] })
    await w.yes('priya', grant)
    const [vote] = reviewed.decisions
    const id = vote?.act === 'vote' ? vote.conditions[0]?.id : undefined
    await w.yes('olivia', grant, { accepts: [{ risk: `condition:${id}`, until: after(FRIDAY, HOUR) }] })
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('of a reviewer with a veto is taken by nobody', async () => {
    const w = await reviewWorld()
    const dana = w.as('dana', { key: KEY })
    const grant = await w.file(dana, rotate(FRIDAY))
    const reviewed = await w.yes('paula', grant, { conditions: [CONDITION] })
    await w.yes('priya', grant)
    await w.yes('olivia', grant)
    const [vote] = reviewed.decisions
    const risk = `condition:${vote?.act === 'vote' ? vote.conditions[0]?.id : ''}`
    const taken = { accepts: [{ risk, until: after(FRIDAY, HOUR) }], reason: 'mine' }
    expect(await refusal(w.broker.acceptRisks(w.as('olivia'), grant.id, taken))).toMatchObject({ limit: 'risk' })
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(dana, grant.id))).toMatchObject({ limit: 'condition' })
  })

  it('is not closed by a closure that was altered, or by one of another grant', async () => {
    const { w, grant, id } = await conditional()
    await close(w, 'paula', grant, id)
    w.until(FRIDAY)
    const edited = (change: Record<string, unknown>) =>
      w.edited(grant.id, (stored) => ({
        ...stored,
        decisions: stored.decisions.map((text, n) =>
          n === 3 ? JSON.stringify({ ...JSON.parse(text), ...change }) : text,
        ),
      }))
    for (const change of [{ reason: 'other' }, { evidence: [] }, { signature: 'memory.x' }, { by: 'pete' }])
      expect(await refusal(edited(change).exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'condition' })
    const [closure] = (await w.found(grant)).decisions.slice(3)
    if (closure === undefined) throw new Error('nothing was closed')
    const { signature: _, ...another } = { ...closure, by: named.person('pete') }
    const signature = w.ports.signatures.sign(grant.id, another)
    const byAnother = edited({ by: 'pete', signature })
    expect(await refusal(byAnother.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'condition' })
    expect(await refusal(edited({}).exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it.each<[string, { owner: string; due: Instant }]>([
    ['that nobody is to meet', { owner: 'ghost', due: FRIDAY }],
    ['that an agent is to meet', { owner: 'fix-agent', due: FRIDAY }],
    ['due in the past', { owner: 'sam', due: MONDAY }],
  ])('%s is refused', async (_, { owner, due }) => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const conditions = [{ text: 'x', owner: named.person(owner), due }]
    expect(await refusal(w.yes('paula', grant, { ...REVIEW, conditions }))).toMatchObject({
      code: 'invalid_request',
      member: 'conditions',
    })
    expect(await refusal(w.no('paula', grant, { conditions: [CONDITION] }))).toMatchObject({ member: 'conditions' })
  })
})

describe('a review', () => {
  const NOTE: Evidence = { kind: 'note', text: 'threat-model and rollback-plan: see the wiki' }
  it.each<[string, Record<string, unknown>, readonly string[]]>([
    ['nothing', {}, ['criterion threats', 'criterion reach', 'evidence rollback-plan', 'evidence threat-model']],
    ['all but a criterion', { ...REVIEW, checklist: ['threats'] }, ['criterion reach']],
    ['all but evidence', { ...REVIEW, evidence: [] }, ['evidence rollback-plan', 'evidence threat-model']],
    ['a note instead', { ...REVIEW, evidence: [cited('threat-model'), NOTE] }, ['evidence rollback-plan']],
    [
      'evidence of another kind',
      { ...REVIEW, evidence: [cited('threat-model'), cited('test-results')] },
      ['evidence rollback-plan'],
    ],
  ])('with %s is refused and told what is missing', async (_, more, missing) => {
    const w = await reviewWorld()
    const grant = await w.filed()
    expect(await refusal(w.yes('paula', grant, more))).toMatchObject({
      code: 'policy_refused',
      limit: 'review',
      missing,
    })
    expect((await w.found(grant)).decisions).toEqual([])
  })

  it('that is complete counts, a note beside it too; one that is negative need not be complete', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, { ...REVIEW, evidence: [...(REVIEW.evidence ?? []), NOTE] })
    expect((await lastEvent(w, grant))?.details).toMatchObject({ as: 'security', checklist: ['threats', 'reach'] })
    const other = await w.filed()
    expect((await w.no('paula', other)).head.status).toBe('pending')
  })

  it('on a criterion that is none is refused', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const checklist = ['threats', 'reach', 'weather']
    expect(await refusal(w.yes('paula', grant, { ...REVIEW, checklist }))).toMatchObject({ member: 'checklist' })
    expect(await refusal(w.yes('priya', grant, { checklist: ['threats'] }))).toMatchObject({ member: 'checklist' })
  })

  it('sent once more because its answer was lost is no second one; another one is refused', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const conditions = [{ text: 'x', owner: named.person('sam'), due: FRIDAY }]
    const said = { ...REVIEW, conditions, again: true }
    const { version } = await w.yes('paula', grant, said)
    expect((await w.yes('paula', grant, said)).version).toBe(version)
    const others = [
      { reason: 'other' },
      { seat: 'privacy' as const },
      { checklist: ['threats'] },
      { evidence: [cited('threat-model'), cited('test-results')] },
      { conditions: [{ text: 'y', owner: named.person('sam'), due: FRIDAY }] },
      { conditions: [] },
      { again: false },
    ]
    for (const other of others)
      expect(await refusal(w.yes('paula', grant, { ...said, ...other }))).toMatchObject({ code: 'already_decided' })
    expect(await refusal(w.no('paula', grant, said))).toMatchObject({ code: 'already_decided' })
    expect((await w.found(grant)).version).toBe(version)
  })

  it('in a seat that is not the reviewer’s is refused', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    for (const seat of ['owner', 'privacy', 'legal'] as const)
      expect(await refusal(w.yes('paula', grant, { ...REVIEW, seat }))).toMatchObject({ code: 'not_permitted' })
  })

  it('by somebody of two roles counts in the one that is named, and once', async () => {
    const w = await reviewWorld()
    await w.put({ persons: { paula: { groups: ['security', 'privacy'] } } })
    const grant = await w.filed()
    expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject({
      code: 'invalid_request',
      member: 'as',
      seats: ['privacy', 'security'],
    })
    await w.yes('paula', grant, { ...REVIEW, seat: 'security' })
    expect(await refusal(w.yes('paula', grant, { seat: 'privacy' }))).toMatchObject({ code: 'already_decided' })
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ missing: ['privacy'] })
  })
})

describe('a deputy', () => {
  const reviewed = async (w: ReviewWorld) => {
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    return grant
  }

  it('decides for the owner in the term, and is recorded as that', async () => {
    const w = await reviewWorld()
    const grant = await reviewed(w)
    const approved = await w.yes('rob', grant)
    expect(approved.head.status).toBe('approved')
    expect(approved.decisions.at(-1)).toMatchObject({ by: 'rob', seat: 'owner', deputyFor: 'olivia' })
    expect(await lastEvent(w, grant)).toMatchObject({ by: 'rob', details: { as: 'owner', deputyFor: 'olivia' } })
    const own = await reviewed(w)
    expect((await w.yes('olivia', own)).decisions.at(-1)).toMatchObject({ deputyFor: undefined })
  })

  it.each<[string, Change, Readonly<Record<string, boolean>>]>([
    ['while the first is free', {}, { rob: true, dora: false, dirk: false, lena: false, sam: false }],
    [
      'when the first is switched off',
      { persons: { rob: { active: false } } },
      { dora: true, dirk: true, lena: false },
    ],
    [
      'when the first answers for the requester',
      { agents: { 'fix-agent': { sponsors: ['sam', 'rob'] } } },
      { rob: false, dora: true, lena: false },
    ],
    [
      'when one of the second is free',
      { persons: { rob: { active: false }, dora: { active: false } } },
      { dirk: true, lena: false },
    ],
    [
      'when none of the second is',
      { persons: { rob: { active: false }, dora: { active: false }, dirk: { standingAccess: ['ledger-db'] } } },
      { dirk: false, lena: true },
    ],
  ])('decides in their order: %s', async (_, change, may) => {
    const w = await reviewWorld()
    const grant = await reviewed(w)
    await w.put(change)
    const ballot = { verdict: 'approve', reason: 'x', digest: undefined } as const
    const said = await Promise.all(
      Object.keys(may).map(async (who) => [
        who,
        (await refusal(w.broker.prepareVote(w.as(who), grant.id, ballot))) === 'ok',
      ]),
    )
    expect(Object.fromEntries(said)).toEqual(may)
  })

  it('decides whatever the order, once nobody did in time', async () => {
    const w = await reviewWorld()
    const grant = await reviewed(w)
    expect(await refusal(w.yes('lena', grant))).toMatchObject({ code: 'not_permitted' })
    w.until(grant.ask.decideBy)
    await w.settle(seconds(5))
    expect((await w.yes('lena', grant)).head.status).toBe('approved')
    w.until(FRIDAY)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it.each([
    ['the first moment', after(MONDAY, days(1)), true],
    ['before it', after(MONDAY, milliseconds(days(1) - 1)), false],
    ['the last moment', after(TERM_END, milliseconds(-1)), true],
    ['when it is over', TERM_END, false],
  ] as const)('decides in the term alone: %s', async (_, at, may) => {
    const w = await reviewWorld()
    const [rob] = DEPUTIES
    await w.put({
      ...forLedger({ deputies: [{ ...rob, from: '2026-11-24T09:00:00Z' }] }),
      tiers: { high: { decideWithin: '4d', escalateWithin: '3h' } },
    })
    const grant = await reviewed(w)
    w.until(at)
    const said = await refusal(w.yes('rob', grant))
    if (may) expect(said).toBe('ok')
    else expect(said).toMatchObject({ code: 'not_permitted', seats: [] })
  })

  it('who answered for the requester when it asked does not decide, whoever answers for it by then', async () => {
    const w = await reviewWorld()
    await w.put({ agents: { 'fix-agent': { sponsors: ['sam', 'piet'] } } })
    const grant = await w.filed()
    await w.put()
    const conflict = { code: 'own_request', conflict: 'requester_sponsor' }
    expect(await refusal(w.yes('piet', grant))).toMatchObject(conflict)
    expect(await refusal(w.no('piet', grant))).toMatchObject(conflict)
    expect((await w.broker.list(w.as('piet'), { waiting: true }, { limit: 10, cursor: undefined })).grants).toEqual([])
    expect(await refusal(w.yes('priya', grant))).toBe('ok')
  })

  it('decides nothing where the owner is a party, whenever that shows', async () => {
    const sponsored: Change = { agents: { 'fix-agent': { sponsors: ['sam', 'olivia'] } } }
    const w = await reviewWorld()
    const [grant, decided] = [await reviewed(w), await reviewed(w)]
    await w.yes('rob', decided)
    await w.put(sponsored)
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ code: 'own_request', conflict: 'requester_sponsor' })
    for (const who of ['rob', 'dora', 'lena'])
      expect(await refusal(w.yes(who, grant))).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(w.filed())).toMatchObject({ code: 'nobody_can_decide', missing: ['owner'] })
    w.until(after(FRIDAY, seconds(1)))
    expect(await exchangeOf(w, decided)).toMatchObject({ limit: 'approval', missing: ['owner'] })
  })

  it('decides nothing either where the owner who is a party is switched off', async () => {
    const w = await reviewWorld()
    const grant = await reviewed(w)
    await w.put({ agents: { 'fix-agent': { sponsors: ['sam', 'olivia'] } }, persons: { olivia: { active: false } } })
    for (const who of ['rob', 'dora', 'lena'])
      expect(await refusal(w.yes(who, grant))).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(w.filed())).toMatchObject({ code: 'nobody_can_decide', missing: ['owner'] })
  })

  it('who reviews too is one person', async () => {
    const w = await reviewWorld()
    await w.put({ persons: { rob: { groups: ['privacy'] } } })
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('rob', grant, { seat: 'privacy' })
    expect(await refusal(w.yes('rob', grant, { seat: 'owner' }))).toMatchObject({ code: 'already_decided' })
    expect(await statusOf(w, grant)).toBe('pending')
  })

  it('denies for the owner, and that is the end', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    expect((await w.no('rob', grant)).head).toMatchObject({ status: 'denied', facts: { by: 'rob' } })
  })
})

describe('the authors of a released change', () => {
  const SHA = 'c'.repeat(40)
  const CHANGE = { forge: FORGE, repository: REPOSITORY, sha: SHA }
  const release = (part: Partial<Asking> = {}): Asking =>
    plain('shop-release', 'deploy', {
      scope: [`commit:${SHA}`],
      executor: named.principal('release-bot'),
      executorKey: KEY,
      ...part,
    })(MONDAY)
  const by = (w: ReviewWorld, ...subjects: readonly string[]): void =>
    w.forges.add(
      CHANGE,
      subjects.map((subject) => ({ account: { issuer: FORGE, subject }, login: '', roles: ['author'] })),
    )
  const bot = (w: ReviewWorld) => w.as('release-bot', { key: KEY })
  const agent = (w: ReviewWorld) => w.as('fix-agent', { key: KEY })

  it('an agent that wrote it asks, persons approve: it executes nothing, the release identity does', async () => {
    const w = await reviewWorld()
    by(w, '301')
    const own = { executor: undefined, executorKey: undefined }
    expect(await refusal(w.file(agent(w), release(own)))).toEqual({
      code: 'own_request',
      conflict: 'author',
      role: 'executor',
    })
    const grant = await w.file(agent(w), release())
    expect(grant.ask.intent.change).toEqual(CHANGE)
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    expect(await refusal(w.broker.exchange(agent(w), grant.id))).toMatchObject({ code: 'not_executor' })
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toBe('ok')
  })

  it('an agent that shows to be one only later is refused at its exchange', async () => {
    const w = await reviewWorld()
    by(w, '201')
    const grant = await w.file(agent(w), release({ executor: undefined, executorKey: undefined }))
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    by(w, '201', '301')
    expect(await refusal(w.broker.exchange(agent(w), grant.id))).toEqual({
      code: 'own_request',
      conflict: 'author',
      role: 'executor',
    })
    by(w, '201')
    expect(await refusal(w.broker.exchange(agent(w), grant.id))).toBe('ok')
  })

  it.each([
    ['an author by their own hand', 'dana', '201', {}],
    ['a person who answers for the agent that wrote it', 'sam', '301', { persons: { sam: { groups: ['askers'] } } }],
    ['the agent of an author', 'fix-agent', '201', { agents: { 'fix-agent': { sponsors: ['dana'] } } }],
    [
      'an agent whose sponsor’s other agent wrote it',
      'paula-agent',
      '301',
      { agents: { 'fix-agent': { sponsors: ['paula'] } } },
    ],
  ])('do not execute it, by whichever hand: %s', async (_, executor, subject, change: Change) => {
    const w = await reviewWorld()
    await w.put(change)
    by(w, subject)
    const asked = release({ executor: named.principal(executor) })
    const says = { code: 'own_request', conflict: 'author', role: 'executor' }
    expect(await refusal(w.file(bot(w), asked))).toEqual(says)
    by(w, '203')
    expect(await refusal(w.file(bot(w), asked))).toBe('ok')
  })

  it('keep a release identity: it is no hand of theirs', async () => {
    const w = await reviewWorld()
    await w.put({ workloads: { 'release-bot': { sponsors: ['dana'] } } })
    by(w, '201')
    const grant = await w.file(agent(w), release())
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toBe('ok')
  })

  it.each([
    ['an author', '206', 'author'],
    ['a sponsor of an author', '301', 'author_sponsor'],
  ])('%s does not decide', async (_, subject, conflict) => {
    const w = await reviewWorld()
    await w.put({ agents: { 'fix-agent': { sponsors: ['sam', 'priya'] } } })
    by(w, '201', subject)
    const grant = await w.file(w.as('dana'), release())
    expect(await refusal(w.yes('priya', grant))).toMatchObject({ code: 'own_request', conflict })
    expect(await refusal(w.no('priya', grant))).toMatchObject({ code: 'own_request', conflict })
    await w.yes('piet', grant)
    await w.yes('rob', grant)
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toBe('ok')
  })

  it('a colleague of the requester who has approved and shows to be an author later counts no more', async () => {
    const w = await reviewWorld()
    by(w, '201')
    const grant = await w.file(w.as('dana'), release())
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    by(w, '201', '206')
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toMatchObject({
      limit: 'approval',
      missing: ['privacy'],
      void: [{ by: 'priya', because: 'author' }],
    })
    await w.yes('piet', grant)
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toBe('ok')
  })

  it('an owner who is one leaves nobody who could decide, deputies neither', async () => {
    const w = await reviewWorld()
    by(w, '202')
    expect(await refusal(w.file(w.as('dana'), release()))).toMatchObject({
      code: 'nobody_can_decide',
      missing: ['owner'],
    })
  })

  it('an account that nobody has, and a commit that nobody knows, are refused when it is filed', async () => {
    const w = await reviewWorld()
    expect(await refusal(w.file(w.as('dana'), release()))).toMatchObject({ code: 'authors_unknown' })
    by(w, '201', '999')
    expect(await refusal(w.file(w.as('dana'), release()))).toEqual({
      code: 'authors_unknown',
      forge: FORGE,
      unlisted: ['999'],
    })
  })

  it('an account that nobody has any more refuses the exchange', async () => {
    const w = await reviewWorld()
    by(w, '201')
    const grant = await w.file(w.as('dana'), release())
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    by(w, '201', '999')
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toMatchObject({ code: 'authors_unknown' })
  })

  it('a forge that does not answer issues nothing, approves nothing, files nothing; when it is back all goes on', async () => {
    const w = await reviewWorld()
    by(w, '201')
    const grant = await w.file(w.as('dana'), release())
    await w.yes('priya', grant)
    const down = { code: 'forge_unavailable' }
    w.forges.setAnswering(false)
    expect(await refusal(w.file(w.as('dana'), release()))).toMatchObject(down)
    expect(await refusal(w.yes('rob', grant))).toMatchObject(down)
    w.forges.setAnswering(true)
    await w.yes('rob', grant)
    w.forges.setAnswering(false)
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toMatchObject(down)
    expect(await statusOf(w, grant)).toBe('approved')
    expect(await typesOf(w, grant)).not.toContain('issued')
    w.forges.setAnswering(true)
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toBe('ok')
  })

  it.each<[string, Record<string, unknown> | undefined]>([
    ['another repository', { forge: FORGE, repository: 'northwind/other', scope: 'commit' }],
    ['another forge', { forge: 'other', repository: REPOSITORY, scope: 'commit' }],
    ['no release at all', undefined],
  ])('are those that were approved: the entitlement names %s since', async (_, renamed) => {
    const w = await reviewWorld()
    by(w, '201')
    const grant = await w.file(w.as('dana'), release())
    await w.yes('priya', grant)
    await w.yes('rob', grant)
    await w.put({ entitlements: { 'shop-release': { release: renamed } } })
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toMatchObject({ limit: 'entitlement' })
    await w.put()
    expect(await refusal(w.broker.exchange(bot(w), grant.id))).toBe('ok')
  })

  it('are of one commit: none and two are refused', async () => {
    const w = await reviewWorld()
    by(w, '201')
    for (const scope of [[], [`commit:${SHA}`, `commit:${'d'.repeat(40)}`]])
      expect(await refusal(w.file(w.as('dana'), release({ scope })))).toMatchObject({ limit: 'release' })
  })
})

describe('at tier high', () => {
  /** Paula asks for the ledger herself; others approve. */
  async function holding(w: ReviewWorld, caller: string, window = { opensAt: MONDAY, closesAt: after(MONDAY, HOUR) }) {
    const key = caller === 'paula-agent' ? KEY : undefined
    const asked = ledger(MONDAY, { executor: undefined, window })
    const held = await w.file(w.as(caller, { key }), asked)
    await w.yes('pete', held, REVIEW)
    await w.yes('priya', held)
    await w.yes('olivia', held)
    return { held, caller: w.as(caller, { key }) }
  }
  const ASKER: Change = { persons: { paula: { groups: ['security', 'askers'] } } }
  const BAR = 'holds a grant on the target'

  it.each([['paula'], ['paula-agent']])('whoever holds a live grant on the target does not count: %s', async (hand) => {
    const w = await reviewWorld()
    await w.put(ASKER)
    const grant = await w.filed()
    const { held, caller } = await holding(w, hand)
    const says = { code: 'not_permitted', because: BAR }
    expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject(says)
    await w.broker.exchange(caller, held.id)
    expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject(says)
    await w.broker.complete(caller, held.id, {})
    expect(await refusal(w.yes('paula', grant, REVIEW))).toBe('ok')
  })

  it('whoever gets one after the vote does not count any more; when it is over the vote does again', async () => {
    const w = await reviewWorld()
    await w.put(ASKER)
    const grant = await w.approved()
    const { held, caller } = await holding(w, 'paula', { opensAt: FRIDAY, closesAt: after(FRIDAY, HOUR) })
    w.until(FRIDAY)
    await w.broker.exchange(caller, held.id)
    expect(await exchangeOf(w, grant)).toMatchObject({
      limit: 'approval',
      missing: ['security'],
      void: [{ by: 'paula', because: BAR }],
    })
    await w.broker.complete(caller, held.id, {})
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('whose machines have asked for more than is looked through decides all the same, unless one of them holds one', async () => {
    const w = await reviewWorld()
    await w.put(ASKER)
    const grant = await w.filed()
    // However far it is looked through what they asked for, there is more.
    const list: typeof w.store.list = async (query) =>
      query.of.some((index) => Object.keys(index).join() === 'party')
        ? { grants: [], places: [], next: 'more' }
        : w.store.list(query)
    const crowded = w.another({ grants: { ...w.store, list } })
    const vote = { verdict: 'approve', reason: 'modelled', digest: undefined, ...REVIEW } as const
    const { held, caller } = await holding(w, 'paula-agent')
    expect(await refusal(crowded.decide(w.as('paula'), grant.id, vote))).toMatchObject({ because: BAR })
    await w.broker.exchange(caller, held.id)
    expect(await refusal(crowded.decide(w.as('paula'), grant.id, vote))).toMatchObject({ because: BAR })
    await w.broker.complete(caller, held.id, {})
    expect(await refusal(crowded.decide(w.as('paula'), grant.id, vote))).toBe('ok')
  })

  it('a grant that is only asked for, or on another target, bars nobody', async () => {
    const w = await reviewWorld()
    await w.put(ASKER)
    await w.file(w.as('paula'), ledger(MONDAY, { executor: undefined }))
    const other = await w.file(w.as('paula', { key: KEY }), triage(MONDAY))
    await w.yes('lena', other)
    await w.broker.exchange(w.as('paula', { key: KEY }), other.id)
    const grant = await w.filed()
    expect(await refusal(w.yes('paula', grant, REVIEW))).toBe('ok')
  })

  it.each<[string, Change]>([
    ['a person', { persons: { paula: { standingAccess: ['ledger-db'] } } }],
    ['their agent', { agents: { 'paula-agent': { standingAccess: ['ledger-db'] } } }],
    [
      'their agent that is switched off',
      { agents: { 'paula-agent': { standingAccess: ['ledger-db'], active: false } } },
    ],
  ])('standing access of %s bars them from deciding', async (_, change) => {
    const w = await reviewWorld()
    await w.put(change)
    const grant = await w.filed()
    expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject({
      code: 'not_permitted',
      because: 'has standing access to the target',
    })
    expect(await refusal(w.yes('pete', grant, REVIEW))).toBe('ok')
  })

  it('standing access bars nobody below it, or from another target', async () => {
    const w = await reviewWorld()
    await w.put({ persons: { lena: { standingAccess: ['desk'] }, paula: { standingAccess: ['desk'] } } })
    const low = await w.file(w.as('dana', { key: KEY }), triage(MONDAY))
    expect(await refusal(w.yes('lena', low))).toBe('ok')
    expect(await refusal(w.yes('paula', await w.filed(), REVIEW))).toBe('ok')
  })

  it.each<[string, Change]>([
    ['that is administrative', { groups: { northwind: { security: { administrative: true } } } }],
    ['that is too large', { tiers: { high: { maxApprovers: 1 } }, persons: { priya: { groups: [] } } }],
  ])('a group %s gives nobody a seat where the tier was raised to it', async (_, change) => {
    const w = await reviewWorld()
    await w.put(change)
    const raised = { impact: { ...NO_IMPACT, resilience: true } }
    const dana = w.as('dana', { key: KEY })
    expect(await refusal(w.file(dana, rotate(FRIDAY)))).toBe('ok')
    expect(await refusal(w.file(dana, { ...rotate(FRIDAY), ...raised }))).toMatchObject({
      code: 'nobody_can_decide',
      missing: ['security'],
    })
    await w.put()
    const grant = await w.file(dana, { ...rotate(FRIDAY), ...raised })
    expect(grant.ask.tier).toBe('high')
    await w.yes('pete', grant)
    await w.put(change)
    expect(await refusal(w.yes('paula', grant))).toMatchObject({ code: 'not_permitted', seats: [] })
    await w.put()
    await w.yes('priya', grant)
    await w.yes('olivia', grant)
    await w.put(change)
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(dana, grant.id))).toMatchObject({ limit: 'approval' })
    await w.put()
    expect(await refusal(w.broker.exchange(dana, grant.id))).toBe('ok')
  })
})

describe('an asking on which conflicts leave nobody', () => {
  it.each<[string, Change, readonly string[]]>([
    ['the owner answers for the requester', { agents: { 'fix-agent': { sponsors: ['olivia'] } } }, ['owner']],
    [
      'every reviewer of a role answers for it',
      { agents: { 'fix-agent': { sponsors: ['priya', 'piet'] } } },
      ['privacy'],
    ],
    [
      'one person is all that is left of two roles',
      {
        persons: {
          paula: { groups: ['security', 'privacy'] },
          pete: { active: false },
          priya: { active: false },
          piet: { active: false },
        },
      },
      ['security'],
    ],
    [
      'every reviewer has standing access',
      { persons: { priya: { standingAccess: ['ledger-db'] }, piet: { active: false } } },
      ['privacy'],
    ],
    [
      'the guards let no reviewer approve',
      {
        guards: '@id("none") forbid (principal in Group::"northwind/privacy", action == Action::"Approve", resource);',
      },
      ['privacy'],
    ],
    ['only another tenant has such a group', { persons: { priya: { groups: [] }, piet: { groups: [] } } }, ['privacy']],
  ])('is refused at once where %s', async (_, change, missing) => {
    const w = await reviewWorld()
    await w.put(change)
    expect(await refusal(w.filed())).toMatchObject({ code: 'nobody_can_decide', missing })
    await w.put()
    expect(await refusal(w.filed())).toBe('ok')
  })

  it('is refused where the executor is the owner, or the only one who could', async () => {
    const w = await reviewWorld()
    await w.put({
      persons: { olivia: { groups: ['askers'] }, priya: { groups: ['privacy', 'askers'] }, piet: { groups: [] } },
    })
    const executor = (who: string) => ({ executor: named.principal(who) })
    expect(await refusal(w.filed(executor('olivia')))).toMatchObject({ missing: ['owner'] })
    expect(await refusal(w.filed(executor('priya')))).toMatchObject({ missing: ['privacy'] })
    expect(await refusal(w.filed(executor('dana')))).toBe('ok')
  })

  it('whoever has the words of our groups in another tenant sees and decides nothing', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    expect(await refusal(w.yes('gus', grant, REVIEW))).toEqual({ code: 'grant_not_found' })
  })
})

describe('whoever has a part in it', () => {
  it.each([
    ['the executor', 'dana', 'executor'],
    ["the requester's sponsor", 'sam', 'requester_sponsor'],
  ])('%s does not decide, owner and reviewer of everything or not', async (_, who, conflict) => {
    const w = await reviewWorld()
    const groups = ['askers', 'security', 'privacy', 'dba', 'duty']
    await w.put({ ...forLedger({ owner: who, deputies: [] }), persons: { [who]: { groups } } })
    expect(await refusal(w.filed())).toMatchObject({ code: 'nobody_can_decide' })
    await w.put()
    const grant = await w.filed()
    await w.put({ ...forLedger({ owner: who, deputies: [] }), persons: { [who]: { groups } } })
    for (const say of [w.yes, w.no])
      expect(await refusal(say(who, grant, REVIEW))).toMatchObject({ code: 'own_request', conflict })
  })

  it('the requesting agent does not decide either', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    expect(await refusal(w.yes('fix-agent', grant, REVIEW))).toMatchObject({ code: 'own_request' })
  })
})

it.each<[string, Change, Record<string, unknown>]>([
  ['the requester is nobody any more', { persons: { sam: { active: false } } }, { role: 'requester' }],
  ['the executor is nobody any more', { persons: { dana: { active: false } } }, { role: 'executor' }],
])('nothing is decided where %s', async (_, change, says) => {
  const w = await reviewWorld()
  const grant = await w.filed()
  await w.put(change)
  expect(await refusal(w.yes('paula', grant, REVIEW))).toMatchObject({ code: 'not_permitted', ...says })
  expect((await w.found(grant)).decisions).toEqual([])
})

describe('the executor', () => {
  it('alone exchanges: requester, sponsor, owner and reviewers do not', async () => {
    const w = await reviewWorld()
    const grant = await w.approved()
    w.until(FRIDAY)
    for (const who of ['fix-agent', 'sam', 'olivia', 'paula', 'sol'])
      expect(await exchangeOf(w, grant, who), who).toMatchObject({ code: 'not_executor' })
    for (const who of ['gus', 'vera']) expect(await exchangeOf(w, grant, who), who).toEqual({ code: 'grant_not_found' })
    expect(w.backend.calls('open')).toBe(0)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('is another than the requester where the entitlement says so', async () => {
    const w = await reviewWorld()
    const dana = w.as('dana', { key: KEY })
    const split = plain('split-duty', 'split.run')(MONDAY)
    expect(await refusal(w.file(dana, split))).toMatchObject({ code: 'policy_refused', limit: 'executor' })
    expect(await refusal(w.file(dana, { ...split, executor: named.principal('dana') }))).toMatchObject({
      limit: 'executor',
    })
    const grant = await w.file(dana, { ...split, executor: named.principal('release-bot') })
    await w.yes('olivia', grant)
    expect(await refusal(w.broker.exchange(dana, grant.id))).toMatchObject({ code: 'not_executor' })
    expect(await refusal(w.broker.exchange(w.as('release-bot', { key: KEY }), grant.id))).toBe('ok')
  })

  it('is bound to its key and its run', async () => {
    const w = await reviewWorld()
    const caller = w.as('fix-agent', { key: KEY, session: 'run-1' })
    const grant = await w.file(caller, triage(MONDAY))
    await w.yes('lena', grant)
    const other = 'o'.repeat(43) as typeof KEY
    expect(await refusal(w.broker.exchange({ ...caller, key: other }, grant.id))).toMatchObject({
      code: 'unauthenticated',
    })
    expect(await refusal(w.broker.exchange({ ...caller, session: 'run-2' }, grant.id))).toMatchObject({
      code: 'not_executor',
    })
    expect(await refusal(w.broker.exchange(caller, grant.id))).toBe('ok')
  })
})
