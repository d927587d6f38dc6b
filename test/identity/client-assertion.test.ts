// private_key_jwt of resource servers: for us, from them, short, and once.
import { generateKeyPairSync } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import { type AuthenticateClient, clientAuthenticator } from '../../src/identity/client-assertion.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { codeOf } from '../support/code-of.ts'
import { compiled } from '../support/directory.ts'
import { base64url, type JsonObject, macToken, signatureOf } from '../support/token-maker.ts'

const BROKER = 'https://writ.northwind.example'
const ENDPOINT = `${BROKER}/oauth/token`
const NOW = instant(1_795_000_000_500)
const SECOND = Math.floor(NOW / 1_000)

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const otherPair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = (key: typeof pair, kid: string) => ({ ...key.publicKey.export({ format: 'jwk' }), kid })
const clients = compiled(
  compileClients(
    JSON.stringify({
      revision: 1,
      resourceServers: {
        api: {
          tenant: 'acme',
          audiences: ['https://api.example'],
          jwks: { keys: [jwk(pair, 'k1')] },
          algorithms: ['ES256'],
        },
        other: {
          tenant: 'acme',
          audiences: ['https://other.example'],
          jwks: { keys: [jwk(otherPair, 'k1')] },
          algorithms: ['ES256'],
          assertionAudience: 'token-endpoint',
        },
      },
    }),
    'clients.yaml',
    () => '',
  ),
)

let jti = 0
let uses: { key: string; until: Instant }[] = []
let authenticate: AuthenticateClient
beforeEach(() => {
  uses = []
  authenticate = clientAuthenticator({
    resourceServer: (id) => clients.resourceServers.find((server) => server.id === id),
    issuer: BROKER,
    tokenEndpoint: ENDPOINT,
    now: () => NOW,
    useOnce: async (key, until) => {
      const isFirst = !uses.some((use) => use.key === key)
      uses.push({ key, until })
      return isFirst
    },
  })
})

const claims = (changes: JsonObject = {}): JsonObject => ({
  iss: 'api',
  sub: 'api',
  aud: BROKER,
  jti: `jti-${++jti}`,
  exp: SECOND + 60,
  ...changes,
})
const sign = (body: JsonObject, header: JsonObject = {}, key = pair): string => {
  const data = `${base64url(JSON.stringify({ alg: 'ES256', kid: 'k1', ...header }))}.${base64url(JSON.stringify(body))}`
  return `${data}.${base64url(signatureOf(data, key.privateKey, 'ES256'))}`
}

