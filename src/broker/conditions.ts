// What may be said after a vote: a condition is closed by the reviewer who made it; the owner takes a named risk until a time. Both are
// signed like votes, and change nothing but what an exchange finds. Invariant: neither makes an approval where there was none.
import {
  type AcceptedRisk,
  type Content,
  type Decision,
  type Evidence,
  standingVotes,
  statementText,
  type UnsignedDecision,
} from '../domain/decision.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import type { EventType } from '../domain/events.ts'
import { advance, type Grant, inStatus, type Step } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Caller, Person } from '../domain/principal.ts'
import { change, eventOf, type Move, witness, wrongStatus } from './change.ts'
import { alreadyDecided, checkAccepts, evidenceLine } from './decide.ts'
import {
  type Attested,
  checkRoom,
  type Heard,
  type HearingPorts,
  hear,
  type Prepared,
  signed,
  statement,
} from './hearing.ts'
import { known } from './judge.ts'
import type { Control, Loaded, Ports } from './ports.ts'
import { isSound, type SoundPorts } from './sound.ts'
import { mayView } from './view.ts'

interface Saying {
  readonly content: Content
  readonly reason: string
  readonly type: EventType
  readonly details: Readonly<Record<string, readonly string[] | string>>
}

export interface Closing {
  readonly condition: string
  readonly reason: string
  readonly evidence: readonly Evidence[]
}
export interface Accepting {
  readonly accepts: readonly AcceptedRisk[]
  readonly reason: string
}
type Speaker = Pick<Caller, 'principal'>

/**
 * Closes a condition that the caller made and could still make. Rejects `invalid_request` where there is no such open condition of theirs.
 */
export const closeCondition =
  (p: HearingPorts) =>
  (caller: Speaker, id: GrantId, given: Closing, ceremony?: Attested): Promise<Grant> =>
    speak(p, caller, id, ceremony, closing(p, given))
/** What a passkey would sign for it. */
export const prepareClosure =
  (p: HearingPorts) =>
  (caller: Speaker, id: GrantId, given: Closing): Promise<Prepared> =>
    prepare(p, caller, id, closing(p, given))

/** Takes risks by name. Only the owner, or the deputy whose turn it is. */
export const acceptRisks =
  (p: HearingPorts) =>
  (caller: Speaker, id: GrantId, given: Accepting, ceremony?: Attested): Promise<Grant> =>
    speak(p, caller, id, ceremony, accepting(p, given))
/** What a passkey would sign for it. */
export const prepareAcceptance =
  (p: HearingPorts) =>
  (caller: Speaker, id: GrantId, given: Accepting): Promise<Prepared> =>
    prepare(p, caller, id, accepting(p, given))

const closing =
  (p: SoundPorts, { condition, reason, evidence }: Closing): Say =>
  (grant, { rules, seats }, { person }) => {
    const closes = (one: Decision): boolean => one.act === 'close' && one.condition === condition && one.by === person
    // One that counts for nothing, altered or without the passkey that is asked for today, is no reason not to hear another.
    if (grant.decisions.some((one) => closes(one) && isSound(p, grant, rules, one))) return undefined
    const mine = standingVotes(grant.decisions).filter(({ by }) => by === person)
    const made = mine.find(({ conditions }) => conditions.some(({ id }) => id === condition))
    if (made === undefined) {
      throw new BrokerError('invalid_request', 'There is no such condition of yours on this grant.', {
        nextAction: 'Whoever made a condition closes it; the grant shows by whom.',
        facts: { member: 'condition' },
      })
    }
    if (!rules.some((rule) => seats.seatsOf(rule, person).some((seat) => seat === made.seat))) {
      throw new BrokerError('not_permitted', 'You do not sit any more where you made this condition.', {
        nextAction: 'Let the owner accept its risk by name.',
        facts: { because: seats.barred(person) ?? `may not decide as ${made.seat} any more` },
      })
    }
    return {
      content: { act: 'close', condition, evidence },
      reason,
      type: 'condition_closed',
      details: { condition, ...(evidence.length === 0 ? {} : { evidence: evidence.map(evidenceLine) }) },
    }
  }

