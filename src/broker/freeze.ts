// Freeze, lift, list; and the record of a containment, which is a freeze that ends what lives besides (`contain.ts`). A freeze stops whatever it names from getting anything new, at once and at every broker, because each of them judges under
// the freeze epoch that it raises. Invariant: it bites only where the target or the requester is of the tenant of whoever froze, so that tenants
// cannot freeze each other; and it is there for its own tenant alone.
import { BrokerError } from '../domain/errors.ts'
import type { Freeze } from '../domain/freeze.ts'
import type { FreezeId, PrincipalId } from '../domain/ids.ts'
import { type Caller, type Principal, personsBehind } from '../domain/principal.ts'
import { type AnsweredFor, checkSelector, isSameSelector, type Selector } from '../domain/selector.ts'
import type { Tier } from '../domain/tier.ts'
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
  async (caller: Caller, selector: Selector, reason: string): Promise<Freeze> =>
    putFreeze(p, caller, { selector, reason, contains: false, freezes: true })

interface ToFreeze {
  readonly selector: Selector
  readonly reason: string
  /** What matches and lives is to be ended as well. */
  readonly contains: boolean
  /** Whether it stops what is new: without, it is lifted from its first moment on, and only what was there is dead. */
  readonly freezes: boolean
}

export async function putFreeze(p: FreezePorts, caller: Caller, asked: ToFreeze): Promise<Freeze> {
  const rules = p.rulesToEnd()
  const { id: by, tenant } = permitted(rules, caller, 'Freeze')
  const { selector, reason, contains } = asked
  const at = p.nowToEnd()
  checkSelector(selector, at)
  // One that cannot be read must not keep anybody from freezing.
  const before = (await p.freezes.list().catch(() => [])).find(
    (one) =>
      asked.freezes &&
      one.lifted === undefined &&
      one.contains === contains &&
      one.tenant === tenant &&
      one.by === by &&
      one.reason === reason &&
      isSameSelector(one.selector, selector),
  )
  const lifted = asked.freezes ? undefined : { at, by, reason: 'contained without a freeze' }
  const answered = answeredFor(rules, selector)
  const id = before?.id ?? p.newFreezeId()
  const made: Freeze = before ?? {
    v: 2,
    id,
    tenant,
    selector,
    reason,
    by,
    at,
    contains,
    everything: false,
    answered,
    lifted,
  }
  await heard(p, await p.freezes.put(made))
  return made
}

/** Whoever is named answered for these when it was made; that they hand them on afterwards changes nothing. */
const answeredFor = ({ directory }: Rules, { person, sponsor }: Selector): AnsweredFor => ({
  ...(person === undefined ? {} : { person: directory.answeredForBy(person) }),
  ...(sponsor === undefined ? {} : { sponsor: directory.answeredForBy(sponsor) }),
})

/**
 * What was approved before the freeze stays dead; what is asked from now on is judged without it. Lifting lets something through, so it is judged
 * under the rules in force. One that was lifted before is answered as it was lifted then. Where it names something of tier high or above, it is
 * lifted by another person than who made it.
 */
export const liftFreeze =
  (p: FreezePorts) =>
  async (caller: Caller, id: FreezeId, reason: string): Promise<Freeze> =>
    again(async () => {
      const control = await p.control()
      const rules = p.rules(control)
      const { id: by, tenant } = permitted(rules, caller, 'Freeze')
      const found = (await p.freezes.list()).find((one) => one.id === id && one.tenant === tenant)
      if (found === undefined) throw noSuchFreeze()
      if (found.lifted !== undefined) return found
      if (needsAnother(rules, found) && isSamePerson(rules, by, found.by))
        throw new BrokerError(
          'not_permitted',
          'What this freeze names is of tier high or above: another person lifts it.',
          {
            nextAction: 'Ask a colleague who may freeze.',
            facts: { conflict: 'freezer' },
          },
        )
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

const TWO_PERSONS: readonly Tier[] = ['high', 'critical']

/** Whether it names a place by target, environment or entitlement, and one there is of tier high or above, or is gone. */
function needsAnother({ policy }: Rules, { selector }: Freeze): boolean {
  const { target, environment, entitlement } = selector
  if (target === undefined && environment === undefined && entitlement === undefined) return false
  const named = policy
    .entitlements()
    .filter(
      (one) =>
        (target === undefined || one.target.id === target) &&
        (environment === undefined || one.target.environment === environment) &&
        (entitlement === undefined || one.id === entitlement),
    )
  return named.length === 0 || named.some(({ tier }) => TWO_PERSONS.includes(tier))
}

/** Natural persons are compared: a machine that froze is whoever answers for it. */
function isSamePerson({ directory }: Rules, one: PrincipalId, other: PrincipalId): boolean {
  const behind = (id: PrincipalId): readonly string[] => {
    const principal = directory.principal(id)
    return principal === undefined ? [id] : [id, ...personsBehind(principal)]
  }
  return behind(one).some((person) => behind(other).includes(person))
}

const heard = (p: FreezePorts, receipts: readonly Receipt[]): Promise<unknown> =>
  Promise.all(receipts.map((receipt) => witness(p, receipt)))

/** Who the caller is today, if the guards let them. */
export function permitted({ policy, directory }: Rules, caller: Caller, action: 'Freeze' | 'ReadAudit'): Principal {
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
