// What a hostile client may send: every route refuses it before any verb is asked.
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { notFound } from '../../src/domain/errors.ts'
import { shard } from '../../src/domain/ids.ts'
import { ROUTES } from '../../src/http/routes.ts'
import { nextGrantId } from '../support/sample-grants.ts'
import { FORM_TYPE, JSON_TYPE, type Received, type Sending, type Stage, stage, TOKEN } from './door.ts'

const id = nextGrantId(shard(0))
const at = (path: string): string => path.replace(':id', id)
const WITH_BODY = ROUTES.filter((route) => route.body !== undefined)
const WITHOUT = ROUTES.filter((route) => route.body === undefined)

interface Case {
  readonly what: string
  readonly sending: Sending
  readonly suffix?: string
  readonly status: number
}
const body = (text: string | Buffer, type: readonly [string, string] = JSON_TYPE): Sending => ({
  headers: [type],
  body: text,
})
const BODIES: readonly Case[] = [
  { what: 'no token', sending: { ...body('{}'), anonymous: true }, status: 401 },
  { what: 'no JSON', sending: body('{"reason":'), status: 400 },
  { what: 'an empty JSON text', sending: body(' '), status: 400 },
  { what: 'a member twice', sending: body('{"reason":"a","reason":"b"}'), status: 400 },
  { what: 'an unknown member', sending: body('{"admin":true}'), status: 400 },
  { what: 'a prototype', sending: body('{"__proto__":{"admin":true}}'), status: 400 },
  { what: 'a constructor', sending: body('{"constructor":{"prototype":{"admin":true}}}'), status: 400 },
  { what: 'an array', sending: body('[]'), status: 400 },
  { what: 'null', sending: body('null'), status: 400 },
  { what: 'text after the value', sending: body('{}{}'), status: 400 },
  { what: 'too many levels', sending: body(`{"a":${'['.repeat(40)}${']'.repeat(40)}}`), status: 400 },
  { what: 'bytes that are no UTF-8', sending: body(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), status: 400 },
  { what: 'a byte order mark', sending: body('\ufeff{}'), status: 400 },
  { what: 'a byte too many', sending: body(`{"reason":"${'a'.repeat(65_536)}"}`), status: 413 },
  { what: 'a body far too large', sending: { headers: [JSON_TYPE, ['Content-Length', '9999999']] }, status: 413 },
  { what: 'a form', sending: body('reason=a', FORM_TYPE), status: 415 },
  { what: 'plain text', sending: body('{}', ['Content-Type', 'text/plain']), status: 415 },
  { what: 'no content type', sending: { body: '{}' }, status: 415 },
  { what: 'two content types', sending: { headers: [JSON_TYPE, JSON_TYPE], body: '{}' }, status: 415 },
  { what: 'another charset', sending: body('{}', ['Content-Type', 'application/json; charset=utf-16']), status: 415 },
  {
    what: 'a compressed body',
    sending: { headers: [JSON_TYPE, ['Content-Encoding', 'gzip']], body: '{}' },
    status: 415,
  },
  { what: 'a query', sending: body('{}'), suffix: '?reason=a', status: 400 },
  {
    what: 'two Authorization headers',
    sending: {
      headers: [
        ['Authorization', 'Bearer a'],
        ['Authorization', 'Bearer b'],
      ],
      body: '{}',
    },
    status: 401,
  },
  { what: 'two proofs', sending: { headers: [JSON_TYPE, ['DPoP', 'a'], ['DPoP', 'b']], body: '{}' }, status: 401 },
  {
    what: 'a password',
    sending: { headers: [JSON_TYPE, ['Authorization', 'Basic dmVyYTpwdw==']], body: '{}' },
    status: 401,
  },
]
const QUERIES: readonly Case[] = [
  { what: 'no token', sending: { anonymous: true }, status: 401 },
  { what: 'a name twice', sending: {}, suffix: '?limit=1&limit=2', status: 400 },
  { what: 'an array', sending: {}, suffix: '?limit[]=1', status: 400 },
  { what: 'an object', sending: {}, suffix: '?limit[a]=1', status: 400 },
  { what: 'an unknown name', sending: {}, suffix: '?admin=true', status: 400 },
  { what: 'a prototype', sending: {}, suffix: '?__proto__=1', status: 400 },
  { what: 'bad percent-encoding', sending: {}, suffix: '?limit=%zz', status: 400 },
  { what: 'bad UTF-8', sending: {}, suffix: '?limit=%ff', status: 400 },
  { what: 'a name without a value', sending: {}, suffix: '?limit', status: 400 },
  { what: 'a fraction', sending: {}, suffix: '?limit=1.5&wait=1.5', status: 400 },
  { what: 'a huge number', sending: {}, suffix: '?limit=99999&wait=99999', status: 400 },
  { what: 'a body', sending: body('{}'), status: 400 },
]

