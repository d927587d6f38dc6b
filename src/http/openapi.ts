// The OpenAPI 3.1 document of this broker, made from the table of routes, its schemas and the closed map of refusals. Invariant: a route that is
// in the table is in the document, with every status that it can answer; what is by hand here is words, never shapes.
import { z } from 'zod'
import type { ErrorCode } from '../domain/errors.ts'
import { PATTERNS } from '../domain/ids.ts'
import { DOOR_REFUSALS, type Endpoint, json, NO_BODY } from './endpoint.ts'
import { ABOUT, type About, type Given } from './openapi-about.ts'
import { headersOf, PATHS_BESIDE, SCHEMAS_BESIDE } from './openapi-beside.ts'
import { problem, STATUS } from './problem.ts'
import { ROUTES, type Route } from './routes.ts'
import * as wire from './wire.ts'

/** Names of schemas in the document. One that is not here is named for its route. */
const TAKEN: readonly (readonly [string, z.ZodType])[] = [
  ['Asking', wire.askBody],
  ['Decision', wire.decisionBody],
  ['Closure', wire.closureBody],
  ['Acceptance', wire.acceptanceBody],
  ['Reason', wire.reasonBody],
  ['StepUp', wire.stepUpBody],
  ['NewPasskey', wire.passkeyBody],
  ['Nothing', wire.noBody],
  ['Exchange', wire.exchangeBody],
  ['Completion', wire.completeBody],
  ['Words', wire.questionBody],
  ['Completions', wire.completionsBody],
  ['Revocations', wire.revocationsBody],
  ['FreezeAsked', wire.freezeBody],
  ['ContainmentAsked', wire.containmentBody],
  ['Acknowledgement', wire.acksBody],
  ['UsesReported', wire.usesBody],
]
const GIVEN: readonly (readonly [string, z.ZodType])[] = [
  ['Grant', wire.grantAnswer],
  ['GrantSeen', wire.waitAnswer],
  ['Grants', wire.listAnswer],
  ['Exchanged', wire.exchangeAnswer],
  ['Events', wire.eventsAnswer],
  ['Feed', wire.feedAnswer],
  ['DryRun', wire.dryRunAnswer],
  ['Questions', wire.questionsAnswer],
  ['Ends', wire.endsAnswer],
  ['EndedGrants', wire.revocationsAnswer],
  ['Uses', wire.usesAnswer],
  ['Reported', wire.reportedAnswer],
  ['Freeze', wire.freezeAnswer],
  ['Freezes', wire.freezesAnswer],
  ['Containment', wire.containmentAnswer],
  ['Counted', wire.countedAnswer],
  ['Contained', wire.containedAnswer],
  ['Caller', wire.whoamiAnswer],
  ['Entitlements', wire.entitlementsAnswer],
  ['Begun', wire.begunAnswer],
  ['BegunStepUp', wire.stepUpAnswer],
  ['Passkeys', wire.passkeysAnswer],
  ['Done', wire.operationAnswer],
]
/** Parts of several of them. */
const PARTS: readonly (readonly [string, z.ZodType])[] = [
  ['Mint', wire.mintAnswer],
  ['Facts', wire.factsAnswer],
  ['Statement', wire.decisionAnswer],
  ['ApprovalRule', wire.ruleAnswer],
  ['Reach', wire.reachAnswer],
  ['UsesSummary', wire.usesSummary],
]

type Json = { readonly [member: string]: unknown }
type ProblemCode = ErrorCode | keyof typeof DOOR_REFUSALS | 'internal'
const CODES: Readonly<Record<ProblemCode, number>> = { ...STATUS, ...DOOR_REFUSALS, internal: 500 }

/** What only a verb that changes something can refuse. Reads answer none of these. */
const OF_CHANGES = [409, 412, 422, 423, 502]
/** What only a body can be refused for. */
const OF_BODIES: readonly number[] = [DOOR_REFUSALS.body_too_large, DOOR_REFUSALS.unsupported_media_type]

