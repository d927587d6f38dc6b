// Whether a decision is one: signed by this group of brokers for exactly this grant, intent and texts, and by the person's passkey where
// the rule asks for it. Invariant: whatever lies in Redis, a decision that is altered, copied or unsigned says nothing.
import { type Decision, statementText, unsigned } from '../domain/decision.ts'
import type { PeopleRule } from '../domain/entitlement.ts'
import type { Grant } from '../domain/grant.ts'
import type { Ports } from './ports.ts'

export type SoundPorts = Pick<Ports, 'signatures' | 'stepUp' | 'issuer'>

export function isSound(p: SoundPorts, grant: Grant, rules: readonly PeopleRule[], decision: Decision): boolean {
  const { digest, textsDigest } = grant.ask
  if (decision.digest !== digest || decision.textsDigest !== textsDigest) return false
  if (!p.signatures.verify(grant.id, decision)) return false
  const { assertion } = decision
  if (assertion !== undefined) return p.stepUp.check(statementText(grant.id, p.issuer, unsigned(decision)), assertion)
  // Taking back what was said needs no passkey: it only ends.
  return decision.act === 'retract' || decision.by === 'policy' || !rules.some(({ stepUp }) => stepUp)
}
