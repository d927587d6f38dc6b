// The attack corpus for tokens of others: one valid token, and everything that is almost it. Real keys, real HTTP, the shipped path
// from text to caller; only the clock stands still.
import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { compactVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BrokerError, isBrokerError } from '../../src/domain/errors.ts'
import type { Thumbprint } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import { type Authenticate, authenticator, tokenReader, trustIssuers } from '../../src/identity/authenticate.ts'
import { documentFetcher } from '../../src/identity/fetch-document.ts'
import { compileIssuers } from '../../src/identity/issuers.ts'
import { signatureHolds } from '../../src/identity/signature.ts'
import { codeOf } from '../support/code-of.ts'
import { compiled, shippedDirectory, withoutPersons } from '../support/directory.ts'
import {
  base64url,
  type JsonObject,
  macToken,
  signatureOf,
  startTokenMaker,
  type TokenMaker,
} from '../support/token-maker.ts'

/** Milliseconds; many runs on a busy machine. */
const SLOW = 60_000

const BROKER = 'https://writ.northwind.example'
const NOW = instant(1_795_000_000_500)
const SECOND = Math.floor(NOW / 1_000)
let login: TokenMaker
let stranger: TokenMaker
let authenticate: Authenticate
/** The same after sam, for whom nobody else answers for the triage agent, was switched off. */
let afterSam: Authenticate
let now: Instant = NOW

beforeAll(async () => {
  login = await startTokenMaker(['ES256', 'RS256', 'PS256', 'EdDSA', 'ES384'])
  stranger = await startTokenMaker(['ES256'])
  const text = `
issuers:
  login: { url: "${login.url}", discovery: true, types: [at+jwt], maximalAge: 10m, maximalLife: 15m }
  ci: { url: "${login.url}/ci", jwksUri: "${login.jwksUrl}", types: [JWT, absent], algorithms: [RS256], ignoredHeaders: [x5t] }
`
  const issuers = trustIssuers(compiled(compileIssuers(text, 'issuers.yaml', () => '', { dev: true })), {
    audience: BROKER,
    fetch: documentFetcher({ dev: true }),
    now: () => now,
  })
  const directory = await shippedDirectory()
  authenticate = authenticator({
    read: tokenReader({ issuers: () => issuers, now: () => now }),
    directory: () => directory,
  })
  const later = await withoutPersons('sam')
  afterSam = authenticator({ read: tokenReader({ issuers: () => issuers, now: () => now }), directory: () => later })
})
afterAll(async () => {
  await login.stop()
  await stranger.stop()
})

const claims = (changes: JsonObject = {}): JsonObject => ({
  iss: login.url,
  sub: 'olivia',
  aud: BROKER,
  iat: SECOND - 10,
  exp: SECOND + 300,
  jti: 'token-1',
  ...changes,
})
const good = (changes: JsonObject = {}): string => login.sign(claims(changes), { typ: 'at+jwt' })
const header = (changes: JsonObject = {}): JsonObject => ({ alg: 'ES256', kid: 'ES256-1', typ: 'at+jwt', ...changes })
const withHeader = (changes: JsonObject): string =>
  login.signText(JSON.stringify(header(changes)), JSON.stringify(claims()))
const withClaimsText = (text: string): string => login.signText(JSON.stringify(header()), text)
const parts = (token: string): [string, string, string] => token.split('.') as [string, string, string]
const unsigned = (alg: string): string =>
  `${base64url(JSON.stringify(header({ alg })))}.${base64url(JSON.stringify(claims()))}.`
