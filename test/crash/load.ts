// The lanes of the load: each tells one story after the other, drawn from a sequence of its own.
import { setTimeout as pause } from 'node:timers/promises'
import type { Known } from './model.ts'
import { type Random, randomOf } from './random.ts'
import type { Stories, StoryName } from './stories.ts'

const LANES = 8
/** Together: the machine has brokers to start meanwhile. */
const VERBS_PER_SECOND = 20
/** Between two stories of a lane. */
const PAUSE_MS = 100

/** How often each is told; logins are asked for in busy times only. */
const OFTEN: readonly (readonly [StoryName, number])[] = [
  ['report', 50],
  ['triage', 18],
  ['deploy', 6],
  ['login', 14],
  ['looks', 4],
  ['verifier', 5],
  ['contain', 2],
  ['freeze', 2],
  ['passkeys', 2],
]
const ALL = OFTEN.reduce((sum, [, often]) => sum + often, 0)

function drawn(random: Random): StoryName {
  let left = random.below(ALL)
  for (const [name, often] of OFTEN) {
    left -= often
    if (left < 0) return name
  }
  return 'report'
}

export interface Load {
  /** Grants that outlive the load, so that something is alive when all is quiet. */
  keepers(minutes: number): Promise<readonly Known[]>
  /** Resolves when each lane has ended its story. */
  stop(): Promise<void>
}

export function load(tales: Stories, seed: number, busy: () => boolean, verbs: () => number): Load {
  let stopped = false
  const [began, before] = [performance.now(), verbs()]
  const isAhead = (): boolean => verbs() - before > ((performance.now() - began) / 1_000) * VERBS_PER_SECOND
  const lane = async (n: number): Promise<void> => {
    const random = randomOf(seed, `lane ${n}`)
    while (!stopped) {
      const name = drawn(random)
      await tales.tell(name === 'login' && !busy() ? 'report' : name, random)
      do await pause(PAUSE_MS)
      while (isAhead() && !stopped)
    }
  }
  const lanes = Array.from({ length: LANES }, (_, n) => lane(n))
  return {
    keepers: async (minutes) => {
      const random = randomOf(seed, 'keepers')
      const made: Known[] = []
      for (const kind of ['report', 'login', 'report', 'login'] as const) {
        const known = await tales.keeper(kind, Math.min(3_500, Math.ceil(minutes * 60) + 600), random)
        if (known !== undefined) made.push(known)
      }
      return made
    },
    stop: async () => {
      stopped = true
      await Promise.all(lanes)
    },
  }
}
