// Token status lists (draft-ietf-oauth-status-list) as signed documents. Invariant: what is answered was read from the store after the question,
// so a list is never older than its asking; it is signed again when its content has changed, and otherwise at half its `ttl`.
import { deflateSync } from 'node:zlib'
import { SignJWT } from 'jose'
import type { StatusLists } from '../broker/ports.ts'
import { type Duration, type Instant, toSeconds } from '../domain/instant.ts'
import { type ListName, listUri, parseList, printList, STATUS_BITS, statusBytes } from '../domain/status-list.ts'
import type { Key, KeyRing } from './key-ring.ts'

export interface SignedList {
  readonly token: string
  /** For how long whoever keeps this answer is not further behind than `ttl`. */
  readonly maxAgeSeconds: number
}
export interface SignedLists {
  /** Undefined where there is no list of this name. Rejects `recovering`, `store_unavailable` and `clock_untrusted`: nothing is said then. */
  list(name: string): Promise<SignedList | undefined>
  /** Where all of them are. */
  uris(): Promise<readonly string[]>
}
export interface SignedListOptions {
  readonly lists: StatusLists
  readonly ring: KeyRing
  readonly issuer: string
  /** Redis's time as sampled; throws `clock_untrusted`. */
  readonly now: () => Instant
  /** Whole seconds. How long a verifier may go by a list that it has just fetched; nobody may go by one for longer than twice that. */
  readonly ttl: Duration
}

/** At most this many lists are kept signed; those that nobody has asked for longest go first. */
const KEPT = 200

interface Kept {
  readonly live: Uint8Array
  readonly at: Instant
  readonly kid: string
  readonly token: Promise<string>
}

export function signedLists({ lists, ring, issuer, now, ttl }: SignedListOptions): SignedLists {
  const kept = new Map<string, Kept>()
  const ttlSeconds = toSeconds(ttl)

  async function sign(list: ListName, live: Uint8Array, at: Instant, key: Key): Promise<string> {
    const lst = deflateSync(statusBytes(live), { level: 9 }).toString('base64url')
    return new SignJWT({ status_list: { bits: STATUS_BITS, lst }, ttl: ttlSeconds })
      .setProtectedHeader({ alg: 'ES256', typ: 'statuslist+jwt', kid: key.kid })
      .setSubject(listUri(issuer, list))
      .setIssuer(issuer)
      .setIssuedAt(toSeconds(at))
      .setExpirationTime(toSeconds(at) + 2 * ttlSeconds)
      .sign(key.privateKey)
  }

  async function read(list: ListName): Promise<SignedList | undefined> {
    // Before the reading: what a list says may be newer than its date, never older.
    const at = now()
    const live = await lists.live(list)
    const name = printList(list)
    if (live === undefined) {
      kept.delete(name)
      return undefined
    }
    const key = ring.keys().signing('access', at)
    const before = kept.get(name)
    const holds =
      before !== undefined &&
      before.kid === key.kid &&
      at >= before.at &&
      at - before.at < ttl / 2 &&
      Buffer.compare(before.live, live) === 0
    const current = holds ? before : { live, at, kid: key.kid, token: sign(list, live, at, key) }
    kept.delete(name)
    kept.set(name, current)
    const [oldest] = kept.size > KEPT ? kept.keys() : []
    if (oldest !== undefined) kept.delete(oldest)
    return { token: await current.token, maxAgeSeconds: toSeconds(current.at) + ttlSeconds - toSeconds(at) }
  }

  const reads = oneAtATime(read)
  return {
    list: async (name) => {
      const list = parseList(name)
      return list && (await reads(list))
    },
    uris: async () => (await lists.all()).map((list) => listUri(issuer, list)),
  }
}

/**
 * One reading of each list at a time. Whoever asks while one runs shares the next: so nobody is answered from before their question, and
 * however many ask, the store is asked one by one.
 */
function oneAtATime<T>(read: (list: ListName) => Promise<T>): (list: ListName) => Promise<T> {
  const running = new Map<string, { readonly work: Promise<T>; next: Promise<T> | undefined }>()
  const start = (name: string, list: ListName): Promise<T> => {
    const work = read(list).finally(() => {
      if (running.get(name)?.work === work && running.get(name)?.next === undefined) running.delete(name)
    })
    running.set(name, { work, next: undefined })
    return work
  }
  return (list) => {
    const name = printList(list)
    const now = running.get(name)
    if (now === undefined) return start(name, list)
    now.next ??= now.work.then(
      () => start(name, list),
      () => start(name, list),
    )
    return now.next
  }
}
