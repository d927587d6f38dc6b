// What a hostile client sends to the OAuth endpoints besides what can be wrong with any form: forms that say a thing twice, tokens and assertions
// that are nearly good, proofs that prove something else. Invariant: not one of them gives a token or calls one active.
import { createHash, type KeyObject, randomUUID, sign } from 'node:crypto'
import { proofKey } from '../../deploy/dev/client.ts'
import type { WholeRequest } from './bad-values.ts'

export interface OAuthMaterial {
  readonly issuer: string
  /** A resource server with its key. */
  readonly server: { readonly id: string; readonly privateKey: KeyObject; readonly kid: string }
}
export interface OAuthValue {
  readonly name: string
  readonly operation: 'token' | 'introspect'
  make(form: Readonly<Record<string, string>>, material: OAuthMaterial): Pick<WholeRequest, 'body' | 'headers'>
}

type Form = Readonly<Record<string, string>>
const FORM_TYPE = ['Content-Type', 'application/x-www-form-urlencoded'] as const
const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const encoded = (form: Form): string => new URLSearchParams(form).toString()
const sent = (text: string, ...headers: readonly (readonly [string, string])[]) => ({
  body: Buffer.from(text, 'latin1'),
  headers: [FORM_TYPE, ...headers],
})
const second = (): number => Math.floor(Date.now() / 1_000)

const signed = (header: object, claims: object, key: KeyObject): string => {
  const input = `${b64(header)}.${b64(claims)}`
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
const partsOf = (token: string): readonly [string, string, string] => {
  const [header = '', claims = '', signature = ''] = token.split('.')
  return [header, claims, signature]
}
const decoded = (part: string): object => {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString())
  } catch {
    return {}
  }
}

/** What is done to a good token by somebody without its key. */
const TOKENS: Readonly<Record<string, (token: string) => string>> = {
  'algorithm none': (token) => `${b64({ ...decoded(partsOf(token)[0]), alg: 'none' })}.${partsOf(token)[1]}.`,
  'algorithm none, signed': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), alg: 'none' })}.${partsOf(token)[1]}.${partsOf(token)[2]}`,
  'algorithm NONE': (token) => `${b64({ ...decoded(partsOf(token)[0]), alg: 'NONE' })}.${partsOf(token)[1]}.`,
  'HS256 by nothing': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), alg: 'HS256' })}.${partsOf(token)[1]}.${createHash('sha256').update('').digest('base64url')}`,
  'another type': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), typ: 'dpop+jwt' })}.${partsOf(token)[1]}.${partsOf(token)[2]}`,
  'no type': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), typ: undefined })}.${partsOf(token)[1]}.${partsOf(token)[2]}`,
  'another subject': (token) =>
    `${partsOf(token)[0]}.${b64({ ...decoded(partsOf(token)[1]), sub: 'dana' })}.${partsOf(token)[2]}`,
  'another audience': (token) =>
    `${partsOf(token)[0]}.${b64({ ...decoded(partsOf(token)[1]), aud: 'https://evil.example' })}.${partsOf(token)[2]}`,
  'a key of its own': (token) => {
    const { privateKey } = proofKey()
    const jwk = privateKey.export({ format: 'jwk' })
    return signed(
      { alg: 'ES256', typ: 'at+jwt', jwk: { ...jwk, d: undefined } },
      decoded(partsOf(token)[1]),
      privateKey,
    )
  },
  'keys from elsewhere': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), jku: 'http://127.0.0.1:9/jwks' })}.${partsOf(token)[1]}.${partsOf(token)[2]}`,
  'a key id that is a path': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), kid: '../../../dev/null' })}.${partsOf(token)[1]}.${partsOf(token)[2]}`,
  'what must be understood': (token) =>
    `${b64({ ...decoded(partsOf(token)[0]), crit: ['b64'], b64: false })}.${partsOf(token)[1]}.${partsOf(token)[2]}`,
  'no signature': (token) => `${partsOf(token)[0]}.${partsOf(token)[1]}.`,
  'half a signature': (token) => token.slice(0, -43),
  'a signature of zeros': (token) => `${partsOf(token)[0]}.${partsOf(token)[1]}.${'A'.repeat(86)}`,
  padding: (token) => `${token}==`,
  'a blank before': (token) => ` ${token}`,
  'a line feed behind': (token) => `${token}\n`,
  'two parts': (token) => partsOf(token).slice(0, 2).join('.'),
  'five parts': (token) => `${token}.a.a`,
  'only dots': () => '..',
  'a text': () => 'token',
  'a mebibyte of nothing': () => 'a'.repeat(15_000),
  'itself twice': (token) => `${token},${token}`,
  'an object': () => '{"alg":"none"}',
}

