// WRIT_… variables into frozen Settings. Every problem is reported at once; a secret comes from a file named by WRIT_…_FILE, never from a default.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Duration, days, formatDuration, minutes, parseDuration } from './domain/instant.ts'
import { type Secret, secret } from './domain/secret.ts'

export interface Settings {
  /** `dev` takes plain http, private addresses and a Redis without AOF; `production` refuses them. */
  readonly mode: 'dev' | 'production'
  readonly host: string
  readonly port: number
  /** The issuer of every token and the base of every DPoP `htu`; no path, no trailing slash. */
  readonly publicUrl: string
  readonly redisUrl: Secret<string>
  /** The witness and the archive, nothing else; one folder per broker. */
  readonly dataDir: string
  /** entitlements.yaml, guards.cedar, people.yaml, clients.yaml, issuers.yaml, backends.yaml. */
  readonly configDir: string
  readonly issuersFile: string
  readonly clientsFile: string
  readonly backendsFile: string
  /** Signing keys, shared by all brokers. */
  readonly keysDir: string
  /** False leaves the backends out: entitlements of kind `vault` cannot be exchanged. */
  readonly vault: boolean
  readonly sweepEveryMs: number
  /** How long what is over stays in Redis before it leaves for the archive. */
  readonly retention: Duration
  /** Base URL of an OpenTelemetry collector, without a trailing slash; absent, nothing is traced. */
  readonly otlpUrl: string | undefined
}

