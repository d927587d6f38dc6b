// Parameters of an OAuth form. Invariant: from the body only, and each at most once but for those that RFC 8693 lets repeat (RFC 6749
// §3.2); unknown ones are ignored, as RFC 6749 §3.2 demands, and those sent empty count as not sent.
import type { OAuthRequest } from './endpoint.ts'
import { OAuthError } from './errors.ts'

const REPEATABLE = new Set(['resource', 'audience'])

export interface Form {
  /** The parameter, or undefined. */
  one(name: string): string | undefined
  /** The parameter; its absence is `invalid_request`. */
  need(name: string): string
  /** Every value of a parameter that may be repeated. */
  all(name: 'resource' | 'audience'): readonly string[]
}

/** Reads the form. Rejects OAuthError `invalid_request` for a query, and for a parameter sent twice. */
export async function formOf(request: OAuthRequest): Promise<Form> {
  if (request.query !== '')
    throw new OAuthError('invalid_request', 'Parameters belong into the body, never into the query.')
  const found = new Map<string, string[]>()
  for (const [name, value] of await request.pairs()) {
    const before = found.get(name)
    if (before === undefined) found.set(name, [value])
    else if (REPEATABLE.has(name)) before.push(value)
    else throw new OAuthError('invalid_request', 'A parameter was sent twice.')
  }
  const one = (name: string) => found.get(name)?.[0] || undefined
  return {
    one,
    need(name) {
      const value = one(name)
      if (value === undefined) throw new OAuthError('invalid_request', `The parameter ${name} is missing.`)
      return value
    },
    all: (name) => (found.get(name) ?? []).filter((value) => value !== ''),
  }
}
