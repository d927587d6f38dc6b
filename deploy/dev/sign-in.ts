// Development only: gets tokens from the development issuers the way real callers do, over HTTP: a person by code and PKCE through the
// page of persons, an agent or workload by client credentials, a CI job by asking its runner's address. Used by the story and by tests.
import * as oidc from 'openid-client'
import type { CiJob } from './ci-issuer.ts'

/** A key pair for DPoP (RFC 9449), as WebCrypto has it. */
export type DpopKey = oidc.CryptoKeyPair

export interface SignIn {
  /** An access token of the person with this account at `login` (`vera`, `vera-admin`, …), bound to the key if there is one. */
  personToken(login: string, dpopKey?: DpopKey): Promise<string>
  /** An access token of an agent at `login`. `session` is what its platform calls its session. */
  agentToken(id: string, dpopKey?: DpopKey, session?: string): Promise<string>
  /** An access token of a workload at `login`. */
  workloadToken(id: string, dpopKey?: DpopKey): Promise<string>
  /** The ID token of a CI job. */
  ciToken(job: CiJob): Promise<string>
  /** The two variables that the runner gives to a job's steps. */
  ciJob(job: CiJob): Promise<CiVariables>
}

export interface CiVariables {
  readonly ACTIONS_ID_TOKEN_REQUEST_URL: string
  readonly ACTIONS_ID_TOKEN_REQUEST_TOKEN: string
}

/** The public client that tools on a developer's machine use (code and PKCE, loopback redirect, any port). */
export const CLI_CLIENT = 'writ-cli'
export const CLI_REDIRECT = 'http://127.0.0.1/callback'

/** Sign-in against running issuers, from any process. */
export function signIn(at: {
  readonly loginUrl: string
  readonly ciUrl: string
  readonly brokerUrl: string
  readonly clientSecrets: Readonly<Record<string, string>>
}): SignIn {
  const discover = (client: string, auth: oidc.ClientAuth): Promise<oidc.Configuration> =>
    oidc.discovery(new URL(at.loginUrl), client, undefined, auth, { execute: [oidc.allowInsecureRequests] })
  const withKey = (config: oidc.Configuration, key: DpopKey | undefined) =>
    key === undefined ? {} : { DPoP: oidc.getDPoPHandle(config, key) }

  const clientToken = async (
    id: string,
    dpopKey: DpopKey | undefined,
    session: string | undefined,
  ): Promise<string> => {
    const secret = at.clientSecrets[id]
    if (secret === undefined) throw new Error(`no client '${id}' at the development identity provider`)
    const config = await discover(id, oidc.ClientSecretBasic(secret))
    const parameters = { resource: at.brokerUrl, ...(session === undefined ? {} : { session }) }
    const { access_token: token } = await oidc.clientCredentialsGrant(config, parameters, withKey(config, dpopKey))
    return token
  }
  const ciJob = async (job: CiJob): Promise<CiVariables> => {
    const response = await fetch(`${at.ciUrl}/jobs`, { method: 'POST', body: JSON.stringify(job) })
    return (await response.json()) as CiVariables
  }
  return {
    personToken: async (login, dpopKey) => {
      const config = await discover(CLI_CLIENT, oidc.None())
      const verifier = oidc.randomPKCECodeVerifier()
      const state = oidc.randomState()
      const start = oidc.buildAuthorizationUrl(config, {
        redirect_uri: CLI_REDIRECT,
        scope: 'openid profile',
        resource: at.brokerUrl,
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state,
      })
      const landed = await clickThrough(start, login)
      const { access_token: token } = await oidc.authorizationCodeGrant(
        config,
        landed,
        { pkceCodeVerifier: verifier, expectedState: state, idTokenExpected: true },
        { resource: at.brokerUrl },
        withKey(config, dpopKey),
      )
      return token
    },
    agentToken: clientToken,
    workloadToken: (id, dpopKey) => clientToken(id, dpopKey, undefined),
    ciJob,
    ciToken: async (job) => {
      const variables = await ciJob(job)
      const response = await fetch(
        `${variables.ACTIONS_ID_TOKEN_REQUEST_URL}&audience=${encodeURIComponent(at.brokerUrl)}`,
        {
          headers: { authorization: `Bearer ${variables.ACTIONS_ID_TOKEN_REQUEST_TOKEN}` },
        },
      )
      return ((await response.json()) as { readonly value: string }).value
    },
  }
}

/** Signs in as a person would in a browser, up to the redirect that carries the code. */
async function clickThrough(start: URL, login: string): Promise<URL> {
  const visit = browser()
  const page = await visit(start)
  const landed = await visit(page.url, { login })
  if (landed.status !== 0) throw new Error(`nobody '${login}' can sign in at the development identity provider`)
  return landed.url
}

/** What somebody does who opens a sign-in address in a browser: chooses who they are, and follows it to the page that ends it. */
export async function signInAt(start: URL, login: string): Promise<Page> {
  const visit = browser()
  const page = await visit(start)
  return visit(page.url, { login })
}

/** What somebody does who is shown a device's address and code: confirms the code, and chooses who they are. */
export async function confirmDevice(page: URL, userCode: string, login: string): Promise<Page> {
  const visit = browser()
  const xsrf = /name="xsrf" value="([^"]+)"/.exec((await visit(page)).html)?.[1] ?? ''
  await visit(page, { xsrf, user_code: userCode })
  const persons = await visit(page, { xsrf, user_code: userCode, confirm: 'yes' })
  return visit(persons.url, { login })
}

export interface Page {
  readonly url: URL
  /** 0 for the redirect to the client, which is not followed. */
  readonly status: number
  readonly html: string
}

/** A browser without JavaScript: keeps cookies, follows redirects, posts the form if there is one. */
export function browser(): (start: URL, form?: Readonly<Record<string, string>>) => Promise<Page> {
  const cookies = new Map<string, string>()
  return async (start, form) => {
    let url = start
    for (let step = 0; step < 10; step += 1) {
      const response = await fetch(url, {
        redirect: 'manual',
        headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
        ...(form === undefined || step > 0 ? {} : { method: 'POST', body: new URLSearchParams(form) }),
      })
      const html = await response.text()
      for (const cookie of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
        if (value === '') cookies.delete(name)
        else cookies.set(name, value)
      }
      const location = response.headers.get('location')
      if (location === null) return { url, status: response.status, html }
      url = new URL(location, url)
      if (url.href.startsWith(`${CLI_REDIRECT}?`)) return { url, status: 0, html: '' }
    }
    throw new Error('the sign-in goes in circles')
  }
}
