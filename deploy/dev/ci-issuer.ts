// Development only: an issuer of ID tokens as a CI platform gives them to its jobs, shaped like those of GitHub Actions. A job gets an
// address and a bearer for it, asks with its audience, and gets a token about exactly that job. Listens on 127.0.0.1 alone.
import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { bodyOf, close, listen } from './loopback.ts'

export interface CiJob {
  /** `deploy` runs in the environment `production`; `build` in none. */
  readonly job: 'deploy' | 'build'
  /** The commit. */
  readonly sha: string
  readonly runId: string
  /** Claims to change or, with null, to leave out. */
  readonly claims?: Readonly<Record<string, string | null>>
}

export interface CiIssuer {
  readonly url: string
  stop(): Promise<void>
}

const LIFE_SECONDS = 300

/** What a job of the repository northwind/webshop says about itself. */
export function claimsOf({ job, sha, runId, claims = {} }: CiJob): Readonly<Record<string, string>> {
  const workflow = `northwind/webshop/.github/workflows/${job}.yml@refs/heads/main`
  const all: Readonly<Record<string, string | null>> = {
    sub:
      job === 'deploy' ? 'repo:northwind/webshop:environment:production' : 'repo:northwind/webshop:ref:refs/heads/main',
    repository: 'northwind/webshop',
    repository_id: '812345',
    repository_owner: 'northwind',
    repository_owner_id: '4711',
    repository_visibility: 'private',
    actor: 'dana',
    actor_id: '1002',
    ref: 'refs/heads/main',
    ref_type: 'branch',
    ref_protected: 'true',
    sha,
    run_id: runId,
    run_number: '1',
    run_attempt: '1',
    workflow: job,
    workflow_ref: workflow,
    workflow_sha: sha,
    job_workflow_ref: workflow,
    job_workflow_sha: sha,
    event_name: 'push',
    runner_environment: 'github-hosted',
    environment: job === 'deploy' ? 'production' : null,
    ...claims,
  }
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null))
}

/**
 * Starts the issuer: discovery, keys, `POST /jobs` (what a runner does when it starts a job; answers the job's two variables) and
 * `GET /token?…&audience=…` with the job's bearer (answers `{value}`).
 */
export async function startCiIssuer(port: number): Promise<CiIssuer> {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const kid = randomBytes(8).toString('hex')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), use: 'sig', alg: 'RS256', kid }] }
  const jobs = new Map<string, CiJob>()
  const server = createServer()
  const url = await listen(server, port)

  const token = async (job: CiJob, audience: string): Promise<string> => {
    const now = Math.floor(Date.now() / 1_000)
    return await new SignJWT({ ...claimsOf(job) })
      .setProtectedHeader({ alg: 'RS256', kid, typ: 'JWT' })
      .setIssuer(url)
      .setAudience(audience)
      .setJti(randomUUID())
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + LIFE_SECONDS)
      .sign(privateKey)
  }
  const answer = async (request: IncomingMessage): Promise<unknown> => {
    const asked = new URL(request.url ?? '/', url)
    const route = `${request.method} ${asked.pathname}`
    if (route === 'GET /.well-known/openid-configuration') return discovery(url)
    if (route === 'GET /.well-known/jwks') return jwks
    if (route === 'POST /jobs') {
      const bearer = randomBytes(24).toString('base64url')
      jobs.set(bearer, JSON.parse(await bodyOf(request)) as CiJob)
      return { ACTIONS_ID_TOKEN_REQUEST_URL: `${url}/token?api-version=2.0`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer }
    }
    if (route !== 'GET /token') return undefined
    const job = jobs.get(/^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '')
    // The default audience of the real service is the address of the repository's owner, which no broker accepts.
    return job && { value: await token(job, asked.searchParams.get('audience') ?? 'https://github.com/northwind') }
  }
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await answer(request).catch(() => undefined)
    response.writeHead(body === undefined ? 404 : 200, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
    })
    response.end(JSON.stringify(body ?? { message: 'there is nothing here for you' }))
  }
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void respond(request, response)
  })
  return { url, stop: () => close(server) }
}

const discovery = (url: string): object => ({
  issuer: url,
  jwks_uri: `${url}/.well-known/jwks`,
  subject_types_supported: ['public', 'pairwise'],
  response_types_supported: ['id_token'],
  id_token_signing_alg_values_supported: ['RS256'],
  scopes_supported: ['openid'],
  claims_supported: [
    'sub',
    'aud',
    'exp',
    'iat',
    'iss',
    'jti',
    'nbf',
    ...Object.keys(claimsOf({ job: 'deploy', sha: '', runId: '' })),
  ],
})
