// The immutable statement of the change inside a grant: what is asked, by whom, for which target, in which window.
// Every member of Intent is semantic, and so in the digest; texts that a person approves are hashed apart, and into every decision.
import { type Canonical, canonical } from './canonical.ts'
import type { Digest, EntitlementId, PrincipalId, TenantId, Thumbprint } from './ids.ts'
import type { Impact } from './risk.ts'
import type { Window } from './window.ts'

export type ChangeClass = 'standard' | 'normal' | 'emergency'

/** How much of whom is exposed to the change: shares of 100. A stage beyond `to` is another intent, and so a new grant. */
export interface Exposure {
  readonly segment: string
  readonly from: number
  readonly to: number
  /** When the stage is taken back. */
  readonly rollbackCriteria: string
}

/** The commit whose release this is, at the forge that the entitlement names. */
export interface Change {
  readonly forge: string
  readonly repository: string
  readonly sha: string
}

export interface Intent {
  readonly tenant: TenantId
  readonly entitlement: EntitlementId
  readonly requester: PrincipalId
  /** The principal, and the key where it is known, that alone may exchange. */
  readonly executor: { readonly principal: PrincipalId; readonly key: Thumbprint | undefined }
  /** What the directory held as the registered model, prompt and tools of an agent when it asked, or was named to execute. */
  readonly manifests: { readonly requester: Digest | undefined; readonly executor: Digest | undefined }
  readonly task: string
  readonly session: string
  readonly target: string
  readonly environment: string
  readonly actions: readonly string[]
  readonly scope: readonly string[]
  readonly dataTypes: readonly string[]
  /** An id of the catalogue; one that is not in it is untrusted. Empty where no data goes anywhere. */
  readonly destination: string
  readonly exposure: Exposure | undefined
  readonly change: Change | undefined
  readonly changeClass: ChangeClass
  readonly impact: Impact
  readonly plan: { readonly digest: Digest; readonly mediaType: string } | undefined
  readonly ticket: { readonly system: string; readonly id: string } | undefined
  readonly window: Window
  readonly credential: { readonly kind: 'jwt' | 'vault'; readonly uses: number }
}

/** Free texts and addresses: not in the intent digest, yet immutable once filed and hashed into every decision. */
export interface Texts {
  readonly summary: string
  readonly objective: string
  readonly expectedOutcome: string
  readonly rollback: string
  readonly ticketUrl: string
  readonly planUri: string
}

/** SHA-256 of UTF-8 text in base64url; handed in, because the domain imports nothing. */
export type Sha256 = (text: string) => string

/** A set: sorted and unique, so that the order in which somebody wrote it does not matter. */
export const asSet = (items: readonly string[]): readonly string[] => [...new Set(items)].sort()

const digestOf = (sha256: Sha256, type: string, issuer: string, value: Canonical): Digest =>
  `sha-256:${sha256(canonical({ typ: type, iss: issuer, value }))}` as Digest

/** The digest that is voted on, named `writ/intent/v1`. `issuer` is the broker's public URL: an approval of one broker is none of another. */
export const intentDigest = (intent: Intent, issuer: string, sha256: Sha256): Digest =>
  digestOf(sha256, 'writ/intent/v1', issuer, semantic(intent))

export const textsDigest = (texts: Texts, issuer: string, sha256: Sha256): Digest =>
  digestOf(sha256, 'writ/texts/v1', issuer, { ...texts })

/** The semantic members in their hashed form: instants as integer milliseconds, sets sorted and unique. */
export function semantic(intent: Intent): { readonly [key: string]: Canonical | undefined } {
  return {
    ...intent,
    executor: { ...intent.executor },
    manifests: { ...intent.manifests },
    actions: asSet(intent.actions),
    scope: asSet(intent.scope),
    dataTypes: asSet(intent.dataTypes),
    exposure: intent.exposure && { ...intent.exposure },
    change: intent.change && { ...intent.change },
    impact: { ...intent.impact },
    plan: intent.plan && { ...intent.plan },
    ticket: intent.ticket && { ...intent.ticket },
    window: { ...intent.window },
    credential: { ...intent.credential },
  }
}
