// The logins of mints as PostgreSQL has them, and the end of one that Vault knows no more: through the probe's login, by two functions that
// the set-up makes there (deploy/vault/postgres.sql) and that run with the rights of Vault's own login.
// Invariant: whatever name is given to them, they touch only logins whose name a mint has; they can make none and open none.
import { BrokerError } from '../domain/errors.ts'
import { ownConnection, type ProbeSettings } from './postgres-connections.ts'
import { notConfirmed, postgresProbe } from './postgres-probe.ts'
import { slots } from './slots.ts'
import { type Timer, within } from './timer.ts'

export interface FoundLogin {
  readonly name: string
  /** The roles whose rights it was given. */
  readonly grantedRoles: readonly string[]
}
export interface PostgresLogins {
  /** Every login of this server whose name begins as a mint's does. */
  list(): Promise<readonly FoundLogin[]>
  /**
   * Shuts it for good, cuts its sessions, gives what it made to `owner`, drops it, and asks; false where there was nothing. Without an owner it is
   * shut and cut, and the promise rejects. Rejects `not_confirmed` wherever something may be left.
   */
  end(login: string, owner: string | undefined): Promise<boolean>
}

const LIST = `
SELECT login.rolname AS name, coalesce(array_agg(granted.rolname::text) FILTER (WHERE granted.rolname IS NOT NULL), '{}') AS granted
  FROM pg_catalog.pg_roles AS login
  LEFT JOIN pg_catalog.pg_auth_members AS membership ON membership.member = login.oid
  LEFT JOIN pg_catalog.pg_roles AS granted ON granted.oid = membership.roleid
 WHERE login.rolname LIKE 'writ-%' GROUP BY login.rolname`
const SHUT = 'SELECT writ.shut_login($1) AS there'
const DROP = 'SELECT writ.end_login($1, $2)'

const AT_ONCE = 3
const MOST_WAITING = 10_000
/** Those of the set-up are not there: function, schema, or the right to use them. */
const NOT_SET_UP = ['42883', '3F000', '42501']

export function postgresLogins(settings: ProbeSettings, timer: Timer): PostgresLogins {
  const room = slots(AT_ONCE, MOST_WAITING)
  const probe = postgresProbe(settings, timer)
  const onConnection = ownConnection(settings, timer)
  // What waits for a slot is not late yet: only the work itself is bounded.
  const bounded = <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    room.run(NEVER, () => within(timer, settings.timeoutMs * 2, work))

  return {
    list: () =>
      bounded((signal) =>
        onConnection(signal, async (client) => (await client.query(LIST)).rows.flatMap(foundOf)),
      ).catch((thrown: unknown) => {
        throw notConfirmed(thrown)
      }),
    end: async (login, owner) => {
      const was = await bounded((signal) =>
        onConnection(signal, async (client) => {
          const { rows } = await client.query(SHUT, [login])
          // Before it can be dropped: its sessions hold locks on what is to be handed over.
          await probe.left(login, signal)
          if (owner !== undefined) await client.query(DROP, [login, owner])
          return rows[0]?.there === true
        }),
      ).catch((thrown: unknown) => {
        throw explained(thrown)
      })
      const { logins, sessions, statements } = await probe.left(login)
      if (logins + sessions + statements > 0)
        throw notEnded(owner === undefined ? 'nobody_to_own_what_it_made' : 'something_is_left')
      return was
    },
  }
}

const NEVER = new AbortController().signal

function foundOf(row: unknown): readonly FoundLogin[] {
  const { name, granted } = (row ?? {}) as Readonly<Record<string, unknown>>
  if (typeof name !== 'string' || !Array.isArray(granted)) return []
  return [{ name, grantedRoles: granted.filter((role) => typeof role === 'string') }]
}

function explained(thrown: unknown): BrokerError {
  const code = (thrown as { code?: unknown } | null)?.code
  return typeof code === 'string' && NOT_SET_UP.includes(code) ? notEnded('not_set_up') : notConfirmed(thrown)
}

const notEnded = (reason: string): BrokerError =>
  new BrokerError('not_confirmed', 'The database has not ended the login.', {
    nextAction:
      reason === 'not_set_up'
        ? 'Run deploy/vault/postgres.sql of this release again in the database.'
        : 'Nothing: it is tried again. If it stays so, a database administrator must see what is in the way.',
    facts: { reason },
    cause: { asked: 'postgresql', reason },
  })
