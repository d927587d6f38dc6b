// Connections of the probe's login. One that was used is kept for a moment: ends come in crowds, and making a connection costs both sides many
// times what is asked on it. Invariant: what failed, was aborted or was cut off by the other side is never used again.
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import pg from 'pg'
import type { Timer } from './timer.ts'

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

/** Rejects with PostgreSQL's own error, which may quote a statement: whoever calls scrubs it. */
export type OnConnection = <T>(signal: AbortSignal, work: (client: pg.Client) => Promise<T>) => Promise<T>

const KEPT_MS = 2_000
/** By then a password that was changed, or a name that leads to another server, is noticed: what the former one says of a login is nothing. */
const MOST_MS = 5_000
/** For its good-bye; a server that is frozen would hear it for ever. */
const CLOSE_MS = 1_000

interface Connection {
  readonly client: pg.Client
  readonly since: number
  isOpen(): boolean
  /** Cuts it off, whatever state the server is in. */
  cut(): void
  close(): Promise<void>
}

/** Each piece of work on a connection that nobody else uses meanwhile. It is done again where a kept connection was found broken. */
export function keptConnections(settings: ProbeSettings, timer: Timer): OnConnection {
  /** With what forgets when each is to be closed. */
  const kept = new Map<Connection, () => void>()
  const keep = (one: Connection): void => {
    const close = (): void => {
      kept.delete(one)
      void one.close()
    }
    kept.set(one, timer.after(KEPT_MS, close))
  }
  const take = (): Connection | undefined => {
    for (const [one, forget] of kept) {
      kept.delete(one)
      forget()
      if (one.isOpen() && timer.now() - one.since < MOST_MS) return one
      void one.close()
    }
    return undefined
  }
  return async (signal, work) => {
    const before = take()
    if (before !== undefined) {
      try {
        const result = await on(before, signal, work)
        keep(before)
        return result
      } catch (thrown) {
        const isToTryAgain = !before.isOpen() && !signal.aborted
        await before.close()
        if (!isToTryAgain) throw thrown
      }
    }
    const fresh = await open(settings, timer, signal)
    try {
      const result = await on(fresh, signal, work)
      keep(fresh)
      return result
    } catch (thrown) {
      await fresh.close()
      throw thrown
    }
  }
}

/** A connection for this piece of work alone. */
export const ownConnection =
  (settings: ProbeSettings, timer: Timer): OnConnection =>
  async (signal, work) => {
    const own = await open(settings, timer, signal)
    return on(own, signal, work).finally(() => own.close())
  }

async function on<T>(
  { client, cut }: Connection,
  signal: AbortSignal,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  signal.addEventListener('abort', cut, { once: true })
  try {
    return await work(client)
  } finally {
    signal.removeEventListener('abort', cut)
  }
}

async function open(settings: ProbeSettings, timer: Timer, signal: AbortSignal): Promise<Connection> {
  const password = (await readFile(settings.passwordFile, 'utf8')).trim()
  // Ours, so that it can be cut off in any state: a frozen server keeps the library's own end waiting.
  const socket = new net.Socket()
  const cut = (): void => {
    socket.destroy()
  }
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
  const close = async (): Promise<void> => {
    const inTime = timer.after(CLOSE_MS, cut)
    await (socket.destroyed ? undefined : client.end().catch(cut))
    inTime()
    cut()
  }
  const connection = { client, since: timer.now(), isOpen: () => !socket.destroyed, cut, close }
  try {
    await on(connection, signal, () => client.connect())
    return connection
  } catch (thrown) {
    await close()
    throw thrown
  }
}

const tlsOf = ({ ca }: { readonly ca: string | undefined }) => ({
  rejectUnauthorized: true,
  minVersion: 'TLSv1.2' as const,
  ...(ca === undefined ? {} : { ca }),
})
