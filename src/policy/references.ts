// Where policy and people directory do not fit each other. A policy may compile and yet be unusable: an owner who left, a group without
// members, a workload that is spelled differently. Each is told with its place before it is found out at an asking. Invariant: whoever is
// switched off is missed, but stops no file: nobody stays because the policy names them.
import type { ApprovalRule, Entitlement, PeopleRule } from '../domain/entitlement.ts'
import { type EntitlementId, type GroupId, named, type PersonId, type TenantId } from '../domain/ids.ts'
import type { Principal } from '../domain/principal.ts'
import { atLeast, type Tier } from '../domain/tier.ts'
import type { CompiledPolicy } from './compile.ts'
import type { NamedEntity } from './guards.ts'
import { inOrder, type PolicyProblem } from './problem.ts'
import type { Path } from './strict-yaml.ts'

/** What is asked of the people directory here. */
export interface Known {
  /** Everybody in the files, also who is nobody now. */
  entered(): readonly Principal[]
  /** Natural persons who are active. */
  persons(): readonly Principal[]
  group(tenant: TenantId, name: GroupId): { readonly administrative: boolean; readonly members: number }
}

export interface Fit {
  /** Every dangling name and every group that may not approve: with these the policy is not taken. */
  readonly problems: readonly PolicyProblem[]
  /** Seats that nobody can fill today, because who could is switched off. */
  readonly warnings: readonly PolicyProblem[]
}

/** Compares both, each finding with its place. Groups and tenants exist by having a person in them. */
export function checkReferences(policy: CompiledPolicy, directory: Known): Fit {
  const persons = directory.entered().filter(({ kind }) => kind === 'person')
  const tenants = new Set(persons.map(({ tenant }) => tenant))
  const { source } = policy
  const problems: PolicyProblem[] = []
  const warnings: PolicyProblem[] = []
  for (const entitlement of policy.entitlements()) {
    const into =
      (found: PolicyProblem[]): Report =>
      (at, message) => {
        const path: Path = ['entitlements', entitlement.id, ...at]
        found.push({ file: source.entitlementsFile, ...source.placeOf(path), path: path.join('.'), message })
      }
    const { tenant, approval } = entitlement
    const approverGroups = approval.mode === 'people' ? approverGroupsOf(approval) : []
    checkTenants(entitlement, tenants, into(problems))
    checkSeats(
      approval,
      { entered: persons.filter(ofTenant(tenant)), active: directory.persons().filter(ofTenant(tenant)) },
      { refuse: into(problems), warn: into(warnings) },
    )
    checkApproverGroups({ ...entitlement, approverGroups }, directory, into(problems))
  }
  for (const entity of source.named) {
    const message = danglingIn(entity, policy, directory.entered(), tenants)
    if (message === undefined) continue
    problems.push({ file: source.guardsFile, ...source.placeInGuards(entity.offset), path: entity.rule, message })
  }
  return { problems: inOrder(problems), warnings: inOrder(warnings) }
}

type Report = (path: Path, message: string) => void
type Persons = readonly Principal[]

const approverGroupsOf = ({ reviewers, deputies }: PeopleRule): readonly GroupId[] => [
  ...reviewers.map(({ group }) => group),
  ...deputies.flatMap(({ group }) => group ?? []),
]

const ofTenant =
  (tenant: TenantId) =>
  (person: Principal): boolean =>
    person.tenant === tenant

function checkTenants({ tenant, openTo }: Entitlement, tenants: ReadonlySet<string>, refuse: Report): void {
  const unknown = 'is no tenant of the people directory; correct it, or add its people first.'
  if (!tenants.has(tenant)) refuse(['tenant'], `${tenant} ${unknown}`)
  for (const other of openTo) if (other !== tenant && !tenants.has(other)) refuse(['openTo'], `${other} ${unknown}`)
}

