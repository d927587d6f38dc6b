// What was revoked is refused, and what cannot be known is refused too: by feed, by status list, by introspection, each cut off, deaf, late,
// rolled back, or lied to. The broker here is a small server that speaks its wire.
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { deflateSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Revocation,
  type Verdict,
  type Verifier,
  type VerifierOptions,
  verifier,
} from '../../src/verifier/index.ts'
import { AUDIENCE, type ContractBroker, contractBroker, indexOf } from '../support/contract-broker.ts'
import { until } from '../support/until.ts'
import { type Holder, holder, PUBLIC_URL, verifierAt } from '../support/verified.ts'

let broker: ContractBroker
const open: Verifier[] = []
beforeEach(async () => {
  broker = await contractBroker()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
  await broker.stop()
})

const problems: string[] = []
const at = (revocation: Revocation, over: Partial<VerifierOptions> = {}): Verifier => {
  problems.length = 0
  const made = verifierAt(broker, {
    revocation,
    reports: false,
    timeout: 500,
    onProblem: (what, thrown) => problems.push(`${what}: ${String(thrown)}`),
    ...over,
  })
  open.push(made)
  return made
}
const code = (verdict: Verdict): string => (verdict.ok ? 'ok' : verdict.code)
const asked = async (writ: Verifier, one: Holder): Promise<string> => code(await writ.verify(await one.request()))
/** How many milliseconds it took until this was the answer, and every answer before it. */
const soon = async (writ: Verifier, one: Holder, wanted: string, withinMs: number) => {
  const started = performance.now()
  const before = new Set<string>()
  await until(
    `${wanted} instead of ${[...before]}`,
    withinMs,
    async () => {
      const seen = await asked(writ, one)
      if (seen !== wanted) before.add(seen)
      return seen === wanted
    },
    10,
  )
  return { tookMs: performance.now() - started, before: [...before] }
}

describe.each([
  ['the event stream', {}, 5_000],
  ['long polling, where the broker has no streams', { noStream: true }, 5_000],
  ['polling, where knowledge must be younger than a stream can make it', {}, 1_500],
] as const)('by feed, over %s', (_way, state, maxStaleness) => {
  const feed = (over: Partial<VerifierOptions> = {}, instance = 'one') =>
    at({ by: 'feed', maxStaleness, instance }, over)
  beforeEach(() => {
    Object.assign(broker.state, state)
  })

  it('a revoke is known within a second, acknowledged, and says nothing of others', async () => {
    const writ = feed()
    expect(await writ.ready(15_000)).toBe(true)
    const [one, other] = [await holder(broker), await holder(broker)]
    expect([await asked(writ, one), await asked(writ, other)]).toEqual(['ok', 'ok'])
    broker.revoke(one.grant)
    const { tookMs, before } = await soon(writ, one, 'ended', 5_000)
    expect(tookMs).toBeLessThan(1_000)
    expect(before).toEqual(before.length === 0 ? [] : ['ok'])
    expect(await asked(writ, other)).toBe('ok')
    await until('acknowledged', 3_000, async () => broker.acks.at(-1)?.position === broker.position())
    expect(broker.acks.at(-1)?.consumer).toBe('one')
  })

  it('nothing is accepted before it is known what was revoked', async () => {
    broker.state.only = { '/v1/revocations': 503 }
    const writ = feed()
    const one = await holder(broker)
    expect(await asked(writ, one)).toBe('stale')
    expect(await writ.ready(300)).toBe(false)
    broker.state.only = {}
    expect(await writ.ready(15_000)).toBe(true)
    expect(await asked(writ, one)).toBe('ok')
  })

  it('what was revoked before it started is refused', async () => {
    const one = await holder(broker)
    broker.revoke(one.grant, Date.now() - 3_600_000)
    const writ = feed()
    await writ.ready(15_000)
    expect(await asked(writ, one)).toBe('ended')
  })

  it('cut off, everything is refused once the knowledge is too old, and what has ended stays so', async () => {
    const writ = feed({}, 'cut-off')
    await writ.ready(15_000)
    const [one, ended] = [await holder(broker), await holder(broker)]
    broker.revoke(ended.grant)
    await soon(writ, ended, 'ended', 2_000)
    await until('acknowledged', 3_000, async () => broker.acks.at(-1)?.position === broker.position())
    broker.state.deaf = true
    // Before the cut the last sign of life may have been a stream's step old.
    const { tookMs, before } = await soon(writ, one, 'stale', maxStaleness + 1_000)
    expect(tookMs).toBeLessThan(maxStaleness + 300)
    expect(before).toEqual(['ok'])
    expect(await asked(writ, ended)).toBe('ended')
    // It cannot acknowledge what it has not heard of.
    broker.revoke(one.grant)
    await pause(200)
    expect(broker.acks.at(-1)?.position).not.toBe(broker.position())
    broker.state.deaf = false
    await soon(writ, one, 'ended', 15_000)
    await until('acknowledged', 3_000, async () => broker.acks.at(-1)?.position === broker.position())
  }, 60_000)
})

