// What an operator may do to the broker itself: take the store as it is after a loss, take the clock as it is after a jump.
// Both are judged by the guards (`Operate`) under the rules this broker trusts, because there may be no control record, and both are recorded.
// The first operator comes from the settings, and counts only while the guards let nobody else in the directory operate.
import { type Canary, ruleOf } from '../domain/canary.ts'
import type { VaultCredential } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import type { EntitlementId, PrincipalId, Shard } from '../domain/ids.ts'
import { formatInstant, type Instant } from '../domain/instant.ts'
import type { Caller, Principal } from '../domain/principal.ts'
import { canaried } from './canary.ts'
import type { Ports, Rules } from './ports.ts'

export interface OperatePorts {
  readonly shards: readonly Shard[]
  /** A person who may operate while nobody else could. */
  readonly firstOperator: PrincipalId | undefined
  rulesToEnd(): Rules
  /** Takes the shard as it is: the sequence rises above all that was seen, a missing control record is restored. */
  acceptStore(shard: Shard): Promise<{ readonly seq: number }>
  acceptClock(): Instant
  /** On record outside Redis, with who and why. Rejects when it cannot be written; then nothing is accepted. */
  record(act: {
    readonly what: 'recover' | 'accept_clock'
    readonly by: string
    /** That the guards did not permit it: the settings did, because the guards permit nobody. */
    readonly asFirstOperator: boolean
    readonly reason: string
  }): Promise<void>
}

type Done = Readonly<Record<string, string | number | boolean>>

export const recover =
  (p: OperatePorts) =>
  async (caller: Caller, reason: string): Promise<Done> => {
    const { asFirstOperator } = mayOperate(p, caller)
    await p.record({ what: 'recover', by: caller.principal.id, asFirstOperator, reason })
    const taken = await Promise.all(p.shards.map((shard) => p.acceptStore(shard)))
    return { recovered: true, shards: taken.length, sequence: Math.max(...taken.map(({ seq }) => seq)) }
  }

export const acceptClock =
  (p: OperatePorts) =>
  async (caller: Caller, reason: string): Promise<Done> => {
    const { asFirstOperator } = mayOperate(p, caller)
    await p.record({ what: 'accept_clock', by: caller.principal.id, asFirstOperator, reason })
    return { accepted: true, now: formatInstant(p.acceptClock()) }
  }

/** What comes from a backend, and what became of its last canary; undefined where none was made by the rule of today. */
export interface Tried {
  readonly entitlement: EntitlementId
  readonly credential: VaultCredential
  readonly canary: Canary | undefined
}

export const canaries =
  (p: Pick<OperatePorts, 'rulesToEnd' | 'firstOperator'> & Pick<Ports, 'canaries' | 'sha256'>) =>
  async (caller: Caller): Promise<readonly Tried[]> => {
    mayOperate(p, caller)
    return triedNow(p)
  }

/** The same for figures, which nobody asks for in person. */
export async function triedNow(
  p: Pick<OperatePorts, 'rulesToEnd'> & Pick<Ports, 'canaries' | 'sha256'>,
): Promise<readonly Tried[]> {
  const all = await p.canaries.all()
  return canaried(p.rulesToEnd().policy).map(({ id, credential }) => {
    const rule = ruleOf(credential, p.sha256)
    const canary = all.find((one) => one.entitlement === id && one.rule === rule)
    return { entitlement: id, credential, canary }
  })
}

function mayOperate(
  p: Pick<OperatePorts, 'rulesToEnd' | 'firstOperator'>,
  { principal }: Caller,
): { readonly asFirstOperator: boolean } {
  const { policy, directory } = p.rulesToEnd()
  const isOperator = (one: Principal): boolean => policy.judge({ action: 'Operate', principal: one }).allowed
  const today = directory.principal(principal.id)
  if (today !== undefined && isOperator(today)) return { asFirstOperator: false }
  if (today?.kind === 'person' && today.id === p.firstOperator && !directory.principals().some(isOperator))
    return { asFirstOperator: true }
  throw new BrokerError('not_permitted', 'Only operators may do this.', {
    nextAction: 'Ask one of the operators named in the people directory.',
  })
}
