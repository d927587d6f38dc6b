// Refusals in the words of RFC 9457. Invariant: a problem document shows a refusal's own message, next action and facts, and nothing
// of its cause; what is not a known refusal is a bug and shows nothing but that.
import { BLAME, BrokerError, type ErrorCode } from '../domain/errors.ts'
import { type Answer, DoorRefusal } from './endpoint.ts'

/** Every code has an answer at this door; a new code does not compile until it has one. */
export const STATUS = {
  invalid_request: 400,
  unauthenticated: 401,
  not_permitted: 403,
  step_up_required: 401,
  ceremony_over: 404,
  own_request: 403,
  not_executor: 403,
  grant_not_found: 404,
  wrong_status: 409,
  window_closed: 409,
  window_not_open: 409,
  window_closing: 409,
  uses_exhausted: 409,
  already_decided: 409,
  already_asked: 409,
  too_many_pending: 429,
  revision_mismatch: 412,
  idempotency_mismatch: 422,
  policy_refused: 422,
  nobody_can_decide: 422,
  authors_unknown: 422,
  frozen: 423,
  freeze_not_found: 404,
  too_many_requests: 429,
  store_conflict: 409,
  stale: 409,
  forge_unavailable: 503,
  vault_refused: 502,
  vault_unavailable: 503,
  store_unavailable: 503,
  log_unavailable: 503,
  recovering: 503,
  clock_untrusted: 503,
  policy_outdated: 503,
  not_confirmed: 503,
} as const satisfies Record<ErrorCode, number>

const TITLE = {
  invalid_request: 'The request is not valid',
  unauthenticated: 'Not authenticated',
  not_permitted: 'Not permitted',
  step_up_required: 'Your passkey is needed',
  ceremony_over: 'Used, or over',
  own_request: 'Your own request',
  not_executor: 'Not the executor',
  grant_not_found: 'No such grant',
  wrong_status: 'Not in this status',
  window_closed: 'The window has closed',
  window_not_open: 'The window is not open yet',
  window_closing: 'The window is about to close',
  uses_exhausted: 'No use is left',
  already_decided: 'Already decided',
  already_asked: 'Already asked for',
  too_many_pending: 'Too many grants are pending',
  revision_mismatch: 'Another revision',
  idempotency_mismatch: 'Another asking under this key',
  policy_refused: 'The policy refuses this',
  nobody_can_decide: 'Nobody can decide this',
  authors_unknown: 'The authors of this change are not known',
  frozen: 'Frozen',
  freeze_not_found: 'No such freeze',
  too_many_requests: 'Too many requests',
  store_conflict: 'Somebody else was faster',
  stale: 'The rules have just changed',
  forge_unavailable: 'The forge does not answer',
  vault_refused: 'Vault refuses the broker',
  vault_unavailable: 'Vault does not answer',
  store_unavailable: 'The store does not answer',
  log_unavailable: 'The log cannot be written',
  recovering: 'The broker is recovering',
  clock_untrusted: 'The clock is not trusted',
  policy_outdated: 'The policy is outdated here',
  not_confirmed: 'The end is not confirmed yet',
} as const satisfies Record<ErrorCode, string>

/** Whole seconds after which trying again makes sense, or undefined: only for what the caller did not cause. */
export function retryAfterSeconds(code: ErrorCode): number | undefined {
  if (code === 'store_conflict') return 0
  if (code === 'stale') return 1
  if (code === 'too_many_requests') return 5
  if (code === 'too_many_pending') return 60
  if (code === 'vault_refused') return undefined
  return BLAME[code] === 'upstream' ? 2 : undefined
}

/** A thrown value as a problem document. */
export function problem(thrown: unknown, requestId: string): Answer {
  if (thrown instanceof BrokerError) return brokerProblem(thrown, requestId)
  if (thrown instanceof DoorRefusal) {
    const { code, status, message, headers } = thrown
    return document(status, { code, title: message, detail: message, requestId }, headers)
  }
  const detail = 'The broker failed. Tell its operator the request id.'
  return document(500, { code: 'internal', title: 'The broker failed', detail, requestId })
}

function brokerProblem(refusal: BrokerError, requestId: string): Answer {
  const { code, message, nextAction, facts } = refusal
  const retry = typeof facts.retryAfter === 'number' ? facts.retryAfter : retryAfterSeconds(code)
  const more = { ...(nextAction === undefined ? {} : { next_action: nextAction }), facts }
  const headers = retry === undefined ? {} : { 'Retry-After': String(retry) }
  return document(STATUS[code], { code, title: TITLE[code], detail: message, requestId, ...more }, headers)
}

interface Document {
  readonly code: string
  readonly title: string
  readonly detail: string
  readonly requestId: string
  readonly next_action?: string
  readonly facts?: Readonly<Record<string, unknown>>
}
const document = (status: number, { code, title, ...rest }: Document, headers: Answer['headers'] = {}): Answer => ({
  status,
  media: 'application/problem+json',
  text: JSON.stringify({ type: `urn:writ:error:${code}`, title, status, ...rest }),
  headers,
  code,
})
