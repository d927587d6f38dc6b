// What a run is asked for, and what it says to what it does not understand.
import { describe, expect, it } from 'vitest'
import { SCENE_IDS } from './goals.ts'
import { readOptions } from './options.ts'

describe('the options of a bench run', () => {
  it('are all scenes, in full and for people, where nothing is said', () => {
    expect(readOptions([])).toEqual({ json: false, quick: false, only: SCENE_IDS })
  })
  it('pick scenes in their own order, however they are written', () => {
    const picked = { json: true, quick: true, only: ['S1', 'S4', 'S12'] }
    expect(readOptions(['--json', '--quick', '--only', 'S12,s4, S1'])).toEqual(picked)
    expect(readOptions(['--only=S12,S4,S1,S1', '--quick', '--json'])).toEqual(picked)
  })
  it('are refused, each with what is wrong with it', () => {
    expect(readOptions(['--fast', '--only', 'S1,S13'])).toEqual({
      problem: 'there is no option --fast; there is no scene S13',
    })
    expect(readOptions(['S1'])).toEqual({ problem: 'there is no option S1' })
  })
  it.each([[['--only']], [['--only', '--json']], [['--only', '']], [['--only=']]])(
    'want scenes after --only: %j',
    (args) => {
      expect(readOptions(args)).toEqual({ problem: '--only needs scenes, like --only S1,S4' })
    },
  )
})
