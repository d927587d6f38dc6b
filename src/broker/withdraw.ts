// The requester, or who answers for it, takes the asking back before anything was made. After that it is completed, not withdrawn.
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type Grant, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import { changeToEnd, eventOf, type Move, witness, wrongStatus } from './change.ts'
import { answersFor } from './judge.ts'
import type { Ports, Rules } from './ports.ts'
import { mayView } from './view.ts'

export const withdraw =
  (p: Pick<Ports, 'grants' | 'rulesToEnd' | 'seal' | 'nowToEnd'>) =>
  async (caller: Caller, id: GrantId, reason: string): Promise<Grant> => {
    const { grant, receipt } = await changeToEnd(p, id, (grant) => withdrawal(p, p.rulesToEnd(), caller, grant, reason))
    await witness(p, receipt)
    return grant
  }

/** The move that takes this grant back, or the refusal. */
export function withdrawal(
  p: Pick<Ports, 'nowToEnd'>,
  rules: Rules,
  caller: Caller,
  grant: Grant,
  reason: string,
): Move {
  checkRequester(rules, caller, grant)
  if (inStatus(grant, 'withdrawn')) return { done: grant }
  const at = p.nowToEnd()
  const event = eventOf(grant.ask, 'withdrawn', at, caller.principal.id, { reason })
  const facts = { at, by: caller.principal.id, reason }
  if (inStatus(grant, 'pending')) return { step: advance(grant, { to: 'withdrawn', facts, event }) }
  if (inStatus(grant, 'approved')) return { step: advance(grant, { to: 'withdrawn', facts, event }) }
  throw wrongStatus(grant, 'it cannot be withdrawn any more', 'Complete it to end what it gave.')
}

/** Throws unless the caller asked for this grant, or answers for who did. */
export function checkRequester(rules: Rules, caller: Caller, grant: Grant): void {
  if (!mayView(rules, caller.principal, grant)) throw notFound()
  const requester = rules.directory.principal(grant.ask.intent.requester)
  const own = caller.principal.id === grant.ask.intent.requester
  if (!own && (requester === undefined || !answersFor(caller.principal, requester))) {
    throw new BrokerError('not_permitted', 'Only the requester withdraws an asking.', {
      nextAction: 'Deny or revoke it instead, if it is yours to decide.',
    })
  }
}
