// What a freeze is about: who, what and where, all of it together. Invariant: a selector names at least one thing, and it is conjunctive:
// the more it names, the less it matches, and what it does not name does not matter.
import { canonical } from './canonical.ts'
import { BrokerError } from './errors.ts'
import type { Digest, EntitlementId, PersonId, PrincipalId, TenantId, Thumbprint } from './ids.ts'
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
}
export type SelectorMember = keyof Selector

/** What a selector is held against: an asking, or a grant, with its parties as the directory knows them now. */
export interface Subject {
  readonly intent: Intent
  readonly requester: Principal
  readonly executor: Principal
  /** As filed, where that is another one by now. */
  readonly requesterTenant?: TenantId
  /** The persons behind the requester as filed: whoever answers for it now, those did then. */
  readonly askers?: readonly PersonId[]
  /** Key and session that are shown at this moment by requester or executor. */
  readonly shown?: { readonly key: Thumbprint | undefined; readonly session: string }
}

const parties = ({ requester, executor }: Subject): readonly Principal[] => [requester, executor]
const among = (found: readonly (string | undefined)[], wanted: string | undefined): boolean =>
  wanted !== undefined && found.includes(wanted)

/** One row for each member: a new one does not compile until it says what it matches. */
const TESTS: { readonly [M in SelectorMember]-?: (wanted: Selector, subject: Subject) => boolean } = {
  person: ({ person }, subject) => among([...parties(subject).flatMap(personsBehind), ...askersOf(subject)], person),
  agent: ({ agent }, subject) => among(idsOf('agent', subject), agent),
  workload: ({ workload }, subject) => among(idsOf('workload', subject), workload),
  sponsor: ({ sponsor }, subject) =>
    among(
      [
        ...parties(subject).flatMap((party) => (party.kind === 'person' ? [] : party.sponsors)),
        ...(subject.requester.kind === 'person' ? [] : askersOf(subject)),
      ],
      sponsor,
    ),
  tenant: ({ tenant }, subject) => among(tenantsOf(subject), tenant),
  target: ({ target }, { intent }) => among([intent.target], target),
  environment: ({ environment }, { intent }) => among([intent.environment], environment),
  entitlement: ({ entitlement }, { intent }) => among([intent.entitlement], entitlement),
  task: ({ task }, { intent }) => among([intent.task], task),
  session: ({ session }, { intent, shown }) => among([intent.session, shown?.session], session),
  ticket: ({ ticket }, { intent }) => intent.ticket?.system === ticket?.system && intent.ticket?.id === ticket?.id,
  planDigest: ({ planDigest }, { intent }) => among([intent.plan?.digest], planDigest),
  key: ({ key }, { intent, shown }) => among([intent.executor.key, shown?.key], key),
}

const idsOf = (kind: Principal['kind'], subject: Subject): readonly PrincipalId[] =>
  parties(subject).flatMap((party) => (party.kind === kind ? [party.id] : []))

const askersOf = ({ askers = [] }: Subject): readonly PersonId[] => askers

const tenantsOf = ({ intent, requester, requesterTenant }: Subject): readonly (TenantId | undefined)[] => [
  intent.tenant,
  requester.tenant,
  requesterTenant,
]

const isMember = (name: string): name is SelectorMember => Object.hasOwn(TESTS, name)
/** Everything that a selector may name. */
export const SELECTOR_MEMBERS: readonly SelectorMember[] = Object.keys(TESTS).filter(isMember)

/** The members that are named, in the order of the table. */
export const membersOf = (selector: Selector): readonly SelectorMember[] =>
  SELECTOR_MEMBERS.filter((name) => selector[name] !== undefined)

/** Throws `invalid_request` for a selector that names nothing: it would match everything. */
export function checkSelector(selector: Selector): void {
  if (membersOf(selector).length > 0) return
  throw new BrokerError('invalid_request', 'A freeze names at least one of who, what and where.', {
    nextAction: `Name one of: ${SELECTOR_MEMBERS.join(', ')}.`,
    facts: { member: 'where' },
  })
}

export const isSameSelector = (a: Selector, b: Selector): boolean => textOf(a) === textOf(b)
const textOf = ({ ticket, ...plain }: Selector): string => canonical({ ...plain, ticket: ticket && { ...ticket } })

/** Whether all that the selector names is true of the subject. One that names nothing matches nothing. */
export function matches(selector: Selector, subject: Subject): boolean {
  const named = membersOf(selector)
  return named.length > 0 && named.every((member) => TESTS[member](selector, subject))
}

/** Whether the subject is this tenant's: its target is, or its requester. */
export const concerns = (tenant: TenantId, subject: Subject): boolean => among(tenantsOf(subject), tenant)
