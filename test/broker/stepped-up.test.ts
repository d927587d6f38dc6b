// Where the rule asks for a passkey a decision is signed by one: over exactly the text that was shown, asked again at every exchange, and
// worth nothing for another verdict, grant or text, whoever can sign as the broker.
import { describe, expect, it } from 'vitest'
import type { Ballot } from '../../src/broker/decide.ts'
import type { Assertion } from '../../src/domain/assertion.ts'
import { type Decision, statementText, type UnsignedDecision } from '../../src/domain/decision.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, minutes } from '../../src/domain/instant.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import { softPasskey } from '../support/authenticator.ts'
import { type Change, MONDAY, type ReviewWorld, refusal, reviewWorld } from '../support/review-world.ts'
import { asking, ISSUER, KEY } from '../support/world.ts'

const YES: Ballot = { verdict: 'approve', reason: 'because', digest: undefined }
const passkey = softPasskey(ISSUER)
const payout = asking(MONDAY, { entitlement: named.entitlement('payout-run'), actions: ['payout.run'] })
const file = (w: ReviewWorld) => w.file(w.as('dana', { key: KEY }), payout)
const exchangeOf = (w: ReviewWorld, { id }: Grant) => refusal(w.broker.exchange(w.as('dana', { key: KEY }), id))

const shown = (w: ReviewWorld, who: string, { id }: Grant, ballot = YES) => w.broker.prepareVote(w.as(who), id, ballot)
const given = (w: ReviewWorld, who: string, { id }: Grant, ballot: Ballot, decision: UnsignedDecision, by: Assertion) =>
  w.broker.decide(w.as(who), id, ballot, { at: decision.at, assertion: by })
/** Looks at the page, and uses the passkey. */
async function signs(w: ReviewWorld, who: string, grant: Grant, ballot = YES): Promise<Grant> {
  const { decision, text } = await shown(w, who, grant, ballot)
  return given(w, who, grant, ballot, decision, passkey.assertion(text))
}
async function approved(w: ReviewWorld): Promise<Grant> {
  const grant = await file(w)
  await signs(w, 'priya', grant)
  return signs(w, 'olivia', grant)
}
const payoutWith = (approval: Record<string, unknown>): Change => ({
  entitlements: {
    'payout-run': {
      approval: { owner: 'olivia', reviewers: [{ role: 'privacy', group: 'privacy' }], stepUp: true, ...approval },
    },
  },
})

