// What may be asked for, as compiled from configuration: a target, actions, a credential kind, limits, and the rule for approving.
// An Entitlement is immutable and complete: every default is filled in when the policy is compiled.
import { canonical } from './canonical.ts'
import type { EntitlementId, GroupId, PersonId, TenantId } from './ids.ts'
import { type Duration, type Instant, milliseconds, shortest } from './instant.ts'
import type { Flag } from './risk.ts'
import type { Tier } from './tier.ts'
import type { MisuseAnswer } from './use.ts'

/** What an action does to its target. `destructive`, `escalating` and `transfer` are never approved without a person. */
export const ACTION_CLASSES = ['read', 'write', 'deploy', 'destructive', 'escalating', 'transfer'] as const
export type ActionClass = (typeof ACTION_CLASSES)[number]
export const NEVER_AUTOMATIC: readonly ActionClass[] = ['destructive', 'escalating', 'transfer']

export interface Target {
  readonly id: string
  readonly environment: string
  /** The one audience of a `jwt`, a URI. */
  readonly audience: string
}

/** At once: whoever asks the broker or the backend is refused from then on. Expiry: only its own end ends it. */
export type Revocability = 'at_once' | 'expiry'

export interface JwtCredential {
  readonly kind: 'jwt'
  readonly sender: 'dpop' | 'bearer'
  /** The longest life of one token; never past the window. */
  readonly maxLife: Duration
  /** What verifiers that do not introspect may cache: the residue after a revoke. */
  readonly verifierCache: Duration
}
export interface VaultDatabase {
  readonly mount: string
  readonly connection: string
  /** The group role whose rights a mint's own login gets. */
  readonly grantedRole: string
  /** Who owns what the login created, after its end. */
  readonly ownerRole: string
}
/** Vault's own house: what stands there gives rights, and is no credential. Nowhere in a path, because a namespace may come before it. */
export const RESERVED_SEGMENTS = ['sys', 'auth', 'identity', 'cubbyhole'] as const
/** One word of such a path, as a pattern: no dots alone, no wildcard, no percent sign. */
export const VAULT_SEGMENT = '[A-Za-z0-9][A-Za-z0-9._-]*'

/** Any other path of Vault whose answer is the credential. All of it is the operator's: no text of a caller becomes part of the call. */
export interface VaultPath {
  readonly mount: string
  /** Below the mount: one path for every mint. */
  readonly path: string
  readonly method: 'read' | 'write'
  /** What is written, word for word; empty where it is read. */
  readonly parameters: Readonly<Record<string, string>>
  /** The parameter by which the engine is told how long the credential may live, in seconds; undefined where its life is its own. */
  readonly lifeParameter: string | undefined
  /** The member of the answer that says when it ends (seconds since 1970), where the engine gives no lease that says how long. */
  readonly endMember: string | undefined
}
interface OfVault {
  readonly kind: 'vault'
  readonly backend: string
  readonly revocability: Revocability
}
export interface VaultDatabaseCredential extends OfVault {
  readonly engine: 'database'
  readonly database: VaultDatabase
}
export interface VaultPathCredential extends OfVault {
  readonly engine: 'path'
  readonly path: VaultPath
  /** What lives longer by itself is never handed out. Where it cannot be revoked, this is how long it may outlive a revoke. */
  readonly maxLife: Duration
}
export type VaultCredential = VaultDatabaseCredential | VaultPathCredential
export type CredentialRule = JwtCredential | VaultCredential

export const revocabilityOf = (rule: CredentialRule): Revocability =>
  rule.kind === 'jwt' ? 'at_once' : rule.revocability

/** How long a credential may outlive a revoke, at worst, in a window of this length. */
export function worstResidue(rule: CredentialRule, window: Duration): Duration {
  if (rule.kind === 'jwt') return shortest(rule.verifierCache, window)
  if (rule.revocability === 'at_once') return milliseconds(0)
  return rule.engine === 'path' ? shortest(rule.maxLife, window) : window
}

/** Who reviews on own criteria, beside the owner who decides. */
export const REVIEWER_ROLES = ['security', 'legal', 'privacy', 'compliance', 'data-governance', 'operations'] as const
export type ReviewerRole = (typeof REVIEWER_ROLES)[number]
/** Kinds of evidence that an entitlement can name. A note is evidence of no kind. */
export const EVIDENCE_KINDS = [
  'threat-model',
  'test-results',
  'rollback-plan',
  'control-exception',
  'impact-assessment',
  'change-record',
] as const
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number]

