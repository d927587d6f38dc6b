// The grants of `/v1`: from parsed bodies to verbs and back. No rule lives here: what may be asked, seen, decided or ended is the
// verbs' to say. Invariant: a secret is revealed in one line of this file, into an answer that is never stored.
import type { z } from 'zod'
import type { Asking, Ballot, Broker, Credential } from '../broker/broker.ts'
import type { Accepting, Closing } from '../broker/conditions.ts'
import type { Where } from '../broker/end-each.ts'
import { type Filters, ticketOf } from '../broker/list.ts'
import type { AcceptedRisk, Evidence } from '../domain/decision.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import {
  type AttemptId,
  type Digest,
  type GrantId,
  isDigest,
  isGrantId,
  named,
  type Thumbprint,
} from '../domain/ids.ts'
import { formatInstant, type Instant, parseDuration, parseInstant } from '../domain/instant.ts'
import { isTerminal } from '../domain/lifecycle.ts'
import type { Caller } from '../domain/principal.ts'
import { reveal } from '../domain/secret.ts'
import { type Answer, type Incoming, json } from './endpoint.ts'
import { eventStream, type Look, lastEventId, wantsEvents } from './event-stream.ts'
import {
  isScheduled,
  showBeside,
  showDryRun,
  showEntitlement,
  showEvent,
  showGrant,
  showMint,
  showQuestion,
  showUsesOf,
} from './show.ts'
import type { Waiters } from './wait.ts'
import type {
  AskBody,
  acceptanceBody,
  askQuery,
  closureBody,
  completeBody,
  completionsBody,
  decisionBody,
  endsAnswer,
  eventsQuery,
  exchangeAnswer,
  exchangeBody,
  listQuery,
  questionBody,
  questionsAnswer,
  reasonBody,
  revocationsBody,
  waitQuery,
  whoamiAnswer,
} from './wire.ts'

export interface GrantsPorts {
  readonly broker: Broker
  /** Never throws: an answer about something that was done must not be lost to the clock. Only for showing. */
  nowToShow(): Instant
  readonly waiters: Waiters
}

/** One authenticated call of a route, its input parsed. */
export interface Call<B, Q> {
  readonly caller: Caller
  readonly incoming: Incoming
  readonly body: B
  readonly query: Q
}

/** The id in the path. One that cannot be a grant's looks like any other that is not there. */
export function idOf(incoming: Incoming): GrantId {
  const { id } = incoming.params
  if (id === undefined || !isGrantId(id)) throw notFound()
  return id
}

const grantAnswer = (p: GrantsPorts, grant: Grant, status = 200): Answer =>
  json(status, showGrant(grant, p.nowToShow()), { ETag: `"${grant.ask.digest}"` })

/** 202 while the end is not confirmed: "done" is never said early. */
const endAnswer = (p: GrantsPorts, grant: Grant): Answer => {
  const open = grant.head.status === 'ending' || grant.head.status === 'stuck'
  return grantAnswer(p, grant, open ? 202 : 200)
}

export const file = async (
  p: GrantsPorts,
  { caller, incoming, body, query }: Call<AskBody, z.infer<typeof askQuery>>,
): Promise<Answer> => {
  const asking = askingOf(body)
  const key = idempotencyKey(incoming)
  if (query.dryRun === true) {
    return json(200, { grants: (await p.broker.explain(caller, asking)).map(showDryRun) })
  }
  const { grant, again } = await p.broker.request(caller, asking, key)
  const answer = grantAnswer(p, grant, 201)
  const replayed = again ? { 'Idempotency-Replayed': 'true' } : {}
  return { ...answer, headers: { ...answer.headers, Location: `/v1/grants/${grant.id}`, ...replayed } }
}

/** Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a quoted string; the bare one that many clients send is taken too. */
function idempotencyKey(incoming: Incoming): string | undefined {
  const sent = incoming.header('idempotency-key')
  if (sent.length === 0) return undefined
  const [, quoted, bare] =
    (sent.length === 1 && /^(?:"([\x20-\x7e]{8,128})"|([\x21-\x7e]{8,128}))$/.exec(sent[0] ?? '')) || []
  const key = quoted ?? bare
  if (key !== undefined && !key.includes('"') && !key.includes('\\')) return key
  throw new BrokerError(
    'invalid_request',
    'Idempotency-Key must be one quoted text of 8 to 128 printable characters.',
    {
      nextAction: 'Send a fresh UUID for each new asking, and the same one when you repeat it.',
      facts: { header: 'Idempotency-Key' },
    },
  )
}

const partOf = (part: AskBody['more'][number]) => ({
  entitlement: named.entitlement(part.entitlement),
  actions: part.actions,
  scope: part.scope,
  dataTypes: part.dataTypes,
  destination: part.destination,
  uses: part.credential.uses,
})

/** The asking in domain words. */
export function askingOf(body: AskBody): Asking {
  return {
    ...partOf(body),
    task: body.task.id,
    changeClass: body.changeClass,
    impact: body.impact,
    exposure: body.exposure,
    plan: body.plan && { digest: body.plan.digest as Digest, mediaType: body.plan.mediaType },
    ticket: body.ticket && { system: body.ticket.system, id: body.ticket.id },
    window: windowOf(body.window),
    executor: body.executor?.principal === undefined ? undefined : named.principal(body.executor.principal),
    executorKey: body.executor?.key as Thumbprint | undefined,
    texts: {
      summary: body.task.summary,
      objective: body.task.objective,
      expectedOutcome: body.task.expectedOutcome,
      rollback: body.task.rollback,
      ticketUrl: body.ticket?.url ?? '',
      planUri: body.plan?.uri ?? '',
    },
    replaces: body.replaces as GrantId | undefined,
    more: body.more.map(partOf),
  }
}

function windowOf(asked: AskBody['window']): Asking['window'] {
  if ('duration' in asked) {
    const long = parseDuration(asked.duration)
    if (long !== undefined) return { duration: long }
  } else {
    const opensAt = parseInstant(asked.opensAt)
    const closesAt = parseInstant(asked.closesAt)
    if (opensAt !== undefined && closesAt !== undefined) return { opensAt, closesAt }
  }
  throw new BrokerError('invalid_request', 'The window cannot be read.', { facts: { member: 'window' } })
}

export const list = async (
  p: GrantsPorts,
  { caller, query }: Call<unknown, z.infer<typeof listQuery>>,
): Promise<Answer> => {
  const { grants, next } = await p.broker.list(caller, filtersOf(query), { limit: query.limit, cursor: query.cursor })
  const now = p.nowToShow()
  const page = { grants: grants.map((grant) => showGrant(grant, now)) }
  return json(200, next === undefined ? page : { ...page, next })
}

function filtersOf(query: z.infer<typeof listQuery>): Filters {
  const { status, mine, waiting, tenant, entitlement, target, ticket, task, session } = query
  const [filedFrom, filedTo] = [query.filedFrom, query.filedTo].map((text) =>
    text === undefined ? undefined : parseInstant(text),
  )
  return {
    ...(status === undefined ? {} : { statuses: status }),
    ...(mine === undefined ? {} : { mine }),
    ...(waiting === undefined ? {} : { waiting }),
    ...(tenant === undefined ? {} : { tenant: named.tenant(tenant) }),
    ...(entitlement === undefined ? {} : { entitlement: named.entitlement(entitlement) }),
    ...(target === undefined ? {} : { target }),
    ...(ticket === undefined ? {} : { ticket: ticketOf(ticket) }),
    ...(task === undefined ? {} : { task }),
    ...(session === undefined ? {} : { session }),
    ...(filedFrom === undefined ? {} : { filedFrom }),
    ...(filedTo === undefined ? {} : { filedTo }),
  }
}