describe('by feed', () => {
  it('where a proxy keeps streams back, it goes over to long polling, and knows enough until then', async () => {
    broker.state.heldBack = true
    const writ = at({ by: 'feed', instance: 'one' })
    const one = await holder(broker)
    expect(await writ.ready()).toBe(true)
    const seen = new Set<string>()
    const started = performance.now()
    while (performance.now() - started < 9_000) {
      seen.add(await asked(writ, one))
      await pause(100)
    }
    expect([...seen]).toEqual(['ok'])
    broker.revoke(one.grant)
    expect((await soon(writ, one, 'ended', 2_000)).tookMs).toBeLessThan(1_000)
  }, 30_000)

  const feed = (over: Partial<VerifierOptions> = {}) => at({ by: 'feed', instance: 'one' }, over)

  it('answers that break off are made up for: it goes on at its position, and misses nothing', async () => {
    const writ = feed()
    await writ.ready()
    const holders = await Promise.all(Array.from({ length: 5 }, () => holder(broker)))
    for (const one of holders) {
      broker.state.failing = 503
      broker.revoke(one.grant)
      await pause(20)
      broker.state.failing = undefined
    }
    for (const one of holders) await soon(writ, one, 'ended', 5_000)
  })

  it('a position that the broker knows no more leads to reading everything again, and to refusing until that is done', async () => {
    const writ = feed({ timeout: 300 })
    await writ.ready()
    const [one, other] = [await holder(broker), await holder(broker)]
    expect(await asked(writ, other)).toBe('ok')
    broker.state.deaf = true
    broker.revoke(one.grant)
    await soon(writ, other, 'stale', 7_000)
    broker.state.forgetsPositions = true
    broker.state.deaf = false
    await soon(writ, one, 'ended', 10_000)
    expect(await asked(writ, other)).toBe('ok')
    expect(problems.some((line) => line.includes('status 400'))).toBe(true)
  }, 30_000)

  it('a long backlog in pages is read to its end before anything is accepted', async () => {
    broker.state.noStream = true
    broker.state.pageSize = 10
    const one = await holder(broker)
    for (let n = 0; n < 95; n += 1) broker.revoke(`g0-${randomUUID()}`)
    broker.revoke(one.grant)
    const writ = feed()
    while (!(await writ.ready(1))) expect(await asked(writ, one)).toMatch(/stale|ended/)
    expect(await asked(writ, one)).toBe('ended')
  })

  it('an empty answer that was cut short confirms nothing', async () => {
    broker.state.cutShort = true
    const writ = feed()
    await writ.ready()
    expect(broker.asked.filter((path) => path === 'GET /v1/revocations').length).toBeGreaterThan(1)
  })

  it('what it cannot remember it does not forget: it refuses everything', async () => {
    const writ = feed({ maxRevoked: 3 })
    await writ.ready()
    const one = await holder(broker)
    for (let n = 0; n < 3; n += 1) broker.revoke(`g0-${randomUUID()}`)
    await pause(100)
    expect(await asked(writ, one)).toBe('ok')
    broker.revoke(`g0-${randomUUID()}`)
    await soon(writ, one, 'stale', 1_000)
  })

  it('a token from before the knowledge begins is refused', async () => {
    const writ = feed({ maxTokenLife: 600_000 })
    await writ.ready()
    const iat = Math.floor(Date.now() / 1_000)
    const old = await holder(broker, { iat: iat - 590, nbf: iat - 590, exp: iat + 5 })
    expect(await asked(writ, old)).toBe('ok')
    const older = await holder(broker, { iat: iat - 700, nbf: iat - 700, exp: iat + 5 })
    expect(await asked(writ, older)).toBe('bad_token')
  })

  it('the time of the broker counts where its clock is ahead: nothing lives longer by a slow clock here', async () => {
    broker.state.ahead = 30_000
    const writ = feed()
    await writ.ready()
    const iat = Math.floor((Date.now() + 30_000) / 1_000)
    expect(await asked(writ, await holder(broker, { iat: iat - 60, nbf: iat - 60, exp: iat + 10 }))).toBe('ok')
    expect(await asked(writ, await holder(broker, { iat: iat - 60, nbf: iat - 60, exp: iat - 1 }))).toBe('expired')
  })

  it('a clock that is set back makes no knowledge young, and one that jumps ahead makes it old', async () => {
    let shift = 0
    let ran = 0
    const writ = feed({ now: () => Date.now() + shift, monotonic: () => performance.now() + ran })
    await writ.ready()
    const one = await holder(broker)
    expect(await asked(writ, one)).toBe('ok')
    broker.state.deaf = true
    ran = 6_000
    shift = -3_600_000
    expect(writ.figures().staleness).toBeGreaterThan(5_000)
    ran = 0
    shift = 0
    // A machine that slept: its monotonic clock slept too.
    shift = 30_000
    expect(await asked(writ, one)).toBe('stale')
  })

  it('a stream that reaches it late is late, whatever its clock says', async () => {
    // The connection holds everything back for a while, as a stalled network does: what comes then is old.
    let stalled = 0
    const writ = feed({
      fetch: async (input, init) => {
        const response = await fetch(input, init)
        if (!String(input).includes('/v1/revocations?') || response.body === null) return response
        const slow = response.body.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            transform: async (part, to) => {
              await pause(stalled)
              to.enqueue(part)
            },
          }),
        )
        return new Response(slow, { status: response.status, headers: response.headers })
      },
    })
    await writ.ready()
    const one = await holder(broker)
    expect(await asked(writ, one)).toBe('ok')
    stalled = 900
    // Signs of life are sent every 0.5 s and take 0.9 s each: they come regularly, and ever later.
    await until('stale', 40_000, async () => (await asked(writ, one)) === 'stale', 50)
    expect(writ.figures().staleness).toBeGreaterThan(5_000)
  }, 60_000)

  it('lies are no news: what cannot be read confirms nothing', async () => {
    for (const data of [
      'nonsense',
      '{"position":"x"}',
      '{"position":"other","at":"2026-01-01T00:00:00Z"}',
      '{"position":"p","at":"yesterday"}',
    ]) {
      const writ = feed({
        fetch: async (input, init) =>
          String(input).includes('/v1/revocations?')
            ? new Response(`id: p\nevent: position\ndata: ${data}\n\n`, {
                headers: { 'content-type': 'text/event-stream' },
              })
            : await fetch(input, init),
      })
      expect([data, await writ.ready(300)]).toEqual([data, false])
      expect(await asked(writ, await holder(broker))).toBe('stale')
    }
  })

  it('each question and acknowledgement is signed anew', async () => {
    // The server refuses an assertion that it has seen.
    const writ = feed()
    await writ.ready()
    for (let n = 0; n < 5; n += 1) {
      broker.revoke(`g0-${randomUUID()}`)
      await until('acknowledged', 3_000, async () => broker.acks.at(-1)?.position === broker.position(), 10)
    }
    expect(problems).toEqual([])
  })
})

