// What resource servers report of a grant's credentials, beside the grant. Invariant: a report moves nothing of the grant; misuse that is kept
// is in the order of commits and in the stream of events, under the version that the grant has.
import type { Receipt, Retired, UseStore } from '../broker/ports.ts'
import { type GrantId, type Shard, shardOf } from '../domain/ids.ts'
import { instant } from '../domain/instant.ts'
import type { Sha256 } from '../domain/intent.ts'
import type { Calls } from './calls.ts'
import { damaged, unavailable } from './connect.ts'
import { printEvent } from './grant-record.ts'
import { grantKeys } from './keys.ts'
import { BEHIND, recoveringError, type ShardMemory } from './shard-memory.ts'
import { printUse, readUse } from './use-record.ts'

export interface UseStoreParts {
  readonly issuing: Calls
  readonly memory: ShardMemory
  readonly connects: () => number
  readonly shards: readonly Shard[]
  readonly sha256: Sha256
}

/** Of each outcome; what comes beyond is counted. */
export const MOST_USES = 500

export function useStore({ sha256, ...parts }: UseStoreParts): UseStore {
  const { issuing, memory, connects, shards } = parts
  return {
    report: async (id, by, uses) => {
      const shard = shardOf(id)
      if (!shards.includes(shard)) return undefined
      memory.refuseIfBehind(shard)
      const records = uses.map(({ use, event }) => ({
        id: use.id,
        kind: use.outcome,
        text: printUse(by, use),
        event: event === undefined ? '' : printEvent(event),
      }))
      const reported = { keys: grantKeys(id), id, most: MOST_USES, uses: records }
      const reply = await memory.watch(shard, (seen) => issuing.reportUses(shard, seen, reported), connects())
      if (reply[0] === 'missing') return undefined
      if (reply[0] === 'behind') throw recoveringError(BEHIND)
      if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
      const [, , , , rows] = reply
      const became = (what: 'kept' | 'left' | 'repeated') =>
        uses.flatMap(({ use }, n) => (rows[n]?.[0] === what ? [use] : []))
      const receipts = rows.flatMap(([, seq], n): readonly Receipt[] =>
        seq === 0 ? [] : [{ shard, seq, eventHash: sha256(records[n]?.event ?? '') }],
      )
      return { kept: became('kept'), left: became('left'), repeated: became('repeated'), receipts }
    },

    of: async (id) => {
      if (!shards.includes(shardOf(id))) return { uses: [], counts: { used: 0, refused: 0 }, left: 0 }
      const { uses, counts } = await storedUses(parts, id)
      const count = (kind: string): number => counts.get(kind) ?? 0
      return {
        uses: uses.map(readable).sort((a, b) => a.receivedAt - b.receivedAt || a.at - b.at),
        counts: { used: count('used'), refused: count('refused') },
        left: count('left'),
      }
    },
  }
}

/** As they lie there. */
export async function storedUses(
  { issuing, memory, connects }: Pick<UseStoreParts, 'issuing' | 'memory' | 'connects'>,
  id: GrantId,
): Promise<{ readonly uses: Retired['uses']; readonly counts: ReadonlyMap<string, number> }> {
  const shard = shardOf(id)
  const reply = await memory.watch(shard, (seen) => issuing.uses(shard, seen, grantKeys(id)), connects())
  if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
  const uses = reply[4].map(([at, text]) => ({ receivedAt: instant(at), text }))
  return { uses, counts: new Map(reply[5]) }
}

function readable({ receivedAt, text }: Retired['uses'][number]) {
  try {
    return readUse(text, receivedAt)
  } catch (thrown) {
    throw damaged(thrown)
  }
}
