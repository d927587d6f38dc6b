// What a hostile client puts where one field of a request stands: one table with a name for each value, for bodies as raw JSON text, because
// much of it no JSON.stringify would write, and for paths, queries and headers as bytes. Whether one of them is valid for a field after all (an
// emoji in a summary) is the published schema's to say, never this table's: see plan.ts.

export type Place = 'path' | 'query' | 'header' | 'body' | 'form'

export interface BadValue {
  readonly name: string
  /** The JSON text that stands in the place of the field. */
  readonly json: string
  /** As bytes, each a character, where there is no JSON; the text that `json` holds, in UTF-8, where absent. */
  readonly text?: string
  /** Only there; everywhere where absent. */
  readonly places?: readonly Place[]
}

const OUTSIDE_JSON: readonly Place[] = ['path', 'query', 'header', 'form']
const IN_JSON: readonly Place[] = ['body']
const text = (name: string, value: string): BadValue => ({ name, json: JSON.stringify(value) })
const raw = (name: string, json: string): BadValue => ({ name, json, places: IN_JSON })
const json = (name: string, value: string): BadValue => ({ name, json: value })
const bytes = (name: string, value: string): BadValue => ({ name, json: '""', text: value, places: OUTSIDE_JSON })

const deep = (open: string, close: string, levels: number): string => `${open.repeat(levels)}1${close.repeat(levels)}`

