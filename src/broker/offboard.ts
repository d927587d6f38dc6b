// Whoever is nobody any more (switched off in the people directory, or a machine without an active sponsor) keeps nothing: what they asked for
// or execute is ended by the broker. Invariant: only under the rules in force, so that a broker with older files ends nothing of who is back;
// idempotent, found by index, and one grant that cannot be ended now stops no other.
import { advance, type EndCause, type Grant, inStatus, type Step } from '../domain/grant.ts'
import type { GrantId, PrincipalId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { changeToEnd, eventOf, witness } from './change.ts'
import { type EndPorts, end } from './end.ts'
import type { Directory, Ports } from './ports.ts'
import { eachOf } from './sweep.ts'

export type OffboardPorts = EndPorts & Pick<Ports, 'rules' | 'rulesToEnd' | 'control'>

export interface Offboarded {
  /** Of the people directory that it went by. */
  readonly revision: number
  /** How many were lapsed, or have ended or begun to; from there on the sweep goes on with them. */
  readonly ended: number
  /** What could not even begin to end: call again. */
  readonly failed: readonly GrantId[]
}

const PAGE = 100
const CONCURRENT = 8

/** Ends what lives of all who are nobody now. Rejects `policy_outdated`, `recovering`, `store_unavailable`: call again. */
export const offboard = (p: OffboardPorts) => async (): Promise<Offboarded> => {
  const { directory: mine } = p.rulesToEnd()
  if (mine.inactive().length === 0) return { revision: mine.revision, ended: 0, failed: [] }
  const { directory } = p.rules(await p.control())
  const results: EndedOne[] = []
  const unread: unknown[] = []
  for (const party of directory.inactive()) {
    const ended = await endAllOf(p, directory, party).catch((thrown: unknown) => {
      unread.push(thrown)
      return []
    })
    results.push(...ended)
  }
  // Said when all the others have been looked through: whose grants cannot be found now shield nobody else's.
  if (unread.length > 0) throw unread[0]
  const failed = results.flatMap(({ id, isOver }) => (isOver ? [] : [id]))
  return { revision: directory.revision, ended: results.length - failed.length, failed }
}

interface EndedOne {
  readonly id: GrantId
  readonly isOver: boolean
}

async function endAllOf(p: OffboardPorts, directory: Directory, party: PrincipalId): Promise<readonly EndedOne[]> {
  const results: EndedOne[] = []
  let cursor: string | undefined
  do {
    const page = await p.grants.list({ of: [{ party }], limit: PAGE, cursor, toEnd: true })
    const live = page.grants.filter((grant) => inStatus(grant, 'pending', 'approved', 'issuing', 'active'))
    results.push(...(await eachOf(live, CONCURRENT, ({ id, ask }) => tried(p, id, reasonOf(directory, ask.intent)))))
    cursor = page.next
  } while (cursor !== undefined)
  return results
}

function reasonOf(directory: Directory, { requester }: Grant['ask']['intent']): string {
  return directory.absence(requester) === undefined
    ? 'its executor is no longer active'
    : 'its requester is no longer active'
}

async function tried(p: OffboardPorts, id: GrantId, reason: string): Promise<EndedOne> {
  try {
    await endOne(p, id, { outcome: 'revoked', by: 'broker', reason })
    return { id, isOver: true }
  } catch {
    // It is as it was, and is found again.
    return { id, isOver: false }
  }
}

/** Nothing was handed out of what is pending or approved: it lapses. The rest takes the road of a revoke. */
async function endOne(p: OffboardPorts, id: GrantId, cause: EndCause): Promise<void> {
  const { grant, receipt } = await changeToEnd(p, id, (grant) => {
    const step = lapsed(grant, p.nowToEnd(), cause.reason)
    return step === undefined ? { done: grant } : { step }
  })
  await witness(p, receipt)
  if (inStatus(grant, 'issuing', 'active')) await end(p, id, cause)
}

/** What nobody has used yet, over without an end; undefined for the rest. */
export function lapsed(grant: Grant, at: Instant, reason: string): Step | undefined {
  const event = eventOf(grant.ask, 'lapsed', at, 'broker', { reason })
  if (inStatus(grant, 'pending')) return advance(grant, { to: 'lapsed', facts: { at, reason }, event })
  return inStatus(grant, 'approved') ? advance(grant, { to: 'lapsed', facts: { at, reason }, event }) : undefined
}
