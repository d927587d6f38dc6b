// A real http door on a real socket, with a broker that only records and answers what a test tells it to. Tokens and proofs are stand-ins:
// what is tested here is the wire; that the real checks hold is tested where they live.
import { type IncomingHttpHeaders, request } from 'node:http'
import type { Broker } from '../../src/broker/broker.ts'
import type { Budget, Quota, Server } from '../../src/broker/ports.ts'
import type { RecoveryView, When } from '../../src/broker/recover.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named, type PrincipalId, shard, type Thumbprint } from '../../src/domain/ids.ts'
import { after, type Instant, instant, minutes } from '../../src/domain/instant.ts'
import type { Status } from '../../src/domain/lifecycle.ts'
import type { LiveMint } from '../../src/domain/mint.ts'
import type { Caller } from '../../src/domain/principal.ts'
import { secret } from '../../src/domain/secret.ts'
import { type Door, type DoorPorts, httpDoor } from '../../src/http/door.ts'
import { type Check, healthEndpoints } from '../../src/http/health.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { type Operations, ROUTES } from '../../src/http/routes.ts'
import type { WaitLimits } from '../../src/http/wait.ts'
import { parseStrictJson } from '../../src/identity/strict-json.ts'
import { introspectEndpoint, type OwnToken } from '../../src/oauth/introspect.ts'
import { metadataEndpoints } from '../../src/oauth/metadata.ts'
import { type StatusPorts, statusEndpoints } from '../../src/oauth/status.ts'
import { tokenEndpoint } from '../../src/oauth/token.ts'
import { doorWatch } from '../../src/observe/door-watch.ts'
import { jsonLog } from '../../src/observe/log.ts'
import { metrics } from '../../src/observe/metrics.ts'
import { grantedDetail } from '../../src/tokens/authorization-details.ts'
import { openApiCheck } from '../support/openapi-check.ts'
import { nextGrantId, sampleBirth, sampleMints, sampleStep, sha256 } from '../support/sample-grants.ts'

const WELL: RecoveryView = {
  state: 'well',
  why: undefined,
  seen: 7,
  here: 7,
  endsAll: false,
  live: {},
  clearing: undefined,
  last: undefined,
}

export const ISSUER = 'https://writ.example'
export const NOW = instant(Date.UTC(2026, 10, 21, 22, 0, 0))
export const KEY = sha256('the key of the caller') as Thumbprint
export const OTHER_KEY = sha256('another key') as Thumbprint
export const CANARY = 'canary-4711-do-not-show'

