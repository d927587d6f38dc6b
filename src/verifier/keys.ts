// The broker's public keys (RFC 7517), by kid: read from its URL and kept for a bounded time, or pinned. Invariant: a key that the broker no
// longer publishes verifies nothing once the set has been read again, and a set that cannot be read again is used up at `maxAge`.
import { createPublicKey, type KeyObject } from 'node:crypto'
import type { Machine } from './machine.ts'
import { isObject, isText, type JsonObject, strictObject } from './strict-jws.ts'
import type { Wire } from './wire.ts'

export interface JwkSet {
  readonly keys: readonly object[]
}
export interface KeySource {
  /** Undefined: there is no such key. `unknown`: it cannot be known now. Never rejects. */
  key(kid: string): Promise<KeyObject | undefined | 'unknown'>
}
export interface KeyLimits {
  /** After this a set that could not be read again is used no more. */
  readonly maxAgeMs: number
  /** How long after a reading an unknown kid leads to no other one. */
  readonly cooldownMs: number
  readonly timeoutMs: number
}
export const KEY_LIMITS: KeyLimits = { maxAgeMs: 15 * 60_000, cooldownMs: 30_000, timeoutMs: 3_000 }

const LONGEST = 65_536
const MOST_KEYS = 20
/** After a failure nobody asks again for so long: whoever comes meanwhile gets the failure. */
const AFTER_FAILURE_MS = 1_000

/** Keys that were handed in: they never change. Throws on a set that cannot be used. */
export function pinnedKeys(set: JwkSet): KeySource {
  const keys = keysOf({ ...set })
  return { key: async (kid) => keys.get(kid) }
}

export function publishedKeys(
  wire: Pick<Wire, 'ask'>,
  url: string,
  machine: Pick<Machine, 'monotonic' | 'now'>,
  limits: KeyLimits,
  problem: (what: string, thrown: unknown) => void,
): KeySource {
  let read: { readonly keys: ReadonlyMap<string, KeyObject>; readonly at: Moment; readonly freshMs: number } | undefined
  let reading: Promise<boolean> | undefined
  let tried: Moment | undefined
  let failed = false

  const readAgain = (): Promise<boolean> => {
    reading ??= (async () => {
      // Dated by the question: what was true when it was sent.
      const at = moment(machine)
      try {
        const { status, headers, text } = await wire.ask(url, {
          headers: { accept: 'application/json' },
          timeoutMs: limits.timeoutMs,
          longest: LONGEST,
        })
        if (status !== 200) throw new Error(`the keys were answered with status ${status}`)
        read = { keys: keysOf(strictObject(text)), at, freshMs: freshOf(headers, limits) }
        failed = false
      } catch (thrown) {
        failed = true
        problem('keys', thrown)
      }
      tried = moment(machine)
      reading = undefined
      return !failed
    })()
    return reading
  }
  const since = (then: Moment | undefined): number =>
    then === undefined ? Number.POSITIVE_INFINITY : age(machine, then)

  return {
    key: async (kid) => {
      if (read === undefined || since(read.at) >= limits.maxAgeMs) {
        if (reading === undefined && failed && since(tried) < AFTER_FAILURE_MS) return 'unknown'
        if (!(await readAgain())) return 'unknown'
      } else if (since(read.at) >= read.freshMs && since(tried) >= AFTER_FAILURE_MS) void readAgain()
      const known = read?.keys.get(kid)
      if (known !== undefined) return known
      // A token with a kid that nobody knows costs one question, not one each.
      if (since(tried) < limits.cooldownMs && reading === undefined) return undefined
      return (await readAgain()) ? read?.keys.get(kid) : 'unknown'
    },
  }
}

/** A point in time by both clocks. */
export interface Moment {
  readonly monotonic: number
  readonly wall: number
}
export const moment = (machine: Pick<Machine, 'monotonic' | 'now'>): Moment => ({
  monotonic: machine.monotonic(),
  wall: machine.now(),
})
/**
 * How long ago that was, by the clock that says longer: one that was set back makes nothing young, and a machine that slept, whose
 * monotonic clock slept with it, has grown older by its wall clock.
 */
export const age = (machine: Pick<Machine, 'monotonic' | 'now'>, then: Moment): number =>
  Math.max(machine.monotonic() - then.monotonic, machine.now() - then.wall)

/** As long as the broker says that they may be kept, but no longer than half of the hard limit. */
function freshOf(headers: Headers, limits: KeyLimits): number {
  const seconds = /\bmax-age=(\d{1,6})\b/.exec(headers.get('cache-control') ?? '')?.[1]
  return Math.min(Math.max(Number(seconds ?? 0) * 1_000, 5_000), limits.maxAgeMs / 2)
}

const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

/** The keys that verify ES256, by kid. Others are passed over; a private one, one kid twice, or too many make the whole set useless. */
function keysOf(set: JsonObject | undefined): ReadonlyMap<string, KeyObject> {
  const list = set?.keys
  if (!Array.isArray(list) || list.length === 0 || list.length > MOST_KEYS) throw new Error('this is not a set of keys')
  const keys = new Map<string, KeyObject>()
  for (const jwk of list as readonly unknown[]) {
    if (!isObject(jwk)) throw new Error('this is not a set of keys')
    if (PRIVATE.some((name) => Object.hasOwn(jwk, name))) throw new Error('the set shows a private key')
    const { kty, crv, x, y, kid, alg, use } = jwk
    if (kty !== 'EC' || crv !== 'P-256' || (alg ?? 'ES256') !== 'ES256' || (use ?? 'sig') !== 'sig') continue
    if (!isText(kid, 128) || !isText(x, 64) || !isText(y, 64)) throw new Error('the set has a key without kid or point')
    if (keys.has(kid)) throw new Error('the set has one kid twice')
    keys.set(kid, createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' }))
  }
  if (keys.size === 0) throw new Error('the set has no key for ES256')
  return keys
}
