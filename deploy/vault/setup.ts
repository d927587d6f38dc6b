// Sets Vault and PostgreSQL up for Writ: roles, connections, policies, the token role of the holds, and the logins of broker and
// inventory. Quickstart and tests call `applyVaultSetup`; `npm run vault:setup` runs it for a real Vault (README.md beside this file).
// Invariant: running it again leads to the same state; it only replaces passwords and secret ids, and ends the earlier ones.
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { policyName, USERNAME_TEMPLATE } from '../../src/vault/names.ts'
import { brokerPolicy, grantPolicy, inventoryPolicy, isOfDatabase, type VaultEntitlement } from './policies.ts'
import { applyPostgresRoles, type SchemaRights } from './postgres-roles.ts'
import { appRole, type HoldLimits, longestHoldSeconds, tokenRole } from './token-roles.ts'
import { dataOf, type VaultAdmin, vaultAdmin } from './vault-admin.ts'

export interface DatabaseConnection {
  /** As Vault reaches it. */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly sslmode: 'disable' | 'require' | 'verify-full'
  /** PEM of the authority of the server's certificate, where Vault's system does not know it. */
  readonly ca?: string
  /** Where the entitlements' logins work, and what they may do there as members of their granted role. */
  readonly schema: string
  readonly schemaRights: SchemaRights
  readonly vaultLogin?: string
  readonly probeLogin?: string
  /** Who runs postgres.sql here, or the two passwords with which a DBA has run it already. */
  readonly by: { readonly superuserUrl: string } | { readonly vaultPassword: string; readonly probePassword: string }
}

export interface VaultSetup extends HoldLimits {
  readonly addr: string
  /** A token that may manage policies, mounts, AppRoles and token roles. */
  readonly adminToken: string
  /** Vault Enterprise and OpenBao. */
  readonly namespace?: string
  /** By the name that entitlements give as `connection`. */
  readonly connections: Readonly<Record<string, DatabaseConnection>>
  readonly entitlements: readonly VaultEntitlement[]
  readonly appRoleMount?: string
}

export interface AppRoleLogin {
  readonly roleId: string
  readonly secretId: string
}
export interface VaultSetupResult {
  readonly broker: AppRoleLogin
  readonly inventory: AppRoleLogin
  /** By connection. */
  readonly probes: Readonly<Record<string, { readonly user: string; readonly password: string }>>
}

const PLUGIN = 'postgresql-database-plugin'

interface Logins {
  readonly vault: { readonly user: string; readonly password: string }
  readonly probe: { readonly user: string; readonly password: string }
}

/** The two logins of each connection. Connections to one server share them, so that the second does not lock the first out. */
const loginsOf = (connections: VaultSetup['connections']): ReadonlyMap<string, Logins> => {
  const made = new Map<string, string>()
  const passwordOf = (server: string, user: string): string => {
    const key = `${server} ${user}`
    const password = made.get(key) ?? randomBytes(24).toString('hex')
    made.set(key, password)
    return password
  }
  return new Map(
    Object.entries(connections).map(([name, connection]) => {
      const { vaultLogin = 'writ_vault', probeLogin = 'writ_probe', by } = connection
      const server = `${connection.host}:${connection.port}`
      const given = 'vaultPassword' in by ? by : undefined
      const vault = { user: vaultLogin, password: given?.vaultPassword ?? passwordOf(server, vaultLogin) }
      const probe = { user: probeLogin, password: given?.probePassword ?? passwordOf(server, probeLogin) }
      return [name, { vault, probe }]
    }),
  )
}

const applyPostgres = async (setup: VaultSetup, logins: ReadonlyMap<string, Logins>): Promise<void> => {
  for (const { id, database } of setup.entitlements.filter(isOfDatabase)) {
    const connection = setup.connections[database.connection]
    const login = logins.get(database.connection)
    if (!connection || !login) throw new RangeError(`${id}: no connection ${database.connection} is described`)
    if (!('superuserUrl' in connection.by)) continue
    await applyPostgresRoles(connection.by.superuserUrl, {
      granted_role: database.grantedRole,
      owner_role: database.ownerRole,
      schema: connection.schema,
      schema_rights: connection.schemaRights,
      vault_login: login.vault.user,
      vault_password: login.vault.password,
      probe_login: login.probe.user,
      probe_password: login.probe.password,
    })
  }
}

