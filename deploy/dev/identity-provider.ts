// Development only: who is who, without passwords. A real OpenID provider (`login`: persons, agents, own workloads) and an issuer of CI
// tokens (`ci`), both on loopback, with keys made at start. What they issue is verified by the broker like anybody else's tokens.
// It listens on 127.0.0.1 alone, because whoever reaches it can be anybody.
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type Configuration, interactionPolicy } from 'oidc-provider'
import type { PeopleDirectory } from '../../src/identity/directory.ts'
import { startCiIssuer } from './ci-issuer.ts'
import { bodyOf, close, listen } from './loopback.ts'
import { CLI_CLIENT, CLI_REDIRECT, type SignIn, signIn } from './sign-in.ts'

/** The public client of the broker's console (code and PKCE). */
export const CONSOLE_CLIENT = 'writ-console'

const TOKEN_SECONDS = 600

export interface IdentityProvider extends SignIn {
  readonly loginUrl: string
  readonly ciUrl: string
  /** Secrets of the agents and workloads at `login`, by client id; made at start. Another process needs them for `signIn`. */
  readonly clientSecrets: Readonly<Record<string, string>>
  /** Writes an issuers.yaml that trusts exactly these two. */
  writeIssuersFile(path: string): Promise<void>
  stop(): Promise<void>
}

export interface IdentityProviderSettings {
  /** Of `login`; `ci` takes the next one. Default: any free ports. */
  readonly port?: number
  /** The broker's public URL: the audience of every token. */
  readonly brokerUrl: string
  readonly directory: PeopleDirectory
}

/** Starts both issuers. */
export async function startIdentityProvider({
  port = 0,
  brokerUrl,
  directory,
}: IdentityProviderSettings): Promise<IdentityProvider> {
  const clientSecrets = Object.fromEntries(
    directory
      .expectedFrom('login')
      .flatMap(({ principal, match }) => (principal.kind === 'person' || match.sub === undefined ? [] : [match.sub]))
      .map((id) => [id, randomBytes(24).toString('base64url')]),
  )
  const server = createServer()
  const loginUrl = await listen(server, port)
  const provider = new Provider(loginUrl, await configuration({ brokerUrl, directory, clientSecrets }))
  server.on('request', requests(provider, directory))
  const ci = await startCiIssuer(port === 0 ? 0 : port + 1)
  return {
    loginUrl,
    ciUrl: ci.url,
    clientSecrets,
    ...signIn({ loginUrl, ciUrl: ci.url, brokerUrl, clientSecrets }),
    writeIssuersFile: (path) => writeFile(path, issuersFile(loginUrl, ci.url)),
    stop: async () => {
      await ci.stop()
      await close(server)
    },
  }
}

