// A decision with a passkey: what was shown is what is signed, stored, and verified again at every exchange; nobody else's passkey signs it.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Ballot } from '../../src/broker/broker.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { minutes } from '../../src/domain/instant.ts'
import type { SoftPasskey } from '../support/authenticator.ts'
import { codeOf } from '../support/code-of.ts'
import { askForPasskeys, ceremonyOf, register } from '../support/passkeys.ts'
import { attempt, login, type World, world } from '../support/world.ts'

let on: World
let grant: Grant
let olivias: SoftPasskey
let paulas: SoftPasskey
const YES: Ballot = { verdict: 'approve', reason: 'I have read the plan', digest: undefined }

beforeEach(async () => {
  on = await world()
  await askForPasskeys(on, 'security')
  ;[olivias, paulas] = [await register(on, 'olivia'), await register(on, 'paula')]
  grant = await on.file(on.as('vera'), login(on.now()))
})

const begin = async (person: string, ballot: Ballot = YES, id = grant.id) => {
  const begun = await on.broker.beginStepUp(on.as(person), id, { act: 'vote', ballot })
  return { ceremony: ceremonyOf(begun), text: begun.statement }
}
const decide = async (person: string, passkey: SoftPasskey, ballot: Ballot = YES): Promise<Grant> => {
  const { ceremony, text } = await begin(person, ballot)
  return on.broker.finishStepUp(ceremony, passkey.response(text))
}
const exchange = (of = grant.id) => codeOf(on.broker.exchange(on.as('vera'), of, attempt('attempt-one')))

