// Connections for the request path, and what Redis must be set to. A command is sent once or not at all: it is never queued while the
// connection is down and never sent again, because a repeated command may run twice. Issuing and ending have a connection each, so
// that a crowd of requests cannot hold up an end.
import { Redis, type RedisOptions } from 'ioredis'
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import { reveal, type Secret, secret } from '../domain/secret.ts'

export interface RedisAddress {
  /** `redis://` or `rediss://`, host, port and database. */
  readonly url: string
  readonly username: string | undefined
  readonly password: Secret<string> | undefined
}
/** A redis:// or rediss:// URL taken apart, so that what must not be seen stays a Secret. */
export function redisAddress(hidden: Secret<string>): RedisAddress {
  const url = new URL(reveal(hidden))
  const { username, password } = url
  url.username = ''
  url.password = ''
  return {
    url: url.href,
    username: username === '' ? undefined : decodeURIComponent(username),
    password: password === '' ? undefined : secret(decodeURIComponent(password)),
  }
}

export type ConnectionName = 'issue' | 'end'

export interface RedisConnections {
  readonly issue: Redis
  readonly end: Redis
  /** Resolves when both can take commands. Rejects `store_unavailable` after `withinMs`; they go on trying. */
  ready(withinMs: number): Promise<void>
  /** How often the issue connection was made so far: the server may have been replaced or restored in between. */
  connects(): number
  close(): void
}

export interface Connecting {
  readonly address: RedisAddress
  /** 0 <= n < 1. */
  readonly jitter: () => number
  /** Told of every connection error, without command or arguments. */
  readonly onError: (connection: ConnectionName, error: Error) => void
}

/** The longest wait between two attempts to connect. */
const RECONNECT_CAP_MS = 1_000

export const requestPathOptions = (jitter: () => number): RedisOptions & { readonly replyMapping: 'legacy' } => ({
  replyMapping: 'legacy',
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  enableAutoPipelining: true,
  commandTimeout: 400,
  connectTimeout: 2_000,
  // A peer that vanished without closing answers nothing: give the socket up, so that the next attempt reaches a living one.
  socketTimeout: 2_000,
  retryStrategy: (attempt) =>
    Math.ceil(Math.min(RECONNECT_CAP_MS, 50 * 2 ** Math.min(attempt, 10)) * (0.5 + jitter() / 2)),
  // After a failover the old master says READONLY: connect anew, but do not send the command again.
  reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 1 : false),
})

export function connectRedis({ address, jitter, onError }: Connecting): RedisConnections {
  let connects = 0
  const open = (connection: ConnectionName): Redis => {
    const redis = new Redis(address.url, {
      ...requestPathOptions(jitter),
      ...(address.username === undefined ? {} : { username: address.username }),
      ...(address.password === undefined ? {} : { password: reveal(address.password) }),
      connectionName: `writ-${connection}`,
    })
    redis.on('error', (error: Error) => onError(connection, bare(error)))
    return redis
  }
  const issue = open('issue')
  const end = open('end')
  issue.on('ready', () => {
    connects += 1
  })
  return {
    issue,
    end,
    ready: async (withinMs) => {
      await Promise.all([readyOf(issue, withinMs), readyOf(end, withinMs)])
    },
    connects: () => connects,
    close: () => {
      issue.disconnect()
      end.disconnect()
    },
  }
}

function readyOf(redis: Redis, withinMs: number): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve()
  return new Promise((resolve, reject) => {
    const onReady = () => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(() => {
      redis.off('ready', onReady)
      reject(unavailable(new Error(`no connection within ${withinMs} ms`)))
    }, withinMs)
    redis.once('ready', onReady)
  })
}

/** The same error without what ioredis hangs on it: the command and its arguments. */
export function bare(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error('not an error')
  // Redis repeats what it was sent in a few messages ("…, with args beginning with: …").
  const message = thrown.message.split(/,? with args/)[0]?.slice(0, 200)
  const clean = new Error(message)
  clean.name = thrown.name
  return clean
}

/** Any failure of Redis as the one error that callers know. For a write it means unknown: it may have been done. */
export const unavailable = (thrown: unknown): BrokerError =>
  isBrokerError(thrown)
    ? thrown
    : new BrokerError('store_unavailable', 'The store did not answer as it should.', {
        nextAction: 'Try again shortly.',
        cause: bare(thrown),
      })

/** A record that nobody can read, as the error that callers know. */
export const damaged = (thrown: unknown): BrokerError => {
  const cause = bare(thrown)
  cause.name = DAMAGED
  return unavailable(cause)
}
const DAMAGED = 'DamagedRecord'