async function configuration(known: {
  readonly brokerUrl: string
  readonly directory: PeopleDirectory
  readonly clientSecrets: Readonly<Record<string, string>>
}): Promise<Configuration> {
  const { brokerUrl, clientSecrets } = known
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const persons = new Map(personsOf(known.directory).map((person) => [person.subject, person]))
  const publicClient = {
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    id_token_signed_response_alg: 'ES256',
  } as const
  return {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), use: 'sig', alg: 'ES256', kid: 'login-1' }] },
    cookies: { keys: [randomBytes(24).toString('base64url')] },
    clients: [
      {
        ...publicClient,
        client_id: CLI_CLIENT,
        application_type: 'native',
        redirect_uris: [CLI_REDIRECT],
        grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      },
      {
        ...publicClient,
        client_id: CONSOLE_CLIENT,
        redirect_uris: [`${brokerUrl}/console/callback`],
        post_logout_redirect_uris: [`${brokerUrl}/console`],
      },
      ...Object.entries(clientSecrets).map(([id, secret]) => ({
        client_id: id,
        client_secret: secret,
        id_token_signed_response_alg: 'ES256' as const,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      })),
    ],
    findAccount: (_, id) => {
      const person = persons.get(id)
      return person && { accountId: id, claims: () => ({ sub: id, name: person.name }) }
    },
    claims: { openid: ['sub'], profile: ['name'] },
    pkce: { required: () => true },
    // Without asking for consent, which nobody is asked for here: who may use refresh tokens gets one.
    issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form) => {
          ctx.body = layout('Which device?', `${form}<button type="submit" form="op.deviceInputForm">Continue</button>`)
        },
        userCodeConfirmSource: (ctx, form, client, _, userCode) => {
          const asks = `<p><code>${escapeHtml(client.clientId)}</code> shows the code <b>${escapeHtml(userCode)}</b>.</p>`
          ctx.body = layout(
            'Is this your device?',
            `${asks}${form}<button type="submit" form="op.deviceConfirmForm">It is</button>`,
          )
        },
        successSource: (ctx) => {
          ctx.body = layout('Signed in', '<p>Go back to your device.</p>')
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => brokerUrl,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'writ',
          audience: brokerUrl,
          accessTokenTTL: TOKEN_SECONDS,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    // The session that an agent says it is in, as an agent platform would vouch for it.
    extraTokenClaims: (ctx, token) => {
      const session: unknown = token.kind === 'ClientCredentials' ? ctx.oidc.body?.session : undefined
      return typeof session === 'string' ? { session } : undefined
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}`, policy: alwaysAsk() },
    loadExistingGrant: async (ctx) => {
      const { client, session, provider } = ctx.oidc
      if (client === undefined || session?.accountId === undefined) return undefined
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId })
      grant.addOIDCScope('openid profile')
      grant.addResourceScope(brokerUrl, 'writ')
      await grant.save()
      return grant
    },
    ttl: {
      AccessToken: TOKEN_SECONDS,
      ClientCredentials: TOKEN_SECONDS,
      IdToken: TOKEN_SECONDS,
      DeviceCode: 600,
      Interaction: 600,
      RefreshToken: 3_600,
      Session: 3_600,
      Grant: 3_600,
    },
  }
}

/** The list is shown at every sign-in, so that one browser can change roles. */
function alwaysAsk() {
  const policy = interactionPolicy.base()
  // Nobody is asked for consent: the broker is the only resource.
  policy.remove('consent')
  policy
    .get('login')
    ?.checks.add(
      new interactionPolicy.Check('asks_every_time', 'development: choose who you are', (ctx) =>
        ctx.oidc.result?.login === undefined
          ? interactionPolicy.Check.REQUEST_PROMPT
          : interactionPolicy.Check.NO_NEED_TO_PROMPT,
      ),
    )
  return policy
}

interface DevPerson {
  readonly subject: string
  readonly name: string
  readonly tenant: string
  readonly groups: readonly string[]
}

const personsOf = (directory: PeopleDirectory): readonly DevPerson[] =>
  directory.expectedFrom('login').flatMap(({ principal, match }) =>
    principal.kind === 'person' && match.sub !== undefined
      ? [
          {
            subject: match.sub,
            name: directory.displayName(principal.id),
            tenant: principal.tenant,
            groups: principal.groups,
          },
        ]
      : [],
  )

/** The page of persons, and everything else to the provider. */
function requests(provider: Provider, directory: PeopleDirectory) {
  const standard = provider.callback()
  return (request: IncomingMessage, response: ServerResponse): void => {
    const isOurs = (request.url ?? '').startsWith('/interaction/')
    const done = isOurs ? interaction(provider, directory, request, response) : standard(request, response)
    done.catch(() => {
      if (!response.headersSent) response.writeHead(400, { 'content-type': 'text/plain' })
      response.end('This sign-in is over. Start again.\n')
    })
  }
}

async function interaction(
  provider: Provider,
  directory: PeopleDirectory,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { params } = await provider.interactionDetails(request, response)
  const persons = personsOf(directory)
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
    response.end(page(persons, String(params.client_id ?? '')))
    return
  }
  const chosen = new URLSearchParams(await bodyOf(request)).get('login')
  const person = persons.find(({ subject }) => subject === chosen)
  if (person === undefined) throw new Error('unknown person')
  await provider.interactionFinished(
    request,
    response,
    { login: { accountId: person.subject } },
    { mergeWithLastSubmission: false },
  )
}

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)

function page(persons: readonly DevPerson[], client: string): string {
  const rows = persons.map(
    ({ subject, name, tenant, groups }) =>
      `<button name="login" value="${escapeHtml(subject)}"><b>${escapeHtml(name)}</b> <code>${escapeHtml(subject)}</code><br>` +
      `<small>${escapeHtml([tenant, ...groups].join(' · '))}</small></button>`,
  )
  return layout(
    'Who are you?',
    `<p>Signing in to <code>${escapeHtml(client)}</code>.</p><form method="post">${rows.join('\n')}</form>`,
  )
}

const layout = (title: string, body: string): string => `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title} (development)</title>
<style>body{font:16px/1.4 system-ui,sans-serif;max-width:34rem;margin:0 auto;padding:0 1rem}
.banner{background:#b00020;color:#fff;font-weight:700;padding:1rem;margin:0 -1rem 1rem;text-align:center}
button{display:block;width:100%;text-align:left;font:inherit;padding:.6rem .8rem;margin:.4rem 0}
button{border:1px solid #888;border-radius:.4rem;background:#fff;color:#000;cursor:pointer}
button:hover,button:focus{background:#eef}</style>
<div class="banner" role="alert">DEVELOPMENT ONLY: no password, anybody can be anybody</div>
<h1>${title}</h1>${body}</html>
`

const issuersFile = (
  loginUrl: string,
  ciUrl: string,
): string => `# Written by the development identity provider. Never use it in production.
issuers:
  login:
    url: ${loginUrl}
    discovery: true
    algorithms: [ES256]
    types: [at+jwt]
    maximalAge: 15m
    maximalLife: 15m
    session: session
    cli: { clientId: ${CLI_CLIENT}, scope: openid profile }
  ci:
    url: ${ciUrl}
    discovery: true
    algorithms: [RS256]
    types: [JWT]
    maximalAge: 10m
    maximalLife: 10m
`
