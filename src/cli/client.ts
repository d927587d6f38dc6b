// The broker as the command sees it: requests with a token, answers read by the wire's schemas, refusals as failures with an exit code.
// Invariant: a token goes to the broker's own address only, over https or loopback, and no redirect is followed. What is repeated is
// what may be repeated: reads, ends, and what carries an idempotency key or an attempt.
import { z } from 'zod'
import { EXIT, exitOfProblem } from './exit-codes.ts'
import { Failure, Refusal, usage } from './failure.ts'
import type { Machine } from './machine.ts'
import type { PrivateJwk } from './profiles.ts'
import { makeProof } from './proof.ts'
import { readAnswer } from './wire-reader.ts'

export interface Answer<T> {
  readonly status: number
  readonly value: T
  /** As it was sent. */
  readonly raw: unknown
}
export interface Asking {
  readonly headers?: Readonly<Record<string, string>>
  /** Shows the key of the profile with it (DPoP). */
  readonly withKey?: boolean
  /**
   * What may be tried again when the broker does not answer or is busy. `safe`: whatever it was, because repeating changes nothing.
   * `race`: only what the broker says it did not do.
   */
  readonly again: 'safe' | 'race'
  /** How long the broker may take by itself, for long polls. */
  readonly waitMs?: number
}
export interface Client {
  readonly broker: string
  get<T>(path: string, schema: z.ZodType<T>, more?: Partial<Asking>): Promise<Answer<T>>
  post<T>(path: string, body: unknown, schema: z.ZodType<T>, asking: Asking): Promise<Answer<T>>
  /** A stream of `text/event-stream`, from after that event on. Rejects as `get` does before the first byte. */
  stream(path: string, after: string | undefined, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>
}

const Problem = z.object({
  type: z.string(),
  title: z.string().optional(),
  detail: z.string().optional(),
  next_action: z.string().optional(),
  requestId: z.string().optional(),
  facts: z.record(z.string(), z.unknown()).optional(),
})

const TIMEOUT_MS = 30_000
const TRIES = 4
const LONGEST_PAUSE_MS = 30_000
/** Said of what did not happen: trying again cannot do it twice. */
const NOT_DONE = new Set(['store_conflict', 'stale', 'too_many_requests'])

export interface ClientOptions {
  readonly broker: string
  token(): Promise<string>
  key(): PrivateJwk
  readonly machine: Machine
  /** Told when a try is repeated. */
  waiting(why: string, ms: number): void
}

export function brokerClient(options: ClientOptions): Client {
  const { broker, machine } = options
  mustBeSafe(broker)

  const send = async (method: string, path: string, body: string | undefined, asking: Asking, nonce?: string) => {
    const token = await options.token()
    const proof = { method, url: broker + (path.split('?')[0] ?? path), token, nonce }
    const response = await reach(broker, path, {
      method,
      headers: {
        accept: 'application/json, application/problem+json',
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(asking.withKey === true ? { dpop: makeProof(options.key(), proof, machine) } : {}),
        ...asking.headers,
      },
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.any([machine.interrupted, AbortSignal.timeout(TIMEOUT_MS + (asking.waitMs ?? 0))]),
    })
    return { status: response.status, headers: response.headers, text: await textOf(broker, response) }
  }

  const ask = async <T>(
    method: string,
    path: string,
    body: string | undefined,
    schema: z.ZodType<T>,
    asking: Asking,
  ) => {
    let nonce: string | undefined
    for (let left = TRIES - 1; ; left -= 1) {
      try {
        const { status, headers, text } = await send(method, path, body, asking, nonce)
        const wanted = headers.get('dpop-nonce')
        if (
          status === 401 &&
          nonce === undefined &&
          wanted !== null &&
          /use_dpop_nonce/.test(headers.get('www-authenticate') ?? '')
        ) {
          nonce = wanted
          continue
        }
        const raw = jsonOf(text)
        if (status >= 400) throw refusalOf(broker, status, headers, raw)
        const value = readAnswer(schema, raw)
        if (value === undefined)
          throw new Failure(EXIT.refused, `${broker} answers what this version of writ does not know.`, UPDATE)
        return { status, value, raw }
      } catch (thrown) {
        const ms = left > 0 ? pauseBefore(thrown, asking.again, TRIES - left) : undefined
        if (ms === undefined || !(thrown instanceof Failure)) throw thrown
        options.waiting(thrown.message, ms)
        await machine.pause(ms, machine.interrupted)
      }
    }
  }

  return {
    broker,
    get: (path, schema, more = {}) => ask('GET', path, undefined, schema, { again: 'safe', ...more }),
    post: (path, body, schema, asking) => ask('POST', path, JSON.stringify(body), schema, asking),
    stream: async (path, after, signal) => {
      const response = await reach(broker, path, {
        headers: {
          accept: 'text/event-stream, application/problem+json',
          authorization: `Bearer ${await options.token()}`,
          ...(after === undefined ? {} : { 'last-event-id': after }),
        },
        signal: AbortSignal.any([machine.interrupted, signal]),
      })
      if (response.status >= 400)
        throw refusalOf(broker, response.status, response.headers, jsonOf(await textOf(broker, response)))
      if (response.body === null || !/^text\/event-stream\b/.test(response.headers.get('content-type') ?? ''))
        throw new Failure(EXIT.refused, `${broker} sends no event stream.`, UPDATE)
      return response.body
    },
  }
}

const UPDATE = { next: 'Bring writ and the broker to the same version.' }

/** Milliseconds until the same is tried again; undefined where it must not be. */
function pauseBefore(thrown: unknown, again: Asking['again'], tried: number): number | undefined {
  if (!(thrown instanceof Failure) || thrown.exit !== EXIT.unavailable) return undefined
  if (again === 'race' && !(thrown instanceof Refusal && NOT_DONE.has(thrown.code))) return undefined
  // Our own Vault policy is wrong there: asking again changes nothing.
  if (thrown instanceof Refusal && thrown.code === 'vault_refused') return undefined
  const asked = thrown instanceof Refusal ? thrown.retryAfterMs : undefined
  // Nobody waits for that long at a terminal.
  if (asked !== undefined && asked > LONGEST_PAUSE_MS) return undefined
  return asked ?? Math.min(LONGEST_PAUSE_MS, 250 * 2 ** tried)
}

/** The address of a broker in its one spelling, or a usage error. */
export function brokerAt(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url !== undefined && url.username + url.password + url.search + url.hash === ''
  if (!isPlain)
    throw usage('This is not the address of a broker.', 'Write it whole, with nothing behind it: https://writ.example')
  mustBeSafe(url.href)
  return url.href.replace(/\/+$/, '')
}

/** A token over plain http could be read on the way: only to this machine itself. */
export function mustBeSafe(url: string): void {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:' || isLoopback(hostname)) return
  throw new Failure(EXIT.usage, `${url} is not https, so a token could be read on the way.`, {
    next: 'Give the https:// address of the broker.',
  })
}
export const isLoopback = (hostname: string): boolean => /^(127(\.\d+){3}|localhost|\[::1\])$/.test(hostname)

/** One request. Redirects are errors: what follows them would be sent elsewhere. */
export async function reach(base: string, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(base + path, { redirect: 'error', ...init })
  } catch (thrown) {
    throw unreachable(base, thrown)
  }
}

