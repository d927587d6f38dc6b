// The recovery walk and the clock, against a broker that answers what a test says.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.ts'
import type { RecoveryAnswer } from '../../src/http/wire.ts'
import { type Bench, bench, problem } from './bench.ts'

let on: Bench
beforeAll(async () => {
  on = await bench()
})
afterAll(() => on.stop())

const TERMINAL = { input: true, output: true, errors: true }
const LIVE = { pending: 1, approved: 2, issuing: 0, active: 40, ending: 3, stuck: 0 }
const BEHIND: RecoveryAnswer = {
  state: 'behind',
  why: 'The store is behind.',
  seen: 1204,
  here: 1150,
  endsAll: true,
  live: LIVE,
}
const CLEARING: RecoveryAnswer = {
  ...BEHIND,
  state: 'clearing',
  clearing: { by: 'oscar', at: '2026-03-01T03:00:00.000Z', reason: 'INC-1', ended: 43, left: 3, unreadable: 0 },
}
const WELL: RecoveryAnswer = {
  state: 'well',
  seen: 1_001_300,
  here: 1_001_300,
  endsAll: false,
  live: {},
  last: { by: 'oscar', at: '2026-03-01T03:00:00.000Z', reason: 'INC-1' },
}

/** A broker that answers these one after the other, the last one for ever. */
function answering(...views: readonly RecoveryAnswer[]) {
  const left = [...views]
  on.routes({
    'GET /v1/operations/recovery': () => ({ body: left.length > 1 ? left.shift() : left[0] }),
    'POST /v1/operations/recover': () => ({ body: { recovered: false } }),
  })
}
const posted = () => on.received.filter(({ method }) => method === 'POST').map(({ body }) => body)

it('says what was noticed and what will be ended, asks why and for the words, and watches until things are issued', async () => {
  answering(BEHIND, CLEARING, CLEARING, WELL)
  const ran = await on.run(['recover'], { terminal: TERMINAL, answers: ['INC-1: restored', 'end everything'] })
  expect(ran.code).toBe(EXIT.ok)
  for (const part of ['1204', '1150', 'active', '40', 'approved', '2', '43 grants ended, 3 not confirmed yet'])
    expect(ran.err).toContain(part)
  expect(ran.err).not.toContain('issuing')
  expect(ran.asked).toHaveLength(2)
  expect(posted()).toEqual([{ reason: 'INC-1: restored', resume: 'when_clean' }])
  expect(ran.out).toMatch(/issued again/)
})

it('sends nothing where the words are others, where there is no reason, or where nobody can be asked', async () => {
  answering(BEHIND)
  const wrong = await on.run(['recover', '--reason', 'x'], { terminal: TERMINAL, answers: ['yes'] })
  expect(wrong.code).toBe(EXIT.refused)
  expect((await on.run(['recover', '--yes'])).code).toBe(EXIT.usage)
  expect((await on.run(['recover', '--reason', 'x'])).code).toBe(EXIT.usage)
  expect((await on.run(['recover', '--reason', 'x', '--json'], { terminal: TERMINAL })).code).toBe(EXIT.usage)
  expect((await on.run(['recover', '--reason', 'x', '--yes', '--within', 'soon'])).code).toBe(EXIT.usage)
  expect((await on.run(['recover'], { terminal: TERMINAL, answers: [] })).code).toBe(EXIT.refused)
  expect(posted()).toEqual([])
})

it('serves scripts: confirmed by --yes, within a time, by its exit code and the answer of the broker', async () => {
  answering(BEHIND, CLEARING)
  let now = 0
  const clock = () => {
    now += 500
    return now
  }
  const args = ['recover', '--yes', '--reason', 'INC-1', '--within', '3', '--json']
  const late = await on.run(args, { now: clock })
  expect([late.code, JSON.parse(late.out).state]).toEqual([EXIT.notYet, 'clearing'])
  answering(BEHIND, CLEARING, WELL)
  const done = await on.run(args)
  expect([done.code, JSON.parse(done.out)]).toEqual([EXIT.ok, WELL])
  expect(done.asked).toEqual([])
})

it('shows one that is under way without asking anything, and hurries it only where that is confirmed', async () => {
  answering(CLEARING, CLEARING, WELL)
  const ran = await on.run(['recover'], { terminal: TERMINAL })
  expect([ran.code, ran.asked, posted()]).toEqual([EXIT.ok, [], []])
  expect(ran.err).toMatch(/oscar began/)
  answering(CLEARING, WELL)
  const hurried = await on.run(['recover', '--now', '--reason', 'x'], {
    terminal: TERMINAL,
    answers: ['end everything'],
  })
  expect([hurried.code, posted()]).toEqual([EXIT.ok, [{ reason: 'x', resume: 'now' }]])
  expect(hurried.err).toMatch(/--now/)
})

it('asks for less where nothing can have come back, and has nothing to do where all is well', async () => {
  answering({ ...BEHIND, state: 'no_record', endsAll: false }, WELL)
  const ran = await on.run(['recover', '--reason', 'x'], { terminal: TERMINAL, answers: ['go on'] })
  expect([ran.code, posted()]).toEqual([EXIT.ok, [{ reason: 'x', resume: 'when_clean' }]])
  expect(ran.err).toMatch(/none is ended/)
  answering(WELL)
  const well = await on.run(['recover'], { terminal: TERMINAL })
  expect([well.code, posted()]).toEqual([EXIT.ok, []])
  expect(well.err).toMatch(/Recovered at/)
})

it('tells a broker behind the same address that has seen more', async () => {
  answering(BEHIND, ...Array.from({ length: 6 }, () => BEHIND), CLEARING, WELL)
  const ran = await on.run(['recover', '--yes', '--reason', 'x'])
  expect([ran.code, posted()]).toEqual([
    EXIT.ok,
    Array.from({ length: 2 }, () => ({ reason: 'x', resume: 'when_clean' })),
  ])
})

it('is refused to whoever is no operator, with the exit code that says so', async () => {
  on.routes({ 'GET /v1/operations/recovery': () => problem('not_permitted', 403) })
  expect((await on.run(['recover'])).code).toBe(EXIT.forbidden)
})

it('writ clock accept takes a reason, and says what time it is now', async () => {
  on.routes({
    'POST /v1/operations/accept-clock': () => ({ body: { accepted: true, now: '2026-03-01T03:00:00.000Z' } }),
  })
  const ran = await on.run(['clock', 'accept', '--reason', 'INC-1'])
  expect([ran.code, posted()]).toEqual([EXIT.ok, [{ reason: 'INC-1' }]])
  expect(ran.out).toContain('2026-03-01T03:00:00.000Z')
  for (const args of [['clock', 'accept'], ['clock', 'set', '--reason', 'x'], ['clock']])
    expect((await on.run(args)).code).toBe(EXIT.usage)
})
