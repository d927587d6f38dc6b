// What goes wrong between us and Vault, as BrokerErrors. An error keeps a status, one of our own words, and the path's template: never
// Vault's text, a header, a body or the library's error, any of which may hold a token or a password.
// Invariant: only Vault's own words for "not there any more" are read as gone; a denial is never.
import { BrokerError } from '../domain/errors.ts'
import { SlotsFull } from './slots.ts'
import { Overdue } from './timer.ts'

/**
 * A request that got no answer that could be read. `sent` says whether Vault may have seen it, `stale` that it went into a connection
 * that had been idle and broke at once: most likely the other side had just hung up.
 */
export class NoAnswer extends Error {
  readonly reason: string
  readonly sent: boolean
  readonly stale: boolean
  constructor(reason: string, sent: boolean, stale = false) {
    super(`no answer: ${reason}`)
    this.name = 'NoAnswer'
    this.reason = reason
    this.sent = sent
    this.stale = stale
  }
}

/** What is kept of a failure: safe for the log. */
export interface Failure {
  readonly path: string
  readonly reason: string
  readonly status: number | undefined
  readonly requestId: string | undefined
  /** True where this very call changed nothing at Vault; false where nobody knows. */
  readonly definite: boolean
}

const failures = new WeakMap<BrokerError, Failure>()
/** What was kept of a failure that this file made; undefined for any other error. */
export const failureOf = (thrown: unknown): Failure | undefined =>
  thrown instanceof BrokerError ? failures.get(thrown) : undefined

function failed(code: 'vault_refused' | 'vault_unavailable', message: string, failure: Failure): BrokerError {
  const nextAction =
    code === 'vault_refused'
      ? 'Tell the operator: the broker and Vault do not agree on what the broker may do.'
      : 'Try again in a few seconds.'
  const { definite, reason } = failure
  const error = new BrokerError(code, message, {
    nextAction,
    facts: { definite, reason },
    cause: Object.freeze({ ...failure }),
  })
  failures.set(error, failure)
  return error
}

export const refused = (path: string, reason: string, about: Partial<Failure> = {}): BrokerError =>
  failed('vault_refused', 'Vault refused.', {
    status: undefined,
    requestId: undefined,
    definite: false,
    ...about,
    path,
    reason,
  })

/** What Vault gives is not what the entitlement declares: the caller is told what to declare, for whoever keeps the entitlement. */
export const misdeclared = (path: string, reason: string, mend: string): BrokerError => {
  const failure: Failure = { path, reason, status: undefined, requestId: undefined, definite: false }
  const error = new BrokerError('vault_refused', 'What Vault gives here is not what the entitlement declares.', {
    nextAction: `Tell whoever keeps the entitlement. ${mend}`,
    facts: { definite: false, reason },
    cause: Object.freeze({ ...failure }),
  })
  failures.set(error, failure)
  return error
}

export const unavailable = (path: string, reason: string, about: Partial<Failure> = {}): BrokerError =>
  failed('vault_unavailable', 'Vault does not answer.', {
    status: undefined,
    requestId: undefined,
    definite: false,
    ...about,
    path,
    reason,
  })

/** For a call that was tried before, with an outcome that nobody knows. */
export type Doubt = { readonly definite?: false }

/** An answer of Vault that is not a success. */
export function answered(path: string, status: number, body: unknown, doubt: Doubt = {}): BrokerError {
  const said = wordsOf(body)
  const about = { status, requestId: requestIdOf(body) }
  if (status === 429) return unavailable(path, 'too_many_requests', { ...about, definite: true, ...doubt })
  if (status === 503 && said.some((text) => /^vault is sealed$/i.test(text)))
    return unavailable(path, 'sealed', { ...about, definite: true, ...doubt })
  // A standby points at the active node. A token is never sent after a redirect; `address` must name what answers.
  if (status >= 300 && status < 400) return unavailable(path, 'redirected', { ...about, definite: true, ...doubt })
  if (status >= 400 && status < 500 && status !== 412 && status !== 472 && status !== 473)
    return refused(
      path,
      GONE[said.join()] ?? (status === 404 && said.length === 0 ? 'not_found' : `status_${status}`),
      {
        ...about,
        definite: true,
        ...doubt,
      },
    )
  return unavailable(path, `status_${status}`, about)
}

/** Anything that was thrown on the way, as a BrokerError. */
export function unanswered(path: string, thrown: unknown, doubt: Doubt = {}): BrokerError {
  if (thrown instanceof BrokerError) return thrown
  if (thrown instanceof Overdue) return unavailable(path, 'timeout')
  if (thrown instanceof SlotsFull) return unavailable(path, 'too_many_waiting', { definite: true })
  if (thrown instanceof NoAnswer) return unavailable(path, thrown.reason, { definite: !thrown.sent, ...doubt })
  return unavailable(path, 'unexpected')
}

/** Vault 1.21 says these with 400, others with 403 or 404; what counts are the words, so that no denial is mistaken for them. */
const GONE: Readonly<Record<string, string>> = {
  'invalid accessor': 'gone',
  'token not found': 'gone',
  'invalid lease': 'gone',
  'lease not found': 'gone',
}

/** Whether Vault has said that what was named is not there. */
export const saysGone = (thrown: unknown): boolean => {
  const failure = failureOf(thrown)
  return failure?.status !== undefined && failure.reason === 'gone'
}

function wordsOf(body: unknown): readonly string[] {
  const errors = (body as { errors?: unknown } | null | undefined)?.errors
  if (!Array.isArray(errors)) return []
  return errors
    .filter((text) => typeof text === 'string')
    .map((text: string) => text.replace(/^1 error occurred:\s*\*\s*/, '').trim())
}

const requestIdOf = (body: unknown): string | undefined => {
  const id = (body as { request_id?: unknown } | null | undefined)?.request_id
  return typeof id === 'string' && /^[0-9a-f-]{36}$/.test(id) ? id : undefined
}
