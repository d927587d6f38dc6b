// A memory that cannot grow without end: for what costs more to reckon than to keep. It holds nothing that could not be reckoned again.

/** Keeps it among at most so many; whatever has been there longest makes room. */
export function remember<K, V>(memory: Map<K, V>, key: K, value: V, most: number): void {
  if (memory.size >= most && !memory.has(key)) {
    for (const oldest of memory.keys()) {
      memory.delete(oldest)
      break
    }
  }
  memory.set(key, value)
}
