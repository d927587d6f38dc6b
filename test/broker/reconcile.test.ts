// A pass over a backend: what no grant stands for is ended, in order and once; what lives, is being made or ended, is somebody else's or cannot be
// judged is left alone; and a store that says nothing ends nothing.
import { beforeEach, describe, expect, it } from 'vitest'
import { type ReconcilePorts, reconcile } from '../../src/broker/reconcile.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { type GrantId, grantIdFrom, type MintName, mintId, named, readMintId, shard } from '../../src/domain/ids.ts'
import { minutes } from '../../src/domain/instant.ts'
import { codeOf } from '../support/code-of.ts'
import { BACKEND, type MemoryInventory, memoryInventory } from '../support/memory-inventory.ts'
import { attempt, HOME, KEY, type World, world } from '../support/world.ts'

const GROUP = 'bbbbbb'
const mintOf = (grant: GrantId, n = 1): MintName => readMintId(mintId(grant, n)) as MintName
let made = 0
const absent = (group = GROUP, of = 0): MintName =>
  mintOf(grantIdFrom(shard(of), group, Buffer.from(`${++made}`.padStart(12, '0').padEnd(13))))

let on: World
let memory: MemoryInventory
let ports: ReconcilePorts
beforeEach(async () => {
  on = await world()
  memory = memoryInventory()
  const { canaries, control } = on.ports
  ports = { grants: on.store, canaries, control, inventory: memory.inventory, shards: [HOME], group: GROUP }
})
const pass = () => reconcile(ports)(BACKEND)
const vera = () => on.as('vera', { key: KEY })
const live = async (): Promise<Grant> => {
  const grant = await on.approvedLogin(2)
  await on.broker.exchange(vera(), grant.id, attempt(`attempt-${++made}-of-it`))
  return grant
}

