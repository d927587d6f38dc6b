// Token exchange on the wire (RFC 8693): what is taken, what is refused and how, and that a refusal makes nothing.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { BLAME, BrokerError, type ErrorCode, notFound } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named, shard, type Thumbprint } from '../../src/domain/ids.ts'
import { STATUSES, type Status } from '../../src/domain/lifecycle.ts'
import type { Caller } from '../../src/domain/principal.ts'
import { nextGrantId, VAULT } from '../support/sample-grants.ts'
import {
  BOUND_TOKEN,
  CANARY,
  dpop,
  FORM_TYPE,
  grantIn,
  ISSUER,
  JSON_TYPE,
  jwtCredential,
  KEY,
  liveMint,
  OTHER_KEY,
  PROOF,
  type Sending,
  type Stage,
  stage,
  TOKEN,
} from './door.ts'

const AUDIENCE = 'https://payments.northwind.example'
const TYPE = 'https://writ.dev/schemas/change/v1'
const grant = grantIn('active')
const details = (identifier: string = grant.id): string => JSON.stringify([{ type: TYPE, identifier }])
const good = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token: TOKEN,
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  authorization_details: details(),
}

let on: Stage
beforeAll(async () => {
  on = await stage()
})
afterAll(() => on.stop())
const bound = (to: Thumbprint | undefined): Grant =>
  ({
    ...grant,
    ask: { ...grant.ask, intent: { ...grant.ask.intent, executor: { principal: named.principal('vera'), key: to } } },
  }) as Grant
interface Verbs {
  readonly view: () => Grant | Promise<never>
  readonly exchange?: (caller: Caller) => unknown
}
/** Every exchange that got as far as making something. */
const made: { readonly args: readonly unknown[] }[] = []
/** As the verb does: the grant is shown to the door first, and only then is anything made. */
const answers = ({ view, exchange }: Verbs) =>
  on.answer({
    exchange: async (caller, id, attempt, accepts) => {
      accepts?.(await view())
      made.push({ args: [caller, id, attempt] })
      return exchange?.(caller)
    },
  })
const gives = (shown: Grant = grant) =>
  answers({
    view: () => shown,
    exchange: (caller) => ({
      grant: shown,
      mint: liveMint(),
      credential: jwtCredential(CANARY, caller.key === undefined ? 'Bearer' : 'DPoP'),
    }),
  })
beforeEach(() => {
  on.calls.length = 0
  made.length = 0
  on.lines.length = 0
  on.proofs.length = 0
  on.state.nonce = undefined
  gives()
})

const raw = (body: string, headers: Sending['headers'] = [dpop(KEY)], path = '/oauth2/token') =>
  on.send('POST', path, { headers: [FORM_TYPE, ...(headers ?? [])], body, anonymous: true })
const ask = (fields: Readonly<Record<string, string | undefined>> = {}, headers?: Sending['headers']) =>
  raw(
    new URLSearchParams(
      Object.entries({ ...good, ...fields }).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    ).toString(),
    headers,
  )
const exchanged = () => made

