// What a hostile client may send, to the whole broker with real checks: each is a clear refusal in the right format, as the API document
// says, without a stack, without an echo that could do something, without a write, and none holds the process up.
import { generateKeyPairSync, hash, randomUUID } from 'node:crypto'
import { Agent } from 'node:http'
import { connect } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { ABOUT } from '../../src/http/openapi-about.ts'
import { ROUTES, type Route } from '../../src/http/routes.ts'
import { clientKey, proof } from '../support/keys.ts'
import { openApiCheck } from '../support/openapi-check.ts'
import { base64url, macToken, signatureOf } from '../support/token-maker.ts'
import { ISSUER } from '../support/world.ts'
import { FORM_TYPE, JSON_TYPE } from './door.ts'
import { type Got, type HostileDoor, hostileDoor } from './hostile-door.ts'

/** The longest that one input may hold the process up, and how often it is tried again: what blocks, blocks each time. */
const LONGEST_MS = 50
const TRIES = 5
/** How many requests are on their way at once. */
const WIDTH = 8

let on: HostileDoor
let slow: HostileDoor
let id = ''
let before = 0
beforeAll(async () => {
  on = await hostileDoor(new Agent({ keepAlive: true, maxSockets: WIDTH }))
  slow = await hostileDoor(new Agent())
  const asked = {
    entitlement: 'payments-migrator',
    actions: ['db.migrate'],
    task: { summary: 'A change' },
    ticket: { system: 'desk', id: 'CHG-1' },
    window: { duration: '1h' },
  }
  const got = await on.send('POST', '/v1/grants', [bearer(), JSON_TYPE], JSON.stringify(asked))
  id = JSON.parse(got.text).id
  // The control: what is written is seen.
  expect([got.status, on.writes()]).toEqual([201, 1])
})
afterAll(async () => {
  await on.stop()
  await slow.stop()
})
beforeEach(() => {
  before = on.writes()
})
afterEach(() => {
  expect({ writes: on.writes() - before, failures: on.failures }).toEqual({ writes: 0, failures: [] })
})

const at = (path: string): string =>
  path
    .replace(':id', id)
    .replace(':n', '1')
    .replace(':freeze', `f-${'a'.repeat(26)}`)
const bearer = (token = on.token('vera')) => ['Authorization', `Bearer ${token}`] as const
const eachOf = async <T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> => {
  let next = 0
  const worker = async () => {
    for (let n = next++; n < all.length; n = next++) await work(all[n] as T)
  }
  await Promise.all(Array.from({ length: WIDTH }, worker))
}

/** Of the right format for its address, with nothing of ours or theirs in it. */
function isRefusal(got: Got, statuses: readonly number[], what: string): void {
  expect([what, statuses.includes(got.status) ? statuses : got.status, got.text]).toEqual([what, statuses, got.text])
  expect([what, got.text, /\bat .*\.[tj]s|node_modules|Error:/.test(got.text)]).toEqual([what, got.text, false])
  // Whatever could steer a terminal, a line of a log or a page. JSON may hold < and >, which nosniff keeps from being a page.
  expect([what, got.text, /\p{Cc}|\p{Cf}|\p{Cs}|<script/u.test(got.text)]).toEqual([what, got.text, false])
  expect(got.headers['x-content-type-options']).toBe('nosniff')
  expect(got.headers['cache-control']).toBe('no-store')
}

