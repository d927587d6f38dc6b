// What is over leaves the store for the archive: read, on stable storage outside Redis, and only then forgotten. Stopped after any of the
// three, the next run does it again: the archive may hold a grant twice, but never misses one that the store no longer has.
import { type Duration, duration, seconds } from '../domain/instant.ts'
import type { Archive, Ports, Rules } from './ports.ts'

export interface RetirePorts extends Pick<Ports, 'grants' | 'now' | 'rulesToEnd'> {
  readonly archive: Archive
  /** How long what is over stays, unless a token could be accepted for longer. */
  readonly retention: Duration
}

export interface Retiring {
  readonly forgotten: number
  /** There may be more that is old enough: call again. */
  readonly more: boolean
}

/** As many as one store call moves. */
const BATCH = 100
/** By how much the clock of a verifier may differ from ours. */
const SKEW = seconds(60)

/** One batch, oldest first. Rejects `clock_untrusted` after a jump of the clock, `recovering`, `store_unavailable`, `log_unavailable`. */
export const retire = (p: RetirePorts) => async (): Promise<Retiring> => {
  // Ages are measured by Redis's clock: while that is not trusted, nothing is too old.
  p.now()
  const keep = duration(Math.max(p.retention, longestToken(p.rulesToEnd())))
  const grants = await p.grants.retired(keep, BATCH)
  if (grants.length === 0) return { forgotten: 0, more: false }
  await p.archive.keep(grants)
  const forgotten = await p.grants.forget(grants, keep)
  return { forgotten, more: forgotten > 0 && grants.length === BATCH }
}

/** As long as somebody may still ask about a token, its grant can be asked. */
const longestToken = ({ policy }: Rules): number =>
  Math.max(
    0,
    ...policy
      .entitlements()
      .map(({ credential }) => (credential.kind === 'jwt' ? credential.maxLife + SKEW + credential.verifierCache : 0)),
  )
