// A hundred thousand windows that closed while no broker was there. A broker that starts ends all of them, and what is asked of it meanwhile
// is answered as if they were not there. Both sides are measured in one run: a broker that has just started, without them and with them.
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { GrantId } from '../../src/domain/ids.ts'
import { actors, eachOf, eventually, type Report, type Reports, reports } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { exchanging, overdue, plant, type Timed } from '../support/storm.ts'

/** Fewer on a machine that has much else to do. */
const MANY = Number(process.env.STORM_GRANTS ?? 100_000)
const LANES = 4
/** As many as are filed without being raised. A quarter for each time that is as ever, the rest for the storm: where they are used up, nobody asks on. */
const READY = 18_000
const AS_EVER = READY / 4
/** Of one grant, as many as this entitlement allows: filing is not what is measured. */
const USES = 20

let stage: DevStage
let broker: BrokerProcess
let report: Reports
let redis: Redis

beforeAll(async () => {
  stage = await openStage({ vault: false })
  broker = await stage.startBroker(0, { env: UNBOUNDED })
  report = reports(stage, actors(stage))
  redis = new Redis(stage.redis.url)
}, 120_000)
afterAll(async () => {
  // Half a gigabyte of copies of one grant: what is searched for secrets is what the brokers wrote.
  await redis?.flushall()
  await redis?.bgrewriteaof()
  await eventually(
    'rewritten',
    () => redis.info('persistence'),
    (info) => /aof_rewrite_in_progress:0[\s\S]*aof_rewrite_scheduled:0/.test(info),
    30_000,
  ).catch(() => undefined)
  redis?.disconnect()
  await closeStage(stage)
})

const UNBOUNDED = { WRIT_RATE_LIMIT: '60000/1s', WRIT_RATE_LIMIT_ENDS: '60000/1s' }
/** Approved by the policy itself; each as often as it may be used, in turns. */
const approved = async (many: number): Promise<Report[]> => {
  const filed = await eachOf(many / USES, 4, () =>
    eventually(
      'filed',
      () => report.filed(broker.url, 1_700, USES),
      ({ said }) => said === 'ok',
      20_000,
    ),
  )
  return Array.from({ length: USES }, () => filed.map((answer) => answer.report)).flat()
}
it(`${MANY} that are overdue at the start are all ended, and exchanges meanwhile take at most three times as long as ever`, async () => {
  const waiting = await approved(READY)
  const model = waiting.pop()
  if (model === undefined) throw new Error('none')
  expect((await report.exchange(broker.url, model)).said).toBe('ok')

  /** A broker that has just started, and what exchanges take there until it is through, for some minutes at most. */
  const restarted = async (
    share: number,
    isOver: (ms: number) => boolean | Promise<boolean>,
  ): Promise<Timed & { readonly seconds: number }> => {
    await broker.stop()
    broker = await stage.startBroker(0, { env: UNBOUNDED })
    const begun = performance.now()
    const since = () => performance.now() - begun
    const stop = exchanging(report, broker.url, waiting.splice(-share), LANES)
    while (!(await isOver(since())) && since() < 240_000) await pause(100)
    const seconds = Math.round(since() / 100) / 10
    return { ...(await stop()), seconds }
  }
  const asEver = () => restarted(AS_EVER, (ms) => ms > 6_000)
  const before = await asEver()
  await broker.stop()
  const planted = await plant(stage.redis, model.id as GrantId, MANY, Date.now() - 60_000)
  expect(await overdue(redis)).toBe(MANY)
  const storm = await restarted(READY - 2 * AS_EVER, async () => (await overdue(redis)) === 0)
  const left = await overdue(redis)
  const after = await asEver()

  const usual = Math.max(before.p99, after.p99)
  console.log(
    `${MANY} overdue grants planted in ${Math.round(planted.seconds)} s, ended within ${storm.seconds} s of the start`,
  )
  console.log(`exchanges before, meanwhile, after: ${JSON.stringify([before, storm, after])}`)
  console.log(`p99 meanwhile is ${(storm.p99 / usual).toFixed(2)} of the usual`)
  expect(left).toBe(0)
  expect(await redis.zcard('{writ:0}:in:northwind:ended')).toBeGreaterThanOrEqual(MANY)
  expect(storm.count).toBeGreaterThan(100)
  // Whatever this machine itself holds up, it holds up as ever.
  expect(storm.refused / storm.count).toBeLessThanOrEqual(
    Math.max(before.refused / before.count, after.refused / after.count, 0.01),
  )
  expect(storm.p99).toBeLessThanOrEqual(3 * usual)
}, 600_000)
