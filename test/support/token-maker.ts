// An issuer for tests with real keys: serves discovery and JWKS over loopback HTTP and signs whatever it is told to, however wrong.
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export type SigningAlgorithm = 'ES256' | 'ES384' | 'RS256' | 'PS256' | 'EdDSA'
interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}
export type JsonObject = Readonly<Record<string, unknown>>

export interface TokenMaker {
  /** `iss` and the base of discovery. */
  readonly url: string
  readonly jwksUrl: string
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[]
  /** A token over these claims as they are. The header is alg, kid and, if given, more; `undefined` members are left out. */
  sign(claims: JsonObject, header?: JsonObject, algorithm?: SigningAlgorithm): string
  /** A signature over any two texts. */
  signText(headerText: string, claimsText: string, algorithm?: SigningAlgorithm): string
  publicKey(algorithm: SigningAlgorithm): KeyObject
  /** The JWK Set as it is served. */
  jwks(): { readonly keys: readonly JsonObject[] }
  /** New keys with new ids; the old ones are no longer served. */
  rotate(): void
  /** What is served instead of the documents, until it is set to undefined. */
  answer(status: number | undefined, body?: string, headers?: Readonly<Record<string, string>>): void
  stop(): Promise<void>
}

const newKey: Readonly<Record<SigningAlgorithm, () => KeyPair>> = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  EdDSA: () => generateKeyPairSync('ed25519'),
}

export const base64url = (text: string | Buffer): string => Buffer.from(text).toString('base64url')

/** A JWS signature (RFC 7518 §3) over these bytes. */
export function signatureOf(data: string, key: KeyObject, algorithm: SigningAlgorithm): Buffer {
  const bytes = Buffer.from(data)
  switch (algorithm) {
    case 'ES256':
      return signBytes('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
    case 'ES384':
      return signBytes('sha384', bytes, { key, dsaEncoding: 'ieee-p1363' })
    case 'RS256':
      return signBytes('sha256', bytes, key)
    case 'PS256':
      return signBytes('sha256', bytes, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
    case 'EdDSA':
      return signBytes(null, bytes, key)
  }
}

/** A token with a MAC of this key: the classic confusion when the key is a public one. */
export function macToken(header: JsonObject, claims: JsonObject, key: string | Buffer): string {
  const data = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`
  return `${data}.${createHmac('sha256', key).update(data).digest('base64url')}`
}

/** Starts an issuer on a free port. */
export async function startTokenMaker(algorithms: readonly SigningAlgorithm[] = ['ES256']): Promise<TokenMaker> {
  let generation = 0
  let keys = new Map<SigningAlgorithm, { readonly kid: string; readonly pair: KeyPair }>()
  const rotate = (): void => {
    generation += 1
    keys = new Map(
      algorithms.map((algorithm) => [algorithm, { kid: `${algorithm}-${generation}`, pair: newKey[algorithm]() }]),
    )
  }
  rotate()
  const held = (algorithm: SigningAlgorithm) => {
    const key = keys.get(algorithm)
    if (key === undefined) throw new Error(`this issuer has no ${algorithm} key`)
    return key
  }
  const jwks = () => ({
    keys: [...keys].map(([alg, { kid, pair }]) => ({
      ...pair.publicKey.export({ format: 'jwk' }),
      kid,
      alg,
      use: 'sig',
    })),
  })
  const requests: string[] = []
  let instead:
    | { readonly status: number; readonly body: string; readonly headers: Readonly<Record<string, string>> }
    | undefined
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    const documents: Readonly<Record<string, unknown>> = {
      '/.well-known/openid-configuration': { issuer: url, jwks_uri: `${url}/jwks` },
      '/jwks': jwks(),
    }
    const body = instead?.body ?? JSON.stringify(documents[path])
    response.writeHead(instead?.status ?? (documents[path] === undefined ? 404 : 200), {
      'content-type': 'application/json',
      ...instead?.headers,
    })
    response.end(body)
  })
  await new Promise<void>((settle) => {
    server.listen(0, '127.0.0.1', settle)
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const [first = 'ES256'] = algorithms

  const signText = (headerText: string, claimsText: string, algorithm: SigningAlgorithm = first): string => {
    const data = `${base64url(headerText)}.${base64url(claimsText)}`
    return `${data}.${base64url(signatureOf(data, held(algorithm).pair.privateKey, algorithm))}`
  }
  return {
    url,
    jwksUrl: `${url}/jwks`,
    requests,
    sign: (claims, header = {}, algorithm = first) =>
      signText(
        JSON.stringify({ alg: algorithm, kid: held(algorithm).kid, ...header }),
        JSON.stringify(claims),
        algorithm,
      ),
    signText,
    publicKey: (algorithm) => held(algorithm).pair.publicKey,
    jwks,
    rotate,
    answer: (status, body = '', headers = {}) => {
      instead = status === undefined ? undefined : { status, body, headers }
    },
    stop: async () => {
      server.closeAllConnections()
      await new Promise<void>((settle) => server.close(() => settle()))
    },
  }
}
