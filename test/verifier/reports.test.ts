// Every use and every refusal of a credential of the broker's gets to the broker: gathered, tried again, each once, and what was lost is told.
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DROPPED_ACTION, type Verifier, type VerifierOptions } from '../../src/verifier/index.ts'
import { type ContractBroker, contractBroker, signingKey } from '../support/contract-broker.ts'
import { until } from '../support/until.ts'
import { holder, verifierAt } from '../support/verified.ts'

let broker: ContractBroker
const open: Verifier[] = []
beforeEach(async () => {
  broker = await contractBroker()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close(200)))
  await broker.stop()
})
const at = (reports: VerifierOptions['reports'] = { everyMs: 20 }, over: Partial<VerifierOptions> = {}): Verifier => {
  const made = verifierAt(broker, { ...(reports === undefined ? {} : { reports }), timeout: 500, ...over })
  open.push(made)
  return made
}
const TOLD = { action: 'labels.add', target: 'ticket 7', argumentDigest: `sha-256:${'a'.repeat(43)}` }
const used = (grant: string) =>
  ({ ok: false, code: 'ended', status: 401, detail: '', about: { grant, jti: 'j' } }) as const
const calls = () => broker.asked.filter((path) => path.endsWith('/uses')).length

describe('a report', () => {
  it('of a use says when, what, on what, with which arguments and which credential', async () => {
    const writ = at()
    const one = await holder(broker)
    const verdict = await writ.verify(await one.request())
    const before = Date.now()
    writ.report(verdict, TOLD)
    await until('reported', 2_000, async () => writ.figures().reports.sent === 1, 10)
    const [{ grant, use } = { grant: '', use: {} }] = broker.uses
    expect(grant).toBe(one.grant)
    expect(use).toEqual({
      id: expect.stringMatching(/^[A-Za-z0-9-]{1,64}$/),
      at: expect.any(String),
      credential: verdict.ok ? verdict.credential.jti : '',
      outcome: 'used',
      ...TOLD,
    })
    expect(Math.abs(Date.parse(String(use.at)) - before)).toBeLessThan(1_000)
    expect(writ.figures().reports).toEqual({ waiting: 0, sent: 1, dropped: 0, unwanted: 0 })
  })

  it('of a refusal says why; of what is no credential of the broker there is none', async () => {
    const writ = at()
    const one = await holder(broker)
    const good = await one.request()
    broker.revoke((await holder(broker)).grant)
    const expired = await holder(broker, { iat: 1_000, nbf: 1_000, exp: 1_100 })
    const refusals = [
      [await writ.verify({ ...good, dpop: [] }), 'no_proof'],
      [await writ.verify(await one.request({}), { plan: 'sha-256:other' }), 'wrong_plan'],
      [await writ.verify({ ...(await expired.request()) }), 'expired'],
      [await writ.verify(good), undefined],
      [await writ.verify(good), 'replay'],
    ] as const
    for (const [verdict] of refusals) writ.report(verdict, TOLD)
    for (const silent of [
      await writ.verify({ ...good, authorization: [] }),
      await writ.verify({ ...good, authorization: ['DPoP nonsense'] }),
      await writ.verify({ ...good, authorization: [`DPoP ${await broker.token({}, {}, await signingKey())}`] }),
    ])
      writ.report(silent, TOLD)
    await until('reported', 2_000, async () => broker.uses.length === refusals.length, 10)
    expect(broker.uses.map(({ use }) => use.reason).sort()).toEqual(refusals.map(([, reason]) => reason).sort())
    expect(broker.uses.map(({ use }) => use.outcome).sort()).toEqual([
      'refused',
      'refused',
      'refused',
      'refused',
      'used',
    ])
    expect(new Set(broker.uses.map(({ use }) => use.id)).size).toBe(refusals.length)
  })

  it('that the broker does not understand takes no other with it', async () => {
    broker.state.poison = 'poison'
    const writ = at()
    for (let n = 0; n < 30; n += 1) writ.report(used('g0-a'), { ...TOLD, target: n === 17 ? 'poison' : `target ${n}` })
    await until('reported', 10_000, async () => broker.uses.length === 29, 10)
    expect(writ.figures().reports).toMatchObject({ waiting: 0, sent: 29, unwanted: 1 })
  })

  it('holds nothing that moves what stands beside it', async () => {
    const writ = at()
    writ.report(used('g0-a'), { action: 'a\u202eb\nc', target: ' \u200b ', argumentDigest: 'none' })
    await until('reported', 2_000, async () => broker.uses.length === 1, 10)
    const { action, target, argumentDigest } = broker.uses[0]?.use ?? {}
    expect([action, target, argumentDigest]).toEqual(['a\ufffdb\ufffdc', '\ufffd'.padStart(2).padEnd(3), undefined])
  })

  it('that is too long is cut, never refused by the broker', async () => {
    const writ = at()
    writ.report(used('g0-a'), { action: 'x'.repeat(1_000), target: '' })
    await until('reported', 2_000, async () => broker.uses.length === 1, 10)
    expect(broker.uses[0]?.use).toMatchObject({ action: 'x'.repeat(200), target: '-' })
  })

  it('is gathered with others of its grant, a hundred a call', async () => {
    const writ = at()
    for (let n = 0; n < 250; n += 1) writ.report(used('g0-a'), TOLD)
    for (let n = 0; n < 5; n += 1) writ.report(used('g0-b'), TOLD)
    await until('reported', 3_000, async () => broker.uses.length === 255, 10)
    expect(calls()).toBe(4)
  })

  it.each([401, 429, 500, 503])('is tried again after %i, and told once', async (status) => {
    const writ = at()
    broker.state.only = { '/v1/grants': status }
    writ.report(used('g0-a'), TOLD)
    await until('tried twice', 5_000, async () => calls() >= 2, 10)
    broker.state.only = {}
    await until('reported', 5_000, async () => broker.uses.length === 1, 10)
    expect(writ.figures().reports).toMatchObject({ waiting: 0, sent: 1 })
  })

  it('whose answer was lost is sent again under the same id', async () => {
    let lose = 1
    const writ = at(
      { everyMs: 20 },
      {
        fetch: async (input, init) => {
          const response = await fetch(input, init)
          if (!String(input).endsWith('/uses') || lose === 0) return response
          lose -= 1
          await response.text()
          throw new Error('the connection broke')
        },
      },
    )
    writ.report(used('g0-a'), TOLD)
    await until('sent', 5_000, async () => writ.figures().reports.sent === 1, 10)
    expect([calls(), broker.uses.length]).toEqual([2, 1])
  })

  it.each([400, 404])(
    'that the broker does not take (%i) is given up and counted, and stops no other',
    async (status) => {
      const told: string[] = []
      const writ = at({ everyMs: 20 }, { onProblem: (what) => told.push(what) })
      broker.state.only = { '/v1/grants/g0-foreign': status }
      writ.report(used('g0-foreign'), TOLD)
      writ.report(used('g0-a'), TOLD)
      await until('reported', 3_000, async () => broker.uses.length === 1, 10)
      expect(writ.figures().reports).toEqual({ waiting: 0, sent: 1, dropped: 0, unwanted: 1 })
      expect(told).toEqual(['reports'])
    },
  )

  it('about a grant at which the broker breaks holds up no other', async () => {
    const writ = at()
    broker.state.only = { '/v1/grants/g0-poison': 500 }
    writ.report(used('g0-poison'), TOLD)
    writ.report(used('g0-a'), TOLD)
    await until('reported', 3_000, async () => broker.uses.length === 1, 10)
    expect(broker.uses[0]?.grant).toBe('g0-a')
    expect(writ.figures().reports.waiting).toBe(1)
  })
})

