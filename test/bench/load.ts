// Load: many connections to one HTTP/1.1 server, each with one request under way at a time, every request made beforehand. By hand on sockets,
// because it shares two cores with what it measures, and an HTTP client costs more than the server that is measured.
import { connect, type Socket } from 'node:net'

export interface Shot {
  readonly status: number
  readonly ms: number
  readonly text: string
}
export interface Volley {
  /** From the first byte sent to the last answer. */
  readonly seconds: number
  /** Of each request, in the order of their ends, in milliseconds. */
  readonly ms: Float64Array
  /** How many answers had which status. */
  readonly statuses: ReadonlyMap<number, number>
}
export interface Aim {
  readonly port: number
  readonly connections: number
  readonly requests: readonly Buffer[]
  /** Told of each answer, with the place of its request. */
  readonly seen?: (shot: Shot, place: number) => void
  /** So many a second, evenly; as fast as it goes where absent. */
  readonly perSecond?: number
  /** Stops early when it says so. */
  readonly over?: () => boolean
}

/** One request as it goes over the wire. */
export function requestBytes(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = body === undefined ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  return Buffer.from(
    `${method} ${path} HTTP/1.1\r\n${headers.host === undefined ? 'host: 127.0.0.1\r\n' : ''}${lines.join('')}${length}\r\n${body ?? ''}`,
  )
}

/** Sends all of them and resolves when the last is answered. Rejects when a connection breaks: an answer that is missing counts for nothing. */
export async function fire({ port, connections, requests, seen, perSecond, over }: Aim): Promise<Volley> {
  const ms = new Float64Array(requests.length)
  const statuses = new Map<number, number>()
  const sockets = await Promise.all(Array.from({ length: Math.min(connections, requests.length) }, () => opened(port)))
  let next = 0
  let done = 0
  const started = performance.now()
  try {
    await Promise.all(
      sockets.map(async (socket) => {
        const ask = asking(socket)
        for (;;) {
          if (next >= requests.length || over?.()) return
          const place = next
          next += 1
          const at = perSecond === undefined ? undefined : started + (place * 1_000) / perSecond
          // Where every connection is taken a request waits, and that is part of how long it takes.
          const waited = at === undefined ? 0 : Math.max(0, performance.now() - at)
          if (at !== undefined) await until(at)
          const bytes = requests[place]
          if (bytes === undefined) return
          const shot = await ask(bytes)
          ms[done] = shot.ms + waited
          done += 1
          statuses.set(shot.status, (statuses.get(shot.status) ?? 0) + 1)
          seen?.(waited === 0 ? shot : { ...shot, ms: shot.ms + waited }, place)
        }
      }),
    )
  } finally {
    for (const socket of sockets) socket.destroy()
  }
  return { seconds: (performance.now() - started) / 1_000, ms: ms.subarray(0, done), statuses }
}

const until = (at: number): Promise<void> | undefined => {
  const left = at - performance.now()
  return left > 1 ? new Promise((resolve) => setTimeout(resolve, left)) : undefined
}

const opened = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })

/** One request at a time on this connection. */
function asking(socket: Socket): (bytes: Buffer) => Promise<Shot> {
  let heard = ''
  let started = 0
  let answered: ((shot: Shot) => void) | undefined
  let broken: ((why: Error) => void) | undefined
  // Bytes, not characters: lengths are counted in bytes.
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    heard = heard === '' ? chunk : heard + chunk
    const answer = answerIn(heard)
    if (answer === undefined) return
    heard = ''
    answered?.({ ...answer, ms: performance.now() - started })
  })
  const fail = (why?: Error): void => broken?.(why ?? new Error('the server closed a connection'))
  socket.on('error', fail)
  socket.on('close', () => fail())
  return (bytes) =>
    new Promise((resolve, reject) => {
      answered = resolve
      broken = reject
      started = performance.now()
      socket.write(bytes)
    })
}

/** The answer, once it is whole. Servers here say how long it is, or send it in chunks. */
function answerIn(heard: string): { readonly status: number; readonly text: string } | undefined {
  const end = heard.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const status = Number(heard.slice(9, 12))
  const [, length] = /\r\ncontent-length: ?(\d+)/i.exec(heard.slice(0, end)) ?? []
  const text = heard.slice(end + 4)
  if (length !== undefined) return text.length >= Number(length) ? { status, text } : undefined
  if (status === 204) return { status, text: '' }
  return text.endsWith('0\r\n\r\n') ? { status, text } : undefined
}

/** The value below which this part of all lie. */
export function quantile(values: Float64Array | readonly number[], part: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(half)] ?? Number.NaN)
    : ((sorted[half - 1] ?? Number.NaN) + (sorted[half] ?? Number.NaN)) / 2
}
