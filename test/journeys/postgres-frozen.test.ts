// PostgreSQL frozen (SIGSTOP) when a login's end comes. Vault answers 204 to revoke-accessor all the same, so whoever believed that answer
// would call a living login gone: the grant must stay `ending` until PostgreSQL itself has answered.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eventually,
  eyes,
  NOTHING,
  redisDo,
  sleepUntil,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let broker: BrokerProcess
let services: { readonly vault: VaultService; readonly postgres: PostgresService }
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  services = await stage.bringVault()
  broker = await stage.startBroker()
  play = actors(stage)
  see = eyes(services)
}, 120_000)
afterAll(async () => {
  await services?.postgres.thaw().catch(() => undefined)
  await closeStage(stage)
})

/** Statuses as seen from outside for this long, each once, in order. */
async function statusesFor(path: string, ms: number): Promise<readonly string[]> {
  const seen: string[] = []
  const deadline = performance.now() + ms
  while (performance.now() < deadline) {
    const status = await play.statusOf(broker.url, { path })
    if (seen.at(-1) !== status) seen.push(status)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  return seen
}

it('a grant completed while PostgreSQL is frozen is ending, never ended, although Vault answers 204 to revoke-accessor', async () => {
  const grant = await play.issued(broker.url, 600)
  const session = await see.openSession(grant.login)
  await services.postgres.freeze()
  try {
    // The measured trap: Vault answers that the hold is gone, at once, and the login under it lives on.
    const [accessor] = await see.holds()
    const direct = await see.vault('POST', 'auth/token/revoke-accessor', { accessor })
    expect(direct.status).toBe(204)
    expect(await see.leases()).toHaveLength(1)
    // Without waiting for the answer: it may take as long as the broker waits for Vault.
    const completing = play.complete(broker.url, grant)
    await eventually(
      'ending',
      () => play.statusOf(broker.url, grant),
      (status) => status === 'ending',
      5_000,
    )
    expect(await statusesFor(grant.path, 16_000)).toEqual(['ending'])
    expect(['ok', 'refused: not_confirmed', 'refused: vault_unavailable']).toContain((await completing).said)
    expect((await play.eventsOf(broker.url, grant)).map(({ type }) => type)).not.toContain('ended')
  } finally {
    await services.postgres.thaw()
  }
  await eventually(
    'ended',
    () => play.statusOf(broker.url, grant),
    (status) => status === 'ended',
    45_000,
  )
  const { facts } = await play.show(broker.url, grant)
  expect(facts.outcome).toBe('completed')
  expect(facts.confirmation.asked).toBe('backend')
  expect(await see.left()).toEqual(NOTHING)
  expect(await see.tryLogin(grant.login)).toBe('refused: 28P01')
  await session.closed
})

it('a window that ends while PostgreSQL is frozen leaves the grant ending, and thawed it is ended with nothing left', async () => {
  const grant = await play.issued(broker.url, 14)
  const session = await see.openSession(grant.login)
  await services.postgres.freeze()
  try {
    await sleepUntil(grant.closesAt)
    await eventually(
      'ending',
      () => play.statusOf(broker.url, grant),
      (status) => status !== 'active',
      5_000,
    )
    expect(await statusesFor(grant.path, 6_000)).toEqual(['ending'])
  } finally {
    await services.postgres.thaw()
  }
  await eventually(
    'ended',
    () => play.statusOf(broker.url, grant),
    (status) => status === 'ended',
    45_000,
  )
  expect((await play.show(broker.url, grant)).facts.outcome).toBe('expired')
  expect(await see.left()).toEqual(NOTHING)
  await session.closed
  // Nothing hangs in the deadline set either.
  const due = await redisDo(stage.redis.url, (redis) => redis.zcard('{writ:0}:due:vault-main'))
  expect(due).toBe(0)
})

interface Readiness {
  readonly ready: boolean
  readonly warnings?: readonly { readonly name: string }[]
}
const readiness = async (url: string): Promise<Readiness> =>
  (await (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) })).json()) as Readiness

it('a broker that starts while PostgreSQL is frozen is ready, makes no login there, and makes them when it is thawed', async () => {
  const grant = await play.approved(broker.url, 600)
  await services.postgres.freeze()
  let late: BrokerProcess
  try {
    late = await stage.startBroker(1)
    const readyz = await eventually(
      'ready',
      () => readiness(late.url),
      ({ ready }) => ready,
      20_000,
    )
    expect(readyz.warnings?.map(({ name }) => name)).toContain('inventory')
    const refused = await play.exchange(late.url, grant)
    expect([refused.status, refused.said]).toEqual([503, 'refused: vault_unavailable'])
    expect(await play.statusOf(late.url, grant)).toBe('approved')
  } finally {
    await services.postgres.thaw()
  }
  const given = await eventually(
    'given',
    () => play.exchange(late.url, grant),
    ({ said }) => said === 'ok',
    20_000,
  )
  await eventually(
    'without a warning',
    () => readiness(late.url),
    ({ warnings = [] }) => !warnings.some(({ name }) => name === 'inventory'),
    20_000,
  )
  await play.complete(late.url, grant)
  expect(given.body.mint.n).toBe(2)
  await late.stop()
}, 90_000)
