// The table of `/v1`: one row per route, with the schemas of what it takes and gives. Every row goes through the same steps in the
// same order: who calls, which grant, which query, which body, the verb. Invariant: no verb is called before all of them hold.
import { z } from 'zod'
import type { Action } from '../broker/broker.ts'
import { paid } from '../broker/budget.ts'
import type { Tried } from '../broker/operate.ts'
import type { Budget, Limits, Quota } from '../broker/ports.ts'
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { PrincipalId } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import { type Authentication, callerOf, challenged, nonceHeader } from './authenticate.ts'
import * as containments from './containments.ts'
import { type Answer, type Endpoint, type Incoming, json, NO_BODY } from './endpoint.ts'
import * as freezes from './freezes.ts'
import * as grants from './grants.ts'
import { parsePairs, single } from './pairs.ts'
import * as passkeys from './passkeys.ts'
import { problem } from './problem.ts'
import * as revocations from './revocations.ts'
import { type ServerAuthentication, serverOf } from './server-auth.ts'
import { showTried } from './show.ts'
import * as wire from './wire.ts'

/** What operators may do to the broker itself. The verb judges `Operate`; the record is what it did, without secrets. */
export interface Operations {
  recover(caller: Caller, reason: string): Promise<Readonly<Record<string, string | number | boolean>>>
  acceptClock(caller: Caller, reason: string): Promise<Readonly<Record<string, string | number | boolean>>>
  canaries(caller: Caller): Promise<readonly Tried[]>
}
export interface V1Ports extends revocations.RevocationsPorts, Authentication, ServerAuthentication {
  readonly operations: Operations
  readonly limits: Limits
  /** Strict JSON: duplicates refused, depth and size bounded. Throws `invalid_request`, and never quotes the text. */
  parseJson(text: string): unknown
}

interface Row<B, Q> {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly name: string
  /** By which guard everybody is judged whose grant it is not; `own` where there is nothing for others. The verb asks it. */
  readonly action: Action | 'own'
  /** Out of which budget of the caller it is paid; ends have one of their own. */
  readonly budget?: Budget
  readonly query?: z.ZodType<Q>
  readonly body?: z.ZodType<B>
  readonly answers: z.ZodType
  run(p: V1Ports, call: grants.Call<B, Q>): Promise<Answer>
}
/** A row for resource servers: nobody else is let in, and no guard is asked. What they see are the grants for their own audiences. */
type ServerRow<B, Q> = Omit<Row<B, Q>, 'action' | 'budget' | 'run'> & {
  run(p: V1Ports, call: revocations.ServerCall<B, Q>): Promise<Answer>
}
/** A row with its types forgotten, as tables hold it. */
export interface Route extends Pick<Row<unknown, unknown>, 'method' | 'path' | 'name' | 'query' | 'body' | 'answers'> {
  readonly action: Action | 'own' | 'server'
  endpoint(p: V1Ports): Endpoint
}

const BODY_LIMIT = 65_536

