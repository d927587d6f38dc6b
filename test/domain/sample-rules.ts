// Rules and persons to test decisions with: complete, and altered member by member.
import {
  ACTION_CLASSES,
  type Deputy,
  type Entitlement,
  type PeopleRule,
  type ReviewerRule,
} from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { hours, instant, minutes } from '../../src/domain/instant.ts'
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

/** Everything there is for one class of action, unless altered. */
export const entitlementOf = (change: Partial<Entitlement> = {}): Entitlement => ({
  id: named.entitlement('sample'),
  title: 'Sample',
  tenant: named.tenant('northwind'),
  openTo: [named.tenant('northwind')],
  tier: 'low',
  target: { id: 'crm', environment: 'production', audience: 'https://crm.example' },
  actions: Object.fromEntries(ACTION_CLASSES.map((kind) => [`do.${kind}`, kind])),
  actionFlags: {},
  flags: [],
  scopes: [],
  credential: { kind: 'jwt', sender: 'dpop', maxLife: minutes(5), verifierCache: minutes(0) },
  approval: { mode: 'auto' },
  limits: {
    maxDuration: hours(1),
    horizon: hours(1),
    decideWithin: hours(1),
    escalateWithin: hours(1),
    useWithin: hours(1),
    agentsUseWithin: minutes(15),
    maxUses: 1,
  },
  ticketRequired: false,
  planRequired: false,
  separateExecutor: false,
  maxApprovers: 10,
  release: undefined,
  bindClaims: {},
  onMisuse: undefined,
  ...change,
})
