// A stored grant as selectors see it, for ending: whoever is nobody now still counts, as whatever they may have been. For allowing,
// `judge.ts` refuses whoever the directory does not know.
import type { Grant } from '../domain/grant.ts'
import type { PrincipalId } from '../domain/ids.ts'
import type { Party, Subject } from '../domain/selector.ts'
import { subjectOf } from '../domain/subject.ts'
import type { Directory } from './ports.ts'

export function asSubject(directory: Directory, grant: Grant): Subject {
  const party = (id: PrincipalId): Party => directory.principal(id) ?? { kind: 'absent', id }
  const { requester, executor } = grant.ask.intent
  return subjectOf(grant, { requester: party(requester), executor: party(executor.principal) })
}