export const ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/grants',
    name: 'request',
    action: 'Request',
    query: wire.askQuery,
    body: wire.askBody,
    answers: z.union([wire.grantAnswer, wire.dryRunAnswer]),
    run: grants.file,
  }),
  route({
    method: 'GET',
    path: '/v1/grants',
    name: 'list',
    action: 'ReadGrant',
    query: wire.listQuery,
    answers: wire.listAnswer,
    run: grants.list,
  }),
  route({
    method: 'GET',
    path: '/v1/grants/:id',
    name: 'view',
    action: 'ReadGrant',
    query: wire.waitQuery,
    answers: wire.waitAnswer,
    run: grants.show,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/decisions',
    name: 'decide',
    action: 'Approve',
    body: wire.decisionBody,
    answers: wire.grantAnswer,
    run: grants.decide,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/ceremonies',
    name: 'begin_step_up',
    action: 'Approve',
    body: wire.stepUpBody,
    answers: wire.stepUpAnswer,
    run: passkeys.beginStepUp,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/closures',
    name: 'close',
    action: 'Approve',
    body: wire.closureBody,
    answers: wire.grantAnswer,
    run: grants.close,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/acceptances',
    name: 'accept',
    action: 'Approve',
    body: wire.acceptanceBody,
    answers: wire.grantAnswer,
    run: grants.accept,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/retractions',
    name: 'retract',
    action: 'own',
    budget: 'ends',
    body: wire.reasonBody,
    answers: wire.grantAnswer,
    run: grants.retract,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/withdraw',
    name: 'withdraw',
    action: 'own',
    budget: 'ends',
    body: wire.reasonBody,
    answers: wire.grantAnswer,
    run: grants.withdraw,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/exchange',
    name: 'exchange',
    action: 'Exchange',
    body: wire.exchangeBody,
    answers: wire.exchangeAnswer,
    run: grants.exchange,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/complete',
    name: 'complete',
    action: 'Complete',
    budget: 'ends',
    body: wire.completeBody,
    answers: wire.grantAnswer,
    run: grants.complete,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/revoke',
    name: 'revoke',
    action: 'Revoke',
    budget: 'ends',
    body: wire.reasonBody,
    answers: wire.grantAnswer,
    run: grants.revoke,
  }),
  route({
    method: 'GET',
    path: '/v1/grants/:id/events',
    name: 'events',
    action: 'ReadGrant',
    answers: wire.eventsAnswer,
    run: grants.events,
  }),
  route({
    method: 'GET',
    path: '/v1/grants/:id/questions',
    name: 'questions',
    action: 'ReadGrant',
    answers: wire.questionsAnswer,
    run: grants.questions,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/questions',
    name: 'ask',
    action: 'Approve',
    body: wire.questionBody,
    answers: wire.questionsAnswer,
    run: grants.ask,
  }),
  route({
    method: 'POST',
    path: '/v1/grants/:id/questions/:n/answer',
    name: 'answer',
    action: 'own',
    body: wire.questionBody,
    answers: wire.questionsAnswer,
    run: grants.answer,
  }),
  route({
    method: 'GET',
    path: '/v1/events',
    name: 'feed',
    action: 'ReadGrant',
    query: wire.eventsQuery,
    answers: wire.feedAnswer,
    run: grants.feed,
  }),
  route({
    method: 'POST',
    path: '/v1/completions',
    name: 'complete_each',
    action: 'Complete',
    budget: 'ends',
    body: wire.completionsBody,
    answers: wire.endsAnswer,
    run: grants.completions,
  }),
  route({
    method: 'POST',
    path: '/v1/revocations',
    name: 'revoke_each',
    action: 'Revoke',
    budget: 'ends',
    body: wire.revocationsBody,
    answers: wire.endsAnswer,
    run: grants.revocations,
  }),
  serverRoute({
    method: 'GET',
    path: '/v1/revocations',
    name: 'revocations',
    query: wire.revocationsQuery,
    answers: wire.revocationsAnswer,
    run: revocations.revocations,
  }),
  serverRoute({
    method: 'POST',
    path: '/v1/revocations/acks',
    name: 'acknowledge',
    body: wire.acksBody,
    answers: wire.emptyAnswer,
    run: revocations.acknowledge,
  }),
  serverRoute({
    method: 'POST',
    path: '/v1/grants/:id/uses',
    name: 'report_uses',
    body: wire.usesBody,
    answers: wire.reportedAnswer,
    run: revocations.reportUses,
  }),
  route({
    method: 'GET',
    path: '/v1/grants/:id/uses',
    name: 'uses',
    action: 'ReadGrant',
    answers: wire.usesAnswer,
    run: grants.uses,
  }),
  route({
    method: 'POST',
    path: '/v1/freezes',
    name: 'freeze',
    action: 'Freeze',
    budget: 'ends',
    body: wire.freezeBody,
    answers: wire.freezeAnswer,
    run: freezes.freeze,
  }),
  route({
    method: 'GET',
    path: '/v1/freezes',
    name: 'freezes',
    action: 'ReadAudit',
    budget: 'ends',
    answers: wire.freezesAnswer,
    run: freezes.list,
  }),
  route({
    method: 'POST',
    path: '/v1/freezes/:freeze/lift',
    name: 'lift_freeze',
    action: 'Freeze',
    budget: 'ends',
    body: wire.reasonBody,
    answers: wire.freezeAnswer,
    run: freezes.lift,
  }),
  route({
    method: 'POST',
    path: '/v1/containments',
    name: 'contain',
    action: 'Freeze',
    budget: 'ends',
    query: wire.containQuery,
    body: wire.containmentBody,
    answers: z.union([wire.containmentAnswer, wire.countedAnswer]),
    run: containments.contain,
  }),
  route({
    method: 'GET',
    path: '/v1/containments/:freeze',
    name: 'containment',
    action: 'ReadAudit',
    budget: 'ends',
    answers: wire.containmentAnswer,
    run: containments.show,
  }),
  route({
    method: 'GET',
    path: '/v1/containments/:freeze/grants',
    name: 'contained',
    action: 'ReadAudit',
    budget: 'ends',
    query: wire.containedQuery,
    answers: wire.containedAnswer,
    run: containments.contained,
  }),
  route({
    method: 'GET',
    path: '/v1/whoami',
    name: 'whoami',
    action: 'own',
    answers: wire.whoamiAnswer,
    run: grants.whoami,
  }),
  route({
    method: 'GET',
    path: '/v1/passkeys',
    name: 'passkeys',
    action: 'own',
    answers: wire.passkeysAnswer,
    run: passkeys.list,
  }),
  route({
    method: 'POST',
    path: '/v1/passkeys/ceremonies',
    name: 'add_passkey',
    action: 'own',
    body: wire.passkeyBody,
    answers: wire.begunAnswer,
    run: passkeys.add,
  }),
  route({
    method: 'POST',
    path: '/v1/passkeys/:passkey/remove',
    name: 'remove_passkey',
    action: 'own',
    body: wire.noBody,
    answers: wire.begunAnswer,
    run: passkeys.remove,
  }),
  route({
    method: 'GET',
    path: '/v1/entitlements',
    name: 'offered',
    action: 'Request',
    answers: wire.entitlementsAnswer,
    run: grants.entitlements,
  }),
  route({
    method: 'POST',
    path: '/v1/operations/recover',
    name: 'recover',
    action: 'Operate',
    body: wire.reasonBody,
    answers: wire.operationAnswer,
    run: async (p, { caller, body }) => json(200, await p.operations.recover(caller, body.reason)),
  }),
  route({
    method: 'POST',
    path: '/v1/operations/accept-clock',
    name: 'accept_clock',
    action: 'Operate',
    body: wire.reasonBody,
    answers: wire.operationAnswer,
    run: async (p, { caller, body }) => json(200, await p.operations.acceptClock(caller, body.reason)),
  }),
  route({
    method: 'GET',
    path: '/v1/operations/canaries',
    name: 'canaries',
    action: 'Operate',
    answers: wire.canariesAnswer,
    run: async (p, { caller }) =>
      json(200, {
        canaries: (await p.operations.canaries(caller)).map(showTried),
      } satisfies z.infer<typeof wire.canariesAnswer>),
  }),
]

