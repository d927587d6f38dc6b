// Everything that must be true before something is allowed, asked again each time: at filing, at a decision, at every exchange.
// It errs towards refusal: unknown person, missing entitlement, unverifiable signature, any doubt, is a no with its reason.
import { isAuthor } from '../domain/authorship.ts'
import { standingVotes } from '../domain/decision.ts'
import type { Duties } from '../domain/duties.ts'
import { type Entitlement, NEVER_AUTOMATIC, sameCredential } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { checkFreeze, type Freezes } from '../domain/freeze.ts'
import { type Ask, type Grant, inStatus } from '../domain/grant.ts'
import type { PrincipalId } from '../domain/ids.ts'
import { formatDuration, formatInstant, type Instant } from '../domain/instant.ts'
import { type Intent, intentDigest, textsDigest } from '../domain/intent.ts'
import { type Absence, type Caller, type Principal, personsBehind } from '../domain/principal.ts'
import { type AskedRisk, assessed, type Flag, type Risk } from '../domain/risk.ts'
import { subjectOf } from '../domain/subject.ts'
import type { Tier } from '../domain/tier.ts'
import { faultOf, isClosed, isOpen, lengthOf } from '../domain/window.ts'
import type { Action } from '../policy/policy.ts'
import { authorsOfChange } from './authors.ts'
import type { Directory, Loaded, Ports, Rules } from './ports.ts'
import { rulesFor, seating, speakers, verdicts } from './seats.ts'
import { isSound, type SoundPorts } from './sound.ts'

/** What is never approved without a person, whoever says it of an asking. */
const NEVER_AUTOMATIC_FLAGS: readonly Flag[] = ['destructive', 'irreversible', 'privilegedAccess', 'externalTransfer']

const refused = (message: string, nextAction: string, facts: Record<string, unknown> = {}): BrokerError =>
  new BrokerError('policy_refused', message, { nextAction, facts })

/** The entitlement as offered today; absent and not offered to this tenant read the same. */
export function offeredEntitlement(rules: Rules, id: Intent['entitlement'], requester: Principal): Entitlement {
  const entitlement = rules.policy.entitlement(id)
  if (entitlement === undefined || !entitlement.openTo.includes(requester.tenant)) {
    throw refused(
      'This entitlement is not offered to you.',
      'List the entitlements you may ask for at /v1/entitlements.',
    )
  }
  return entitlement
}

export function known(directory: Directory, id: PrincipalId, role: string): Principal {
  const principal = directory.principal(id)
  if (principal !== undefined) return principal
  const absence = directory.absence(id) ?? 'unknown'
  throw new BrokerError('not_permitted', ABSENT[absence](role), {
    nextAction: 'Ask whoever keeps the people directory; until then nothing is allowed for this grant.',
    facts: { role, absence },
  })
}

const ABSENT: Readonly<Record<Absence, (role: string) => string>> = {
  unknown: (role) => `The ${role} is not in the people directory any more.`,
  inactive: (role) => `The ${role} is no longer active.`,
  no_active_sponsor: (role) => `The ${role}'s sponsors are no longer active.`,
}

/** Throws unless the guards allow it. The rules that decided are named. */
export function permit(
  rules: Rules,
  action: Action,
  principal: Principal,
  on: { entitlement: Entitlement; intent: Intent; requester: Principal; risk: AskedRisk },
): void {
  const verdict = rules.policy.judge({ action, principal, ...on })
  if (verdict.allowed) return
  throw refused(
    `The guards do not permit ${action} for ${principal.id} here.`,
    'Ask the owner of the entitlement, or ask for another one.',
    {
      action,
      because: verdict.because,
    },
  )
}