const pem = (): string => String(login.publicKey('RS256').export({ format: 'pem', type: 'spki' }))
const der = (): Buffer => login.publicKey('RS256').export({ format: 'der', type: 'spki' })
/** The last character of a part with its spare bits set: the same bytes in another spelling. */
const respelled = (part: string): string => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(part.at(-1) ?? '')
  const other = [...alphabet].find(
    (sign, n) =>
      n !== last && Buffer.from(part.slice(0, -1) + sign, 'base64url').equals(Buffer.from(part, 'base64url')),
  )
  if (other === undefined) throw new Error('this part has no second spelling; choose another length')
  return part.slice(0, -1) + other
}
/** Claims whose base64url leaves spare bits. */
const spare = (): string => {
  for (const pad of ['', 'x', 'xx']) {
    const token = good({ pad })
    if ((parts(token)[1].length * 6) % 8 !== 0) return token
  }
  throw new Error('unreachable')
}

describe('a token that held before', () => {
  it('is judged anew by the time: it is refused the second that it is over', async () => {
    const token = good({ exp: SECOND + 60 })
    expect(await codeOf(authenticate(token, undefined))).toBe('accepted')
    now = instant(NOW + 64_000)
    expect(await codeOf(authenticate(token, undefined))).toBe('accepted')
    now = instant(NOW + 65_000)
    expect(await codeOf(authenticate(token, undefined))).toBe('unauthenticated')
    now = NOW
  })

  it('is judged anew by the directory: whoever was switched off is nobody with it', async () => {
    const token = good({ sub: 'triage-agent' })
    expect(await codeOf(authenticate(token, undefined))).toBe('accepted')
    expect(await codeOf(afterSam(token, undefined))).toBe('not_permitted')
  })

  it('is not the same with another signature, header or claim', async () => {
    const token = good()
    expect(await codeOf(authenticate(token, undefined))).toBe('accepted')
    const [head, body, signature] = parts(token)
    const [, other] = parts(good({ sub: 'rob' }))
    for (const altered of [
      `${head}.${other}.${signature}`,
      `${head}.${body}.${parts(good())[2]}`.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
      `${base64url(JSON.stringify(header({ kid: 'RS256-1' })))}.${body}.${signature}`,
    ])
      expect(await codeOf(authenticate(altered, undefined))).toBe('unauthenticated')
  })

  it('is refused with the key that its issuer took back', async () => {
    const maker = await startTokenMaker(['ES256'])
    const text = `issuers:\n  login: { url: "${maker.url}", discovery: true, types: [at+jwt], maximalAge: 20m, maximalLife: 20m }\n`
    const issuers = trustIssuers(compiled(compileIssuers(text, 'issuers.yaml', () => '', { dev: true })), {
      audience: BROKER,
      fetch: documentFetcher({ dev: true }),
      now: () => now,
    })
    const directory = await shippedDirectory()
    const read = tokenReader({ issuers: () => issuers, now: () => now })
    const ask = authenticator({ read, directory: () => directory })
    const token = maker.sign({ ...claims({ exp: SECOND + 1_000 }), iss: maker.url }, { typ: 'at+jwt' })
    expect(await codeOf(ask(token, undefined))).toBe('accepted')
    maker.rotate()
    now = instant(NOW + 601_000)
    expect(await codeOf(ask(token, undefined))).toBe('unauthenticated')
    now = NOW
    await maker.stop()
  })
})

describe('the signature of a token', () => {
  it.each(['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'] as const)(
    'holds under %s exactly where jose says that it does',
    async (algorithm) => {
      const key = login.publicKey(algorithm)
      const token = login.sign(claims(), { typ: 'at+jwt' }, algorithm)
      const end = token.lastIndexOf('.')
      const bytes = Buffer.from(token.slice(end + 1), 'base64url')
      const flipped = Array.from({ length: 16 }, (_, n) => {
        const other = Buffer.from(bytes)
        const at = Math.floor((n * bytes.length) / 16)
        other[at] = (other[at] ?? 0) ^ (1 << (n % 8))
        return other
      })
      const others = [bytes, ...flipped, Buffer.alloc(bytes.length), bytes.subarray(1), Buffer.concat([bytes, bytes])]
      for (const signature of [...others, Buffer.from([0])]) {
        const altered = `${token.slice(0, end)}.${base64url(signature)}`
        const oracle = await compactVerify(altered, key, { algorithms: [algorithm] }).then(
          () => true,
          () => false,
        )
        expect(signatureHolds(altered, algorithm, key)).toBe(oracle)
      }
      expect(signatureHolds(token, algorithm, key)).toBe(true)
      expect(signatureHolds(token.replace('.', '.A'), algorithm, key)).toBe(false)
    },
  )
})

