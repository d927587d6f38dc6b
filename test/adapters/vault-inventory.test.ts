// The inventory of a real Vault and PostgreSQL keeps every promise of its port, and looks with no more rights than the set-up gives it.
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPostgres } from '../../deploy/dev/postgres.ts'
import type { VaultDatabase } from '../../src/domain/entitlement.ts'
import type { Digest, EntitlementId } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import type { OpenedMint } from '../../src/domain/mint.ts'
import { vaultCredentialSource } from '../../src/vault/credential-source.ts'
import type { Place } from '../../src/vault/inventory.ts'
import { vaultInventory } from '../../src/vault/inventory.ts'
import { vaultMarks } from '../../src/vault/marks.ts'
import { displayName, loginName } from '../../src/vault/names.ts'
import { processTimer } from '../../src/vault/timer.ts'
import { claimedMint } from '../contracts/credential-source.ts'
import { inventoryContract, listed, newMint } from '../contracts/inventory.ts'
import { killWhileMaking, killWhileRevoking } from '../support/half-made-token.ts'
import { type Plants, plants } from '../support/vault-plants.ts'
import { CREDENTIAL, DATABASE, ENTITLEMENT, type VaultWorld, vaultWorld } from '../support/vault-world.ts'

const PLACES: readonly Place[] = [{ entitlement: ENTITLEMENT, database: DATABASE }]
const DIGEST = `sha-256:${'d'.repeat(43)}` as Digest
const plantsIn = (world: VaultWorld): Plants =>
  plants({
    ...world,
    postgres: { host: world.postgres.host, port: world.postgres.port, database: 'payments' },
    entitlement: ENTITLEMENT,
    database: DATABASE,
  })