/** A list of so many bytes in which everything is valid. */
const packed = (bytes: number): string => deflateSync(Buffer.alloc(bytes)).toString('base64url')

describe('by status list', () => {
  const status = (over: Partial<VerifierOptions> = {}, maxStaleness = 60_000) =>
    at({ by: 'status', maxStaleness }, over)
  const lists = () => broker.asked.filter((path) => path.startsWith('GET /status')).length

  it('a revoke is known within the ttl of the list, which is read once in that time', async () => {
    broker.state.ttl = 1
    const writ = status()
    const [one, other] = [await holder(broker), await holder(broker, { txn: 'g0-other' })]
    for (let n = 0; n < 10; n += 1) expect(await asked(writ, one)).toBe('ok')
    expect(lists()).toBeLessThanOrEqual(2)
    broker.revoke(one.grant)
    const { tookMs } = await soon(writ, one, 'ended', 4_000)
    expect(tookMs).toBeLessThan(2_500)
    expect(await asked(writ, other)).toBe('ok')
  })

  it('needs nothing but the published keys', async () => {
    const writ = verifier({
      issuer: broker.issuer,
      audience: AUDIENCE,
      publicUrl: PUBLIC_URL,
      revocation: { by: 'status' },
    })
    open.push(writ)
    expect(await asked(writ, await holder(broker))).toBe('ok')
  })

  it('cut off, what is too old refuses', async () => {
    let shift = 0
    broker.state.ttl = 1
    const writ = status({ now: () => Date.now() + shift, monotonic: () => performance.now() + shift }, 20_000)
    const one = await holder(broker)
    expect(await asked(writ, one)).toBe('ok')
    broker.state.failing = 503
    shift = 15_000
    const proofAt = async () =>
      code(await writ.verify(await one.request({ iat: Math.floor((Date.now() + shift) / 1_000) })))
    expect(await proofAt()).toBe('ok')
    shift = 21_000
    expect(await proofAt()).toBe('stale')
    expect(await proofAt()).toBe('stale')
  })

  it.each([
    ['for another address', { sub: 'https://writ.example/status/9' }, {}],
    ['of another issuer', { iss: 'https://evil.example' }, {}],
    ['of another type', {}, { typ: 'at+jwt' }],
    ['under a key that nobody publishes', {}, { kid: 'other' }],
    ['with more in its header', {}, { x5u: 'https://evil.example' }],
    ['that has expired', { exp: 1 }, {}],
    ['from the future', { iat: Math.floor(Date.now() / 1_000) + 3_600 }, {}],
    ['without ttl', { ttl: undefined }, {}],
    ['with a date long ago', { iat: Math.floor(Date.now() / 1_000) - 600 }, {}],
    ['of three bits', { status_list: { bits: 3, lst: packed(64) } }, {}],
    ['that is not compressed', { status_list: { bits: 2, lst: 'AAAA' } }, {}],
    ['that is too short for the token', { status_list: { bits: 2, lst: packed(1) } }, {}],
    ['of nothing', { status_list: undefined }, {}],
  ])('a list %s is no list', async (_what, list, header) => {
    broker.state.list = list
    broker.state.listHeader = header
    expect(indexOf('g0-zzzz')).toBeGreaterThan(3)
    expect(await asked(status(), await holder(broker, { txn: 'g0-zzzz' }))).toBe('stale')
  })

  it('a list that unpacks to more than 4 MB is no list', async () => {
    broker.state.list = {
      status_list: { bits: 2, lst: packed(64 * 1_048_576) },
    }
    expect(await asked(status(), await holder(broker))).toBe('stale')
    expect(problems.length).toBeGreaterThan(0)
  })

  it('a token without a status, or with one elsewhere, is refused, and nobody else is asked', async () => {
    const writ = status()
    expect(await asked(writ, await holder(broker, { status: undefined }))).toBe('stale')
    const elsewhere = { status_list: { idx: 1, uri: 'http://127.0.0.1:1/status/1' } }
    expect(await asked(writ, await holder(broker, { status: elsewhere }))).toBe('stale')
    const beside = { status_list: { idx: 1, uri: `${broker.issuer}.evil.example/status/1` } }
    expect(await asked(writ, await holder(broker, { status: beside }))).toBe('stale')
    for (const broken of [{}, 'x', { status_list: { idx: -1, uri: 'x' } }, { status_list: { idx: 1.5, uri: 'x' } }])
      expect(await asked(writ, await holder(broker, { status: broken }))).toBe('bad_token')
    expect(lists()).toBe(0)
  })

  it('an older list never replaces a newer one', async () => {
    broker.state.ttl = 0
    const shift = 0
    const writ = status({ monotonic: () => performance.now() + shift })
    const one = await holder(broker)
    broker.revoke(one.grant)
    expect(await asked(writ, one)).toBe('ended')
    // The store was rolled back: the list that it signs now says VALID, and is dated before.
    broker.state.list = {
      iat: Math.floor(Date.now() / 1_000) - 20,
      status_list: { bits: 2, lst: 'eNpjYBgFowB3AAABAAAB' },
    }
    expect(await asked(writ, one)).toBe('ended')
  })

  it.each([1, 2, 3])('a value of %i is not valid', async (value) => {
    const bytes = Buffer.alloc(64, value | (value << 2) | (value << 4) | (value << 6))
    broker.state.list = { status_list: { bits: 2, lst: deflateSync(bytes).toString('base64url') } }
    expect(await asked(status(), await holder(broker))).toBe('ended')
  })
})

