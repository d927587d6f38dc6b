// What the witnesses of all brokers hold on disk, read from outside as they grow: which commits were sealed, by sequence and hash.
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface Sealed {
  /** Whether some broker's witness holds exactly this commit. Reads what was written since. */
  has(seq: number, hash: string): boolean
}

export function sealed(folder: string): Sealed {
  const lines = new Set<string>()
  const read = new Map<string, number>()
  const readOn = (path: string): void => {
    const from = read.get(path) ?? 0
    const { size } = statSync(path)
    if (size === from) return
    const file = openSync(path, 'r')
    try {
      const bytes = Buffer.alloc(size - from)
      const text = bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, from))
      // What follows the last line feed was never promised, and may be finished later.
      const whole = text.lastIndexOf('\n') + 1
      for (const line of text.slice(0, whole).split('\n')) lines.add(line)
      read.set(path, from + whole)
    } finally {
      closeSync(file)
    }
  }
  const readAll = (): void => {
    for (const name of readdirSync(folder).filter((name) => /^broker-\d+$/.test(name))) {
      const own = join(folder, name)
      for (const file of existsSync(own) ? readdirSync(own) : [])
        if (file.startsWith('witness-')) readOn(join(own, file))
    }
  }
  return {
    has: (seq, hash) => {
      const line = `0 ${seq} ${hash}`
      if (!lines.has(line)) readAll()
      return lines.has(line)
    },
  }
}