function route<B, Q>(row: Row<B, Q>): Route {
  // A body whose every member has a default may be left out altogether.
  const maybe = row.body?.safeParse({}).success === true
  return {
    ...row,
    endpoint: (p) => ({
      method: row.method,
      path: row.path,
      name: row.name,
      takes: row.body === undefined ? NO_BODY : { media: 'application/json', limitBytes: BODY_LIMIT, maybe },
      answer: async (incoming) => {
        const caller = await callerOf(p, incoming)
        const quota = await paid(p.limits, caller.principal.id, row.budget ?? 'requests')
        if (row.path.includes(':id')) grants.idOf(incoming)
        const query = queryOf(row.query, incoming)
        const body = await bodyOf(p, row.body, incoming)
        const answer = await row.run(p, { caller, incoming, body, query })
        return withNonce(p, incoming, { ...answer, headers: { ...answer.headers, ...rateHeaders(quota) } })
      },
      refuse: (thrown, requestId) => challenged(p, thrown, problem(thrown, requestId)),
    }),
  }
}

function serverRoute<B, Q>(row: ServerRow<B, Q>): Route {
  return {
    ...row,
    action: 'server',
    endpoint: (p) => ({
      method: row.method,
      path: row.path,
      name: row.name,
      takes: row.body === undefined ? NO_BODY : { media: 'application/json', limitBytes: BODY_LIMIT },
      answer: async (incoming) => {
        const server = await serverOf(p, incoming)
        // By a name that nobody in the directory can have.
        const quota = await paid(p.limits, `server:${server}` as PrincipalId, 'requests')
        if (row.path.includes(':id')) grants.idOf(incoming)
        const query = queryOf(row.query, incoming)
        const body = await bodyOf(p, row.body, incoming)
        const answer = await row.run(p, { server, incoming, body, query })
        return { ...answer, headers: { ...answer.headers, ...rateHeaders(quota) } }
      },
      refuse: (thrown, requestId) => {
        const answer = problem(thrown, requestId)
        if (!isBrokerError(thrown, 'unauthenticated')) return answer
        const challenge = thrown.facts.anonymous === true ? 'Bearer' : 'Bearer error="invalid_token"'
        return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': challenge } }
      },
    }),
  }
}

