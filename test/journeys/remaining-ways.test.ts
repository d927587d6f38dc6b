// Each way to end taken away in turn: the job of the deadline, all jobs, the workers, the keys of the queue, the right time of a broker's host.
// Tokens and database logins end on time all the same, by Redis's clock, sessions and all.
import { fileURLToPath } from 'node:url'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import pg from 'pg'
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
  type Issued,
  lateness,
  NOTHING,
  type Report,
  type Reports,
  redisDo,
  reports,
  sleepUntil,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const TOKENS = 10
/** The longest interval of the sweep that may be set is a second; the rest is the machine's. */
const BOUND_MS = 2_500
/** Vault and PostgreSQL have their own time for a login. */
const LOGIN_BOUND_MS = 8_000
const AHEAD_MS = 18_000
const HOUR_MS = 3_600_000
const QUEUE = '{writ:0}:queue'

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

interface Issue {
  readonly closesAt: number
  readonly tokens: readonly { readonly report: Report; readonly token: string }[]
  readonly login: Issued
}

/** Tokens and a login of one window that closes soon. */
async function issue(url: string): Promise<Issue> {
  const closesAt = Math.ceil((Date.now() + AHEAD_MS) / 1_000) * 1_000
  const tokens = await eachOf(TOKENS, 5, async () => {
    const { report: one } = await report.filed(url, { closesAt })
    const { body } = await report.exchange(url, one)
    return { report: one, token: body.credential.token as string }
  })
  const login = await play.issued(url, { closesAt })
  expect(Date.now(), 'this machine is too slow for the window').toBeLessThan(closesAt - 3_000)
  return { closesAt, tokens, login }
}

/** That all of it ended at the end of its window, not before and hardly after, by the order of Redis; and the session with it. */
async function endsOnTime(how: string, url: string, { closesAt, tokens, login }: Issue): Promise<void> {
  const session = await see.openSession(login.login)
  await sleepUntil(closesAt + BOUND_MS)
  const ends = await eventually(
    'ended',
    () => endedAt(stage.redis.url),
    (all) => [...tokens.map((one) => one.report.id), login.id].every((id) => all.has(id)),
    LOGIN_BOUND_MS,
  )
  const late = lateness(tokens.map((one) => (ends.get(one.report.id) ?? Number.POSITIVE_INFINITY) - closesAt))
  const loginLate = (ends.get(login.id) ?? Number.POSITIVE_INFINITY) - closesAt
  console.log(`${how}: tokens late by (ms) ${JSON.stringify(late)}, the login ${loginLate}`)
  expect(late.min).toBeGreaterThanOrEqual(0)
  expect(late.max).toBeLessThanOrEqual(BOUND_MS)
  expect(loginLate).toBeGreaterThanOrEqual(0)
  expect(loginLate).toBeLessThanOrEqual(LOGIN_BOUND_MS)
  for (const { token } of tokens) expect((await report.introspect(url, token)).body).toEqual({ active: false })
  await session.closed
  expect(await see.tryLogin(login.login)).toMatch(/refused/)
  expect(await see.left()).toEqual(NOTHING)
}

/** BullMQ's own view of the queue, as an operator's tool has it. */
async function queueDo<T>(work: (queue: Queue) => Promise<T>): Promise<T> {
  const connection = new Redis(stage.redis.url, { maxRetriesPerRequest: null, replyMapping: 'legacy' } as never)
  const queue = new Queue('looks', { connection, prefix: QUEUE })
  try {
    return await work(queue)
  } finally {
    await queue.close()
    connection.disconnect()
  }
}

it('their jobs deleted', async () => {
  const issued = await issue(broker.url)
  const removed = await queueDo(async (queue) => {
    const delayed = await queue.getDelayed()
    await Promise.all(delayed.map((job) => job.remove()))
    return delayed.length
  })
  expect(removed).toBeGreaterThan(0)
  await endsOnTime('their jobs deleted', broker.url, issued)
}, 90_000)

