// What the hostile runs found: answers that the API document did not describe, each as it was sent.
import { Agent } from 'node:http'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openApiDocument } from '../../src/http/openapi.ts'
import { type HostileDoor, hostileDoor } from '../doors/hostile-door.ts'
import { openApiCheck } from '../support/openapi-check.ts'
import { ISSUER } from '../support/world.ts'
import type { WholeRequest } from './bad-values.ts'
import { rawClient } from './raw-client.ts'

let on: HostileDoor
beforeAll(async () => {
  on = await hostileDoor(new Agent())
})
afterAll(() => on.stop())

const check = openApiCheck(openApiDocument(ISSUER))
const violations = async (sent: WholeRequest): Promise<readonly [number, readonly string[]]> => {
  const client = rawClient(on.port)
  const got = await client.send(sent)
  client.close()
  return [got.status, check({ method: sent.method, path: sent.target, ...got })]
}
const FORM = ['Content-Type', 'application/x-www-form-urlencoded'] as const

it.each(['/oauth2/token', '/oauth2/introspect'])(
  'a request to %s that is no HTTP is refused as the API document says',
  async (target) => {
    const nul: WholeRequest = { method: 'POST', target, headers: [FORM, ['DPoP', 'a\0b']], body: Buffer.from('a=1') }
    expect(await violations(nul)).toEqual([400, []])
  },
)

it.each(['/oauth2/jwks', '/.well-known/oauth-authorization-server', '/healthz'])(
  'a request to %s that is no HTTP is refused as the API document says',
  async (target) => {
    expect(await violations({ method: 'GET', target, headers: [['X', 'a\0b']], body: undefined })).toEqual([400, []])
  },
)

it('the name of a status list that cannot be decoded is refused as the API document says', async () => {
  for (const name of ['%FF%FE', '%', '%zz', '%C0%AF', 'caf%E9'])
    expect(await violations({ method: 'GET', target: `/status/${name}`, headers: [], body: undefined })).toEqual([
      404,
      [],
    ])
})

it('a method that nobody knows is refused after what is no HTTP and what is no address', async () => {
  const ask = (target: string, ...headers: readonly (readonly [string, string])[]) =>
    violations({ method: 'PATCH', target, headers, body: undefined })
  expect(await ask('/v1/grants/g0-a/uses')).toEqual([405, []])
  expect(await ask('/v1/grants/g0-a/uses', ['DPoP', 'a\0b'])).toEqual([400, []])
  expect(await ask('/nowhere', ['DPoP', 'a\0b'])).toEqual([400, []])
  for (const id of ['%FF', '%', '%zz', '%ED%A0%80']) expect(await ask(`/v1/grants/${id}/uses`)).toEqual([404, []])
})

it('of a method that nobody knows no other answer is let pass', () => {
  const answered = (status: number, connection: string, path = '/v1/grants/g0-a/uses') =>
    check({ method: 'PATCH', path, status, headers: { connection }, text: '' }).length > 0
  expect([answered(400, 'keep-alive'), answered(404, 'keep-alive'), answered(200, 'close')]).toEqual([true, true, true])
  expect(answered(405, 'keep-alive', '/v1/grants/%FF/uses')).toBe(true)
})
