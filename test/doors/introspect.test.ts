// Introspection (RFC 7662) and the public documents, on the wire.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { after as later, minutes } from '../../src/domain/instant.ts'
import type { OwnToken } from '../../src/oauth/introspect.ts'
import {
  BOUND_SERVER_TOKEN,
  dpop,
  FORM_TYPE,
  grantIn,
  ISSUER,
  KEY,
  liveMint,
  NOW,
  OTHER_KEY,
  PROOF,
  SERVER_TOKEN,
  type Stage,
  stage,
  TOKEN,
} from './door.ts'

const AUDIENCE = 'https://payments.northwind.example'
const grant = grantIn('active')
const own: OwnToken = {
  grant: grant.id,
  jti: 'jti-3',
  audience: AUDIENCE,
  subject: 'vera',
  jkt: KEY,
  exp: later(NOW, minutes(5)),
}
const good = {
  token: 'own-token',
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: 'webshop-assertion',
}

let on: Stage
beforeAll(async () => {
  on = await stage()
})
afterAll(() => on.stop())
beforeEach(() => {
  on.calls.length = 0
  on.state.own = own
  on.state.now = NOW
  on.state.clockTrusted = true
  on.answer({ introspect: () => ({ active: true, grant, mint: liveMint() }) })
})
const ask = (
  fields: Readonly<Record<string, string | undefined>> = {},
  headers: readonly (readonly [string, string])[] = [],
) => {
  const pairs = Object.entries({ ...good, ...fields }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value]],
  )
  return on.send('POST', '/oauth2/introspect', {
    headers: [FORM_TYPE, ...headers],
    body: new URLSearchParams(pairs).toString(),
    anonymous: true,
  })
}

