// A person's login at the identity provider that the broker names: authorization code with PKCE on a loopback port (RFC 8252), or the
// device flow (RFC 8628); refresh; revocation at logout. Invariant: no password and no secret of a client passes here, and the code that
// comes back is taken once, with our state and our verifier.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as oidc from 'openid-client'
import { isLoopback, mustBeSafe } from './client.ts'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import type { Machine } from './machine.ts'
import type { Login } from './profiles.ts'

export interface Place {
  readonly broker: string
  readonly issuer: string
  readonly clientId: string
  readonly scope: string
  readonly resource: string
}
/** Shows an address to the user, and a code where there is one. */
export type Show = (address: string, code: string | undefined) => Promise<void>

const PATIENCE_MS = 300_000

async function discover({ issuer, clientId }: Place): Promise<oidc.Configuration> {
  mustBeSafe(issuer)
  const plain = isLoopback(new URL(issuer).hostname) ? { execute: [oidc.allowInsecureRequests] } : {}
  return toldApart(issuer, oidc.discovery(new URL(issuer), clientId, undefined, oidc.None(), plain))
}

export async function loginByBrowser(place: Place, show: Show, machine: Machine): Promise<Login> {
  const config = await discover(place)
  const verifier = oidc.randomPKCECodeVerifier()
  const state = oidc.randomState()
  const back = await waitForCode(state)
  try {
    const start = oidc.buildAuthorizationUrl(config, {
      redirect_uri: back.redirect,
      scope: place.scope,
      resource: place.resource,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
    })
    await show(openable(start.href), undefined)
    const patience = AbortSignal.any([machine.interrupted, AbortSignal.timeout(PATIENCE_MS)])
    const landed = await Promise.race([back.landed, rejection(patience)])
    const checks = { pkceCodeVerifier: verifier, expectedState: state }
    const got = oidc.authorizationCodeGrant(config, landed, checks, { resource: place.resource })
    return loginOf(place, await toldApart(place.issuer, got), machine)
  } finally {
    back.close()
  }
}

export async function loginByDevice(place: Place, show: Show, machine: Machine): Promise<Login> {
  const config = await discover(place)
  if (config.serverMetadata().device_authorization_endpoint === undefined)
    throw new Failure(EXIT.refused, `${place.issuer} offers no login for devices.`, {
      next: 'Log in without --device.',
    })
  const wanted = { scope: place.scope, resource: place.resource }
  const device = await toldApart(place.issuer, oidc.initiateDeviceAuthorization(config, wanted))
  await show(openable(device.verification_uri_complete ?? device.verification_uri), device.user_code)
  const signal = AbortSignal.any([machine.interrupted, AbortSignal.timeout(device.expires_in * 1_000)])
  const got = oidc.pollDeviceAuthorizationGrant(config, device, { resource: place.resource }, { signal })
  return loginOf(place, await toldApart(place.issuer, got), machine)
}

/** What is given to a browser is an address of the web and nothing else, whatever a provider says. */
function openable(address: string): string {
  if (!URL.canParse(address)) throw new Failure(EXIT.refused, 'The identity provider names no address to log in at.')
  mustBeSafe(address)
  return address
}

export async function refresh(login: Login, refreshToken: string, machine: Machine): Promise<Login> {
  const config = await discover(login)
  const got = oidc.refreshTokenGrant(config, refreshToken, { resource: login.resource })
  const next = loginOf(login, await toldApart(login.issuer, got), machine)
  return { ...next, refreshToken: next.refreshToken ?? refreshToken }
}

/** Ends what the provider would still accept; true where it said so. */
export async function revoke(login: Login): Promise<boolean> {
  const config = await discover(login)
  if (login.refreshToken === undefined || config.serverMetadata().revocation_endpoint === undefined) return false
  await toldApart(login.issuer, oidc.tokenRevocation(config, login.refreshToken))
  return true
}

function loginOf(
  place: Place,
  got: oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers,
  machine: Machine,
): Login {
  const { broker, issuer, clientId, scope, resource } = place
  const seconds = got.expiresIn() ?? 300
  return {
    broker,
    issuer,
    clientId,
    scope,
    resource,
    accessToken: got.access_token,
    ...(got.refresh_token === undefined ? {} : { refreshToken: got.refresh_token }),
    expiresAt: machine.now() + seconds * 1_000,
  }
}

interface Landing {
  readonly redirect: string
  readonly landed: Promise<URL>
  close(): void
}

/** A page on loopback that takes one answer of ours and no other: whoever does not know the state is not listened to. */
async function waitForCode(state: string): Promise<Landing> {
  const server = createServer()
  const port = await listening(server)
  const redirect = `http://127.0.0.1:${port}/callback`
  const landed = new Promise<URL>((resolve) => {
    server.on('request', (request, response) => {
      const url = new URL(request.url ?? '/', redirect)
      const isAnswer =
        request.method === 'GET' && url.pathname === '/callback' && url.searchParams.get('state') === state
      response.writeHead(isAnswer ? 200 : 404, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        connection: 'close',
      })
      const refused = url.searchParams.has('error')
      response.end(
        isAnswer
          ? refused
            ? PAGE('You are not logged in', 'The terminal says why.')
            : PAGE('You are logged in', 'Go back to the terminal; this page can be closed.')
          : '',
      )
      if (isAnswer) resolve(url)
    })
  })
  return {
    redirect,
    landed,
    close: () => {
      server.close()
      server.closeIdleConnections()
    },
  }
}

const PAGE = (title: string, text: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>${text}</p></html>\n`

const listening = (server: Server): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })

const rejection = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })

/** What the provider says, in its own words; anything else is that it does not answer. */
async function toldApart<T>(issuer: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (thrown) {
    if (thrown instanceof oidc.ResponseBodyError || thrown instanceof oidc.AuthorizationResponseError) {
      const why = thrown.error_description === undefined ? thrown.error : `${thrown.error}: ${thrown.error_description}`
      throw new Failure(EXIT.unauthenticated, `${issuer} refuses the login (${why}).`, {
        next: 'Log in again: writ login',
      })
    }
    const { unreachable } = await import('./client.ts')
    throw unreachable(issuer, thrown)
  }
}
