// Domain values as the wire shows them. Invariant: nothing here holds a secret, and a grant on its way to its end is never shown as
// ended: the status is the stored one, word for word.

import type { z } from 'zod'
import { type Beside, type Explained, type Question, useWithin } from '../broker/broker.ts'
import type { Tried } from '../broker/operate.ts'
import { type AcceptedRisk, type Decision, standingAcceptances, standingVotes } from '../domain/decision.ts'
import {
  type ApprovalRule,
  type CredentialRule,
  type Entitlement,
  revocabilityOf,
  worstResidue,
} from '../domain/entitlement.ts'
import type { GrantEvent } from '../domain/events.ts'
import type { Grant, Head } from '../domain/grant.ts'
import { type Duration, earliest, formatDuration, formatInstant, type Instant } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import { isTerminal } from '../domain/lifecycle.ts'
import type { Confirmation, Mint } from '../domain/mint.ts'
import { misuseOf } from '../domain/use.ts'
import { lengthOf } from '../domain/window.ts'
import type {
  canariesAnswer,
  DryRunAnswer,
  entitlementsAnswer,
  eventsAnswer,
  factsAnswer,
  GrantAnswer,
  mintAnswer,
  questionsAnswer,
  ruleAnswer,
  usesAnswer,
  usesSummary,
  waitAnswer,
} from './wire.ts'

/** Approved, and its window is not open yet. */
export const isScheduled = (grant: Grant, now: Instant): boolean =>
  grant.head.status === 'approved' && now < grant.ask.intent.window.opensAt

export function showGrant(grant: Grant, now: Instant): GrantAnswer {
  const { ask, head } = grant
  return {
    id: grant.id,
    status: head.status,
    scheduled: isScheduled(grant, now),
    digest: ask.digest,
    tier: ask.tier,
    flags: [...ask.flags],
    filedAt: formatInstant(ask.filedAt),
    decideBy: formatInstant(ask.decideBy),
    lapsesAt: formatInstant(ask.lapsesAt),
    intent: showIntent(ask.intent),
    texts: { ...ask.texts },
    audience: ask.audience,
    policy: { ...ask.policy },
    rule: showRule(ask.rule),
    reasons: [...ask.reasons],
    ...showRevocability(ask.credential, lengthOf(ask.intent.window)),
    decisions: grant.decisions.map((decision) => showDecision(decision, grant.decisions)),
    conditions: showConditions(grant.decisions),
    ...(ask.replaces === undefined ? {} : { replaces: ask.replaces }),
    linked: [...ask.linked],
    mints: head.mints.map(showMint),
    facts: showFacts(head),
    ...(head.result === undefined ? {} : { result: { ...head.result } }),
    next_action: nextAction(grant, now),
    links: linksOf(grant),
  }
}

function showDecision(decision: Decision, all: readonly Decision[]): GrantAnswer['decisions'][number] {
  const { act, by, reason, at, assertion } = decision
  const said = { act, by, reason, at: formatInstant(at), passkey: assertion !== undefined }
  switch (decision.act) {
    case 'vote':
      return {
        ...said,
        as: decision.seat,
        verdict: decision.verdict,
        ...(decision.deputyFor === undefined ? {} : { deputyFor: decision.deputyFor }),
        ...(decision.checklist.length === 0 ? {} : { checklist: [...decision.checklist] }),
        ...(decision.evidence.length === 0 ? {} : { evidence: decision.evidence.map((one) => ({ ...one })) }),
        ...(decision.conditions.length === 0 ? {} : { conditions: decision.conditions.map(({ id }) => id) }),
        ...(decision.accepts.length === 0 ? {} : { accepts: decision.accepts.map(showAccepted) }),
        ...(standingVotes(all).includes(decision) ? {} : { withdrawn: true }),
      }
    case 'close':
      return {
        ...said,
        condition: decision.condition,
        ...(decision.evidence.length === 0 ? {} : { evidence: decision.evidence.map((one) => ({ ...one })) }),
      }
    case 'accept':
      return {
        ...said,
        accepts: decision.accepts.map(showAccepted),
        ...(standingAcceptances(all).includes(decision) ? {} : { withdrawn: true }),
      }
    case 'retract':
      return said
  }
}
const showAccepted = ({ risk, until }: AcceptedRisk) => ({ risk, until: formatInstant(until) })

