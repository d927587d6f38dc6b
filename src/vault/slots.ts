// A bulkhead: at most so many at once, at most so many waiting, first come first served. Work that hangs fills only its own bulkhead.

export interface Slots {
  /** Waits for a slot, or rejects: `SlotsFull` at once when too many wait, the signal's reason when it fires first. */
  run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>
}

export class SlotsFull extends Error {
  constructor() {
    super('too many calls are waiting')
    this.name = 'SlotsFull'
  }
}

export function slots(limit: number, maxWaiting: number): Slots {
  let busy = 0
  const waiting = new Set<() => void>()

  const take = (signal: AbortSignal): Promise<void> => {
    if (signal.aborted) return Promise.reject(signal.reason)
    if (busy < limit) {
      busy += 1
      return Promise.resolve()
    }
    if (waiting.size >= maxWaiting) return Promise.reject(new SlotsFull())
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        waiting.delete(enter)
        reject(signal.reason)
      }
      waiting.add(enter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** The slot is handed over, not given up and taken again, so that nobody can jump the queue. */
  const give = (): void => {
    const [next] = waiting
    if (next === undefined) {
      busy -= 1
      return
    }
    waiting.delete(next)
    next()
  }

  return {
    async run(signal, work) {
      await take(signal)
      try {
        return await work()
      } finally {
        give()
      }
    },
  }
}
