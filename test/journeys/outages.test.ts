// Redis or Vault away at the worst moment. Without Redis nothing is handed out and nothing is made; without Vault an end is not called one,
// and the login's own expiry holds. When they are back everything goes on by itself: no broker is restarted here.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type Answered, client, introspect, proofKey } from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eventually,
  eyes,
  type Filed,
  NOTHING,
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
afterEach(() => stage?.redis.thaw().catch(() => undefined))
afterAll(() => closeStage(stage))

const ended = (grant: Filed, withinMs: number) =>
  eventually(
    'ended',
    () => play.statusOf(broker.url, grant),
    (status) => status === 'ended',
    withinMs,
  )

/** Several in a row, as a caller who does not give up would; each with its own time. */
async function tried(times: number, exchange: () => Promise<Answered>): Promise<readonly [string, number, number][]> {
  const rows: [string, number, number][] = []
  for (let n = 0; n < times; n += 1) {
    const started = performance.now()
    const { said, status } = await exchange()
    rows.push([said, status, Math.round(performance.now() - started)])
  }
  return rows
}

/** A report token of dana's whose window closes then. */
async function reportToken(closesAt: number) {
  const to = client(broker.url)
  const dana = { ...(await play.who('dana')), key: proofKey() }
  const window = { opensAt: new Date().toISOString(), closesAt: new Date(closesAt).toISOString() }
  const task = { id: 'report-1', summary: 'The sales of last week' }
  const asked = await to.post(dana, '/v1/grants', {
    entitlement: 'sales-report',
    actions: ['report.read'],
    task,
    window,
  })
  const path = `/v1/grants/${asked.body.id}`
  const got = await to.post(dana, `${path}/exchange`)
  expect(got.said).toBe('ok')
  const status = async (): Promise<string> => (await to.get(dana, path)).body?.status
  return { status, token: got.body.credential.token as string }
}

it('with Redis killed an exchange is answered 503 within a second and makes nothing, and with Redis back the ends that fell due are done', async () => {
  const due = await play.issued(broker.url, 16)
  const report = await reportToken(due.closesAt)
  const waiting = await play.approved(broker.url, 600)
  const before = [await see.leases(), await see.holds(), await see.roles(), await see.logins()]
  await stage.redis.kill()
  const refusals = await tried(6, () => play.exchange(broker.url, waiting))
  console.log('exchanges with Redis killed (answer, status, ms):', JSON.stringify(refusals))
  for (const [said, status, ms] of refusals) {
    expect(status, said).toBe(503)
    expect(ms).toBeLessThan(1_000)
  }
  const asked = await introspect(client(broker.url), stage.url, stage.resourceServer('reports-api'), report.token)
  expect(asked.status).toBe(503)
  expect([await see.leases(), await see.holds(), await see.roles(), await see.logins()]).toEqual(before)

  await sleepUntil(due.closesAt + 2_000)
  await stage.redis.restart()
  const back = performance.now()
  await ended(due, 10_000)
  await eventually('the report', report.status, (status) => status === 'ended', 10_000)
  console.log(`ends that fell due meanwhile: done ${Math.round(performance.now() - back)} ms after Redis was back`)
  expect(await see.left()).toEqual(NOTHING)

  const good = await eventually(
    'issuing again',
    () => play.exchange(broker.url, waiting),
    ({ said }) => said === 'ok',
    10_000,
  )
  expect(good.body.grant.status).toBe('active')
  expect((await play.complete(broker.url, waiting)).body.status).toBe('ended')
}, 60_000)

it('with Redis frozen an exchange is answered 503 within a second and makes nothing, and thawed it works', async () => {
  const waiting = await play.approved(broker.url, 600)
  await stage.redis.freeze()
  const refusals = await tried(20, () => play.exchange(broker.url, waiting))
  console.log('exchanges with Redis frozen (answer, status, ms):', JSON.stringify(refusals))
  for (const [said, status, ms] of refusals) {
    expect(status, said).toBe(503)
    expect(ms).toBeLessThan(1_000)
  }
  expect(await see.left()).toEqual(NOTHING)
  await stage.redis.thaw()
  await eventually(
    'issuing again',
    () => play.exchange(broker.url, waiting),
    ({ said }) => said === 'ok',
    10_000,
  )
  expect((await play.complete(broker.url, waiting)).body.status).toBe('ended')
  expect(await see.left()).toEqual(NOTHING)
}, 60_000)

it('with Vault killed at window end the grant is ending and retried, the login expires by itself, and with Vault back it is ended', async () => {
  const grant = await play.issued(broker.url, 16)
  expect(await see.tryLogin(grant.login)).toBe('ok')
  // Well before the lease's own end, at which Vault would drop the user by itself.
  await services.vault.kill()
  await sleepUntil(grant.closesAt)
  const ending = () => play.show(broker.url, grant)
  await eventually('ending', ending, ({ status }) => status === 'ending', 3_000)
  // Vault cannot have ended it; the user is still there, and past its VALID UNTIL.
  expect(await see.logins()).toHaveLength(1)
  expect(await see.tryLogin(grant.login)).toBe('refused: 28P01')
  const retried = await eventually('tried again', ending, ({ facts }) => facts.attempts >= 3, 15_000)
  expect(retried.status).toBe('ending')
  expect(retried.facts.lastError).toBe('vault_unavailable')

  await services.vault.restart()
  await ended(grant, 45_000)
  expect((await play.show(broker.url, grant)).facts.outcome).toBe('expired')
  expect(await see.left()).toEqual(NOTHING)
  // And another one can be made.
  const next = await play.issued(broker.url, 600)
  expect((await play.complete(broker.url, next)).body.status).toBe('ended')
  expect(await see.left()).toEqual(NOTHING)
}, 120_000)
