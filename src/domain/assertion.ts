// What an approver's passkey signed (WebAuthn Level 3 §6.3.3), and the key under which it verifies. Everything is base64url.
// Invariant: it is part of what the broker signs, so neither the key nor what was signed can be exchanged afterwards.

export interface Assertion {
  readonly credentialId: string
  readonly authenticatorData: string
  readonly clientDataJSON: string
  readonly signature: string
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: string
  /** COSE: ES256, EdDSA, RS256. */
  readonly algorithm: -7 | -8 | -257
}
