// Who somebody is, after the people directory has resolved what they authenticated with. Separation of duties compares natural
// persons: for a person that is the person, for a workload or an agent its sponsors.
import type { GroupId, PersonId, PrincipalId, TenantId, Thumbprint } from './ids.ts'

interface Known {
  readonly id: PrincipalId
  readonly tenant: TenantId
  readonly groups: readonly GroupId[]
}
/** A natural person. `person` is the same identifier as `id`: aliases have been resolved. */
export interface Person extends Known {
  readonly kind: 'person'
  readonly person: PersonId
}
export interface Workload extends Known {
  readonly kind: 'workload'
  readonly sponsors: readonly PersonId[]
}
export interface Agent extends Known {
  readonly kind: 'agent'
  readonly sponsors: readonly PersonId[]
}
export type Principal = Person | Workload | Agent

/** Why somebody is nobody now: not in the people directory, switched off there, or without a sponsor who still answers for them. */
export type Absence = 'unknown' | 'inactive' | 'no_active_sponsor'

/** A principal as it stands at the door in one HTTP request: who, with which key, in which session. Claims only authenticate. */
export interface Caller {
  readonly principal: Principal
  /** Thumbprint of the DPoP key proven in this very request, if any. */
  readonly key: Thumbprint | undefined
  /** The workload's run or the agent's session as its issuer names it; empty for persons. */
  readonly session: string
  /** The commit and environment that the issuer vouches for (CI tokens); empty where the issuer says nothing. */
  readonly facts: Readonly<Record<string, string>>
}

/** The natural persons who answer for this principal. */
export const personsBehind = (principal: Principal): readonly PersonId[] =>
  principal.kind === 'person' ? [principal.person] : principal.sponsors
