// The grants of `/v1`: from parsed bodies to verbs and back. No rule lives here: what may be asked, seen, decided or ended is the
// verbs' to say. Invariant: a secret is revealed in one line of this file, into an answer that is never stored.
import type { z } from 'zod'
import type { Broker, Credential } from '../broker/broker.ts'
import type { Asking } from '../broker/request.ts'
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
import { after, formatInstant, type Instant, parseDuration, parseInstant } from '../domain/instant.ts'
import { isTerminal } from '../domain/lifecycle.ts'
import type { Caller } from '../domain/principal.ts'
import { reveal } from '../domain/secret.ts'
import type { Window } from '../domain/window.ts'
import { type Answer, type Incoming, json } from './endpoint.ts'
import { isScheduled, showEntitlement, showEvent, showGrant, showMint } from './show.ts'
import type { Waiters } from './wait.ts'
import type {
  AskBody,
  completeBody,
  decisionBody,
  exchangeAnswer,
  exchangeBody,
  listQuery,
  reasonBody,
  waitQuery,
} from './wire.ts'

export interface GrantsPorts {
  readonly broker: Broker
  /** Redis’s time as sampled; throws `clock_untrusted`. Only for windows that open now. */
  now(): Instant
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

export const file = async (p: GrantsPorts, call: Call<AskBody, unknown>): Promise<Answer> => {
  const grant = await p.broker.request(call.caller, askingOf(call.body, p.now))
  const answer = grantAnswer(p, grant, 201)
  return { ...answer, headers: { ...answer.headers, Location: `/v1/grants/${grant.id}` } }
}

/** The asking in domain words. */
export function askingOf(body: AskBody, now: () => Instant): Asking {
  return {
    entitlement: named.entitlement(body.entitlement),
    actions: body.actions,
    scope: body.scope,
    dataTypes: body.dataTypes,
    destination: body.destination,
    task: body.task.id,
    changeClass: body.changeClass,
    impact: body.impact,
    plan: body.plan && { digest: body.plan.digest as Digest, mediaType: body.plan.mediaType },
    ticket: body.ticket && { system: body.ticket.system, id: body.ticket.id },
    window: windowOf(body.window, now),
    uses: body.credential.uses,
    executor: body.executor?.principal === undefined ? undefined : named.principal(body.executor.principal),
    executorKey: body.executor?.key as Thumbprint | undefined,
    texts: {
      summary: body.task.summary,
      expectedOutcome: body.task.expectedOutcome,
      rollback: body.task.rollback,
      ticketUrl: body.ticket?.url ?? '',
      planUri: body.plan?.uri ?? '',
    },
  }
}

function windowOf(asked: AskBody['window'], now: () => Instant): Window {
  if ('duration' in asked) {
    const opensAt = now()
    const long = parseDuration(asked.duration)
    if (long !== undefined) return { opensAt, closesAt: after(opensAt, long) }
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
  const { grants, next } = await p.broker.list(caller, { limit: query.limit, cursor: query.cursor })
  const now = p.nowToShow()
  const page = { grants: grants.map((grant) => showGrant(grant, now)) }
  return json(200, next === undefined ? page : { ...page, next })
}

/** A grant now, or after it has moved: `?wait` (PROTOCOLS: a long poll that runs out answers `timed_out`, not an error). */
export const show = async (
  p: GrantsPorts,
  { caller, incoming, query }: Call<unknown, z.infer<typeof waitQuery>>,
): Promise<Answer> => {
  const id = idOf(incoming)
  const first = await p.broker.view(caller, id)
  if (query.wait === undefined) return grantAnswer(p, first)
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
  const answer = json(200, { ...showGrant(seen, p.nowToShow()), timed_out: timedOut }, { ETag: `"${seen.ask.digest}"` })
  return answer
}

export const decide = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof decisionBody>, unknown>,
): Promise<Answer> => {
  const id = idOf(incoming)
  const digest = votedOn(incoming, body.digest)
  return grantAnswer(p, await p.broker.decide(caller, id, { verdict: body.verdict, reason: body.reason, digest }))
}

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

export const events = async (p: GrantsPorts, { caller, incoming }: Call<unknown, unknown>): Promise<Answer> =>
  json(200, { events: (await p.broker.events(caller, idOf(incoming))).map(showEvent) })

export const entitlements = async (p: GrantsPorts, { caller }: Call<unknown, unknown>): Promise<Answer> =>
  json(200, { entitlements: (await p.broker.offered(caller)).map(showEntitlement) })
