// Who had a hand in a change, as the natural persons behind the accounts. Invariant: an agent's or workload's hand is that of all its
// sponsors, and what is not known is a refusal, never an empty list.
import { BrokerError } from './errors.ts'
import type { PersonId } from './ids.ts'
import { type Principal, personsBehind } from './principal.ts'

/** `pusher` brought a commit of the change to the forge, `launcher` set an agent to work on it. Any of them makes somebody an author. */
export const AUTHOR_ROLES = ['author', 'committer', 'co_author', 'pusher', 'opener', 'merger', 'launcher'] as const
export type AuthorRole = (typeof AUTHOR_ROLES)[number]

/** The authors of one change. There is always at least one. */
export interface Authors {
  readonly principals: readonly Principal[]
  /** Who must not decide on the change: the persons among them, and the sponsors of the others. Sorted, each once. */
  readonly persons: readonly PersonId[]
  /** For events and people: `dana: author, pusher`, sorted. */
  readonly labels: readonly string[]
}

/** A person for themselves; agents and workloads by all their sponsors. Sorted, each once. */
export const authorPersons = (principals: readonly Principal[]): readonly PersonId[] =>
  [...new Set(principals.flatMap(personsBehind))].toSorted()

/** Whether this principal is one of the authors, or one of the persons who answer for it is, or answers for an author. */
export const isAuthor = (principal: Principal, authors: readonly Principal[]): boolean =>
  authors.some(({ id }) => id === principal.id) ||
  personsBehind(principal).some((person) => authorPersons(authors).includes(person))

/** `why` is text of ours. */
export const authorsUnknown = (why: string, facts: Readonly<Record<string, unknown>> = {}): BrokerError =>
  new BrokerError('authors_unknown', `The authors of this change are not known: ${why}.`, {
    nextAction:
      'Release a commit that a merged change request brought in, by people who are all in the people directory.',
    facts,
  })
