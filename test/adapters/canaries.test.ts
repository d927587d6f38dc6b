// Canaries where they are real: results in Redis that every broker reads, and a database whose revocation is broken in ways that happen.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startRedis } from '../../deploy/dev/redis.ts'
import { type CanaryPorts, canaryRound } from '../../src/broker/canary.ts'
import type { Canaries, Rules } from '../../src/broker/ports.ts'
import type { Canary, OpenCanary } from '../../src/domain/canary.ts'
import { grantIdFrom, named, shard } from '../../src/domain/ids.ts'
import { duration, hours, instant, minutes } from '../../src/domain/instant.ts'
import { secret } from '../../src/domain/secret.ts'
import { redisCanaries } from '../../src/redis/canaries.ts'
import { connectRedis, redisAddress } from '../../src/redis/connect.ts'
import { canaryKeys } from '../../src/redis/keys.ts'
import { type VaultCredentialSource, vaultCredentialSource } from '../../src/vault/credential-source.ts'
import { processTimer } from '../../src/vault/timer.ts'
import { memoryCanaries } from '../support/memory-ports.ts'
import { sha256 } from '../support/sample-grants.ts'
import { CREDENTIAL, ENTITLEMENT, type VaultWorld, vaultWorld } from '../support/vault-world.ts'

const HOME = shard(0)
const AT = instant(1_800_000_000_000)
const result: Canary = {
  ...{ v: 1, entitlement: ENTITLEMENT, rule: 'r', result: 'failed', step: 'end', reason: 'x' },
  ...{ at: AT, took: duration(12), next: AT },
}
const ok: Canary = { ...result, result: 'ok', step: undefined, reason: undefined }
const open: OpenCanary = {
  ...{ v: 1, entitlement: ENTITLEMENT, grant: grantIdFrom(HOME, 'canary', new Uint8Array(17)), credential: CREDENTIAL },
  ...{ since: AT, accessor: undefined, lease: undefined },
}

describe.each(['memory', 'Redis'] as const)('the canaries in %s', (where) => {
  let canaries: Canaries
  let redis: ReturnType<typeof connectRedis> | undefined
  let stop = async (): Promise<void> => undefined
  beforeAll(async () => {
    if (where === 'memory') {
      canaries = memoryCanaries({ now: () => AT })
      return
    }
    const service = await startRedis({ own: true })
    const connections = connectRedis({
      address: redisAddress(secret(service.url)),
      jitter: () => 0.5,
      onError: () => undefined,
    })
    await connections.ready(10_000)
    redis = connections
    canaries = redisCanaries({ redis: connections.issue, shard: HOME, deadlineMs: 2_000 })
    stop = async () => {
      await connections.close()
      await service.stop()
    }
  })
  afterAll(() => stop())

  it('are kept one of each entitlement, the last one, as they were', async () => {
    expect(await canaries.all()).toEqual([])
    expect(await canaries.last(ENTITLEMENT)).toBeUndefined()
    await canaries.keep(result)
    await canaries.keep(ok)
    expect(await canaries.all()).toStrictEqual([ok])
    expect(await canaries.last(ENTITLEMENT)).toStrictEqual(ok)
    await canaries.keep(result)
    expect(await canaries.last(ENTITLEMENT)).toStrictEqual(result)
  })

  it('are noted with what was made so far, until they have ended', async () => {
    await canaries.note(open)
    const more = { ...open, accessor: 'a', lease: { id: 'l', durationSeconds: 14 } }
    await canaries.note(more)
    expect(await canaries.open()).toStrictEqual([more])
    await canaries.ended(ENTITLEMENT)
    expect(await canaries.open()).toEqual([])
  })

  it('are made by one at a time', async () => {
    const turns = await Promise.all(Array.from({ length: 10 }, () => canaries.turn(ENTITLEMENT, minutes(1))))
    expect(turns.filter((mine) => mine)).toHaveLength(1)
    expect(await canaries.turn(named.entitlement('other'), minutes(1))).toBe(true)
    await canaries.giveBack(ENTITLEMENT)
    expect(await canaries.turn(ENTITLEMENT, minutes(1))).toBe(true)
  })

  it('say nothing where they cannot be read', async () => {
    if (redis === undefined) return
    const { results, open: marks } = canaryKeys(HOME)
    for (const text of [
      '',
      '{',
      '{}',
      JSON.stringify({ ...ok, v: 2 }),
      JSON.stringify({ ...ok, entitlement: 'other' }),
    ]) {
      await redis.issue.hset(results, ENTITLEMENT, text)
      expect(await canaries.last(ENTITLEMENT), text).toBeUndefined()
      expect(await canaries.all()).toEqual([])
      await redis.issue.hset(marks, ENTITLEMENT, text)
      expect(await canaries.open()).toEqual([])
    }
  })
})

