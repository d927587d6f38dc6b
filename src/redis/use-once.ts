// Remembers what may be used once (a proof, an assertion) until it could not be accepted any more. One SET NX decides, so of any number
// of parallel uses at any number of brokers one is the first. If Redis does not answer, nobody is: the caller must refuse.
import type { Shard } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Calls } from './calls.ts'
import { unavailable } from './connect.ts'
import { onceKey } from './keys.ts'

/** A mark is no commit: what this broker has seen of the shard says nothing about it. */
const SEEN = { seq: 0, event: '' }

/**
 * True the first time, false until `until` (by Redis's clock). Rejects `store_unavailable`: it may have been recorded, so the same
 * use tried again may be refused. `shard` is the same in every broker.
 */
export function redisUseOnce(
  calls: Pick<Calls, 'useOnce'>,
  shard: Shard,
): (key: string, until: Instant) => Promise<boolean> {
  return async (key, until) => {
    const reply = await calls.useOnce(shard, SEEN, { mark: onceKey(shard, key), until })
    if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
    return reply[4] === 1
  }
}
