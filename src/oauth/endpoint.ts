// What the pipeline hands to an OAuth endpoint and gets back: the members of the http door's own endpoints that are used here. Doors
// do not import each other; the composition hands these over. Invariant: OAuth answers are JSON of RFC 6749, never problem documents.

export type Pair = readonly [name: string, value: string]

export interface OAuthRequest {
  readonly method: string
  readonly path: string
  readonly query: string
  header(name: string): readonly string[]
  pairs(): Promise<readonly Pair[]>
}
export interface OAuthAnswer {
  readonly status: number
  readonly media: string
  readonly text: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly code?: string
}
export interface OAuthEndpoint {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly name: string
  readonly takes: { readonly media: 'none' | 'application/x-www-form-urlencoded'; readonly limitBytes: number }
  answer(request: OAuthRequest): Promise<OAuthAnswer>
  refuse(thrown: unknown): OAuthAnswer
}
/** RFC 8414, RFC 8707, RFC 9396: nothing an OAuth form holds comes near this. */
export const FORM = { media: 'application/x-www-form-urlencoded', limitBytes: 16_384 } as const

export const json = (status: number, value: unknown, headers: OAuthAnswer['headers'] = {}): OAuthAnswer => ({
  status,
  media: 'application/json',
  text: JSON.stringify(value),
  headers,
})