/** What the entitlement limits, of an intent: actions, scope, uses, length, what must be named. Not the horizon, which counts from filing. */
export function checkLimits(entitlement: Entitlement, intent: Intent): void {
  const fail = (limit: string, message: string, nextAction: string) => refused(message, nextAction, { limit })
  if (intent.actions.length === 0)
    throw fail('actions', 'No action is named.', `Name one of: ${Object.keys(entitlement.actions).join(', ')}.`)
  const foreign = intent.actions.find((action) => !Object.hasOwn(entitlement.actions, action))
  if (foreign !== undefined) {
    throw fail(
      'actions',
      `The action ${foreign} is not part of this entitlement.`,
      `Use: ${Object.keys(entitlement.actions).join(', ')}.`,
    )
  }
  const outside = intent.scope.find((scope) => !entitlement.scopes.some((allowed) => admits(allowed, scope)))
  if (outside !== undefined) {
    throw fail(
      'scope',
      `The scope ${outside} is not part of this entitlement.`,
      `Use: ${entitlement.scopes.join(', ') || 'no scope'}.`,
    )
  }
  const { maxUses, maxDuration } = entitlement.limits
  if (intent.credential.uses > maxUses)
    throw fail('uses', `At most ${maxUses} use(s) may be asked for.`, `Ask for ${maxUses}.`)
  if (lengthOf(intent.window) > maxDuration) {
    throw fail(
      'duration',
      `The window is longer than ${formatDuration(maxDuration)}.`,
      `Ask for at most ${formatDuration(maxDuration)}.`,
    )
  }
  if (entitlement.ticketRequired && intent.ticket === undefined)
    throw fail('ticket', 'A change ticket must be named.', 'Add ticket.system and ticket.id.')
  if (entitlement.planRequired && intent.plan === undefined)
    throw fail('plan', 'The digest of the plan must be named.', 'Add plan.digest.')
}

/** `commit:*` in an entitlement admits every scope that begins with `commit:`; anything else only itself. */
const admits = (allowed: string, scope: string): boolean =>
  allowed.endsWith(':*') ? scope.startsWith(allowed.slice(0, -1)) && scope.length >= allowed.length : allowed === scope

export function checkWindow(entitlement: Entitlement, intent: Intent, now: Instant): void {
  const { maxDuration, horizon } = entitlement.limits
  const fault = faultOf(intent.window, entitlement.limits, now)
  if (fault === undefined) return
  if (fault === 'past') {
    throw new BrokerError('window_closed', 'The window has already closed.', {
      nextAction: 'Ask for a window that ends in the future.',
    })
  }
  if (fault === 'empty')
    throw refused('The window ends before it begins.', 'Let window.closesAt be later than window.opensAt.', {
      limit: 'window',
    })
  if (fault === 'too_long') {
    throw refused(
      `The window is longer than ${formatDuration(maxDuration)}.`,
      `Ask for at most ${formatDuration(maxDuration)}.`,
      { limit: 'duration' },
    )
  }
  throw refused(
    `The window opens more than ${formatDuration(horizon)} ahead.`,
    `Ask again within ${formatDuration(horizon)} of its opening.`,
    {
      limit: 'horizon',
    },
  )
}

/** Whether this asking may be approved by the policy itself. The floor holds whatever the file says. */
export function mayAutoApprove(
  rules: Rules,
  entitlement: Entitlement,
  intent: Intent,
  requester: Principal,
  risk: AskedRisk,
): boolean {
  if (entitlement.approval.mode !== 'auto' || entitlement.tier !== 'low') return false
  const classes = intent.actions.map((action) => entitlement.actions[action])
  if (classes.length === 0 || classes.some((kind) => kind === undefined || NEVER_AUTOMATIC.includes(kind))) return false
  if (risk.flags.some((flag) => NEVER_AUTOMATIC_FLAGS.includes(flag))) return false
  return rules.policy.judge({ action: 'AutoApprove', principal: requester, entitlement, intent, requester, risk })
    .allowed
}

export interface JudgedExchange {
  readonly entitlement: Entitlement
  readonly duties: Duties
  readonly risk: AskedRisk
}
export type JudgePorts = SoundPorts & Pick<Ports, 'grants' | 'sha256' | 'forges'>

/**
 * Whether this caller may have the credential of this grant now. Asked before every mint and again before every commit that lets one out.
 * Throws the refusal; the order is: who, state, time, digest, freeze, policy, approvals.
 */
