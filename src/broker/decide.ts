// One person's approval or denial. Below the quorum the grant stays pending at a higher version, so two racing votes cannot lose one.
// Nobody decides on what they asked for, execute, or answer for; agents and workloads never decide.

import { type Conflict, conflictOf } from '../domain/duties.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type Decision, type Grant, type GrantIn, inStatus, type Verdict } from '../domain/grant.ts'
import type { Digest, GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Caller, Person, Principal } from '../domain/principal.ts'
import { change, eventOf, type Move, witness, wrongStatus } from './change.ts'
import { countedVoters, known, offeredEntitlement, permit, quorums } from './judge.ts'
import type { Control, Ports, Rules } from './ports.ts'
import { hasSeat, mayView } from './view.ts'

export interface Vote {
  readonly verdict: Verdict
  readonly reason: string
  /** The revision the voter saw; where given it must be the grant's own. */
  readonly digest: Digest | undefined
  /** The voter may be repeating a vote whose answer was lost: the very same one is then no second one. */
  readonly again?: boolean
}

export type DecidePorts = Pick<Ports, 'grants' | 'rules' | 'signatures' | 'timetable' | 'seal' | 'now' | 'flood'>

export const decide =
  (p: DecidePorts) =>
  async (caller: Caller, id: GrantId, vote: Vote): Promise<Grant> => {
    const { grant, receipt } = await change(p, id, ({ grant, control }) => {
      const rules = p.rules(control)
      if (!mayView(rules, caller.principal, grant)) throw notFound()
      return judgeVote(p, rules, control, caller, grant, vote)
    })
    const closesAt = grant.ask.intent.window.closesAt
    if (inStatus(grant, 'approved')) await p.timetable.at(laneOf(grant.ask.credential), closesAt)
    await witness(p, receipt)
    return grant
  }

function judgeVote(p: DecidePorts, rules: Rules, control: Control, caller: Caller, grant: Grant, vote: Vote): Move {
  const { intent } = grant.ask
  const requester = known(rules.directory, intent.requester, 'requester')
  const executor = known(rules.directory, intent.executor.principal, 'executor')
  const approver = known(rules.directory, caller.principal.id, 'approver')
  const conflict = conflictOf(approver, requester, executor)
  if (conflict !== undefined) throw ownRequest(conflict.conflict)
  if (approver.kind !== 'person') throw ownRequest('not_a_person')
  if (vote.digest !== undefined && vote.digest !== grant.ask.digest) {
    throw new BrokerError('revision_mismatch', 'You are deciding on another revision than this grant has.', {
      nextAction: 'Read the grant again and decide on what it says now.',
      facts: { digest: grant.ask.digest },
    })
  }
  const earlier = grant.decisions.find((decision) => decision.by === approver.person)
  if (earlier !== undefined) {
    const same = earlier.verdict === vote.verdict && earlier.reason === vote.reason
    if (same && vote.again === true) return { done: grant }
    throw new BrokerError('already_decided', 'You have already decided on this grant.', {
      nextAction: 'Nothing is left for you to do here.',
    })
  }
  if (!inStatus(grant, 'pending'))
    throw wrongStatus(grant, 'it cannot be decided any more', 'Show the grant to see what became of it.')
  const entitlement = offeredEntitlement(rules, intent.entitlement, requester)
  permit(rules, 'Approve', approver, { entitlement, intent, requester })
  if (!hasSeat(grant, entitlement, approver)) {
    throw new BrokerError('not_permitted', 'This grant is not yours to decide.', {
      nextAction: 'Its owner and reviewers are shown with the grant.',
    })
  }
  const at = p.now()
  const decision = signed(p, grant, approver, vote, control, at)
  if (vote.verdict === 'deny') return { step: { ...denied(grant, decision, control), rests: p.flood.deniedRests } }
  const withVote = { ...grant, decisions: [...grant.decisions, decision] }
  const { met, missing } = quorums(
    grant,
    entitlement,
    countedVoters(p, rules, entitlement, withVote, { requester, executor }),
  )
  const step = met ? approved(grant, decision, control) : voted(grant, decision, control, missing)
  return { step, guard: { notAfter: grant.ask.decideBy, judgedUnder: control } }
}

/** Whether this grant waits for this one's decision: a vote now would not be refused for who they are, or for having voted. */
export function waitsFor(rules: Rules, somebody: Principal, grant: Grant): boolean {
  const { intent } = grant.ask
  const requester = rules.directory.principal(intent.requester)
  const executor = rules.directory.principal(intent.executor.principal)
  const entitlement = rules.policy.entitlement(intent.entitlement)
  if (!inStatus(grant, 'pending') || somebody.kind !== 'person') return false
  if (requester === undefined || executor === undefined || entitlement === undefined) return false
  if (conflictOf(somebody, requester, executor) !== undefined) return false
  if (grant.decisions.some(({ by }) => by === somebody.person) || !hasSeat(grant, entitlement, somebody)) return false
  return rules.policy.judge({ action: 'Approve', principal: somebody, entitlement, intent, requester }).allowed
}

const OWN: Record<Conflict, string> = {
  not_a_person: 'Only persons decide; agents and workloads never do.',
  requester: 'You asked for this grant yourself.',
  executor: 'You would execute this grant yourself.',
  requester_sponsor: 'You answer for the one who asked for this grant.',
  executor_sponsor: 'You answer for the one who would execute this grant.',
}
const ownRequest = (conflict: Conflict): BrokerError =>
  new BrokerError(conflict === 'not_a_person' ? 'not_permitted' : 'own_request', OWN[conflict], {
    nextAction: 'Let an owner or reviewer decide who neither asked, nor executes, nor answers for either.',
    facts: { conflict },
  })

function signed(p: DecidePorts, grant: Grant, approver: Person, vote: Vote, control: Control, at: Instant): Decision {
  const unsigned = {
    v: 1 as const,
    by: approver.person,
    verdict: vote.verdict,
    reason: vote.reason,
    at,
    digest: grant.ask.digest,
    textsDigest: grant.ask.textsDigest,
    policyDigest: control.policyDigest,
    peopleDigest: control.peopleDigest,
  }
  return { ...unsigned, signature: p.signatures.sign(grant.id, unsigned) }
}

const denied = (grant: GrantIn<'pending'>, decision: Decision, control: Control) =>
  advance(grant, {
    to: 'denied',
    facts: { at: decision.at, by: decision.by, reason: decision.reason },
    decisions: [...grant.decisions, decision],
    event: eventOf(grant.ask, 'denied', decision.at, decision.by, { reason: decision.reason }, control),
  })

const approved = (grant: GrantIn<'pending'>, decision: Decision, control: Control) =>
  advance(grant, {
    to: 'approved',
    facts: { approvedAt: decision.at },
    decisions: [...grant.decisions, decision],
    event: eventOf(grant.ask, 'approved', decision.at, decision.by, { reason: decision.reason }, control),
  })

const voted = (grant: GrantIn<'pending'>, decision: Decision, control: Control, missing: readonly string[]) =>
  advance(grant, {
    to: 'pending',
    facts: {},
    decisions: [...grant.decisions, decision],
    event: eventOf(
      grant.ask,
      'approval_added',
      decision.at,
      decision.by,
      { reason: decision.reason, missing },
      control,
    ),
  })
