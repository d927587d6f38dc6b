// Risk tiers, ordered. A tier decides quorum, step-up, window limits and how soon an approval must be used.
export const TIERS = ['low', 'elevated', 'high', 'critical'] as const
export type Tier = (typeof TIERS)[number]

export const atLeast = (tier: Tier, floor: Tier): boolean => TIERS.indexOf(tier) >= TIERS.indexOf(floor)
export const higher = (a: Tier, b: Tier): Tier => (atLeast(a, b) ? a : b)