describe('a pass', () => {
  it('ends what bears the mark of a grant that never was: the lease first, then hold, role and login', async () => {
    const mint = absent()
    for (const kind of ['login', 'role', 'hold', 'lease'] as const) memory.plant(kind, mint)
    const result = await pass()
    expect(memory.ended.map(({ kind }) => kind)).toEqual(['lease', 'hold', 'role'])
    expect(memory.isThere('login', `writ-${mint.mint}`)).toBe(false)
    expect(result).toMatchObject({ seen: 4, failed: [], unknown: [], revived: 0 })
    expect((await pass()).seen).toBe(0)
  })

  it('leaves everything of a mint that lives', async () => {
    const { id } = await live()
    for (const kind of ['hold', 'role', 'lease'] as const) memory.plant(kind, mintOf(id))
    expect(await pass()).toMatchObject({ seen: 4, ended: [], failed: [], unknown: [] })
    expect(memory.ended).toEqual([])
  })

  it('leaves a canary while somebody is at it, and ends what is left of one afterwards', async () => {
    const { grant } = absent()
    memory.plant('hold', mintOf(grant, 0))
    const entitlement = named.entitlement('payments-migrator')
    const credential = on.book.current().policy.entitlement(entitlement)?.credential
    if (credential?.kind !== 'vault') throw new Error('it is made at a backend')
    const open = {
      v: 1,
      entitlement,
      grant,
      credential,
      since: on.now(),
      accessor: undefined,
      lease: undefined,
    } as const
    await on.ports.canaries.note(open)
    expect(await pass()).toMatchObject({ seen: 1, ended: [], unknown: [] })
    await on.ports.canaries.ended(entitlement)
    expect((await pass()).ended.map(({ kind }) => kind)).toEqual(['hold'])
  })

  it('ends a mint that its living grant never claimed', async () => {
    const { id } = await live()
    memory.plant('hold', mintOf(id, 7))
    expect((await pass()).ended.map(({ mint }) => mint?.mint)).toEqual([`${id}-7`])
  })

  it('leaves a mint that is being made, and one whose end is not confirmed', async () => {
    on.backend.fault('issue', 'hang')
    const making = await on.approvedLogin()
    const exchange = on.broker.exchange(vera(), making.id, attempt('attempt-that-hangs')).catch(() => undefined)
    while (on.backend.hanging('issue') === 0) await new Promise((resolve) => setImmediate(resolve))
    memory.plant('hold', mintOf(making.id))
    const ending = await live()
    on.backend.freeze()
    await on.broker.complete(vera(), ending.id, {})
    expect((await on.store.loadToEnd(ending.id))?.head.status).toBe('ending')
    memory.plant('lease', mintOf(ending.id))
    expect(await pass()).toMatchObject({ ended: [], unknown: [] })
    on.backend.thaw()
    on.backend.release('issue')
    await exchange
  })

  it('says that a lease of a mint whose end was confirmed has come back, and ends it', async () => {
    const { id } = await live()
    await on.broker.complete(vera(), id, {})
    memory.plant('lease', mintOf(id))
    memory.plant('hold', mintOf(id))
    const result = await pass()
    expect(result.revived).toBe(1)
    expect(result.ended.map(({ kind }) => kind)).toEqual(['lease', 'hold'])
  })

  it('takes no notice of an end that was going on while it listed', async () => {
    const { id } = await live()
    const lease = memory.plant('lease', mintOf(id))
    memory.onListed(async () => {
      memory.onListed(() => undefined)
      await on.broker.complete(vera(), id, {})
      await memory.inventory.end(lease)
      memory.ended.length = 0
    })
    expect(await pass()).toMatchObject({ ended: [], failed: [], revived: 0 })
  })

  it('leaves what is claimed while it lists: it asks the store after it has listed', async () => {
    const grant = await on.approvedLogin()
    const mint = mintOf(grant.id)
    memory.plant('hold', mint)
    memory.onListed(async () => {
      memory.onListed(() => undefined)
      await on.broker.exchange(vera(), grant.id, attempt('attempt-meanwhile'))
    })
    expect((await pass()).ended).toEqual([])
    expect(memory.isThere('hold', `accessor-${mint.mint}`)).toBe(true)
  })

  it('names and leaves what bears no mark, what another group made, and what another shard looks after', async () => {
    memory.plant('role', undefined)
    memory.plant('hold', absent('zzzzzz'))
    memory.plant('lease', absent(GROUP, 3))
    const result = await pass()
    expect(result.ended).toEqual([])
    // The lease brought its login with it.
    expect(result.unknown.map(({ kind }) => kind).sort()).toEqual(['hold', 'lease', 'login', 'role'])
  })

  it('ends nothing while the store has no control record or is behind, and says why', async () => {
    const mint = absent()
    memory.plant('hold', mint)
    const before = on.snapshot()
    await live()
    before()
    // What this broker has seen since is not there any more.
    expect(await codeOf(pass())).toBe('recovering')
    expect(memory.ended).toEqual([])
  })

  it('ends nothing when the store is put back between the listing and the judging', async () => {
    const before = on.snapshot()
    const { id } = await live()
    memory.plant('lease', mintOf(id))
    memory.onListed(() => void before() as undefined)
    expect(await codeOf(pass())).toBe('recovering')
    expect(memory.ended).toEqual([])
  })

  it('ends nothing when the store is lost between the judging and the end', async () => {
    const mint = absent()
    memory.plant('hold', mint)
    let asked = 0
    const losing = on.failing((calls) => ({
      load: async (...args) => {
        asked += 1
        if (asked > 1) throw new Error('gone')
        return calls.load(...args)
      },
    }))
    ports = { ...ports, grants: losing }
    const { ended, failed } = await pass()
    expect([ended.length, failed.length]).toEqual([0, 1])
    expect(memory.ended).toEqual([])
  })

  it('ends what it found and then says that it could not see all', async () => {
    memory.plant('hold', absent())
    memory.setTorn(true)
    expect(await codeOf(pass())).toBe('vault_refused')
    expect(memory.ended).toHaveLength(1)
  })

  it('ends what it found and says which databases could not be asked', async () => {
    memory.plant('hold', absent())
    memory.setFrozen(true)
    expect(await pass()).toMatchObject({ ended: [{ kind: 'hold' }], unread: { databases: ['payments'] } })
  })

  it('goes on with the others where one cannot be ended', async () => {
    const [first, second] = [absent(), absent()]
    memory.plant('role', first)
    memory.plant('hold', first)
    memory.plant('hold', second)
    memory.setStuck('role')
    const { ended, failed } = await pass()
    expect([ended.length, failed.map(({ artefact }) => artefact.kind)]).toEqual([2, ['role']])
  })

  it('judges any number of them', async () => {
    for (let n = 0; n < 250; n += 1) memory.plant('hold', absent())
    expect((await pass()).ended).toHaveLength(250)
  })

  it('ends what a grant that has long been over left', async () => {
    const { id } = await live()
    memory.plant('role', mintOf(id))
    await on.settle(minutes(70))
    expect((await on.store.loadToEnd(id))?.head.status).toBe('ended')
    expect((await pass()).ended.map(({ kind }) => kind)).toEqual(['role'])
  })
})
