// private_key_jwt (RFC 7523 §2.2, §3; OpenID Connect Core §9) for resource servers: pinned keys, one audience, five minutes, used once.
import { hash } from 'node:crypto'
import { BrokerError } from '../domain/errors.ts'
import { after, type Instant, instant, minutes, seconds } from '../domain/instant.ts'
import type { ResourceServer } from './clients.ts'
import { readToken, verifyToken } from './verify.ts'

/**
 * Remembers a key until then. True for the first who asks, false for every other; rejects when it cannot tell, and then the
 * assertion is refused too.
 */
export type UseOnce = (key: string, until: Instant) => Promise<boolean>

/** `clientId` is what the request says beside the assertion, if anything. Rejects with `unauthenticated`. */
export type AuthenticateClient = (assertion: string, clientId: string | undefined) => Promise<ResourceServer>

export const ASSERTION_LIFE = minutes(5)
const TOLERANCE = seconds(5)

export function clientAuthenticator(known: {
  readonly resourceServer: (id: string) => ResourceServer | undefined
  /** The broker's public URL. */
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly useOnce: UseOnce
  readonly now: () => Instant
}): AuthenticateClient {
  return async (assertion, clientId) => {
    const token = readToken(assertion)
    const { iss, sub } = token.claims
    const server = typeof iss === 'string' && iss === sub ? known.resourceServer(iss) : undefined
    if (server === undefined || (clientId !== undefined && clientId !== server.id)) throw unknownClient()
    const claims = await verifyToken(
      token,
      {
        issuer: server.id,
        audience: server.assertionAudience === 'issuer' ? known.issuer : known.tokenEndpoint,
        algorithms: server.algorithms,
        types: ['absent', 'JWT', 'client-authentication+jwt'],
        ignoredHeaders: [],
        // RFC 7523 leaves `iat` open; where it is there, it is checked.
        required: ['sub', 'jti'],
        maximalAge: ASSERTION_LIFE,
        maximalLife: ASSERTION_LIFE,
        clockTolerance: TOLERANCE,
        keys: async () => server.keys,
      },
      known.now(),
    )
    // A list of one is good enough for an access token, but not here: some libraries compare it as text.
    if (typeof claims.aud !== 'string')
      throw new BrokerError('unauthenticated', 'The audience of a client assertion is a single text.')
    const { jti, exp } = claims
    if (typeof jti !== 'string' || jti === '' || jti.length > 255 || typeof exp !== 'number')
      throw new BrokerError('unauthenticated', "The client assertion's 'jti' is not a short text.")
    // By jti, never by the text: one assertion has many valid spellings of its signature (ECDSA r, n-s). Hashed, so that it fits a key.
    const mark = hash('sha256', jti, 'base64url')
    const isFirst = await known.useOnce(`client-assertion/${server.id}/${mark}`, after(instant(exp * 1_000), TOLERANCE))
    if (!isFirst)
      throw new BrokerError('unauthenticated', 'This client assertion was used before.', {
        nextAction: 'Make a new one for each request.',
      })
    return server
  }
}

/** The same for a client that does not exist and for one that is somebody else. */
const unknownClient = (): BrokerError =>
  new BrokerError('unauthenticated', 'There is no such client here.', {
    nextAction: 'Check the client id and its entry in clients.yaml.',
  })
