// The requester, or who answers for it, takes the asking back before anything was made. After that it is completed, not withdrawn.
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type Grant, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import { changeToEnd, eventOf, witness, wrongStatus } from './change.ts'
import { answersFor } from './judge.ts'
import type { Ports } from './ports.ts'
import { mayView } from './view.ts'

export const withdraw =
  (p: Pick<Ports, 'grants' | 'rulesToEnd' | 'seal' | 'nowToEnd'>) =>
  async (caller: Caller, id: GrantId, reason: string): Promise<Grant> => {
    const { grant, receipt } = await changeToEnd(p, id, (grant) => {
      const rules = p.rulesToEnd()
      if (!mayView(rules, caller.principal, grant)) throw notFound()
      const requester = rules.directory.principal(grant.ask.intent.requester)
      const own = caller.principal.id === grant.ask.intent.requester
      if (!own && (requester === undefined || !answersFor(caller.principal, requester))) {
        throw new BrokerError('not_permitted', 'Only the requester withdraws an asking.', {
          nextAction: 'Deny or revoke it instead, if it is yours to decide.',
        })
      }
      if (inStatus(grant, 'withdrawn')) return { done: grant }
      const at = p.nowToEnd()
      const event = eventOf(grant.ask, 'withdrawn', at, caller.principal.id, { reason })
      const facts = { at, by: caller.principal.id, reason }
      if (inStatus(grant, 'pending')) return { step: advance(grant, { to: 'withdrawn', facts, event }) }
      if (inStatus(grant, 'approved')) return { step: advance(grant, { to: 'withdrawn', facts, event }) }
      throw wrongStatus(grant, 'it cannot be withdrawn any more', 'Complete it to end what it gave.')
    })
    await witness(p, receipt)
    return grant
  }
