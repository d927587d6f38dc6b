// What every Inventory promises, as tests: run on the memory inventory and on real Vault with PostgreSQL. A world is an inventory with a backend
// in which things can be planted and looked for by others' eyes.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ARTEFACT_KINDS, type Artefact, type ArtefactKind, type Inventory } from '../../src/broker/ports.ts'
import { isBrokerError } from '../../src/domain/errors.ts'
import { grantIdFrom, type MintName, mintId, readMintId, shard } from '../../src/domain/ids.ts'

export interface InventoryWorld {
  readonly inventory: Inventory
  readonly backend: string
  /** Makes one of this kind for a mint, as a broker would have. A lease brings the login with it, as leases do. */
  plant(kind: ArtefactKind, mint: MintName): Promise<void>
  /** Makes one of this kind that lies among ours and bears no mark; answers its handle. */
  plantUnmarked(kind: ArtefactKind): Promise<string>
  /** Makes what others would: elsewhere, under names that are not ours. Answers whether all of it is still there. */
  plantOthers(): Promise<() => Promise<boolean>>
  /** Whether it is there, asked of the backend with the rights of its administrator. */
  isThere(kind: ArtefactKind, mint: MintName): Promise<boolean>
  isUnmarkedThere(kind: ArtefactKind, handle: string): Promise<boolean>
  /** Opens a session of a planted login and says later whether it is still open. */
  openSession(mint: MintName): Promise<() => Promise<boolean>>
  /** The database answers nothing any more, and answers again. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  stop(): Promise<void>
}

export async function listed(artefacts: AsyncIterable<Artefact>): Promise<readonly Artefact[]> {
  const found: Artefact[] = []
  for await (const artefact of artefacts) found.push(artefact)
  return found
}

export const newMint = (n = 1, group = 'bbbbbb'): MintName => {
  const found = readMintId(mintId(grantIdFrom(shard(0), group, randomBytes(20)), n))
  if (found === undefined) throw new Error('not a mint')
  return found
}

export function inventoryContract(name: string, make: () => Promise<InventoryWorld>): void {
  describe(`${name} as an inventory`, () => {
    let world: InventoryWorld
    let inventory: Inventory
    beforeAll(async () => {
      world = await make()
      inventory = world.inventory
    }, 120_000)
    afterAll(() => world?.stop(), 30_000)

    const all = async (): Promise<readonly Artefact[]> => listed(inventory.list(world.backend))
    const of = async (mint: MintName): Promise<readonly Artefact[]> =>
      (await all()).filter((one) => one.mint?.mint === mint.mint)
    const one = async (kind: ArtefactKind, mint: MintName): Promise<Artefact> => {
      const found = (await of(mint)).filter((artefact) => artefact.kind === kind)
      expect(found).toHaveLength(1)
      return found[0] as Artefact
    }

    it('names the backends that can be looked through', () => {
      expect(inventory.backends).toContain(world.backend)
    })

    it.each(ARTEFACT_KINDS)('finds a %s by its mark and ends it, and a second end finds nothing', async (kind) => {
      const mint = newMint(7)
      await world.plant(kind, mint)
      const artefact = await one(kind, mint)
      expect(artefact).toMatchObject({ backend: world.backend, kind, mint: { grant: mint.grant, n: 7 } })
      expect(await world.isThere(kind, mint)).toBe(true)
      expect(await inventory.end(artefact)).toBe(true)
      expect(await world.isThere(kind, mint)).toBe(false)
      expect(await inventory.end(artefact)).toBe(false)
      expect((await of(mint)).filter((left) => left.kind === kind)).toEqual([])
    })

    it('ends the login with its lease', async () => {
      const mint = newMint()
      await world.plant('lease', mint)
      expect(await world.isThere('login', mint)).toBe(true)
      await inventory.end(await one('lease', mint))
      expect(await world.isThere('login', mint)).toBe(false)
    })

    it('cuts the sessions of a login that only the database knows', async () => {
      const mint = newMint()
      await world.plant('login', mint)
      const isOpen = await world.openSession(mint)
      expect(await isOpen()).toBe(true)
      expect(await inventory.end(await one('login', mint))).toBe(true)
      expect(await isOpen()).toBe(false)
      expect(await world.isThere('login', mint)).toBe(false)
    })

    it('ends the login of a canary, whose mint has no number of a use', async () => {
      const mint = newMint(0)
      await world.plant('login', mint)
      expect(await inventory.end(await one('login', mint))).toBe(true)
      expect(await world.isThere('login', mint)).toBe(false)
    })

    it('ends nothing of another mint, also one whose name begins the same', async () => {
      const first = newMint(1)
      const twin = readMintId(`${first.grant}-11`) as MintName
      for (const kind of ['hold', 'role', 'login'] as const) {
        await world.plant(kind, first)
        await world.plant(kind, twin)
      }
      for (const artefact of await of(first)) await inventory.end(artefact)
      for (const kind of ['hold', 'role', 'login'] as const) {
        expect(await world.isThere(kind, first), kind).toBe(false)
        expect(await world.isThere(kind, twin), kind).toBe(true)
      }
      for (const artefact of await of(twin)) await inventory.end(artefact)
    })

    it.each(ARTEFACT_KINDS)('names a %s without a mark, and refuses to end it', async (kind) => {
      const handle = await world.plantUnmarked(kind)
      const artefact = (await all()).find((found) => found.kind === kind && found.handle === handle)
      expect(artefact).toMatchObject({ kind, handle, mint: undefined })
      const thrown = await inventory.end(artefact as Artefact).catch((error: unknown) => error)
      expect(isBrokerError(thrown)).toBe(true)
      expect(await world.isUnmarkedThere(kind, handle)).toBe(true)
    })

    it('refuses to end what is named as another mint than it is marked', async () => {
      const mint = newMint()
      await world.plant('role', mint)
      await world.plant('login', mint)
      for (const kind of ['role', 'login'] as const) {
        const artefact = { ...(await one(kind, mint)), mint: newMint() }
        expect(isBrokerError(await inventory.end(artefact).catch((error: unknown) => error))).toBe(true)
        expect(await world.isThere(kind, mint)).toBe(true)
      }
      for (const artefact of await of(mint)) await inventory.end(artefact)
    })

    it('does not see what others made elsewhere, and leaves it as it is', async () => {
      const before = await all()
      const isAllThere = await world.plantOthers()
      const keys = (artefacts: readonly Artefact[]) => artefacts.map(({ kind, handle }) => `${kind} ${handle}`).sort()
      expect(keys(await all())).toEqual(keys(before))
      expect(await isAllThere()).toBe(true)
    })

    it('says what it found and then that it could not see all, while the database does not answer', async () => {
      const mint = newMint()
      await world.plant('hold', mint)
      await world.freeze()
      const found: Artefact[] = []
      const looking = async (): Promise<void> => {
        for await (const artefact of inventory.list(world.backend)) found.push(artefact)
      }
      const thrown = await looking().catch((error: unknown) => error)
      await world.thaw()
      expect(isBrokerError(thrown) && thrown.facts.databases).toEqual(['payments'])
      expect(found.some((artefact) => artefact.mint?.mint === mint.mint && artefact.kind === 'hold')).toBe(true)
      for (const artefact of await of(mint)) await inventory.end(artefact)
    }, 60_000)

    it('says of no login that it is gone while the database does not answer', async () => {
      const mint = newMint()
      await world.plant('login', mint)
      const artefact = await one('login', mint)
      await world.freeze()
      const thrown = await inventory.end(artefact).catch((error: unknown) => error)
      await world.thaw()
      expect(isBrokerError(thrown, 'not_confirmed')).toBe(true)
      await inventory.end(artefact)
      expect(await world.isThere('login', mint)).toBe(false)
    }, 60_000)

    it('refuses a backend that it does not know', async () => {
      const thrown = await Promise.resolve()
        .then(() => listed(inventory.list('nowhere')))
        .catch((error: unknown) => error)
      expect(isBrokerError(thrown)).toBe(true)
    })
  })
}
