// The addresses beside `/v1` in the API document: OAuth, health, the document itself. Their answers are written by other doors, which know no
// schema of ours, so these are by hand. Invariant: every answer of the test-suite is held against them, so they cannot drift.
import { DOOR_REFUSALS } from './endpoint.ts'

const text = { type: 'string' }
const link = { type: 'string', format: 'uri' }
const texts = { type: 'array', items: text }
const seconds = { type: 'integer', minimum: 0 }
const strict = (properties: Readonly<Record<string, object>>, ...optional: readonly string[]) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  additionalProperties: false,
})
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

const OAUTH_CODES = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'invalid_target',
  'invalid_dpop_proof',
  'use_dpop_nonce',
  'invalid_authorization_details',
  'unsupported_grant_type',
  'access_denied',
  'expired_token',
  'slow_down',
  'temporarily_unavailable',
  'server_error',
]

export const SCHEMAS_BESIDE = {
  OAuthError: {
    ...strict({ error: { type: 'string', enum: OAUTH_CODES }, error_description: text, error_uri: link }, 'error_uri'),
    description: 'RFC 6749 §5.2. A grant that may still become redeemable is shown at `error_uri`.',
  },
  ChangeDetail: {
    ...strict(
      {
        type: { const: 'https://writ.dev/schemas/change/v1' },
        identifier: text,
        entitlement: text,
        locations: texts,
        actions: texts,
        scope: texts,
        datatypes: texts,
        environment: text,
        change_class: text,
        exposure: {
          ...strict({ segment: text, from: seconds, to: seconds }),
          description: 'The stage at most, in shares of 100.',
        },
        window: strict({ opensAt: text, closesAt: text }),
      },
      'exposure',
    ),
    description: 'What was granted, as one RFC 9396 object.',
  },
  TokenRequest: {
    type: 'object',
    description:
      'RFC 8693. Unknown parameters are ignored; each may be there once, but for resource and audience. `authorization_details` is a JSON text: an array of one object with `type` and `identifier`, the id of an approved grant.',
    properties: {
      grant_type: { const: 'urn:ietf:params:oauth:grant-type:token-exchange' },
      subject_token: { type: 'string', minLength: 1, maxLength: 8_192, description: 'The executor’s own token.' },
      subject_token_type: {
        type: 'string',
        enum: ['jwt', 'id_token', 'access_token'].map((type) => `urn:ietf:params:oauth:token-type:${type}`),
      },
      requested_token_type: {
        type: 'string',
        enum: ['access_token', 'jwt'].map((type) => `urn:ietf:params:oauth:token-type:${type}`),
      },
      authorization_details: { type: 'string', minLength: 1, maxLength: 1_024 },
      resource: { type: 'string', description: 'Where given, the audience of the grant.' },
      audience: { type: 'string', description: 'Where given, the audience of the grant.' },
    },
    required: ['grant_type', 'subject_token', 'subject_token_type', 'authorization_details'],
  },
  TokenAnswer: strict({
    access_token: text,
    issued_token_type: text,
    token_type: { type: 'string', enum: ['DPoP', 'Bearer'] },
    expires_in: seconds,
    authorization_details: { type: 'array', items: ref('ChangeDetail'), minItems: 1, maxItems: 1 },
    grant_id: text,
  }),
  IntrospectionRequest: {
    type: 'object',
    description: 'RFC 7662, by a resource server that authenticates with `private_key_jwt` (RFC 7523).',
    properties: {
      token: { type: 'string', minLength: 1, description: 'The token in question.' },
      token_type_hint: { type: 'string', description: 'Not needed; ignored.' },
      client_id: text,
      client_assertion_type: { const: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' },
      client_assertion: text,
    },
    required: ['token', 'client_assertion_type', 'client_assertion'],
  },
  Introspection: {
    description: 'Whatever the reason, "no" is the same answer.',
    anyOf: [
      strict({ active: { const: false } }),
      strict(
        {
          active: { const: true },
          iss: link,
          sub: text,
          aud: text,
          exp: seconds,
          iat: seconds,
          nbf: seconds,
          jti: text,
          client_id: text,
          token_type: { type: 'string', enum: ['DPoP', 'Bearer'] },
          cnf: strict({ jkt: text }),
          txn: text,
          authorization_details: { type: 'array', items: ref('ChangeDetail'), minItems: 1, maxItems: 1 },
          grant_status: text,
        },
        'cnf',
      ),
    ],
  },
  ServerMetadata: {
    ...strict(
      {
        issuer: link,
        token_endpoint: link,
        introspection_endpoint: link,
        jwks_uri: link,
        status_list_aggregation_endpoint: link,
        grant_types_supported: texts,
        response_types_supported: texts,
        token_endpoint_auth_methods_supported: texts,
        introspection_endpoint_auth_methods_supported: texts,
        introspection_endpoint_auth_signing_alg_values_supported: texts,
        dpop_signing_alg_values_supported: texts,
        authorization_details_types_supported: texts,
        writ_login: strict({ issuer: link, client_id: text, scope: text, resource: link }),
      },
      'writ_login',
    ),
    description: 'RFC 8414. `writ_login` says where persons log in for a token that is good here.',
  },
  Jwks: {
    ...strict({
      keys: {
        type: 'array',
        items: { type: 'object', properties: { kty: text, kid: text }, required: ['kty', 'kid'] },
      },
    }),
    description: 'RFC 7517.',
  },
  StatusLists: {
    ...strict({ status_lists: { type: 'array', items: link } }),
    description: 'Where every list is in which a token may still be alive.',
  },
  Alive: strict({ alive: { const: true } }),
  Ready: strict(
    {
      ready: { type: 'boolean' },
      failing: { type: 'array', items: strict({ name: text, why: text, mend: text }) },
      warnings: { type: 'array', items: strict({ name: text, why: text, mend: text }) },
    },
    'warnings',
  ),
}

/** Answers of the OAuth door by status. */
const oauthRefusal = (what: string, ...headers: readonly string[]) => ({
  description: what,
  headers: headersOf('Cache-Control', 'X-Request-Id', ...headers),
  content: { 'application/json': { schema: ref('OAuthError') } },
})
export const headersOf = (...names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))

