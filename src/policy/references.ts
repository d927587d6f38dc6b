// Names in a policy that nobody in the people directory answers to. A policy may compile and yet be unusable: an owner who left, a group
// without members, a workload that is spelled differently. Each is told with its place before it is found out at an asking.
import type { Entitlement } from '../domain/entitlement.ts'
import { named, type PersonId, type PrincipalId } from '../domain/ids.ts'
import type { Principal } from '../domain/principal.ts'
import type { CompiledPolicy } from './compile.ts'
import type { NamedEntity } from './guards.ts'
import { inOrder, type PolicyProblem } from './problem.ts'
import type { Path } from './strict-yaml.ts'

/** What is asked of the people directory here. */
export interface Known {
  principal(id: PrincipalId): Principal | undefined
  persons(): readonly Principal[]
}

/** Every dangling name, with its place. Groups and tenants exist by having a person in them. */
export function checkReferences(policy: CompiledPolicy, directory: Known): readonly PolicyProblem[] {
  const persons = directory.persons()
  const tenants = new Set(persons.map(({ tenant }) => tenant))
  const { source } = policy
  const problems: PolicyProblem[] = []
  for (const entitlement of policy.entitlements()) {
    checkEntitlement(entitlement, persons, tenants, (at, message) => {
      const path: Path = ['entitlements', entitlement.id, ...at]
      problems.push({ file: source.entitlementsFile, ...source.placeOf(path), path: path.join('.'), message })
    })
  }
  for (const entity of source.named) {
    const message = danglingIn(entity, policy, directory, tenants)
    if (message === undefined) continue
    problems.push({ file: source.guardsFile, ...source.placeInGuards(entity.offset), path: entity.rule, message })
  }
  return inOrder(problems)
}

function checkEntitlement(
  { tenant, openTo, approval }: Entitlement,
  persons: readonly Principal[],
  tenants: ReadonlySet<string>,
  report: (path: Path, message: string) => void,
): void {
  const unknown = 'is no tenant of the people directory; correct it, or add its people first.'
  if (!tenants.has(tenant)) report(['tenant'], `${tenant} ${unknown}`)
  for (const other of openTo) if (other !== tenant && !tenants.has(other)) report(['openTo'], `${other} ${unknown}`)
  if (approval.mode !== 'people') return
  const colleagues = persons.filter((person) => person.tenant === tenant)
  const isColleague = (one: PersonId): boolean => colleagues.some((person) => isPerson(person, one))
  if (!isColleague(approval.owner))
    report(
      ['approval', 'owner'],
      `${approval.owner} is no person of ${tenant} in the people directory; name one who is.`,
    )
  for (const [n, { person, group }] of approval.deputies.entries()) {
    if (person !== undefined && !isColleague(person))
      report(
        ['approval', 'deputies', n],
        `${person} is no person of ${tenant} in the people directory; name one who is.`,
      )
    if (group !== undefined && !colleagues.some(({ groups }) => groups.includes(group)))
      report(['approval', 'deputies', n], `Nobody of ${tenant} is in the group ${group}; name one who has members.`)
  }
  for (const { group, count } of approval.reviewers) {
    const members = colleagues.filter(({ groups }) => groups.includes(group)).length
    if (members < count)
      report(
        ['approval', 'reviewers'],
        `The group ${group} of ${tenant} has ${members} of the ${count} persons needed.`,
      )
  }
}

const isPerson = (principal: Principal, person: PersonId): boolean =>
  principal.kind === 'person' && principal.person === person

const KINDS: Readonly<Record<string, Principal['kind']>> = { Person: 'person', Workload: 'workload', Agent: 'agent' }

function danglingIn(
  { type, id }: NamedEntity,
  policy: CompiledPolicy,
  directory: Known,
  tenants: ReadonlySet<string>,
): string | undefined {
  const kind = KINDS[type]
  if (kind !== undefined && directory.principal(named.principal(id))?.kind !== kind)
    return `There is no ${kind} ${id} in the people directory; correct the name.`
  if (type === 'Tenant' && !tenants.has(id))
    return `There is no tenant ${id} in the people directory; correct the name.`
  if (type === 'Entitlement' && policy.entitlement(named.entitlement(id)) === undefined)
    return `There is no entitlement ${id}; correct the name, or remove the rule.`
  if (type !== 'Group') return undefined
  const members = directory.persons().some(({ tenant, groups }) => groups.some((group) => `${tenant}/${group}` === id))
  return members ? undefined : `No person is in the group ${id}; write <tenant>/<group> as in people.yaml.`
}
