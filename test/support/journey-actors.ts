// The people of the journeys at their work, and the eyes of somebody outside: what a broker answers over HTTP, what Vault, PostgreSQL and
// Redis themselves say is there. Nothing here knows the broker's code; waiting is always asking again until a deadline.
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import {
  type Answered,
  client,
  introspect,
  type Json,
  type ProofKey,
  proofKey,
  type Who,
} from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import type { DevStage } from '../../deploy/dev/stage.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'

/** Asks until `good` holds and gives that answer back; after the deadline fails with what was seen last. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T> | T,
  good: (seen: T) => boolean,
  withinMs: number,
  everyMs = 100,
): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const seen = await ask()
    if (good(seen)) return seen
    if (performance.now() > deadline)
      throw new Error(`not within ${withinMs} ms: ${what}; last seen: ${JSON.stringify(seen)?.slice(0, 800)}`)
    await pause(everyMs)
  }
}

export const sleepUntil = (at: number): Promise<unknown> => pause(Math.max(0, at - Date.now()))

export interface Login {
  readonly user: string
  readonly password: string
}
export interface Filed {
  readonly id: string
  readonly path: string
  readonly opensAt: number
  readonly closesAt: number
}
export interface Issued extends Filed {
  readonly login: Login
  readonly leaseId: string
}

export interface Actors {
  who(login: string): Promise<Who>
  /** A payments login asked for by vera and approved by olivia, at the broker behind `url`; the window opens now. */
  approved(url: string, window: number | { readonly closesAt: number }): Promise<Filed>
  exchange(url: string, grant: { readonly path: string }, attempt?: string): Promise<Answered>
  /** Asked for, approved and exchanged. Throws unless all of it was answered with yes. */
  issued(url: string, window: number | { readonly closesAt: number }): Promise<Issued>
  complete(url: string, grant: { readonly path: string }): Promise<Answered>
  show(url: string, grant: { readonly path: string }): Promise<Json>
  statusOf(url: string, grant: { readonly path: string }): Promise<string>
  /** Types of the events in order. */
  eventsOf(url: string, grant: { readonly path: string }): Promise<readonly Json[]>
}

let tasks = 0
/** Each is a task of its own: the same asking is taken once. */
const maintenance = (opensAt: number, closesAt: number): Json => ({
  entitlement: 'payments-migrator',
  actions: ['db.migrate'],
  task: { id: `CHG0040001-${++tasks}`, summary: 'A journey', expectedOutcome: 'It ends', rollback: 'None' },
  ticket: { system: 'servicenow', id: 'CHG0040001' },
  window: { opensAt: new Date(opensAt).toISOString(), closesAt: new Date(closesAt).toISOString() },
})

const expectOk = (what: string, answer: Answered): Answered => {
  if (answer.said !== 'ok') throw new Error(`${what}: ${answer.status} ${answer.said} ${answer.body?.detail ?? ''}`)
  return answer
}

/** Tokens are fetched once per person: a session of its own, as a person has. */
export function actors(stage: Pick<DevStage, 'idp'>): Actors {
  const tokens = new Map<string, Promise<Who>>()
  const who: Actors['who'] = (login) => {
    const known = tokens.get(login) ?? stage.idp.personToken(login).then((token) => ({ token }))
    tokens.set(login, known)
    return known
  }
  const approved: Actors['approved'] = async (url, window) => {
    const opensAt = Date.now()
    const closesAt = typeof window === 'number' ? opensAt + window * 1000 : window.closesAt
    const to = client(url)
    const asked = expectOk('asked', await to.post(await who('vera'), '/v1/grants', maintenance(opensAt, closesAt)))
    const path = `/v1/grants/${asked.body.id}`
    const vote = { verdict: 'approve', reason: 'a journey', digest: asked.body.digest }
    expectOk('approved', await to.post(await who('olivia'), `${path}/decisions`, vote))
    return { id: asked.body.id, path, opensAt, closesAt }
  }
  const exchange: Actors['exchange'] = async (url, { path }, attempt) =>
    client(url).post(await who('vera'), `${path}/exchange`, attempt === undefined ? {} : { attempt })
  const show: Actors['show'] = async (url, { path }) => (await client(url).get(await who('vera'), path)).body
  return {
    who,
    approved,
    exchange,
    issued: async (url, window) => {
      const grant = await approved(url, window)
      return issuedOf(grant, expectOk('exchanged', await exchange(url, grant)))
    },
    complete: async (url, { path }) => client(url).post(await who('vera'), `${path}/complete`, { result: {} }),
    show,
    statusOf: async (url, grant) => (await show(url, grant))?.status ?? 'no answer',
    eventsOf: async (url, { path }) => (await client(url).get(await who('vera'), `${path}/events`)).body.events,
  }
}

