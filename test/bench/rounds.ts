// Both sides in one run, one after the other, round by round: what the machine does meanwhile, it does to both. Medians of the rounds.
import { cpuUs, rssBytes } from './gauge.ts'
import { fire, median, quantile, type Shot } from './load.ts'

export const CONNECTIONS = 64

/** A server that is measured, and what it is asked. */
export interface Side {
  readonly name: string
  readonly port: number
  readonly pid: number
  /** Its Redis; absent where it uses none. */
  readonly redisPid: number | undefined
  /** So many requests that have never been sent, all of which it should answer with 2xx. */
  prepare(count: number): Promise<readonly Buffer[]>
}
export interface Round {
  readonly perSecond: number
  /** Microseconds of processor time for each request. */
  readonly serverUs: number
  readonly redisUs: number
  readonly p50: number
  readonly p99: number
  readonly rssMb: number
  /** With 503: none on a machine that has nothing else to do. */
  readonly refused: number
}
export interface Measured {
  readonly name: string
  readonly rounds: readonly Round[]
  readonly median: Round
}
export interface Extent {
  readonly rounds: number
  /** Requests in a round. */
  readonly count: number
  readonly warmUp: number
}

/** Measures all sides; each in each round, in an order that turns. Rejects as `refusalsOf` says. */
export async function alternate(sides: readonly Side[], extent: Extent): Promise<readonly Measured[]> {
  const found = new Map<Side, Round[]>(sides.map((side) => [side, []]))
  for (const side of sides) await once(side, extent.warmUp)
  for (let n = 0; n < extent.rounds; n += 1) {
    const turned = n % 2 === 0 ? sides : sides.toReversed()
    for (const side of turned) found.get(side)?.push(await once(side, extent.count))
  }
  return sides.map((side) => {
    const rounds = found.get(side) ?? []
    return { name: side.name, rounds, median: medianOf(rounds) }
  })
}

async function once(side: Side, count: number): Promise<Round> {
  const requests = await side.prepare(count)
  const before = used(side)
  const refusals = refusalsOf(side.name)
  const { seconds, ms } = await fire({ port: side.port, connections: CONNECTIONS, requests, seen: refusals.seen })
  const after = used(side)
  const refused = refusals.judge(requests.length)
  return {
    perSecond: round(ms.length / seconds, 0),
    serverUs: round((after.server - before.server) / ms.length, 1),
    redisUs: round((after.redis - before.redis) / ms.length, 1),
    p50: round(quantile(ms, 0.5), 2),
    p99: round(quantile(ms, 0.99), 2),
    rssMb: round(rssBytes(side.pid) / 1_048_576, 0),
    refused,
  }
}

/** Of what is asked so many may be refused with 503: an overloaded machine holds up Redis for longer than a broker waits. Of few, one such moment is many. */
const mostRefused = (asked: number): number => asked * (asked < 500 ? 0.5 : 0.05)

/** Counts what is refused. Anything but a few 503 is a mistake of the bench, or a machine that is too busy: then `judge` throws. */
export function refusalsOf(name: string) {
  let refused = 0
  let other = ''
  return {
    seen: ({ status, text }: Shot): void => {
      if (status === 503) refused += 1
      else if (other === '' && (status < 200 || status > 299)) other = `${status} ${text.slice(0, 300)}`
    },
    judge: (asked: number): number => {
      if (other !== '') throw new Error(`${name} refused: ${other}`)
      if (refused > mostRefused(asked))
        throw new Error(`this machine is too busy: ${name} answered 503 to ${refused} of ${asked} requests`)
      return refused
    },
  }
}

const used = ({ pid, redisPid }: Side) => ({
  server: cpuUs(pid),
  redis: redisPid === undefined ? 0 : cpuUs(redisPid),
})

function medianOf(rounds: readonly Round[]): Round {
  const of = (member: keyof Round, digits: number) => round(median(rounds.map((one) => one[member])), digits)
  return {
    perSecond: of('perSecond', 0),
    serverUs: of('serverUs', 1),
    redisUs: of('redisUs', 1),
    p50: of('p50', 2),
    p99: of('p99', 2),
    rssMb: of('rssMb', 0),
    refused: of('refused', 0),
  }
}

export const round = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits

/** Of the server and its Redis together. */
export const cpuOf = ({ serverUs, redisUs }: Round): number => serverUs + redisUs
