// Whoever is switched off in the people directory, or has no sponsor left who answers for them: they get nothing, and what they were given
// ends. On memory ports and a clock that only the test moves.
import { describe, expect, it } from 'vitest'
import { isBrokerError } from '../../src/domain/errors.ts'
import { codeOf } from '../support/code-of.ts'
import { directoryWith, withoutPersons } from '../support/directory.ts'
import { KEY, triage, world } from '../support/world.ts'

const approve = { verdict: 'approve', reason: 'fine', digest: undefined } as const
const factsOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'accepted',
    (thrown: unknown) => (isBrokerError(thrown) ? { code: thrown.code, ...thrown.facts } : Promise.reject(thrown)),
  )

describe('whoever is switched off', () => {
  it('gets nothing, and is told whether it is they or those who answer for them: before and after the approval', async () => {
    const w = await world()
    const agent = w.as('triage-agent', { key: KEY })
    const vera = w.as('vera')
    const token = await w.approvedToken()
    const waiting = await w.file(agent, triage(w.now()))
    const database = await w.approvedLogin()
    await w.publish({ directory: await withoutPersons('sam', 'vera') })
    const refused = (role: string, absence: string) => ({ code: 'not_permitted', role, absence })
    const { exchange, request, decide } = w.broker
    expect(await factsOf(exchange(agent, token.id))).toEqual(refused('executor', 'no_active_sponsor'))
    expect(await factsOf(request(agent, triage(w.now())))).toEqual(refused('requester', 'no_active_sponsor'))
    expect(await factsOf(decide(w.as('lena'), waiting.id, approve))).toEqual(refused('requester', 'no_active_sponsor'))
    expect(await factsOf(exchange(vera, database.id))).toEqual(refused('executor', 'inactive'))
    // What is not theirs is not there, whoever they are.
    expect(await codeOf(exchange(agent, database.id))).toBe('grant_not_found')
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('counts for nothing that they approved', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    await w.publish({ directory: await withoutPersons('lena') })
    expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id))).toBe('policy_refused')
    await w.publish({ directory: await directoryWith([['revision: 1', 'revision: 3']]) })
    expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id))).toBe('accepted')
  })

  it('sees nothing any more; the SOC still sees and ends what they hold', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const [agent, sam] = [w.as('triage-agent', { key: KEY }), w.as('sam')]
    await w.broker.exchange(agent, grant.id)
    await w.publish({ directory: await withoutPersons('sam') })
    for (const caller of [agent, sam]) expect(await codeOf(w.broker.view(caller, grant.id))).toBe('grant_not_found')
    expect((await w.broker.view(w.as('sol'), grant.id)).head.status).toBe('active')
    expect((await w.broker.revoke(w.as('sol'), grant.id, 'left')).head.status).toBe('ended')
  })
})
