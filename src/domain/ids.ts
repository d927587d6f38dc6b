// Names of things. A GrantId carries its shard and the group of brokers that made it (`g<shard>-<6 of the group><20 characters>`), a MintId
// its grant, so that every key and every backend artefact can be found from the grant id alone, and one that lies about tells whose it is.
// Ids are not capabilities: knowing one gives nothing.

declare const brand: unique symbol
type Named<Name extends string> = string & { readonly [brand]: Name }

export type GrantId = Named<'grant'>
export type MintId = Named<'mint'>
export type PersonId = Named<'person'>
export type PrincipalId = Named<'principal'>
export type TenantId = Named<'tenant'>
export type GroupId = Named<'group'>
export type EntitlementId = Named<'entitlement'>
/** `sha-256:` and base64url. */
export type Digest = Named<'digest'>
/** RFC 7638 thumbprint of the key that proves possession, base64url. */
export type Thumbprint = Named<'thumbprint'>
/** `f-` and 26 characters. A freeze is the same on every shard. */
export type FreezeId = Named<'freeze'>
/** One try at an exchange, chosen by the caller: the same attempt never makes a second credential. */
export type AttemptId = Named<'attempt'>
export type Shard = number & { readonly [brand]: 'shard' }

const MINT = /^(g\d{1,4}-[a-z2-7]{26})-(0|[1-9]\d{0,5})$/
const GRANT = /^g(\d{1,4})-[a-z2-7]{26}$/
const FREEZE = /^f-[a-z2-7]{26}$/
const GROUP_LETTERS = 6
const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/
const DIGEST = /^sha-256:[A-Za-z0-9_-]{43}$/
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/
const ATTEMPT = /^[A-Za-z0-9._-]{8,64}$/

export const shard = (n: number): Shard => n as Shard
export const grantId = (of: Shard, random26: string): GrantId => parsed(`g${of}-${random26}`, isGrantId)
/** The mark of a group of brokers, 30 bits, from a hash of the public URL that they share and no other group has. */
export const groupTag = (hash: Uint8Array): string => base32(hash).slice(0, GROUP_LETTERS)
/** From the group's tag and at least 13 random bytes: 100 bits of its own. */
export const grantIdFrom = (of: Shard, group: string, bytes: Uint8Array): GrantId =>
  grantId(of, `${group}${base32(bytes).slice(0, 26 - GROUP_LETTERS)}`)
/** The tag of the group that made it. */
export const groupOf = (id: GrantId): string => id.slice(id.indexOf('-') + 1).slice(0, GROUP_LETTERS)
export const isGrantId = (text: string): text is GrantId => GRANT.test(text)
export const shardOf = (id: GrantId): Shard => Number(GRANT.exec(id)?.[1]) as Shard
export const isFreezeId = (text: string): text is FreezeId => FREEZE.test(text)
/** From at least 17 random bytes, as a grant's. */
export const freezeIdFrom = (bytes: Uint8Array): FreezeId => parsed(`f-${base32(bytes).slice(0, 26)}`, isFreezeId)
export const mintId = (grant: GrantId, n: number): MintId => `${grant}-${n}` as MintId

/** A mint's id taken apart. */
export interface MintName {
  readonly mint: MintId
  readonly grant: GrantId
  readonly n: number
}
/** Undefined for what is no mint's id. */
export function readMintId(text: string): MintName | undefined {
  const [, grant = '', n] = MINT.exec(text) ?? []
  return isGrantId(grant) ? { mint: text as MintId, grant, n: Number(n) } : undefined
}

/** Lower case words joined by `-`, at most 32 characters: safe in Vault paths, Redis keys, SQL names and URLs. */
export const isName = (text: string): boolean => text.length <= 32 && NAME.test(text)
export const isDigest = (text: string): text is Digest => DIGEST.test(text)
export const isThumbprint = (text: string): text is Thumbprint => THUMBPRINT.test(text)
export const isAttemptId = (text: string): text is AttemptId => ATTEMPT.test(text)
/** The same forms as text, for schemas that are shown to clients. A name has at most 32 characters besides. */
export const PATTERNS = {
  grantId: GRANT.source,
  freezeId: FREEZE.source,
  name: NAME.source,
  digest: DIGEST.source,
  thumbprint: THUMBPRINT.source,
  attemptId: ATTEMPT.source,
} as const

const parsed = <T extends string>(text: string, is: (text: string) => text is T): T => {
  if (!is(text)) throw new RangeError(`not an id: ${text}`)
  return text
}

/** For code that has already checked the text against a schema or the directory. */
export const named = {
  person: (text: string) => text as PersonId,
  principal: (text: string) => text as PrincipalId,
  tenant: (text: string) => text as TenantId,
  group: (text: string) => text as GroupId,
  entitlement: (text: string) => text as EntitlementId,
}

/** RFC 4648 base32 in lower case, without padding. */
function base32(bytes: Uint8Array): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567'
  let bits = 0
  let value = 0
  let text = ''
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += letters[(value >> bits) & 31] ?? ''
    }
  }
  return text
}
