// What persons say about a grant, over a socket with the whole broker behind it: reviews with criteria, evidence and conditions, risks taken
// by name, deputies, decisions taken back. Every answer is held against its strict schema, and every member of it is seen at least once.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { formatInstant, hours, after as later } from '../../src/domain/instant.ts'
import * as wire from '../../src/http/wire.ts'
import { CAST } from '../support/cast.ts'
import { policyWith, type World, world } from '../support/world.ts'
import type { Received } from './door.ts'
import { type RealDoor, realDoor } from './real-door.ts'

const DIGEST = `sha-256:${'A'.repeat(43)}`
const EVIDENCE = { kind: 'threat-model', url: 'https://docs.example/model', digest: DIGEST }
const APPROVAL = `      owner: olivia
      deputies:
        - { person: dana, from: "2026-11-01T00:00:00Z", until: "2027-03-01T00:00:00Z" }
        - { person: sam, from: "2026-11-01T00:00:00Z", until: "2027-03-01T00:00:00Z" }
      reviewers:
        - role: security
          group: security
          criteria: { modelled: The threats are modelled. }
          evidence: [threat-model]
        - { role: operations, group: release-managers }
        - { role: privacy, group: support-leads, veto: true }`

let w: World
let door: RealDoor
let until: string
/** Members of decisions that some answer has shown. */
const members = new Set<string>()

beforeAll(async () => {
  w = await world()
  await w.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ['      owner: olivia', APPROVAL]) })
  door = await realDoor(w)
  until = formatInstant(later(w.now(), hours(3)))
})
afterAll(() => door.stop())

const PEOPLE = {
  vera: CAST.requester,
  olivia: CAST.owner,
  paula: CAST.reviewer,
  rob: CAST['another approver'],
  lena: { issuer: 'login', claims: { sub: 'lena' } },
  dana: CAST["the executor's sponsor"],
  sam: CAST['plain colleague'],
}
type Who = keyof typeof PEOPLE
const send = (who: Who, path: string, body: unknown) => door.send(PEOPLE[who], 'POST', path, body)
const code = ({ status, body }: Received): unknown => (status < 300 ? status : body.type.replace('urn:writ:error:', ''))

/** The answer as its strict schema has it. */
function grantOf(got: Received): z.infer<typeof wire.grantAnswer> {
  expect([got.status, got.text]).toEqual([expect.toSatisfy((status) => status < 300), got.text])
  const grant = wire.grantAnswer.parse(got.body)
  for (const one of grant.decisions) for (const name of Object.keys(one)) members.add(name)
  return grant
}
let tasks = 0
const asked = () => {
  tasks += 1
  return {
    entitlement: 'payments-migrator',
    actions: ['db.migrate'],
    task: { id: `task-${tasks}`, summary: 'Add a column', objective: 'Invoices need it', rollback: 'Drop it' },
    exposure: { segment: 'eu', from: 0, to: 10, rollbackCriteria: 'Errors rise' },
    impact: { regulated: true },
    ticket: { system: 'desk', id: 'CHG-1' },
    window: { opensAt: formatInstant(w.now()), closesAt: formatInstant(later(w.now(), hours(1))) },
  }
}
const file = async () => grantOf(await send('vera', '/v1/grants', asked()))
const review = {
  verdict: 'approve',
  reason: 'Sound',
  checklist: ['modelled'],
  evidence: [EVIDENCE, { kind: 'note', text: 'Looked at by two.' }],
}
const yes = { verdict: 'approve', reason: 'read' }
const risk = (...risks: readonly string[]) => ({
  accepts: risks.map((name) => ({ risk: name, until })),
  reason: 'Small',
})