const problems = (what: string) => ({
  description: what,
  headers: headersOf('Cache-Control', 'X-Request-Id'),
  content: { 'application/problem+json': { schema: ref('Problem') } },
})
/** The same, and what is no HTTP or no address at all: that never gets to an endpoint, and is refused in the words of every other address. */
const orProblem = (refusal: ReturnType<typeof oauthRefusal> | ReturnType<typeof problems>) => ({
  ...refusal,
  content: { ...refusal.content, ...problems('').content },
})
/** What did not arrive as a request has no endpoint: a problem document wherever it was meant for. */
const ANY_TIME = {
  [DOOR_REFUSALS.too_slow]: problems('The request did not arrive in time.'),
  [DOOR_REFUSALS.headers_too_large]: problems('The headers are too large.'),
}
const OAUTH_REFUSALS = {
  ...ANY_TIME,
  400: orProblem(oauthRefusal('Refused; `error` says why.', 'DPoP-Nonce', 'Retry-After')),
  [DOOR_REFUSALS.body_too_large]: oauthRefusal('The form is too large.'),
  [DOOR_REFUSALS.unsupported_media_type]: oauthRefusal(
    'The body must be a form, in UTF-8 and not compressed.',
    'Accept',
  ),
  500: oauthRefusal('The broker failed.'),
  503: oauthRefusal('The broker cannot answer now. Try again.', 'Retry-After'),
}
/** A name that cannot even be decoded is nobody's, and then nothing is said of who may read it. */
const notThere = (what: string) => {
  const refusal = orProblem(oauthRefusal(what))
  const open = { description: 'Pages of anybody may read this.', required: false, schema: { const: '*' } }
  return { ...refusal, headers: { ...refusal.headers, 'Access-Control-Allow-Origin': open } }
}
const said = (what: string, name: string, ...headers: readonly string[]) => ({
  description: what,
  headers: headersOf('Cache-Control', 'X-Request-Id', ...headers),
  content: { 'application/json': { schema: ref(name) } },
})
/** A GET without parameters can only refuse a body, and fail. */
const refusals = (refuse: typeof oauthRefusal | typeof problems) => ({
  ...ANY_TIME,
  400: orProblem(refuse('This route takes no body.')),
  500: refuse('The broker failed.'),
})
const get = (tag: string, operationId: string, summary: string, ok: object, more: object) => ({
  get: { tags: [tag], operationId, summary, security: [], responses: { 200: ok, ...more } },
})
const form = (name: string, example: object) => ({
  required: true,
  content: { 'application/x-www-form-urlencoded': { schema: ref(name), example } },
})

