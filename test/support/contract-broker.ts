// A broker as far as a verifier sees it: keys, introspection, status list, revocation feed, acknowledgements, uses, over real HTTP and with
// real signatures. It speaks the wire that the broker documents and knows nothing of the broker's code, so that a real broker can stand in its
// place. It can go deaf, fail, forget positions, and run on another clock.
import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { deflateSync } from 'node:zlib'
import { calculateJwkThumbprint, createLocalJWKSet, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { ClientKey } from '../../src/verifier/index.ts'

export const SERVER_ID = 'payments-api'
export const AUDIENCE = 'https://payments.northwind.example'
const GRANT_CLAIM = 'https://writ.dev/claims/grant'

export interface SigningKey {
  readonly kid: string
  readonly jwk: JWK
  readonly privateKey: KeyObject
}
export async function signingKey(): Promise<SigningKey> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = publicKey.export({ format: 'jwk' }) as JWK
  return { kid: await calculateJwkThumbprint(jwk), jwk, privateKey }
}

export interface Reported {
  readonly grant: string
  readonly use: Readonly<Record<string, unknown>>
}
export interface ContractBroker {
  readonly issuer: string
  readonly client: ClientKey
  readonly key: SigningKey
  /** Every request, as method and path without query. */
  readonly asked: string[]
  /** What each consumer acknowledged, in order. */
  readonly acks: { readonly consumer: string; readonly position: string }[]
  readonly uses: Reported[]
  /** The newest position of the feed. */
  position(): string
  claims(over?: Readonly<Record<string, unknown>>): Record<string, unknown>
  token(
    over?: Readonly<Record<string, unknown>>,
    header?: Readonly<Record<string, unknown>>,
    by?: SigningKey,
  ): Promise<string>
  /** From now on this grant has left `active`. `at`: when, for the feed. */
  revoke(grant: string, at?: number): void
  statusUri: string
  state: {
    /** Accepts connections and never answers. */
    deaf: boolean
    /** Answers everything with this status. */
    failing: number | undefined
    /** Path prefixes that alone are answered with a status. */
    only: Record<string, number>
    /** The feed has no event streams: 406. */
    noStream: boolean
    /** Streams are open and nothing comes out of them, as behind a proxy that keeps answers back. */
    heldBack: boolean
    /** How far the broker's clock runs ahead of ours, in milliseconds. */
    ahead: number
    /** Forgets every position that it ever named, as after a restored store. */
    forgetsPositions: boolean
    /** Instead of the status list's own claims. */
    list: Readonly<Record<string, unknown>>
    listHeader: Readonly<Record<string, unknown>>
    ttl: number
    jwks: () => unknown
    introspected: Readonly<Record<string, unknown>>
    pageSize: number
    /** A report with this target is not understood. */
    poison: string | undefined
    /** The next answer is empty and says that it was cut short. */
    cutShort: boolean
  }
  stop(): Promise<void>
}

