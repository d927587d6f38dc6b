// The page shows what is signed, the whole of it, and nothing else; where a digest does not fit, nothing at all.
import { describe, expect, it } from 'vitest'
import { decisionPage } from '../../src/console/decision-page.ts'
import { fieldsOf } from '../../src/console/fields.ts'
import { textOf } from '../../src/console/html.ts'
import type { Canonical } from '../../src/domain/canonical.ts'
import { type Content, statementText, type UnsignedDecision } from '../../src/domain/decision.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named, shard } from '../../src/domain/ids.ts'
import { minutes } from '../../src/domain/instant.ts'
import { intentDigest, semantic, textsDigest } from '../../src/domain/intent.ts'
import { NOON } from '../support/keys.ts'
import { nextGrantId, sampleBirth, sha256 } from '../support/sample-grants.ts'

const issuer = 'https://writ.example'
const options = { get: { challenge: 'x', rpId: 'writ.example', allowCredentials: [] } }
const grantWith = (more: Partial<Grant['ask']['texts']> = {}, intent: Partial<Grant['ask']['intent']> = {}) => {
  const { ask } = sampleBirth(nextGrantId(shard(0)), NOON).grant
  return { ...ask, intent: { ...ask.intent, ...intent }, texts: { ...ask.texts, ...more } }
}
const VOTE: Content = {
  act: 'vote',
  verdict: 'approve',
  seat: 'owner',
  deputyFor: undefined,
  checklist: ['threats-modelled'],
  evidence: [{ kind: 'note', text: 'a note of mine' }],
  conditions: [{ id: 'abcdefghijkl', text: 'take a backup', owner: named.person('olivia'), due: NOON }],
  accepts: [{ risk: 'review:security', until: NOON }],
}
const textFor = (ask: Grant['ask'], reason = 'I have read the plan', content: Content = VOTE): string =>
  statementText(ask.id, issuer, {
    v: 2,
    by: named.person('olivia'),
    reason,
    at: NOON,
    ...content,
    digest: intentDigest(ask.intent, issuer, sha256),
    textsDigest: textsDigest(ask.texts, issuer, sha256),
    policyDigest: `sha-256:${'p'.repeat(43)}` as Grant['ask']['digest'],
    peopleDigest: `sha-256:${'q'.repeat(43)}` as Grant['ask']['digest'],
  } satisfies UnsignedDecision)
const pageOf = (text: string, ask: Grant['ask']): string | undefined => {
  const made = decisionPage({ text, ask, options }, { issuer, sha256 })
  return made === undefined ? undefined : textOf(made)
}

describe('the page of a decision', () => {
  it('shows every member of the statement, of the intent and of the texts, once', () => {
    const ask = grantWith()
    const text = textFor(ask)
    const made = pageOf(text, ask) ?? ''
    const paths = [...made.matchAll(/data-path="([^"]*)"/g)].map(([, path]) => path).sort()
    const { decision, ...around } = JSON.parse(text)
    const all = [{ ...around, ...decision }, semantic(ask.intent), { ...ask.texts }].flatMap((value: Canonical) =>
      fieldsOf(value),
    )
    expect(paths).toEqual(all.map(({ path }) => path).sort())
  })

  it('says how it ends and what a revoke may leave behind, before it is signed', () => {
    const path = { mount: 'aws', path: 'sts/x', method: 'read', parameters: {} } as const
    const rule = { kind: 'vault', backend: 'vault-main', engine: 'path', maxLife: minutes(5) } as const
    const of = (credential: Grant['ask']['credential']): string => {
      const ask = { ...grantWith(), credential }
      return /<p id="residue">([^<]*)/.exec(pageOf(textFor(ask), ask) ?? '')?.[1] ?? ''
    }
    const lasting = { ...path, lifeParameter: undefined, endMember: undefined }
    expect(of({ ...rule, path: lasting, revocability: 'expiry' })).toContain('It cannot be revoked')
    expect(of({ ...rule, path: lasting, revocability: 'expiry' })).toContain('up to 5m')
    expect(of({ ...rule, path: lasting, revocability: 'at_once' })).toContain('that is confirmed where it was made')
    expect(of({ kind: 'jwt', sender: 'dpop', maxLife: minutes(5), verifierCache: minutes(1) })).toContain(
      'up to 1m more',
    )
  })

  it('shows nothing where the intent, the texts or the statement is another one than what is signed', () => {
    const ask = grantWith()
    const text = textFor(ask)
    expect(pageOf(text, ask)).toBeDefined()
    expect(pageOf(text, { ...ask, intent: { ...ask.intent, target: 'another-db' } })).toBeUndefined()
    expect(pageOf(text, { ...ask, texts: { ...ask.texts, rollback: 'none' } })).toBeUndefined()
    expect(pageOf(`${text} `, ask)).toBeUndefined()
    expect(pageOf(text.replace('"grant"', '"digest":"x","grant"'), ask)).toBeUndefined()
  })

  it('takes what decides from the catalogue, the directory and the clock, and boxes what somebody wrote under their name', () => {
    const ask = grantWith(
      { summary: 'TARGET harmless-db' },
      { exposure: { segment: 'everybody', from: 0, to: 10, rollbackCriteria: 'errors' } },
    )
    const made = pageOf(textFor(ask), ask) ?? ''
    const critical = made.slice(made.indexOf('id="critical"'), made.indexOf('</dl>'))
    for (const value of [
      ask.intent.target,
      ask.intent.entitlement,
      ask.intent.executor.principal,
      'approve',
      'owner',
      'review:security',
    ])
      expect([value, critical.includes(`<code>${value}</code>`)]).toEqual([value, true])
    expect(critical).not.toMatch(/harmless|backup|plan<|everybody/)
    const boxes = [...made.matchAll(/<fieldset class="free" data-path="([^"]*)"><legend>(.*?)<\/legend>/g)]
    const writers = Object.fromEntries(
      boxes.map(([, path, legend]) => [path, legend?.match(/written by (you|the requester)/)?.[1]]),
    )
    expect(writers).toMatchObject({
      reason: 'you',
      'evidence.1.text': 'you',
      'conditions.1.text': 'you',
      summary: 'the requester',
      rollback: 'the requester',
      'exposure.segment': 'the requester',
      'exposure.rollbackCriteria': 'the requester',
      task: 'the requester',
    })
  })

  it('boxes a member that it does not know as its writer’s, and leaves none out', () => {
    const ask = grantWith({}, { novelty: { claim: 'approved already', since: 7 } } as object)
    const made = pageOf(textFor(ask), ask) ?? ''
    expect(made).toMatch(
      /<fieldset class="free" data-path="novelty.claim"><legend>Novelty: claim, as written by the requester/,
    )
    expect(made).toContain('data-path="novelty.since"')
  })

  it('says what else it may be: a risk that is taken, a condition that is closed, a denial', () => {
    const ask = grantWith()
    const heading = (content: Content) => pageOf(textFor(ask, '', content), ask)?.match(/<strong>(.*?)<\/strong>/)?.[1]
    expect(heading({ ...VOTE, verdict: 'deny' })).toBe('deny')
    expect(heading({ act: 'close', condition: 'abcdefghijkl', evidence: [] })).toBe('close')
    expect(heading({ act: 'accept', accepts: VOTE.accepts })).toBe('accept')
  })
})
