// Everything that must be true before something is allowed, asked again each time: at filing, at a decision, at every exchange.
// It errs towards refusal: unknown person, missing entitlement, unverifiable signature, any doubt, is a no with its reason.
import { conflictOf } from '../domain/duties.ts'
import { type Entitlement, NEVER_AUTOMATIC, type PeopleRule, sameCredential } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { checkFreeze, type Freezes } from '../domain/freeze.ts'
import type { Decision, Grant } from '../domain/grant.ts'
import type { PersonId, PrincipalId } from '../domain/ids.ts'
import { formatDuration, formatInstant, type Instant } from '../domain/instant.ts'
import { type Intent, intentDigest, textsDigest } from '../domain/intent.ts'
import { type Caller, type Principal, personsBehind } from '../domain/principal.ts'
import { type Quorum, quorum, type Voter } from '../domain/quorum.ts'
import { faultOf, isClosed, isOpen, lengthOf } from '../domain/window.ts'
import type { Action } from '../policy/policy.ts'
import type { Directory, Loaded, Ports, Rules } from './ports.ts'

export interface Parties {
  readonly requester: Principal
  readonly executor: Principal
}

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
  throw new BrokerError('not_permitted', `The ${role} is not in the people directory any more.`, {
    nextAction: 'Ask whoever keeps the people directory; until then nothing is allowed for this grant.',
    facts: { role },
  })
}

