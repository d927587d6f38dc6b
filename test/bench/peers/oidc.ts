// The peer for exchanges and introspection: oidc-provider as its documentation sets it up, with a Redis adapter, its fastest signature and nothing
// of a user. Client credentials to a JWT access token, to an opaque one, and both introspected. Run as a program: it prints its port.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { Redis } from 'ioredis'
import Provider, { type Adapter, type AdapterPayload } from 'oidc-provider'

const { BENCH_REDIS_URL = '', BENCH_PORT = '', BENCH_CLIENT_JWK = '', BENCH_SECRET = '' } = process.env
const issuer = `http://127.0.0.1:${BENCH_PORT}`
const redis = new Redis(BENCH_REDIS_URL, { enableAutoPipelining: true })

/** As the example adapter of its repository keeps things: one JSON text for each, which goes by itself. */
class RedisAdapter implements Adapter {
  readonly #kind: string
  constructor(kind: string) {
    this.#kind = kind
  }
  #key(id: string): string {
    return `oidc:${this.#kind}:${id}`
  }
  async upsert(id: string, payload: AdapterPayload, expiresIn: number): Promise<void> {
    await redis.set(this.#key(id), JSON.stringify(payload), 'EX', expiresIn || 3_600)
  }
  async find(id: string): Promise<AdapterPayload | undefined> {
    const text = await redis.get(this.#key(id))
    return text === null ? undefined : JSON.parse(text)
  }
  async findByUserCode(): Promise<undefined> {}
  async findByUid(): Promise<undefined> {}
  async consume(): Promise<void> {}
  async destroy(id: string): Promise<void> {
    await redis.del(this.#key(id))
  }
  async revokeByGrantId(): Promise<void> {}
}

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const provider = new Provider(issuer, {
  adapter: RedisAdapter,
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
  clients: [
    {
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      client_id: 'by-key',
      id_token_signed_response_alg: 'ES256',
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [JSON.parse(BENCH_CLIENT_JWK)] },
    },
    {
      client_id: 'by-secret',
      id_token_signed_response_alg: 'ES256',
      client_secret: BENCH_SECRET,
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256'] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://target.bench.example',
      getResourceServerInfo: (_ctx, _resource, client) => ({
        scope: 'deploy',
        audience: 'https://target.bench.example',
        accessTokenTTL: 900,
        accessTokenFormat: client.clientId === 'by-key' ? 'jwt' : 'opaque',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})
const server = createServer(provider.callback())
server.keepAliveTimeout = 65_000
server.listen(Number(BENCH_PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