const REFUSED: Readonly<Record<number, string>> = {
  400: 'The request is not valid; `facts.issues` names the members.',
  401: 'Not authenticated: no token or assertion, or one that is not good here, or a DPoP proof that does not hold.',
  403: 'Not permitted.',
  404: 'There is no such thing, or it is not yours to see: the two look the same.',
  408: 'The request did not arrive in time.',
  409: 'Not in this status or at this time, or somebody else was faster. Where Retry-After is there, try again.',
  412: 'Another revision than the one named.',
  413: 'The body is too large.',
  415: 'The body must be JSON, in UTF-8 and not compressed.',
  422: 'The policy refuses this, or nobody could decide it, or the Idempotency-Key stands for another asking.',
  423: 'A freeze stands against this, or has killed this grant; `facts.freeze` names it.',
  429: 'Too many requests, too many that wait, or what was denied a short while ago.',
  431: 'The headers are too large.',
  500: 'The broker failed. Tell its operator the request id.',
  502: 'Vault refuses the broker.',
  503: 'Something the broker needs does not answer. Nothing was issued; try again.',
}
const REFUSED_WITH: Readonly<Record<number, readonly string[]>> = {
  401: ['WWW-Authenticate', 'DPoP-Nonce'],
  409: ['Retry-After'],
  415: ['Accept'],
}
/** Where trying again later always makes sense. */
const ALWAYS_LATER: readonly number[] = [429, 503]

/** Not 405: another method is another operation. */
const REFUSALS: readonly number[] = [...new Set(Object.values(CODES))]
  .filter((status) => status !== DOOR_REFUSALS.method_not_allowed)
  .sort()
const urnsOf = (status: number): readonly string[] =>
  Object.entries(CODES).flatMap(([code, of]) => (of === status ? [`urn:writ:error:${code}`] : []))
const ref = (of: string, name: string) => ({ $ref: `#/components/${of}/${name}` })
const capital = (name: string): string => name.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase())

/** The document for the broker behind this public URL. */
export function openApiDocument(issuer: string, routes: readonly Route[] = ROUTES): Json {
  const taken = named(TAKEN, routes, 'Body', (route) => (route.body === undefined ? [] : [route.body]))
  const given = named(GIVEN, routes, 'Answer', (route) =>
    answersOf(route).flatMap(({ status, schema }) => (status === NO_CONTENT ? [] : [schema])),
  )
  return {
    openapi: '3.1.1',
    info: {
      title: 'Writ',
      version: '1',
      summary: 'A just-in-time credential broker.',
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: issuer, description: 'This broker.' }],
    tags: TAGS,
    security: [{ bearer: [] }, { dpop: [] }],
    paths: { ...pathsOf(routes, taken, given), ...PATHS_BESIDE },
    components: {
      schemas: { ...taken.schemas('input'), ...given.schemas('output'), Problem: PROBLEM, ...SCHEMAS_BESIDE },
      responses: Object.fromEntries(REFUSALS.map((status) => [`Refused${status}`, refusalOf(status)])),
      parameters: PARAMETERS,
      headers: HEADERS,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'A token of a trusted issuer, for this broker alone.',
        },
        clientAssertion: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description:
            'Of a resource server: the client assertion (RFC 7523) that it shows at /oauth2/introspect, made anew for each request.',
        },
        dpop: {
          type: 'http',
          scheme: 'DPoP',
          description: 'A token that is bound to a key, with a DPoP proof of that key (RFC 9449 §7.1).',
        },
      },
    },
  }
}

/** `GET /openapi.json`: public, because it says nothing that the source does not. */
export function openApiEndpoint(issuer: string): Endpoint {
  let text: string | undefined
  return {
    method: 'GET',
    path: '/openapi.json',
    name: 'openapi',
    takes: NO_BODY,
    answer: async () => {
      text ??= JSON.stringify(openApiDocument(issuer))
      return { ...json(200, undefined, { 'Cache-Control': 'public, max-age=300' }), text }
    },
    refuse: problem,
  }
}

interface Names {
  of(schema: z.ZodType): string
  schemas(io: 'input' | 'output'): Json
}

/** Schemas under their names; whatever holds another of them refers to it. */
function named(
  known: readonly (readonly [string, z.ZodType])[],
  routes: readonly Route[],
  suffix: string,
  ofRoute: (route: Route) => readonly z.ZodType[],
): Names {
  const registry = z.registry<{ readonly id: string }>()
  const names = new Map(known.map(([id, schema]) => [schema, id]))
  for (const [id, schema] of PARTS) registry.add(schema, { id })
  for (const route of routes)
    for (const schema of ofRoute(route))
      if (!registry.has(schema)) registry.add(schema, { id: names.get(schema) ?? capital(route.name) + suffix })
  return {
    of: (schema) => registry.get(schema)?.id ?? '',
    schemas: (io) => {
      const { schemas } = z.toJSONSchema(registry, { io, uri: (id) => `#/components/schemas/${id}` })
      return Object.fromEntries(Object.entries(schemas).map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema]))
    },
  }
}

