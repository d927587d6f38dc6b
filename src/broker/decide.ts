// One person's approval or denial, in one seat. Below the quorum the grant stays pending at a higher version, so two racing votes cannot
// lose one. Nobody decides on what they asked for, execute, wrote, or answer for; agents and workloads never decide. The owner is the
// last: a review that is missing or negative is decided over only by the risk that the owner takes by name, and never over a veto.
import { canonical } from '../domain/canonical.ts'
import {
  type AcceptedRisk,
  type Condition,
  type Decision,
  type Evidence,
  standingVotes,
  statementText,
  type UnsignedDecision,
  type Verdict,
  type Vote,
} from '../domain/decision.ts'
import { type Conflict, conflictOf } from '../domain/duties.ts'
import { laneOf, type PeopleRule } from '../domain/entitlement.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, deadlineOf, type Grant, type GrantIn, inStatus } from '../domain/grant.ts'
import type { Digest, GrantId, PersonId, PrincipalId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Caller, Person, Principal } from '../domain/principal.ts'
import type { Seat } from '../domain/quorum.ts'
import { lacks, risksOf } from '../domain/reviews.ts'
import { change, eventOf, type Move, witness, wrongStatus } from './change.ts'
import {
  type Attested,
  checkRevision,
  checkRoom,
  type Heard,
  type HearingPorts,
  hear,
  type Prepared,
  signed,
  statement,
  useBy,
} from './hearing.ts'
import { assess, checkNotFrozen, known, permit } from './judge.ts'
import type { Control, Rules } from './ports.ts'
import { verdicts } from './seats.ts'
import { hasSeat, mayView } from './view.ts'

export interface Ballot {
  readonly verdict: Verdict
  readonly reason: string
  /** The revision the voter saw; where given it must be the grant's own. */
  readonly digest: Digest | undefined
  /** As what they decide; only needed where they could in several seats. */
  readonly seat?: Seat
  readonly checklist?: readonly string[]
  readonly evidence?: readonly Evidence[]
  /** Yes, if: what must be done, by whom, until when. */
  readonly conditions?: readonly Omit<Condition, 'id'>[]
  /** Risks that the owner takes upon them. */
  readonly accepts?: readonly AcceptedRisk[]
  /** The voter may be repeating a vote whose answer was lost: the very same one is then no second one. */
  readonly again?: boolean
}

/** Decides. With a ceremony, its passkey must have signed exactly what `prepareVote` says of this ballot at the ceremony's time. */
export const decide =
  (p: HearingPorts) =>
  async (caller: Pick<Caller, 'principal'>, id: GrantId, ballot: Ballot, ceremony?: Attested): Promise<Grant> => {
    const { grant, receipt } = await change(p, id, async (loaded) => {
      const { grant, control } = loaded
      const rules = p.rules(control)
      if (!mayView(rules, caller.principal, grant)) throw notFound()
      const at = ceremony?.at ?? p.now()
      const cast = await judgeBallot(p, rules, control, caller.principal.id, grant, ballot, at)
      if ('done' in cast) return cast
      // Who may not vote is told so first. Saying no stays possible.
      if (ballot.verdict === 'approve') await checkNotFrozen(p, rules, loaded)
      const decision = signed(
        p,
        grant,
        cast.spoken,
        cast.heard.rules.some(({ stepUp }) => stepUp),
        ceremony,
      )
      // Word for word what was taken back before: it would be noted, and count for nothing.
      if (grant.decisions.some((one) => one.act === 'retract' && one.vote === decision.signature))
        throw alreadyDecided()
      return count(p, grant, decision, cast, control, p.now())
    })
    // Not when it must have been used: its window may be over long before, and a look at what is over would wait in the queue until then.
    if (inStatus(grant, 'approved')) await p.timetable.at(laneOf(grant.ask.credential), deadlineOf(grant) ?? p.now())
    await witness(p, receipt)
    return grant
  }

