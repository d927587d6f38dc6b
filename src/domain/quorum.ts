// Does this set of approvals satisfy a rule? Every needed seat is filled by a different natural person, so one person in two groups
// counts once. Zero seats never means yes: an automatic approval is a rule of its own.
import type { PeopleRule, ReviewerRole } from './entitlement.ts'
import type { GroupId, PersonId } from './ids.ts'
import type { Instant } from './instant.ts'

/** In what capacity somebody decides. */
export type Seat = 'owner' | ReviewerRole

export interface Voter {
  readonly person: PersonId
  /** The seats that this person may fill; of a vote that was cast, the one it was cast in. */
  readonly seats: readonly Seat[]
}
export interface Quorum {
  readonly met: boolean
  /** What is still missing: seats, and `1 more person`. */
  readonly missing: readonly string[]
}

/** Of `rule` and these voters, who must be distinct persons; a person named twice is counted once. */
export function quorum(rule: PeopleRule, voters: readonly Voter[], accepted: readonly Seat[] = []): Quorum {
  // A number that is none never means that nobody is needed.
  const numbers = [rule.approvals, ...rule.reviewers.map(({ count }) => count)]
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 1))
    return { met: false, missing: ['a rule whose numbers are at least 1'] }
  const persons = [...new Map(voters.map((voter) => [voter.person, voter])).values()]
  const all = seatsOf(rule)
  const seats = all.filter((seat) => seat === 'owner' || !accepted.includes(seat))
  const taken = new Map<Voter, number>()

  // Kuhn's matching: a seat may move its person to another seat that they also fit, never seat one person twice.
  const seatOne = (seat: number, tried: Set<Voter>): boolean => {
    for (const voter of persons) {
      const wanted = seats[seat]
      if (wanted === undefined || !voter.seats.includes(wanted) || tried.has(voter)) continue
      tried.add(voter)
      const holds = taken.get(voter)
      if (holds === undefined || seatOne(holds, tried)) {
        taken.set(voter, seat)
        return true
      }
    }
    return false
  }

  const missing: string[] = seats.filter((_, seat) => !seatOne(seat, new Set()))
  const eligible = persons.filter((voter) => voter.seats.some((seat) => all.includes(seat))).length
  // A seat whose absence the owner answers for is one person less; never less than one.
  const needed = Math.max(1, rule.approvals - (all.length - seats.length))
  const short = needed - eligible - missing.length
  if (short > 0) missing.push(`${short} more person${short === 1 ? '' : 's'}`)
  return { met: missing.length === 0 && persons.length > 0, missing }
}

const seatsOf = (rule: PeopleRule): readonly Seat[] => [
  'owner',
  ...rule.reviewers.flatMap(({ role, count }) => Array.from({ length: count }, () => role)),
]

/** A natural person as far as seats are concerned. */
export interface Candidate {
  readonly person: PersonId
  readonly groups: readonly GroupId[]
}
/** When a deputy may act. */
export interface Standing {
  readonly at: Instant
  /** Nobody decided in time: every deputy may, whatever the order. */
  readonly escalated: boolean
  /** Whether this person could decide at all, were it their turn. */
  isFree(person: PersonId): boolean
  /** The members of a group of deputies. */
  membersOf(group: GroupId): readonly PersonId[]
}

/** The seats of the rule that this person may fill now. */
export function seatsFor(rule: PeopleRule, { person, groups }: Candidate, standing: Standing): readonly Seat[] {
  const roles = rule.reviewers.filter(({ group }) => groups.includes(group)).map(({ role }) => role)
  return person === rule.owner || deputyOf(rule, person, standing) ? ['owner', ...roles] : roles
}

/** Whether it is this person's turn to decide for the owner: within the term, and nobody named before is free to. */
function deputyOf(rule: PeopleRule, person: PersonId, { at, escalated, isFree, membersOf }: Standing): boolean {
  for (const { person: named, group, from, until } of rule.deputies) {
    if (at < from || at >= until) continue
    const members = named === undefined ? (group === undefined ? [] : membersOf(group)) : [named]
    if (members.includes(person)) return true
    if (!escalated && members.some(isFree)) return false
  }
  return false
}

/** Whether this person has a part in the rule at any time: for who may see what waits for a decision. */
export const hasPart = (rule: PeopleRule, { person, groups }: Candidate): boolean =>
  person === rule.owner ||
  rule.deputies.some(
    (deputy) => deputy.person === person || (deputy.group !== undefined && groups.includes(deputy.group)),
  ) ||
  rule.reviewers.some(({ group }) => groups.includes(group))
