// What an approver's passkey signed. A plain value: it says nothing until a relying party has verified it against a statement.

/** COSE algorithms that a passkey may sign with: ES256, EdDSA over Ed25519, RS256. */
export const PASSKEY_ALGORITHMS = [-8, -7, -257] as const
export type PasskeyAlgorithm = (typeof PASSKEY_ALGORITHMS)[number]

/** What an approver's passkey signed (WebAuthn Level 3 §6.3.3), and the key under which it verifies. Everything base64url. */
export interface Assertion {
  readonly credentialId: string
  readonly authenticatorData: string
  readonly clientDataJSON: string
  readonly signature: string
  /** SPKI in DER. */
  readonly publicKey: string
  readonly algorithm: PasskeyAlgorithm
}
