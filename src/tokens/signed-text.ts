// Texts that the broker signs for itself, to find them unaltered in a store that others can edit. Keys of any age verify, as what was
// signed outlives rotations. The text must begin with its own domain tag: a signature under one kind of text is none under another.
import { hash, sign, verify } from 'node:crypto'
import type { Instant } from '../domain/instant.ts'
import { type Memory, memory } from '../domain/remembered.ts'
import type { KeyRing, Keys } from './key-ring.ts'

/** Verified before, or signed here, by everything that went into it: at most this many are remembered, some five megabytes. */
const REMEMBERED = 50_000
const FORM = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{86})$/

export interface SignedTexts {
  /** `<kid>.<base64url>`, Ed25519. */
  sign(text: string): string
  verify(text: string, signature: string): boolean
}

export function signedTexts(options: { readonly ring: KeyRing; readonly now: () => Instant }): SignedTexts {
  const known = provenTexts()
  return {
    sign: (text) => {
      const keys = options.ring.keys()
      const key = keys.signing('decision', options.now())
      const signature = `${key.kid}.${sign(null, Buffer.from(text), key.privateKey).toString('base64url')}`
      // What we have just signed holds; most is asked for again at this broker, and soon.
      known.keep(keys, inputsOf(text, signature))
      return signature
    },
    verify: (text, signature) => {
      const [, kid, written] = FORM.exec(signature) ?? []
      if (kid === undefined || written === undefined) return false
      const keys = options.ring.keys()
      const bytes = Buffer.from(written, 'base64url')
      const key = keys.decision(kid)
      if (key === undefined || bytes.toString('base64url') !== written) return false
      const inputs = inputsOf(text, signature)
      if (known.has(keys, inputs)) return true
      const holds = verify(null, Buffer.from(text), key.publicKey, bytes)
      if (holds) known.keep(keys, inputs)
      return holds
    },
  }
}

const inputsOf = (text: string, signature: string): string => hash('sha256', `${signature}${text}`, 'base64url')

/** Remembers only what was true, the latest of it, and forgets everything when the keys were read again, as a key may have been withdrawn. */
function provenTexts() {
  let of: Keys | undefined
  const proven = memory<string, true>(REMEMBERED)
  const under = (keys: Keys): Memory<string, true> => {
    if (of !== keys) proven.clear()
    of = keys
    return proven
  }
  return {
    has: (keys: Keys, inputs: string): boolean => under(keys).get(inputs) === true,
    keep: (keys: Keys, inputs: string): void => under(keys).set(inputs, true),
  }
}
