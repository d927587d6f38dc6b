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
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new TypeError('canonical form holds well-formed text only')
      return JSON.stringify(value)
    case 'number':
      if (!Number.isSafeInteger(value)) throw new TypeError('canonical form holds integers only')
      return String(value === 0 ? 0 : value)
    case 'boolean':
      return value ? 'true' : 'false'
  }
  if (value === null) return 'null'
  if (isList(value)) return `[${value.map(canonical).join(',')}]`
  return `{${membersOf(value)}}`
}

/** RFC 8785 §3.2.3: sorted by UTF-16 code units, which is what JavaScript's default sort compares. */
function membersOf(value: { readonly [key: string]: Canonical | undefined }): string {
  let text = ''
  for (const key of Object.keys(value).sort()) {
    const member = value[key]
    if (member === undefined) continue
    if (text !== '') text += ','
    text += `${canonical(key)}:${canonical(member)}`
  }
  return text
}

const isList = (value: Canonical): value is readonly Canonical[] => Array.isArray(value)
