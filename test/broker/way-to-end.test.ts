// After an outage the road by which a login would be ended may be back later than the road by which it is begun.
import { expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { codeOf } from '../support/code-of.ts'
import { world } from '../support/world.ts'

it('a login that could not be ended now is not begun, and its approval stays good', async () => {
  const w = await world()
  const grant = await w.approvedLogin()
  const away = async (): Promise<never> => {
    throw new BrokerError('store_unavailable', 'The store did not answer.')
  }
  // What ends has a connection of its own: reads and commits that need no guard go over it.
  const grants: typeof w.ports.grants = {
    ...w.ports.grants,
    loadToEnd: away,
    commit: (step, guard) => (guard === undefined ? away() : w.ports.grants.commit(step, guard)),
  }
  const halfBack = w.another({ grants })
  expect(await codeOf(halfBack.exchange(w.as('vera'), grant.id))).toBe('store_unavailable')
  expect((await w.store.loadToEnd(grant.id))?.head.status).toBe('approved')
  expect((await w.broker.exchange(w.as('vera'), grant.id)).credential.kind).toBe('vault')
})
