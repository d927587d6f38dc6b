// How a command ends when it cannot do what was asked. Invariant: a failure says what is wrong, what to do next, and its exit code;
// it holds no token and no secret.
import { EXIT, type ExitCode } from './exit-codes.ts'

export class Failure extends Error {
  readonly exit: ExitCode
  readonly next: string | undefined
  /** The broker's own words, as it sent them: for `--json`. */
  readonly document: unknown
  constructor(
    exit: ExitCode,
    message: string,
    more: { readonly next?: string | undefined; readonly document?: unknown } = {},
  ) {
    super(message)
    this.name = 'Failure'
    this.exit = exit
    this.next = more.next
    this.document = more.document
  }
}

export const usage = (message: string, next?: string): Failure => new Failure(EXIT.usage, message, { next })

interface Told {
  readonly code: string
  readonly status: number
  readonly next?: string | undefined
  readonly document: unknown
  readonly retryAfterMs?: number | undefined
}

/** A refusal by the broker, with the code of its problem document. */
export class Refusal extends Failure {
  readonly code: string
  readonly status: number
  readonly retryAfterMs: number | undefined
  constructor(exit: ExitCode, message: string, told: Told) {
    super(exit, message, told)
    this.name = 'Refusal'
    this.code = told.code
    this.status = told.status
    this.retryAfterMs = told.retryAfterMs
  }
}
