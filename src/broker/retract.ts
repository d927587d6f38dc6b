// An approver takes a decision back, a vote and the risks they took alike, at any time; what was derived from it ends. A pending grant goes on without the vote; an approval that
// nobody has used is gone; a credential is revoked. It is an end: it goes on whatever the rules, the clock or the control record say.
import { type Acceptance, type Decision, standingAcceptances, standingVotes, type Vote } from '../domain/decision.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type Grant, inStatus } from '../domain/grant.ts'
import { type GrantId, named } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Caller } from '../domain/principal.ts'
import { changeToEnd, eventOf, type Move, witness, wrongStatus } from './change.ts'
import { type EndPorts, end } from './end.ts'
import type { Ports } from './ports.ts'
import { mayView } from './view.ts'

type RetractPorts = EndPorts & Pick<Ports, 'rulesToEnd' | 'signatures'>

/** Repeating it is harmless. Rejects `invalid_request` where the caller has decided nothing here. */
export const retract =
  (p: RetractPorts) =>
  async (caller: Caller, id: GrantId, reason: string): Promise<Grant> => {
    const { grant, receipt } = await changeToEnd(p, id, (grant) => takenBack(p, caller, grant, reason))
    await witness(p, receipt)
    if (!inStatus(grant, 'issuing', 'active')) return grant
    const by = caller.principal.id
    const cause = { outcome: 'revoked' as const, by, reason: `a decision was withdrawn: ${reason}` }
    return end(p, id, cause, undefined, (now, grant) => retractions(p, grant, by, reason, now))
  }

function takenBack(p: RetractPorts, caller: Caller, grant: Grant, reason: string): Move {
  const by = caller.principal.id
  // Who has decided here may take it back, also where they would not be asked, or shown it, any more.
  if (!hasWord(grant, by) && !mayView(p.rulesToEnd(), caller.principal, grant)) throw notFound()
  const at = p.nowToEnd()
  if (grant.decisions.some((one) => one.act === 'retract' && one.by === named.person(by)) && !hasWord(grant, by))
    return { done: grant }
  if (!hasWord(grant, by)) {
    throw new BrokerError('invalid_request', 'You have not decided on this grant.', {
      nextAction: 'Only who decided takes it back; whoever may, revokes or denies.',
    })
  }
  const event = eventOf(grant.ask, 'decision_withdrawn', at, by, { reason })
  const decisions = [...grant.decisions, ...retractions(p, grant, by, reason, at)]
  if (inStatus(grant, 'pending'))
    return { step: advance(grant, { to: 'pending', facts: grant.head.facts, decisions, event }) }
  if (inStatus(grant, 'approved'))
    return { step: advance(grant, { to: 'withdrawn', facts: { at, by, reason }, decisions, event }) }
  if (inStatus(grant, 'issuing', 'active', 'ending', 'stuck', 'ended')) return { done: grant }
  throw wrongStatus(grant, 'nothing of it is left that could be taken back', 'Show the grant.')
}

const wordsOf = ({ decisions }: Grant, by: Caller['principal']['id']): readonly (Vote | Acceptance)[] =>
  [...standingVotes(decisions), ...standingAcceptances(decisions)].filter((one) => one.by === named.person(by))
const hasWord = (grant: Grant, by: Caller['principal']['id']): boolean => wordsOf(grant, by).length > 0

function retractions(
  p: Pick<Ports, 'signatures'>,
  grant: Grant,
  by: Caller['principal']['id'],
  reason: string,
  at: Instant,
): readonly Decision[] {
  const words = wordsOf(grant, by)
  if (words.length === 0) throw new Error('took back what was never said')
  return words.map(({ signature, digest, textsDigest, policyDigest, peopleDigest }) => {
    const said = { v: 2 as const, act: 'retract' as const, vote: signature, by: named.person(by), reason, at }
    const decision = { ...said, digest, textsDigest, policyDigest, peopleDigest, assertion: undefined }
    return { ...decision, signature: p.signatures.sign(grant.id, decision) }
  })
}
