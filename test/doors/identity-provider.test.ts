// The development issuers over real HTTP, and their tokens through the shipped verification: nothing is mocked.
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, exportJWK } from 'jose'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type IdentityProvider, startIdentityProvider } from '../../deploy/dev/identity-provider.ts'
import { browser, CLI_CLIENT, confirmDevice } from '../../deploy/dev/sign-in.ts'
import type { Thumbprint } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import { authenticator, tokenReader, trustIssuers } from '../../src/identity/authenticate.ts'
import { documentFetcher } from '../../src/identity/fetch-document.ts'
import { compileIssuers } from '../../src/identity/issuers.ts'
import { codeOf } from '../support/code-of.ts'
import { shippedDirectory } from '../support/directory.ts'

const BROKER = 'http://127.0.0.1:8080'
const SHA = createHash('sha1').update('commit').digest('hex')
let provider: IdentityProvider
let folder: string
let authenticate: ReturnType<typeof authenticator>

beforeAll(async () => {
  const directory = await shippedDirectory()
  provider = await startIdentityProvider({ brokerUrl: BROKER, directory })
  folder = await mkdtemp(join(tmpdir(), 'writ-issuers-'))
  const file = join(folder, 'issuers.yaml')
  await provider.writeIssuersFile(file)
  const compiled = compileIssuers(await readFile(file, 'utf8'), file, () => '', { dev: true })
  if (!compiled.ok) throw new Error('the issuers file does not compile')
  const now = () => instant(Date.now())
  const issuers = trustIssuers(compiled.value, { audience: BROKER, fetch: documentFetcher({ dev: true }), now })
  authenticate = authenticator({ read: tokenReader({ issuers: () => issuers, now }), directory: () => directory })
})
afterAll(async () => {
  await provider.stop()
  await rm(folder, { recursive: true })
})

describe('the development identity provider', () => {
  it('signs a person in by code and PKCE, and the broker knows the person', async () => {
    const caller = await authenticate(await provider.personToken('olivia'), undefined)
    expect(caller).toMatchObject({
      principal: { kind: 'person', id: 'olivia', tenant: 'northwind', groups: ['dba'] },
      key: undefined,
      session: '',
      facts: {},
    })
  })

  it('signs both accounts of a person in as the same person', async () => {
    const one = await authenticate(await provider.personToken('vera'), undefined)
    const other = await authenticate(await provider.personToken('vera-admin'), undefined)
    expect(one.principal).toBe(other.principal)
  })

  it('signs nobody in who is not in the people directory', async () => {
    await expect(provider.personToken('mallory')).rejects.toThrow()
  })

  it('issues RFC 9068 access tokens for the broker alone', async () => {
    const token = await provider.personToken('rob')
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' })
    expect(decodeJwt(token)).toMatchObject({ iss: provider.loginUrl, aud: BROKER, sub: 'rob', client_id: 'writ-cli' })
  })

  it('binds a token to the DPoP key it was asked with, and the broker refuses it without that key', async () => {
    const key = await oidc.randomDPoPKeyPair()
    const thumbprint = (await calculateJwkThumbprint(await exportJWK(key.publicKey))) as Thumbprint
    for (const token of [await provider.agentToken('triage-agent', key), await provider.personToken('lena', key)]) {
      expect((await authenticate(token, thumbprint)).key).toBe(thumbprint)
      expect(await codeOf(authenticate(token, undefined))).toBe('unauthenticated')
      expect(await codeOf(authenticate(token, 'A'.repeat(43) as Thumbprint))).toBe('unauthenticated')
    }
  })

  it('vouches for agents, with the session that their platform names, and for its own workloads', async () => {
    const agent = await authenticate(await provider.agentToken('triage-agent', undefined, 'session-7'), undefined)
    expect(agent).toMatchObject({
      principal: { kind: 'agent', id: 'triage-agent', sponsors: ['sam'] },
      session: 'session-7',
    })
    const job = await authenticate(await provider.workloadToken('report-job'), undefined)
    expect(job).toMatchObject({ principal: { kind: 'workload', id: 'report-job', sponsors: ['dana'] }, session: '' })
  })

  it('gives a deploy job the token of the deploy job, with its run as session and its commit as a fact', async () => {
    const caller = await authenticate(await provider.ciToken({ job: 'deploy', sha: SHA, runId: '77' }), undefined)
    expect(caller).toMatchObject({
      principal: { kind: 'workload', id: 'webshop-deploy' },
      session: '77',
      facts: { sha: SHA, environment: 'production', run_id: '77', repository_id: '812345' },
    })
  })

  it('never lets the build job be the deploy job', async () => {
    const caller = await authenticate(await provider.ciToken({ job: 'build', sha: SHA, runId: '78' }), undefined)
    expect(caller.principal.id).toBe('webshop-build')
    expect(caller.facts).toEqual({ sha: SHA, run_id: '78', repository_id: '812345' })
  })

  it.each([
    ['a pull request', { event_name: 'pull_request' }],
    ['a branch that is not protected', { ref_protected: 'false' }],
    ['a fork, which has another id', { repository_id: '999' }],
    ['another environment', { environment: 'staging' }],
    ['a token without its run', { run_id: null }],
  ])('is nobody to the broker as the deploy job of %s', async (_, claims) => {
    const token = await provider.ciToken({ job: 'deploy', sha: SHA, runId: '79', claims })
    expect(await codeOf(authenticate(token, undefined))).toBe('unauthenticated')
  })

  it('answers a CI job in the shape of the runner, and the default audience is refused', async () => {
    const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = await provider.ciJob({
      job: 'deploy',
      sha: SHA,
      runId: '80',
    })
    const headers = { authorization: `Bearer ${bearer}` }
    const asked = (await (await fetch(url, { headers })).json()) as { value: string }
    expect(await codeOf(authenticate(asked.value, undefined))).toBe('unauthenticated')
    expect((await fetch(url)).status).toBe(404)
    const claims = decodeJwt(asked.value)
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(300)
  })

  it('signs a device in that shows a code, once somebody confirmed the code and signed in', async () => {
    const config = await oidc.discovery(new URL(provider.loginUrl), CLI_CLIENT, undefined, oidc.None(), {
      execute: [oidc.allowInsecureRequests],
    })
    const device = await oidc.initiateDeviceAuthorization(config, { scope: 'openid', resource: BROKER })
    const last = await confirmDevice(new URL(device.verification_uri), device.user_code, 'sol')
    expect(last.html).toContain('Signed in')
    const { access_token: token } = await oidc.pollDeviceAuthorizationGrant(
      config,
      { ...device, interval: 1 },
      { resource: BROKER },
    )
    expect((await authenticate(token, undefined)).principal.id).toBe('sol')
  })

  it('says on its page that it is for development only, and lists every account', async () => {
    const start = new URL(`${provider.loginUrl}/auth?client_id=${CLI_CLIENT}&response_type=code&scope=openid`)
    start.searchParams.set('redirect_uri', 'http://127.0.0.1:1/callback')
    start.searchParams.set('code_challenge', 'x'.repeat(43))
    start.searchParams.set('code_challenge_method', 'S256')
    const { html } = await browser()(start)
    expect(html).toContain('DEVELOPMENT ONLY')
    expect(html.match(/name="login"/g)).toHaveLength(11)
  })
})