describe('a canary at Vault and PostgreSQL', () => {
  let world: VaultWorld
  let source: VaultCredentialSource
  beforeAll(async () => {
    world = await vaultWorld()
    source = vaultCredentialSource(world.backends, processTimer, () => instant(Date.now()))
  }, 120_000)
  afterAll(async () => {
    source?.stop()
    await world?.stop()
  })

  const canaries = memoryCanaries({ now: () => instant(Date.now()) })
  const policy = { entitlements: () => [{ id: ENTITLEMENT, credential: CREDENTIAL }] } as unknown as Rules['policy']
  let ahead = 0
  const ports: CanaryPorts = {
    canaries,
    get credentials() {
      return source
    },
    control: async () => ({}) as never,
    rules: () => ({ policy }) as Rules,
    now: () => instant(Date.now() + ahead),
    nowToEnd: () => instant(Date.now()),
    newGrantId: () =>
      grantIdFrom(
        HOME,
        'canary',
        Uint8Array.from({ length: 17 }, () => Math.floor(Math.random() * 256)),
      ),
    jitter: () => 0.5,
    sha256,
    every: hours(1),
    pause: (span) => new Promise((resolve) => setTimeout(resolve, span / 20)),
  }
  const round = async () => {
    ahead += hours(2)
    const [canary] = await canaryRound(ports)()
    return [canary?.result, canary?.step, canary?.reason]
  }
  const left = async () => ({
    logins: await world.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'writ-g%'"),
    roles: await world.asRoot('LIST', 'database/roles').then(
      (answer) => (answer as { data: { keys: string[] } }).data.keys,
      () => [],
    ),
    noted: await canaries.open(),
  })
  const NOTHING = { logins: [], roles: [], noted: [] }
  const asSuperuser = async (text: string): Promise<void> => {
    const client = new pg.Client({ connectionString: world.postgres.url.replace(/\/postgres$/, '/payments') })
    await client.connect()
    await client.query(text)
    await client.end()
  }

  it('is made and ended, and nothing is left', async () => {
    expect(await round()).toEqual(['ok', undefined, undefined])
    expect(await left()).toEqual(NOTHING)
  })

  it('finds that the owner role is gone, shows that it cannot be ended, and is fine again once it is back', async () => {
    await asSuperuser('ALTER ROLE payments_owner RENAME TO payments_owner_away')
    expect(await round()).toEqual(['failed', 'end', 'revocation_failed'])
    // The one that is left is the canary: no other is made beside it.
    const { logins } = await left()
    expect(await round()).toEqual(['failed', 'end', 'revocation_failed'])
    expect((await left()).logins).toEqual(logins)
    await asSuperuser('ALTER ROLE payments_owner_away RENAME TO payments_owner')
    expect(await round()).toEqual(['ok', undefined, undefined])
    expect(await left()).toEqual(NOTHING)
  }, 60_000)

  it('finds that the probe cannot log in, so that no end could be confirmed', async () => {
    await asSuperuser('ALTER ROLE writ_probe NOLOGIN')
    const [what, step] = await round()
    expect([what, step]).toEqual(['failed', 'confirm'])
    await asSuperuser('ALTER ROLE writ_probe LOGIN')
    expect(await round()).toEqual(['ok', undefined, undefined])
    expect(await left()).toEqual(NOTHING)
  }, 60_000)

  it('says that it could not be tried where Vault is away, and leaves nothing of what it had begun', async () => {
    await world.gate.shut()
    const [what, step] = await round()
    expect([what, step]).toEqual(['unknown', 'make'])
    await world.gate.open()
    expect(await round()).toEqual(['ok', undefined, undefined])
    expect(await left()).toEqual(NOTHING)
  }, 60_000)

  it('dies by itself when its broker does: its hold is not kept for longer than seconds', async () => {
    const dying = { ...source, close: async () => Promise.reject(new Error('it died')) }
    ahead += hours(2)
    const died = canaryRound({ ...ports, credentials: dying })()
    await expect(died).rejects.toThrow('it died')
    expect((await left()).logins).toHaveLength(1)
    await expect.poll(async () => (await left()).logins, { timeout: 35_000, interval: 1_000 }).toEqual([])
    expect(await round()).toEqual(['ok', undefined, undefined])
    expect(await left()).toEqual(NOTHING)
  }, 60_000)
})
