// The verifier in front of a handler, for Express and for plain `node:http`. Invariant: the handler runs only with a verified credential, and
// every use and every refusal that is about a credential of the broker's is reported, whatever the handler does then.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { challenges, REFUSALS, type Refused } from './refusal.ts'
import type { Presented, Told, Verdict, Verifier } from './verifier.ts'
import type { Credential } from './verify.ts'

type From<Request, Value> = Value | ((request: Request) => Value)

/** What a route wants of a credential, and what it tells of its use. Functions are given the request; one that throws refuses. */
export interface Guard<Request extends IncomingMessage> {
  /** What is done here, for the report: `needs`, or else the request method where absent. */
  readonly action?: From<Request, string>
  /** What it is done to, for the report: the path where absent. */
  readonly target?: From<Request, string>
  /** `sha-256:` and base64url, of the arguments, for the report. */
  readonly argumentDigest?: (request: Request) => string | undefined
  /** An action that must be one of those that were granted. */
  readonly needs?: From<Request, string>
  /** The digest of what is about to be executed. Called only when token and proof are good. */
  readonly plan?: From<Request, string> | ((request: Request) => Promise<string>)
}

/** What Express hands in, as far as it matters. */
export interface ExpressRequest extends IncomingMessage {
  /** With the path at which a router is mounted. */
  readonly originalUrl?: string
  /** Set by the middleware. */
  writ?: Credential
}
export type ExpressMiddleware = (
  request: ExpressRequest,
  response: ServerResponse,
  next: (failure?: unknown) => void,
) => void
export type NodeHandler<Request extends IncomingMessage> = (
  request: Request,
  response: ServerResponse,
  credential: Credential,
) => unknown

/** Express: `app.post('/labels', guardExpress(writ, { needs: 'tickets.update' }), handler)`. The credential is `request.writ`. */
export const guardExpress =
  (verifier: Verifier, guard: Guard<ExpressRequest> = {}): ExpressMiddleware =>
  (request, response, next) => {
    void decide(verifier, guard, request, response).then((credential) => {
      if (credential === undefined) return
      // Not enumerable: what prints a request prints no credential.
      Object.defineProperty(request, 'writ', { value: credential, enumerable: false, configurable: true })
      next()
    }, next)
  }

/** `node:http`: `createServer(guardNode(writ, { needs: 'tickets.update' }, (request, response, credential) => …))`. */
export const guardNode =
  <Request extends IncomingMessage>(verifier: Verifier, guard: Guard<Request>, handler: NodeHandler<Request>) =>
  (request: Request, response: ServerResponse): void => {
    void (async () => {
      const credential = await decide(verifier, guard, request, response)
      if (credential !== undefined) await handler(request, response, credential)
    })().catch(() => {
      // What a handler throws is its own affair; the client must not wait for ever.
      if (!response.headersSent) answer(response, 500, { 'content-type': 'application/problem+json' }, '{"status":500}')
      else response.destroy()
    })
  }

/** Every `Authorization` and `DPoP` field apart: Node joins the one and keeps only the first of the other. */
export function presentedBy(request: ExpressRequest): Presented {
  const fields = (wanted: string): readonly string[] =>
    request.rawHeaders.flatMap((name, n) =>
      n % 2 === 0 && name.toLowerCase() === wanted ? [request.rawHeaders[n + 1] ?? ''] : [],
    )
  return {
    method: request.method ?? '',
    target: request.originalUrl ?? request.url ?? '',
    authorization: fields('authorization'),
    dpop: fields('dpop'),
  }
}

/** Answers a refusal: 401 or 403 with a challenge (RFC 6750 §3, RFC 9449 §7.1), or 503; the body is a problem (RFC 9457). */
export function answerRefusal(
  verifier: Pick<Verifier, 'acceptsBearer'>,
  refusal: Refused,
  response: ServerResponse,
): void {
  const asked = challenges(refusal, verifier.acceptsBearer)
  const body = {
    type: `urn:writ:refusal:${refusal.code}`,
    title: REFUSALS[refusal.code].says,
    status: refusal.status,
    detail: refusal.detail,
  }
  answer(
    response,
    refusal.status,
    {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(asked.length === 0 ? {} : { 'www-authenticate': [...asked] }),
      ...(refusal.status === 503 ? { 'retry-after': '1' } : {}),
    },
    JSON.stringify(body),
  )
}

async function decide<Request extends ExpressRequest>(
  verifier: Verifier,
  guard: Guard<Request>,
  request: Request,
  response: ServerResponse,
): Promise<Credential | undefined> {
  const { plan } = guard
  const needs = guard.needs === undefined ? undefined : chosen(guard.needs, request)
  const verdict: Verdict = await verifier.verify(presentedBy(request), {
    ...(needs === undefined ? {} : { needs }),
    ...(plan === undefined ? {} : { plan: typeof plan === 'string' ? plan : () => plan(request) }),
  })
  verifier.report(verdict, toldOf(guard, request, needs))
  if (verdict.ok) return verdict.credential
  answerRefusal(verifier, verdict, response)
  return undefined
}

function toldOf<Request extends ExpressRequest>(
  guard: Guard<Request>,
  request: Request,
  needs: string | undefined,
): Told {
  const path = (request.originalUrl ?? request.url ?? '').split(/[?#]/, 1)[0] ?? ''
  const argumentDigest = guard.argumentDigest?.(request)
  return {
    action: guard.action === undefined ? (needs ?? request.method ?? '') : chosen(guard.action, request),
    target: guard.target === undefined ? path : chosen(guard.target, request),
    ...(argumentDigest === undefined ? {} : { argumentDigest }),
  }
}

const chosen = <Request>(from: From<Request, string>, request: Request): string =>
  typeof from === 'string' ? from : from(request)

function answer(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string | string[]>>,
  body: string,
): void {
  response.writeHead(status, headers)
  response.end(body)
}