interface Answer extends Given {
  readonly status: number
  readonly schema: z.ZodType
}
const NO_CONTENT = 204
/** A route without a row in ABOUT answers 200. */
const answersOf = (route: Route): readonly Answer[] =>
  Object.entries(ABOUT[route.name]?.gives ?? { 200: { what: 'Done.' } }).map(([status, given]) => ({
    schema: route.answers,
    ...given,
    status: Number(status),
  }))

function pathsOf(routes: readonly Route[], taken: Names, given: Names): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route, routes, taken, given) }
  }
  return paths
}

function operationOf(route: Route, routes: readonly Route[], taken: Names, given: Names): Json {
  const about = ABOUT[route.name]
  const refused = REFUSALS.filter(
    (status) =>
      (route.method === 'POST' || !OF_CHANGES.includes(status)) &&
      (route.body !== undefined || !OF_BODIES.includes(status)),
  )
  return {
    tags: [about?.tag ?? 'Grants'],
    operationId: route.name,
    summary: about?.summary ?? route.name,
    ...(about?.description === undefined ? {} : { description: about.description }),
    ...(route.action === 'server' ? { security: [{ clientAssertion: [] }] } : {}),
    parameters: parametersOf(route, about),
    ...(route.body === undefined ? {} : { requestBody: bodyOf(route.body, about, taken) }),
    responses: {
      ...Object.fromEntries(answersOf(route).map((answer) => [answer.status, answerOf(answer, about, routes, given)])),
      ...Object.fromEntries(refused.map((status) => [status, ref('responses', `Refused${status}`)])),
    },
  }
}

function answerOf(answer: Answer, about: About | undefined, routes: readonly Route[], given: Names): Json {
  const { what, status, schema, headers = [], leadsOn } = answer
  const withHeaders = headersOf(
    'Cache-Control',
    'X-Request-Id',
    'RateLimit',
    'RateLimit-Policy',
    'DPoP-Nonce',
    ...headers,
  )
  if (status === NO_CONTENT) return { description: what, headers: withHeaders }
  return {
    description: what,
    headers: withHeaders,
    content: {
      'application/json': { schema: ref('schemas', given.of(schema)) },
      ...(about?.streams === true ? { 'text/event-stream': { schema: { type: 'string' } } } : {}),
    },
    ...(leadsOn === true ? { links: linksTo(routes) } : {}),
  }
}

/** Every route that needs the id of a grant and nothing else. */
const linksTo = (routes: readonly Route[]): Json =>
  Object.fromEntries(
    routes
      .filter(({ path }) => /^[^:]*:id[^:]*$/.test(path))
      .map(({ name }) => [name, { operationId: name, parameters: { id: '$response.body#/id' } }]),
  )

const bodyOf = (schema: z.ZodType, about: About | undefined, taken: Names): Json => ({
  required: !schema.safeParse({}).success,
  content: {
    'application/json': {
      schema: ref('schemas', taken.of(schema)),
      ...(about?.examples === undefined ? {} : { examples: about.examples }),
    },
  },
})

/** Path, query, headers: each query member is a parameter of its own, and no other is taken. */
function parametersOf(route: Route, about: About | undefined): readonly Json[] {
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    ...(PATH_MEMBERS[name] ?? { schema: { type: 'string' } }),
  }))
  const query: z.core.JSONSchema.BaseSchema =
    route.query === undefined ? {} : z.toJSONSchema(route.query, { io: 'input' })
  const inQuery = Object.entries(query.properties ?? {}).map(([name, member]) => {
    const { description, ...schema }: z.core.JSONSchema.BaseSchema = typeof member === 'object' ? member : {}
    return {
      name,
      in: 'query',
      required: query.required?.includes(name) === true,
      ...(description === undefined ? {} : { description }),
      schema,
    }
  })
  const headers = [...(route.action === 'server' ? [] : ['DPoP']), ...(about?.reads ?? [])].map((name) =>
    ref('parameters', name),
  )
  return [...inPath, ...inQuery, ...headers]
}

const PATH_MEMBERS: Readonly<Record<string, Json>> = {
  id: { description: 'The id of a grant.', schema: { type: 'string', pattern: PATTERNS.grantId } },
  freeze: { description: 'The id of a freeze.', schema: { type: 'string', pattern: PATTERNS.freezeId } },
  n: { description: 'The number of a question.', schema: { type: 'integer', minimum: 1, maximum: 999_999 } },
}