export const jwt = (claims: object): string =>
  [{ alg: 'ES256' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
    .concat('.c2ln')
/** Of the resource server webshop-api; any number of times. */
export const SERVER_ASSERTION = jwt({ iss: 'webshop-api', sub: 'webshop-api' })
/** Of webshop-api's own account. */
export const SERVER_TOKEN = jwt({ sub: 'webshop-account' })
export const BOUND_SERVER_TOKEN = jwt({ sub: 'webshop-account', cnf: { jkt: KEY } })
const NOTHING_BESIDE = { reach: undefined, uses: { uses: [], counts: { used: 0, refused: 0 }, left: 0 } }
export const TOKEN = jwt({ sub: 'vera' })
export const BOUND_TOKEN = jwt({ sub: 'vera', cnf: { jkt: KEY } })
/** Proofs of the two keys, and two that are refused. */
export const PROOF = {
  [KEY]: 'proof-of-key',
  [OTHER_KEY]: 'proof-of-other-key',
  bad: 'bad-proof',
  nonceless: 'nonceless-proof',
}

export const vera: Caller['principal'] = {
  kind: 'person',
  id: named.principal('vera'),
  person: named.person('vera'),
  tenant: named.tenant('acme'),
  groups: [],
}

export const grantIn = (status: Status, at: Instant = NOW): Grant => {
  const birth = sampleBirth(nextGrantId(shard(0)), at).grant
  return status === 'pending' ? birth : sampleStep(birth, status, at).grant
}
/** The same grant in another status, one version further. */
export const moved = (grant: Grant, to: Status, at: Instant = NOW): Grant => sampleStep(grant, to, at).grant

export const liveMint = (at: Instant = NOW): LiveMint => sampleMints(at)[2] as LiveMint

export interface Call {
  readonly verb: string
  readonly args: readonly unknown[]
}
type Verbs = { [V in keyof Broker]: (...args: Parameters<Broker[V]>) => unknown }
const refusal = (message: string, facts: Record<string, unknown> = {}) =>
  new BrokerError('unauthenticated', message, { facts })

export interface Stage {
  readonly door: Door
  readonly port: number
  /** What the verbs were called with, in order. */
  readonly calls: Call[]
  /** What a verb answers from now on; every other verb fails the test. */
  answer(verbs: Partial<Verbs>): void
  readonly proofs: unknown[]
  /** Proofs that were marked as used. */
  readonly spent: string[]
  readonly lines: string[]
  readonly state: {
    now: Instant
    clockTrusted: boolean
    nonce: string | undefined
    /** Whether a proof is refused the second time. */
    proofsOnce: boolean
    own: OwnToken | undefined
    checks: Check[]
    /** What the status lists say. */
    statuses: StatusPorts
    authenticate: (token: string, key: Thumbprint | undefined) => Promise<Caller>
    /** Of whom this is the client assertion. */
    clientAssertion: (assertion: string, clientId: string | undefined) => Promise<Server>
    /** The real operations, where a test wants them. */
    operations: Operations | undefined
    /** What the budget says: go on, unless there is a time to wait. */
    quota: Pick<Quota, 'retryMs'> & Partial<Quota>
  }
  send(method: string, path: string, more?: Sending): Promise<Received>
  stop(): Promise<void>
}

/** A listening door. Stop it when the test is over. */
export async function stage(
  waitLimits?: WaitLimits,
  more: Pick<DoorPorts, 'trustedProxies' | 'tls'> = {},
): Promise<Stage> {
  const calls: Call[] = []
  const lines: string[] = []
  const proofs: unknown[] = []
  const spent: string[] = []
  let verbs: Partial<Verbs> = {}
  let requests = 0
  const state: Stage['state'] = {
    now: NOW,
    clockTrusted: true,
    nonce: undefined,
    proofsOnce: false,
    own: undefined,
    checks: [],
    statuses: { list: async () => undefined, uris: async () => [] },
    operations: undefined,
    quota: { retryMs: undefined },
    clientAssertion: async (assertion, clientId) => {
      if (![SERVER_ASSERTION, 'webshop-assertion'].includes(assertion) || (clientId ?? 'webshop-api') !== 'webshop-api')
        throw refusal('No such client.')
      return { id: 'webshop-api', audiences: ['https://payments.northwind.example'] }
    },
    authenticate: async (token, key) => {
      if (token !== TOKEN && token !== BOUND_TOKEN) throw refusal('The token is not good here.')
      if (token === BOUND_TOKEN && key !== KEY) throw refusal('The token is bound to another key.')
      return { principal: vera, key, session: '', facts: {} }
    },
  }
  const broker = new Proxy({} as Broker, {
    get:
      (_, verb: keyof Broker) =>
      async (...args: unknown[]): Promise<unknown> => {
        const answer = verbs[verb] as ((...args: unknown[]) => unknown) | undefined
        // Asked beside every grant that is shown: where a test says nothing of it, nothing is known.
        if (verb === 'beside' && answer === undefined) return NOTHING_BESIDE
        calls.push({ verb, args })
        if (answer === undefined) throw new Error(`nobody expected ${verb} to be called`)
        return answer(...args)
      },
  })
  const authenticate = (token: string, key: Thumbprint | undefined) => state.authenticate(token, key)
  const clientAssertion: Stage['state']['clientAssertion'] = (...sent) => state.clientAssertion(...sent)
  const now = (): Instant => {
    if (!state.clockTrusted) throw new BrokerError('clock_untrusted', 'The clock has jumped.')
    return state.now
  }
  const nowToShow = () => state.now
  const checker = {
    check: async (proof: { proof: string; accessToken?: string }) => {
      proofs.push(proof)
      if (proof.proof === PROOF.nonceless) throw refusal('The DPoP proof needs a nonce.', { oauth: 'use_dpop_nonce' })
      const key = [KEY, OTHER_KEY].find((candidate) => PROOF[candidate] === proof.proof)
      if (key === undefined) throw refusal('The DPoP proof is not one.', { oauth: 'invalid_dpop_proof' })
      const spend = async (): Promise<void> => {
        if (spent.includes(proof.proof) && state.proofsOnce)
          throw refusal('The DPoP proof was used before.', { oauth: 'invalid_dpop_proof' })
        spent.push(proof.proof)
      }
      return { key, spend }
    },
    freshNonce: () => (now() === undefined ? undefined : state.nonce),
  }
  /** As `authenticate`, of a resource server's own account. */
  const serverByToken = async (token: string, key: Thumbprint | undefined) => {
    const bound = token === BOUND_SERVER_TOKEN
    if (token !== SERVER_TOKEN && !bound) throw refusal('This account is of no resource server.')
    if (bound && key !== KEY) throw refusal('The token is bound to another key.')
    return { server: { id: 'webshop-api', audiences: ['https://payments.northwind.example'] }, bound }
  }
  const recorder = metrics()
  const log = jsonLog({ write: (line) => lines.push(line), time: () => '2026-11-21T22:00:00.000Z' })
  const common = {
    broker,
    authenticate,
    proofs: checker,
    parseJson: (text: string) => parseStrictJson(text),
    issuer: ISSUER,
    limits: {
      take: async (_: PrincipalId, budget: Budget) => ({ budget, most: 10, perMs: 1_000, left: 9, ...state.quota }),
    },
  }
  const operation = (verb: 'recover' | 'acceptClock') => async (caller: Caller, reason: string, when?: When) => {
    calls.push({ verb, args: [caller, reason, ...(when === undefined ? [] : [when])] })
    return (await state.operations?.[verb](caller, reason, when ?? 'when_clean')) ?? { done: true }
  }
  const recovery = async (caller: Caller) => {
    calls.push({ verb: 'recovery', args: [caller] })
    return (await state.operations?.recovery(caller)) ?? WELL
  }
  const door = httpDoor({
    ...common,
    clientAssertion,
    nowToShow,
    operations: {
      recover: operation('recover'),
      recovery,
      acceptClock: operation('acceptClock'),
      canaries: async (caller) => (await state.operations?.canaries(caller)) ?? [],
    },
    newRequestId: () => {
      requests += 1
      return `r-${requests}`
    },
    ticks: () => performance.now(),
    watch: doorWatch(recorder, log),
    ...(waitLimits === undefined ? {} : { waitLimits }),
    ...more,
    endpoints: [
      tokenEndpoint({ ...common, nowToShow, grantedDetail }),
      introspectEndpoint({
        broker,
        clientAssertion,
        serverByToken,
        proofs: checker,
        verifyOwn: async (token) => (token === 'own-token' ? state.own : undefined),
        grantedDetail,
        now,
        issuer: ISSUER,
      }),
      ...metadataEndpoints({
        issuer: ISSUER,
        jwks: () => ({ document: { keys: [{ kty: 'EC', kid: 'k1' }] }, maxAgeSeconds: 120 }),
        assertionAlgorithms: ['ES256'],
        proofAlgorithms: ['ES256', 'EdDSA'],
        login: { issuer: 'https://login.example', clientId: 'writ-cli', scope: 'openid', resource: ISSUER },
      }),
      ...statusEndpoints({ list: (name) => state.statuses.list(name), uris: () => state.statuses.uris() }),
      ...healthEndpoints({
        get checks() {
          return state.checks
        },
        metrics: () => recorder.text(),
        checkMs: 50,
      }),
    ],
  })
  const port = await door.listen(0, '127.0.0.1')
  return {
    door,
    port,
    calls,
    proofs,
    spent,
    lines,
    state,
    answer: (next) => {
      verbs = next
    },
    send: (method, path, more = {}) => send(port, method, path, more),
    stop: () => door.close(100),
  }
}

export interface Sending {
  /** Pairs, so that a header can be sent twice. */
  readonly headers?: readonly (readonly [string, string])[]
  readonly body?: string | Buffer
  /** Leave the Authorization header out. */
  readonly anonymous?: boolean
  readonly signal?: AbortSignal
}
export interface Received {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: answers are read as they come, like a script would
  readonly body: any
}

const check = openApiCheck(openApiDocument(ISSUER))
const FOR_SERVERS = ROUTES.filter(({ action }) => action === 'server').map(({ method, path }) => ({
  method,
  path: new RegExp(`^${path.replace(':id', '[^/]+')}$`),
}))
/** Whether only a resource server is let in there. */
export const isForServers = (method: string, path: string): boolean =>
  FOR_SERVERS.some((row) => row.method === method && row.path.test(path.split('?')[0] ?? ''))

/** One request on a connection of its own, its answer held against the API document; with a bearer token unless told otherwise. */
function send(
  port: number,
  method: string,
  path: string,
  { headers = [], body, anonymous, signal }: Sending,
): Promise<Received> {
  const names = headers.map(([name]) => name.toLowerCase())
  const pairs = [...headers]
  if (anonymous !== true && !names.includes('authorization'))
    pairs.push(['Authorization', `Bearer ${isForServers(method, path) ? SERVER_ASSERTION : TOKEN}`])
  if (!names.includes('host')) pairs.push(['Host', 'elsewhere.example'])
  // As browsers and fetch do: a POST without a body says so.
  if (method === 'POST' && body === undefined && !names.includes('content-length')) pairs.push(['Content-Length', '0'])
  if (body !== undefined && !names.includes('content-length') && !names.includes('transfer-encoding'))
    pairs.push(['Content-Length', String(Buffer.byteLength(body))])
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      headers: pairs.flat(),
      ...(signal === undefined ? {} : { signal }),
    }
    const req = request(options, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        const wrong = check({ method, path, status: res.statusCode ?? 0, headers: res.headers, text })
        if (wrong.length > 0) return reject(new Error(`not as the API document says: ${wrong.join('; ')}`))
        const isJson = String(res.headers['content-type']).includes('json') && text !== ''
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          text,
          body: isJson ? JSON.parse(text) : undefined,
        })
      })
    })
    req.on('error', reject)
    req.end(body)
  })
}

export const JSON_TYPE = ['Content-Type', 'application/json'] as const
export const FORM_TYPE = ['Content-Type', 'application/x-www-form-urlencoded'] as const
export const dpop = (key: Thumbprint) => ['DPoP', PROOF[key] ?? ''] as const

export const jwtCredential = (token: string, tokenType: 'DPoP' | 'Bearer' = 'DPoP') => ({
  kind: 'jwt' as const,
  token: secret(token),
  tokenType,
  audience: 'https://payments.northwind.example',
  expiresAt: after(NOW, minutes(5)),
})
