// From a token to a Caller: its issuer is trusted, every pin holds, the account is in the people directory, and a token bound to a key
// came with exactly that key. Claims only authenticate: tenant, groups, sponsors and aliases come from the directory.
import { BrokerError } from '../domain/errors.ts'
import type { Thumbprint } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Caller } from '../domain/principal.ts'
import type { ResourceServer } from './clients.ts'
import type { PeopleDirectory, Resolved } from './directory.ts'
import type { FetchDocument } from './fetch-document.ts'
import type { Issuer } from './issuers.ts'
import { keyStore } from './key-store.ts'
import { isJsonObject } from './strict-json.ts'
import { type Claims, type Pins, tokenMemory, verifyToken } from './verify.ts'

/** `key` is the thumbprint of the DPoP key proven in this very request, if any. Rejects with `unauthenticated`. */
export type Authenticate = (token: string, key: Thumbprint | undefined) => Promise<Caller>

/** The issuers with their pins and keys; replaced whole when the file changes. */
export interface TrustedIssuers {
  find(url: unknown): { readonly issuer: Issuer; readonly pins: Pins } | undefined
}

/** `audience` is the broker's public URL, for issuers that name no other. */
export function trustIssuers(
  issuers: readonly Issuer[],
  { audience, fetch, now }: { readonly audience: string; readonly fetch: FetchDocument; readonly now: () => Instant },
): TrustedIssuers {
  const trusted = new Map(
    issuers.map((issuer) => {
      const { url, algorithms, types, ignoredHeaders, maximalAge, maximalLife, clockTolerance } = issuer
      const pins: Pins = {
        issuer: url,
        audience: issuer.audience ?? audience,
        algorithms,
        types,
        ignoredHeaders,
        required: ['iat', 'sub'],
        maximalAge,
        maximalLife,
        clockTolerance,
        keys: keyStore(issuer, fetch, now),
      }
      return [url, { issuer, pins }] as const
    }),
  )
  return { find: (url) => (typeof url === 'string' ? trusted.get(url) : undefined) }
}

/** A token that holds here: whose issuer it is, and what it says. */
interface Held {
  readonly issuer: Issuer
  readonly claims: Claims
}
/** Rejects `unauthenticated` for a token that does not hold here, or is bound to another key. */
export type TokenReader = (text: string, key: Thumbprint | undefined) => Promise<Held>

/** `issuers` is asked once per token, so that a reload never mixes two states in one answer. */
export function tokenReader(known: {
  readonly issuers: () => TrustedIssuers
  readonly now: () => Instant
}): TokenReader {
  const memory = tokenMemory()
  return async (text, key) => {
    const token = memory.read(text)
    const trusted = known.issuers().find(token.claims.iss)
    if (trusted === undefined)
      throw new BrokerError('unauthenticated', 'The issuer of the token is not trusted here.', {
        nextAction: 'Get a token from one of the issuers that this broker is configured with.',
      })
    const { issuer, pins } = trusted
    const claims = await verifyToken(token, pins, known.now())
    memory.keep(token)
    checkBinding(claims, key)
    return { issuer, claims }
  }
}

/** `directory` is asked once per token, so that a reload never mixes two states in one answer. */
export function authenticator(known: {
  readonly read: TokenReader
  readonly directory: () => PeopleDirectory
}): Authenticate {
  return async (text, key) => {
    const { issuer, claims } = await known.read(text, key)
    const resolved = resolve(known.directory(), issuer, claims)
    return callerOf(resolved, issuer, claims, key)
  }
}

/**
 * A resource server by an access token of its own account (RFC 7662 §2.1), and whether that is bound to a key. Rejects `unauthenticated`. Such a
 * token makes nobody a caller: the account is nobody's of the directory.
 */
export function serverAuthenticator(known: {
  readonly read: TokenReader
  readonly directory: () => PeopleDirectory
}): (
  text: string,
  key: Thumbprint | undefined,
) => Promise<{ readonly server: ResourceServer; readonly bound: boolean }> {
  return async (text, key) => {
    const { issuer, claims } = await known.read(text, key)
    // RFC 8693 §4.1: who acts for another is not the other.
    const server = Object.hasOwn(claims, 'act') ? undefined : known.directory().serverOf(issuer.name, claims)
    if (server === undefined)
      throw new BrokerError('unauthenticated', 'This account is of no resource server.', {
        nextAction: 'Enter it at the resource server in clients.yaml.',
      })
    return { server, bound: Object.hasOwn(claims, 'cnf') }
  }
}

