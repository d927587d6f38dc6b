// Does the looks: a job calls the sweep of its lane, again while there is more. It decides nothing about a grant. A canary every 5 s proves
// that jobs are done at all; when none was done for 10 s the worker is made anew, because a worker can go deaf without an error.

import { setTimeout as pause } from 'node:timers/promises'
import { type Job, UnrecoverableError, Worker } from 'bullmq'
import type { Lane } from '../domain/entitlement.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { Shard } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { bare, connectWorker, openProducer, type QueueServer } from './connections.ts'
import { BUCKET, beginOf, CANARY, CanaryData, LOOK, LookData, prefixOf, QUEUE, retryAfterMs } from './jobs.ts'
import { firstOf } from './timetable.ts'

export interface WorkerOptions extends QueueServer {
  readonly shards: readonly Shard[]
  readonly now: () => Instant
  /** The verb: does one batch of what is due in this lane. */
  readonly sweep: (lane: Lane) => Promise<{ readonly more: boolean }>
  /** Whether many wait for an answer right now: then a lane is swept by one at a time. Never where it is absent. */
  readonly isCrowded?: () => boolean
  /** How long a job stays with a worker that shows no life. It is renewed while the work goes on: three times the longest call. */
  readonly lockMs?: number
}
export interface QueueWorker {
  /** False when no job was done for 10 s, canaries included. */
  healthy(): boolean
  /** How long ago a job was done, canaries included. */
  quietMs(): number
  /** How often a deaf worker was replaced. */
  restarts(): number
  /** Lets running jobs finish (10 s at most), then closes the connections. */
  close(): Promise<void>
}

const CANARY_EVERY_MS = 5_000
/** One that Redis did not take in time is sent again: a moment in which it was slow is no deaf worker. All tries are over before the next one is due. */
const CANARY_TRIES = 3
const CANARY_AGAIN_MS = 700
const DEAF_AFTER_MS = 10_000
const CLOSE_WITHIN_MS = 10_000
/** Redis's clock, which says what is due, may be this much behind our estimate of it. */
const CLOCK_ERROR_MS = 2
/** Lanes are few, and each is swept by one job at a time. */
const CONCURRENT_JOBS = 16

/** Resolves when the first worker takes jobs, or Redis cannot be reached yet: then it begins by itself. */
export async function startWorker(options: WorkerOptions): Promise<QueueWorker> {
  const { now, onError } = options
  const prefix = prefixOf(firstOf(options.shards))
  const producer = openProducer(options, prefix)
  const sweepLane = oneAtATime(options)
  let lastDone = now()
  let lastStart = lastDone
  let restarts = 0
  let closed = false

  const work = async (job: Job): Promise<void> => {
    try {
      if (job.name === CANARY) CanaryData.parse(job.data)
      else await look(job, now, sweepLane)
      lastDone = now()
    } catch (thrown) {
      onError(thrown)
      // Work was done, though in vain: a backend that is down does not make the worker deaf.
      lastDone = now()
      throw forQueue(thrown)
    }
  }
  let current = makeWorker(options, prefix, work)

  const replace = (why: string) => {
    restarts += 1
    lastStart = now()
    onError(new Error(`${why}: the worker is replaced`))
    const former = current
    current = makeWorker(options, prefix, work)
    former.abandon().catch((thrown: unknown) => onError(bare(thrown)))
  }
  let sent = 0
  const sendCanary = async () => {
    // BullMQ writes its version once, and no worker is told when Redis is emptied.
    if (sent > 0 && (await (await producer.queue()).getVersion()) === null) {
      producer.renew()
      if (!closed) replace('Redis lost the jobs')
    }
    const queue = await producer.queue()
    sent += 1
    // Twelve ids in turn: while a deaf queue keeps them, no more are added.
    await queue.add(CANARY, CanaryData.parse({ v: 1 }), { jobId: `canary-${current.id}-${sent % 12}` })
  }
  const sendUntilTaken = async (): Promise<void> => {
    for (let tries = 1; tries <= CANARY_TRIES && !closed; tries += 1) {
      try {
        return await sendCanary()
      } catch (thrown) {
        if (tries === 1) onError(bare(thrown))
        await pause(CANARY_AGAIN_MS, undefined, { ref: false })
      }
    }
  }
  const beat = setInterval(() => void sendUntilTaken(), CANARY_EVERY_MS)
  // Without Redis nothing can be done, and a new worker would change nothing.
  const watch = setInterval(() => {
    if (now() - Math.max(lastDone, lastStart) > DEAF_AFTER_MS && current.isConnected())
      replace(`no job was done for ${DEAF_AFTER_MS} ms`)
  }, 1_000)

  await current.ready()
  return {
    healthy: () => now() - lastDone <= DEAF_AFTER_MS,
    quietMs: () => Math.max(0, now() - lastDone),
    restarts: () => restarts,
    close: async () => {
      if (closed) return
      closed = true
      clearInterval(beat)
      clearInterval(watch)
      await current.close(CLOSE_WITHIN_MS)
      await producer.close()
    },
  }
}

