// File a grant: build the intent from what was asked and what the server knows, judge it, commit `pending`; where the policy itself
// may approve, approve in the policy's name: two commits, two events. Identity, tenant and session never come from the input.
// Under a key the grant's id follows from who asks and that key, so that the same asking, however often it is sent and whoever died
// in between, is one grant.
import { canonical } from '../domain/canonical.ts'
import type { Entitlement } from '../domain/entitlement.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import { isFlood } from '../domain/flood.ts'
import { type Ask, advance, born, deadlineOf, type Grant, type GrantIn, inStatus, type Step } from '../domain/grant.ts'
import type { Digest, EntitlementId, GrantId, PrincipalId, TenantId, Thumbprint } from '../domain/ids.ts'
import { after, type Duration, earliest, type Instant, minutes } from '../domain/instant.ts'
import {
  asSet,
  type ChangeClass,
  type Impact,
  type Intent,
  intentDigest,
  type Texts,
  textsDigest,
} from '../domain/intent.ts'
import { type Caller, type Principal, personsBehind } from '../domain/principal.ts'
import { isEligible, quorum } from '../domain/quorum.ts'
import type { Window } from '../domain/window.ts'
import { again, change, changeToEnd, eventOf, type Move, witness } from './change.ts'
import { floodGuard } from './flood.ts'
import { checkLimits, checkWindow, known, mayAutoApprove, offeredEntitlement, permit, possibleVoters } from './judge.ts'
import type { Control, Ports, Rules } from './ports.ts'
import { checkRequester, withdrawal } from './withdraw.ts'

/** What is asked of one entitlement. */
export interface AskingPart {
  readonly entitlement: EntitlementId
  readonly actions: readonly string[]
  readonly scope: readonly string[]
  readonly dataTypes: readonly string[]
  readonly destination: string
  readonly uses: number
}

/** What a caller may say about the change; everything else is derived. */
export interface Asking extends AskingPart {
  readonly task: string
  readonly changeClass: ChangeClass
  readonly impact: Impact
  readonly plan: { readonly digest: Digest; readonly mediaType: string } | undefined
  readonly ticket: { readonly system: string; readonly id: string } | undefined
  /** A duration alone opens when the grant is filed. */
  readonly window: Window | { readonly duration: Duration }
  /** The requester itself where absent. */
  readonly executor: PrincipalId | undefined
  readonly executorKey: Thumbprint | undefined
  readonly texts: Texts
  /** A grant that nobody has exchanged yet: withdrawn before this one is filed. */
  readonly replaces: GrantId | undefined
  /** Further entitlements for the same task: a grant of its own each. */
  readonly more: readonly AskingPart[]
}

export interface Filed {
  readonly grant: Grant
  /** This very asking had been filed before, under the same key. */
  readonly again: boolean
}

export type RequestPorts = Pick<
  Ports,
  | 'grants'
  | 'control'
  | 'rules'
  | 'rulesToEnd'
  | 'signatures'
  | 'timetable'
  | 'seal'
  | 'now'
  | 'nowToEnd'
  | 'newGrantId'
  | 'grantIdOf'
  | 'sha256'
  | 'issuer'
  | 'flood'
>

/**
 * Files the grant, and one for each further entitlement; answers the first. All are judged before the first is filed. With `key`, the
 * same asking of the same caller is filed once: a repetition finishes what was cut short and answers the grant as it is now; another
 * asking under the same key is refused (`idempotency_mismatch`).
 */
export const request =
  (p: RequestPorts) =>
  async (caller: Caller, asking: Asking, key?: string): Promise<Filed> => {
    const parts = [asking, ...asking.more]
    const ids = parts.map((_, n) => (key === undefined ? p.newGrantId() : p.grantIdOf(seedOf(caller, key, n))))
    const asked = key === undefined ? '' : askedBy(p, caller, asking)
    // What is one commit needs no look back unless it may be a repetition; what is several may have been cut short by a change of the rules.
    const mayBeThere = key !== undefined || parts.length > 1
    const filed = await again(async () => {
      const before = mayBeThere ? await filedBefore(p, ids, asked) : ids.map(() => undefined)
      return before.every((grant) => grant !== undefined)
        ? { grants: before, again: true }
        : { grants: await fileAll(p, caller, asking, { ids, asked, before }), again: false }
    })
    const [grant] = await Promise.all(filed.grants.map((one) => (isAutomatic(one) ? approveByPolicy(p, one.id) : one)))
    if (grant === undefined) throw new Error('an asking without a grant')
    return { grant, again: filed.again }
  }