describe('a decision where the tier asks for a passkey', () => {
  it('is refused without one, and says where it begins; one who has none is told to register', async () => {
    const refusal = on.broker.decide(on.as('paula'), grant.id, YES)
    await expect(refusal).rejects.toMatchObject({
      code: 'step_up_required',
      facts: { ceremonies: `/v1/grants/${grant.id}/ceremonies` },
    })
    const fresh = await world()
    await askForPasskeys(fresh, 'security')
    const other = await fresh.file(fresh.as('vera'), login(fresh.now()))
    const begun = fresh.broker.beginStepUp(fresh.as('paula'), other.id, { act: 'vote', ballot: YES })
    await expect(begun).rejects.toMatchObject({ code: 'step_up_required', facts: { missing: 'passkey' } })
  })

  it('of two, begun side by side, is not disturbed by the first one’s vote, and the credential comes', async () => {
    const both = await world()
    await askForPasskeys(both, 'security', 'operations')
    const keys = {
      paula: await register(both, 'paula'),
      rob: await register(both, 'rob'),
      olivia: await register(both, 'olivia'),
    }
    const { id } = await both.file(both.as('vera'), login(both.now()))
    const begun = (person: string) => both.broker.beginStepUp(both.as(person), id, { act: 'vote', ballot: YES })
    const finish = async (person: keyof typeof keys, page: Awaited<ReturnType<typeof begun>>) =>
      both.broker.finishStepUp(ceremonyOf(page), keys[person].response(page.statement))
    const [paulas, robs] = [await begun('paula'), await begun('rob')]
    expect((await finish('paula', paulas)).head.status).toBe('pending')
    expect((await finish('rob', robs)).head.status).toBe('pending')
    const approved = await finish('olivia', await begun('olivia'))
    expect(approved.head.status).toBe('approved')
    const used = approved.decisions.map(({ assertion }) => assertion?.credentialId)
    expect(used).toEqual([keys.paula, keys.rob, keys.olivia].map(({ credentialId }) => credentialId))
    const exchanged = both.broker.exchange(both.as('vera'), id, attempt('attempt-one'))
    expect(await codeOf(exchanged)).toBe('accepted')
  })

  it('commits nothing when it begins, and is judged as the vote itself would be', async () => {
    await begin('paula')
    const { grant: still } = (await on.store.load(grant.id)) ?? {}
    expect([still?.version, still?.decisions]).toEqual([grant.version, []])
    const asked = (person: string, ballot: Ballot = YES) => codeOf(begin(person, ballot))
    expect(await asked('vera')).toBe('own_request')
    expect(await asked('sam')).toBe('grant_not_found')
    expect(await asked('triage-agent')).toBe('grant_not_found')
    expect(await asked('vera-agent')).not.toBe('accepted')
    const other = { ...YES, digest: `sha-256:${'x'.repeat(43)}` as Grant['ask']['digest'] }
    expect(await asked('paula', other)).toBe('revision_mismatch')
    // The owner decides last.
    expect(await asked('olivia')).toBe('policy_refused')
  })

  it('is refused over another text, by another person’s passkey, and when it is replayed', async () => {
    const one = await begin('paula')
    const another = await begin('paula', { ...YES, reason: 'something else' })
    expect(await codeOf(on.broker.finishStepUp(one.ceremony, paulas.response(another.text)))).toBe('not_permitted')
    const two = await begin('paula')
    expect(await codeOf(on.broker.finishStepUp(two.ceremony, olivias.response(two.text)))).toBe('not_permitted')
    const three = await begin('paula')
    const answer = paulas.response(three.text)
    expect(await codeOf(on.broker.finishStepUp(three.ceremony, answer))).toBe('accepted')
    expect(await codeOf(on.broker.finishStepUp(three.ceremony, answer))).toBe('ceremony_over')
    const [vote] = (await on.store.load(grant.id))?.grant.decisions ?? []
    expect([vote?.by, vote?.assertion?.credentialId]).toEqual(['paula', paulas.credentialId])
  })

  it('of one grant says nothing on another one, nor once it was taken back', async () => {
    const second = await on.file(on.as('vera'), login(on.now()))
    const mine = await begin('paula')
    const elsewhere = await begin('paula', YES, second.id)
    expect(await codeOf(on.broker.finishStepUp(elsewhere.ceremony, paulas.response(mine.text)))).toBe('not_permitted')
    await decide('paula', paulas)
    await decide('olivia', olivias)
    await on.broker.retract(on.as('paula'), grant.id, 'I was wrong')
    expect(await exchange()).not.toBe('accepted')
  })

  it('is judged again when it is signed: by then the rules, the grant or the person may have changed', async () => {
    const begun = await begin('paula')
    await on.broker.withdraw(on.as('vera'), grant.id, 'not needed')
    expect(await codeOf(on.broker.finishStepUp(begun.ceremony, paulas.response(begun.text)))).toBe('wrong_status')
    const next = await on.file(on.as('vera'), login(on.now()))
    const late = await begin('paula', YES, next.id)
    const { directory } = on.book.current()
    const principal: typeof directory.principal = (of) => (of === 'paula' ? undefined : directory.principal(of))
    await on.publish({ directory: { ...directory, principal, revision: directory.revision + 1 } })
    expect(await codeOf(on.broker.finishStepUp(late.ceremony, paulas.response(late.text)))).toBe('not_permitted')
  })

  it('is refused when the rules that it names are no longer those in force', async () => {
    const begun = await begin('paula')
    const { directory } = on.book.current()
    const digest = `sha-256:${'d'.repeat(43)}` as typeof directory.digest
    await on.publish({ directory: { ...directory, digest, revision: directory.revision + 1 } })
    expect(await codeOf(on.broker.finishStepUp(begun.ceremony, paulas.response(begun.text)))).toBe('revision_mismatch')
  })

  it('is over after five minutes, and its page cannot be shown any more', async () => {
    const begun = await begin('paula')
    on.advance(minutes(5))
    expect(await codeOf(on.broker.showStepUp(begun.ceremony))).toBe('ceremony_over')
    expect(await codeOf(on.broker.finishStepUp(begun.ceremony, paulas.response(begun.text)))).toBe('ceremony_over')
  })

  it('whose passkey has counted back is refused, and leaves no vote', async () => {
    await decide('paula', paulas)
    const next = await on.file(on.as('vera'), login(on.now()))
    const begun = await begin('paula', YES, next.id)
    const answer = paulas.response(begun.text, { counter: 1 })
    expect(await codeOf(on.broker.finishStepUp(begun.ceremony, answer))).toBe('not_permitted')
    expect((await on.store.load(next.id))?.grant.decisions).toEqual([])
  })

  it('is signed in the same way when a condition is closed or a risk is taken', async () => {
    const conditions = [{ text: 'take a backup', owner: 'olivia' as never, due: (on.now() + minutes(30)) as never }]
    const reviewed = await decide('paula', paulas, { ...YES, conditions })
    const [vote] = reviewed.decisions
    const condition = vote?.act === 'vote' ? (vote.conditions[0]?.id ?? '') : ''
    const closure = { condition, reason: 'it is done', evidence: [] }
    expect(await codeOf(on.broker.closeCondition(on.as('paula'), grant.id, closure))).toBe('step_up_required')
    const begun = await on.broker.beginStepUp(on.as('paula'), grant.id, { act: 'close', closure })
    expect(await codeOf(on.broker.beginStepUp(on.as('olivia'), grant.id, { act: 'close', closure }))).toBe(
      'invalid_request',
    )
    const closed = await on.broker.finishStepUp(ceremonyOf(begun), paulas.response(begun.statement))
    expect(closed.decisions.at(-1)).toMatchObject({ act: 'close', by: 'paula', condition })
    expect(await codeOf(on.broker.beginStepUp(on.as('paula'), grant.id, { act: 'close', closure }))).toBe(
      'already_decided',
    )
  })
})