/** What a passkey would sign for this ballot now: judged like the vote itself, and refused alike; nothing is written. */
export const prepareVote =
  (p: HearingPorts) =>
  async (caller: Pick<Caller, 'principal'>, id: GrantId, ballot: Ballot): Promise<Prepared> => {
    const loaded = await p.grants.load(id)
    if (loaded === undefined) throw notFound()
    const { grant, control } = loaded
    const rules = p.rules(control)
    if (!mayView(rules, caller.principal, grant)) throw notFound()
    const cast = await judgeBallot(p, rules, control, caller.principal.id, grant, ballot, p.now())
    if ('done' in cast) throw alreadyDecided()
    if (ballot.verdict === 'approve') await checkNotFrozen(p, rules, loaded)
    // Whether it would count is asked as if it were cast: an owner is told before, not after, that a review is missing.
    count(p, grant, { ...cast.spoken, assertion: undefined, signature: '' }, cast, control, p.now(), true)
    return { grant, decision: cast.spoken, text: statementText(id, p.issuer, cast.spoken) }
  }

interface Cast {
  readonly spoken: UnsignedDecision
  readonly seat: Seat
  readonly heard: Heard
}

async function judgeBallot(
  p: HearingPorts,
  rules: Rules,
  control: Control,
  who: PrincipalId,
  grant: Grant,
  ballot: Ballot,
  at: Instant,
): Promise<Cast | { readonly done: Grant }> {
  const { intent } = grant.ask
  const approver = known(rules.directory, who, 'approver')
  const parties = {
    requester: known(rules.directory, intent.requester, 'requester'),
    executor: known(rules.directory, intent.executor.principal, 'executor'),
  }
  const own = conflictOf(approver, { ...parties, authors: [], askers: grant.ask.askers })
  if (own !== undefined) throw ownRequest(own.conflict)
  if (approver.kind !== 'person') throw ownRequest('not_a_person')
  checkRevision(grant, ballot.digest)
  const earlier = standingVotes(grant.decisions).find(({ by }) => by === approver.person)
  if (earlier !== undefined) {
    if (ballot.again === true && isSame(earlier, ballot)) return { done: grant }
    throw alreadyDecided()
  }
  if (!inStatus(grant, 'pending', 'approved'))
    throw wrongStatus(grant, 'it cannot be decided any more', 'Show the grant to see what became of it.')
  // There is always room for the no that ends it: nobody talks an owner out of theirs.
  if (ballot.verdict === 'approve') checkRoom(grant)
  const heard = await hear(p, rules, grant, p.now())
  const conflict = conflictOf(approver, heard.duties)
  if (conflict !== undefined) throw ownRequest(conflict.conflict)
  const { entitlement, risk } = heard
  permit(rules, 'Approve', approver, { entitlement, intent, requester: parties.requester, risk })
  const seat = seatOf(heard, approver, ballot.seat)
  checkBallot(rules, grant, heard, seat, ballot, p.now())
  const content = {
    act: 'vote' as const,
    verdict: ballot.verdict,
    seat,
    deputyFor: deputyFor(heard, approver.person, seat),
    checklist: ballot.checklist ?? [],
    evidence: ballot.evidence ?? [],
    conditions: (ballot.conditions ?? []).map((condition, n) => ({
      ...condition,
      id: p.sha256(canonical({ grant: grant.id, by: approver.person, at, n })).slice(0, 12),
    })),
    accepts: ballot.accepts ?? [],
  }
  return { spoken: statement(grant, control, { by: approver.person, reason: ballot.reason, at, content }), seat, heard }
}

const isSame = (earlier: Vote, ballot: Ballot): boolean =>
  (ballot.seat === undefined || ballot.seat === earlier.seat) && wordsOf(earlier) === wordsOf(ballot)

/** What somebody has said in a vote, word for word. */
const wordsOf = ({
  verdict,
  reason,
  checklist = [],
  evidence = [],
  conditions = [],
  accepts = [],
}: Pick<Ballot, 'verdict' | 'reason' | 'checklist' | 'evidence' | 'conditions' | 'accepts'>): string =>
  canonical({
    verdict,
    reason,
    checklist,
    evidence: evidence.map((one) => ({ ...one })),
    conditions: conditions.map(({ text, owner, due }) => ({ text, owner, due })),
    accepts: accepts.map((one) => ({ ...one })),
  })

