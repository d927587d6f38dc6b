// What is really there, asked of Vault and PostgreSQL themselves with the rights of their administrators, never of the broker.
import pg from 'pg'

export interface BackendView {
  /** Leases of logins made by the broker. */
  leases(): Promise<readonly string[]>
  /** Accessors of tokens that carry a grant's id. */
  holds(): Promise<readonly string[]>
  /** Vault roles made for one mint. */
  roles(): Promise<readonly string[]>
  /** PostgreSQL logins of mints. */
  logins(): Promise<readonly string[]>
  /** Sessions of such logins, and of logins that exist no more. */
  sessions(): Promise<number>
  everything(): Promise<{
    leases: readonly string[]
    holds: readonly string[]
    roles: readonly string[]
    logins: readonly string[]
    sessions: number
  }>
  close(): Promise<void>
}

const LOOKUP = 'auth/token/lookup-accessor'

export const NOTHING = { leases: [], holds: [], roles: [], logins: [], sessions: 0 }

export function backendView(
  vault: { readonly addr: string; readonly rootToken: string },
  adminUrl: string,
): BackendView {
  const pool = new pg.Pool({ connectionString: adminUrl, max: 2 })
  pool.on('error', () => undefined)
  const ask = async (method: string, path: string, body?: object): Promise<Record<string, never> | undefined> => {
    const answer = await fetch(`${vault.addr}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': vault.rootToken, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    // An accessor may go between its listing and this look at it. Any other failure is not "nothing there".
    const gone = answer.status === 404 || (path === LOOKUP && [400, 403].includes(answer.status))
    if (gone) return undefined
    if (!answer.ok) throw new Error(`Vault answered ${answer.status} to ${method} ${path}`)
    return ((await answer.json()) as { data?: Record<string, never> }).data
  }
  const keys = async (path: string): Promise<readonly string[]> =>
    ((await ask('LIST', path)) as { keys?: string[] } | undefined)?.keys ?? []
  const roles = async () => (await keys('database/roles')).filter((role) => role.startsWith('writ-'))
  const leases = async () => {
    const folders = (await keys('sys/leases/lookup/database/creds')).filter((folder) => folder.startsWith('writ-'))
    const each = await Promise.all(
      folders.map(async (folder) =>
        (await keys(`sys/leases/lookup/database/creds/${folder}`)).map((lease) => folder + lease),
      ),
    )
    return each.flat()
  }
  const holds = async () => {
    const accessors = await keys('auth/token/accessors')
    const found = await Promise.all(
      accessors.map(async (accessor) => ({
        accessor,
        data: await ask('POST', LOOKUP, { accessor }),
      })),
    )
    return found
      .filter(({ data }) => (data as { meta?: { grant?: string } } | undefined)?.meta?.grant !== undefined)
      .map(({ accessor }) => accessor)
  }
  const logins = async () =>
    (await pool.query(`select rolname from pg_roles where rolname like 'writ-g%' order by 1`)).rows.map(
      (row) => row.rolname as string,
    )
  const sessions = async () =>
    (
      await pool.query(
        `select count(*)::int as n from pg_stat_activity a where a.usesysid is not null and (a.usename like 'writ-g%' or not exists (select 1 from pg_roles r where r.oid = a.usesysid))`,
      )
    ).rows[0].n as number
  return {
    leases,
    holds,
    roles,
    logins,
    sessions,
    everything: async () => ({
      leases: await leases(),
      holds: await holds(),
      roles: await roles(),
      logins: await logins(),
      sessions: await sessions(),
    }),
    close: () => pool.end(),
  }
}
