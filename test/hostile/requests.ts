// From a valid sample and one thing that is wrong with it to the bytes that are sent. Invariant: everything else in the request stays as the
// sample has it, to the byte.
import { BAD_MEMBERS, BAD_VALUES, BAD_WHOLES, type BadValue, bytesOf, type WholeRequest } from './bad-values.ts'
import type { Field, Operation } from './fields.ts'
import { OAUTH_VALUES, type OAuthMaterial } from './oauth-values.ts'
import type { Role } from './samples.ts'

/** A request with which nothing is wrong. */
export interface Sample {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly form?: Readonly<Record<string, string>>
  /** Whose it is, where it is another one's than the first sample. */
  readonly by?: Role
}

/** What is done to a field, by its name. */
export interface Badness {
  readonly name: string
  readonly value?: BadValue
}

const PAIRS: Readonly<Record<string, (name: string, value: string) => string>> = {
  missing: () => '',
  'without a value': (name) => name,
  twice: (name, value) => `${name}=${value}&${name}=${value}`,
  'twice, once otherwise': (name, value) => `${name}=${value}&${name}=a`,
  'as a list': (name, value) => `${name}[]=${value}`,
  'as a member': (name, value) => `${name}[a]=${value}`,
  'in upper case': (name, value) => `${name.toUpperCase()}=${value}`,
  'with a NUL in its name': (name, value) => `${name}%00=${value}`,
  'with an ampersand before': (name, value) => `&&${name}=${value}`,
}
const HEADERS: Readonly<Record<string, (name: string, value: string) => readonly (readonly [string, string])[]>> = {
  missing: () => [],
  twice: (name, value) => [
    [name, value],
    [name, value],
  ],
  'in a list': (name, value) => [[name, `${value}, ${value}`]],
  folded: (name, value) => [[name, `${value.slice(0, 1)}\r\n ${value.slice(1)}`]],
  'with a blank in its name': (name, value) => [[`${name} `, value]],
}

/** Everything that can be wrong with this field. */
export function badnessesOf({ place, at }: Field, operation: Operation): readonly Badness[] {
  if (place === 'whole')
    return BAD_WHOLES.filter(({ bodiless }) => bodiless || operation.media === 'application/json').map(({ name }) => ({
      name,
    }))
  if (place === 'form' && at.length === 0) return []
  if (place === 'oauth')
    return OAUTH_VALUES.filter((one) => one.operation === operation.id).map(({ name }) => ({ name }))
  const values = BAD_VALUES.filter(({ places }) => places === undefined || places.includes(place)).map((value) => ({
    name: value.name,
    value,
  }))
  const edits =
    place === 'body'
      ? at.length === 0 || at.at(-1) === '*'
        ? []
        : BAD_MEMBERS.map(({ name }) => name)
      : place === 'header'
        ? Object.keys(HEADERS)
        : place === 'path'
          ? []
          : Object.keys(PAIRS)
  return [...values, ...edits.map((name) => ({ name }))]
}

/** The members down to a field of this sample, `*` replaced by the first item or member that has it; undefined where it has none. */
export function located(value: unknown, at: readonly string[]): readonly string[] | undefined {
  const [name, ...rest] = at
  if (name === undefined) return []
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, member] of Object.entries(value)) {
    if (name !== '*' && name !== key) continue
    const found = located(member, rest)
    if (found !== undefined) return [key, ...found]
  }
  return undefined
}

/** Whether the sample says anything about the field. */
export function holds(sample: Sample, { place, at }: Field): boolean {
  const [name = ''] = at
  if (place === 'whole' || place === 'oauth') return true
  if (place === 'body') return located(sample.body, at) !== undefined
  if (place === 'form') return at.length === 0 || sample.form?.[name] !== undefined
  // A proof is said in no sample: a token that is bound to no key needs none.
  if (place === 'header') return name === 'DPoP' || sample.headers?.[name] !== undefined
  return (place === 'path' ? sample.params : sample.query)?.[name] !== undefined
}

/** A body as text with one place written otherwise: the value, or its member in the object around it. */
export function written(
  value: unknown,
  at: readonly string[],
  place: { readonly value?: string; readonly member?: (member: string, value: string) => string },
): string {
  const [name, ...rest] = at
  if (name === undefined) return place.value ?? JSON.stringify(value)
  if (typeof value !== 'object' || value === null) throw new Error('nothing is there')
  const parts = Object.entries(value).flatMap(([key, member]) => {
    const isHere = key === name
    const inner = isHere ? written(member, rest, place) : JSON.stringify(member)
    if (inner === undefined) return []
    if (Array.isArray(value)) return [inner]
    const text =
      isHere && rest.length === 0 && place.member !== undefined
        ? place.member(JSON.stringify(key), JSON.stringify(member))
        : `${JSON.stringify(key)}:${inner}`
    return text === '' ? [] : [text]
  })
  return Array.isArray(value) ? `[${parts.join()}]` : `{${parts.join()}}`
}