it('every worker stopped', async () => {
  const issued = await issue(broker.url)
  // No worker gets a job of a paused queue, whichever broker it is in.
  await queueDo((queue) => queue.pause())
  try {
    await endsOnTime('every worker stopped', broker.url, issued)
  } finally {
    await queueDo((queue) => queue.resume())
  }
}, 90_000)

it('the keys of the queue flushed, again and again', async () => {
  const issued = await issue(broker.url)
  const flush = () =>
    redisDo(stage.redis.url, async (redis) => {
      const keys = await redis.keys(`${QUEUE}*`)
      return keys.length === 0 ? 0 : redis.del(...keys)
    })
  expect(await flush()).toBeGreaterThan(0)
  const again = setInterval(() => void flush().catch(() => undefined), 500)
  try {
    await endsOnTime('the keys of the queue flushed', broker.url, issued)
  } finally {
    clearInterval(again)
  }
}, 90_000)

const SKEWED = fileURLToPath(new URL('../support/skewed-clock.mjs', import.meta.url))
for (const [name, skewMs] of [
  ['an hour ahead', HOUR_MS],
  ['an hour behind', -HOUR_MS],
] as const)
  it(`with a broker whose host’s clock is ${name}, beside one that is right and alone`, async () => {
    const env = { NODE_OPTIONS: `--import=${SKEWED}`, SKEW_MS: String(skewMs) }
    const wrong = await stage.startBroker(1, { env })
    try {
      const beside = await issue(broker.url)
      await endsOnTime(`beside one ${name}`, wrong.url, beside)
      // Issued by it too, and ended by it alone, though the jobs it adds are an hour off for everybody else.
      const alone = await issue(wrong.url)
      await broker.stop()
      await endsOnTime(`by one ${name} alone`, wrong.url, alone)
    } finally {
      await wrong.stop()
      broker = await stage.startBroker()
    }
  }, 150_000)

it('every login that slips in while its grant is being ended is cut too, however fast they come', async () => {
  // Not at the window's end: shortly before it PostgreSQL lets nobody in any more by itself.
  const { login, ...grant } = await play.issued(broker.url, 600)
  const session = await see.openSession(login)
  let hammering = true
  const slipped: { readonly alive: () => boolean; readonly close: () => Promise<void>; readonly at: number }[] = []
  const hammer = async (): Promise<void> => {
    while (hammering) {
      const { host, port } = (await stage.services()).postgres
      const client = new pg.Client({ host, port, database: 'payments', user: login.user, password: login.password })
      let alive = true
      client.on('error', () => {
        alive = false
      })
      client.on('end', () => {
        alive = false
      })
      const isIn = await client.connect().then(
        () => true,
        () => false,
      )
      // A client that hides nothing and waits for nothing: it asks at once, and stays.
      if (isIn) slipped.push({ alive: () => alive, close: () => client.end().catch(() => undefined), at: Date.now() })
      if (slipped.length > 60) await slipped.shift()?.close()
    }
  }
  const hammers = [hammer(), hammer(), hammer()]
  await eventually(
    'some are in',
    () => slipped.length,
    (many) => many > 10,
    10_000,
  )
  const begun = Date.now()
  await play.complete(broker.url, grant)
  await eventually(
    'ended',
    () => play.statusOf(broker.url, grant),
    (status) => status === 'ended',
    60_000,
  )
  hammering = false
  await Promise.all(hammers)
  await session.closed
  console.log(`${slipped.filter((one) => one.at >= begun).length} logins slipped in after the end had begun`)
  expect(slipped.length).toBeGreaterThan(2)
  await eventually(
    'all cut',
    () => slipped.filter((one) => one.alive()).length,
    (alive) => alive === 0,
    2_000,
  )
  expect(await see.tryLogin(login)).toMatch(/refused/)
  expect(await see.left()).toEqual(NOTHING)
}, 120_000)
