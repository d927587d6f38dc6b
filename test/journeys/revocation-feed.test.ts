// Those who check our tokens hear of an end: two instances of one resource server, real brokers, real Redis, real assertions. What is measured
// here is measured from outside.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { client, clientAssertion } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { asServer, type Listener, listenTo, type ServerKey } from '../support/feed-client.ts'
import { type Actors, actors, eventually, type Report, type Reports, reports } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let one: BrokerProcess
let play: Actors
let desk: Reports
let server: ServerKey

beforeAll(async () => {
  stage = await openStage({ vault: false })
  one = await stage.startBroker(0)
  play = actors(stage)
  desk = reports(stage, play)
  server = stage.resourceServer('reports-api')
}, 120_000)
afterAll(() => closeStage(stage))

const asked = (method: 'GET' | 'POST', path: string, body?: unknown, at = one.url, by = server) =>
  asServer(at, stage.url, by, method, path, body)
const ack = (consumer: string, position: string | undefined, at = one.url) =>
  asked('POST', '/v1/revocations/acks', { position, consumer }, at)
const shown = async (report: Report, at = one.url) => (await client(at).get(await play.who('dana'), report.path)).body
const active = async (at = one.url): Promise<Report> => {
  const { report, said } = await desk.filed(at, 600)
  expect(said).toBe('ok')
  expect((await desk.exchange(at, report)).said).toBe('ok')
  return report
}
const revocationsOf = (listener: Listener, id: string) =>
  listener.heard.filter(({ event, data }) => event === 'revocation' && data.grant === id)
const told = (listener: Listener, report: Report, withinMs = 5_000) =>
  eventually(
    'told',
    () => revocationsOf(listener, report.id),
    (seen) => seen.length > 0,
    withinMs,
    5,
  )

describe('two instances of a resource server', () => {
  it('of which one is cut off: the other hears of an end within a second, and the grant shows who has not', async () => {
    const report = await active()
    const [here, cut] = await Promise.all([listenTo(one.url, stage.url, server), listenTo(one.url, stage.url, server)])
    await eventually(
      'a sign of life',
      () => [here.position(), cut.position()],
      (seen) => !seen.includes(undefined),
      5_000,
    )
    expect((await ack('eu-1', here.position())).status).toBe(204)
    expect((await ack('eu-2', cut.position())).status).toBe(204)
    cut.cut()
    const before = performance.now()
    expect(
      (await client(one.url).post(await play.who('dana'), `${report.path}/revoke`, { reason: 'alarm' })).said,
    ).toBe('ok')
    const [heard] = await told(here, report)
    expect((heard?.atMs ?? Number.POSITIVE_INFINITY) - before).toBeLessThan(1_000)
    expect(heard?.data).toMatchObject({
      grant: report.id,
      audience: 'https://reports.northwind.example',
      status: 'ended',
    })
    expect((await shown(report)).reach).toMatchObject({
      consumers: 2,
      acknowledged: 0,
      pending: ['reports-api/eu-1', 'reports-api/eu-2'],
    })
    expect((await ack('eu-1', heard?.id)).status).toBe(204)
    const { reach } = await shown(report)
    expect(reach).toEqual({
      consumers: 2,
      acknowledged: 1,
      withinSeconds: expect.any(Number),
      pending: ['reports-api/eu-2'],
    })
    expect(reach.withinSeconds).toBeLessThan(5)
    here.cut()
  })

  it('hear nothing that is for another resource server', async () => {
    const other = stage.resourceServer('webshop-api')
    const [ours, foreign] = await Promise.all([
      listenTo(one.url, stage.url, server),
      listenTo(one.url, stage.url, other),
    ])
    const report = await active()
    await desk.complete(one.url, report)
    await told(ours, report)
    await eventually(
      'a later sign of life',
      () => foreign.heard.length,
      (seen) => seen >= 2,
      5_000,
    )
    expect(foreign.heard.filter(({ event }) => event !== 'position')).toEqual([])
    expect((await asked('POST', `${report.path}/uses`, { uses: [use('foreign')] }, one.url, other)).status).toBe(404)
    ours.cut()
    foreign.cut()
  })
})

describe('a listener', () => {
  it('goes on at its position at another broker after its own was killed, and misses nothing', async () => {
    const two = await stage.startBroker(1)
    const listener = await listenTo(two.url, stage.url, server)
    const [first, second] = [await active(), await active()]
    await desk.complete(one.url, first)
    await told(listener, first)
    const position = listener.position()
    await two.kill()
    await listener.over
    await desk.complete(one.url, second)
    for (const resumed of [
      await listenTo(one.url, stage.url, server, { lastEventId: position ?? '' }),
      await listenTo(one.url, stage.url, server, { query: `?after=${position}` }),
    ]) {
      await told(resumed, second)
      expect(revocationsOf(resumed, first.id)).toEqual([])
      resumed.cut()
    }
    const poll = await asked('GET', `/v1/revocations?after=${position}&wait=5`)
    expect(poll.body.revocations.map(({ grant }: { grant: string }) => grant)).toEqual([second.id])
    const done = await asked('GET', `/v1/revocations?after=${poll.body.position}&wait=1`)
    expect(done.body).toMatchObject({ revocations: [], timed_out: true })
  })

  it('gets what ended since a time, and is answered as soon as something ends', async () => {
    const since = new Date().toISOString()
    const [first, second] = [await active(), await active()]
    await desk.complete(one.url, first)
    const sent = await eventually(
      'there',
      () => asked('GET', `/v1/revocations?since=${since}`),
      ({ body }) => body.revocations.length > 0,
      5_000,
    )
    expect(sent.body.revocations.map(({ grant }: { grant: string }) => grant)).toEqual([first.id])
    const waiting = asked('GET', `/v1/revocations?after=${sent.body.position}&wait=20`)
    const before = performance.now()
    await desk.complete(one.url, second)
    expect((await waiting).body.revocations[0].grant).toBe(second.id)
    expect(performance.now() - before).toBeLessThan(3_000)
  })

  it('is closed, and gets no sign of life, while the store does not answer; a poll is an error', async () => {
    const listener = await listenTo(one.url, stage.url, server)
    await eventually(
      'alive',
      () => listener.heard.length,
      (seen) => seen > 0,
      5_000,
    )
    await stage.redis.freeze()
    try {
      const frozen = performance.now()
      await listener.over
      expect(performance.now() - frozen).toBeLessThan(10_000)
      const last = listener.heard.findLast(({ event }) => event === 'position')
      expect((last?.atMs ?? 0) - frozen).toBeLessThan(1_500)
      expect(listener.heard.at(-1)).toMatchObject({
        event: 'problem',
        data: { type: 'urn:writ:error:store_unavailable' },
      })
      expect((await asked('GET', '/v1/revocations')).status).toBeGreaterThanOrEqual(401)
    } finally {
      await stage.redis.thaw()
    }
    await eventually(
      'again',
      () => asked('GET', '/v1/revocations'),
      ({ status }) => status === 200,
      10_000,
    )
  })
})

