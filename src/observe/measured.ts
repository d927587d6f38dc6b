// Ports that tell the metrics what went through them, and are otherwise the ports they wrap.
import type { GrantStore, Seal } from '../broker/ports.ts'
import type { Step } from '../domain/grant.ts'
import type { Metrics } from './metrics.ts'

/** Ends are counted, and how late they were, where they are committed: whoever asked for them. */
export function measuredStore<Store extends GrantStore>(store: Store, figures: Metrics): Store {
  const note = (step: Step): void => {
    const { grant, event } = step
    if (event.type === 'stuck') figures.count('stuck_total', {})
    if (grant.head.status !== 'ended') return
    const { outcome } = grant.head.facts
    figures.count('grants_ended_total', { outcome })
    if (outcome === 'expired')
      figures.observe('end_late_seconds', {}, Math.max(0, event.at - grant.ask.intent.window.closesAt) / 1_000)
  }
  return {
    ...store,
    commit: async (step, guard) => {
      const receipt = await store.commit(step, guard)
      note(step)
      return receipt
    },
    commitEach: async (steps) => {
      const results = await store.commitEach(steps)
      for (const [n, step] of steps.entries()) if (results[n]?.receipt !== undefined) note(step)
      return results
    },
  }
}

/** From commit to stable storage. `ticks`: monotonic milliseconds. */
export const measuredSeal = (witness: Seal, figures: Metrics, ticks: () => number): Seal => ({
  seal: async (receipt) => {
    const started = ticks()
    await witness.seal(receipt)
    figures.observe('witness_seconds', {}, (ticks() - started) / 1_000)
  },
})
