// Everybody who may come to the door, over one grant on which nobody plays two parts: the shipped directory and policy, with a vendor
// colleague, a third tenant that uses our words for its groups, and an entitlement that a person asks for and a workload executes.
import type { Rules } from '../../src/broker/ports.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { compileDirectory, type PeopleDirectory } from '../../src/identity/directory.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import { configText } from './config-text.ts'
import { compiled, someJwks } from './directory.ts'

/** An account as its issuer names it: what a token says, and nothing more. */
export interface Account {
  readonly issuer: string
  readonly claims: Readonly<Record<string, string>>
}
const login = (sub: string): Account => ({ issuer: 'login', claims: { sub } })

/** Who each part is played by. Undefined: comes without a token. */
export const CAST = {
  requester: login('vera'),
  'her second account': login('vera-admin'),
  'her own agent': login('vera-agent'),
  'executor, a workload': login('report-job'),
  "the executor's sponsor": login('dana'),
  owner: login('olivia'),
  reviewer: login('paula'),
  'another approver': login('rob'),
  SOC: login('sol'),
  auditor: login('audra'),
  operator: login('oscar'),
  'plain colleague': login('sam'),
  'vendor colleague': login('victor'),
  'other tenant': login('gus'),
  'an agent': login('triage-agent'),
  'a workload': {
    issuer: 'ci',
    claims: { repository_id: '812345', event_name: 'push', ref_protected: 'true', run_id: '1', sha: 'c0ffee' },
  },
  'resource server': { issuer: 'login', claims: { sub: 'webshop-api' } },
  anonymous: undefined,
} as const satisfies Readonly<Record<string, Account | undefined>>
export type Role = keyof typeof CAST
export const ROLES = Object.keys(CAST) as readonly Role[]

const PERSONS = `
  victor:
    name: Victor Haas
    tenant: acme
    groups: [vendor-engineers]
    accounts:
      - { issuer: login, subject: victor }
  gus:
    name: Gus Ferrari
    tenant: globex
    groups: [soc, auditors, operators, security, dba, vendor-engineers]
    accounts:
      - { issuer: login, subject: gus }
`
const ENTITLEMENT = `
  orders-repair:
    title: Repair orders
    tenant: northwind
    openTo: [acme, northwind]
    tier: elevated
    target: { id: orders-db, environment: production }
    actions: { orders.repair: write }
    credential:
      kind: vault
      backend: vault-main
      engine: database
      database: { mount: database, connection: orders, grantedRole: orders_repair, ownerRole: orders_owner }
    approval:
      owner: olivia
      reviewers: [{ role: security, group: security }]
`
const GUARDS = `
@id("vendor-engineers-ask-for-repairs")
permit (
  principal is Person in Group::"acme/vendor-engineers",
  action == Action::"Request",
  resource == Entitlement::"orders-repair"
);

@id("report-job-repairs")
permit (principal == Workload::"report-job", action == Action::"Exchange", resource == Entitlement::"orders-repair");
`

const raised = (text: string): string => text.replace('revision: 1', 'revision: 2')

/** The shipped directory and these persons. */
export function castDirectory(): PeopleDirectory {
  const people = raised(configText('people.yaml')).replace('\n\n# Agents', `${PERSONS}\n# Agents`)
  const clients = compiled(compileClients(configText('clients.yaml'), 'clients.yaml', someJwks))
  return compiled(
    compileDirectory(compiled(compilePeople(people, 'people.yaml')), clients, { issuers: ['login', 'ci'] }),
  )
}

/** The shipped policy and this entitlement; under the shipped guards and what it needs, or under guards of a test's own. */
export const castPolicy = (guards = configText('guards.cedar') + GUARDS): Rules['policy'] =>
  compilePolicy({
    entitlements: { file: 'entitlements.yaml', text: raised(configText('entitlements.yaml')) + ENTITLEMENT },
    guards: { file: 'guards.cedar', text: guards },
    schema: { file: 'guards.cedarschema', text: configText('guards.cedarschema') },
  })
