// File a grant: build the intent from what was asked and what the server knows, judge it, commit `pending`; where the policy itself
// may approve, approve in the policy's name: two commits, two events. Identity, tenant and session never come from the input.
import type { Entitlement } from '../domain/entitlement.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { type Ask, advance, born, deadlineOf, type Grant, type GrantIn, inStatus, type Step } from '../domain/grant.ts'
import type { Digest, EntitlementId, GrantId, PrincipalId, Thumbprint } from '../domain/ids.ts'
import { after, earliest, type Instant, minutes } from '../domain/instant.ts'
import {
  asSet,
  type ChangeClass,
  type Impact,
  type Intent,
  intentDigest,
  type Texts,
  textsDigest,
} from '../domain/intent.ts'
import type { Caller, Principal } from '../domain/principal.ts'
import { quorum } from '../domain/quorum.ts'
import type { Window } from '../domain/window.ts'
import { again, change, eventOf, witness } from './change.ts'
import { checkLimits, checkWindow, known, mayAutoApprove, offeredEntitlement, permit, possibleVoters } from './judge.ts'
import type { Control, Ports, Rules } from './ports.ts'

/** What a caller may say about the change; everything else is derived. */
export interface Asking {
  readonly entitlement: EntitlementId
  readonly actions: readonly string[]
  readonly scope: readonly string[]
  readonly dataTypes: readonly string[]
  readonly destination: string
  readonly task: string
  readonly changeClass: ChangeClass
  readonly impact: Impact
  readonly plan: { readonly digest: Digest; readonly mediaType: string } | undefined
  readonly ticket: { readonly system: string; readonly id: string } | undefined
  readonly window: Window
  readonly uses: number
  /** The requester itself where absent. */
  readonly executor: PrincipalId | undefined
  readonly executorKey: Thumbprint | undefined
  readonly texts: Texts
}

export type RequestPorts = Pick<
  Ports,
  'grants' | 'control' | 'rules' | 'signatures' | 'timetable' | 'seal' | 'now' | 'newGrantId' | 'sha256' | 'issuer'
>

export const request =
  (p: RequestPorts) =>
  async (caller: Caller, asking: Asking): Promise<Grant> => {
    const filed = await again(async () => file(p, caller, asking))
    return filed.ask.rule.mode === 'auto' ? approveByPolicy(p, filed.id) : filed
  }

async function file(p: RequestPorts, caller: Caller, asking: Asking): Promise<Grant> {
  const control = await p.control()
  const now = p.now()
  const judged = judgeAsking(p.rules(control), caller, asking, now)
  const ask = askOf(p, judged, asking, control, now)
  const details = { entitlement: ask.intent.entitlement }
  const step = born(ask, eventOf(ask, 'filed', now, caller.principal.id, details, control))
  const receipt = await p.grants.commit(step, { notAfter: ask.intent.window.closesAt, judgedUnder: control })
  await Promise.all([p.timetable.at(laneOf(ask.credential), deadlineOf(step.grant) ?? now), witness(p, receipt)])
  return step.grant
}

/** Nobody is asked, so nobody is waited for: an automatic approval that did not come through is over soon. */
const AUTO_WITHIN = minutes(1)

interface JudgedAsking {
  readonly intent: Intent
  readonly entitlement: Entitlement
  readonly requester: Principal
  readonly auto: boolean
  readonly reasons: readonly string[]
}

function judgeAsking(rules: Rules, caller: Caller, asking: Asking, now: Instant): JudgedAsking {
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
    return { intent, entitlement, requester, auto: true, reasons: ['tier low, approved by the policy'] }
  }
  const { approval } = entitlement
  if (approval.mode === 'auto') {
    throw needsAPerson()
  }
  const possible = quorum(approval, possibleVoters(rules, entitlement, intent, { requester, executor }))
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

function intentOf(entitlement: Entitlement, caller: Caller, executor: Principal, asking: Asking): Intent {
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

function askOf(p: RequestPorts, judged: JudgedAsking, asking: Asking, control: Control, now: Instant): Ask {
  const { intent, entitlement, requester } = judged
  return {
    v: 2,
    id: p.newGrantId(),
    intent,
    texts: asking.texts,
    digest: intentDigest(intent, p.issuer, p.sha256),
    textsDigest: textsDigest(asking.texts, p.issuer, p.sha256),
    requesterTenant: requester.tenant,
    tier: entitlement.tier,
    rule: entitlement.approval,
    credential: entitlement.credential,
    audience: entitlement.target.audience,
    filedAt: now,
    decideBy: earliest(after(now, judged.auto ? AUTO_WITHIN : entitlement.limits.decideWithin), intent.window.closesAt),
    policy: { revision: control.policyRevision, digest: control.policyDigest },
    reasons: judged.reasons,
    asked: '',
    replaces: undefined,
    linked: [],
  }
}

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
