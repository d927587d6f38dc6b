// A Timer that a test turns by hand.
import type { Timer } from '../../src/vault/timer.ts'

export function handTimer(): Timer & { pass(ms: number): Promise<void> } {
  let at = 0
  const planned = new Set<{ readonly when: number; readonly work: () => void }>()
  return {
    now: () => at,
    after: (ms, work) => {
      const entry = { when: at + ms, work }
      planned.add(entry)
      return () => planned.delete(entry)
    },
    async pass(ms) {
      at += ms
      for (const entry of [...planned].filter(({ when }) => when <= at).toSorted((a, b) => a.when - b.when)) {
        planned.delete(entry)
        entry.work()
      }
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}
