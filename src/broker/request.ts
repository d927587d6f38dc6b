// File a grant: build the intent from what was asked and what the server knows, judge it, commit `pending`; where the policy itself
// may approve, approve in the policy's name: two commits, two events. Identity, tenant and session never come from the input.
// Under a key the grant's id follows from who asks and that key, so that the same asking, however often it is sent and whoever died
// in between, is one grant.
import { canonical } from '../domain/canonical.ts'
import type { Entitlement } from '../domain/entitlement.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import { isFlood } from '../domain/flood.ts'
import { checkFreeze, type StoredFreeze } from '../domain/freeze.ts'
import { type Ask, advance, born, deadlineOf, type Grant, type GrantIn, inStatus, type Step } from '../domain/grant.ts'
import type { Digest, EntitlementId, GrantId, PrincipalId, TenantId, Thumbprint } from '../domain/ids.ts'
import { after, type Duration, days, earliest, type Instant, instant, minutes } from '../domain/instant.ts'
import {
  asSet,
  type ChangeClass,
  type Exposure,
  type Intent,
  intentDigest,
  type Texts,
  textsDigest,
} from '../domain/intent.ts'
import { type Caller, type Principal, personsBehind } from '../domain/principal.ts'
import { quorum } from '../domain/quorum.ts'
import { classesOf, type Earlier, type Impact } from '../domain/risk.ts'
import type { Tier } from '../domain/tier.ts'
import type { Window } from '../domain/window.ts'
import { again, change, changeToEnd, eventOf, type Move, witness } from './change.ts'
import { floodGuard } from './flood.ts'
import { statement, useBy } from './hearing.ts'
import {
  assess,
  authorsFor,
  changeOf,
  checkAuthorship,
  checkLimits,
  checkNotFrozen,
  checkSeparateExecutor,
  checkWindow,
  known,
  mayAutoApprove,
  offeredEntitlement,
  permit,
} from './judge.ts'
import type { Control, Ports, Rules } from './ports.ts'
import { seating } from './seats.ts'
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
  readonly exposure: Exposure | undefined
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
  | 'freezes'
  | 'control'
  | 'rules'
  | 'rulesToEnd'
  | 'signatures'
  | 'forges'
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
  const { impact, exposure, plan, ticket, texts, window, ...plain } = asking
  return p.sha256(
    canonical({
      ...plain,
      impact: { ...impact },
      exposure: exposure && { ...exposure },
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
  const freezes = await p.freezes.under(control)
  const judged = await judgeAll(p, rules, caller, { ...asking, window }, { now, own: ids, freezes })
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
  readonly executor: Principal
  readonly auto: boolean
  readonly tier: Tier
  readonly flags: Ask['flags']
  readonly reasons: readonly string[]
  /** Persons who could approve it now; nobody is named. */
  readonly couldDecide: number
  readonly decideBy: Instant
  readonly lapsesAt: Instant
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
    const freezes = await p.freezes.under(control)
    const judged = await judgeAll(p, rules, caller, { ...asking, window }, { now, own: [], freezes })
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
      lapsesAt: lapsesAt(part, now),
      policy: { revision: control.policyRevision, digest: control.policyDigest },
    }))
  }

/** Nobody is asked, so nobody is waited for: an automatic approval that did not come through is over soon. */
const AUTO_WITHIN = minutes(1)

interface JudgedAsking {
  readonly intent: Intent
  /** As it is at the tier that was derived. */
  readonly entitlement: Entitlement
  readonly requester: Principal
  readonly executor: Principal
  readonly auto: boolean
  readonly tier: Tier
  readonly flags: Ask['flags']
  readonly earlier: Ask['earlier']
  readonly reasons: readonly string[]
  readonly couldDecide: number
}
/** One part of an asking, its window as instants. */
type OneAsking = Asking & { readonly window: Window }

/** Every part, each in the light of the others and of what was asked before for the same task or in the same session. */
async function judgeAll(
  p: RequestPorts,
  rules: Rules,
  caller: Caller,
  asking: OneAsking,
  {
    now,
    own,
    freezes,
  }: {
    readonly now: Instant
    readonly own: readonly GrantId[]
    readonly freezes: readonly StoredFreeze[]
  },
): Promise<readonly JudgedAsking[]> {
  const before = await earlierOf(p, rules, caller, asking.task, { own, now })
  const parts = [asking, ...asking.more]
  const judged: JudgedAsking[] = []
  for (const [n, part] of parts.entries()) {
    const others = parts.filter((_, other) => other !== n).flatMap((other) => earlierPart(rules, other))
    const earlier = before && [...before, ...others]
    judged.push(await judgeAsking(p, rules, caller, { ...asking, ...part }, { now, earlier, freezes }))
  }
  return judged
}

/** How many grants of one task or session are looked through, and how far back: a task that never ends is not one task for ever. */
const LOOKED_THROUGH = 1_000
/** Each asking keeps what was asked before it for ever: of so many different ones it is known enough. */
const MOST_EARLIER = 50
const LOOKED_BACK = days(7)
const PAGE = 100