export const issuedOf = (grant: Filed, answer: Answered): Issued => {
  const { secret, leaseId } = answer.body.credential
  return { ...grant, login: { user: secret.username, password: secret.password }, leaseId }
}

export interface Leftovers {
  /** Vault's leases of database logins. */
  readonly leases: number
  /** Vault's tokens that were opened as a hold for a grant. */
  readonly holds: number
  /** Vault's roles of single mints. */
  readonly roles: number
  /** PostgreSQL's logins of single mints. */
  readonly logins: number
  /** PostgreSQL's sessions of such a login, or of a role that is gone. */
  readonly sessions: number
}
export const NOTHING: Leftovers = { leases: 0, holds: 0, roles: 0, logins: 0, sessions: 0 }

export interface Eyes {
  /** Vault's API with the root token. */
  vault(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: Json }>
  leases(): Promise<readonly string[]>
  /** Accessors whose token carries the id of a grant. */
  holds(): Promise<readonly string[]>
  roles(): Promise<readonly string[]>
  logins(): Promise<readonly string[]>
  sessions(): Promise<number>
  left(): Promise<Leftovers>
  /** `ok`, or `refused: <SQLSTATE>`. */
  tryLogin(login: Login): Promise<string>
  /** A session that stays open until it is ended from the other side; `closed` resolves then. */
  openSession(login: Login): Promise<{ readonly client: pg.Client; readonly closed: Promise<void> }>
}

