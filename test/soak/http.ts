// The client of the load: connections that are kept while it lasts and all closed when it is over, so that what a broker still holds open then is
// its own. Says of every answer how it went, and holds nothing of it.
import { Agent, type IncomingMessage, request } from 'node:http'
import type { Json, ProofKey } from '../../deploy/dev/client.ts'

export interface Answer {
  readonly status: number
  readonly body: Json
  readonly headers: IncomingMessage['headers']
}
export interface Who {
  readonly token: string
  readonly key?: ProofKey
}
export interface Http {
  get(who: Who | undefined, path: string): Promise<Answer>
  post(who: Who, path: string, body?: unknown): Promise<Answer>
  form(path: string, fields: Readonly<Record<string, string>>, key?: ProofKey): Promise<Answer>
  /** Listens to a stream for so long, and leaves; how many messages came. A refusal is its status. */
  stream(who: Who, path: string, forMs: number): Promise<{ readonly status: number; readonly messages: number }>
}
export interface Requests {
  at(url: string, publicUrl: string): Http
  /** How many connections to this address are open from here: a descriptor each, on the other side too. */
  open(url: string): number
  close(): void
}

const parsed = (text: string, media: string): Json => (text !== '' && media.includes('json') ? JSON.parse(text) : text)

export function requests(heard: (method: string, path: string, status: number) => void): Requests {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  const streams = new Map<string, number>()
  const streaming = (url: string, by: 1 | -1): unknown => streams.set(url, (streams.get(url) ?? 0) + by)
  const send = (method: string, url: string, headers: Record<string, string>, body?: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request(url, { method, agent, headers, timeout: 30_000 }, (res) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.on('error', reject)
        res.on('end', () => {
          const status = res.statusCode ?? 0
          heard(method, new URL(url).pathname, status)
          const text = Buffer.concat(chunks).toString()
          resolve({ status, headers: res.headers, body: parsed(text, String(res.headers['content-type'])) })
        })
      })
      sent.on('error', reject)
      sent.on('timeout', () => sent.destroy(new Error(`no answer: ${method} ${url}`)))
      sent.end(body)
    })
  return {
    at: (url, publicUrl) => {
      const by = (who: Who | undefined, method: string, path: string): Record<string, string> =>
        who === undefined
          ? {}
          : {
              authorization: `Bearer ${who.token}`,
              ...(who.key === undefined
                ? {}
                : { dpop: who.key.proof(method, publicUrl + (path.split('?')[0] ?? path), who.token) }),
            }
      return {
        get: (who, path) => send('GET', url + path, by(who, 'GET', path)),
        post: (who, path, body = {}) =>
          send(
            'POST',
            url + path,
            { ...by(who, 'POST', path), 'content-type': 'application/json' },
            JSON.stringify(body),
          ),
        form: (path, fields, key) =>
          send(
            'POST',
            url + path,
            {
              'content-type': 'application/x-www-form-urlencoded',
              ...(key === undefined ? {} : { dpop: key.proof('POST', publicUrl + path) }),
            },
            new URLSearchParams(fields).toString(),
          ),
        stream: (who, path, forMs) =>
          new Promise((resolve, reject) => {
            let [status, messages] = [0, 0]
            let isLeft = false
            const headers = { ...by(who, 'GET', path), accept: 'text/event-stream' }
            streaming(url, 1)
            const sent = request(url + path, { method: 'GET', agent: false, headers }, (res) => {
              heard('GET', `${path.split('?')[0]} (stream)`, res.statusCode ?? 0)
              status = res.statusCode ?? 0
              res.on('data', (chunk: Buffer) => {
                messages += chunk.toString().split('\n\n').length - 1
              })
              res.on('error', () => undefined)
            })
            sent.once('close', () => streaming(url, -1))
            sent.on('error', (thrown) => (isLeft ? undefined : reject(thrown)))
            sent.end()
            setTimeout(() => {
              isLeft = true
              sent.destroy()
              resolve({ status, messages })
            }, forMs)
          }),
      }
    },
    open: (url) => {
      const { host } = new URL(url)
      const here = (all: Readonly<Record<string, readonly unknown[] | undefined>>): number =>
        Object.entries(all).reduce(
          (sum, [name, some]) => sum + (name.startsWith(`${host}:`) ? (some?.length ?? 0) : 0),
          0,
        )
      return here(agent.sockets) + here(agent.freeSockets) + (streams.get(url) ?? 0)
    },
    close: () => agent.destroy(),
  }
}
