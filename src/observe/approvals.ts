// Who approves whose: the share of approvals between two persons who approve each other's. Kept in the memory of this broker alone, of what
// it took itself since it started; a few brokers and a restart make it less, never more than it is.
import type { PersonId } from '../domain/ids.ts'
import { days, type Instant } from '../domain/instant.ts'

export interface Approvals {
  /** `by` approved what these natural persons, or machines of theirs, had asked for. */
  saw(by: PersonId, askers: readonly PersonId[], at: Instant): void
  /** Undefined where none was seen. */
  reciprocal(): number | undefined
}

const WITHIN = days(30)
const MOST = 10_000

export function approvalsSeen(now: () => Instant): Approvals {
  const seen: { readonly by: PersonId; readonly askers: readonly PersonId[]; readonly at: Instant }[] = []
  const pair = (from: PersonId, to: PersonId): string => `${from} ${to}`
  return {
    saw: (by, askers, at) => {
      seen.push({ by, askers, at })
      if (seen.length > MOST) seen.shift()
    },
    reciprocal: () => {
      const since = now() - WITHIN
      while (seen[0] !== undefined && seen[0].at < since) seen.shift()
      if (seen.length === 0) return undefined
      const given = new Set(seen.flatMap(({ by, askers }) => askers.map((asker) => pair(by, asker))))
      const back = seen.filter(({ by, askers }) => askers.some((asker) => given.has(pair(asker, by))))
      return back.length / seen.length
    },
  }
}