/** A grant now, or after it has moved: `?wait` (PROTOCOLS: a long poll that runs out answers `timed_out`, not an error). */
export const show = async (
  p: GrantsPorts,
  { caller, incoming, query }: Call<unknown, z.infer<typeof waitQuery>>,
): Promise<Answer> => {
  const id = idOf(incoming)
  const first = await p.broker.view(caller, id)
  const answerOf = async (grant: Grant, more: { readonly timed_out?: boolean } = {}): Promise<Answer> => {
    // Nothing can be known beside a grant of which nothing was ever made.
    const known = grant.head.mints.length === 0 ? {} : showBeside(await p.broker.beside(grant))
    return json(200, { ...showGrant(grant, p.nowToShow()), ...known, ...more }, { ETag: `"${grant.ask.digest}"` })
  }
  if (query.wait === undefined) return answerOf(first)
  const before = query.since ?? first.head.status
  const scheduled = isScheduled(first, p.nowToShow())
  const moved = (grant: Grant): boolean =>
    isTerminal(grant.head.status) ||
    grant.head.status !== before ||
    isScheduled(grant, p.nowToShow()) !== scheduled ||
    (query.for === undefined && grant.version !== first.version)
  const { seen, timedOut } = moved(first)
    ? { seen: first, timedOut: false }
    : await p.waiters.until(first, {
        who: caller.principal.id,
        forMs: query.wait * 1_000,
        look: () => p.broker.view(caller, id),
        moved,
        gone: incoming.gone(),
      })
  return answerOf(seen, { timed_out: timedOut })
}

/** What was reported of its credentials, beside what was decided and under which policy. */
export const uses = async (p: GrantsPorts, { caller, incoming }: Call<unknown, unknown>): Promise<Answer> => {
  const { grant, known } = await p.broker.uses(caller, idOf(incoming))
  return json(200, showUsesOf(grant, known))
}

export const decide = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof decisionBody>, unknown>,
): Promise<Answer> => {
  return grantAnswer(p, await p.broker.decide(caller, idOf(incoming), ballotOf(incoming, body)))
}

/** A vote in domain words. */
export function ballotOf(incoming: Incoming, body: z.infer<typeof decisionBody>): Ballot {
  return {
    verdict: body.verdict,
    reason: body.reason,
    digest: votedOn(incoming, body.digest),
    ...(body.as === undefined ? {} : { seat: body.as }),
    checklist: body.checklist,
    evidence: body.evidence.map(evidenceOf),
    conditions: body.conditions.map(({ text, owner, due }) => ({ text, owner: named.person(owner), due: timeOf(due) })),
    accepts: body.accepts.map(acceptedOf),
    again: idempotencyKey(incoming) !== undefined,
  }
}

const evidenceOf = (one: z.infer<typeof decisionBody>['evidence'][number]): Evidence =>
  one.kind === 'note' ? one : { ...one, digest: one.digest as Digest }
const acceptedOf = ({ risk, until }: { readonly risk: string; readonly until: string }): AcceptedRisk => ({
  risk,
  until: timeOf(until),
})

function timeOf(text: string): Instant {
  const at = parseInstant(text)
  if (at !== undefined) return at
  throw new BrokerError('invalid_request', 'A time cannot be read.', { facts: { member: 'until' } })
}

/** What is said after a vote. */
export const close = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof closureBody>, unknown>,
): Promise<Answer> => {
  return grantAnswer(p, await p.broker.closeCondition(caller, idOf(incoming), closureOf(body)))
}
export const closureOf = ({ condition, reason, evidence }: z.infer<typeof closureBody>): Closing => ({
  condition,
  reason,
  evidence: evidence.map(evidenceOf),
})

export const accept = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof acceptanceBody>, unknown>,
): Promise<Answer> => {
  return grantAnswer(p, await p.broker.acceptRisks(caller, idOf(incoming), acceptanceOf(body)))
}
export const acceptanceOf = ({ accepts, reason }: z.infer<typeof acceptanceBody>): Accepting => ({
  accepts: accepts.map(acceptedOf),
  reason,
})

export const retract = async (p: GrantsPorts, { caller, incoming, body }: Reasoned): Promise<Answer> =>
  endAnswer(p, await p.broker.retract(caller, idOf(incoming), body.reason))

