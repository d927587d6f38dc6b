// A thousand tokens whose windows close in the same second. Measured where it counts: the time at which Redis took each end, and what
// introspection says of every token one second after its end.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Answered } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import {
  actors,
  eachOf,
  endedAt,
  lateness,
  type Report,
  type Reports,
  reports,
  sleepUntil,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const TOKENS = 1_000
const AT_ONCE = 24
const BOUND_MS = 1_000
/** Long enough to ask for all of them and exchange them on a slow machine. */
const AHEAD_MS = 50_000

let stage: DevStage
let broker: BrokerProcess
let report: Reports

beforeAll(async () => {
  stage = await openStage({ vault: false })
  broker = await stage.startBroker()
  report = reports(stage, actors(stage))
}, 120_000)
afterAll(() => closeStage(stage))

const good = (answer: Answered): Answered => {
  if (answer.said !== 'ok') throw new Error(`${answer.status} ${answer.said} ${answer.body?.detail}`)
  return answer
}

it(`${TOKENS} grants that end in the same second are each ended, and their tokens inactive, within a second of it`, async () => {
  const closesAt = Math.ceil((Date.now() + AHEAD_MS) / 1_000) * 1_000
  const started = performance.now()
  const issued = await eachOf(TOKENS, AT_ONCE, async () => {
    const asked = await report.filed(broker.url, { closesAt })
    good(asked)
    const { body } = good(await report.exchange(broker.url, asked.report))
    return { id: (asked.report satisfies Report).id, token: body.credential.token as string }
  })
  const seconds = Math.round((performance.now() - started) / 100) / 10
  console.log(`asked for and exchanged ${TOKENS} tokens in ${seconds} s`)
  expect(Date.now(), 'all were issued in time; this machine is too slow for the window').toBeLessThan(closesAt - 2_000)
  const sample = issued.slice(0, 20)
  const before = await Promise.all(sample.map(({ token }) => report.introspect(broker.url, token)))
  expect(before.every(({ body }) => body.active === true)).toBe(true)

  await sleepUntil(closesAt + BOUND_MS)
  const answers = await eachOf(issued.length, AT_ONCE, async (n) =>
    report.introspect(broker.url, issued[n]?.token ?? ''),
  )
  expect(answers.filter(({ status, body }) => status !== 200 || body.active !== false)).toEqual([])

  const ends = await endedAt(stage.redis.url)
  expect(issued.filter(({ id }) => !ends.has(id))).toEqual([])
  const late = lateness(issued.map(({ id }) => (ends.get(id) ?? Number.POSITIVE_INFINITY) - closesAt))
  console.log(`${TOKENS} ends in the same second, late by (ms):`, JSON.stringify(late))
  expect(late.min).toBeGreaterThanOrEqual(0)
  expect(late.max).toBeLessThanOrEqual(BOUND_MS)
}, 120_000)