const hex = (byte: string): string => `%${byte.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`
/** What is said as bytes keeps its percent signs: they may be what is wrong. */
const encoded = (bytes: string, isRaw: boolean): string =>
  bytes.replace(isRaw ? /[^\x21-\x7e]|[#?&/]/g : /[^A-Za-z0-9._~-]/g, hex)

const pairsOf = (pairs: Readonly<Record<string, string>>, field: Field, bad: Badness): string => {
  const [name = ''] = field.at
  const edit = PAIRS[bad.name]
  return Object.entries(pairs)
    .map(([key, value]) => {
      const plain = encoded(Buffer.from(value).toString('latin1'), false)
      if (key !== name) return `${key}=${plain}`
      if (bad.value !== undefined) return `${key}=${encoded(bytesOf(bad.value), bad.value.text !== undefined)}`
      return edit === undefined ? `${key}=${plain}` : edit(key, plain)
    })
    .filter((text) => text !== '')
    .join('&')
}
const NOWHERE: Field = { operation: '', place: 'whole', at: [] }
const NOTHING: Badness = { name: '' }

/** What is sent. `bad` undefined sends the sample as it is. */
export function requestOf(
  operation: Operation,
  sample: Sample,
  authorization: string | undefined,
  wrong?: { readonly field: Field; readonly bad: Badness; readonly material?: OAuthMaterial },
): WholeRequest {
  const { field, bad } = wrong ?? { field: NOWHERE, bad: NOTHING }
  const [name = ''] = field.at
  const inPath = (key: string): string => {
    const value = sample.params?.[key] ?? ''
    if (field.place !== 'path' || key !== name || bad.value === undefined) return encodeURIComponent(value)
    return encoded(bytesOf(bad.value), bad.value.text !== undefined)
  }
  const path = operation.path.replace(/\{(\w+)\}/g, (_, key: string) => inPath(key))
  const query = pairsOf(sample.query ?? {}, field.place === 'query' ? field : NOWHERE, bad)
  const sent: WholeRequest = {
    method: operation.method,
    target: query === '' ? path : `${path}?${query}`,
    headers: [
      ...(authorization === undefined ? [] : [['Authorization', authorization] as const]),
      ...(operation.media === undefined ? [] : [['Content-Type', operation.media] as const]),
      ...headersOf(sample, field, bad),
    ],
    body: bodyOf(operation, sample, field, bad),
  }
  if (field.place === 'oauth' && wrong?.material !== undefined) {
    const made = OAUTH_VALUES.find((one) => one.operation === operation.id && one.name === bad.name)
    return { ...sent, ...made?.make(sample.form ?? {}, wrong.material) }
  }
  const whole = field.place === 'whole' ? BAD_WHOLES.find(({ name: known }) => known === bad.name) : undefined
  return whole === undefined ? sent : whole.change(sent)
}

function headersOf(sample: Sample, field: Field, bad: Badness): readonly (readonly [string, string])[] {
  const [name = ''] = field.at
  const headers = { ...(field.place === 'header' && name === 'DPoP' ? { DPoP: 'a.a.a' } : {}), ...sample.headers }
  return Object.entries(headers).flatMap(([key, value]) => {
    if (field.place !== 'header' || key !== name) return [[key, value] as const]
    if (bad.value !== undefined) return [[key, bytesOf(bad.value)] as const]
    return HEADERS[bad.name]?.(key, value) ?? [[key, value] as const]
  })
}

function bodyOf(operation: Operation, sample: Sample, field: Field, bad: Badness): Buffer | undefined {
  if (operation.media === undefined) return undefined
  if (sample.form !== undefined)
    return Buffer.from(pairsOf(sample.form, field.place === 'form' ? field : NOWHERE, bad), 'latin1')
  if (field.place !== 'body') return Buffer.from(JSON.stringify(sample.body))
  const at = located(sample.body, field.at) ?? []
  const member = BAD_MEMBERS.find(({ name }) => name === bad.name)?.write
  const place = bad.value !== undefined ? { value: bad.value.json } : member === undefined ? {} : { member }
  return Buffer.from(written(sample.body, at, place))
}

/** Two things wrong at once: the second is done to the text of a body that the first left a JSON, or not at all. */
export function alsoWrong(operation: Operation, sent: WholeRequest, field: Field, bad: Badness): WholeRequest {
  if (field.place === 'whole') return BAD_WHOLES.find(({ name }) => name === bad.name)?.change(sent) ?? sent
  if (field.place !== 'body' || sent.body === undefined) return sent
  const parsed = parsedJson(sent.body.toString())
  const at = located(parsed, field.at)
  if (at === undefined) return sent
  return { ...sent, body: bodyOf(operation, { body: parsed }, field, bad) }
}

export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** For a terminal: what was sent, to be sent again. `$TOKEN` stands for the credential. */
export function asCurl(url: string, { method, target, headers, body }: WholeRequest): string {
  const quoted = (text: string): string =>
    /^[\x20-\x26\x28-\x5b\x5d-\x7e]*$/.test(text)
      ? `'${text}'`
      : `$'${text.replace(/[^\x20-\x7e]|['\\]/g, (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, '0')}`)}'`
  const shown = headers.map(([name, value]) =>
    name === 'Authorization'
      ? `-H "Authorization: ${value.split(' ')[0]} $TOKEN"`
      : `-H ${quoted(`${name}: ${value}`)}`,
  )
  const text = body?.toString('latin1') ?? ''
  const data =
    body === undefined ? [] : [`--data-binary ${quoted(text.length > 4_000 ? `${text.slice(0, 4_000)}…` : text)}`]
  const line = ['curl -i --path-as-is', `-X ${method}`, quoted(url + target), ...shown, ...data].join(' ')
  return line.replace(/eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+/g, '$TOKEN')
}