/** Whether the store has answered, and what it holds is the failure: a text of no meaning, or a key of another type. */
export const isDamage = (thrown: unknown): boolean =>
  isBrokerError(thrown) &&
  thrown.cause instanceof Error &&
  (thrown.cause.name === DAMAGED || /^WRONGTYPE /.test(thrown.cause.message))

/** Settles with `work`, or rejects `store_unavailable` after `deadlineMs`. */
export function within<T>(deadlineMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(unavailable(new Error(`no answer within ${deadlineMs} ms`))), deadlineMs)
    work.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (thrown: unknown) => {
        clearTimeout(timer)
        reject(unavailable(thrown))
      },
    )
  })
}

export interface SafetyReport {
  /** Each of these can lose or block an end. */
  readonly problems: readonly string[]
  /** Each of these only costs time or memory. */
  readonly warnings: readonly string[]
}

/** What is wrong with this server's settings. Needs CONFIG GET and INFO. Rejects `store_unavailable`. */
export async function inspectRedis(redis: Redis): Promise<SafetyReport> {
  try {
    const settings = pairs((await redis.config('GET', ...INSPECTED)) as readonly string[])
    const info = facts(await redis.info())
    return judge(settings, info)
  } catch (thrown) {
    throw unavailable(thrown)
  }
}

/**
 * Refuses a server that may lose an acknowledged end or block one, naming all problems at once. In dev they come back as warnings.
 * Call it at start and after each reconnect. Rejects `store_unavailable`.
 */
export async function assertSafeRedis(redis: Redis, { dev }: { readonly dev: boolean }): Promise<readonly string[]> {
  const { problems, warnings } = await inspectRedis(redis)
  if (problems.length > 0 && !dev)
    throw new BrokerError('store_unavailable', `Redis is not set up safely: ${problems.join('; ')}`, {
      facts: { problems },
    })
  return [...problems, ...warnings]
}

/**
 * Inspects again at each reconnect, because whatever answers then may be another server, or the same one set up anew. What is returned
 * throws while the present one is not safe; call it before anything is allowed. Ending goes on. `onUnsafe` is told each time.
 */
export function safeAtEachConnect(
  redis: Redis,
  safety: { readonly dev: boolean },
  onUnsafe: (refusal: BrokerError) => void,
): () => void {
  let unsafe: BrokerError | undefined
  redis.on('ready', () => {
    assertSafeRedis(redis, safety).then(
      () => {
        unsafe = undefined
      },
      (thrown: unknown) => {
        // One that went away again is found out by every call.
        if (!isBrokerError(thrown) || thrown.facts.problems === undefined) return
        unsafe = thrown
        onUnsafe(thrown)
      },
    )
  })
  return () => {
    if (unsafe !== undefined) throw unsafe
  }
}

const INSPECTED = [
  'appendonly',
  'appendfsync',
  'maxmemory',
  'maxmemory-policy',
  'min-replicas-to-write',
  'hz',
  'hash-max-listpack-value',
] as const

function judge(settings: ReadonlyMap<string, string>, info: ReadonlyMap<string, string>): SafetyReport {
  const problems: string[] = []
  const warnings: string[] = []
  const number = (name: string): number => Number(settings.get(name) ?? Number.NaN)
  if (!(Number.parseInt(info.get('redis_version') ?? '', 10) >= 7)) problems.push('Redis 7 or newer is needed')
  if (info.get('role') !== 'master') problems.push('this server is a replica')
  if (settings.get('appendonly') !== 'yes') problems.push('appendonly must be yes')
  if (settings.get('appendfsync') !== 'always') problems.push('appendfsync must be always')
  if (info.get('aof_last_write_status') === 'err') problems.push('the last write of the append-only file failed')
  if (settings.get('maxmemory-policy') !== 'noeviction') problems.push('maxmemory-policy must be noeviction')
  if (!(number('maxmemory') > 0)) problems.push('maxmemory must be set')
  if (number('min-replicas-to-write') !== 0) problems.push('min-replicas-to-write must be 0, because it refuses ends')
  if (!(number('hz') >= 100)) warnings.push('hz below 100 makes timers up to 100 ms late')
  if (!(number('hash-max-listpack-value') >= 2_048))
    warnings.push('hash-max-listpack-value below 2048 doubles the memory of a grant')
  return { problems, warnings }
}

const pairs = (flat: readonly string[]): ReadonlyMap<string, string> =>
  new Map(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : [])))

const facts = (info: string): ReadonlyMap<string, string> =>
  new Map(
    info
      .split('\r\n')
      .flatMap((line) =>
        line.includes(':') ? [[line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const] : [],
      ),
  )