export const BAD_VALUES: readonly BadValue[] = [
  // Of another type.
  json('null', 'null'),
  json('true', 'true'),
  json('false', 'false'),
  json('zero', '0'),
  json('minus zero', '-0'),
  json('minus one', '-1'),
  json('a fraction', '1.5'),
  json('larger than any limit', '1000001'),
  json('beyond what doubles count', '9007199254740993'),
  json('the largest double', '1.7976931348623157e308'),
  json('an empty object', '{}'),
  json('an empty array', '[]'),
  json('an array of null', '[null]'),
  json('an array of arrays', '[[[[[[]]]]]]'),
  json('an object that looks like an array', '{"length":1,"0":"a"}'),
  json('an object that converts itself', '{"toString":"a","valueOf":1,"toJSON":null}'),
  json('a thenable', '{"then":"a"}'),
  json('a constructor', '{"constructor":{"prototype":{"admin":true}}}'),
  json('a prototype', '{"__proto__":{"admin":true}}'),
  json('an operator of a query language', '{"$ne":null}'),
  // No JSON, or none that all read alike.
  raw('NaN', 'NaN'),
  raw('Infinity', '-Infinity'),
  raw('undefined', 'undefined'),
  raw('a leading zero', '007'),
  raw('a hexadecimal', '0x10'),
  raw('a number too large for doubles', '1e999'),
  raw('a bare word', 'admin'),
  raw('single quotes', "'a'"),
  raw('a text that never ends', '"a'),
  raw('a line feed in a text', '"a\nb"'),
  raw('half an escape', '"\\u00"'),
  raw('a comment', '/* */"a"'),
  raw('a comma too many', '["a",]'),
  raw('the same member twice', '{"a":1,"a":2}'),
  raw('the same member twice, once escaped', '{"a":1,"\\u0061":2}'),
  raw('two values', '"a" "b"'),
  raw('trailing garbage', '"a"}}'),
  raw('forty levels of arrays', deep('[', ']', 40)),
  raw('ten thousand levels', deep('[', ']', 10_000)),
  raw('forty levels of objects', deep('{"a":', '}', 40)),
  raw('ten thousand items', `[${'1,'.repeat(9_999)}1]`),
  raw('three hundred members', `{${Array.from({ length: 300 }, (_, n) => `"m${n}":1`).join()}}`),
  raw('a byte order mark', '\ufeff"a"'),
  // Text that is too little, too much, or not what it seems.
  text('an empty text', ''),
  text('a blank', ' '),
  text('a tab and a blank', '\t '),
  text('a long text', 'a'.repeat(9_000)),
  text('a long text of long characters', '\u{1f984}'.repeat(2_500)),
  raw('a text longer than a body may be', `"${'a'.repeat(70_000)}"`),
  text('a NUL', 'a\u0000b'),
  text('nothing but a NUL', '\u0000'),
  text('an escape of a terminal', '\u001b[31mred\u001b[0m'),
  text('a C1 control', '\u009b31m'),
  text('CR and LF', 'a\r\nX-Injected: 1'),
  text('a right-to-left override', 'a\u202egnp.exe'),
  text('bidirectional isolates', '\u2066a\u2069'),
  text('a zero-width space', 'ad\u200bmin'),
  text('nothing but joiners', '\u200d\u200c'),
  text('a soft hyphen', 'ad\u00admin'),
  text('tags of the last plane', 'a\u{e0041}\u{e007f}'),
  text('a line separator', 'a\u2028b'),
  // In bytes as some write them: three for each half.
  { name: 'half a surrogate pair', json: '"a\\ud800b"', text: 'a\xed\xa0\x80b' },
  { name: 'surrogates the wrong way round', json: '"\\udc00\\ud800"', text: '\xed\xb0\x80\xed\xa0\x80' },
  text('an emoji', '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}'),
  text('combining marks', `e${'\u0301'.repeat(300)}`),
  text('text that is not NFC', 'A\u030angstro\u0308m'),
  text('letters that look like others', '\u0430dmin'),
  text('digits of another script', '\uff11\u0662'),
  text('a ligature', '\ufb00'),
  text('noncharacters', '\uffff\u{10ffff}'),
  // Text that means something to somebody behind.
  text('a path upwards', '../../../etc/passwd'),
  text('a path upwards, encoded', '..%2f..%2fetc%2fpasswd'),
  text('an encoded NUL', 'a%00b'),
  text('an encoded CR and LF', '%0d%0aX-Injected:%201'),
  text('SQL', "'; DROP TABLE grants; --"),
  text('Lua', '"]] redis.call("FLUSHALL") --[['),
  text('Redis protocol', '*1\r\n$8\r\nFLUSHALL\r\n'),
  text('Cedar', '") || true || ("'),
  text('LDAP', '*)(uid=*))(|(uid=*'),
  text('a template', '{{constructor.constructor("return process")()}}'),
  text('a lookup', '$'.concat('{jndi:ldap://127.0.0.1/a}')),
  text('a shell', '$(touch writ-hostile)`id`'),
  text('a script', '<script>alert(1)</script><img src=x onerror=alert(1)>'),
  text('a formula', '=HYPERLINK("http://127.0.0.1")'),
  text('the name of the prototype', '__proto__'),
  text('the name of the constructor', 'constructor'),
  text('a wildcard', '*'),
  text('a colon', 'a:b:c'),
  text('a key of our store', '{writ:0}:control'),
  text('an address of the inside', 'http://169.254.169.254/latest/meta-data/'),
  text('an address of no web', 'javascript:alert(1)'),
  text('a regular expression', `${'(a+)+'.repeat(20)}$`),
  text('an upper case', 'PENDING'),
  // Text that is nearly a number, a time, an id.
  text('a number as text', '1'),
  text('a leading zero as text', '01'),
  text('a negative number as text', '-1'),
  text('an exponent as text', '1e3'),
  text('true as text', 'true'),
  text('null as text', 'null'),
  text('a month too many', '2026-13-01T00:00:00Z'),
  text('a day that never was', '2026-02-30T00:00:00Z'),
  text('a leap second', '2026-06-30T23:59:60Z'),
  text('a time without a zone', '2026-12-01T00:00:00'),
  text('a time before time', '0000-01-01T00:00:00Z'),
  text('a time in a far year', '+275760-09-13T00:00:00Z'),
  text('the year 9999', '9999-12-31T23:59:59Z'),
  text('a duration of nothing', '0s'),
  text('a negative duration', '-1h'),
  text('a duration of ages', '9999999h'),
  text('a digest of another kind', `sha-512:${'A'.repeat(43)}`),
  text('a digest cut short', `sha-256:${'A'.repeat(42)}`),
  text('the id of nothing', `g0-${'a'.repeat(26)}`),
  text('an id of another shard', `g7-${'a'.repeat(26)}`),
  text('an id in upper case', `G0-${'A'.repeat(26)}`),
  // What only an address, a header or a form can hold.
  bytes('bytes that are no UTF-8', '\xff\xfe'),
  bytes('an overlong slash', '\xc0\xaf'),
  bytes('half an encoded byte', '%'),
  bytes('an encoded byte that is none', '%zz'),
  bytes('latin-1', 'caf\xe9'),
  bytes('semicolons and commas', 'a;b=c,d;q=0'),
  bytes('a quoted text that never ends', '"a'),
  bytes('quotes in quotes', '"a"b"'),
  bytes('eight thousand bytes', 'a.'.repeat(4_000)),
]

