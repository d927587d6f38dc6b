// A client that sends what it is given, also what is no HTTP, over connections that are kept. One request at a time on each.
import { connect, type Socket } from 'node:net'
import type { WholeRequest } from './bad-values.ts'

export interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  readonly ms: number
}
export interface RawClient {
  /** Rejects where nothing, or nothing whole, comes back within ten seconds. */
  send(sent: WholeRequest): Promise<Got>
  close(): void
}

const PATIENCE_MS = 10_000

export function bytesToSend({ method, target, headers, body }: WholeRequest): Buffer {
  const length = body === undefined ? [] : [`Content-Length: ${body.length}`]
  const empty = body === undefined && method === 'POST' ? ['Content-Length: 0'] : []
  const lines = [
    `${method} ${target} HTTP/1.1`,
    'Host: writ.example',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...length,
    ...empty,
  ]
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return body === undefined ? head : Buffer.concat([head, body])
}

interface Whole {
  readonly got: Omit<Got, 'ms'>
  readonly close: boolean
}

/** The answer at the beginning of these bytes, when it is all there. `ended`: no more comes. */
export function answerIn(bytes: Buffer, ended: boolean): Whole | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [line = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(line.split(' ')[1])
  // An interim answer: the real one follows.
  if (status < 200) return answerIn(bytes.subarray(end + 4), ended)
  const headers = Object.fromEntries(
    lines.map((text) => [text.slice(0, text.indexOf(':')).toLowerCase(), text.slice(text.indexOf(':') + 1).trim()]),
  )
  const body = bytes.subarray(end + 4)
  const close = headers.connection?.toLowerCase() === 'close'
  const done = (text: string): Whole => ({ got: { status, headers, text }, close })
  if (status === 204 || status === 304) return done('')
  const length = headers['content-length']
  if (length === undefined) return ended ? done(body.toString()) : undefined
  return body.length < Number(length) ? undefined : done(body.toString('utf8', 0, Number(length)))
}

export function rawClient(port: number, host = '127.0.0.1'): RawClient {
  let socket: Socket | undefined
  const open = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const fresh = connect({ port, host, noDelay: true })
      fresh.once('error', reject)
      fresh.once('connect', () => {
        fresh.off('error', reject)
        fresh.on('error', () => undefined)
        resolve(fresh)
      })
    })
  const once = async (sent: Buffer): Promise<Whole> => {
    const here = socket === undefined || socket.destroyed || !socket.writable ? await open() : socket
    socket = here
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      const over = (work: () => void): void => {
        clearTimeout(timer)
        here.off('data', data)
        here.off('close', closed)
        work()
      }
      const data = (chunk: Buffer): void => {
        chunks.push(chunk)
        const found = answerIn(Buffer.concat(chunks), false)
        if (found !== undefined) over(() => resolve(found))
      }
      const closed = (): void => {
        const found = answerIn(Buffer.concat(chunks), true)
        over(() => (found === undefined ? reject(new Error('closed without an answer')) : resolve(found)))
      }
      const timer = setTimeout(() => {
        here.destroy()
        over(() => reject(new Error('no answer within ten seconds')))
      }, PATIENCE_MS)
      here.on('data', data)
      here.once('close', closed)
      here.write(sent)
    })
  }
  return {
    send: async (sent) => {
      const bytes = bytesToSend(sent)
      const isKept = socket !== undefined && !socket.destroyed
      const started = performance.now()
      // A kept connection may be closed from the other side in the moment of sending.
      const { got, close } = await once(bytes).catch((thrown: unknown) => {
        if (!isKept) throw thrown
        socket?.destroy()
        return once(bytes)
      })
      if (close) {
        socket?.destroy()
        socket = undefined
      }
      return { ...got, ms: performance.now() - started }
    },
    close: () => socket?.destroy(),
  }
}
