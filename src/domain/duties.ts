// Separation of duties: whoever asks, executes, or answers for either is not the one who approves. Compared as natural persons,
// after aliases and sponsors have been resolved; a workload or an agent is never an approver.
import type { PersonId } from './ids.ts'
import { type Principal, personsBehind } from './principal.ts'

export type Conflict = 'not_a_person' | 'requester' | 'executor' | 'requester_sponsor' | 'executor_sponsor'

/** Why this approver may not decide, or undefined. */
export function conflictOf(
  approver: Principal,
  requester: Principal,
  executor: Principal,
): { readonly conflict: Conflict; readonly person: PersonId | undefined } | undefined {
  if (approver.kind !== 'person') return { conflict: 'not_a_person', person: undefined }
  const role = (principal: Principal, name: 'requester' | 'executor'): Conflict | undefined => {
    if (!personsBehind(principal).includes(approver.person)) return undefined
    return principal.kind === 'person' ? name : `${name}_sponsor`
  }
  const conflict = role(requester, 'requester') ?? role(executor, 'executor')
  return conflict && { conflict, person: approver.person }
}