/** What is done to a member of an object itself, with its value as it was. */
export interface BadMember {
  readonly name: string
  /** The members that stand in its place, as text. `member` and `value` are JSON texts. */
  write(member: string, value: string): string
}
const escaped = (member: string): string => {
  const first = member.charCodeAt(1).toString(16).padStart(4, '0')
  return `"\\u${first}${member.slice(2)}`
}
export const BAD_MEMBERS: readonly BadMember[] = [
  { name: 'missing', write: () => '' },
  { name: 'twice', write: (member, value) => `${member}:${value},${member}:${value}` },
  { name: 'twice, once escaped', write: (member, value) => `${member}:${value},${escaped(member)}:${value}` },
  { name: 'in upper case', write: (member, value) => `${member.toUpperCase()}:${value}` },
  { name: 'with a NUL in its name', write: (member, value) => `${member.slice(0, -1)}\\u0000":${value}` },
  { name: 'with an unknown one beside', write: (member, value) => `${member}:${value},"admin":true` },
  { name: 'with a prototype beside', write: (member, value) => `${member}:${value},"__proto__":{"admin":true}` },
  { name: 'with a constructor beside', write: (member, value) => `${member}:${value},"constructor":{"prototype":{}}` },
  { name: 'with one of no name beside', write: (member, value) => `${member}:${value},"":1` },
  {
    name: 'with one of a script beside',
    write: (member, value) => `${member}:${value},"<script>\\u202e\\u001b[31m":1`,
  },
  { name: 'without its colon', write: (member, value) => `${member} ${value}` },
  { name: 'without its quotes', write: (member, value) => `${member.slice(1, -1)}:${value}` },
]

