// How dangerous an asking is: derived from what it does and to what, never from what its requester says of it. What the requester
// declares can only raise. Pure, and every step up names its reason, so that the same asking always explains itself the same way.
import type { ActionClass, Entitlement } from './entitlement.ts'
import type { EntitlementId } from './ids.ts'
import type { ChangeClass, Intent } from './intent.ts'
import { atLeast, higher, type Tier } from './tier.ts'

export const FLAGS = [
  'dataFlow',
  'privilegedAccess',
  'resilience',
  'externalTransfer',
  'destructive',
  'irreversible',
  'exposure',
  'tenancyBoundary',
  'backupOrRecovery',
  'regulated',
] as const
export type Flag = (typeof FLAGS)[number]
/** What the requester says the change may affect. `false` says nothing: it takes no flag away. */
export type Impact = Readonly<Record<Flag, boolean>>
export const NO_IMPACT: Impact = Object.freeze(
  Object.fromEntries(FLAGS.map((flag) => [flag, false])) as Record<Flag, boolean>,
)

/** How far a place is trusted where data goes to. A place that the catalogue does not name is untrusted. */
export const TRUSTS = ['internal', 'external', 'untrusted'] as const
export type Trust = (typeof TRUSTS)[number]
/** What harm the data could do. A kind that the catalogue does not name is regulated. */
export const SENSITIVITIES = ['plain', 'personal', 'regulated'] as const
export type Sensitivity = (typeof SENSITIVITIES)[number]

/** The places and the kinds of data that the policy knows. */
export interface Catalogue {
  readonly destinations: Readonly<Record<string, Trust>>
  readonly dataTypes: Readonly<Record<string, Sensitivity>>
}

/** What was asked before for the same task or in the same session, in one line each. */
export interface Earlier {
  readonly entitlement: EntitlementId
  readonly classes: readonly ActionClass[]
  readonly flags: readonly Flag[]
  readonly dataTypes: readonly string[]
  /** Empty where no data was sent anywhere. */
  readonly destination: string
}

export interface Risk {
  readonly tier: Tier
  readonly changeClass: ChangeClass
  readonly flags: readonly Flag[]
  /** What raised the tier above that of the entitlement, or the class, in sentences. */
  readonly why: readonly string[]
}

/** The least tier of an asking with this flag. */
export const FLOOR: Readonly<Record<Flag, Tier>> = {
  dataFlow: 'low',
  privilegedAccess: 'high',
  resilience: 'high',
  externalTransfer: 'high',
  destructive: 'high',
  irreversible: 'high',
  exposure: 'elevated',
  tenancyBoundary: 'elevated',
  backupOrRecovery: 'high',
  regulated: 'elevated',
}
const CLASS_FLAGS: Readonly<Record<ActionClass, readonly Flag[]>> = {
  read: [],
  write: [],
  deploy: [],
  destructive: ['destructive'],
  escalating: ['privilegedAccess'],
  transfer: ['dataFlow'],
}
const CLASS_ORDER: readonly ChangeClass[] = ['standard', 'normal', 'emergency']
/** From this share of the segment on, a stage is as good as everything. */
const WIDE_EXPOSURE = 50

const own = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

/** Undefined for no destination at all. */
export const trustOf = (catalogue: Catalogue, destination: string): Trust | undefined =>
  destination === '' ? undefined : (own(catalogue.destinations, destination) ?? 'untrusted')
export const sensitivityOf = (catalogue: Catalogue, dataType: string): Sensitivity =>
  own(catalogue.dataTypes, dataType) ?? 'regulated'

/** The classes of the asked actions; one that the entitlement does not have has none, and is refused elsewhere. */
export const classesOf = (entitlement: Entitlement, actions: readonly string[]): readonly ActionClass[] => [
  ...new Set(actions.flatMap((action) => own(entitlement.actions, action) ?? [])),
]

/**
 * `requesterTenant` is the requester's own, `executorTenant` that of whoever gets the credential where it is another. `earlier` are the other askings of the same task or session; `undefined` stands for more of
 * them than anybody has read, and raises like the worst of them.
 */
