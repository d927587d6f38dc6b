// Separation of duties: whoever asks, executes, wrote the change, or answers for one of those is not the one who approves. Compared as
// natural persons, after aliases and sponsors have been resolved; a workload or an agent is never an approver.
import type { PersonId } from './ids.ts'
import { type Principal, personsBehind } from './principal.ts'

export type Conflict =
  | 'not_a_person'
  | 'requester'
  | 'executor'
  | 'author'
  | 'requester_sponsor'
  | 'executor_sponsor'
  | 'author_sponsor'

export interface Duties {
  readonly requester: Principal
  readonly executor: Principal
  /** Whoever had a hand in the change that is released; empty where nothing is released. */
  readonly authors: readonly Principal[]
  /** The persons behind the requester when it asked: whoever answers for it now, those did then. */
  readonly askers?: readonly PersonId[]
}

/** Why this approver may not decide, or undefined. */
export function conflictOf(
  approver: Principal,
  { requester, executor, authors, askers = [] }: Duties,
): { readonly conflict: Conflict; readonly person: PersonId | undefined } | undefined {
  const parties = [
    ['requester', requester],
    ['executor', executor],
    ...authors.map((author) => ['author', author] as const),
  ] as const
  // Asked of agents and workloads too: approving one's own through one's agent is named as what it is.
  for (const [role, party] of parties) {
    const person = personsBehind(approver).find((behind) => personsBehind(party).includes(behind))
    if (person !== undefined) return { conflict: party.kind === 'person' ? role : `${role}_sponsor`, person }
  }
  const asker = personsBehind(approver).find((behind) => askers.includes(behind))
  if (asker !== undefined)
    return { conflict: requester.kind === 'person' ? 'requester' : 'requester_sponsor', person: asker }
  return approver.kind === 'person' ? undefined : { conflict: 'not_a_person', person: undefined }
}
