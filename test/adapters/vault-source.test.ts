// The credential source on real Vault and PostgreSQL: the port's contract, and what only the real ones can show.
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MintPlan, VaultSecret } from '../../src/broker/ports.ts'
import { isBrokerError } from '../../src/domain/errors.ts'
import { duration, instant, minutes } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import type { Backends } from '../../src/vault/backends.ts'
import { type VaultCredentialSource, vaultCredentialSource } from '../../src/vault/credential-source.ts'
import { roleName, USERNAME_TEMPLATE } from '../../src/vault/names.ts'
import { processTimer, type Timer } from '../../src/vault/timer.ts'
import {
  claimedMint,
  credentialSourceContract,
  liveMint,
  openedMint,
  planOfTest,
  type Session,
} from '../contracts/credential-source.ts'
import { CREDENTIAL, DATABASE, ENTITLEMENT, type VaultWorld, vaultWorld } from '../support/vault-world.ts'

const sourceOver = (backends: Backends, timer: Timer): VaultCredentialSource =>
  vaultCredentialSource(backends, timer, () => instant(Date.now()))

const sessionAs = async (
  world: VaultWorld,
  { username, password }: VaultSecret,
  database = 'payments',
): Promise<(Session & { readonly client: pg.Client }) | undefined> => {
  const { host, port } = world.postgres
  const client = new pg.Client({ host, port, database, user: username, password })
  client.on('error', () => {})
  try {
    await client.connect()
  } catch {
    return undefined
  }
  return {
    client,
    alive: () =>
      client.query('SELECT 1').then(
        () => true,
        () => false,
      ),
    leave: () => client.end().catch(() => {}),
  }
}

credentialSourceContract('Vault with PostgreSQL', 'together', async () => {
  const world = await vaultWorld()
  const source = sourceOver(world.backends, processTimer)
  return {
    source,
    plan: { entitlement: ENTITLEMENT, credential: CREDENTIAL },
    logIn: (secret) => sessionAs(world, secret),
    nativeLife: async ({ username }) => {
      const [row] = await world.query(
        'SELECT ceil(1000 * extract(epoch FROM rolvaliduntil - now()))::int AS left FROM pg_roles WHERE rolname = $1',
        [username],
      )
      return duration(Number(row?.left))
    },
    holdLives: ({ accessor }) =>
      world.asRoot('POST', 'auth/token/lookup-accessor', { accessor }).then(
        () => true,
        () => false,
      ),
    pass: async (time) => void (await pause(time)),
    freeze: async () => world.postgres.freeze(),
    thaw: async () => world.postgres.thaw(),
    down: async () => {
      await world.gate.shut()
      // Until the ends of idle connections have arrived: a request into one of them has an unknown outcome.
      await pause(50)
    },
    up: () => world.gate.open(),
    stop: async () => {
      source.stop()
      await world.stop()
    },
  }
})

