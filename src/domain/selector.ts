// What a freeze is about: who, what, where and when, all of it together. Invariant: a selector names at least one thing, and it is conjunctive:
// the more it names, the less it matches, and what it does not name does not matter.
import { canonical } from './canonical.ts'
import { BrokerError } from './errors.ts'
import type { Digest, EntitlementId, PersonId, PrincipalId, TenantId, Thumbprint } from './ids.ts'
import { formatInstant, type Instant } from './instant.ts'
import type { Intent } from './intent.ts'
import { type Principal, personsBehind } from './principal.ts'

export interface Selector {
  /** The requester, the executor, or who answers for either. */
  readonly person?: PersonId
  readonly agent?: PrincipalId
  readonly workload?: PrincipalId
  /** Who answers for a machine that is requester or executor. */
  readonly sponsor?: PersonId
  /** Of the target, or of the requester. */
  readonly tenant?: TenantId
  readonly target?: string
  readonly environment?: string
  readonly entitlement?: EntitlementId
  readonly task?: string
  readonly session?: string
  readonly ticket?: { readonly system: string; readonly id: string }
  readonly planDigest?: Digest
  /** Of the executor, or of whoever shows it. */
  readonly key?: Thumbprint
  /** Whoever said something on it that is kept, taken back or not. */
  readonly approver?: PersonId
  /** Under which it was filed, or something was decided on it, or it would be now. */
  readonly policyDigest?: Digest
  /** Something was issued of it before this time: what was never issued does not match. */
  readonly issuedBefore?: Instant
}
export type SelectorMember = keyof Selector

/** Somebody whom the directory does not know now. Of what kind they were is not known, so they count as any. */
export interface Absent {
  readonly kind: 'absent'
  readonly id: PrincipalId
}
export type Party = Principal | Absent
/** The machines that a person answered for at some moment. */
export type AnsweredFor = { readonly [M in 'person' | 'sponsor']?: readonly PrincipalId[] }

/** What a selector is held against: an asking, or a grant, with its parties as the directory knows them now. */
export interface Subject {
  readonly intent: Intent
  readonly requester: Party
  readonly executor: Party
  /** As filed, where that is another one by now. */
  readonly requesterTenant?: TenantId
  /** The persons behind the requester as filed: whoever answers for it now, those did then. */
  readonly askers?: readonly PersonId[]
  /** Key and session that are shown at this moment by requester or executor. */
  readonly shown?: { readonly key: Thumbprint | undefined; readonly session: string }
  /** Who said something on it; nobody yet where it is being filed. */
  readonly approvers?: readonly PersonId[]
  readonly policies?: readonly Digest[]
  /** Since when something of it is out; undefined where nothing ever was. */
  readonly issuedAt?: Instant | undefined
}
interface Held extends Subject {
  /** By whom the selector names, when it was made: whoever answers for a machine since, they did then. */
  readonly answered?: AnsweredFor
}

const parties = ({ requester, executor }: Subject): readonly Party[] => [requester, executor]
const sponsorsOf = (party: Party): readonly PersonId[] =>
  party.kind === 'workload' || party.kind === 'agent' ? party.sponsors : []
const personsOf = (party: Party): readonly string[] => (party.kind === 'absent' ? [party.id] : personsBehind(party))
const isAnswered = (subject: Subject, machines: readonly PrincipalId[] | undefined): boolean =>
  machines !== undefined && parties(subject).some(({ id }) => machines.includes(id))
const among = (found: readonly (string | undefined)[], wanted: string | undefined): boolean =>
  wanted !== undefined && found.includes(wanted)

