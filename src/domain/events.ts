// What happened, in the past tense: one event per version of a grant, and besides them what a resource server reported as misuse of it. An event
// holds names, digests and handles, never a secret.
import type { Digest, GrantId } from './ids.ts'
import type { Instant } from './instant.ts'

export const EVENT_TYPES = [
  'filed',
  'question_asked',
  'question_answered',
  'approval_added',
  'review_denied',
  'condition_closed',
  'risk_accepted',
  'decision_withdrawn',
  'escalated',
  'approved',
  'denied',
  'withdrawn',
  'lapsed',
  'claimed',
  'opened',
  'issued',
  'released',
  'mint_closing',
  'mint_closed',
  'ending',
  'end_delayed',
  'stuck',
  'ended',
  'misuse',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

export interface GrantEvent {
  readonly v: 1
  readonly type: EventType
  readonly grant: GrantId
  readonly at: Instant
  /** Who did it: a principal's id, `policy`, `clock` or `broker`. */
  readonly by: string
  readonly digest: Digest
  readonly policyDigest: Digest
  /** Small, flat, printable. */
  readonly details: Readonly<Record<string, string | number | boolean | readonly string[]>>
}
