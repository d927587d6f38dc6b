// The floor under an exchange: bare node:http; one load, which gives the texts of a grant; the caller's ES256 signature and the new token's, both by
// synchronous node:crypto on keys parsed once; one commit with an event, a deadline and a head as long as ours. No policy, no approval, no replay
// store, no rate, no witness, no limits on what comes in: nothing that could be left out. Run as a program.
import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import { Redis } from 'ioredis'

const {
  BENCH_REDIS_URL = '',
  BENCH_PORT = '',
  BENCH_CALLER_JWK = '',
  BENCH_CLAIMS = '',
  BENCH_ANSWER = '',
  BENCH_HEAD = '',
  BENCH_EVENT = '',
} = process.env
const redis = new Redis(BENCH_REDIS_URL, { enableAutoPipelining: true })
const callerKey = createPublicKey({ key: JSON.parse(BENCH_CALLER_JWK), format: 'jwk' })
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const claims: object = JSON.parse(BENCH_CLAIMS)
const answer: object = JSON.parse(BENCH_ANSWER)

await redis.function(
  'LOAD',
  'REPLACE',
  `#!lua name=floor
redis.register_function('floor_load', function(keys)
  local head = redis.call('HMGET', keys[3], 'version', 'head')
  return { head[1], head[2], redis.call('GET', keys[1]), redis.call('LRANGE', keys[2], 0, -1) }
end)
redis.register_function('floor_commit', function(keys, args)
  if redis.call('HGET', keys[1], 'version') ~= args[2] then return 'conflict' end
  redis.call('XADD', keys[3], '*', 'grant', args[1], 'version', args[2] + 1, 'event', args[5])
  redis.call('ZADD', keys[2], args[3], args[1])
  redis.call('HSET', keys[1], 'version', args[2] + 1, 'status', 'active', 'head', args[4])
  return 'ok'
end)`,
)

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const HEADER = encoded({ alg: 'ES256', typ: 'at+jwt', kid: 'floor' })
const ieee = 'ieee-p1363'

function isCaller(token: string): boolean {
  const last = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(last + 1), 'base64url')
  if (!verify('sha256', Buffer.from(token.slice(0, last)), { key: callerKey, dsaEncoding: ieee }, signature))
    return false
  const { exp } = JSON.parse(Buffer.from(token.slice(token.indexOf('.') + 1, last), 'base64url').toString())
  return exp * 1_000 > Date.now()
}

async function exchange(response: ServerResponse, body: string): Promise<void> {
  const form = new URLSearchParams(body)
  const [{ identifier: id }] = JSON.parse(form.get('authorization_details') ?? '[{}]')
  if (!isCaller(form.get('subject_token') ?? '')) return void response.writeHead(401).end()
  const [asks, decisions, head] = [`f:ask:${id}`, `f:decisions:${id}`, `f:head:${id}`]
  const loaded = await redis.fcall('floor_load', 3, asks, decisions, head)
  const [version, text, ask] = Array.isArray(loaded) ? loaded : []
  if (typeof ask !== 'string' || JSON.parse(String(text)).status !== 'approved')
    return void response.writeHead(409).end()
  JSON.parse(ask)
  const iat = Math.floor(Date.now() / 1_000)
  const input = `${HEADER}.${encoded({ ...claims, jti: randomBytes(16).toString('base64url'), iat, exp: iat + 900, txn: id })}`
  const token = `${input}.${sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: ieee }).toString('base64url')}`
  const done = await redis.fcall(
    'floor_commit',
    3,
    head,
    'f:due',
    'f:events',
    id,
    String(version),
    iat * 1_000,
    BENCH_HEAD,
    BENCH_EVENT,
  )
  if (done !== 'ok') return void response.writeHead(409).end()
  const said = JSON.stringify({ ...answer, access_token: token })
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(said) }).end(said)
}

createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', (chunk: string) => {
    body += chunk
  })
  request.on('end', () => void exchange(response, body).catch(() => response.writeHead(500).end()))
}).listen(Number(BENCH_PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
