// Credentials of any other path on a real Vault: what it gives is held against what the entitlement declares, and what differs leaves nothing
// that anybody could use.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PathEntitlement } from '../../deploy/vault/policies.ts'
import type { MintPlan } from '../../src/broker/ports.ts'
import type { VaultPath, VaultPathCredential } from '../../src/domain/entitlement.ts'
import { isBrokerError } from '../../src/domain/errors.ts'
import { type EntitlementId, named } from '../../src/domain/ids.ts'
import { duration, instant, minutes, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import { type VaultCredentialSource, vaultCredentialSource } from '../../src/vault/credential-source.ts'
import { processTimer } from '../../src/vault/timer.ts'
import { claimedMint, liveMint, openedMint, planOfTest } from '../contracts/credential-source.ts'
import { type VaultWorld, vaultWorld } from '../support/vault-world.ts'

const path = (more: Partial<VaultPath>): VaultPath => ({
  ...{ mount: 'kv', path: 'reports/key', method: 'read', parameters: {} },
  ...{ lifeParameter: undefined, endMember: undefined, ...more },
})
/** Each an entitlement of its own, because the policy at Vault names the call. */
const PATHS = {
  'kv-short': path({}),
  'kv-long': path({ path: 'reports/for-ever' }),
  'kv-dated': path({ path: 'reports/dated', endMember: 'ends_at' }),
  'kv-none': path({ path: 'reports/none' }),
  'shared-login': path({ mount: 'shared', path: 'creds/reader' }),
  'long-login': path({ mount: 'shared', path: 'creds/slow' }),
  'written-key': path({
    ...{ mount: 'kv', path: 'reports/written', method: 'write' },
    ...{ parameters: { color: 'green' }, lifeParameter: 'ttl' },
  }),
} as const
type Name = keyof typeof PATHS

let world: VaultWorld
let source: VaultCredentialSource
let made = 0

beforeAll(async () => {
  const paths = Object.entries(PATHS).map(([id, one]): PathEntitlement => ({ id: named.entitlement(id), path: one }))
  world = await vaultWorld({ paths })
  const { asRoot } = world
  await asRoot('POST', 'sys/mounts/kv', { type: 'kv', options: { version: '1' } })
  await asRoot('POST', 'kv/reports/key', { ttl: '60s', token: 'k-1', rights: { read: true } })
  await asRoot('POST', 'kv/reports/for-ever', { token: 'k-2' })
  const endsAt = Math.floor(Date.now() / 1_000) + 240
  await asRoot('POST', 'kv/reports/dated', { ttl: '30s', token: 'k-3', ends_at: endsAt })
  // A role that the operator made, for many: Writ only reads it.
  await asRoot('POST', 'sys/mounts/shared', { type: 'database' })
  const { host, port, user, password } = world.postgres
  await asRoot('POST', 'shared/config/payments', {
    plugin_name: 'postgresql-database-plugin',
    allowed_roles: ['reader', 'slow'],
    connection_url: `postgresql://{{username}}:{{password}}@${host}:${port}/payments?sslmode=disable`,
    username: user,
    password,
  })
  for (const [role, ttl] of [['reader', '40s'] as const, ['slow', '50m'] as const])
    await asRoot('POST', `shared/roles/${role}`, {
      db_name: 'payments',
      creation_statements: [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`],
      default_ttl: ttl,
      max_ttl: ttl,
    })
  source = vaultCredentialSource(world.backends, processTimer, () => instant(Date.now()))
}, 120_000)
afterAll(async () => {
  source?.stop()
  await world?.stop()
})

const planOf = (name: Name, more: Partial<VaultPathCredential> = {}): MintPlan => {
  made += 1
  const letters = String.fromCharCode(97 + (made % 26))
  return {
    ...planOfTest(`path${name.replace(/[^a-z]/g, '')}${letters}`, 1),
    entitlement: named.entitlement(name) as EntitlementId,
    credential: {
      ...{ kind: 'vault', backend: 'vault-main', engine: 'path', path: PATHS[name] },
      ...{ maxLife: minutes(5), revocability: 'expiry', ...more },
    },
  }
}
const make = async (plan: MintPlan, left = minutes(10)) => {
  const hold = await source.open(plan)
  await source.keep(hold, left)
  try {
    const { lease, secret } = await source.issue(hold, plan, left)
    return { hold, lease, secret: reveal(secret), mint: liveMint(hold, lease), error: undefined }
  } catch (thrown) {
    if (!isBrokerError(thrown)) throw thrown
    return { hold, lease: undefined, secret: undefined, mint: openedMint(hold), error: thrown }
  }
}
const end = async (plan: MintPlan, mint: ReturnType<typeof openedMint> | ReturnType<typeof liveMint>) => {
  await source.close(plan, mint)
  return source.confirmGone(plan, mint)
}
const leasesOf = async (role: string): Promise<readonly string[]> =>
  world.asRoot('LIST', `sys/leases/lookup/shared/creds/${role}`).then(
    (answer) => (answer as { data: { keys: string[] } }).data.keys,
    () => [],
  )
/** Logins that Vault made through the shared roles. */
const logins = () => world.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")

describe('what cannot be revoked', () => {
  it('is handed out for the life that Vault states, whole, and its end says until when it lasts', async () => {
    const plan = planOf('kv-short')
    const { lease, secret, mint } = await make(plan)
    expect(lease).toEqual({ id: '', durationSeconds: 60 })
    expect(secret).toEqual({ ttl: '60s', token: 'k-1', rights: '{"read":true}' })
    expect(await end(plan, mint)).toEqual({
      gone: true,
      answer: 'Vault: invalid accessor; what was made cannot be revoked and ends by itself',
      lasts: seconds(60),
    })
  })

  it('is not handed out where it lives longer than declared, or longer than what is left of the window', async () => {
    const long = planOf('kv-long')
    const first = await make(long)
    expect(first.error).toMatchObject({ code: 'vault_refused', facts: { definite: false, reason: 'lives_too_long' } })
    expect(first.error?.nextAction).toContain('maxLife')
    expect((await end(long, first.mint)).gone).toBe(true)
    const short = planOf('kv-short')
    const second = await make(short, seconds(50))
    expect(second.error?.code).toBe('window_closing')
    expect(await end(short, second.mint)).toMatchObject({ gone: true, lasts: minutes(5) })
  })

  it('ends when the member says that the entitlement names, whatever the lease says', async () => {
    const plan = planOf('kv-dated')
    const { lease, mint } = await make(plan)
    expect(lease?.durationSeconds).toBeGreaterThan(200)
    expect(lease?.durationSeconds).toBeLessThanOrEqual(241)
    expect((await end(plan, mint)).lasts).toBe(duration(1_000 * (lease?.durationSeconds ?? 0)))
    const unsaid = { ...PATHS['kv-short'], endMember: 'ends_at' }
    const silent = planOf('kv-short', { path: unsaid })
    const { error, mint: opened } = await make(silent)
    expect(error?.facts.reason).toBe('no_life')
    await end(silent, opened)
  })

  it('leaves nothing behind where nothing was made', async () => {
    const plan = planOf('kv-none')
    const { error, mint } = await make(plan)
    expect(error).toMatchObject({ code: 'vault_refused' })
    expect((await end(plan, mint)).gone).toBe(true)
    expect(await source.confirmGone(plan, claimedMint())).toEqual({ gone: true, answer: 'Vault: no hold' })
  })
})

describe('what is declared to end at once', () => {
  it('has a lease, ends by it, and is confirmed by Vault no longer knowing it', async () => {
    const plan = planOf('shared-login', { revocability: 'at_once' })
    const { lease, secret, mint } = await make(plan)
    expect(lease?.id.startsWith('shared/creds/reader/')).toBe(true)
    expect(lease?.durationSeconds).toBe(40)
    expect(secret?.password).not.toBe('')
    expect(await logins()).toHaveLength(1)
    expect((await source.confirmGone(plan, mint)).gone).toBe(false)
    expect(await end(plan, mint)).toEqual({ gone: true, answer: 'Vault: invalid lease' })
    expect(await logins()).toEqual([])
  })

  it('is refused, and told what to declare, where Vault gives no lease', async () => {
    const plan = planOf('kv-short', { revocability: 'at_once' })
    const { error, secret, mint } = await make(plan)
    expect(secret).toBeUndefined()
    expect(error).toMatchObject({ code: 'vault_refused', facts: { definite: false, reason: 'no_lease' } })
    expect(error?.nextAction).toContain('revocability: expiry')
    await end(plan, mint)
  })

  it('is ended at once and not handed out where its lease is longer than declared', async () => {
    const plan = planOf('long-login', { revocability: 'at_once' })
    const { error, mint } = await make(plan)
    expect(error?.facts.reason).toBe('lives_too_long')
    expect(await leasesOf('slow')).toEqual([])
    expect(await logins()).toEqual([])
    expect((await end(plan, mint)).gone).toBe(true)
  })

  it('is found through its hold where its lease was never recorded, and says until when it may last', async () => {
    const plan = planOf('shared-login', { revocability: 'at_once' })
    const { hold } = await make(plan)
    const opened = openedMint(hold)
    expect((await source.confirmGone(plan, opened)).gone).toBe(false)
    const answer = await end(plan, opened)
    expect(answer).toMatchObject({ gone: true, lasts: minutes(5) })
    await expect.poll(logins, { timeout: 10_000 }).toEqual([])
  })
})

describe('the call', () => {
  it('is the one of the entitlement, and only the life in it is the broker’s', async () => {
    const plan = planOf('written-key')
    const { error, mint, hold } = await make(plan, minutes(10))
    // kv answers a write without a body: nothing that could be handed out. What was written shows what was sent.
    expect(error?.facts.reason).toBe('no_body')
    const { data } = (await world.asRoot('GET', 'kv/reports/written')) as { data: object }
    expect(data).toEqual({ color: 'green', ttl: '294s' })
    const asHold = (body: object) =>
      fetch(`${world.vault.addr}/v1/kv/reports/written`, {
        method: 'POST',
        headers: { 'x-vault-token': reveal(hold.token) },
        body: JSON.stringify(body),
      }).then(({ status }) => status)
    expect(await asHold({ color: 'red', ttl: '10s' })).toBe(403)
    expect(await asHold({ color: 'green', ttl: '10s', more: 'x' })).toBe(403)
    expect(await asHold({ ttl: '10s' })).toBe(403)
    expect(await asHold({ color: 'green', ttl: '10s' })).toBe(204)
    await end(plan, mint)
  })

  it('goes nowhere else: what leads away, stands for several or is Vault’s own is refused before anything is opened', async () => {
    for (const [mount, below] of [
      ['sys', 'policies/acl/x'],
      ['team/sys', 'policies/acl/x'],
      ['auth', 'token/create'],
      ['kv', '../sys/seal'],
      ['kv', 'a/./b'],
      ['kv', 'a*'],
      ['kv', '+/key'],
      ['kv', 'a%2fb'],
      ['kv', ''],
      ['database', 'creds/writ-payments-migrator-x'],
    ] as const) {
      const plan = planOf('kv-short', { path: { ...PATHS['kv-short'], mount, path: below } })
      await expect(source.open(plan), `${mount} ${below}`).rejects.toMatchObject({
        code: 'vault_refused',
        facts: { definite: true, reason: 'unsafe_name' },
      })
    }
  })

  it('is not begun under a hold that is a batch token, which nobody could end', async () => {
    const asBatch = { token_type: 'batch', renewable: false, token_explicit_max_ttl: 0 }
    await world.asRoot('POST', 'auth/token/roles/writ', asBatch)
    const error = await source.open(planOf('kv-short')).catch((thrown: unknown) => thrown)
    const asService = { token_type: 'service', renewable: true, token_explicit_max_ttl: 86_400 }
    await world.asRoot('POST', 'auth/token/roles/writ', asService)
    expect(error).toMatchObject({ code: 'vault_refused', facts: { reason: 'hold_is_a_batch_token' } })
    const { mint } = await make(planOf('kv-short'))
    expect(mint.status).toBe('live')
  })
})
