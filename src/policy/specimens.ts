// One question per action and kind of principal, with every member present: what the Cedar schema is held against when it is loaded.
import type { Entitlement } from '../domain/entitlement.ts'
import { type Digest, named } from '../domain/ids.ts'
import { hours, instant, minutes, seconds } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Principal } from '../domain/principal.ts'
import { type AskedRisk, NO_IMPACT } from '../domain/risk.ts'
import { ACTIONS, isOfBroker, type Question } from './policy.ts'

const tenant = named.tenant('tenant')
const groups = [named.group('group')]
const sponsors = [named.person('person')]

const PRINCIPALS: readonly Principal[] = [
  { kind: 'person', id: named.principal('person'), person: named.person('person'), tenant, groups },
  { kind: 'workload', id: named.principal('workload'), tenant, groups, sponsors },
  { kind: 'agent', id: named.principal('agent'), tenant, groups, sponsors },
]

const ENTITLEMENT: Entitlement = {
  id: named.entitlement('entitlement'),
  title: 'Specimen',
  tenant,
  openTo: [tenant],
  tier: 'elevated',
  target: { id: 'target', environment: 'production', audience: 'https://target.example' },
  actions: { act: 'write' },
  actionFlags: {},
  flags: ['resilience'],
  scopes: ['scope'],
  credential: { kind: 'jwt', sender: 'dpop', maxLife: minutes(5), verifierCache: seconds(30) },
  approval: {
    mode: 'people',
    owner: named.person('person'),
    deputies: [{ person: named.person('deputy'), group: undefined, from: instant(0), until: instant(60_000) }],
    reviewers: [{ role: 'security', group: named.group('group'), count: 1, criteria: {}, evidence: [], veto: false }],
    approvals: 2,
    stepUp: false,
  },
  limits: {
    maxDuration: hours(1),
    horizon: hours(1),
    decideWithin: hours(1),
    escalateWithin: hours(1),
    useWithin: hours(1),
    agentsUseWithin: hours(1),
    maxUses: 1,
  },
  ticketRequired: false,
  planRequired: false,
  separateExecutor: false,
  maxApprovers: 10,
  release: undefined,
  bindClaims: {},
  onMisuse: undefined,
}

const intentBy = (principal: Principal): Intent => ({
  tenant,
  entitlement: ENTITLEMENT.id,
  requester: principal.id,
  executor: { principal: principal.id, key: undefined },
  manifests: { requester: undefined, executor: undefined },
  task: 'task',
  session: 'session',
  target: ENTITLEMENT.target.id,
  environment: ENTITLEMENT.target.environment,
  actions: ['act'],
  scope: ['scope'],
  dataTypes: ['data'],
  destination: 'destination',
  changeClass: 'normal',
  exposure: { segment: 'all', from: 0, to: 10, rollbackCriteria: 'errors' },
  change: undefined,
  impact: { ...NO_IMPACT, dataFlow: true },
  plan: { digest: `sha-256:${'A'.repeat(43)}` as Digest, mediaType: 'application/json' },
  ticket: { system: 'tickets', id: '1' },
  window: { opensAt: instant(0), closesAt: instant(60_000) },
  credential: { kind: 'jwt', uses: 1 },
})

const RISK: AskedRisk = {
  flags: ['dataFlow'],
  trust: 'external',
  sensitivities: ['personal'],
  earlier: [
    {
      entitlement: ENTITLEMENT.id,
      classes: ['write'],
      flags: ['dataFlow'],
      dataTypes: ['data'],
      destination: 'destination',
    },
  ],
}

export const SPECIMENS: readonly Question[] = ACTIONS.flatMap((action) =>
  PRINCIPALS.map((principal) => ({
    action,
    principal,
    ...(isOfBroker(action)
      ? {}
      : { entitlement: ENTITLEMENT, intent: intentBy(principal), requester: principal, risk: RISK }),
  })),
)