describe('bodies', () => {
  /** Text as it stands in the body: JSON that is of the wrong kind for most members, and what is no JSON. */
  const ANYTHING: readonly string[] = [
    ...['null', 'true', 'false', '0', '-0', '-1', '1.5', '1e308', '9007199254740993', '1001'],
    ...[
      '[]',
      '[[]]',
      '[null]',
      '[1]',
      '[true]',
      '[{}]',
      '[[[[[[[[]]]]]]]]',
      '{}',
      '{"a":1}',
      '{"length":1}',
      '{"toString":1}',
    ],
    ...['{"__proto__":{}}', '{"constructor":{"prototype":{}}}', '{"then":{}}', '"__proto__"', '"constructor"'],
    ...[
      '""',
      '" "',
      '"\\u0000"',
      '"a\\u0000b"',
      '"\\u001b[31m"',
      '"\\u009b31m"',
      '"\\u202eab"',
      '"\\u200b"',
      '"a\\u2028b"',
      '"\\ud800"',
    ],
    ...[
      '"<script>alert(1)</script>"',
      '"\' OR 1=1 --"',
      '"../../etc/passwd"',
      '"%00"',
      '"$'.concat('{jndi:ldap://x}"'),
      '"{{7*7}}"',
    ],
    ...[
      '"true"',
      '"1"',
      '"null"',
      '"2026-13-01T00:00:00Z"',
      '"2026-02-30T00:00:00Z"',
      '"-1h"',
      '"1e3s"',
      '"\\ufb00"',
      '"\ud83e\udd84"',
    ],
    ...[
      `"${'a'.repeat(40_000)}"`,
      `"${'\\u0061'.repeat(8_000)}"`,
      `[${'"a",'.repeat(5_000)}"a"]`,
      `["${'a'.repeat(300)}"]`,
    ],
  ]
  const NEVER: readonly string[] = [
    ...['NaN', 'Infinity', 'undefined', '01', '.5', '+1', '0x1', '1.', '1e', '1e999', '-', '1_000', '1n'],
    ...[
      "'a'",
      '"\\x41"',
      '"\\u12"',
      '"a',
      '"a\nb"',
      '"a\tb"',
      '"\\uD800\\u0041"',
      'tru',
      'TRUE',
      'nul',
      '/* */1',
      '1//',
    ],
    ...[
      '[1,]',
      '[,1]',
      '[',
      '{',
      '{,}',
      '{"a":1,}',
      '{a:1}',
      '{"a" 1}',
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '{"__proto__":1}',
    ],
    ...['\ufeff1', '\u00a01', '1 1', '"a""b"', '[1 2]', '--1'],
  ]

  const WHERE = { task: 'CHG-1', session: 'run-1', ticket: { system: 'desk', id: 'CHG-1' } }
  const DIGEST = `sha-256:${'A'.repeat(43)}`
  const EVIDENCE = [
    { kind: 'threat-model', url: 'https://docs.example/model', digest: DIGEST },
    { kind: 'note', text: 'Looked at by two.' },
  ]
  const ACCEPTS = [{ risk: 'review:security', until: '2026-12-01T22:00:00Z' }]
  const VOTE = {
    verdict: 'approve',
    reason: 'fine',
    digest: DIGEST,
    as: 'security',
    checklist: ['modelled'],
    evidence: EVIDENCE,
    conditions: [{ text: 'Watch the errors', owner: 'rob', due: '2026-12-01T22:00:00Z' }],
    accepts: ACCEPTS,
  }
  /** One body for each route that says everything. */
  const FULL: Readonly<Record<string, unknown>> = {
    request: {
      entitlement: 'payments-migrator',
      actions: ['db.migrate'],
      scope: ['schema:payments'],
      dataTypes: ['pii'],
      destination: 'nowhere',
      credential: { uses: 1 },
      task: { id: 'CHG-1', summary: 'A change', objective: 'Why', expectedOutcome: 'It is done', rollback: 'None' },
      changeClass: 'normal',
      impact: { ...NO_IMPACT },
      exposure: { segment: 'eu', from: 0, to: 10, rollbackCriteria: 'Errors rise' },
      plan: { digest: DIGEST, mediaType: 'text/plain', uri: 'https://plans.example/1' },
      ticket: { system: 'desk', id: 'CHG-1', url: 'https://desk.example/1' },
      window: { opensAt: '2026-12-01T22:00:00Z', closesAt: '2026-12-01T23:00:00Z' },
      executor: { principal: 'vera', key: 'A'.repeat(43) },
      replaces: `g0-${'a'.repeat(26)}`,
      more: [
        {
          entitlement: 'sales-report',
          actions: ['report.read'],
          scope: [],
          dataTypes: [],
          destination: '',
          credential: { uses: 1 },
        },
      ],
    },
    decide: VOTE,
    begin_step_up: VOTE,
    close: { condition: 'abcdefghijkl', reason: 'done', evidence: EVIDENCE },
    accept: { accepts: ACCEPTS, reason: 'It is small.' },
    retract: { reason: 'I had not seen the plan.' },
    add_passkey: { name: 'laptop' },
    remove_passkey: {},
    withdraw: { reason: 'not needed' },
    exchange: { attempt: 'attempt-1' },
    complete: { result: { rows: '1' } },
    revoke: { reason: 'alarm' },
    freeze: {
      where: {
        person: 'vera',
        agent: 'triage-agent',
        workload: 'report-job',
        sponsor: 'sam',
        tenant: 'northwind',
        target: 'payments-db',
        environment: 'production',
        entitlement: 'payments-migrator',
        task: 'CHG-1',
        session: 'run-1',
        ticket: { system: 'desk', id: 'CHG-1' },
        planDigest: `sha-256:${'A'.repeat(43)}`,
        key: 'A'.repeat(43),
        approver: 'olivia',
        policyDigest: `sha-256:${'A'.repeat(43)}`,
        issuedBefore: '2026-11-21T22:00:00Z',
      },
      reason: 'alarm',
    },
    contain: { where: { task: 'another-task' }, reason: 'alarm', freeze: true },
    lift_freeze: { reason: 'over' },
    recover: { reason: 'as it is', resume: 'now' },
    accept_clock: { reason: 'as it is' },
    ask: { text: 'Why?' },
    answer: { text: 'Because.' },
    complete_each: { where: WHERE, result: { rows: '1' } },
    revoke_each: { where: WHERE, reason: 'alarm' },
    acknowledge: { position: '0.1-1', consumer: 'eu-1' },
    report_uses: {
      uses: [
        {
          id: 'use-1',
          at: '2026-12-01T22:00:00Z',
          credential: 'jti-1',
          outcome: 'refused',
          reason: 'replay',
          action: 'report.read',
          target: '/reports',
          argumentDigest: `sha-256:${'A'.repeat(43)}`,
        },
      ],
    },
  }
  const whoOf = ({ action }: Pick<Route, 'action'>) => bearer(action === 'server' ? on.assertion() : undefined)
  const POSTS = ROUTES.flatMap((route) => (route.body === undefined ? [] : [{ ...route, body: route.body }]))
  const document = openApiDocument(ISSUER)
  const ajv = new Ajv2020({ strict: false, validateSchema: false, formats: { 'date-time': true } })
  ajv.addSchema({ ...document, $id: 'writ' })
  const validator = ({ path, method }: Route) =>
    ajv.compile({
      $ref: `writ#/paths/${path.replace(/:(\w+)/g, '{$1}').replaceAll('/', '~1')}/${method.toLowerCase()}/requestBody/content/application~1json/schema`,
    })
  const MARK = '"@@here@@"'
  /** The body as text with something else in every place, also where a member or an item could be added. */
  function placesIn(value: unknown, wrap: (text: string) => string = (text) => text): readonly string[] {
    const here = wrap(MARK)
    if (typeof value !== 'object' || value === null) return [here]
    const entries = Object.entries(value)
    const rebuilt = (name: string, text: string): string =>
      Array.isArray(value)
        ? `[${value.map((item, n) => (String(n) === name ? text : JSON.stringify(item))).join()}]`
        : `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${key === name ? text : JSON.stringify(item)}`).join()}}`
    return [here, ...entries.flatMap(([name, item]) => placesIn(item, (text) => wrap(rebuilt(name, text))))]
  }
  const parsed = (text: string): unknown => {
    try {
      return JSON.parse(text)
    } catch {
      return undefined
    }
  }

  it('have a full sample for every route, which says all that the schema knows', () => {
    expect(ANYTHING.length + NEVER.length).toBeGreaterThanOrEqual(90)
    for (const route of POSTS) {
      // Where one of several bodies is taken, the sample is of the first.
      const first = route.body instanceof z.ZodUnion ? route.body.options[0] : route.body
      const schemas = JSON.stringify(first instanceof z.ZodObject ? Object.keys(first.shape) : [])
      const full = FULL[route.name]
      expect([route.name, typeof full]).toEqual([route.name, 'object'])
      expect([route.name, validator(route)(full), Object.keys(full ?? {}).sort()]).toEqual([
        route.name,
        true,
        JSON.parse(schemas).sort(),
      ])
      expect(ABOUT[route.name]).toBeDefined()
    }
  })

  it.each(POSTS)(
    'of $name with anything in any place are refused, as the document says they would be',
    async (route) => {
      const valid = validator(route)
      const places = placesIn(FULL[route.name])
      const texts = places.flatMap((place) => [
        ...ANYTHING.map((text) => place.replace(MARK, () => text)).filter((text) => !valid(parsed(text))),
        ...NEVER.map((text) => place.replace(MARK, () => text)),
      ])
      expect(texts.length).toBeGreaterThan(places.length * 60)
      await eachOf(texts, async (text) => {
        const got = await on.send('POST', at(route.path), [whoOf(route), JSON_TYPE], text)
        isRefusal(got, [400], text.slice(0, 300))
      })
    },
  )

  it.each(POSTS)('of $name with a member that it does not know are refused in every object', async (route) => {
    const text = JSON.stringify(FULL[route.name])
    const names = [
      'admin',
      '__proto__',
      'constructor',
      '\u001b[31m',
      '\u009b31m',
      '\u202e',
      '<script>',
      'a'.repeat(10_000),
    ]
    // The members of `result` are the caller's own names.
    const places = [...text.matchAll(/\{/g)]
      .map(({ index }) => index)
      .filter((index) => !text.slice(0, index).endsWith('"result":'))
    const texts = places.flatMap((index) =>
      names.map((name) => `${text.slice(0, index + 1)}${JSON.stringify(name)}:1,${text.slice(index + 1)}`),
    )
    await eachOf(texts, async (sent) => {
      isRefusal(await on.send('POST', at(route.path), [whoOf(route), JSON_TYPE], sent), [400], sent.slice(0, 300))
    })
  })

  it.each(POSTS)('of $name that are too large, too deep or too wide are refused', async (route) => {
    const sent: readonly (readonly [string, number])[] = [
      [`{"reason":"${'a'.repeat(1_048_576 - 20)}"}`, 413],
      [`{"reason":"${'a'.repeat(65_536)}"}`, 413],
      [','.repeat(200_000), 413],
      ['['.repeat(65_536), 400],
      ['{"a":'.repeat(13_000), 400],
      [`${'['.repeat(17)}${']'.repeat(17)}`, 400],
      [`{${Array.from({ length: 201 }, (_, n) => `"k${n}":0`).join()}}`, 400],
      [' '.repeat(65_536), 400],
    ]
    for (const [text, status] of sent)
      isRefusal(await on.send('POST', at(route.path), [whoOf(route), JSON_TYPE], text), [status], text.slice(0, 50))
  })
})

describe('forms', () => {
  const good = 'grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange'
  it.each(['/oauth2/token', '/oauth2/introspect'])('to %s are refused in the words of RFC 6749', async (path) => {
    const sent: readonly (readonly [string, readonly number[], (readonly [string, string])?])[] = [
      ['', [400, 401]],
      ['a', [400]],
      ['=a', [400]],
      ['&', [400]],
      [`${good}&${good}`, [400]],
      ['token=a&token=b', [400]],
      ['client_assertion=a&client_assertion=b', [400]],
      ['a=%zz', [400]],
      ['a=%ff', [400]],
      ['a=%', [400]],
      ['token=%00&subject_token=%00', [400, 401]],
      ['grant_type=password&username=a&password=b', [400, 401]],
      ['grant_type=client_credentials', [400, 401]],
      ['grant_type[]=a', [400, 401]],
      ['grant_type[a]=b&__proto__[a]=b', [400, 401]],
      [`${good}&subject_token=a&subject_token_type=x`, [400, 401]],
      [Array.from({ length: 51 }, (_, n) => `p${n}=1`).join('&'), [400]],
      [`token=${'a'.repeat(20_000)}`, [413]],
      ['a'.repeat(1_048_576), [413]],
      ['&'.repeat(16_000), [400]],
      ['{"token":"a"}', [415], JSON_TYPE],
      ['token=a', [415], ['Content-Type', 'multipart/form-data; boundary=a']],
      ['token=a', [415], ['Content-Type', 'application/x-www-form-urlencoded; charset=utf-7']],
    ]
    for (const [text, statuses, type = FORM_TYPE] of sent) {
      const got = await on.send('POST', path, [type], text)
      isRefusal(got, statuses, text.slice(0, 100))
      expect(JSON.parse(got.text)).toMatchObject({ error: expect.any(String), error_description: expect.any(String) })
    }
    isRefusal(await on.send('POST', `${path}?token=a`, [FORM_TYPE], good), [400], 'a query')
  })
})

describe('tokens', () => {
  const parts = (token: string) => token.split('.') as [string, string, string]
  const header = (changes: object = {}) => ({ alg: 'ES256', kid: 'ES256-1', typ: 'at+jwt', ...changes })
  const claims = (changes: object = {}) => {
    const second = Math.floor(on.world.now() / 1_000)
    return { iss: on.login.url, sub: 'vera', aud: ISSUER, iat: second - 10, exp: second + 300, ...changes }
  }
  const headed = (changes: object) => on.login.signText(JSON.stringify(header(changes)), JSON.stringify(claims()))
  const withText = (head: string, body = JSON.stringify(claims())) => on.login.signText(head, body)
  const unsigned = (alg: string) =>
    `${base64url(JSON.stringify(header({ alg })))}.${base64url(JSON.stringify(claims()))}.`
  const altered = (part: 0 | 1 | 2, where: 'first' | 'middle' | 'last') => {
    const all = parts(on.token('vera'))
    const text = all[part]
    const index = { first: 0, middle: text.length >> 1, last: text.length - 1 }[where]
    all[part] = text.slice(0, index) + (text[index] === 'A' ? 'B' : 'A') + text.slice(index + 1)
    return all.join('.')
  }
  const selfSigned = () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const data = `${base64url(JSON.stringify(header({ jwk: publicKey.export({ format: 'jwk' }) })))}.${base64url(JSON.stringify(claims()))}`
    return `${data}.${base64url(signatureOf(data, privateKey, 'ES256'))}`
  }
  const seconds = () => Math.floor(on.world.now() / 1_000)
  const pem = () => String(on.login.publicKey('RS256').export({ format: 'pem', type: 'spki' }))
  const BAD: Readonly<Record<string, () => string>> = {
    'algorithm none': () => unsigned('none'),
    'algorithm nOnE': () => unsigned('nOnE'),
    'algorithm none with a signature': () => unsigned('none') + parts(on.token('vera'))[2],
    'no signature': () => `${parts(on.token('vera')).slice(0, 2).join('.')}.`,
    'HS256 with the public key': () => macToken(header({ alg: 'HS256', kid: 'RS256-1' }), claims(), pem()),
    'HS256 under the name ES256': () => macToken(header(), claims(), pem()),
    'RS256 under the name ES256': () => on.login.sign(claims(), { typ: 'at+jwt', alg: 'ES256' }, 'RS256'),
    'another key under our key id': () => selfSigned(),
    'an unknown key id': () => headed({ kid: 'ES256-9' }),
    'a key id that is a path': () => headed({ kid: '../../dev/null' }),
    'type JWT': () => headed({ typ: 'JWT' }),
    'no type': () => headed({ typ: undefined }),
    'type dpop+jwt': () => headed({ typ: 'dpop+jwt' }),
    'another audience': () => on.token('vera', { aud: 'https://other.example' }),
    'a further audience': () => on.token('vera', { aud: [ISSUER, 'https://other.example'] }),
    'no audience': () => on.token('vera', { aud: undefined }),
    'another issuer': () => on.token('vera', { iss: 'https://other.example' }),
    'the issuer with a slash': () => on.token('vera', { iss: `${on.login.url}/` }),
    'no issuer': () => on.token('vera', { iss: undefined }),
    expired: () => on.token('vera', { iat: seconds() - 300, exp: seconds() - 60 }),
    'of the future': () => on.token('vera', { iat: seconds() + 60 }),
    'not valid yet': () => on.token('vera', { nbf: seconds() + 60 }),
    'too long a life': () => on.token('vera', { exp: seconds() + 100_000 }),
    'no end': () => on.token('vera', { exp: undefined }),
    'an end as text': () => on.token('vera', { exp: '9999999999' }),
    'an end that is no number': () =>
      withText(JSON.stringify(header()), JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e400')),
    'somebody unknown': () => on.token('nobody'),
    'no subject': () => on.token('vera', { sub: undefined }),
    'a subject that is a list': () => on.token('vera', { sub: ['vera'] }),
    'an actor': () => on.token('vera', { act: { sub: 'olivia' } }),
    'bound to a key': () => on.token('vera', { cnf: { jkt: 'A'.repeat(43) } }),
    'bound to a certificate': () => on.token('vera', { cnf: { 'x5t#S256': 'A'.repeat(43) } }),
    crit: () => headed({ crit: ['exp'] }),
    b64: () => headed({ b64: false, crit: ['b64'] }),
    jku: () => headed({ jku: 'https://evil.example/jwks' }),
    x5u: () => headed({ x5u: 'https://evil.example/cert' }),
    x5c: () => headed({ x5c: ['MIIB'] }),
    jwk: () => headed({ jwk: { kty: 'EC' } }),
    'alg twice': () => withText('{"alg":"none","alg":"ES256","kid":"ES256-1","typ":"at+jwt"}'),
    'sub twice': () => withText(JSON.stringify(header()), JSON.stringify(claims()).replace('{', '{"sub":"olivia",')),
    'claims with a prototype': () =>
      withText(JSON.stringify(header()), JSON.stringify(claims()).replace('}', ',"__proto__":{}}')),
    'claims that are a list': () => withText(JSON.stringify(header()), `[${JSON.stringify(claims())}]`),
    'deep claims': () => withText(JSON.stringify(header()), `{"a":${'['.repeat(1_000)}${']'.repeat(1_000)}}`),
    'more than 8 KB': () => on.token('vera', { pad: 'a'.repeat(7_000) }),
    'more than 20 KB': () => on.token('vera', { pad: 'a'.repeat(16_000) }),
    padding: () => `${on.token('vera')}==`,
    'four parts': () => `${on.token('vera')}.a`,
    'two parts': () => parts(on.token('vera')).slice(0, 2).join('.'),
    'an encrypted one': () => `${on.token('vera')}.a.a`,
    'only dots': () => '..',
    'a word': () => 'token',
    ...Object.fromEntries(
      ([0, 1, 2] as const).flatMap((part) =>
        (['first', 'middle', 'last'] as const).map((where) => [
          `part ${part} altered at its ${where}`,
          () => altered(part, where),
        ]),
      ),
    ),
  }
  const NAMES = Object.keys(BAD)

  it('are of 55 kinds and more, and the good one that they stem from is taken', async () => {
    expect(NAMES.length).toBeGreaterThanOrEqual(55)
    expect((await on.send('GET', at('/v1/grants/:id'), [bearer()])).status).toBe(200)
  })

  it.each(ROUTES)('that are bad are refused by $name', async (route) => {
    await eachOf(NAMES, async (name) => {
      const sent = route.body === undefined ? undefined : '{}'
      const headers = [bearer(BAD[name]?.()), ...(sent === undefined ? [] : [JSON_TYPE])]
      isRefusal(await on.send(route.method, at(route.path), headers, sent), [401], name)
    })
  })

  it('that are bad are refused as subject tokens', async () => {
    const details = JSON.stringify([{ type: 'https://writ.dev/schemas/change/v1', identifier: id }])
    await eachOf(NAMES, async (name) => {
      const form = new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: BAD[name]?.() ?? '',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        authorization_details: details,
      }).toString()
      isRefusal(await on.send('POST', '/oauth2/token', [FORM_TYPE], form), [400, 413], name)
    })
  })

  it('that are bad are refused as client assertions, and as a proof', async () => {
    await eachOf(NAMES, async (name) => {
      const form = new URLSearchParams({
        token: 'a',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: BAD[name]?.() ?? '',
      }).toString()
      isRefusal(await on.send('POST', '/oauth2/introspect', [FORM_TYPE], form), [401, 413], name)
      isRefusal(await on.send('GET', '/v1/grants', [bearer(), ['DPoP', BAD[name]?.() ?? '']]), [401], name)
    })
  })

  it('that are good are refused with a proof for anything else', async () => {
    const key = await clientKey()
    const token = on.token('vera', { cnf: { jkt: key.jkt } })
    const iat = Math.floor(on.world.now() / 1_000)
    const of = (changes: object) => ({
      jti: randomUUID(),
      htm: 'GET',
      htu: `${ISSUER}/v1/grants`,
      iat,
      ath: hash('sha256', token, 'base64url'),
      ...changes,
    })
    const ask = async (changes: object, header = {}) =>
      on.send('GET', '/v1/grants', [
        ['Authorization', `DPoP ${token}`],
        ['DPoP', await proof(key, of(changes), header)],
      ])
    expect((await ask({})).status).toBe(200)
    const wrong: readonly object[] = [
      ...['POST', 'get', 'GET ', 1].map((htm) => ({ htm })),
      ...[
        '/v1/grants',
        `${ISSUER}/v1/grants/`,
        `${ISSUER}/V1/grants`,
        `${ISSUER}:443/v1/grants`,
        'https://other.example/v1/grants',
        `http${ISSUER.slice(5)}/v1/grants`,
      ].map((htu) => ({ htu })),
      ...[iat - 100, iat + 100, -1, 1.5, 1e300, 'now', null].map((at) => ({ iat: at })),
      ...['', 'a'.repeat(200), 'a b', null, 1].map((jti) => ({ jti })),
      ...['', 'a', undefined, hash('sha256', 'another', 'base64url')].map((ath) => ({ ath })),
    ]
    for (const changes of wrong) isRefusal(await ask(changes), [401], JSON.stringify(changes))
    const once = of({})
    const again = async () =>
      on.send('GET', '/v1/grants', [
        ['Authorization', `DPoP ${token}`],
        ['DPoP', await proof(key, once)],
      ])
    expect([(await again()).status, (await again()).status]).toEqual([200, 401])
  })
})

describe('headers, queries and addresses', () => {
  it('of every strange kind are refused', async () => {
    const more = (name: string, value: string) => [bearer(), [name, value] as const] as const
    const sent: readonly (readonly [string, string, readonly (readonly [string, string])[], readonly number[]])[] = [
      ['GET', '/v1/grants', [bearer(), bearer()], [401]],
      ['GET', '/v1/grants', [['Authorization', 'Basic dmVyYTpwdw==']], [401]],
      ['GET', '/v1/grants', [['Authorization', `Bearer  ${on.token('vera')}`]], [401]],
      ['GET', '/v1/grants', [['Authorization', `Bearer\t${on.token('vera')}`]], [401]],
      ['GET', '/v1/grants', [['Authorization', on.token('vera')]], [401]],
      ['GET', '/v1/grants', [['Authorization', `Bearer ${'a'.repeat(20_000)}`]], [401]],
      ['GET', '/v1/grants', [['X-Forwarded-Authorization', `Bearer ${on.token('vera')}`]], [401]],
      ['GET', `/v1/grants?access_token=${on.token('vera')}`, [], [401]],
      ['GET', at('/v1/grants/:id/revoke'), more('X-HTTP-Method-Override', 'POST'), [405]],
      ['GET', at('/v1/grants/:id/revoke?_method=POST'), more('X-Method-Override', 'POST'), [405]],
      ['DELETE', at('/v1/grants/:id'), [bearer()], [405]],
      ['TRACE', '/v1/grants', [bearer()], [405]],
      ['GET', at('/v1/grants/:id'), more('X-Original-URL', '/v1/operations/recover'), [200]],
      ['GET', at('/v1/grants/:id'), more('X-Rewrite-URL', '/v1/operations/recover'), [200]],
      ...[
        'limit=1&limit=2',
        'limit[]=1',
        'limit[a]=1',
        'LIMIT=1',
        'limit=',
        'limit=0',
        'limit=-1',
        'limit=1e1',
        'limit=%31%00',
        'limit=101',
        'limit=99999999999999999999',
        'limit=\uff11',
        '__proto__=1',
        '__proto__[a]=1',
        'constructor=1',
        'admin=true',
        'limit=%zz',
        'limit=%ff',
        'limit=%c0%80',
        'limit=%ed%a0%80',
        'a',
        '=1',
        '&',
        'limit=1&',
        '?limit=1',
        'mine=false',
        'mine=1',
        'status=',
        'status=pending,',
        'status=nothing',
        'status=__proto__',
        'cursor=',
        'cursor=../../x',
        'cursor=%0d%0aX:1',
        'tenant=A',
        'tenant=*',
        'target=%20',
        'filedFrom=now',
        'filedFrom=2026-02-30T00:00:00Z',
        `cursor=${'a'.repeat(201)}`,
        Array.from({ length: 51 }, (_, n) => `a${n}=1`).join('&'),
      ].map((query) => ['GET', `/v1/grants?${encodeURI(query).replaceAll('%25', '%')}`, [bearer()], [400]] as const),
      ...[
        '/v1/grants/..',
        '/v1/grants/../operations/recover',
        '/v1//grants',
        '//v1/grants',
        '/v1/grants/',
        '/v1/grants%2f',
        '/v1%2fgrants',
        '/V1/grants',
        '/v1/grants;a=1',
        '/v1/./grants',
        '/%76%31/grants%00',
        '/v1/grants/%',
        '/v1/grants/%ff',
        '/v1/grants/%00',
        '/v1/grants/__proto__',
        '/v1/grants/constructor',
        '/.git/config',
        '/v1/grants/g0-%2e%2e%2fx',
        `/v1/grants/${'a'.repeat(8_000)}`,
        `/v1/grants/${id}%0d%0aX:1`,
        `/v1/grants/${id.toUpperCase()}`,
        `/v1/grants/${id}/..%2f..%2foperations`,
        '/openapi.json/',
        '/healthz/..',
        '/%2e%2e/v1/grants',
        '/v1/grants/..%5c..%5c',
      ].map((path) => ['GET', path, [bearer()], [404]] as const),
    ]
    for (const [method, path, headers, statuses] of sent) {
      const got = await on.send(method, path, headers)
      if (statuses[0] === 200) expect(JSON.parse(got.text)).toMatchObject({ id })
      else isRefusal(got, statuses, `${method} ${path.slice(0, 200)} ${JSON.stringify(headers.slice(1)).slice(0, 200)}`)
    }
  })

  it('are not taken where they say the same thing twice, or another thing than they are', async () => {
    const auth = `Authorization: Bearer ${on.token('vera')}`
    const head = (...lines: readonly string[]) => `${lines.join('\r\n')}\r\n\r\n`
    const json = 'Content-Type: application/json'
    const post = 'POST /v1/grants HTTP/1.1'
    const smuggled = `GET /v1/grants HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`
    const sent: Readonly<Record<string, string>> = {
      'both lengths': `${head(post, 'Host: x', auth, json, 'Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n${smuggled}`,
      'both lengths, the other way': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${smuggled}`,
      'two lengths': `${head(post, 'Host: x', auth, json, 'Content-Length: 2', 'Content-Length: 30')}{}${smuggled}`,
      'a list of lengths': `${head(post, 'Host: x', auth, json, 'Content-Length: 2, 2')}{}`,
      'a signed length': `${head(post, 'Host: x', auth, json, 'Content-Length: +2')}{}`,
      'a negative length': `${head(post, 'Host: x', auth, json, 'Content-Length: -2')}{}`,
      'a length in hex': `${head(post, 'Host: x', auth, json, 'Content-Length: 0x2')}{}`,
      'a length with a space before its colon': `${head(post, 'Host: x', auth, json, 'Content-Length : 2')}{}`,
      'an unknown coding': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: identity')}{}`,
      'chunked twice': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: chunked, chunked')}0\r\n\r\n`,
      'chunked not last': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: chunked, gzip')}0\r\n\r\n`,
      'a disguised coding': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: xchunked')}0\r\n\r\n`,
      'a chunk of no size': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: chunked')}zz\r\n\r\n`,
      'a chunk that is longer than it says': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: chunked')}1\r\n{}\r\n0\r\n\r\n`,
      'a chunk of endless size': `${head(post, 'Host: x', auth, json, 'Transfer-Encoding: chunked')}fffffffffffffffff\r\n`,
      'a body where none is taken': `${head('GET /v1/grants HTTP/1.1', 'Host: x', auth, 'Content-Length: 2')}{}`,
      'no host': head('GET /v1/grants HTTP/1.1', auth),
      'two hosts': head('GET /v1/grants HTTP/1.1', 'Host: x', 'Host: y', auth, 'Connection: close'),
      'a folded header': head(
        'GET /v1/grants HTTP/1.1',
        'Host: x',
        'Authorization: Bearer',
        ` ${on.token('vera')}`,
        'Connection: close',
      ),
      'a NUL in a header': head('GET /v1/grants HTTP/1.1', 'Host: x', `${auth}\0`),
      'a bare carriage return': `GET /v1/grants HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n`,
      'bare line feeds': 'GET /v1/grants HTTP/1.1\nHost: x\n\n',
      'a header without a name': head('GET /v1/grants HTTP/1.1', 'Host: x', ': a'),
      'a header without a colon': head('GET /v1/grants HTTP/1.1', 'Host: x', 'Authorization'),
      'a space in a name': head('GET /v1/grants HTTP/1.1', 'Host: x', 'X Y: a'),
      'no version': head('GET /v1/grants', 'Host: x'),
      'an unknown version': head('GET /v1/grants HTTP/9.9', 'Host: x'),
      'HTTP/2 without an agreement': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'an unknown method': head('FROB /v1/grants HTTP/1.1', 'Host: x'),
      'an absolute address': head('GET http://evil.example/v1/unknown HTTP/1.1', 'Host: x', auth, 'Connection: close'),
      'a tunnel': head('CONNECT evil.example:443 HTTP/1.1', 'Host: x'),
      'an asterisk': head('OPTIONS * HTTP/1.1', 'Host: x', 'Connection: close'),
      'a space in the address': head('GET /v1/grants ?a HTTP/1.1', 'Host: x'),
      'a NUL in the address': head('GET /v1/grants\0 HTTP/1.1', 'Host: x'),
      'TLS where none is': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      'large headers': head(
        'GET /v1/grants HTTP/1.1',
        'Host: x',
        ...Array.from({ length: 50 }, (_, n) => `X-${n}: ${'a'.repeat(1_000)}`),
      ),
      'an upgrade': head('GET /v1/unknown HTTP/1.1', 'Host: x', 'Upgrade: websocket', 'Connection: Upgrade'),
      'an expectation': head('GET /v1/unknown HTTP/1.1', 'Host: x', 'Expect: 200-maybe', 'Connection: close'),
    }
    /** Where 400 is not the answer. */
    const other: Readonly<Record<string, string>> = {
      // HTTP/0.9 is answered like everything else; a tunnel is closed without a word.
      'no version': '401',
      'a tunnel': '',
      'an absolute address': '404',
      'an asterisk': '404',
      'large headers': '431',
      'an upgrade': '404',
      'an expectation': '404',
    }
    for (const [what, bytes] of Object.entries(sent)) {
      const text = await on.raw(bytes)
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status).join()
      expect([what, statuses, text.slice(0, 2_000)]).toEqual([what, other[what] ?? '400', text.slice(0, 2_000)])
      if (statuses === '') continue
      const [lines = '', answer = ''] = text.split('\r\n\r\n')
      expect([what, lines.toLowerCase()]).toEqual([what, expect.stringContaining('application/problem+json')])
      expect([what, answered({ status: Number(statuses), lines, text: answer })]).toEqual([what, []])
    }
  })
})

