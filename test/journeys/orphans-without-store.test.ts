// A Redis that is emptied knows no grant, and everything at Vault looks like an orphan: nothing is ended that lives, however many passes go by,
// until an operator takes the store as it is. From then on nobody stands for what is left, and it goes.
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, type Eyes, eventually, eyes, NOTHING, redisDo } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let broker: BrokerProcess
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  see = eyes(await stage.bringVault())
  broker = await stage.startBroker(0, { env: { WRIT_INVENTORY_EVERY: '1s' } })
  play = actors(stage)
}, 120_000)
afterAll(() => closeStage(stage))

const emptied = (): Promise<unknown> => redisDo(stage.redis.url, (redis) => redis.flushall())
const recover = async () =>
  client(broker.url).post(await play.who('oscar'), '/v1/operations/recover', { reason: 'the store was lost' })

it('nothing that lives is ended while the store is lost; once an operator has taken it, what nobody stands for is gone', async () => {
  const grants = [await play.issued(broker.url, 900), await play.issued(broker.url, 900)]
  const session = await see.openSession((grants[0] ?? grants.at(-1))?.login as never)
  await emptied()
  await pause(10_000)
  for (const { login } of grants) expect(await see.tryLogin(login)).toBe('ok')
  expect(await session.client.query('select 1')).toBeTruthy()
  expect(broker.output()).not.toContain('an orphan was ended')

  expect((await recover()).said).toBe('ok')
  await eventually('gone', see.left, (left) => JSON.stringify(left) === JSON.stringify(NOTHING), 60_000, 500)
  await session.closed
  for (const { login } of grants) expect(await see.tryLogin(login)).toMatch(/^refused/)
}, 180_000)

it('a broker that comes new to an emptied store hears at Vault that there was more, and ends nothing either', async () => {
  // After the recovery a login is made again when the backend has been looked through.
  const readiness = () => client(broker.url).get({ token: '' }, '/readyz')
  await eventually('ready', readiness, ({ status }) => status === 200, 30_000)
  const grant = await play.issued(broker.url, 900)
  await broker.stop()
  await emptied()
  const newcomer = await stage.startBroker(1, { env: { WRIT_INVENTORY_EVERY: '1s' } })
  await pause(10_000)
  expect(await see.tryLogin(grant.login)).toBe('ok')
  expect(newcomer.output()).not.toContain('an orphan was ended')
  const ready = (await client(newcomer.url).get({ token: '' }, '/readyz')).body
  expect(ready.failing.map(({ name }: { readonly name: string }) => name)).toContain('control')
  broker = newcomer
  expect((await recover()).said).toBe('ok')
  await eventually('gone', see.left, (left) => JSON.stringify(left) === JSON.stringify(NOTHING), 60_000, 500)
}, 180_000)