export interface SettingProblem {
  readonly name: string
  readonly message: string
}
export class SettingsError extends Error {
  readonly problems: readonly SettingProblem[]
  constructor(problems: readonly SettingProblem[]) {
    super(`the settings are not usable:\n${problems.map(({ name, message }) => `  ${name}: ${message}`).join('\n')}`)
    this.name = 'SettingsError'
    this.problems = problems
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** One row per setting: the README's table is made from it. */
export const SETTINGS = {
  WRIT_MODE: 'dev or production (default production)',
  WRIT_LISTEN: 'address and port to listen on (default 127.0.0.1:8480)',
  WRIT_PUBLIC_URL: 'the URL that clients use; issuer of every token (required)',
  WRIT_REDIS_URL: 'redis:// or rediss:// URL without a password',
  WRIT_REDIS_URL_FILE: 'a file that holds the URL, for one with a password; one of the two is required',
  WRIT_DATA_DIR: 'folder for the witness and the archive, one per broker (required)',
  WRIT_CONFIG_DIR: 'folder of the configuration files (default ./config)',
  WRIT_ISSUERS_FILE: 'another place for issuers.yaml',
  WRIT_CLIENTS_FILE: 'another place for clients.yaml',
  WRIT_BACKENDS_FILE: 'another place for backends.yaml',
  WRIT_KEYS_DIR: 'folder of the signing keys, shared by all brokers (required)',
  WRIT_VAULT: 'on or off (default on): off leaves the backends out',
  WRIT_SWEEP_EVERY_MS: 'interval of the sweep, 100 to 1000 (default 500)',
  WRIT_RETENTION:
    'how long an ended grant stays before it leaves for the archive, at least 1d (default 30d); in dev at least 1m',
  WRIT_OTLP_URL:
    'base URL of an OpenTelemetry collector (OTLP over HTTP): traces go to its /v1/traces; off where absent',
} as const

/** Of the set-up and of the command line, which people have in the same shell. */
const OF_OTHERS = new Set(['WRIT_CACHE_DIR', 'WRIT_BROKER', 'WRIT_TOKEN', 'WRIT_DEBUG'])

/** Reads and checks everything. Throws SettingsError with every problem. Unknown WRIT_ names are problems too: a typo must not be a default. */
export function readSettings(env: Environment): Settings {
  const problems: SettingProblem[] = []
  const problem = (name: string, message: string): void => void problems.push({ name, message })
  const text = (name: keyof typeof SETTINGS, fallback?: string): string => {
    const value = env[name] ?? fallback
    if (value === undefined || value === '') problem(name, `is required: ${SETTINGS[name]}`)
    return value ?? ''
  }
  const oneOf = <T extends string>(name: keyof typeof SETTINGS, choices: readonly T[], fallback: T): T => {
    const value = env[name] ?? fallback
    const chosen = choices.find((choice) => choice === value)
    if (chosen === undefined) problem(name, `must be ${choices.join(' or ')}`)
    return chosen ?? fallback
  }
  for (const name of Object.keys(env)) {
    if (
      name.startsWith('WRIT_') &&
      !name.startsWith('WRIT_TEST_') &&
      !OF_OTHERS.has(name) &&
      !Object.hasOwn(SETTINGS, name)
    ) {
      problem(name, 'is not a setting of Writ')
    }
  }
  const mode = oneOf('WRIT_MODE', ['dev', 'production'], 'production')
  const listen = /^(\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})$/i.exec(env.WRIT_LISTEN ?? '127.0.0.1:8480')
  if (listen === null) problem('WRIT_LISTEN', 'must be address:port')
  const configDir = resolve(text('WRIT_CONFIG_DIR', 'config'))
  const settings: Settings = {
    mode,
    host: (listen?.[1] ?? '127.0.0.1').replace(/^\[|\]$/g, ''),
    port: Number(listen?.[2] ?? 0),
    publicUrl: publicUrl(text('WRIT_PUBLIC_URL'), mode, problem),
    redisUrl: redisUrl(env, problem),
    dataDir: resolve(text('WRIT_DATA_DIR')),
    configDir,
    issuersFile: resolve(env.WRIT_ISSUERS_FILE ?? `${configDir}/issuers.yaml`),
    clientsFile: resolve(env.WRIT_CLIENTS_FILE ?? `${configDir}/clients.yaml`),
    backendsFile: resolve(env.WRIT_BACKENDS_FILE ?? `${configDir}/backends.yaml`),
    keysDir: resolve(text('WRIT_KEYS_DIR')),
    vault: oneOf('WRIT_VAULT', ['on', 'off'], 'on') === 'on',
    sweepEveryMs: whole('WRIT_SWEEP_EVERY_MS', env.WRIT_SWEEP_EVERY_MS ?? '500', 100, 1_000, problem),
    retention: span('WRIT_RETENTION', env.WRIT_RETENTION ?? '30d', mode === 'dev' ? minutes(1) : days(1), problem),
    otlpUrl: collectorUrl(env.WRIT_OTLP_URL, problem),
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return Object.freeze(settings)
}

type Problem = (name: string, message: string) => void

function publicUrl(text: string, mode: Settings['mode'], problem: Problem): string {
  if (text === '') return text
  const url = URL.canParse(text) ? new URL(text) : undefined
  const secure = url?.protocol === 'https:' || (mode === 'dev' && url?.protocol === 'http:')
  if (url === undefined || !secure || url.origin !== text) {
    problem(
      'WRIT_PUBLIC_URL',
      `must be an ${mode === 'dev' ? 'http(s)' : 'https'} origin without path, query or trailing slash`,
    )
  }
  return text
}

function collectorUrl(text: string | undefined, problem: Problem): string | undefined {
  const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined
  const plain = url !== undefined && /^https?:$/.test(url.protocol) && `${url.origin}${url.pathname}` === url.href
  if (text !== undefined && !plain) problem('WRIT_OTLP_URL', 'must be an http(s) URL without a user, query or fragment')
  return url?.href.replace(/\/$/, '')
}

function redisUrl(env: Environment, problem: Problem): Secret<string> {
  const fromFile = env.WRIT_REDIS_URL_FILE
  const given = fromFile === undefined ? env.WRIT_REDIS_URL : readText('WRIT_REDIS_URL_FILE', fromFile, problem)
  if (given === undefined) problem('WRIT_REDIS_URL', `or WRIT_REDIS_URL_FILE is required: ${SETTINGS.WRIT_REDIS_URL}`)
  const url = given !== undefined && URL.canParse(given) ? new URL(given) : undefined
  if (given !== undefined && !/^rediss?:$/.test(url?.protocol ?? ''))
    problem('WRIT_REDIS_URL', 'must be a redis:// or rediss:// URL')
  if (fromFile === undefined && (url?.password ?? '') !== '') {
    problem('WRIT_REDIS_URL', 'holds a password: put the URL into a file and name it in WRIT_REDIS_URL_FILE')
  }
  return secret(given ?? '')
}

function readText(name: string, file: string, problem: Problem): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    problem(name, `cannot be read: ${cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'}`)
    return undefined
  }
}

function span(name: string, text: string, least: Duration, problem: Problem): Duration {
  const value = parseDuration(text)
  if (value !== undefined && value >= least) return value
  problem(name, `must be a duration like 30d, at least ${formatDuration(least)}`)
  return least
}

function whole(name: string, text: string, least: number, most: number, problem: Problem): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most)) problem(name, `must be a whole number from ${least} to ${most}`)
  return value
}