/** The revision a vote names: in the body, as If-Match, or in both if they agree. */
function votedOn(incoming: Incoming, inBody: string | undefined): Digest | undefined {
  const sent = incoming.header('if-match')
  const inHeader = sent.length === 0 ? undefined : /^"([^"]+)"$/.exec(sent.length === 1 ? (sent[0] ?? '') : '')?.[1]
  if (sent.length > 0 && (inHeader === undefined || !isDigest(inHeader))) {
    throw new BrokerError('invalid_request', 'If-Match must be one revision, as the ETag of the grant shows it.', {
      facts: { header: 'If-Match' },
    })
  }
  if (inBody !== undefined && inHeader !== undefined && inBody !== inHeader) {
    throw new BrokerError('invalid_request', 'If-Match and digest name different revisions.', {
      facts: { header: 'If-Match' },
    })
  }
  return (inBody ?? inHeader) as Digest | undefined
}

type Reasoned = Call<z.infer<typeof reasonBody>, unknown>

export const withdraw = async (p: GrantsPorts, { caller, incoming, body }: Reasoned): Promise<Answer> =>
  grantAnswer(p, await p.broker.withdraw(caller, idOf(incoming), body.reason))

export const revoke = async (p: GrantsPorts, { caller, incoming, body }: Reasoned): Promise<Answer> =>
  endAnswer(p, await p.broker.revoke(caller, idOf(incoming), body.reason))

export const complete = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof completeBody>, unknown>,
): Promise<Answer> => endAnswer(p, await p.broker.complete(caller, idOf(incoming), body.result))

/** The one answer of `/v1` that holds a secret. */
export const exchange = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof exchangeBody>, unknown>,
): Promise<Answer> => {
  const { grant, mint, credential } = await p.broker.exchange(
    caller,
    idOf(incoming),
    body.attempt as AttemptId | undefined,
  )
  return json(200, { grant: showGrant(grant, p.nowToShow()), mint: showMint(mint), credential: revealed(credential) })
}

function revealed(credential: Credential): z.infer<typeof exchangeAnswer>['credential'] {
  const expiresAt = formatInstant(credential.expiresAt)
  if (credential.kind === 'vault') {
    return { kind: 'vault', secret: { ...reveal(credential.secret) }, leaseId: credential.leaseId, expiresAt }
  }
  const { tokenType, audience } = credential
  return { kind: 'jwt', token: reveal(credential.token), tokenType, expiresAt, audience }
}

/** Those after the last one that the client saw, if it says so; where it asks for a stream, until the grant is over. */
export const events = async (p: GrantsPorts, { caller, incoming }: Call<unknown, unknown>): Promise<Answer> => {
  const id = idOf(incoming)
  const seen = versionSeen(incoming)
  if (!wantsEvents(incoming)) {
    const found = (await p.broker.events(caller, id)).filter(({ version }) => version > Number(seen))
    return json(200, { events: found.map(showEvent) })
  }
  const look = async (after: string): Promise<Look> => {
    // The grant first: what is over adds no event any more.
    const { head, version } = await p.broker.view(caller, id)
    const found = (await p.broker.events(caller, id)).filter((event) => event.version > Number(after))
    const messages = found.map((event) => ({ id: String(event.version), event: event.type, data: showEvent(event) }))
    return {
      messages,
      next: messages.at(-1)?.id ?? after,
      over: isTerminal(head.status) && version <= Number(messages.at(-1)?.id ?? after),
    }
  }
  return eventStream(p.waiters, caller.principal.id, await look(seen), look)
}

function versionSeen(incoming: Incoming): string {
  const sent = lastEventId(incoming) ?? '0'
  if (/^\d{1,9}$/.test(sent)) return sent
  throw new BrokerError('invalid_request', 'Last-Event-ID must be the id of an event of this grant.', {
    facts: { header: 'Last-Event-ID' },
  })
}

