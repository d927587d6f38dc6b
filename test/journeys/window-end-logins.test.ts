// Fifty database logins whose windows close in the same second, and fifty that are completed at the same moment, some with a session open.
// PostgreSQL itself is asked until nothing is left. (At a window's end Vault's lease has run out some seconds before, so that the users are
// gone already when the broker asks; a completion is the broker's work alone.)
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eachOf,
  endedAt,
  eventually,
  eyes,
  lateness,
  NOTHING,
  sleepUntil,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const LOGINS = 50
const SESSIONS = 10
const BOUND_MS = 10_000
const AHEAD_MS = 32_000

let stage: DevStage
let broker: BrokerProcess
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  see = eyes(await stage.bringVault())
  broker = await stage.startBroker()
  play = actors(stage)
}, 120_000)
afterAll(() => closeStage(stage))

it(`${LOGINS} database users that end in the same second are gone, sessions and all, within ten seconds of it`, async () => {
  const closesAt = Math.ceil((Date.now() + AHEAD_MS) / 1_000) * 1_000
  const started = performance.now()
  const issued = await eachOf(LOGINS, 8, () => play.issued(broker.url, { closesAt }))
  console.log(`made ${LOGINS} logins in ${Math.round((performance.now() - started) / 100) / 10} s`)
  const sessions = await Promise.all(issued.slice(0, SESSIONS).map(({ login }) => see.openSession(login)))
  expect(Date.now(), 'all were made in time; this machine is too slow for the window').toBeLessThan(closesAt - 8_000)
  expect(await see.logins()).toHaveLength(LOGINS)
  expect(await see.sessions()).toBe(SESSIONS)

  await sleepUntil(closesAt)
  const left = async () => ({ logins: (await see.logins()).length, sessions: await see.sessions() })
  await eventually(
    'gone',
    left,
    ({ logins, sessions: open }) => logins + open === 0,
    closesAt + BOUND_MS - Date.now(),
    200,
  )
  console.log(`${LOGINS} users and ${SESSIONS} sessions were gone ${Date.now() - closesAt} ms after the end`)
  const ends = await eventually(
    'ended',
    () => endedAt(stage.redis.url),
    ({ size }) => size === LOGINS,
    closesAt + BOUND_MS - Date.now(),
  )
  const late = lateness(issued.map(({ id }) => (ends.get(id) ?? Number.POSITIVE_INFINITY) - closesAt))
  console.log(`${LOGINS} ends in the same second, confirmed late by (ms):`, JSON.stringify(late))
  expect(late.max).toBeLessThanOrEqual(BOUND_MS)
  await Promise.all(sessions.map(({ closed }) => closed))
  expect(await see.left()).toEqual(NOTHING)
}, 120_000)

it(`${LOGINS} database users whose grants are completed at the same moment are gone, sessions and all, within ten seconds`, async () => {
  const issued = await eachOf(LOGINS, 8, () => play.issued(broker.url, 600))
  const sessions = await Promise.all(issued.slice(0, SESSIONS).map(({ login }) => see.openSession(login)))
  expect(await see.logins()).toHaveLength(LOGINS)
  const started = Date.now()
  const answers = await Promise.all(issued.map((grant) => play.complete(broker.url, grant)))
  const took = Date.now() - started
  console.log(`${LOGINS} completions at once were all confirmed after ${took} ms`)
  expect(answers.map(({ body }) => body.status)).toEqual(issued.map(() => 'ended'))
  expect(took).toBeLessThanOrEqual(BOUND_MS)
  expect(await see.left()).toEqual(NOTHING)
  await Promise.all(sessions.map(({ closed }) => closed))
}, 60_000)