describe('a client assertion', () => {
  it.each([
    ['with key id and type', { typ: 'JWT' }, {}],
    ['without key id, when there is one key', { kid: undefined }, {}],
    ['with the type that newer clients write', { typ: 'client-authentication+jwt' }, {}],
    ['with iat and nbf', {}, { iat: SECOND, nbf: SECOND }],
    ['that ends in five minutes', {}, { exp: SECOND + 300 }],
  ])('authenticates %s', async (_, header, changes) => {
    expect((await authenticate(sign(claims(changes), header), undefined)).id).toBe('api')
  })

  it('is good once, told by its jti and not by its text', async () => {
    const body = claims()
    const results = await Promise.all([
      codeOf(authenticate(sign(body), 'api')),
      codeOf(authenticate(sign(body), 'api')),
      codeOf(authenticate(sign(body), 'api')),
    ])
    expect(results.toSorted()).toEqual(['accepted', 'unauthenticated', 'unauthenticated'])
  })

  it('of one client does not use up the jti of another', async () => {
    const same = { jti: 'same' }
    await authenticate(sign(claims(same)), undefined)
    expect(
      await codeOf(
        authenticate(sign(claims({ ...same, iss: 'other', sub: 'other', aud: ENDPOINT }), {}, otherPair), undefined),
      ),
    ).toBe('accepted')
  })

  it('is remembered until no clock takes it any more', async () => {
    await authenticate(sign(claims({ exp: SECOND + 60 })), undefined)
    expect(uses[0]?.until).toBe((SECOND + 65) * 1_000)
  })

  it('is refused when it cannot be told whether it was used', async () => {
    const blind = clientAuthenticator({
      resourceServer: () => clients.resourceServers[0],
      issuer: BROKER,
      tokenEndpoint: ENDPOINT,
      now: () => NOW,
      useOnce: async () => {
        throw new BrokerError('store_unavailable', 'The store does not answer.')
      },
    })
    expect(await codeOf(blind(sign(claims()), undefined))).toBe('store_unavailable')
  })

  it.each<[string, () => string, string?]>([
    ['whose audience is a list', () => sign(claims({ aud: [BROKER] }))],
    ['whose audience is a list with more', () => sign(claims({ aud: [BROKER, ENDPOINT] }))],
    ['for the token endpoint, where the client is set to the issuer', () => sign(claims({ aud: ENDPOINT }))],
    [
      'for the issuer, where the client is set to the token endpoint',
      () => sign(claims({ iss: 'other', sub: 'other' }), {}, otherPair),
    ],
    ['for somebody else', () => sign(claims({ aud: 'https://elsewhere.example' }))],
    ['for nobody', () => sign(claims({ aud: undefined }))],
    ['of another issuer than subject', () => sign(claims({ iss: 'other' }))],
    ['of another subject than issuer', () => sign(claims({ sub: 'other' }))],
    ['without issuer', () => sign(claims({ iss: undefined }))],
    ['without subject', () => sign(claims({ sub: undefined }))],
    ['of an unknown client', () => sign(claims({ iss: 'nobody', sub: 'nobody' }))],
    ['beside the client id of another', () => sign(claims()), 'other'],
    ['beside an empty client id', () => sign(claims()), ''],
    ['signed with the key of another client', () => sign(claims(), {}, otherPair)],
    ['with an unknown key id', () => sign(claims(), { kid: 'k2' })],
    ['without an end', () => sign(claims({ exp: undefined }))],
    ['that is expired', () => sign(claims({ exp: SECOND - 6 }))],
    ['that lives for more than five minutes', () => sign(claims({ exp: SECOND + 306 }))],
    [
      'that lives for more than five minutes by its own iat',
      () => sign(claims({ iat: SECOND - 200, exp: SECOND + 200 })),
    ],
    ['from the future', () => sign(claims({ iat: SECOND + 60, exp: SECOND + 120 }))],
    ['valid only later', () => sign(claims({ nbf: SECOND + 60 }))],
    ['without jti', () => sign(claims({ jti: undefined }))],
    ['with an empty jti', () => sign(claims({ jti: '' }))],
    ['with a jti that is a number', () => sign(claims({ jti: 7 }))],
    ['with an endless jti', () => sign(claims({ jti: 'x'.repeat(256) }))],
    ['of the type of an access token', () => sign(claims(), { typ: 'at+jwt' })],
    ['of the type of a DPoP proof', () => sign(claims(), { typ: 'dpop+jwt' })],
    ['with a key inside', () => sign(claims(), { jwk: jwk(otherPair, 'k1') }, otherPair)],
    ['with a critical extension', () => sign(claims(), { crit: ['exp'] })],
    ['without signature', () => `${base64url('{"alg":"none"}')}.${base64url(JSON.stringify(claims()))}.`],
    [
      'with a MAC of the public key',
      () =>
        macToken({ alg: 'HS256', kid: 'k1' }, claims(), String(pair.publicKey.export({ format: 'pem', type: 'spki' }))),
    ],
    ['that is no token', () => 'client-secret'],
  ])('is refused %s, and uses nothing up', async (_, make, clientId) => {
    expect(await codeOf(authenticate(make(), clientId))).toBe('unauthenticated')
    expect(uses).toEqual([])
  })
})
