// Every way to say no, as one closed table: status, OAuth error (RFC 6750 §3.1, RFC 9449 §7.1) and a text that is safe for the client.
// A refusal is a value; nothing here throws. `stale` is "it cannot be known", and is answered 503: the credential may be good.

interface Row {
  readonly status: 401 | 403 | 503
  readonly error: 'invalid_token' | 'invalid_dpop_proof' | 'insufficient_scope' | undefined
  readonly says: string
  /** Whether the broker wants to hear of it. */
  readonly reported: boolean
}
const token = { status: 401, error: 'invalid_token' } as const
const proof = { status: 401, error: 'invalid_dpop_proof' } as const
const scope = { status: 403, error: 'insufficient_scope' } as const

export const REFUSALS = {
  no_token: { status: 401, error: undefined, says: 'A credential is needed.', reported: false },
  bad_token: { ...token, says: 'This is not a credential that is accepted here.', reported: false },
  wrong_audience: { ...token, says: 'The credential is for another audience.', reported: true },
  not_yet_valid: { ...token, says: 'The credential is not valid yet.', reported: true },
  expired: { ...token, says: 'The credential has expired.', reported: true },
  outside_window: { ...token, says: 'The window of the grant is not open.', reported: true },
  ended: { ...token, says: 'The grant has ended.', reported: true },
  no_proof: { ...proof, says: 'A valid proof of the key is needed.', reported: true },
  wrong_key: { ...proof, says: 'The proof was made with another key than the credential is bound to.', reported: true },
  replay: { ...proof, says: 'The proof was used before.', reported: true },
  wrong_plan: { ...scope, says: 'What is asked for is not the plan that was approved.', reported: true },
  not_granted: { ...scope, says: 'This action was not granted.', reported: false },
  stale: {
    status: 503,
    error: undefined,
    says: 'It cannot be known now whether the credential is good.',
    reported: true,
  },
} as const satisfies Record<string, Row>

export type RefusalCode = keyof typeof REFUSALS
/** Those that the broker is told of: they are about a credential that it signed. */
export type ReportedReason = {
  [Code in RefusalCode]: (typeof REFUSALS)[Code]['reported'] extends true ? Code : never
}[RefusalCode]

/** The credential that a refusal is about, as far as its signature holds. */
export interface About {
  readonly grant: string
  readonly jti: string
}
export interface Refused {
  readonly ok: false
  readonly code: RefusalCode
  readonly status: 401 | 403 | 503
  /** Which check failed, in words that are safe for the client; never a part of what was sent. */
  readonly detail: string
  /** There once the signature holds: then it is a credential of the broker's, whatever else is wrong. */
  readonly about?: About
}

export const refused = (code: RefusalCode, detail: string, about?: About): Refused => ({
  ok: false,
  code,
  status: REFUSALS[code].status,
  detail,
  ...(about === undefined ? {} : { about }),
})

export const isReported = (code: RefusalCode): code is ReportedReason => REFUSALS[code].reported

/** The `WWW-Authenticate` fields of a refusal; none with 503. */
export function challenges({ code, detail }: Refused, acceptsBearer: boolean): readonly string[] {
  const { error, status } = REFUSALS[code]
  if (status === 503) return []
  const why = error === undefined ? '' : `error="${error}", error_description="${detail.replace(/["\\]/g, "'")}"`
  const dpop = ['DPoP', [why, 'algs="ES256 EdDSA"'].filter((part) => part !== '').join(', ')].join(' ')
  if (!acceptsBearer || error === 'invalid_dpop_proof') return [dpop]
  return [dpop, why === '' ? 'Bearer' : `Bearer ${why}`]
}
