// Asks PostgreSQL itself whether anything of a login is left, through a login of its own that may see and end sessions and nothing more.
// It errs towards "something is left": a session whose role was dropped cannot be told apart by mint, so it counts for every mint, and
// is ended. An error or a time-out rejects. Sessions on read replicas are not seen: name every server that serves reads in a probe.
import type pg from 'pg'
import { BrokerError } from '../domain/errors.ts'
import { keptConnections, type OnConnection, ownConnection, type ProbeSettings } from './postgres-connections.ts'
import { slots } from './slots.ts'
import { Overdue, type Timer, within } from './timer.ts'

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
  /**
   * Ends what sessions it finds, then counts. Rejects `not_confirmed` on any error and after its time. `anew`: on a connection that is made for it,
   * so that it also tells that one can be made.
   */
  left(login: string, signal?: AbortSignal, anew?: boolean): Promise<Left>
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
  const [onKept, onOwn] = [keptConnections(settings, timer), ownConnection(settings, timer)]
  const asked = (login: string, signal: AbortSignal, onConnection: OnConnection): Promise<Left> =>
    room.run(signal, () => onConnection(signal, (client) => ask(client, login)))
  return {
    left: (login, signal, anew = false) =>
      within(timer, settings.timeoutMs, (ours) => asked(login, ours, anew ? onOwn : onKept), signal).catch((thrown) => {
        throw notConfirmed(thrown)
      }),
  }
}

/** Most often nothing is there to be ended, and counting once is enough. */
async function ask(client: pg.Client, login: string): Promise<Left> {
  const found = await count(client, login)
  if (found.sessions === 0) return { ...found, ended: 0 }
  const { rowCount } = await client.query(END, [login])
  return { ...(await count(client, login)), ended: rowCount ?? 0 }
}

/** Prepared, once for each connection: to plan it takes PostgreSQL longer than to answer it. */
const count = async (client: pg.Client, login: string) =>
  countedOf((await client.query({ name: 'writ-left', text: COUNT, values: [login] })).rows[0])

function countedOf(row: unknown): Omit<Left, 'ended'> {
  const { logins, sessions, statements } = (row ?? {}) as Readonly<Record<string, unknown>>
  if (typeof logins !== 'number' || typeof sessions !== 'number' || typeof statements !== 'number')
    throw new Error('the probe counted nothing')
  return { logins, sessions, statements }
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
