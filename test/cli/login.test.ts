// The login of `writ` against a real OpenID provider, with a browser that follows redirects and forms: what is kept is good, refreshed once
// however many ask, and ended at logout. The broker here only says where to log in, and who that is.
import { readdirSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type IdentityProvider, startIdentityProvider } from '../../deploy/dev/identity-provider.ts'
import { close, listen } from '../../deploy/dev/loopback.ts'
import { temporaryFolder } from '../../deploy/dev/running.ts'
import { CLI_CLIENT, confirmDevice, signInAt } from '../../deploy/dev/sign-in.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { type Login, profilesIn } from '../../src/cli/profiles.ts'
import { shippedDirectory } from '../support/directory.ts'
import { type Ran, type Running, runOn } from './bench.ts'

let idp: IdentityProvider
let broker: Server
let url: string
let known: boolean
let named: string
let tokens: string[]
let folder: { readonly path: string; remove(): void }

beforeAll(async () => {
  broker = createServer((request, response) => {
    const token = (request.headers.authorization ?? '').replace('Bearer ', '')
    if (token !== '') tokens.push(token)
    const login = { issuer: idp.loginUrl, client_id: CLI_CLIENT, scope: 'openid profile', resource: url }
    const answers: Readonly<Record<string, () => object>> = {
      '/.well-known/oauth-authorization-server': () => ({ issuer: named, jwks_uri: `${url}/jwks`, writ_login: login }),
      '/v1/whoami': () => ({
        principal: decodeJwt(token).sub,
        kind: 'person',
        tenant: 'acme',
        groups: [],
        sponsors: [],
        session: '',
      }),
    }
    const refused = { type: 'urn:writ:error:unauthenticated', detail: 'This account is not in the people directory.' }
    const answer = known
      ? answers[request.url ?? '']?.()
      : request.url === '/v1/whoami'
        ? undefined
        : answers[request.url ?? '']?.()
    response.writeHead(answer === undefined ? 401 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(answer ?? refused))
  })
  url = await listen(broker, 0)
  idp = await startIdentityProvider({ brokerUrl: url, directory: await shippedDirectory() })
})
afterAll(async () => {
  await close(broker)
  await idp.stop()
})
beforeEach(async () => {
  known = true
  named = url
  tokens = []
  folder = await temporaryFolder('login')
  return () => folder.remove()
})

const profiles = () => profilesIn(join(folder.path, 'writ'), { newId: () => 'x', pause: async () => undefined })
const kept = (): Login | undefined => profiles().login(url)
const run = (args: readonly string[], options: Running = {}): Promise<Ran> =>
  runOn(args, { realPauses: true, ...options }, folder.path)

/** Runs a login, and does what its words ask for. */
async function loggingIn(
  args: readonly string[],
  act: (address: string, code: string | undefined) => Promise<unknown>,
  options: Running = {},
) {
  let acted: Promise<unknown> | undefined
  const watch = (text: string): void => {
    const address = /(?:here|there): (\S+)/.exec(text)?.[1]
    if (address !== undefined) acted ??= act(address, /code: (\S+)/.exec(text)?.[1])
  }
  const ran = await run(args, { ...options, watch })
  await acted
  return ran
}
const asVera = (address: string) => signInAt(new URL(address), 'vera')

