// The files that the real broker reads for what `rules.ts` says: each edition of the policy under each revision, and the people with some of
// them switched off. Compiled once each: a policy is a value.
import { stringify } from 'yaml'
import type { Directory, Rules } from '../../src/broker/ports.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { compileDirectory } from '../../src/identity/directory.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import { configText } from '../support/config-text.ts'
import { compiled, someJwks } from '../support/directory.ts'
import {
  type Edition,
  ENTITLEMENTS,
  type Entitlement,
  isLogin,
  OWNER,
  PEOPLE,
  type Person,
  REVIEWERS,
  ruleOf,
  SOC,
  SPONSOR,
  STRANGER,
} from './rules.ts'

const TENANT = 'northwind'
const TIER = {
  approvals: 1,
  maxDuration: '4h',
  horizon: '1d',
  decideWithin: '1h',
  escalateWithin: '15m',
  useWithin: '1h',
  agentsUseWithin: '10m',
  maxUses: 3,
  maxLife: '15m',
}
const CREDENTIALS = {
  token: { kind: 'jwt', sender: 'bearer', maxLife: '15m', verifierCache: '30s' },
  login: {
    kind: 'vault',
    backend: 'vault-main',
    engine: 'database',
    database: { mount: 'database', connection: 'base', grantedRole: 'base_writer', ownerRole: 'base_owner' },
  },
} as const
const ACTIONS = { look: 'read', fix: 'write', ship: 'deploy', base: 'write' } as const
export const actionOf = (entitlement: Entitlement): string => `${entitlement}.do`

function entitlementOf(edition: Edition, id: Entitlement): object | undefined {
  const rule = ruleOf(edition, id)
  if (rule === undefined) return undefined
  const reviewers = [{ role: 'security', group: 'security', count: rule.reviewers }]
  return {
    title: id,
    tenant: TENANT,
    tier: rule.auto ? 'low' : 'elevated',
    target: {
      id: `${id}-target`,
      environment: 'production',
      ...(isLogin(id) ? {} : { audience: `https://${id}.example` }),
    },
    actions: { [actionOf(id)]: ACTIONS[id] },
    credential: isLogin(id) ? CREDENTIALS.login : CREDENTIALS.token,
    approval: rule.auto ? 'auto' : { owner: OWNER, ...(rule.reviewers > 0 ? { reviewers } : {}) },
    limits: { maxDuration: `${rule.maxDuration / 1_000}s`, maxUses: rule.maxUses },
  }
}

const GUARDS = `
@id("colleagues-ask") permit (principal, action in [Action::"Request", Action::"Exchange"], resource)
when { principal.tenant == resource.tenant };
@id("looking-needs-nobody") permit (principal, action == Action::"AutoApprove", resource)
when { context has ask && context.ask.classes == ["read"] };
@id("persons-approve") permit (principal is Person, action == Action::"Approve", resource)
when { principal.tenant == resource.tenant };
@id("owners-and-soc-end") permit (principal is Person, action in [Action::"Complete", Action::"Revoke"], resource)
when { resource.owners.contains(principal.id) || (action == Action::"Revoke" && principal.groups.contains("soc")) };
@id("persons-read") permit (principal is Person, action in [Action::"ReadGrant", Action::"ReadAudit"], resource)
when { principal.tenant == "${TENANT}" };
@id("soc-freezes") permit (principal is Person, action == Action::"Freeze", resource)
when { principal.groups.contains("soc") };
`

const policies = new Map<Edition, Rules['policy']>()
const directories = new Map<string, Directory>()

/** The edition under this revision, which is no part of its meaning. */
export function policyOf(edition: Edition, revision: number): Rules['policy'] {
  const policy = policies.get(edition) ?? compiledEdition(edition)
  policies.set(edition, policy)
  return { ...policy, revision }
}
function compiledEdition(edition: Edition): Rules['policy'] {
  const entries = ENTITLEMENTS.map((id) => [id, entitlementOf(edition, id)] as const)
  const entitlements = Object.fromEntries(entries.filter(([, one]) => one !== undefined))
  const file = { revision: 1, tiers: { low: TIER, elevated: TIER }, entitlements }
  return compilePolicy({
    entitlements: { file: 'entitlements.yaml', text: stringify(file, { aliasDuplicateObjects: false }) },
    guards: { file: 'guards.cedar', text: GUARDS },
    schema: { file: 'guards.cedarschema', text: configText('guards.cedarschema') },
  })
}

const groupsOf = (who: (typeof PEOPLE)[number]): readonly string[] => [
  ...(REVIEWERS.includes(who) ? ['security'] : []),
  ...(SOC.includes(who) ? ['soc'] : []),
]
const account = (subject: string) => [{ issuer: 'login', subject }]

/** These are switched off. */
export function directoryOf(off: readonly Person[], revision: number): Directory {
  const directory = directories.get(off.join()) ?? compiledDirectory(off)
  directories.set(off.join(), directory)
  return { ...directory, revision }
}
function compiledDirectory(off: readonly Person[]): Directory {
  const persons = PEOPLE.map((who) => [
    who,
    {
      name: who,
      tenant: who === STRANGER ? 'acme' : TENANT,
      groups: groupsOf(who),
      accounts: account(who),
      ...(off.includes(who) ? { active: false } : {}),
    },
  ])
  const agents = { bot: { tenant: TENANT, sponsors: [SPONSOR], accounts: account('bot') } }
  const people = stringify({ revision: 1, persons: Object.fromEntries(persons), agents })
  const clients = compileClients(stringify({ revision: 1 }), 'clients.yaml', someJwks)
  return compiled(
    compileDirectory(compiled(compilePeople(people, 'people.yaml')), compiled(clients), { issuers: ['login'] }),
  )
}
