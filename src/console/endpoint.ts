// What the pipeline hands to a page and gets back: the members of the http door's own endpoints that are used here. Doors do not import each
// other; the composition hands these over. Invariant: every page goes out under the strict content policy, and is stored by nobody.
import type { Html } from './html.ts'
import { textOf } from './html.ts'

export interface PageRequest {
  readonly method: string
  readonly params: Readonly<Record<string, string>>
  header(name: string): readonly string[]
  text(): Promise<string>
}
export interface PageAnswer {
  readonly status: number
  readonly media: string
  readonly text: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly code?: string
}
export interface PageEndpoint {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly name: string
  readonly takes: { readonly media: 'none' | 'application/json'; readonly limitBytes: number }
  answer(request: PageRequest): Promise<PageAnswer>
  refuse(thrown: unknown, requestId: string): PageAnswer
}

export const NO_BODY = { media: 'none', limitBytes: 0 } as const
/** What an authenticator answers with is some hundred bytes; a long key and an attestation some thousand. */
export const RESPONSE = { media: 'application/json', limitBytes: 32_768 } as const

/** Nothing is loaded, run or sent but what is this broker's own, nothing frames the page, and no text becomes markup. */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Permissions-Policy': 'publickey-credentials-get=(self), publickey-credentials-create=(self)',
}

export const page = (status: number, content: Html, code?: string): PageAnswer => ({
  status,
  media: 'text/html; charset=utf-8',
  text: `<!doctype html>\n${textOf(content)}\n`,
  headers: HEADERS,
  ...(code === undefined ? {} : { code }),
})

export const json = (status: number, value: unknown): PageAnswer => ({
  status,
  media: 'application/json',
  text: JSON.stringify(value),
})