describe('what is accepted', () => {
  it.each(['ES256', 'RS256', 'PS256', 'EdDSA'] as const)(
    'a token that meets every pin, signed with %s',
    async (algorithm) => {
      const caller = await authenticate(login.sign(claims(), { typ: 'at+jwt' }, algorithm), undefined)
      expect(caller.principal.id).toBe('olivia')
    },
  )

  it('an audience that is a list of exactly the broker', async () => {
    expect(await codeOf(authenticate(good({ aud: [BROKER] }), undefined))).toBe('accepted')
  })

  it('times at the edge of the tolerance, and not one second further', async () => {
    const codes = (all: readonly JsonObject[]) =>
      Promise.all(all.map((one) => codeOf(authenticate(good(one), undefined))))
    // Expired: valid while now < exp + 5.
    expect(await codes([{ exp: SECOND - 4 }, { exp: SECOND - 5 }])).toEqual(['accepted', 'unauthenticated'])
    expect(await codes([{ iat: SECOND + 5 }, { iat: SECOND + 6 }])).toEqual(['accepted', 'unauthenticated'])
    expect(await codes([{ nbf: SECOND + 5 }, { nbf: SECOND + 6 }])).toEqual(['accepted', 'unauthenticated'])
    expect(
      await codes([
        { iat: SECOND - 605, exp: SECOND + 200 },
        { iat: SECOND - 606, exp: SECOND + 200 },
      ]),
    ).toEqual(['accepted', 'unauthenticated'])
    expect(
      await codes([
        { iat: SECOND, exp: SECOND + 900 },
        { iat: SECOND, exp: SECOND + 901 },
      ]),
    ).toEqual(['accepted', 'unauthenticated'])
  })

  it('an ignored header member only from the issuer that is configured so', async () => {
    const ci = claims({ iss: `${login.url}/ci`, repository_id: '812345', run_id: '1' })
    expect(await codeOf(authenticate(login.sign(ci, { typ: 'JWT', x5t: 'abc' }, 'RS256'), undefined))).toBe('accepted')
    expect(await codeOf(authenticate(login.sign(ci, {}, 'RS256'), undefined))).toBe('accepted')
    expect(await codeOf(authenticate(login.sign(ci, { typ: 'JWT', x5u: 'abc' }, 'RS256'), undefined))).toBe(
      'unauthenticated',
    )
  })

  it('the second spelling of an ECDSA signature, which is why replays are told by jti', async () => {
    const [head, body, signature] = parts(good())
    const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const bytes = Buffer.from(signature, 'base64url')
    const s = n - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
    expect(await codeOf(authenticate(`${head}.${body}.${base64url(other)}`, undefined))).toBe('accepted')
  })
})