describe('over the whole life of a grant', () => {
  it('an asking is explained, and filed, with all that it says', async () => {
    const dry = await send('vera', '/v1/grants?dryRun=true', asked())
    const [explained] = wire.dryRunAnswer.parse(dry.body).grants
    expect(explained).toMatchObject({
      flags: expect.arrayContaining(['exposure', 'regulated']),
      intent: { exposure: { segment: 'eu', from: 0, to: 10 }, impact: { regulated: true } },
      rule: {
        owner: 'olivia',
        deputies: [{ person: 'dana' }, { person: 'sam' }],
        reviewers: expect.arrayContaining([
          expect.objectContaining({ role: 'security', criteria: { modelled: 'The threats are modelled.' } }),
          expect.objectContaining({ role: 'privacy', veto: true }),
        ]),
      },
      useWithin: expect.stringMatching(/^\d+[mh]/),
      lapsesAt: expect.stringMatching(/Z$/),
    })
    const grant = await file()
    expect(grant).toMatchObject({
      status: 'pending',
      flags: explained?.flags,
      texts: { objective: 'Invoices need it' },
      conditions: [],
    })
  })

  it('a review brings what the rule names; a condition blocks until it is closed; what is taken back ends', async () => {
    const { id } = await file()
    const at = `/v1/grants/${id}`
    const lacking = await send('paula', `${at}/decisions`, { ...yes, checklist: ['modelled'] })
    expect([code(lacking), lacking.body.facts.missing]).toEqual(['policy_refused', ['evidence threat-model']])
    expect(code(await send('paula', `${at}/decisions`, { ...review, checklist: ['guessed'] }))).toBe('invalid_request')
    const conditions = [{ text: 'Close the port', owner: 'rob', due: until }]
    const reviewed = grantOf(await send('paula', `${at}/decisions`, { ...review, conditions }))
    expect(reviewed.decisions).toMatchObject([
      { act: 'vote', by: 'paula', as: 'security', checklist: ['modelled'], evidence: review.evidence, passkey: false },
    ])
    const condition = reviewed.conditions[0]?.id ?? ''
    expect(reviewed.conditions).toMatchObject([{ text: 'Close the port', by: 'paula', as: 'security', open: true }])
    expect(reviewed.decisions[0]?.conditions).toEqual([condition])

    // The owner decides last, over nothing that is missing unless its risk is taken, and over no veto.
    expect(code(await send('olivia', `${at}/decisions`, yes))).toBe('policy_refused')
    const vetoed = await send('olivia', `${at}/decisions`, { ...yes, ...risk('review:operations', 'review:privacy') })
    expect([code(vetoed), vetoed.body.facts.limit]).toEqual(['policy_refused', 'veto'])
    grantOf(await send('lena', `${at}/decisions`, yes))
    const approved = grantOf(await send('olivia', `${at}/decisions`, { ...yes, ...risk('review:operations') }))
    expect(approved).toMatchObject({ status: 'approved', facts: { useBy: expect.stringMatching(/Z$/) } })
    expect(approved.decisions.at(-1)).toMatchObject({ as: 'owner', accepts: [{ risk: 'review:operations', until }] })

    expect(code(await send('vera', `${at}/exchange`, {}))).toBe('policy_refused')
    for (const stranger of ['olivia', 'rob'] as const)
      expect(code(await send(stranger, `${at}/closures`, { condition }))).toBe('invalid_request')
    const closed = grantOf(await send('paula', `${at}/closures`, { condition, reason: 'Closed', evidence: [EVIDENCE] }))
    expect(closed.conditions).toMatchObject([{ id: condition, open: false }])
    expect(closed.decisions.at(-1)).toMatchObject({ act: 'close', by: 'paula', condition, evidence: [EVIDENCE] })
    const exchanged = await send('vera', `${at}/exchange`, {})
    expect(wire.exchangeAnswer.parse(exchanged.body).grant.status).toBe('active')

    const over = await send('paula', `${at}/retractions`, { reason: 'I was wrong' })
    expect([over.status, grantOf(over).status]).toEqual([200, 'ended'])
    const votes = grantOf(over).decisions.filter(({ by }) => by === 'paula')
    expect(votes.map(({ act, withdrawn }) => [act, withdrawn])).toEqual([
      ['vote', true],
      ['close', undefined],
      ['retract', undefined],
    ])
    // Repeated, it is the same answer and not one more decision.
    expect(grantOf(await send('paula', `${at}/retractions`, {})).decisions).toHaveLength(grantOf(over).decisions.length)
  })

  it('the end of what was taken back is not called an end before it is confirmed', async () => {
    const { id } = await file()
    const at = `/v1/grants/${id}`
    grantOf(await send('paula', `${at}/decisions`, review))
    grantOf(await send('rob', `${at}/decisions`, yes))
    grantOf(await send('lena', `${at}/decisions`, yes))
    grantOf(await send('olivia', `${at}/decisions`, yes))
    expect(code(await send('vera', `${at}/exchange`, {}))).toBe(200)
    w.backend.down()
    const over = await send('olivia', `${at}/retractions`, { reason: 'I was wrong' })
    expect([over.status, grantOf(over).status]).toEqual([202, 'ending'])
    w.backend.up()
  })

  it('an open condition is taken as a risk by the owner alone, and a later deputy decides in their place once it is escalated', async () => {
    const { id } = await file()
    const at = `/v1/grants/${id}`
    const conditions = [{ text: 'Close the port', owner: 'rob', due: until }]
    const { conditions: made } = grantOf(await send('paula', `${at}/decisions`, { ...review, conditions }))
    const open = `condition:${made[0]?.id}`
    for (const stranger of ['paula', 'rob', 'sam', 'vera'] as const)
      expect([stranger, code(await send(stranger, `${at}/acceptances`, risk(open)))]).toEqual([
        stranger,
        'not_permitted',
      ])
    expect(grantOf(await send('olivia', `${at}/acceptances`, risk(open))).decisions.at(-1)).toMatchObject({
      act: 'accept',
      by: 'olivia',
      accepts: [{ risk: open, until }],
    })
    expect(code(await send('olivia', `${at}/acceptances`, risk('condition:abcdefghijkl')))).toBe('policy_refused')

    const late = {
      ...asked(),
      window: { opensAt: formatInstant(later(w.now(), hours(30))), closesAt: formatInstant(later(w.now(), hours(31))) },
    }
    const { id: other, decideBy } = grantOf(await send('vera', '/v1/grants', late))
    const there = `/v1/grants/${other}/decisions`
    grantOf(await send('paula', there, review))
    grantOf(await send('rob', there, yes))
    grantOf(await send('lena', there, yes))
    expect(code(await send('sam', there, yes))).toBe('not_permitted')
    w.advance(hours(24))
    while ((await w.broker.sweep('vault-main')).more);
    const escalated = grantOf(await door.send(PEOPLE.sam, 'GET', `/v1/grants/${other}`))
    expect(escalated.facts.escalatedAt).toBeDefined()
    expect((escalated.facts.escalatedAt ?? '') >= decideBy).toBe(true)
    const decided = grantOf(await send('sam', there, yes))
    expect(decided.decisions.at(-1)).toMatchObject({ by: 'sam', as: 'owner', deputyFor: 'olivia' })
    expect(decided.status).toBe('approved')
  })

  it('has shown every member that a decision can have', () => {
    expect([...members].toSorted()).toEqual(Object.keys(wire.decisionAnswer.shape).toSorted())
  })
})
