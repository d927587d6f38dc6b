import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type RedisService, startRedis } from '../../deploy/dev/redis.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { type Shard, shard } from '../../src/domain/ids.ts'
import { after, type Instant, instant, milliseconds, seconds } from '../../src/domain/instant.ts'
import { secret } from '../../src/domain/secret.ts'
import { beginOf, lookFor, prefixOf, QUEUE, retryAfterMs } from '../../src/queue/jobs.ts'
import { openTimetable } from '../../src/queue/timetable.ts'
import { startWorker, type WorkerOptions } from '../../src/queue/worker.ts'

let service: RedisService
let redis: Redis
let nextShard = 0
const closers: (() => unknown)[] = []
const errors: unknown[] = []

const hostNow = (): Instant => instant(Date.now())
const address = () => ({
  url: `redis://${service.host}:${service.port}`,
  username: undefined,
  password: secret(service.password),
})
const server = () => ({
  redis: address(),
  jitter: () => 0.5,
  onError: (error: unknown) => errors.push(error),
  now: hostNow,
})
/** Every test has a shard, and so a queue, of its own. */
const freshShards = (): readonly Shard[] => {
  nextShard += 1
  return [shard(nextShard)]
}

function timetable(shards: readonly Shard[], now: () => Instant = hostNow) {
  const made = openTimetable({ ...server(), now, shards })
  closers.push(() => made.close())
  return made
}
async function worker(shards: readonly Shard[], sweep: WorkerOptions['sweep'], over: Partial<WorkerOptions> = {}) {
  const made = await startWorker({ ...server(), shards, sweep, ...over })
  closers.push(() => made.close())
  return made
}
/** What BullMQ holds for a shard. */
function inspect(shards: readonly Shard[]): Queue {
  const queue = new Queue(QUEUE, {
    connection: { host: service.host, port: service.port, password: service.password },
    prefix: prefixOf(shards[0] ?? shard(0)),
  })
  queue.on('error', () => undefined)
  closers.push(() => queue.close())
  return queue
}
const lookJobs = async (queue: Queue) => (await queue.getJobs()).filter((job) => job.name === 'look')
/** The timetable connects by itself; a test waits until it can add. */
async function connected(table: ReturnType<typeof timetable>) {
  await expect
    .poll(async () => {
      errors.length = 0
      await table.at('warm-up', after(hostNow(), seconds(3_600)))
      return errors.length
    })
    .toBe(0)
}

beforeAll(async () => {
  service = await startRedis({ own: true })
  redis = new Redis(service.url)
  redis.on('error', () => undefined)
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  errors.length = 0
})
afterAll(async () => {
  redis.disconnect()
  await service.stop()
})

describe('the bucket of a deadline', () => {
  const home = shard(3)
  const at = (ms: number) => instant(1_800_000_000_000 + ms)

  it('begins at the deadline or less than 100 ms after it, never before', () => {
    for (let ms = 1_000; ms < 1_300; ms += 1) {
      const late = lookFor(home, 'local', at(ms), at(0)).at - at(ms)
      expect(late).toBeGreaterThanOrEqual(0)
      expect(late).toBeLessThan(100)
    }
  })

  it('is the next one for a deadline that has passed or whose bucket begins now', () => {
    for (const deadline of [0, 900, 1_000, 1_001 - 100, 995, 1_000])
      for (const now of [1_000, 1_040, 1_089]) expect(lookFor(home, 'local', at(deadline), at(now)).at).toBe(at(1_100))
    expect(lookFor(home, 'local', at(1_095), at(1_095)).at).toBe(at(1_200))
    expect(lookFor(home, 'local', at(1_150), at(1_040)).at).toBe(at(1_200))
  })

  it('has an id that BullMQ takes, another one for each shard, lane and bucket, and shows when it begins', () => {
    const ids = [shard(3), shard(4)].flatMap((of) =>
      ['local', 'vault-main', 'vault-2'].flatMap((lane) =>
        [1_000, 1_100].map((ms) => lookFor(of, lane, at(ms), at(0))),
      ),
    )
    expect(new Set(ids.map(({ id }) => id)).size).toBe(12)
    for (const { id, at: begin } of ids) {
      expect(id).not.toMatch(/:|^\d+$/)
      expect(beginOf(id)).toBe(begin)
    }
    for (const id of ['', 'x', '3-local-', '123', '3-local-99999999999999999', 'canary-1'])
      expect(beginOf(id)).toBeUndefined()
  })

  it('is tried again after a failure at growing distances, up to 15 seconds', () => {
    expect([1, 2, 3, 6, 50, 1_000_000].map((failures) => retryAfterMs(failures, 1))).toEqual([
      500, 1_000, 2_000, 15_000, 15_000, 15_000,
    ])
    expect(retryAfterMs(1, 0)).toBe(250)
  })
})