describe('the Vault source', () => {
  let world: VaultWorld
  let source: VaultCredentialSource
  beforeAll(async () => {
    world = await vaultWorld()
    source = sourceOver(world.backends, processTimer)
  })
  afterAll(async () => {
    source?.stop()
    await world?.stop()
  })

  const login = async (plan: MintPlan, from = source) => {
    const hold = await from.open(plan)
    await from.keep(hold, minutes(10))
    const { lease, secret } = await from.issue(hold, plan, minutes(10))
    return { plan, hold, lease, credential: reveal(secret), mint: liveMint(hold, lease) }
  }
  const rolesLeft = async (plan: MintPlan): Promise<unknown> =>
    world.asRoot('GET', `database/roles/${roleName(plan.entitlement, plan.mint)}`).then(
      () => 'there',
      () => 'gone',
    )
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'nothing was thrown',
      (thrown) => (isBrokerError(thrown) ? thrown.code : thrown),
    )

  it('is ready with the rights of the set-up, and is not with a policy that allows too much', async () => {
    await source.ready()
    await world.asRoot('PUT', 'sys/policies/acl/too-much', { policy: 'path "*" { capabilities = ["read", "update"] }' })
    await world.asRoot('POST', 'auth/approle/role/writ-broker', { token_policies: ['writ-broker', 'too-much'] })
    const greedy = sourceOver(world.backends, processTimer)
    await expect(greedy.ready()).rejects.toMatchObject({ code: 'vault_refused' })
    greedy.stop()
    await world.asRoot('POST', 'auth/approle/role/writ-broker', { token_policies: ['writ-broker'] })
  })

  it('gives what a login made to the owner of the entitlement, and leaves no role behind', async () => {
    const { plan, credential, mint } = await login(planOfTest('migration'))
    const session = await sessionAs(world, credential)
    await session?.client.query('CREATE TABLE migrated (n int); INSERT INTO migrated VALUES (1)')
    await source.close(plan, mint)
    expect(await world.query("SELECT tableowner FROM pg_tables WHERE tablename = 'migrated'")).toEqual([
      { tableowner: 'payments_owner' },
    ])
    expect(await world.query('SELECT n FROM migrated')).toEqual([{ n: 1 }])
    expect(await rolesLeft(plan)).toBe('gone')
    expect((await source.confirmGone(plan, mint)).gone).toBe(true)
  })

  it('shuts a login at once, and does not call it gone, where the database cannot drop it', async () => {
    const { plan, credential, mint } = await login(planOfTest('hostile'))
    const elsewhere = await sessionAs(world, credential, 'postgres')
    // Revocation runs in one database; what hangs on a role in another stops it from being dropped.
    await elsewhere?.client.query('SELECT lo_create(4711)')
    await expect(source.close(plan, mint)).rejects.toMatchObject({ code: 'not_confirmed' })
    expect(await elsewhere?.alive()).toBe(false)
    expect(await sessionAs(world, credential)).toBeUndefined()
    expect((await source.confirmGone(plan, mint)).gone).toBe(false)
    const admin = new pg.Client({ connectionString: world.postgres.url })
    await admin.connect()
    await admin.query('SELECT lo_unlink(4711)')
    await admin.end()
    await source.close(plan, mint)
    expect((await source.confirmGone(plan, mint)).gone).toBe(true)
  })

  it('leaves no session to a client that logs in as fast as it can while its login is ended', async () => {
    const { plan, credential, mint } = await login(planOfTest('hammer'))
    const sessions: Session[] = []
    let hammering = true
    const hammer = async (): Promise<void> => {
      while (hammering) {
        const session = await sessionAs(world, credential)
        if (session !== undefined) sessions.push(session)
      }
    }
    const hammers = [hammer(), hammer(), hammer()]
    await pause(200)
    // Ending sessions that keep coming can take Vault longer than one call may: tried again, as the broker does, until it is confirmed.
    const isEnded = async (): Promise<boolean> => {
      await source.close(plan, mint)
      return (await source.confirmGone(plan, mint)).gone
    }
    await expect.poll(() => isEnded().catch(() => false), { timeout: 40_000 }).toBe(true)
    hammering = false
    await Promise.all(hammers)
    expect(sessions.length).toBeGreaterThan(2)
    expect((await Promise.all(sessions.map((session) => session.alive()))).filter((alive) => alive)).toEqual([])
  })

  it('finds and ends a session that outlived its role', async () => {
    const { plan, credential, mint } = await login(planOfTest('outlived'))
    const session = await sessionAs(world, credential)
    // As a login does that slips in between the end of the sessions and the commit that drops the role.
    await world.query(`DROP ROLE "${credential.username}"`)
    await world.asRoot('POST', 'sys/leases/revoke', {
      lease_id: mint.kind === 'vault' ? mint.lease.id : '',
      sync: true,
    })
    expect(await session?.alive()).toBe(true)
    await source.confirmGone(plan, mint)
    expect(await session?.alive()).toBe(false)
    expect(await source.confirmGone(plan, mint)).toEqual({
      gone: true,
      answer: 'Vault: invalid lease; PostgreSQL: 0 logins, 0 sessions, 0 statements',
    })
  })

  it('keeps what it made when the broker logs in again, and when its earlier login is revoked', async () => {
    let later = 0
    const timer = { ...processTimer, now: () => processTimer.now() + later }
    const own = sourceOver(world.backends, timer)
    const logins = async (): Promise<readonly string[]> => {
      const { data } = (await world.asRoot('LIST', 'auth/token/accessors')) as { data: { keys: string[] } }
      const found = await Promise.all(
        data.keys.map(async (accessor) => {
          const { data } = (await world.asRoot('POST', 'auth/token/lookup-accessor', { accessor })) as {
            data: { path: string }
          }
          return data.path === 'auth/approle/login' ? [accessor] : []
        }),
      )
      return found.flat()
    }
    const others = await logins()
    const { plan, credential, mint } = await login(planOfTest('orphan'), own)
    const its = (await logins()).filter((accessor) => !others.includes(accessor))
    expect(its.length).toBeGreaterThan(0)
    for (const accessor of its) await world.asRoot('POST', 'auth/token/revoke-accessor', { accessor })
    const session = await sessionAs(world, credential)
    expect(await session?.alive()).toBe(true)
    await session?.leave()
    later = 60_000
    // Its own login is gone too: it asks for a new one and goes on.
    await own.close(plan, mint)
    expect((await own.confirmGone(plan, mint)).gone).toBe(true)
    own.stop()
  })

  it('goes on where a closing stopped, wherever that was', async () => {
    for (const [n, stopped] of ['lease', 'hold', 'role'].entries()) {
      const { plan, hold, lease, mint } = await login(planOfTest(`resume${stopped}`, n + 1))
      if (stopped === 'lease') await world.asRoot('POST', 'sys/leases/revoke', { lease_id: lease.id, sync: true })
      if (stopped === 'hold') await world.asRoot('POST', 'auth/token/revoke-accessor', { accessor: hold.accessor })
      if (stopped === 'role') await world.asRoot('DELETE', `database/roles/${roleName(plan.entitlement, plan.mint)}`)
      await source.close(plan, mint)
      expect((await source.confirmGone(plan, mint)).gone).toBe(true)
      expect(await rolesLeft(plan)).toBe('gone')
    }
  })

  it('hands out nothing when the login would live under another name than the probe looks for', async () => {
    const plan = planOfTest('template')
    await world.asRoot('POST', 'database/config/payments', { username_template: 'v-{{ random 12 }}' })
    const hold = await source.open(plan)
    await source.keep(hold, minutes(5))
    await expect(source.issue(hold, plan, minutes(5))).rejects.toMatchObject({
      code: 'vault_refused',
      facts: { reason: 'user_name_template_differs' },
    })
    expect(await world.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")).toEqual([])
    await world.asRoot('POST', 'database/config/payments', { username_template: USERNAME_TEMPLATE })
    await source.close(plan, openedMint(hold))
  })

  it('never takes a denial for an answer: without its rights it neither closes nor confirms', async () => {
    const { plan, mint } = await login(planOfTest('denied'))
    const { data } = (await world.asRoot('GET', 'sys/policies/acl/writ-broker')) as { data: { policy: string } }
    await world.asRoot('PUT', 'sys/policies/acl/writ-broker', { policy: 'path "sys/none" { capabilities = ["read"] }' })
    const codes = [await codeOf(source.close(plan, mint)), await codeOf(source.confirmGone(plan, mint))]
    await world.asRoot('PUT', 'sys/policies/acl/writ-broker', { policy: data.policy })
    expect(codes).toEqual(['vault_refused', 'vault_refused'])
    await source.close(plan, mint)
    expect((await source.confirmGone(plan, mint)).gone).toBe(true)
  })

  it('uses no hold that would die with the login of the broker', async () => {
    await world.asRoot('POST', 'auth/token/roles/writ', { orphan: false })
    const error = await source.open(planOfTest('child')).catch((thrown: unknown) => thrown)
    await world.asRoot('POST', 'auth/token/roles/writ', { orphan: true })
    expect(error).toMatchObject({ code: 'vault_refused', facts: { reason: 'not_the_hold_that_was_asked' } })
  })

  it('makes no login that could not be confirmed gone: without a probe for its connection nothing is opened', async () => {
    const blind = sourceOver(world.backendsWith({ probes: new Map() }), processTimer)
    const error = await blind.open(planOfTest('blind')).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'vault_refused', facts: { definite: true, reason: 'no_probe_for_connection' } })
    blind.stop()
  })

  it('is refused definitely where the entitlement is none of Vault’s, and where its names are no names', async () => {
    const plan = planOfTest('foreign')
    const foreign = { ...plan, entitlement: 'somebody-elses' as typeof plan.entitlement }
    await expect(source.open(foreign)).rejects.toMatchObject({ code: 'vault_refused', facts: { definite: true } })
    for (const mount of ['../sys', 'database/../sys', 'a%2fb', ''])
      await expect(
        source.open({ ...plan, credential: { ...CREDENTIAL, database: { ...DATABASE, mount } } }),
      ).rejects.toMatchObject({ code: 'vault_refused', facts: { definite: true } })
    const otherSql = { ...CREDENTIAL, database: { ...DATABASE, grantedRole: 'payments_owner' } }
    const hold = await source.open(plan)
    await expect(source.issue(hold, { ...plan, credential: otherSql }, minutes(5))).rejects.toMatchObject({
      code: 'vault_refused',
    })
    await source.close(plan, openedMint(hold))
  })

  it('does not wait for a network that has gone silent longer than it may', async () => {
    const quick = sourceOver(
      world.backendsWith({ callTimeoutMs: 700, issueTimeoutMs: 1_500, endTimeoutMs: 1_500 }),
      processTimer,
    )
    const { plan, hold, mint } = await login(planOfTest('silence'), quick)
    world.gate.silence()
    const startedAt = performance.now()
    const codes = await Promise.all(
      [
        quick.open(planOfTest('silent')),
        quick.keep(hold, minutes(1)),
        quick.issue(hold, plan, minutes(1)),
        quick.close(plan, mint),
        quick.confirmGone(plan, mint),
      ].map(codeOf),
    )
    expect(codes).toEqual(codes.map(() => 'vault_unavailable'))
    expect(performance.now() - startedAt).toBeLessThan(2_500)
    await world.gate.shut()
    await world.gate.open()
    await quick.close(plan, mint)
    expect((await quick.confirmGone(plan, mint)).gone).toBe(true)
    quick.stop()
  })

  it('ends while issuing hangs: neither side can take the slots of the other', async () => {
    const narrow = sourceOver(
      world.backendsWith({ issueConcurrency: 1, endConcurrency: 1, callTimeoutMs: 3_000 }),
      processTimer,
    )
    const { plan, mint } = await login(planOfTest('narrow'), narrow)
    const hanging = await narrow.open(planOfTest('hanging'))
    await narrow.keep(hanging, minutes(5))
    // Holds a lock that the making of a login needs, and that ending one does not wait for long.
    const admin = new pg.Client({ connectionString: world.postgres.url.replace(/\/postgres$/, '/payments') })
    await admin.connect()
    await admin.query('BEGIN; LOCK TABLE pg_catalog.pg_auth_members IN ACCESS EXCLUSIVE MODE')
    let hangs = true
    const issuing = codeOf(narrow.issue(hanging, planOfTest('hanging'), minutes(5))).finally(() => {
      hangs = false
    })
    await pause(300)
    const startedAt = performance.now()
    expect(await codeOf(narrow.close(planOfTest('claimed'), claimedMint()))).toBe('nothing was thrown')
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    expect(hangs).toBe(true)
    await admin.query('ROLLBACK')
    await admin.end()
    await issuing
    await narrow.close(plan, mint)
    await narrow.close(planOfTest('hanging'), openedMint(hanging))
    expect((await narrow.confirmGone(plan, mint)).gone).toBe(true)
    narrow.stop()
  })

  it('leaves no login of an issue that it gave up: PostgreSQL froze in the middle of it', async () => {
    const plan = planOfTest('frozen')
    const hold = await source.open(plan)
    await source.keep(hold, minutes(5))
    await world.postgres.freeze()
    expect(await codeOf(source.issue(hold, plan, minutes(5)))).toBe('vault_unavailable')
    const mint = openedMint(hold)
    await source.close(plan, mint)
    expect(await codeOf(source.confirmGone(plan, mint))).toBe('not_confirmed')
    await world.postgres.thaw()
    await expect
      .poll(() => source.confirmGone(plan, mint).then(({ gone }) => gone), { timeout: 20_000, interval: 500 })
      .toBe(true)
    expect(await world.query('SELECT rolname FROM pg_roles WHERE rolname = $1', [`writ-${plan.mint}`])).toEqual([])
  }, 60_000)

  it('says that a sealed Vault refused before anything was made', async () => {
    await world.asRoot('PUT', 'sys/seal')
    const error = await source.open(planOfTest('sealed')).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'vault_unavailable', facts: { definite: true, reason: 'sealed' } })
    await world.vault.restart()
    const { plan, mint } = await login(planOfTest('unsealed'))
    await source.close(plan, mint)
    expect((await source.confirmGone(plan, mint)).gone).toBe(true)
  }, 60_000)

  it('ends a login after Vault was killed in the middle of its life', async () => {
    const { plan, mint, credential } = await login(planOfTest('killed'))
    await world.vault.kill()
    expect(await codeOf(source.close(plan, mint))).toBe('vault_unavailable')
    await world.vault.restart()
    await source.close(plan, mint)
    expect((await source.confirmGone(plan, mint)).gone).toBe(true)
    expect(await sessionAs(world, credential)).toBeUndefined()
  }, 60_000)
})
