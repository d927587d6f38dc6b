// The set-up of Vault and PostgreSQL for Writ, on the real ones: a mint's whole life with the broker's own login, and everything that
// a stolen login must not be able to do. The SQL that runs here is the SQL that the broker sends.
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PostgresService, startPostgres } from '../../deploy/dev/postgres.ts'
import { startVault, type VaultService } from '../../deploy/dev/vault.ts'
import { type AppRoleLogin, applyVaultSetup, type VaultSetup, type VaultSetupResult } from '../../deploy/vault/setup.ts'
import type { VaultDatabase } from '../../src/domain/entitlement.ts'
import { type EntitlementId, grantId, mintId, named, shard } from '../../src/domain/ids.ts'
import { loginName, policyName, roleName } from '../../src/vault/names.ts'
import { databaseStatements } from '../../src/vault/statements.ts'

const MIGRATOR = named.entitlement('payments-migrator')
/** Its name begins the other's, which must not open the other's credentials. */
const READER = named.entitlement('payments')
const LEDGER = named.entitlement('ledger-migrator')
const PAYMENTS_DB: VaultDatabase = {
  mount: 'database',
  connection: 'payments',
  grantedRole: 'payments_migrator',
  ownerRole: 'payments_owner',
}
const READER_DB: VaultDatabase = { ...PAYMENTS_DB, grantedRole: 'payments_reader' }
const LEDGER_DB: VaultDatabase = {
  mount: 'database',
  connection: 'ledger',
  grantedRole: 'ledger_migrator',
  ownerRole: 'ledger_owner',
}
const GRANT = grantId(shard(0), 'abcdefghijklmnopqrstuvwxyz')
let mints = 0

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown> & {
    readonly auth?: {
      client_token: string
      accessor: string
      policies: string[]
      lease_duration: number
      orphan: boolean
    }
    readonly data?: Record<string, unknown>
    readonly lease_id?: string
    readonly lease_duration?: number
    readonly errors?: readonly string[]
  }
}

let vault: VaultService
let postgres: PostgresService
let setup: VaultSetup
let made: VaultSetupResult
let broker: string
let inventory: string

