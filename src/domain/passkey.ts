// A passkey: a key that only a natural person's own authenticator can use, and only here. Who holds a login of theirs, an agent with their
// browser session for one, still has no passkey of theirs.
import type { PasskeyAlgorithm } from './assertion.ts'
import type { PersonId } from './ids.ts'
import type { Instant } from './instant.ts'

export interface Passkey {
  readonly v: 1
  readonly person: PersonId
  /** As the authenticator named it, base64url. */
  readonly credentialId: string
  /** SPKI in DER, base64url. */
  readonly publicKey: string
  readonly algorithm: PasskeyAlgorithm
  /** How the browser may reach the authenticator: a hint, nothing is allowed by it. */
  readonly transports: readonly string[]
  /** Random, and the same for all passkeys of one person: what authenticators know a person by (WebAuthn Level 3 §5.4.3). */
  readonly handle: string
  /** What the person calls it. */
  readonly name: string
  readonly registeredAt: Instant
}

/** A passkey with the highest signature counter that it has shown; 0 for one that counts nothing. */
export interface CountedPasskey extends Passkey {
  readonly counter: number
}

/** So many passkeys a person may have. */
export const MOST_PASSKEYS = 20

/** A name that a person may give a passkey: it is shown where decisions are signed, so that it hides nothing. */
export const PASSKEY_NAME = "^[A-Za-z0-9][A-Za-z0-9 ._'()-]{0,39}$"
export const isPasskeyName = (text: string): boolean => new RegExp(PASSKEY_NAME).test(text)