async function textOf(base: string, response: Response): Promise<string> {
  try {
    return await response.text()
  } catch (thrown) {
    throw unreachable(base, thrown)
  }
}

export class Interrupted extends Error {}

export function unreachable(base: string, thrown: unknown): Error {
  if (thrown instanceof Error && thrown.name === 'AbortError') return new Interrupted('interrupted')
  const why = whyOf(thrown)
  return new Failure(EXIT.unavailable, `${base} does not answer (${why.what}).`, { next: why.next })
}

const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/

/** What a failed connection means, by the system's own code. */
export function whyOf(thrown: unknown): { readonly what: string; readonly next: string } {
  const cause = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown
  const named = cause instanceof AggregateError ? cause.errors[0] : cause
  const code =
    named instanceof Error && 'code' in named ? String(named.code) : thrown instanceof Error ? thrown.name : 'unknown'
  if (code === 'TimeoutError') return { what: 'it takes too long', next: 'Try again; `writ doctor` looks closer.' }
  if (CERTIFICATE.test(code))
    return {
      what: `its certificate is not good here: ${code}`,
      next: 'Name its authority: NODE_EXTRA_CA_CERTS=/path/to/ca.pem',
    }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return { what: `its name is not known: ${code}`, next: 'Check the address in --broker or WRIT_BROKER.' }
  if (code === 'ECONNREFUSED')
    return {
      what: 'nobody listens there: ECONNREFUSED',
      next: 'Start the broker, or check the address in --broker or WRIT_BROKER.',
    }
  return { what: code, next: 'Check the address and the network; `writ doctor` looks closer.' }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function refusalOf(broker: string, status: number, headers: Headers, raw: unknown): Refusal {
  const problem = Problem.safeParse(raw)
  const document = problem.success ? raw : { type: 'about:blank', status, detail: `${broker} answers ${status}.` }
  if (!problem.success)
    return new Refusal(exitOfProblem('', status, undefined), `${broker} answers ${status}, and not as a broker does.`, {
      code: '',
      status,
      document,
      next: 'Check the address; something in between may have answered.',
    })
  const { type, title, detail, next_action, requestId, facts } = problem.data
  const code = type.replace(/^urn:writ:error:/, '')
  const grantStatus = typeof facts?.status === 'string' ? facts.status : undefined
  const issues = issuesIn(facts)
  const message = `${detail ?? title ?? `The broker answers ${status}.`}${issues}`
  const told = next_action === undefined ? undefined : inOurWords(next_action)
  const next = code === 'unauthenticated' ? `${told ?? 'Get a fresh token.'} ${LOGIN}` : told
  return new Refusal(exitOfProblem(code, status, grantStatus), message, {
    code,
    status,
    document,
    next: code === 'internal' ? `Tell its operator the request id ${requestId ?? ''}.` : next,
    retryAfterMs: retryAfter(headers),
  })
}
const LOGIN = 'To log in again: writ login.'

/** The broker speaks to every kind of client, in routes; whoever sits here has commands. */
const inOurWords = (text: string): string =>
  text
    .replace(
      /GET \/v1\/grants\/(g\d+-[a-z2-7]+)(\?wait=\d+)?/g,
      (_, id: string, wait?: string) => `writ show ${id}${wait === undefined ? '' : ' --wait'}`,
    )
    .replaceAll('GET /v1/grants', 'writ list')
    .replaceAll('GET /v1/entitlements', 'writ entitlements')

const Issues = z.array(z.object({ member: z.string(), problem: z.string() }))
function issuesIn(facts: Readonly<Record<string, unknown>> | undefined): string {
  const issues = Issues.safeParse(facts?.issues)
  return issues.success ? issues.data.map(({ member, problem }) => ` ${member || 'body'}: ${problem}.`).join('') : ''
}

function retryAfter(headers: Headers): number | undefined {
  const text = headers.get('retry-after')
  return text !== null && /^\d{1,5}$/.test(text) ? Number(text) * 1_000 : undefined
}
