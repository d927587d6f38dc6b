// A forge's API on this machine: JSON by path, only for the right token, and every way in which an answer can fail to come.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: unknown
  /** Sent instead of the body's JSON. */
  readonly raw?: string | Buffer
  /** The connection ends after half of it. */
  readonly cut?: boolean
}
/** Undefined never answers. */
export type Route = (query: URLSearchParams) => Reply | undefined

export interface ForgeServer {
  readonly url: string
  readonly token: string
  /** Paths with their queries, in order. */
  readonly asked: string[]
  readonly routes: Map<string, Route>
  /** Stands in for every route while it is there. */
  setInstead(route: Route | undefined): void
  /** Connections that wait for an answer. */
  waiting(): number
  stop(): Promise<void>
}

/** Speaks TLS where it has a certificate, which is for `localhost`. */
export async function startForgeServer(
  token: string,
  tls?: { readonly key: string; readonly cert: string },
): Promise<ForgeServer> {
  const asked: string[] = []
  const routes = new Map<string, Route>()
  let instead: Route | undefined
  let hanging = 0
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname, search, searchParams } = new URL(request.url ?? '/', 'http://forge')
    asked.push(`${request.method} ${pathname}${search}`)
    const isKnown = request.headers.authorization === `Bearer ${token}` && request.headers['user-agent'] !== undefined
    const route = instead ?? routes.get(pathname)
    const notFound: Route = () => ({ status: 404, body: { message: 'Not Found', status: '404' } })
    const reply = isKnown ? (route ?? notFound)(searchParams) : { status: 401, body: { message: 'Bad credentials' } }
    if (reply === undefined) {
      hanging += 1
      response.on('close', () => {
        hanging -= 1
      })
      return
    }
    const bytes = Buffer.from(reply.raw ?? JSON.stringify(reply.body))
    const headers = { 'content-type': 'application/json; charset=utf-8', ...reply.headers }
    response.writeHead(reply.status ?? 200, { ...headers, 'content-length': bytes.length })
    if (reply.cut) response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy())
    else response.end(bytes)
  }
  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
  await new Promise<void>((settle) => {
    server.listen(0, tls === undefined ? '127.0.0.1' : 'localhost', settle)
  })
  return {
    url: `${tls === undefined ? 'http://127.0.0.1' : 'https://localhost'}:${(server.address() as AddressInfo).port}`,
    token,
    asked,
    routes,
    setInstead: (route) => {
      instead = route
    },
    waiting: () => hanging,
    stop: () =>
      new Promise((settle) => {
        server.close(() => settle())
        server.closeAllConnections()
      }),
  }
}

/** One page of a list, with the Link header of the two forges. */
export function paged(
  all: readonly unknown[],
  query: URLSearchParams,
  { base, cursor = false }: { readonly base: string; readonly cursor?: boolean },
): Reply {
  const size = Number(query.get('per_page') ?? 30)
  const from = cursor ? Number(query.get('after') ?? 0) : (Number(query.get('page') ?? 1) - 1) * size
  const more = all.length > from + size
  const next = new URLSearchParams(query)
  if (cursor) next.set('after', String(from + size))
  else next.set('page', String(from / size + 2))
  const first = `<${base}?per_page=${size}>; rel="first"`
  return {
    headers: { link: more ? `<${base}?${next}>; rel="next", ${first}` : first },
    body: all.slice(from, from + size),
  }
}