const showConditions = (decisions: readonly Decision[]): GrantAnswer['conditions'] =>
  standingVotes(decisions).flatMap((vote) =>
    vote.conditions.map(({ id, text, owner, due }) => ({
      id,
      text,
      by: vote.by,
      as: vote.seat,
      owner,
      due: formatInstant(due),
      open: !decisions.some((one) => one.act === 'close' && one.condition === id && one.by === vote.by),
    })),
  )

function showIntent(intent: Intent): GrantAnswer['intent'] {
  const { executor, manifests, exposure, change, plan, ticket, window, ...rest } = intent
  return {
    ...rest,
    actions: [...rest.actions],
    scope: [...rest.scope],
    dataTypes: [...rest.dataTypes],
    executor: { principal: executor.principal, ...(executor.key === undefined ? {} : { key: executor.key }) },
    manifests: {
      ...(manifests.requester === undefined ? {} : { requester: manifests.requester }),
      ...(manifests.executor === undefined ? {} : { executor: manifests.executor }),
    },
    ...(exposure === undefined ? {} : { exposure: { ...exposure } }),
    ...(change === undefined ? {} : { change: { ...change } }),
    ...(plan === undefined ? {} : { plan: { ...plan } }),
    ...(ticket === undefined ? {} : { ticket: { ...ticket } }),
    window: { opensAt: formatInstant(window.opensAt), closesAt: formatInstant(window.closesAt) },
  }
}

export const showRule = (rule: ApprovalRule): z.infer<typeof ruleAnswer> =>
  rule.mode === 'auto'
    ? { mode: 'auto' }
    : {
        mode: 'people',
        owner: rule.owner,
        deputies: rule.deputies.map(({ person, group, from, until }) => ({
          ...(person === undefined ? {} : { person }),
          ...(group === undefined ? {} : { group }),
          from: formatInstant(from),
          until: formatInstant(until),
        })),
        reviewers: rule.reviewers.map((reviewer) => ({
          ...reviewer,
          criteria: { ...reviewer.criteria },
          evidence: [...reviewer.evidence],
        })),
        approvals: rule.approvals,
        stepUp: rule.stepUp,
      }

export const showConfirmation = ({ asked, answer, at }: Confirmation) => ({ asked, answer, at: formatInstant(at) })

export function showMint(mint: Mint): z.infer<typeof mintAnswer> {
  const made = {
    n: mint.n,
    status: mint.status,
    claimedAt: formatInstant(mint.claimedAt),
    ...(mint.key === undefined ? {} : { key: mint.key }),
  }
  switch (mint.status) {
    case 'claimed':
    case 'opened':
      return made
    case 'live':
      return {
        ...made,
        kind: mint.kind,
        issuedAt: formatInstant(mint.issuedAt),
        expiresAt: formatInstant(mint.expiresAt),
        fingerprint: mint.fingerprint,
        ...(mint.kind === 'jwt' ? { jti: mint.jti } : { leaseId: mint.lease.id }),
      }
    case 'closing':
      return mint.lease === undefined ? made : { ...made, leaseId: mint.lease.id }
    case 'closed':
      return {
        ...made,
        closedAt: formatInstant(mint.closedAt),
        released: mint.released,
        ...(mint.expiresAt === undefined ? {} : { expiresAt: formatInstant(mint.expiresAt) }),
        confirmation: showConfirmation(mint.confirmation),
      }
  }
}

function showFacts(head: Head): z.infer<typeof factsAnswer> {
  switch (head.status) {
    case 'pending':
      return head.facts.escalatedAt === undefined ? {} : { escalatedAt: formatInstant(head.facts.escalatedAt) }
    case 'approved':
    case 'issuing':
      return { approvedAt: formatInstant(head.facts.approvedAt), useBy: formatInstant(head.facts.useBy) }
    case 'active':
      return { approvedAt: formatInstant(head.facts.approvedAt), activeSince: formatInstant(head.facts.activeSince) }
    case 'ending':
      return showEnding(head.facts)
    case 'stuck':
      return { ...showEnding(head.facts), stuckSince: formatInstant(head.facts.stuckSince) }
    case 'denied':
    case 'withdrawn':
      return { at: formatInstant(head.facts.at), by: head.facts.by, reason: head.facts.reason }
    case 'lapsed':
      return { at: formatInstant(head.facts.at), reason: head.facts.reason }
    case 'ended':
      return {
        outcome: head.facts.outcome,
        cause: { ...head.facts.cause },
        endedAt: formatInstant(head.facts.endedAt),
        confirmation: showConfirmation(head.facts.confirmation),
        residueUntil: formatInstant(head.facts.residueUntil),
      }
  }
}

