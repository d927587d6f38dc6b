// Policies to test with: the shipped files, a small valid one that tests alter, and principals and intents of any shape.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { stringify } from 'yaml'
import type { Entitlement } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import type { Intent } from '../../src/domain/intent.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { FLAGS, type Impact, NO_IMPACT } from '../../src/domain/risk.ts'
import { type CompiledPolicy, compilePolicy } from '../../src/policy/compile.ts'
import { PolicyError, type PolicyProblem } from '../../src/policy/problem.ts'

export const configText = (name: string): string =>
  readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8')
export const SCHEMA = configText('guards.cedarschema')

export const PERMIT_ALL = '@id("all") permit (principal, action, resource);'

export const compileTexts = (entitlements: string, guards = PERMIT_ALL, schema = SCHEMA): CompiledPolicy =>
  compilePolicy({
    entitlements: { file: 'entitlements.yaml', text: entitlements },
    guards: { file: 'guards.cedar', text: guards },
    schema: { file: 'guards.cedarschema', text: schema },
  })

export const shipped = (): CompiledPolicy => compileTexts(configText('entitlements.yaml'), configText('guards.cedar'))

/** The problems of files that must not compile; none where they do. */
export function problemsOf(entitlements: string, guards = PERMIT_ALL, schema = SCHEMA): readonly PolicyProblem[] {
  try {
    compileTexts(entitlements, guards, schema)
    return []
  } catch (thrown) {
    if (thrown instanceof PolicyError) return thrown.problems
    throw thrown
  }
}

type Json = { [key: string]: unknown }
const TIER = { approvals: 1, maxDuration: '4h', horizon: '14d', decideWithin: '1d', maxUses: 5, maxLife: '15m' }

/** One entitlement per tier and kind; fresh each time, so that a test may alter it. */
export const smallFile = (): {
  revision: unknown
  tiers: { [tier: string]: Json }
  entitlements: { [id: string]: Json }
} => ({
  revision: 1,
  tiers: { low: { ...TIER }, elevated: { ...TIER }, high: { ...TIER, approvals: 2 } },
  entitlements: {
    automatic: {
      title: 'Read',
      tenant: 'northwind',
      tier: 'low',
      target: { id: 'reports', environment: 'production', audience: 'https://reports.example' },
      actions: { 'report.read': 'read' },
      credential: { kind: 'jwt' },
      approval: 'auto',
    },
    asked: {
      title: 'Write',
      tenant: 'northwind',
      openTo: ['northwind', 'acme'],
      tier: 'elevated',
      target: { id: 'desk', environment: 'production', audience: 'https://desk.example' },
      actions: { 'desk.write': 'write', 'desk.erase': 'destructive' },
      scopes: ['queue:*', 'queue:1'],
      credential: { kind: 'jwt', sender: 'dpop', maxLife: '10m', verifierCache: '30s' },
      approval: { owner: 'lena', reviewers: [{ role: 'security', group: 'security', count: 1 }] },
      limits: { maxDuration: '2h', horizon: '7d', decideWithin: '12h', maxUses: 2 },
      bindClaims: { run: 'scope:queue' },
    },
    database: {
      title: 'Migrate',
      tenant: 'northwind',
      tier: 'high',
      target: { id: 'db', environment: 'production' },
      actions: { 'db.migrate': 'write' },
      credential: {
        kind: 'vault',
        backend: 'vault-main',
        engine: 'database',
        database: {
          mount: 'database',
          connection: 'payments',
          grantedRole: 'payments_migrator',
          ownerRole: 'payments_owner',
        },
      },
      approval: { owner: 'olivia', reviewers: [{ role: 'operations', group: 'dba' }] },
    },
  },
})
export const smallText = (): string => stringify(smallFile())

