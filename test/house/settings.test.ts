// Settings from environment and file: what would weaken a guarantee stops the start, and everything that is wrong is told at once.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { days, minutes, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import {
  fileKey,
  isInFile,
  readSettings,
  rowOf,
  SETTING_NAMES,
  type Settings,
  SettingsError,
  settingsSchema,
} from '../../src/settings.ts'

const CONFIG = resolve(import.meta.dirname, '../../config')
const folder = mkdtempSync(join(tmpdir(), 'writ-settings-'))
afterAll(() => rmSync(folder, { recursive: true }))

type Env = Readonly<Record<string, string>>
const complete = {
  WRIT_PUBLIC_URL: 'https://broker.example',
  WRIT_REDIS_URL: 'redis://redis.example:6379',
  WRIT_DATA_DIR: 'data',
  WRIT_KEYS_DIR: 'keys',
}
const problemsOf = (env: Env): SettingsError['problems'] => {
  try {
    readSettings(env)
    return []
  } catch (thrown) {
    if (thrown instanceof SettingsError) return thrown.problems
    throw thrown
  }
}
const refusedNames = (env: Env): readonly string[] => problemsOf({ ...complete, ...env }).map(({ name }) => name)

const FILE = join(folder, 'settings.yaml')
/** The environment that names a file with this content. */
const inFile = (text: string, env: Env = {}): Env => {
  writeFileSync(FILE, text)
  return { WRIT_SETTINGS_FILE: FILE, ...env }
}
const read = (text: string, env: Env = complete): Settings => readSettings(inFile(text, env))
const at = (line: number): string => `${FILE}:${line}`
const refusedPlaces = (text: string, env: Env = complete): readonly string[] =>
  problemsOf(inFile(text, env)).map(({ name }) => name)

describe('the ttl of status lists', () => {
  it('is thirty seconds unless something else is said, from a second to an hour', () => {
    expect(readSettings(complete).statusTtl).toBe(seconds(30))
    for (const [text, ttl] of [
      ['1s', seconds(1)],
      ['1h', minutes(60)],
      ['2000ms', seconds(2)],
    ] as const)
      expect(readSettings({ ...complete, WRIT_STATUS_TTL: text }).statusTtl).toBe(ttl)
  })
})

describe('the retention', () => {
  it('is thirty days unless something else is said', () => {
    expect(readSettings(complete).retention).toBe(days(30))
    expect(readSettings({ ...complete, WRIT_RETENTION: '1d' }).retention).toBe(days(1))
    expect(readSettings({ ...complete, WRIT_MODE: 'dev', WRIT_RETENTION: '1m' }).retention).toBe(minutes(1))
  })

  it('is at least a day, in dev a minute, and a duration', () => {
    for (const text of ['0s', '23h', '1m', '', 'for ever', '-30d'])
      expect([text, refusedNames({ WRIT_RETENTION: text })]).toEqual([text, ['WRIT_RETENTION']])
    for (const text of ['59s', '', '30'])
      expect([text, refusedNames({ WRIT_MODE: 'dev', WRIT_RETENTION: text })]).toEqual([text, ['WRIT_RETENTION']])
  })
})

describe('the collector of traces', () => {
  it('is none unless its address is given', () => {
    expect(readSettings(complete).otlpUrl).toBeUndefined()
    for (const text of ['http://collector:4318', 'http://collector:4318/', 'https://otlp.example/tenant/'])
      expect(readSettings({ ...complete, WRIT_OTLP_URL: text }).otlpUrl).toBe(text.replace(/\/$/, ''))
  })

  it('is a plain http address, without anything that would be a secret', () => {
    for (const text of [
      '',
      'collector:4318',
      'ftp://c',
      'http://u:p@c',
      'http://u@c',
      'http://c/?token=1',
      'http://c/#x',
    ])
      expect([text, refusedNames({ WRIT_OTLP_URL: text })]).toEqual([text, ['WRIT_OTLP_URL']])
  })
})