export async function contractBroker(): Promise<ContractBroker> {
  const key = await signingKey()
  const own = await signingKey()
  const revocations: { readonly grant: string; readonly at: number }[] = []
  const asked: string[] = []
  const acks: ContractBroker['acks'] = []
  const uses: Reported[] = []
  const seenUses = new Set<string>()
  const seenAssertions = new Set<string>()
  const waiters = new Set<() => void>()
  const generation = { name: randomUUID().slice(0, 8) }
  const state: ContractBroker['state'] = {
    deaf: false,
    failing: undefined,
    only: {},
    noStream: false,
    heldBack: false,
    ahead: 0,
    forgetsPositions: false,
    list: {},
    listHeader: {},
    ttl: 30,
    jwks: () => ({ keys: [{ ...key.jwk, kid: key.kid, alg: 'ES256', use: 'sig' }] }),
    introspected: {},
    pageSize: 500,
    poison: undefined,
    cutShort: false,
  }
  const now = (): number => Date.now() + state.ahead
  const position = (n = revocations.length): string => `${generation.name}.${n}`
  const server = createServer((request, response) => {
    void answer(request, response).catch((thrown) => {
      if (!response.headersSent) response.writeHead(500)
      response.end(String(thrown))
    })
  })
  await new Promise<void>((settle) => {
    server.listen(0, '127.0.0.1', settle)
  })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const isClient = async (assertion: string): Promise<boolean> => {
    const keys = createLocalJWKSet({ keys: [{ ...own.jwk, kid: own.kid, alg: 'ES256' }] })
    const { payload } = await jwtVerify(assertion, keys, {
      issuer: SERVER_ID,
      subject: SERVER_ID,
      audience: issuer,
      currentDate: new Date(now()),
    })
    const { jti = '', exp = 0, iat = 0 } = payload
    if (jti === '' || exp - iat > 300 || seenAssertions.has(jti)) return false
    seenAssertions.add(jti)
    return true
  }
  const authenticated = async (request: IncomingMessage): Promise<boolean> => {
    const [, assertion] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? []
    return assertion !== undefined && (await isClient(assertion).catch(() => false))
  }
  const json = (response: ServerResponse, status: number, body: unknown, media = 'application/json'): void => {
    response.writeHead(status, { 'content-type': media, 'cache-control': 'no-store' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
  const shown = (n: number) => ({
    grant: revocations[n]?.grant,
    audience: AUDIENCE,
    at: new Date(revocations[n]?.at ?? 0).toISOString(),
    status: 'ended',
    position: position(n + 1),
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', issuer)
    const body = await bodyOf(request)
    asked.push(`${request.method} ${url.pathname}`)
    if (state.deaf) return
    const status = Object.entries(state.only).find(([prefix]) => url.pathname.startsWith(prefix))?.[1] ?? state.failing
    if (status !== undefined) return json(response, status, {})
    const route = `${request.method} ${url.pathname}`
    if (route === 'GET /oauth2/jwks') return json(response, 200, state.jwks())
    if (route === 'POST /oauth2/introspect') return await introspect(response, new URLSearchParams(body))
    if (url.pathname.startsWith('/status/'))
      return json(response, 200, await list(url.href), 'application/statuslist+jwt')
    if (!(await authenticated(request))) return json(response, 401, {})
    if (route === 'GET /v1/revocations') return await feed(request, response, url)
    if (route === 'POST /v1/revocations/acks') {
      acks.push(JSON.parse(body))
      response.writeHead(204).end()
      return
    }
    const [, grant] = /^POST \/v1\/grants\/([^/]+)\/uses$/.exec(route) ?? []
    if (grant === undefined) return json(response, 404, {})
    const sent = (JSON.parse(body) as { uses: Record<string, unknown>[] }).uses
    if (sent.length < 1 || sent.length > 100 || sent.some(({ target }) => target === state.poison))
      return json(response, 400, {})
    const fresh = sent.filter(({ id }) => !seenUses.has(String(id)))
    for (const use of fresh) {
      seenUses.add(String(use.id))
      uses.push({ grant, use })
    }
    json(response, 200, { accepted: fresh.length, repeated: sent.length - fresh.length, misuse: 0 })
  }

  async function introspect(response: ServerResponse, form: URLSearchParams): Promise<void> {
    if (!(await isClient(form.get('client_assertion') ?? '').catch(() => false)))
      return json(response, 401, { error: 'invalid_client' })
    const { payload } = await jwtVerify(form.get('token') ?? '', createPublicKey(key.privateKey), {
      algorithms: ['ES256'],
      currentDate: new Date(now()),
    }).catch(() => ({ payload: undefined }))
    if (payload === undefined || revocations.some(({ grant }) => grant === payload.txn))
      return json(response, 200, { active: false })
    const { iss, aud, sub, exp, iat, nbf, jti, txn, cnf } = payload
    json(response, 200, { active: true, iss, aud, sub, exp, iat, nbf, jti, txn, cnf, ...state.introspected })
  }

  async function list(uri: string): Promise<string> {
    const bytes = Buffer.alloc(64)
    for (const { grant } of revocations) {
      const index = indexOf(grant)
      bytes[index >> 2] = (bytes[index >> 2] ?? 0) | (1 << ((index & 3) * 2))
    }
    const iat = Math.floor(now() / 1_000)
    const lst = deflateSync(bytes).toString('base64url')
    return await new SignJWT({
      sub: uri,
      iss: issuer,
      iat,
      exp: iat + 300,
      ttl: state.ttl,
      status_list: { bits: 2, lst },
      ...state.list,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'statuslist+jwt', kid: key.kid, ...state.listHeader })
      .sign(key.privateKey)
  }

  async function feed(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const since = url.searchParams.get('since')
    const after = (request.headers['last-event-id'] as string | undefined) ?? url.searchParams.get('after')
    let next = revocations.length
    if (after !== null) {
      const [, name, n] = /^([^.]+)\.(\d+)$/.exec(after) ?? []
      if (name !== generation.name || state.forgetsPositions) {
        state.forgetsPositions = false
        generation.name = randomUUID().slice(0, 8)
        return json(response, 400, { type: 'urn:writ:error:invalid_request' })
      }
      next = Number(n)
    } else if (since !== null) {
      const found = revocations.findIndex(({ at }) => at >= Date.parse(since))
      next = found < 0 ? revocations.length : found
    }
    if ((request.headers.accept ?? '').includes('text/event-stream')) {
      if (state.noStream) return json(response, 406, {})
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      const write = (event: string, id: string, data: unknown): void => {
        if (!state.deaf && !state.heldBack)
          response.write(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
      }
      const tell = (): void => {
        for (; next < revocations.length; next += 1) write('revocation', position(next + 1), shown(next))
        write('position', position(next), { position: position(next), at: new Date(now()).toISOString() })
      }
      tell()
      const alive = setInterval(tell, 500)
      waiters.add(tell)
      response.on('close', () => {
        clearInterval(alive)
        waiters.delete(tell)
      })
      return
    }
    const wait = Number(url.searchParams.get('wait') ?? 0) * 1_000
    if (next >= revocations.length && wait > 0)
      await new Promise<void>((settle) => {
        const done = (): void => {
          clearTimeout(timer)
          waiters.delete(done)
          settle()
        }
        const timer = setTimeout(done, wait)
        waiters.add(done)
      })
    if (state.deaf) return
    const end = Math.min(revocations.length, next + state.pageSize)
    const page = Array.from({ length: end - next }, (_, n) => shown(next + n))
    json(response, 200, { revocations: page, position: position(end), timed_out: page.length === 0 && !state.cutShort })
    state.cutShort = false
  }

  const statusUri = `${issuer}/status/0-1`
  const claims: ContractBroker['claims'] = (over = {}) => {
    const iat = Math.floor(now() / 1_000)
    const grant = typeof over.txn === 'string' ? over.txn : `g0-${randomUUID()}`
    return {
      iss: issuer,
      sub: 'vera',
      aud: AUDIENCE,
      iat,
      nbf: iat,
      exp: iat + 300,
      jti: randomUUID(),
      client_id: 'vera',
      txn: grant,
      authorization_details: [
        {
          type: 'https://writ.dev/schemas/change/v1',
          identifier: grant,
          entitlement: 'payments-deploy',
          locations: [AUDIENCE],
          actions: ['deploy'],
          scope: [],
          datatypes: [],
          environment: 'production',
          change_class: 'normal',
          window: {
            opensAt: new Date((iat - 60) * 1_000).toISOString(),
            closesAt: new Date((iat + 600) * 1_000).toISOString(),
          },
        },
      ],
      [GRANT_CLAIM]: {
        id: grant,
        intent_digest: `sha-256:${'i'.repeat(43)}`,
        plan_digest: `sha-256:${'p'.repeat(43)}`,
        ticket: 'servicenow:CHG0031337',
        policy_digest: `sha-256:${'r'.repeat(43)}`,
      },
      status: { status_list: { idx: indexOf(grant), uri: statusUri } },
      ...over,
    }
  }
  return {
    issuer,
    client: { id: SERVER_ID, privateKey: own.privateKey, kid: own.kid },
    key,
    asked,
    acks,
    uses,
    position: () => position(),
    statusUri,
    claims,
    token: async (over = {}, header = {}, by = key) =>
      await new SignJWT(claims(over) as JWTPayload)
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: by.kid, ...header })
        .sign(by.privateKey),
    revoke: (grant, at = now()) => {
      revocations.push({ grant, at })
      for (const tell of [...waiters]) tell()
    },
    state,
    stop: async () => {
      server.closeAllConnections()
      await new Promise<void>((settle) => server.close(() => settle()))
    },
  }
}

/** A place in a list of 256 that follows from the grant. */
export const indexOf = (grant: string): number =>
  [...grant].reduce((sum, each) => (sum * 31 + each.charCodeAt(0)) % 256, 7)

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}
