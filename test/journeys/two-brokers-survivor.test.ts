// Of two brokers on one Redis one is killed (SIGKILL) with an active login and with an end that it has begun: the one that lives ends both.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, type Eyes, eyes, NOTHING, until } from '../support/journey-actors.ts'

let stage: DevStage
let survivor: BrokerProcess
let victim: BrokerProcess
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  see = eyes(await stage.bringVault())
  ;[survivor, victim] = await Promise.all([stage.startBroker(0), stage.startBroker(1)])
  play = actors(stage)
}, 120_000)
afterAll(() => stage?.stop())

it('the broker that lives ends at its window what the killed one had issued, and finishes a completion that it had begun', async () => {
  const working = await play.approved(survivor.url, 14)
  expect((await play.exchange(victim.url, working)).said).toBe('ok')
  const leaving = await play.issued(survivor.url, 600)
  const completing = play.complete(victim.url, leaving).then(
    ({ said }) => said,
    () => 'no answer',
  )
  await until(
    'begun',
    () => play.statusOf(survivor.url, leaving),
    (status) => status !== 'active',
    5_000,
    5,
  )
  await victim.kill()
  await completing
  expect(await play.statusOf(survivor.url, working)).toBe('active')
  const inTime = working.closesAt - Date.now() + 10_000
  await until(
    'the window',
    () => play.statusOf(survivor.url, working),
    (status) => status === 'ended',
    inTime,
  )
  expect((await play.show(survivor.url, working)).facts.outcome).toBe('expired')
  // Here the lease of the one that was killed has to run out first.
  await until(
    'the completion',
    () => play.statusOf(survivor.url, leaving),
    (status) => status === 'ended',
    45_000,
  )
  expect((await play.show(survivor.url, leaving)).facts.outcome).toBe('completed')
  expect(await see.left()).toEqual(NOTHING)
}, 90_000)
