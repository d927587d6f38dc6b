// Who may sit where: which natural persons may decide on an asking now, in which seat, and why another may not. Asked at filing, at each
// decision and again at every exchange. It errs towards refusal: whoever is unknown, has a part in it, or holds access to the target at
// tier high and above, does not count.
import type { Decision, Vote } from '../domain/decision.ts'
import { standingVotes } from '../domain/decision.ts'
import { conflictOf, type Duties } from '../domain/duties.ts'
import type { Entitlement, PeopleRule } from '../domain/entitlement.ts'
import type { Grant } from '../domain/grant.ts'
import type { GroupId, PersonId, PrincipalId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Status } from '../domain/lifecycle.ts'
import { type Person, type Principal, personsBehind } from '../domain/principal.ts'
import { hasPart, type Seat, seatsFor, type Voter } from '../domain/quorum.ts'
import { type OpenCondition, type Tally, tally } from '../domain/reviews.ts'
import type { AskedRisk } from '../domain/risk.ts'
import { atLeast } from '../domain/tier.ts'
import type { Directory, Index, Ports, Rules } from './ports.ts'
import { isSound, type SoundPorts } from './sound.ts'

export interface Hearing {
  readonly entitlement: Entitlement
  readonly intent: Intent
  readonly duties: Duties
  readonly risk: AskedRisk
  /** Nobody decided in time: every deputy may. */
  readonly escalated: boolean
  readonly at: Instant
}

export interface Seating {
  /** The seats of this rule that this person may fill now; `escalated` instead of what the hearing says of it. */
  seatsOf(rule: PeopleRule, person: PersonId, escalated?: boolean): readonly Seat[]
  /** Why this person may fill none, in a word; undefined where nothing is against it but the rule itself. */
  barred(person: PersonId): string | undefined
  /** Everybody who may fill a seat of this rule. */
  voters(rule: PeopleRule): readonly Voter[]
}

/** Looks at `only` these persons and at whoever stands before them; at everybody who has a part in the rules where absent. */
export async function seating(
  p: Pick<Ports, 'grants'>,
  rules: Rules,
  on: Hearing,
  of: readonly PeopleRule[],
  only?: readonly PersonId[],
): Promise<Seating> {
  // Before anybody is looked at: nobody makes the broker look through the grants of a crowd that may not approve here.
  const narrowed = new Map(of.map((rule) => [rule, groupsThatMay(rules.directory, on, rule)]))
  const asked = personsAsked(rules.directory, [...narrowed.values()], only)
  const free = new Map<PersonId, Person>()
  const bars = new Map<PersonId, string>()
  for (const person of asked) {
    const bar = barOf(rules, on, person) ?? (await holdingOf(p, rules.directory, on, person))
    if (bar === undefined) free.set(person.person, person)
    else bars.set(person.person, bar)
  }
  const members = new Map<GroupId, readonly PersonId[]>()
  const membersOf = (group: GroupId): readonly PersonId[] => {
    const isMember = ({ tenant, groups }: Person): boolean => tenant === on.intent.tenant && groups.includes(group)
    const found = members.get(group) ?? asked.filter(isMember).map(({ person }) => person)
    members.set(group, found)
    return found
  }
  const standing = { at: on.at, isFree: (person: PersonId) => free.has(person), membersOf }
  const seatsOf = (rule: PeopleRule, person: PersonId, escalated = on.escalated): readonly Seat[] => {
    const known = free.get(person)
    if (known === undefined) return []
    const narrow = narrowed.get(rule) ?? groupsThatMay(rules.directory, on, rule)
    const seats = seatsFor(narrow, known, { ...standing, escalated })
    // A deputy decides in the owner's place: what bars the owner from it as a party bars whoever stands in.
    return person !== rule.owner && ownerIsParty(on.duties, rule) ? seats.filter((seat) => seat !== 'owner') : seats
  }
  return {
    seatsOf,
    barred: (person) => bars.get(person) ?? (free.has(person) ? undefined : absenceOf(rules.directory, person)),
    voters: (rule) =>
      [...free.keys()].flatMap((person) => {
        const seats = seatsOf(rule, person)
        return seats.length === 0 ? [] : [{ person, seats }]
      }),
  }
}