/** What was asked, by whom, with which key, in which run: a repetition is the same in all of it. */
const askedBy = (p: RequestPorts, { key, session }: Caller, { more, ...asking }: Asking): string => {
  const { impact, plan, ticket, texts, window, ...plain } = asking
  return p.sha256(
    canonical({
      ...plain,
      impact: { ...impact },
      plan: plan && { ...plan },
      ticket: ticket && { ...ticket },
      texts: { ...texts },
      window: { ...window },
      more: more.map((part) => ({ ...part })),
      key,
      session,
    }),
  )
}

const seedOf = ({ principal }: Caller, key: string, n: number): string =>
  canonical({ typ: 'writ/grant-id/v1', principal: principal.id, key, n })

const isAutomatic = (grant: Grant): boolean => grant.ask.rule.mode === 'auto' && inStatus(grant, 'pending')

async function filedBefore(
  p: RequestPorts,
  ids: readonly GrantId[],
  asked: string,
): Promise<readonly (Grant | undefined)[]> {
  const found = await Promise.all(ids.map(async (id) => (await p.grants.load(id))?.grant))
  if (found.every((grant) => grant === undefined || grant.ask.asked === asked)) return found
  throw new BrokerError('idempotency_mismatch', 'Something else was asked under this Idempotency-Key before.', {
    nextAction: 'Choose a new key for a new asking; repeat an asking word for word, with the same key and session.',
  })
}

interface Filing {
  readonly ids: readonly GrantId[]
  readonly asked: string
  /** What a former try has filed already. */
  readonly before: readonly (Grant | undefined)[]
}

async function fileAll(
  p: RequestPorts,
  caller: Caller,
  asking: Asking,
  { ids, asked, before }: Filing,
): Promise<readonly Grant[]> {
  const control = await p.control()
  const now = p.now()
  const rules = p.rules(control)
  // What a former try has begun goes on in the same window.
  const window = windowOf(asking, before.find((grant) => grant !== undefined)?.ask.filedAt ?? now)
  const judged = [asking, ...asking.more].map((part) => judgeAsking(rules, caller, { ...asking, ...part, window }, now))
  const tenant = onlyTenantOf(judged)
  if (asking.replaces !== undefined) await withdrawReplaced(p, caller, asking.replaces, { by: ids[0], tenant })
  const grants: Grant[] = []
  for (const [n, part] of judged.entries()) {
    const id = ids[n]
    if (id === undefined) throw new Error('a part without an id')
    const linked = ids.filter((other) => other !== id)
    const known = before[n]
    const birth = { id, asked, linked, control, now }
    grants.push(known ?? (await fileOne(p, caller, askOf(p, part, asking, birth), control, grants)))
  }
  return grants
}

/** Where there is no room for this part of an asking, the parts before it are taken back; under a key the repetition files the rest. */
async function fileOne(
  p: RequestPorts,
  caller: Caller,
  ask: Ask,
  control: Control,
  before: readonly Grant[],
): Promise<Grant> {
  try {
    return await file(p, caller, ask, control)
  } catch (thrown) {
    if (ask.asked === '' && isFlood(thrown)) for (const { id } of before) await takeBack(p, caller, id)
    throw thrown
  }
}

async function takeBack(p: RequestPorts, caller: Caller, id: GrantId): Promise<void> {
  const reason = 'the asking was refused in part'
  const { receipt } = await changeToEnd(p, id, (grant) => withdrawal(p, p.rulesToEnd(), caller, grant, reason))
  await witness(p, receipt)
}

async function file(p: RequestPorts, caller: Caller, ask: Ask, control: Control): Promise<Grant> {
  const details = {
    entitlement: ask.intent.entitlement,
    ...(ask.replaces === undefined ? {} : { replaces: ask.replaces }),
    ...(ask.linked.length === 0 ? {} : { linked: ask.linked }),
  }
  const step = born(ask, eventOf(ask, 'filed', ask.filedAt, caller.principal.id, details, control))
  const receipt = await p.grants.commit(step, {
    notAfter: ask.intent.window.closesAt,
    judgedUnder: control,
    ...floodGuard(p, ask),
  })
  await Promise.all([
    p.timetable.at(laneOf(ask.credential), deadlineOf(step.grant) ?? ask.filedAt),
    witness(p, receipt),
  ])
  return step.grant
}

/** Before the new one is filed: whatever dies in between, never are both of them there to be exchanged. */
async function withdrawReplaced(p: RequestPorts, caller: Caller, old: GrantId, next: Next): Promise<void> {
  const { receipt } = await changeToEnd(p, old, (grant) => replacement(p, p.rulesToEnd(), caller, grant, next))
  await witness(p, receipt)
}

/** What was decided against, or by nobody, may be asked again in another form; what was exchanged is completed first. */
function replacement(p: RequestPorts, rules: Rules, caller: Caller, old: Grant, { by, tenant }: Next): Move {
  checkRequester(rules, caller, old)
  if (old.ask.intent.tenant !== tenant) throw ofAnotherTenant()
  return inStatus(old, 'denied', 'lapsed') ? { done: old } : withdrawal(p, rules, caller, old, `replaced by ${by}`)
}

