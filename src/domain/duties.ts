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
  // Asked of agents and workloads too: approving one's own through one's agent is named as what it is.
  for (const [role, party] of [
    ['requester', requester],
    ['executor', executor],
  ] as const) {
    const person = personsBehind(approver).find((behind) => personsBehind(party).includes(behind))
    if (person !== undefined) return { conflict: party.kind === 'person' ? role : `${role}_sponsor`, person }
  }
  return approver.kind === 'person' ? undefined : { conflict: 'not_a_person', person: undefined }
}