describe('introspection', () => {
  it('tells an authenticated resource server everything about a live token of its audience', async () => {
    const got = await ask()
    expect(got.status).toBe(200)
    expect(got.headers['cache-control']).toBe('no-store')
    expect(on.calls).toEqual([{ verb: 'introspect', args: [{ grant: grant.id, jti: 'jti-3', audience: AUDIENCE }] }])
    expect(got.body).toEqual({
      active: true,
      iss: ISSUER,
      sub: 'vera',
      aud: AUDIENCE,
      exp: NOW / 1_000 + 300,
      iat: NOW / 1_000,
      nbf: NOW / 1_000,
      jti: 'jti-3',
      client_id: 'vera',
      token_type: 'DPoP',
      cnf: { jkt: KEY },
      txn: grant.id,
      authorization_details: [expect.objectContaining({ identifier: grant.id })],
      grant_status: 'active',
    })
  })

  it('says Bearer and no cnf for a token without a key', async () => {
    on.state.own = { ...own, jkt: undefined }
    const { body } = await ask()
    expect(body.token_type).toBe('Bearer')
    expect(body).not.toHaveProperty('cnf')
  })

  it('answers every no with the same bytes and the same headers', async () => {
    const noes: readonly (readonly [why: string, prepare: () => void, token?: string])[] = [
      ['not a token', () => undefined, 'nonsense'],
      ['of nobody', () => (on.state.own = undefined)],
      ['for another audience', () => (on.state.own = { ...own, audience: 'https://desk.northwind.example' })],
      ['expired this millisecond', () => (on.state.now = own.exp)],
      ['revoked, ended, or its window closed', () => on.answer({ introspect: () => ({ active: false }) })],
    ]
    const seen = new Set<string>()
    for (const [why, prepare, token = 'own-token'] of noes) {
      on.state.own = own
      on.state.now = NOW
      prepare()
      const got = await ask({ token })
      expect({ why, text: got.text }).toEqual({ why, text: '{"active":false}' })
      const { date, 'x-request-id': id, ...headers } = got.headers
      expect(date && id).toBeTruthy()
      seen.add(JSON.stringify([got.status, headers]))
    }
    expect(seen.size).toBe(1)
  })

  const none = { client_assertion: undefined, client_assertion_type: undefined }
  it('takes an access token of the resource server, as Bearer, or as DPoP with a proof of its key', async () => {
    for (const headers of [
      [['Authorization', `Bearer ${SERVER_TOKEN}`]],
      [['Authorization', `DPoP ${BOUND_SERVER_TOKEN}`], dpop(KEY)],
    ] as const) {
      const got = await ask(none, headers)
      expect({ headers, status: got.status, active: got.body.active }).toEqual({ headers, status: 200, active: true })
    }
    expect(on.proofs.at(-1)).toEqual({
      proof: PROOF[KEY],
      method: 'POST',
      url: `${ISSUER}/oauth2/introspect`,
      accessToken: BOUND_SERVER_TOKEN,
    })
  })

  it('refuses a proof that was used before, and makes no mark of one beside a token that is nobody’s', async () => {
    on.spent.length = 0
    const as = (token: string, key = KEY) => ask(none, [['Authorization', `DPoP ${token}`], dpop(key)])
    expect((await as(TOKEN)).status).toBe(401)
    expect((await as(BOUND_SERVER_TOKEN, OTHER_KEY)).status).toBe(401)
    expect((await as(SERVER_TOKEN)).status).toBe(401)
    expect(on.spent).toEqual([])
    on.state.proofsOnce = true
    expect((await as(BOUND_SERVER_TOKEN)).status).toBe(200)
    expect(on.spent).toEqual([PROOF[KEY]])
    expect((await as(BOUND_SERVER_TOKEN)).status).toBe(401)
    on.state.proofsOnce = false
  })

  it('refuses an access token that is nobody’s, bound and shown otherwise, or shown beside another way', async () => {
    for (const [fields, headers] of [
      [none, [['Authorization', `Bearer ${TOKEN}`]]],
      [none, [['Authorization', `Bearer ${BOUND_SERVER_TOKEN}`]]],
      [none, [['Authorization', `Bearer ${BOUND_SERVER_TOKEN}`], dpop(KEY)]],
      [none, [['Authorization', `DPoP ${BOUND_SERVER_TOKEN}`]]],
      [none, [['Authorization', `DPoP ${BOUND_SERVER_TOKEN}`], dpop(OTHER_KEY)]],
      [none, [['Authorization', `DPoP ${SERVER_TOKEN}`], dpop(KEY)]],
      [none, [['Authorization', `Basic ${SERVER_TOKEN}`]]],
      [
        none,
        [
          ['Authorization', `Bearer ${SERVER_TOKEN}`],
          ['Authorization', `Bearer ${SERVER_TOKEN}`],
        ],
      ],
      [{}, [['Authorization', `Bearer ${SERVER_TOKEN}`]]],
      [{ ...none, client_secret: 'x' }, [['Authorization', `Bearer ${SERVER_TOKEN}`]]],
    ] as const) {
      const got = await ask(fields, headers)
      expect([JSON.stringify(headers), got.status, got.body.error]).toEqual([
        JSON.stringify(headers),
        401,
        'invalid_client',
      ])
      expect(got.headers['www-authenticate']).toBe('Bearer')
    }
    expect(on.calls).toEqual([])
  })

  it('asks nothing for whoever is not an authenticated resource server', async () => {
    for (const [fields, headers] of [
      [{ client_assertion: undefined }, []],
      [{ client_assertion: 'of-somebody-else' }, []],
      [{ client_assertion_type: undefined }, []],
      [{ client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' }, []],
      [{ client_id: 'desk-api' }, []],
      [{ client_secret: 'x' }, []],
      [{}, [['Authorization', 'Basic dzp3']]],
    ] as const) {
      const got = await ask(fields, headers)
      expect({ fields, status: got.status, error: got.body.error }).toEqual({
        fields,
        status: 401,
        error: 'invalid_client',
      })
    }
    expect(on.calls).toEqual([])
  })

  it('refuses a request without a token, with one twice, and with a query', async () => {
    expect((await ask({ token: undefined })).body.error).toBe('invalid_request')
    const twice = new URLSearchParams(good)
    twice.append('token', 'own-token')
    expect(
      (await on.send('POST', '/oauth2/introspect', { headers: [FORM_TYPE], body: twice.toString(), anonymous: true }))
        .status,
    ).toBe(400)
    expect(
      (
        await on.send('POST', '/oauth2/introspect?token=own-token', {
          headers: [FORM_TYPE],
          body: new URLSearchParams(good).toString(),
        })
      ).status,
    ).toBe(400)
    expect(on.calls).toEqual([])
  })

  it.each(['store_unavailable', 'recovering', 'clock_untrusted'] as const)(
    'answers 503, neither yes nor no, on %s',
    async (code) => {
      on.answer({ introspect: () => Promise.reject(new BrokerError(code, 'Not now.')) })
      const got = await ask()
      expect([got.status, got.body.error, got.headers['retry-after']]).toEqual([503, 'temporarily_unavailable', '2'])
      expect(got.body).not.toHaveProperty('active')
    },
  )

  it('answers 503 while its own clock is not trusted', async () => {
    on.state.clockTrusted = false
    expect((await ask()).status).toBe(503)
    expect(on.calls).toEqual([])
  })
})

describe('public documents', () => {
  it('names only what is served here', async () => {
    const { body, headers } = await on.send('GET', '/.well-known/oauth-authorization-server', { anonymous: true })
    expect(headers).toMatchObject({ 'cache-control': 'public, max-age=300', 'access-control-allow-origin': '*' })
    expect(body.issuer).toBe(ISSUER)
    const served = Object.entries<string>(body).filter(([name]) => name.endsWith('_endpoint') || name === 'jwks_uri')
    expect(served.map(([name]) => name)).toEqual([
      'token_endpoint',
      'introspection_endpoint',
      'jwks_uri',
      'status_list_aggregation_endpoint',
    ])
    for (const [name, url] of served) {
      const method = ['jwks_uri', 'status_list_aggregation_endpoint'].includes(name) ? 'GET' : 'POST'
      const got = await on.send(method, url.slice(ISSUER.length), { anonymous: true })
      expect({ name, there: got.status !== 404 && got.status !== 405 }).toEqual({ name, there: true })
    }
    const openid = await on.send('GET', '/.well-known/openid-configuration', { anonymous: true })
    expect(openid.body).toEqual(body)
  })

  it('lets verifiers keep the keys for as long as the key ring says, and pages of anybody read them', async () => {
    const got = await on.send('GET', '/oauth2/jwks', { anonymous: true })
    expect(got.body).toEqual({ keys: [{ kty: 'EC', kid: 'k1' }] })
    expect(got.headers).toMatchObject({ 'cache-control': 'public, max-age=120', 'access-control-allow-origin': '*' })
  })

  it('gives CORS to nothing else, and caching to nothing else', async () => {
    for (const path of [
      '/v1/grants',
      '/v1/entitlements',
      '/healthz',
      '/readyz',
      '/metrics',
      '/oauth2/token',
      '/oauth2/introspect',
      '/nowhere',
    ]) {
      const { headers } = await on.send('GET', path, { headers: [['Origin', 'https://evil.example']] })
      expect({ path, cors: headers['access-control-allow-origin'], cache: headers['cache-control'] }).toEqual({
        path,
        cors: undefined,
        cache: 'no-store',
      })
    }
  })
})
