// Two whole tenants on one broker, alike to the last word but for their names: same parts, same groups, same tickets, same tasks. Whatever
// one of them is told must not depend on what the other one has or does.
import { stringify } from 'yaml'
import type { Rules } from '../../src/broker/ports.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { compileDirectory, type PeopleDirectory } from '../../src/identity/directory.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import type { Account } from './cast.ts'
import { configText } from './config-text.ts'
import { compiled, someJwks } from './directory.ts'

export const TENANTS = ['north', 'south'] as const
export type Tenant = (typeof TENANTS)[number]
/** Persons by the group that makes them what they are; the requester is in none. */
const PERSONS = {
  requester: [],
  colleague: [],
  owner: ['dba'],
  reviewer: ['security'],
  soc: ['soc'],
  auditor: ['auditors'],
  operator: ['operators'],
} as const
/** The agent is the requester's, the workload the colleague's. */
export const PARTS = [...(Object.keys(PERSONS) as (keyof typeof PERSONS)[]), 'agent', 'workload'] as const
export type Part = (typeof PARTS)[number]

export const nameOf = (tenant: Tenant, part: Part): string => `${tenant}-${part}`
export const accountOf = (tenant: Tenant, part: Part): Account => ({
  issuer: 'login',
  claims: { sub: nameOf(tenant, part) },
})

const perTenant = <T>(entries: (tenant: Tenant) => readonly (readonly [string, T])[]): Record<string, T> =>
  Object.fromEntries(TENANTS.flatMap(entries))
const accounts = (tenant: Tenant, part: Part) => [{ issuer: 'login', subject: nameOf(tenant, part) }]

const people = {
  revision: 2,
  persons: perTenant((tenant) =>
    Object.entries(PERSONS).map(([part, groups]) => [
      `${tenant}-${part}`,
      { name: part, tenant, groups: [...groups], accounts: accounts(tenant, part as Part) },
    ]),
  ),
  agents: perTenant((tenant) => [
    [nameOf(tenant, 'agent'), { tenant, sponsors: [nameOf(tenant, 'requester')], accounts: accounts(tenant, 'agent') }],
  ]),
}
const clients = {
  revision: 2,
  workloads: perTenant((tenant) => [
    [
      nameOf(tenant, 'workload'),
      {
        tenant,
        sponsors: [nameOf(tenant, 'colleague')],
        issuer: 'login',
        match: { sub: nameOf(tenant, 'workload') },
      },
    ],
  ]),
}
const tier = { approvals: 1, maxDuration: '4h', horizon: '14d', decideWithin: '24h', maxUses: 5, maxLife: '15m' }
const entitlements = {
  revision: 2,
  tiers: { elevated: tier },
  dataTypes: { orders: 'plain' },
  entitlements: perTenant((tenant) => [
    [
      `${tenant}-repair`,
      {
        title: 'Repair',
        tenant,
        tier: 'elevated',
        target: { id: 'orders', environment: 'production', audience: 'https://orders.example' },
        actions: { repair: 'write' },
        credential: { kind: 'jwt', sender: 'bearer' },
        approval: {
          owner: nameOf(tenant, 'owner'),
          reviewers: [{ role: 'security', group: 'security' }],
        },
      },
    ],
  ]),
}
const GUARDS = `
@id("colleagues-ask") permit (principal, action in [Action::"Request", Action::"Exchange"], resource)
when { principal.tenant == resource.tenant };
@id("persons-approve") permit (principal is Person, action == Action::"Approve", resource)
when { principal.tenant == resource.tenant };
@id("owners-and-soc-end") permit (principal is Person, action in [Action::"Complete", Action::"Revoke"], resource)
when { resource.owners.contains(principal.id) || principal.groups.contains("soc") };
@id("these-read") permit (principal is Person, action in [Action::"ReadGrant", Action::"ReadAudit"], resource)
when { ["dba", "security", "soc", "auditors"].containsAny(principal.groups) };
@id("soc-freezes") permit (principal is Person, action == Action::"Freeze", resource)
when { principal.groups.contains("soc") };
@id("operators-operate") permit (principal is Person, action == Action::"Operate", resource)
when { principal.groups.contains("operators") };
`

/** Guards that never look at a tenant where a rule of the house does: what keeps tenants apart is not the care of who writes them. */
export const twoTenants = (): { readonly policy: Rules['policy']; readonly directory: PeopleDirectory } => ({
  policy: compilePolicy({
    entitlements: { file: 'entitlements.yaml', text: stringify(entitlements) },
    guards: { file: 'guards.cedar', text: GUARDS },
    schema: { file: 'guards.cedarschema', text: configText('guards.cedarschema') },
  }),
  directory: compiled(
    compileDirectory(
      compiled(compilePeople(stringify(people), 'people.yaml')),
      compiled(compileClients(stringify(clients), 'clients.yaml', someJwks)),
      { issuers: ['login'] },
    ),
  ),
})
