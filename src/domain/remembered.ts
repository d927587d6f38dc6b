// A memory that cannot grow without end, for what costs more to reckon than to keep. It holds nothing that could not be reckoned again, and
// forgets what nobody asks about any more, so that a broker with little to do needs little room.

export interface Memory<K, V extends NonNullable<unknown>> {
  get(key: K): V | undefined
  set(key: K, value: V): void
  clear(): void
}

let minutes = 0

/** To be called once a minute: each memory forgets, at its next use, what it was not asked about in the last minute but one, nor since. */
export const aMinuteWentBy = (): void => {
  minutes += 1
}

/** Of at most so many: where there are more, those that have not been asked about for longest make room, half of all at a time. */
export function memory<K, V extends NonNullable<unknown>>(most: number): Memory<K, V> {
  let recent = new Map<K, V>()
  let former = new Map<K, V>()
  let seen = minutes
  const turn = (): void => {
    former = recent
    recent = new Map()
  }
  const keepUp = (): void => {
    if (seen === minutes) return
    if (seen + 1 < minutes) recent = new Map()
    turn()
    seen = minutes
  }
  const set = (key: K, value: V): void => {
    keepUp()
    if (recent.size >= most / 2 && !recent.has(key)) turn()
    recent.set(key, value)
  }
  return {
    get: (key) => {
      keepUp()
      const found = recent.get(key)
      if (found !== undefined) return found
      const before = former.get(key)
      if (before !== undefined) set(key, before)
      return before
    },
    set,
    clear: () => {
      recent = new Map()
      former = new Map()
    },
  }
}