describe('a decision that needs a passkey', () => {
  it('is not taken without one, and says where to go', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    const says = { code: 'step_up_required', ceremonies: `/v1/grants/${grant.id}/ceremonies` }
    expect(await refusal(w.yes('priya', grant))).toEqual(says)
    expect(await refusal(w.no('priya', grant))).toEqual(says)
    expect((await w.found(grant)).decisions).toEqual([])
  })

  it('is refused before that for whoever may not take it at all', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    expect(await refusal(w.yes('dana', grant))).toMatchObject({ code: 'own_request' })
    expect(await refusal(w.yes('paula', grant))).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(shown(w, 'paula', grant))).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(shown(w, 'olivia', grant))).toMatchObject({ limit: 'reviews' })
  })

  it('is shown as the text that is signed: the grant, the intent, the texts, the verdict, the rules', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    const { text, decision } = await shown(w, 'priya', grant)
    expect(text).toBe(statementText(grant.id, ISSUER, decision))
    expect(JSON.parse(text)).toMatchObject({
      typ: 'writ/decision/v1',
      iss: ISSUER,
      grant: grant.id,
      decision: {
        by: 'priya',
        verdict: 'approve',
        seat: 'privacy',
        digest: grant.ask.digest,
        textsDigest: grant.ask.textsDigest,
        policyDigest: w.book.current().policy.digest,
        peopleDigest: w.book.current().directory.digest,
      },
    })
    expect((await w.found(grant)).version).toBe(grant.version)
  })

  it('is taken with an assertion over exactly that, minutes later too, and gives a credential', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    const { text, decision } = await shown(w, 'priya', grant)
    w.advance(minutes(4))
    const assertion = passkey.assertion(text)
    const noted = await given(w, 'priya', grant, YES, decision, assertion)
    expect(noted.decisions).toMatchObject([{ by: 'priya', at: MONDAY, assertion }])
    expect((await w.store.events(grant.id)).at(-1)?.details).toMatchObject({ passkey: passkey.credentialId })
    expect((await signs(w, 'olivia', grant)).head.status).toBe('approved')
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('denies with one too', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    expect((await signs(w, 'olivia', grant, { ...YES, verdict: 'deny' })).head.status).toBe('denied')
  })

  type Wrong = (on: {
    w: ReviewWorld
    grant: Grant
    other: Grant
    text: string
    decision: UnsignedDecision
  }) => Promise<unknown>
  const wrong: Readonly<Record<string, Wrong>> = {
    'over another text': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, YES, decision, passkey.assertion(`${text} `)),
    'for another verdict': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, { ...YES, verdict: 'deny' }, decision, passkey.assertion(text)),
    'for another reason': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, { ...YES, reason: 'other' }, decision, passkey.assertion(text)),
    'with a condition that was not shown': ({ w, grant, text, decision }) =>
      given(
        w,
        'priya',
        grant,
        { ...YES, conditions: [{ text: 'x', owner: named.person('sam'), due: after(MONDAY, minutes(30)) }] },
        decision,
        passkey.assertion(text),
      ),
    'at another time': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, YES, { ...decision, at: after(decision.at, minutes(1)) }, passkey.assertion(text)),
    'of another grant of the same intent': ({ w, other, text, decision }) =>
      given(w, 'priya', other, YES, decision, passkey.assertion(text)),
    'by another person': ({ w, grant, text, decision }) =>
      given(w, 'piet', grant, YES, decision, passkey.assertion(text)),
    'over another digest': ({ w, grant, decision }) => {
      const digest = `sha-256:${'x'.repeat(43)}` as typeof decision.digest
      const text = statementText(grant.id, ISSUER, { ...decision, digest })
      return given(w, 'priya', grant, YES, decision, passkey.assertion(text))
    },
    'for another broker': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, YES, decision, softPasskey('https://other.example').assertion(text)),
    'with its user not verified': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, YES, decision, passkey.assertion(text, { flags: 1 })),
    'with a signature cut off': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, YES, decision, { ...passkey.assertion(text), signature: '' }),
    'with the key of another': ({ w, grant, text, decision }) =>
      given(w, 'priya', grant, YES, decision, {
        ...passkey.assertion(text),
        publicKey: softPasskey(ISSUER).publicKey,
      }),
  }
  it.each(Object.entries(wrong))('is refused with an assertion %s', async (_, attempt) => {
    const w = await reviewWorld()
    const [grant, other] = [await file(w), await file(w)]
    expect(other.ask.digest).toBe(grant.ask.digest)
    const { text, decision } = await shown(w, 'priya', grant)
    const on = { w, grant, other, text, decision }
    expect(await refusal(attempt(on))).toMatchObject({ code: 'revision_mismatch' })
    expect([(await w.found(grant)).decisions, (await w.found(other)).decisions]).toEqual([[], []])
  })

  it('is refused on another revision than was shown', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    const other = await w.file(w.as('dana', { key: KEY }), { ...payout, task: 'other' })
    const { text, decision } = await shown(w, 'priya', grant)
    const ballot = { ...YES, digest: grant.ask.digest }
    expect(await refusal(given(w, 'priya', other, ballot, decision, passkey.assertion(text)))).toMatchObject({
      code: 'revision_mismatch',
    })
  })

  it.each<[string, Change]>([
    ['the policy', { tiers: { elevated: { useWithin: '1h' } } }],
    ['the people', { persons: { newcomer: { name: 'new', tenant: 'northwind', accounts: [] } } }],
  ])('is refused when %s changed since it was shown, and taken when it is shown anew', async (_, change) => {
    const w = await reviewWorld()
    const grant = await file(w)
    const { text, decision } = await shown(w, 'priya', grant)
    await w.put(change)
    expect(await refusal(given(w, 'priya', grant, YES, decision, passkey.assertion(text)))).toMatchObject({
      code: 'revision_mismatch',
    })
    expect(await refusal(signs(w, 'priya', grant))).toBe('ok')
  })

  it('of one is not disturbed by the vote of another', async () => {
    const w = await reviewWorld()
    await w.put(
      payoutWith({
        reviewers: [
          { role: 'privacy', group: 'privacy', count: 2 },
          { role: 'legal', group: 'legal' },
        ],
      }),
    )
    const grant = await file(w)
    const pages = await Promise.all(
      ['priya', 'piet', 'lars'].map(async (who) => ({ who, ...(await shown(w, who, grant)) })),
    )
    for (const { who, text, decision } of pages) await given(w, who, grant, YES, decision, passkey.assertion(text))
    expect((await w.found(grant)).decisions.map(({ by }) => by)).toEqual(['priya', 'piet', 'lars'])
    expect((await signs(w, 'olivia', grant)).head.status).toBe('approved')
    expect(await exchangeOf(w, grant)).toBe('ok')
  })

  it('cannot be replayed once it is taken, or once it was taken back', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    const { text, decision } = await shown(w, 'priya', grant)
    const assertion = passkey.assertion(text)
    const replay = () => refusal(given(w, 'priya', grant, YES, decision, assertion))
    expect(await replay()).toBe('ok')
    expect(await replay()).toMatchObject({ code: 'already_decided' })
    await w.broker.retract(w.as('priya'), grant.id, 'not so')
    w.advance(minutes(1))
    expect(await replay()).toMatchObject({ code: 'already_decided' })
    expect(await refusal(shown(w, 'olivia', grant))).toMatchObject({ limit: 'reviews', missing: ['privacy'] })
    expect(await refusal(signs(w, 'priya', grant))).toBe('ok')
  })

  it('asks for one where only the tier to which it was raised does', async () => {
    const w = await reviewWorld()
    await w.put({
      entitlements: {
        'payout-run': { approval: { owner: 'olivia', reviewers: [{ role: 'privacy', group: 'privacy' }] } },
      },
      tiers: { high: { stepUp: true }, critical: { stepUp: true } },
    })
    const dana = w.as('dana', { key: KEY })
    expect(await refusal(w.yes('priya', await w.file(dana, payout)))).toBe('ok')
    const raised = await w.file(dana, { ...payout, impact: { ...NO_IMPACT, irreversible: true } })
    expect(raised.ask.tier).toBe('high')
    expect(await refusal(w.yes('priya', raised))).toMatchObject({ code: 'step_up_required' })
  })

  it('asks for one to close a condition and to take a risk, and for none to take a vote back', async () => {
    const w = await reviewWorld()
    const grant = await file(w)
    const conditions = [{ text: 'x', owner: named.person('sam'), due: after(MONDAY, minutes(30)) }]
    const reviewed = await signs(w, 'priya', grant, { ...YES, conditions })
    await signs(w, 'olivia', grant)
    const [vote] = reviewed.decisions
    const id = (vote?.act === 'vote' ? vote.conditions[0]?.id : undefined) ?? ''
    const closing = { condition: id, reason: 'done', evidence: [] }
    const taking = { accepts: [{ risk: `condition:${id}`, until: after(MONDAY, minutes(30)) }], reason: 'mine' }
    const needed = { code: 'step_up_required' }
    expect(await refusal(w.broker.closeCondition(w.as('priya'), grant.id, closing))).toMatchObject(needed)
    expect(await refusal(w.broker.acceptRisks(w.as('olivia'), grant.id, taking))).toMatchObject(needed)
    expect(await exchangeOf(w, grant)).toMatchObject({ limit: 'condition' })
    if (vote === undefined) throw new Error('no vote')
    const { digest, textsDigest, policyDigest, peopleDigest } = vote
    const about = { v: 2 as const, at: MONDAY, digest, textsDigest, policyDigest, peopleDigest }
    const closure = { ...about, act: 'close' as const, by: named.person('priya'), ...closing }
    const assertion = passkey.assertion(statementText(grant.id, ISSUER, closure))
    await w.broker.closeCondition(w.as('priya'), grant.id, closing, { at: MONDAY, assertion })
    const back = await w.broker.retract(w.as('olivia'), grant.id, 'not so')
    expect(back.head.status).toBe('withdrawn')
  })
})

