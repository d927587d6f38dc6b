// A grant before somebody who decides: the rules that hold for it now, who it is about, who may sit where. What votes, closures, risk
// acceptances and what waits for somebody have in common.
import { type Content, type Decision, statementText, type UnsignedDecision } from '../domain/decision.ts'
import type { Duties } from '../domain/duties.ts'
import type { Entitlement, PeopleRule } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { type Grant, inStatus } from '../domain/grant.ts'
import type { Digest, PersonId } from '../domain/ids.ts'
import { after, type Duration, type Instant, latest } from '../domain/instant.ts'
import type { Principal } from '../domain/principal.ts'
import type { AskedRisk } from '../domain/risk.ts'
import { assess, authorsFor, known, offeredEntitlement } from './judge.ts'
import type { Control, Ports, Rules } from './ports.ts'
import { rulesFor, type Seating, seating } from './seats.ts'
import type { SoundPorts } from './sound.ts'

export type HearingPorts = SoundPorts &
  Pick<Ports, 'grants' | 'freezes' | 'rules' | 'seal' | 'now' | 'sha256' | 'timetable' | 'forges' | 'flood'>

export interface Heard {
  readonly entitlement: Entitlement
  readonly duties: Duties
  readonly risk: AskedRisk
  readonly rules: readonly PeopleRule[]
  /** Who may speak now, each in their turn. */
  readonly seats: Seating
  /** Whose word stands: what was said in its turn stays said. */
  readonly standing: Seating
}

export async function hear(p: HearingPorts, rules: Rules, grant: Grant, at: Instant): Promise<Heard> {
  const { intent, earlier, tier, askers } = grant.ask
  const requester = known(rules.directory, intent.requester, 'requester')
  const executor = known(rules.directory, intent.executor.principal, 'executor')
  const duties = { requester, executor, authors: await authorsFor(p, rules, intent), askers }
  const offered = offeredEntitlement(rules, intent.entitlement, requester)
  const { entitlement, risk } = assess(rules, offered, intent, requester, earlier, tier)
  const of = rulesFor(grant, entitlement)
  const hearing = { entitlement, intent, duties, risk, escalated: isEscalated(grant), at }
  const seats = await seating(p, rules, hearing, of)
  const standing: Seating = inStatus(grant, 'pending')
    ? seats
    : { ...seats, seatsOf: (rule, person) => seats.seatsOf(rule, person, true) }
  return { entitlement, duties, risk, rules: of, seats, standing }
}

/** Once it is decided nobody has been silent: whoever decides again, or takes a risk, does so in their turn. */
const isEscalated = (grant: Grant): boolean => inStatus(grant, 'pending') && grant.head.facts.escalatedAt !== undefined

/** How soon the first credential must be fetched. */
export const useWithin = ({ limits }: Entitlement, executor: Principal): Duration =>
  executor.kind === 'agent' ? limits.agentsUseWithin : limits.useWithin
/** By when that is, once the approval is given. */
export const useBy = (entitlement: Entitlement, executor: Principal, opensAt: Instant, approvedAt: Instant): Instant =>
  after(latest(opensAt, approvedAt), useWithin(entitlement, executor))

/** Whoever decides says on which revision; where they do it must be the grant's own. */
export function checkRevision(grant: Grant, digest: Digest | undefined): void {
  if (digest === undefined || digest === grant.ask.digest) return
  throw new BrokerError('revision_mismatch', 'You are deciding on another revision than this grant has.', {
    nextAction: 'Read the grant again and decide on what it says now.',
    facts: { digest: grant.ask.digest },
  })
}

/** Each statement is an event of its grant for ever, and is read at every exchange. */
const MOST_VERSIONS = 150
export function checkRoom(grant: Grant): void {
  if (grant.version < MOST_VERSIONS) return
  throw new BrokerError('too_many_requests', 'Too much has been said on this grant already.', {
    nextAction: 'Deny it, or let it be withdrawn and asked anew.',
  })
}

export interface Speech<C extends Content = Content> {
  readonly by: PersonId | 'policy'
  readonly reason: string
  readonly at: Instant
  readonly content: C
}
/** A statement about exactly this grant, under exactly these rules. */
export const statement = (grant: Grant, control: Control, { by, reason, at, content }: Speech): UnsignedDecision => ({
  v: 2,
  by,
  reason,
  at,
  ...content,
  digest: grant.ask.digest,
  textsDigest: grant.ask.textsDigest,
  policyDigest: control.policyDigest,
  peopleDigest: control.peopleDigest,
})

/** A statement as it would be signed: shown on the page, hashed into the passkey's challenge. */
export interface Prepared {
  readonly grant: Grant
  readonly decision: UnsignedDecision
  readonly text: string
}

/** What a passkey has signed of a statement that was shown, and when that was. */
export interface Attested {
  readonly at: Instant
  readonly assertion: NonNullable<Decision['assertion']>
}

/**
 * Signs it in the broker's name. With a ceremony the passkey must have signed this very text: what was shown and what is stored are one.
 * Where the rules ask for a passkey and there is none, throws `step_up_required`.
 */
export function signed(
  p: SoundPorts,
  grant: Grant,
  spoken: UnsignedDecision,
  needsStepUp: boolean,
  ceremony: Attested | undefined,
): Decision {
  if (ceremony === undefined && needsStepUp) throw stepUpRequired(grant)
  const assertion = ceremony?.assertion
  if (assertion !== undefined && !p.stepUp.check(statementText(grant.id, p.issuer, spoken), assertion)) {
    throw new BrokerError('revision_mismatch', 'The passkey signed something else than what would be decided now.', {
      nextAction: 'Begin again: the grant, the people or the policy have changed since it was shown.',
    })
  }
  const decision = { ...spoken, assertion }
  return { ...decision, signature: p.signatures.sign(grant.id, decision) }
}

const stepUpRequired = (grant: Grant): BrokerError =>
  new BrokerError('step_up_required', 'This is decided with a passkey.', {
    nextAction: `Send the same to /v1/grants/${grant.id}/ceremonies and open the page that it answers.`,
    facts: { ceremonies: `/v1/grants/${grant.id}/ceremonies` },
  })
