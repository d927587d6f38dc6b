// What a script learns from the exit code, in one table. Invariant: every refusal of the broker has a row here; a new code does not
// compile until it has one.
import type { ErrorCode } from '../domain/errors.ts'
import type { Status } from '../domain/lifecycle.ts'
import type { DoorCode } from '../http/endpoint.ts'

export const EXIT = {
  ok: 0,
  refused: 1,
  usage: 2,
  unauthenticated: 3,
  forbidden: 4,
  missing: 5,
  notYet: 6,
  over: 7,
  unavailable: 8,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** What each of them means to whoever reads `writ help exit-codes`. */
export const MEANING: Readonly<Record<ExitCode, { readonly name: string; readonly says: string }>> = {
  0: { name: 'ok', says: 'it is done, or it is so' },
  1: { name: 'refused', says: 'the broker or this command refuses; the same again is refused again' },
  2: { name: 'usage', says: 'the command line or the asking is not valid; nothing was done' },
  3: { name: 'not authenticated', says: 'log in, or give a fresh token' },
  4: { name: 'not permitted', says: 'somebody else has to do this, or you with your passkey' },
  5: { name: 'not found', says: 'there is no such grant, or it is not yours to see' },
  6: { name: 'not yet', says: 'undecided, window not open, end not confirmed, or the wait is over: try again later' },
  7: { name: 'over', says: 'denied, withdrawn, lapsed, ended, used up, or the window has closed: ask for a new grant' },
  8: { name: 'unavailable', says: 'the broker, or what it needs, does not answer: try the very same again' },
}

/** Refusals of the verbs, of the door itself, and what only the wire knows. */
type Code = ErrorCode | DoorCode | 'idempotency_mismatch' | 'internal'

const OF_CODE = {
  invalid_request: EXIT.usage,
  unauthenticated: EXIT.unauthenticated,
  not_permitted: EXIT.forbidden,
  step_up_required: EXIT.forbidden,
  ceremony_over: EXIT.over,
  own_request: EXIT.forbidden,
  not_executor: EXIT.forbidden,
  grant_not_found: EXIT.missing,
  // Said of a grant in another status; `exitOfProblem` looks at which.
  wrong_status: EXIT.refused,
  window_closed: EXIT.over,
  window_not_open: EXIT.notYet,
  window_closing: EXIT.over,
  uses_exhausted: EXIT.over,
  already_decided: EXIT.over,
  already_asked: EXIT.refused,
  too_many_pending: EXIT.refused,
  revision_mismatch: EXIT.refused,
  policy_refused: EXIT.refused,
  nobody_can_decide: EXIT.refused,
  authors_unknown: EXIT.refused,
  frozen: EXIT.refused,
  freeze_not_found: EXIT.missing,
  too_many_requests: EXIT.unavailable,
  store_conflict: EXIT.unavailable,
  stale: EXIT.unavailable,
  forge_unavailable: EXIT.unavailable,
  vault_refused: EXIT.unavailable,
  vault_unavailable: EXIT.unavailable,
  store_unavailable: EXIT.unavailable,
  log_unavailable: EXIT.unavailable,
  recovering: EXIT.unavailable,
  clock_untrusted: EXIT.unavailable,
  policy_outdated: EXIT.unavailable,
  not_confirmed: EXIT.notYet,
  no_such_route: EXIT.missing,
  method_not_allowed: EXIT.refused,
  idempotency_mismatch: EXIT.refused,
  body_too_large: EXIT.usage,
  headers_too_large: EXIT.usage,
  too_slow: EXIT.unavailable,
  unsupported_media_type: EXIT.refused,
  malformed: EXIT.usage,
  body_aborted: EXIT.unavailable,
  internal: EXIT.unavailable,
} as const satisfies Record<Code, ExitCode>

const OF_STATUS = {
  pending: EXIT.notYet,
  approved: EXIT.ok,
  issuing: EXIT.ok,
  active: EXIT.ok,
  ending: EXIT.notYet,
  stuck: EXIT.notYet,
  denied: EXIT.over,
  withdrawn: EXIT.over,
  lapsed: EXIT.over,
  ended: EXIT.over,
} as const satisfies Record<Status, ExitCode>

const has = <Key extends string>(table: Readonly<Record<Key, ExitCode>>, key: string): key is Key =>
  Object.hasOwn(table, key)

/** For whoever waits for an approval: whether the grant can be used, not yet, or never any more. */
export const exitOfStatus = (status: string): ExitCode => (has(OF_STATUS, status) ? OF_STATUS[status] : EXIT.refused)

/** For a problem document. A code that this version does not know is read by its HTTP status. */
export function exitOfProblem(code: string, httpStatus: number, grantStatus: string | undefined): ExitCode {
  if (code === 'wrong_status' && grantStatus !== undefined) return exitOfStatus(grantStatus) || EXIT.refused
  if (has(OF_CODE, code)) return OF_CODE[code]
  if (httpStatus === 401) return EXIT.unauthenticated
  if (httpStatus === 403) return EXIT.forbidden
  if (httpStatus === 404) return EXIT.missing
  return httpStatus >= 500 || httpStatus === 429 ? EXIT.unavailable : EXIT.refused
}