/** Name and token; made late, because the keys exist only then. */
const CORPUS: readonly (readonly [string, () => string])[] = [
  // No signature, or a symmetric one
  ...['none', 'None', 'NONE', 'nOnE', ''].map(
    (alg) => [`alg '${alg}' without signature`, () => unsigned(alg)] as const,
  ),
  ['alg none with a signature', () => `${unsigned('none')}${parts(good())[2]}`],
  ['an empty signature', () => `${parts(good())[0]}.${parts(good())[1]}.`],
  ...['HS256', 'HS384', 'HS512'].map(
    (alg) =>
      [`${alg} with the public key in PEM`, () => macToken(header({ alg, kid: 'RS256-1' }), claims(), pem())] as const,
  ),
  ['HS256 with the public key in DER', () => macToken(header({ alg: 'HS256', kid: 'RS256-1' }), claims(), der())],
  [
    'HS256 with the public key as JWK',
    () => macToken(header({ alg: 'HS256' }), claims(), JSON.stringify(login.jwks().keys[0])),
  ],
  ['HS256 with an empty key', () => macToken(header({ alg: 'HS256' }), claims(), '')],
  ['a MAC under the name RS256', () => macToken(header({ alg: 'RS256', kid: 'RS256-1' }), claims(), pem())],
  ['a MAC under the name ES256', () => macToken(header(), claims(), pem())],
  // Another algorithm or key
  ['an algorithm that the issuer may not use', () => login.sign(claims(), { typ: 'at+jwt' }, 'ES384')],
  ...['ES256K', 'RS1', 'es256', 'ES256 ', 'A128KW', 'dir', 'RSA-OAEP', 'ML-DSA-44'].map(
    (alg) => [`alg '${alg}'`, () => withHeader({ alg })] as const,
  ),
  ['no alg', () => withHeader({ alg: undefined })],
  ['alg as a list', () => withHeader({ alg: ['ES256'] })],
  ['alg null', () => withHeader({ alg: null })],
  ['the key of another algorithm', () => withHeader({ kid: 'RS256-1' })],
  ['RS256 under the key id of PS256', () => login.sign(claims(), { typ: 'at+jwt', kid: 'PS256-1' }, 'RS256')],
  ["a stranger's key under our key id", () => stranger.sign(claims(), { typ: 'at+jwt' })],
  [
    "a stranger's issuer, signed by the stranger",
    () => stranger.sign(claims({ iss: stranger.url }), { typ: 'at+jwt' }),
  ],
  // Key ids
  ...(
    [
      '',
      '../../../../dev/null',
      '/etc/passwd',
      "' OR 1=1 --",
      'ES256-1\u0000',
      'es256-1',
      ' ES256-1',
      'ES256-2',
      '__proto__',
      'constructor',
      'http://127.0.0.1/key',
    ] as const
  ).map((kid) => [`key id ${JSON.stringify(kid)}`, () => withHeader({ kid })] as const),
  ['a key id of 300 characters', () => withHeader({ kid: 'k'.repeat(300) })],
  ...[1, null, ['ES256-1'], { kid: 'ES256-1' }, true].map(
    (kid) => [`key id ${JSON.stringify(kid)}`, () => withHeader({ kid })] as const,
  ),
  // Header members that steer
  ...(
    [
      ['jku', 'https://evil.example/jwks'],
      ['x5u', 'https://evil.example/cert'],
      ['x5c', ['MIIB']],
      ['x5t', 'abc'],
      ['x5t#S256', 'abc'],
      ['jwk', { kty: 'EC' }],
      ['crit', ['exp']],
      ['crit', []],
      ['crit', ['b64']],
      ['b64', false],
      ['b64', true],
      ['cty', 'JWT'],
      ['zip', 'DEF'],
      ['enc', 'A128GCM'],
      ['epk', {}],
      ['p2c', 1],
      ['iss', 'x'],
      ['ALG', 'none'],
      ['Kid', 'x'],
      ['', 'x'],
      ['nonce', 'x'],
    ] as const
  ).map(
    ([member, value]) =>
      [`header member ${member} ${JSON.stringify(value)}`, () => withHeader({ [member]: value })] as const,
  ),
  ['an embedded key that signed the token itself', () => selfSigned()],
  // Header text
  [
    'alg twice, none first',
    () => login.signText('{"alg":"none","alg":"ES256","kid":"ES256-1","typ":"at+jwt"}', JSON.stringify(claims())),
  ],
  [
    'alg twice, none last',
    () => login.signText('{"alg":"ES256","kid":"ES256-1","typ":"at+jwt","alg":"none"}', JSON.stringify(claims())),
  ],
  [
    'alg twice, once escaped',
    () =>
      login.signText('{"alg":"ES256","\\u0061lg":"ES256","kid":"ES256-1","typ":"at+jwt"}', JSON.stringify(claims())),
  ],
  [
    'kid twice',
    () => login.signText('{"alg":"ES256","kid":"ES256-1","kid":"ES256-1","typ":"at+jwt"}', JSON.stringify(claims())),
  ],
  [
    'a header with __proto__',
    () => login.signText('{"alg":"ES256","kid":"ES256-1","typ":"at+jwt","__proto__":{}}', JSON.stringify(claims())),
  ],
  [
    'a header with a byte order mark',
    () => login.signText(`\ufeff${JSON.stringify(header())}`, JSON.stringify(claims())),
  ],
  ['a header that is a list', () => login.signText(JSON.stringify([header()]), JSON.stringify(claims()))],
  ['a header that is null', () => login.signText('null', JSON.stringify(claims()))],
  ['a header in single quotes', () => login.signText("{'alg':'ES256'}", JSON.stringify(claims()))],
  ['a header followed by another', () => login.signText(`${JSON.stringify(header())}{}`, JSON.stringify(claims()))],
  // Type
  ...[
    undefined,
    'JWT',
    'dpop+jwt',
    'AT+JWT',
    'application/at+jwt',
    'at+jwt ',
    'secevent+jwt',
    'absent',
    '',
    7,
    null,
    ['at+jwt'],
  ].map((typ) => [`typ ${JSON.stringify(typ)}`, () => withHeader({ typ })] as const),
  // Claims text
  ['a claim twice', () => withClaimsText(JSON.stringify(claims()).replace('{', '{"sub":"vera",'))],
  ['exp twice', () => withClaimsText(JSON.stringify(claims()).replace('}', `,"exp":${SECOND + 300}}`))],
  ['a claim twice deep inside', () => withClaimsText(JSON.stringify(claims()).replace('}', ',"x":{"a":1,"a":2}}'))],
  [
    'claims with __proto__',
    () => withClaimsText(JSON.stringify(claims()).replace('}', ',"__proto__":{"sub":"vera"}}')),
  ],
  ['claims that are a list', () => withClaimsText(JSON.stringify([claims()]))],
  ['claims that are a text', () => withClaimsText('"olivia"')],
  ['claims that are no JSON', () => withClaimsText('sub=olivia')],
  ['claims with a byte order mark', () => withClaimsText(`\ufeff${JSON.stringify(claims())}`)],
  [
    'claims nine levels deep',
    () => withClaimsText(JSON.stringify(claims({ x: JSON.parse('['.repeat(9) + ']'.repeat(9)) }))),
  ],
  ['claims that are not UTF-8', () => notUtf8()],
  // Issuer
  ...['', 'http://127.0.0.1', 'HTTP://127.0.0.1', 'login', '__proto__'].map(
    (iss) => [`issuer '${iss}'`, () => good({ iss })] as const,
  ),
  ['the issuer with a slash', () => good({ iss: `${login.url}/` })],
  ['the issuer in capitals', () => good({ iss: login.url.toUpperCase() })],
  ['the issuer with a user', () => good({ iss: login.url.replace('//', '//x@') })],
  ['no issuer', () => good({ iss: undefined })],
  ['a list of issuers', () => good({ iss: [login.url] })],
  ['issuer null', () => good({ iss: null })],
  [
    'the other issuer with the same keys and its type',
    () => login.sign(claims({ iss: `${login.url}/ci` }), { typ: 'at+jwt' }, 'RS256'),
  ],
  // Audience
  ['no audience', () => good({ aud: undefined })],
  ['another audience', () => good({ aud: 'https://desk.northwind.example' })],
  ['the audience with a slash', () => good({ aud: `${BROKER}/` })],
  ['the audience in capitals', () => good({ aud: BROKER.toUpperCase() })],
  ['a prefix of the audience', () => good({ aud: BROKER.slice(0, -1) })],
  ['a further audience', () => good({ aud: [BROKER, 'https://desk.northwind.example'] })],
  ['the same audience twice', () => good({ aud: [BROKER, BROKER] })],
  ['no audience in a list', () => good({ aud: [] })],
  ['a list in a list', () => good({ aud: [[BROKER]] })],
  ['an audience that is an object', () => good({ aud: { 0: BROKER } })],
  ['an audience that is null', () => good({ aud: null })],
  ['an audience that is true', () => good({ aud: true })],
  // Subject
  ['no subject', () => good({ sub: undefined })],
  ...[
    '',
    ' olivia',
    'olivia ',
    'Olivia',
    'OLIVIA',
    'olivia\u0000',
    'olivia\u200b',
    'olivıa',
    'ｏlivia',
    'olivia+x',
    'olivia@northwind.example',
    'constructor',
    '__proto__',
    'mallory',
  ].map((sub) => [`subject ${JSON.stringify(sub)}`, () => good({ sub })] as const),
  ...[7, null, true, ['olivia'], { toString: 'olivia' }].map(
    (sub) => [`subject ${JSON.stringify(sub)}`, () => good({ sub })] as const,
  ),
  ['a subject of 256 characters', () => good({ sub: 'o'.repeat(256) })],
  // Times
  ...['exp', 'iat'].map((claim) => [`no ${claim}`, () => good({ [claim]: undefined })] as const),
  ...['exp', 'iat', 'nbf'].flatMap((claim) =>
    [String(SECOND), null, true, [SECOND], SECOND + 0.5, -1, 1e300].map(
      (value) => [`${claim} ${JSON.stringify(value)}`, () => good({ [claim]: value })] as const,
    ),
  ),
  ['expired a day ago', () => good({ iat: SECOND - 90_000, exp: SECOND - 86_400 })],
  ['issued tomorrow', () => good({ iat: SECOND + 86_400, exp: SECOND + 86_500 })],
  ['valid from tomorrow', () => good({ nbf: SECOND + 86_400 })],
  ['living for a day', () => good({ exp: SECOND + 86_400 })],
  ['ending before it begins', () => good({ iat: SECOND + 3, exp: SECOND + 2 })],
  ['exp in milliseconds', () => good({ exp: NOW + 300_000 })],
  // Who it is for
  ['somebody who acts for somebody', () => good({ act: { sub: 'triage-agent' } })],
  ['act null', () => good({ act: null })],
  ['a client with the name of a person', () => good({ client_id: 'olivia' })],
  ['a client with the name of a person, as azp', () => good({ azp: 'olivia' })],
  ['bound to a key that is not proven', () => good({ cnf: { jkt: 'A'.repeat(43) } })],
  ...[
    null,
    {},
    'x',
    [],
    { jkt: 7 },
    { jkt: '' },
    { 'x5t#S256': 'A'.repeat(43) },
    { jkt: 'A'.repeat(43), 'x5t#S256': 'A' },
    { jwk: {} },
  ].map((cnf) => [`bound as ${JSON.stringify(cnf)}`, () => good({ cnf })] as const),
  // Shape and spelling
  ['nothing', () => ''],
  ['three dots', () => '...'],
  ['one part', () => parts(good())[0]],
  ['two parts', () => parts(good()).slice(0, 2).join('.')],
  ['four parts', () => `${good()}.${parts(good())[2]}`],
  ['five parts, as an encrypted token', () => `${good()}.AAAA.AAAA`],
  ['a dot at the end', () => `${good()}.`],
  ['a dot at the start', () => `.${good()}`],
  ['a space before it', () => ` ${good()}`],
  ['a line feed after it', () => `${good()}\n`],
  ['a line feed inside', () => good().replace('.', '.\n')],
  ['a scheme before it', () => `Bearer ${good()}`],
  ['padding on the header', () => pad(0)],
  ['padding on the claims', () => pad(1)],
  ['padding on the signature', () => pad(2)],
  ['the other base64 alphabet', () => `${parts(good())[0]}.${parts(good())[1]}.${parts(good())[2].slice(0, -1)}+`],
  ['the claims in another spelling', () => respell(1)],
  ['the signature in another spelling', () => respell(2)],
  [
    'the JSON serialisation',
    () => JSON.stringify({ payload: parts(good())[1], protected: parts(good())[0], signature: parts(good())[2] }),
  ],
  ['more than 8 KB', () => good({ pad: 'x'.repeat(6_200) })],
  ['a megabyte', () => 'a'.repeat(1_000_000)],
  ['more than 200 claims', () => good(Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`c${n}`, 0])))],
  // The signature itself
  ['claims of another token', () => `${parts(good())[0]}.${parts(good({ sub: 'oscar' }))[1]}.${parts(good())[2]}`],
  [
    'the header of another token',
    () => `${parts(login.sign(claims(), { typ: 'JWT' }))[0]}.${parts(good())[1]}.${parts(good())[2]}`,
  ],
  ['half a signature', () => `${parts(good())[0]}.${parts(good())[1]}.${parts(good())[2].slice(0, 43)}`],
  ['a signature of zeros', () => `${parts(good())[0]}.${parts(good())[1]}.${base64url(Buffer.alloc(64))}`],
  [
    'a signature that is the order of the group',
    () =>
      `${parts(good())[0]}.${parts(good())[1]}.${base64url(Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'.repeat(2), 'hex'))}`,
  ],
  ['a signature in DER', () => inDer()],
  [
    'two signatures',
    () =>
      `${parts(good())[0]}.${parts(good())[1]}.${base64url(Buffer.concat([Buffer.from(parts(good())[2], 'base64url'), Buffer.from(parts(good())[2], 'base64url')]))}`,
  ],
]

