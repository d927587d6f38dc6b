// The long poll: look again until the grant has moved or the time is over. Invariant: the number of waiters is bounded in the process
// and per principal, none outlives its client, and running out of time is an answer, not an error.
import { BrokerError } from '../domain/errors.ts'
import type { PrincipalId } from '../domain/ids.ts'

export interface WaitLimits {
  readonly perProcess: number
  readonly perPrincipal: number
  readonly firstMs: number
  readonly mostMs: number
}
export const WAIT_LIMITS: WaitLimits = { perProcess: 1_000, perPrincipal: 20, firstMs: 100, mostMs: 500 }

/** Of those who listen for what ends: the instances of a resource server, one connection each. */
export const LISTEN_LIMITS: WaitLimits = { ...WAIT_LIMITS, perPrincipal: 200 }

export interface Waiting<T> {
  readonly who: PrincipalId
  readonly forMs: number
  /** Looks once. What it rejects with ends the wait. */
  look(): Promise<T>
  /** Whether this is what was waited for. */
  moved(seen: T): boolean
  readonly gone: AbortSignal
}
export interface Waited<T> {
  readonly seen: T
  readonly timedOut: boolean
}
export interface Waiters {
  /** Rejects `too_many_requests` above the limits. A client that has gone gets what was seen last. */
  until<T>(first: T, waiting: Waiting<T>): Promise<Waited<T>>
  /** Counts one more who waits, as long as it takes until the returned function is called. Throws `too_many_requests`. */
  enter(who: PrincipalId): () => void
  /** How many wait now. */
  count(): number
}

/** `onCount` hears of every change in their number, for the gauge. */
export function waiters(limits: WaitLimits, onCount: (count: number) => void): Waiters {
  const byPrincipal = new Map<PrincipalId, number>()
  let all = 0

  const enter = (who: PrincipalId): void => {
    const own = byPrincipal.get(who) ?? 0
    if (all >= limits.perProcess || own >= limits.perPrincipal) {
      throw new BrokerError('too_many_requests', 'Too many requests are waiting.', {
        nextAction: 'Let one of your waiting requests answer first, or ask without wait.',
        facts: { limit: own >= limits.perPrincipal ? 'waiters of one principal' : 'waiters of this broker' },
      })
    }
    byPrincipal.set(who, own + 1)
    all += 1
    onCount(all)
  }
  const leave = (who: PrincipalId): void => {
    const own = byPrincipal.get(who) ?? 1
    if (own > 1) byPrincipal.set(who, own - 1)
    else byPrincipal.delete(who)
    all -= 1
    onCount(all)
  }

  return {
    count: () => all,
    enter: (who) => {
      enter(who)
      return () => leave(who)
    },
    async until(first, waiting) {
      enter(waiting.who)
      try {
        return await look(first, waiting, limits)
      } finally {
        leave(waiting.who)
      }
    },
  }
}

async function look<T>(first: T, waiting: Waiting<T>, limits: WaitLimits): Promise<Waited<T>> {
  const end = new AbortController()
  const stop = () => end.abort()
  const deadline = setTimeout(stop, waiting.forMs)
  waiting.gone.addEventListener('abort', stop, { once: true })
  if (waiting.gone.aborted) stop()
  try {
    let seen = first
    for (let pauseMs = limits.firstMs; ; pauseMs = Math.min(limits.mostMs, pauseMs * 1.5)) {
      if (!(await paused(pauseMs, end.signal))) return { seen, timedOut: true }
      seen = await waiting.look()
      if (waiting.moved(seen)) return { seen, timedOut: false }
    }
  } finally {
    clearTimeout(deadline)
  }
}

/** True after the pause, false as soon as `end` is aborted. */
export const paused = (ms: number, end: AbortSignal): Promise<boolean> =>
  new Promise((resolve) => {
    if (end.aborted) return resolve(false)
    const stop = () => {
      clearTimeout(timer)
      resolve(false)
    }
    const timer = setTimeout(() => {
      end.removeEventListener('abort', stop)
      resolve(true)
    }, ms)
    end.addEventListener('abort', stop, { once: true })
  })
