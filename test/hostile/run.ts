// Sends what the plan says and judges every answer. In blocks: what must be refused, or only reads, goes out over many connections at once, and
// between before and after not one key may have changed. What might be taken by right (an emoji in a summary, by who may ask) goes out one by one:
// where it is refused there was no commit; where it is taken its document allows it, its answer shows it as it was sent, and what it was tried on is
// made anew, so that the next request is again one that would be let through with a good value.

import { setTimeout as pause } from 'node:timers/promises'
import type { WholeRequest } from './bad-values.ts'
import { nameOf } from './fields.ts'
import { callsActive, type Found, KINDS, type Kind, oracle, refusals, shows, slowMs } from './oracle.ts'
import { type Case, type Plan, planOf, samplesFor } from './plan.ts'
import { type Got, type RawClient, rawClient } from './raw-client.ts'
import { alsoWrong, asCurl, requestOf } from './requests.ts'
import { isForm, isReading, rowOf } from './samples.ts'
import { changedFrom, type State, type Target } from './target.ts'

export interface HostileOptions {
  readonly requests: number
  readonly seed: number
  /** How many requests are on their way at once. */
  readonly width?: number
  /** Only these operations. */
  readonly only?: (operation: string) => boolean
  readonly progress?: (line: string) => void
  /** Asked before each block: the report is then of what was sent until then. */
  readonly isOver?: () => boolean
}
export interface Finding extends Found {
  /** Which request it was, in words. */
  readonly request: string
  /** To be sent again. */
  readonly curl: string
}
export interface HostileReport {
  readonly requests: number
  readonly byStatus: Readonly<Record<string, number>>
  readonly byRoute: Readonly<Record<string, number>>
  readonly byRole: Readonly<Record<string, number>>
  readonly badValues: number
  readonly fields: number
  /** Every field with every bad value; by every role; how many of these were sent. */
  readonly combinations: number
  readonly product: number
  readonly covered: number
  /** How often something was sent again, because it was late, or unavailable for now. */
  readonly again: { readonly late: number; readonly unavailable: number }
  /** Of what might be taken by right what was, and what of that was committed. */
  readonly accepted: { readonly all: number; readonly moving: number }
  readonly fiveHundreds: number
  readonly stateChanges: number
  readonly schemaViolations: number
  readonly leaks: number
  readonly found: Readonly<Record<Kind, number>>
  readonly findings: readonly Finding[]
  readonly slowest: { readonly ms: number; readonly request: string }
  readonly seconds: number
  readonly perSecond: number
  readonly seed: number
}

interface Prepared {
  readonly one: Case
  readonly request: WholeRequest
  readonly secrets: readonly string[]
  /** Whether the document says that it cannot be taken. */
  readonly isRefused: boolean
}

/** What a broker says of a Redis that is late. */
const LATE = /store_unavailable|The store did not answer as it should/
const BLOCK = 1_000
const KEPT = 20

export async function hostileRun(target: Target, options: HostileOptions): Promise<HostileReport> {
  const plan = planOf(target.document, options.seed, options.only)
  const width = options.width ?? 8
  const clients = Array.from({ length: width }, () => rawClient(target.port))
  const book = bookOf(target.url, options.progress ?? (() => undefined))
  const judge = oracle(target.document)
  const isRefusal = refusals(target.document)
  const started = performance.now()
  try {
    for (let from = 0; from < options.requests && options.isOver?.() !== true; from += BLOCK) {
      await target.refresh()
      const cases = Array.from({ length: Math.min(BLOCK, options.requests - from) }, (_, n) => plan.at(from + n))
      await block({ target, clients, book, judge, isRefusal }, cases, from)
      const seconds = (performance.now() - started) / 1_000
      const sent = from + cases.length
      options.progress?.(
        `${sent} of ${options.requests}, ${Math.round(sent / seconds)} a second, ${book.findings()} findings`,
      )
    }
  } finally {
    for (const client of clients) client.close()
  }
  return book.report(plan, options, (performance.now() - started) / 1_000)
}

interface Tools {
  readonly target: Target
  readonly clients: readonly RawClient[]
  readonly book: Book
  readonly judge: ReturnType<typeof oracle>
  readonly isRefusal: ReturnType<typeof refusals>
}

async function block(tools: Tools, cases: readonly Case[], from: number): Promise<void> {
  const { target, book } = tools
  // What it is tried on is made before anything is counted, and what will be needed when that is spoiled too.
  for (const { operation } of cases) await target.seed(operation.id)
  const prepared: Prepared[] = []
  const open: (readonly [Case, number])[] = []
  for (const [n, one] of cases.entries()) {
    const made = await prepare(tools, one, from + n)
    if (isReading(one.operation) || made.isRefused || !mayTake(one)) prepared.push(made)
    else open.push([one, from + n])
  }
  await target.ahead(open.map(([{ operation }]) => operation.id))
  const before = await settled(target)
  await atOnce(tools, prepared)
  const changed = changedFrom(before, await target.state())
  if (changed.length > 0) await blame(tools, prepared, changed)
  for (const [one, n] of open) await oneByOne(tools, await prepare(tools, one, n))
  // What is unavailable for now was sent again, and is found where it stays so.
  for (const line of target.failures().filter((text) => !LATE.test(text)))
    book.found({ kind: 'failure', what: `the broker took this for its own: ${line.slice(0, 500)}` })
}

