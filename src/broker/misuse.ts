// What misuse of a credential is answered with, as the policy says: the end of the grant, or of everything of that session, executor or task.
// Invariant: what is answered is an end. It waits for nobody's leave, and asking for it again changes nothing.
import { type Grant, inStatus } from '../domain/grant.ts'
import type { MisuseAnswer } from '../domain/use.ts'
import { type EndPorts, end } from './end.ts'
import type { AnswerMisuse } from './uses.ts'

/** Contains whatever is of these members of the grant, for the broker itself. */
export type ContainFor = (
  grant: Grant,
  members: readonly Exclude<MisuseAnswer, 'grant'>[],
  reason: string,
) => Promise<void>

export const answerMisuse =
  (p: EndPorts, containFor?: ContainFor): AnswerMisuse =>
  async (grant, answers, reason) => {
    // What was never handed out cannot be misused; whatever was said of it ends nothing.
    if (inStatus(grant, 'issuing', 'active')) await end(p, grant.id, { outcome: 'revoked', by: 'broker', reason })
    const { session, task } = grant.ask.intent
    const members = answers.filter(
      (one) => one !== 'grant' && !(one === 'session' && session === '') && !(one === 'task' && task === ''),
    )
    if (members.length > 0) await containFor?.(grant, members as readonly Exclude<MisuseAnswer, 'grant'>[], reason)
  }