const pad = (n: number): string =>
  parts(spare())
    .map((part, at) => (at === n ? `${part}${'='.repeat((4 - (part.length % 4)) % 4 || 1)}` : part))
    .join('.')
const respell = (n: number): string =>
  parts(spare())
    .map((part, at) => (at === n ? respelled(part) : part))
    .join('.')
const selfSigned = (): string => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const head = { alg: 'ES256', typ: 'at+jwt', jwk: publicKey.export({ format: 'jwk' }) }
  const data = `${base64url(JSON.stringify(head))}.${base64url(JSON.stringify(claims()))}`
  return `${data}.${base64url(signatureOf(data, privateKey, 'ES256'))}`
}
const notUtf8 = (): string => {
  const [head, , signature] = parts(good())
  return `${head}.${base64url(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))}.${signature}`
}
const inDer = (): string => {
  const [head, body, signature] = parts(good())
  const bytes = Buffer.from(signature, 'base64url')
  const integer = (half: Buffer): Buffer => Buffer.concat([Buffer.from([0x02, 33, 0]), half])
  return `${head}.${body}.${base64url(Buffer.concat([Buffer.from([0x30, 70]), integer(bytes.subarray(0, 32)), integer(bytes.subarray(32))]))}`
}

describe('an account that was switched off', () => {
  const refusal = (by: Authenticate, sub: string): Promise<BrokerError> =>
    by(good({ sub }), undefined).then(
      () => Promise.reject(new Error(`${sub} was accepted`)),
      (thrown: unknown) => (isBrokerError(thrown) ? thrown : Promise.reject(thrown)),
    )

  it.each([
    ['sam', 'inactive'],
    ['triage-agent', 'no_active_sponsor'],
  ])('is told why, because the token proves whose it is, and gets nothing: %s', async (sub, why) => {
    expect(await codeOf(authenticate(good({ sub }), undefined))).toBe('accepted')
    const [off, never] = [await refusal(afterSam, sub), await refusal(afterSam, 'mallory')]
    expect({ code: off.code, absence: off.facts.absence }).toEqual({ code: 'not_permitted', absence: why })
    expect({ code: never.code, absence: never.facts.absence }).toEqual({ code: 'unauthenticated', absence: undefined })
    expect(await codeOf(afterSam(good(), undefined))).toBe('accepted')
  })
})