/** RFC 9449 §7.1, RFC 7800 §3.1: a confirmation that we cannot check is refused, never passed over. */
function checkBinding(claims: Claims, key: Thumbprint | undefined): void {
  if (!Object.hasOwn(claims, 'cnf')) return
  const { cnf } = claims
  if (!isJsonObject(cnf) || Object.keys(cnf).join() !== 'jkt' || typeof cnf.jkt !== 'string')
    throw new BrokerError('unauthenticated', 'The token is bound to a key in a way that is not supported here.', {
      nextAction: 'Use DPoP.',
    })
  if (cnf.jkt !== key)
    throw new BrokerError('unauthenticated', 'The token is bound to a key, and this request does not prove that key.', {
      nextAction: 'Send a DPoP proof made with the key that the token was issued for.',
    })
}

const SWITCHED_OFF = {
  inactive: 'Your account is no longer active.',
  no_active_sponsor: 'Nobody who answers for you is active any more.',
} as const

function resolve(directory: PeopleDirectory, issuer: Issuer, claims: Claims): Resolved {
  const facts = { issuer: issuer.name }
  // RFC 8693 §4.1: such a token says that somebody else acts. Who acts must stand here under their own name (an agent that borrowed
  // its sponsor's authority would be its sponsor otherwise).
  if (Object.hasOwn(claims, 'act'))
    throw new BrokerError(
      'unauthenticated',
      'A token that somebody acts with for somebody else does not authenticate here.',
      {
        nextAction: 'Authenticate as the one who acts.',
        facts,
      },
    )
  const resolved = directory.resolve(issuer.name, claims)
  if (resolved === undefined) {
    const candidates = directory.candidates(issuer.name, claims)
    const [only, ...more] = candidates
    const absence = only === undefined || more.length > 0 ? undefined : directory.absence(only)
    // Whose account it is has been proven, so they may know why it is of no use any more; nobody else learns of it.
    if (absence === 'inactive' || absence === 'no_active_sponsor')
      throw new BrokerError('not_permitted', SWITCHED_OFF[absence], {
        nextAction: 'Ask whoever keeps the people directory; until then nothing is allowed for you.',
        facts: { ...facts, absence },
      })
    const nobody = candidates.map((id) => `${id} (${directory.absence(id) ?? 'active'})`).join(', ')
    const cause = nobody === '' ? {} : { cause: new BrokerError('unauthenticated', `It fits: ${nobody}.`) }
    throw candidates.length <= 1
      ? new BrokerError('unauthenticated', 'This account is not in the people directory.', {
          nextAction: 'Ask an administrator of the broker to enter the account.',
          facts,
          ...cause,
        })
      : new BrokerError(
          'unauthenticated',
          'This account fits more than one entry of the people directory, so it is nobody.',
          {
            nextAction: 'Ask an administrator of the broker to keep the entries apart.',
            facts,
            ...cause,
          },
        )
  }
  // RFC 9068 §5: a client that acts for itself may have the name of a person as its client id.
  if (resolved.principal.kind === 'person' && (claims.client_id === claims.sub || claims.azp === claims.sub))
    throw new BrokerError('unauthenticated', 'The token is of a client, not of the person with the same name.', {
      facts,
    })
  return resolved
}

function callerOf(
  { principal, sessionClaim, factClaims }: Resolved,
  issuer: Issuer,
  claims: Claims,
  key: Thumbprint | undefined,
): Caller {
  const text = (claim: string): string | undefined => {
    const value = Object.hasOwn(claims, claim) ? claims[claim] : undefined
    return typeof value === 'string' && value.length <= 512 ? value : undefined
  }
  if (principal.kind === 'person') return Object.freeze({ principal, key, session: '', facts: Object.freeze({}) })
  const session = sessionClaim ?? issuer.session
  const facts = (factClaims ?? issuer.facts).flatMap((claim) => {
    const value = text(claim)
    return value === undefined ? [] : [[claim, value] as const]
  })
  return Object.freeze({
    principal,
    key,
    session: session === undefined ? '' : (text(session) ?? ''),
    facts: Object.freeze(Object.fromEntries(facts)),
  })
}
