// Random sequences of everything that brokers do, on a real Redis: after each command the store says what the model says.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PLANTED } from './planted.ts'
import { ALL_EDGES } from './rules.ts'
import { replay, runSequences } from './run.ts'
import { readSeeds } from './seeds.ts'
import { type Bench, openBench } from './stage.ts'

const SEQUENCES = 2_000
/** Always the same, so that what turns red is the change's own doing; `npm run model` draws from another seed each time. */
const SEED = Number(process.env.WRIT_MODEL_SEED ?? 20_261_126)

/** A grant is stuck long after its makers are through, so that hardly ever a part of it ends by itself. */
const RARE = 'stuck>stuck'
/** Every word that a verb of the model answers with. */
const ANSWERS = [
  ...['ok', 'grant_not_found', 'not_permitted', 'own_request', 'not_executor', 'unauthenticated', 'wrong_status'],
  ...['already_decided', 'policy_refused', 'nobody_can_decide', 'too_many_pending', 'frozen', 'policy_outdated'],
  ...['window_closed', 'window_closing', 'window_not_open', 'uses_exhausted', 'vault_unavailable', 'log_unavailable'],
  ...['not_confirmed', 'invalid_request'],
]

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
    const { differences, byCommand, byEdge, byAnswer, sequences } = await runSequences({
      sequences: SEQUENCES,
      seed: SEED,
      bench,
    })
    expect(differences).toEqual([])
    expect(sequences).toBe(SEQUENCES)
    for (const kind of ['race', 'direct', 'jump', 'crash exchange', 'verb publish', 'verb contain'])
      expect(byCommand[kind], kind).toBeGreaterThan(50)
    // What was never done was not tried.
    expect(ALL_EDGES.filter((edge) => byEdge[edge] === undefined && edge !== RARE)).toEqual([])
    expect(ANSWERS.filter((code) => byAnswer[code] === undefined)).toEqual([])
  })
})

describe('a planted bug is found within as many sequences:', () => {
  it.each(Object.entries(PLANTED))('%s', { timeout: 300_000 }, async (_, plant) => {
    const { differences } = await runSequences({ sequences: SEQUENCES, seed: SEED, plant, bench, shrinks: false })
    expect(differences.length).toBeGreaterThan(0)
  })
})
