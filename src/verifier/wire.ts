// The way to the broker: bounded in time and size, no redirects, https unless it is this machine. It rejects whatever is not a whole answer,
// so that nobody takes half of one for news. Where the broker wants to know who asks, it shows a new client assertion (RFC 7523) each time.
import { type CryptoKey, importJWK, type JWK, type KeyObject, SignJWT } from 'jose'
import type { Machine } from './machine.ts'

export interface ClientKey {
  /** The id of this resource server at the broker. */
  readonly id: string
  /** Its private key, as a JWK or as a key of Node's or of Web Crypto. */
  readonly privateKey: JWK | KeyObject | CryptoKey
  readonly kid?: string
  /** ES256 where absent. */
  readonly algorithm?: string
  /** What the broker's configuration says that assertions are for: its URL where absent. */
  readonly assertionAudience?: string
}
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}
export interface Asking {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly timeoutMs: number
  readonly longest: number
  /** Shows who asks as a Bearer credential. */
  readonly asClient?: boolean
  readonly signal?: AbortSignal
}
export interface Wire {
  readonly issuer: string
  /** Rejects on a time-out, on an answer that is too long or ends early, and on a redirect. */
  ask(url: string, asking: Asking): Promise<Answer>
  /** The answer as soon as its headers are there; its body is the caller's to read and to bound. */
  open(url: string, asking: Omit<Asking, 'longest'>): Promise<Response>
  /** A client assertion for one request. Rejects where no client was configured. */
  assertion(): Promise<string>
}

const ASSERTION_SECONDS = 60

export function wireTo(options: {
  readonly issuer: string
  readonly client: ClientKey | undefined
  readonly machine: Machine
  readonly allowPlainHttp: boolean
}): Wire {
  const { issuer, client, machine } = options
  checkUrl(issuer, options.allowPlainHttp)
  let imported: Promise<CryptoKey | KeyObject | Uint8Array> | undefined

  const assertion = async (): Promise<string> => {
    if (client === undefined) throw new Error('no client key was configured')
    const { id, privateKey, kid, algorithm = 'ES256', assertionAudience = issuer } = client
    imported ??= isJwk(privateKey) ? importJWK(privateKey, algorithm) : Promise.resolve(privateKey)
    const iat = Math.floor(machine.now() / 1_000)
    return await new SignJWT({
      iss: id,
      sub: id,
      aud: assertionAudience,
      jti: machine.newId(),
      iat,
      exp: iat + ASSERTION_SECONDS,
    })
      .setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
      .sign(await imported)
  }

  const send = async (url: string, asking: Omit<Asking, 'longest' | 'timeoutMs'>, signal: AbortSignal) => {
    checkUrl(url, options.allowPlainHttp)
    return await machine.fetch(url, {
      method: asking.method ?? 'GET',
      headers: {
        ...asking.headers,
        ...(asking.asClient === true ? { authorization: `Bearer ${await assertion()}` } : {}),
      },
      ...(asking.body === undefined ? {} : { body: asking.body }),
      redirect: 'error',
      signal,
    })
  }

  return {
    issuer,
    assertion,
    ask: (url, asking) =>
      within(asking.timeoutMs, asking.signal, async (signal) => {
        const response = await send(url, asking, signal)
        return { status: response.status, headers: response.headers, text: await textOf(response, asking.longest) }
      }),
    // The time-out is for the headers; whoever reads the body aborts by its own signal.
    open: async (url, asking) => {
      const whole = new AbortController()
      const abort = (): void => whole.abort()
      if (asking.signal?.aborted === true) abort()
      asking.signal?.addEventListener('abort', abort, { once: true })
      const timer = setTimeout(abort, asking.timeoutMs)
      try {
        return await send(url, asking, whole.signal)
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

const isJwk = (key: ClientKey['privateKey']): key is JWK => 'kty' in key

/** https, or http on this very machine; no user in it. */
function checkUrl(text: string, allowPlainHttp: boolean): void {
  const url = new URL(text)
  const here = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && (here || allowPlainHttp)))
    throw new TypeError('the broker is asked over https')
  if (url.username !== '' || url.password !== '') throw new TypeError('the URL of the broker names a user')
}

async function within<T>(
  ms: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const both = new AbortController()
  const abort = (): void => both.abort()
  if (outer?.aborted === true) abort()
  outer?.addEventListener('abort', abort, { once: true })
  const timer = setTimeout(abort, ms)
  try {
    return await work(both.signal)
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener('abort', abort)
  }
}

async function textOf(response: Response, longest: number): Promise<string> {
  if (response.body === null) return ''
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body) {
    size += part.length
    // Leaving the loop cancels the body.
    if (size > longest) throw new Error(`the answer is longer than ${longest} bytes`)
    parts.push(part)
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
}
