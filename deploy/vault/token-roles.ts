// How tokens are made at Vault: the role of the holds, and the AppRoles of broker and inventory. Invariant: no token has the default
// policy, none is periodic, and a hold ends at the latest when its explicit limit says so, whoever renews it.

export interface HoldLimits {
  /** Where broker and inventory may log in from, and use their tokens from; everywhere if absent. */
  readonly brokerCidrs?: readonly string[]
  /** No hold, and so no login, lives longer. */
  readonly longestHoldSeconds?: number
}

const DAY_SECONDS = 86_400
export const longestHoldSeconds = (limits: HoldLimits): number => limits.longestHoldSeconds ?? DAY_SECONDS
const BROKER_TOKEN_SECONDS = 1_200
const HOUR_SECONDS = 3_600

/**
 * The role under which holds are made. Orphans, because the children of a token die with it and the broker logs in anew all the time;
 * by glob and without a list of its own, because a request that names no policy would be given the whole list.
 */
export const tokenRole = (limits: HoldLimits) => ({
  orphan: true,
  renewable: true,
  token_type: 'service',
  allowed_policies: [],
  allowed_policies_glob: ['writ-grant-*'],
  token_no_default_policy: true,
  token_period: 0,
  token_explicit_max_ttl: longestHoldSeconds(limits),
  token_bound_cidrs: limits.brokerCidrs ?? [],
})

/** An AppRole of one policy; `name` is both. */
export const appRole = (name: string, limits: HoldLimits) => ({
  token_policies: [name],
  token_no_default_policy: true,
  token_type: 'service',
  token_ttl: BROKER_TOKEN_SECONDS,
  token_max_ttl: HOUR_SECONDS,
  token_num_uses: 0,
  token_bound_cidrs: limits.brokerCidrs ?? [],
  secret_id_bound_cidrs: limits.brokerCidrs ?? [],
  secret_id_num_uses: 0,
  secret_id_ttl: 0,
  bind_secret_id: true,
})
