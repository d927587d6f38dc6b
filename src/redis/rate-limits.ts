// Budgets per caller, kept in Redis by its own clock, so that several brokers share one. A broker takes some permits at a time and gives
// them out itself, which keeps the budget off the hot path. Invariant: all brokers together give out no more than the budget holds;
// what one has taken and not used within a sixtieth of the period is lost to the caller, never gained.
import type { Budget, Limits, Quota } from '../broker/ports.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { PrincipalId, Shard } from '../domain/ids.ts'
import type { Calls } from './calls.ts'
import { unavailable } from './connect.ts'
import { bucketKey } from './keys.ts'

/** So many in so many milliseconds. */
export interface Rate {
  readonly count: number
  readonly per: number
}
export interface RateLimitPorts {
  /** Ends are asked for over a connection of their own, which no crowd of requests holds up. */
  readonly calls: Readonly<Record<Budget, Pick<Calls, 'take'>>>
  /** The same in every broker. */
  readonly shard: Shard
  readonly rates: Readonly<Record<Budget, Rate>>
  /** Monotonic milliseconds. */
  ticks(): number
}

/** What this broker holds of one budget. */
interface Purse {
  permits: number
  /** Permits are not kept longer than this. */
  until: number
  /** What Redis had left when it was asked last. */
  rest: number
  /** Redis said no: it is not asked again before. */
  refusedUntil: number
  filling: Promise<void> | undefined
}

/** More callers than this are not remembered; whoever is forgotten only costs a question to Redis. */
const MOST_PURSES = 10_000

export function redisRateLimits({ calls, shard, rates, ticks }: RateLimitPorts): Limits {
  const purses = new Map<string, Purse>()

  const purseOf = (who: PrincipalId, budget: Budget): Purse => {
    const key = `${budget}:${who}`
    const known = purses.get(key)
    if (known !== undefined) return known
    if (purses.size >= MOST_PURSES) purses.clear()
    const fresh: Purse = { permits: 0, until: 0, rest: 0, refusedUntil: 0, filling: undefined }
    purses.set(key, fresh)
    return fresh
  }

  async function fill(purse: Purse, who: PrincipalId, budget: Budget): Promise<void> {
    const { count: most, per: perMs } = rates[budget]
    const want = Math.max(1, Math.min(50, Math.floor(most / 100)))
    // A budget is no commit: what this broker has seen of the shard says nothing about it.
    const seen = { seq: 0, event: '' }
    const reply = await calls[budget].take(shard, seen, { bucket: bucketKey(shard, budget, who), perMs, most, want })
    if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
    const [, , , , given, rest, retryMs] = reply
    purse.permits = given
    purse.rest = rest
    purse.until = ticks() + perMs / 60
    if (given === 0) purse.refusedUntil = ticks() + Math.max(1, retryMs)
  }

  return {
    take: async (who, budget) => {
      const purse = purseOf(who, budget)
      const { count: most, per: perMs } = rates[budget]
      const quota = (left: number, retryMs?: number): Quota => ({ budget, most, perMs, left, retryMs })
      for (;;) {
        const now = ticks()
        if (now < purse.refusedUntil) return quota(0, purse.refusedUntil - now)
        if (purse.permits > 0 && now < purse.until) {
          purse.permits -= 1
          return quota(purse.permits + purse.rest)
        }
        purse.filling ??= fill(purse, who, budget).finally(() => {
          purse.filling = undefined
        })
        try {
          await purse.filling
        } catch (thrown) {
          if (budget === 'ends' && isBrokerError(thrown, 'store_unavailable')) return quota(0)
          throw thrown
        }
      }
    },
  }
}
