// The shipped functions on a clock that only the model moves, one per shard: Redis's own time is left out, so that a sequence comes to the same
// result however slowly it runs. And variants of them with a bug planted.
import { createHash } from 'node:crypto'
import type { Shard } from '../../src/domain/ids.ts'
import { type Library, renderLibrary } from '../../src/redis/library.ts'

export const clockKey = (of: Shard): string => `{writ:${of}}:test-clock`

/** Each pair is a text that must be there, and what stands there instead. */
export type LuaEdits = readonly (readonly [string, string])[]

const rendered = new Map<string, Library>()
export function modelLibrary(of: Shard, edits: LuaEdits = []): Library {
  const key = `${of} ${edits.flat().join()}`
  const library = rendered.get(key) ?? render(of, edits)
  rendered.set(key, library)
  return library
}

function render(of: Shard, edits: LuaEdits): Library {
  const shipped = renderLibrary(`local function now_ms() return tonumber(redis.call('GET', '${clockKey(of)}')) end`)
  if (edits.length === 0) return shipped
  const hash = shipped.name.slice('writ_'.length)
  const code = edits.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`the functions have no ${from}`)
    return text.replaceAll(from, () => to)
  }, shipped.code)
  const other = createHash('sha256').update(code).digest('hex').slice(0, 16)
  return {
    name: `writ_${other}`,
    code: code.replaceAll(hash, other),
    nameOf: (name) => `${name}_${other}`,
  }
}