describe('token exchange', () => {
  it('gives the token with everything that the standards ask for', async () => {
    const got = await ask()
    expect(got.status).toBe(200)
    expect(got.headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      pragma: 'no-cache',
    })
    expect(got.body).toEqual({
      access_token: CANARY,
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'DPoP',
      expires_in: 300,
      authorization_details: [
        expect.objectContaining({
          type: TYPE,
          identifier: grant.id,
          entitlement: 'payments-migrator',
          locations: [AUDIENCE],
        }),
      ],
      grant_id: grant.id,
    })
    expect(exchanged()).toEqual([
      {
        args: [
          { principal: expect.objectContaining({ id: 'vera' }), key: KEY, session: '', facts: {} },
          grant.id,
          undefined,
        ],
      },
    ])
    expect(on.proofs).toEqual([{ proof: PROOF[KEY], method: 'POST', url: `${ISSUER}/oauth2/token` }])
    expect(on.lines).toEqual([])
  })

  it('gives a bearer token where the grant says so, and says Bearer', async () => {
    expect((await ask({}, [])).body.token_type).toBe('Bearer')
  })

  it('takes all three kinds of subject token, the wanted type by either name, and the audience as often as it is right', async () => {
    for (const type of ['jwt', 'id_token', 'access_token'])
      expect((await ask({ subject_token_type: `urn:ietf:params:oauth:token-type:${type}` })).status).toBe(200)
    expect((await ask({ requested_token_type: 'urn:ietf:params:oauth:token-type:access_token' })).status).toBe(200)
    const form = new URLSearchParams(good)
    for (const name of ['resource', 'resource', 'audience']) form.append(name, AUDIENCE)
    expect((await raw(form.toString())).status).toBe(200)
  })

  it('ignores what it does not know, as RFC 6749 demands', async () => {
    expect((await ask({ client_id: 'gha-acme', something: 'else' })).status).toBe(200)
  })

  const REFUSED: readonly (readonly [
    what: string,
    fields: Readonly<Record<string, string | undefined>>,
    error: string,
  ])[] = [
    ['no grant type', { grant_type: undefined }, 'invalid_request'],
    ['an empty grant type', { grant_type: '' }, 'invalid_request'],
    ['another grant type', { grant_type: 'client_credentials' }, 'unsupported_grant_type'],
    ['no subject token', { subject_token: undefined }, 'invalid_request'],
    ['no subject token type', { subject_token_type: undefined }, 'invalid_request'],
    ['a SAML assertion', { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }, 'invalid_request'],
    ['a subject token that is not good here', { subject_token: 'x.y.z' }, 'invalid_request'],
    ['an actor', { actor_token: TOKEN, actor_token_type: 'urn:ietf:params:oauth:token-type:jwt' }, 'invalid_request'],
    ['a scope', { scope: 'admin' }, 'invalid_request'],
    ['a wrapped Vault token', { requested_token_type: 'https://writ.dev/token-type/vault-wrapped' }, 'invalid_request'],
    ['a refresh token', { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }, 'invalid_request'],
    ['no details', { authorization_details: undefined }, 'invalid_authorization_details'],
    ['details that are no JSON', { authorization_details: '[{' }, 'invalid_authorization_details'],
    [
      'an object instead of an array',
      { authorization_details: details().slice(1, -1) },
      'invalid_authorization_details',
    ],
    ['no object', { authorization_details: '[]' }, 'invalid_authorization_details'],
    [
      'two objects',
      { authorization_details: `[${details().slice(1, -1)},${details().slice(1, -1)}]` },
      'invalid_authorization_details',
    ],
    ['another type', { authorization_details: details().replace('/v1', '/v2') }, 'invalid_authorization_details'],
    [
      'more than the identifier',
      { authorization_details: JSON.stringify([{ type: TYPE, identifier: grant.id, actions: ['db.drop'] }]) },
      'invalid_authorization_details',
    ],
    [
      'privileges',
      { authorization_details: JSON.stringify([{ type: TYPE, identifier: grant.id, privileges: [] }]) },
      'invalid_authorization_details',
    ],
    [
      'an asking',
      { authorization_details: JSON.stringify([{ type: TYPE, entitlement: 'payments-migrator' }]) },
      'invalid_authorization_details',
    ],
    [
      'an identifier twice',
      { authorization_details: `[{"type":"${TYPE}","identifier":"${grant.id}","identifier":"${grant.id}"}]` },
      'invalid_authorization_details',
    ],
    ['an identifier that is none', { authorization_details: details('nonsense') }, 'invalid_grant'],
    ['another resource', { resource: 'https://elsewhere.example' }, 'invalid_target'],
    ['another audience', { audience: `${AUDIENCE}/` }, 'invalid_target'],
    [
      'a right resource and a wrong audience',
      { resource: AUDIENCE, audience: 'https://elsewhere.example' },
      'invalid_target',
    ],
  ]
  it.each(REFUSED)('refuses %s, and makes nothing', async (_, fields, error) => {
    const got = await ask(fields)
    expect({ status: got.status, error: got.body.error }).toEqual({ status: 400, error })
    expect(got.headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store' })
    expect(got.body.error_description).toMatch(/^[ !#-[\]-~]+$/)
    expect(exchanged()).toEqual([])
  })

  it('refuses every parameter but resource and audience when it is sent twice', async () => {
    for (const name of [...Object.keys(good), 'client_id', 'requested_token_type']) {
      const form = new URLSearchParams(good)
      form.append(name, 'x')
      if (!(name in good)) form.append(name, 'x')
      expect({ name, error: (await raw(form.toString())).body.error }).toEqual({ name, error: 'invalid_request' })
    }
    expect(on.calls).toEqual([])
  })

  it('takes parameters from the body only', async () => {
    const got = await raw('', [dpop(KEY)], `/oauth2/token?${new URLSearchParams(good)}`)
    expect({ status: got.status, error: got.body.error }).toEqual({ status: 400, error: 'invalid_request' })
    expect((await raw(new URLSearchParams(good).toString(), [], '/oauth2/token?a=b')).status).toBe(400)
    expect(on.calls).toEqual([])
  })

  it('answers what the pipeline refuses as RFC 6749 does, never as a problem document', async () => {
    const answers = await Promise.all([
      on.send('POST', '/oauth2/token', { headers: [JSON_TYPE], body: JSON.stringify(good) }),
      raw(`${new URLSearchParams(good)}&filler=${'a'.repeat(16_384)}`),
      raw('grant_type=%zz'),
      raw('grant_type'),
      on.send('GET', '/oauth2/token'),
    ])
    expect(answers.map(({ status, body, headers }) => [status, body.error, headers['content-type']])).toEqual([
      [415, 'invalid_request', 'application/json'],
      [413, 'invalid_request', 'application/json'],
      [400, 'invalid_request', 'application/json'],
      [400, 'invalid_request', 'application/json'],
      [405, 'invalid_request', 'application/json'],
    ])
    expect(answers[4]?.headers.allow).toBe('POST')
    expect(on.calls).toEqual([])
  })

  it('says invalid_dpop_proof or use_dpop_nonce, with the nonce to use', async () => {
    on.state.nonce = 'fresh'
    const bad = await ask({}, [['DPoP', PROOF.bad]])
    expect([bad.status, bad.body.error]).toEqual([400, 'invalid_dpop_proof'])
    const twice = await ask({}, [dpop(KEY), dpop(KEY)])
    expect(twice.body.error).toBe('invalid_dpop_proof')
    const nonce = await ask({}, [['DPoP', PROOF.nonceless]])
    expect([nonce.status, nonce.body.error, nonce.headers['dpop-nonce']]).toEqual([400, 'use_dpop_nonce', 'fresh'])
    expect(on.calls).toEqual([])
    expect((await ask()).headers['dpop-nonce']).toBe('fresh')
  })

  it('refuses a proof that was used before, and makes no mark of one beside a subject token that is not good', async () => {
    on.spent.length = 0
    expect((await ask({ subject_token: 'of.some.body' })).body.error).toBe('invalid_request')
    expect(on.spent).toEqual([])
    on.state.proofsOnce = true
    expect((await ask()).status).toBe(200)
    expect(on.spent).toEqual([PROOF[KEY]])
    const again = await ask()
    expect([again.status, again.body.error]).toEqual([400, 'invalid_dpop_proof'])
    expect(on.calls).toHaveLength(1)
    on.state.proofsOnce = false
  })

  it('takes a subject token that is bound to a key only with a proof of that key', async () => {
    expect((await ask({ subject_token: BOUND_TOKEN }, [dpop(OTHER_KEY)])).body.error).toBe('invalid_request')
    expect((await ask({ subject_token: BOUND_TOKEN }, [])).body.error).toBe('invalid_request')
    expect(on.calls).toEqual([])
    expect((await ask({ subject_token: BOUND_TOKEN })).status).toBe(200)
  })

  it('answers a missing grant, another executor, another key and a used grant with the same bytes', async () => {
    const others: readonly Verbs[] = [
      { view: () => Promise.reject(notFound()) },
      {
        view: () => ({
          ...grant,
          ask: {
            ...grant.ask,
            intent: { ...grant.ask.intent, executor: { principal: named.principal('olivia'), key: undefined } },
          },
        }),
      },
      { view: () => bound(OTHER_KEY) },
      { view: () => grant, exchange: () => Promise.reject(new BrokerError('not_executor', 'Another session.')) },
      { view: () => grant, exchange: () => Promise.reject(new BrokerError('unauthenticated', 'Another key.')) },
      { view: () => grant, exchange: () => Promise.reject(new BrokerError('uses_exhausted', 'Used up.')) },
    ]
    const texts = []
    for (const verbs of others) {
      answers(verbs)
      const got = await ask({ authorization_details: details(nextGrantId(shard(0))) })
      expect(got.status).toBe(400)
      texts.push(got.text)
    }
    expect(new Set(texts).size).toBe(1)
    expect(JSON.parse(texts[0] ?? '').error).toBe('invalid_grant')
  })

  it('tells another executor nothing of the audience', async () => {
    gives(bound(OTHER_KEY))
    expect((await ask({ resource: 'https://elsewhere.example' })).body.error).toBe('invalid_grant')
  })

  it('makes no login where the grant gives one: it says where to get it', async () => {
    gives({
      ...grant,
      ask: { ...grant.ask, credential: VAULT, intent: { ...grant.ask.intent, credential: { kind: 'vault', uses: 1 } } },
    } as Grant)
    const got = await ask()
    expect(got.body).toMatchObject({
      error: 'invalid_request',
      error_description: expect.stringContaining('/v1/grants/{id}/exchange'),
    })
    expect(exchanged()).toEqual([])
  })

  const BY_STATUS: Readonly<Record<Status, string>> = {
    pending: 'invalid_authorization_details',
    approved: 'invalid_authorization_details',
    issuing: 'invalid_authorization_details',
    active: 'invalid_grant',
    ending: 'access_denied',
    stuck: 'access_denied',
    ended: 'access_denied',
    denied: 'access_denied',
    withdrawn: 'access_denied',
    lapsed: 'expired_token',
  }
  it.each(STATUSES)('answers for a grant that is %s as the table of the wire says', async (status) => {
    answers({
      view: () => grant,
      exchange: () => Promise.reject(new BrokerError('wrong_status', 'Not now.', { facts: { status } })),
    })
    const got = await ask()
    expect({ status: got.status, error: got.body.error }).toEqual({ status: 400, error: BY_STATUS[status] })
    if (BY_STATUS[status] === 'invalid_authorization_details')
      expect(got.body.error_uri).toBe(`${ISSUER}/v1/grants/${grant.id}`)
  })

  const BY_CODE: Readonly<Record<Exclude<ErrorCode, 'wrong_status'>, readonly [number, string]>> = {
    invalid_request: [400, 'invalid_request'],
    unauthenticated: [400, 'invalid_grant'],
    not_permitted: [400, 'access_denied'],
    step_up_required: [400, 'access_denied'],
    ceremony_over: [400, 'access_denied'],
    own_request: [400, 'access_denied'],
    not_executor: [400, 'invalid_grant'],
    grant_not_found: [400, 'invalid_grant'],
    window_closed: [400, 'expired_token'],
    window_not_open: [400, 'invalid_authorization_details'],
    window_closing: [400, 'expired_token'],
    uses_exhausted: [400, 'invalid_grant'],
    already_decided: [400, 'access_denied'],
    already_asked: [400, 'access_denied'],
    too_many_pending: [400, 'access_denied'],
    revision_mismatch: [400, 'invalid_grant'],
    idempotency_mismatch: [400, 'invalid_request'],
    policy_refused: [400, 'access_denied'],
    nobody_can_decide: [400, 'access_denied'],
    authors_unknown: [400, 'access_denied'],
    frozen: [400, 'access_denied'],
    freeze_not_found: [400, 'invalid_request'],
    too_many_requests: [400, 'slow_down'],
    store_conflict: [503, 'temporarily_unavailable'],
    stale: [503, 'temporarily_unavailable'],
    forge_unavailable: [503, 'temporarily_unavailable'],
    vault_refused: [503, 'temporarily_unavailable'],
    vault_unavailable: [503, 'temporarily_unavailable'],
    store_unavailable: [503, 'temporarily_unavailable'],
    log_unavailable: [503, 'temporarily_unavailable'],
    recovering: [503, 'temporarily_unavailable'],
    clock_untrusted: [503, 'temporarily_unavailable'],
    policy_outdated: [503, 'temporarily_unavailable'],
    not_confirmed: [503, 'temporarily_unavailable'],
  }
  it.each(Object.keys(BLAME).filter((code) => code !== 'wrong_status') as (keyof typeof BY_CODE)[])(
    'answers %s of the verb in the words of OAuth',
    async (code) => {
      const refused = new BrokerError(code, 'Said "so"\u0007.', { cause: new Error(CANARY) })
      answers({ view: () => grant, exchange: () => Promise.reject(refused) })
      const got = await ask()
      expect([got.status, got.body.error]).toEqual(BY_CODE[code])
      expect(got.headers['retry-after']).toBe(
        { 503: '2', 400: code === 'too_many_requests' ? '5' : undefined }[got.status],
      )
      expect(got.body.error_description).toMatch(/^[ !#-[\]-~]+$/)
      expect(got.text + on.lines.join('')).not.toContain(CANARY)
    },
  )

  it('answers 503 when the store cannot say whether a proof or token was used', async () => {
    const before = on.state.authenticate
    on.state.authenticate = () => Promise.reject(new BrokerError('store_unavailable', 'The store does not answer.'))
    const got = await ask()
    on.state.authenticate = before
    expect([got.status, got.body.error, got.headers['retry-after']]).toEqual([503, 'temporarily_unavailable', '2'])
  })

  it('tells nothing of a bug, and logs it once without its message', async () => {
    answers({ view: () => Promise.reject(new TypeError(CANARY)) })
    const got = await ask()
    expect([got.status, got.body.error]).toEqual([500, 'server_error'])
    expect(got.text).not.toContain(CANARY)
    expect(on.lines).toHaveLength(1)
    expect(on.lines[0]).not.toContain(CANARY)
  })
})
