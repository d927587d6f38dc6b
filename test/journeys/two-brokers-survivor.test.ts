// Of two brokers on one Redis one is killed (SIGKILL) with an active login and with an end that it has begun: the one that lives ends both.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, type Eyes, eventually, eyes, NOTHING } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let postgres: PostgresService
let survivor: BrokerProcess
let victim: BrokerProcess
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault()
  postgres = services.postgres
  see = eyes(services)
  ;[survivor, victim] = await Promise.all([stage.startBroker(0), stage.startBroker(1)])
  play = actors(stage)
}, 120_000)
afterAll(async () => {
  await postgres?.thaw()
  await closeStage(stage)
})

it('the broker that lives ends at its window what the killed one had issued, and finishes a completion that it had begun', async () => {
  const working = await play.approved(survivor.url, 14)
  expect((await play.exchange(victim.url, working)).said).toBe('ok')
  const leaving = await play.issued(survivor.url, 600)
  // Frozen, so that the end is begun and cannot be finished before the kill.
  await postgres.freeze()
  const completing = play.complete(victim.url, leaving).then(
    ({ said }) => said,
    () => 'no answer',
  )
  await eventually(
    'begun',
    () => play.statusOf(survivor.url, leaving),
    (status) => status === 'ending',
    5_000,
    5,
  )
  await victim.kill()
  expect(await completing).toBe('no answer')
  await postgres.thaw()
  expect(await play.statusOf(survivor.url, working)).toBe('active')
  const inTime = working.closesAt - Date.now() + 10_000
  await eventually(
    'the window',
    () => play.statusOf(survivor.url, working),
    (status) => status === 'ended',
    inTime,
  )
  expect((await play.show(survivor.url, working)).facts.outcome).toBe('expired')
  // Here the lease of the one that was killed has to run out first.
  await eventually(
    'the completion',
    () => play.statusOf(survivor.url, leaving),
    (status) => status === 'ended',
    45_000,
  )
  expect((await play.show(survivor.url, leaving)).facts.outcome).toBe('completed')
  expect(await see.left()).toEqual(NOTHING)
}, 90_000)