describe('the timetable', () => {
  it('makes at most ten jobs of a thousand deadlines in one second', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    const start = Math.ceil(hostNow() / 1_000) * 1_000 + 60_000
    await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => table.at('local', instant(start + 1 + Math.floor((n * 999) / 1_000)))),
    )
    const jobs = (await lookJobs(inspect(shards))).filter((job) => job.data.lane === 'local')
    expect(jobs.length).toBeLessThanOrEqual(10)
    expect(jobs.length).toBeGreaterThanOrEqual(9)
  })

  it('asks Redis once for many deadlines of one bucket, also when they come at once', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0)
    const before = await calls()
    const when = after(hostNow(), seconds(100))
    await Promise.all(Array.from({ length: 1_000 }, () => table.at('local', when)))
    for (let n = 0; n < 100; n += 1) await table.at('local', when)
    expect((await calls()) - before).toBe(1)
  })

  it('puts into a job the lane and nothing else, under the cluster slot of its shard', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await table.at('local', after(hostNow(), seconds(100)))
    await connected(table)
    await table.at('vault-main', after(hostNow(), seconds(100)))
    const queue = inspect(shards)
    const jobs = await lookJobs(queue)
    expect(jobs.map((job) => job.data)).toContainEqual({ v: 1, lane: 'vault-main' })
    for (const job of jobs) expect(Object.keys(job.data).sort()).toEqual(['lane', 'v'])
    const keys = await redis.keys(`*{writ:${shards[0]}}*`)
    expect(keys.length).toBeGreaterThan(2)
    for (const key of keys) expect(key).toMatch(new RegExp(`^\\{writ:${shards[0]}\\}:queue`))
  })

  it('reports a job that cannot be added and does not refuse: the sweep finds the deadline', async () => {
    const broken: unknown[] = []
    const table = openTimetable({
      redis: { url: 'redis://127.0.0.1:1', username: undefined, password: secret('canary-password') },
      jitter: () => 0.5,
      onError: (error) => broken.push(error),
      now: hostNow,
      shards: freshShards(),
    })
    await table.at('local', after(hostNow(), seconds(1)))
    await table.close()
    expect(broken.length).toBeGreaterThan(0)
    expect(broken.map((error) => JSON.stringify(error, Object.getOwnPropertyNames(error))).join()).not.toContain(
      'canary-password',
    )
  })

  it('answers within half a second while Redis hangs, and adds the job when it is asked again after that', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    const when = after(hostNow(), seconds(100))
    await service.freeze()
    try {
      const started = performance.now()
      await table.at('local', when)
      expect(performance.now() - started).toBeLessThan(600)
      expect(errors.length).toBeGreaterThan(0)
    } finally {
      await service.thaw()
    }
    await connected(table)
    await table.at('local', when)
    expect((await lookJobs(inspect(shards))).map((job) => job.data)).toContainEqual({ v: 1, lane: 'local' })
  })
})

