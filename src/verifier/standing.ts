// What is known of whether a grant still lives, and how old that knowledge is. Invariant: every way of knowing answers `unknown` once its
// last sign of life from the broker is older than `maxStaleness`; no way answers `live` because nothing was heard.
import type { Machine } from './machine.ts'
import type { Credential } from './verify.ts'

export type Standing =
  | { readonly is: 'live' }
  | { readonly is: 'ended' }
  | { readonly is: 'unknown'; readonly why: string }

export const LIVE: Standing = { is: 'live' }
export const ENDED: Standing = { is: 'ended' }
export const unknown = (why: string): Standing => ({ is: 'unknown', why })

export interface Knowledge {
  /** Never rejects. */
  of(credential: Credential, token: string): Promise<Standing>
  /** What time it is at the broker at the earliest, in milliseconds since 1970; undefined where that is not known. */
  brokerTime(): number | undefined
  /** Milliseconds since the last sign of life; infinite before the first. For readiness and figures. */
  staleness(): number
  /** Settles with the first sign of life, or when it is closed. */
  ready(): Promise<void>
  close(): Promise<void>
}

export type Problem = (what: string, thrown: unknown) => void

export type Clocks = Pick<Machine, 'now' | 'monotonic'>
