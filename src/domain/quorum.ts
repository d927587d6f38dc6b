// Does this set of approvals satisfy a rule? Every needed seat is filled by a different natural person, so one person in two groups
// counts once. Zero seats never means yes: an automatic approval is a rule of its own.
import type { PeopleRule } from './entitlement.ts'
import type { GroupId, PersonId } from './ids.ts'

export interface Voter {
  readonly person: PersonId
  readonly groups: readonly GroupId[]
}
export interface Quorum {
  readonly met: boolean
  /** What is still missing, for people: `owner`, `group security`, `1 more person`. */
  readonly missing: readonly string[]
}

interface Seat {
  readonly name: string
  readonly admits: (voter: Voter) => boolean
}

const seatsOf = (rule: PeopleRule): readonly Seat[] => [
  { name: 'owner', admits: (voter) => rule.owners.includes(voter.person) },
  ...rule.reviewers.flatMap(({ group, count }) =>
    Array.from({ length: count }, () => ({
      name: `group ${group}`,
      admits: (voter: Voter) => voter.groups.includes(group),
    })),
  ),
]

/** Whether this person could fill any seat of the rule. */
export const isEligible = (rule: PeopleRule, voter: Voter): boolean => seatsOf(rule).some((seat) => seat.admits(voter))

/** `voters` must be distinct persons; a person named twice is counted once. */
export function quorum(rule: PeopleRule, voters: readonly Voter[]): Quorum {
  const persons = [...new Map(voters.map((voter) => [voter.person, voter])).values()]
  const seats = seatsOf(rule)
  const seatOf = new Map<Voter, Seat>()

  // Kuhn's matching: a seat may move its person to another seat that they also fit, never seat one person twice.
  const seatOne = (seat: Seat, tried: Set<Voter>): boolean => {
    for (const voter of persons) {
      if (!seat.admits(voter) || tried.has(voter)) continue
      tried.add(voter)
      const holds = seatOf.get(voter)
      if (holds === undefined || seatOne(holds, tried)) {
        seatOf.set(voter, seat)
        return true
      }
    }
    return false
  }

  const missing = seats.filter((seat) => !seatOne(seat, new Set())).map((seat) => seat.name)
  const eligible = persons.filter((voter) => isEligible(rule, voter)).length
  const short = Math.max(1, rule.approvals) - eligible - missing.length
  if (short > 0) missing.push(`${short} more person${short === 1 ? '' : 's'}`)
  return { met: missing.length === 0 && persons.length > 0, missing }
}
