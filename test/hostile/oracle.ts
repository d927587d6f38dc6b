// What an answer to a hostile request may be. Invariant: nothing is forgiven here by name but what the API document itself gives an answer for.
import { availableParallelism, loadavg } from 'node:os'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { openApiCheck } from '../support/openapi-check.ts'
import type { WholeRequest } from './bad-values.ts'
import { bytesOf } from './bad-values.ts'
import type { Doc, Field, Operation } from './fields.ts'
import type { Got } from './raw-client.ts'
import { type Badness, parsedJson } from './requests.ts'

export const KINDS = [
  'fiveHundred',
  'stateChange',
  'schemaViolation',
  'leak',
  'slow',
  'takenAgainstSchema',
  'takenFromNobody',
  'notAsSent',
  'noAnswer',
  'failure',
] as const
export type Kind = (typeof KINDS)[number]
export interface Found {
  readonly kind: Kind
  readonly what: string
}

/** By when an answer is there: a second, for each that waits for a processor where others use the machine too. */
export const slowMs = (): number => 1_000 * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism())
/** Traces, places in our source or on the disk, words of what lies behind. */
const TRACE =
  /\n\s+at [^\n]+|\bat (?:async )?[\w.<> ]*\(?(?:file:|node:)|node_modules|node:internal|\.[cm]?[jt]s:\d+|\/(?:work|home|root|tmp|usr|app|src)\/|(?:Type|Range|Reference|Syntax)Error\b|ioredis|ZodError|ReplyError|\bERR (?:value|wrong|unknown)|WRONGTYPE/
const SECRET =
  /eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}|\bhv[sbr]\.[A-Za-z0-9_-]{20,}|"d"\s*:\s*"[A-Za-z0-9_-]{40,}"|-----BEGIN/
/** Where a token is what was asked for. */
const GIVES_TOKENS: readonly string[] = ['exchange', 'token', 'status_list']
/** What a terminal or a line of a log would obey. */
const STEERS = /(?!\n)\p{Cc}|\p{Bidi_Control}/u

export interface Sent {
  readonly operation: Operation
  readonly request: WholeRequest
  /** What the sender itself said in confidence. */
  readonly secrets: readonly string[]
}

/** Everything in the table of the OAuth endpoints is wrong: no token of it is one that holds. */
export const callsActive = (field: Field, got: Got): readonly Found[] =>
  field.place === 'oauth' && field.operation === 'introspect' && got.text.includes('"active":true')
    ? [{ kind: 'takenAgainstSchema', what: 'called active' }]
    : []

export type Oracle = (sent: Sent, got: Got) => readonly Found[]

export function oracle(document: Doc): Oracle {
  const check = openApiCheck(document)
  return ({ operation, request, secrets }, got) => {
    const { status, headers, text, ms } = got
    const everything = `${Object.entries(headers).flat().join('\n')}\n${text}`
    const wrong = violations(check, request, got)
    const waits = /[?&]wait=0*(\d{1,2})(?:&|$)/.exec(request.target)?.[1] ?? '0'
    // The list of statuses has no history, as its draft provides: the document says so, and the broker is well.
    const isSaid = status === 501 && operation.id === 'status_list' && wrong.length === 0
    return [
      ...(status >= 500 && !isSaid ? [{ kind: 'fiveHundred', what: `${status} ${text.slice(0, 300)}` } as const] : []),
      ...wrong.map((what) => ({ kind: 'schemaViolation', what }) as const),
      ...leaks(operation, status, everything, request, secrets).map((what) => ({ kind: 'leak', what }) as const),
      ...(ms > slowMs() + Number(waits) * 1_000
        ? [{ kind: 'slow', what: `${Math.round(ms)} ms for ${status}` } as const]
        : []),
    ]
  }
}

function violations(check: ReturnType<typeof openApiCheck>, request: WholeRequest, got: Got): readonly string[] {
  try {
    return check({ method: request.method, path: request.target, ...got })
  } catch (thrown) {
    return [`not what it says it is: ${String(thrown)}; ${got.status} ${got.text.slice(0, 200)}`]
  }
}