const check = openApiCheck(openApiDocument(ISSUER))
/** An answer as it came over the socket, held against the document at an address where every refusal may be. */
const answered = ({ status, lines, text }: { status: number; lines: string; text: string }): readonly string[] => {
  const headers = Object.fromEntries(
    lines
      .split('\r\n')
      .slice(1)
      .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  )
  return check({
    method: status === 404 ? 'GET' : 'POST',
    path: status === 404 ? '/nothing' : '/v1/grants',
    status,
    headers,
    text,
  })
}

describe('slow requests', () => {
  it('are cut off with 408, whether their headers or their body come too slowly', async () => {
    slow.server.headersTimeout = 300
    slow.server.requestTimeout = 600
    const head = `POST /v1/grants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${slow.token('vera')}\r\nContent-Type: application/json\r\n`
    const drip = (first: string) =>
      new Promise<string>((resolve) => {
        let seen = ''
        const socket = connect(slow.port, '127.0.0.1', () => socket.write(first))
        const timer = setInterval(() => first !== '' && socket.writable && socket.write('a'), 100)
        socket.on('data', (chunk) => {
          seen += String(chunk)
        })
        socket.on('error', () => undefined)
        socket.on('close', () => {
          clearInterval(timer)
          resolve(seen)
        })
      })
    const all = await Promise.all([
      drip(''),
      drip('GET /v1/grants HTTP/1.1\r\nX-'),
      drip(`${head}X-`),
      drip(`${head}Content-Length: 1000\r\n\r\n{"entitlement":"`),
    ])
    for (const text of all) {
      expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 408'])
      const [lines = '', answer = ''] = text.split('\r\n\r\n')
      expect(answered({ status: 408, lines, text: answer })).toEqual([])
    }
    expect({ writes: slow.writes(), failures: slow.failures }).toEqual({ writes: 0, failures: [] })
  }, 30_000)
})