/** Waits for the bucket to begin on our clock, as the host's may be ahead, then sweeps until nothing more is due. */
async function look(job: Job, now: () => Instant, sweepLane: (lane: Lane) => Promise<void>): Promise<void> {
  if (job.name !== LOOK) throw new UnrecoverableError('unknown job')
  // A job whose hash was lost still runs, with empty data: it ends here, and is reported.
  const { lane } = LookData.parse(job.data)
  const begin = beginOf(job.id ?? '')
  const early = begin === undefined ? 0 : begin + CLOCK_ERROR_MS - now()
  if (early > 0) await pause(Math.min(early, BUCKET))
  await sweepLane(lane)
}

/**
 * Blame says whether trying again can help. What goes to Redis is a word of ours: BullMQ stores the message of an error with the job,
 * and an adapter's message may hold anything.
 */
const forQueue = (thrown: unknown): Error => {
  if (isBrokerError(thrown) && thrown.blame !== 'caller') return new Error(thrown.code)
  return new UnrecoverableError(isBrokerError(thrown) ? thrown.code : 'bug')
}

/**
 * One job at a time sweeps a lane in this process: one that comes meanwhile makes the running one look once more, and is done. Where one batch is
 * not all, and not many wait, a second goes on beside the first: while the store writes one, the other is reckoned here. No two get the same grant.
 */
function oneAtATime({
  sweep,
  isCrowded = () => false,
}: Pick<WorkerOptions, 'sweep' | 'isCrowded'>): (lane: Lane) => Promise<void> {
  const again = new Map<Lane, boolean>()
  const goOn = async (lane: Lane): Promise<void> => {
    while ((await sweep(lane)).more);
  }
  const helpOut = async (lane: Lane): Promise<void> => {
    while (!isCrowded() && (await sweep(lane)).more);
  }
  return async (lane) => {
    if (again.has(lane)) {
      again.set(lane, true)
      return
    }
    again.set(lane, true)
    try {
      while (again.get(lane)) {
        again.set(lane, false)
        if ((await sweep(lane)).more) await both(goOn(lane), helpOut(lane))
      }
    } finally {
      again.delete(lane)
    }
  }
}

/** Both are over when this is, also where one failed: the job that waits for them answers for both. */
async function both(...works: readonly Promise<void>[]): Promise<void> {
  for (const one of await Promise.allSettled(works)) if (one.status === 'rejected') throw one.reason
}

interface RunningWorker {
  readonly id: string
  /** Resolves when it takes jobs, or after two seconds without Redis. */
  ready(): Promise<void>
  isConnected(): boolean
  /** Takes no new job and gives running ones this long. */
  close(withinMs: number): Promise<void>
  /** At once, whatever it is doing: its jobs run again elsewhere when their locks are over. */
  abandon(): Promise<void>
}

function makeWorker(options: WorkerOptions, prefix: string, work: (job: Job) => Promise<void>): RunningWorker {
  const { lockMs = 60_000, jitter, onError } = options
  const client = connectWorker(options)
  const worker = new Worker(QUEUE, work, {
    connection: client,
    prefix,
    concurrency: CONCURRENT_JOBS,
    lockDuration: lockMs,
    stalledInterval: Math.ceil(lockMs / 2),
    // By default a job that was begun twice by workers that died is lost for ever.
    maxStalledCount: 1_000_000,
    settings: { backoffStrategy: (failures) => retryAfterMs(failures, jitter()) },
  })
  worker.on('error', (error) => onError(bare(error)))
  return {
    id: worker.id,
    ready: () => atMost(2_000, worker.waitUntilReady()),
    isConnected: () => client.status === 'ready',
    close: async (withinMs) => {
      await atMost(withinMs, worker.close())
      // The connection on which it waits for jobs is BullMQ's own.
      client.disconnect()
      await atMost(1_000, worker.disconnect())
    },
    abandon: async () => {
      await worker.close(true)
      client.disconnect()
    },
  }
}

/** Settles when the work does, however it ends, or after this time. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const patience = new AbortController()
  const settled = work.catch(() => undefined)
  await Promise.race([settled, pause(ms, undefined, { signal: patience.signal }).catch(() => undefined)])
  patience.abort()
}
