// Verifies an access token that this broker group signed, for introspection. Nothing of the token is parsed before its signature holds:
// the header must be, character by character, the one that our signer writes for a published key. Whether it is alive is asked elsewhere.
import { hash } from 'node:crypto'
import { z } from 'zod'
import { type GrantId, isGrantId } from '../domain/ids.ts'
import { type Instant, instant } from '../domain/instant.ts'
import { memory } from '../domain/remembered.ts'
import { encoded, holdsUnder, payloadOf } from './es256.ts'
import type { Key, KeyRing, Keys } from './key-ring.ts'
import { GRANT_CLAIM, headerOf } from './sign.ts'

export interface OwnToken {
  readonly grant: GrantId
  readonly jti: string
  readonly audience: string
  readonly subject: string
  /** The key it is bound to; undefined for a Bearer token. */
  readonly jkt: string | undefined
  readonly exp: Instant
}

const LONGEST = 8_192
/** Some eight megabytes. */
const REMEMBERED = 20_000
const FORM = /^([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]{86})$/
/** Members as our signer writes them; others of ours may be there too. */
const Claims = z.object({
  iss: z.string(),
  sub: z.string(),
  aud: z.string(),
  iat: z.int().min(0),
  nbf: z.int().min(0),
  exp: z.int().min(0),
  jti: z.string(),
  client_id: z.string(),
  txn: z.string(),
  cnf: z.strictObject({ jkt: z.string() }).optional(),
  [GRANT_CLAIM]: z.object({ id: z.string() }),
})

/**
 * The token's facts, or undefined for anything that is not a token of ours under a published key and this issuer.
 * It does not judge `exp`, `nbf` or the grant: the caller asks the grant, whose answer is newer.
 */
export function ownTokenVerifier(options: {
  readonly ring: KeyRing
  readonly issuer: string
  readonly now: () => Instant
}): (token: string) => Promise<OwnToken | undefined> {
  const keyFor = headerIndex()
  const held = memory<string, { readonly keys: Keys; readonly key: Key; readonly facts: OwnToken }>(REMEMBERED)
  const keep = (name: string, key: Key, facts: OwnToken | undefined): OwnToken | undefined => {
    if (facts === undefined) return undefined
    held.set(name, { keys: options.ring.keys(), key, facts })
    return facts
  }
  return async (token) => {
    if (token.length > LONGEST) return undefined
    // The same token is asked about many times; what it says never changes, only whether its key is there and published does.
    const name = hash('sha256', token, 'base64url')
    const before = held.get(name)
    if (before?.keys === options.ring.keys() && before.keys.isPublished(before.key, options.now())) return before.facts
    const [, header, signature] = FORM.exec(token) ?? []
    if (header === undefined || signature === undefined) return undefined
    // 64 bytes in 86 characters leave 4 bits over: one spelling of a signature is accepted, not sixteen.
    if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) return undefined
    const key = keyFor(options.ring.keys(), header)
    if (key === undefined || !options.ring.keys().isPublished(key, options.now())) return undefined
    return holdsUnder(token, key.publicKey) ? keep(name, key, tokenOf(payloadOf(token), options.issuer)) : undefined
  }
}

function tokenOf(payload: Buffer, issuer: string): OwnToken | undefined {
  const parsed = Claims.safeParse(parseJson(payload))
  if (!parsed.success) return undefined
  const { iss, sub, aud, exp, jti, txn, cnf, [GRANT_CLAIM]: grant } = parsed.data
  if (iss !== issuer || !isGrantId(txn) || grant.id !== txn) return undefined
  return { grant: txn, jti, audience: aud, subject: sub, jkt: cnf?.jkt, exp: instant(exp * 1_000) }
}

const parseJson = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

/** The key by the one spelling of its header, made once for each reading of the folder. */
function headerIndex(): (keys: Keys, header: string) => Key | undefined {
  let of: Keys | undefined
  let index = new Map<string, Key>()
  return (keys, header) => {
    if (of !== keys) {
      of = keys
      index = new Map(keys.access().map((key) => [encoded(headerOf(key)), key]))
    }
    return index.get(header)
  }
}
