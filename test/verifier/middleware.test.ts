// The verifier in front of real servers: Express and plain `node:http`. The handler runs with a verified credential or not at all.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Guard, guardExpress, guardNode, planDigest, type Verifier } from '../../src/verifier/index.ts'
import { type ContractBroker, contractBroker } from '../support/contract-broker.ts'
import { until } from '../support/until.ts'
import { type Holder, holder, verifierAt } from '../support/verified.ts'

let broker: ContractBroker
let writ: Verifier
let one: Holder
beforeAll(async () => {
  broker = await contractBroker()
})
afterAll(() => broker.stop())
beforeEach(async () => {
  writ = verifierAt(broker, { reports: { everyMs: 10 } })
  one = await holder(broker)
  broker.uses.length = 0
  handled = 0
})
afterEach(async () => {
  await writ.close()
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})
let handled = 0
const servers: Server[] = []
const listening = async (server: Server): Promise<number> => {
  servers.push(server)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return (server.address() as AddressInfo).port
}

/** Both servers, each with this guard in front of the same handler. */
const STANDS: readonly (readonly [string, (guard: Guard<IncomingMessage>) => Promise<number>])[] = [
  [
    'node:http',
    (guard) =>
      listening(
        createServer(
          guardNode(writ, guard, (_request, response, credential) => {
            handled += 1
            response.end(JSON.stringify(credential))
          }),
        ),
      ),
  ],
  [
    'express',
    (guard) => {
      const app = express()
      const router = express.Router()
      router.post('/labels', guardExpress(writ, guard), (request, response) => {
        handled += 1
        response.json((request as { writ?: unknown }).writ)
      })
      app.use('/v2', router)
      return listening(createServer(app))
    },
  ],
]
interface Got {
  readonly status: number
  readonly challenges: readonly string[]
  readonly headers: IncomingMessage['headers']
  readonly text: string
}
const post = async (
  port: number,
  headers: readonly (readonly [string, string])[],
  body = '',
  path = '/v2/labels',
): Promise<Got> => {
  const request = send({ port, host: '127.0.0.1', method: 'POST', path, headers: headers.flat() as never })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let text = ''
  for await (const part of response) text += String(part)
  const challenges = response.rawHeaders.flatMap((name, n) =>
    n % 2 === 0 && name.toLowerCase() === 'www-authenticate' ? [response.rawHeaders[n + 1] ?? ''] : [],
  )
  return { status: response.statusCode ?? 0, challenges, headers: response.headers, text }
}
const fields = async (who = one, target = '/v2/labels'): Promise<[string, string][]> => {
  const { authorization, dpop } = await who.request({}, { target })
  return [
    ['Host', 'evil.example'],
    ['Authorization', authorization[0] ?? ''],
    ['DPoP', dpop[0] ?? ''],
  ]
}
const reported = async (many: number) => {
  await until(`${many} reports`, 2_000, async () => broker.uses.length >= many, 10)
  return broker.uses.map(({ use }) => use)
}

