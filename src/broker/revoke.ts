// End it now: by the parties and those who answer for them, or by whom the guards name (owners, the SOC). A pending grant is denied instead.
// Repeating it is harmless; the answer may still be `ending`, and then it has not ended.
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type Grant, inStatus, type Step } from '../domain/grant.ts'
import { type GrantId, named } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import { changeToEnd, eventOf, witness } from './change.ts'
import { isParty } from './complete.ts'
import { type EndPorts, end } from './end.ts'
import type { Ports } from './ports.ts'
import { mayAct, mayView } from './view.ts'

type RevokePorts = EndPorts & Pick<Ports, 'rulesToEnd' | 'flood'>

export const revoke =
  (p: RevokePorts) =>
  async (caller: Caller, id: GrantId, reason: string): Promise<Grant> => {
    const grant = await p.grants.loadToEnd(id)
    const rules = p.rulesToEnd()
    if (grant === undefined || !mayView(rules, caller.principal, grant)) throw notFound()
    const own = isParty(rules, caller, grant)
    if (!own && !mayAct(rules, 'Revoke', caller.principal, grant)) {
      throw new BrokerError('not_permitted', 'This grant is not yours to revoke.', {
        nextAction: 'Call the security team of the tenant that owns the target.',
      })
    }
    // Who ends what they asked for themselves may ask again.
    const rests = own ? {} : { rests: p.flood.deniedRests }
    const now = inStatus(grant, 'pending') ? await denyPending(p, caller, grant, reason, rests) : grant
    if (inStatus(now, 'denied', 'withdrawn', 'lapsed', 'ended')) return now
    return end(p, now, { outcome: 'revoked', by: caller.principal.id, reason })
  }

/** A grant that nobody has decided on holds nothing: it is denied. As it is afterwards: somebody may have been faster. */
async function denyPending(
  p: RevokePorts,
  caller: Caller,
  pending: Grant,
  reason: string,
  rests: Pick<Step, 'rests'>,
): Promise<Grant> {
  const { grant, receipt } = await changeToEnd(p, pending, (grant) => {
    if (!inStatus(grant, 'pending')) return { done: grant }
    const at = p.nowToEnd()
    const by = named.person(caller.principal.id)
    const event = eventOf(grant.ask, 'denied', at, caller.principal.id, { reason })
    return { step: { ...advance(grant, { to: 'denied', facts: { at, by, reason }, event }), ...rests } }
  })
  await witness(p, receipt)
  return grant
}