const showEnding = ({ cause, since, attempts, retryAt, lastError }: Extract<Head, { status: 'ending' }>['facts']) => ({
  cause: { ...cause },
  since: formatInstant(since),
  attempts,
  retryAt: formatInstant(retryAt),
  lastError,
})

/** What one can do next, in one sentence. */
function nextAction(grant: Grant, now: Instant): string {
  const { intent, decideBy, lapsesAt } = grant.ask
  const { opensAt, closesAt } = intent.window
  switch (grant.head.status) {
    case 'pending':
      return `Wait for a decision until ${formatInstant(grant.head.facts.escalatedAt === undefined ? decideBy : lapsesAt)}.`
    case 'approved':
      if (showConditions(grant.decisions).some(({ open }) => open))
        return 'A condition is open: its reviewer closes it, or the owner accepts that risk; then exchange it.'
      return isScheduled(grant, now)
        ? `Exchange it from ${formatInstant(opensAt)} on.`
        : `Exchange it before ${formatInstant(earliest(grant.head.facts.useBy, closesAt))}.`
    case 'issuing':
      return 'Wait: a credential is being made.'
    case 'active':
      return `Complete it when the task is done; it ends by itself at ${formatInstant(closesAt)}.`
    case 'ending':
      return 'Wait: the end is not confirmed yet, so the credential may still work.'
    case 'stuck':
      return 'The end cannot be confirmed and an operator has been told; the credential may still work.'
    case 'denied':
      return 'Read the reason; ask again only for something else.'
    case 'withdrawn':
    case 'lapsed':
      return 'Ask again if it is still needed.'
    case 'ended': {
      const { residueUntil } = grant.head.facts
      if (residueUntil <= now) return 'Nothing: it has ended.'
      return `Nothing can be done: what was handed out may still be accepted until ${formatInstant(residueUntil)}.`
    }
  }
}

function linksOf(grant: Grant): Record<string, string> {
  const self = `/v1/grants/${grant.id}`
  const { status } = grant.head
  const links: Record<string, string> = { self, events: `${self}/events` }
  if (status === 'pending') links.decisions = `${self}/decisions`
  if (status === 'pending' || status === 'approved') links.withdraw = `${self}/withdraw`
  if (['pending', 'approved', 'active'].includes(status) && grant.decisions.length > 0) {
    links.closures = `${self}/closures`
    links.acceptances = `${self}/acceptances`
    links.retractions = `${self}/retractions`
  }
  if (status === 'approved' || status === 'active') links.exchange = `${self}/exchange`
  if (status === 'active') links.complete = `${self}/complete`
  if (!isTerminal(status)) links.revoke = `${self}/revoke`
  return links
}

const showUses = ({ uses, counts, left }: Beside['uses']): z.infer<typeof usesSummary> => {
  const last = uses.at(-1)
  return {
    ...counts,
    misuse: uses.filter((use) => misuseOf(use) !== undefined).length,
    notKept: left,
    ...(last === undefined ? {} : { lastReportedAt: formatInstant(last.receivedAt) }),
  }
}

/** What is known of a grant beside itself. */
export const showBeside = ({ reach, uses }: Beside): Pick<z.infer<typeof waitAnswer>, 'reach' | 'uses'> => ({
  ...(reach === undefined
    ? {}
    : {
        reach: {
          consumers: reach.consumers,
          acknowledged: reach.acknowledged,
          ...(reach.withinMs === undefined ? {} : { withinSeconds: reach.withinMs / 1_000 }),
          pending: [...reach.pending],
        },
      }),
  uses: showUses(uses),
})