describe('what is refused, always as unauthenticated', () => {
  it('comes from a corpus of more than 150 tokens, each another one', () => {
    expect(new Set(CORPUS.map(([name]) => name)).size).toBe(CORPUS.length)
    expect(CORPUS.length).toBeGreaterThan(150)
  })

  it.each(CORPUS)('%s', async (_, make) => {
    expect(await codeOf(authenticate(make(), undefined))).toBe('unauthenticated')
    // The control: the same instant accepts the valid token.
    expect(await codeOf(authenticate(good(), undefined))).toBe('accepted')
  })

  it(
    'a valid token with any one character changed, added or taken away',
    async () => {
      const token = good()
      const character = fc.constantFrom(...'ABCXYZabcxyz019-_.=+/ ')
      await fc.assert(
        fc.asyncProperty(fc.nat(token.length - 1), character, fc.constantFrom(0, 1), async (at, sign, cut) => {
          const mutated = token.slice(0, at) + sign + token.slice(at + cut)
          expect(await codeOf(authenticate(mutated, undefined))).toBe(
            mutated === token ? 'accepted' : 'unauthenticated',
          )
        }),
        { numRuns: 3_000 },
      )
    },
    SLOW,
  )

  it(
    'any random text',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), async (text) => {
          expect(await codeOf(authenticate(text, undefined))).toBe('unauthenticated')
        }),
        { numRuns: 1_000 },
      )
    },
    SLOW,
  )

  it('without repeating anything of the token', async () => {
    const secret = 'do-not-repeat-this'
    for (const token of [
      good({ sub: secret }),
      good({ iss: secret }),
      good({ aud: secret }),
      withHeader({ kid: secret }),
      withHeader({ [secret]: 1 }),
      withHeader({ typ: secret }),
      secret,
    ]) {
      const refusal: unknown = await authenticate(token, undefined).catch((thrown: unknown) => thrown)
      expect(refusal).toBeInstanceOf(Error)
      expect(`${String(refusal)} ${JSON.stringify(refusal)}`).not.toContain(secret)
    }
  })
})

