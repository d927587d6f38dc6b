// A question in the engine's words: the entities and the context that config/guards.cedarschema describes, as far as the rules read them.
import type { CedarValueJson, Context, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs'
import type { Entitlement } from '../domain/entitlement.ts'
import type { Intent } from '../domain/intent.ts'
import type { Principal } from '../domain/principal.ts'
import { type AskedRisk, FLAGS } from '../domain/risk.ts'
import { TIERS } from '../domain/tier.ts'
import { lengthOf } from '../domain/window.ts'
import type { Reads } from './guard-reads.ts'
import { isOfBroker, type Question } from './policy.ts'

export interface Call {
  readonly principal: TypeAndId
  readonly action: TypeAndId
  readonly resource: TypeAndId
  readonly context: Context
  readonly entities: EntityJson[]
}

const TYPES = { person: 'Person', workload: 'Workload', agent: 'Agent' } as const
const BROKER: TypeAndId = { type: 'Broker', id: 'broker' }

export function callFor(question: Question, reads: Reads): Call {
  const { action, principal, intent } = question
  const entitlement = isOfBroker(action) ? undefined : question.entitlement
  const requester = question.requester ?? (intent?.requester === principal.id ? principal : undefined)
  const uid = { type: TYPES[principal.kind], id: principal.id }
  const all = [principalEntity(uid, principal, reads)]
  if (entitlement !== undefined) all.push(entitlementEntity(entitlement, reads))
  // An entity of which nothing is read is its identity alone, and that is in the question already.
  const entities = all.filter(({ attrs, parents }) => parents.length > 0 || Object.keys(attrs).length > 0)
  const context: Context = {}
  if (intent !== undefined && entitlement !== undefined && reads.has('context.ask'))
    context.ask = pick(askOf(intent, entitlement, question.risk), 'context.ask', reads)
  if (requester !== undefined && reads.has('context.requester'))
    context.requester = pick(requesterOf(requester), 'context.requester', reads)
  return {
    principal: uid,
    action: { type: 'Action', id: action },
    resource: entitlement === undefined ? BROKER : { type: 'Entitlement', id: entitlement.id },
    context,
    entities,
  }
}

/** Functions, so that only what is read is made. */
type Members = Readonly<Record<string, () => CedarValueJson>>

function pick(members: Members, path: string, reads: Reads): Record<string, CedarValueJson> {
  const picked: Record<string, CedarValueJson> = {}
  for (const [name, value] of Object.entries(members)) if (reads.has(`${path}.${name}`)) picked[name] = value()
  return picked
}

function principalEntity(uid: TypeAndId, principal: Principal, reads: Reads): EntityJson {
  const { id, tenant, groups } = principal
  const shared: Members = { id: () => id, tenant: () => tenant, groups: () => [...groups] }
  const members = principal.kind === 'person' ? shared : { ...shared, sponsors: () => [...principal.sponsors] }
  const parents = [
    { type: 'Tenant', id: tenant },
    ...groups.map((group) => ({ type: 'Group', id: `${tenant}/${group}` })),
  ]
  return { uid, attrs: pick(members, 'principal', reads), parents: readParents(parents, reads) }
}

function entitlementEntity(entitlement: Entitlement, reads: Reads): EntityJson {
  const { id, tenant, openTo, tier, target, actions, credential, approval } = entitlement
  const people = approval.mode === 'people' ? approval : undefined
  const members: Members = {
    id: () => id,
    tenant: () => tenant,
    openTo: () => [...openTo],
    tier: () => tier,
    tierRank: () => TIERS.indexOf(tier),
    target: () => target.id,
    environment: () => target.environment,
    audience: () => target.audience,
    actions: () => Object.keys(actions),
    classes: () => [...new Set(Object.values(actions))],
    credential: () => credential.kind,
    approval: () => approval.mode,
    owners: () =>
      people === undefined ? [] : [people.owner, ...people.deputies.flatMap(({ person }) => person ?? [])],
    reviewerGroups: () => (people?.reviewers ?? []).map(({ group }) => group),
  }
  return {
    uid: { type: 'Entitlement', id },
    attrs: pick(members, 'resource', reads),
    parents: readParents([{ type: 'Tenant', id: tenant }], reads),
  }
}

const readParents = (parents: readonly TypeAndId[], reads: Reads): TypeAndId[] =>
  parents.filter(({ type, id }) => reads.has(`parent:${type}::${id}`))

function askOf(intent: Intent, entitlement: Entitlement, risk: AskedRisk | undefined): Members {
  const { impact } = intent
  const earlier = risk?.earlier ?? []
  // An action that the entitlement does not have has no class; the verbs refuse it before anything is judged.
  const classOf = (action: string): string =>
    Object.hasOwn(entitlement.actions, action) ? (entitlement.actions[action] ?? 'unknown') : 'unknown'
  return {
    actions: () => [...intent.actions],
    classes: () => [...new Set(intent.actions.map(classOf))],
    scope: () => [...intent.scope],
    dataTypes: () => [...intent.dataTypes],
    destination: () => intent.destination,
    changeClass: () => intent.changeClass,
    impact: () => ({
      dataFlow: impact.dataFlow,
      privilegedAccess: impact.privilegedAccess,
      resilience: impact.resilience,
      externalTransfer: impact.externalTransfer,
    }),
    flags: () => [...(risk?.flags ?? FLAGS)],
    destinationTrust: () => risk?.trust ?? (intent.destination === '' ? 'none' : 'untrusted'),
    sensitivities: () => [...new Set(risk?.sensitivities ?? intent.dataTypes.map(() => 'regulated'))],
    exposedTo: () => intent.exposure?.to ?? 0,
    earlier: () => ({
      entitlements: [...new Set(earlier.map((one) => one.entitlement))],
      classes: [...new Set(earlier.flatMap((one) => one.classes))],
      flags: [...new Set(earlier.flatMap((one) => one.flags))],
      dataTypes: [...new Set(earlier.flatMap((one) => one.dataTypes))],
      destinations: [...new Set(earlier.map((one) => one.destination).filter((id) => id !== ''))],
    }),
    durationMs: () => lengthOf(intent.window),
    uses: () => intent.credential.uses,
    hasPlan: () => intent.plan !== undefined,
    hasTicket: () => intent.ticket !== undefined,
    ticketSystem: () => intent.ticket?.system ?? '',
  }
}

const requesterOf = (requester: Principal): Members => ({
  id: () => requester.id,
  kind: () => requester.kind,
  tenant: () => requester.tenant,
  groups: () => [...requester.groups],
  sponsors: () => (requester.kind === 'person' ? [] : [...requester.sponsors]),
})