describe('when too many wait', () => {
  it('the oldest goes, refusals before uses, and the broker is told how many', async () => {
    const writ = at({ everyMs: 20, maxBuffered: 5 })
    broker.state.only = { '/v1/grants': 503 }
    const one = await holder(broker)
    const verdict = await writ.verify(await one.request())
    for (let n = 0; n < 3; n += 1) writ.report(verdict, { ...TOLD, target: `use ${n}` })
    for (let n = 0; n < 20; n += 1) writ.report(used(one.grant), { ...TOLD, target: `refusal ${n}` })
    expect(writ.figures().reports).toMatchObject({ waiting: 5, dropped: 18 })
    broker.state.only = {}
    await until('reported', 5_000, async () => broker.uses.some(({ use }) => use.action === DROPPED_ACTION), 10)
    expect(broker.uses.map(({ use }) => use.target).sort()).toEqual(
      ['18', 'refusal 18', 'refusal 19', 'use 0', 'use 1', 'use 2'].sort(),
    )
    await until('settled', 2_000, async () => writ.figures().reports.waiting === 0, 10)
    await pause(100)
    expect(broker.uses.filter(({ use }) => use.action === DROPPED_ACTION)).toHaveLength(1)
  })

  it('no request waits for it', async () => {
    const writ = at({ everyMs: 20, maxBuffered: 1_000 })
    broker.state.only = { '/v1/grants': 503 }
    const started = performance.now()
    for (let n = 0; n < 20_000; n += 1) writ.report(used(`g0-${randomUUID()}`), TOLD)
    expect(performance.now() - started).toBeLessThan(2_000)
    expect(writ.figures().reports).toMatchObject({ waiting: 1_000, dropped: 19_000 })
  })
})

describe('at the end', () => {
  it('what waits is sent before it closes', async () => {
    const writ = at({ everyMs: 60_000 })
    for (let n = 0; n < 150; n += 1) writ.report(used('g0-a'), TOLD)
    await writ.close()
    expect(broker.uses).toHaveLength(150)
  })

  it('a broker that does not answer holds it up for no longer than was said', async () => {
    const writ = at({ everyMs: 60_000 })
    writ.report(used('g0-a'), TOLD)
    broker.state.deaf = true
    const started = performance.now()
    await writ.close(300)
    expect(performance.now() - started).toBeLessThan(800)
    expect(writ.figures().reports).toMatchObject({ waiting: 0, sent: 0, dropped: 1 })
  })

  it('nothing is told where nothing is to be', async () => {
    const writ = at(false)
    writ.report(used('g0-a'), TOLD)
    await writ.close()
    expect(calls()).toBe(0)
  })
})
