// Who may see a grant. Absent and forbidden look the same: every verb asks here first and answers `grant_not_found` for both.

import type { Entitlement } from '../domain/entitlement.ts'
import { notFound } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Caller, Principal } from '../domain/principal.ts'
import { hasPart } from '../domain/quorum.ts'
import { type AskedRisk, askedRisk } from '../domain/risk.ts'
import { answersFor, asFiled } from './judge.ts'
import type { Ports, Rules, StoredEvent } from './ports.ts'

export type ViewPorts = Pick<Ports, 'grants' | 'rules' | 'control'>

/**
 * The parties and those who answer for them; in the grant's own tenant whom the guards let read it, or decide on it. A stranger is told
 * by names alone: no guard is asked, so that the time an answer takes says no more than the answer. Who somebody is, is asked of the
 * directory each time: a stream or a long poll looks again long after its caller came.
 */
export function mayView(rules: Rules, caller: Principal, grant: Grant): boolean {
  const { intent } = grant.ask
  const viewer = rules.directory.principal(caller.id)
  if (viewer === undefined) return false
  const parties = [intent.requester, intent.executor.principal]
  if (parties.includes(viewer.id)) return true
  if (parties.some((id) => isBehind(rules, id, viewer))) return true
  if (viewer.tenant !== intent.tenant) return false
  return (
    mayAct(rules, 'ReadGrant', viewer, grant) ||
    (hasSeat(grant, entitlementOf(rules, grant.ask), viewer) && mayAct(rules, 'Approve', viewer, grant))
  )
}

/**
 * Under the rule as filed or under today's: which of them must be met is the quorum's to say, and an owner who was named since must see
 * what waits for them.
 */
export const hasSeat = ({ ask }: Grant, today: Entitlement, somebody: Principal): boolean =>
  somebody.kind === 'person' &&
  [ask.rule, today.approval].some((rule) => rule.mode === 'people' && hasPart(rule, somebody))

/** A natural person behind the party; or an agent of a party that is a person, which may look but not act. */
const isBehind = (rules: Rules, id: Grant['ask']['intent']['requester'], viewer: Principal): boolean => {
  const party = rules.directory.principal(id)
  if (party === undefined) return false
  if (answersFor(viewer, party)) return true
  return party.kind === 'person' && viewer.kind !== 'person' && viewer.sponsors.includes(party.person)
}

/**
 * What a grant is judged under by those who see and end it. Where its entitlement is gone today, or has become another tenant's, the one
 * it was filed under stands in: who may see and end a living grant must not depend on files that have changed since.
 */
function entitlementOf(rules: Rules, ask: Grant['ask']): Entitlement {
  const today = rules.policy.entitlement(ask.intent.entitlement)
  return today?.tenant === ask.intent.tenant ? today : asFiled(ask)
}

/** A guard's answer on an existing grant. */
export function mayAct(
  rules: Rules,
  action: 'ReadGrant' | 'Approve' | 'Revoke' | 'Complete',
  principal: Principal,
  grant: Grant,
): boolean {
  const { intent } = grant.ask
  if (principal.tenant !== intent.tenant) return false
  const entitlement = entitlementOf(rules, grant.ask)
  const requester = rules.directory.principal(intent.requester)
  const about = requester === undefined ? {} : { requester }
  return rules.policy.judge({ action, principal, entitlement, intent, ...about, risk: riskAsFiled(rules, grant) })
    .allowed
}

/** What the guards are told of an asking that is there already: what was found at its filing. */
export const riskAsFiled = ({ policy }: Rules, { ask }: Grant): AskedRisk =>
  askedRisk(policy.catalogue, ask.flags, ask.intent, ask.earlier)

export const view =
  (p: ViewPorts) =>
  async (caller: Caller, id: GrantId): Promise<Grant> => {
    const loaded = await p.grants.load(id)
    if (loaded === undefined || !mayView(p.rules(loaded.control), caller.principal, loaded.grant)) throw notFound()
    return loaded.grant
  }

export const events =
  (p: ViewPorts) =>
  async (caller: Caller, id: GrantId): Promise<readonly StoredEvent[]> => {
    await view(p)(caller, id)
    return p.grants.events(id)
  }

/** What this caller may ask for, by tenant and guards. */
export const offered =
  (p: ViewPorts) =>
  async (caller: Caller): Promise<readonly Entitlement[]> => {
    const { policy } = p.rules(await p.control())
    return policy
      .entitlements()
      .filter((entitlement) => entitlement.openTo.includes(caller.principal.tenant))
      .filter(
        (entitlement) =>
          policy.judge({ action: 'Request', principal: caller.principal, entitlement, requester: caller.principal })
            .allowed,
      )
  }
