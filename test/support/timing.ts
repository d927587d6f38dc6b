// Whether two kinds of request can be told apart by how long they take: asked in turns at random, over connections that stay open, and
// compared by their medians and by Welch's t on what is left without the slowest tenth, which is the machine's and not ours.
import { Agent, request } from 'node:http'

interface Timed {
  readonly medianMs: number
  readonly meanMs: number
  readonly variance: number
  readonly count: number
}
export interface Compared {
  readonly deltaMs: number
  readonly welch: number
}

export interface Request {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** How long each of `many` requests of each kind took, `lanes` at a time, after as many to warm up. */
export async function compared(
  port: number,
  one: Request,
  other: Request,
  many: number,
  lanes: number,
): Promise<Compared> {
  const agent = new Agent({ keepAlive: true, maxSockets: lanes })
  const took: readonly [number[], number[]] = [[], []]
  const lane = async (): Promise<void> => {
    for (let n = 0; n < (2.5 * many) / lanes; n += 1) {
      const kind = Math.random() < 0.5 ? 0 : 1
      const ms = await timed(agent, port, kind === 0 ? one : other)
      if (n >= (0.5 * many) / lanes) took[kind].push(ms)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  agent.destroy()
  const [first, second] = took.map(figures) as [Timed, Timed]
  return {
    deltaMs: first.medianMs - second.medianMs,
    welch: (first.meanMs - second.meanMs) / Math.sqrt(first.variance / first.count + second.variance / second.count),
  }
}

function figures(all: readonly number[]): Timed {
  const sorted = all.toSorted((a, b) => a - b)
  const kept = sorted.slice(0, Math.floor(sorted.length * 0.9))
  const meanMs = kept.reduce((sum, ms) => sum + ms, 0) / kept.length
  const variance = kept.reduce((sum, ms) => sum + (ms - meanMs) ** 2, 0) / (kept.length - 1)
  return { medianMs: sorted[sorted.length >> 1] ?? Number.NaN, meanMs, variance, count: kept.length }
}

const timed = (agent: Agent, port: number, { method, path, headers, body }: Request): Promise<number> =>
  new Promise((resolve, reject) => {
    const started = performance.now()
    const length = body === '' ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
    const req = request({ agent, host: '127.0.0.1', port, method, path, headers: { ...headers, ...length } }, (res) => {
      res.resume()
      res.once('end', () => resolve(performance.now() - started))
    })
    req.once('error', reject)
    req.end(body)
  })