const accepting =
  (p: Pick<Ports, 'now'>, { accepts, reason }: Accepting): Say =>
  (grant, heard, { person }) => {
    if (heard.rules.length === 0 || !heard.rules.every((rule) => heard.seats.seatsOf(rule, person).includes('owner'))) {
      throw new BrokerError('not_permitted', 'Only the owner takes a risk.', {
        nextAction: 'The owner is shown with the grant.',
      })
    }
    checkAccepts(heard.rules, grant.decisions, accepts, p.now())
    return {
      content: { act: 'accept', accepts },
      reason,
      type: 'risk_accepted',
      details: { accepts: accepts.map(({ risk }) => risk) },
    }
  }

type Say = (grant: Grant, heard: Heard, person: Person) => Saying | undefined

/** What would be signed, judged as if it were said now. Undefined where it was said before. */
async function judgeSaying(
  p: HearingPorts,
  { grant, control }: Loaded,
  caller: Speaker,
  at: Instant,
  say: Say,
): Promise<{ readonly said: Saying; readonly spoken: UnsignedDecision; readonly heard: Heard } | undefined> {
  const rules = p.rules(control)
  if (!mayView(rules, caller.principal, grant)) throw notFound()
  const speaker = known(rules.directory, caller.principal.id, 'approver')
  if (speaker.kind !== 'person') {
    throw new BrokerError('not_permitted', 'Only persons decide; agents and workloads never do.', {
      facts: { conflict: 'not_a_person' },
    })
  }
  if (!inStatus(grant, 'pending', 'approved', 'active'))
    throw wrongStatus(grant, 'nothing can be said about it now', 'Show the grant.')
  checkRoom(grant)
  const heard = await hear(p, rules, grant, p.now())
  const said = say(grant, heard, speaker)
  if (said === undefined) return undefined
  const spoken = statement(grant, control, { by: speaker.person, reason: said.reason, at, content: said.content })
  return { said, spoken, heard }
}

const prepare = async (p: HearingPorts, caller: Speaker, id: GrantId, say: Say): Promise<Prepared> => {
  const loaded = await p.grants.load(id)
  if (loaded === undefined) throw notFound()
  const judged = await judgeSaying(p, loaded, caller, p.now(), say)
  if (judged === undefined) throw alreadyDecided()
  return { grant: loaded.grant, decision: judged.spoken, text: statementText(id, p.issuer, judged.spoken) }
}

async function speak(
  p: HearingPorts,
  caller: Speaker,
  id: GrantId,
  ceremony: Attested | undefined,
  say: Say,
): Promise<Grant> {
  const { grant, receipt } = await change(p, id, async (loaded): Promise<Move> => {
    const { grant, control } = loaded
    const judged = await judgeSaying(p, loaded, caller, ceremony?.at ?? p.now(), say)
    if (judged === undefined) return { done: grant }
    const { said, spoken, heard } = judged
    const decision = signed(
      p,
      grant,
      spoken,
      heard.rules.some(({ stepUp }) => stepUp),
      ceremony,
    )
    // Word for word what was taken back before: it would be noted, and count for nothing.
    if (grant.decisions.some((one) => one.act === 'retract' && one.vote === decision.signature)) throw alreadyDecided()
    const guard = { notAfter: grant.ask.intent.window.closesAt, judgedUnder: control }
    return { step: spokenStep(grant, decision, said, control), guard }
  })
  await witness(p, receipt)
  return grant
}

function spokenStep(grant: Grant, decision: Decision, said: Saying, control: Control): Step {
  const details = { reason: decision.reason, ...said.details }
  const event = eventOf(grant.ask, said.type, decision.at, decision.by, details, control)
  const decisions = [...grant.decisions, decision]
  if (inStatus(grant, 'pending')) return advance(grant, { to: 'pending', facts: grant.head.facts, decisions, event })
  if (inStatus(grant, 'approved')) return advance(grant, { to: 'approved', facts: grant.head.facts, decisions, event })
  if (inStatus(grant, 'active')) return advance(grant, { to: 'active', facts: grant.head.facts, decisions, event })
  throw wrongStatus(grant, 'nothing can be said about it now', 'Show the grant.')
}
