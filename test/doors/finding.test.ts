// Filters, questions, ends by task, whoami, event streams and budgets on the wire: what reaches the verbs, and what their answers look like.
import { Agent, type IncomingMessage, request } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { BrokerError, notFound } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { parseInstant } from '../../src/domain/instant.ts'
import { eventStream, type Look } from '../../src/http/event-stream.ts'
import { waiters } from '../../src/http/wait.ts'
import * as wire from '../../src/http/wire.ts'
import { sampleEvent } from '../support/sample-grants.ts'
import { until } from '../support/until.ts'
import { grantIn, JSON_TYPE, moved, NOW, type Stage, stage, TOKEN, vera } from './door.ts'

let on: Stage
beforeAll(async () => {
  on = await stage({ perProcess: 6, perPrincipal: 4, firstMs: 5, mostMs: 10 })
})
afterAll(() => on.stop())
beforeEach(() => {
  on.calls.length = 0
  on.state.quota = { retryMs: undefined }
})

const get = (path: string) => on.send('GET', path)
const post = (path: string, value: unknown) =>
  on.send('POST', path, { headers: [JSON_TYPE], body: JSON.stringify(value) })
const grant = grantIn('pending')
const path = `/v1/grants/${grant.id}`

describe('filters', () => {
  it('reach the verb in domain words, all of them', async () => {
    on.answer({ list: () => ({ grants: [], next: undefined }) })
    const filters =
      'status=active,stuck&mine=true&waiting=true&tenant=northwind&entitlement=payments-migrator&target=payments-db' +
      '&ticket=servicenow:CHG:1&task=t-1&session=run-9' +
      '&filedFrom=2026-11-21T22:00:00Z&filedTo=2026-11-22T00:00:00%2B01:00'
    expect((await get(`/v1/grants?${filters}`)).status).toBe(200)
    expect(on.calls[0]?.args[1]).toEqual({
      statuses: ['active', 'stuck'],
      mine: true,
      waiting: true,
      tenant: 'northwind',
      entitlement: 'payments-migrator',
      target: 'payments-db',
      ticket: { system: 'servicenow', id: 'CHG:1' },
      task: 't-1',
      session: 'run-9',
      filedFrom: parseInstant('2026-11-21T22:00:00Z'),
      filedTo: parseInstant('2026-11-21T23:00:00Z'),
    })
  })

  it.each(['Deploy to prod #7', 'Lauf für Köln', `run:${'x'.repeat(508)}`])(
    'find, end and freeze the run by whatever its issuer calls it: %s',
    async (session) => {
      on.answer({ list: () => ({ grants: [], next: undefined }), revokeEach: () => [] })
      const query = new URLSearchParams({ session }).toString().replaceAll('+', '%20')
      expect((await get(`/v1/grants?${query}`)).status).toBe(200)
      expect((await post('/v1/revocations', { where: { session }, reason: 'alarm' })).status).toBe(200)
      expect(on.calls.map(({ args }) => args[1])).toEqual([expect.objectContaining({ session }), { session }])
      expect(wire.freezeBody.safeParse({ where: { session }, reason: 'alarm' }).success).toBe(true)
    },
  )

  it.each([
    'status=gone',
    'status=',
    'status=active,',
    'mine=false',
    'mine=1',
    'waiting=',
    'tenant=North',
    'ticket=CHG1',
    'ticket=:CHG1',
    'filedFrom=yesterday',
    'filedTo=2026-11-21',
    'limit=0',
    'limit=101',
    'unknown=1',
    'status=active&status=stuck',
  ])('%s is refused before any verb is called', async (query) => {
    const got = await get(`/v1/grants?${query}`)
    expect([got.status, on.calls]).toEqual([400, []])
  })
})

