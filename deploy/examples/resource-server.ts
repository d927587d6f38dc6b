// A resource server that takes Writ's credentials, with nothing but `node:http` and `writ/verifier`. POST /labels needs the action
// `tickets.update`; POST /deploy carries out the plan in its body, if it is the one that was approved; GET /healthz says how it is.
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { guardNode, planDigest, type Revocation, verifier } from 'writ/verifier'

const setting = (name: string, fallback?: string): string => {
  const value = process.env[name] ?? fallback
  if (value !== undefined) return value
  process.stderr.write(`${name} is needed\n`)
  process.exit(2)
}
const keyFile = setting('KEY_FILE')
if (!existsSync(keyFile)) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(keyFile, JSON.stringify(privateKey.export({ format: 'jwk' })), { mode: 0o600, flag: 'wx' })
  const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'ES256', use: 'sig' }] }
  process.stderr.write(`Made ${keyFile}. Its public half belongs into the jwksFile of clients.yaml:\n`)
  process.stdout.write(`${JSON.stringify(jwks)}\n`)
  process.exit(0)
}

const ways: Readonly<Record<string, Revocation>> = {
  feed: { by: 'feed', maxStaleness: 5_000, instance: setting('INSTANCE', 'example-1') },
  status: { by: 'status', maxStaleness: 60_000 },
  introspection: { by: 'introspection' },
}
const port = Number(setting('PORT', '8490'))
const writ = verifier({
  issuer: setting('WRIT_BROKER'),
  audience: setting('AUDIENCE'),
  publicUrl: setting('PUBLIC_URL', `http://127.0.0.1:${port}`),
  client: {
    id: setting('CLIENT_ID'),
    privateKey: JSON.parse(readFileSync(keyFile, 'utf8')),
    kid: setting('KID', 'one'),
  },
  revocation: ways[setting('REVOCATION', 'feed')] ?? { by: 'feed' },
  // The time-outs and refusals of the broker; nothing secret is in them.
  onProblem: (what, thrown) =>
    process.stderr.write(`${what}: ${thrown instanceof Error ? thrown.message : 'failed'}\n`),
})

/** The body of a request, read once, 64 KB at most. */
const bodies = new WeakMap<IncomingMessage, Promise<Buffer>>()
const bodyOf = (request: IncomingMessage): Promise<Buffer> => {
  const body = bodies.get(request) ?? read(request)
  bodies.set(request, body)
  return body
}
async function read(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request) {
    parts.push(part)
    size += part.length
    if (size > 65_536) throw new Error('the body is too long')
  }
  return Buffer.concat(parts)
}
const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}

const labels = guardNode(writ, { needs: 'tickets.update' }, (_request, response, credential) =>
  answer(response, 200, { labelled: true, for: credential.subject, grant: credential.grant }),
)
const deploy = guardNode(
  writ,
  { needs: 'deploy', plan: async (request) => planDigest(await bodyOf(request)) },
  async (request, response, credential) =>
    answer(response, 200, { deployed: (await bodyOf(request)).length, plan: credential.planDigest }),
)

const server = createServer((request, response) => {
  const route = `${request.method} ${(request.url ?? '').split('?')[0]}`
  if (route === 'POST /labels') return labels(request, response)
  if (route === 'POST /deploy') return deploy(request, response)
  if (route === 'GET /healthz') return answer(response, 200, writ.figures())
  answer(response, 404, { status: 404 })
})
// Nothing is accepted before it is known what was revoked, so nothing is taken before that either.
if (!(await writ.ready(30_000)))
  process.stderr.write('the broker does not tell what was revoked; everything is refused until it does\n')
server.listen(port, '127.0.0.1', () => process.stdout.write(`listening at http://127.0.0.1:${port}\n`))

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    server.close(() => {
      // The reports that wait are sent first.
      void writ.close().then(() => process.exit(0))
    })
    server.closeIdleConnections()
  })
