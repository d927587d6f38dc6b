// S12: what an exchange costs with 10,000, 100,000 and 1,000,000 live grants, measured in turn on two stores of that size; and on two brokers that
// share one Redis by one alone, beside two floors by one.
import { startFloor } from '../floor-side.ts'
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
    const floors = await twoFloors(small, scope, extent)
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
      sides: [...atMiddle.map(sideOf), ...atLarge.map(sideOf), ...two.sides, ...floors.sides],
      notes: [
        'CPU is that of the brokers and of Redis, for each exchange',
        `two brokers share the requests; ${CONNECTIONS} connections in all on either side`,
        `of two floors by one: ${round(floors.ratio, 2)}, which is what a second process takes on this machine`,
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

/** Servers that share one Redis, and what they are asked. */
interface Pair {
  readonly name: string
  readonly servers: readonly [Server, Server]
  readonly redisPid: number
  prepare(count: number): Promise<readonly Buffer[]>
}
interface Server {
  readonly port: number
  readonly pid: number
}
interface Two {
  readonly ratio: number
  readonly sides: readonly SceneSide[]
}

async function twoBrokers(ours: Ours, { say }: Scope, extent: Extent): Promise<Two> {
  say('S12: one broker and two on one Redis, in turn')
  const second = await ours.startAnother(1)
  try {
    return await twoByOne(extent, {
      name: 'writ, broker',
      servers: [
        { port: ours.port, pid: ours.pid },
        { port: Number(new URL(second.url).port), pid: second.pid },
      ],
      redisPid: ours.redisPid,
      prepare: ours.readings,
    })
  } finally {
    await second.stop()
  }
}

/** What the machine itself takes for a second process. */
async function twoFloors(ours: Ours, { say }: Scope, extent: Extent): Promise<Two> {
  say('S12: one floor and two on one Redis, in turn')
  const floor = await startFloor(ours)
  try {
    const second = await floor.startAnother()
    try {
      const { port, pid, redisPid, prepare } = floor.side
      return await twoByOne(extent, { name: 'floor, process', servers: [{ port, pid }, second], redisPid, prepare })
    } finally {
      await second.stop()
    }
  } finally {
    await floor.stop()
  }
}

async function twoByOne(extent: Extent, pair: Pair): Promise<Two> {
  const [first] = pair.servers
  // One may have run for long: each warms up alone, or what one has still to compile is taken for the price of two.
  for (const one of pair.servers.toReversed()) await split(pair, [one], 2 * extent.warmUp)
  const [alone, together]: [Row[], Row[]] = [[], []]
  for (let n = 0; n < extent.rounds; n += 1) {
    const one = async () => void alone.push(await split(pair, [first], extent.count))
    const two = async () => void together.push(await split(pair, pair.servers, extent.count))
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
  const sides = [sideOfRows(`${pair.name}: one`, alone), sideOfRows(`${pair.name}: two`, together)] as const
  return { ratio: (sides[1].median.cpuUs ?? Number.NaN) / (sides[0].median.cpuUs ?? Number.NaN), sides }
}

/** The same requests, shared by these servers. */
async function split({ redisPid, prepare }: Pair, servers: readonly Server[], count: number): Promise<Row> {
  const requests = await prepare(count)
  const used = (): number => servers.reduce((sum, { pid }) => sum + cpuUs(pid), cpuUs(redisPid))
  const refusals = refusalsOf('one of them')
  const [before, started] = [used(), performance.now()]
  await Promise.all(
    servers.map(({ port }, k) =>
      fire({
        port,
        connections: CONNECTIONS / servers.length,
        requests: requests.filter((_, n) => n % servers.length === k),
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