/** Proofs, each nearly one for this request. */
const proofs = (): Readonly<Record<string, (url: string) => readonly string[]>> => {
  const made = (header: object, claims: object) => (url: string) => {
    const { privateKey } = proofKey()
    const { crv, kty, x, y } = privateKey.export({ format: 'jwk' })
    const good = { jti: randomUUID(), htm: 'POST', htu: url, iat: second() }
    return [
      signed({ typ: 'dpop+jwt', alg: 'ES256', jwk: { crv, kty, x, y }, ...header }, { ...good, ...claims }, privateKey),
    ]
  }
  const own = (url: string): readonly string[] => made({}, {})(url)
  return {
    'another method': made({}, { htm: 'GET' }),
    'a method in lower case': made({}, { htm: 'post' }),
    'another address': made({}, { htu: 'https://evil.example/oauth2/token' }),
    'an address that is none': made({}, { htu: 'oauth2/token' }),
    'no address': made({}, { htu: undefined }),
    'an old time': made({}, { iat: second() - 3_600 }),
    'a time to come': made({}, { iat: second() + 3_600 }),
    'a time as text': made({}, { iat: String(second()) }),
    'no time': made({}, { iat: undefined }),
    'no id': made({}, { jti: undefined }),
    'an empty id': made({}, { jti: '' }),
    'an id of a thousand': made({}, { jti: 'a'.repeat(1_000) }),
    'another type': made({ typ: 'JWT' }, {}),
    'algorithm none': made({ alg: 'none' }, {}),
    'algorithm HS256': made({ alg: 'HS256' }, {}),
    'algorithm RS256': made({ alg: 'RS256' }, {}),
    'no key': made({ jwk: undefined }, {}),
    'a key that is none': made({ jwk: { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' } }, {}),
    'a symmetric key': made({ jwk: { kty: 'oct', k: 'AAAA' } }, {}),
    'a key of another curve': made({ jwk: { kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43) } }, {}),
    'its private key': (url) => {
      const { privateKey } = proofKey()
      const jwk = privateKey.export({ format: 'jwk' })
      const claims = { jti: randomUUID(), htm: 'POST', htu: url, iat: second() }
      return [signed({ typ: 'dpop+jwt', alg: 'ES256', jwk }, claims, privateKey)]
    },
    'two proofs': (url) => [...own(url), ...own(url)],
    'two proofs in one': (url) => [[...own(url), ...own(url)].join(', ')],
    'an altered signature': (url) => own(url).map((one) => `${one.slice(0, -4)}AAAA`),
    'no signature': (url) => own(url).map((one) => `${partsOf(one)[0]}.${partsOf(one)[1]}.`),
    'a token instead': () => ['a.b.c'],
  }
}

/** Assertions, signed with the right key. */
const ASSERTIONS: Readonly<Record<string, readonly [header: object, claims: object]>> = {
  'another audience': [{}, { aud: 'https://evil.example' }],
  'no audience': [{}, { aud: undefined }],
  'another issuer': [{}, { iss: 'webshop-api' }],
  'another subject': [{}, { sub: 'webshop-api' }],
  'of nobody': [{}, { iss: 'nobody', sub: 'nobody' }],
  'of the prototype': [{}, { iss: '__proto__', sub: '__proto__' }],
  over: [{}, { iat: second() - 600, exp: second() - 300 }],
  'of too long a life': [{}, { exp: second() + 86_400 }],
  'without an end': [{}, { exp: undefined }],
  'with an end that is no number': [{}, { exp: '9999999999' }],
  'of the future': [{}, { iat: second() + 3_600, exp: second() + 3_660 }],
  'without an id': [{}, { jti: undefined }],
  'with an id that is no text': [{}, { jti: 1 }],
  'by an unknown key': [{ kid: 'rs-9' }, {}],
  'by algorithm none': [{ alg: 'none' }, {}],
  'by algorithm HS256': [{ alg: 'HS256' }, {}],
  'of another type': [{ typ: 'dpop+jwt' }, {}],
}

const replaced = (form: Form, name: string, value: string): string => encoded({ ...form, [name]: value })
const detail = (text: string) => (form: Form) => sent(replaced(form, 'authorization_details', text))
const CHANGE = 'https://writ.dev/schemas/change/v1'

const FORMS: Readonly<Record<string, (form: Form) => Pick<WholeRequest, 'body' | 'headers'>>> = {
  'itself twice': (form) => sent(`${encoded(form)}&${encoded(form)}`),
  nothing: () => sent(''),
  'no pairs': () => sent('&&&&'),
  'a hundred more': (form) => sent(`${encoded(form)}&${Array.from({ length: 100 }, (_, n) => `p${n}=1`).join('&')}`),
  JSON: (form) => ({ body: Buffer.from(JSON.stringify(form)), headers: [['Content-Type', 'application/json']] }),
  'JSON under the type of a form': (form) => sent(JSON.stringify(form)),
  'more than a form may be': (form) => sent(`${encoded(form)}&pad=${'a'.repeat(20_000)}`),
  'a mebibyte': () => sent('a'.repeat(1_048_576)),
  'half an encoded byte': (form) => sent(`${encoded(form)}&a=%`),
  'an encoded byte that is none': (form) => sent(`${encoded(form)}&a=%zz`),
  'bytes that are no UTF-8': (form) => sent(`${encoded(form)}&a=%ff%fe`),
  'raw bytes that are no UTF-8': (form) => sent(`${encoded(form)}&a=\xff\xfe`),
  'UTF-16': (form) => ({ body: Buffer.from(encoded(form), 'utf16le'), headers: [FORM_TYPE] }),
  'UTF-16 by its type': (form) => ({
    body: Buffer.from(encoded(form)),
    headers: [['Content-Type', `${FORM_TYPE[1]}; charset=utf-16`]],
  }),
  multipart: (form) => ({
    body: Buffer.from(
      Object.entries(form)
        .map(([name, value]) => `--a\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
        .concat('--a--')
        .join(''),
    ),
    headers: [['Content-Type', 'multipart/form-data; boundary=a']],
  }),
  compressed: (form) => sent(encoded(form), ['Content-Encoding', 'gzip']),
  'two types': (form) => sent(encoded(form), ['Content-Type', 'application/json']),
}
const SECRETS: Readonly<Record<string, readonly [string, string]>> = {
  'a basic login': ['Authorization', `Basic ${Buffer.from('desk-api:secret').toString('base64')}`],
  'a bearer token besides': ['Authorization', 'Bearer a.a.a'],
}
const GRANT_TYPES = [
  'password',
  'client_credentials',
  'authorization_code',
  'refresh_token',
  'implicit',
  '__proto__',
].concat(
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:openid:params:grant-type:ciba',
)
const DETAILS: Readonly<Record<string, (identifier: string) => string>> = {
  'no list': (identifier) => JSON.stringify({ type: CHANGE, identifier }),
  'two grants': (identifier) =>
    JSON.stringify([
      { type: CHANGE, identifier },
      { type: CHANGE, identifier },
    ]),
  'a member more': (identifier) => JSON.stringify([{ type: CHANGE, identifier, actions: ['stock.export'] }]),
  'another type': (identifier) => JSON.stringify([{ type: 'https://evil.example', identifier }]),
  'the identifier twice': (identifier) => `[{"type":"${CHANGE}","identifier":"g0-a","identifier":"${identifier}"}]`,
  'a prototype': (identifier) => `[{"__proto__":{"type":"${CHANGE}"},"identifier":"${identifier}"}]`,
  depths: () => '['.repeat(500) + ']'.repeat(500),
  nothing: () => '[]',
  'a number': () => '[1e999]',
}
const MORE: Readonly<Record<string, readonly [string, string]>> = {
  'an actor': ['actor_token', 'a.a.a'],
  'an actor’s type': ['actor_token_type', 'urn:ietf:params:oauth:token-type:jwt'],
  'a scope': ['scope', 'admin'],
  'another resource': ['resource', 'https://evil.example'],
  'another audience': ['audience', 'https://evil.example'],
  'a wrapped token wanted': ['requested_token_type', 'https://writ.dev/token-type/vault-wrapped'],
  'a refresh token wanted': ['requested_token_type', 'urn:ietf:params:oauth:token-type:refresh_token'],
  'a SAML assertion': ['subject_token_type', 'urn:ietf:params:oauth:token-type:saml2'],
}

const identifierOf = (form: Form): string => /"identifier":"([^"]+)"/.exec(form.authorization_details ?? '')?.[1] ?? ''

export const OAUTH_VALUES: readonly OAuthValue[] = [
  ...(['token', 'introspect'] as const).flatMap((operation) =>
    Object.entries(FORMS).map(([name, make]): OAuthValue => ({ operation, name: `the form: ${name}`, make })),
  ),
  ...Object.entries(TOKENS).flatMap(([name, change]): readonly OAuthValue[] => [
    {
      operation: 'token',
      name: `subject token: ${name}`,
      make: (form) => sent(replaced(form, 'subject_token', change(form.subject_token ?? ''))),
    },
    {
      operation: 'introspect',
      name: `token: ${name}`,
      make: (form) => sent(replaced(form, 'token', change(form.token ?? ''))),
    },
    {
      operation: 'introspect',
      name: `assertion: ${name}`,
      make: (form) => sent(replaced(form, 'client_assertion', change(form.client_assertion ?? ''))),
    },
  ]),
  ...Object.entries(proofs()).map(
    ([name, make]): OAuthValue => ({
      operation: 'token',
      name: `proof: ${name}`,
      make: (form, { issuer }) =>
        sent(encoded(form), ...make(`${issuer}/oauth2/token`).map((proof) => ['DPoP', proof] as const)),
    }),
  ),
  ...GRANT_TYPES.map(
    (type): OAuthValue => ({
      operation: 'token',
      name: `grant type: ${type}`,
      make: (form) => sent(replaced(form, 'grant_type', type)),
    }),
  ),
  ...Object.entries(DETAILS).map(
    ([name, text]): OAuthValue => ({
      operation: 'token',
      name: `details: ${name}`,
      make: (form) => detail(text(identifierOf(form)))(form),
    }),
  ),
  ...Object.entries(MORE).map(
    ([name, [member, value]]): OAuthValue => ({
      operation: 'token',
      name: `with ${name}`,
      make: (form) => sent(replaced(form, member, value)),
    }),
  ),
  ...Object.entries(SECRETS).map(
    ([name, header]): OAuthValue => ({
      operation: 'introspect',
      name: `with ${name}`,
      make: (form) => sent(encoded(form), header),
    }),
  ),
  ...Object.entries(ASSERTIONS).map(
    ([name, [header, claims]]): OAuthValue => ({
      operation: 'introspect',
      name: `assertion of our own: ${name}`,
      make: (form, { issuer, server }) => {
        const now = second()
        const good = { iss: server.id, sub: server.id, aud: issuer, jti: randomUUID(), iat: now, exp: now + 60 }
        const head = { alg: 'ES256', typ: 'JWT', kid: server.kid, ...header }
        return sent(replaced(form, 'client_assertion', signed(head, { ...good, ...claims }, server.privateKey)))
      },
    }),
  ),
]