/** What happened to all grants that the caller may see. A stream without a place begins now. */
export const feed = async (
  p: GrantsPorts,
  { caller, incoming, query }: Call<unknown, z.infer<typeof eventsQuery>>,
): Promise<Answer> => {
  const after = lastEventId(incoming) ?? query.after
  const look = async (from: string | undefined): Promise<Look & { readonly events: readonly unknown[] }> => {
    const { events, next } = await p.broker.feed(caller, from, query.limit)
    const shown = events.map((event) => ({ id: event.place, grant: event.grant, ...showEvent(event) }))
    const messages = shown.map((event) => ({ id: event.id, event: event.type, data: event }))
    return { messages, next, over: false, events: shown }
  }
  if (wantsEvents(incoming)) {
    const first = await look(after)
    return eventStream(p.waiters, caller.principal.id, first, look)
  }
  const { events, next } = await look(after)
  return json(200, { events, next })
}

const questionsAnswerOf = (questions: Awaited<ReturnType<Broker['questions']>>, status: number): Answer =>
  json(status, { questions: questions.map(showQuestion) } satisfies z.infer<typeof questionsAnswer>)

export const questions = async (p: GrantsPorts, { caller, incoming }: Call<unknown, unknown>): Promise<Answer> =>
  questionsAnswerOf(await p.broker.questions(caller, idOf(incoming)), 200)

type Saying = Call<z.infer<typeof questionBody>, unknown>

export const ask = async (p: GrantsPorts, { caller, incoming, body }: Saying): Promise<Answer> =>
  questionsAnswerOf(await p.broker.ask(caller, idOf(incoming), body.text), 201)

export const answer = async (p: GrantsPorts, { caller, incoming, body }: Saying): Promise<Answer> => {
  const { n = '' } = incoming.params
  if (!/^\d{1,6}$/.test(n)) throw notFound()
  return questionsAnswerOf(await p.broker.answer(caller, idOf(incoming), Number(n), body.text), 201)
}

/** 202 while an end is not confirmed; 200 also where some were refused, each with its code. */
const endsAnswerOf = (ended: Awaited<ReturnType<Broker['revokeEach']>>): Answer => {
  const confirmed = ended.every(({ status }) => isTerminal(status))
  const grants = ended.map(({ id, status, residueUntil, refused }) => ({
    ...{ id, status },
    ...(residueUntil === undefined ? {} : { residueUntil: formatInstant(residueUntil) }),
    ...(refused === undefined ? {} : { refused }),
  }))
  const waiting = ended.some(({ status, refused }) => refused === undefined && !isTerminal(status))
  return json(waiting ? 202 : 200, { grants, confirmed } satisfies z.infer<typeof endsAnswer>)
}

const whereOf = ({ task, session, ticket }: z.infer<typeof revocationsBody>['where']): Where => ({
  ...(task === undefined ? {} : { task }),
  ...(session === undefined ? {} : { session }),
  ...(ticket === undefined ? {} : { ticket }),
})

export const completions = async (
  p: GrantsPorts,
  { caller, body }: Call<z.infer<typeof completionsBody>, unknown>,
): Promise<Answer> => endsAnswerOf(await p.broker.completeEach(caller, whereOf(body.where), body.result))

export const revocations = async (
  p: GrantsPorts,
  { caller, body }: Call<z.infer<typeof revocationsBody>, unknown>,
): Promise<Answer> => endsAnswerOf(await p.broker.revokeEach(caller, whereOf(body.where), body.reason))

/** As the directory knows the caller: what a token claims of groups or tenants counts for nothing. */
export const whoami = async (_: GrantsPorts, { caller }: Call<unknown, unknown>): Promise<Answer> => {
  const { principal, session, key } = caller
  return json(200, {
    principal: principal.id,
    kind: principal.kind,
    tenant: principal.tenant,
    groups: [...principal.groups],
    sponsors: principal.kind === 'person' ? [] : [...principal.sponsors],
    session,
    ...(key === undefined ? {} : { key }),
  } satisfies z.infer<typeof whoamiAnswer>)
}

export const entitlements = async (p: GrantsPorts, { caller }: Call<unknown, unknown>): Promise<Answer> =>
  json(200, { entitlements: (await p.broker.offered(caller)).map(showEntitlement) })