describe('the environment', () => {
  it('is refused value by value', () => {
    const wrong: readonly (readonly [string, readonly string[]])[] = [
      ['WRIT_SETTINGS_FILE', ['']],
      ['WRIT_MODE', ['', 'test', 'Dev']],
      ['WRIT_LISTEN', ['', '8480', 'localhost', '127.0.0.1:65536', '127.0.0.1:-1', '::1:80', 'a b:1']],
      [
        'WRIT_PUBLIC_URL',
        ['', 'broker', 'http://broker.example', 'https://broker.example/', 'https://u@broker.example'],
      ],
      ['WRIT_TRUSTED_PROXIES', ['', '0.0.0.0/0', '10.0.0.0/8,', 'loopback', '10.0.0.0/40']],
      ['WRIT_REDIS_URL', ['', 'http://redis.example', 'redis://:secret@redis.example']],
      ['WRIT_DATA_DIR', ['']],
      ['WRIT_VAULT', ['', 'true', 'yes']],
      ['WRIT_STATUS_TTL', ['', '30', '0s', '999ms', '1500ms', '61m', '1d']],
      ['WRIT_SWEEP_EVERY_MS', ['', '99', '1001', '500.5', '5e2', ' 500']],
      ['WRIT_RATE_LIMIT', ['', '100', '0/1m', '-1/1m', '100/0s', '100/500ms', '100/2d', '1.5/1m', '100/m']],
      ['WRIT_RATE_LIMIT_ENDS', ['100/1m/1m']],
      ['WRIT_FIRST_OPERATOR', ['', 'Oscar', 'oscar oscar']],
    ]
    for (const [name, texts] of wrong)
      for (const text of texts) expect([name, text, refusedNames({ [name]: text })]).toEqual([name, text, [name]])
  })

  it('is not what the set-up and the command line read, which people have in the same shell', () => {
    expect(refusedNames({ WRIT_BROKER: 'https://writ.example', WRIT_TOKEN: 'x', WRIT_CACHE_DIR: '/tmp' })).toEqual([])
    expect(refusedNames({ WRIT_BROKERS: 'https://writ.example' })).toEqual(['WRIT_BROKERS'])
  })

  it('has no names but those of the table', () => {
    expect(refusedNames({ WRIT_PORT: '1', WRIT_SETTING_FILE: 'x', writ_mode: 'dev' })).toEqual([
      'WRIT_PORT',
      'WRIT_SETTING_FILE',
    ])
  })

  it('is told every problem at once', () => {
    const names = problemsOf({ WRIT_MODE: 'x', WRIT_VAULT: 'x', WRIT_PORT: '1' }).map(({ name }) => name)
    expect(names.toSorted()).toEqual(
      [
        'WRIT_MODE',
        'WRIT_VAULT',
        'WRIT_PORT',
        'WRIT_PUBLIC_URL',
        'WRIT_REDIS_URL',
        'WRIT_DATA_DIR',
        'WRIT_KEYS_DIR',
      ].sort(),
    )
  })

  it('gives rates, and a budget of its own to what ends', () => {
    const { rateLimit, rateLimitEnds } = readSettings(complete)
    expect([rateLimit, rateLimitEnds]).toEqual([
      { count: 60_000, per: minutes(1) },
      { count: 60_000, per: minutes(1) },
    ])
    expect(readSettings({ ...complete, WRIT_RATE_LIMIT: '10/1h30m' }).rateLimit).toEqual({
      count: 10,
      per: minutes(90),
    })
  })

  it('takes every example of the table', () => {
    for (const name of SETTING_NAMES) {
      const { kind, example } = rowOf(name)
      // The one that reads what it names.
      if (name === 'WRIT_REDIS_URL_FILE') continue
      expect([name, kind.read(example, { mode: 'production', folder: '' })]).toEqual([
        name,
        { value: expect.anything() },
      ])
    }
  })
})