/** What is done to a request as a whole. */
export interface BadWhole {
  readonly name: string
  /** Whether it can be done to a request without a body. */
  readonly bodiless: boolean
  change(sent: WholeRequest): WholeRequest
}
export interface WholeRequest {
  readonly method: string
  readonly target: string
  /** Name and value, each a text of bytes. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer | undefined
}
const JSON_TYPE = 'application/json'
const without = (headers: WholeRequest['headers'], name: string) =>
  headers.filter(([known]) => known.toLowerCase() !== name)
const typed = (name: string, type: string | undefined): BadWhole => ({
  name,
  bodiless: false,
  change: (sent) => ({
    ...sent,
    headers: [
      ...without(sent.headers, 'content-type'),
      ...(type === undefined ? [] : [['Content-Type', type] as const]),
    ],
  }),
})
const rewritten = (name: string, write: (body: Buffer) => Buffer | string): BadWhole => ({
  name,
  bodiless: false,
  change: (sent) => ({ ...sent, body: Buffer.from(write(sent.body ?? Buffer.alloc(0))) }),
})
const headed = (name: string, header: string, value: string): BadWhole => ({
  name,
  bodiless: true,
  change: (sent) => ({ ...sent, headers: [...without(sent.headers, header.toLowerCase()), [header, value]] }),
})
const asked = (name: string, query: string): BadWhole => ({
  name,
  bodiless: true,
  change: (sent) => ({ ...sent, target: `${sent.target}${sent.target.includes('?') ? '&' : '?'}${query}` }),
})
const method = (name: string): BadWhole => ({
  name: `by ${name}`,
  bodiless: true,
  change: (sent) => ({ ...sent, method: name }),
})

export const BAD_WHOLES: readonly BadWhole[] = [
  rewritten('an empty body', () => ''),
  rewritten('a byte order mark before it', (body) => Buffer.concat([Buffer.from('\ufeff'), body])),
  rewritten('UTF-16', (body) => Buffer.from(body.toString(), 'utf16le')),
  rewritten('bytes that are no UTF-8', (body) => Buffer.concat([body.subarray(0, -1), Buffer.from([0xff, 0x7d])])),
  rewritten('trailing garbage', (body) => `${body}garbage`),
  rewritten('itself twice', (body) => `${body}${body}`),
  rewritten('cut short', (body) => body.subarray(0, -1)),
  rewritten('in an array', (body) => `[${body}]`),
  rewritten('in a text', (body) => JSON.stringify(body.toString())),
  rewritten('a NUL at its end', (body) => `${body}\0`),
  rewritten('a comment at its end', (body) => `${body}//`),
  rewritten('sixty-four thousand blanks', (body) => `${body}${' '.repeat(66_000)}`),
  rewritten('a mebibyte', () => 'a'.repeat(1_048_576)),
  rewritten('a form', () => 'a=1&b=2'),
  rewritten('XML', () => '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
  typed('no content type', undefined),
  typed('text', 'text/plain'),
  typed('a form by its type', 'application/x-www-form-urlencoded'),
  typed('XML by its type', 'application/xml'),
  typed('multipart', 'multipart/form-data; boundary=a'),
  typed('UTF-16 by its type', `${JSON_TYPE}; charset=utf-16`),
  typed('UTF-7 by its type', `${JSON_TYPE}; charset=utf-7`),
  typed('two charsets', `${JSON_TYPE}; charset=utf-8; charset=utf-16`),
  typed('a type that never ends', `${JSON_TYPE};${';'.repeat(2_000)}`),
  headed('compressed', 'Content-Encoding', 'gzip'),
  headed('compressed in a way of its own', 'Content-Encoding', 'identity, br'),
  headed('another method by a header', 'X-HTTP-Method-Override', 'DELETE'),
  headed('another address by a header', 'X-Original-URL', '/v1/operations/recover'),
  headed('another host', 'X-Forwarded-Host', 'evil.example'),
  headed('a client address that is none', 'X-Forwarded-For', '\xff, ::1, unknown'),
  headed('a trace that is none', 'traceparent', '00-zz-zz-zz'),
  headed('cookies', 'Cookie', `session=${'a'.repeat(4_000)}`),
  headed('an origin', 'Origin', 'null'),
  headed('what it takes', 'Accept', '*/*;q=0, text/html'),
  headed('a range', 'Range', 'bytes=0-0,1-1,-1'),
  headed('an expectation of nothing', 'Expect', 'a'),
  headed('an upgrade', 'Upgrade', 'websocket'),
  asked('an unknown question', 'admin=true'),
  asked('a question of the prototype', '__proto__[admin]=true'),
  asked('a token as a question', 'access_token=a'),
  asked('a question of no name', '=1'),
  asked('a hundred questions', Array.from({ length: 100 }, (_, n) => `q${n}=1`).join('&')),
  asked('a question that cannot be read', '%zz=%ff'),
  method('DELETE'),
  method('PUT'),
  method('PATCH'),
  method('OPTIONS'),
  method('TRACE'),
]

/** What is sent for this value where there is no JSON: bytes, each a character. */
export const bytesOf = ({ json: value, text: given }: BadValue): string => {
  if (given !== undefined) return given
  const parsed: unknown = JSON.parse(value)
  if (typeof parsed !== 'string') return value
  return Buffer.from(parsed, 'utf8').toString('latin1')
}