export async function judgeExchange(
  p: JudgePorts,
  rules: Rules,
  grant: Grant,
  caller: Caller,
  now: Instant,
  freezes: Freezes,
): Promise<JudgedExchange> {
  const { ask } = grant
  const { intent } = ask
  checkExecutor(intent, caller)
  checkState(grant, now)
  if (!hasOwnDigests(p, ask)) {
    throw refused(
      'The stored ask does not match its digest.',
      'Tell the operators: the record was altered, or an older version filed it. Ask again.',
      { limit: 'digest' },
    )
  }
  const parties = {
    requester: known(rules.directory, intent.requester, 'requester'),
    executor: known(rules.directory, intent.executor.principal, 'executor'),
  }
  checkFreeze(freezes, { ...subjectOf(grant, parties, rules.policy.digest), shown: caller })
  checkManifests(rules.directory, intent)
  const offered = offeredEntitlement(rules, intent.entitlement, parties.requester)
  const { entitlement, risk } = assess(rules, offered, intent, parties.requester, ask.earlier, ask.tier)
  const { credential, target, tenant } = entitlement
  if (
    !sameCredential(credential, ask.credential) ||
    target.audience !== ask.audience ||
    tenant !== intent.tenant ||
    !sameChange(changeOf(entitlement, intent.scope), intent.change)
  ) {
    throw refused('The entitlement has changed since this was approved.', 'Ask again under the present entitlement.', {
      limit: 'entitlement',
    })
  }
  checkLimits(entitlement, intent)
  checkSeparateExecutor(entitlement, intent)
  permit(rules, 'Request', parties.requester, { entitlement, intent, requester: parties.requester, risk })
  permit(rules, 'Exchange', parties.executor, { entitlement, intent, requester: parties.requester, risk })
  checkClaims(entitlement, intent, caller)
  const duties = { ...parties, authors: await authorsFor(p, rules, intent), askers: ask.askers }
  checkAuthorship(intent, duties)
  const judged = { entitlement, duties, risk }
  await checkApprovals(p, rules, grant, judged, now)
  return judged
}

/** Whether both digests of the ask are those of what it says. An ask never changes, so one that was right is. */
function hasOwnDigests({ issuer, sha256 }: Pick<Ports, 'issuer' | 'sha256'>, ask: Ask): boolean {
  if (FOUND_RIGHT.get(ask) === issuer) return true
  const right =
    intentDigest(ask.intent, issuer, sha256) === ask.digest &&
    textsDigest(ask.texts, issuer, sha256) === ask.textsDigest
  if (right) FOUND_RIGHT.set(ask, issuer)
  return right
}
const FOUND_RIGHT = new WeakMap<Ask, string>()

/** What was registered as the agent's model, prompt and tools when it asked is what is registered now. */
function checkManifests(directory: Directory, { requester, executor, manifests }: Intent): void {
  for (const [role, id, filed] of [
    ['requester', requester, manifests.requester],
    ['executor', executor.principal, manifests.executor],
  ] as const) {
    if (directory.manifestOf(id) === filed) continue
    throw refused(
      `The manifest of the agent ${id} has changed since this was asked.`,
      'Ask again: what was approved was the agent as it was registered then.',
      { limit: 'manifest', role },
    )
  }
}

/**
 * An author never executes a release, by their own hand or by an agent's: whoever wrote it does not bring it out. A workload is an identity
 * of its own, whoever keeps it.
 */
export function checkAuthorship(intent: Intent, { executor, authors }: Duties): void {
  const isHand =
    executor.kind === 'workload' ? authors.some(({ id }) => id === executor.id) : isAuthor(executor, authors)
  if (intent.change === undefined || !isHand) return
  throw new BrokerError('own_request', 'The executor had a hand in the change that is released.', {
    nextAction: 'Let the release identity execute it, or somebody who wrote nothing of it.',
    facts: { conflict: 'author', role: 'executor' },
  })
}

export function checkSeparateExecutor(entitlement: Entitlement, intent: Intent): void {
  if (!entitlement.separateExecutor || intent.executor.principal !== intent.requester) return
  throw refused('This entitlement is executed by another than who asks for it.', 'Name executor.principal.', {
    limit: 'executor',
  })
}

/** Everybody who had a hand in the change that is released; nobody where none is. Not obtainable means no. */
export async function authorsFor(
  p: Pick<Ports, 'forges'>,
  rules: Rules,
  intent: Intent,
): Promise<readonly Principal[]> {
  return intent.change === undefined ? [] : (await authorsOfChange(p, rules, intent.change)).principals
}

/** The change that a scope of this entitlement releases: undefined where it releases none. */
export function changeOf({ release }: Entitlement, scope: readonly string[]): Intent['change'] {
  if (release === undefined) return undefined
  const prefix = `${release.scope}:`
  const [sha, ...more] = scope.flatMap((one) => (one.startsWith(prefix) ? [one.slice(prefix.length)] : []))
  if (sha === undefined || more.length > 0) {
    throw refused('A release is of exactly one commit.', `Ask for one scope ${prefix}<commit>.`, { limit: 'release' })
  }
  return { forge: release.forge, repository: release.repository, sha }
}