/**
 * What was asked from the requester's tenant in the last week for this task or in this session, whatever became of it: what was read once
 * is known. Undefined where that is more than is looked through, or than is kept.
 */
async function earlierOf(
  p: Pick<Ports, 'grants'>,
  rules: Rules,
  { principal, session }: Caller,
  task: string,
  { own, now }: { readonly own: readonly GrantId[]; readonly now: Instant },
): Promise<readonly Earlier[] | undefined> {
  const whose = { tenant: principal.tenant }
  const of = [...(task === '' ? [] : [{ whose, task }]), ...(session === '' ? [] : [{ whose, session }])]
  if (of.length === 0) return []
  let found: readonly Earlier[] = []
  const filedFrom = instant(Math.max(0, now - LOOKED_BACK))
  let cursor: string | undefined
  for (let read = 0; read < LOOKED_THROUGH; read += PAGE) {
    const page = await p.grants.list({ of, limit: PAGE, cursor, filedFrom })
    const others = page.grants.filter(({ id }) => !own.includes(id)).map(({ ask }) => earlierGrant(rules, ask))
    found = distinctEarlier([...found, ...others])
    if (found.length > MOST_EARLIER) return undefined
    if (page.next === undefined) return found
    cursor = page.next
  }
  return undefined
}

const earlierGrant = (rules: Rules, { intent, flags }: Ask): Earlier => {
  const entitlement = rules.policy.entitlement(intent.entitlement)
  return {
    entitlement: intent.entitlement,
    // What an entitlement that is gone did is not known any more: its data and destination still are.
    classes: entitlement === undefined ? [] : classesOf(entitlement, intent.actions),
    flags,
    dataTypes: intent.dataTypes,
    destination: intent.destination,
  }
}
const earlierPart = (rules: Rules, part: AskingPart): readonly Earlier[] => {
  const entitlement = rules.policy.entitlement(part.entitlement)
  if (entitlement === undefined) return []
  const { dataTypes, destination } = part
  const classes = classesOf(entitlement, part.actions)
  const flags = [...entitlement.flags, ...part.actions.flatMap((action) => entitlement.actionFlags[action] ?? [])]
  return [{ entitlement: part.entitlement, classes, flags, dataTypes, destination }]
}
const distinctEarlier = (all: readonly Earlier[]): readonly Earlier[] => [
  ...new Map(
    all.map((one) => {
      const plain = {
        entitlement: one.entitlement,
        classes: asSet(one.classes),
        flags: asSet(one.flags),
        dataTypes: asSet(one.dataTypes),
        destination: one.destination,
      }
      return [canonical(plain), one] as const
    }),
  ).values(),
]