export const alreadyDecided = (): BrokerError =>
  new BrokerError('already_decided', 'You have already decided on this grant.', {
    nextAction: 'Take your decision back if it is not yours any more; otherwise nothing is left for you to do.',
  })

/** The seat in which this person decides: the one that is asked for, or the only one, or the owner's. */
function seatOf({ rules, seats }: Heard, { person }: Person, asked: Seat | undefined): Seat {
  const mine = [...new Set(rules.flatMap((rule) => seats.seatsOf(rule, person)))]
  const seat = asked ?? (mine.includes('owner') ? 'owner' : mine.length === 1 ? mine[0] : undefined)
  if (seat !== undefined && mine.includes(seat)) return seat
  if (mine.length > 1 && asked === undefined) {
    throw new BrokerError('invalid_request', 'You could decide in several seats.', {
      nextAction: `Say as which of them: ${mine.join(', ')}.`,
      facts: { member: 'as', seats: mine },
    })
  }
  const bar = seats.barred(person)
  throw new BrokerError('not_permitted', 'This grant is not yours to decide.', {
    nextAction: 'Its owner and reviewers are shown with the grant.',
    facts: { ...(bar === undefined ? {} : { because: bar }), seats: mine },
  })
}

const deputyFor = ({ rules, seats }: Heard, person: PersonId, seat: Seat): PersonId | undefined =>
  seat === 'owner'
    ? rules.find((rule) => rule.owner !== person && seats.seatsOf(rule, person).includes('owner'))?.owner
    : undefined

const refuse = (member: string, message: string, nextAction: string, facts: Record<string, unknown> = {}) =>
  new BrokerError('invalid_request', message, { nextAction, facts: { member, ...facts } })

/** What a vote says must be complete and possible, or it is refused; nothing of it is ever left out in silence. */
function checkBallot(rules: Rules, grant: Grant, heard: Heard, seat: Seat, ballot: Ballot, now: Instant): void {
  const { verdict, checklist = [], evidence = [], conditions = [], accepts = [] } = ballot
  const roles = heard.rules.flatMap(({ reviewers }) => reviewers.filter(({ role }) => role === seat))
  const criteria = roles.flatMap(({ criteria }) => Object.keys(criteria))
  const strange = checklist.find((id) => !criteria.includes(id))
  if (strange !== undefined)
    throw refuse('checklist', `${strange} is no criterion of ${seat}.`, `Use: ${criteria.join(', ') || 'none'}.`)
  if (verdict === 'deny') {
    if (conditions.length > 0)
      throw refuse('conditions', 'A no has no conditions.', 'Approve with conditions, or deny.')
    if (accepts.length > 0) throw refuse('accepts', 'A no takes no risk.', 'Leave accepts out.')
    return
  }
  const missing = [...new Set(roles.flatMap((role) => lacks(role, { checklist, evidence })))]
  if (missing.length > 0) {
    throw new BrokerError('policy_refused', `The review is not complete: ${missing.join(', ')}.`, {
      nextAction: 'Find every criterion true and cite evidence of each kind, or deny.',
      facts: { limit: 'review', missing },
    })
  }
  for (const { owner, due } of conditions) {
    if (rules.directory.principal(owner as string as PrincipalId)?.kind !== 'person')
      throw refuse('conditions', `${owner} is no person of the people directory.`, 'Name who does it.')
    if (due <= now) throw refuse('conditions', 'A condition is due in the past.', 'Let it be due later.')
  }
  if (accepts.length > 0 && seat !== 'owner')
    throw refuse('accepts', 'Only the owner takes a risk.', 'Leave accepts out.')
  checkAccepts(heard.rules, grant.decisions, accepts, now)
}

