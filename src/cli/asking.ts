// An asking as people give it: members by flags, a file, a plan that is hashed here. Invariant: nothing leaves this machine that the schema
// of the wire would refuse.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { z } from 'zod'
import { after, formatInstant, parseDuration, parseInstant } from '../domain/instant.ts'
import { FLAGS } from '../domain/risk.ts'
import { askBody } from '../http/wire.ts'
import { explain as explainProblems, readConfig } from '../identity/config-file.ts'
import type { Options } from './arguments.ts'
import type { Context } from './command.ts'
import { usage } from './failure.ts'
import type { Machine } from './machine.ts'

export type Asking = z.input<typeof askBody>

/** Flags that are members of the asking. */
export const MEMBERS: Options = {
  action: { takes: 'many', value: 'ACTION', help: 'what you will do; may be repeated' },
  scope: { takes: 'many', value: 'SCOPE', help: 'what you will touch, such as commit:…; may be repeated' },
  'data-type': { takes: 'many', value: 'WORD', help: 'kinds of data that are touched; may be repeated' },
  destination: { takes: 'text', value: 'WORD', help: 'where data goes to, if anywhere' },
  summary: { takes: 'text', value: 'TEXT', help: 'what is done, in one line' },
  objective: { takes: 'text', value: 'TEXT', help: 'why it is done' },
  outcome: { takes: 'text', value: 'TEXT', help: 'what is true afterwards' },
  rollback: { takes: 'text', value: 'TEXT', help: 'how it is undone' },
  task: { takes: 'text', value: 'ID', help: 'the task in your own system' },
  ticket: { takes: 'text', value: 'SYSTEM:ID', help: 'the change ticket, such as servicenow:CHG0031337' },
  'ticket-url': { takes: 'text', value: 'URL', help: 'where it can be read' },
  plan: { takes: 'text', value: 'FILE', help: 'the plan that will be executed; its digest is reckoned here' },
  'plan-type': { takes: 'text', value: 'TYPE', help: 'its media type; else by the name of the file' },
  'plan-url': { takes: 'text', value: 'URL', help: 'where it can be read' },
  for: { takes: 'text', value: 'DURATION', help: 'how long, such as 30m or 1h30m; from now, or from --opens-at' },
  'opens-at': { takes: 'text', value: 'TIME', help: 'when the window opens, such as 2026-03-01T22:00:00+01:00' },
  'closes-at': { takes: 'text', value: 'TIME', help: 'when it closes, in place of --for' },
  uses: { takes: 'text', value: 'N', help: 'how many credentials inside the window (default 1)' },
  'change-class': { takes: 'text', value: 'CLASS', help: 'standard, normal (default) or emergency' },
  impact: { takes: 'many', value: 'WORD', help: `${FLAGS.join(', ')}: it can only raise the tier; may be repeated` },
  exposure: {
    takes: 'text',
    value: 'SEGMENT:FROM-TO',
    help: 'who is exposed, and which shares of 100, such as eu-customers:0-10',
  },
  'exposure-rollback': { takes: 'text', value: 'TEXT', help: 'when that stage is taken back' },
  executor: { takes: 'text', value: 'PRINCIPAL', help: 'who alone may exchange; else you' },
  'executor-key': {
    takes: 'text',
    value: 'THUMBPRINT',
    help: 'with which key; else yours where the credential is bound to one',
  },
  replaces: { takes: 'text', value: 'ID', help: 'a grant of yours that is withdrawn when this one is filed' },
}

/** Which flag says it, for the members that people forget. */
const FLAG: Readonly<Record<string, string>> = {
  entitlement: 'ENTITLEMENT as the first word',
  actions: '--action',
  task: '--summary',
  'task.summary': '--summary',
  window: '--for, or --opens-at and --closes-at',
  ticket: '--ticket',
  plan: '--plan',
  'exposure.segment': '--exposure',
  'exposure.to': '--exposure',
}
const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (inner, step) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, step) : undefined),
    value,
  )

/** The body, or a usage error that names every member that is wrong. */
export function checked(asking: unknown): Asking {
  const result = askBody.safeParse(asking)
  if (result.success) return asking as Asking
  const wrong = result.error.issues.map(({ path, message }) => {
    const name = path.join('.')
    const isMissing = valueAt(asking, path) === undefined
    const flag = FLAG[name]
    return `  ${name || 'the asking'}: ${isMissing ? 'is missing' : message}${flag === undefined ? '' : ` (${flag})`}`
  })
  throw usage(`The asking is not valid:\n${wrong.join('\n')}`, 'See writ request --help; nothing was sent.')
}