export const showUsesOf = (grant: Grant, known: Beside['uses']): z.infer<typeof usesAnswer> => ({
  grant: grant.id,
  digest: grant.ask.digest,
  policy: { ...grant.ask.policy },
  decisions: grant.decisions.map((decision) => showDecision(decision, grant.decisions)),
  uses: known.uses.map((use) => ({
    id: use.id,
    at: formatInstant(use.at),
    receivedAt: formatInstant(use.receivedAt),
    by: use.by,
    credential: use.credential,
    outcome: use.outcome,
    ...(use.reason === undefined ? {} : { reason: use.reason }),
    misuse: misuseOf(use) !== undefined,
    action: use.action,
    target: use.target,
    ...(use.argumentDigest === undefined ? {} : { argumentDigest: use.argumentDigest }),
  })),
  summary: showUses(known),
})

/** The store's sequence stays inside: it tells how much happens elsewhere. */
export const showEvent = (
  event: GrantEvent & { readonly version: number },
): z.infer<typeof eventsAnswer>['events'][number] => ({
  version: event.version,
  type: event.type,
  at: formatInstant(event.at),
  by: event.by,
  digest: event.digest,
  policyDigest: event.policyDigest,
  details: Object.fromEntries(
    Object.entries(event.details).map(([name, value]) => [name, typeof value === 'object' ? [...value] : value]),
  ),
})

export const showQuestion = ({
  n,
  by,
  text,
  at,
  answer,
}: Question): z.infer<typeof questionsAnswer>['questions'][number] => ({
  n,
  by,
  text,
  at: formatInstant(at),
  ...(answer === undefined ? {} : { answer: { by: answer.by, text: answer.text, at: formatInstant(answer.at) } }),
})

/** What would become of an asking. */
export function showDryRun(explained: Explained): DryRunAnswer['grants'][number] {
  const { intent, digest, entitlement, executor, auto, flags, reasons, couldDecide, decideBy, lapsesAt, policy } =
    explained
  const { credential } = entitlement
  return {
    digest,
    intent: showIntent(intent),
    tier: entitlement.tier,
    flags: [...flags],
    reasons: [...reasons],
    approval: auto ? 'auto' : 'people',
    rule: showRule(entitlement.approval),
    couldDecide,
    decideBy: formatInstant(decideBy),
    lapsesAt: formatInstant(lapsesAt),
    useWithin: formatDuration(useWithin(entitlement, executor)),
    audience: entitlement.target.audience,
    credential: showCredential(credential),
    ...showRevocability(credential, lengthOf(intent.window)),
    policy: { ...policy },
  }
}

const showRevocability = (credential: CredentialRule, window: Duration) => ({
  revocability: revocabilityOf(credential),
  residue: formatDuration(worstResidue(credential, window)),
})

const showCredential = (credential: Entitlement['credential']) =>
  credential.kind === 'jwt' ? { kind: 'jwt' as const, sender: credential.sender } : { kind: credential.kind }

/** Names of ours and words of ours: what a backend said is not in it. */
export const showTried = ({
  entitlement,
  credential,
  canary,
}: Tried): z.infer<typeof canariesAnswer>['canaries'][number] => ({
  ...{ entitlement, backend: credential.backend, engine: credential.engine, revocability: credential.revocability },
  result: canary?.result ?? 'none',
  ...(canary === undefined
    ? {}
    : { at: formatInstant(canary.at), took: formatDuration(canary.took), next: formatInstant(canary.next) }),
  ...(canary?.step === undefined ? {} : { step: canary.step }),
  ...(canary?.reason === undefined ? {} : { reason: canary.reason }),
})

/** Mounts, connections and roles of the backend are the operator's, not the asker's. */
export const showEntitlement = (
  entitlement: Entitlement,
): z.infer<typeof entitlementsAnswer>['entitlements'][number] => ({
  id: entitlement.id,
  title: entitlement.title,
  tenant: entitlement.tenant,
  tier: entitlement.tier,
  target: { ...entitlement.target },
  actions: { ...entitlement.actions },
  scopes: [...entitlement.scopes],
  credential: showCredential(entitlement.credential),
  ...showRevocability(entitlement.credential, entitlement.limits.maxDuration),
  approval: showRule(entitlement.approval),
  limits: {
    maxDuration: formatDuration(entitlement.limits.maxDuration),
    horizon: formatDuration(entitlement.limits.horizon),
    decideWithin: formatDuration(entitlement.limits.decideWithin),
    maxUses: entitlement.limits.maxUses,
  },
  ticketRequired: entitlement.ticketRequired,
  planRequired: entitlement.planRequired,
  separateExecutor: entitlement.separateExecutor,
})
