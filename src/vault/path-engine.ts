// Credentials from any other path of Vault: what is read or written there is the credential. Whether it can be revoked is what the entitlement
// declares and what Vault's answer shows; where the two differ, nothing is handed out. Invariant: the whole call is the entitlement's; no text
// of a caller, and nothing but the time left, becomes part of it.
import type { VaultSecret } from '../broker/ports.ts'
import { RESERVED_SEGMENTS, type VaultPathCredential } from '../domain/entitlement.ts'
import type { Lease } from '../domain/mint.ts'
import type { Body } from './client.ts'
import { isPathSegment } from './names.ts'

/** Where the credential is; a lease's id begins with it. */
export const pathOf = ({ path: { mount, path } }: VaultPathCredential): string => `${mount}/${path}`

/** Asked again here, because a stored ask is read too: no segment that leads elsewhere, stands for several, or is Vault's own or Writ's. */
export const isVaultPath = (text: string): boolean =>
  text.length <= 400 &&
  text
    .split('/')
    .every(
      (segment) =>
        isPathSegment(segment) &&
        !segment.startsWith('writ-') &&
        !RESERVED_SEGMENTS.some((reserved) => reserved === segment),
    )

/** What is sent to have one that lives so long at most; undefined where it is read. */
export const bodyFor = (
  { path: { method, parameters, lifeParameter } }: VaultPathCredential,
  lifeSeconds: number,
): Readonly<Record<string, string>> | undefined => {
  if (method === 'read') return undefined
  return lifeParameter === undefined ? parameters : { ...parameters, [lifeParameter]: `${lifeSeconds}s` }
}

/** What Vault gave, or why it must not be handed out. With a lease, whoever refuses it ends it. */
export type Given =
  | { readonly lease: Lease; readonly secret: VaultSecret; readonly wrong?: undefined }
  | { readonly lease: Lease | undefined; readonly wrong: Fault }

/** How what the entitlement declares and what Vault gives differ, each with what an operator does about it. */
export const FAULTS = {
  answers_with_a_token:
    'This path gives a token of Vault itself, which is never handed out: remove it from the entitlement.',
  no_secret: 'This path gives nothing that could be handed out: correct mount, path or method in the entitlement.',
  foreign_lease: 'The lease is of another path: name in the entitlement the very path that makes the credential.',
  no_lease:
    'Declare revocability: expiry in the entitlement: Vault gives no lease here, so what it gives cannot be revoked.',
  lease_cannot_be_renewed:
    'Declare revocability: expiry in the entitlement: such a lease is a note of an end, and revoking it reaches nothing.',
  no_life: 'Let the engine say how long it lives, by a lease or by the endMember of the entitlement.',
  lives_too_long:
    'Shorten its life at the engine, name its lifeParameter, or declare a longer maxLife in the entitlement.',
} as const
export type Fault = keyof typeof FAULTS

/**
 * Reads Vault's answer against what was declared. `nowSeconds` is Vault's or our time since 1970, for what says when it ends instead of how
 * long it lives.
 */
export function given(credential: VaultPathCredential, answer: Body, nowSeconds: number): Given {
  const id = typeof answer.lease_id === 'string' ? answer.lease_id : ''
  const lease: Lease | undefined = id === '' ? undefined : { id, durationSeconds: wholeSeconds(answer.lease_duration) }
  const wrong = (fault: Fault): Given => ({ lease, wrong: fault })
  if (typeof answer.auth === 'object' && answer.auth !== null) return wrong('answers_with_a_token')
  if (lease !== undefined && !lease.id.startsWith(`${pathOf(credential)}/`)) return wrong('foreign_lease')
  const secret = secretIn(answer.data)
  if (Object.keys(secret).length === 0) return wrong('no_secret')
  if (credential.revocability === 'at_once' && lease === undefined) return wrong('no_lease')
  if (credential.revocability === 'at_once' && answer.renewable !== true) return wrong('lease_cannot_be_renewed')
  const lifeSeconds = lifeIn(credential, answer, nowSeconds)
  if (lifeSeconds <= 0) return wrong('no_life')
  if (lifeSeconds * 1_000 > credential.maxLife) return wrong('lives_too_long')
  return { lease: { id, durationSeconds: lifeSeconds }, secret }
}

/** The longest of what is said: a lease that ends before the credential does says nothing about the credential. */
function lifeIn({ path: { endMember } }: VaultPathCredential, answer: Body, nowSeconds: number): number {
  const stated = wholeSeconds(answer.lease_duration)
  if (endMember === undefined) return stated
  const endsAt = Number((answer.data as Body | null | undefined)?.[endMember])
  // Named and absent is not "no end": the entitlement says that this engine states one.
  return Number.isFinite(endsAt) ? Math.max(stated, Math.ceil(endsAt - nowSeconds)) : 0
}

const wholeSeconds = (value: unknown): number => (typeof value === 'number' && value > 0 ? Math.ceil(value) : 0)

/** Every member as text; what is no text stands as JSON. */
function secretIn(data: unknown): VaultSecret {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return {}
  return Object.fromEntries(
    Object.entries(data).flatMap(([name, value]) =>
      value === null || value === undefined ? [] : [[name, typeof value === 'string' ? value : JSON.stringify(value)]],
    ),
  )
}