inventoryContract('real Vault with PostgreSQL', async () => {
  const world = await vaultWorld()
  const { asRoot, query } = world
  const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
  const made = plantsIn(world)
  let unmarked = 0
  return {
    inventory,
    backend: 'vault-main',
    plant: made.plant,
    isThere: made.isThere,
    openSession: async (mint) => (await made.openSession(mint)).isOpen,
    plantUnmarked: async (kind) => {
      unmarked += 1
      const name = `writ-by-hand-${unmarked}`
      const role = {
        db_name: 'payments',
        creation_statements: [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`],
      }
      await asRoot('POST', 'database/config/payments', { allowed_roles: '*' }).catch(() => undefined)
      if (kind === 'role') await asRoot('POST', `database/roles/${name}`, role)
      if (kind === 'login') await query(`CREATE ROLE "${name}" LOGIN`)
      if (kind === 'lease') {
        await asRoot('POST', `database/roles/app-${unmarked}`, role)
        await asRoot('GET', `database/creds/app-${unmarked}`)
        return `app-${unmarked}`
      }
      if (kind === 'hold') {
        const answer = await asRoot('POST', 'auth/token/create/writ', { policies: ['writ-grant-x'], display_name: 'x' })
        return (answer as { auth: { accessor: string } }).auth.accessor
      }
      return name
    },
    isUnmarkedThere: async (kind, handle) => {
      if (kind === 'login') return (await query('SELECT FROM pg_roles WHERE rolname = $1', [handle])).length === 1
      const path = {
        role: ['GET', `database/roles/${handle}`],
        lease: ['LIST', `sys/leases/lookup/database/creds/${handle}`],
        hold: ['POST', 'auth/token/lookup-accessor', { accessor: handle }],
      } as const
      const [method, at, body] = path[kind]
      return asRoot(method, at, body).then(
        () => true,
        () => false,
      )
    },
    plantOthers: async () => {
      const token = (await asRoot('POST', 'auth/token/create', { policies: ['default'], ttl: '1h' })) as {
        auth: { accessor: string }
      }
      await asRoot('POST', 'database/roles/billing', { db_name: 'payments', creation_statements: ['SELECT 1'] })
      await query('CREATE ROLE billing LOGIN')
      return async () => {
        await asRoot('POST', 'auth/token/lookup-accessor', { accessor: token.auth.accessor })
        await asRoot('GET', 'database/roles/billing')
        return (await query(`SELECT FROM pg_roles WHERE rolname = 'billing'`)).length === 1
      }
    },
    freeze: () => world.postgres.freeze(),
    thaw: () => world.postgres.thaw(),
    stop: async () => {
      inventory.stop()
      await world.stop()
    },
  }
})

describe('at a real Vault', () => {
  let world: VaultWorld
  beforeAll(async () => {
    world = await vaultWorld()
  }, 120_000)
  afterAll(() => world?.stop(), 30_000)

  it('a backend without a login for the inventory has none', () => {
    const without = vaultInventory(world.backendsWith({ inventory: undefined }), () => PLACES, processTimer)
    expect(without.backends).toEqual([])
    without.stop()
  })

  it('a mark is there until it is dropped, is no hold of anybody, and needs no right that the broker has not', async () => {
    const marks = vaultMarks(world.backends, () => PLACES, processTimer)
    const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
    const mark = await marks.set('vault-main')
    expect(await marks.isThere('vault-main', mark)).toBe(true)
    const looked = (await world.asRoot('POST', 'auth/token/lookup-accessor', { accessor: mark })) as {
      data: { ttl: number; orphan: boolean; policies: string[] }
    }
    expect(looked.data).toMatchObject({ orphan: true, policies: ['writ-grant-payments-migrator'] })
    expect(looked.data.ttl).toBeGreaterThan(3_000)
    expect(looked.data.ttl).toBeLessThanOrEqual(3_600)
    expect(await listed(inventory.list('vault-main'))).toEqual([])
    await marks.drop('vault-main', mark)
    await marks.drop('vault-main', mark)
    expect(await marks.isThere('vault-main', mark)).toBe(false)
    await world.gate.shut()
    await expect(marks.isThere('vault-main', mark)).rejects.toMatchObject({ code: 'vault_unavailable' })
    await world.gate.open()
    marks.stop()
    inventory.stop()
  })

  it('a token that is just being made does not die of being looked at', async () => {
    const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
    const until = performance.now() + 8_000
    const [dead, counts] = [new Set<string>(), { made: 0, looks: 0 }]
    const making = async (): Promise<void> => {
      while (performance.now() < until) {
        const asked = { policies: ['writ-grant-payments-migrator'], ttl: '15s', renewable: true }
        const { auth } = (await world.asRoot('POST', 'auth/token/create/writ', asked)) as { auth: { accessor: string } }
        const { accessor } = auth
        counts.made += 1
        await world
          .asRoot('POST', 'auth/token/renew-accessor', { accessor, increment: '60s' })
          .catch(() => dead.add(accessor))
        await world.asRoot('POST', 'auth/token/revoke-accessor', { accessor }).catch(() => undefined)
      }
    }
    const looking = async (): Promise<void> => {
      while (performance.now() < until) {
        await listed(inventory.list('vault-main'))
        counts.looks += 1
      }
    }
    await Promise.all([...Array.from({ length: 12 }, making), looking()])
    expect(counts.made).toBeGreaterThan(100)
    expect(counts.looks).toBeGreaterThan(3)
    expect([...dead]).toEqual([])
    inventory.stop()
  })

  it('a login is of the server at which it was found, also where another one has a role of the same name', async () => {
    const [[, probe] = []] = world.backendsWith({}).get('vault-main')?.probes ?? []
    if (probe === undefined) throw new Error('there is no probe')
    const second = await startPostgres({ own: true })
    const mint = newMint()
    const admin = new pg.Client(second.url)
    await admin.connect()
    const password = (await readFile(probe.passwordFile, 'utf8')).trim()
    await admin.query(`CREATE ROLE "${probe.user}" LOGIN PASSWORD ${pg.escapeLiteral(password)}`)
    await admin.query(`CREATE ROLE "${DATABASE.grantedRole}"`)
    await admin.query(`CREATE ROLE "${loginName(mint.mint)}" LOGIN IN ROLE "${DATABASE.grantedRole}"`)
    await admin.end()
    const other = { ...probe, host: second.host, port: second.port, database: 'postgres' }
    const backends = world.backendsWith({
      probes: new Map([
        ['payments', probe],
        ['ledger', other],
      ]),
    })
    const ledger = { entitlement: 'ledger' as EntitlementId, database: { ...DATABASE, connection: 'ledger' } }
    const inventory = vaultInventory(backends, () => [...PLACES, ledger], processTimer)
    const found = await listed(inventory.list('vault-main'))
    expect(found.filter((one) => one.mint?.mint === mint.mint)).toMatchObject([{ place: 'ledger', database: 'ledger' }])
    inventory.stop()
    await second.stop()
  }, 60_000)

  it('what a login made goes to the owner of its entitlement, also where only PostgreSQL knows of it', async () => {
    const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
    const made = plantsIn(world)
    const mint = newMint()
    await made.plant('login', mint)
    const { client } = await made.openSession(mint)
    await client.query('CREATE TABLE of_an_orphan AS SELECT 1 AS one')
    const [artefact] = await listed(inventory.list('vault-main'))
    if (artefact === undefined) throw new Error('not found')
    expect(await inventory.end(artefact)).toBe(true)
    expect(await world.query(`SELECT tableowner FROM pg_tables WHERE tablename = 'of_an_orphan'`)).toEqual([
      { tableowner: 'payments_owner' },
    ])
    inventory.stop()
  })
})

describe('at a Vault that died while it made a token', () => {
  let world: VaultWorld
  beforeAll(async () => {
    world = await vaultWorld({ copyable: true })
  }, 120_000)
  afterAll(() => world?.stop(), 30_000)

  it('its accessor, which leads to nothing, does not keep the rest from being looked through', async () => {
    const accessor = await killWhileMaking(world.vault)
    await world.vault.restart()
    const { data } = (await world.asRoot('LIST', 'auth/token/accessors')) as { data: { keys: string[] } }
    expect(data.keys).toContain(accessor)
    const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
    const mint = newMint()
    await plantsIn(world).plant('hold', mint)
    for (const look of ['first', 'second']) {
      const found = await listed(inventory.list('vault-main'))
      expect([look, found.map(({ kind }) => kind)]).toEqual([look, ['hold']])
    }
    inventory.stop()
  })

  it('a hold whose end was broken off counts as gone: nobody can use it, and nobody can end it', async () => {
    const policy = { policy: 'path "cubbyhole/*" { capabilities = ["create", "update"] }' }
    await world.asRoot('POST', 'sys/policies/acl/writ-grant-slow', policy)
    const named = newMint()
    const { grant, mint } = named
    const hold = (await world.asRoot('POST', 'auth/token/create/writ', {
      ...{ policies: ['writ-grant-slow'], ttl: '1h', renewable: true, display_name: displayName(mint) },
      meta: { grant, mint, digest: DIGEST },
    })) as { auth: { client_token: string; accessor: string } }
    const { client_token: token, accessor } = hold.auth
    const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
    const holdsOf = async () =>
      (await listed(inventory.list('vault-main'))).filter((one) => one.mint?.mint === mint).map(({ kind }) => kind)
    expect(await holdsOf()).toEqual(['hold'])
    await killWhileRevoking(world.vault, { token, accessor })
    await world.vault.restart()
    const looked = (await world.asRoot('POST', 'auth/token/lookup-accessor', { accessor })) as { data: object }
    expect(looked.data).toMatchObject({ num_uses: -1 })
    await expect(world.asRoot('POST', 'auth/token/revoke-accessor', { accessor })).rejects.toThrow('token not found')
    await expect(world.asRoot('POST', 'cubbyhole/any', {}, token)).rejects.toThrow('403')

    const slow = { entitlement: 'slow' as EntitlementId, database: undefined as VaultDatabase | undefined }
    const fresh = vaultInventory(world.backends, () => [...PLACES, slow], processTimer)
    const found = async () => (await listed(fresh.list('vault-main'))).filter(({ handle }) => handle === accessor)
    // What a path may have given under it nobody can be asked about, so it is told of; what a database gave is found there.
    expect(await found()).toMatchObject([{ kind: 'hold', mint: undefined }])
    slow.database = DATABASE
    expect(await found()).toEqual([])
    expect(await fresh.end({ backend: 'vault-main', kind: 'hold', place: '', handle: accessor, mint: named })).toBe(
      false,
    )
    const source = vaultCredentialSource(world.backends, processTimer, () => instant(Date.now()))
    const plan = { entitlement: ENTITLEMENT, credential: CREDENTIAL, grant, mint, digest: DIGEST }
    const opened: OpenedMint = { ...claimedMint(), status: 'opened', accessor }
    await source.close(plan, opened)
    expect((await source.confirmGone(plan, opened)).gone).toBe(true)
    source.stop()
    fresh.stop()
    inventory.stop()
  })

  it('a look that is denied for every accessor is told, and not taken for nothing', async () => {
    const at = 'sys/policies/acl/writ-inventory'
    const { data } = (await world.asRoot('GET', at)) as { data: { policy: string } }
    await world.asRoot('POST', at, { policy: data.policy.replace('auth/token/lookup-accessor', 'auth/token/nothing') })
    const inventory = vaultInventory(world.backends, () => PLACES, processTimer)
    await expect(listed(inventory.list('vault-main'))).rejects.toMatchObject({ code: 'vault_refused' })
    await world.asRoot('POST', at, { policy: data.policy })
    expect((await listed(inventory.list('vault-main'))).length).toBeGreaterThan(0)
    inventory.stop()
  })
})

describe('at a backend without a database', () => {
  it('a hold is found and ended, and a mark can be set', async () => {
    const world = await vaultWorld()
    const places = () => [{ entitlement: ENTITLEMENT, database: undefined }]
    const backends = world.backendsWith({ probes: new Map() })
    const inventory = vaultInventory(backends, places, processTimer)
    const marks = vaultMarks(backends, places, processTimer)
    const mint = newMint()
    await plantsIn(world).plant('hold', mint)
    const found = await listed(inventory.list('vault-main'))
    expect(found.map(({ kind }) => kind)).toEqual(['hold'])
    expect(await inventory.end(found[0] as (typeof found)[0])).toBe(true)
    expect(await marks.isThere('vault-main', await marks.set('vault-main'))).toBe(true)
    inventory.stop()
    marks.stop()
    await world.stop()
  }, 120_000)
})
