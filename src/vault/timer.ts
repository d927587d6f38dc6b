// Monotonic time and one-shot timers, handed in: deadlines of calls and the next login must not follow a wall clock that jumps.

export interface Timer {
  /** Monotonic milliseconds; only differences mean something. */
  now(): number
  /** Runs `work` once, `ms` later, unless the returned function is called before. */
  after(ms: number, work: () => void): () => void
}

/** The process's own. Its timers keep no process alive: a waiting call is held by its socket. */
export const processTimer: Timer = {
  now: () => performance.now(),
  after(ms, work) {
    const handle = setTimeout(work, ms)
    handle.unref()
    return () => clearTimeout(handle)
  },
}

export class Overdue extends Error {
  constructor() {
    super('the deadline has passed')
    this.name = 'Overdue'
  }
}

/**
 * Runs `work` with a signal that fires after `ms` (or when `outer` does), and rejects `Overdue` then, whether or not the work heeds it:
 * a promise that never settles must not hold up its caller.
 */
export async function within<T>(
  timer: Timer,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const controller = new AbortController()
  const abort = (): void => controller.abort(new Overdue())
  const cancel = timer.after(ms, abort)
  outer?.addEventListener('abort', abort, { once: true })
  if (outer?.aborted === true) abort()
  try {
    const overdue = new Promise<never>((_, reject) => {
      const late = (): void => reject(new Overdue())
      if (controller.signal.aborted) late()
      else controller.signal.addEventListener('abort', late, { once: true })
    })
    const running = controller.signal.aborted ? overdue : work(controller.signal)
    return await Promise.race([running, overdue])
  } finally {
    cancel()
    outer?.removeEventListener('abort', abort)
  }
}
