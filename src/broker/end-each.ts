// Ends by what they were for: every grant of a task, a run or a ticket that the caller may see, each by the verb for one. Invariant: no rule
// of its own, so nobody ends here what they could not end alone; what may not be seen is neither touched nor counted.
import { isBrokerError, notFound } from '../domain/errors.ts'
import { type Grant, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { isTerminal, type Status } from '../domain/lifecycle.ts'
import type { Caller } from '../domain/principal.ts'
import { complete } from './complete.ts'
import type { EndPorts } from './end.ts'
import { type Filters, listToEnd } from './list.ts'
import type { Ports } from './ports.ts'
import { revoke } from './revoke.ts'
import { eachOf } from './sweep.ts'
import { withdraw } from './withdraw.ts'

type EachPorts = EndPorts & Pick<Ports, 'rulesToEnd' | 'flood'>

export type Where = Pick<Filters, 'ticket' | 'task' | 'session'>

export interface EndedOne {
  readonly id: GrantId
  readonly status: Status
  /** Of one that has ended: until when something of it may be left, at the latest. */
  readonly residueUntil: Instant | undefined
  /** The code of the refusal; the grant is as it was. */
  readonly refused: string | undefined
}

/** The task is done: what was exchanged is completed, what was not is withdrawn. Rejects `grant_not_found` where there is nothing at all. */
export const completeEach =
  (p: EachPorts) =>
  async (caller: Caller, where: Where, result: Readonly<Record<string, string>>): Promise<readonly EndedOne[]> =>
    endEach(p, caller, where, (grant) =>
      inStatus(grant, 'pending', 'approved')
        ? withdraw(p)(caller, grant.id, 'the task is done')
        : complete(p)(caller, grant.id, result),
    )

export const revokeEach =
  (p: EachPorts) =>
  async (caller: Caller, where: Where, reason: string): Promise<readonly EndedOne[]> =>
    endEach(p, caller, where, (grant) => revoke(p)(caller, grant.id, reason))

const PAGE = 100
const CONCURRENT = 8

async function endEach(
  p: EachPorts,
  caller: Caller,
  where: Where,
  endOne: (grant: Grant) => Promise<Grant>,
): Promise<readonly EndedOne[]> {
  const ended: EndedOne[] = []
  let found = 0
  let cursor: string | undefined
  do {
    const page = await listToEnd(p, caller, where, { limit: PAGE, cursor })
    found += page.grants.length
    const open = page.grants.filter((grant) => !isTerminal(grant.head.status))
    ended.push(...(await eachOf(open, CONCURRENT, (grant) => tried(grant, endOne))))
    cursor = page.next
  } while (cursor !== undefined)
  if (found === 0) throw notFound()
  return ended
}

async function tried(grant: Grant, endOne: (grant: Grant) => Promise<Grant>): Promise<EndedOne> {
  try {
    const ended = await endOne(grant)
    const residueUntil = inStatus(ended, 'ended') ? ended.head.facts.residueUntil : undefined
    return { id: grant.id, status: ended.head.status, residueUntil, refused: undefined }
  } catch (thrown) {
    if (!isBrokerError(thrown)) throw thrown
    return { id: grant.id, status: grant.head.status, residueUntil: undefined, refused: thrown.code }
  }
}
