// A real Vault and a real PostgreSQL, set up for Writ, with a gate in front of Vault: what the adapter's tests run in.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type PostgresService, startPostgres } from '../../deploy/dev/postgres.ts'
import { startVault, type VaultService } from '../../deploy/dev/vault.ts'
import type { PathEntitlement } from '../../deploy/vault/policies.ts'
import { applyVaultSetup, type VaultSetupResult } from '../../deploy/vault/setup.ts'
import type { VaultDatabase, VaultDatabaseCredential } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import type { Backends, VaultBackend } from '../../src/vault/backends.ts'
import { type TcpGate, tcpGate } from './tcp-gate.ts'

export const DATABASE: VaultDatabase = {
  mount: 'database',
  connection: 'payments',
  grantedRole: 'payments_migrator',
  ownerRole: 'payments_owner',
}
export const CREDENTIAL: VaultDatabaseCredential = {
  kind: 'vault',
  backend: 'vault-main',
  engine: 'database',
  database: DATABASE,
  revocability: 'at_once',
}
export const ENTITLEMENT = named.entitlement('payments-migrator')

export interface VaultWorld {
  readonly postgres: PostgresService
  readonly vault: VaultService
  readonly gate: TcpGate
  readonly setup: VaultSetupResult
  readonly backends: Backends
  /** The same with other settings, for a source of its own. */
  backendsWith(more: Partial<VaultBackend>): Backends
  /** Straight to Vault with the root token, or the one that is given; rejects on anything but a 2xx. */
  asRoot(method: string, path: string, body?: unknown, token?: string): Promise<unknown>
  /** Straight to the payments database as superuser. */
  query(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
  stop(): Promise<void>
}

export async function vaultWorld(
  more: { readonly paths?: readonly PathEntitlement[]; readonly copyable?: boolean } = {},
): Promise<VaultWorld> {
  const { copyable = false } = more
  const [postgres, vault] = await Promise.all([startPostgres({ own: true }), startVault({ own: true, copyable })])
  const payments = postgres.url.replace(/\/postgres$/, '/payments')
  await onServer(postgres.url, 'CREATE DATABASE payments')
  const setup = await applyVaultSetup({
    addr: vault.addr,
    adminToken: vault.rootToken,
    entitlements: [{ id: ENTITLEMENT, database: DATABASE }, ...(more.paths ?? [])],
    connections: {
      payments: {
        host: postgres.host,
        port: postgres.port,
        database: 'payments',
        sslmode: 'disable',
        schema: 'public',
        schemaRights: 'USAGE, CREATE',
        by: { superuserUrl: payments },
      },
    },
  })
  const { hostname, port } = new URL(vault.addr)
  const gate = await tcpGate(hostname, Number(port))
  const folder = await mkdtemp(join(tmpdir(), 'writ-vault-world-'))
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  const probe = setup.probes.payments
  if (probe === undefined) throw new Error('the set-up made no probe')
  const backend: VaultBackend = {
    kind: 'vault',
    address: `http://127.0.0.1:${gate.port}`,
    ca: undefined,
    namespace: undefined,
    appRoleMount: 'approle',
    roleIdFile: await file('role-id', setup.broker.roleId),
    secretIdFile: await file('secret-id', setup.broker.secretId),
    tokenRole: 'writ',
    callTimeoutMs: 5_000,
    issueTimeoutMs: 10_000,
    endTimeoutMs: 12_000,
    issueConcurrency: 4,
    issueQueue: 200,
    endConcurrency: 8,
    endQueue: 1_000,
    inventory: {
      roleIdFile: await file('inventory-role-id', setup.inventory.roleId),
      secretIdFile: await file('inventory-secret-id', setup.inventory.secretId),
    },
    probes: new Map([
      [
        'payments',
        {
          host: postgres.host,
          port: postgres.port,
          database: 'payments',
          user: probe.user,
          passwordFile: await file('probe-password', probe.password),
          tls: undefined,
          timeoutMs: 4_000,
        },
      ],
    ]),
  }
  const backendsWith = (more: Partial<VaultBackend>): Backends => new Map([['vault-main', { ...backend, ...more }]])
  return {
    postgres,
    vault,
    gate,
    setup,
    backends: backendsWith({}),
    backendsWith,
    asRoot: async (method, path, body, token = vault.rootToken) => {
      const response = await fetch(`${vault.addr}/v1/${path}`, {
        method,
        headers: { 'x-vault-token': token },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${response.status} ${text}`)
      return text === '' ? undefined : JSON.parse(text)
    },
    query: (text, values) => onServer(payments, text, values),
    stop: async () => {
      await gate.shut()
      await Promise.all([vault.stop(), postgres.stop()])
      await rm(folder, { recursive: true })
    },
  }
}

async function onServer(
  url: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    const { rows } = await client.query(text, [...values])
    return rows
  } finally {
    await client.end()
  }
}
