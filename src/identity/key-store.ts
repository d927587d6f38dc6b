// The keys of one issuer as they are now. Read again on an unknown key id, at most once in 30 seconds, so that random key ids start no
// storm; never used when older than 10 minutes, so that a key the issuer took back is soon refused.
import { BrokerError } from '../domain/errors.ts'
import { after, type Instant, minutes, seconds } from '../domain/instant.ts'
import type { FetchDocument } from './fetch-document.ts'
import type { Issuer } from './issuers.ts'
import { type KeySet, parseKeySet } from './keys.ts'
import { isJsonObject, parseStrictJson } from './strict-json.ts'

/** A key set in which this key id is to be looked up. */
export type KeysFor = (isKnown: (keys: KeySet) => boolean) => Promise<KeySet>

export const KEYS_LIVE = minutes(10)
/** From here on the keys are read again behind the request's back. */
export const KEYS_FRESH = minutes(5)
export const RELOAD_COOLDOWN = seconds(30)
/** After a failure, when there is nothing to go on with. */
export const RETRY_COOLDOWN = seconds(2)

/** Keys of this issuer. Rejects with `unauthenticated` when they cannot be had: no key, no entry. */
export function keyStore(issuer: Issuer, fetch: FetchDocument, now: () => Instant): KeysFor {
  const source = issuer.keys
  if (source.from === 'file') return async () => source.keys
  let held: { readonly keys: KeySet; readonly at: Instant } | undefined
  let tried: { readonly at: Instant; readonly failed: boolean } | undefined
  let running: Promise<void> | undefined

  const load = async (): Promise<void> => {
    const at = now()
    tried = { at, failed: true }
    const url = source.from === 'address' ? source.url : await discovered(issuer.url, fetch)
    held = { keys: parseKeySet(await fetch(url)), at }
    tried = { at, failed: false }
  }
  /** One load at a time, however many ask. */
  const reload = (): Promise<void> => {
    running ??= load().finally(() => {
      running = undefined
    })
    return running
  }
  const usable = (): KeySet | undefined =>
    held !== undefined && now() < after(held.at, KEYS_LIVE) ? held.keys : undefined
  const mayTry = (): boolean => {
    if (tried === undefined || running !== undefined) return true
    const wait = tried.failed && usable() === undefined ? RETRY_COOLDOWN : RELOAD_COOLDOWN
    return now() >= after(tried.at, wait)
  }

  return async (isKnown) => {
    const keys = usable()
    if (keys !== undefined && isKnown(keys)) {
      // The answer does not wait for it, and a failure shows when the keys are too old.
      if (held !== undefined && now() >= after(held.at, KEYS_FRESH) && mayTry()) reload().catch(() => undefined)
      return keys
    }
    if (!mayTry()) {
      if (keys !== undefined) return keys
      throw unavailable(issuer.name, undefined)
    }
    await reload().catch((cause: unknown) => {
      if (usable() === undefined) throw unavailable(issuer.name, cause)
    })
    const loaded = usable()
    if (loaded === undefined) throw unavailable(issuer.name, undefined)
    return loaded
  }
}

/** OpenID Connect Discovery 1.0 §4.3: the document must name the very issuer that it was asked of. */
async function discovered(issuer: string, fetch: FetchDocument): Promise<string> {
  const document = parseStrictJson(await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`), {
    bytes: 64 * 1024,
    depth: 8,
    keys: 500,
  })
  if (!isJsonObject(document) || document.issuer !== issuer)
    throw new Error('the discovery document is of another issuer')
  if (typeof document.jwks_uri !== 'string') throw new Error('the discovery document names no keys')
  return document.jwks_uri
}

const unavailable = (name: string, cause: unknown): BrokerError =>
  new BrokerError(
    'unauthenticated',
    `The keys of issuer '${name}' cannot be read now, so no token of it can be checked.`,
    {
      nextAction: 'Try again in a few seconds; if it stays, tell an operator.',
      facts: { issuer: name },
      cause,
    },
  )
