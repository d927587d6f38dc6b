// application/x-www-form-urlencoded, strictly: for queries and for forms. Invariant: what is malformed is refused, never repaired, and
// order and repeats are kept, so that whoever reads the pairs can refuse a name that was sent twice.
import { DoorRefusal, type Pair } from './endpoint.ts'

const MOST = 50

/** Pairs in the order sent. Throws DoorRefusal `malformed` for bad percent-encoding, bad UTF-8, empty names and more than 50 pairs. */
export function parsePairs(text: string): readonly Pair[] {
  if (text === '') return []
  const parts = text.split('&')
  if (parts.length > MOST) throw new DoorRefusal('malformed', `There are more than ${MOST} parameters.`)
  return parts.map((part) => {
    const equals = part.indexOf('=')
    if (equals < 1) throw new DoorRefusal('malformed', 'Parameters are written name=value, joined by &.')
    return [decoded(part.slice(0, equals)), decoded(part.slice(equals + 1))] as const
  })
}

function decoded(text: string): string {
  // Tokens and names are what they are.
  if (!/[%+]/.test(text)) return text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw new DoorRefusal('malformed', 'A parameter is not percent-encoded UTF-8.')
  }
}

/** Names to values; a name sent twice is refused. */
export function single(pairs: readonly Pair[]): Readonly<Record<string, string>> {
  const found = new Map<string, string>()
  for (const [name, value] of pairs) {
    if (found.has(name)) throw new DoorRefusal('malformed', 'A parameter was sent twice.')
    found.set(name, value)
  }
  return Object.fromEntries(found)
}
