// Rules and persons to test decisions with: complete, and altered member by member.
import type { Deputy, PeopleRule, ReviewerRule } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import type { Agent, Person, Workload } from '../../src/domain/principal.ts'

/** The group of a role has the name of the role. */
export const reviewer = (change: Partial<ReviewerRule> & Pick<ReviewerRule, 'role'>): ReviewerRule => ({
  group: named.group(change.role),
  count: 1,
  criteria: {},
  evidence: [],
  veto: false,
  ...change,
})
export const ruleOf = (change: Partial<PeopleRule> = {}): PeopleRule => ({
  mode: 'people',
  owner: named.person('olivia'),
  deputies: [],
  reviewers: [],
  approvals: 1,
  stepUp: false,
  ...change,
})
export const deputy = (who: { person?: string; group?: string }, from: number, until: number): Deputy => ({
  person: who.person === undefined ? undefined : named.person(who.person),
  group: who.group === undefined ? undefined : named.group(who.group),
  from: instant(from),
  until: instant(until),
})

const known = (id: string) => ({ id: named.principal(id), tenant: named.tenant('t'), groups: [] })
export const person = (id: string): Person => ({ ...known(id), kind: 'person', person: named.person(id) })
export const agent = (id: string, ...sponsors: string[]): Agent => ({
  ...known(id),
  kind: 'agent',
  sponsors: sponsors.map(named.person),
})
export const workload = (id: string, ...sponsors: string[]): Workload => ({
  ...known(id),
  kind: 'workload',
  sponsors: sponsors.map(named.person),
})
