// Asks PostgreSQL itself whether anything of a login is left, through a login of its own that may see and end sessions and nothing more.
// It errs towards "something is left": a session whose role was dropped cannot be told apart by mint, so it counts for every mint, and
// is ended. An error or a time-out rejects. Sessions on read replicas are not seen: name every server that serves reads in a probe.
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import pg from 'pg'
import { BrokerError } from '../domain/errors.ts'
import { slots } from './slots.ts'
import { Overdue, type Timer, within } from './timer.ts'

export interface ProbeSettings {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly passwordFile: string
  /** Undefined: no TLS. */
  readonly tls: { readonly ca: string | undefined } | undefined
  readonly timeoutMs: number
}

/** What is left of a login. Nothing is left when all of `logins`, `sessions` and `statements` are 0. */
export interface Left {
  readonly logins: number
  readonly sessions: number
  /** Statements under way that name the login, such as the one that is making it. */
  readonly statements: number
  /** Sessions that the probe itself has ended just now. */
  readonly ended: number
}

export interface Probe {
  /** Ends what sessions it finds, then counts. Rejects `not_confirmed` on any error and after its time. */
  left(login: string, signal?: AbortSignal): Promise<Left>
}

// By oid, or by a usesysid that no role has; never by name, which is null once the role is dropped.
const SESSIONS = `
  FROM pg_catalog.pg_stat_activity AS session
  LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = session.usesysid
  WHERE session.usesysid IS NOT NULL AND (role.oid IS NULL OR role.rolname = $1)`
const END = `SELECT pg_catalog.pg_terminate_backend(session.pid, 1000) ${SESSIONS}`
const COUNT = `SELECT
  (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = $1)::int AS logins,
  (SELECT count(*) ${SESSIONS})::int AS sessions,
  (SELECT count(*) FROM pg_catalog.pg_stat_activity
    WHERE pid <> pg_catalog.pg_backend_pid() AND state <> 'idle' AND strpos(query, '"' || $1 || '"') > 0)::int AS statements`

const AT_ONCE = 4
const MOST_WAITING = 1_000

export function postgresProbe(settings: ProbeSettings, timer: Timer): Probe {
  const room = slots(AT_ONCE, MOST_WAITING)
  return {
    left: (login, signal) =>
      within(timer, settings.timeoutMs, (ours) => room.run(ours, () => ask(settings, login, ours)), signal).catch(
        (thrown) => {
          throw notConfirmed(thrown)
        },
      ),
  }
}

const ask = (settings: ProbeSettings, login: string, signal: AbortSignal): Promise<Left> =>
  withProbe(settings, signal, async (client) => {
    const ended = await client.query(END, [login])
    const counted = await client.query(COUNT, [login])
    return leftOf(counted.rows[0], ended.rowCount ?? 0)
  })

/** One connection of the probe's login, for one piece of work. Rejects with PostgreSQL's own error: `notConfirmed` scrubs it. */
export async function withProbe<T>(
  settings: ProbeSettings,
  signal: AbortSignal,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const password = (await readFile(settings.passwordFile, 'utf8')).trim()
  // Ours, so that it can be cut off in any state: a frozen server keeps the library's own end waiting.
  const socket = new net.Socket()
  const cut = (): void => {
    socket.destroy()
  }
  signal.addEventListener('abort', cut, { once: true })
  const client = new pg.Client({
    host: settings.host,
    port: settings.port,
    database: settings.database,
    user: settings.user,
    password,
    ssl: settings.tls === undefined ? false : tlsOf(settings.tls),
    application_name: 'writ-probe',
    connectionTimeoutMillis: settings.timeoutMs,
    statement_timeout: settings.timeoutMs,
    query_timeout: settings.timeoutMs,
    stream: () => socket,
  })
  // A connection that breaks while nothing is asked would otherwise end the process.
  client.on('error', cut)
  try {
    await client.connect()
    return await work(client)
  } finally {
    signal.removeEventListener('abort', cut)
    await client.end().catch(cut)
    cut()
  }
}

const tlsOf = ({ ca }: { readonly ca: string | undefined }) => ({
  rejectUnauthorized: true,
  minVersion: 'TLSv1.2' as const,
  ...(ca === undefined ? {} : { ca }),
})

function leftOf(row: unknown, ended: number): Left {
  const { logins, sessions, statements } = (row ?? {}) as Readonly<Record<string, unknown>>
  if (typeof logins !== 'number' || typeof sessions !== 'number' || typeof statements !== 'number')
    throw new Error('the probe counted nothing')
  return { logins, sessions, statements, ended }
}

/** PostgreSQL's own error may quote a statement; its code is five letters, and Node's is a word. */
export function notConfirmed(thrown: unknown): BrokerError {
  const code = (thrown as { code?: unknown } | null)?.code
  const reason =
    thrown instanceof Overdue ? 'timeout' : typeof code === 'string' && /^\w{4,40}$/.test(code) ? code : 'unexpected'
  return new BrokerError('not_confirmed', 'The database has not confirmed that the access is gone.', {
    nextAction: 'Nothing: it is asked again until it has answered.',
    facts: { reason },
    cause: { asked: 'postgresql', reason },
  })
}
