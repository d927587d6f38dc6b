// The client against a server that misbehaves on purpose: what it sends, what it believes, and what its errors hold.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { secret } from '../../src/domain/secret.ts'
import { type Call, type VaultClient, vaultClient } from '../../src/vault/client.ts'
import { failureOf, saysGone } from '../../src/vault/failures.ts'
import { processTimer } from '../../src/vault/timer.ts'
import { handTimer } from './hand-timer.ts'

const TOKEN = 'hvs.canary-token-of-the-broker'
const SECRET_ID = 'canary-secret-id'
const PASSWORD = 'canary-password'
const TIMEOUT_MS = 300

interface Seen {
  readonly method: string
  readonly url: string
  readonly token: string | undefined
  readonly namespace: string | undefined
  readonly body: unknown
}
type Handler = (request: Seen, response: ServerResponse, message: IncomingMessage) => void

describe('the Vault client', () => {
  let folder: string
  let server: Server
  let address: string
  let seen: Seen[]
  let handler: Handler
  let logins: number
  let clients: VaultClient[]

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'writ-client-'))
    await writeFile(join(folder, 'role-id'), 'the-role\n')
    await writeFile(join(folder, 'secret-id'), `${SECRET_ID}\n`)
    seen = []
    logins = 0
    clients = []
    handler = (_, response) => answer(response, 200, { data: { fine: true } })
    server = createServer((message, response) => {
      const parts: Buffer[] = []
      message.on('data', (part: Buffer) => parts.push(part))
      message.on('end', () => {
        const text = Buffer.concat(parts).toString()
        const request = {
          method: message.method ?? '',
          url: message.url ?? '',
          token: one(message.headers['x-vault-token']),
          namespace: one(message.headers['x-vault-namespace']),
          body: text === '' ? undefined : JSON.parse(text),
        }
        seen.push(request)
        if (request.url === '/v1/auth/approle/login') {
          logins += 1
          answer(response, 200, {
            auth: { client_token: `${TOKEN}-${logins}`, lease_duration: 1_200, policies: ['writ-broker'] },
          })
        } else handler(request, response, message)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(async () => {
    vi.unstubAllEnvs()
    for (const client of clients) client.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await rm(folder, { recursive: true })
  })

  const client = (more: Partial<Parameters<typeof vaultClient>[0]> = {}, timer = processTimer): VaultClient => {
    const made = vaultClient(
      {
        address: { url: address, ca: undefined },
        namespace: undefined,
        appRoleMount: 'approle',
        roleIdFile: join(folder, 'role-id'),
        secretIdFile: join(folder, 'secret-id'),
        callTimeoutMs: TIMEOUT_MS,
        connections: 4,
        ...more,
      },
      timer,
    )
    clients.push(made)
    return made
  }
  const write: Call = {
    verb: 'write',
    path: 'some/path/of-user-text',
    template: 'some/path/{name}',
    body: { password: PASSWORD },
  }
  const errorOf = async (work: Promise<unknown>): Promise<BrokerError> => {
    const thrown = await work.then(
      () => expect.fail('nothing was thrown'),
      (thrown: unknown) => thrown,
    )
    if (!(thrown instanceof BrokerError)) throw thrown
    return thrown
  }

  it('logs in once for many calls at once, and sends what it was given', async () => {
    const vault = client()
    const bodies = await Promise.all([1, 2, 3, 4, 5].map(() => vault.call(write)))
    expect(bodies.every((body) => body !== undefined)).toBe(true)
    expect(logins).toBe(1)
    expect(seen[0]).toMatchObject({ body: { role_id: 'the-role', secret_id: SECRET_ID }, token: undefined })
    expect(seen[1]).toEqual({
      method: 'POST',
      url: '/v1/some/path/of-user-text',
      token: `${TOKEN}-1`,
      namespace: undefined,
      body: { password: PASSWORD },
    })
  })

  it('gives each token its own headers', async () => {
    const vault = client()
    const read: Call = { verb: 'read', path: 'x', template: 'x' }
    await Promise.all([
      vault.call({ ...read, token: secret('hold-a') }),
      vault.call(read),
      vault.call({ ...read, token: secret('hold-b') }),
      vault.call({ verb: 'delete', path: 'y', template: 'y' }),
    ])
    expect(
      seen
        .filter(({ url }) => url === '/v1/x')
        .map(({ token }) => token)
        .toSorted(),
    ).toEqual([`${TOKEN}-1`, 'hold-a', 'hold-b'].toSorted())
    expect(seen.find(({ url }) => url === '/v1/y')).toMatchObject({ method: 'DELETE', token: `${TOKEN}-1` })
  })

  it('takes nothing from the environment', async () => {
    for (const [name, value] of Object.entries({
      VAULT_ADDR: 'http://127.0.0.1:9',
      VAULT_TOKEN: 'token-of-the-environment',
      VAULT_NAMESPACE: 'namespace-of-the-environment',
      VAULT_PREFIX: '/prefix-of-the-environment',
      HTTP_PROXY: 'http://127.0.0.1:9',
      http_proxy: 'http://127.0.0.1:9',
    }))
      vi.stubEnv(name, value)
    await client().call(write)
    expect(seen.map(({ url, token, namespace }) => [url, token, namespace])).toEqual([
      ['/v1/auth/approle/login', undefined, undefined],
      ['/v1/some/path/of-user-text', `${TOKEN}-1`, undefined],
    ])
  })

  it('names the namespace that it was given', async () => {
    await client({ namespace: 'team/writ' }).call(write)
    expect(seen.map(({ namespace }) => namespace)).toEqual(['team/writ', 'team/writ'])
  })

  it('logs in again before its login ends, with the files as they are then', async () => {
    const timer = handTimer()
    const vault = client({}, timer)
    await vault.call(write)
    await writeFile(join(folder, 'secret-id'), 'rotated')
    await timer.pass(799_000)
    expect(logins).toBe(1)
    await timer.pass(2_000)
    await expect.poll(() => logins).toBe(2)
    await vault.call(write)
    expect(seen.at(-1)?.token).toBe(`${TOKEN}-2`)
    expect(seen.filter(({ url }) => url.endsWith('/login')).at(-1)?.body).toMatchObject({ secret_id: 'rotated' })
  })

  it('asks for a new login when an old one is denied, and repeats the call once', async () => {
    const timer = handTimer()
    const vault = client({}, timer)
    await vault.call(write)
    await timer.pass(60_000)
    handler = ({ token }, response) =>
      token === `${TOKEN}-1`
        ? answer(response, 403, { errors: ['permission denied'] })
        : answer(response, 200, { data: {} })
    await vault.call(write)
    expect(logins).toBe(2)
    handler = (_, response) => answer(response, 403, { errors: ['permission denied'] })
    const before = seen.length
    expect((await errorOf(vault.call(write))).code).toBe('vault_refused')
    expect(seen.length - before).toBe(1)
  })

  it('asks for no new login where the denial is said to be believed', async () => {
    const timer = handTimer()
    const vault = client({}, timer)
    await vault.call(write)
    await timer.pass(60_000)
    handler = (_, response) => answer(response, 403, { errors: ['permission denied'] })
    expect((await errorOf(vault.call({ ...write, believed: true }))).code).toBe('vault_refused')
    expect(logins).toBe(1)
  })

  it.each([
    ['is not JSON', '<html>busy</html>', 'unreadable'],
    ['is cut short', '{"data":{"password":"canary-password', 'unreadable'],
    ['is a text', '"canary-password"', 'not_an_object'],
    ['is a list', '["canary-password"]', 'not_an_object'],
    ['is endless', `"${'x'.repeat(1_100_000)}"`, 'answer_too_large'],
  ])('refuses an answer that %s', async (_, text, reason) => {
    handler = (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    const error = await errorOf(client().call(write))
    expect([error.code, failureOf(error)?.reason, error.facts.definite]).toEqual(['vault_unavailable', reason, false])
  })

  it('reads an answer without a body as such, and refuses it where one is needed', async () => {
    handler = (_, response) => response.writeHead(204).end()
    const vault = client()
    expect(await vault.call(write)).toBeUndefined()
    expect((await errorOf(vault.ask(write))).code).toBe('vault_refused')
  })

  it('gives up after its time, on a server that is silent, slow, or drips', async () => {
    const drips: NodeJS.Timeout[] = []
    const handlers: Handler[] = [
      () => {},
      (_, response) => void response.writeHead(200).write('{'),
      (_, response) => {
        response.writeHead(200)
        drips.push(setInterval(() => response.write(' '), 20))
      },
    ]
    const vault = client()
    await vault.call(write)
    for (const one of handlers) {
      handler = one
      const startedAt = performance.now()
      const error = await errorOf(vault.call(write))
      expect([error.code, failureOf(error)?.reason, error.facts.definite]).toEqual([
        'vault_unavailable',
        'timeout',
        false,
      ])
      expect(performance.now() - startedAt).toBeLessThan(TIMEOUT_MS + 500)
    }
    for (const drip of drips) clearInterval(drip)
  })

  it('cuts the connection of a call that it gave up, so that Vault stops working on it', async () => {
    let gaveUp = false
    handler = (_, response) =>
      void response.on('close', () => {
        gaveUp = true
      })
    await errorOf(client().call(write))
    await expect.poll(() => gaveUp).toBe(true)
  })

  it('says that nothing was made when there was no connection, and that nobody knows when it broke', async () => {
    const nobody = client({ address: { url: 'http://127.0.0.1:9', ca: undefined } })
    expect((await errorOf(nobody.call(write))).facts).toEqual({ definite: true, reason: 'econnrefused' })
    handler = (_, response) => void response.destroy()
    const broken = await errorOf(client().call(write))
    expect([broken.code, broken.facts.definite]).toEqual(['vault_unavailable', false])
  })

  it('follows no redirect with its token', async () => {
    handler = ({ url }, response) =>
      url === '/v1/elsewhere'
        ? answer(response, 200, {})
        : response.writeHead(307, { location: `${address}/v1/elsewhere` }).end()
    const error = await errorOf(client().call(write))
    expect([error.code, failureOf(error)?.reason]).toEqual(['vault_unavailable', 'redirected'])
    expect(seen.some(({ url }) => url === '/v1/elsewhere')).toBe(false)
  })

  it.each([
    [400, ['1 error occurred:\n\t* invalid ttl\n\n'], 'vault_refused', 'status_400', true],
    [403, ['permission denied'], 'vault_refused', 'status_403', true],
    [404, ['no handler for route "x"'], 'vault_refused', 'status_404', true],
    [404, [], 'vault_refused', 'not_found', true],
    [400, ['invalid lease'], 'vault_refused', 'gone', true],
    [403, ['1 error occurred:\n\t* invalid accessor\n\n'], 'vault_refused', 'gone', true],
    [429, ['slow down'], 'vault_unavailable', 'too_many_requests', true],
    [503, ['Vault is sealed'], 'vault_unavailable', 'sealed', true],
    [503, ['busy'], 'vault_unavailable', 'status_503', false],
    [500, ['failed to execute query'], 'vault_unavailable', 'status_500', false],
    [412, [], 'vault_unavailable', 'status_412', false],
  ])('reads %i %j as %s (%s), definite: %s', async (status, errors, code, reason, definite) => {
    handler = (_, response) => answer(response, status, { errors })
    const error = await errorOf(client().call(write))
    expect([error.code, failureOf(error)?.reason, error.facts.definite, failureOf(error)?.status]).toEqual([
      code,
      reason,
      definite,
      status,
    ])
  })

  it('reads as gone only what Vault says in words: an empty 404 is what a proxy answers that knows no route', async () => {
    handler = (_, response) => answer(response, 400, { errors: ['invalid lease'] })
    expect(saysGone(await errorOf(client().call(write)))).toBe(true)
    handler = (_, response) => void response.writeHead(404).end()
    expect(saysGone(await errorOf(client().call(write)))).toBe(false)
    handler = (_, response) => answer(response, 404, { errors: [] })
    expect(saysGone(await errorOf(client().call(write)))).toBe(false)
  })

  it('keeps the template, the status and the request id of a failure, and no path, body, token or word of Vault', async () => {
    const id = '0b9b6c7e-1111-2222-3333-444455556666'
    const handlers: Handler[] = [
      (_, response) =>
        answer(response, 500, {
          request_id: id,
          errors: [`failed with ${PASSWORD} and ${TOKEN}-1`],
          data: { PASSWORD },
        }),
      (_, response) => void response.destroy(),
      () => {},
      (_, response) => response.writeHead(200).end(`{"password":"${PASSWORD}`),
    ]
    const vault = client()
    for (const one of handlers) {
      handler = one
      const error = await errorOf(vault.call({ ...write, token: secret(`${TOKEN}-hold`) }))
      const shown =
        inspect({ error, cause: error.cause }, { depth: 10, showHidden: true }) +
        JSON.stringify({ error, cause: error.cause })
      for (const canary of [TOKEN, SECRET_ID, PASSWORD, 'of-user-text']) expect(shown).not.toContain(canary)
      expect(failureOf(error)?.path).toBe('some/path/{name}')
    }
    handler = handlers[0] as Handler
    expect(failureOf(await errorOf(vault.call(write)))).toMatchObject({ requestId: id, status: 500 })
  })

  it.each([
    ['lives longer than an hour', { client_token: TOKEN, lease_duration: 7_200, policies: [] }],
    ['never ends', { client_token: TOKEN, lease_duration: 0, policies: [] }],
    ['is root', { client_token: TOKEN, lease_duration: 60, policies: ['root'] }],
    ['has no token', { lease_duration: 60 }],
  ])('refuses a login that %s', async (_, auth) => {
    server.removeAllListeners('request')
    server.on('request', (_message, response) => answer(response, 200, { auth }))
    const error = await errorOf(client().call(write))
    expect([error.code, error.facts.definite]).toEqual(['vault_refused', true])
    expect(inspect(error, { depth: 10 })).not.toContain(TOKEN)
  })

  it('refuses definitely when its own credentials cannot be read', async () => {
    const error = await errorOf(client({ secretIdFile: join(folder, 'absent') }).call(write))
    expect([error.code, error.facts]).toEqual([
      'vault_refused',
      { definite: true, reason: 'credential_file_unreadable' },
    ])
    expect(seen).toEqual([])
  })
})

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
const one = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header.join() : header