describe('writ login', () => {
  it('logs in by the browser, and keeps what the broker has taken', async () => {
    let last: string | undefined
    const { code, out, browsed } = await loggingIn(['login', url], async (address) => {
      last = (await asVera(address)).html
    })
    expect([code, out]).toEqual([EXIT.ok, `Logged in at ${url} as vera of acme.\n`])
    expect(last).toContain('You are logged in')
    // No terminal, no browser: the address was printed, and that is all.
    expect(browsed).toEqual([])
    expect(kept()).toMatchObject({ broker: url, issuer: idp.loginUrl, accessToken: tokens[0] })
    expect(statSync(join(folder.path, 'writ', readdirSync(join(folder.path, 'writ'))[0] ?? '')).mode & 0o777).toBe(
      0o600,
    )
  })
  it('opens the browser of whoever sits at the terminal', async () => {
    const { browsed } = await loggingIn(['login', url], asVera, { terminal: { errors: true } })
    expect(browsed).toHaveLength(1)
    const asked = new URL(browsed[0] ?? '')
    expect(asked.searchParams.get('code_challenge_method')).toBe('S256')
    expect(asked.searchParams.get('redirect_uri')).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/)
  })
  it('logs in by a code that another device confirms', async () => {
    const { code, out } = await loggingIn(['login', url, '--device'], (address, userCode) =>
      confirmDevice(new URL(address.split('?')[0] ?? ''), userCode ?? '', 'olivia'),
    )
    expect([code, out]).toEqual([EXIT.ok, expect.stringContaining('as olivia')])
  })
  it('is not moved by an answer that does not know the state', async () => {
    const { code } = await loggingIn(['login', url], async (address) => {
      const back = new URL(new URL(address).searchParams.get('redirect_uri') ?? '')
      back.search = '?code=stolen&state=guessed'
      expect((await fetch(back)).status).toBe(404)
      await asVera(address)
    })
    expect(code).toBe(EXIT.ok)
  })
  it('keeps nothing that the broker does not take', async () => {
    known = false
    const { code, err } = await loggingIn(['login', url], asVera)
    expect(code).toBe(EXIT.unauthenticated)
    expect(err).toContain('people directory')
    expect(kept()).toBeUndefined()
  })
  it('says which address the broker has, where it is another', async () => {
    named = 'https://writ.example'
    const { code, err } = await run(['login', url])
    expect(code).toBe(EXIT.refused)
    expect(err).toContain('writ login https://writ.example')
  })
  it('refuses plain http to another machine before anything is asked', async () => {
    expect((await run(['login', 'http://broker.example'])).code).toBe(EXIT.usage)
  })
  it('tells what the provider refuses', async () => {
    const { code, err } = await loggingIn(['login', url], async (address) => {
      const at = new URL(address)
      const back = new URL(at.searchParams.get('redirect_uri') ?? '')
      back.search = String(
        new URLSearchParams({ error: 'access_denied', state: at.searchParams.get('state') ?? '', iss: idp.loginUrl }),
      )
      await fetch(back)
    })
    expect(code).toBe(EXIT.unauthenticated)
    expect(err).toContain('access_denied')
  })
})

describe('a kept login', () => {
  const later = () => Date.now() + 595_000

  it('is sent as it is while it is good', async () => {
    await loggingIn(['login', url], asVera)
    expect((await run(['whoami'])).out).toContain('vera')
    expect(tokens[1]).toBe(tokens[0])
  })
  it('is refreshed once, however many commands want it at the same moment', async () => {
    await loggingIn(['login', url], asVera)
    const before = kept()
    const ran = await Promise.all(Array.from({ length: 4 }, () => run(['whoami'], { now: later })))
    expect(ran.map(({ code }) => code)).toEqual([0, 0, 0, 0])
    const after = kept()
    expect(new Set(tokens.slice(1))).toEqual(new Set([after?.accessToken]))
    expect(after?.accessToken).not.toBe(before?.accessToken)
    expect(after?.refreshToken).not.toBe(before?.refreshToken)
  })
  it('is over at logout, at the provider too', async () => {
    await loggingIn(['login', url], asVera)
    const login = kept()
    const { code, out } = await run(['logout'])
    expect([code, out]).toEqual([EXIT.ok, `Logged out at ${url}.\n`])
    expect(kept()).toBeUndefined()
    expect((await run(['whoami'])).code).toBe(EXIT.unauthenticated)
    if (login === undefined) throw new Error('there was no login')
    profiles().keep(login)
    const again = await run(['whoami'], { now: later })
    expect([again.code, again.err]).toEqual([EXIT.unauthenticated, expect.stringContaining('invalid_grant')])
  })
})
