// Texts that the broker signs for itself, to find them unaltered in a store that others can edit. Keys of any age verify, as what was
// signed outlives rotations. The text must begin with its own domain tag: a signature under one kind of text is none under another.
import { hash, sign, verify } from 'node:crypto'
import type { Instant } from '../domain/instant.ts'
import type { KeyRing, Keys } from './key-ring.ts'

/** Verified before, by everything that went into it: at most this many are remembered. */
const REMEMBERED = 10_000
const FORM = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{86})$/

export interface SignedTexts {
  /** `<kid>.<base64url>`, Ed25519. */
  sign(text: string): string
  verify(text: string, signature: string): boolean
}

export function signedTexts(options: { readonly ring: KeyRing; readonly now: () => Instant }): SignedTexts {
  const known = memory()
  return {
    sign: (text) => {
      const key = options.ring.keys().signing('decision', options.now())
      return `${key.kid}.${sign(null, Buffer.from(text), key.privateKey).toString('base64url')}`
    },
    verify: (text, signature) => {
      const [, kid, written] = FORM.exec(signature) ?? []
      if (kid === undefined || written === undefined) return false
      const keys = options.ring.keys()
      const bytes = Buffer.from(written, 'base64url')
      const key = keys.decision(kid)
      if (key === undefined || bytes.toString('base64url') !== written) return false
      return known(keys, hash('sha256', `${signature}${text}`, 'base64url'), () =>
        verify(null, Buffer.from(text), key.publicKey, bytes),
      )
    },
  }
}

/** Remembers only what was true, and forgets everything when the keys were read again, as a key may have been withdrawn. */
function memory(): (keys: Keys, inputs: string, check: () => boolean) => boolean {
  let of: Keys | undefined
  const proven = new Set<string>()
  return (keys, inputs, check) => {
    if (of !== keys || proven.size >= REMEMBERED) proven.clear()
    of = keys
    if (proven.has(inputs)) return true
    const holds = check()
    if (holds) proven.add(inputs)
    return holds
  }
}
