// What the library takes from the machine that it runs on: two clocks, randomness, HTTP. Everything else is handed in. It is a program on
// somebody else's machine, so the clock there is all it has; a test, or a host with a better clock, hands in another.
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'

export interface Machine {
  /** The wall clock in milliseconds since 1970: what a token's times are compared with. */
  now(): number
  /** A clock in milliseconds that nobody sets: what staleness is measured with. */
  monotonic(): number
  newId(): string
  /** Evenly in [0, 1): spreads retries. */
  jitter(): number
  fetch: typeof fetch
}

export const thisMachine = (over: Partial<Machine> = {}): Machine => ({
  now: over.now ?? Date.now,
  monotonic: over.monotonic ?? (() => performance.now()),
  newId: over.newId ?? randomUUID,
  jitter: over.jitter ?? Math.random,
  fetch: over.fetch ?? ((input, init) => fetch(input, init)),
})

/** The name of this host as a consumer's name may be spelled. */
export const hostName = (): string =>
  hostname()
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 64) || 'unnamed'

/** Settles after so many milliseconds, or at once when the signal comes. Never rejects. */
export const pause = (ms: number, until: AbortSignal): Promise<void> =>
  new Promise((settle) => {
    if (until.aborted) return settle()
    const done = (): void => {
      clearTimeout(timer)
      until.removeEventListener('abort', done)
      settle()
    }
    const timer = setTimeout(done, ms)
    until.addEventListener('abort', done, { once: true })
  })

/** Between half and all of 250 ms, 500 ms, 1 s … up to `most`, so that many do not come back together. */
export const backoffMs = (failures: number, jitter: number, most: number): number =>
  Math.min(most, 250 * 2 ** Math.min(Math.max(failures - 1, 0), 20)) * (0.5 + jitter / 2)
