// Where a grant stands in a token status list (draft-ietf-oauth-status-list). Nothing is allocated: the place follows from where the grant
// was born in its shard's one order of commits, so no two grants ever share one. Invariant: only a grant that the store has marked as live
// is VALID; everything else in a list is INVALID, whether it ended, was lost with a restored Redis, or never was.
import type { CredentialRule } from './entitlement.ts'
import type { Grant } from './grant.ts'
import { type Shard, shard, shardOf } from './ids.ts'
import { type Duration, shortest } from './instant.ts'

/** Statuses in one list: 16 KiB before it is compressed. Places that no token has are INVALID like any other. */
export const LIST_SIZE = 65_536
export const STATUS_BITS = 2
/** As registered by the draft. SUSPENDED (2) is never said: what is stopped here is stopped for ever. */
export const STATUS_TYPES = { valid: 0, invalid: 1 } as const

export interface ListName {
  readonly shard: Shard
  /** Of its births: the list holds those from `block * LIST_SIZE` on. */
  readonly block: number
}
export interface StatusPlace {
  readonly list: ListName
  readonly idx: number
}

/** Undefined where it is not known when the grant was born: then its tokens name no list. */
export const placeAt = (of: Shard, born: number): StatusPlace | undefined =>
  born === 0 ? undefined : { list: { shard: of, block: Math.floor(born / LIST_SIZE) }, idx: born % LIST_SIZE }

/** The place of a grant's tokens; undefined for every other kind of credential. */
export const statusPlaceOf = ({ id, born, ask: { credential } }: Grant): StatusPlace | undefined =>
  credential.kind === 'jwt' ? placeAt(shardOf(id), born) : undefined

/**
 * Whether verifiers may go by a list that they keep for `ttl`: only where the entitlement lets them remember for as long. What is tighter is
 * for those who introspect.
 */
export const mayGoByList = (credential: CredentialRule, ttl: Duration): boolean =>
  credential.kind === 'jwt' &&
  credential.verifierCache > 0 &&
  credential.verifierCache >= shortest(ttl, credential.maxLife)

export const printList = ({ shard: of, block }: ListName): string => `${of}-${block}`
export const listUri = (issuer: string, list: ListName): string => `${issuer}/status/${printList(list)}`

/** One spelling of each name; undefined for anything else. */
export function parseList(text: string): ListName | undefined {
  const [, of, block] = /^(0|[1-9]\d{0,3})-(0|[1-9]\d{0,11})$/.exec(text) ?? []
  return of === undefined || block === undefined ? undefined : { shard: shard(Number(of)), block: Number(block) }
}

/**
 * The list as the draft encodes it, least significant bits first. `live` has one bit per place, as Redis counts them: place n is the bit of
 * value `128 >> n % 8` in byte `n / 8`; what it is too short for is not live.
 */
export function statusBytes(live: Uint8Array): Uint8Array {
  const statuses = new Uint8Array((LIST_SIZE * STATUS_BITS) / 8).fill(ALL_INVALID)
  for (const [at, byte] of live.subarray(0, LIST_SIZE / 8).entries())
    for (let n = 0; byte !== 0 && n < 8; n += 1) {
      if ((byte & (128 >> n)) === 0) continue
      const place = at * 8 + n
      const before = statuses[place >> 2] ?? 0
      statuses[place >> 2] = before & ~(STATUS_TYPES.invalid << ((place & 3) * STATUS_BITS))
    }
  return statuses
}
const ALL_INVALID = 0b01_01_01_01