const queryOf = <Q>(schema: z.ZodType<Q> | undefined, incoming: Incoming): Q =>
  parsed(schema ?? (wire.noQuery as unknown as z.ZodType<Q>), single(parsePairs(incoming.query)), 'query')

async function bodyOf<B>(p: V1Ports, schema: z.ZodType<B> | undefined, incoming: Incoming): Promise<B> {
  const text = await incoming.text()
  if (schema === undefined) return undefined as B
  if (text === '') return parsed(schema, {}, 'body')
  return parsed(schema, p.parseJson(text), 'body')
}

/** Names of unknown members are the caller's text: nothing of it may steer the terminal or the page in which an answer is read. */
const plain = (text: string): string => text.slice(0, 200).replace(/[^\x20-\x7e]|[<>&]/g, '?')

/** The value as the schema gives it. Throws `invalid_request` with up to ten members and what is wrong with each. */
function parsed<T>(schema: z.ZodType<T>, value: unknown, what: 'body' | 'query'): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.slice(0, 10).map((issue) => ({
    member: plain(issue.path.join('.')),
    problem: plain(issue.message),
  }))
  throw new BrokerError('invalid_request', `The ${what} is not what this route takes.`, {
    nextAction: 'Correct the members that are named here.',
    facts: { issues },
  })
}

/** `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-08); `t` is when the budget is whole again. */
const rateHeaders = ({ budget, most, perMs, left }: Quota): Readonly<Record<string, string>> => ({
  'RateLimit-Policy': `"${budget}";q=${most};w=${Math.ceil(perMs / 1_000)}`,
  RateLimit: `"${budget}";r=${left};t=${Math.ceil(((most - left) * perMs) / most / 1_000)}`,
})

/** A fresh nonce on every answer to a request that carried a proof (RFC 9449 §8.2). */
const withNonce = (p: V1Ports, incoming: Incoming, answer: Answer): Answer =>
  incoming.header('dpop').length === 0 ? answer : { ...answer, headers: { ...answer.headers, ...nonceHeader(p) } }
