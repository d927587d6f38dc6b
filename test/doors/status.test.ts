// Status lists on the wire: who may read them, for how long, and what is said where nothing can be known.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { ISSUER, type Stage, stage } from './door.ts'

const MEDIA = 'application/statuslist+jwt'
let on: Stage
const asked: string[] = []
beforeAll(async () => {
  on = await stage()
})
afterAll(() => on.stop())
beforeEach(() => {
  asked.length = 0
  on.state.statuses = {
    list: async (name) => {
      asked.push(name)
      return name === '0-1' ? { token: 'eyJh.e30.c2ln', maxAgeSeconds: 22 } : undefined
    },
    uris: async () => [`${ISSUER}/status/0-1`],
  }
})
const get = (path: string, ...accept: readonly string[]) =>
  on.send('GET', path, { anonymous: true, headers: accept.map((media) => ['Accept', media] as const) })

describe('a status list', () => {
  it('is public, in its own media type, and may be kept for as long as is said', async () => {
    const got = await get('/status/0-1')
    expect([got.status, got.headers['content-type'], got.text]).toEqual([200, MEDIA, 'eyJh.e30.c2ln'])
    expect(got.headers['cache-control']).toBe('public, max-age=22')
    expect(got.headers['access-control-allow-origin']).toBe('*')
    expect(got.headers['cross-origin-resource-policy']).toBe('cross-origin')
    expect(asked).toEqual(['0-1'])
    expect((await on.send('HEAD', '/status/0-1', { anonymous: true })).text).toBe('')
  })

  it.each([
    [MEDIA],
    [MEDIA.toUpperCase()],
    ['application/*'],
    ['*/*'],
    [`application/statuslist+cwt, ${MEDIA};q=0.5`],
    ['text/html,application/xhtml+xml,*/*;q=0.8'],
    [''],
  ])('is given to whoever accepts %s', async (accept) => {
    expect((await get('/status/0-1', accept)).status).toBe(200)
  })

  it.each([['application/statuslist+cwt'], ['application/json'], [`${MEDIA};q=0, */*`], ['*/*;q=0.000']])(
    'is refused, in words, to whoever accepts only %s',
    async (accept) => {
      const got = await get('/status/0-1', accept)
      expect([got.status, got.body.error, asked]).toEqual([406, 'invalid_request', []])
    },
  )

  it('is not to be had of another time, and whatever else is asked changes nothing', async () => {
    const got = await get('/status/0-1?time=1686925000')
    expect([got.status, got.headers['cache-control'], asked]).toEqual([501, 'no-store', []])
    expect((await get('/status/0-1?x=1&timed=2')).status).toBe(200)
  })

  it('that is none is 404, whatever the name, and may be kept by nobody', async () => {
    for (const name of ['0-2', 'x', '%2e%2e', '0-1%20', `0-${'9'.repeat(200)}`]) {
      const got = await get(`/status/${name}`)
      expect([name, got.status, got.headers['cache-control']]).toEqual([name, 404, 'no-store'])
    }
  })

  it.each(['recovering', 'store_unavailable', 'clock_untrusted'] as const)(
    'is not told while the broker is %s: 503, not to be kept',
    async (code) => {
      on.state.statuses = {
        list: () => Promise.reject(new BrokerError(code, 'not now')),
        uris: () => Promise.reject(new BrokerError(code, 'not now')),
      }
      for (const path of ['/status/0-1', '/status']) {
        const got = await get(path)
        expect([got.status, got.body.error, got.headers['cache-control'], got.headers['retry-after']]).toEqual([
          503,
          'temporarily_unavailable',
          'no-store',
          '2',
        ])
      }
    },
  )
})

describe('where the lists are', () => {
  it('is public, and named in the metadata', async () => {
    const got = await get('/status')
    expect([got.status, got.body]).toEqual([200, { status_lists: [`${ISSUER}/status/0-1`] }])
    expect(got.headers['access-control-allow-origin']).toBe('*')
    const { body } = await get('/.well-known/oauth-authorization-server')
    expect(body.status_list_aggregation_endpoint).toBe(`${ISSUER}/status`)
  })
})
