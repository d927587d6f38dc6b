// The strict reading of a compact JWS before any cryptography (RFC 7515 §7.1, RFC 8725): bounded, one spelling, one meaning. What this
// refuses no library behind it ever sees. Nothing of the payload is read here: that comes after the signature.

export const TOKEN_BYTES = 8_192
const FORM = /^([A-Za-z0-9_-]{1,2048})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/

export interface CompactJws {
  readonly header: JsonObject
  readonly headerText: string
  readonly payloadText: string
}
export type JsonObject = Readonly<Record<string, unknown>>

/** The parts, or undefined for anything that is not one JWS with a signature of 64 bytes and exactly these members in its header. */
export function compactJws(text: string, members: readonly string[], longest = TOKEN_BYTES): CompactJws | undefined {
  if (text.length > longest) return undefined
  const [, headerText, payloadText, signature] = FORM.exec(text) ?? []
  if (headerText === undefined || payloadText === undefined || signature === undefined) return undefined
  // Bits that are left over in a last character would make many texts of one token.
  if (![headerText, payloadText, signature].every(isCanonical)) return undefined
  const header = jsonObject(headerText)
  const names = header && Object.keys(header)
  if (header === undefined || names?.length !== members.length || !members.every((name) => Object.hasOwn(header, name)))
    return undefined
  return { header, headerText, payloadText }
}

/** The JSON object of a segment; undefined when it is none, or names a member twice: readers differ in which one they take. */
export function jsonObject(segment: string): JsonObject | undefined {
  try {
    return strictObject(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(segment, 'base64url')))
  } catch {
    return undefined
  }
}

/** The same of a text. */
export function strictObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    // In valid JSON a string before a colon is a member name, so fewer members than names means that one was named twice.
    const names = text.match(/"(?:[^"\\]|\\.)*"(?:\s*:)?/g)?.filter((part) => part.endsWith(':')).length ?? 0
    return isObject(value) && names === membersIn(value) ? value : undefined
  } catch {
    return undefined
  }
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const isText = (value: unknown, longest = 512): value is string =>
  typeof value === 'string' && value !== '' && value.length <= longest
/** Whole seconds that a date can hold. */
export const isSeconds = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 8_640_000_000_000

const isCanonical = (text: string): boolean => Buffer.from(text, 'base64url').toString('base64url') === text

const membersIn = (value: unknown): number =>
  typeof value === 'object' && value !== null
    ? Object.values(value).reduce(
        (sum: number, each) => sum + membersIn(each),
        Array.isArray(value) ? 0 : Object.keys(value).length,
      )
    : 0