/**
 * At tier high and above a group that is administrative, or larger than may be, gives nobody a seat: the files are checked for it when they
 * are loaded, and here for an asking whose tier was raised.
 */
function groupsThatMay(directory: Directory, { entitlement, intent }: Hearing, rule: PeopleRule): PeopleRule {
  if (!atLeast(entitlement.tier, 'high')) return rule
  const may = (group: GroupId | undefined): boolean => {
    if (group === undefined) return true
    const { administrative, members } = directory.group(intent.tenant, group)
    return !administrative && members <= entitlement.maxApprovers
  }
  return {
    ...rule,
    deputies: rule.deputies.filter(({ group }) => may(group)),
    reviewers: rule.reviewers.filter(({ group }) => may(group)),
  }
}

/** Everybody is looked at only where somebody of a group may be asked: an exchange looks at those who have spoken. */
function personsAsked(
  directory: Directory,
  of: readonly PeopleRule[],
  only: readonly PersonId[] | undefined,
): readonly Person[] {
  const deputies = of.flatMap((rule) => rule.deputies)
  if (only === undefined || deputies.some(({ group }) => group !== undefined)) {
    return directory
      .persons()
      .filter(isPerson)
      .filter((person) => only?.includes(person.person) === true || of.some((rule) => hasPart(rule, person)))
  }
  const named = [...new Set([...only, ...deputies.flatMap(({ person }) => person ?? [])])]
  return named.map((person) => directory.principal(asPrincipal(person))).filter(isPerson)
}

const asPrincipal = (person: PersonId): PrincipalId => person as string as PrincipalId

/** Whether or not the owner is anybody now. */
const ownerIsParty = ({ requester, executor, authors, askers = [] }: Duties, { owner }: PeopleRule): boolean =>
  askers.includes(owner) || [requester, executor, ...authors].some((party) => personsBehind(party).includes(owner))

const absenceOf = (directory: Directory, person: PersonId): string => {
  const absence = directory.absence(asPrincipal(person))
  if (absence === undefined) return 'has no part in the rule'
  return absence === 'unknown' ? 'not in the people directory' : 'no longer active'
}

function barOf(rules: Rules, { entitlement, intent, duties, risk }: Hearing, person: Person): string | undefined {
  const conflict = conflictOf(person, duties)
  if (conflict !== undefined) return conflict.conflict
  const question = {
    action: 'Approve',
    principal: person,
    entitlement,
    intent,
    requester: duties.requester,
    risk,
  } as const
  return rules.policy.judge(question).allowed ? undefined : 'the guards do not permit Approve'
}

/** How many grants are looked through for one question; where there are more, it is asked in another way. */
const LOOKED_THROUGH = 1_000
const PAGE = 100
/** Where somebody has access, or is about to. */
const HOLDING: readonly Status[] = ['approved', 'issuing', 'active', 'ending', 'stuck']

/**
 * At tier high and above: declared standing access to the target, or a grant on it that is not over. A machine may have had so many that they
 * are not looked through: then what the tenant has in force is, or whoever lets theirs ask much would keep them from deciding.
 */