/** Sets the member at the path, or removes it where the value is `undefined`. */
export function altered(path: readonly string[], value: unknown): string {
  const file = smallFile()
  const last = path.at(-1) ?? ''
  let parent: Json = file as Json
  for (const step of path.slice(0, -1)) parent = parent[step] as Json
  if (value === undefined) delete parent[last]
  else parent[last] = value
  return stringify(file)
}

export const person = (id: string, tenant: string, ...groups: readonly string[]): Principal => ({
  kind: 'person',
  id: named.principal(id),
  person: named.person(id),
  tenant: named.tenant(tenant),
  groups: groups.map(named.group),
})
export const machine = (kind: 'workload' | 'agent', id: string, tenant: string, sponsor: string): Principal => ({
  kind,
  id: named.principal(id),
  tenant: named.tenant(tenant),
  groups: [],
  sponsors: [named.person(sponsor)],
})

export const intentFor = (entitlement: Entitlement, requester: Principal, changes: Partial<Intent> = {}): Intent => ({
  tenant: entitlement.tenant,
  entitlement: entitlement.id,
  requester: requester.id,
  executor: { principal: requester.id, key: undefined },
  manifests: { requester: undefined, executor: undefined },
  task: 'task',
  session: '',
  target: entitlement.target.id,
  environment: entitlement.target.environment,
  actions: Object.keys(entitlement.actions),
  scope: [],
  dataTypes: [],
  destination: '',
  exposure: undefined,
  change: undefined,
  changeClass: 'normal',
  impact: NO_IMPACT,
  plan: undefined,
  ticket: undefined,
  window: { opensAt: instant(0), closesAt: instant(60_000) },
  credential: { kind: entitlement.credential.kind, uses: 1 },
  ...changes,
})

const word = fc.constantFrom(
  'northwind',
  'acme',
  'soc',
  'dba',
  'vera',
  'olivia',
  'webshop-deploy',
  'report-job',
  'security',
)
const anyText = fc.oneof(word, fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 20 }))

export const anyPrincipal: fc.Arbitrary<Principal> = fc
  .record({
    kind: fc.constantFrom('person', 'workload', 'agent'),
    id: anyText,
    tenant: anyText,
    groups: fc.array(anyText, { maxLength: 4 }),
    sponsors: fc.array(anyText, { maxLength: 3 }),
  })
  .map(({ kind, id, tenant, groups, sponsors }): Principal => {
    const shared = { id: named.principal(id), tenant: named.tenant(tenant), groups: groups.map(named.group) }
    return kind === 'person'
      ? { kind, person: named.person(id), ...shared }
      : { kind: kind as 'workload' | 'agent', sponsors: sponsors.map(named.person), ...shared }
  })

export const anyImpact: fc.Arbitrary<Impact> = fc
  .subarray([...FLAGS])
  .map((set) => ({ ...NO_IMPACT, ...Object.fromEntries(set.map((flag) => [flag, true])) }))

export const anyIntent = (entitlement: Entitlement): fc.Arbitrary<Intent> =>
  fc
    .record({
      requester: anyPrincipal,
      actions: fc.array(fc.oneof(fc.constantFrom(...Object.keys(entitlement.actions)), anyText), { maxLength: 4 }),
      scope: fc.array(anyText, { maxLength: 4 }),
      dataTypes: fc.array(anyText, { maxLength: 4 }),
      destination: anyText,
      changeClass: fc.constantFrom('standard', 'normal', 'emergency'),
      impact: anyImpact,
      uses: fc.integer({ min: 1, max: 100 }),
      lengthMs: fc.integer({ min: 1, max: 100_000_000 }),
      ticket: fc.option(fc.record({ system: anyText, id: anyText }), { nil: undefined }),
    })
    .map(({ requester, uses, lengthMs, ...changes }) =>
      intentFor(entitlement, requester, {
        ...changes,
        window: { opensAt: instant(0), closesAt: instant(lengthMs) },
        credential: { kind: entitlement.credential.kind, uses },
      } as Partial<Intent>),
    )
