// The container's health check against what it may find: a broker that speaks plain HTTP or TLS, one that refuses, and nobody.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { certificateFor } from '../support/certificate.ts'

const PROBE = fileURLToPath(new URL('../../deploy/probe.ts', import.meta.url))

let server: Server | undefined
afterEach(() => void server?.close())

async function listening(made: Server): Promise<number> {
  server = made
  made.listen(0, '127.0.0.1')
  await once(made, 'listening')
  return (made.address() as AddressInfo).port
}
async function probed(address: string): Promise<number> {
  const probe = spawn(process.execPath, [PROBE], { env: { WRIT_LISTEN: address }, stdio: 'ignore' })
  const [code] = await once(probe, 'exit')
  return code
}
const answers =
  (status: number): RequestListener =>
  ({ url }, answer) => {
    answer.statusCode = url === '/healthz' ? status : 404
    answer.end()
  }

it('finds a broker that is alive, on its own address and behind the one for all', async () => {
  const port = await listening(createServer(answers(200)))
  expect(await probed(`127.0.0.1:${port}`)).toBe(0)
  expect(await probed(`0.0.0.0:${port}`)).toBe(0)
})

it('finds one that speaks TLS, whatever name its certificate has', async () => {
  const port = await listening(createSecureServer(certificateFor('writ.example'), answers(200)))
  expect(await probed(`127.0.0.1:${port}`)).toBe(0)
})

it('does not take a refusal or silence for life', async () => {
  const port = await listening(createServer(answers(503)))
  expect(await probed(`127.0.0.1:${port}`)).toBe(1)
  await new Promise((closed) => server?.close(closed))
  expect(await probed(`127.0.0.1:${port}`)).toBe(1)
})