describe.each(STANDS)('%s', (_name, stand) => {
  it('gives the handler the verified credential, and tells of the use', async () => {
    const port = await stand({ needs: 'deploy', target: (request) => `label ${request.headers['x-label']}` })
    const got = await post(port, [...(await fields()), ['X-Label', 'urgent']])
    expect([got.status, JSON.parse(got.text).grant]).toEqual([200, one.grant])
    expect(await reported(1)).toMatchObject([{ outcome: 'used', action: 'deploy', target: 'label urgent' }])
  })

  it('names the path in its report where nothing else was said, without the query', async () => {
    const port = await stand({ argumentDigest: () => planDigest('x') })
    await post(port, await fields(), '', '/v2/labels?secret=1')
    expect(await reported(1)).toMatchObject([{ action: 'POST', target: '/v2/labels', argumentDigest: planDigest('x') }])
  })

  it('answers each refusal with its status and challenge, and the handler never runs', async () => {
    const port = await stand({ needs: 'deploy' })
    const good = await fields()
    const without = (name: string) => good.filter(([field]) => field !== name)
    const refused = async (headers: readonly (readonly [string, string])[], status: number, code: string) => {
      const got = await post(port, headers)
      expect([got.status, JSON.parse(got.text).type]).toEqual([status, `urn:writ:refusal:${code}`])
      expect(got.headers['cache-control']).toBe('no-store')
      expect(got.headers['content-type']).toBe('application/problem+json')
      return got
    }
    expect((await refused(without('Authorization'), 401, 'no_token')).challenges).toEqual(['DPoP algs="ES256 EdDSA"'])
    const [challenge = ''] = (await refused(without('DPoP'), 401, 'no_proof')).challenges
    expect(challenge).toMatch(/^DPoP error="invalid_dpop_proof", error_description="[^"]+", algs="ES256 EdDSA"$/)
    await refused([...good, ['DPoP', good[2]?.[1] ?? '']], 401, 'no_proof')
    await refused([...good, ['Authorization', good[1]?.[1] ?? '']], 401, 'bad_token')
    broker.revoke(one.grant)
    expect((await refused(await fields(), 401, 'ended')).challenges[0]).toContain('error="invalid_token"')
    broker.state.only = { '/oauth2/introspect': 503 }
    const stale = await refused(await fields(await holder(broker)), 503, 'stale')
    expect([stale.headers['retry-after'], stale.challenges]).toEqual(['1', []])
    broker.state.only = {}
    expect(handled).toBe(0)
    expect((await reported(4)).map(({ reason }) => reason).sort()).toEqual(['ended', 'no_proof', 'no_proof', 'stale'])
  })

  it('answers 403 for another plan and for another action', async () => {
    const plan = 'CREATE TABLE settlement (id int)'
    const claims = broker.claims()
    const grant = { ...Object(claims['https://writ.dev/claims/grant']), plan_digest: planDigest(plan) }
    const approved = await holder(broker, { ...claims, 'https://writ.dev/claims/grant': grant })
    const port = await stand({
      plan: async (request) => {
        const parts: Buffer[] = []
        for await (const part of request) parts.push(part as Buffer)
        return planDigest(Buffer.concat(parts))
      },
    })
    expect((await post(port, await fields(approved), plan)).status).toBe(200)
    const other = await post(port, await fields(approved), 'DROP TABLE ledger')
    expect([other.status, other.challenges[0]]).toEqual([403, expect.stringContaining('error="insufficient_scope"')])
    expect((await post(await stand({ needs: 'delete' }), await fields(approved), plan)).status).toBe(403)
    expect(handled).toBe(1)
  })

  it('asks for a proof of the URL that clients see, whatever the Host header says', async () => {
    const port = await stand({})
    expect((await post(port, await fields(one, '/labels'))).status).toBe(401)
    expect((await post(port, await fields(one, '/v2/labels'))).status).toBe(200)
  })

  it('fails the request, and does not run the handler, when the guard itself fails', async () => {
    const port = await stand({
      target: () => {
        throw new Error('a mistake in the route')
      },
    })
    expect((await post(port, await fields())).status).toBe(500)
    expect(handled).toBe(0)
  })
})

it('a plain handler that fails leaves nobody waiting', async () => {
  const port = await listening(createServer(guardNode(writ, {}, () => Promise.reject(new Error('a mistake')))))
  expect((await post(port, await fields())).status).toBe(500)
})

it('the credential is not printed with the request', async () => {
  const app = express()
  let keys: readonly string[] = []
  app.post('/v2/labels', guardExpress(writ), (request, response) => {
    keys = Object.keys(request)
    response.end()
  })
  expect((await post(await listening(createServer(app)), await fields())).status).toBe(200)
  expect(keys.length).toBeGreaterThan(0)
  expect(keys).not.toContain('writ')
})
