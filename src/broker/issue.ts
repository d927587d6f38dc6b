// What the two kinds of exchange share: the answer, the step that makes a mint live, and the rule that nothing leaves unsealed.
import { BrokerError } from '../domain/errors.ts'
import { advance, type Grant, type GrantIn, inStatus, type Step } from '../domain/grant.ts'
import type { AttemptId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { LiveMint } from '../domain/mint.ts'
import type { Caller } from '../domain/principal.ts'
import type { Secret } from '../domain/secret.ts'
import { eventOf } from './change.ts'
import type { EndPorts } from './end.ts'
import type { Control, Ports, Receipt, VaultSecret } from './ports.ts'

export type Credential =
  | {
      readonly kind: 'jwt'
      readonly token: Secret<string>
      readonly tokenType: 'DPoP' | 'Bearer'
      readonly audience: string
      readonly expiresAt: Instant
    }
  | {
      readonly kind: 'vault'
      readonly secret: Secret<VaultSecret>
      readonly leaseId: string
      readonly expiresAt: Instant
    }

export interface Exchanged {
  readonly grant: Grant
  readonly mint: LiveMint
  readonly credential: Credential
}

export type ExchangePorts = EndPorts &
  Pick<
    Ports,
    | 'freezes'
    | 'canaries'
    | 'rules'
    | 'tokens'
    | 'signatures'
    | 'stepUp'
    | 'forges'
    | 'now'
    | 'newAttemptId'
    | 'newTokenId'
    | 'sha256'
    | 'issuer'
  >

export const windowClosing = (): BrokerError =>
  new BrokerError('window_closing', 'Too little of the window is left to make a credential.', {
    nextAction: 'Ask for a new grant with a later window.',
  })

/** A mint that has become live: `approved` or `issuing` turns `active`, `active` stays. */
export function issuedStep(grant: Grant, mint: LiveMint, now: Instant, caller: Caller, control: Control): Step {
  const details = {
    mint: mint.n,
    fingerprint: mint.fingerprint,
    kind: mint.kind,
    ...(mint.kind === 'jwt' ? { jti: mint.jti } : { lease: mint.lease.id }),
  }
  const event = eventOf(grant.ask, 'issued', now, caller.principal.id, details, control)
  const mints = [...grant.head.mints.filter(({ n }) => n !== mint.n), mint]
  const since = (from: GrantIn<'approved'> | GrantIn<'issuing'>) => ({
    approvedAt: from.head.facts.approvedAt,
    activeSince: now,
  })
  if (inStatus(grant, 'approved')) return advance(grant, { to: 'active', facts: since(grant), mints, event })
  if (inStatus(grant, 'issuing')) return advance(grant, { to: 'active', facts: since(grant), mints, event })
  if (inStatus(grant, 'active')) return advance(grant, { to: 'active', facts: grant.head.facts, mints, event })
  throw new BrokerError('wrong_status', `The grant is ${grant.head.status}; nothing was handed out.`, {
    nextAction: 'Show the grant to see what became of it.',
    facts: { status: grant.head.status },
  })
}

/** Nothing leaves unsealed. The use is not lost: the same attempt gets it once the witness can be written again. */
export async function sealOrSay(p: Pick<Ports, 'seal'>, receipt: Receipt, attempt: AttemptId): Promise<void> {
  try {
    await p.seal.seal(receipt)
  } catch (cause) {
    throw new BrokerError(
      'log_unavailable',
      'The issue could not be recorded outside the store, so nothing is handed out.',
      {
        nextAction: 'Try again with the same attempt id.',
        facts: { attempt },
        cause,
      },
    )
  }
}