describe('questions', () => {
  const asked = [
    { n: 2, by: 'olivia', text: 'Why?', at: NOW, answer: { by: 'vera', text: 'So.', at: NOW } },
    { n: 3, by: 'olivia', text: 'When?', at: NOW, answer: undefined },
  ]
  it('are listed, asked and answered, each answered with all of them', async () => {
    on.answer({ questions: () => asked, ask: () => asked, answer: () => asked })
    for (const [got, status] of [
      [await get(`${path}/questions`), 200],
      [await post(`${path}/questions`, { text: 'Why?' }), 201],
      [await post(`${path}/questions/3/answer`, { text: 'Soon.' }), 201],
    ] as const) {
      expect(got.status).toBe(status)
      expect(wire.questionsAnswer.parse(got.body).questions).toHaveLength(2)
    }
    expect(on.calls.map(({ verb, args }) => [verb, ...args.slice(1)])).toEqual([
      ['questions', grant.id],
      ['ask', grant.id, 'Why?'],
      ['answer', grant.id, 3, 'Soon.'],
    ])
  })

  it('without a text, with a hidden character, or of no number are refused', async () => {
    for (const text of ['', '   ', 'hid\u202eden', 'x'.repeat(1_001)])
      expect((await post(`${path}/questions`, { text })).status).toBe(400)
    for (const n of ['x', '-1', '1.5', '1e3', '9999999'])
      expect((await post(`${path}/questions/${n}/answer`, { text: 'So.' })).status).toBe(404)
    expect(on.calls).toEqual([])
  })
})

describe('ends by what grants are for', () => {
  it('are 200 when all are confirmed or refused, and 202 while one is not confirmed', async () => {
    const [one, two, three] = [grantIn('ended'), grantIn('ending'), grantIn('active')]
    const row = ({ id, head }: Grant, refused?: string) => ({ id, status: head.status, refused })
    on.answer({ revokeEach: () => [row(one), row(three, 'not_permitted')], completeEach: () => [row(one), row(two)] })
    const revoked = await post('/v1/revocations', { where: { session: 'run-9' }, reason: 'alarm' })
    expect([revoked.status, wire.endsAnswer.parse(revoked.body)]).toMatchObject([
      200,
      {
        confirmed: false,
        grants: [
          { id: one.id, status: 'ended' },
          { id: three.id, refused: 'not_permitted' },
        ],
      },
    ])
    const where = { task: 't-1', ticket: { system: 'desk', id: 'CHG-1' } }
    const completed = await post('/v1/completions', { where, result: { rows: '3' } })
    expect([completed.status, completed.body.confirmed]).toEqual([202, false])
    expect(on.calls.map(({ verb, args }) => [verb, ...args.slice(1)])).toEqual([
      ['revokeEach', { session: 'run-9' }, 'alarm'],
      ['completeEach', where, { rows: '3' }],
    ])
  })

  it('name at least one thing that they are for', async () => {
    for (const body of [{}, { where: {} }, { where: { everything: true } }, { where: { ticket: { id: '1' } } }])
      expect((await post('/v1/revocations', body)).status).toBe(400)
    expect(on.calls).toEqual([])
  })
})

describe('whoami', () => {
  it('says who the directory takes the caller for', async () => {
    const got = await get('/v1/whoami')
    expect(wire.whoamiAnswer.parse(got.body)).toEqual({
      principal: 'vera',
      kind: 'person',
      tenant: 'acme',
      groups: [],
      sponsors: [],
      session: '',
    })
    expect((await on.send('GET', '/v1/whoami', { anonymous: true })).status).toBe(401)
  })
})

describe('a budget', () => {
  it('is told with every answer, by its own name', async () => {
    on.answer({ list: () => ({ grants: [], next: undefined }), revoke: () => grantIn('ended') })
    const read = await get('/v1/grants')
    expect([read.headers['ratelimit-policy'], read.headers.ratelimit]).toEqual([
      '"requests";q=10;w=1',
      '"requests";r=9;t=1',
    ])
    expect((await post(`${path}/revoke`, {})).headers['ratelimit-policy']).toBe('"ends";q=10;w=1')
  })

  it('that is spent is refused with the time to come again, before a verb is called', async () => {
    on.state.quota = { retryMs: 2_300, left: 0 }
    const got = await get('/v1/grants')
    expect([got.status, got.body.type, got.headers['retry-after']]).toEqual([
      429,
      'urn:writ:error:too_many_requests',
      '3',
    ])
    expect(on.calls).toEqual([])
  })
})