export function riskOf(on: {
  readonly entitlement: Entitlement
  readonly intent: Intent
  readonly requesterTenant: string
  readonly executorTenant?: string
  readonly catalogue: Catalogue
  readonly earlier: readonly Earlier[] | undefined
}): Risk {
  const { entitlement, intent, catalogue, earlier } = on
  const why: string[] = []
  let tier = entitlement.tier
  const raise = (to: Tier, because: string): void => {
    if (atLeast(tier, to)) return
    tier = higher(tier, to)
    why.push(`${to}: ${because}`)
  }
  const found = new Map<Flag, string>()
  const flag = (one: Flag, because: string): void => {
    if (!found.has(one)) found.set(one, because)
  }

  const classes = classesOf(entitlement, intent.actions)
  for (const one of entitlement.flags) flag(one, 'the entitlement says so')
  for (const action of intent.actions)
    for (const one of own(entitlement.actionFlags, action) ?? []) flag(one, `${action} is marked so`)
  for (const kind of classes) for (const one of CLASS_FLAGS[kind]) flag(one, `an action is ${kind}`)
  if (on.requesterTenant !== entitlement.tenant) flag('tenancyBoundary', `asked from the tenant ${on.requesterTenant}`)
  const { executorTenant = on.requesterTenant } = on
  if (executorTenant !== entitlement.tenant) flag('tenancyBoundary', `executed from the tenant ${executorTenant}`)
  const trust = trustOf(catalogue, intent.destination)
  if (trust !== undefined) flag('dataFlow', 'a destination is named')
  if (trust !== undefined && trust !== 'internal')
    flag('externalTransfer', `the destination ${intent.destination} is ${trust}`)
  if (classes.includes('transfer') && trust === undefined)
    flag('externalTransfer', 'a transfer that does not say where to')
  const sensitivities = intent.dataTypes.map((type) => sensitivityOf(catalogue, type))
  if (sensitivities.some((one) => one !== 'plain')) flag('regulated', 'it touches personal or regulated data')
  if (intent.exposure !== undefined) flag('exposure', `it exposes ${intent.exposure.segment}`)
  for (const one of FLAGS) if (intent.impact[one]) flag(one, 'the requester declares it')

  for (const [one, because] of found) raise(FLOOR[one], `${one}, because ${because}`)
  if (sensitivities.includes('regulated')) raise('high', 'it touches regulated data')
  if (intent.exposure !== undefined && intent.exposure.to > WIDE_EXPOSURE)
    raise('high', `it exposes more than ${WIDE_EXPOSURE} of 100`)
  if (found.has('destructive') && found.has('irreversible')) raise('critical', 'it destroys and cannot be undone')
  // Not only where the place is named: who leaves it out sends no less.
  const sends = found.has('externalTransfer')
  const sensitive = found.has('regulated')
  if (sends && sensitive) raise('critical', 'it sends personal or regulated data out')
  // By the marks too, as of what was asked before: so that the order of two askings makes no difference.
  const [destroys, escalates] = [found.has('destructive'), found.has('privilegedAccess')]
  combine({ sends, sensitive, destroys, escalates, earlier, catalogue }, raise)

  const least: ChangeClass = tier === 'low' && entitlement.approval.mode === 'auto' ? 'standard' : 'normal'
  const changeClass = CLASS_ORDER.indexOf(intent.changeClass) >= CLASS_ORDER.indexOf(least) ? intent.changeClass : least
  return { tier, changeClass, flags: FLAGS.filter((one) => found.has(one)), why }
}

/** What is harmless alone and not together: to read data that must not leave, and then to send; to gain rights, and then to destroy. */
function combine(
  now: {
    readonly sends: boolean
    readonly sensitive: boolean
    readonly destroys: boolean
    readonly escalates: boolean
    readonly earlier: readonly Earlier[] | undefined
    readonly catalogue: Catalogue
  },
  raise: (to: Tier, because: string) => void,
): void {
  const { earlier, catalogue } = now
  if (earlier === undefined) {
    raise('critical', 'more was asked for this task or in this session before than is looked through')
    return
  }
  const had = (flag: Flag): boolean => earlier.some(({ flags }) => flags.includes(flag))
  // Not only by the kinds that were named: what is marked holds such data, whether or not the requester says so.
  const wasSensitive =
    had('regulated') ||
    earlier.some(({ dataTypes }) => dataTypes.some((type) => sensitivityOf(catalogue, type) !== 'plain'))
  const did = (kind: ActionClass): boolean => earlier.some((one) => one.classes.includes(kind))
  const didSend =
    had('externalTransfer') ||
    earlier.some((one) => {
      const trust = trustOf(catalogue, one.destination)
      return (trust !== undefined && trust !== 'internal') || (one.classes.includes('transfer') && trust === undefined)
    })
  if (now.sends && wasSensitive)
    raise('critical', 'it sends data out, and personal or regulated data was asked for in the same task or session')
  if (now.sensitive && didSend)
    raise(
      'critical',
      'it touches personal or regulated data, and sending data out was asked for in the same task or session',
    )
  const destroyed = did('destructive') || had('destructive')
  const escalated = did('escalating') || had('privilegedAccess')
  if ((now.destroys && escalated) || (now.escalates && destroyed))
    raise('critical', 'to gain rights and to destroy were asked for in the same task or session')
}

/** What the guards are told of it. */
export interface AskedRisk {
  readonly flags: readonly Flag[]
  readonly trust: Trust | undefined
  readonly sensitivities: readonly Sensitivity[]
  readonly earlier: readonly Earlier[]
}

/** The risk of an asking under a policy, and the entitlement at the tier that follows, or at `filed` where that is higher. */
export function assessed(
  policy: { readonly catalogue: Catalogue; at(id: EntitlementId, tier: Tier): Entitlement | undefined },
  on: {
    readonly offered: Entitlement
    readonly intent: Intent
    readonly requesterTenant: string
    readonly executorTenant?: string
  },
  earlier: readonly Earlier[] | undefined,
  filed: Tier = on.offered.tier,
): {
  readonly tier: Tier
  /** Undefined where the entitlement cannot be had at that tier. */
  readonly entitlement: Entitlement | undefined
  readonly risk: AskedRisk
  readonly derived: Risk
} {
  const { catalogue } = policy
  const { offered, intent, ...tenants } = on
  const derived = riskOf({ entitlement: offered, intent, ...tenants, catalogue, earlier })
  const tier = higher(derived.tier, filed)
  return {
    tier,
    entitlement: policy.at(offered.id, tier),
    risk: askedRisk(catalogue, derived.flags, intent, earlier),
    derived,
  }
}

export const askedRisk = (
  catalogue: Catalogue,
  flags: readonly Flag[],
  intent: Intent,
  earlier: readonly Earlier[] | undefined,
): AskedRisk => ({
  flags,
  trust: trustOf(catalogue, intent.destination),
  sensitivities: intent.dataTypes.map((type) => sensitivityOf(catalogue, type)),
  earlier: earlier ?? [],
})
