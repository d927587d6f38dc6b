// A broker that is asked to stop (SIGTERM) while it hands out logins finishes what it has begun, takes nothing new, and leaves; what it could
// not finish the other broker ends.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { client } from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eachOf,
  eventually,
  eyes,
  type Filed,
  NOTHING,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { isRunning, type Leaving, startLeaving } from '../support/leaving-broker.ts'

const LEAVES_WITHIN_MS = 15_000

let stage: DevStage
let services: { readonly vault: VaultService; readonly postgres: PostgresService }
let stays: BrokerProcess
let play: Actors
let see: Eyes
let leaving: Leaving | undefined

beforeAll(async () => {
  stage = await openStage({ vault: true })
  services = await stage.bringVault()
  stays = await stage.startBroker(0)
  play = actors(stage)
  see = eyes(services)
}, 120_000)
afterEach(async () => {
  leaving?.child.kill('SIGKILL')
  await services?.vault.thaw()
})
afterAll(() => closeStage(stage))

const exchanged = (url: string, grant: Filed): Promise<string> =>
  play.exchange(url, grant).then(
    ({ said }) => said,
    () => 'no answer',
  )
const FINAL = ['ended', 'lapsed']
const final = (grant: Filed, withinMs: number) =>
  eventually(
    'final',
    () => play.statusOf(stays.url, grant),
    (status) => FINAL.includes(status),
    withinMs,
  )

it('stopped in the middle of exchanges, a broker answers what it has begun, exits 0, and leaves no half-made login', async () => {
  leaving = await startLeaving(stage, 1)
  const { url } = leaving
  const closesAt = Date.now() + 26_000
  const grants = await eachOf(60, 8, () => play.approved(stays.url, { closesAt }))
  const waiting = client(url).get(await play.who('vera'), `${grants[0]?.path}?wait=50&for=status&since=approved`)
  // Ten callers, each with its next exchange as soon as the last one is answered.
  const asking = eachOf(grants.length, 10, (n) => exchanged(url, grants[n] ?? fail()))
  await eventually(
    'some are made',
    async () => (await see.leases()).length,
    (many) => many >= 3,
    15_000,
    10,
  )
  const { code, ms, running } = await leaving.terminate()
  const said = await asking
  const made = said.filter((word) => word === 'ok').length
  console.log(`left ${ms} ms after SIGTERM; of ${said.length} exchanges ${made} were answered with a login`)
  expect(made).toBeGreaterThan(0)
  expect(made).toBeLessThan(grants.length)
  expect(code).toBe(0)
  expect(ms).toBeLessThan(LEAVES_WITHIN_MS)
  expect(running.filter(isRunning)).toEqual([])
  expect((await waiting).status).toBe(200)

  // Whoever got a login has it; for whoever got none there is none, and the approval is still good.
  for (const [n, grant] of grants.entries()) {
    const status = await play.statusOf(stays.url, grant)
    expect([said[n], status]).toEqual(said[n] === 'ok' ? ['ok', 'active'] : [said[n], 'approved'])
  }
  expect(await see.leases()).toHaveLength(made)
  expect(await see.logins()).toHaveLength(made)
  const unused = grants.filter((_, n) => said[n] !== 'ok').slice(0, 5)
  for (const grant of unused) expect(await exchanged(stays.url, grant)).toBe('ok')
  for (const grant of grants) await final(grant, closesAt - Date.now() + 20_000)
  expect(await see.left()).toEqual(NOTHING)
}, 90_000)

it('stopped while Vault does not answer, a broker leaves all the same, and the other ends what hung', async () => {
  leaving = await startLeaving(stage, 2)
  const { url } = leaving
  const closesAt = Date.now() + 30_000
  const grants = await eachOf(6, 3, () => play.approved(stays.url, { closesAt }))
  await services.vault.freeze()
  const asking = Promise.all(grants.map((grant) => exchanged(url, grant)))
  await eventually(
    'begun',
    () => play.statusOf(stays.url, grants[0] ?? fail()),
    (status) => status === 'issuing',
    5_000,
    20,
  )
  const { code, ms, running } = await leaving.terminate()
  console.log(`left ${ms} ms after SIGTERM with Vault frozen`)
  expect(code).toBe(0)
  expect(ms).toBeLessThan(LEAVES_WITHIN_MS)
  expect(running.filter(isRunning)).toEqual([])
  expect((await asking).filter((word) => word === 'ok')).toEqual([])
  await services.vault.thaw()
  for (const grant of grants) await final(grant, closesAt - Date.now() + 45_000)
  await eventually(
    'nothing left',
    () => see.left(),
    (left) => JSON.stringify(left) === JSON.stringify(NOTHING),
    20_000,
  )
}, 120_000)

const fail = (): never => {
  throw new Error('there is no grant')
}
