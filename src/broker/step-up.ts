// What is decided with a passkey: begun by the person's own token, shown on a page, finished by their passkey. Invariant: it is judged when it
// begins, when it is signed, and at every exchange; what was signed is the very text that was shown, and nobody else's passkey signs it.
import { BrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import { type GrantId, named } from '../domain/ids.ts'
import type { CountedPasskey } from '../domain/passkey.ts'
import type { Caller } from '../domain/principal.ts'
import { type Begun, begin, type CeremonyOf, type CeremonyPorts, look, over, type Said, take } from './ceremony.ts'
import { acceptRisks, closeCondition, prepareAcceptance, prepareClosure } from './conditions.ts'
import { decide, prepareVote } from './decide.ts'
import type { HearingPorts, Prepared } from './hearing.ts'
import { known } from './judge.ts'
import { proved } from './passkeys.ts'
import type { Ports } from './ports.ts'

export type StepUpPorts = CeremonyPorts & HearingPorts & Pick<Ports, 'passkeys' | 'relyingParty' | 'control'>
type Who = Pick<Caller, 'principal'>

export interface BegunStepUp extends Begun {
  /** What will be signed, as text. */
  readonly statement: string
}

/** Judges what is said as if it were said now, and writes nothing of it. Rejects as saying it would; `step_up_required` without a passkey. */
export const beginStepUp =
  (p: StepUpPorts) =>
  async (caller: Who, id: GrantId, said: Said): Promise<BegunStepUp> => {
    const { decision, text } = await prepared(p, caller, id, said)
    const { by: person, at } = decision
    if (person === 'policy') throw new Error('the policy has no passkey')
    if ((await p.passkeys.of(person)).length === 0)
      throw new BrokerError('step_up_required', 'This is decided with a passkey, and you have none yet.', {
        nextAction: 'Register one: writ passkey add, or POST /v1/passkeys/ceremonies. Then begin again.',
        facts: { missing: 'passkey', ceremonies: '/v1/passkeys/ceremonies' },
      })
    return { ...(await begin(p, { kind: 'decide', person, grant: id, said, at, text })), statement: text }
  }

const prepared = (p: StepUpPorts, caller: Who, id: GrantId, said: Said): Promise<Prepared> => {
  if (said.act === 'vote') return prepareVote(p)(caller, id, said.ballot)
  if (said.act === 'close') return prepareClosure(p)(caller, id, said.closure)
  return prepareAcceptance(p)(caller, id, said.acceptance)
}

/** What the page shows: the text that is signed, and the ask whose digests are in it. */
export interface StepUpPage {
  readonly text: string
  readonly ask: Grant['ask']
  readonly passkeys: readonly CountedPasskey[]
}
export const showStepUp =
  (p: StepUpPorts) =>
  async (id: string): Promise<StepUpPage> => {
    const { grant, text, person } = ofDecisions(await look(p, id))
    const loaded = await p.grants.load(grant)
    if (loaded === undefined) throw over()
    return { text, ask: loaded.grant.ask, passkeys: await p.passkeys.of(person) }
  }

/** Says it, if the person's own passkey signed exactly what was shown. One try: whatever comes of it, the ceremony is used. */
export const finishStepUp =
  (p: StepUpPorts) =>
  async (id: string, response: unknown): Promise<Grant> => {
    const { directory } = p.rules(await p.control())
    const { person, grant, said, at, text } = ofDecisions(await take(p, id))
    // Who has left since it began is nobody; who has not is judged below as whoever says it.
    const caller = { principal: known(directory, named.principal(person), 'approver') }
    const assertion = await proved(p, person, { response, text, passkeys: await p.passkeys.of(person) })
    if (said.act === 'vote') return decide(p)(caller, grant, said.ballot, { at, assertion })
    if (said.act === 'close') return closeCondition(p)(caller, grant, said.closure, { at, assertion })
    return acceptRisks(p)(caller, grant, said.acceptance, { at, assertion })
  }

const ofDecisions = (ceremony: Awaited<ReturnType<typeof look>>): CeremonyOf<'decide'> => {
  if (ceremony.kind !== 'decide') throw over()
  return ceremony
}