/** Somebody who may decide for the owner in a term that has an end. A group supplies deputies, never an owner. */
export interface Deputy {
  readonly person: PersonId | undefined
  readonly group: GroupId | undefined
  readonly from: Instant
  readonly until: Instant
}
export interface ReviewerRule {
  readonly role: ReviewerRole
  readonly group: GroupId
  readonly count: number
  /** What each reviewer of this role must have found true: id and sentence. */
  readonly criteria: Readonly<Record<string, string>>
  /** Of each of these kinds, each review must cite something. */
  readonly evidence: readonly EvidenceKind[]
  /** A missing or negative review stands, whatever risk the owner would accept. */
  readonly veto: boolean
}
/** Distinct persons, each counted once: the owner, who decides last, and of each role the number it must give. */
export interface PeopleRule {
  readonly mode: 'people'
  /** The one person who answers for the target. */
  readonly owner: PersonId
  /** In their order: a later one only where no earlier one can. */
  readonly deputies: readonly Deputy[]
  readonly reviewers: readonly ReviewerRule[]
  /** Distinct persons needed in all; never less than one. */
  readonly approvals: number
  /** Each of them signs with a passkey of their own. */
  readonly stepUp: boolean
}
export type ApprovalRule = { readonly mode: 'auto' } | PeopleRule

export interface Limits {
  readonly maxDuration: Duration
  readonly horizon: Duration
  /** How long the asked approvers have; undecided is then escalated. */
  readonly decideWithin: Duration
  /** How long everybody who could decide has after that; undecided then lapses. */
  readonly escalateWithin: Duration
  /** How long after approval, or the opening of its window, the first credential must be fetched. */
  readonly useWithin: Duration
  /** The same where an agent executes. */
  readonly agentsUseWithin: Duration
  readonly maxUses: number
}

/** Where the authors of a released change are read. */
export interface Release {
  readonly forge: string
  readonly repository: string
  /** The word of the scope that holds the commit: `commit` for `commit:<sha>`. */
  readonly scope: string
}

export interface Entitlement {
  readonly id: EntitlementId
  readonly title: string
  /** Whose target it is: its people approve, see and revoke. */
  readonly tenant: TenantId
  /** Tenants whose principals may ask; the owning tenant where the file says nothing else. */
  readonly openTo: readonly TenantId[]
  readonly tier: Tier
  readonly target: Target
  readonly actions: Readonly<Record<string, ActionClass>>
  /** What an action does beyond its class. */
  readonly actionFlags: Readonly<Record<string, readonly Flag[]>>
  /** What every asking of this entitlement does. */
  readonly flags: readonly Flag[]
  readonly scopes: readonly string[]
  readonly credential: CredentialRule
  readonly approval: ApprovalRule
  readonly limits: Limits
  /** A ticket must be named. */
  readonly ticketRequired: boolean
  /** A plan digest must be named. */
  readonly planRequired: boolean
  /** Whoever asks does not execute: separate identities for asking, approving and executing. */
  readonly separateExecutor: boolean
  /** A group with more members than this approves nothing at tier high and above. */
  readonly maxApprovers: number
  readonly release: Release | undefined
  /** Claims of the executor's own token that must equal these members of the intent (`sha` = plan commit and so on). */
  readonly bindClaims: Readonly<Record<string, string>>
  /** What is ended when a resource server reports misuse of a credential; undefined where that is only shown. */
  readonly onMisuse: readonly MisuseAnswer[] | undefined
}

/** The lane of the deadline set that a grant's end waits in: one per backend, so that a hanging backend delays only its own. */
export type Lane = string
export const LOCAL_LANE: Lane = 'local'
export const laneOf = (credential: CredentialRule): Lane =>
  credential.kind === 'jwt' ? LOCAL_LANE : credential.backend

/** Whether two rules make and end credentials in the same way, whatever order their members came in. */
export const sameCredential = (a: CredentialRule, b: CredentialRule): boolean => credentialText(a) === credentialText(b)
/** The same text for the same rule. */
export function credentialText(rule: CredentialRule): string {
  if (rule.kind === 'jwt') return canonical({ ...rule })
  if (rule.engine === 'database') return canonical({ ...rule, database: { ...rule.database } })
  return canonical({ ...rule, path: { ...rule.path } })
}
