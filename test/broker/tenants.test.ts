// Who works for two tenants is known to both, and neither learns of the other by them: what one asking holds is one tenant's.
import { describe, expect, it } from 'vitest'
import type { Rules } from '../../src/broker/ports.ts'
import { named } from '../../src/domain/ids.ts'
import { codeOf } from '../support/code-of.ts'
import { TENANTS, twoTenants } from '../support/two-tenants.ts'
import { asking, HOME, type World, world } from '../support/world.ts'

/** Both tenants offer what they have to both, and the guards let everybody ask. */
async function open(): Promise<World> {
  const w = await world()
  const { policy, directory } = twoTenants()
  const offered: Rules['policy'] = {
    ...policy,
    entitlement: (id) => {
      const found = policy.entitlement(id)
      return found && { ...found, openTo: TENANTS.map(named.tenant) }
    },
    judge: (question) =>
      question.action === 'Request' || question.action === 'Exchange'
        ? { allowed: true, because: ['all'] }
        : policy.judge(question),
  }
  await w.publish({ policy: offered, directory })
  return w
}
const of = (tenant: string) => ({
  entitlement: named.entitlement(`${tenant}-repair`),
  actions: ['repair'],
  scope: [],
  dataTypes: [],
  destination: '',
  uses: 1,
})

describe('one who works for two tenants', () => {
  it('asks both in one asking for nothing: linked grants would tell each of the other', async () => {
    const w = await open()
    const requester = w.as('north-requester')
    for (const verb of [w.broker.request, w.broker.explain]) {
      const both = { ...asking(w.now(), of('north')), more: [of('south')] }
      expect(await codeOf(verb(requester, both))).toBe('policy_refused')
      const one = { ...asking(w.now(), of('south')), more: [{ ...of('south'), dataTypes: ['orders'] }] }
      expect(await codeOf(verb(requester, one))).toBe('accepted')
    }
    expect((await w.store.counts([named.tenant('north')])).pending).toBe(0)
  })

  it('replaces what was asked of one tenant by nothing that is asked of the other; it stays as it was', async () => {
    const w = await open()
    const requester = w.as('north-requester')
    const old = await w.file(requester, asking(w.now(), of('south')))
    const before = (await w.store.read(HOME))?.seq
    const instead = { ...asking(w.now(), of('north')), replaces: old.id }
    for (const verb of [w.broker.request, w.broker.explain])
      expect(await codeOf(verb(requester, instead))).toBe('policy_refused')
    expect((await w.store.read(HOME))?.seq).toBe(before)
    expect(await codeOf(w.broker.request(requester, { ...asking(w.now(), of('south')), replaces: old.id }))).toBe(
      'accepted',
    )
  })
})
