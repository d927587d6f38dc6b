// Vault is put back from a copy made before fifty ends: their leases and tokens are there again. It is noticed, no login is made until the inventory
// is clean, and no credential works afterwards that had ended before. What Vault has forgotten, because it was made since, ends all the same.
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Answered, client, type Json } from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'
import type { GrantId } from '../../src/domain/ids.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eachOf,
  eventually,
  eyes,
  type Issued,
  NOTHING,
} from '../support/journey-actors.ts'
import { mintOf, stillThere } from '../support/journey-plants.ts'
import { closeStage } from '../support/leak-scan.ts'
import { copyOfPostgres, copyOfVault } from '../support/vault-copy.ts'

const ENDS = 50
const LIVE = 5

let stage: DevStage
let broker: BrokerProcess
let vault: VaultService
let postgres: PostgresService
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault({ copyable: true })
  vault = services.vault
  postgres = services.postgres
  broker = await stage.startBroker()
  play = actors(stage)
  see = eyes(services)
}, 120_000)
afterAll(() => closeStage(stage))

const readiness = async (): Promise<Json> => (await client(broker.url).get({ token: '' }, '/readyz')).body
const many = (count: number): Promise<readonly Issued[]> => eachOf(count, 4, () => play.issued(broker.url, 1_800))
const mintsOf = (grants: readonly Issued[]) => grants.map(({ id }) => mintOf(id as GrantId))
const NONE = { leases: 0, holds: 0, roles: 0, logins: 0 }

it('nothing is issued until what came back is gone, and no login that had ended works afterwards', async () => {
  const live = await many(LIVE)
  const toEnd = await many(ENDS)
  const putBack = await copyOfVault(vault)
  for (const grant of toEnd) expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
  const since = await many(2)
  const waiting = await play.approved(broker.url, 1_800)
  expect(await stillThere(see, mintsOf(toEnd))).toEqual(NONE)

  await putBack()
  const back = performance.now()
  const revived = await stillThere(see, mintsOf(toEnd))
  console.log(
    `revived by the copy (${Math.round(performance.now() - back)} ms after its start):`,
    JSON.stringify(revived),
  )
  expect(revived.leases).toBeGreaterThan(0)
  // Asked again and again, as a caller would who does not give up. Whatever is handed out is handed out at a clean Vault.
  const refusals: string[] = []
  let good: Answered | undefined
  while (good === undefined && performance.now() - back < 60_000) {
    const answer = await play.exchange(broker.url, waiting)
    if (answer.said === 'ok') good = answer
    else {
      refusals.push(`${answer.status} ${answer.said}`)
      await pause(50)
    }
  }
  expect(await stillThere(see, mintsOf(toEnd))).toEqual(NONE)
  console.log(
    `issued again ${Math.round(performance.now() - back)} ms after Vault was back; refusals before:`,
    JSON.stringify(Object.entries(Object.groupBy(refusals, (said) => said)).map(([said, all]) => [said, all?.length])),
  )
  expect(good?.said).toBe('ok')
  expect(refusals.length).toBeGreaterThan(0)
  const output = broker.output()
  expect(output).toContain('put back from an earlier copy')
  expect(output.lastIndexOf('the backend is clean')).toBeGreaterThan(output.indexOf('put back from an earlier copy'))
  // Logins of the broker that were younger than a few seconds are believed for a moment longer.
  await eventually('ready', readiness, ({ ready }) => ready === true, 15_000)

  for (const { login } of toEnd) expect(await see.tryLogin(login)).toMatch(/^refused/)
  for (const { login } of live) expect(await see.tryLogin(login)).toBe('ok')
  // Vault knows nothing of these two any more: they work until their end, and end.
  for (const grant of since) {
    expect(await see.tryLogin(grant.login)).toBe('ok')
    const session = await see.openSession(grant.login)
    expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
    await session.closed
    expect(await see.tryLogin(grant.login)).toMatch(/^refused/)
  }
  for (const grant of [...live, waiting]) expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
  await eventually('nothing left', see.left, (left) => JSON.stringify(left) === JSON.stringify(NOTHING), 10_000)
}, 600_000)

it('with the database put back too, logins that had ended work again for a moment, and none does once logins are made again', async () => {
  const live = await many(2)
  const toEnd = await many(10)
  const [database, putBack] = [await copyOfPostgres(postgres), await copyOfVault(vault)]
  for (const grant of toEnd) expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
  const waiting = await play.approved(broker.url, 1_800)
  await Promise.all([database(), putBack()])
  const back = performance.now()
  const tried = await Promise.all(toEnd.map(({ login }) => see.tryLogin(login)))
  await eventually(
    'issued again',
    () => play.exchange(broker.url, waiting),
    ({ said }) => said === 'ok',
    60_000,
    50,
  )
  console.log(
    `${tried.filter((said) => said === 'ok').length} of ${toEnd.length} worked again; issued again after ${Math.round(performance.now() - back)} ms`,
  )
  for (const { login } of toEnd) expect(await see.tryLogin(login)).toMatch(/^refused/)
  expect(await stillThere(see, mintsOf(toEnd))).toEqual(NONE)
  for (const { login } of live) expect(await see.tryLogin(login)).toBe('ok')
  for (const grant of [...live, waiting]) expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
}, 300_000)