function leaks(
  operation: Operation,
  status: number,
  text: string,
  sent: WholeRequest,
  secrets: readonly string[],
): readonly string[] {
  const found = TRACE.exec(text)
  // Of what was taken the answer shows what was said.
  const trace = found !== null && status < 300 && said(sent).includes(found[0]) ? null : found
  const gives = status === 200 && GIVES_TOKENS.includes(operation.id)
  const secret = gives ? null : SECRET.exec(text)
  return [
    ...(trace === null ? [] : [`a trace: ${text.slice(Math.max(0, trace.index - 60), trace.index + 100)}`]),
    ...(secret === null ? [] : [`something secret: ${secret[0].slice(0, 12)}…`]),
    ...(gives
      ? []
      : secrets.filter((one) => one.length > 20 && text.includes(one)).map(() => 'what the sender confided')),
    ...(status >= 400 && STEERS.test(text) ? ['what steers a terminal'] : []),
  ]
}

const said = ({ target, body }: WholeRequest): string => `${target}\n${body?.toString() ?? ''}`

/** A body may say a member twice, or what no double holds, and still be read by many. */
const isReadUnlike = ({ name, value }: Badness): boolean =>
  name.startsWith('twice') || /^-?\d+e999$|"a":1,"(a|\\u0061)":2/.test(value?.json ?? '')

/** Whether the API document says that this cannot be taken. False where it does not say. */
export function refusals(
  document: Doc,
): (operation: Operation, field: Field, bad: Badness, sent: WholeRequest) => boolean {
  const ajv = new Ajv2020({ strict: false, validateSchema: false })
  formats.default(ajv)
  ajv.addSchema({ ...document, $id: 'writ' })
  const compiled = new Map<string, ValidateFunction>()
  const validator = (name: string, schema: Doc): ValidateFunction => {
    const found = compiled.get(name) ?? ajv.compile(schema)
    compiled.set(name, found)
    return found
  }
  return (operation, field, bad, sent) => {
    if (field.place === 'oauth') return operation.id === 'token'
    if (field.place === 'body') {
      const valid = validator(operation.id, { $ref: `writ#${operation.pointer}` })
      const text = sent.body?.toString() ?? ''
      return !valid(parsedJson(text)) || isReadUnlike(bad)
    }
    if (field.place === 'whole' || field.place === 'form' || bad.value === undefined) return false
    const [name = ''] = field.at
    const parameter = operation.parameters.find((one) => one.in === field.place && one.name === name)
    if (parameter === undefined) return false
    // Around a header blanks count for nothing; an empty one is none.
    const bytes = field.place === 'header' ? bytesOf(bad.value).trim() : bytesOf(bad.value)
    if (field.place === 'header' && (bytes === '' || /[\r\n]/.test(bytes))) return false
    const isNumber = parameter.schema.type === 'integer' && /^\d{1,6}$/.test(bytes)
    const text = Buffer.from(bytes, 'latin1').toString('utf8')
    return !validator(`${operation.id} ${field.place} ${name}`, parameter.schema)(isNumber ? Number(bytes) : text)
  }
}

/** Answers in which everything that was said is shown. */
const SHOWN: readonly string[] = ['request', 'decide', 'close', 'accept', 'ask', 'answer', 'freeze', 'contain']

/** Of what was taken: whether the text that was sent is in the answer, in the very characters. */
export function shows(operation: Operation, field: Field, bad: Badness, got: Got): readonly Found[] {
  if (field.place !== 'body' || bad.value === undefined || !SHOWN.includes(operation.id)) return []
  const sent = parsedJson(bad.value.json)
  if (typeof sent !== 'string' || sent === '' || field.at.includes('executor')) return []
  // Further grants of the same asking are only named.
  if (field.at[0] === 'more') return []
  if (/At$|until|due|duration|issuedBefore|attempt/.test(field.at.at(-1) ?? '')) return []
  const isThere = textsIn(parsedJson(got.text)).some((text) => text === sent || text === sent.normalize('NFC'))
  return isThere ? [] : [{ kind: 'notAsSent', what: `taken, and not shown as it was sent: ${JSON.stringify(sent)}` }]
}
const textsIn = (value: unknown): readonly string[] => {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(textsIn)
}
