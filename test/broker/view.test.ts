// Who sees and ends a grant when the files have changed since it was filed.
import { describe, expect, it } from 'vitest'
import type { Rules } from '../../src/broker/ports.ts'
import type { Entitlement } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { codeOf } from '../support/code-of.ts'
import { KEY, login, policyWith, type World, world } from '../support/world.ts'

/** The same policy in which this entitlement has become another one. */
const changed = (w: World, id: string, change: Partial<Entitlement>): Rules['policy'] => {
  const { policy } = w.book.current()
  return {
    ...policy,
    revision: policy.revision + 1,
    digest: `${policy.digest.slice(0, -1)}A` as never,
    entitlement: (asked) => {
      const found = policy.entitlement(asked)
      return found?.id === id ? { ...found, ...change } : found
    },
    at: (asked, tier) => {
      const found = policy.at(asked, tier)
      return found?.id === id ? { ...found, ...change } : found
    },
  }
}

describe('seeing and ending', () => {
  it('an owner who was named after the filing sees what waits for them, though no guard lets them read', async () => {
    const w = await world()
    const { grant } = await w.broker.request(w.as('vera'), login(w.now()))
    const { policy } = w.book.current()
    const entitlement = policy.entitlement(named.entitlement('payments-migrator'))
    if (entitlement?.approval.mode !== 'people') throw new Error('not approved by people')
    const next = changed(w, entitlement.id, { approval: { ...entitlement.approval, owner: named.person('sam') } })
    const unread: Rules['policy'] = {
      ...next,
      judge: (question) => (question.action === 'ReadGrant' ? { allowed: false, because: [] } : policy.judge(question)),
    }
    expect(await codeOf(w.broker.view(w.as('sam'), grant.id))).toBe('grant_not_found')
    await w.publish({ policy: unread })
    expect(await codeOf(w.broker.view(w.as('sam'), grant.id))).toBe('accepted')
    // The one who was named at the filing is still asked: both rules must be met.
    expect(await codeOf(w.broker.view(w.as('olivia'), grant.id))).toBe('accepted')
    expect(await codeOf(w.broker.view(w.as('dana'), grant.id))).toBe('grant_not_found')
  })

  it('a seat alone shows nothing: who may not vote by the guards does not see by the seat', async () => {
    const w = await world()
    const { grant } = await w.broker.request(w.as('vera'), login(w.now()))
    const { policy } = w.book.current()
    const judge: Rules['policy']['judge'] = (question) =>
      ['ReadGrant', 'Approve'].includes(question.action) ? { allowed: false, because: [] } : policy.judge(question)
    await w.publish({ policy: { ...changed(w, 'none', {}), judge } })
    expect(await codeOf(w.broker.view(w.as('olivia'), grant.id))).toBe('grant_not_found')
  })

  it('a seat does not end: revoking is asked of the guards, of owners and reviewers too', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), grant.id)
    const { policy } = w.book.current()
    const judge: Rules['policy']['judge'] = (question) =>
      question.action === 'Revoke' ? { allowed: false, because: [] } : policy.judge(question)
    await w.publish({ policy: { ...changed(w, 'none', {}), judge } })
    expect(await codeOf(w.broker.revoke(w.as('olivia'), grant.id, 'no'))).toBe('not_permitted')
    expect(w.backend.liveSecrets()).toHaveLength(1)
    expect((await w.broker.revoke(w.as('vera'), grant.id, 'done')).head.status).toBe('ended')
  })

  it('by the shipped guards a reviewer takes back what they could approve', async () => {
    const w = await world()
    const reviewed = policyWith(
      ['revision: 1', 'revision: 2'],
      ['owner: olivia', 'owner: olivia\n      reviewers: [{ role: security, group: security }]'],
    )
    await w.publish({ policy: reviewed })
    const { grant } = await w.broker.request(w.as('vera'), login(w.now()))
    expect((await w.broker.revoke(w.as('paula'), grant.id, 'no')).head.status).toBe('denied')
  })

  it('what lives on after its entitlement has become another tenant’s stays with the tenant it was filed in', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    await w.publish({ policy: changed(w, 'ticket-triage', { tenant: named.tenant('acme') }) })
    expect(await codeOf(w.broker.view(w.as('vera'), grant.id))).toBe('grant_not_found')
    expect((await w.broker.view(w.as('sol'), grant.id)).id).toBe(grant.id)
    expect((await w.broker.revoke(w.as('sol'), grant.id, 'moved')).head.status).toBe('ended')
  })
})
