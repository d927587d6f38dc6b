// What the decisions on a grant amount to under one rule: who is still missing, which reviews are negative, which conditions are open.
// It errs towards refusal: a negative review and an open condition stand although their reviewer has left, an accepted risk is one again
// when its time is over, and where a role has a veto nothing is accepted in its place.
import {
  type AcceptedRisk,
  type Condition,
  type Decision,
  standingAcceptances,
  standingVotes,
  type Vote,
} from './decision.ts'
import type { PeopleRule, ReviewerRole, ReviewerRule } from './entitlement.ts'
import type { PersonId } from './ids.ts'
import type { Instant } from './instant.ts'
import { type Quorum, quorum, type Seat } from './quorum.ts'

export interface OpenCondition extends Condition {
  /** Who made it, and in which seat: they alone close it. */
  readonly by: PersonId | 'policy'
  readonly seat: Seat | 'policy'
}
export interface Tally extends Quorum {
  /** Roles whose review is no, and for which nobody took the risk. */
  readonly negative: readonly ReviewerRole[]
  /** Of these a negative review is the end. */
  readonly vetoed: readonly ReviewerRole[]
  readonly open: readonly OpenCondition[]
}

/**
 * `decisions` are sound, of this very grant. `maySit` says whether this person may fill that seat of this rule now.
 * `met` speaks of persons and reviews alone; an exchange also wants no condition open.
 */
export function tally(
  rule: PeopleRule,
  decisions: readonly Decision[],
  maySit: (person: PersonId, seat: Seat) => boolean,
  now: Instant,
): Tally {
  const votes = standingVotes(decisions)
  const sits = ({ by, seat }: Vote): boolean => by !== 'policy' && seat !== 'policy' && maySit(by, seat)
  const accepted = acceptedRisks(votes, decisions, maySit, now)
  const roleOf = (seat: Vote['seat']): ReviewerRule | undefined => rule.reviewers.find(({ role }) => role === seat)
  const stands = (risk: string, role: ReviewerRule | undefined): boolean => role?.veto !== true && accepted.has(risk)

  const nos = [...new Set(votes.filter(({ verdict }) => verdict === 'deny').map(({ seat }) => seat))]
  const refusing = rule.reviewers.filter(({ role }) => nos.includes(role))
  const negative = refusing.filter((role) => !stands(`review:${role.role}`, role)).map(({ role }) => role)
  const waived = rule.reviewers.filter((role) => stands(`review:${role.role}`, role)).map(({ role }) => role)
  const yes = votes.filter(
    (vote) => vote.verdict === 'approve' && sits(vote) && lacks(roleOf(vote.seat), vote).length === 0,
  )
  const voters = yes.flatMap(({ by, seat }) =>
    by === 'policy' || seat === 'policy' ? [] : [{ person: by, seats: [seat] }],
  )
  const { met, missing } = quorum(rule, voters, waived)
  // Also of a yes that counts no more: what its reviewer saw is there all the same.
  const conditional = votes.filter(({ verdict }) => verdict === 'approve')

  return {
    met: met && negative.length === 0,
    missing: [...missing, ...negative.map((role) => `${role}, whose review is negative`)],
    negative,
    vetoed: refusing.filter(({ veto }) => veto).map(({ role }) => role),
    open: conditional.flatMap((vote) =>
      vote.conditions
        .filter(({ id }) => !isClosed(decisions, vote, id) && !stands(`condition:${id}`, roleOf(vote.seat)))
        .map((condition) => ({ ...condition, by: vote.by, seat: vote.seat })),
    ),
  }
}

/** What a yes in this role must still bring: criteria and kinds of evidence. */
export const lacks = (role: ReviewerRule | undefined, vote: Pick<Vote, 'checklist' | 'evidence'>): readonly string[] =>
  role === undefined
    ? []
    : [
        ...Object.keys(role.criteria)
          .filter((id) => !vote.checklist.includes(id))
          .map((id) => `criterion ${id}`),
        ...role.evidence
          .filter((kind) => !vote.evidence.some((one) => one.kind === kind))
          .map((kind) => `evidence ${kind}`),
      ]

const isClosed = (decisions: readonly Decision[], vote: Vote, id: string): boolean =>
  decisions.some((one) => one.act === 'close' && one.condition === id && one.by === vote.by)

/** Risks that whoever sits as owner has taken, and whose time is not over. */
function acceptedRisks(
  votes: readonly Vote[],
  decisions: readonly Decision[],
  maySit: (person: PersonId, seat: Seat) => boolean,
  now: Instant,
): ReadonlySet<string> {
  const taken: readonly { by: PersonId | 'policy'; accepts: readonly AcceptedRisk[] }[] = [
    ...votes.filter(({ seat, verdict }) => seat === 'owner' && verdict === 'approve'),
    ...standingAcceptances(decisions),
  ]
  const inForce = taken
    .filter(({ by }) => by !== 'policy' && maySit(by, 'owner'))
    .flatMap(({ accepts }) => accepts.filter(({ until }) => now < until))
  return new Set(inForce.map(({ risk }) => risk))
}

/** Every risk that an owner can take under this rule: reviews of roles without a veto, conditions that are open. */
export function risksOf(rule: PeopleRule, decisions: readonly Decision[]): readonly string[] {
  const open = standingVotes(decisions).flatMap((vote) =>
    rule.reviewers.some(({ role, veto }) => veto && role === vote.seat)
      ? []
      : vote.conditions.filter(({ id }) => !isClosed(decisions, vote, id)).map(({ id }) => `condition:${id}`),
  )
  return [...rule.reviewers.filter(({ veto }) => !veto).map(({ role }) => `review:${role}`), ...open]
}
