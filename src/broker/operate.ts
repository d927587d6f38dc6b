// What an operator may do to the broker itself: take the store as it is after a loss, take the clock as it is after a jump.
// Both are judged by the guards (`Operate`) under the rules this broker trusts, because there may be no control record, and both are recorded.
import { BrokerError } from '../domain/errors.ts'
import type { Shard } from '../domain/ids.ts'
import { formatInstant, type Instant } from '../domain/instant.ts'
import type { Caller } from '../domain/principal.ts'
import type { Rules } from './ports.ts'

export interface OperatePorts {
  readonly shards: readonly Shard[]
  rulesToEnd(): Rules
  /** Takes the shard as it is: the sequence rises above all that was seen, a missing control record is restored. */
  acceptStore(shard: Shard): Promise<{ readonly seq: number }>
  acceptClock(): Instant
  /** On record outside Redis, with who and why. Rejects when it cannot be written; then nothing is accepted. */
  record(act: {
    readonly what: 'recover' | 'accept_clock'
    readonly by: string
    readonly reason: string
  }): Promise<void>
}

type Done = Readonly<Record<string, string | number | boolean>>

export const recover =
  (p: OperatePorts) =>
  async (caller: Caller, reason: string): Promise<Done> => {
    mayOperate(p, caller)
    await p.record({ what: 'recover', by: caller.principal.id, reason })
    const taken = await Promise.all(p.shards.map((shard) => p.acceptStore(shard)))
    return { recovered: true, shards: taken.length, sequence: Math.max(...taken.map(({ seq }) => seq)) }
  }

export const acceptClock =
  (p: OperatePorts) =>
  async (caller: Caller, reason: string): Promise<Done> => {
    mayOperate(p, caller)
    await p.record({ what: 'accept_clock', by: caller.principal.id, reason })
    return { accepted: true, now: formatInstant(p.acceptClock()) }
  }

function mayOperate(p: OperatePorts, { principal }: Caller): void {
  const { policy, directory } = p.rulesToEnd()
  const today = directory.principal(principal.id)
  if (today !== undefined && policy.judge({ action: 'Operate', principal: today }).allowed) return
  throw new BrokerError('not_permitted', 'Only operators may do this.', {
    nextAction: 'Ask one of the operators named in the people directory.',
  })
}
