// Which proofs were used, in the memory of this process. Invariant: nothing is forgotten before the proof has become too old by itself, so
// when the memory is full the answer is "not known", never "first". Several instances of one server need a memory that they share.

/** True for the first who asks for this key, until then (milliseconds since 1970); false for every other. Rejects when it cannot tell. */
export type UseOnce = (key: string, until: number) => Promise<boolean>

export function replayMemory(options: {
  readonly now: () => number
  readonly most: number
  /** So many of them may be of one key: one client cannot fill the memory for all. */
  readonly mostOfOne: number
}): UseOnce {
  const { now, most, mostOfOne } = options
  const used = new Map<string, number>()
  const ofOne = new Map<string, number>()

  const forget = (at: number): void => {
    for (const [key, until] of used) {
      if (until > at) continue
      used.delete(key)
      const owner = ownerOf(key)
      const left = (ofOne.get(owner) ?? 1) - 1
      if (left === 0) ofOne.delete(owner)
      else ofOne.set(owner, left)
    }
  }
  let forgotAt = Number.NEGATIVE_INFINITY

  return async (key, until) => {
    if (used.has(key)) return false
    const at = now()
    const owner = ownerOf(key)
    const isFull = (): boolean => used.size >= most || (ofOne.get(owner) ?? 0) >= mostOfOne
    // A walk through all of it now and then; when it is full at most ten times a second.
    const restMs = isFull() ? 100 : 5_000
    if (at - forgotAt >= restMs || at < forgotAt) {
      forget(at)
      forgotAt = at
    }
    if (isFull()) throw new Error('the memory of used proofs is full')
    used.set(key, until)
    ofOne.set(owner, (ofOne.get(owner) ?? 0) + 1)
    return true
  }
}

const ownerOf = (key: string): string => key.slice(0, key.indexOf(':'))