/** Whether somebody of the tenant is there for each seat. Where only who is switched off is, the policy stands and somebody is to be named soon. */
function checkSeats(
  approval: ApprovalRule,
  colleagues: { readonly entered: Persons; readonly active: Persons },
  { refuse, warn }: { readonly refuse: Report; readonly warn: Report },
): void {
  if (approval.mode !== 'people') return
  const { entered, active } = colleagues
  const person = (at: Path, one: PersonId): void => {
    const isThere = (persons: Persons): boolean => persons.some((principal) => isPerson(principal, one))
    if (!isThere(entered)) refuse(at, `${one} is no person of this tenant in the people directory; name one who is.`)
    else if (!isThere(active)) warn(at, `${one} is no longer active; name another.`)
  }
  person(['approval', 'owner'], approval.owner)
  for (const [n, deputy] of approval.deputies.entries())
    if (deputy.person !== undefined) person(['approval', 'deputies', n], deputy.person)
  for (const { group, count } of approval.reviewers) {
    const members = (persons: Persons): number => persons.filter(({ groups }) => groups.includes(group)).length
    const tell = (report: Report, have: string): void =>
      report(['approval', 'reviewers'], `The group ${group} of this tenant has ${have} of the ${count} persons needed.`)
    // Of an empty group `checkApproverGroups` tells.
    if (members(entered) === 0) continue
    if (members(entered) < count) tell(refuse, `${members(entered)}`)
    else if (members(active) < count) tell(warn, `${members(active)} active`)
  }
}

/**
 * From tier high on, who administers systems could give themselves what they approve, and what many may approve is nobody's concern:
 * neither group approves there. Groups that only supply deputies are approver groups too.
 */
export function checkApproverGroups(
  entitlement: {
    readonly id: EntitlementId
    readonly tenant: TenantId
    readonly tier: Tier
    readonly maxApprovers: number
    readonly approverGroups: readonly GroupId[]
  },
  directory: Pick<Known, 'entered' | 'group'>,
  refuse: Report,
): void {
  const { tenant, tier, maxApprovers } = entitlement
  for (const name of new Set(entitlement.approverGroups)) {
    const { administrative, members } = directory.group(tenant, name)
    if (!directory.entered().some((one) => one.kind === 'person' && one.tenant === tenant && one.groups.includes(name)))
      refuse(['approval'], `Nobody of ${tenant} is in the group ${name}, so nobody could decide; correct the name.`)
    if (!atLeast(tier, 'high')) continue
    if (administrative)
      refuse(['approval'], `The group ${name} is administrative and cannot approve at tier ${tier}; name another.`)
    if (members > maxApprovers)
      refuse(
        ['approval'],
        `The group ${name} has ${members} members; at tier ${tier} at most ${maxApprovers} may be approvers. Name a smaller one.`,
      )
  }
}

const isPerson = (principal: Principal, person: PersonId): boolean =>
  principal.kind === 'person' && principal.person === person

const KINDS: Readonly<Record<string, Principal['kind']>> = { Person: 'person', Workload: 'workload', Agent: 'agent' }

function danglingIn(
  { type, id }: NamedEntity,
  policy: CompiledPolicy,
  everybody: readonly Principal[],
  tenants: ReadonlySet<string>,
): string | undefined {
  const kind = KINDS[type]
  if (kind !== undefined && !everybody.some((one) => one.id === id && one.kind === kind))
    return `There is no ${kind} ${id} in the people directory; correct the name.`
  if (type === 'Tenant' && !tenants.has(id))
    return `There is no tenant ${id} in the people directory; correct the name.`
  if (type === 'Entitlement' && policy.entitlement(named.entitlement(id)) === undefined)
    return `There is no entitlement ${id}; correct the name, or remove the rule.`
  if (type !== 'Group') return undefined
  const members = everybody.some(
    ({ kind, tenant, groups }) => kind === 'person' && groups.some((group) => `${tenant}/${group}` === id),
  )
  return members ? undefined : `No person is in the group ${id}; write <tenant>/<group> as in people.yaml.`
}
