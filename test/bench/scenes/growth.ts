// S12: what an exchange costs with 10,000, 100,000 and 1,000,000 live grants, measured in turn on two stores of that size; and on two brokers that
// share one Redis by one alone.
import { cpuUs } from '../gauge.ts'
import { grownTo } from '../growth.ts'
import { fire, median } from '../load.ts'
import type { Ours } from '../ours.ts'
import { alternate, CONNECTIONS, cpuOf, type Extent, refusalsOf, round, type Side } from '../rounds.ts'
import { type Row, type Scene, type SceneSide, type Scope, sideOf } from '../scene.ts'
import { effectiveOf } from '../switched.ts'
import { extentOf } from './exchange.ts'

const COUNT = 2_000
const LEVELS = { small: 10_000, middle: 100_000, half: 500_000, large: 1_000_000 }
const QUICK_LEVELS = { small: 100, middle: 200, half: 400, large: 500 }

export const S12: Scene = {
  id: 'S12',
  uses: ['small', 'large'],
  measure: async (scope) => {
    const levels = scope.quick ? QUICK_LEVELS : LEVELS
    const [small, large] = [await scope.stages.ours('small'), await scope.stages.ours('large')]
    const extent = extentOf(scope, COUNT, 60)
    await grownTo(small, levels.small, scope.say)
    const two = await twoBrokers(small, scope, extent)
    await grownTo(large, levels.middle, scope.say)
    scope.say(`S12: exchanges with ${levels.small} and with ${levels.middle} live, in turn`)
    const atMiddle = await alternate([reading(small, levels.small), reading(large, levels.middle)], extent)
    // S8 wants to know how much Redis took up to here.
    await grownTo(large, levels.half, scope.say)
    await grownTo(large, levels.large, scope.say)
    scope.say(`S12: exchanges with ${levels.small} and with ${levels.large} live, in turn`)
    const atLarge = await alternate([reading(small, levels.small), reading(large, levels.large)], extent)
    return {
      numbers: {
        'CPU at 100,000 by 10,000': growthOf(atMiddle),
        'CPU at 1,000,000 by 10,000': growthOf(atLarge),
        'CPU of two brokers by one': two.ratio,
      },
      sides: [...atMiddle.map(sideOf), ...atLarge.map(sideOf), ...two.sides],
      notes: [
        'CPU is that of the brokers and of Redis, for each exchange',
        `two brokers share the requests; ${CONNECTIONS} connections in all on either side`,
      ],
      effective: await effectiveOf(large),
    }
  },
}

const reading = (ours: Ours, live: number): Side => ({
  name: `writ, ${live} live`,
  port: ours.port,
  pid: ours.pid,
  redisPid: ours.redisPid,
  prepare: (count) => ours.readings(count),
})

const growthOf = (sides: Awaited<ReturnType<typeof alternate>>): number => {
  const [less, more] = sides
  return less === undefined || more === undefined ? Number.NaN : cpuOf(more.median) / cpuOf(less.median)
}

interface Two {
  readonly ratio: number
  readonly sides: readonly SceneSide[]
}

async function twoBrokers(ours: Ours, { say }: Scope, extent: Extent): Promise<Two> {
  say('S12: one broker and two on one Redis, in turn')
  const second = await ours.startAnother(1)
  try {
    const first = { port: ours.port, pid: ours.pid }
    const both = [first, { port: Number(new URL(second.url).port), pid: second.pid }]
    // The other has run for long: each warms up alone, or what one has still to compile is taken for the price of two.
    for (const one of both.toReversed()) await split(ours, [one], 2 * extent.warmUp)
    const [alone, together]: [Row[], Row[]] = [[], []]
    for (let n = 0; n < extent.rounds; n += 1) {
      const one = async () => void alone.push(await split(ours, [first], extent.count))
      const two = async () => void together.push(await split(ours, both, extent.count))
      for (const turn of n % 2 === 0 ? [one, two] : [two, one]) await turn()
    }
    const sideOfRows = (name: string, rounds: readonly Row[]): SceneSide => ({
      name,
      rounds,
      median: {
        perSecond: median(rounds.map(({ perSecond = Number.NaN }) => perSecond)),
        cpuUs: median(rounds.map(({ cpuUs: us = Number.NaN }) => us)),
      },
    })
    const sides = [sideOfRows('writ, one broker', alone), sideOfRows('writ, two brokers', together)] as const
    return { ratio: (sides[1].median.cpuUs ?? Number.NaN) / (sides[0].median.cpuUs ?? Number.NaN), sides }
  } finally {
    await second.stop()
  }
}

interface Broker {
  readonly port: number
  readonly pid: number
}

/** The same requests, shared by these brokers. */
async function split(ours: Ours, brokers: readonly Broker[], count: number): Promise<Row> {
  const requests = await ours.readings(count)
  const used = (): number => brokers.reduce((sum, { pid }) => sum + cpuUs(pid), cpuUs(ours.redisPid))
  const refusals = refusalsOf('a broker')
  const [before, started] = [used(), performance.now()]
  await Promise.all(
    brokers.map(({ port }, k) =>
      fire({
        port,
        connections: CONNECTIONS / brokers.length,
        requests: requests.filter((_, n) => n % brokers.length === k),
        seen: refusals.seen,
      }),
    ),
  )
  refusals.judge(requests.length)
  return {
    perSecond: round((requests.length * 1_000) / (performance.now() - started), 0),
    cpuUs: round((used() - before) / requests.length, 1),
  }
}