async function judgeAsking(
  p: RequestPorts,
  rules: Rules,
  caller: Caller,
  asking: OneAsking,
  {
    now,
    earlier,
    freezes,
  }: {
    readonly now: Instant
    readonly earlier: Ask['earlier']
    readonly freezes: readonly StoredFreeze[]
  },
): Promise<JudgedAsking> {
  const requester = known(rules.directory, caller.principal.id, 'requester')
  const offered = offeredEntitlement(rules, asking.entitlement, requester)
  const executor = executorOf(rules, offered, asking, requester)
  const declared = intentOf(rules, offered, caller, executor, asking)
  const { entitlement, risk, derived } = assess(rules, offered, declared, requester, earlier)
  const intent = { ...declared, changeClass: derived.changeClass }
  const { tier } = entitlement
  checkWindow(entitlement, intent, now)
  checkLimits(entitlement, intent)
  checkSeparateExecutor(entitlement, intent)
  const on = { entitlement, intent, requester, risk }
  permit(rules, 'Request', requester, on)
  permit(rules, 'Exchange', executor, on)
  const policies = [rules.policy.digest]
  checkFreeze({ freezes, born: undefined }, { intent, requester, executor, shown: caller, policies })
  const duties = { requester, executor, authors: await authorsFor(p, rules, intent) }
  checkAuthorship(intent, duties)
  const why = [`tier ${tier}`, ...derived.why.map((one) => `raised to ${one}`)]
  const judged = { intent, entitlement, requester, executor, tier, flags: derived.flags, earlier }
  if (mayAutoApprove(rules, entitlement, intent, requester, risk))
    return { ...judged, auto: true, reasons: [...why, 'approved by the policy'], couldDecide: 0 }
  const { approval } = entitlement
  if (approval.mode === 'auto') throw needsAPerson(why)
  const hearing = { entitlement, intent, duties, risk, escalated: true, at: now }
  const seats = await seating(p, rules, hearing, [approval])
  const voters = seats.voters(approval)
  // Of all who could decide for the owner one will: the others are not the further person that a rule asks for.
  const reviewing = voters.filter(({ seats }) => seats.some((seat) => seat !== 'owner'))
  const deciding = voters.filter((voter) => !reviewing.includes(voter)).slice(0, 1)
  const possible = quorum(approval, [...reviewing, ...deciding])
  if (!possible.met) {
    const lacking = possible.missing.join(', ')
    throw new BrokerError(
      'nobody_can_decide',
      `Nobody is left who could approve this at tier ${tier}: ${lacking} missing.`,
      {
        nextAction: 'Let somebody else ask or execute, ask for less, or have the owner or more reviewers named.',
        facts: { missing: possible.missing, tier, why: derived.why },
      },
    )
  }
  const needed = quorum(approval, []).missing
  return {
    ...judged,
    auto: false,
    reasons: [...why, ...needed.map((seat) => `needs ${seat}`), ...(approval.stepUp ? ['needs passkeys'] : [])],
    couldDecide: voters.length,
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

function intentOf(
  { directory }: Rules,
  entitlement: Entitlement,
  caller: Caller,
  executor: Principal,
  asking: OneAsking,
): Intent {
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
    manifests: { requester: directory.manifestOf(caller.principal.id), executor: directory.manifestOf(executor.id) },
    task: asking.task,
    session: ownHand ? caller.session : '',
    target: entitlement.target.id,
    environment: entitlement.target.environment,
    actions: asSet(asking.actions),
    scope: asSet(asking.scope),
    dataTypes: asSet(asking.dataTypes),
    destination: asking.destination,
    exposure: asking.exposure,
    change: changeOf(entitlement, asSet(asking.scope)),
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
    tier: judged.tier,
    flags: judged.flags,
    earlier: judged.earlier,
    rule: entitlement.approval,
    credential: entitlement.credential,
    audience: entitlement.target.audience,
    filedAt: now,
    decideBy: decideBy(judged, now),
    lapsesAt: lapsesAt(judged, now),
    policy: { revision: control.policyRevision, digest: control.policyDigest },
    reasons: judged.reasons,
    asked,
    replaces: asking.replaces,
    linked,
  }
}

const decideBy = ({ auto, entitlement, intent }: JudgedAsking, now: Instant): Instant =>
  earliest(after(now, auto ? AUTO_WITHIN : entitlement.limits.decideWithin), intent.window.closesAt)

/** Decided by nobody until then, it is escalated, and lapses a while later; what nobody is asked about just lapses. */
const lapsesAt = (judged: JudgedAsking, now: Instant): Instant =>
  judged.auto
    ? decideBy(judged, now)
    : earliest(after(decideBy(judged, now), judged.entitlement.limits.escalateWithin), judged.intent.window.closesAt)

/** A commit of its own, judged anew: whatever becomes of it, the asking is filed once. Not approved, it lapses within a minute. */
async function approveByPolicy(p: RequestPorts, id: GrantId): Promise<Grant> {
  const { grant, receipt } = await change(p, id, async (loaded) => {
    const { grant, control } = loaded
    if (!inStatus(grant, 'pending')) return { done: grant }
    const { intent } = grant.ask
    const rules = p.rules(control)
    await checkNotFrozen(p, rules, loaded)
    const requester = known(rules.directory, intent.requester, 'requester')
    const executor = known(rules.directory, intent.executor.principal, 'executor')
    const offered = offeredEntitlement(rules, intent.entitlement, requester)
    const { entitlement, risk } = assess(rules, offered, intent, requester, grant.ask.earlier, grant.ask.tier)
    if (!mayAutoApprove(rules, entitlement, intent, requester, risk)) throw needsAPerson(grant.ask.reasons)
    return {
      step: approvedStep(p, grant, control, (at) => useBy(entitlement, executor, intent.window.opensAt, at)),
      guard: { notAfter: intent.window.closesAt, judgedUnder: control },
    }
  })
  await Promise.all([
    p.timetable.at(laneOf(grant.ask.credential), deadlineOf(grant) ?? grant.ask.intent.window.closesAt),
    witness(p, receipt),
  ])
  return grant
}

function approvedStep(
  p: RequestPorts,
  grant: GrantIn<'pending'>,
  control: Control,
  useByOf: (approvedAt: Instant) => Instant,
): Step {
  const at = p.now()
  const reason = 'Approved by the policy: of tier low, and nothing that needs a person.'
  const content = {
    act: 'vote' as const,
    verdict: 'approve' as const,
    seat: 'policy' as const,
    deputyFor: undefined,
    checklist: [],
    evidence: [],
    conditions: [],
    accepts: [],
  }
  const decision = { ...statement(grant, control, { by: 'policy', reason, at, content }), assertion: undefined }
  return advance(grant, {
    to: 'approved',
    facts: { approvedAt: at, useBy: useByOf(at) },
    decisions: [{ ...decision, signature: p.signatures.sign(grant.id, decision) }],
    event: eventOf(grant.ask, 'approved', at, 'policy', {}, control),
  })
}

const needsAPerson = (why: readonly string[]): BrokerError =>
  new BrokerError('policy_refused', 'The policy approves this entitlement by itself, but not this asking.', {
    nextAction: 'Ask for the actions that are approved automatically, or for an entitlement that has an owner.',
    facts: { limit: 'approval', why },
  })
