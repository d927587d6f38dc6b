// The pipeline, in order, on one screen: an id and headers, the routes, and what is said where none fits. Invariant: every answer
// goes out through `send`, complete, with the security headers, and `no-store` unless the answer says otherwise.
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import express, { type ErrorRequestHandler, type Request, type Response } from 'express'
import { isBrokerError } from '../domain/errors.ts'
import { hasBody, isDrainable, readText } from './body.ts'
import type { Certificate } from './certificate.ts'
import { type Answer, DoorRefusal, type Endpoint, type Incoming } from './endpoint.ts'
import { parsePairs } from './pairs.ts'
import { problem } from './problem.ts'

/** What the pipeline tells the outside about itself. Names and values only, never a header, a body or a query. */
export interface Watch {
  /** A request has come in; each is answered, sooner or later. */
  asked?(route: string): void
  answered(route: string, method: string, status: number, seconds: number): void
  refused(route: string, code: string): void
  /** The broker's or an upstream's fault, or a refusal with a cause that the caller is not told; said once, here. */
  failed(failure: {
    readonly requestId: string
    readonly route: string
    readonly address: string
    readonly status: number
    readonly thrown: unknown
  }): void
}
export type Traced = (
  call: {
    readonly route: string
    readonly path: string
    readonly method: string
    readonly traceparent: readonly string[]
  },
  work: () => Promise<Answer>,
) => Promise<Answer>
export interface AppPorts {
  readonly endpoints: readonly Endpoint[]
  /** Unique; what the client sends as an id is not trusted. */
  newRequestId(): string
  /** Monotonic milliseconds, for durations only. */
  ticks(): number
  readonly watch: Watch
  /** Runs the answering inside a span; absent where nothing is traced. */
  readonly traced?: Traced
  /** The client's address, from the peer's and the headers. */
  addressOf(peer: string | undefined, header: (name: string) => readonly string[]): string
  /** Whether clients reach us by https: then they are told to stay there. */
  readonly https: boolean
  /** Aborted when the broker stops: whoever waits is answered. */
  readonly stopping: AbortSignal
}

export function buildApp(p: AppPorts): express.Express {
  const app = express()
  app.disable('x-powered-by').disable('etag').set('query parser', false)
  app.enable('case sensitive routing').enable('strict routing')
  app.use((req, res, next) => (hasOneHost(req) ? next() : refuse(p, req, res, new DoorRefusal('malformed', ONE_HOST))))
  for (const path of new Set(p.endpoints.map((endpoint) => endpoint.path))) {
    const here = p.endpoints.filter((endpoint) => endpoint.path === path)
    const route = app.route(path)
    for (const endpoint of here)
      route[endpoint.method === 'GET' ? 'get' : 'post']((req, res) => serve(p, endpoint, req, res))
    route.all((req, res) => refuseMethod(p, here, req, res))
  }
  app.use((req, res) => refuse(p, req, res, new DoorRefusal('no_such_route', 'There is nothing at this address.')))
  app.use(((thrown, req, res, _next) => refuse(p, req, res, unrouted(thrown))) satisfies ErrorRequestHandler)
  return app
}

/** RFC 9112 §3.2. Nothing here reads it, but two who stand before us may each have read another one. Node only counts none. */
const hasOneHost = (req: Request): boolean => {
  const hosts = req.headersDistinct.host?.length ?? 0
  return hosts === 1 || (hosts === 0 && req.httpVersion === '1.0')
}
const ONE_HOST = 'Send one Host header.'

/** A listener with every time limit set. A waiting request may last a minute, so an idle socket lives a little longer. */
export function buildServer(app: express.Express, tls?: Certificate): Server | TlsServer {
  const limits = { headersTimeout: 10_000, requestTimeout: 20_000, keepAliveTimeout: 65_000, maxHeaderSize: 32_768 }
  const options = { ...limits, connectionsCheckingInterval: 5_000, requireHostHeader: false }
  const server =
    tls === undefined
      ? createServer(options, app)
      : createTlsServer({ ...options, ...tls, handshakeTimeout: 10_000 }, app)
  server.maxHeadersCount = 64
  server.setTimeout(90_000)
  return server
}

async function serve(p: AppPorts, endpoint: Endpoint, req: Request, res: Response): Promise<void> {
  const started = p.ticks()
  p.watch.asked?.(endpoint.name)
  const requestId = p.newRequestId()
  const work = () => answerOf(p, endpoint, requestId, req, res)
  const { name: route, path } = endpoint
  const traceparent = req.headersDistinct.traceparent ?? []
  const answer = await (p.traced?.({ route, path, method: req.method, traceparent }, work) ?? work())
  if (answer.stream === undefined) send(p, req, res, answer, requestId)
  else stream(p, endpoint, req, res, answer, answer.stream, requestId)
  p.watch.answered(endpoint.name, req.method, answer.status, (p.ticks() - started) / 1_000)
}

async function answerOf(
  p: AppPorts,
  endpoint: Endpoint,
  requestId: string,
  req: Request,
  res: Response,
): Promise<Answer> {
  try {
    const answer = await endpoint.answer(incomingOf(p, endpoint, requestId, req, res))
    if (answer.code !== undefined) p.watch.refused(endpoint.name, answer.code)
    return answer
  } catch (thrown) {
    const answer = endpoint.refuse(thrown, requestId)
    p.watch.refused(endpoint.name, answer.code ?? 'internal')
    const hasCause = isBrokerError(thrown) && thrown.cause !== undefined
    if (answer.status >= 500 || hasCause)
      p.watch.failed({ requestId, route: endpoint.name, address: addressOf(p, req), status: answer.status, thrown })
    return answer
  }
}

