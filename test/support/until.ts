// Waits for something to become true, by looking again and again until a deadline.
import { setTimeout as pause } from 'node:timers/promises'

/** What `look` answers first that is neither false nor undefined. Throws with the last failure, or with `what`, when the time is over. */
export async function until<T>(
  what: string,
  withinMs: number,
  look: () => Promise<T | false | undefined>,
  everyMs = 100,
): Promise<T> {
  const deadline = performance.now() + withinMs
  let failure: unknown
  for (;;) {
    try {
      const seen = await look()
      if (seen !== false && seen !== undefined) return seen
      failure = undefined
    } catch (thrown) {
      failure = thrown
    }
    if (performance.now() > deadline) throw failure ?? new Error(`not within ${withinMs} ms: ${what}`)
    await pause(everyMs)
  }
}
