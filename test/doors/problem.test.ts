// Every refusal of a verb, as a client of `/v1` sees it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BLAME, BrokerError, type ErrorCode } from '../../src/domain/errors.ts'
import { shard } from '../../src/domain/ids.ts'
import { nextGrantId } from '../support/sample-grants.ts'
import { CANARY, JSON_TYPE, type Stage, stage } from './door.ts'

const EXPECTED: Readonly<Record<ErrorCode, readonly [status: number, retryAfter: string | undefined]>> = {
  invalid_request: [400, undefined],
  unauthenticated: [401, undefined],
  not_permitted: [403, undefined],
  step_up_required: [401, undefined],
  ceremony_over: [404, undefined],
  own_request: [403, undefined],
  not_executor: [403, undefined],
  grant_not_found: [404, undefined],
  wrong_status: [409, undefined],
  window_closed: [409, undefined],
  window_not_open: [409, undefined],
  window_closing: [409, undefined],
  uses_exhausted: [409, undefined],
  already_decided: [409, undefined],
  already_asked: [409, undefined],
  too_many_pending: [429, '60'],
  revision_mismatch: [412, undefined],
  idempotency_mismatch: [422, undefined],
  policy_refused: [422, undefined],
  nobody_can_decide: [422, undefined],
  authors_unknown: [422, undefined],
  frozen: [423, undefined],
  freeze_not_found: [404, undefined],
  too_many_requests: [429, '5'],
  store_conflict: [409, '0'],
  stale: [409, '1'],
  forge_unavailable: [503, '2'],
  vault_refused: [502, undefined],
  vault_unavailable: [503, '2'],
  store_unavailable: [503, '2'],
  log_unavailable: [503, '2'],
  recovering: [503, '2'],
  clock_untrusted: [503, '2'],
  policy_outdated: [503, '2'],
  not_confirmed: [503, '2'],
}

describe('problem documents', () => {
  let on: Stage
  beforeAll(async () => {
    on = await stage()
  })
  afterAll(() => on.stop())
  const path = `/v1/grants/${nextGrantId(shard(0))}/exchange`
  const refuse = (thrown: unknown) =>
    on.answer({
      exchange: () => {
        throw thrown
      },
    })

  it.each(Object.keys(BLAME) as ErrorCode[])(
    'tells %s with its status, type, next action and facts, and nothing of its cause',
    async (code) => {
      refuse(
        new BrokerError(code, 'Why it is refused.', {
          nextAction: 'Do this.',
          facts: { limit: 'x' },
          cause: new Error(CANARY),
        }),
      )
      const got = await on.send('POST', path, { headers: [JSON_TYPE], body: '{}' })
      const [status, retryAfter] = EXPECTED[code]
      expect(got.status).toBe(status)
      expect(got.headers['content-type']).toBe('application/problem+json')
      expect(got.headers['retry-after']).toBe(retryAfter)
      expect(got.headers['cache-control']).toBe('no-store')
      expect(got.body).toEqual({
        type: `urn:writ:error:${code}`,
        title: expect.any(String),
        status,
        detail: 'Why it is refused.',
        requestId: got.headers['x-request-id'],
        next_action: 'Do this.',
        facts: { limit: 'x' },
      })
    },
  )

  it('tells nothing of a bug but the request id, and logs its name and place once, never its message', async () => {
    on.lines.length = 0
    refuse(new TypeError(CANARY))
    const got = await on.send('POST', path, { headers: [JSON_TYPE], body: '{}' })
    expect(got.status).toBe(500)
    expect(Object.keys(got.body)).toEqual(['type', 'title', 'status', 'detail', 'requestId'])
    expect(got.body.type).toBe('urn:writ:error:internal')
    expect(got.text).not.toContain(CANARY)
    expect(got.text).not.toContain('at ')
    expect(on.lines).toHaveLength(1)
    expect(JSON.parse(on.lines[0] ?? '')).toMatchObject({
      level: 'error',
      requestId: got.body.requestId,
      error: 'TypeError',
      at: expect.stringContaining('problem.test'),
    })
    expect(on.lines[0]).not.toContain(CANARY)
  })

  it('logs the cause of an upstream failure once, by name and code only', async () => {
    on.lines.length = 0
    const cause = Object.assign(new Error(CANARY), { code: 'ECONNREFUSED' })
    refuse(new BrokerError('store_unavailable', 'The store does not answer.', { cause }))
    await on.send('POST', path, { headers: [JSON_TYPE], body: '{}' })
    expect(on.lines).toHaveLength(1)
    expect(JSON.parse(on.lines[0] ?? '')).toMatchObject({
      level: 'warn',
      code: 'store_unavailable',
      cause: 'Error ECONNREFUSED',
    })
    expect(on.lines[0]).not.toContain(CANARY)
  })

  it('challenges with both schemes on every 401, without an error where no token was sent', async () => {
    const anonymous = await on.send('GET', '/v1/grants', { anonymous: true })
    expect(anonymous.status).toBe(401)
    expect(anonymous.headers['www-authenticate']).toBe('DPoP algs="ES256 EdDSA", Bearer')
    const bad = await on.send('GET', '/v1/grants', { headers: [['Authorization', 'Bearer nonsense']] })
    expect(bad.status).toBe(401)
    expect(bad.headers['www-authenticate']).toBe(
      'DPoP error="invalid_token", algs="ES256 EdDSA", Bearer error="invalid_token"',
    )
  })

  it('challenges for the person where a token is not enough (RFC 9470), and says where to go on', async () => {
    const facts = { ceremonies: '/v1/grants/x/ceremonies' }
    refuse(new BrokerError('step_up_required', 'This is decided with a passkey.', { facts }))
    const got = await on.send('POST', path, { headers: [JSON_TYPE], body: '{}' })
    expect([got.status, got.body.facts]).toEqual([401, facts])
    expect(got.headers['www-authenticate']).toBe(
      'DPoP error="insufficient_user_authentication", acr_values="phr", algs="ES256 EdDSA", Bearer error="insufficient_user_authentication", acr_values="phr"',
    )
  })

  it('counts refusals by route and code', async () => {
    refuse(new BrokerError('uses_exhausted', 'Used up.'))
    await on.send('POST', path, { headers: [JSON_TYPE], body: '{}' })
    const { text } = await on.send('GET', '/metrics')
    expect(text).toMatch(/writ_refusals_total\{route="exchange",code="uses_exhausted"\} \d/)
    expect(text).toMatch(/writ_http_requests_total\{route="exchange",method="POST",status="409"\} \d/)
  })
})