/** What was taken may be worked on behind its answer: a containment looks through what lives. */
async function settled(target: Target): Promise<State> {
  let last = await target.state()
  for (let tries = 0; tries < 200; tries += 1) {
    const next = await target.state()
    if (changedFrom(last, next).length === 0 && tries > 0) return next
    last = next
    await pause(10)
  }
  throw new Error('the store does not come to rest')
}

const mayTake = ({ operation, role, sample }: Case): boolean =>
  rowOf(operation.id).may.includes(role) || samplesFor(operation.id)[sample]?.by === role

async function prepare({ target, isRefusal }: Tools, one: Case, n: number): Promise<Prepared> {
  const { operation, field, bad, role, also } = one
  const seed = await target.seed(operation.id)
  const named = isForm(operation)
  const subject = named ? target.subject(role) : ''
  const assertion = named && role === 'resource server' ? target.assertion() : subject
  // Of the whole process no two requests have a number in common, so that each asking is another one.
  const making = { seed, n: n + 1, now: target.now(), subject, assertion }
  const sample = rowOf(operation.id).samples(making)[one.sample]
  if (sample === undefined) throw new Error(`no sample ${one.sample} of ${operation.id}`)
  const authorization = named ? undefined : target.authorization(role)
  const first = requestOf(operation, sample, authorization, { field, bad, material: target.oauth })
  const request = also === undefined ? first : alsoWrong(operation, first, also.field, also.bad)
  return {
    one,
    request,
    secrets: [subject, assertion, authorization?.split(' ')[1] ?? ''],
    isRefused: request === first ? isRefusal(operation, field, bad, request) : refusedBoth(isRefusal, one, request),
  }
}

/** The second thing may undo the first: where it is done to the whole, or writes a body anew that said a member twice. */
function refusedBoth(
  isRefusal: Tools['isRefusal'],
  { operation, field, bad, also }: Case,
  request: WholeRequest,
): boolean {
  if (also === undefined || also.field.place !== 'body') return false
  const first = field.place !== 'body' && isRefusal(operation, field, bad, request)
  return first || isRefusal(operation, also.field, also.bad, request)
}

/**
 * What is late or unavailable once is sent again, as its answer asks: on a machine that others use a Redis may be late. What a request does of
 * itself it does each time.
 */
async function patiently(book: Book, client: RawClient, request: WholeRequest): Promise<Got> {
  for (let tries = 1; ; tries += 1) {
    const got = await client.send(request)
    const isLate = got.ms > slowMs() && !request.target.includes('wait=')
    const isUnavailable = got.status === 503 && got.headers['retry-after'] !== undefined
    if ((!isLate && !isUnavailable) || tries === 4) return got
    book.again(isUnavailable)
    await pause(300)
  }
}

async function send({ book, judge }: Tools, client: RawClient, made: Prepared): Promise<Got | undefined> {
  const { one, request, secrets } = made
  try {
    const got = await patiently(book, client, request)
    book.sent(made, got)
    for (const found of judge({ operation: one.operation, request, secrets }, got)) book.found(found, made)
    for (const found of callsActive(one.field, got)) book.found(found, made)
    const isTaken = got.status < 300
    if (isTaken && made.isRefused)
      book.found({ kind: 'takenAgainstSchema', what: `${got.status} for what the document refuses` }, made)
    return got
  } catch (thrown) {
    book.found({ kind: 'noAnswer', what: String(thrown) }, made)
    return undefined
  }
}

async function atOnce(tools: Tools, all: readonly Prepared[]): Promise<void> {
  let next = 0
  const work = async (client: RawClient): Promise<void> => {
    for (let made = all[next++]; made !== undefined; made = all[next++]) {
      const got = await send(tools, client, made)
      const { operation, role } = made.one
      if (got === undefined || got.status >= 300 || isReading(operation) || mayTake(made.one)) continue
      tools.book.found({ kind: 'takenFromNobody', what: `${got.status} for ${role}, who may not` }, made)
      tools.target.spoiled(operation.id)
    }
  }
  await Promise.all(tools.clients.map(work))
}

/** Sends them again one by one, to find whose it was. */
async function blame(tools: Tools, all: readonly Prepared[], changed: readonly string[]): Promise<void> {
  const what = `changed by what was refused: ${changed.slice(0, 5).join(', ')}`
  if (!tools.book.mayBlame()) return tools.book.found({ kind: 'stateChange', what })
  const [client] = tools.clients
  let before = await tools.target.state()
  for (const { one } of all) {
    const made = await prepare(tools, one, 0)
    const between = await tools.target.state()
    await client?.send(made.request).catch(() => undefined)
    before = await tools.target.state()
    const found = changedFrom(between, before)
    if (found.length > 0)
      return tools.book.found({ kind: 'stateChange', what: `it changed ${found.slice(0, 5).join(', ')}` }, made)
  }
  tools.book.found({ kind: 'stateChange', what: `${what}; not again when sent one by one` })
}