const soon = (look: () => boolean | Promise<boolean>) => until('it comes', 5_000, async () => look(), 10)

interface Stream {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  text(): string
  readonly ended: Promise<void>
  close(): void
}
const open = (where: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Stream> =>
  new Promise((resolve, reject) => {
    const all = { Authorization: `Bearer ${TOKEN}`, Accept: 'text/event-stream', ...headers }
    const req = request(
      { host: '127.0.0.1', port: on.port, path: where, method, agent: false, headers: all },
      (res) => {
        let text = ''
        res.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        const ended = new Promise<void>((over) => res.once('close', () => over()))
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          text: () => text,
          ended,
          close: () => req.destroy(),
        })
      },
    )
    req.on('error', reject)
    req.end()
  })

describe('a stream of events', () => {
  const events = (version: number) =>
    (['filed', 'approved', 'ended'] as const)
      .slice(0, version)
      .map((type, n) => ({ ...sampleEvent(grant.id, type, NOW), version: n + 1, seq: 70 + n }))

  it('of a grant tells each event once, as it comes, and ends when the grant is over', async () => {
    let now: Grant = grant
    on.answer({ view: () => now, events: () => events(now.version) })
    const stream = await open(`${path}/events`)
    expect([stream.status, stream.headers['content-type'], stream.headers['cache-control']]).toEqual([
      200,
      'text/event-stream',
      'no-store',
    ])
    await soon(() => stream.text().includes('id: 1\n'))
    expect(stream.text()).not.toContain('id: 2\n')
    now = { ...moved(grant, 'approved'), version: 2 } as Grant
    await soon(() => stream.text().includes('id: 2\n'))
    now = { ...grantIn('ended'), version: 3 } as Grant
    await stream.ended
    const told = stream.text()
    expect(
      [...told.matchAll(/^id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n/gm)].map(([, id, event]) => `${id} ${event}`),
    ).toEqual(['1 filed', '2 approved', '3 ended'])
    expect(told).not.toContain('"seq"')
  })

  it('goes on behind the last event that the client has seen', async () => {
    const over = { ...grantIn('ended'), version: 3 } as Grant
    on.answer({ view: () => over, events: () => events(3) })
    const stream = await open(`${path}/events`, { 'Last-Event-ID': '2' })
    await stream.ended
    expect([...stream.text().matchAll(/^id: (\d+)$/gm)].map(([, id]) => id)).toEqual(['3'])
    const seen = [['Last-Event-ID', '2']] as const
    expect((await on.send('GET', `${path}/events`, { headers: seen })).body.events).toMatchObject([{ version: 3 }])
    for (const headers of [{ 'Last-Event-ID': 'x' }, { 'Last-Event-ID': '2'.repeat(300), Accept: 'application/json' }])
      expect((await open(`${path}/events`, headers)).status).toBe(400)
  })

  it('of all that one may see goes on from any place, and begins now without one', async () => {
    const fed = (n: number) => ({
      ...sampleEvent(grant.id, 'filed', NOW),
      version: 1,
      seq: n,
      place: `0.${n}-0`,
      of: grant,
    })
    on.answer({
      feed: (_, after) => {
        const from = after === undefined ? 5 : Number(/\.(\d+)/.exec(String(after))?.[1])
        const next = Math.min(from + 1, 8)
        return { events: after === undefined || from >= 8 ? [] : [fed(next)], next: `0.${next}-0` }
      },
    })
    const resumed = await open('/v1/events', { 'Last-Event-ID': '0.6-0' })
    await soon(() => resumed.text().includes('id: 0.8-0\n'))
    expect([...resumed.text().matchAll(/^id: (.*)$/gm)].map(([, id]) => id)).toEqual(['0.7-0', '0.8-0'])
    resumed.close()
    const page = await get('/v1/events?after=0.6-0&limit=1')
    expect(wire.feedAnswer.parse(page.body)).toMatchObject({
      next: '0.7-0',
      events: [{ id: '0.7-0', grant: grant.id }],
    })
    expect(page.text).not.toContain('"seq"')
    const again = await on.send('GET', '/v1/events', { headers: [['Last-Event-ID', '0.6-0']] })
    expect(again.body).toMatchObject({ next: '0.7-0' })
    expect((await get('/v1/events')).body).toEqual({ events: [], next: '0.6-0' })
  })

  it('is refused like any other answer before it begins, and counts among those who wait', async () => {
    on.answer({
      view: () => {
        throw notFound()
      },
    })
    const refused = await open(`${path}/events`)
    expect([refused.status, refused.headers['content-type']]).toEqual([404, 'application/problem+json'])
    on.answer({ view: () => grant, events: () => events(1) })
    const streams = await Promise.all(Array.from({ length: 4 }, () => open(`${path}/events`)))
    expect(streams.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect((await open(`${path}/events`)).status).toBe(429)
    for (const stream of streams) stream.close()
    await soon(async () => (await open(`${path}/events`)).status === 200)
  })

  it('is bounded in time also for a reader who takes long for each event', async () => {
    const all = waiters({ perProcess: 1, perPrincipal: 1, firstMs: 5, mostMs: 10 }, () => undefined)
    const look = async (after: string): Promise<Look> => {
      const id = String(Number(after) + 1)
      return { messages: [{ id, event: 'filed', data: {} }], next: id, over: false }
    }
    const limits = { lookEveryMs: 5, aliveEveryMs: 1_000, longestMs: 100 }
    const answer = eventStream(all, vera.id, await look('0'), look, limits)
    const written: string[] = []
    const write = (text: string) =>
      new Promise<void>((resolve) => {
        written.push(text)
        setTimeout(resolve, 50)
      })
    await answer.stream?.({ write, gone: new AbortController().signal })
    // Twenty looks fit into it by their pauses, and three by the time that passes.
    expect(written.length).toBeLessThan(8)
    expect(all.count()).toBe(0)
  })

  it('takes no place for a HEAD', async () => {
    on.answer({ view: () => grant, events: () => events(1) })
    for (let n = 0; n < 10; n += 1) {
      const head = await open(`${path}/events`, {}, 'HEAD')
      await head.ended
      expect([head.status, head.text()]).toEqual([200, ''])
    }
  })

  it('that cannot go on says why, by the code alone, and ends', async () => {
    let looks = 0
    on.answer({
      view: () => {
        looks += 1
        if (looks > 1) throw new BrokerError('recovering', 'secret detail')
        return grant
      },
      events: () => events(1),
    })
    const stream = await open(`${path}/events`)
    await stream.ended
    expect(stream.text()).toContain('event: problem\ndata: {"type":"urn:writ:error:recovering"}\n\n')
    expect(stream.text()).not.toContain('secret detail')
  })

  it('leaves no idle connection behind that a stopping broker would wait for', async () => {
    const own = await stage()
    own.answer({ view: () => grant, events: () => events(1) })
    const agent = new Agent({ keepAlive: true })
    const headers = { Authorization: `Bearer ${TOKEN}`, Accept: 'text/event-stream' }
    const began = new Promise<IncomingMessage>((resolve, reject) => {
      const req = request({ host: '127.0.0.1', port: own.port, path: `${path}/events`, headers, agent }, resolve)
      req.on('error', reject)
      req.end()
    })
    ;(await began).resume()
    // The grace is longer than this test may take.
    await own.door.close(600_000)
    agent.destroy()
    expect(own.door.server.listening).toBe(false)
  })

  it('ends when the broker stops', async () => {
    const own = await stage()
    own.answer({ view: () => grant, events: () => events(1) })
    const ended = new Promise<void>((resolve, reject) => {
      const headers = { Authorization: `Bearer ${TOKEN}`, Accept: 'text/event-stream' }
      const req = request({ host: '127.0.0.1', port: own.port, path: `${path}/events`, headers }, (res) => {
        res.resume().once('end', resolve)
        void own.stop()
      })
      req.on('error', reject).end()
    })
    await ended
  })
})
