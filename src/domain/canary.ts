// A canary: a real credential that is made for nobody and ended at once, to know before it matters whether ending works. Invariant: it has the
// number 0, which no mint of a grant ever has, so that whoever finds something of it at a backend sees by its name alone what it is.
import { credentialText, revocabilityOf, type VaultCredential } from './entitlement.ts'
import type { Digest, EntitlementId, GrantId, MintId } from './ids.ts'
import { mintId } from './ids.ts'
import type { Duration, Instant } from './instant.ts'
import type { Lease } from './mint.ts'

/** Of a grant that was never filed. */
export const canaryMint = (grant: GrantId): MintId => mintId(grant, 0)
export const isCanary = (mint: MintId): boolean => mint.endsWith('-0')
/** In place of an intent's digest, where the backend keeps one: 43 zeros are no SHA-256 that anybody has. */
export const CANARY_DIGEST = `sha-256:${'0'.repeat(43)}` as Digest

export const CANARY_RESULTS = ['ok', 'failed', 'unknown'] as const
/** `failed`: shown not to work. `unknown`: it could not be run, so nothing is known. */
export type CanaryResult = (typeof CANARY_RESULTS)[number]
export const CANARY_STEPS = ['make', 'end', 'confirm'] as const
export type CanaryStep = (typeof CANARY_STEPS)[number]

export interface Canary {
  readonly v: 1
  readonly entitlement: EntitlementId
  /** Of the rule that it was made by (`ruleOf`): under another one this result says nothing. */
  readonly rule: string
  readonly result: CanaryResult
  /** Where it stopped, and why, in a word; undefined where it is ok. */
  readonly step: CanaryStep | undefined
  readonly reason: string | undefined
  readonly at: Instant
  readonly took: Duration
  /** When it is due again. */
  readonly next: Instant
}

/** One that may still be there: written before anything is made, so that whoever comes next ends what a dead broker left. */
export interface OpenCanary {
  readonly v: 1
  readonly entitlement: EntitlementId
  readonly grant: GrantId
  /** As it was made, because ending needs no policy. */
  readonly credential: VaultCredential
  readonly since: Instant
  readonly accessor: string | undefined
  readonly lease: Lease | undefined
}

export const ruleOf = (credential: VaultCredential, sha256: (text: string) => string): string =>
  sha256(`writ/canary/v1 ${credentialText(credential)}`)

/** Whether it was shown that what is made by this rule could not be ended. */
export const forbids = (canary: Canary | undefined, credential: VaultCredential, rule: string): boolean =>
  canary?.result === 'failed' &&
  canary.step !== 'make' &&
  canary.rule === rule &&
  revocabilityOf(credential) === 'at_once'
