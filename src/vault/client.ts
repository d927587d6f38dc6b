// One identity of the broker at one Vault: its login and its calls, through node-vault behind a wall that lets no secret out.
// Invariants: every call has a deadline; every answer that is used is an object; every token has a node-vault and headers of its own,
// because the library writes the first token into whatever headers it is given; nothing is taken from the environment.
import { readFile } from 'node:fs/promises'
import nodeVault from 'node-vault'
import { reveal, type Secret, secret } from '../domain/secret.ts'
import { answered, type Doubt, failureOf, NoAnswer, refused, unanswered } from './failures.ts'
import { type Timer, within } from './timer.ts'
import { type Address, transport } from './transport.ts'

export interface VaultIdentity {
  readonly address: Address
  /** Vault Enterprise and OpenBao; undefined for the root namespace. */
  readonly namespace: string | undefined
  readonly appRoleMount: string
  /** Both are read again at each login, so that they can be rotated under a running broker. */
  readonly roleIdFile: string
  readonly secretIdFile: string
  readonly callTimeoutMs: number
  readonly connections: number
  /** The largest answer that is read; undefined for what every call but a long list needs. */
  readonly mostBytes?: number
}

/** `template` stands for the path in every error: ids are left out of it. */
export interface Call {
  readonly verb: 'read' | 'list' | 'write' | 'delete'
  readonly path: string
  readonly template: string
  readonly body?: Readonly<Record<string, unknown>>
  /** Not to be repeated, whatever happened to the connection: it makes something each time. */
  readonly once?: true
  /** A denial says nothing against the login: it is thrown, and no other login is tried. */
  readonly believed?: true
  /** Instead of the broker's own login. */
  readonly token?: Secret<string>
  readonly signal?: AbortSignal
}
export type Body = Readonly<Record<string, unknown>>

export interface VaultClient {
  /** The answer's body; undefined where Vault answers without one (204). Rejects `vault_refused` or `vault_unavailable`, with the fact `definite`. */
  call(call: Call): Promise<Body | undefined>
  /** Like `call`, where an answer without a body is a failure. */
  ask(call: Call): Promise<Body>
  /** Ends the timers and the connections. The login is left to expire. */
  close(): void
}

/** A broker token that lives longer than this is refused: a stolen one would be good for too long. */
const LONGEST_LOGIN_SECONDS = 3_600
/** The next login is made after this part of the present one's life. */
const RENEW_AFTER = 2 / 3
/** A login with less than this left is not used for a new call. */
const LEAST_LOGIN_MS = 2_000
/** A login younger than this is believed when Vault denies a call; an older one may have been revoked, or its Vault restored. */
const BELIEVED_MS = 5_000

interface Login {
  readonly token: Secret<string>
  readonly api: nodeVault.client
  readonly bornAt: number
  readonly expiresAt: number
}

export function vaultClient(identity: VaultIdentity, timer: Timer): VaultClient {
  const wire = transport(identity.address, identity.connections, identity.mostBytes)
  let login: Login | undefined
  let pending: Promise<Login> | undefined
  let cancelRenewal = (): void => {}
  let closed = false

  const apiFor = (token: string): nodeVault.client => libraryFor(identity, wire.send, token)

  /** One HTTP request under the call's own deadline; one more where a connection that had been idle broke under it. */
  const send = async (api: nodeVault.client, call: Call): Promise<Body | undefined> => {
    let repeated = false
    const work = async (signal: AbortSignal): Promise<Body | undefined> => {
      try {
        return await request(api, call, signal)
      } catch (thrown) {
        if (!(thrown instanceof NoAnswer && thrown.stale) || call.once === true || signal.aborted) throw thrown
        repeated = true
        return request(api, call, signal)
      }
    }
    try {
      return await within(timer, identity.callTimeoutMs, work, call.signal)
    } catch (thrown) {
      throw scrubbed(call.template, thrown, repeated)
    }
  }

  const logIn = async (): Promise<Login> => {
    const template = `auth/${identity.appRoleMount}/login`
    const body = {
      role_id: await credentialFile(identity.roleIdFile, template),
      secret_id: await credentialFile(identity.secretIdFile, template),
    }
    const startedAt = timer.now()
    const answer = await send(apiFor(''), { verb: 'write', path: template, template, body })
    const { token, lifeSeconds } = loginOf(answer, template)
    const made = {
      token: secret(token),
      api: apiFor(token),
      bornAt: startedAt,
      expiresAt: startedAt + lifeSeconds * 1_000,
    }
    login = made
    cancelRenewal()
    if (!closed) cancelRenewal = timer.after(Math.floor(lifeSeconds * 1_000 * RENEW_AFTER), renew)
    return made
  }

  /** Many callers, one login. */
  const freshLogin = (): Promise<Login> => {
    pending ??= logIn().finally(() => {
      pending = undefined
    })
    return pending
  }

  const renew = (): void => {
    freshLogin().catch(() => {
      // The present login is used until its end; from then on every call tries, and says what is wrong.
      if (!closed) cancelRenewal = timer.after(BELIEVED_MS, renew)
    })
  }

  const currentLogin = (): Promise<Login> =>
    login !== undefined && login.expiresAt - timer.now() > LEAST_LOGIN_MS ? Promise.resolve(login) : freshLogin()

  const call = async (wanted: Call): Promise<Body | undefined> => {
    if (wanted.token !== undefined) return send(apiFor(reveal(wanted.token)), wanted)
    const used = await currentLogin()
    try {
      return await send(used.api, wanted)
    } catch (thrown) {
      // A denial changed nothing, so repeating is safe. It may mean only that this login is no more.
      if (failureOf(thrown)?.status !== 403 || wanted.believed === true || timer.now() - used.bornAt < BELIEVED_MS)
        throw thrown
      const next = login === used || login === undefined ? await freshLogin() : login
      return send(next.api, wanted)
    }
  }

  return {
    call,
    async ask(wanted) {
      const body = await call(wanted)
      if (body === undefined) throw refused(wanted.template, 'no_body')
      return body
    },
    close() {
      closed = true
      cancelRenewal()
      wire.close()
    },
  }
}

