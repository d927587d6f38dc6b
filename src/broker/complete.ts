// The task is done: end what it was given for, with a result. By the executor, the requester, who answers for them, or whom the guards name.
// It only ever ends something, and may be repeated.
import { BrokerError, notFound } from '../domain/errors.ts'
import { type Grant, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import { wrongStatus } from './change.ts'
import { type EndPorts, end } from './end.ts'
import { answersFor } from './judge.ts'
import type { Ports, Rules } from './ports.ts'
import { mayAct, mayView } from './view.ts'

export const complete =
  (p: EndPorts & Pick<Ports, 'rulesToEnd'>) =>
  async (caller: Caller, id: GrantId, result: Readonly<Record<string, string>>): Promise<Grant> => {
    const grant = await p.grants.loadToEnd(id)
    const rules = p.rulesToEnd()
    if (grant === undefined || !mayView(rules, caller.principal, grant)) throw notFound()
    if (!isParty(rules, caller, grant) && !mayAct(rules, 'Complete', caller.principal, grant)) {
      throw new BrokerError('not_permitted', 'This grant is not yours to complete.', {
        nextAction: 'Revoke it, if that is yours to do.',
      })
    }
    if (inStatus(grant, 'pending', 'approved'))
      throw wrongStatus(grant, 'nothing has been exchanged yet', 'Withdraw it instead.')
    return end(p, grant, { outcome: 'completed', by: caller.principal.id, reason: 'the task is done' }, result)
  }

/** The requester or executor itself, or a natural person behind either. */
export function isParty(rules: Rules, caller: Caller, grant: Grant): boolean {
  const { requester, executor } = grant.ask.intent
  return [requester, executor.principal].some((id) => {
    const party = rules.directory.principal(id)
    return id === caller.principal.id || (party !== undefined && answersFor(caller.principal, party))
  })
}