/** What comes instead of a grant. */
interface Next {
  readonly by: GrantId | undefined
  readonly tenant: TenantId
}

/** Grants of one asking name each other, so all are one tenant's: nobody learns from theirs what is asked of another tenant. */
function onlyTenantOf(judged: readonly JudgedAsking[]): TenantId {
  const [tenant, ...others] = new Set(judged.map(({ entitlement }) => entitlement.tenant))
  if (tenant === undefined) throw new Error('an asking without a part')
  if (others.length > 0) throw ofAnotherTenant()
  return tenant
}
const ofAnotherTenant = (): BrokerError =>
  new BrokerError('policy_refused', 'One asking, and what it replaces, concerns the targets of one tenant.', {
    nextAction: 'Ask each tenant for its own.',
    facts: { limit: 'tenant' },
  })

const windowOf = ({ window }: Asking, filedAt: Instant): Window =>
  'duration' in window ? { opensAt: filedAt, closesAt: after(filedAt, window.duration) } : window

/** What would become of an asking: what people would be shown, and who could say yes. */
export interface Explained {
  readonly intent: Intent
  readonly digest: Digest
  readonly entitlement: Entitlement
  readonly auto: boolean
  readonly reasons: readonly string[]
  /** Persons who could approve it now; nobody is named. */
  readonly couldDecide: number
  readonly decideBy: Instant
  readonly policy: Ask['policy']
}

/** The same judgement as filing, and the same refusals but those of a flood, which only the commit can know; nothing is written. */
export const explain =
  (p: RequestPorts) =>
  async (caller: Caller, asking: Asking): Promise<readonly Explained[]> => {
    const control = await p.control()
    const now = p.now()
    const rules = p.rules(control)
    const window = windowOf(asking, now)
    const parts = [asking, ...asking.more]
    const judged = parts.map((part) => judgeAsking(rules, caller, { ...asking, ...part, window }, now))
    const tenant = onlyTenantOf(judged)
    if (asking.replaces !== undefined) {
      const old = await p.grants.loadToEnd(asking.replaces)
      if (old === undefined) throw notFound()
      replacement(p, rules, caller, old, { by: undefined, tenant })
    }
    return judged.map((part) => ({
      ...part,
      digest: intentDigest(part.intent, p.issuer, p.sha256),
      decideBy: decideBy(part, now),
      policy: { revision: control.policyRevision, digest: control.policyDigest },
    }))
  }

/** Nobody is asked, so nobody is waited for: an automatic approval that did not come through is over soon. */
const AUTO_WITHIN = minutes(1)

interface JudgedAsking {
  readonly intent: Intent
  readonly entitlement: Entitlement
  readonly requester: Principal
  readonly auto: boolean
  readonly reasons: readonly string[]
  readonly couldDecide: number
}
/** One part of an asking, its window as instants. */
type OneAsking = Asking & { readonly window: Window }

function judgeAsking(rules: Rules, caller: Caller, asking: OneAsking, now: Instant): JudgedAsking {
  const requester = known(rules.directory, caller.principal.id, 'requester')
  const entitlement = offeredEntitlement(rules, asking.entitlement, requester)
  const executor = executorOf(rules, entitlement, asking, requester)
  const intent = intentOf(entitlement, caller, executor, asking)
  checkWindow(entitlement, intent, now)
  checkLimits(entitlement, intent)
  const on = { entitlement, intent, requester }
  permit(rules, 'Request', requester, on)
  permit(rules, 'Exchange', executor, on)
  if (mayAutoApprove(rules, entitlement, intent, requester)) {
    const reasons = ['tier low, approved by the policy']
    return { intent, entitlement, requester, auto: true, reasons, couldDecide: 0 }
  }
  const { approval } = entitlement
  if (approval.mode === 'auto') {
    throw needsAPerson()
  }
  const voters = possibleVoters(rules, entitlement, intent, { requester, executor })
  const possible = quorum(approval, voters)
  if (!possible.met) {
    throw new BrokerError('nobody_can_decide', 'Nobody is left who could approve this.', {
      nextAction: 'Let somebody else ask or execute, or have another owner named.',
      facts: { missing: possible.missing },
    })
  }
  const needed = quorum(approval, []).missing
  return {
    intent,
    entitlement,
    requester,
    auto: false,
    reasons: [`tier ${entitlement.tier}`, ...needed.map((seat) => `needs ${seat}`)],
    couldDecide: voters.filter((voter) => isEligible(approval, voter)).length,
  }
}