/** Risks are taken by their names, of what is there to be taken, for a time that is not over. */
export function checkAccepts(
  rules: readonly PeopleRule[],
  decisions: readonly Decision[],
  accepts: readonly AcceptedRisk[],
  now: Instant,
): void {
  const takable = rules.map((rule) => risksOf(rule, decisions))
  for (const { risk, until } of accepts) {
    if (until <= now) throw refuse('accepts', 'The risk is accepted until a time that has passed.', 'Name a later one.')
    if (takable.some((risks) => risks.includes(risk)) && !isVetoed(rules, risk)) continue
    throw new BrokerError('policy_refused', `${risk} is no risk that the owner can take here.`, {
      nextAction: `These are: ${[...new Set(takable.flat())].filter((one) => !isVetoed(rules, one)).join(', ') || 'none'}.`,
      facts: { limit: isVetoed(rules, risk) ? 'veto' : 'risk', risk },
    })
  }
}
const isVetoed = (rules: readonly PeopleRule[], risk: string): boolean =>
  rules.some(({ reviewers }) => reviewers.some(({ role, veto }) => veto && risk === `review:${role}`))

/** What the vote makes of the grant. `trial` asks only whether it would count. */
function count(
  p: HearingPorts,
  grant: Grant,
  decision: Decision,
  { seat, heard }: Cast,
  control: Control,
  now: Instant,
  trial = false,
): Move {
  if (!inStatus(grant, 'pending', 'approved')) throw new Error('counted a vote on a grant that is over')
  if (decision.act !== 'vote') throw new Error('counted what is no vote')
  const decisions = [...grant.decisions, decision]
  // A trial's vote has no signature yet; it is counted as if it had one.
  const judges: HearingPorts = trial ? { ...p, signatures: { ...p.signatures, verify: () => true } } : p
  const rules = trial ? heard.rules.map((rule) => ({ ...rule, stepUp: false })) : heard.rules
  const after = verdicts(judges, grant, rules, heard.standing, now, decisions)
  const guard = { notAfter: grant.ask.lapsesAt, judgedUnder: control }
  if (decision.verdict === 'deny') {
    if (!inStatus(grant, 'pending'))
      throw wrongStatus(grant, 'it is not denied any more', 'Revoke it, or take your own approval back.')
    const isLast = seat === 'owner' || after.vetoed.includes(seat)
    if (!isLast) checkRoom(grant)
    return {
      step: isLast
        ? { ...denied(grant, decision, decisions, control), rests: p.flood.deniedRests }
        : noted(grant, decision, decisions, control, after.missing),
    }
  }
  // Where the owner was changed since the filing both decide, and each is the last but for the other.
  const besides = after.missing.filter((what) => what !== 'owner')
  if (seat === 'owner' && besides.length > 0) {
    const limit = after.vetoed.length > 0 ? 'veto' : 'reviews'
    throw new BrokerError('policy_refused', `The owner decides last: ${besides.join(', ')} missing.`, {
      nextAction: 'Wait for what is missing, accept the risk of it by name, or deny.',
      facts: { limit, missing: besides },
    })
  }
  if (inStatus(grant, 'approved')) {
    if (verdicts(p, grant, heard.rules, heard.standing, now).met)
      throw wrongStatus(grant, 'it needs no further approval', 'Nothing is left for you to do.')
    const event = voteEvent(grant, 'approval_added', decision, control, after.missing)
    const step = advance(grant, { to: 'approved', facts: grant.head.facts, decisions, event })
    return { step, guard: { notAfter: grant.ask.intent.window.closesAt, judgedUnder: control } }
  }
  const step = after.met
    ? approved(grant, decision, decisions, control, useByOf(grant, heard, now))
    : noted(grant, decision, decisions, control, after.missing)
  return { step, guard }
}

const useByOf = (grant: Grant, { entitlement, duties }: Heard, now: Instant): Instant =>
  useBy(entitlement, duties.executor, grant.ask.intent.window.opensAt, now)

/**
 * Whether this grant waits for this one's decision: a vote now would not be refused for who they are, or for having voted. It looks nothing
 * up, and so errs towards yes for a deputy whose turn it is not, and for who holds access to the target.
 */
