// The gate of a backend: no login is opened there before it has been looked through, nor after it was put back from an earlier copy, until all that
// came back is gone; ends go on whatever the gate says.
import { beforeEach, describe, expect, it } from 'vitest'
import { type BackendGates, backendGates, type Closed } from '../../src/broker/backend-gates.ts'
import type { MintPlan } from '../../src/broker/ports.ts'
import { reconcile } from '../../src/broker/reconcile.ts'
import {
  type Digest,
  type GrantId,
  grantIdFrom,
  type MintName,
  mintId,
  readMintId,
  shard,
} from '../../src/domain/ids.ts'
import { codeOf } from '../support/code-of.ts'
import { BACKEND, DATABASE, type MemoryInventory, memoryInventory } from '../support/memory-inventory.ts'
import { CREDENTIAL, ENTITLEMENT } from '../support/vault-world.ts'
import { attempt, HOME, KEY, type World, world } from '../support/world.ts'

const GROUP = 'bbbbbb'
const mintOf = (grant: GrantId): MintName => readMintId(mintId(grant, 1)) as MintName
let made = 0
const orphan = (): MintName =>
  mintOf(grantIdFrom(shard(0), GROUP, Buffer.from(`${++made}`.padStart(12, '0').padEnd(13))))

let on: World
let memory: MemoryInventory
let gates: BackendGates
let broker: World['broker']
let ticks = 0
const told: (Closed | 'open')[] = []
let canDrop = true
/** Holds that had ended and are there again. */
const revived = new Set<string>()
beforeEach(async () => {
  on = await world()
  memory = memoryInventory()
  told.length = 0
  revived.clear()
  canDrop = true
  ticks = 0
  const { grants, canaries, control } = on.ports
  gates = backendGates({
    backends: [BACKEND],
    marks: {
      ...memory.marks,
      drop: async (backend, mark) => {
        if (!canDrop) throw new Error('no answer')
        await memory.marks.drop(backend, mark)
      },
      isThere: async (backend, handle) => revived.has(handle) || memory.marks.isThere(backend, handle),
    },
    reconcile: reconcile({ grants, canaries, control, inventory: memory.inventory, shards: [HOME], group: GROUP }),
    ticks: () => ticks,
    told: (_, gate) => told.push(gate),
  })
  broker = on.another({ credentials: gates.guarded(on.ports.credentials) })
})
const vera = () => on.as('vera', { key: KEY })
const exchange = async (id: GrantId) => broker.exchange(vera(), id, attempt(`attempt-${++made}-here`))
const issued = async (): Promise<GrantId> => {
  const { id } = await on.approvedLogin(3)
  await exchange(id)
  return id
}

