// S10: of a store with 1,000,000 live grants 100,000 are due within one second, and exchanges go on. The control: as many delayed BullMQ jobs.
import { setTimeout as pause } from 'node:timers/promises'
import { grownTo } from '../growth.ts'
import { type JobsSide, startJobs } from '../jobs-side.ts'
import { median } from '../load.ts'
import { exchangesBeside } from '../load-beside.ts'
import type { Ours } from '../ours.ts'
import { DUE, planted } from '../planting.ts'
import { round } from '../rounds.ts'
import type { Row, Scene } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

interface Size {
  readonly live: number
  readonly due: number
  readonly perSecond: number
  /** Of exchanges before the storm, to know what is usual. */
  readonly usualMs: number
  /** And at most for so long during it. */
  readonly besideMs: number
  readonly patienceMs: number
}
const FULL: Size = {
  live: 1_000_000,
  due: 100_000,
  perSecond: 200,
  usualMs: 6_000,
  besideMs: 30_000,
  patienceMs: 300_000,
}
const QUICK: Size = { live: 500, due: 200, perSecond: 50, usualMs: 800, besideMs: 5_000, patienceMs: 60_000 }

export const S10: Scene = {
  id: 'S10',
  uses: ['large'],
  measure: async (scope) => {
    const size = scope.quick ? QUICK : FULL
    const ours = await scope.stages.ours('large')
    await grownTo(ours, size.live, scope.say)
    const jobs = await startJobs()
    const [rounds, theirs]: [Row[], Row[]] = [[], []]
    try {
      for (let n = 0; n < scope.rounds; n += 1) {
        scope.say(`S10: round ${n + 1}: ${size.due} due in one second, then as many jobs`)
        rounds.push(await drained(ours, size))
        theirs.push(await jobsDrained(jobs, size))
      }
    } finally {
      await jobs.stop()
    }
    const of = (rows: readonly Row[], name: string): number => median(rows.map((one) => one[name] ?? Number.NaN))
    const sums = (rows: readonly Row[]): Row =>
      Object.fromEntries(Object.keys(rows[0] ?? {}).map((name) => [name, of(rows, name)]))
    return {
      numbers: {
        drained: of(rounds, 'drainedSeconds'),
        'exchange p99 by its usual': of(rounds, 'stormP99') / of(rounds, 'usualP99'),
      },
      sides: [
        { name: 'writ', rounds, median: sums(rounds) },
        { name: 'BullMQ, a job per grant', rounds: theirs, median: sums(theirs) },
      ],
      notes: [
        `${size.live} live; exchanges at ${size.perSecond} a second; drained counts from the first that is due`,
        'the control has no other live jobs and no exchanges beside it',
      ],
      effective: await effectiveOf(ours),
    }
  },
}

async function drained(ours: Ours, size: Size): Promise<Row> {
  const { model, msEach } = await grownTo(ours, size.live, () => undefined)
  const requests = await ours.readings(Math.ceil((size.perSecond * (size.usualMs + size.besideMs)) / 1_000))
  // Planting must be over before anything is due.
  const closesAt = Math.ceil(Date.now() + 2.5 * size.due * msEach + size.usualMs + 1_000)
  const others = await dueSoon(ours, closesAt)
  await planted(ours, model, size.due, { closesAt, spreadMs: 1_000 })
  await pause(Math.max(0, closesAt - size.usualMs - Date.now()))
  const beside = exchangesBeside(ours, requests, size.perSecond)
  await pause(Math.max(0, closesAt - Date.now()))
  const stormAt = performance.now()
  await untilDrained(ours, closesAt, others, size)
  const overAt = performance.now()
  const [usual, storm] = [beside.tail(beside.startedAt + 100, stormAt), beside.tail(stormAt, overAt)]
  await beside.stop()
  return {
    drainedSeconds: round((overAt - stormAt) / 1_000, 2),
    usualP99: usual.p99,
    stormP99: storm.p99,
    stormP50: storm.p50,
    exchanges: storm.count,
  }
}

/** What closes then or half an hour later: a sweep that works on a grant moves its deadline by seconds, and all others live for hours. */
const dueSoon = ({ redis }: Ours, closesAt: number): Promise<number> => redis.zcount(DUE, '-inf', closesAt + 1_800_000)

async function untilDrained(ours: Ours, closesAt: number, others: number, { patienceMs }: Size): Promise<void> {
  for (;;) {
    await pause(20)
    const left = (await dueSoon(ours, closesAt)) - others
    if (left <= 0) return
    if (Date.now() > closesAt + patienceMs) throw new Error(`${left} were not ended in ${patienceMs / 1_000} s`)
  }
}

async function jobsDrained(jobs: JobsSide, { due, patienceMs }: Size): Promise<Row> {
  const from = Math.ceil(Date.now() + due * 0.2 + 1_000)
  await jobs.add(due, from, 1_000)
  const { drainedMs, cpuUsEach } = await jobs.fired(due, from, patienceMs)
  return { drainedSeconds: round(drainedMs / 1_000, 2), cpuUsEach: round(cpuUsEach, 1) }
}