const sameChange = (a: Intent['change'], b: Intent['change']): boolean =>
  a?.forge === b?.forge && a?.repository === b?.repository && a?.sha === b?.sha

/**
 * The asking under today's policy: its risk, and the entitlement at the tier that follows from it, or at `filed`, whichever is higher.
 * Throws `policy_refused` where this entitlement cannot be had at that tier.
 */
export function assess(
  rules: Rules,
  offered: Entitlement,
  intent: Intent,
  requester: Principal,
  earlier: Ask['earlier'],
  filed: Tier = offered.tier,
): { readonly entitlement: Entitlement; readonly risk: AskedRisk; readonly derived: Risk } {
  const executor = rules.directory.principal(intent.executor.principal)
  const on = {
    offered,
    intent,
    requesterTenant: requester.tenant,
    ...(executor === undefined ? {} : { executorTenant: executor.tenant }),
  }
  const { tier, entitlement, risk, derived } = assessed(rules.policy, on, earlier, filed)
  if (entitlement === undefined) {
    throw refused(
      `This asking is of tier ${tier}, at which the entitlement cannot be had.`,
      'Ask for less: see what raised the tier.',
      { limit: 'tier', tier, why: derived.why },
    )
  }
  return { entitlement, risk, derived }
}

/** What stands against a stored grant under the control record that it was loaded with. Rejects where that cannot be known. */
export const freezesOf = async (p: Pick<Ports, 'freezes'>, { grant, control, born }: Loaded): Promise<Freezes> => ({
  freezes: await p.freezes.under(control, grant.id),
  born,
})

/** For whoever lets a stored grant go on without an exchange. */
export async function checkNotFrozen(p: Pick<Ports, 'freezes'>, rules: Rules, loaded: Loaded): Promise<void> {
  const { intent } = loaded.grant.ask
  const parties = {
    requester: known(rules.directory, intent.requester, 'requester'),
    executor: known(rules.directory, intent.executor.principal, 'executor'),
  }
  checkFreeze(await freezesOf(p, loaded), subjectOf(loaded.grant, parties, rules.policy.digest))
}

function checkExecutor(intent: Intent, caller: Caller): void {
  if (caller.principal.id !== intent.executor.principal) {
    throw new BrokerError('not_executor', 'Only the executor of this grant may exchange it.', {
      nextAction: 'Exchange as the executor that the grant names.',
    })
  }
  if (intent.executor.key !== undefined && caller.key !== intent.executor.key) {
    throw new BrokerError('unauthenticated', 'This grant is bound to another key.', {
      nextAction: 'Show a DPoP proof by the key that the grant was asked for with.',
    })
  }
  if (intent.session !== '' && caller.session !== intent.session) {
    throw new BrokerError('not_executor', 'This grant belongs to another session or run.', {
      nextAction: 'Exchange from the run that asked, or ask again from this one.',
    })
  }
}

function checkState(grant: Grant, now: Instant): void {
  const { window } = grant.ask.intent
  const { status } = grant.head
  if (status === 'pending') {
    throw new BrokerError('wrong_status', 'The grant is not approved yet.', {
      nextAction: `Wait for the decision: GET /v1/grants/${grant.id}?wait=30.`,
      facts: { status },
    })
  }
  if (status !== 'approved' && status !== 'active' && status !== 'issuing') {
    throw new BrokerError('wrong_status', `The grant is ${status}; nothing can be exchanged any more.`, {
      nextAction: 'Ask for a new grant.',
      facts: { status },
    })
  }
  if (isClosed(window, now))
    throw new BrokerError('window_closed', 'The window has closed.', { nextAction: 'Ask for a new grant.' })
  if (inStatus(grant, 'approved') && now >= grant.head.facts.useBy) {
    throw new BrokerError('window_closed', 'The approval was to be used by now, and has lapsed.', {
      nextAction: 'Ask for a new grant, and exchange it sooner.',
      facts: { useBy: formatInstant(grant.head.facts.useBy) },
    })
  }
  if (!isOpen(window, now)) {
    throw new BrokerError('window_not_open', `The window opens at ${formatInstant(window.opensAt)}.`, {
      nextAction: 'Exchange again when the window is open.',
      facts: { opensAt: formatInstant(window.opensAt) },
    })
  }
}