describe('a token bound to a key', () => {
  it('is accepted with exactly that key', async () => {
    const key = 'B'.repeat(43) as Thumbprint
    const caller = await authenticate(good({ cnf: { jkt: key } }), key)
    expect(caller.key).toBe(key)
    expect(await codeOf(authenticate(good({ cnf: { jkt: key } }), 'C'.repeat(43) as Thumbprint))).toBe(
      'unauthenticated',
    )
    expect(await codeOf(authenticate(good({ cnf: { jkt: key } }), undefined))).toBe('unauthenticated')
  })

  it('is refused with that key when it names a second confirmation that we cannot check', async () => {
    const key = 'B'.repeat(43) as Thumbprint
    const both = { jkt: key, 'x5t#S256': 'A'.repeat(43) }
    expect(await codeOf(authenticate(good({ cnf: both }), key))).toBe('unauthenticated')
  })

  it('is not needed: a plain token may come with a proven key, which the caller then has', async () => {
    const key = 'B'.repeat(43) as Thumbprint
    expect((await authenticate(good(), key)).key).toBe(key)
  })
})

describe('the clock', () => {
  it('is asked for each token: what was valid is not valid later', async () => {
    const token = good()
    expect(await codeOf(authenticate(token, undefined))).toBe('accepted')
    now = instant(NOW + 305_000)
    const later = await codeOf(authenticate(token, undefined))
    now = NOW
    expect(later).toBe('unauthenticated')
  })
})
