// S6: how long the slowest exchanges take at 64 connections: in quiet, while 100,000 grants of somebody else are contained, while Redis rewrites its AOF.
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { contain } from '../containing.ts'
import { median } from '../load.ts'
import { exchangesBeside, type Tail } from '../load-beside.ts'
import type { Ours } from '../ours.ts'
import { later, modelOf, planted } from '../planting.ts'
import type { Row, Scene, Scope } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

const GRANTS = 100_000
const QUICK_GRANTS = 300
const SHOTS = 4_000
const QUICK_SHOTS = 100
const PATIENCE_MS = 600_000

export const S6: Scene = {
  id: 'S6',
  uses: ['tail'],
  measure: async (scope) => {
    const ours = await scope.stages.ours('tail')
    const warm = exchangesBeside(ours, await ours.readings(scope.quick ? 50 : 2_000))
    await pause(scope.quick ? 200 : 3_000)
    await warm.stop()
    const rounds: (readonly [Tail, Tail, Tail])[] = []
    for (let n = 0; n < scope.rounds; n += 1) {
      scope.say(`S6: round ${n + 1}: quiet, under a contain, under an AOF rewrite`)
      rounds.push(await roundOf(ours, scope))
    }
    const [quiet, contained, rewritten] = [0, 1, 2].map((k) =>
      rounds.map((three) => three[k]).flatMap((one) => one ?? []),
    )
    const p = (of: readonly Tail[] | undefined, which: 'p50' | 'p99') => median((of ?? []).map((one) => one[which]))
    const side = (name: string, of: readonly Tail[] | undefined) => ({
      name,
      rounds: (of ?? []).map((one): Row => ({ ...one })),
      median: { p50: p(of, 'p50'), p99: p(of, 'p99') },
    })
    return {
      numbers: {
        'p99 by p50': p(quiet, 'p99') / p(quiet, 'p50'),
        'p99 under a contain of 100,000': p(contained, 'p99') / p(quiet, 'p99'),
        'p99 under an AOF rewrite': p(rewritten, 'p99') / p(quiet, 'p99'),
      },
      sides: [
        side('writ, quiet', quiet),
        side('writ, under a contain', contained),
        side('writ, under an AOF rewrite', rewritten),
      ],
      notes: ['64 connections, each asking again as soon as it is answered: the broker is always full'],
      effective: await effectiveOf(ours),
    }
  },
}

async function roundOf(ours: Ours, { quick }: Scope): Promise<readonly [Tail, Tail, Tail]> {
  const shots = quick ? QUICK_SHOTS : SHOTS
  // What is tiny is over before anybody is answered; then all of them count.
  const all = async (requests: readonly Buffer[], until?: Promise<unknown>): Promise<Tail> => {
    const beside = exchangesBeside(ours, requests)
    await (quick || until === undefined ? beside.finished : Promise.race([until, beside.finished]))
    const over = performance.now()
    await beside.stop()
    return beside.tail(beside.startedAt, over)
  }
  const quiet = await all(await ours.readings(shots))
  // The contain ends the model too.
  await planted(ours, await modelOf(ours, 'dpop'), quick ? QUICK_GRANTS : GRANTS, { closesAt: later() })
  const meanwhile = await ours.readings(shots)
  const afterwards = await ours.readings(shots)
  const containment = await contain(ours, 'dpop', false)
  const ending = containment.done(PATIENCE_MS)
  const contained = await all(meanwhile, ending)
  await ending
  await ours.redis.bgrewriteaof()
  const rewritten = await all(afterwards, rewriteIsOver(ours.redis))
  await rewriteIsOver(ours.redis)
  return [quiet, contained, rewritten]
}

async function rewriteIsOver(redis: Redis): Promise<void> {
  for (;;) {
    await pause(50)
    if (/aof_rewrite_in_progress:0[\s\S]*aof_rewrite_scheduled:0/.test(await redis.info('persistence'))) return
  }
}