/** Claims of the executor's own token that must equal what was approved, such as the commit a pipeline runs on. */
function checkClaims(entitlement: Entitlement, intent: Intent, caller: Caller): void {
  for (const [claim, member] of Object.entries(entitlement.bindClaims)) {
    const said = caller.facts[claim]
    const matches = member.startsWith('scope:')
      ? said !== undefined && intent.scope.includes(`${member.slice('scope:'.length)}:${said}`)
      : said !== undefined && member === 'environment' && said === intent.environment
    if (matches) continue
    throw refused(
      `The token's claim ${claim} is not what was approved.`,
      'Run on exactly the change that was approved, or ask again for this one.',
      {
        limit: `claim ${claim}`,
      },
    )
  }
}

async function checkApprovals(
  p: JudgePorts,
  rules: Rules,
  grant: Grant,
  { entitlement, risk, duties }: JudgedExchange,
  now: Instant,
): Promise<void> {
  if (grant.ask.rule.mode === 'auto') {
    const signed = standingVotes(grant.decisions).some(({ by }) => by === 'policy')
    const sound = grant.decisions.every((decision) => isSound(p, grant, [], decision))
    if (signed && sound && mayAutoApprove(rules, entitlement, grant.ask.intent, duties.requester, risk)) return
    throw refused('Today this needs the approval of a person.', 'Ask again; the owner will be asked.', {
      limit: 'approval',
    })
  }
  const of = rulesFor(grant, entitlement)
  const { intent } = grant.ask
  // An approval that was given in its turn stays one: whether it was escalated then is not asked again.
  const hearing = { entitlement, intent, duties, risk, escalated: true, at: now }
  const seats = await seating(p, rules, hearing, of, speakers(grant.decisions))
  const { met, missing, negative, vetoed, open, void: lost } = verdicts(p, grant, of, seats, now)
  if (vetoed.length > 0)
    throw refused(`A review that has a veto is negative: ${vetoed.join(', ')}.`, 'Ask again in another form.', {
      limit: 'veto',
      negative: vetoed,
    })
  if (!met) {
    // What became of a tenant's persons is told within the tenant; another's executor hears which seat is missing.
    const told = duties.executor.tenant === intent.tenant ? lost : []
    const why = told.map(({ by, seat, because }) => `${by} (${seat}) ${because}`)
    throw refused(
      `The approvals do not hold any more: ${[...missing, ...why].join('; ')}.`,
      'Have it decided again by who may now, or ask again under the present rules.',
      { limit: 'approval', missing, negative, void: told },
    )
  }
  if (open.length === 0) return
  throw refused(
    `A condition is open: ${open.map(({ id, text }) => `${id} (${text})`).join('; ')}.`,
    'Its reviewer closes it, or the owner accepts that risk until a time.',
    {
      limit: 'condition',
      conditions: open.map(({ id, text, owner, due }) => ({ id, text, owner, due: formatInstant(due) })),
    },
  )
}

/** Whether this is a natural person who is, or answers for, that party. Machines of one sponsor do not answer for each other. */
export const answersFor = (somebody: Principal, party: Principal): boolean =>
  somebody.kind === 'person' && personsBehind(party).includes(somebody.person)

/** The entitlement as the ask keeps it: for seeing and ending what lives on after its entitlement is gone. Never for allowing anything. */
export const asFiled = ({ intent, ...ask }: Grant['ask']): Entitlement => ({
  id: intent.entitlement,
  title: intent.entitlement,
  tenant: intent.tenant,
  openTo: [ask.requesterTenant],
  tier: ask.tier,
  target: { id: intent.target, environment: intent.environment, audience: ask.audience },
  actions: Object.fromEntries(intent.actions.map((action) => [action, 'write'])),
  actionFlags: {},
  flags: [],
  scopes: intent.scope,
  credential: ask.credential,
  approval: ask.rule,
  limits: {
    maxDuration: lengthOf(intent.window),
    horizon: lengthOf(intent.window),
    decideWithin: lengthOf(intent.window),
    escalateWithin: lengthOf(intent.window),
    useWithin: lengthOf(intent.window),
    agentsUseWithin: lengthOf(intent.window),
    maxUses: intent.credential.uses,
  },
  ticketRequired: false,
  planRequired: false,
  separateExecutor: false,
  maxApprovers: 0,
  release: undefined,
  bindClaims: {},
  onMisuse: undefined,
})