describe('who calls', () => {
  it('is told apart by an assertion that is used once; nothing else is let in', async () => {
    const assertion = clientAssertion(server.id, stage.url, server)
    const call = async (authorization?: string) =>
      (await fetch(`${one.url}/v1/revocations`, authorization === undefined ? {} : { headers: { authorization } }))
        .status
    expect(await call(`Bearer ${assertion}`)).toBe(200)
    expect(await call(`Bearer ${assertion}`)).toBe(401)
    expect(await call(`DPoP ${clientAssertion(server.id, stage.url, server)}`)).toBe(401)
    expect(await call(`Bearer ${clientAssertion(server.id, 'https://elsewhere.example', server)}`)).toBe(401)
    expect(await call(`Bearer ${clientAssertion('nobody', stage.url, server)}`)).toBe(401)
    expect(await call(`Bearer ${(await play.who('dana')).token}`)).toBe(401)
    expect(await call()).toBe(401)
  })
})

let uses = 0
const use = (what: string, more: object = {}) => ({
  id: `${what}-${++uses}`,
  at: new Date().toISOString(),
  credential: 'a-jti',
  outcome: 'used',
  action: 'report.read',
  target: '/reports/sales',
  ...more,
})

describe('reported uses', () => {
  it('are shown with the grant, each once; misuse is counted, told in the log, and an event', async () => {
    const report = await active()
    expect((await shown(report)).uses).toEqual({ used: 0, refused: 0, misuse: 0, notKept: 0 })
    const good = use('good')
    const stolen = use('stolen', { outcome: 'refused', reason: 'wrong_key' })
    const first = await asked('POST', `${report.path}/uses`, { uses: [good, stolen] })
    expect([first.status, first.body]).toEqual([200, { accepted: 2, repeated: 0, misuse: 1 }])
    const again = await asked('POST', `${report.path}/uses`, { uses: [good, stolen] })
    expect(again.body).toEqual({ accepted: 0, repeated: 2, misuse: 0 })
    const grant = await shown(report)
    expect(grant.uses).toMatchObject({ used: 1, refused: 1, misuse: 1 })
    expect(grant.status).toBe('active')
    const dana = await play.who('dana')
    const { body } = await client(one.url).get(dana, `${report.path}/uses`)
    expect(
      body.uses.map(({ id, by, misuse }: { id: string; by: string; misuse: boolean }) => [id, by, misuse]),
    ).toEqual(
      expect.arrayContaining([
        [good.id, 'reports-api', false],
        [stolen.id, 'reports-api', true],
      ]),
    )
    expect(body).toMatchObject({ grant: report.id, policy: grant.policy, decisions: grant.decisions })
    const figures = await (await fetch(`${one.url}/metrics`)).text()
    expect(figures).toContain('writ_misuse_total{reason="wrong_key"} 1')
    expect((await asked('POST', `${report.path}/uses`, { uses: [use('bad', { outcome: 'refused' })] })).status).toBe(
      400,
    )
    expect((await asked('POST', `${report.path}/uses`, { uses: [use('bad', { reason: 'stale' })] })).status).toBe(400)
  })
})

describe(`many ends at once`, () => {
  const MANY = 60
  it(`of ${MANY} grants each is told, and none much later than it ended`, async () => {
    const listener = await listenTo(one.url, stage.url, server)
    const grants: Report[] = []
    const inTens = async (work: (n: number) => Promise<unknown>): Promise<void> => {
      for (let n = 0; n < MANY; n += 10) await Promise.all(Array.from({ length: 10 }, (_, k) => work(n + k)))
    }
    await inTens(async () => grants.push(await active()))
    const ended = new Map<string, number>()
    await inTens(async (n) => {
      const report = grants[n] as Report
      await desk.complete(one.url, report)
      ended.set(report.id, performance.now())
    })
    await eventually(
      'all told',
      () => grants.filter(({ id }) => revocationsOf(listener, id).length > 0).length,
      (count) => count === MANY,
      10_000,
    )
    const lags = grants.map(({ id }) => (revocationsOf(listener, id)[0]?.atMs ?? 0) - (ended.get(id) ?? 0))
    const worst = Math.max(...lags)
    console.log(`feed lag over ${MANY} ends: worst ${Math.round(worst)} ms after the answer`)
    expect(worst).toBeLessThan(1_000)
    listener.cut()
  }, 120_000)
})
