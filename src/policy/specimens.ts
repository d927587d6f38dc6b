// One question per action and kind of principal, with every member present: what the Cedar schema is held against when it is loaded.
import type { Entitlement } from '../domain/entitlement.ts'
import { type Digest, named } from '../domain/ids.ts'
import { hours, instant, minutes, seconds } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Principal } from '../domain/principal.ts'
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
  scopes: ['scope'],
  credential: { kind: 'jwt', sender: 'dpop', maxLife: minutes(5), verifierCache: seconds(30) },
  approval: {
    mode: 'people',
    owners: sponsors,
    reviewers: [{ group: named.group('group'), count: 1 }],
    approvals: 2,
  },
  limits: { maxDuration: hours(1), horizon: hours(1), decideWithin: hours(1), maxUses: 1 },
  ticketRequired: false,
  planRequired: false,
  bindClaims: {},
}

const intentBy = (principal: Principal): Intent => ({
  tenant,
  entitlement: ENTITLEMENT.id,
  requester: principal.id,
  executor: { principal: principal.id, key: undefined },
  task: 'task',
  session: 'session',
  target: ENTITLEMENT.target.id,
  environment: ENTITLEMENT.target.environment,
  actions: ['act'],
  scope: ['scope'],
  dataTypes: ['data'],
  destination: 'destination',
  changeClass: 'normal',
  impact: { dataFlow: true, privilegedAccess: true, resilience: true, externalTransfer: true },
  plan: { digest: `sha-256:${'A'.repeat(43)}` as Digest, mediaType: 'application/json' },
  ticket: { system: 'tickets', id: '1' },
  window: { opensAt: instant(0), closesAt: instant(60_000) },
  credential: { kind: 'jwt', uses: 1 },
})

export const SPECIMENS: readonly Question[] = ACTIONS.flatMap((action) =>
  PRINCIPALS.map((principal) => ({
    action,
    principal,
    ...(isOfBroker(action) ? {} : { entitlement: ENTITLEMENT, intent: intentBy(principal), requester: principal }),
  })),
)