describe('a secret', () => {
  it('comes from a file, and its value is told nowhere', () => {
    writeFileSync(join(folder, 'redis-url'), 'redis://:hunter2@redis.example\n')
    const { WRIT_REDIS_URL: _, ...rest } = complete
    const settings = readSettings({ ...rest, WRIT_REDIS_URL_FILE: join(folder, 'redis-url') })
    expect(reveal(settings.redisUrl)).toBe('redis://:hunter2@redis.example')
    expect(JSON.stringify(settings)).not.toContain('hunter2')
    writeFileSync(join(folder, 'no-url'), 'hunter2')
    const [problem, ...more] = problemsOf({ ...rest, WRIT_REDIS_URL_FILE: join(folder, 'no-url') })
    expect([problem?.name, more]).toEqual(['WRIT_REDIS_URL_FILE', []])
    expect(problem?.message).not.toContain('hunter2')
  })

  it('is refused in the open, in the file too', () => {
    const [problem, ...more] = problemsOf(
      inFile('\nredisUrl: redis://:hunter2@redis.example\n', { ...complete, WRIT_REDIS_URL: '' }),
    )
    expect([problem?.name, more]).toEqual(['WRIT_REDIS_URL', []])
    const { WRIT_REDIS_URL: _, ...rest } = complete
    const [inside, ...others] = problemsOf(inFile('\nredisUrl: redis://:hunter2@redis.example\n', rest))
    expect([inside?.name, others]).toEqual([at(2), []])
    expect(inside?.message).not.toContain('hunter2')
  })

  it('is said in one way only, and the way of the environment puts that of the file aside', () => {
    const { WRIT_REDIS_URL: _, ...rest } = complete
    expect(refusedNames({ WRIT_REDIS_URL_FILE: join(folder, 'redis-url') })).toEqual(['WRIT_REDIS_URL'])
    expect(refusedPlaces('redisUrl: redis://a\nredisUrlFile: redis-url\n', rest)).toEqual([at(1)])
    expect(reveal(read('redisUrlFile: redis-url\n').redisUrl)).toBe('redis://redis.example:6379')
  })
})

describe('the file', () => {
  it('says the same under lower-case names, paths beside itself, and the environment wins', () => {
    mkdirSync(join(folder, 'secrets'), { recursive: true })
    writeFileSync(join(folder, 'secrets/redis'), 'rediss://:pw@redis.example')
    const text = [
      'mode: dev',
      'publicUrl: http://broker.example',
      'redisUrlFile: secrets/redis',
      'dataDir: data',
      'keysDir: /keys',
      'sweepEveryMs: 250',
      'vault: off',
      'trustedProxies: [10.0.0.0/8, "fd00::/8"]',
      'rateLimit: 5/1s',
    ].join('\n')
    const settings = read(text, { WRIT_SWEEP_EVERY_MS: '300', WRIT_KEYS_DIR: 'keys' })
    expect(settings).toMatchObject({
      mode: 'dev',
      publicUrl: 'http://broker.example',
      dataDir: join(folder, 'data'),
      keysDir: resolve('keys'),
      sweepEveryMs: 300,
      vault: false,
      trustedProxies: [
        { address: '10.0.0.0', bits: 8 },
        { address: 'fd00::', bits: 8 },
      ],
      rateLimit: { count: 5, per: 1_000 },
    })
    expect(reveal(settings.redisUrl)).toBe('rediss://:pw@redis.example')
  })

  it('may be empty', () => {
    expect(refusedPlaces('# nothing yet\n')).toEqual([])
  })

  it('is refused with the line of everything that is wrong, together with what is wrong in the environment', () => {
    const text = ['port: 1', 'vault: true', 'sweepEveryMs: "500"', 'retention: 1s', 'dataDir:', 'listen: [a]'].join(
      '\n',
    )
    expect(refusedPlaces(text, { WRIT_MODE: 'x', WRIT_PORT: '1' }).toSorted()).toEqual(
      [
        ...[1, 2, 3, 4, 5, 6].map(at),
        'WRIT_MODE',
        'WRIT_PORT',
        'WRIT_PUBLIC_URL',
        'WRIT_REDIS_URL',
        'WRIT_KEYS_DIR',
      ].sort(),
    )
  })

  it.each([
    ['a key twice', 'mode: dev\nmode: production\n', 2],
    ['no YAML', 'mode: "dev\n', 2],
    ['an anchor', 'mode: &a dev\n', 1],
    ['a tag', 'mode: !x dev\n', 1],
    ['a name of the environment', 'WRIT_MODE: dev\n', 1],
    ['itself', 'settingsFile: other.yaml\n', 1],
    ['no text', 'publicUrl: 7\n', 1],
    ['no list', 'trustedProxies: 10.0.0.0/8\n', 1],
    ['two subnets in one', 'trustedProxies: ["10.0.0.0/8,11.0.0.0/8"]\n', 1],
    ['an empty list', 'trustedProxies: []\n', 1],
    ['a fraction', 'sweepEveryMs: 500.5\n', 1],
    ['a list', '- mode\n', 1],
    ['a prototype', '__proto__: 1\n', 1],
    ['a constructor', 'constructor: 1\n', 1],
  ])('is refused for %s', (_, text, line) => {
    const { WRIT_PUBLIC_URL: _url, ...rest } = complete
    const places = refusedPlaces(text, text.startsWith('publicUrl') ? rest : complete)
    expect(new Set(places)).toEqual(new Set([at(line)]))
  })

  it('is refused where it cannot be read, and nothing is then said to be missing', () => {
    const problems = problemsOf({
      WRIT_SETTINGS_FILE: join(folder, 'not-there.yaml'),
      WRIT_LISTEN: '0.0.0.0:8480',
    })
    expect(problems.map(({ name }) => name)).toEqual(['WRIT_SETTINGS_FILE'])
  })
})