const ask = async (token: string, method: string, path: string, body?: unknown): Promise<Answer> => {
  const reply = await fetch(`${vault.addr}/v1/${path}`, {
    method,
    headers: { 'x-vault-token': token },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await reply.text()
  return { status: reply.status, body: text === '' ? {} : (JSON.parse(text) as Answer['body']) }
}

const loggedIn = async ({ roleId, secretId }: AppRoleLogin): Promise<string> => {
  const answer = await ask('', 'POST', 'auth/approle/login', { role_id: roleId, secret_id: secretId })
  const token = answer.body.auth?.client_token
  if (token === undefined) throw new Error(`the login was answered with ${answer.status}`)
  return token
}

const superuserIn = async (database: string): Promise<pg.Client> => {
  const client = new pg.Client(postgres.url.replace(/\/postgres$/, `/${database}`))
  await client.connect()
  return client
}

/** One statement as superuser, in a session of its own. */
const query = async (database: string, text: string, values: readonly unknown[] = []) => {
  const client = await superuserIn(database)
  try {
    return (await client.query(text, [...values])).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}

const roleBody = ({ connection, grantedRole, ownerRole }: VaultDatabase, ttl = '60s') => {
  const { creation, revocation } = databaseStatements(grantedRole, ownerRole)
  return {
    db_name: connection,
    creation_statements: creation,
    revocation_statements: revocation,
    default_ttl: ttl,
    max_ttl: ttl,
  }
}

const holdBody = (entitlement: EntitlementId, mint: string) => ({
  policies: [policyName(entitlement)],
  ttl: '15s',
  renewable: true,
  display_name: mint,
  meta: { grant: GRANT, mint },
})

interface Minted {
  readonly login: string
  readonly password: string
  readonly leaseId: string
  readonly lease: number
  readonly role: string
  readonly hold: { readonly token: string; readonly accessor: string }
}

/** The steps of a mint with the broker's own token, in the order of the design. */
const minted = async (entitlement = MIGRATOR, database = PAYMENTS_DB, ttl = '60s'): Promise<Minted> => {
  const mint = mintId(GRANT, ++mints)
  const hold = (await ask(broker, 'POST', 'auth/token/create/writ', holdBody(entitlement, mint))).body.auth
  if (!hold) throw new Error('no hold')
  await ask(broker, 'POST', 'auth/token/renew-accessor', { accessor: hold.accessor, increment: '3600s' })
  const role = roleName(entitlement, mint)
  const written = await ask(broker, 'POST', `database/roles/${role}`, roleBody(database, ttl))
  if (written.status !== 204) throw new Error(`the role was answered with ${written.status}`)
  const { status, body } = await ask(hold.client_token, 'GET', `database/creds/${role}`)
  const { username, password } = body.data ?? {}
  if (typeof username !== 'string' || typeof password !== 'string') throw new Error(`no login: ${status}`)
  return {
    ...{ login: username, password, leaseId: body.lease_id ?? '', lease: body.lease_duration ?? 0, role },
    hold: { token: hold.client_token, accessor: hold.accessor },
  }
}

const session = async ({ login, password }: Minted, database = 'payments') => {
  const { host, port } = postgres
  const client = new pg.Client({ host, port, database, user: login, password })
  let isOpen = true
  client.on('end', () => {
    isOpen = false
  })
  client.on('error', () => {
    isOpen = false
  })
  await client.connect()
  return { client, isOpen: () => isOpen }
}

const revoked = (mint: Minted) =>
  ask(broker, 'POST', 'sys/leases/revoke', { lease_id: mint.leaseId, sync: true }).then(({ status }) => status)

const isSoon = async (holds: () => boolean | Promise<boolean>, ms = 5_000): Promise<boolean> => {
  for (const end = performance.now() + ms; performance.now() < end; await pause(20)) if (await holds()) return true
  return false
}

/** Sessions of logins that are gone, or of this one. */
const SESSIONS = `SELECT count(*)::int AS count FROM pg_stat_activity LEFT JOIN pg_roles ON pg_roles.oid = usesysid
  WHERE usesysid IS NOT NULL AND (pg_roles.oid IS NULL OR rolname = $1)`

beforeAll(async () => {
  ;[vault, postgres] = await Promise.all([startVault({ own: true }), startPostgres({ own: true })])
  await query('postgres', 'CREATE DATABASE payments')
  await query('postgres', 'CREATE DATABASE ledger')
  const connection = (database: string) => ({
    ...{ host: postgres.host, port: postgres.port, database, sslmode: 'disable', schema: 'public' },
    ...{ schemaRights: 'USAGE, CREATE', by: { superuserUrl: postgres.url.replace(/\/postgres$/, `/${database}`) } },
  })
  setup = {
    addr: vault.addr,
    adminToken: vault.rootToken,
    connections: { payments: connection('payments'), ledger: connection('ledger') } as VaultSetup['connections'],
    entitlements: [
      { id: MIGRATOR, database: PAYMENTS_DB },
      { id: READER, database: READER_DB },
      { id: LEDGER, database: LEDGER_DB },
    ],
  }
  await applyVaultSetup(setup)
  // A second time, so that everything below also holds after a repetition.
  made = await applyVaultSetup(setup)
  broker = await loggedIn(made.broker)
  inventory = await loggedIn(made.inventory)
})

afterAll(async () => {
  await vault?.stop()
  await postgres?.stop()
})

describe('a mint with the broker’s own login', () => {
  it('opens a hold that is an orphan, has one policy, dies within 15 seconds, and can be kept', async () => {
    const { body } = await ask(broker, 'POST', 'auth/token/create/writ', holdBody(MIGRATOR, mintId(GRANT, ++mints)))
    expect(body.auth).toMatchObject({
      orphan: true,
      renewable: true,
      policies: [policyName(MIGRATOR)],
      lease_duration: 15,
    })
    const accessor = body.auth?.accessor
    const kept = await ask(broker, 'POST', 'auth/token/renew-accessor', { accessor, increment: '7200s' })
    expect(kept.body.auth?.lease_duration).toBe(7_200)
    const { data } = (await ask(broker, 'POST', 'auth/token/lookup-accessor', { accessor })).body
    expect(data).toMatchObject({ id: '', meta: { grant: GRANT, mint: mintId(GRANT, mints) }, entity_id: '' })
    expect(data?.display_name).toBe(`token-${mintId(GRANT, mints)}`)
    await ask(broker, 'POST', 'auth/token/revoke-accessor', { accessor })
  })

  it('keeps no hold for longer than the set-up allows', async () => {
    const { body } = await ask(broker, 'POST', 'auth/token/create/writ', holdBody(MIGRATOR, mintId(GRANT, ++mints)))
    const accessor = body.auth?.accessor
    const kept = await ask(broker, 'POST', 'auth/token/renew-accessor', { accessor, increment: '1000h' })
    expect(kept.body.auth?.lease_duration).toBeLessThanOrEqual(86_400)
    await ask(broker, 'POST', 'auth/token/revoke-accessor', { accessor })
  })

  it('makes a login that carries the mint in its name and ends by itself at its time', async () => {
    const mint = await minted(MIGRATOR, PAYMENTS_DB, '40s')
    expect(mint.login).toBe(loginName(mintId(GRANT, mints)))
    expect(mint.lease).toBe(40)
    const [role] = await query(
      'payments',
      `SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin,
              extract(epoch FROM rolvaliduntil - now())::float AS left FROM pg_roles WHERE rolname = $1`,
      [mint.login],
    )
    expect(role).toMatchObject({ rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolcanlogin: true })
    expect(role).toMatchObject({ rolreplication: false, rolbypassrls: false })
    // Vault adds five seconds to VALID UNTIL.
    expect(Number(role?.left)).toBeGreaterThan(30)
    expect(Number(role?.left)).toBeLessThanOrEqual(45)
    expect(await revoked(mint)).toBe(204)
  })

  it('ends it: lease gone, session cut, role gone, its table still there and owned by the owner role', async () => {
    const mint = await minted()
    const { client, isOpen } = await session(mint)
    await client.query('CREATE TABLE of_a_migration (n int)')
    await client.query('INSERT INTO of_a_migration VALUES (1), (2)')
    expect(await revoked(mint)).toBe(204)
    const lookup = await ask(broker, 'POST', 'sys/leases/lookup', { lease_id: mint.leaseId })
    expect(lookup).toMatchObject({ status: 400, body: { errors: ['invalid lease'] } })
    expect(await isSoon(() => !isOpen())).toBe(true)
    expect(await query('payments', SESSIONS, [mint.login])).toEqual([{ count: 0 }])
    expect(await query('payments', 'SELECT 1 FROM pg_roles WHERE rolname = $1', [mint.login])).toEqual([])
    expect(await query('payments', `SELECT tableowner FROM pg_tables WHERE tablename = 'of_a_migration'`)).toEqual([
      { tableowner: 'payments_owner' },
    ])
    expect(await query('payments', 'SELECT count(*)::int AS n FROM of_a_migration')).toEqual([{ n: 2 }])
    await expect(session(mint)).rejects.toMatchObject({ code: '28P01' })
    const accessor = mint.hold.accessor
    expect((await ask(broker, 'POST', 'auth/token/revoke-accessor', { accessor })).status).toBe(204)
    expect((await ask(broker, 'POST', 'auth/token/lookup-accessor', { accessor })).status).toBe(400)
    expect((await ask(broker, 'DELETE', `database/roles/${mint.role}`)).status).toBe(204)
    expect((await ask(vault.rootToken, 'GET', `database/roles/${mint.role}`)).status).toBe(404)
  })

  it('ends in every connection of one server, and gives each owner role its own', async () => {
    const mint = await minted(LEDGER, LEDGER_DB)
    const { client } = await session(mint, 'ledger')
    await client.query('CREATE TABLE entries (n int)')
    expect(await revoked(mint)).toBe(204)
    expect(await query('ledger', `SELECT tableowner FROM pg_tables WHERE tablename = 'entries'`)).toEqual([
      { tableowner: 'ledger_owner' },
    ])
  })

  it('ends successfully what somebody has already dropped by hand', async () => {
    const mint = await minted()
    await query('payments', `DROP ROLE "${mint.login}"`)
    expect(await revoked(mint)).toBe(204)
    const lookup = await ask(broker, 'POST', 'sys/leases/lookup', { lease_id: mint.leaseId })
    expect(lookup.body.errors).toEqual(['invalid lease'])
  })

  it('makes only one login of one mint', async () => {
    const mint = await minted()
    const again = await ask(mint.hold.token, 'GET', `database/creds/${mint.role}`)
    expect(again.status).toBe(500)
    expect(again.body.data).toBeUndefined()
    expect(await revoked(mint)).toBe(204)
  })

  it('leaves no session to a client that logs in again and again while it is ended', async () => {
    const mint = await minted()
    const { host, port } = postgres
    let isOver = false
    let opened = 0
    const held: pg.Client[] = []
    const knocking = async () => {
      while (!isOver) {
        const client = new pg.Client({ host, port, database: 'payments', user: mint.login, password: mint.password })
        client.on('error', () => {})
        await client.connect().then(
          () => {
            opened++
            held.push(client)
          },
          () => pause(1),
        )
      }
    }
    const knockers = [knocking(), knocking(), knocking()]
    expect(await isSoon(() => opened > 10)).toBe(true)
    expect(await revoked(mint)).toBe(204)
    isOver = true
    await Promise.all(knockers)
    expect(await query('payments', SESSIONS, [mint.login])).toEqual([{ count: 0 }])
    for (const client of held) await client.end().catch(() => {})
  })

  it('shuts a login even when something of it cannot be dropped, and does not call that ended', async () => {
    const mint = await minted()
    const { client } = await session(mint, 'postgres')
    await client.query('SELECT lo_create(4711)')
    expect(await revoked(mint)).not.toBe(204)
    expect((await ask(broker, 'POST', 'sys/leases/lookup', { lease_id: mint.leaseId })).status).toBe(200)
    await expect(session(mint)).rejects.toMatchObject({ code: '28000' })
    expect(await query('payments', SESSIONS, [mint.login])).toEqual([{ count: 0 }])
    // What is in the way goes, and the end succeeds.
    await query('postgres', 'SELECT lo_unlink(4711)')
    expect(await revoked(mint)).toBe(204)
    expect(await query('payments', 'SELECT 1 FROM pg_roles WHERE rolname = $1', [mint.login])).toEqual([])
  })

  it('is ended by Vault itself when its lease is over, with nobody asking', async () => {
    const mint = await minted(MIGRATOR, PAYMENTS_DB, '2s')
    const { isOpen } = await session(mint)
    expect(await isSoon(() => !isOpen(), 10_000)).toBe(true)
    const gone = () => query('payments', 'SELECT 1 FROM pg_roles WHERE rolname = $1', [mint.login])
    expect(await isSoon(async () => (await gone()).length === 0)).toBe(true)
  })

  it('dies with its hold: an unkept one takes its login along', async () => {
    const mint = mintId(GRANT, ++mints)
    const hold = (await ask(broker, 'POST', 'auth/token/create/writ', holdBody(MIGRATOR, mint))).body.auth
    const role = roleName(MIGRATOR, mint)
    await ask(broker, 'POST', `database/roles/${role}`, roleBody(PAYMENTS_DB, '3600s'))
    expect((await ask(hold?.client_token ?? '', 'GET', `database/creds/${role}`)).status).toBe(200)
    const exists = async () =>
      (await query('payments', 'SELECT 1 FROM pg_roles WHERE rolname = $1', [loginName(mint)])).length === 1
    expect(await exists()).toBe(true)
    expect(await isSoon(async () => !(await exists()), 25_000)).toBe(true)
  }, 40_000)

  it('wraps a credential for one opening', async () => {
    const wrapped = await fetch(`${vault.addr}/v1/sys/wrapping/wrap`, {
      method: 'POST',
      headers: { 'x-vault-token': broker, 'x-vault-wrap-ttl': '60s' },
      body: JSON.stringify({ sealed: 'yes' }),
    })
    const { wrap_info: info } = (await wrapped.json()) as { wrap_info: { token: string } }
    expect((await ask(info.token, 'POST', 'sys/wrapping/unwrap')).body.data).toEqual({ sealed: 'yes' })
    expect((await ask(info.token, 'POST', 'sys/wrapping/unwrap')).status).toBe(400)
  })
})

describe('a stolen broker login', () => {
  const role = `database/roles/${roleName(MIGRATOR, mintId(GRANT, 999))}`
  const body = roleBody(PAYMENTS_DB)
  const evil = 'CREATE ROLE "{{name}}" SUPERUSER LOGIN PASSWORD \'{{password}}\''

  it.each<[string, object]>([
    ['other creation SQL', { ...body, creation_statements: [evil] }],
    ['more creation SQL', { ...body, creation_statements: [...body.creation_statements, evil] }],
    ['creation SQL as text', { ...body, creation_statements: evil }],
    [
      'the pinned creation SQL as text, to be split',
      { ...body, creation_statements: body.creation_statements.join(';') },
    ],
    ['no creation SQL', { ...body, creation_statements: [] }],
    ['other revocation SQL', { ...body, revocation_statements: ['SELECT 1'] }],
    ['less revocation SQL', { ...body, revocation_statements: [] }],
    ['empty revocation SQL', { ...body, revocation_statements: '' }],
    ['a blank as revocation SQL', { ...body, revocation_statements: [''] }],
    ['null as revocation SQL', { ...body, revocation_statements: null }],
    [
      'only a part of the revocation SQL',
      { ...body, revocation_statements: body.revocation_statements.map((one) => `${one} `) },
    ],
    ['rollback SQL', { ...body, rollback_statements: [evil] }],
    ['renewal SQL', { ...body, renew_statements: [evil] }],
    ['another database', { ...body, db_name: 'ledger' }],
    ['a role of another entitlement’s rights', { ...body, ...roleBody(READER_DB) }],
    ['another kind of credential', { ...body, credential_type: 'rsa_private_key' }],
    ['settings of the credential', { ...body, credential_config: { password_policy: 'weak' } }],
    ['a role without its SQL', { db_name: 'payments', default_ttl: '60s', max_ttl: '60s' }],
    ['an empty request', {}],
  ])('cannot write a role with %s', async (_, request) => {
    expect((await ask(broker, 'POST', role, request)).status).toBe(403)
    expect((await ask(vault.rootToken, 'GET', role)).status).toBe(404)
  })

  it.each<[string, object]>([
    ['two entitlements', { policies: [policyName(MIGRATOR), policyName(LEDGER)] }],
    ['the broker’s own policy', { policies: ['writ-broker'] }],
    ['root', { policies: ['root'] }],
    ['the default policy', { policies: [policyName(MIGRATOR), 'default'] }],
    ['policies as text', { policies: `${policyName(MIGRATOR)},root` }],
    ['a long life', { ttl: '24h' }],
    ['a period', { period: '24h' }],
    ['an id of its own choice', { id: 'known' }],
    ['a name that is no mint', { display_name: 'root' }],
    ['another type', { type: 'batch' }],
  ])('cannot make a hold with %s', async (_, request) => {
    const hold = { ...holdBody(MIGRATOR, mintId(GRANT, 998)), ...request }
    expect((await ask(broker, 'POST', 'auth/token/create/writ', hold)).status).toBe(403)
  })

  it('gets a hold without any right when it names no policy', async () => {
    const hold = { ...holdBody(MIGRATOR, mintId(GRANT, 997)), policies: [] }
    expect((await ask(broker, 'POST', 'auth/token/create/writ', hold)).body.auth?.policies ?? []).toEqual([])
  })

  it.each<[string, string]>([
    ['GET', 'database/creds/writ-payments-migrator-g0-x-1'],
    ['GET', 'database/config/payments'],
    ['POST', 'database/config/payments'],
    ['POST', 'database/config/evil'],
    ['POST', 'database/rotate-root/payments'],
    ['POST', 'database/reset/payments'],
    ['POST', 'database/roles/admin'],
    ['POST', 'database/roles/writ-other-g0-x-1'],
    ['GET', 'database/roles/writ-payments-migrator-g0-x-1'],
    ['LIST', 'database/roles'],
    ['POST', 'database/static-roles/writ-payments-migrator-g0-x-1'],
    ['GET', 'database/static-creds/writ'],
    ['POST', 'auth/token/create'],
    ['POST', 'auth/token/create-orphan'],
    ['POST', 'auth/token/create/other'],
    ['POST', 'auth/token/roles/writ'],
    ['GET', 'auth/token/roles/writ'],
    ['LIST', 'auth/token/accessors'],
    ['POST', 'auth/token/lookup'],
    ['POST', 'auth/token/revoke'],
    ['POST', 'auth/token/revoke-orphan'],
    ['POST', 'auth/token/tidy'],
    ['POST', 'sys/policies/acl/writ-broker'],
    ['GET', 'sys/policies/acl/writ-broker'],
    ['POST', 'sys/policies/acl/writ-grant-payments-migrator'],
    ['LIST', 'sys/policies/acl'],
    ['POST', 'sys/mounts/evil'],
    ['GET', 'sys/mounts'],
    ['POST', 'sys/mounts/database/tune'],
    ['POST', 'sys/auth/evil'],
    ['POST', 'auth/approle/role/writ-broker'],
    ['POST', 'auth/approle/role/writ-broker/secret-id'],
    ['POST', 'auth/approle/role/writ-inventory/secret-id'],
    ['LIST', 'sys/leases/lookup/database/creds/writ-payments-migrator-g0-x-1'],
    ['POST', 'sys/leases/renew'],
    ['POST', 'sys/leases/revoke-prefix/database'],
    ['POST', 'sys/leases/revoke-force/database'],
    ['POST', 'sys/leases/revoke/database/creds/other/x'],
    ['POST', 'sys/revoke/database/creds/other/x'],
    ['POST', 'sys/leases/tidy'],
    ['GET', 'sys/raw/core'],
    ['POST', 'sys/seal'],
    ['POST', 'sys/rotate'],
    ['POST', 'sys/audit/evil'],
    ['GET', 'sys/config/cors'],
    ['POST', 'sys/plugins/catalog/database/evil'],
    ['POST', 'sys/remount'],
    ['POST', 'identity/entity'],
    ['POST', 'cubbyhole/x'],
  ])('is refused %s %s', async (method, path) => {
    expect((await ask(broker, method, path, method === 'POST' ? {} : undefined)).status).toBe(403)
  })

  it('cannot end or look up a lease that is not Writ’s, nor end one of Writ’s without waiting for it', async () => {
    const foreign = { lease_id: 'database/creds/app/abc', sync: true }
    expect((await ask(broker, 'POST', 'sys/leases/revoke', foreign)).status).toBe(403)
    expect((await ask(broker, 'POST', 'sys/leases/lookup', { lease_id: foreign.lease_id })).status).toBe(403)
    const lazy = { lease_id: 'database/creds/writ-payments-migrator-g0-x-1/abc', sync: false }
    expect((await ask(broker, 'POST', 'sys/leases/revoke', lazy)).status).toBe(403)
  })

  it('cannot make a login that outlives what the set-up allows', async () => {
    const mint = await minted(MIGRATOR, PAYMENTS_DB, '9000h')
    expect(mint.lease).toBeLessThanOrEqual(86_400)
    expect(await revoked(mint)).toBe(204)
  })

  it('is useless without the secret id, and the secret ids of an earlier set-up are', async () => {
    const { roleId } = made.broker
    for (const secretId of ['', 'guessed']) {
      const login = ask('', 'POST', 'auth/approle/login', { role_id: roleId, secret_id: secretId })
      expect((await login).status).toBe(400)
    }
    const before = made
    made = await applyVaultSetup(setup)
    const old = ask('', 'POST', 'auth/approle/login', { role_id: roleId, secret_id: before.broker.secretId })
    expect((await old).status).toBe(400)
    expect(made.broker.roleId).toBe(roleId)
    await loggedIn(made.broker)
  })
})

describe('a hold', () => {
  const holdOf = async (entitlement: EntitlementId) =>
    (await ask(broker, 'POST', 'auth/token/create/writ', holdBody(entitlement, mintId(GRANT, ++mints)))).body.auth

  it.each<[string, EntitlementId, string]>([
    ['an entitlement whose name its own begins', READER, 'database/creds/writ-payments-migrator-g0-x-1'],
    ['an entitlement whose name begins its own', MIGRATOR, 'database/creds/writ-payments-g0-x-1'],
    ['another entitlement', MIGRATOR, 'database/creds/writ-ledger-migrator-g0-x-1'],
    ['a role of somebody else', MIGRATOR, 'database/creds/app'],
  ])('cannot read a credential of %s', async (_, entitlement, path) => {
    const hold = await holdOf(entitlement)
    expect((await ask(hold?.client_token ?? '', 'GET', path)).status).toBe(403)
  })

  it.each<[string, string]>([
    ['GET', 'auth/token/lookup-self'],
    ['POST', 'auth/token/renew-self'],
    ['POST', 'auth/token/create'],
    ['POST', 'auth/token/create/writ'],
    ['POST', 'database/roles/writ-payments-migrator-g0-x-1'],
    ['POST', 'sys/leases/renew'],
    ['POST', 'cubbyhole/x'],
  ])('may not even %s %s', async (method, path) => {
    const hold = await holdOf(MIGRATOR)
    expect((await ask(hold?.client_token ?? '', method, path, method === 'POST' ? {} : undefined)).status).toBe(403)
  })
})

describe('the inventory’s login', () => {
  it('finds holds, roles and leases of Writ, and no secret', async () => {
    const mint = await minted()
    const accessors = (await ask(inventory, 'LIST', 'auth/token/accessors')).body.data?.keys
    expect(accessors).toContain(mint.hold.accessor)
    const looked = await ask(inventory, 'POST', 'auth/token/lookup-accessor', { accessor: mint.hold.accessor })
    expect(looked.body.data).toMatchObject({ id: '', meta: { grant: GRANT } })
    expect((await ask(inventory, 'LIST', 'database/roles')).body.data?.keys).toContain(mint.role)
    const leases = await ask(inventory, 'LIST', `sys/leases/lookup/database/creds/${mint.role}`)
    expect(leases.body.data?.keys).toEqual([mint.leaseId.split('/').at(-1)])
    const lease = await ask(inventory, 'POST', 'sys/leases/lookup', { lease_id: mint.leaseId })
    expect(lease.body.data).toMatchObject({ id: mint.leaseId })
    expect(await revoked(mint)).toBe(204)
  })

  it.each<[string, string]>([
    ['GET', 'database/creds/writ-payments-migrator-g0-x-1'],
    ['GET', 'database/roles/writ-payments-migrator-g0-x-1'],
    ['POST', 'database/roles/writ-payments-migrator-g0-x-1'],
    ['DELETE', 'database/roles/writ-payments-migrator-g0-x-1'],
    ['POST', 'auth/token/create/writ'],
    ['POST', 'auth/token/revoke-accessor'],
    ['POST', 'auth/token/renew-accessor'],
    ['POST', 'sys/leases/revoke'],
    ['LIST', 'sys/leases/lookup/database/creds/app'],
    ['LIST', 'sys/leases/lookup/auth/token/create'],
    ['POST', 'sys/leases/revoke-prefix/database'],
    ['GET', 'sys/mounts'],
    ['POST', 'sys/policies/acl/writ-inventory'],
    ['GET', 'database/config/payments'],
  ])('is refused %s %s', async (method, path) => {
    expect((await ask(inventory, method, path, method === 'POST' ? {} : undefined)).status).toBe(403)
  })
})

describe('the logins in PostgreSQL', () => {
  const login = async (user: string, password: string) => {
    const { host, port } = postgres
    const client = new pg.Client({ host, port, database: 'payments', user, password })
    await client.connect()
    return client
  }

  it('are no superusers, own nothing, and Vault’s alone may make roles', async () => {
    const rows = await query(
      'payments',
      `SELECT rolname, rolsuper, rolcreatedb, rolreplication, rolbypassrls, rolcreaterole FROM pg_roles
       WHERE rolname IN ('writ_vault', 'writ_probe') ORDER BY rolname`,
    )
    const plain = { rolsuper: false, rolcreatedb: false, rolreplication: false, rolbypassrls: false }
    expect(rows).toEqual([
      { rolname: 'writ_probe', ...plain, rolcreaterole: false },
      { rolname: 'writ_vault', ...plain, rolcreaterole: true },
    ])
  })

  it('let the probe see and end sessions of a mint, and read no data', async () => {
    const mint = await minted()
    const { client, isOpen } = await session(mint)
    await client.query('CREATE TABLE unseen AS SELECT 1 AS one')
    const probe = await login('writ_probe', made.probes.payments?.password ?? '')
    expect((await probe.query(SESSIONS, [mint.login])).rows).toEqual([{ count: 1 }])
    await expect(probe.query('SELECT * FROM unseen')).rejects.toMatchObject({ code: '42501' })
    await probe.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [mint.login])
    expect(await isSoon(() => !isOpen())).toBe(true)
    await probe.end()
    expect(await revoked(mint)).toBe(204)
  })

  it('let the probe end a login that only PostgreSQL knows, and no login of another name', async () => {
    const name = `writ-${GRANT}-77`
    const probe = await login('writ_probe', made.probes.payments?.password ?? '')
    await query('payments', `SET ROLE writ_vault; CREATE ROLE "${name}" LOGIN IN ROLE payments_migrator; RESET ROLE`)
    expect((await probe.query('SELECT writ.shut_login($1) AS there', [name])).rows).toEqual([{ there: true }])
    expect(await query('payments', `SELECT rolcanlogin FROM pg_roles WHERE rolname = '${name}'`)).toEqual([
      { rolcanlogin: false },
    ])
    await probe.query('SELECT writ.end_login($1, $2)', [name, 'payments_owner'])
    expect((await probe.query('SELECT writ.shut_login($1) AS there', [name])).rows).toEqual([{ there: false }])
    for (const other of ['postgres', 'writ_vault', 'payments_owner', `writ-${GRANT}-1"; DROP ROLE postgres; --`])
      for (const ask of ['SELECT writ.shut_login($1)', `SELECT writ.end_login($1, 'payments_owner')`])
        await expect(probe.query(ask, [other])).rejects.toMatchObject({ code: '22023' })
    await expect(probe.query(`ALTER ROLE payments_owner LOGIN`)).rejects.toMatchObject({ code: '42501' })
    await probe.end()
  })

  it('let nobody but the probe call what ends a login', async () => {
    const mint = await minted()
    const { client } = await session(mint)
    await expect(client.query('SELECT writ.shut_login($1)', [mint.login])).rejects.toMatchObject({ code: '42501' })
    expect(await revoked(mint)).toBe(204)
  })

  it('have passwords that the server keeps as verifiers only', async () => {
    const rows = await query('payments', `SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'writ\\_%'`)
    expect(rows).toHaveLength(2)
    for (const { rolpassword } of rows) expect(rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/)
  })
})
