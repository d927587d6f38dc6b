// S9: 1,000 windows close a second while 100,000 others live and exchanges go on: how late each end is, and what it costs; then the same with a
// delayed BullMQ job per grant.
import { setTimeout as pause } from 'node:timers/promises'
import type { GrantId } from '../../../src/domain/ids.ts'
import { cpuUs } from '../gauge.ts'
import { type JobsSide, startJobs } from '../jobs-side.ts'
import { median, quantile } from '../load.ts'
import { exchangesBeside } from '../load-beside.ts'
import type { Ours } from '../ours.ts'
import { DUE, duesOf, endsSince, later, modelOf, planted } from '../planting.ts'
import { round } from '../rounds.ts'
import type { Row, Scene } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

interface Size {
  readonly live: number
  readonly ends: number
  readonly spreadMs: number
  readonly perSecond: number
  /** Before the first end, to see what all costs without ends. */
  readonly leadMs: number
}
const FULL: Size = { live: 100_000, ends: 10_000, spreadMs: 10_000, perSecond: 150, leadMs: 6_000 }
const QUICK: Size = { live: 300, ends: 60, spreadMs: 600, perSecond: 50, leadMs: 1_500 }
/** What is due last is done by then, or it is later than any goal allows. */
const AFTER_MS = 1_500
const PATIENCE_MS = 60_000
const USUAL_HZ = 100
const SLOW_HZ = 10

export const S9: Scene = {
  id: 'S9',
  uses: ['ends'],
  measure: async (scope) => {
    const size = scope.quick ? QUICK : FULL
    const ours = await scope.stages.ours('ends')
    const model = await modelOf(ours, 'bearer')
    scope.say(`S9: planting ${size.live} that live on`)
    const { seconds } = await planted(ours, model, size.live, { closesAt: later() })
    // On a busy machine planting takes longer, and none may be due before all are there.
    const plantMs = Math.max(2_000, (4_000 * seconds * size.ends) / size.live)
    const jobs = await startJobs()
    const [fast, slow, alone, theirs]: [Row[], Row[], Row[], Row[]] = [[], [], [], []]
    try {
      await jobs.add(size.live, later(), 1_000)
      for (let n = 0; n < scope.rounds; n += 1) {
        scope.say(`S9: round ${n + 1}: ends at hz 100, at hz 10, with no exchanges, and as many jobs`)
        const wave = wavesOf(ours, model, size, plantMs)
        fast.push(await wave(USUAL_HZ, true))
        slow.push(await wave(SLOW_HZ, true))
        alone.push(await wave(USUAL_HZ, false))
        theirs.push(await jobsAt(jobs, size))
      }
    } finally {
      await jobs.stop()
      await ours.redis.config('SET', 'hz', USUAL_HZ)
    }
    const of = (rows: readonly Row[], name: string): number => median(rows.map((one) => one[name] ?? Number.NaN))
    const sums = (rows: readonly Row[]): Row =>
      Object.fromEntries(Object.keys(rows[0] ?? {}).map((name) => [name, of(rows, name)]))
    return {
      numbers: {
        'p99 late at hz 100': of(fast, 'p99Late'),
        'p99 late at hz 10': of(slow, 'p99Late'),
        'CPU by a job per grant': of(alone, 'cpuUsEach') / of(theirs, 'cpuUsEach'),
        'memory by a job per grant': of(alone, 'bytesEach') / of(theirs, 'bytesEach'),
      },
      sides: [
        { name: 'writ, hz 100', rounds: fast, median: sums(fast) },
        { name: 'writ, hz 10', rounds: slow, median: sums(slow) },
        { name: 'writ, hz 100, no exchanges', rounds: alone, median: sums(alone) },
        { name: 'BullMQ, a job per grant, hz 100', rounds: theirs, median: sums(theirs) },
      ],
      notes: [
        'CPU: of broker and Redis when nothing but ends goes on, less what they take when nothing does; of a job: adding and running',
        'an end of ours is a claim, a load and a commit with event, head and indexes; a job writes one field',
        'memory: of ours the deadline and its share of a look; of theirs the waiting job',
      ],
      effective: await effectiveOf(ours),
    }
  },
}