function executorOf(rules: Rules, entitlement: Entitlement, asking: Asking, requester: Principal): Principal {
  if (asking.executor === undefined || asking.executor === requester.id) return requester
  const executor = rules.directory.principal(asking.executor)
  if (executor !== undefined && entitlement.openTo.includes(executor.tenant)) return executor
  throw new BrokerError(
    'invalid_request',
    'The executor is not known here, or this entitlement is not offered to it.',
    {
      nextAction: 'Name a workload, agent or person of the people directory, or leave the executor out.',
      facts: { member: 'executor.principal' },
    },
  )
}

function intentOf(entitlement: Entitlement, caller: Caller, executor: Principal, asking: OneAsking): Intent {
  const ownHand = executor.id === caller.principal.id
  const key = asking.executorKey ?? (ownHand ? caller.key : undefined)
  if (executor.kind === 'agent' && key === undefined) {
    throw new BrokerError('invalid_request', 'An agent is bound to one key, and none was shown.', {
      nextAction: 'Send a DPoP proof with the asking, or name executor.key.',
      facts: { member: 'executor.key' },
    })
  }
  return {
    tenant: entitlement.tenant,
    entitlement: entitlement.id,
    requester: caller.principal.id,
    executor: { principal: executor.id, key },
    task: asking.task,
    session: ownHand ? caller.session : '',
    target: entitlement.target.id,
    environment: entitlement.target.environment,
    actions: asSet(asking.actions),
    scope: asSet(asking.scope),
    dataTypes: asSet(asking.dataTypes),
    destination: asking.destination,
    changeClass: asking.changeClass,
    impact: asking.impact,
    plan: asking.plan,
    ticket: asking.ticket,
    window: asking.window,
    credential: { kind: entitlement.credential.kind, uses: asking.uses },
  }
}

interface Birth {
  readonly id: GrantId
  readonly asked: string
  readonly linked: readonly GrantId[]
  readonly control: Control
  readonly now: Instant
}

function askOf(p: RequestPorts, judged: JudgedAsking, asking: Asking, { id, asked, linked, control, now }: Birth): Ask {
  const { intent, entitlement, requester } = judged
  return {
    v: 3,
    id,
    intent,
    texts: asking.texts,
    digest: intentDigest(intent, p.issuer, p.sha256),
    textsDigest: textsDigest(asking.texts, p.issuer, p.sha256),
    requesterTenant: requester.tenant,
    askers: personsBehind(requester),
    tier: entitlement.tier,
    rule: entitlement.approval,
    credential: entitlement.credential,
    audience: entitlement.target.audience,
    filedAt: now,
    decideBy: decideBy(judged, now),
    policy: { revision: control.policyRevision, digest: control.policyDigest },
    reasons: judged.reasons,
    asked,
    replaces: asking.replaces,
    linked,
  }
}

const decideBy = ({ auto, entitlement, intent }: JudgedAsking, now: Instant): Instant =>
  earliest(after(now, auto ? AUTO_WITHIN : entitlement.limits.decideWithin), intent.window.closesAt)

/** A commit of its own, judged anew: whatever becomes of it, the asking is filed once. Not approved, it lapses within a minute. */
async function approveByPolicy(p: RequestPorts, id: GrantId): Promise<Grant> {
  const { grant, receipt } = await change(p, id, ({ grant, control }) => {
    if (!inStatus(grant, 'pending')) return { done: grant }
    const { intent } = grant.ask
    const rules = p.rules(control)
    const requester = known(rules.directory, intent.requester, 'requester')
    if (!mayAutoApprove(rules, offeredEntitlement(rules, intent.entitlement, requester), intent, requester))
      throw needsAPerson()
    return {
      step: approvedStep(p, grant, control),
      guard: { notAfter: intent.window.closesAt, judgedUnder: control },
    }
  })
  await Promise.all([
    p.timetable.at(laneOf(grant.ask.credential), grant.ask.intent.window.closesAt),
    witness(p, receipt),
  ])
  return grant
}

function approvedStep(p: RequestPorts, grant: GrantIn<'pending'>, control: Control): Step {
  const at = p.now()
  const unsigned = {
    v: 1 as const,
    by: 'policy' as const,
    verdict: 'approve' as const,
    reason: 'Approved by the policy: read-only and of tier low.',
    at,
    digest: grant.ask.digest,
    textsDigest: grant.ask.textsDigest,
    policyDigest: control.policyDigest,
    peopleDigest: control.peopleDigest,
  }
  return advance(grant, {
    to: 'approved',
    facts: { approvedAt: at },
    decisions: [{ ...unsigned, signature: p.signatures.sign(grant.id, unsigned) }],
    event: eventOf(grant.ask, 'approved', at, 'policy', {}, control),
  })
}

const needsAPerson = (): BrokerError =>
  new BrokerError('policy_refused', 'The policy approves this entitlement by itself, but not this asking.', {
    nextAction: 'Ask for the actions that are approved automatically, or for an entitlement that has an owner.',
    facts: { limit: 'approval' },
  })
