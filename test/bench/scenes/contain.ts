// S7: 100,000 live tokens are contained. From the first answer on none of them holds and nothing new is given; then every state is written.

import { contain } from '../containing.ts'
import { fire, median } from '../load.ts'
import { answersOf, type Ours } from '../ours.ts'
import { later, modelOf, planted, tokensOf } from '../planting.ts'
import { round } from '../rounds.ts'
import type { Row, Scene } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

const GRANTS = 100_000
const QUICK_GRANTS = 300
const SAMPLE = 50
const PATIENCE_MS = 600_000

export const S7: Scene = {
  id: 'S7',
  uses: ['contain'],
  measure: async (scope) => {
    const ours = await scope.stages.ours('contain')
    const rounds: Row[] = []
    for (let n = 0; n < scope.rounds; n += 1) {
      scope.say(`S7: round ${n + 1}: planting, then containing`)
      rounds.push(await roundOf(ours, scope.quick ? QUICK_GRANTS : GRANTS))
    }
    const of = (name: string): number => median(rounds.map((one) => one[name] ?? Number.NaN))
    return {
      numbers: {
        'all states written': of('seconds'),
        'still valid after the first answer': Math.max(...rounds.map(({ stillValid }) => stillValid ?? Number.NaN)),
      },
      sides: [
        {
          name: 'writ, contain',
          rounds,
          median: { answeredMs: of('answeredMs'), seconds: of('seconds'), stillValid: of('stillValid') },
        },
      ],
      notes: [
        `of each round ${SAMPLE} tokens are introspected, one exchange and one filing tried, after the first answer`,
      ],
      effective: await effectiveOf(ours),
    }
  },
}

async function roundOf(ours: Ours, many: number): Promise<Row> {
  const model = await modelOf(ours, 'bearer')
  const { ids } = await planted(ours, model, many, { closesAt: later() })
  const picked = Array.from({ length: SAMPLE }, (_, n) => ids[Math.floor((n * ids.length) / SAMPLE)])
  const tokens = await tokensOf(
    ours,
    picked.flatMap((id) => id ?? []),
  )
  const waiting = ours.exchanges(await ours.approved(1, 'bearer'), 'bearer', true)
  if ((await holding(ours, tokens)) !== tokens.length) throw new Error('a planted token does not hold')
  const containment = await contain(ours, 'bearer', true)
  const stillValid = (await holding(ours, tokens)) + (await taken(ours, [...waiting, ours.filing('bearer')]))
  const seconds = (await containment.done(PATIENCE_MS)) / 1_000
  const revived = await holding(ours, tokens)
  await containment.lift()
  return { answeredMs: round(containment.answeredMs, 1), seconds: round(seconds, 2), stillValid: stillValid + revived }
}

const holding = async (ours: Ours, tokens: readonly string[]): Promise<number> => {
  const answers = await answersOf(
    ours.port,
    tokens.map((token) => ours.introspection(token)),
  )
  return answers.filter(({ active }) => active === true).length
}

/** How many are answered with yes. */
async function taken(ours: Ours, requests: readonly Buffer[]): Promise<number> {
  const { statuses } = await fire({ port: ours.port, connections: 4, requests })
  return [...statuses].reduce((sum, [status, count]) => sum + (status < 300 ? count : 0), 0)
}
