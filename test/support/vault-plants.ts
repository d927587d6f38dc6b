// Plants in a real Vault and PostgreSQL what a broker would have left behind, and looks whether it is there: with the rights of their
// administrators, never of the broker. Each kind alone, as a crash or a restored copy would leave it.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { ArtefactKind } from '../../src/broker/ports.ts'
import type { VaultDatabase } from '../../src/domain/entitlement.ts'
import type { EntitlementId, MintName } from '../../src/domain/ids.ts'
import { displayName, loginName, policyName, roleName } from '../../src/vault/names.ts'
import { databaseStatements } from '../../src/vault/statements.ts'

export interface PlantPlace {
  /** With the root token or the one that is given; rejects on anything but a 2xx. */
  asRoot(method: string, path: string, body?: unknown, token?: string): Promise<unknown>
  /** As superuser in the entitlement's database. */
  query(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
  readonly postgres: { readonly host: string; readonly port: number; readonly database: string }
  readonly entitlement: EntitlementId
  readonly database: VaultDatabase
}
export interface Plants {
  plant(kind: ArtefactKind, mint: MintName): Promise<void>
  isThere(kind: ArtefactKind, mint: MintName): Promise<boolean>
  /** A session of a login that was planted or came with a lease. */
  openSession(mint: MintName): Promise<{ readonly client: pg.Client; isOpen(): Promise<boolean> }>
  /** Whether the login of a planted lease or login still opens the database. */
  opens(mint: MintName): Promise<boolean>
}

export function plants({ asRoot, query, postgres, entitlement, database }: PlantPlace): Plants {
  const passwords = new Map<string, string>()
  const role = (mint: MintName): string => roleName(entitlement, mint.mint)
  const { mount, connection, grantedRole, ownerRole } = database
  const { creation, revocation } = databaseStatements(grantedRole, ownerRole)

  const hold = async (mint: MintName): Promise<string> => {
    const answer = (await asRoot('POST', 'auth/token/create/writ', {
      policies: [policyName(entitlement)],
      ttl: '1h',
      renewable: true,
      display_name: displayName(mint.mint),
      meta: { grant: mint.grant, mint: mint.mint, digest: 'sha-256:none' },
    })) as { auth: { client_token: string; accessor: string } }
    return answer.auth.client_token
  }
  const writeRole = (mint: MintName): Promise<unknown> =>
    asRoot('POST', `${mount}/roles/${role(mint)}`, {
      db_name: connection,
      creation_statements: creation,
      revocation_statements: revocation,
      default_ttl: '1h',
      max_ttl: '1h',
    })
  const lease = async (mint: MintName): Promise<void> => {
    await writeRole(mint)
    const token = await hold(mint)
    const answer = (await asRoot('GET', `${mount}/creds/${role(mint)}`, undefined, token)) as {
      data: { username: string; password: string }
    }
    passwords.set(mint.mint, answer.data.password)
    // Alone: neither its role nor anything else says that it is there.
    await asRoot('DELETE', `${mount}/roles/${role(mint)}`)
  }
  const login = async (mint: MintName): Promise<void> => {
    const password = randomBytes(12).toString('hex')
    passwords.set(mint.mint, password)
    // As Vault makes it, so that it belongs to Vault's own login.
    await query(
      `SET ROLE writ_vault; ${creation[0]
        ?.replace('{{name}}', loginName(mint.mint))
        .replace('{{password}}', password)
        .replace('{{expiration}}', '2100-01-01')}; RESET ROLE`,
    )
  }
  const keys = async (path: string): Promise<readonly string[]> =>
    asRoot('LIST', path).then(
      (answer) => (answer as { data: { keys: string[] } }).data.keys,
      (thrown: unknown) => {
        if (thrown instanceof Error && thrown.message.startsWith('404')) return []
        throw thrown
      },
    )
  const connect = async (mint: MintName): Promise<pg.Client> => {
    const client = new pg.Client({
      ...postgres,
      user: loginName(mint.mint),
      password: passwords.get(mint.mint) ?? '',
      connectionTimeoutMillis: 5_000,
    })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  return {
    plant: async (kind, mint) => {
      if (kind === 'hold') await hold(mint)
      else if (kind === 'role') await writeRole(mint)
      else if (kind === 'lease') await lease(mint)
      else await login(mint)
    },
    isThere: async (kind, mint) => {
      if (kind === 'role') return (await keys(`${mount}/roles`)).includes(role(mint))
      if (kind === 'login')
        return (await query('SELECT FROM pg_roles WHERE rolname = $1', [loginName(mint.mint)])).length > 0
      if (kind === 'lease') return (await keys(`sys/leases/lookup/${mount}/creds/${role(mint)}`)).length > 0
      for (const accessor of await keys('auth/token/accessors')) {
        const looked = await asRoot('POST', 'auth/token/lookup-accessor', { accessor }).catch(() => undefined)
        if ((looked as { data?: { meta?: { mint?: string } } } | undefined)?.data?.meta?.mint === mint.mint) return true
      }
      return false
    },
    openSession: async (mint) => {
      const client = await connect(mint)
      return {
        client,
        isOpen: () =>
          client.query('SELECT 1').then(
            () => true,
            () => false,
          ),
      }
    },
    opens: (mint) =>
      connect(mint).then(
        async (client) => {
          await client.end()
          return true
        },
        () => false,
      ),
  }
}