export function waitsFor(rules: Rules, somebody: Principal, grant: Grant): boolean {
  const { intent, earlier, tier, askers } = grant.ask
  const requester = rules.directory.principal(intent.requester)
  const executor = rules.directory.principal(intent.executor.principal)
  const offered = rules.policy.entitlement(intent.entitlement)
  if (!inStatus(grant, 'pending') || somebody.kind !== 'person') return false
  if (requester === undefined || executor === undefined || offered === undefined) return false
  if (conflictOf(somebody, { requester, executor, authors: [], askers }) !== undefined) return false
  if (standingVotes(grant.decisions).some(({ by }) => by === somebody.person)) return false
  if (!hasSeat(grant, offered, somebody)) return false
  try {
    const { entitlement, risk } = assess(rules, offered, intent, requester, earlier, tier)
    return rules.policy.judge({ action: 'Approve', principal: somebody, entitlement, intent, requester, risk }).allowed
  } catch (thrown) {
    if (thrown instanceof BrokerError) return false
    throw thrown
  }
}

const OWN: Record<Conflict, string> = {
  not_a_person: 'Only persons decide; agents and workloads never do.',
  requester: 'You asked for this grant yourself.',
  executor: 'You would execute this grant yourself.',
  author: 'You had a hand in the change that is released.',
  requester_sponsor: 'You answer for the one who asked for this grant.',
  executor_sponsor: 'You answer for the one who would execute this grant.',
  author_sponsor: 'You answer for one who had a hand in the change that is released.',
}
const ownRequest = (conflict: Conflict): BrokerError =>
  new BrokerError(conflict === 'not_a_person' ? 'not_permitted' : 'own_request', OWN[conflict], {
    nextAction:
      'Let an owner or reviewer decide who neither asked, nor executes, nor wrote it, nor answers for one of those.',
    facts: { conflict },
  })

const voteEvent = (
  grant: Grant,
  type: 'approved' | 'approval_added' | 'denied' | 'review_denied',
  decision: Vote,
  control: Control,
  missing: readonly string[] = [],
) =>
  eventOf(
    grant.ask,
    type,
    decision.at,
    decision.by,
    {
      reason: decision.reason,
      as: decision.seat,
      ...(decision.deputyFor === undefined ? {} : { deputyFor: decision.deputyFor }),
      ...(missing.length === 0 ? {} : { missing }),
      ...(decision.checklist.length === 0 ? {} : { checklist: decision.checklist }),
      ...(decision.evidence.length === 0 ? {} : { evidence: decision.evidence.map(evidenceLine) }),
      ...(decision.conditions.length === 0
        ? {}
        : { conditions: decision.conditions.map(({ id, text, owner }) => `${id} ${owner}: ${text}`) }),
      ...(decision.accepts.length === 0 ? {} : { accepts: decision.accepts.map(({ risk }) => risk) }),
      ...(decision.assertion === undefined ? {} : { passkey: decision.assertion.credentialId }),
    },
    control,
  )
export const evidenceLine = (one: Evidence): string =>
  one.kind === 'note' ? `note: ${one.text}` : `${one.kind} ${one.url} ${one.digest}`

const denied = (grant: GrantIn<'pending'>, decision: Vote, decisions: readonly Decision[], control: Control) =>
  advance(grant, {
    to: 'denied',
    facts: { at: decision.at, by: decision.by, reason: decision.reason },
    decisions,
    event: voteEvent(grant, 'denied', decision, control),
  })

const approved = (
  grant: GrantIn<'pending'>,
  decision: Vote,
  decisions: readonly Decision[],
  control: Control,
  by: Instant,
) =>
  advance(grant, {
    to: 'approved',
    facts: { approvedAt: decision.at, useBy: by },
    decisions,
    event: voteEvent(grant, 'approved', decision, control),
  })

/** One word more, and not the last. */
const noted = (
  grant: GrantIn<'pending'>,
  decision: Vote,
  decisions: readonly Decision[],
  control: Control,
  missing: readonly string[],
) =>
  advance(grant, {
    to: 'pending',
    facts: grant.head.facts,
    decisions,
    event: voteEvent(
      grant,
      decision.verdict === 'deny' ? 'review_denied' : 'approval_added',
      decision,
      control,
      missing,
    ),
  })