describe('the gate of a backend', () => {
  it('is shut at the start and opens with the first clean pass; the approval stays good meanwhile', async () => {
    const { id } = await on.approvedLogin()
    expect(await codeOf(exchange(id))).toBe('vault_unavailable')
    expect((await on.store.loadToEnd(id))?.head.status).toBe('approved')
    expect(on.backend.holds()).toEqual([])
    await gates.pass(BACKEND)
    expect((await exchange(id)).grant.head.status).toBe('active')
    expect(told).toEqual(['open'])
  })

  it('is asked before the next claim: whoever tries again and again while it is shut writes nothing', async () => {
    const { id } = await on.approvedLogin()
    expect(await codeOf(exchange(id))).toBe('vault_unavailable')
    const { version } = (await on.store.loadToEnd(id)) ?? {}
    for (let tries = 1; tries <= 20; tries += 1) expect(await codeOf(exchange(id))).toBe('vault_unavailable')
    expect((await on.store.loadToEnd(id))?.version).toBe(version)
    await gates.pass(BACKEND)
    expect((await exchange(id)).grant.head.status).toBe('active')
  })

  it('asks the backend itself too, also one that has no gate', async () => {
    await gates.pass(BACKEND)
    const guarded = gates.guarded(on.ports.credentials)
    for (const backend of [BACKEND, 'vault-without']) {
      on.backend.up()
      await guarded.reach({ ...CREDENTIAL, backend })
      on.backend.down()
      expect([backend, await codeOf(guarded.reach({ ...CREDENTIAL, backend }))]).toEqual([backend, 'vault_unavailable'])
    }
  })

  it('stays shut while an orphan cannot be ended, and opens when it is gone', async () => {
    memory.plant('role', orphan())
    memory.setStuck('role')
    await gates.pass(BACKEND)
    expect(gates.closed(BACKEND)).toBe('not_looked_through')
    memory.setStuck(undefined)
    await gates.pass(BACKEND)
    expect(gates.closed(BACKEND)).toBeUndefined()
  })

  it('stays shut while a part could not be looked through', async () => {
    memory.setTorn(true)
    expect(await codeOf(gates.pass(BACKEND))).toBe('vault_refused')
    expect(gates.closed(BACKEND)).toBe('not_looked_through')
    expect(memory.marksLeft()).toBe(0)
  })

  it('leaves no marks behind at a backend that fails again and again, but for as long as it does', async () => {
    await gates.pass(BACKEND)
    canDrop = false
    memory.setTorn(true)
    for (let n = 1; n <= 3; n += 1) {
      expect(await codeOf(gates.pass(BACKEND))).toBe('vault_refused')
      expect(memory.marksLeft()).toBe(1 + n)
    }
    canDrop = true
    memory.setTorn(false)
    await gates.pass(BACKEND)
    expect(memory.marksLeft()).toBe(1)
    expect(gates.closed(BACKEND)).toBeUndefined()
  })

  const login = (connection: string): MintPlan => {
    const { grant, mint } = orphan()
    const credential = { ...CREDENTIAL, database: { ...CREDENTIAL.database, connection } }
    return { grant, mint, digest: `sha-256:${'d'.repeat(43)}` as Digest, entitlement: ENTITLEMENT, credential }
  }
  const opens = (connection: string) => codeOf(gates.guarded(on.ports.credentials).open(login(connection)))

  it.each<[string, () => void, () => void]>([
    ['could not be looked through', () => memory.setFrozen(true), () => memory.setFrozen(false)],
    [
      'has a login that cannot be ended',
      () => {
        memory.plant('login', orphan())
        memory.setStuck('login')
      },
      () => memory.setStuck(undefined),
    ],
    [
      'has a lease that cannot be ended',
      () => {
        memory.plant('lease', orphan())
        memory.setStuck('lease')
      },
      () => memory.setStuck(undefined),
    ],
  ])('opens but for the database that %s, which opens by itself when that is over', async (_, spoil, mend) => {
    const { id } = await on.approvedLogin()
    spoil()
    await gates.pass(BACKEND)
    expect([gates.closed(BACKEND), gates.shut(BACKEND)]).toEqual([undefined, [DATABASE]])
    expect(gates.cleanAgeMs(BACKEND)).toBeUndefined()
    expect(await opens('ledger')).toBe('accepted')
    expect(await opens(DATABASE)).toBe('vault_unavailable')
    expect(await codeOf(exchange(id))).toBe('vault_unavailable')
    expect((await on.store.loadToEnd(id))?.head.status).toBe('approved')
    mend()
    await gates.pass(BACKEND)
    expect(gates.shut(BACKEND)).toEqual([])
    expect(gates.cleanAgeMs(BACKEND)).toBe(0)
    expect((await exchange(id)).grant.head.status).toBe('active')
    expect(memory.isThere('login', `writ-${id}`)).toBe(false)
  })

  it('that is open shuts for no database that goes away afterwards', async () => {
    await gates.pass(BACKEND)
    memory.setFrozen(true)
    await gates.pass(BACKEND)
    expect([gates.closed(BACKEND), gates.shut(BACKEND)]).toEqual([undefined, []])
    expect(await opens(DATABASE)).toBe('accepted')
  })

  it('does not shut for what is unknown: that is reported, and may stay for ever', async () => {
    memory.plant('role', undefined)
    await gates.pass(BACKEND)
    expect(gates.closed(BACKEND)).toBeUndefined()
  })

  it('opens nothing at a backend that was put back, from the first asking on, until what came back is gone', async () => {
    await gates.pass(BACKEND)
    const id = await issued()
    memory.plant('lease', mintOf(id))
    const putBack = memory.copy()
    const lease = { backend: BACKEND, kind: 'lease', place: '', handle: `writ-e-${id}-1`, mint: mintOf(id) } as const
    await broker.complete(vera(), id, {})
    await memory.inventory.end(lease)
    await gates.keep(BACKEND)
    putBack()
    expect(memory.isThere('lease', lease.handle)).toBe(true)
    const waiting = await on.approvedLogin()
    expect(await codeOf(exchange(waiting.id))).toBe('recovering')
    expect(gates.closed(BACKEND)).toBe('restored')
    expect(await codeOf(exchange(waiting.id))).toBe('recovering')
    await gates.pass(BACKEND)
    expect(memory.isThere('lease', lease.handle)).toBe(false)
    expect((await exchange(waiting.id)).grant.head.status).toBe('active')
    expect(told).toEqual(['open', 'restored', 'open'])
  })

  it('opens nothing at one that was put back within a second of an end, before a mark could be set after it', async () => {
    await gates.pass(BACKEND)
    const id = await issued()
    const [mint] = (await on.store.loadToEnd(id))?.head.mints ?? []
    if (mint?.status !== 'live' || mint.kind !== 'vault') throw new Error('a login is live')
    await broker.complete(vera(), id, {})
    const waiting = await on.approvedLogin(2)
    expect((await exchange(waiting.id)).grant.head.status).toBe('active')
    revived.add(mint.accessor)
    expect(await codeOf(exchange(waiting.id))).toBe('recovering')
    expect(gates.closed(BACKEND)).toBe('restored')
    revived.clear()
    await gates.pass(BACKEND)
    expect((await exchange(waiting.id)).grant.head.status).toBe('active')
    expect(told).toEqual(['open', 'restored', 'open'])
  })

  it('notices by itself that a backend was put back, though nobody asks for a login', async () => {
    await gates.pass(BACKEND)
    const putBack = memory.copy()
    ticks += 20_000
    await gates.keep(BACKEND)
    putBack()
    ticks += 20_000
    await gates.keep(BACKEND)
    expect(gates.closed(BACKEND)).toBe('restored')
  })

  it('knows a copy that still has the mark by what came back with it', async () => {
    await gates.pass(BACKEND)
    const id = await issued()
    await broker.complete(vera(), id, {})
    memory.plant('lease', mintOf(id))
    await gates.pass(BACKEND)
    expect(told).toEqual(['open', 'restored'])
    expect(memory.isThere('lease', `writ-e-${id}-1`)).toBe(false)
    await gates.pass(BACKEND)
    expect(gates.closed(BACKEND)).toBeUndefined()
  })

  it('sets a new mark after every end, and otherwise only when the mark is old', async () => {
    await gates.pass(BACKEND)
    const id = await issued()
    const unmarked = memory.copy()
    await gates.keep(BACKEND)
    unmarked()
    await gates.keep(BACKEND)
    // No new mark was due, so the copy has the one there is.
    expect(gates.closed(BACKEND)).toBeUndefined()
    await broker.complete(vera(), id, {})
    const putBack = memory.copy()
    await gates.keep(BACKEND)
    putBack()
    ticks += 10_000
    await gates.keep(BACKEND)
    expect(gates.closed(BACKEND)).toBe('restored')
  })

  it('shuts when the backend is out of reach after an end, and not when nothing has ended since the mark', async () => {
    await gates.pass(BACKEND)
    memory.setDown(true)
    ticks += 60_000
    await gates.keep(BACKEND)
    expect(gates.closed(BACKEND)).toBeUndefined()
    memory.setDown(false)
    await gates.keep(BACKEND)
    const id = await issued()
    await broker.complete(vera(), id, {})
    memory.setDown(true)
    await gates.keep(BACKEND)
    expect(gates.closed(BACKEND)).toBe('out_of_reach')
    memory.setDown(false)
    await gates.pass(BACKEND)
    expect(gates.closed(BACKEND)).toBeUndefined()
  })

  it('is not opened by a pass during which the backend was put back', async () => {
    const putBack = memory.copy()
    memory.onListed(() => void putBack() as undefined)
    await gates.pass(BACKEND)
    expect(gates.closed(BACKEND)).toBe('not_looked_through')
  })

  it('does not take a mark that was just replaced for one that is gone', async () => {
    await gates.pass(BACKEND)
    for (let n = 0; n < 20; n += 1) {
      const { id } = await on.approvedLogin()
      ticks += 20_000
      const [exchanged] = await Promise.all([exchange(id), gates.keep(BACKEND), gates.pass(BACKEND)])
      expect(exchanged.grant.head.status).toBe('active')
    }
    expect(told).toEqual(['open'])
    expect(memory.marksLeft()).toBe(1)
  })

  it('holds up no end, whatever it says', async () => {
    await gates.pass(BACKEND)
    const id = await issued()
    const putBack = memory.copy()
    ticks += 20_000
    await gates.keep(BACKEND)
    putBack()
    ticks += 20_000
    await gates.keep(BACKEND)
    expect(gates.closed(BACKEND)).toBe('restored')
    expect((await broker.complete(vera(), id, {})).head.status).toBe('ended')
  })

  it('says of an asking that could not be answered that nothing was made, so that the approval stays good', async () => {
    await gates.pass(BACKEND)
    const { id } = await on.approvedLogin()
    memory.setDown(true)
    expect(await codeOf(exchange(id))).toBe('vault_unavailable')
    expect((await on.store.loadToEnd(id))?.head.status).toBe('approved')
  })
})