let on: Stage
beforeAll(async () => {
  on = await stage()
})
afterAll(() => on.stop())
beforeEach(() => {
  on.calls.length = 0
  on.lines.length = 0
})

function isRefused(got: Received, status: number): void {
  expect({ status: got.status, calls: on.calls, lines: on.lines }).toEqual({ status, calls: [], lines: [] })
  expect(got.headers['content-type']).toBe('application/problem+json')
  expect(got.headers['cache-control']).toBe('no-store')
  expect(got.headers['x-powered-by']).toBeUndefined()
  expect(got.text).not.toMatch(/\bat .*\.[tj]s|node_modules|Error:/)
}

describe.each(WITH_BODY)('$method $path', (route) => {
  it.each(BODIES)('refuses $what before any verb is asked', async ({ sending, suffix = '', status }) => {
    isRefused(await on.send('POST', at(route.path) + suffix, sending), status)
  })
})
describe.each(WITHOUT)('$method $path', (route) => {
  it.each(QUERIES)('refuses $what before any verb is asked', async ({ sending, suffix = '', status }) => {
    isRefused(await on.send(route.method, at(route.path) + suffix, sending), status)
  })
})

describe.each(ROUTES.filter((route) => route.path.includes(':id')))('$method $path', (route) => {
  it('answers an id that cannot be one as one that is not there, byte for byte but for the request id', async () => {
    on.answer({ view: () => Promise.reject(notFound()) })
    const foreign = await on.send('GET', `/v1/grants/${id}`)
    on.calls.length = 0
    for (const bad of ['x', 'g0-short', `${id}0`, '..%2f..%2fetc', 'g0-%00', encodeURIComponent('g0-ä')]) {
      const sending = route.method === 'POST' ? body('{}') : {}
      const got = await on.send(route.method, route.path.replace(':id', bad), sending)
      isRefused(got, 404)
      expect({ ...got.body, requestId: '' }).toEqual({ ...foreign.body, requestId: '' })
    }
  })
})

describe('the pipeline', () => {
  it('answers an unknown address with 404', async () => {
    for (const path of [
      '/',
      '/v1',
      '/v1/grants/',
      '/V1/grants',
      '/v1/unknown',
      '/v1/grants/%zz',
      '/oauth2/authorize',
      `/v1/grants/${id}/unknown`,
    ])
      isRefused(await on.send('GET', path), 404)
  })

  it('answers another method with 405 and the ones that are allowed', async () => {
    for (const [method, path, allow] of [
      ['DELETE', '/v1/grants', 'POST, GET, HEAD'],
      ['PUT', `/v1/grants/${id}`, 'GET, HEAD'],
      ['OPTIONS', `/v1/grants/${id}/exchange`, 'POST'],
      ['GET', `/v1/grants/${id}/revoke`, 'POST'],
      ['TRACE', '/v1/entitlements', 'GET, HEAD'],
    ] as const) {
      const got = await on.send(method, path)
      isRefused(got, 405)
      expect(got.headers.allow).toBe(allow)
    }
  })

  it('does not take a method from a header or a parameter', async () => {
    const got = await on.send('GET', `/v1/grants/${id}/revoke?_method=POST`, {
      headers: [['X-HTTP-Method-Override', 'POST']],
    })
    isRefused(got, 405)
  })

  it('makes its own request id, whatever the client sends', async () => {
    const got = await on.send('GET', '/v1/unknown', { headers: [['X-Request-Id', 'mine']] })
    expect(got.body.requestId).toMatch(/^r-\d+$/)
  })

  it('sends the security headers with every answer, also with refusals', async () => {
    for (const path of ['/healthz', '/v1/unknown', '/v1/grants', '/oauth2/jwks', '/oauth2/token']) {
      const { headers } = await on.send('GET', path, { anonymous: true })
      expect(headers).toMatchObject({
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'strict-transport-security': expect.stringContaining('max-age='),
      })
      expect(headers.etag).toBeUndefined()
    }
  })

  it('keeps a connection usable after a refused body, and never takes the rest of it for a request', async () => {
    const smuggled = `{"reason":"${'a'.repeat(100)}GET /v1/grants HTTP/1.1"}`
    const raw = `POST /v1/grants HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`
    const next = 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    const answers = await new Promise<string>((resolve, reject) => {
      let text = ''
      const socket = connect(on.port, '127.0.0.1', () => socket.write(raw + next))
      socket.on('data', (chunk) => {
        text += String(chunk)
      })
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
    })
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 401', 'HTTP/1.1 200'])
  })

  it('survives a client that goes away in the middle of its body', async () => {
    await new Promise<void>((resolve) => {
      const head = `POST /v1/grants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{`
      const socket = connect(on.port, '127.0.0.1', () => socket.write(head, () => socket.destroy()))
      socket.on('close', () => resolve())
    })
    expect((await on.send('GET', '/healthz')).status).toBe(200)
    expect(on.calls).toEqual([])
  })
})
