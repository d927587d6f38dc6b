// Random sequences of everything that brokers do, on a real Redis: after each command the store says what the model says.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PLANTED } from './planted.ts'
import { replay, runSequences } from './run.ts'
import { readSeeds } from './seeds.ts'
import { type Bench, openBench } from './stage.ts'

const SEQUENCES = 2_000
/** Another one each day: a test that always draws the same proves the same. It is told with every difference. */
const SEED = Number(process.env.WRIT_MODEL_SEED ?? Math.floor(Date.now() / 86_400_000))

let bench: Bench
beforeAll(async () => {
  bench = await openBench(4)
})
afterAll(async () => bench?.stop())

describe('the model', () => {
  it.each(readSeeds().map(({ why, acts }) => [why, acts] as const))('does not differ again: %s', async (_, acts) => {
    expect(await replay(acts, bench)).toBeUndefined()
  })

  it(`says what the store says, in ${SEQUENCES} sequences from seed ${SEED}`, { timeout: 600_000 }, async () => {
    const { differences, byCommand, sequences } = await runSequences({ sequences: SEQUENCES, seed: SEED, bench })
    expect(differences).toEqual([])
    expect(sequences).toBe(SEQUENCES)
    for (const kind of ['race', 'direct', 'jump', 'crash exchange', 'verb publish', 'verb contain'])
      expect(byCommand[kind], kind).toBeGreaterThan(50)
  })
})

describe('a planted bug is found within as many sequences:', () => {
  it.each(Object.entries(PLANTED))('%s', { timeout: 300_000 }, async (_, plant) => {
    const { differences } = await runSequences({ sequences: SEQUENCES, seed: SEED, plant, bench, shrinks: false })
    expect(differences.length).toBeGreaterThan(0)
  })
})
