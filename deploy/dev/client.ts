// A small HTTP client for the story, the journeys and the benchmarks: what a stranger would write against the documented wire.
// It knows nothing of the broker's code.
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'

export interface ProofKey {
  readonly thumbprint: string
  readonly privateKey: KeyObject
  /** An RFC 9449 proof for one request. */
  proof(method: string, url: string, accessToken?: string, nonce?: string): string
}

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')

export function proofKey(): ProofKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  const jwk = { crv, kty, x, y }
  return {
    // RFC 7638: the required members in this order.
    thumbprint: sha256(JSON.stringify(jwk)),
    privateKey,
    proof: (method, url, accessToken, nonce) => {
      const header = { typ: 'dpop+jwt', alg: 'ES256', jwk }
      const ath = accessToken === undefined ? {} : { ath: sha256(accessToken) }
      const body = {
        jti: randomUUID(),
        htm: method,
        htu: url,
        iat: Math.floor(Date.now() / 1000),
        ...ath,
        ...(nonce === undefined ? {} : { nonce }),
      }
      const input = `${base64url(header)}.${base64url(body)}`
      return `${input}.${sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    },
  }
}

/** An RFC 7523 client assertion for a resource server. */
export function clientAssertion(
  clientId: string,
  audience: string,
  key: { readonly privateKey: KeyObject; readonly kid?: string },
): string {
  const now = Math.floor(Date.now() / 1000)
  const header = { alg: 'ES256', typ: 'JWT', ...(key.kid === undefined ? {} : { kid: key.kid }) }
  const input = `${base64url(header)}.${base64url({ iss: clientId, sub: clientId, aud: audience, jti: randomUUID(), iat: now, exp: now + 60 })}`
  return `${input}.${sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

// biome-ignore lint/suspicious/noExplicitAny: answers are read as they come, like a script would
export type Json = any

export interface Answered {
  readonly status: number
  readonly body: Json
  readonly headers: Headers
  /** `ok`, or `refused: <code>`. */
  readonly said: string
}

export interface Who {
  readonly token: string
  readonly key?: ProofKey
}

export interface Client {
  get(who: Who, path: string): Promise<Answered>
  post(who: Who, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answered>
  form(path: string, fields: Readonly<Record<string, string>>, key?: ProofKey): Promise<Answered>
}

const CODE = /^urn:writ:error:/

export interface Heard {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}
const listeners: ((heard: Heard) => void)[] = []
/** Hears of every answer to every client from now on. What it throws, the caller of the client gets. */
export const listen = (listener: (heard: Heard) => void): void => {
  listeners.push(listener)
}

/** `publicUrl`: what proofs name, where the broker is reached at another address. */
export function client(base: string, publicUrl = base): Client {
  const send = async (
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: string,
  ): Promise<Answered> => {
    const response = await fetch(base + path, { method, headers, ...(body === undefined ? {} : { body }) })
    const text = await response.text()
    const { status } = response
    for (const hear of listeners) hear({ method, path, status, headers: Object.fromEntries(response.headers), text })
    const parsed: Json = text === '' ? undefined : JSON.parse(text)
    const code = typeof parsed?.type === 'string' ? parsed.type.replace(CODE, '') : parsed?.error
    return {
      status,
      body: parsed,
      headers: response.headers,
      said: response.ok ? 'ok' : `refused: ${code ?? response.status}`,
    }
  }
  const headersOf = (who: Who, method: string, path: string): Record<string, string> => ({
    authorization: `Bearer ${who.token}`,
    ...(who.key === undefined
      ? {}
      : { dpop: who.key.proof(method, publicUrl + (path.split('?')[0] ?? path), who.token) }),
  })
  return {
    get: (who, path) => send('GET', path, headersOf(who, 'GET', path)),
    post: (who, path, body = {}, headers = {}) =>
      send(
        'POST',
        path,
        { ...headersOf(who, 'POST', path), 'content-type': 'application/json', ...headers },
        JSON.stringify(body),
      ),
    form: (path, fields, key) =>
      send(
        'POST',
        path,
        {
          'content-type': 'application/x-www-form-urlencoded',
          ...(key === undefined ? {} : { dpop: key.proof('POST', publicUrl + path) }),
        },
        new URLSearchParams(fields).toString(),
      ),
  }
}

/** RFC 8693 with one approved grant, alone. */
export const tokenExchange = (to: Client, subjectToken: string, grant: string, key: ProofKey): Promise<Answered> =>
  to.form(
    '/oauth2/token',
    {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: subjectToken,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      authorization_details: JSON.stringify([{ type: 'https://writ.dev/schemas/change/v1', identifier: grant }]),
    },
    key,
  )

export const introspect = (
  to: Client,
  issuer: string,
  server: { readonly id: string; readonly privateKey: KeyObject; readonly kid?: string },
  token: string,
): Promise<Answered> =>
  to.form('/oauth2/introspect', {
    token,
    client_id: server.id,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: clientAssertion(server.id, issuer, server),
  })