describe('the worker', () => {
  it('looks at every deadline within a fraction of a second, and never before it, by the clock of Redis', async () => {
    const shards = freshShards()
    const due = `{writ:${shards[0]}}:test-due`
    const late: number[] = []
    // Takes what is due by the time of Redis and says how late it is: the store's claim in small.
    const claim = `local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
      local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 100)
      for i = 1, #ids, 2 do redis.call('ZREM', KEYS[1], ids[i]) end
      return { tostring(now), ids }`
    let looks = 0
    await worker(shards, async () => {
      looks += 1
      const [now, ids] = (await redis.eval(claim, 1, due)) as [string, string[]]
      for (let n = 1; n < ids.length; n += 2) late.push(Number(now) - Number(ids[n]))
      return { more: ids.length === 200 }
    })
    const table = timetable(shards)
    await connected(table)
    const start = hostNow() + 1_500
    const deadlines = Array.from({ length: 1_000 }, (_, n) => instant(start + n))
    await redis.zadd(due, ...deadlines.flatMap((when, n) => [when, `g${n}`]))
    await Promise.all(deadlines.map((when) => table.at('local', when)))
    expect(hostNow()).toBeLessThan(start)
    await expect.poll(() => late.length, { timeout: 10_000 }).toBe(1_000)
    late.sort((a, b) => a - b)
    console.log(
      `1,000 deadlines in a second: ${looks} looks; late p50 ${late[500]} ms, p99 ${late[990]} ms, most ${late[999]} ms`,
    )
    expect(late[0]).toBeGreaterThanOrEqual(0)
    expect(looks).toBeLessThanOrEqual(30)
    expect(late[990]).toBeLessThan(1_000)
  })

  it.each([
    ['one batch of a lane at a time, however many jobs come', { left: 0, busy: false, most: 1 }],
    ['two side by side while there is more', { left: 9, busy: false, most: 2 }],
    ['one at a time also then, while many wait for an answer', { left: 9, busy: true, most: 1 }],
  ])('sweeps %s', async (_, { left: many, busy, most }) => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    let left = many
    const running: number[] = []
    let now = 0
    const sweep = async () => {
      now += 1
      running.push(now)
      await pause(150)
      now -= 1
      left -= 1
      return { more: left > 0 }
    }
    await worker(shards, sweep, { isCrowded: () => busy })
    for (let n = 0; n < 5; n += 1) await table.at('local', after(hostNow(), milliseconds(100 * n)))
    await expect.poll(() => running.length >= 3 && left <= 0, { timeout: 10_000 }).toBe(true)
    expect(running[0]).toBe(1)
    expect(Math.max(...running)).toBe(most)
  })

  it('goes on with other lanes while one hangs', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    let release: () => void = () => undefined
    const hanging = new Promise<void>((resolve) => {
      release = resolve
    })
    const seen: string[] = []
    await worker(shards, async (lane) => {
      seen.push(lane)
      if (lane === 'vault-main') await hanging
      return { more: false }
    })
    for (let n = 0; n < 30; n += 1) await table.at('vault-main', after(hostNow(), milliseconds(50 * n)))
    await expect.poll(() => seen).toContain('vault-main')
    await table.at('local', hostNow())
    await expect.poll(() => seen).toContain('local')
    expect(seen.filter((lane) => lane === 'vault-main')).toHaveLength(1)
    release()
  })

  it('does not lose a deadline that is asked for while the job of its bucket runs', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    let looks = 0
    await worker(shards, async () => {
      looks += 1
      // The first look asks for another, due at once, as a retried end does.
      if (looks === 1) await table.at('local', hostNow())
      return { more: false }
    })
    await table.at('local', hostNow())
    await expect.poll(() => looks, { timeout: 3_000 }).toBe(2)
  })

  it('tries again after a failure upstream, and gives up after a bug, which it reports', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    const calls: Record<string, number> = {}
    await worker(shards, async (lane) => {
      calls[lane] = (calls[lane] ?? 0) + 1
      if (lane === 'vault-main' && calls[lane] < 3)
        throw new BrokerError('vault_unavailable', 'no answer', { cause: 'canary-cause' })
      if (lane === 'local') throw new TypeError('canary-message')
      return { more: false }
    })
    await table.at('vault-main', hostNow())
    await table.at('local', hostNow())
    await expect.poll(() => calls, { timeout: 10_000 }).toEqual({ 'vault-main': 3, local: 1 })
    const queue = inspect(shards)
    await expect.poll(async () => (await queue.getFailed()).length).toBe(1)
    expect(errors.filter((error) => error instanceof TypeError)).toHaveLength(1)
    await pause(700)
    expect(calls.local).toBe(1)
    // What an adapter said stays out of Redis.
    const [failed] = await queue.getFailed()
    expect(failed?.failedReason).toBe('bug')
    expect(
      JSON.stringify(await redis.hgetall(`${prefixOf(shards[0] ?? shard(0))}:${QUEUE}:${failed?.id}`)),
    ).not.toContain('canary')
  })

  it('refuses a job whose data were lost or forged, and reports it', async () => {
    const shards = freshShards()
    const lanes: string[] = []
    await worker(shards, async (lane) => {
      lanes.push(lane)
      return { more: false }
    })
    const queue = inspect(shards)
    for (const [n, data] of [
      {},
      { v: 2, lane: 'local' },
      { v: 1, lane: 'x:y' },
      { v: 1, lane: 'local', grant: 'g' },
    ].entries())
      await queue.add('look', data, { jobId: `forged-${n}` })
    await queue.add('other', { v: 1, lane: 'local' }, { jobId: 'forged-9' })
    await expect.poll(async () => (await queue.getFailed()).length).toBe(5)
    expect(lanes).toEqual([])
    expect(errors).toHaveLength(5)
  })

  it('has the job of a killed worker done by another one, however often workers are killed', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    const href = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
    const program = `
      import { startWorker } from ${href('../../src/queue/worker.ts')}
      import { secret } from ${href('../../src/domain/secret.ts')}
      await startWorker({
        redis: { url: 'redis://${service.host}:${service.port}', username: undefined, password: secret(process.env.PASSWORD) },
        shards: [${shards[0]}], now: () => Date.now(), jitter: () => 0.5, onError: () => {}, lockMs: 1000,
        sweep: async () => { process.stdout.write('begun'); await new Promise(() => setInterval(() => {}, 1000)) },
      })`
    for (let round = 0; round < 3; round += 1) {
      const env = { ...process.env, PASSWORD: service.password }
      const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      if (round === 0) await table.at('local', hostNow())
      await once(child.stdout, 'data')
      child.kill('SIGKILL')
      await once(child, 'close')
    }
    const lanes: string[] = []
    await worker(
      shards,
      async (lane) => {
        lanes.push(lane)
        return { more: false }
      },
      { lockMs: 1_000 },
    )
    await expect.poll(() => lanes, { timeout: 10_000 }).toEqual(['local'])
    expect((await inspect(shards).getFailed()).length).toBe(0)
  })

  it('notices that Redis was emptied, takes up work again by itself, and says so', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    let looks = 0
    const made = await worker(shards, async () => {
      looks += 1
      return { more: false }
    })
    await pause(5_200)
    expect(made.healthy()).toBe(true)
    await redis.flushall()
    errors.length = 0
    await expect.poll(() => made.restarts(), { timeout: 12_000 }).toBe(1)
    expect(errors.map(String).join()).toContain('lost')
    await table.at('local', hostNow())
    await expect.poll(() => looks, { timeout: 3_000 }).toBe(1)
    await pause(5_500)
    expect(made.healthy()).toBe(true)
    expect(made.restarts()).toBe(1)
  })

  it('is replaced when it went deaf: no job was done for ten seconds though Redis answers', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    let looks = 0
    const made = await worker(shards, async () => {
      looks += 1
      return { more: false }
    })
    await connected(table)
    // A paused queue gives no job to anybody: to the worker it is as silent as a lost wake-up.
    const queue = inspect(shards)
    await queue.pause()
    await expect.poll(() => made.restarts(), { timeout: 14_000 }).toBe(1)
    expect(made.healthy()).toBe(false)
    await queue.resume()
    await table.at('local', hostNow())
    await expect.poll(() => looks, { timeout: 5_000 }).toBe(1)
    expect(made.healthy()).toBe(true)
  })

  it('is not taken for deaf because Redis was slow in the very moment in which that is tried', async () => {
    const failed: unknown[] = []
    const onError = (error: unknown): unknown => failed.push(error)
    const made = await worker(freshShards(), async () => ({ more: false }), { onError })
    await service.freeze()
    try {
      await expect.poll(() => failed.length, { timeout: 8_000 }).toBeGreaterThan(0)
    } finally {
      await service.thaw()
    }
    // The next one is due in five seconds.
    await expect.poll(() => made.quietMs(), { timeout: 3_000 }).toBeLessThan(1_000)
    expect([made.healthy(), made.restarts()]).toEqual([true, 0])
  })

  it('survives the death and return of Redis without a restart of the broker', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    let looks = 0
    await worker(shards, async () => {
      looks += 1
      return { more: false }
    })
    await service.kill()
    await table.at('local', hostNow())
    expect(errors.length).toBeGreaterThan(0)
    await service.restart()
    await connected(table)
    // At once, or when the watchdog has found that the worker's own connection did not come back (10 s). Asked for again and again, as what
    // could not be added in time is not refused.
    const asked = async () => {
      await table.at('local', hostNow())
      return looks
    }
    await expect.poll(asked, { timeout: 25_000, interval: 250 }).toBeGreaterThan(0)
  })

  it('lets a running job finish when it is closed, and leaves no connection behind', async () => {
    const shards = freshShards()
    const table = timetable(shards)
    await connected(table)
    let finished = false
    let begun = false
    const made = await startWorker({
      ...server(),
      shards,
      sweep: async () => {
        begun = true
        await pause(400)
        finished = true
        return { more: false }
      },
    })
    await table.at('local', hostNow())
    await expect.poll(() => begun, { interval: 5 }).toBe(true)
    await made.close()
    expect(finished).toBe(true)
    await table.close()
    await expect
      .poll(async () => ((await redis.client('LIST')) as string).match(/name=writ-queue/g)?.length ?? 0)
      .toBe(0)
  })
})
