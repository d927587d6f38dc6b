// RFC 8785 canonical JSON for the values that we hash: strings, booleans, safe integers, null, arrays and plain objects.
// Fractions are refused, so the number rules of the RFC reduce to plain decimal; a test holds this against an independent library.

export type Canonical =
  | string
  | number
  | boolean
  | null
  | readonly Canonical[]
  | { readonly [key: string]: Canonical | undefined }

/** The canonical text. Members that are `undefined` are absent. Throws TypeError for fractions and lone surrogates. */
export function canonical(value: Canonical): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new TypeError('canonical form holds integers only')
    return String(value === 0 ? 0 : value)
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new TypeError('canonical form holds well-formed text only')
    return JSON.stringify(value)
  }
  if (isList(value)) return `[${value.map(canonical).join(',')}]`
  // RFC 8785 §3.2.3: members sorted by UTF-16 code units, which is what JavaScript's default sort compares.
  const members = Object.keys(value)
    .sort()
    .flatMap((key) => {
      const member = value[key]
      return member === undefined ? [] : [`${canonical(key)}:${canonical(member)}`]
    })
  return `{${members.join(',')}}`
}

const isList = (value: Canonical): value is readonly Canonical[] => Array.isArray(value)
