// What the pipeline serves: an endpoint reads an Incoming and gives an Answer. Endpoints know nothing of express or sockets, so those
// of other doors (OAuth) have the same shape without importing this file. Invariant: an answer is complete text, but for a stream of events,
// which begins only after everything that could refuse it has been asked.

/** One HTTP request as an endpoint sees it. */
export interface Incoming {
  readonly method: string
  /** As sent, without the query. */
  readonly path: string
  /** Path parameters by name. */
  readonly params: Readonly<Record<string, string>>
  /** What follows the `?`, as sent; empty where there is none. */
  readonly query: string
  readonly requestId: string
  /** The client's address, as far as it is known: a forwarded one only from a trusted proxy. For logs and counts; it allows nothing. */
  readonly address: string
  /** Every value sent under this name, in order: a header sent twice is two values, never one joined. */
  header(name: string): readonly string[]
  /** The body as text, within the endpoint's limit and of its media type. Rejects with a DoorRefusal. Read it once. */
  text(): Promise<string>
  /** The body as name and value pairs, percent-decoded. Rejects with a DoorRefusal. */
  pairs(): Promise<readonly Pair[]>
  /** Aborted when the client has gone or the broker is stopping. */
  gone(): AbortSignal
}
export type Pair = readonly [name: string, value: string]

export interface Answer {
  readonly status: number
  readonly media: string
  readonly text: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** What follows instead of a text, until it resolves. Called exactly once, also when the client has gone already. */
  readonly stream?: (out: Outlet) => Promise<void>
  /** The refusal's code, for the count of refusals; absent where nothing was refused. */
  readonly code?: string
}

export interface Outlet {
  /** Resolves when more may be written. */
  write(text: string): Promise<void>
  /** Aborted when the client has gone or the broker is stopping. */
  readonly gone: AbortSignal
}

export interface Endpoint {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** The route's name in metrics and logs. */
  readonly name: string
  readonly takes: Takes
  answer(incoming: Incoming): Promise<Answer>
  /** Anything thrown, in this endpoint's own words. Never throws, never shows more than a refusal's own message. */
  refuse(thrown: unknown, requestId: string): Answer
}

/** What body an endpoint reads; `maybe` says that it may also be left out. */
export interface Takes {
  readonly media: 'none' | 'application/json' | 'application/x-www-form-urlencoded'
  readonly limitBytes: number
  readonly maybe?: boolean
}
export const NO_BODY: Takes = { media: 'none', limitBytes: 0 }

export const json = (status: number, value: unknown, headers: Answer['headers'] = {}): Answer => ({
  status,
  media: 'application/json',
  text: JSON.stringify(value),
  headers,
})

export const DOOR_REFUSALS = {
  no_such_route: 404,
  method_not_allowed: 405,
  too_slow: 408,
  body_too_large: 413,
  unsupported_media_type: 415,
  headers_too_large: 431,
  malformed: 400,
  body_aborted: 400,
} as const
export type DoorCode = keyof typeof DOOR_REFUSALS

/** A refusal by the wire itself, before any verb is asked. `message` is safe for the caller. */
export class DoorRefusal extends Error {
  readonly code: DoorCode
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  constructor(code: DoorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.name = 'DoorRefusal'
    this.code = code
    this.status = DOOR_REFUSALS[code]
    this.headers = headers
  }
}
