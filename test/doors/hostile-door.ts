// A door with nothing in it that is a stand-in for a check: real issuers with real keys, real proofs, the whole broker. Only store, backend
// and clock are in memory. Counts what is written to the store, so that a test can say that nothing was.
import { generateKeyPairSync, sign } from 'node:crypto'
import { type Agent, request } from 'node:http'
import { connect } from 'node:net'
import { acceptClock, canaries } from '../../src/broker/operate.ts'
import { recover, recovery, type Walks } from '../../src/broker/recover.ts'
import { publishedOf } from '../../src/broker/rulebook.ts'
import type { PrincipalId } from '../../src/domain/ids.ts'
import { type DoorPorts, httpDoor } from '../../src/http/door.ts'
import { healthEndpoints } from '../../src/http/health.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { authenticator, serverAuthenticator, tokenReader, trustIssuers } from '../../src/identity/authenticate.ts'
import { clientAuthenticator } from '../../src/identity/client-assertion.ts'
import { documentFetcher } from '../../src/identity/fetch-document.ts'
import { compileIssuers } from '../../src/identity/issuers.ts'
import { parseStrictJson } from '../../src/identity/strict-json.ts'
import { introspectEndpoint } from '../../src/oauth/introspect.ts'
import { metadataEndpoints } from '../../src/oauth/metadata.ts'
import { tokenEndpoint } from '../../src/oauth/token.ts'
import { doorWatch } from '../../src/observe/door-watch.ts'
import { jsonLog } from '../../src/observe/log.ts'
import { metrics } from '../../src/observe/metrics.ts'
import { grantedDetail } from '../../src/tokens/authorization-details.ts'
import { proofChecker } from '../../src/tokens/dpop.ts'
import { jwks } from '../../src/tokens/jwks.ts'
import { ownTokenVerifier } from '../../src/tokens/verify-own.ts'
import { compiled, shippedDirectory } from '../support/directory.ts'
import { freshRing } from '../support/keys.ts'
import { openApiCheck } from '../support/openapi-check.ts'
import { startTokenMaker, type TokenMaker } from '../support/token-maker.ts'
import { HOME, ISSUER, type World, world } from '../support/world.ts'

export interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly text: string
}
export interface HostileDoor {
  readonly world: World
  readonly login: TokenMaker
  readonly port: number
  /** A token that is good here, with these claims or header members changed. */
  token(sub: string, claims?: object, header?: object): string
  /** A client assertion of desk-api that nobody has used. */
  assertion(): string
  /** How often the store was asked to write. */
  writes(): number
  /** Whatever the broker itself took for its own failure. */
  readonly failures: readonly string[]
  send(
    method: string,
    path: string,
    headers: readonly (readonly [string, string])[],
    body?: string | Buffer,
  ): Promise<Got>
  /** What comes back for these bytes, until the other side closes, or has been silent for a while. */
  raw(bytes: string | Buffer): Promise<string>
  readonly server: ReturnType<typeof httpDoor>['server']
  stop(): Promise<void>
}

const WRITES = /^(file|commit|create|claim|end|retire|publish|accept|forget|remove)/

