// The control record of a shard: made once for an empty one, by a broker that knows of no commit; never again after a loss.
import { describe, expect, it } from 'vitest'
import type { Receipt } from '../../src/broker/ports.ts'
import { rulebook } from '../../src/broker/rulebook.ts'
import type { Shard } from '../../src/domain/ids.ts'
import { publisher } from '../../src/rules.ts'
import { memoryStore } from '../support/memory-store.ts'
import { HOME, policyWith, world } from '../support/world.ts'

/** What a witness remembers, without a disk. */
function remembering() {
  let most = 0
  return {
    highest: (_: Shard) => most,
    seal: async ({ seq }: Receipt) => {
      most = Math.max(most, seq)
    },
  }
}

describe('publishing the rules', () => {
  it('makes the control record of an empty store, once', async () => {
    const w = await world()
    const { store } = memoryStore({ now: w.now })
    const told: string[] = []
    const log = (_: string, message: string) => void told.push(message)
    const publish = publisher({ store, shards: [HOME], book: w.book, witness: remembering(), log })
    expect(await publish()).toBeUndefined()
    expect((await store.control(HOME)).policyDigest).toBe(w.book.current().policy.digest)
    expect(told).toEqual([])
  })

  it('a broker that only looked on does not make it anew on a store that lost everything', async () => {
    const w = await world()
    let { store } = memoryStore({ now: w.now })
    const told: string[] = []
    const log = (_: string, message: string) => void told.push(message)
    const first = remembering()
    await publisher({ store, shards: [HOME], book: w.book, witness: first, log })()
    const onlooker = remembering()
    const through = {
      read: (shard: Shard) => store.read(shard),
      publish: (...args: Parameters<typeof store.publish>) => store.publish(...args),
    }
    const publish = publisher({ store: through, shards: [HOME], book: w.book, witness: onlooker, log })
    await publish()
    expect(onlooker.highest(HOME)).toBeGreaterThan(0)
    store = memoryStore({ now: w.now }).store
    expect(await publish()).toBeDefined()
    expect(await publish()).toBeDefined()
    expect(await store.read(HOME)).toBeUndefined()
    expect(told).toEqual(['nothing is issued'])
  })

  it('older rules are not published over newer ones, and the reason is told once', async () => {
    const w = await world()
    const { store } = memoryStore({ now: w.now })
    const told: string[] = []
    const log = (_: string, message: string) => void told.push(message)
    const newer = rulebook({ ...w.book.current(), policy: policyWith(['revision: 1', 'revision: 9']) })
    await publisher({ store, shards: [HOME], book: newer, witness: remembering(), log })()
    const old = publisher({ store, shards: [HOME], book: w.book, witness: remembering(), log })
    expect(await old()).toBeDefined()
    expect(await old()).toBeDefined()
    expect(told).toEqual(['nothing is issued'])
    expect((await store.control(HOME)).policyRevision).toBe(9)
  })
})