describe('by introspection', () => {
  const introspection = (maxStaleness = 0, over: Partial<VerifierOptions> = {}) =>
    at({ by: 'introspection', maxStaleness }, over)
  const times = () => broker.asked.filter((path) => path.includes('introspect')).length

  it('a revoke is known at the next request', async () => {
    const writ = introspection()
    const one = await holder(broker)
    expect(await asked(writ, one)).toBe('ok')
    broker.revoke(one.grant)
    expect(await asked(writ, one)).toBe('ended')
  })

  it('a yes is kept for as long as was said, and no longer', async () => {
    let ran = 0
    const writ = introspection(1_000, { monotonic: () => performance.now() + ran })
    const one = await holder(broker)
    for (let n = 0; n < 5; n += 1) expect(await asked(writ, one)).toBe('ok')
    expect(times()).toBe(1)
    broker.revoke(one.grant)
    ran = 1_001
    expect(await asked(writ, one)).toBe('ended')
  })

  it.each([401, 429, 500, 503])('an answer of %i is neither yes nor no', async (status) => {
    broker.state.only = { '/oauth2/introspect': status }
    expect(await asked(introspection(), await holder(broker))).toBe('stale')
  })

  it('a broker that does not answer is neither', async () => {
    const writ = introspection()
    await asked(writ, await holder(broker))
    broker.state.deaf = true
    expect(await asked(writ, await holder(broker))).toBe('stale')
  })

  it.each([
    ['another token', { jti: 'other' }],
    ['another grant', { txn: 'g0-other' }],
    ['another audience', { aud: 'https://desk.northwind.example' }],
    ['another key', { cnf: { jkt: 'x'.repeat(43) } }],
    ['another issuer', { iss: 'https://evil.example' }],
    ['nothing in particular', { active: 'yes' }],
  ])('a yes about %s is none', async (_what, said) => {
    broker.state.introspected = said
    expect(await asked(introspection(), await holder(broker))).toBe('stale')
  })
})