export function eyes({ vault, postgres }: { readonly vault: VaultService; readonly postgres: PostgresService }): Eyes {
  const ask: Eyes['vault'] = async (method, path, body) => {
    const answer = await fetch(`${vault.addr}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': vault.rootToken },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    })
    const text = await answer.text()
    return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) }
  }
  const list = async (path: string): Promise<readonly string[]> => {
    const { status, body } = await ask('LIST', path)
    if (status === 404) return []
    if (status !== 200) throw new Error(`LIST ${path}: ${status}`)
    return body.data.keys
  }
  const database = { host: postgres.host, port: postgres.port, database: 'payments', connectionTimeoutMillis: 5_000 }
  const query = async (text: string): Promise<readonly Json[]> => {
    const admin = new pg.Client({ ...database, user: postgres.user, password: postgres.password })
    admin.on('error', () => undefined)
    await admin.connect()
    try {
      return (await admin.query(text)).rows
    } finally {
      await admin.end().catch(() => undefined)
    }
  }
  const leases: Eyes['leases'] = async () => {
    const folders = await list('sys/leases/lookup/database/creds/')
    const found = await Promise.all(folders.map((folder) => list(`sys/leases/lookup/database/creds/${folder}`)))
    return found.flat()
  }
  const holds: Eyes['holds'] = async () => {
    const accessors = await list('auth/token/accessors')
    const marked = await Promise.all(
      accessors.map(async (accessor) => {
        const { status, body } = await ask('POST', 'auth/token/lookup-accessor', { accessor })
        return status === 200 && body.data.meta?.grant !== undefined ? [accessor] : []
      }),
    )
    return marked.flat()
  }
  const roles: Eyes['roles'] = async () => (await list('database/roles')).filter((name) => name.startsWith('writ-'))
  const logins: Eyes['logins'] = async () =>
    (await query("select rolname from pg_roles where rolname like 'writ-%'")).map(({ rolname }) => rolname)
  const sessions: Eyes['sessions'] = async () =>
    (
      await query(
        `select count(*)::int as n from pg_stat_activity a left join pg_roles r on r.oid = a.usesysid
         where a.usesysid is not null and (r.oid is null or r.rolname like 'writ-%')`,
      )
    )[0].n
  return {
    vault: ask,
    leases,
    holds,
    roles,
    logins,
    sessions,
    left: async () => ({
      leases: (await leases()).length,
      holds: (await holds()).length,
      roles: (await roles()).length,
      logins: (await logins()).length,
      sessions: await sessions(),
    }),
    tryLogin: async (login) => {
      const session = new pg.Client({ ...database, ...login })
      session.on('error', () => undefined)
      return session.connect().then(
        () => session.end().then(() => 'ok'),
        (thrown: { readonly code?: string }) => `refused: ${thrown.code ?? 'no answer'}`,
      )
    },
    openSession: async (login) => {
      const session = new pg.Client({ ...database, ...login })
      session.on('error', () => undefined)
      const closed = new Promise<void>((resolve) => session.once('end', () => resolve()))
      await session.connect()
      return { client: session, closed }
    },
  }
}

/** When Redis took the `ended` of each grant, by its own clock: the stream's ids say so. */
export const endedAt = (url: string): Promise<ReadonlyMap<string, number>> =>
  redisDo(url, async (redis) => {
    const entries = (await redis.xrange('{writ:0}:events', '-', '+')) as readonly [string, readonly string[]][]
    return new Map(
      entries.flatMap(([id, fields]) => {
        const at = fields.indexOf('event')
        const { type, grant } = JSON.parse(fields[at + 1] ?? '{}')
        return type === 'ended' ? [[grant as string, Number(id.split('-')[0])] as const] : []
      }),
    )
  })

export interface Lateness {
  readonly min: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}
export function lateness(milliseconds: readonly number[]): Lateness {
  const sorted = milliseconds.toSorted((a, b) => a - b)
  const at = (part: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
  return { min: at(0), p50: at(0.5), p99: at(0.99), max: at(1) }
}

/** Does it so many times, at most `width` at once. */
export async function eachOf<T>(many: number, width: number, work: (n: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    for (let n = next++; n < many; n = next++) results[n] = await work(n)
  }
  await Promise.all(Array.from({ length: width }, worker))
  return results
}

/** One command to Redis, on a connection of its own. */
export async function redisDo<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1, retryStrategy: () => null, lazyConnect: true })
  redis.on('error', () => undefined)
  await redis.connect()
  try {
    return await work(redis)
  } finally {
    redis.disconnect()
  }
}

export interface Report {
  readonly id: string
  readonly path: string
  readonly key: ProofKey
}
export interface Reports {
  /** A report token of dana's, approved by the policy itself, for one use and a window that opens now. */
  filed(
    url: string,
    window: number | { readonly closesAt: number },
    uses?: number,
  ): Promise<Answered & { readonly report: Report }>
  exchange(url: string, report: Report): Promise<Answered>
  introspect(url: string, token: string): Promise<Answered>
  complete(url: string, report: Report): Promise<Answered>
}

/** The credential that needs no backend: for whatever is about the broker and its store alone. */
export function reports(stage: Pick<DevStage, 'url' | 'resourceServer'>, { who }: Pick<Actors, 'who'>): Reports {
  // A proof names the public URL, whichever broker behind it is asked.
  const as = async (url: string, key: ProofKey): Promise<Who> => ({
    ...(await who('dana')),
    key: { ...key, proof: (method, at, ...rest) => key.proof(method, at.replace(url, stage.url), ...rest) },
  })
  return {
    filed: async (url, window, uses = 1) => {
      const key = proofKey()
      const times = (closesAt: number) => ({
        opensAt: new Date().toISOString(),
        closesAt: new Date(closesAt).toISOString(),
      })
      const answer = await client(url).post(await as(url, key), '/v1/grants', {
        entitlement: 'sales-report',
        actions: ['report.read'],
        task: { id: 'report-1', summary: 'The sales of last week' },
        credential: { uses },
        window: typeof window === 'number' ? { duration: `${window}s` } : times(window.closesAt),
      })
      return { ...answer, report: { id: answer.body?.id, path: `/v1/grants/${answer.body?.id}`, key } }
    },
    exchange: async (url, { path, key }) => client(url).post(await as(url, key), `${path}/exchange`),
    introspect: (url, token) => introspect(client(url), stage.url, stage.resourceServer('reports-api'), token),
    complete: async (url, { path, key }) => client(url).post(await as(url, key), `${path}/complete`, { result: {} }),
  }
}
