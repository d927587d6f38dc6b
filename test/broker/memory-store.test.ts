// The memory store of the tests keeps every promise of the store port, so a verb tested on it behaves on Redis.

import { describe, expect, it } from 'vitest'
import { type Shard, shard } from '../../src/domain/ids.ts'
import { after, instant } from '../../src/domain/instant.ts'
import { shardMemory } from '../../src/redis/shard-memory.ts'
import { containmentStoreContract } from '../contracts/containment-store.ts'
import { freezeStoreContract } from '../contracts/freeze-store.ts'
import { grantStoreContract, type StoreUnderTest } from '../contracts/grant-store.ts'
import { revocationStoreContract } from '../contracts/revocation-store.ts'
import { memoryStore } from '../support/memory-store.ts'

describe('the memory store', () => {
  const make = async (): Promise<StoreUnderTest> => {
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
      passes: async (span) => {
        time = after(time, span)
      },
      another: (lowWater = 0) => memory.another(() => lowWater),
      loseControl: async () => memory.loseControl(of),
      snapshot: async () => {
        const back = memory.snapshot()
        return async () => back()
      },
    }
  }
  grantStoreContract(make)
  freezeStoreContract(make)
  revocationStoreContract(make)
  containmentStoreContract(make)
})

describe('what a broker has seen of a shard', () => {
  it('is not doubted because of a question that was asked before an operator accepted the shard', async () => {
    const of = shard(0)
    const memory = shardMemory(() => 5)
    let answer: (reply: readonly [string, number, number, string]) => void = () => {}
    const asked = memory.watch(
      of,
      () => new Promise<readonly [string, number, number, string]>((resolve) => (answer = resolve)),
    )
    memory.accepted(of, { seq: 6, event: '' })
    answer(['ok', 1, 4, ''])
    await asked
    expect(memory.reason(of)).toBeUndefined()
    await memory.watch(of, async () => ['ok', 1, 4, ''] as const)
    expect(memory.reason(of)).toMatch(/behind/)
  })
})