function incomingOf(p: AppPorts, endpoint: Endpoint, requestId: string, req: Request, res: Response): Incoming {
  const mark = req.url.indexOf('?')
  const text = () => readText(req, endpoint.takes)
  return {
    method: req.method,
    path: mark < 0 ? req.url : req.url.slice(0, mark),
    params: req.params as Readonly<Record<string, string>>,
    query: mark < 0 ? '' : req.url.slice(mark + 1),
    requestId,
    get address() {
      return addressOf(p, req)
    },
    header: (name) => req.headersDistinct[name] ?? [],
    text,
    pairs: async () => parsePairs(await text()),
    gone: () => goneSignal(res, p.stopping),
  }
}

const addressOf = (p: AppPorts, req: Request): string =>
  p.addressOf(req.socket.remoteAddress, (name) => req.headersDistinct[name] ?? [])

/** By hand: `AbortSignal.any` keeps a trace of every request in a signal that lives as long as the process (measured on Node 26). */
function goneSignal(res: Response, stopping: AbortSignal): AbortSignal {
  // Who has left closes nothing any more: nothing would ever be told, nor taken off the other signal again.
  if (res.destroyed) return AbortSignal.abort()
  const gone = new AbortController()
  const stop = () => gone.abort()
  stopping.addEventListener('abort', stop, { once: true })
  res.once('close', () => {
    stopping.removeEventListener('abort', stop)
    stop()
  })
  if (stopping.aborted) stop()
  return gone.signal
}

function refuseMethod(p: AppPorts, here: readonly Endpoint[], req: Request, res: Response): void {
  const methods = here.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
  const thrown = new DoorRefusal('method_not_allowed', 'This method has no meaning here.', {
    Allow: methods.join(', '),
  })
  refuse(p, req, res, thrown, here[0])
}

/** What express itself throws is a path that cannot be decoded; anything else is a bug. */
const unrouted = (thrown: unknown): unknown =>
  thrown instanceof URIError ? new DoorRefusal('no_such_route', 'There is nothing at this address.') : thrown

function refuse(p: AppPorts, req: Request, res: Response, thrown: unknown, endpoint?: Endpoint): void {
  const requestId = p.newRequestId()
  const answer = endpoint === undefined ? problem(thrown, requestId) : endpoint.refuse(thrown, requestId)
  const route = endpoint?.name ?? 'none'
  if (!(thrown instanceof DoorRefusal))
    p.watch.failed({ requestId, route, address: addressOf(p, req), status: answer.status, thrown })
  p.watch.refused(route, answer.code ?? 'internal')
  p.watch.answered(route, METHODS.has(req.method) ? req.method : 'other', answer.status, 0)
  send(p, req, res, answer, requestId)
}
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** A stream that breaks ends: whoever listens comes again with the id of the last event it saw. */
function stream(
  p: AppPorts,
  endpoint: Endpoint,
  req: Request,
  res: Response,
  answer: Answer,
  run: NonNullable<Answer['stream']>,
  requestId: string,
): void {
  const gone = req.method === 'HEAD' ? AbortSignal.abort() : goneSignal(res, p.stopping)
  const at = { requestId, route: endpoint.name, address: addressOf(p, req), status: answer.status }
  if (!res.destroyed) {
    // Nothing follows on this connection: one that is kept would be waited for when the broker stops.
    const headers = { ...headersOf(p, answer, requestId), 'X-Accel-Buffering': 'no', Connection: 'close' }
    res.writeHead(answer.status, headers)
    if (req.method !== 'HEAD') res.flushHeaders()
  }
  const write = (text: string): Promise<void> =>
    new Promise((resolve) => {
      if (gone.aborted || res.write(text)) return resolve()
      const done = () => {
        res.off('drain', done)
        gone.removeEventListener('abort', done)
        resolve()
      }
      res.once('drain', done)
      gone.addEventListener('abort', done, { once: true })
    })
  void run({ write, gone })
    .catch((thrown: unknown) => p.watch.failed({ ...at, thrown }))
    .finally(() => res.end())
}

const headersOf = (p: AppPorts, answer: Answer, requestId: string): Record<string, string | number | string[]> => ({
  ...SECURITY,
  ...(p.https ? HSTS : {}),
  'Content-Type': answer.media,
  'Cache-Control': 'no-store',
  'X-Request-Id': requestId,
  ...(answer.headers as Record<string, string | string[]> | undefined),
})

function send(p: AppPorts, req: Request, res: Response, answer: Answer, requestId: string): void {
  if (res.headersSent || res.destroyed) return
  const headers = headersOf(p, answer, requestId)
  // A body that nobody will read must not be taken for the next request, nor be drained without end.
  if (p.stopping.aborted || (hasBody(req) && !req.readableEnded && !isDrainable(req))) headers.Connection = 'close'
  // RFC 9110 §8.6: an answer without content says nothing of its length.
  if (answer.status === 204) delete headers['Content-Type']
  else headers['Content-Length'] = Buffer.byteLength(answer.text)
  res.writeHead(answer.status, headers)
  res.end(answer.text)
}

export const SECURITY = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}
const HSTS = { 'Strict-Transport-Security': 'max-age=31536000; includeSubDomains' }
