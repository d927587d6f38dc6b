// What `npm run crash` takes, and what a seed decides.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parseOptions } from './options.ts'
import { randomOf } from './random.ts'
import { type Kill, schedule } from './schedule.ts'

const anySeed = (): number => 7
const optionsOf = (text: string) =>
  parseOptions(
    text.split(' ').filter((word) => word !== ''),
    anySeed,
  )

describe('the options', () => {
  it('are ten minutes and any seed where nothing is said', () => {
    expect(optionsOf('')).toEqual({
      options: { json: false, minutes: 10, kills: undefined, seed: 7, plant: undefined },
    })
  })
  it('say how long, how many, which seed and which bug', () => {
    expect(optionsOf('--json --minutes 0.5 --kills 20 --seed=42 --plant drop-sweep')).toEqual({
      options: { json: true, minutes: 0.5, kills: 20, seed: 42, plant: 'drop-sweep' },
    })
  })
  it.each([
    '--minutes',
    '--minutes ten',
    '--minutes 0',
    '--minutes -1',
    '--minutes 1e3',
    '--minutes 99999',
    '--kills 0',
    '--kills 1.5',
    '--seed -1',
    '--seed 4294967296',
    '--plant nothing',
    '--plant toString',
    '--jsn',
    'minutes=10',
  ])('refuse %s with what to do instead', (text) => {
    expect(optionsOf(text)).toEqual({
      problem: expect.stringMatching(/^(Give|Leave out) .*\. See npm run crash -- --help\.$/),
    })
  })
  it('that are refused start nothing: one sentence, status 2', () => {
    const program = fileURLToPath(new URL('run.ts', import.meta.url))
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--minutes', 'ten'], { encoding: 'utf8' })
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toBe(
      "Give --minutes a number of minutes above 0, at most 10080; 'ten' is none. See npm run crash -- --help.\n",
    )
  })
})

describe('a seed', () => {
  const POINTS = ['grants.commit:before', 'grants.commit:after', 'credentials.open:before', 'seal.seal:after'] as const
  const kills = (seed: number, many: number): readonly Kill[] => {
    const drawn = schedule(seed, POINTS)
    return Array.from({ length: many }, () => drawn.next().value)
  }

  it('decides every kill', () => {
    expect(kills(1, 200)).toEqual(kills(1, 200))
    expect(kills(1, 200)).not.toEqual(kills(2, 200))
  })
  it('spreads them over every point and every victim', () => {
    const all = kills(3, 400)
    for (const point of POINTS) expect(all.filter(({ at }) => at === point).length).toBeGreaterThan(40)
    for (const victim of ['broker', 'redis', 'vault'])
      expect(all.filter((kill) => kill.victim === victim).length).toBeGreaterThanOrEqual(100)
    expect(all.some(({ victim, at }) => victim === 'vault' && at === 'grants.commit:before')).toBe(false)
  })
  it('draws for each part of a run apart', () => {
    const [one, other] = [randomOf(1, 'lane 1'), randomOf(1, 'lane 2')]
    const drawn = Array.from({ length: 20 }, () => [one.next(), other.next()])
    expect(new Set(drawn.flat()).size).toBe(40)
    expect(randomOf(1, 'lane 1').next()).toBe(drawn[0]?.[0])
  })
})
