// The judgement of a soak, over series of which the leak is known.
import { expect, it } from 'vitest'
import { judge, type Rule, type Sample, windowsOf } from './judge.ts'

const RULE: Rule = { percent: 5, grain: 3, left: 3 }
const STAYS: Rule = { percent: 5, grain: 3 }
const MINUTES = 60
const windows = windowsOf(MINUTES, 150)
/** One figure every five seconds, from a minute before the load until its end. */
const series = (of: (seconds: number) => number): readonly Sample[] =>
  Array.from({ length: 12 * (MINUTES + 1) }, (_, n) => ({ seconds: n * 5 - 60, figures: { it: of(n * 5 - 60) } }))
const judged = (of: (seconds: number) => number, last: number, rule = RULE) =>
  judge(series(of), 'it', { rule, windows, last })

it('judges from the eleventh minute on, or from the second sixth of a shorter run', () => {
  expect(windowsOf(60, 150)).toEqual({ warmUp: 600, end: 3_600, length: 360 })
  expect(windowsOf(30, 150)).toEqual({ warmUp: 300, end: 1_800, length: 180 })
  expect(windowsOf(12, 150).warmUp).toBe(150)
  expect(windowsOf(0.5, 150)).toEqual({ warmUp: 5, end: 30, length: 10 })
})

it('a figure that rises with the load, stays there and comes back is level', () => {
  expect(judged((at) => (at < 0 ? 100 : 400), 100)).toMatchObject({ baseline: 100, level: 400, drift: 0, met: true })
})

it('a figure that grows until the warm-up is over and then stays is level', () => {
  expect(judged((at) => 100 + Math.min(at, 590), 100, STAYS).met).toBe(true)
})

it('a figure that saws is level', () => {
  expect(judged((at) => (at < 0 ? 100 : 1_000 + (at % 60) * 10), 100).met).toBe(true)
})

it('a leak of a tenth of a percent a minute is found in an hour', () => {
  const { met, why, drift } = judged((at) => (at < 0 ? 100 : 400 * (1 + (at / 60) * 0.0015)), 100)
  expect([met, why.length, drift > 5]).toEqual([false, 1, true])
})

it('a descriptor that is left every ten minutes is found', () => {
  expect(judged((at) => (at < 0 ? 40 : 60 + Math.floor(at / 600)), 46).why).toEqual([
    'grew by 4, 6.56 percent of its level',
    'is 46 when all is quiet, and was 40',
  ])
})

it('what does not come back is found, however level it was', () => {
  expect(judged((at) => (at < 0 ? 0 : 500), 500).why).toEqual(['is 500 when all is quiet, and was 0'])
})

it('where there are no samples nothing is level', () => {
  expect(judge([], 'it', { rule: RULE, windows, last: undefined }).met).toBe(false)
})

it('a fall is no leak', () => {
  expect(judged((at) => (at < 0 ? 100 : 900 - at / 10), 100).met).toBe(true)
})
