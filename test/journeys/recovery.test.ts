// A store that has lost what it knew: its control record deleted, or its data replaced by an older copy. Nothing is handed out and the reason
// is said, ends go on, and an operator, nobody else, takes the store as it is.
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Answered, client } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eventually,
  eyes,
  NOTHING,
  type Reports,
  redisDo,
  reports,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const CONTROL = '{writ:0}:control'

let stage: DevStage
let broker: BrokerProcess
let play: Actors
let report: Reports
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  see = eyes(await stage.bringVault())
  broker = await stage.startBroker()
  play = actors(stage)
  report = reports(stage, play)
}, 120_000)
afterAll(() => closeStage(stage))

const recover = async (url: string, login: string): Promise<Answered> =>
  client(url).post(await play.who(login), '/v1/operations/recover', { reason: 'looked at the store' })

/** As the store has it: the broker shows nothing while it recovers. */
const storedStatus = (id: string): Promise<string | null> =>
  redisDo(stage.redis.url, (redis) => redis.hget(`{writ:0}:head:${id}`, 'status'))

const unready = async (url: string): Promise<readonly { readonly name: string; readonly why: string }[]> =>
  (await client(url).get({ token: '' }, '/readyz')).body.failing

it('without its control record the broker issues nothing and says why, ends go on, and only an operator restores it', async () => {
  const login = await play.issued(broker.url, 14)
  const working = await play.issued(broker.url, 600)
  const waiting = await play.approved(broker.url, 600)
  const { report: live } = await report.filed(broker.url, 600)
  const token = (await report.exchange(broker.url, live)).body.credential.token
  const { report: unused } = await report.filed(broker.url, 600)
  expect((await report.introspect(broker.url, token)).body.active).toBe(true)
  const before = await see.left()

  expect(await redisDo(stage.redis.url, (redis) => redis.del(CONTROL))).toBe(1)
  const refused = [
    await play.exchange(broker.url, waiting),
    await report.exchange(broker.url, unused),
    (await report.filed(broker.url, 600)) as Answered,
  ]
  for (const { status, said, body } of refused) {
    expect([status, said]).toEqual([503, 'refused: recovering'])
    expect(body.detail).toMatch(/control record|behind/)
    expect(body.next_action).toMatch(/operator/)
  }
  expect((await report.introspect(broker.url, token)).status).toBe(503)
  expect(await see.left()).toEqual(before)
  expect((await unready(broker.url)).map(({ name }) => name)).toContain('control')

  // Ends by hand and by the clock.
  expect((await play.complete(broker.url, working)).body.status).toBe('ended')
  const left = login.closesAt - Date.now() + 10_000
  await eventually(
    'ended',
    () => storedStatus(login.id),
    (status) => status === 'ended',
    left,
  )
  expect(await see.left()).toEqual(NOTHING)

  for (const nobody of ['dana', 'olivia', 'sol', 'vera']) {
    expect((await recover(broker.url, nobody)).said).toBe('refused: not_permitted')
  }
  expect((await report.introspect(broker.url, token)).status).toBe(503)
  expect((await recover(broker.url, 'oscar')).body).toMatchObject({ recovered: true })
  expect((await report.introspect(broker.url, token)).body.active).toBe(true)
  expect((await report.exchange(broker.url, unused)).said).toBe('ok')
  expect((await play.exchange(broker.url, waiting)).said).toBe('ok')
  expect((await play.complete(broker.url, waiting)).body.status).toBe('ended')
  expect(await unready(broker.url)).toEqual([])
  expect(await see.left()).toEqual(NOTHING)
})

it('a Redis restored from an older file is noticed by brokers that run and by one that is started again, until an operator accepts it', async () => {
  const other = await stage.startBroker(1)
  const { report: used } = await report.filed(broker.url, 600)
  const { dir } = stage.redis
  if (dir === undefined) throw new Error('the copy needs a Redis of our own')
  const [data, copy] = [join(dir, 'appendonlydir'), join(stage.dir, 'older-redis')]
  // In a moment of rest, as a backup tool would.
  await stage.redis.freeze()
  cpSync(data, copy, { recursive: true })
  await stage.redis.thaw()
  // What the older file does not know: the one use of this grant has been taken.
  const exchanged = await eventually(
    'used',
    () => report.exchange(broker.url, used),
    ({ said }) => said === 'ok',
    10_000,
  )
  const token = exchanged.body.credential.token
  expect((await report.exchange(other.url, used)).said).toBe('refused: uses_exhausted')

  await stage.redis.kill()
  rmSync(data, { recursive: true })
  cpSync(copy, data, { recursive: true })
  await stage.redis.restart()

  const refusesAll = async (url: string): Promise<void> => {
    const back = await eventually(
      'redis is back',
      () => report.exchange(url, used),
      ({ said }) => said !== 'refused: store_unavailable',
      15_000,
    )
    expect([back.status, back.said]).toEqual([503, 'refused: recovering'])
    expect(back.body.detail).toMatch(/behind/)
    expect((await report.filed(url, 600)).said).toBe('refused: recovering')
    expect((await report.introspect(url, token)).status).toBe(503)
    expect((await unready(url)).find(({ name }) => name === 'control')?.why).toMatch(/behind/)
  }
  await refusesAll(broker.url)
  await refusesAll(other.url)
  await broker.stop()
  broker = await stage.startBroker()
  await refusesAll(broker.url)

  expect((await recover(broker.url, 'dana')).said).toBe('refused: not_permitted')
  expect((await recover(broker.url, 'oscar')).said).toBe('ok')
  const fresh = await report.filed(broker.url, 600)
  expect((await report.exchange(broker.url, fresh.report)).said).toBe('ok')
  // Every broker that noticed is told for itself.
  expect((await report.filed(other.url, 600)).said).toBe('refused: recovering')
  expect((await recover(other.url, 'oscar')).said).toBe('ok')
  const there = await report.filed(other.url, 600)
  expect((await report.exchange(broker.url, there.report)).said).toBe('ok')
  expect(broker.output() + other.output()).toContain('an operator took over: recover')
}, 90_000)
