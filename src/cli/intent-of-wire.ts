// A grant as the API shows it, back into the values that are hashed: so that what a person reads here is proven to be what is voted on.
import { createHash } from 'node:crypto'
import type { Digest, Thumbprint } from '../domain/ids.ts'
import { named } from '../domain/ids.ts'
import { type Instant, parseInstant } from '../domain/instant.ts'
import { type Intent, intentDigest } from '../domain/intent.ts'
import type { GrantAnswer } from '../http/wire.ts'

export type WireIntent = GrantAnswer['intent']

/** Throws RangeError where a time cannot be read. */
export function intentOf(wire: WireIntent): Intent {
  const { executor, manifests, exposure, change, plan, ticket, window } = wire
  const { key } = executor
  return {
    tenant: named.tenant(wire.tenant),
    entitlement: named.entitlement(wire.entitlement),
    requester: named.principal(wire.requester),
    executor: { principal: named.principal(executor.principal), key: key as Thumbprint | undefined },
    manifests: {
      requester: manifests.requester as Digest | undefined,
      executor: manifests.executor as Digest | undefined,
    },
    task: wire.task,
    session: wire.session,
    target: wire.target,
    environment: wire.environment,
    actions: wire.actions,
    scope: wire.scope,
    dataTypes: wire.dataTypes,
    destination: wire.destination,
    exposure: exposure && { ...exposure },
    change: change && { ...change },
    changeClass: changeClassOf(wire.changeClass),
    impact: { ...wire.impact },
    plan: plan === undefined ? undefined : { digest: plan.digest as Digest, mediaType: plan.mediaType },
    ticket: ticket === undefined ? undefined : { system: ticket.system, id: ticket.id },
    window: { opensAt: timeOf(window.opensAt), closesAt: timeOf(window.closesAt) },
    credential: { kind: wire.credential.kind, uses: wire.credential.uses },
  }
}

function timeOf(text: string): Instant {
  const at = parseInstant(text)
  if (at === undefined) throw new RangeError('a time of the window cannot be read')
  return at
}
function changeClassOf(text: string): Intent['changeClass'] {
  if (text !== 'standard' && text !== 'normal' && text !== 'emergency')
    throw new RangeError('the change class is not known')
  return text
}

/** The digest of the intent that is shown, reckoned here. `issuer` is the broker's public URL. */
export const digestHere = (wire: WireIntent, issuer: string): Digest =>
  intentDigest(intentOf(wire), issuer, (text) => createHash('sha256').update(text, 'utf8').digest('base64url'))
