// The crash run in the form of every `npm test`: bounded by kills, with a seed of its own each time, which a violation prints. And the proof that it
// bites: each planted bug is found within its first hundred kills.
import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import type { Point } from '../support/effect-points.ts'
import type { Bug } from '../support/planted-bugs.ts'
import { crashRun } from './crash.ts'

const KILLS = 200
/** A slow machine has its time: what is held against a clock is each end and each start, not the run. */
const RUN_MS = 1_200_000

const say = (line: string): void => console.log(line)

it(
  `${KILLS} brokers, Redis and Vault servers killed while all verbs go on: no invariant is broken, and in the end nothing is left`,
  async () => {
    const result = await crashRun({ kills: KILLS, seed: randomInt(2 ** 32), say })
    say(JSON.stringify({ ...result, byPoint: undefined, byVerb: undefined }))
    expect(result.violations).toEqual([])
    expect(result.kills).toBe(KILLS)
    for (const count of Object.values(result.byVictim)) expect(count).toBeGreaterThanOrEqual(KILLS / 5)
    const reached = Object.values(result.byPoint).filter((count) => count > 0)
    expect(reached.length).toBeGreaterThan(40)
    expect(result.missed).toBeLessThan(KILLS / 2)
    expect(result.verbs).toBeGreaterThan(2_000)
    expect(result.halfMade).toBeGreaterThan(0)
  },
  RUN_MS,
)

/** Where each of them lies open, so that it need not be waited for. */
const OPEN: Readonly<Record<Bug, readonly Point[]>> = {
  'drop-sweep': [],
  'skip-commit': ['credentials.open:after', 'timetable.at:after', 'grants.loadToEnd:before'],
  'forget-accessor': ['credentials.keep:after', 'credentials.issue:after'],
  'reuse-page': [],
}
const FOUND_BY: Readonly<Record<Bug, RegExp>> = {
  'skip-commit': /^(intentBeforeEffect|I9 )/,
  'drop-sweep': /^I8 /,
  'forget-accessor': /^(I9 |I8 )/,
  'reuse-page': /^aPageIsUsedOnce$/,
}

it.each(Object.entries(OPEN))(
  'a broker with the bug %s is found out within a hundred kills',
  async (plant, first) => {
    const bug = plant as Bug
    const result = await crashRun({ kills: 100, seed: randomInt(2 ** 32), plant: bug, first, say })
    say(`${bug}: found at kill ${result.foundAtKill} in ${result.seconds} s`)
    expect(result.violations.map(({ invariant }) => invariant)).toContainEqual(expect.stringMatching(FOUND_BY[bug]))
    expect(result.foundAtKill).toBeLessThanOrEqual(100)
  },
  RUN_MS,
)