async function request(api: nodeVault.client, call: Call, signal: AbortSignal): Promise<Body | undefined> {
  // New for every call: the library writes the token into it.
  const options = { headers: {}, signal }
  const body: unknown = await (call.verb === 'write'
    ? api.write(call.path, { ...call.body }, options)
    : call.verb === 'read'
      ? api.read(call.path, options)
      : call.verb === 'list'
        ? api.list(call.path, options)
        : api.delete(call.path, options))
  if (body === undefined || body === null) return undefined
  if (typeof body !== 'object' || Array.isArray(body)) throw new NoAnswer('not_an_object', true)
  return body as Body
}

/** The library's own error holds Vault's whole answer; ours takes the status and the words it knows from it. */
function scrubbed(template: string, thrown: unknown, repeated: boolean): unknown {
  const response = (thrown as { response?: { statusCode?: unknown; body?: unknown } } | null)?.response
  // What became of the first try nobody knows, whatever is said of the second.
  const doubt: Doubt = repeated ? { definite: false } : {}
  return typeof response?.statusCode === 'number'
    ? answered(template, response.statusCode, response.body, doubt)
    : unanswered(template, thrown, doubt)
}

function libraryFor(identity: VaultIdentity, send: unknown, token: string): nodeVault.client {
  const { url } = identity.address
  const api = nodeVault({
    apiVersion: 'v1',
    endpoint: url,
    token,
    // It would print bodies: silent, whatever DEBUG says.
    debug: () => {},
    'request-promise': { defaults: () => send },
  })
  // The library reads the environment wherever an option is empty: set afterwards, these stand.
  return Object.assign(api, {
    endpoint: url,
    token,
    pathPrefix: '',
    namespace: identity.namespace,
    // A list is asked for with GET and `?list`: a proxy in between need not know the word LIST.
    noCustomHTTPVerbs: true,
  })
}

async function credentialFile(path: string, template: string): Promise<string> {
  const text = await readFile(path, 'utf8').then(
    (read) => read.trim(),
    () => '',
  )
  if (text === '') throw refused(template, 'credential_file_unreadable', { definite: true })
  return text
}

function loginOf(answer: Body | undefined, template: string): { readonly token: string; readonly lifeSeconds: number } {
  const auth = answer?.auth as Readonly<Record<string, unknown>> | null | undefined
  const token = auth?.client_token
  const lifeSeconds = auth?.lease_duration
  if (typeof token !== 'string' || token === '' || typeof lifeSeconds !== 'number')
    throw refused(template, 'no_token', { definite: true })
  if (!(lifeSeconds > 0 && lifeSeconds <= LONGEST_LOGIN_SECONDS))
    throw refused(template, 'login_lives_too_long', { definite: true })
  if (Array.isArray(auth?.policies) && auth.policies.includes('root'))
    throw refused(template, 'root_login', { definite: true })
  return { token, lifeSeconds }
}