const usedBy = (ours: Ours): number => cpuUs(ours.pid) + cpuUs(ours.redisPid)
const until = (at: number): Promise<unknown> => pause(Math.max(0, at - Date.now()))

/** One wave after another over the same crowd that lives on. */
const wavesOf =
  (ours: Ours, model: GrantId, size: Size, plantMs: number) =>
  async (hz: number, exchanges: boolean): Promise<Row> => {
    const { ends: many, spreadMs, perSecond, leadMs } = size
    const seconds = (leadMs + spreadMs + AFTER_MS + 1_000) / 1_000
    const requests = exchanges ? await ours.readings(Math.ceil(perSecond * seconds)) : []
    await ours.redis.config('SET', 'hz', hz)
    const closesAt = Math.ceil(Date.now() + leadMs + plantMs)
    const { ids } = await planted(ours, model, many, { closesAt, spreadMs })
    const dues = await duesOf(ours.redis, ids)
    const bytesEach = await bytesPerDeadline(ours, many)
    await until(closesAt - leadMs)
    const beside = exchanges ? exchangesBeside(ours, requests, perSecond) : undefined
    const [calmFrom, calmCpu] = [Date.now(), usedBy(ours)]
    await until(closesAt - 100)
    const [stormFrom, stormCpu] = [Date.now(), usedBy(ours)]
    const startedAt = performance.now()
    await until(closesAt + spreadMs + AFTER_MS)
    const idle = ((stormCpu - calmCpu) * (Date.now() - stormFrom)) / (stormFrom - calmFrom)
    const cost = usedBy(ours) - stormCpu - idle
    const tail = beside?.tail(startedAt, performance.now())
    await beside?.stop()
    const ended = await allEnded(ours, ids, closesAt)
    const late = ids.map((id) => (ended.get(id) ?? Number.NaN) - (dues.get(id) ?? Number.NaN))
    return {
      p50Late: quantile(late, 0.5),
      p99Late: quantile(late, 0.99),
      // A few ends are lost in the noise.
      ...(tail === undefined ? { cpuUsEach: Math.max(1, round(cost / many, 1)) } : { exchangeP99: tail.p99 }),
      bytesEach: round(bytesEach, 0),
    }
  }

async function allEnded(ours: Ours, ids: readonly string[], since: number): Promise<ReadonlyMap<string, number>> {
  for (;;) {
    const ended = await endsSince(ours.redis, since - 1_000)
    if (ids.every((id) => ended.has(id))) return ended
    if (Date.now() > since + PATIENCE_MS) throw new Error('not all of them ended')
    await pause(200)
  }
}

/** The deadline in its set, and the looks of the queue shared among those that they are for. */
async function bytesPerDeadline({ redis }: Ours, many: number): Promise<number> {
  const deadline = Number(await redis.memory('USAGE', DUE, 'SAMPLES', 0)) / (await redis.zcard(DUE))
  const looks = await redis.keys('{writ:0}:queue:looks:*')
  const sizes = await Promise.all(looks.map(async (key) => Number(await redis.memory('USAGE', key))))
  return deadline + sizes.reduce((sum, one) => sum + one, 0) / many
}

async function jobsAt(jobs: JobsSide, { ends, spreadMs, leadMs }: Size): Promise<Row> {
  await jobs.hz(USUAL_HZ)
  const from = Date.now() + leadMs
  const added = await jobs.add(ends, from, spreadMs)
  const fired = await jobs.fired(ends, from, spreadMs + PATIENCE_MS)
  return {
    p50Late: fired.p50,
    p99Late: fired.p99,
    cpuUsEach: round(added.cpuUsEach + fired.cpuUsEach, 1),
    bytesEach: round(added.bytesEach, 0),
  }
}
