// What persons say about a grant, each a statement that is signed: a vote, a condition closed, a risk accepted, a vote taken back.
// Invariant: a statement names the grant, the intent and the texts it is about and the rules it was made under, so that it says nothing
// about anything else; what was signed by a passkey and what is stored are the same canonical text.
import type { Assertion } from './assertion.ts'
import { type Canonical, canonical } from './canonical.ts'
import type { EvidenceKind } from './entitlement.ts'
import type { Digest, GrantId, PersonId } from './ids.ts'
import type { Instant } from './instant.ts'
import type { Seat } from './quorum.ts'

export type Verdict = 'approve' | 'deny'

/** Something outside that a review rests on, by address and SHA-256; or a note, which is evidence of no kind that an entitlement names. */
export type Evidence =
  | { readonly kind: EvidenceKind; readonly url: string; readonly digest: Digest }
  | { readonly kind: 'note'; readonly text: string }

/** What must still be done for a yes to hold: by whom, until when. It blocks exchange until it is closed. */
export interface Condition {
  readonly id: string
  readonly text: string
  readonly owner: PersonId
  readonly due: Instant
}

/** A risk that the owner takes upon them by name until then: a review that is missing or negative, or an open condition. */
export interface AcceptedRisk {
  /** `review:<role>` or `condition:<id>`. */
  readonly risk: string
  readonly until: Instant
}

export interface VoteContent {
  readonly act: 'vote'
  readonly verdict: Verdict
  readonly seat: Seat | 'policy'
  /** The owner in whose place a deputy decides. */
  readonly deputyFor: PersonId | undefined
  /** The criteria of the seat that were found true. */
  readonly checklist: readonly string[]
  readonly evidence: readonly Evidence[]
  readonly conditions: readonly Condition[]
  readonly accepts: readonly AcceptedRisk[]
}
export interface ClosureContent {
  readonly act: 'close'
  readonly condition: string
  readonly evidence: readonly Evidence[]
}
export interface AcceptanceContent {
  readonly act: 'accept'
  readonly accepts: readonly AcceptedRisk[]
}
export interface RetractionContent {
  readonly act: 'retract'
  /** The broker's signature of the vote, or of the risk accepted, that is taken back: nothing else has it, and every copy of it. */
  readonly vote: string
}
export type Content = VoteContent | ClosureContent | AcceptanceContent | RetractionContent

interface About {
  readonly digest: Digest
  readonly textsDigest: Digest
  readonly policyDigest: Digest
  readonly peopleDigest: Digest
}
interface Said {
  readonly v: 2
  readonly by: PersonId | 'policy'
  readonly reason: string
  readonly at: Instant
}
type Unsigned<C extends Content> = C & Said & About
/** `signature` is the broker's: `<kid>.<base64url>`, over the canonical form of all the rest, the assertion too, and the grant id. */
type Signed<C extends Content> = Unsigned<C> & {
  readonly assertion: Assertion | undefined
  readonly signature: string
}
export type Vote = Signed<VoteContent>
export type Closure = Signed<ClosureContent>
export type Acceptance = Signed<AcceptanceContent>
export type Retraction = Signed<RetractionContent>
export type Decision = Vote | Closure | Acceptance | Retraction
/** What a person is shown and a passkey signs, before anybody has signed it. */
export type UnsignedDecision =
  | Unsigned<VoteContent>
  | Unsigned<ClosureContent>
  | Unsigned<AcceptanceContent>
  | Unsigned<RetractionContent>

/**
 * The text that is signed: RFC 8785 canonical JSON with the domain tag `writ/decision/v1`. A passkey's challenge is its SHA-256
 * (WebAuthn Level 3 §13.4.3 leaves the challenge to the relying party).
 */
export const statementText = (grant: GrantId, issuer: string, decision: UnsignedDecision): string =>
  canonical({ typ: 'writ/decision/v1', iss: issuer, grant, decision: canonicalOf(decision) })

/** All members of a decision as a plain value. */
export const canonicalOf = (decision: UnsignedDecision | Omit<Decision, 'signature'>): Canonical =>
  decision as unknown as Canonical

/** What the assertion of a decision was made over. */
export function unsigned(decision: Decision): UnsignedDecision {
  const { assertion: _, signature: __, ...rest } = decision
  return rest
}

/** The votes that stand: signed once, not taken back. `decisions` must be sound ones, of this very grant. */
export function standingVotes(decisions: readonly Decision[]): readonly Vote[] {
  const back = takenBack(decisions)
  const votes = decisions.filter((one): one is Vote => one.act === 'vote' && !back.has(one.signature))
  return [...new Map(votes.map((vote) => [vote.signature, vote])).values()]
}

/** The risks that were taken upon somebody after their vote or without one, and not taken back. */
export function standingAcceptances(decisions: readonly Decision[]): readonly Acceptance[] {
  const back = takenBack(decisions)
  return decisions.filter((one): one is Acceptance => one.act === 'accept' && !back.has(one.signature))
}

const takenBack = (decisions: readonly Decision[]): ReadonlySet<string> =>
  new Set(decisions.flatMap((one) => (one.act === 'retract' ? [one.vote] : [])))