describe('the process', () => {
  /** The longest that the event loop stood still while this was going on, at best. */
  async function stillness(work: () => Promise<unknown>): Promise<number> {
    let best = Number.POSITIVE_INFINITY
    for (let n = 0; n < TRIES && best > LONGEST_MS; n += 1) {
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      // The histogram begins with the second tick.
      await new Promise((resolve) => setTimeout(resolve, 3))
      await work()
      await new Promise((resolve) => setTimeout(resolve, 3))
      delay.disable()
      best = Math.min(best, delay.max / 1e6)
    }
    return best
  }

  it('would be seen standing still', async () => {
    const busy = async () => {
      const end = performance.now() + LONGEST_MS + 10
      while (performance.now() < end);
    }
    expect(await stillness(busy)).toBeGreaterThan(LONGEST_MS)
  })

  const filled = (text: string, n: number) => text.repeat(Math.ceil(n / text.length)).slice(0, n)
  const summary = (value: string) => `{"task":{"summary":${value}}}`
  const SIZE = 65_000
  it.each<[string, string]>([
    ['nested arrays', '['.repeat(SIZE)],
    ['nested objects', filled('{"a":', SIZE)],
    ['commas', ','.repeat(200_000)],
    ['many items', `[${filled('0,', SIZE)}0]`],
    ['many empty arrays', `{"scope":[${filled('[],', SIZE - 60)}[]]}`],
    ['a long number', '1'.repeat(SIZE)],
    ['a long fraction', `0.${'1'.repeat(SIZE)}`],
    ['a long exponent', `1e${'1'.repeat(SIZE)}`],
    ['a long text of escapes', summary(`"${filled('\\u0061', SIZE - 30)}"`)],
    ['a long text of backslashes', summary(`"${filled('\\\\', SIZE - 30)}"`)],
    ['a long text that never ends', summary(`"${'a'.repeat(SIZE - 30)}`)],
    ['an escape that never ends', summary(`"${filled('\\\\', SIZE - 31)}\\`)],
    ['blanks', ' '.repeat(SIZE)],
    ['blanks in a text', summary(`"${' '.repeat(SIZE - 30)}"`)],
    ['joiners in a text', summary(`"${'\u200d'.repeat(20_000)}"`)],
    ['surrogates in a text', summary(`"${'\ud83e\udd84'.repeat(15_000)}"`)],
    ['two hundred members', `{${Array.from({ length: 200 }, (_, n) => `"${n}${'k'.repeat(300)}":0`).join()}}`],
    ...['entitlement', 'replaces', 'destination', 'changeClass'].flatMap((member) =>
      ['a-', 'a', '-', '!', 'g0-', '1'].map((part): [string, string] => [
        `${member} of ${part}`,
        `{"${member}":"${filled(part, SIZE - 40)}!"}`,
      ]),
    ),
    ...['1h', '1', '1ms', '9999999999'].map((part): [string, string] => [
      `a duration of ${part}`,
      `{"window":{"duration":"${filled(part, SIZE - 40)}x"}}`,
    ]),
    ...['2026-', '0', '2026-12-01T22:00:00.', 'Z'].map((part): [string, string] => [
      `a time of ${part}`,
      `{"window":{"opensAt":"${filled(part, SIZE - 40)}"}}`,
    ]),
    ...['a/', 'a', '/', 'a.+-'].map((part): [string, string] => [
      `a media type of ${part}`,
      `{"plan":{"mediaType":"${filled(part, SIZE - 40)}\u00e4"}}`,
    ]),
    ...['http://a', 'https://', 'http://a@', 'http://[', 'http://a/?', 'http://a/../'].map((part): [string, string] => [
      `an address of ${part}`,
      `{"ticket":{"url":"${part}${filled(part.slice(-1), SIZE - 60)} "}}`,
    ]),
    ['a digest', `{"plan":{"digest":"sha-256:${'A'.repeat(SIZE - 40)}"}}`],
    ['a key', `{"executor":{"key":"${'A'.repeat(SIZE - 40)}!"}}`],
  ])('is not held up by %s', async (what, text) => {
    const ask = async () =>
      isRefusal(await on.send('POST', '/v1/grants', [bearer(), JSON_TYPE], text), [400, 413], what)
    expect(await stillness(ask)).toBeLessThanOrEqual(LONGEST_MS)
  })

  it.each<[string, string, string, readonly (readonly [string, string])[]]>([
    [
      'fifty parameters',
      'GET',
      `/v1/grants?${Array.from({ length: 50 }, (_, n) => `p${n}=${filled('%61', 300)}`).join('&')}`,
      [],
    ],
    ['a query of nothing but &', 'GET', `/v1/grants?${'&'.repeat(20_000)}`, []],
    ['a long status list', 'GET', `/v1/grants?status=${filled('pending,', 20_000)}`, []],
    ['a long cursor', 'GET', `/v1/grants?cursor=${filled('a:~', 20_000)}%20`, []],
    ['a long number', 'GET', `/v1/grants?limit=${'1'.repeat(20_000)}`, []],
    ['a long address', 'GET', `/v1/grants/${filled('%2e', 20_000)}`, []],
    ['a long address of slashes', 'GET', '/'.repeat(20_000), []],
    ['a token of =', 'GET', '/v1/grants', [['Authorization', `Bearer a${'='.repeat(20_000)}!`]]],
    ['a token of blanks', 'GET', '/v1/grants', [['Authorization', `Bearer${' '.repeat(20_000)}a`]]],
    ['a token of dots', 'GET', '/v1/grants', [['Authorization', `Bearer ${filled('a.', 8_190)}`]]],
    ['a proof of dots', 'GET', '/v1/grants', [['DPoP', filled('a.', 20_000)]]],
    [
      'a proof of quotes',
      'GET',
      '/v1/grants',
      [['DPoP', `${base64url(`{${filled('"\\"":', 2_900)}`)}.YQ.${'A'.repeat(86)}`]],
    ],
    [
      'an If-Match of quotes',
      'POST',
      '/v1/grants',
      [
        ['If-Match', '"'.repeat(20_000)],
        ['Content-Type', 'application/json'],
      ],
    ],
    ['a media type of ;', 'POST', '/v1/grants', [['Content-Type', `application/json${';'.repeat(20_000)}`]]],
    ['a key for repeating', 'POST', '/v1/grants', [['Idempotency-Key', '"'.repeat(20_000)], JSON_TYPE]],
    ['many headers', 'GET', '/v1/unknown', Array.from({ length: 60 }, (_, n) => [`X-${n}`, 'a'.repeat(400)] as const)],
  ])('is not held up by %s', async (what, method, path, headers) => {
    const named = headers.some(([name]) => name === 'Authorization')
    const ask = async () =>
      isRefusal(
        await on.send(method, path, [...(named ? [] : [bearer()]), ...headers]),
        [400, 401, 404, 414, 415, 431],
        what,
      )
    expect(await stillness(ask)).toBeLessThanOrEqual(LONGEST_MS)
  })
})
