// The queue's own connections. Adding a job fails fast, because a request waits for it; a worker waits for Redis however long that takes.
import { Queue } from 'bullmq'
import { Redis, type RedisOptions } from 'ioredis'
import { reveal, type Secret } from '../domain/secret.ts'
import { ATTEMPTS, QUEUE } from './jobs.ts'

export interface QueueAddress {
  /** `redis://` or `rediss://`, host, port and database. */
  readonly url: string
  readonly username: string | undefined
  readonly password: Secret<string> | undefined
}
export interface QueueServer {
  readonly redis: QueueAddress
  /** 0 <= n < 1, to spread reconnections and retries. */
  readonly jitter: () => number
  /** Told of every failure. The queue goes on, and what it misses the sweep does. */
  readonly onError: (error: unknown) => void
}

const connect = ({ redis, jitter, onError }: QueueServer, name: string, options: RedisOptions): Redis => {
  const settings: RedisOptions & { readonly replyMapping: 'legacy' } = {
    ...(redis.username === undefined ? {} : { username: redis.username }),
    ...(redis.password === undefined ? {} : { password: reveal(redis.password) }),
    connectionName: `writ-${name}`,
    connectTimeout: 2_000,
    retryStrategy: (attempt) => Math.ceil(Math.min(1_000, 50 * 2 ** Math.min(attempt, 10)) * (0.5 + jitter() / 2)),
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 1 : false),
    ...options,
    replyMapping: 'legacy',
  }
  const client = new Redis(redis.url, settings)
  client.on('error', (error: Error) => onError(bare(error)))
  return client
}

/** The error without what ioredis hangs on it: a command's arguments, which may be a password. */
export function bare(thrown: unknown): Error {
  const { name, message } = thrown instanceof Error ? thrown : new Error('not an error')
  // Redis repeats what it was sent in a few messages ("…, with args beginning with: …").
  return Object.assign(new Error(message.split(/,? with args/)[0]?.slice(0, 200)), { name })
}

/** For adding jobs: one execution or none, and an answer or a rejection within 400 ms. */
export const connectProducer = (server: QueueServer): Redis =>
  connect(server, 'queue', {
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    commandTimeout: 400,
  })

/** For a worker: BullMQ demands that its commands wait for Redis to come back. */
export const connectWorker = (server: QueueServer): Redis =>
  connect(server, 'queue-worker', { maxRetriesPerRequest: null })

export interface Producer {
  /** The queue, ready. Rejects while Redis cannot be reached. */
  queue(): Promise<Queue>
  /** Makes the queue anew with the next use, after Redis forgot it. */
  renew(): void
  close(): Promise<void>
}

/** BullMQ's queue gives up for good when its first contact fails, so it is made when Redis is there, and made again after a failure. */
export function openProducer(server: QueueServer, prefix: string): Producer {
  const client = connectProducer(server)
  let made: Promise<Queue> | undefined
  const make = async () => {
    const queue = new Queue(QUEUE, {
      connection: client,
      prefix,
      streams: { events: { maxLen: 100 } },
      defaultJobOptions: {
        attempts: ATTEMPTS,
        backoff: { type: 'custom' },
        removeOnComplete: true,
        removeOnFail: { count: 100 },
        stackTraceLimit: 0,
        sizeLimit: 256,
      },
    })
    // Every failure of the connection is told by the connection, of a command by its rejection.
    queue.on('error', () => undefined)
    await queue.waitUntilReady()
    return queue
  }
  return {
    queue: () => {
      if (client.status !== 'ready') return Promise.reject(new Error(`the queue's connection is ${client.status}`))
      made ??= make().catch((thrown: unknown) => {
        made = undefined
        throw thrown
      })
      return made
    },
    renew: () => {
      made = undefined
    },
    close: async () => {
      // With Redis away neither the making nor the closing of a queue need ever end.
      client.disconnect()
      const closing = made?.then((queue) => queue.close()).catch(() => undefined)
      await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
    },
  }
}
