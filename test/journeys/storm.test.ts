// A hundred thousand windows that closed while no broker was there. A broker that starts ends all of them, and what is asked of it meanwhile
// is answered as if they were not there. Both sides are measured in one run: a broker that has just started, without them and with them.
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { GrantId } from '../../src/domain/ids.ts'
import { actors, eachOf, type Report, type Reports, reports } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { exchanging, overdue, plant } from '../support/storm.ts'

const MANY = Number(process.env.STORM_GRANTS ?? 100_000)
const LANES = 4
/** Enough for the longest drain that passes, at the rate of this machine. */
const READY = 8_000
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
  redis?.disconnect()
  await closeStage(stage)
})

const UNBOUNDED = { WRIT_RATE_LIMIT: '60000/1s', WRIT_RATE_LIMIT_ENDS: '60000/1s' }
/** Approved by the policy itself; each as often as it may be used, in turns. */
const approved = async (many: number): Promise<Report[]> => {
  const filed = await eachOf(many / USES, 4, async () => {
    const answer = await report.filed(broker.url, 1_700, USES)
    if (answer.said !== 'ok') throw new Error(`${answer.said} ${answer.body?.detail}`)
    return answer.report
  })
  return Array.from({ length: USES }, () => filed).flat()
}
it(`${MANY} that are overdue at the start are all ended, and exchanges meanwhile take at most three times as long as ever`, async () => {
  const started = performance.now()
  const since = () => Math.round((performance.now() - started) / 100) / 10
  const waiting = await approved(READY)
  const model = waiting.pop()
  if (model === undefined) throw new Error('none')
  expect((await report.exchange(broker.url, model)).said).toBe('ok')
  console.log(`${READY} grants filed at ${since()} s`)

  // As ever: a broker that has just started, with nothing to end.
  await broker.stop()
  broker = await stage.startBroker(0, { env: UNBOUNDED })
  const asEver = exchanging(report, broker.url, waiting, LANES)
  await pause(8_000)
  const usual = await asEver()
  console.log(`exchanges as ever: ${JSON.stringify(usual)}`)

  await broker.stop()
  const seconds = await plant(stage.redis, model.id as GrantId, MANY, Date.now() - 60_000)
  expect(await overdue(redis)).toBe(MANY)
  console.log(`${MANY} overdue grants planted in ${Math.round(seconds)} s, at ${since()} s`)

  broker = await stage.startBroker(0, { env: UNBOUNDED })
  const begun = performance.now()
  const inTheStorm = exchanging(report, broker.url, waiting, LANES)
  let left = MANY
  while (left > 0 && performance.now() - begun < 60_000) {
    await pause(100)
    left = await overdue(redis)
  }
  const drained = (performance.now() - begun) / 1_000
  const storm = await inTheStorm()
  console.log(
    `drained ${MANY - left} in ${Math.round(drained * 10) / 10} s; exchanges meanwhile: ${JSON.stringify(storm)}`,
  )
  console.log(`ratio: p50 ${(storm.p50 / usual.p50).toFixed(2)}, p99 ${(storm.p99 / usual.p99).toFixed(2)}`)
  expect(left).toBe(0)
  expect(await redis.zcard('{writ:0}:in:northwind:ended')).toBeGreaterThanOrEqual(MANY)
  expect([usual.refused, storm.refused]).toEqual([0, 0])
  expect(storm.count).toBeGreaterThan(100)
  expect(storm.p99).toBeLessThanOrEqual(3 * usual.p99)
}, 240_000)
