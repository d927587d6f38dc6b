// The command line on a bench: a machine whose terminal, clock and answers a test sets, and a broker that answers what a test says, over real
// HTTP. What it shows of grants is made by the broker's own code, so that the wire is the real one.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bodyOf, close, listen } from '../../deploy/dev/loopback.ts'
import { digestHere } from '../../src/cli/intent-of-wire.ts'
import type { Machine } from '../../src/cli/machine.ts'
import { main } from '../../src/cli/writ.ts'
import type { Status } from '../../src/domain/lifecycle.ts'
import { showGrant } from '../../src/http/show.ts'
import type { GrantAnswer } from '../../src/http/wire.ts'
import { grantIn, NOW } from '../doors/door.ts'

export interface Received {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
}
export interface Sent {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** In place of a body in JSON. */
  readonly text?: string
  /** Cuts the connection in place of an answer, or after the text. */
  readonly cut?: boolean
}
/** `GET /v1/grants/{id}` and the like; without the query. */
export type Routes = Readonly<Record<string, (received: Received) => Sent>>

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
  readonly asked: readonly string[]
  readonly browsed: readonly string[]
  readonly pauses: readonly number[]
}
export interface Running {
  readonly terminal?: Partial<Machine['terminal']>
  readonly env?: Readonly<Record<string, string>>
  readonly answers?: readonly string[]
  readonly input?: string
  readonly now?: () => number
  /** Told everything that is written to stderr, as it comes. */
  readonly watch?: (text: string) => void
  readonly interrupted?: AbortSignal
  readonly realPauses?: boolean
}
export interface Bench {
  readonly url: string
  readonly home: string
  readonly received: Received[]
  routes(routes: Routes): void
  run(args: readonly string[], options?: Running): Promise<Ran>
  stop(): Promise<void>
}

export const TOKEN = 'a-token-of-the-bench'

export async function bench(): Promise<Bench> {
  const received: Received[] = []
  let routes: Routes = {}
  const server = createServer(async (request, response) => {
    const text = await bodyOf(request)
    const path = request.url ?? ''
    const one = {
      method: request.method ?? '',
      path,
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    }
    received.push(one)
    const route = routes[`${one.method} ${path.split('?')[0]}`]
    const sent = route === undefined ? problem('no_such_route', 404) : route(one)
    if (sent.cut === true && sent.text === undefined) {
      request.socket.destroy()
      return
    }
    response.writeHead(sent.status ?? 200, { 'content-type': 'application/json', ...sent.headers })
    if (sent.cut === true) response.write(sent.text, () => request.socket.destroy())
    else response.end(sent.text ?? JSON.stringify(sent.body))
  })
  const url = await listen(server, 0)
  const home = mkdtempSync(join(tmpdir(), 'writ-cli-'))
  return {
    url,
    home,
    received,
    routes: (next) => {
      routes = next
      received.length = 0
    },
    run: (args, options = {}) =>
      runOn(args, { ...options, env: { WRIT_BROKER: url, WRIT_TOKEN: TOKEN, ...options.env } }, home),
    stop: async () => {
      await close(server)
      rmSync(home, { recursive: true })
    },
  }
}

export async function runOn(args: readonly string[], options: Running, home: string): Promise<Ran> {
  const said = { out: '', err: '' }
  const asked: string[] = []
  const browsed: string[] = []
  const pauses: number[] = []
  const answers = [...(options.answers ?? [])]
  const machine: Machine = {
    env: options.env ?? {},
    home: join(home, 'writ'),
    terminal: { input: false, output: false, errors: false, ...options.terminal },
    write: (text) => {
      said.out += text
    },
    writeError: (text) => {
      said.err += text
      options.watch?.(said.err)
    },
    ask: async (question) => {
      asked.push(question)
      return answers.shift()
    },
    input: async () => options.input ?? '',
    now: options.now ?? (() => Date.now()),
    pause: async (ms) => {
      pauses.push(ms)
      await new Promise((resolve) => setTimeout(resolve, options.realPauses === true ? ms : 0))
    },
    newId: () => randomUUID(),
    browse: async (address) => browsed.push(address) > 0,
    interrupted: options.interrupted ?? new AbortController().signal,
  }
  const code = await main(args, machine)
  return { code, ...said, asked, browsed, pauses }
}

export const problem = (code: string, status: number, more: Readonly<Record<string, unknown>> = {}): Sent => ({
  status,
  headers: { 'content-type': 'application/problem+json' },
  body: {
    type: `urn:writ:error:${code}`,
    title: 'Refused',
    status,
    detail: `It is ${code}.`,
    requestId: 'r-1',
    ...more,
  },
})

/** A grant as the broker at this address shows it, under its true digest. */
export function wireGrant(status: Status, issuer: string, change: Partial<GrantAnswer> = {}): GrantAnswer {
  const grant = { ...showGrant(grantIn(status), NOW), ...change }
  return { ...grant, digest: change.digest ?? digestHere(grant.intent, issuer) }
}
