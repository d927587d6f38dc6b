// The strict reading of a compact JWS before any cryptography: one spelling per token, and no header member that could steer the
// verification. What this refuses no library behind it ever sees.
import { ALGORITHMS, type Algorithm } from './fields.ts'
import { isJsonObject, type Json, parseStrictJson } from './strict-json.ts'

export interface CompactJws {
  readonly algorithm: Algorithm
  readonly kid: string | undefined
  /** `absent` when the header has none. */
  readonly type: string
  /** Header members besides alg, kid and typ. */
  readonly otherHeaders: readonly string[]
  /** Not verified yet. */
  readonly claims: { readonly [claim: string]: Json }
}

export const TOKEN_BYTES = 8 * 1024
const HEADER_LIMITS = { bytes: 2_048, depth: 2, keys: 8 }
const CLAIMS_LIMITS = { bytes: TOKEN_BYTES, depth: 8, keys: 200 }

/** The parts of a token, or in words why it is none (never with a part of it). RFC 7515 §7.1, RFC 8725 §3.1, §3.11. */
export function parseCompactJws(token: string): CompactJws | string {
  if (token.length > TOKEN_BYTES) return 'it is larger than 8 KB'
  if (!/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token)) return 'it is not three base64url parts'
  const parts = token.split('.').map(decode)
  const [headerText, claimsText, signature] = parts
  if (headerText === undefined || claimsText === undefined || signature === undefined)
    return 'a part of it has a second spelling'
  try {
    const header = parseStrictJson(utf8(headerText), HEADER_LIMITS)
    const claims = parseStrictJson(utf8(claimsText), CLAIMS_LIMITS)
    if (!isJsonObject(header) || !isJsonObject(claims)) return 'a part of it is not a JSON object'
    return fromHeader(header, claims)
  } catch {
    return 'a part of it is not strict JSON'
  }
}

function fromHeader(
  header: { readonly [member: string]: Json },
  claims: { readonly [claim: string]: Json },
): CompactJws | string {
  const { alg, kid, typ, ...others } = header
  const algorithm = ALGORITHMS.find((one) => one === alg)
  if (algorithm === undefined) return 'its algorithm is not an asymmetric signature'
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > 256)) return 'its key id is not a short text'
  if (typ !== undefined && (typeof typ !== 'string' || typ === 'absent')) return 'its type is not a media type'
  return { algorithm, kid, type: typ ?? 'absent', otherHeaders: Object.keys(others), claims }
}

/** The bytes, if encoding them again gives the same text: base64url leaves spare bits that must be zero (RFC 4648 §3.5). */
function decode(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : undefined
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const utf8 = (bytes: Buffer): string => strict.decode(bytes)