describe('an exchange', () => {
  /** As whoever has the broker's own key would write it: altered, and signed again in the broker's name. */
  const resigned = (w: ReviewWorld, grant: Grant, n: number, alter: (decision: Decision) => Decision) =>
    w.edited(grant.id, (stored) => ({
      ...stored,
      decisions: stored.decisions.map((text, place) => {
        if (place !== n) return text
        const { signature: _, ...altered } = alter(JSON.parse(text))
        return JSON.stringify({ ...altered, signature: w.ports.signatures.sign(grant.id, altered) })
      }),
    }))
  const attempt = (w: ReviewWorld, grant: Grant, n: number, alter: (decision: Decision) => Decision) =>
    refusal(resigned(w, grant, n, alter).exchange(w.as('dana', { key: KEY }), grant.id))
  const lost = { limit: 'approval', missing: ['owner'], void: [{ by: 'olivia', seat: 'owner' }] }

  it.each<[string, (decision: Decision, copied: Assertion) => Decision]>([
    ['without its assertion', (decision) => ({ ...decision, assertion: undefined })],
    ['with another reason', (decision) => ({ ...decision, reason: 'other' })],
    ['at another time', (decision) => ({ ...decision, at: after(decision.at, minutes(1)) })],
    [
      'with a risk that was not shown',
      (decision) =>
        ({ ...decision, accepts: [{ risk: 'review:privacy', until: after(MONDAY, minutes(30)) }] }) as Decision,
    ],
    [
      'with the assertion of the same person on another grant',
      (decision, copied) => ({ ...decision, assertion: copied }),
    ],
    [
      'with its assertion altered',
      (decision) => ({
        ...decision,
        assertion: decision.assertion && { ...decision.assertion, signature: decision.assertion.signature.slice(4) },
      }),
    ],
  ])('does not believe a decision %s, though the broker’s own signature is right', async (_, alter) => {
    const w = await reviewWorld()
    const [grant, other] = [await approved(w), await approved(w)]
    const copied = (await w.found(other)).decisions[1]?.assertion
    if (copied === undefined) throw new Error('no assertion')
    expect(await attempt(w, grant, 1, (decision) => alter(decision, copied))).toMatchObject(lost)
    expect(await attempt(w, grant, 1, (decision) => decision)).toBe('ok')
  })

  it('does not believe an assertion that was altered in the store', async () => {
    const w = await reviewWorld()
    const grant = await approved(w)
    const flipped = (text: string): string => {
      const decision = JSON.parse(text)
      return JSON.stringify({ ...decision, assertion: { ...decision.assertion, credentialId: 'AAAA' } })
    }
    const verbs = w.edited(grant.id, (stored) => ({
      ...stored,
      decisions: stored.decisions.map((text, n) => (n === 1 ? flipped(text) : text)),
    }))
    expect(await refusal(verbs.exchange(w.as('dana', { key: KEY }), grant.id))).toMatchObject(lost)
    expect(await exchangeOf(w, grant)).toBe('ok')
  })
})
