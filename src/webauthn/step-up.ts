// Whether an assertion is one over exactly this text, made for this broker, with its user verified: asked again at every exchange, so it
// is synchronous and needs nothing but the text and the assertion (WebAuthn Level 3 §7.2, steps 10 to 21). Invariant: any oddity is a no,
// and nothing makes it throw. It says that this key signed; whose key it is, the passkey's record and the broker's signature say.
import { hash } from 'node:crypto'
import type { StepUp } from '../broker/ports.ts'
import type { Assertion } from '../domain/assertion.ts'
import { bytesOf, isSignedBy, publicKeyOf } from './keys.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What a passkey is asked to sign: the SHA-256 of a text, base64url. */
export const challengeOf = (text: string): string => hash('sha256', text, 'base64url')

/** For the origin of the public URL; the relying party is its host. */
export function stepUp(publicUrl: string): StepUp {
  const { origin, hostname } = new URL(publicUrl)
  const rpIdHash = hash('sha256', hostname, 'base64url')
  return {
    check: (text, assertion) => {
      try {
        return holds(text, assertion, { origin, rpIdHash })
      } catch {
        return false
      }
    },
  }
}

function holds(text: string, assertion: Assertion, here: { readonly origin: string; readonly rpIdHash: string }) {
  const [clientData, authenticatorData, signature] = [
    assertion.clientDataJSON,
    assertion.authenticatorData,
    assertion.signature,
  ].map(bytesOf)
  if (clientData === undefined || authenticatorData === undefined || signature === undefined) return false
  if (bytesOf(assertion.credentialId) === undefined || assertion.credentialId === '') return false
  if (!isForText(clientData, text, here.origin) || !isVerifiedUser(authenticatorData, here.rpIdHash)) return false
  const key = publicKeyOf(assertion.publicKey, assertion.algorithm)
  if (key === undefined) return false
  const bytes = Buffer.concat([authenticatorData, hash('sha256', clientData, 'buffer')])
  return isSignedBy(key, assertion.algorithm, { bytes, signature })
}

function isForText(clientData: Buffer, text: string, origin: string): boolean {
  // A lone surrogate has no UTF-8 of its own: two texts would share one hash.
  if (!text.isWellFormed()) return false
  const said: unknown = JSON.parse(utf8.decode(clientData))
  if (typeof said !== 'object' || said === null) return false
  const member = (name: string): unknown => (Object.hasOwn(said, name) ? Reflect.get(said, name) : undefined)
  return (
    member('type') === 'webauthn.get' &&
    member('challenge') === challengeOf(text) &&
    member('origin') === origin &&
    (member('crossOrigin') === undefined || member('crossOrigin') === false) &&
    member('topOrigin') === undefined
  )
}

const [PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED, EXTENDED] = [0x01, 0x04, 0x08, 0x10, 0x40, 0x80]

/** §6.1: 32 bytes of relying party, flags, 4 bytes of counter; then extensions if the flags say so, and no new credential. */
function isVerifiedUser(data: Buffer, rpIdHash: string): boolean {
  const flags = data[32]
  if (data.length < 37 || flags === undefined) return false
  const has = (flag: number): boolean => (flags & flag) !== 0
  return (
    data.subarray(0, 32).toString('base64url') === rpIdHash &&
    has(PRESENT) &&
    has(VERIFIED) &&
    !has(ATTESTED) &&
    (has(ELIGIBLE) || !has(BACKED_UP)) &&
    has(EXTENDED) === data.length > 37
  )
}
