// The grants that have left `active`, as far back as a token can live. Invariant: a grant is forgotten only when every token it ever had has
// expired, and when there is no room for another one the set says so instead of leaving it out.

export interface Revoked {
  /** False when there is no room. */
  add(grant: string): boolean
  has(grant: string): boolean
  readonly size: number
}

/** `now`: a clock that nobody sets, so that setting one makes nothing forgotten. */
export function revokedGrants(options: {
  readonly now: () => number
  readonly keepMs: number
  readonly most: number
}): Revoked {
  const { now, keepMs, most } = options
  /** In the order of their forgetting. */
  const until = new Map<string, number>()
  const forget = (): void => {
    const at = now()
    for (const [grant, end] of until) {
      if (end > at) return
      until.delete(grant)
    }
  }
  return {
    add: (grant) => {
      forget()
      // No token is issued after its grant has left `active`, so none of those that are out lives longer than this.
      if (!until.delete(grant) && until.size >= most) return false
      until.set(grant, now() + keepMs)
      return true
    },
    has: (grant) => until.has(grant),
    get size() {
      return until.size
    },
  }
}