/** One row for each member: a new one does not compile until it says what it matches. */
const TESTS: { readonly [M in SelectorMember]-?: (wanted: Selector, subject: Held) => boolean } = {
  person: ({ person }, subject) =>
    among([...parties(subject).flatMap(personsOf), ...askersOf(subject)], person) ||
    isAnswered(subject, subject.answered?.person),
  agent: ({ agent }, subject) => among(idsOf('agent', subject), agent),
  workload: ({ workload }, subject) => among(idsOf('workload', subject), workload),
  sponsor: ({ sponsor }, subject) =>
    among(
      [...parties(subject).flatMap(sponsorsOf), ...(subject.requester.kind === 'person' ? [] : askersOf(subject))],
      sponsor,
    ) || isAnswered(subject, subject.answered?.sponsor),
  tenant: ({ tenant }, subject) => among(tenantsOf(subject), tenant),
  target: ({ target }, { intent }) => among([intent.target], target),
  environment: ({ environment }, { intent }) => among([intent.environment], environment),
  entitlement: ({ entitlement }, { intent }) => among([intent.entitlement], entitlement),
  task: ({ task }, { intent }) => among([intent.task], task),
  session: ({ session }, { intent, shown }) => among([intent.session, shown?.session], session),
  ticket: ({ ticket }, { intent }) => intent.ticket?.system === ticket?.system && intent.ticket?.id === ticket?.id,
  planDigest: ({ planDigest }, { intent }) => among([intent.plan?.digest], planDigest),
  key: ({ key }, { intent, shown }) => among([intent.executor.key, shown?.key], key),
  approver: ({ approver }, { approvers = [] }) => among(approvers, approver),
  policyDigest: ({ policyDigest }, { policies = [] }) => among(policies, policyDigest),
  issuedBefore: ({ issuedBefore }, { issuedAt }) =>
    issuedBefore !== undefined && issuedAt !== undefined && issuedAt < issuedBefore,
}

const idsOf = (kind: Principal['kind'], subject: Subject): readonly PrincipalId[] =>
  parties(subject).flatMap((party) => (party.kind === kind || party.kind === 'absent' ? [party.id] : []))

const askersOf = ({ askers = [] }: Subject): readonly PersonId[] => askers

const tenantsOf = ({ intent, requester, requesterTenant }: Subject): readonly (TenantId | undefined)[] => [
  intent.tenant,
  requester.kind === 'absent' ? undefined : requester.tenant,
  requesterTenant,
]

const isMember = (name: string): name is SelectorMember => Object.hasOwn(TESTS, name)
/** Everything that a selector may name. */
export const SELECTOR_MEMBERS: readonly SelectorMember[] = Object.keys(TESTS).filter(isMember)

/** The members that are named, in the order of the table. */
export const membersOf = (selector: Selector): readonly SelectorMember[] =>
  SELECTOR_MEMBERS.filter((name) => selector[name] !== undefined)

/** Throws `invalid_request` for a selector that names nothing, as it would match everything, and for a time that has not come. */
export function checkSelector(selector: Selector, now: Instant): void {
  if (selector.issuedBefore !== undefined && selector.issuedBefore > now)
    throw new BrokerError('invalid_request', 'issuedBefore is in the future: nothing was issued then yet.', {
      nextAction: `Name a time up to now, such as ${formatInstant(now)}.`,
      facts: { member: 'where.issuedBefore' },
    })
  if (membersOf(selector).length > 0) return
  throw new BrokerError('invalid_request', 'A freeze names at least one of who, what and where.', {
    nextAction: `Name one of: ${SELECTOR_MEMBERS.join(', ')}.`,
    facts: { member: 'where' },
  })
}

export const isSameSelector = (a: Selector, b: Selector): boolean => textOf(a) === textOf(b)
const textOf = ({ ticket, ...plain }: Selector): string => canonical({ ...plain, ticket: ticket && { ...ticket } })

/** Whether all that the selector names is true of the subject. One that names nothing matches nothing. */
export function matches(selector: Selector, subject: Held): boolean {
  const named = membersOf(selector)
  return named.length > 0 && named.every((member) => TESTS[member](selector, subject))
}

/** Whether the subject is this tenant's: its target is, or its requester. */
export const concerns = (tenant: TenantId, subject: Subject): boolean => among(tenantsOf(subject), tenant)
