// The half-open time in which a credential may live: opensAt <= t < closesAt. Nothing's end ever moves.
import type { Duration, Instant } from './instant.ts'
import { between } from './instant.ts'

export interface Window {
  readonly opensAt: Instant
  readonly closesAt: Instant
}

export const isOpen = (window: Window, now: Instant): boolean => window.opensAt <= now && now < window.closesAt
export const isClosed = (window: Window, now: Instant): boolean => now >= window.closesAt
export const lengthOf = (window: Window): Duration => between(window.opensAt, window.closesAt)

export interface WindowLimits {
  /** How long the window may be. */
  readonly maxDuration: Duration
  /** How far ahead of the asking it may open. A limit of its own: a two-hour window may lie two weeks ahead. */
  readonly horizon: Duration
}

export type WindowFault = 'empty' | 'past' | 'too_long' | 'too_far_ahead'

/** What is wrong with a window asked for at `now`, or undefined. */
export function faultOf(window: Window, limits: WindowLimits, now: Instant): WindowFault | undefined {
  if (window.closesAt <= window.opensAt) return 'empty'
  if (isClosed(window, now)) return 'past'
  if (lengthOf(window) > limits.maxDuration) return 'too_long'
  if (window.opensAt - now > limits.horizon) return 'too_far_ahead'
  return undefined
}
