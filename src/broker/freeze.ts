// Freeze, lift, list. A freeze stops whatever it names from getting anything new, at once and at every broker, because each of them judges under
// the freeze epoch that it raises. Invariant: it bites only where the target or the requester is of the tenant of whoever froze, so that tenants
// cannot freeze each other; and it is there for its own tenant alone.
import { BrokerError } from '../domain/errors.ts'
import type { Freeze } from '../domain/freeze.ts'
import type { FreezeId } from '../domain/ids.ts'
import type { Caller, Principal } from '../domain/principal.ts'
import { checkSelector, isSameSelector, type Selector } from '../domain/selector.ts'
import { again, witness } from './change.ts'
import type { Ports, Receipt, Rules } from './ports.ts'

export type FreezePorts = Pick<
  Ports,
  'freezes' | 'control' | 'rules' | 'rulesToEnd' | 'seal' | 'nowToEnd' | 'newFreezeId'
>

/**
 * Goes on whatever state the store is in: under the rules as loaded here, as everything that ends. The very same asking again, while it is in
 * force, is the same freeze, and completes one that did not reach every shard.
 */
export const freeze =
  (p: FreezePorts) =>
  async (caller: Caller, selector: Selector, reason: string): Promise<Freeze> => {
    const { id: by, tenant } = permitted(p.rulesToEnd(), caller, 'Freeze')
    checkSelector(selector)
    // One that cannot be read must not keep anybody from freezing.
    const before = (await p.freezes.list().catch(() => [])).find(
      (one) =>
        one.lifted === undefined &&
        one.tenant === tenant &&
        one.by === by &&
        one.reason === reason &&
        isSameSelector(one.selector, selector),
    )
    const made: Freeze = before ?? {
      v: 1,
      id: p.newFreezeId(),
      tenant,
      selector,
      reason,
      by,
      at: p.nowToEnd(),
      lifted: undefined,
    }
    await heard(p, await p.freezes.put(made))
    return made
  }

/**
 * What was approved before the freeze stays dead; what is asked from now on is judged without it. Lifting lets something through, so it is judged
 * under the rules in force. One that was lifted before is answered as it was lifted then.
 */
export const liftFreeze =
  (p: FreezePorts) =>
  async (caller: Caller, id: FreezeId, reason: string): Promise<Freeze> =>
    again(async () => {
      const control = await p.control()
      const { id: by, tenant } = permitted(p.rules(control), caller, 'Freeze')
      const found = (await p.freezes.list()).find((one) => one.id === id && one.tenant === tenant)
      if (found === undefined) throw noSuchFreeze()
      if (found.lifted !== undefined) return found
      const done = await p.freezes.lift({ ...found, lifted: { at: p.nowToEnd(), by, reason } }, control)
      if (done === undefined) throw noSuchFreeze()
      await heard(p, done.receipts)
      return done.freeze
    })

/** Those of the caller's tenant, newest first, lifted ones too: for whoever reads the audit trail. Goes on whatever state the store is in. */
export const freezes =
  (p: FreezePorts) =>
  async (caller: Caller): Promise<readonly Freeze[]> => {
    const { tenant } = permitted(p.rulesToEnd(), caller, 'ReadAudit')
    return (await p.freezes.list()).filter((one) => one.tenant === tenant)
  }

const heard = (p: FreezePorts, receipts: readonly Receipt[]): Promise<unknown> =>
  Promise.all(receipts.map((receipt) => witness(p, receipt)))

/** Who the caller is today, if the guards let them. */
function permitted({ policy, directory }: Rules, caller: Caller, action: 'Freeze' | 'ReadAudit'): Principal {
  const principal = directory.principal(caller.principal.id)
  if (principal !== undefined && policy.judge({ action, principal }).allowed) return principal
  throw new BrokerError('not_permitted', 'Freezes are not yours to make, lift or see.', {
    nextAction: 'Call the security team of your tenant.',
  })
}

/** Absent, and another tenant's: one constant, so that the two can never be told apart. */
export const noSuchFreeze = (): BrokerError =>
  new BrokerError('freeze_not_found', 'There is no such freeze, or it is not yours to lift.', {
    nextAction: 'List the freezes of your tenant and check the id.',
  })
