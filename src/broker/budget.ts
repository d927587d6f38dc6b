// How much one caller may ask: a budget for requests, and one of its own for ends, so that nobody who asks too much cannot end any more.
// Invariant: what is over the budget is refused before a verb is called, and is told when to come again.
import { BrokerError } from '../domain/errors.ts'
import type { PrincipalId } from '../domain/ids.ts'
import type { Budget, Limits, Quota } from './ports.ts'

/** Takes one from the budget. Rejects `too_many_requests` above it; its fact `retryAfter` is in whole seconds. */
export async function paid(limits: Limits, who: PrincipalId, budget: Budget): Promise<Quota> {
  const quota = await limits.take(who, budget)
  if (quota.retryMs === undefined) return quota
  throw new BrokerError('too_many_requests', `This is more than ${quota.most} ${budget} in ${quota.perMs / 1_000} s.`, {
    nextAction: 'Wait as long as Retry-After says.',
    facts: { limit: budget, retryAfter: Math.max(1, Math.ceil(quota.retryMs / 1_000)) },
  })
}
