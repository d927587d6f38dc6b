// The passkeys of natural persons: registered, listed, removed. Invariant: the first one needs no more than the person's own login; each
// further one, and each removal, is signed by a passkey that they already have, so a stolen login changes nothing for who has one.
import { BrokerError } from '../domain/errors.ts'
import { named, type PersonId } from '../domain/ids.ts'
import { type CountedPasskey, isPasskeyName, MOST_PASSKEYS } from '../domain/passkey.ts'
import type { Caller, Person } from '../domain/principal.ts'
import {
  actText,
  type Begun,
  begin,
  type Ceremony,
  type CeremonyOf,
  type CeremonyPorts,
  look,
  over,
  take,
} from './ceremony.ts'
import type { Ports } from './ports.ts'

export type PasskeyPorts = CeremonyPorts & Pick<Ports, 'passkeys' | 'relyingParty' | 'rules' | 'control'>
type PasskeyCeremony = Exclude<Ceremony, { kind: 'decide' }>

/** What the page shows, and what the browser is to ask the authenticator for. */
export interface PasskeyPage {
  readonly ceremony: PasskeyCeremony
  /** What is signed. */
  readonly text: string
  /** The passkeys that the person has. */
  readonly passkeys: readonly CountedPasskey[]
}
/** What became of one step: the page of the next one, or what was done. */
export type PasskeyStep =
  | { readonly done: 'proved'; readonly next: Begun }
  | {
      readonly done: 'added' | 'removed'
      readonly person: PersonId
      readonly credentialId: string
      readonly name: string
    }

export const listPasskeys =
  (p: PasskeyPorts) =>
  async (caller: Caller): Promise<readonly CountedPasskey[]> =>
    p.passkeys.of(personOf(caller).person)

export const addPasskey =
  (p: PasskeyPorts) =>
  async (caller: Caller, name: string): Promise<Begun> => {
    const { person } = personOf(caller)
    // A store that has lost what it knew would call a further passkey the first.
    await p.control()
    if (!isPasskeyName(name))
      throw new BrokerError('invalid_request', 'A passkey is named by up to 40 letters, digits and simple marks.', {
        facts: { member: 'name' },
      })
    const passkeys = await p.passkeys.of(person)
    if (passkeys.length >= MOST_PASSKEYS) throw tooMany()
    const handle = passkeys[0]?.handle ?? p.newCeremonyId()
    const asked = { person, name, handle }
    return begin(p, passkeys.length === 0 ? { kind: 'add', ...asked, proved: false } : { kind: 'prove_add', ...asked })
  }

export const removePasskey =
  (p: PasskeyPorts) =>
  async (caller: Caller, credentialId: string): Promise<Begun> => {
    const { person } = personOf(caller)
    await p.control()
    const passkey = (await p.passkeys.of(person)).find((one) => one.credentialId === credentialId)
    if (passkey === undefined) throw noSuchPasskey()
    return begin(p, { kind: 'prove_remove', person, credentialId, name: passkey.name })
  }

export const showPasskeyCeremony =
  (p: PasskeyPorts) =>
  async (id: string): Promise<PasskeyPage> => {
    const ceremony = ofPasskeys(await look(p, id))
    return { ceremony, text: actText(p, ceremony, id), passkeys: await p.passkeys.of(ceremony.person) }
  }

export const finishPasskeyCeremony =
  (p: PasskeyPorts) =>
  async (id: string, response: unknown): Promise<PasskeyStep> => {
    // Asked again under the rules of now: who has left since it began registers nothing.
    const rules = p.rules(await p.control())
    const ceremony = ofPasskeys(await take(p, id))
    const text = actText(p, ceremony, id)
    if (rules.directory.principal(named.principal(ceremony.person))?.kind !== 'person') throw notAPerson()
    const passkeys = await p.passkeys.of(ceremony.person)
    if (ceremony.kind === 'add') return added(p, ceremony, { response, text, passkeys })
    await proved(p, ceremony.person, { response, text, passkeys })
    if (ceremony.kind === 'prove_add') {
      const { person, name, handle } = ceremony
      return { done: 'proved', next: await begin(p, { kind: 'add', person, name, handle, proved: true }) }
    }
    const { person, credentialId, name } = ceremony
    if (!(await p.passkeys.remove(person, credentialId))) throw noSuchPasskey()
    return { done: 'removed', person, credentialId, name }
  }

interface Sent {
  readonly response: unknown
  readonly text: string
  readonly passkeys: readonly CountedPasskey[]
}

async function added(
  p: PasskeyPorts,
  ceremony: CeremonyOf<'add'>,
  { response, text, passkeys }: Sent,
): Promise<PasskeyStep> {
  const { person, name, handle, proved } = ceremony
  // Two may have been begun as the first one: the later one would be a further passkey that no passkey has signed for.
  if (passkeys.length > 0 && !proved) throw over()
  if (passkeys.length >= MOST_PASSKEYS) throw tooMany()
  const { credentialId, ...made } = await p.relyingParty.registration(response, text)
  const passkey = { v: 1, person, credentialId, ...made, handle, name, registeredAt: p.now() } as const
  if (!(await p.passkeys.add(passkey)))
    throw new BrokerError('not_permitted', 'You have this passkey already.', { nextAction: 'Nothing is left to do.' })
  // Of two that were first at the same moment each sees the other here, or the later one does: none is left that was not alone.
  if (!proved && (await p.passkeys.of(person)).length > 1) {
    await p.passkeys.remove(person, credentialId)
    throw over()
  }
  return { done: 'added', person, credentialId, name }
}

/** Resolves to the assertion of one of the person's passkeys over this text. Rejects `not_permitted`. */
export async function proved(
  p: Pick<Ports, 'passkeys' | 'relyingParty'>,
  person: PersonId,
  { response, text, passkeys }: Sent,
) {
  const { assertion, counter } = await p.relyingParty.assertion(response, { text, passkeys })
  if (await p.passkeys.count(person, assertion.credentialId, counter)) return assertion
  throw new BrokerError('not_permitted', 'The counter of this passkey has gone back: it may have been copied.', {
    nextAction: 'Use another passkey, remove this one, and tell the operators.',
    facts: { limit: 'counter' },
  })
}

function personOf(caller: Caller): Person {
  if (caller.principal.kind === 'person') return caller.principal
  throw notAPerson()
}

const ofPasskeys = (ceremony: Ceremony): PasskeyCeremony => {
  if (ceremony.kind === 'decide') throw over()
  return ceremony
}
const tooMany = (): BrokerError =>
  new BrokerError('policy_refused', `A person may have ${MOST_PASSKEYS} passkeys.`, {
    nextAction: 'Remove one that you do not use.',
    facts: { limit: 'passkeys' },
  })
const notAPerson = (): BrokerError =>
  new BrokerError('not_permitted', 'Only natural persons have passkeys; agents and workloads never do.', {
    nextAction: 'Sign in as yourself.',
  })
/** Absent, and somebody else's: one answer. */
const noSuchPasskey = (): BrokerError =>
  new BrokerError('not_permitted', 'You have no such passkey.', { nextAction: 'List your passkeys at /v1/passkeys.' })
