// oidc-provider's side of a comparison: what a client must send for the same kind of answer.
import { randomBytes } from 'node:crypto'
import { assertionOf, type KeyPair, keyPair, proofOf } from './issuer.ts'
import { requestBytes } from './load.ts'
import { answersOf } from './ours.ts'
import { type Peer, startPeer } from './peer.ts'
import type { Side } from './rounds.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

export interface OidcSide {
  readonly peer: Peer
  /** private_key_jwt, its replay store, a signed JWT. */
  byKey(proof: boolean): Side
  /** A secret, and an opaque token in Redis. */
  bySecret(): Side
  /** An opaque token in Redis, asked for by the client that got it. */
  introspecting(): Promise<Side>
  stop(): Promise<void>
}

export async function startOidc(): Promise<OidcSide> {
  const key: KeyPair = keyPair()
  const secret = randomBytes(24).toString('base64url')
  const jwk = { ...key.jwk, kid: key.thumbprint, alg: 'ES256', use: 'sig' }
  const peer = await startPeer('oidc', () => ({ BENCH_CLIENT_JWK: JSON.stringify(jwk), BENCH_SECRET: secret }))
  const issuer = `http://127.0.0.1:${peer.port}`
  const side = (name: string, make: () => Buffer): Side => ({
    name,
    port: peer.port,
    pid: peer.pid,
    redisPid: peer.redisPid,
    prepare: async (count) => Array.from({ length: count }, make),
  })
  const form = (path: string, fields: Record<string, string>, headers: Record<string, string> = {}): Buffer =>
    requestBytes(
      'POST',
      path,
      { ...FORM, ...headers, host: `127.0.0.1:${peer.port}` },
      new URLSearchParams(fields).toString(),
    )
  const secretly = { client_id: 'by-secret', client_secret: secret }
  return {
    peer,
    byKey: (proof) =>
      side(`oidc-provider, private_key_jwt${proof ? ' and DPoP' : ''}`, () =>
        form(
          '/token',
          {
            grant_type: 'client_credentials',
            client_id: 'by-key',
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: assertionOf('by-key', issuer, key, key.thumbprint),
          },
          proof ? { dpop: proofOf('POST', `${issuer}/token`, key) } : {},
        ),
      ),
    bySecret: () =>
      side('oidc-provider, secret to opaque token', () =>
        form('/token', { grant_type: 'client_credentials', ...secretly }),
      ),
    introspecting: async () => {
      const [first] = await answersOf(peer.port, [form('/token', { grant_type: 'client_credentials', ...secretly })])
      const token = String(first?.access_token)
      return side('oidc-provider, introspection of an opaque token', () =>
        form('/token/introspection', { token, ...secretly }),
      )
    },
    stop: () => peer.stop(),
  }
}