const header = (name: string, description: string, schema: Json) => ({ name, in: 'header', description, schema })
const PARAMETERS = {
  DPoP: header('DPoP', 'A proof of the caller’s key for this method and URL (RFC 9449 §4.2).', {
    type: 'string',
    maxLength: 4_096,
    pattern: '^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$',
  }),
  'If-Match': header('If-Match', 'The revision that is decided on, as the ETag of the grant shows it.', {
    type: 'string',
    pattern: `^"${PATTERNS.digest.slice(1, -1)}"$`,
    examples: [`"sha-256:${'A'.repeat(43)}"`],
  }),
  'Idempotency-Key': header(
    'Idempotency-Key',
    'One text for each new asking, best a UUID; the same one when it is sent again. Quoted, or bare as many clients send it.',
    {
      type: 'string',
      pattern: '^("[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]{8,128}"|[\\x21\\x23-\\x5b\\x5d-\\x7e]{8,128})$',
      examples: ['"0198a3c4-5b1e-7d20-9c3f-2a6b8e4d1f70"'],
    },
  ),
  'Last-Event-ID': header('Last-Event-ID', 'The id of the last event seen, as a stream gave it.', {
    type: 'string',
    maxLength: 200,
  }),
}

const given = (description: string, required: boolean, schema: Json = { type: 'string' }) => ({
  description,
  required,
  schema,
})
const HEADERS = {
  'Cache-Control': given('`no-store`, but for public documents.', true),
  'X-Request-Id': given('The id of this request in the broker’s log; the same as `requestId` of a problem.', true),
  ETag: given('The revision, quoted: for If-Match.', true),
  Location: given('Where the grant is shown.', true),
  'Idempotency-Replayed': given('`true` where it had been filed under this key before.', false, { const: 'true' }),
  'WWW-Authenticate': given('A challenge for each way of authenticating (RFC 9110 §11.6.1).', true),
  'DPoP-Nonce': given('The nonce that the next proof should carry (RFC 9449 §8.2).', false),
  'Retry-After': given('After how many seconds trying again makes sense.', false, {
    type: 'string',
    pattern: '^\\d+$',
  }),
  RateLimit: given('What is left of the caller’s budget, and when it is whole again.', false),
  'RateLimit-Policy': given('The caller’s budget.', false),
  Accept: given('The media type that is taken here.', true),
  Pragma: given('`no-cache` (RFC 6749 §5.1).', true, { const: 'no-cache' }),
  Vary: given('`Accept`.', true, { const: 'Accept' }),
  'Access-Control-Allow-Origin': given('Pages of anybody may read this.', true, { const: '*' }),
}

const PROBLEM = {
  type: 'object',
  description: 'RFC 9457. `type` names the refusal; `next_action` says in one sentence what the caller can do.',
  properties: {
    type: { type: 'string', enum: Object.keys(CODES).map((code) => `urn:writ:error:${code}`) },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    requestId: { type: 'string' },
    next_action: { type: 'string' },
    facts: { type: 'object', description: 'Which member, which rule, which limit.' },
  },
  required: ['type', 'title', 'status', 'detail', 'requestId'],
  additionalProperties: false,
}

const refusalOf = (status: number): Json => ({
  description: REFUSED[status] ?? 'Refused.',
  headers: {
    ...headersOf('Cache-Control', 'X-Request-Id', ...(REFUSED_WITH[status] ?? [])),
    ...(ALWAYS_LATER.includes(status) ? { 'Retry-After': { ...HEADERS['Retry-After'], required: true } } : {}),
  },
  content: {
    'application/problem+json': {
      schema: {
        allOf: [
          ref('schemas', 'Problem'),
          { type: 'object', properties: { type: { enum: urnsOf(status) }, status: { const: status } } },
        ],
      },
    },
  },
})

const DESCRIPTION = `A credential only while an approval for exactly that change exists, and proof that it ended.

File a grant, wait until it is approved, exchange it inside its window, complete it. Every refusal of /v1 is a problem document (RFC 9457) whose
\`type\` is \`urn:writ:error:<code>\`; the OAuth endpoints answer as RFC 6749 says. Input is strict: an unknown member, a member twice or a body of
more than 64 KiB is refused. Times are RFC 3339; durations look like \`1h30m\`. HEAD works wherever GET does.`

const TAGS = [
  { name: 'Grants', description: 'One asking and its whole life.' },
  { name: 'Freezes', description: 'What gets nothing new, and what is ended besides: containments.' },
  { name: 'Resource servers', description: 'For who checks the tokens: what has ended, and what was used.' },
  { name: 'Entitlements', description: 'What may be asked for.' },
  { name: 'Caller', description: 'Who calls.' },
  { name: 'Operations', description: 'For those who run the broker.' },
  { name: 'OAuth', description: 'The same broker in the words of OAuth 2.0.' },
  { name: 'Health', description: 'For load balancers, monitoring and clients.' },
]