/** Makes a mount where there is none; one that is there keeps its settings, for others may use it. */
const enable = async (
  vault: VaultAdmin,
  kind: 'mounts' | 'auth',
  mount: string,
  type: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<void> => {
  const present = dataOf(await vault.read(`sys/${kind}`))[`${mount}/`]
  if (present === undefined) return void (await vault.write(`sys/${kind}/${mount}`, { type, config }))
  const found = typeof present === 'object' && present !== null ? Reflect.get(present, 'type') : undefined
  if (found !== type) throw new Error(`Vault: ${mount}/ is of type ${String(found)}, not ${type}`)
}

const applyConnections = async (
  vault: VaultAdmin,
  setup: VaultSetup,
  logins: ReadonlyMap<string, Logins>,
): Promise<void> => {
  const ofDatabases = setup.entitlements.filter(isOfDatabase)
  for (const mount of new Set(ofDatabases.map(({ database }) => database.mount))) {
    // What a stolen broker token could ask for is bounded here too: no login of this mount lives longer.
    await enable(vault, 'mounts', mount, 'database', { max_lease_ttl: `${longestHoldSeconds(setup)}s` })
    const here = ofDatabases.filter(({ database }) => database.mount === mount)
    for (const name of new Set(here.map(({ database }) => database.connection))) {
      const connection = setup.connections[name]
      const login = logins.get(name)
      if (!connection || !login) throw new RangeError(`no connection ${name} is described`)
      const where = `${connection.host}:${connection.port}/${encodeURIComponent(connection.database)}`
      await vault.write(`${mount}/config/${name}`, {
        plugin_name: PLUGIN,
        allowed_roles: here.filter(({ database }) => database.connection === name).map(({ id }) => `writ-${id}-*`),
        connection_url: `postgresql://{{username}}:{{password}}@${where}?sslmode=${connection.sslmode}&connect_timeout=5`,
        username: login.vault.user,
        password: login.vault.password,
        username_template: USERNAME_TEMPLATE,
        password_authentication: 'scram-sha-256',
        ...(connection.ca === undefined ? {} : { tls_ca: connection.ca }),
        max_open_connections: 8,
        verify_connection: true,
      })
    }
  }
}

const applyPolicies = async (vault: VaultAdmin, { entitlements }: VaultSetup): Promise<void> => {
  await vault.write('sys/policies/acl/writ-broker', { policy: brokerPolicy(entitlements) })
  await vault.write('sys/policies/acl/writ-inventory', { policy: inventoryPolicy(entitlements) })
  const grants = new Map(entitlements.map((one) => [policyName(one.id), grantPolicy(one, entitlements)]))
  for (const [name, policy] of grants) await vault.write(`sys/policies/acl/${name}`, { policy })
  const old = (await vault.list('sys/policies/acl')).filter(
    (name) => name.startsWith('writ-grant-') && !grants.has(name),
  )
  for (const name of old) await vault.remove(`sys/policies/acl/${name}`)
}

/** A new secret id for it; the earlier ones end. */
const applyLogin = async (vault: VaultAdmin, setup: VaultSetup, name: string): Promise<AppRoleLogin> => {
  const role = `auth/${setup.appRoleMount ?? 'approle'}/role/${name}`
  await vault.write(role, appRole(name, setup))
  const earlier = await vault.list(`${role}/secret-id`)
  const { role_id: roleId } = dataOf(await vault.read(`${role}/role-id`))
  const { secret_id: secretId } = dataOf(await vault.write(`${role}/secret-id`, {}))
  for (const accessor of earlier)
    await vault.write(`${role}/secret-id-accessor/destroy`, { secret_id_accessor: accessor })
  if (typeof roleId !== 'string' || typeof secretId !== 'string') throw new Error(`Vault: no login for ${name}`)
  return { roleId, secretId }
}

/** Sets everything up. PostgreSQL first: Vault checks its login when the connection is written. */
export const applyVaultSetup = async (setup: VaultSetup): Promise<VaultSetupResult> => {
  const vault = vaultAdmin(setup.addr, setup.adminToken, setup.namespace)
  const logins = loginsOf(setup.connections)
  await applyPostgres(setup, logins)
  await applyConnections(vault, setup, logins)
  await applyPolicies(vault, setup)
  await vault.write('auth/token/roles/writ', tokenRole(setup))
  await enable(vault, 'auth', setup.appRoleMount ?? 'approle', 'approle')
  return {
    broker: await applyLogin(vault, setup, 'writ-broker'),
    inventory: await applyLogin(vault, setup, 'writ-inventory'),
    probes: Object.fromEntries([...logins].map(([name, { probe }]) => [name, probe])),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { runFromCommandLine } = await import('./command-line.ts')
  process.exitCode = await runFromCommandLine(process.argv.slice(2), applyVaultSetup)
}
