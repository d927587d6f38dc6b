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
  eachOf,
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

/** A copy of Redis's files, taken in a moment of rest as a backup tool would; the returned function puts it back, with Redis down meanwhile. */
async function copyOfRedis(): Promise<() => Promise<void>> {
  const { dir } = stage.redis
  if (dir === undefined) throw new Error('the copy needs a Redis of our own')
  const [data, copy] = [join(dir, 'appendonlydir'), join(stage.dir, 'older-redis')]
  rmSync(copy, { recursive: true, force: true })
  await stage.redis.freeze()
  cpSync(data, copy, { recursive: true })
  await stage.redis.thaw()
  return async () => {
    await stage.redis.kill()
    rmSync(data, { recursive: true })
    cpSync(copy, data, { recursive: true })
    await stage.redis.restart()
  }
}

/** Every answer to askings and exchanges, until it is told to stop: nothing may be issued while it looks. */
function watching(url: string, waiting: readonly Parameters<Reports['exchange']>[1][]) {
  const said: string[] = []
  let running = true
  const loop = (async () => {
    for (let n = 0; running; n += 1) {
      const one = waiting[n % waiting.length]
      if (one !== undefined) said.push((await report.exchange(url, one)).said)
      said.push((await report.filed(url, 600)).said)
    }
  })()
  return async () => {
    running = false
    await loop
    return said
  }
}

/** Every commit that Redis holds, in their one order. */
const commitsInRedis = () =>
  redisDo(stage.redis.url, async (redis) => {
    const entries = (await redis.xrange('{writ:0}:events', '-', '+')) as readonly [string, readonly string[]][]
    return entries.map(([, [, grant = '', , version]]) => ({ grant, version: Number(version) }))
  })

const recovered = async (url: string): Promise<string> =>
  (await client(url).get(await play.who('oscar'), '/v1/operations/recovery')).body?.state

it('a Redis restored from a copy of before fifty revokes brings nothing back, at any broker, and nothing is issued before all of it is over', async () => {
  const other = await stage.startBroker(1)
  const logins = [await play.issued(broker.url, 900), await play.issued(broker.url, 900)]
  const made = await eachOf(48, 8, async () => {
    const { report: one } = await report.filed(broker.url, 600)
    return { report: one, token: (await report.exchange(broker.url, one)).body.credential.token as string }
  })
  const unused = (await eachOf(5, 5, () => report.filed(broker.url, 600))).map((answer) => answer.report)
  const survivors = { login: await play.issued(broker.url, 900), approved: await play.approved(broker.url, 900) }
  const copied = new Set((await commitsInRedis()).map(({ grant }) => grant))
  const restore = await copyOfRedis()

  const soc = await play.who('sol')
  const revoked = [...made.map((one) => one.report), ...logins]
  const answers = await eachOf(50, 8, async (n) =>
    client(broker.url).post(soc, `${revoked[n]?.path}/revoke`, { reason: 'alarm' }),
  )
  expect(answers.map(({ said }) => said)).toEqual(Array.from({ length: 50 }, () => 'ok'))
  for (const { login } of logins) expect(await see.tryLogin(login)).toMatch(/refused/)
  // Of what the copy holds as unused, one has been used.
  const [used, ...others] = unused
  if (used === undefined) throw new Error('none')
  const late = (await report.exchange(broker.url, used)).body.credential.token
  expect((await report.exchange(other.url, used)).said).toBe('refused: uses_exhausted')
  await restore()
  const dead = [late, ...made.map(({ token }) => token)]

  const refusesAll = async (url: string): Promise<void> => {
    const back = await eventually(
      'redis is back',
      () => report.exchange(url, used),
      ({ said }) => said !== 'refused: store_unavailable',
      15_000,
    )
    expect([back.status, back.said]).toEqual([503, 'refused: recovering'])
    expect((await report.filed(url, 600)).said).toBe('refused: recovering')
    for (const token of dead.slice(0, 3)) expect((await report.introspect(url, token)).status).toBe(503)
    expect((await unready(url)).find(({ name }) => name === 'control')?.why).toMatch(/behind/)
  }
  await refusesAll(broker.url)
  await refusesAll(other.url)
  await broker.stop()
  broker = await stage.startBroker()
  await refusesAll(broker.url)
  const looks = [watching(broker.url, unused), watching(other.url, unused)]

  expect((await recover(broker.url, 'dana')).said).toBe('refused: not_permitted')
  const began = await recover(broker.url, 'oscar')
  expect(began.body).toMatchObject({ recovered: false })
  // At every broker, by one word: whoever had noticed goes on by itself.
  for (const url of [broker.url, other.url])
    await eventually(
      'things are issued',
      () => recovered(url),
      (state) => state === 'well',
      60_000,
    )
  const said = (await Promise.all(looks.map((stop) => stop()))).flat()
  // The order of commits tells: the last of the copy's grants was over before the first new one was born.
  const commits = await commitsInRedis()
  const firstNew = commits.findIndex(({ grant, version }) => version === 1 && !copied.has(grant))
  const lastOld = commits.findLastIndex(({ grant }) => copied.has(grant))
  console.log(
    `while it recovered: ${said.length} askings and exchanges; ${said.filter((one) => one === 'ok').length} ok, afterwards`,
  )
  expect(lastOld).toBeGreaterThan(0)
  expect(firstNew === -1 || firstNew > lastOld).toBe(true)
  expect(said.filter((one) => one === 'refused: recovering').length).toBeGreaterThan(10)

  for (const url of [broker.url, other.url]) {
    for (const token of dead) expect((await report.introspect(url, token)).body).toEqual({ active: false })
    for (const one of [...unused, ...made.map(({ report: of }) => of)])
      expect((await report.exchange(url, one)).said).toBe('refused: wrong_status')
    expect((await play.exchange(url, survivors.approved)).said).toBe('refused: wrong_status')
  }
  for (const { login } of [...logins, survivors.login]) expect(await see.tryLogin(login)).toMatch(/refused/)
  expect(await see.left()).toEqual(NOTHING)
  expect(await storedStatus(survivors.login.id)).toBe('ended')
  expect(others.length).toBe(4)
  const fresh = await report.filed(other.url, 600)
  expect((await report.exchange(other.url, fresh.report)).said).toBe('ok')
  expect(broker.output()).toContain('an operator took over: recover')
  expect(broker.output() + other.output()).toContain('issuing resumes')
  await other.stop()
}, 180_000)

it('brokers that are killed in the middle of a recovery are replaced, and it goes on', async () => {
  const { report: gone } = await report.filed(broker.url, 600)
  const token = (await report.exchange(broker.url, gone)).body.credential.token
  const restore = await copyOfRedis()
  expect((await report.complete(broker.url, gone)).body.status).toBe('ended')
  await restore()
  await eventually(
    'noticed',
    () => recovered(broker.url),
    (state) => state === 'behind',
    15_000,
  )
  expect((await recover(broker.url, 'oscar')).said).toBe('ok')
  await broker.kill()
  broker = await stage.startBroker()
  expect((await report.introspect(broker.url, token)).body?.active ?? false).toBe(false)
  await eventually(
    'things are issued',
    () => recovered(broker.url),
    (state) => state === 'well',
    30_000,
  )
  expect((await report.introspect(broker.url, token)).body).toEqual({ active: false })
}, 90_000)
