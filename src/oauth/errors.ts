// Refusals in the words of RFC 6749 §5.2 and its descendants. Invariant: what belongs to somebody else, what is not there and what is
// used up look the same (`invalid_grant`), and a description holds only our own words.
import { BrokerError, type ErrorCode } from '../domain/errors.ts'
import { isTerminal, STATUSES, type Status } from '../domain/lifecycle.ts'
import { json, type OAuthAnswer } from './endpoint.ts'

const HTTP = {
  invalid_request: 400,
  invalid_client: 401,
  invalid_grant: 400,
  invalid_target: 400,
  invalid_dpop_proof: 400,
  use_dpop_nonce: 400,
  invalid_authorization_details: 400,
  unsupported_grant_type: 400,
  access_denied: 400,
  expired_token: 400,
  slow_down: 400,
  temporarily_unavailable: 503,
  server_error: 500,
} as const
export type OAuthCode = keyof typeof HTTP

/** What RFC 6749 §5.2 does not allow in a description. */
const OUTSIDE = /[^ !#-[\]-~]/g

/** A refusal of the OAuth door. `description` is text of ours, never of the caller. */
export class OAuthError extends Error {
  readonly error: OAuthCode
  readonly uri: string | undefined
  readonly headers: Readonly<Record<string, string>>
  constructor(
    error: OAuthCode,
    description: string,
    more: { readonly uri?: string; readonly headers?: Readonly<Record<string, string>>; readonly cause?: unknown } = {},
  ) {
    super(description.replace(OUTSIDE, ' '), more.cause === undefined ? undefined : { cause: more.cause })
    this.name = 'OAuthError'
    this.error = error
    this.uri = more.uri
    this.headers = more.headers ?? {}
  }
}

/** What each refusal of a verb is called here. `by_status` depends on what became of the grant. */
const ERROR = {
  invalid_request: 'invalid_request',
  unauthenticated: 'invalid_grant',
  not_permitted: 'access_denied',
  step_up_required: 'access_denied',
  ceremony_over: 'access_denied',
  own_request: 'access_denied',
  not_executor: 'invalid_grant',
  grant_not_found: 'invalid_grant',
  wrong_status: 'by_status',
  window_closed: 'expired_token',
  window_not_open: 'not_yet',
  window_closing: 'expired_token',
  uses_exhausted: 'invalid_grant',
  already_decided: 'access_denied',
  already_asked: 'access_denied',
  too_many_pending: 'access_denied',
  revision_mismatch: 'invalid_grant',
  idempotency_mismatch: 'invalid_request',
  policy_refused: 'access_denied',
  nobody_can_decide: 'access_denied',
  authors_unknown: 'access_denied',
  frozen: 'access_denied',
  freeze_not_found: 'invalid_request',
  too_many_requests: 'slow_down',
  store_conflict: 'temporarily_unavailable',
  stale: 'temporarily_unavailable',
  forge_unavailable: 'temporarily_unavailable',
  vault_refused: 'temporarily_unavailable',
  vault_unavailable: 'temporarily_unavailable',
  store_unavailable: 'temporarily_unavailable',
  log_unavailable: 'temporarily_unavailable',
  recovering: 'temporarily_unavailable',
  clock_untrusted: 'temporarily_unavailable',
  policy_outdated: 'temporarily_unavailable',
  not_confirmed: 'temporarily_unavailable',
} as const satisfies Record<ErrorCode, OAuthCode | 'by_status' | 'not_yet'>

/** PROTOCOLS §4 without deferral: a grant that may still become redeemable is not an error of the token but of what was asked for. */
const BY_STATUS = {
  pending: 'not_yet',
  approved: 'not_yet',
  issuing: 'not_yet',
  active: 'invalid_grant',
  ending: 'access_denied',
  stuck: 'access_denied',
  ended: 'access_denied',
  denied: 'access_denied',
  withdrawn: 'access_denied',
  lapsed: 'expired_token',
} as const satisfies Record<Status, OAuthCode | 'not_yet'>

const DESCRIPTION = {
  invalid_grant: 'There is no such grant for this token and key, or nothing is left of it.',
  access_denied: 'The grant does not allow this.',
  expired_token: 'The time of this grant is over.',
  slow_down: 'Too many requests.',
  temporarily_unavailable: 'The broker cannot answer now. Try again.',
  not_yet: 'The grant is not approved, or its window is not open. error_uri shows it.',
} as const

/** Absent, somebody else's, or used up: one constant, so that they can never be told apart. */
export const notRedeemable = (): OAuthError => new OAuthError('invalid_grant', DESCRIPTION.invalid_grant)

/** A refusal of a verb as an OAuth error; `grantUri` is where the grant is shown. Anything else comes back as it is. */
export function asOAuthError(thrown: unknown, grantUri: string | undefined): unknown {
  if (!(thrown instanceof BrokerError)) return thrown
  const kind = ERROR[thrown.code]
  const status = STATUSES.find((name) => name === thrown.facts.status)
  const found = kind !== 'by_status' ? kind : status === undefined ? 'invalid_grant' : BY_STATUS[status]
  const error: OAuthCode = found === 'not_yet' ? 'invalid_authorization_details' : found
  const tells = found === 'not_yet' || (status !== undefined && isTerminal(status))
  // What is wrong with the request itself is the caller's to know, in our own words; of a grant only what the table says.
  return new OAuthError(error, found === 'invalid_request' ? thrown.message : DESCRIPTION[found], {
    ...(tells && grantUri !== undefined ? { uri: grantUri } : {}),
    ...(thrown.cause === undefined ? {} : { cause: thrown.cause }),
    headers: RETRY[error] ?? {},
  })
}
const RETRY: Partial<Record<OAuthCode, Readonly<Record<string, string>>>> = {
  temporarily_unavailable: { 'Retry-After': '2' },
  slow_down: { 'Retry-After': '5' },
}

/** Anything thrown, as an answer. What the pipeline itself refused is `invalid_request` with the pipeline's status and headers. */
export function refuse(thrown: unknown): OAuthAnswer {
  const error = asOAuthError(thrown, undefined)
  if (error instanceof OAuthError) {
    const uri = error.uri === undefined ? {} : { error_uri: error.uri }
    const body = { error: error.error, error_description: error.message, ...uri }
    return { ...json(HTTP[error.error], body, error.headers), code: error.error }
  }
  if (isPipelineRefusal(error)) {
    const body = { error: 'invalid_request', error_description: error.message.replace(OUTSIDE, ' ') }
    return { ...json(error.status, body, error.headers), code: error.code }
  }
  const body = { error: 'server_error', error_description: 'The broker failed. Tell its operator the request id.' }
  return { ...json(HTTP.server_error, body), code: 'internal' }
}

interface PipelineRefusal {
  readonly code: string
  readonly status: number
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}
const isPipelineRefusal = (thrown: unknown): thrown is PipelineRefusal =>
  thrown instanceof Error &&
  thrown.name === 'DoorRefusal' &&
  'status' in thrown &&
  typeof thrown.status === 'number' &&
  'code' in thrown