/** `change` puts something else into its place, as a broken broker would have it. */
export async function hostileDoor(
  agent: Agent,
  change: (ports: DoorPorts, w: World) => DoorPorts = (ports) => ports,
): Promise<HostileDoor> {
  const w = await world()
  const login = await startTokenMaker(['ES256', 'RS256'])
  const { ring } = await freshRing(w.now)
  let writes = 0
  const grants = new Proxy(w.store, {
    get: (store, name, receiver) => {
      if (WRITES.test(String(name))) writes += 1
      return Reflect.get(store, name, receiver)
    },
  })
  const verbs = w.another({ grants })
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'rs-1', use: 'sig', alg: 'ES256' }
  const directory = await shippedDirectory(() => JSON.stringify({ keys: [jwk] }))
  await w.publish({ directory })
  let asserted = 0
  const text = `issuers:\n  login: { url: "${login.url}", discovery: true, types: [at+jwt], maximalAge: 10m, maximalLife: 15m }\n`
  const issuers = trustIssuers(compiled(compileIssuers(text, 'issuers.yaml', () => '', { dev: true })), {
    audience: ISSUER,
    fetch: documentFetcher({ dev: true }),
    now: w.now,
  })
  const used = new Set<string>()
  const useOnce = async (key: string) => used.size < used.add(key).size
  const read = tokenReader({ issuers: () => issuers, now: w.now })
  const authenticate = authenticator({ read, directory: () => directory })
  const proofs = proofChecker({ now: w.now, useOnce })
  const failures: string[] = []
  const watch = doorWatch(
    metrics(),
    jsonLog({ write: (line) => line.includes('"level":"error"') && failures.push(line), time: () => '' }),
  )
  const walks: Walks = new Map()
  const operate = {
    ...w.ports,
    store: w.store,
    inventory: async () => undefined,
    acceptStore: (_: unknown, floor?: number) => w.store.accept(HOME, publishedOf(w.book.current()), floor),
    acceptClock: w.now,
    record: async () => undefined,
    firstOperator: undefined,
  }
  const common = {
    broker: verbs,
    authenticate,
    proofs,
    parseJson: (json: string) => parseStrictJson(json),
    grantedDetail,
    now: w.now,
    nowToShow: w.now,
    issuer: ISSUER,
    limits: {
      take: async <B>(_: PrincipalId, budget: B) => ({ budget, most: 10, perMs: 1_000, left: 9, retryMs: undefined }),
    },
  }
  let requests = 0
  const clientAssertion = clientAuthenticator({
    resourceServer: (id) => directory.resourceServer(id),
    issuer: ISSUER,
    tokenEndpoint: `${ISSUER}/oauth2/token`,
    useOnce,
    now: w.now,
  })
  const ports: DoorPorts = {
    ...common,
    clientAssertion,
    operations: {
      recover: recover(operate, walks),
      recovery: recovery(operate, walks),
      acceptClock: acceptClock(operate),
      canaries: canaries({ ...w.ports, ...operate }),
    },
    newRequestId: () => `r-${++requests}`,
    ticks: () => performance.now(),
    watch,
    endpoints: [
      tokenEndpoint({ ...common }),
      introspectEndpoint({
        ...common,
        clientAssertion,
        serverByToken: serverAuthenticator({ read, directory: () => directory }),
        verifyOwn: ownTokenVerifier({ ring, issuer: ISSUER, now: w.now }),
      }),
      ...metadataEndpoints({
        issuer: ISSUER,
        jwks: () => jwks(ring, w.now()),
        assertionAlgorithms: ['ES256'],
        proofAlgorithms: ['ES256', 'EdDSA'],
      }),
      ...healthEndpoints({ checks: [], metrics: async () => ({ text: '', media: 'text/plain' }), checkMs: 50 }),
    ],
  }
  const door = httpDoor(change(ports, w))
  const port = await door.listen(0, '127.0.0.1')
  const check = openApiCheck(openApiDocument(ISSUER))
  return {
    world: w,
    login,
    port,
    server: door.server,
    writes: () => writes,
    failures,
    token: (sub, claims = {}, header = {}) => {
      const second = Math.floor(w.now() / 1_000)
      const all = { iss: login.url, sub, aud: ISSUER, iat: second - 10, exp: second + 300, jti: 'token-1', ...claims }
      return login.sign(all, { typ: 'at+jwt', ...header })
    },
    assertion: () => {
      const second = Math.floor(w.now() / 1_000)
      const claims = {
        iss: 'desk-api',
        sub: 'desk-api',
        aud: ISSUER,
        iat: second,
        exp: second + 60,
        jti: `a-${++asserted}`,
      }
      const data = [{ alg: 'ES256', kid: 'rs-1' }, claims]
        .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
        .join('.')
      const signature = sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return `${data}.${signature.toString('base64url')}`
    },
    send: (method, path, headers, body) =>
      new Promise((resolve, reject) => {
        const flat = headers.flat()
        const sent = ['Host', 'writ.example', ...flat]
        if (body !== undefined && !headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name)))
          sent.push('Content-Length', String(Buffer.byteLength(body)))
        const req = request({ host: '127.0.0.1', port, method, path, agent, headers: sent }, (res) => {
          const chunks: Buffer[] = []
          res.on('data', (chunk: Buffer) => chunks.push(chunk))
          res.on('error', reject)
          res.on('end', () => {
            const got = { status: res.statusCode ?? 0, headers: res.headers, text: Buffer.concat(chunks).toString() }
            const wrong = check({ method, path, ...got })
            if (wrong.length === 0) resolve(got)
            else reject(new Error(`not as the API document says: ${wrong.join('; ')}`))
          })
        })
        req.on('error', reject)
        req.end(body)
      }),
    raw: (bytes) =>
      new Promise((resolve) => {
        let seen = ''
        const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
        // Some are answered and kept open, and for some the other side waits for more: then the end is said from here.
        const waiting = setTimeout(() => socket.end(), 300)
        socket.on('data', (chunk) => {
          seen += chunk.toString('latin1')
          waiting.refresh()
        })
        socket.on('error', () => undefined)
        socket.on('close', () => {
          clearTimeout(waiting)
          resolve(seen)
        })
      }),
    stop: async () => {
      agent.destroy()
      await door.close(100)
      await login.stop()
    },
  }
}
