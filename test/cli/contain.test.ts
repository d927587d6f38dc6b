// `writ contain` against a broker that answers what a test says: what is sent, what is shown, and which exit code says that something may
// still work.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.ts'
import type { ContainmentAnswer } from '../../src/http/wire.ts'
import { type Bench, bench, problem, type Sent } from './bench.ts'

let on: Bench
beforeAll(async () => {
  on = await bench()
})
afterAll(() => on.stop())

const ID = `f-${'a'.repeat(26)}`
const NOTHING = { walked: 2, walks: 2, matched: 0, ended: 0, stopped: 0, ending: 0, failing: 0, unreadable: 0 }
const containment = (progress: Partial<ContainmentAnswer['progress']>, more: object = {}) => ({
  id: ID,
  freeze: {
    id: ID,
    tenant: 'northwind',
    where: { agent: 'triage-agent' },
    contains: true,
    reason: 'Alarm',
    by: 'sol',
    at: '2026-11-25T22:00:00.000Z',
  },
  done: false,
  progress: { ...NOTHING, ...progress },
  ...more,
})
const done = containment({ matched: 3, ended: 2, stopped: 1 }, { done: true })
/** One answer after the other; the last one stays. */
const inTurn = (...answers: readonly Sent[]) => {
  let n = 0
  return (): Sent => answers[Math.min(n++, answers.length - 1)] ?? { body: {} }
}
const ASK = ['contain', '--where', 'agent=triage-agent', '--reason', 'Alarm']

describe('contain', () => {
  it('asks for all that it names together, watches until all is confirmed, and says so', async () => {
    on.routes({
      'POST /v1/containments': () => ({ status: 202, body: containment({ walked: 0 }) }),
      [`GET /v1/containments/${ID}`]: inTurn(
        { body: containment({ matched: 3, ended: 1, ending: 2 }, { etaSeconds: 4 }) },
        { body: done },
      ),
    })
    const { code, out } = await on.run([...ASK, '--where', 'ticket=desk:1'])
    expect(code).toBe(EXIT.ok)
    expect(on.received[0]?.body).toEqual({
      where: { agent: 'triage-agent', ticket: { system: 'desk', id: '1' } },
      reason: 'Alarm',
      freeze: true,
    })
    expect(out).toContain(`${ID}  done  agent=triage-agent`)
    expect(on.received).toHaveLength(3)
  })

  it('goes on watching while the broker is away', async () => {
    on.routes({
      'POST /v1/containments': () => ({ status: 202, body: containment({ walked: 0 }) }),
      [`GET /v1/containments/${ID}`]: inTurn(...Array.from({ length: 6 }, () => problem('store_unavailable', 503)), {
        body: done,
      }),
    })
    const { code, err } = await on.run(ASK)
    expect(code).toBe(EXIT.ok)
    expect(err).toContain('The containment holds')
  })

  it('ends with 6 while anything is unconfirmed: without waiting, and when the wait is over', async () => {
    const failing = { body: containment({ matched: 3, ended: 2, failing: 1 }) }
    on.routes({
      'POST /v1/containments': () => ({ status: 202, body: containment({ walked: 0 }) }),
      [`GET /v1/containments/${ID}`]: () => failing,
    })
    expect((await on.run([...ASK, '--no-wait'])).code).toBe(EXIT.notYet)
    const { code, out, err } = await on.run([...ASK, '--wait=1'])
    expect(code).toBe(EXIT.notYet)
    expect(out).toContain('not confirmed yet')
    expect(err).toContain(`writ contain grants ${ID} --stage failing`)
    expect((await on.run(['contain', 'show', ID, '--wait=1'])).code).toBe(EXIT.notYet)
  })

  it('counts in a dry run, and asks for nothing else', async () => {
    on.routes({
      'POST /v1/containments': () => ({
        body: {
          dryRun: true,
          matched: 1_000,
          kinds: [{ kind: 'vault', status: 'active', count: 1_000 }],
          residueUntil: '2026-11-25T22:00:30.000Z',
          complete: true,
        },
      }),
    })
    const { code, out, err } = await on.run(['contain', '--where', 'agent=triage-agent', '--dry-run'])
    expect(code).toBe(EXIT.ok)
    expect(on.received.map(({ path }) => path)).toEqual(['/v1/containments?dryRun=true'])
    expect(out).toMatch(/1000 grants would be ended[\s\S]*vault +active +1000[\s\S]*2026-11-25T22:00:30.000Z/)
    expect(err).toContain('Nothing was done.')
  })

  it('without a freeze says so to the broker', async () => {
    on.routes({
      'POST /v1/containments': () => ({ status: 202, body: containment({}) }),
      [`GET /v1/containments/${ID}`]: () => ({ body: done }),
    })
    await on.run([...ASK, '--no-freeze'])
    expect(on.received[0]?.body).toMatchObject({ freeze: false })
  })

  it('says of each grant what became of it, page by page; nothing in it moves the terminal', async () => {
    const one = { id: `g0-${'a'.repeat(26)}`, stage: 'failing', status: 'stuck', attempts: 9, lastError: 'x\u001b[2J' }
    const other = {
      id: `g0-${'b'.repeat(26)}`,
      stage: 'ended',
      status: 'ended',
      outcome: 'revoked',
      confirmation: { asked: 'backend', answer: 'the lease is gone', at: '2026-11-25T22:00:01.000Z' },
      residueUntil: '2026-11-25T22:00:01.000Z',
    }
    on.routes({
      [`GET /v1/containments/${ID}/grants`]: inTurn(
        { body: { grants: [one], next: '0.100' } },
        { body: { grants: [other] } },
      ),
    })
    const { code, out } = await on.run(['contain', 'grants', ID])
    expect(code).toBe(EXIT.ok)
    expect(out).toMatch(/stuck +x<U\+001B>\[2J, 9 attempts[\s\S]*the lease is gone/)
    expect(on.received.map(({ path }) => path)).toEqual([
      `/v1/containments/${ID}/grants`,
      `/v1/containments/${ID}/grants?cursor=0.100`,
    ])
  })

  it('that says too little, too much or something else asks nothing of the broker', async () => {
    on.routes({})
    for (const args of [
      ['contain', '--reason', 'x'],
      ['contain', '--where', 'agent=a'],
      ['contain', '--where', 'agnt=a', '--reason', 'x'],
      ['contain', 'show'],
      ['contain', 'show', '../grants'],
      ['contain', 'grants', ID, '--stage', 'nowhere'],
      ['contain', 'lift', ID],
    ])
      expect((await on.run(args)).code, args.join(' ')).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })
})
