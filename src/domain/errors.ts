// Refusals as named values. One class over a closed map of codes; `message` is safe for the caller, everything else rides in `cause`,
// is logged once at the door and never serialised. What is not a BrokerError is a bug.

/** Who can act: the caller (do not retry), a race (retry at once), something upstream (retry later). */
export type Blame = 'caller' | 'race' | 'upstream'

export const BLAME = {
  invalid_request: 'caller',
  unauthenticated: 'caller',
  not_permitted: 'caller',
  step_up_required: 'caller',
  ceremony_over: 'caller',
  own_request: 'caller',
  not_executor: 'caller',
  grant_not_found: 'caller',
  wrong_status: 'caller',
  window_closed: 'caller',
  window_not_open: 'caller',
  window_closing: 'caller',
  uses_exhausted: 'caller',
  already_decided: 'caller',
  already_asked: 'caller',
  too_many_pending: 'caller',
  revision_mismatch: 'caller',
  idempotency_mismatch: 'caller',
  policy_refused: 'caller',
  nobody_can_decide: 'caller',
  authors_unknown: 'caller',
  frozen: 'caller',
  freeze_not_found: 'caller',
  too_many_requests: 'caller',
  store_conflict: 'race',
  stale: 'race',
  forge_unavailable: 'upstream',
  vault_refused: 'upstream',
  vault_unavailable: 'upstream',
  store_unavailable: 'upstream',
  log_unavailable: 'upstream',
  recovering: 'upstream',
  clock_untrusted: 'upstream',
  policy_outdated: 'upstream',
  not_confirmed: 'upstream',
} as const satisfies Record<string, Blame>

export type ErrorCode = keyof typeof BLAME

export interface ErrorDetail {
  /** What the caller can do next, in one sentence. */
  readonly nextAction?: string
  /** Members for the problem document, safe to show: which rule, which limit, which member of the body. */
  readonly facts?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

export class BrokerError extends Error {
  readonly code: ErrorCode
  readonly nextAction: string | undefined
  readonly facts: Readonly<Record<string, unknown>>
  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'BrokerError'
    this.code = code
    this.nextAction = detail.nextAction
    this.facts = detail.facts ?? {}
  }
  get blame(): Blame {
    return BLAME[this.code]
  }
}

export const isBrokerError = (thrown: unknown, code?: ErrorCode): thrown is BrokerError =>
  thrown instanceof BrokerError && (code === undefined || thrown.code === code)

/** Absent, and not yours to see: one constant, so that the two can never be told apart. */
export const notFound = (): BrokerError =>
  new BrokerError('grant_not_found', 'There is no such grant, or it is not yours to see.', {
    nextAction: 'List the grants that you can see and check the id.',
  })
