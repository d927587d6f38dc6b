// A ceremony: something begun by somebody's own token that only their passkey can finish. Whoever knows its id may look at it and finish it,
// once; only the hash of the id is stored, and the broker signs what is stored with it, so that it cannot be planted, altered or kept alive.
import { canonical } from '../domain/canonical.ts'
import { BrokerError } from '../domain/errors.ts'
import type { GrantId, PersonId } from '../domain/ids.ts'
import { after, type Instant, minutes } from '../domain/instant.ts'
import type { Accepting, Closing } from './conditions.ts'
import type { Ballot } from './decide.ts'
import type { Ports } from './ports.ts'

/** How long a person has to look at the page and to use their passkey. */
export const CEREMONY_LIFE = minutes(5)

/** What is said on a grant and asks for a passkey. */
export type Said =
  | { readonly act: 'vote'; readonly ballot: Ballot }
  | { readonly act: 'close'; readonly closure: Closing }
  | { readonly act: 'accept'; readonly acceptance: Accepting }

/** `prove` comes before a further passkey is added or one is removed: first one that the person has signs exactly that. */
export type Ceremony = { readonly person: PersonId } & (
  | {
      readonly kind: 'decide'
      readonly grant: GrantId
      readonly said: Said
      readonly at: Instant
      readonly text: string
    }
  | { readonly kind: 'add'; readonly name: string; readonly handle: string; readonly proved: boolean }
  | { readonly kind: 'prove_add'; readonly name: string; readonly handle: string }
  | { readonly kind: 'prove_remove'; readonly credentialId: string; readonly name: string }
)
export type CeremonyOf<K extends Ceremony['kind']> = Extract<Ceremony, { readonly kind: K }>

export interface Begun {
  /** The page on which it is finished. Whoever knows this address may finish it with the person's passkey: it is for the person alone. */
  readonly url: string
  readonly expiresAt: Instant
}
export type CeremonyPorts = Pick<Ports, 'ceremonies' | 'records' | 'newCeremonyId' | 'sha256' | 'now' | 'issuer'>

const TYP = 'writ/ceremony/v1'
const PAGES: Readonly<Record<Ceremony['kind'], string>> = {
  decide: 'step-up',
  add: 'passkeys',
  prove_add: 'passkeys',
  prove_remove: 'passkeys',
}

export async function begin(p: CeremonyPorts, ceremony: Ceremony): Promise<Begun> {
  const id = p.newCeremonyId()
  const hash = p.sha256(id)
  const expiresAt = after(p.now(), CEREMONY_LIFE)
  const text = JSON.stringify(ceremony)
  const signature = p.records.sign(TYP, { hash, expiresAt, text })
  await p.ceremonies.keep(hash, JSON.stringify({ expiresAt, text, signature }), CEREMONY_LIFE)
  return { url: `${p.issuer}/${PAGES[ceremony.kind]}/${id}`, expiresAt }
}

/** Rejects `ceremony_over` for one that was finished, is over, or never was: the three look the same. */
export const look = async (p: CeremonyPorts, id: string): Promise<Ceremony> =>
  opened(p, id, await p.ceremonies.read(p.sha256(id)))

/** Takes it: whatever becomes of it now, it is used. Rejects as `look` does. */
export const take = async (p: CeremonyPorts, id: string): Promise<Ceremony> =>
  opened(p, id, await p.ceremonies.take(p.sha256(id)))

function opened(p: CeremonyPorts, id: string, stored: string | undefined): Ceremony {
  const read = stored === undefined ? undefined : sealedOf(stored)
  if (read === undefined) throw over()
  const { expiresAt, text, signature } = read
  if (!p.records.verify(TYP, { hash: p.sha256(id), expiresAt, text }, signature) || p.now() >= expiresAt) throw over()
  return parse(text)
}

interface Sealed {
  readonly expiresAt: number
  readonly text: string
  readonly signature: string
}
function sealedOf(stored: string): Sealed | undefined {
  try {
    const { expiresAt, text, signature } = JSON.parse(stored) as Sealed
    const fits = Number.isSafeInteger(expiresAt) && typeof text === 'string' && typeof signature === 'string'
    return fits ? { expiresAt, text, signature } : undefined
  } catch {
    return undefined
  }
}

/** Signed by this broker group within the last minutes: as it was written. */
const parse = (text: string): Ceremony => JSON.parse(text) as Ceremony

export const over = (): BrokerError =>
  new BrokerError('ceremony_over', 'This page was used already, or its time is over.', {
    nextAction: 'Begin again: each page is good for one try, within five minutes.',
  })

/** What a passkey signs where it is no decision: exactly this act, once. */
export const actText = (
  p: Pick<Ports, 'issuer' | 'sha256'>,
  ceremony: Exclude<Ceremony, { kind: 'decide' }>,
  id: string,
): string => canonical({ typ: 'writ/passkey-act/v1', iss: p.issuer, ceremony: p.sha256(id), act: { ...ceremony } })