async function oneByOne(tools: Tools, made: Prepared): Promise<void> {
  const { target, clients, book } = tools
  const { operation, field, bad, also } = made.one
  const [client] = clients
  if (client === undefined) return
  const before = await target.commits()
  const got = await send(tools, client, made)
  if (got === undefined) return
  const isMoved = (await target.commits()) !== before
  if (got.status >= 300) {
    if (isMoved) book.found({ kind: 'stateChange', what: `${got.status}, and yet something was committed` }, made)
    return
  }
  book.accepted(isMoved)
  if (also === undefined) for (const found of shows(operation, field, bad, got)) book.found(found, made)
  target.spoiled(operation.id)
}

type Book = ReturnType<typeof bookOf>
function bookOf(url: string, say: (line: string) => void) {
  const counts = {
    status: new Map<string, number>(),
    route: new Map<string, number>(),
    role: new Map<string, number>(),
  }
  const found = new Map<Kind, number>()
  const kept: Finding[] = []
  let [requests, accepted, moving, blamed] = [0, 0, 0, 0]
  let [late, unavailable] = [0, 0]
  let slowest = { ms: 0, request: '' }
  const covered = new Set<string>()
  const more = (map: Map<string, number>, key: string): unknown => map.set(key, (map.get(key) ?? 0) + 1)
  const named = ({ one: { field, bad, role, also } }: Prepared): string =>
    `${role}: ${nameOf(field)}: ${bad.name}${also === undefined ? '' : ` and ${nameOf(also.field)}: ${also.bad.name}`}`
  return {
    sent: (made: Prepared, got: Got): void => {
      requests += 1
      more(counts.status, String(got.status))
      more(counts.route, made.one.operation.id)
      more(counts.role, made.one.role)
      if (made.one.also === undefined) covered.add(`${made.one.role} ${nameOf(made.one.field)} ${made.one.bad.name}`)
      if (got.ms > slowest.ms) slowest = { ms: Math.round(got.ms), request: named(made) }
    },
    found: (one: Found, made?: Prepared): void => {
      found.set(one.kind, (found.get(one.kind) ?? 0) + 1)
      if (kept.length >= KEPT) return
      const request = made === undefined ? '' : named(made)
      const finding = { ...one, request, curl: made === undefined ? '' : asCurl(url, made.request) }
      kept.push(finding)
      say(`${one.kind}: ${one.what}\n  ${request}\n  ${finding.curl}`)
    },
    again: (isUnavailable: boolean): void => {
      if (isUnavailable) unavailable += 1
      else late += 1
    },
    accepted: (isMoved: boolean): void => {
      accepted += 1
      if (isMoved) moving += 1
    },
    /** A few times only: each costs a reading of the whole store for each request. */
    mayBlame: (): boolean => ++blamed <= 3,
    findings: (): number => [...found.values()].reduce((sum, n) => sum + n, 0),
    report: (plan: Plan, { seed }: HostileOptions, seconds: number): HostileReport => {
      const many = (kind: Kind): number => found.get(kind) ?? 0
      return {
        requests,
        byStatus: sorted(counts.status),
        byRoute: sorted(counts.route),
        byRole: sorted(counts.role),
        badValues: plan.values,
        fields: plan.fields,
        combinations: plan.combinations.length,
        product: plan.product,
        covered: covered.size,
        again: { late, unavailable },
        accepted: { all: accepted, moving },
        fiveHundreds: many('fiveHundred'),
        stateChanges: many('stateChange'),
        schemaViolations: many('schemaViolation') + many('takenAgainstSchema'),
        leaks: many('leak'),
        found: countsOf(many),
        findings: kept,
        slowest,
        seconds: Math.round(seconds),
        perSecond: Math.round(requests / seconds),
        seed,
      }
    },
  }
}
const countsOf = (many: (kind: Kind) => number): Readonly<Record<Kind, number>> => ({
  ...{ fiveHundred: many('fiveHundred'), stateChange: many('stateChange'), schemaViolation: many('schemaViolation') },
  ...{ leak: many('leak'), slow: many('slow'), takenAgainstSchema: many('takenAgainstSchema') },
  ...{ takenFromNobody: many('takenFromNobody'), notAsSent: many('notAsSent') },
  ...{ noAnswer: many('noAnswer'), failure: many('failure') },
})
const sorted = (counts: ReadonlyMap<string, number>): Readonly<Record<string, number>> =>
  Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)))

export const clean = (report: HostileReport): boolean => KINDS.every((kind) => report.found[kind] === 0)
