// The freezes of each shard, in Redis. Freezing goes on over the connection for ending, whatever state a shard is in; lifting allows something
// and is refused where anything else would be. Invariant: what is judged by is never older than the control record it is judged under.
import type { Control, FreezeStore, Receipt } from '../broker/ports.ts'
import { BrokerError } from '../domain/errors.ts'
import type { Freeze, StoredFreeze } from '../domain/freeze.ts'
import { type FreezeId, type Shard, shardOf } from '../domain/ids.ts'
import type { Sha256 } from '../domain/intent.ts'
import type { Calls, Position } from './calls.ts'
import { damaged, unavailable } from './connect.ts'
import { printRules } from './control-record.ts'
import { printFreeze, printFreezeEvent, readFreeze } from './freeze-record.ts'
import { BEHIND, NO_CONTROL, recoveringError, type ShardMemory } from './shard-memory.ts'

export interface FreezeStoreParts {
  readonly issuing: Calls
  readonly ending: Calls
  readonly memory: ShardMemory
  readonly connects: () => number
  readonly shards: readonly Shard[]
  readonly sha256: Sha256
}

export function freezeStore({ issuing, ending, memory, connects, shards, sha256 }: FreezeStoreParts): FreezeStore {
  /** By the epoch at which they were read. */
  const known = new Map<Shard, { readonly epoch: number; readonly freezes: readonly StoredFreeze[] }>()

  async function read(shard: Shard, calls: Calls, connection?: number) {
    const reply = await memory.watch(shard, (seen: Position) => calls.freezes(shard, seen), connection)
    if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
    return {
      freezes: reply[5].map(([seq, text]) => ({ freeze: readable(text), seq })),
      control: memory.noteControl(shard, reply[4]),
      behind: reply[1] === 1,
    }
  }

  async function putOn(shard: Shard, freeze: Freeze): Promise<Receipt> {
    const record = { id: freeze.id, text: printFreeze(freeze), event: printFreezeEvent('frozen', freeze) }
    const reply = await memory.watch(shard, (seen) => ending.putFreeze(shard, seen, record))
    if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
    return { shard, seq: reply[4], eventHash: sha256(record.event) }
  }

  async function liftOn(shard: Shard, freeze: Freeze, rules: string) {
    const record = { id: freeze.id, text: printFreeze(freeze), event: printFreezeEvent('freeze_lifted', freeze) }
    memory.refuseIfBehind(shard)
    const reply = await memory.watch(shard, (seen) => issuing.liftFreeze(shard, seen, { ...record, rules }), connects())
    switch (reply[0]) {
      case 'ok':
        return {
          freeze: readable(reply[5]),
          // What had been lifted before is no commit of now.
          receipt: reply[5] === record.text ? { shard, seq: reply[4], eventHash: sha256(record.event) } : undefined,
        }
      case 'missing':
        return undefined
      case 'stale':
        throw new BrokerError('stale', 'Policy or people changed while this was judged.')
      case 'absent':
        throw memory.withoutControl(shard)
      case 'behind':
        throw recoveringError(BEHIND)
      default:
        throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
    }
  }

  return {
    put: (freeze) => Promise.all(shards.map((shard) => putOn(shard, freeze))),

    lift: async (freeze, judgedUnder) => {
      const rules = printRules(judgedUnder)
      const done = await Promise.all(shards.map((shard) => liftOn(shard, freeze, rules)))
      const found = done.flatMap((one) => one ?? [])
      return found[0] && { freeze: found[0].freeze, receipts: found.flatMap(({ receipt }) => receipt ?? []) }
    },

    list: async () => {
      const everywhere = await Promise.all(shards.map(async (shard) => (await read(shard, ending)).freezes))
      // The same on every shard; one that could not be stored or lifted everywhere counts as in force.
      const found = new Map<FreezeId, Freeze>()
      for (const { freeze } of everywhere.flat())
        if (found.get(freeze.id)?.lifted !== undefined || !found.has(freeze.id)) found.set(freeze.id, freeze)
      return [...found.values()].sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1))
    },

    on: async (shard) => (await read(shard, ending)).freezes,

    under: async (control: Control, id) => {
      const shard = id === undefined ? shards[0] : shardOf(id)
      if (shard === undefined) throw recoveringError(NO_CONTROL)
      const before = known.get(shard)
      if (before?.epoch === control.freezeEpoch) return before.freezes
      memory.refuseIfBehind(shard)
      const found = await read(shard, issuing, connects())
      if (found.behind) throw recoveringError(BEHIND)
      if (found.control === undefined) throw recoveringError(NO_CONTROL)
      // Older than what was just read: another server, or one that was set back between the two reads.
      if (found.control.freezeEpoch < control.freezeEpoch) throw recoveringError(BEHIND)
      known.set(shard, { epoch: found.control.freezeEpoch, freezes: found.freezes })
      return found.freezes
    },
  }
}

function readable(text: string): Freeze {
  try {
    return readFreeze(text)
  } catch (thrown) {
    throw damaged(thrown)
  }
}
