// The bench as somebody runs it, with counts that only prove that it works: every scene is played, judged and told, and nothing is written.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { GOALS, SCENE_IDS } from './goals.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const RESULTS = fileURLToPath(new URL('RESULTS.md', import.meta.url))

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly told: string
}

const running = new Set<ChildProcess>()
afterAll(() => {
  for (const child of running) child.kill('SIGTERM')
})

/** Not as in a test: a broker that is started from one would say so. */
function bench(...args: readonly string[]): Promise<Ran> {
  const { NODE_ENV: _test, ...env } = process.env
  const child = spawn(process.execPath, ['deploy/dev/node.mjs', 'test/bench/bench.ts', ...args], { cwd: ROOT, env })
  running.add(child)
  let [out, told] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    told += chunk
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      running.delete(child)
      resolve({ code, out, told })
    })
  })
}
const results = (): string | undefined => {
  try {
    return readFileSync(RESULTS, 'utf8')
  } catch {
    return undefined
  }
}
const isNumber = expect.toSatisfy((value: unknown) => typeof value === 'number' && Number.isFinite(value))

it('a quick run plays all twelve scenes with nothing switched off, and ends with one JSON object', async () => {
  const before = results()
  const { code, out, told } = await bench('--quick', '--json')
  expect(code, told).toBe(0)
  const answer = JSON.parse(out.trim().split('\n').at(-1) ?? '')
  expect(Object.keys(answer)).toEqual([...SCENE_IDS, 'about'])
  for (const id of SCENE_IDS) {
    const scene = answer[id]
    const names = GOALS[id].criteria.map(({ name }) => name)
    expect(scene.ratio ?? scene.value, id).toEqual(isNumber)
    expect(scene.measured, id).toEqual(Object.fromEntries(names.map((name) => [name, isNumber])))
    expect(Object.keys(scene.goal.must), id).toEqual(names)
    expect([typeof scene.met, typeof scene.aimMet], id).toEqual(['boolean', 'boolean'])
    expect(scene.sides.length, id).toBeGreaterThan(0)
    for (const side of scene.sides) {
      expect(side.rounds.length, side.name).toBeGreaterThan(0)
      for (const value of Object.values({ ...side.rounds[0], ...side.median }))
        expect(value, side.name).toEqual(isNumber)
    }
    expect(scene.switchedOff, id).toEqual([])
    expect(scene.settings.WRIT_RATE_LIMIT, id).toMatchObject({ usual: '60000/1m' })
  }
  expect(answer.about).toMatchObject({ quick: true, rounds: 1 })
  expect(told).toContain('| S12 |')
  expect(results()).toBe(before)
}, 300_000)

it('what is not understood is refused with what would be, and nothing is started', async () => {
  const { code, out, told } = await bench('--only', 'S99', '--fast')
  expect(code).toBe(2)
  expect(out).toBe('')
  expect(told).toContain('there is no scene S99; there is no option --fast\nusage: npm run bench --')
}, 60_000)
