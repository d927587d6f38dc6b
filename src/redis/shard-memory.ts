// What this broker has seen of each shard, to notice a Redis that was rolled back, restored or replaced.
// Invariant: a shard found behind stays so until an operator accepts it, whatever it counts up to meanwhile.
import type { Control } from '../broker/ports.ts'
import { BrokerError } from '../domain/errors.ts'
import type { Shard } from '../domain/ids.ts'
import type { AnyReply, Position } from './calls.ts'
import { readControl } from './control-record.ts'

export const BEHIND = 'The store is behind what this broker has seen: it was restored, rolled back or replaced.'
export const NO_CONTROL = 'The store has no control record.'
export const CLEARING =
  'The store was restored: everything that it may have brought back is ended before anything is issued.'

export const recoveringError = (reason: string): BrokerError =>
  new BrokerError('recovering', reason, {
    nextAction:
      reason === CLEARING
        ? 'Nothing: it is over when what could have been brought back has ended.'
        : 'An operator must look at the store and accept it: writ recover.',
  })

export type ShardMemory = ReturnType<typeof shardMemory>

/**
 * Redis itself compares: every call carries what was seen when it was sent, so answers that overtake each other on two connections
 * are no rollback. `lowWater` is the highest sequence of a shard on record outside Redis.
 */
export function shardMemory(lowWater: (shard: Shard) => number) {
  interface Seen {
    position: Position
    /** The connection over which the position was proven. */
    proven: number
    behind: boolean
    withoutControl: boolean
    clearing: boolean
    /** The newest commit up to which an operator found everything lost or brought back. */
    floor: number
    freezeEpoch: number
    /** Rises with each acceptance, so that an answer to a question from before it is not held against the shard. */
    acceptances: number
  }
  const shards = new Map<Shard, Seen>()
  const of = (shard: Shard): Seen => {
    const known = shards.get(shard)
    if (known) return known
    const position = { seq: lowWater(shard), event: '' }
    const fresh: Seen = {
      position,
      proven: -1,
      behind: false,
      withoutControl: false,
      clearing: false,
      floor: 0,
      freezeEpoch: 0,
      acceptances: 0,
    }
    shards.set(shard, fresh)
    return fresh
  }

  return {
    seen: (shard: Shard): Position => of(shard).position,
    freezeEpoch: (shard: Shard): number => of(shard).freezeEpoch,

    /**
     * Makes one call. Its answer must prove that the newest commit seen before is still there, since other brokers may have counted the
     * sequence up again; over a connection (by number) that has proven it already, the sequence is enough.
     */
    async watch<Reply extends AnyReply>(
      shard: Shard,
      call: (seen: Position) => Promise<Reply>,
      connection?: number,
    ): Promise<Reply> {
      const seen = of(shard)
      const { acceptances, position, proven } = seen
      const reply = await call(proven === connection ? { seq: position.seq, event: '' } : position)
      const [, behind, seq, event] = reply
      if (seen.acceptances !== acceptances) return reply
      if (behind === 1) {
        seen.behind = true
        return reply
      }
      if (connection !== undefined) seen.proven = Math.max(seen.proven, connection)
      // What was seen before the loss stays: a floor is measured by it.
      if (seq > seen.position.seq && !seen.behind) seen.position = { seq, event }
      return reply
    },

    noteControl(shard: Shard, stored: string): Control | undefined {
      const control = readControl(stored)
      const seen = of(shard)
      seen.withoutControl = control === undefined
      if (control) seen.freezeEpoch = Math.max(seen.freezeEpoch, control.freezeEpoch)
      return control
    },
    withoutControl(shard: Shard): BrokerError {
      const seen = of(shard)
      seen.withoutControl = true
      return recoveringError(seen.clearing ? CLEARING : NO_CONTROL)
    },
    /**
     * What an operator did at any broker. A floor that is new here and above all that was seen here covers all that this broker could miss:
     * whatever lived then is ended before anything is issued again. So the shard is taken as it is, and nobody has to be told twice.
     */
    noteRecovery(shard: Shard, floor: number, clearing: boolean, now: Position): void {
      const seen = of(shard)
      seen.clearing = clearing
      if (floor <= seen.floor) return
      seen.floor = floor
      if (!seen.behind || floor <= seen.position.seq) return
      seen.behind = false
      seen.acceptances += 1
      seen.position = now
    },

    /** Another broker says that the shard has come this far: if Redis has not, the next answer shows it. */
    heard(shard: Shard, seq: number): void {
      const seen = of(shard)
      if (seq > seen.position.seq) seen.position = { seq, event: '' }
    },

    refuseIfBehind(shard: Shard): void {
      if (of(shard).behind) throw recoveringError(BEHIND)
    },
    reason(shard: Shard): string | undefined {
      const { behind, withoutControl, clearing } = of(shard)
      if (behind) return BEHIND
      if (!withoutControl) return undefined
      return clearing ? CLEARING : NO_CONTROL
    },
    accepted(shard: Shard, position: Position): void {
      const seen = of(shard)
      seen.acceptances += 1
      seen.behind = false
      seen.position = position
    },
  }
}
