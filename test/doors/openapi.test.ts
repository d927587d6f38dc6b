// The document as a client gets it.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openApiDocument } from '../../src/http/openapi.ts'
import { ISSUER, type Stage, stage } from './door.ts'

let on: Stage
beforeAll(async () => {
  on = await stage()
})
afterAll(() => on.stop())

it('is served to everybody, for this broker’s public URL, and may be kept for a while', async () => {
  const got = await on.send('GET', '/openapi.json', { anonymous: true })
  expect(got.status).toBe(200)
  expect(got.headers['cache-control']).toBe('public, max-age=300')
  expect(got.body).toEqual(JSON.parse(JSON.stringify(openApiDocument(ISSUER))))
  expect(got.body.servers).toEqual([{ url: ISSUER, description: 'This broker.' }])
  expect((await on.send('GET', '/openapi.json', { anonymous: true })).text).toBe(got.text)
})