/** The members of the file, with those of the flags in their place. */
export async function askingFrom({ given, machine }: Context): Promise<unknown> {
  const from = given.has('file') ? await readAsking(machine, given.text('file') ?? '') : {}
  const [entitlement] = given.words
  const lists = { actions: given.many('action'), scope: given.many('scope'), dataTypes: given.many('data-type') }
  const task = {
    id: given.text('task'),
    summary: given.text('summary'),
    objective: given.text('objective'),
    expectedOutcome: given.text('outcome'),
    rollback: given.text('rollback'),
  }
  return {
    ...from,
    ...there({
      entitlement,
      destination: given.text('destination'),
      changeClass: given.text('change-class'),
      replaces: given.text('replaces'),
    }),
    ...Object.fromEntries(Object.entries(lists).filter(([, items]) => items.length > 0)),
    ...member('task', { ...inside(from, 'task'), ...there(task) }),
    ...member('ticket', {
      ...inside(from, 'ticket'),
      ...ticketOf(given.text('ticket')),
      ...there({ url: given.text('ticket-url') }),
    }),
    ...member('plan', {
      ...inside(from, 'plan'),
      ...planOf(given.text('plan'), given.text('plan-type')),
      ...there({ uri: given.text('plan-url') }),
    }),
    ...member('credential', { ...inside(from, 'credential'), ...there({ uses: numberOf(given.text('uses')) }) }),
    ...member('executor', {
      ...inside(from, 'executor'),
      ...there({ principal: given.text('executor'), key: given.text('executor-key') }),
    }),
    ...member('exposure', {
      ...inside(from, 'exposure'),
      ...exposureOf(given.text('exposure')),
      ...there({ rollbackCriteria: given.text('exposure-rollback') }),
    }),
    ...member('impact', {
      ...inside(from, 'impact'),
      ...Object.fromEntries(given.many('impact').map((name) => [name, true])),
    }),
    ...windowOf(given.text('for'), given.text('opens-at'), given.text('closes-at')),
  }
}

const there = (members: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
const member = (name: string, value: Record<string, unknown>) =>
  Object.keys(value).length === 0 ? {} : { [name]: value }
const inside = (from: Readonly<Record<string, unknown>>, name: string): object => {
  const value = from[name]
  return typeof value === 'object' && value !== null ? value : {}
}
const numberOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text))

/** `servicenow:CHG0031337`. */
export function ticketOf(text: string | undefined): { readonly system: string; readonly id: string } | undefined {
  if (text === undefined) return undefined
  const at = text.indexOf(':')
  if (at < 1 || at === text.length - 1) throw usage('A ticket is SYSTEM:ID, such as servicenow:CHG0031337.')
  return { system: text.slice(0, at), id: text.slice(at + 1) }
}

/** `eu-customers:0-10`; the segment may hold colons. */
function exposureOf(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {}
  const [, segment, from, to] = /^(.+):(\d{1,3})-(\d{1,3})$/.exec(text) ?? []
  if (segment === undefined) throw usage('An exposure is SEGMENT:FROM-TO, such as eu-customers:0-10.')
  return { segment, from: Number(from), to: Number(to) }
}

const MEDIA: Readonly<Record<string, string>> = {
  '.json': 'application/json',
  '.yaml': 'application/yaml',
  '.yml': 'application/yaml',
  '.sql': 'application/sql',
  '.txt': 'text/plain',
}

export function planOf(
  file: string | undefined,
  mediaType: string | undefined,
): { readonly digest?: string; readonly mediaType?: string } {
  const type = mediaType ?? (file === undefined ? undefined : MEDIA[extname(file).toLowerCase()])
  return {
    ...(file === undefined ? {} : { digest: digestOfFile(file) }),
    ...(type === undefined ? {} : { mediaType: type }),
  }
}

/** SHA-256 of its bytes. */
export const digestOfFile = (file: string): string =>
  `sha-256:${createHash('sha256').update(readOr(file)).digest('base64url')}`

export function windowOf(
  long: string | undefined,
  opensAt: string | undefined,
  closesAt: string | undefined,
): { readonly window?: unknown } {
  if (long === undefined && opensAt === undefined && closesAt === undefined) return {}
  if (long !== undefined && closesAt !== undefined) throw usage('--for and --closes-at say the same; give one of them.')
  if (opensAt === undefined) {
    if (long === undefined) throw usage('--closes-at needs --opens-at; or say --for 30m, from now.')
    return { window: { duration: long } }
  }
  if (closesAt !== undefined) return { window: { opensAt, closesAt } }
  const opens = parseInstant(opensAt)
  const span = long === undefined ? undefined : parseDuration(long)
  if (opens === undefined) throw usage('--opens-at takes a time with a zone, such as 2026-03-01T22:00:00+01:00.')
  if (span === undefined) throw usage('--opens-at needs --for 1h or --closes-at TIME.')
  return { window: { opensAt, closesAt: formatInstant(after(opens, span)) } }
}

const Members = z.record(z.string(), z.unknown())

export async function readAsking(machine: Pick<Machine, 'input'>, file: string): Promise<Record<string, unknown>> {
  const text = file === '-' ? await machine.input() : readOr(file).toString('utf8')
  const { value, problems } = readConfig(text, file === '-' ? 'stdin' : file, Members)
  if (value === undefined) throw usage(`The asking cannot be read:\n${explainProblems(problems)}`, 'Nothing was sent.')
  return value
}

function readOr(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    throw usage(`${file} cannot be read.`)
  }
}
