// Which story gets to which point: told at the very broker that is aimed at, so that a rare effect need not be waited for.
import type { Point } from '../support/effect-points.ts'
import type { Random } from './random.ts'
import type { Kill } from './schedule.ts'
import type { Slot } from './slots.ts'
import type { Stories, StoryName } from './stories.ts'

const LEADS: readonly (readonly [RegExp, StoryName])[] = [
  [/^(credentials|gates)\./, 'login'],
  [/^(containments|grants\.(live|commitEach))/, 'contain'],
  [/^freezes\.(put|lift|list|on)/, 'freeze'],
  [/^revocations\.(read|acknowledge)/, 'verifier'],
  [/^(uses|revocations|grants\.events)/, 'asked'],
  [/^grants\.(list|feed)/, 'looks'],
  [/^(passkeys|ceremonies)\./, 'passkeys'],
  [/^forges\./, 'deploy'],
]

export interface Provoker {
  lead(kill: Kill, slot: Slot): void
  settled(): Promise<void>
}

export function provoker(tales: Stories, random: Random): Provoker {
  const running = new Set<Promise<void>>()
  const tell = (name: StoryName, slot: Slot): void => {
    const told = tales.tell(name, random, slot.url)
    running.add(told)
    void told.finally(() => running.delete(told))
  }
  return {
    lead: ({ at }, slot) => {
      if (at === 'random') return
      if (/^(archive|grants\.(retired|forget))/.test(at)) return slot.tell('retire')
      if (at.startsWith('canaries.')) return slot.tell('canary')
      if (at.startsWith('gates.pass')) return slot.tell('look-through')
      tell(storyFor(at), slot)
      tell('report', slot)
    },
    settled: async () => {
      while (running.size > 0) await Promise.all(running)
    },
  }
}

const storyFor = (point: Point): StoryName => LEADS.find(([about]) => about.test(point))?.[1] ?? 'report'
