// Carries node-vault's requests in place of its default HTTP library, whose errors hold the token, which follows redirects and proxies
// of the environment with it, cannot be cut off, and answers broken JSON as text.
// Invariant: what is thrown here holds a word and whether the request may have been seen; nothing of the request or the answer.
import http from 'node:http'
import https from 'node:https'
import { NoAnswer } from './failures.ts'

export interface Address {
  readonly url: string
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca: string | undefined
}

/** As node-vault calls it. `signal` is ours: it travels through node-vault's per-call options. */
interface Sending {
  readonly method: string
  readonly uri: string
  readonly headers: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly signal: AbortSignal
}
interface Answer {
  readonly statusCode: number
  readonly body: unknown
  readonly request: { readonly path: string }
}
export interface Transport {
  readonly send: (options: Sending) => Promise<Answer>
  close(): void
}

const MOST_BYTES = 1_048_576
/** Below the idle time after which servers and balancers commonly hang up, so that a request is not sent into a closing connection. */
const IDLE_MS = 30_000

export function transport(address: Address, connections: number, mostBytes = MOST_BYTES): Transport {
  const secure = address.url.startsWith('https:')
  const options = { keepAlive: true, maxSockets: connections, timeout: IDLE_MS }
  const agent = secure
    ? new https.Agent({
        ...options,
        minVersion: 'TLSv1.2',
        rejectUnauthorized: true,
        ...(address.ca === undefined ? {} : { ca: address.ca }),
      })
    : new http.Agent(options)

  const send = ({ method, uri, headers, json, signal }: Sending): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const text = json !== null && typeof json === 'object' ? JSON.stringify(json) : undefined
      const body =
        text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      // Seen by Vault, perhaps: true from the moment that there is a connection to write to.
      let sent = false
      let answering = false
      const fail = (reason: string, stale = false): void => reject(new NoAnswer(reason, sent, stale))
      const request = (secure ? https : http).request(uri, { method, agent, headers: { ...headers, ...body } })
      const cut = (): void => {
        request.destroy()
        fail('timeout')
      }
      signal.addEventListener('abort', cut, { once: true })
      const settle = (): void => signal.removeEventListener('abort', cut)
      request.on('close', settle)
      request.on('socket', (socket) => {
        if (!socket.connecting) sent = true
        else
          socket.once(secure ? 'secureConnect' : 'connect', () => {
            sent = true
          })
      })
      request.on('error', (error: NodeJS.ErrnoException) => fail(reasonOf(error), request.reusedSocket && !answering))
      request.on('response', (response) => {
        answering = true
        const parts: Buffer[] = []
        let size = 0
        response.on('data', (part: Buffer) => {
          size += part.length
          if (size > mostBytes) {
            request.destroy()
            fail('answer_too_large')
          } else parts.push(part)
        })
        response.on('error', () => fail('cut_off'))
        response.on('aborted', () => fail('cut_off'))
        response.on('end', () => {
          const answer = bodyOf(Buffer.concat(parts))
          if (answer === undefined) fail('unreadable')
          else resolve({ statusCode: response.statusCode ?? 0, body: answer.value, request: { path: request.path } })
        })
      })
      if (signal.aborted) cut()
      else request.end(text)
    })
  return { send, close: () => agent.destroy() }
}

function bodyOf(bytes: Buffer): { readonly value: unknown } | undefined {
  if (bytes.length === 0) return { value: undefined }
  try {
    return { value: JSON.parse(bytes.toString('utf8')) }
  } catch {
    // A proxy's page or a body that was cut short. The parser's message would quote it.
    return undefined
  }
}

/** Node's own error codes are words; anything else might not be. */
const reasonOf = (error: NodeJS.ErrnoException): string =>
  typeof error.code === 'string' && /^[A-Z][A-Z0-9_]{2,40}$/.test(error.code)
    ? error.code.toLowerCase()
    : 'connection_failed'