describe('TLS', () => {
  const cert = { WRIT_TLS_CERT_FILE: 'tls.crt' }
  const key = { WRIT_TLS_KEY_FILE: 'tls.key' }

  it('has certificate and key, or neither', () => {
    expect(readSettings(complete).tls).toBeUndefined()
    expect(readSettings({ ...complete, ...cert, ...key }).tls).toEqual({
      certFile: resolve('tls.crt'),
      keyFile: resolve('tls.key'),
    })
    expect(refusedNames(cert)).toEqual(['WRIT_TLS_CERT_FILE'])
    expect(refusedNames(key)).toEqual(['WRIT_TLS_KEY_FILE'])
    expect(refusedPlaces('\ntlsKeyFile: tls.key\n')).toEqual([at(2)])
    expect(read('tlsKeyFile: tls.key\n', { ...complete, ...cert }).tls?.keyFile).toBe(join(folder, 'tls.key'))
  })

  it('is had, or a proxy that has it, or nobody outside can reach a broker in production', () => {
    for (const listen of [
      '0.0.0.0:8480',
      '[::]:8480',
      '10.0.0.5:8480',
      'broker.example:8480',
      '127.0.0.1.example:8480',
    ]) {
      const open = { WRIT_LISTEN: listen }
      expect([listen, refusedNames(open)]).toEqual([listen, ['WRIT_LISTEN']])
      for (const more of [{ ...cert, ...key }, { WRIT_TRUSTED_PROXIES: '10.0.0.1' }, { WRIT_MODE: 'dev' }])
        expect([listen, refusedNames({ ...open, ...more })]).toEqual([listen, []])
    }
    for (const listen of ['127.0.0.1:8480', '127.8.9.1:80', 'localhost:80', '[::1]:80'])
      expect([listen, refusedNames({ WRIT_LISTEN: listen })]).toEqual([listen, []])
  })
})

describe('the schema for editors', () => {
  const validate = new Ajv2020({ strict: true }).compile(settingsSchema())

  it('and the broker take the example as it stands', () => {
    const text = readFileSync(join(CONFIG, 'settings.example.yaml'), 'utf8')
    expect([validate(parse(text)), validate.errors]).toEqual([true, null])
    // The secret that it names is the reader's own.
    mkdirSync(join(folder, 'secrets'), { recursive: true })
    writeFileSync(join(folder, 'secrets/redis-url'), 'redis://:pw@redis.example')
    expect(read(text, {})).toMatchObject({ mode: 'production', publicUrl: 'https://writ.northwind.example' })
    // What stands there as a comment can be used as well.
    const all = text.replace(/^# (?=[a-z][A-Za-z]+: \S+$)/gm, '')
    expect([validate(parse(all)), validate.errors]).toEqual([true, null])
    const { tls, firstOperator } = read(all, {})
    expect([tls?.certFile, firstOperator]).toEqual(['/run/writ/tls.crt', 'oscar'])
  })

  it('refuses what the broker refuses for its type or its name', () => {
    for (const wrong of [
      { port: 1 },
      { settingsFile: 'x' },
      { vault: true },
      { sweepEveryMs: 5 },
      { trustedProxies: 'x' },
    ])
      expect([wrong, validate(wrong)]).toEqual([wrong, false])
  })

  it('has every setting but the file itself', () => {
    const { properties } = settingsSchema() as { properties: object }
    expect(Object.keys(properties)).toEqual(SETTING_NAMES.filter(isInFile).map(fileKey))
    expect(fileKey('WRIT_REDIS_URL_FILE')).toBe('redisUrlFile')
  })
})
