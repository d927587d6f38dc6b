// The memory store of the tests keeps every promise of the store port, so a verb tested on it behaves on Redis.

import { describe } from 'vitest'
import { type Shard, shard } from '../../src/domain/ids.ts'
import { after, instant } from '../../src/domain/instant.ts'
import { grantStoreContract } from '../contracts/grant-store.ts'
import { memoryStore } from '../support/memory-store.ts'

describe('the memory store', () => {
  grantStoreContract(async () => {
    let time = instant(Date.parse('2026-11-21T12:00:00.000Z'))
    const of: Shard = shard(0)
    const memory = memoryStore({ now: () => time, shards: [of] })
    return {
      store: memory.store,
      shard: of,
      now: async () => time,
      advance: async (span) => {
        time = after(time, span)
      },
      another: (lowWater = 0) => memory.another(() => lowWater),
      snapshot: async () => {
        const back = memory.snapshot()
        return async () => back()
      },
    }
  })
})