export const PATHS_BESIDE = {
  '/oauth2/token': {
    post: {
      tags: ['OAuth'],
      operationId: 'token',
      summary: 'Exchange an approved grant for an access token (RFC 8693)',
      security: [],
      parameters: [{ $ref: '#/components/parameters/DPoP' }],
      requestBody: form('TokenRequest', {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: 'eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        authorization_details:
          '[{"type":"https://writ.dev/schemas/change/v1","identifier":"g0-aaaaaaaaaaaaaaaaaaaaaaaaaa"}]',
      }),
      responses: { 200: said('The token.', 'TokenAnswer', 'Pragma', 'DPoP-Nonce'), ...OAUTH_REFUSALS },
    },
  },
  '/oauth2/introspect': {
    post: {
      tags: ['OAuth'],
      operationId: 'introspect',
      summary: 'Ask whether a token of this broker still holds (RFC 7662)',
      security: [],
      requestBody: form('IntrospectionRequest', {
        token: 'eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl',
        client_id: 'webshop-api',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: 'eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl',
      }),
      responses: {
        200: said('Whether it holds.', 'Introspection'),
        ...OAUTH_REFUSALS,
        401: oauthRefusal('Not authenticated with private_key_jwt or an access token.', 'WWW-Authenticate'),
      },
    },
  },
  '/oauth2/jwks': get(
    'OAuth',
    'jwks',
    'The public keys of our tokens',
    said('The keys.', 'Jwks', 'Access-Control-Allow-Origin'),
    refusals(oauthRefusal),
  ),
  '/status': get(
    'OAuth',
    'status_lists',
    'Where the status lists of our tokens are (draft-ietf-oauth-status-list)',
    said('The lists.', 'StatusLists', 'Access-Control-Allow-Origin'),
    { ...refusals(oauthRefusal), 503: oauthRefusal('Not known now. Try again.', 'Retry-After') },
  ),
  '/status/{list}': {
    get: {
      tags: ['OAuth'],
      operationId: 'status_list',
      summary: 'One signed status list: a token is good while its place says VALID (0)',
      description:
        'Named by `status.status_list.uri` of a token. Two bits a place, signed with the keys of `/oauth2/jwks`; keep it for `ttl` seconds at most, and refuse by it after `exp`. Whoever gets none refuses, or introspects.',
      security: [],
      parameters: [
        {
          name: 'list',
          in: 'path',
          required: true,
          description: 'As a token names it.',
          schema: { type: 'string', maxLength: 20, examples: ['0-12'] },
        },
        {
          name: 'time',
          in: 'query',
          required: false,
          description: 'What was so at another time is not told here: 501.',
          schema: text,
        },
      ],
      responses: {
        200: {
          description: 'A JWT of type `statuslist+jwt`.',
          headers: headersOf('Cache-Control', 'X-Request-Id', 'Access-Control-Allow-Origin', 'Vary'),
          content: { 'application/statuslist+jwt': { schema: text } },
        },
        ...refusals(oauthRefusal),
        404: notThere('There is no such list: its tokens are not good.'),
        406: oauthRefusal('There is only `application/statuslist+jwt` here.', 'Access-Control-Allow-Origin'),
        501: oauthRefusal('There is no history of lists.', 'Access-Control-Allow-Origin'),
        503: oauthRefusal('Not known now. Try again, and refuse meanwhile.', 'Retry-After'),
      },
    },
  },
  '/.well-known/oauth-authorization-server': get(
    'OAuth',
    'metadata',
    'What this authorization server can do (RFC 8414)',
    said('The metadata.', 'ServerMetadata', 'Access-Control-Allow-Origin'),
    refusals(oauthRefusal),
  ),
  '/.well-known/openid-configuration': get(
    'OAuth',
    'openid_metadata',
    'The same, where other clients look for it',
    said('The metadata.', 'ServerMetadata', 'Access-Control-Allow-Origin'),
    refusals(oauthRefusal),
  ),
  '/healthz': get('Health', 'healthz', 'Whether the process is alive', said('It is.', 'Alive'), refusals(problems)),
  '/readyz': get('Health', 'readyz', 'Whether the broker may take traffic', said('It may.', 'Ready'), {
    ...refusals(problems),
    503: said('It may not: what fails, and the line that mends it.', 'Ready', 'Retry-After'),
  }),
  '/metrics': get(
    'Health',
    'metrics',
    'Figures for Prometheus',
    {
      description: 'In the text format of Prometheus.',
      headers: headersOf('Cache-Control', 'X-Request-Id'),
      content: { 'text/plain': { schema: text } },
    },
    refusals(problems),
  ),
  '/openapi.json': get(
    'Health',
    'openapi',
    'This document',
    {
      description: 'An OpenAPI 3.1 document.',
      headers: headersOf('Cache-Control', 'X-Request-Id'),
      content: {
        'application/json': { schema: { type: 'object', properties: { openapi: text }, required: ['openapi'] } },
      },
    },
    refusals(problems),
  ),
}