async function holdingOf(
  p: Pick<Ports, 'grants'>,
  directory: Directory,
  { entitlement, intent }: Hearing,
  { person, id }: Person,
): Promise<string | undefined> {
  if (!atLeast(entitlement.tier, 'high')) return undefined
  const hands = [id, ...directory.answeredForBy(person)]
  if (hands.some((hand) => directory.hasStandingAccess(hand, intent.target))) return 'has standing access to the target'
  const isTheirs = (grant: Grant): boolean =>
    holds(grant, intent) &&
    [grant.ask.intent.requester, grant.ask.intent.executor.principal].some((party) => hands.includes(party))
  const { tenant } = intent
  const found =
    (await anyOf(
      p,
      hands.map((party) => ({ party })),
      isTheirs,
    )) ??
    (await anyOf(
      p,
      HOLDING.map((status) => ({ tenant, status })),
      isTheirs,
    ))
  if (found === undefined) return 'holds more grants than are looked through'
  return found ? 'holds a grant on the target' : undefined
}

/** Whether one of these is such a grant; undefined where there are more than are looked through. */
async function anyOf(
  p: Pick<Ports, 'grants'>,
  of: readonly Index[],
  isOne: (grant: Grant) => boolean,
): Promise<boolean | undefined> {
  let cursor: string | undefined
  for (let read = 0; read < LOOKED_THROUGH; read += PAGE) {
    const found = await p.grants.list({ of, limit: PAGE, cursor })
    if (found.grants.some(isOne)) return true
    if (found.next === undefined) return false
    cursor = found.next
  }
  return undefined
}

const holds = (grant: Grant, { target, tenant }: Intent): boolean =>
  grant.ask.intent.target === target && grant.ask.intent.tenant === tenant && HOLDING.includes(grant.head.status)

/** The decisions under the rule at filing and under today's: both must be met, and the stricter stands in everything. */
export interface Verdicts extends Pick<Tally, 'met' | 'missing' | 'negative' | 'vetoed'> {
  readonly open: readonly OpenCondition[]
  /** Votes that were cast and do not count any more, each with the reason. */
  readonly void: readonly { readonly by: string; readonly seat: string; readonly because: string }[]
}

export const rulesFor = (grant: Grant, entitlement: Entitlement): readonly PeopleRule[] =>
  [grant.ask.rule, entitlement.approval].filter((rule): rule is PeopleRule => rule.mode === 'people')

export function verdicts(
  p: SoundPorts,
  grant: Grant,
  of: readonly PeopleRule[],
  seats: Seating,
  now: Instant,
  decisions: readonly Decision[] = grant.decisions,
): Verdicts {
  const sound = decisions.filter((decision) => isSound(p, grant, of, decision))
  const maySit = (rule: PeopleRule) => (person: PersonId, seat: Seat) => seats.seatsOf(rule, person).includes(seat)
  const tallies = of.map((rule) => tally(rule, sound, maySit(rule), now))
  const open = new Map(tallies.flatMap((one) => one.open).map((condition) => [condition.id, condition]))
  return {
    met: tallies.length > 0 && tallies.every(({ met }) => met),
    missing: [...new Set(tallies.flatMap(({ missing }) => missing))],
    negative: [...new Set(tallies.flatMap(({ negative }) => negative))],
    vetoed: [...new Set(tallies.flatMap(({ vetoed }) => vetoed))],
    open: [...open.values()],
    void: standingVotes(decisions).flatMap((vote) => {
      const because = sound.includes(vote) ? whyVoid(of, seats, vote) : 'its signature does not hold'
      return because === undefined ? [] : [{ by: vote.by, seat: vote.seat, because }]
    }),
  }
}

function whyVoid(of: readonly PeopleRule[], seats: Seating, { by, seat, verdict }: Vote): string | undefined {
  if (by === 'policy' || seat === 'policy' || verdict !== 'approve') return undefined
  if (of.every((rule) => seats.seatsOf(rule, by).includes(seat))) return undefined
  return seats.barred(by) ?? `may not decide as ${seat} any more`
}

/** Everybody whose word is in the decisions. */
export const speakers = (decisions: readonly Decision[]): readonly PersonId[] =>
  decisions.flatMap(({ by }) => (by === 'policy' ? [] : [by]))

/** A natural one: the only kind that decides. */
const isPerson = (principal: Principal | undefined): principal is Person => principal?.kind === 'person'
