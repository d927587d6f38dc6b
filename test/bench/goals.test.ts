// When a goal is met, and what of a broker counts as switched off.
import { describe, expect, it } from 'vitest'
import { GOALS, type Goal, judge, SCENE_IDS } from './goals.ts'
import { judgeSettings } from './switched.ts'

const goal: Goal = {
  title: 'a goal',
  compares: 'two things',
  criteria: [
    { name: 'rate', unit: 'ratio', reached: 'at least', must: 1.4, aim: 2 },
    { name: 'late', unit: 'ms', reached: 'at most', must: 250, aim: 120 },
  ],
}
const verdict = (rate: number, late: number): readonly [boolean, boolean] => {
  const { met, aimMet } = judge(goal, { rate, late })
  return [met, aimMet]
}

describe('a goal', () => {
  it('is met on its bound, and missed by the least bit beyond it', () => {
    expect(verdict(1.4, 250)).toEqual([true, false])
    expect(verdict(1.399, 250)).toEqual([false, false])
    expect(verdict(1.4, 250.1)).toEqual([false, false])
  })
  it('is aimed at in every criterion, and met in every one', () => {
    expect(verdict(2, 120)).toEqual([true, true])
    expect(verdict(2, 121)).toEqual([true, false])
    expect(verdict(9, 251)).toEqual([false, false])
  })
  it.each([Number.NaN, Number.POSITIVE_INFINITY])('cannot be judged by %d', (rate) => {
    expect(() => judge(goal, { rate, late: 1 })).toThrow('rate was not measured')
  })
  it('cannot be judged without one of its numbers', () => {
    expect(() => judge(goal, { rate: 2 })).toThrow('late was not measured')
  })
  it.each(SCENE_IDS)('%s has criteria of different names, and no aim short of its must', (id) => {
    const { criteria } = GOALS[id]
    expect(new Set(criteria.map(({ name }) => name)).size).toBe(criteria.length)
    expect(criteria.length).toBeGreaterThan(0)
    for (const one of criteria)
      expect(one.reached === 'at least' ? one.aim >= one.must : one.aim <= one.must, one.name).toBe(true)
  })
})

describe('the settings of a measured broker', () => {
  it('are told where they differ from what they are when nothing is said', () => {
    const { settings, switchedOff } = judgeSettings({
      WRIT_MODE: 'dev',
      WRIT_RATE_LIMIT: '100/1s',
      WRIT_SWEEP_EVERY_MS: '500',
      WRIT_LISTEN: '127.0.0.1:1',
      PATH: '/bin',
    })
    expect(Object.keys(settings)).toEqual(['WRIT_MODE', 'WRIT_RATE_LIMIT'])
    expect(settings.WRIT_RATE_LIMIT).toMatchObject({ value: '100/1s', usual: '60000/1m' })
    expect(switchedOff).toEqual([])
  })
  it('count as switched off where they leave something out, or cannot be seen', () => {
    expect(judgeSettings({ WRIT_VAULT: 'off' }).switchedOff).toEqual(['Vault (WRIT_VAULT=off)'])
    expect(judgeSettings({ WRIT_CANARY_EVERY: '0s' }).switchedOff).toEqual(['canaries'])
    expect(judgeSettings({ WRIT_SETTINGS_FILE: '/x' }).switchedOff).toHaveLength(1)
    expect(judgeSettings({ NODE_ENV: 'test' }).switchedOff).toHaveLength(1)
  })
})