/** Throws unless the guards allow it. The rules that decided are named. */
export function permit(
  rules: Rules,
  action: Action,
  principal: Principal,
  on: { entitlement: Entitlement; intent: Intent; requester: Principal },
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
export function mayAutoApprove(rules: Rules, entitlement: Entitlement, intent: Intent, requester: Principal): boolean {
  if (entitlement.approval.mode !== 'auto' || entitlement.tier !== 'low') return false
  const classes = intent.actions.map((action) => entitlement.actions[action])
  if (classes.length === 0 || classes.some((kind) => kind === undefined || NEVER_AUTOMATIC.includes(kind))) return false
  return rules.policy.judge({ action: 'AutoApprove', principal: requester, entitlement, intent, requester }).allowed
}

/** Who could approve this: natural persons of the directory without a conflict whom the guards admit. */
export function possibleVoters(
  rules: Rules,
  entitlement: Entitlement,
  intent: Intent,
  parties: Parties,
): readonly Voter[] {
  return rules.directory.persons().flatMap((person) => {
    const voter = voterOf(rules, entitlement, intent, parties, person)
    return voter === undefined ? [] : [voter]
  })
}

function voterOf(
  rules: Rules,
  entitlement: Entitlement,
  intent: Intent,
  parties: Parties,
  principal: Principal | undefined,
): Voter | undefined {
  if (principal?.kind !== 'person' || conflictOf(principal, parties.requester, parties.executor) !== undefined)
    return undefined
  const question = { action: 'Approve', principal, entitlement, intent, requester: parties.requester } as const
  return rules.policy.judge(question).allowed ? { person: principal.person, groups: principal.groups } : undefined
}

/** The approvals that count now: signed by us for exactly this ask, by a person who may still approve it. */
export function countedVoters(
  p: Pick<Ports, 'signatures'>,
  rules: Rules,
  entitlement: Entitlement,
  grant: Grant,
  parties: Parties,
): readonly Voter[] {
  return grant.decisions.flatMap((decision) => {
    if (decision.by === 'policy' || !isSound(p, grant, decision)) return []
    const voter = voterOf(
      rules,
      entitlement,
      grant.ask.intent,
      parties,
      rules.directory.principal(asPrincipal(decision.by)),
    )
    return voter === undefined ? [] : [voter]
  })
}

const asPrincipal = (person: PersonId): PrincipalId => person as string as PrincipalId

const isSound = (p: Pick<Ports, 'signatures'>, grant: Grant, decision: Decision): boolean =>
  decision.verdict === 'approve' &&
  decision.digest === grant.ask.digest &&
  decision.textsDigest === grant.ask.textsDigest &&
  p.signatures.verify(grant.id, decision)

/** The quorum under the rule at filing and under today's; both must be met. */
export function quorums(grant: Grant, entitlement: Entitlement, voters: readonly Voter[]): Quorum {
  const rules = [grant.ask.rule, entitlement.approval].filter((rule): rule is PeopleRule => rule.mode === 'people')
  const results = rules.map((rule) => quorum(rule, voters))
  return {
    met: results.length > 0 && results.every((result) => result.met),
    missing: [...new Set(results.flatMap((result) => result.missing))],
  }
}

export interface JudgedExchange {
  readonly entitlement: Entitlement
  readonly parties: Parties
}

/**
 * Whether this caller may have the credential of this grant now. Asked before every mint and again before every commit that lets one out.
 * Throws the refusal; the order is: who, state, time, digest, freeze, policy, approvals.
 */
export function judgeExchange(
  p: Pick<Ports, 'signatures' | 'sha256' | 'issuer'>,
  rules: Rules,
  grant: Grant,
  caller: Caller,
  now: Instant,
  freezes: Freezes,
): JudgedExchange {
  const { ask } = grant
  const { intent } = ask
  checkExecutor(intent, caller)
  checkState(grant, now)
  if (
    intentDigest(intent, p.issuer, p.sha256) !== ask.digest ||
    textsDigest(ask.texts, p.issuer, p.sha256) !== ask.textsDigest
  ) {
    throw refused(
      'The stored ask does not match its digest.',
      'Tell the operators: the record was altered. Ask again.',
      { limit: 'digest' },
    )
  }
  const parties = {
    requester: known(rules.directory, intent.requester, 'requester'),
    executor: known(rules.directory, intent.executor.principal, 'executor'),
  }
  checkFreeze(freezes, { intent, ...parties, requesterTenant: ask.requesterTenant, shown: caller })
  const entitlement = offeredEntitlement(rules, intent.entitlement, parties.requester)
  const { credential, target, tenant } = entitlement
  if (!sameCredential(credential, ask.credential) || target.audience !== ask.audience || tenant !== intent.tenant) {
    throw refused('The entitlement has changed since this was approved.', 'Ask again under the present entitlement.', {
      limit: 'entitlement',
    })
  }
  checkLimits(entitlement, intent)
  permit(rules, 'Request', parties.requester, { entitlement, intent, requester: parties.requester })
  permit(rules, 'Exchange', parties.executor, { entitlement, intent, requester: parties.requester })
  checkClaims(entitlement, intent, caller)
  checkApprovals(p, rules, entitlement, grant, parties)
  return { entitlement, parties }
}

/** What stands against a stored grant under the control record that it was loaded with. Rejects where that cannot be known. */
export const freezesOf = async (p: Pick<Ports, 'freezes'>, { grant, control, born }: Loaded): Promise<Freezes> => ({
  freezes: await p.freezes.under(control, grant.id),
  born,
})

/** For whoever lets a stored grant go on without an exchange. */
export async function checkNotFrozen(p: Pick<Ports, 'freezes'>, rules: Rules, loaded: Loaded): Promise<void> {
  const { intent, requesterTenant } = loaded.grant.ask
  checkFreeze(await freezesOf(p, loaded), {
    intent,
    requester: known(rules.directory, intent.requester, 'requester'),
    executor: known(rules.directory, intent.executor.principal, 'executor'),
    requesterTenant,
  })
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

function checkApprovals(
  p: Pick<Ports, 'signatures'>,
  rules: Rules,
  entitlement: Entitlement,
  grant: Grant,
  parties: Parties,
): void {
  if (grant.ask.rule.mode === 'auto') {
    const signed = grant.decisions.some((decision) => decision.by === 'policy' && isSound(p, grant, decision))
    if (signed && mayAutoApprove(rules, entitlement, grant.ask.intent, parties.requester)) return
    throw refused('Today this needs the approval of a person.', 'Ask again; the owner will be asked.', {
      limit: 'approval',
    })
  }
  const { met, missing } = quorums(grant, entitlement, countedVoters(p, rules, entitlement, grant, parties))
  if (met) return
  throw refused(
    `The approvals do not hold any more: ${missing.join(', ')} missing.`,
    'Ask again and have it approved under the present rules.',
    {
      limit: 'approval',
      missing,
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
  scopes: intent.scope,
  credential: ask.credential,
  approval: ask.rule,
  limits: {
    maxDuration: lengthOf(intent.window),
    horizon: lengthOf(intent.window),
    decideWithin: lengthOf(intent.window),
    maxUses: intent.credential.uses,
  },
  ticketRequired: false,
  planRequired: false,
  bindClaims: {},
})
