// WRIT_… variables and a settings file into frozen Settings. One table makes the parser, the file's schema and config/SETTINGS.md.
// Every problem of both is reported at once; the environment wins; a secret comes from a file of its own, never from a default.
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import type { FloodLimits } from './domain/flood.ts'
import type { PrincipalId } from './domain/ids.ts'
import { type Duration, days, hours, minutes, seconds } from './domain/instant.ts'
import type { Secret } from './domain/secret.ts'
import type { Subnet } from './http/client-address.ts'
import { readConfig } from './identity/config-file.ts'
import {
  choice,
  collector,
  type Kind,
  listen,
  origin,
  path,
  person,
  type Rate,
  rate,
  redisUrl,
  redisUrlFile,
  span,
  spanOrNever,
  subnets,
  whole,
} from './setting-kinds.ts'

export interface Settings {
  /** `dev` takes plain http, private addresses and a Redis without AOF; `production` refuses them. */
  readonly mode: 'dev' | 'production'
  readonly host: string
  readonly port: number
  /** The issuer of every token and the base of every DPoP `htu`; no path, no trailing slash. */
  readonly publicUrl: string
  /** Who may say in a header whose request it is. */
  readonly trustedProxies: readonly Subnet[]
  /** The listener's own certificate; absent where a proxy ends TLS. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined
  readonly redisUrl: Secret<string>
  /** The witness and the archive, nothing else; one folder per broker. */
  readonly dataDir: string
  /** entitlements.yaml, guards.cedar, people.yaml, clients.yaml, issuers.yaml, backends.yaml. */
  readonly configDir: string
  readonly issuersFile: string
  readonly clientsFile: string
  readonly backendsFile: string
  /** Absent where no forge is asked: then the authors of every change are unknown. */
  readonly forgesFile: string | undefined
  /** Signing keys, shared by all brokers. */
  readonly keysDir: string
  /** False leaves the backends out: entitlements of kind `vault` cannot be exchanged. */
  readonly vault: boolean
  readonly sweepEveryMs: number
  /** How often each backend is looked through for what no grant stands for. */
  readonly inventoryEvery: Duration
  /** How long what is over stays in Redis before it leaves for the archive. */
  readonly retention: Duration
  /** How long a verifier goes by a status list before it fetches it again. */
  readonly statusTtl: Duration
  /** How often a canary of each entitlement of a backend is made; 0 for never. */
  readonly canaryEvery: Duration
  /** Per principal; ends have a budget of their own, so that nobody is kept from revoking by having asked much. */
  readonly rateLimit: Rate
  readonly rateLimitEnds: Rate
  /** How many people are asked at a time, and how soon again. */
  readonly flood: FloodLimits
  /** Base URL of an OpenTelemetry collector, without a trailing slash; absent, nothing is traced. */
  readonly otlpUrl: string | undefined
  /** A person who may operate while the guards let nobody. */
  readonly firstOperator: PrincipalId | undefined
}

/** Where the other files are, and what is asked about them. */
export type Places = Pick<
  Settings,
  | 'mode'
  | 'configDir'
  | 'issuersFile'
  | 'clientsFile'
  | 'backendsFile'
  | 'forgesFile'
  | 'vault'
  | 'tls'
  | 'firstOperator'
  | 'statusTtl'
>

interface Row<T> {
  readonly kind: Kind<T>
  readonly meaning: string
  /** As the environment writes it. */
  readonly example: string
  /** Read where nothing is given. */
  readonly fallback?: string
  readonly required?: true
}
/** One row per setting. The environment has it under this name, the file under `fileKey` of it. */
export const SETTINGS = {
  WRIT_SETTINGS_FILE: {
    kind: path,
    meaning: 'a YAML file with settings; only in the environment',
    example: '/etc/writ/settings.yaml',
  },
  WRIT_MODE: {
    kind: choice('dev', 'production'),
    meaning: 'dev or production',
    example: 'production',
    fallback: 'production',
  },
  WRIT_LISTEN: {
    kind: listen,
    meaning: 'address and port to listen on',
    example: '0.0.0.0:8480',
    fallback: '127.0.0.1:8480',
  },
  WRIT_PUBLIC_URL: {
    kind: origin,
    meaning: 'the URL that clients use; issuer of every token',
    example: 'https://writ.example.com',
    required: true,
  },
  WRIT_TRUSTED_PROXIES: {
    kind: subnets,
    meaning: 'proxies whose `X-Forwarded-For` or `Forwarded` says whose request it is; each must write one of the two',
    example: '10.1.0.0/16,fd00:1::/64',
  },
  WRIT_TLS_CERT_FILE: {
    kind: path,
    meaning: 'certificate chain (PEM) of a listener that speaks TLS itself',
    example: '/run/writ/tls.crt',
  },
  WRIT_TLS_KEY_FILE: {
    kind: path,
    meaning: 'its key (PEM); both are read again when they change',
    example: '/run/writ/tls.key',
  },
  WRIT_REDIS_URL: {
    kind: redisUrl,
    meaning: 'redis:// or rediss:// URL without a password',
    example: 'rediss://redis.example.com:6379',
  },
  WRIT_REDIS_URL_FILE: {
    kind: redisUrlFile,
    meaning: 'a file that holds the URL, for one with a password; one of the two is required',
    example: '/run/secrets/redis-url',
  },
  WRIT_DATA_DIR: {
    kind: path,
    meaning: 'folder for the witness and the archive, one per broker',
    example: '/var/lib/writ',
    required: true,
  },
  WRIT_CONFIG_DIR: {
    kind: path,
    meaning: 'folder of the configuration files',
    example: '/etc/writ',
    fallback: 'config',
  },
  WRIT_ISSUERS_FILE: {
    kind: path,
    meaning: 'another place for issuers.yaml',
    example: '/etc/writ/issuers.yaml',
  },
  WRIT_CLIENTS_FILE: {
    kind: path,
    meaning: 'another place for clients.yaml',
    example: '/etc/writ/clients.yaml',
  },
  WRIT_BACKENDS_FILE: {
    kind: path,
    meaning: 'another place for backends.yaml',
    example: '/etc/writ/backends.yaml',
  },
  WRIT_FORGES_FILE: {
    kind: path,
    meaning: 'forges.yaml: the forges that say who wrote a change; without it the authors of every change are unknown',
    example: '/etc/writ/forges.yaml',
  },
  WRIT_KEYS_DIR: {
    kind: path,
    meaning: 'folder of the signing keys, shared by all brokers',
    example: '/run/writ/keys',
    required: true,
  },
  WRIT_VAULT: {
    kind: choice('on', 'off'),
    meaning: 'on or off: off leaves the backends out',
    example: 'off',
    fallback: 'on',
  },
  WRIT_SWEEP_EVERY_MS: {
    kind: whole(100, 1_000),
    meaning: 'interval of the sweep in milliseconds, 100 to 1000',
    example: '250',
    fallback: '500',
  },
  WRIT_INVENTORY_EVERY: {
    kind: span(() => seconds(1)),
    meaning: 'how often each backend is looked through for orphans, at least 1s; needs `inventory` in backends.yaml',
    example: '15s',
    fallback: '30s',
  },
  WRIT_RETENTION: {
    kind: span((mode) => (mode === 'dev' ? minutes(1) : days(1))),
    meaning: 'how long an ended grant stays before it leaves for the archive, at least 1d; in dev at least 1m',
    example: '90d',
    fallback: '30d',
  },
  WRIT_STATUS_TTL: {
    kind: span(() => seconds(1), { most: hours(1), whole: seconds(1) }),
    meaning:
      'how long a verifier goes by a status list before it fetches it again, whole seconds from 1s to 1h: so long a revoked token may pass there',
    example: '15s',
    fallback: '30s',
  },
  WRIT_CANARY_EVERY: {
    kind: spanOrNever(seconds(10)),
    meaning:
      'how often a credential of each entitlement of a backend is made for nobody and ended, to know that ending works; at least 10s, 0s for never',
    example: '15m',
    fallback: '1h',
  },
  WRIT_RATE_LIMIT: {
    kind: rate,
    meaning: 'requests of one principal per time',
    example: '600/1m',
    fallback: '60000/1m',
  },
  WRIT_RATE_LIMIT_ENDS: {
    kind: rate,
    meaning: 'the same for what ends a grant, counted apart',
    example: '1200/1m',
    fallback: '60000/1m',
  },
  WRIT_MAX_PENDING_PER_REQUESTER: {
    kind: whole(1, 1_000_000),
    meaning: 'how many grants of one person, and of all machines that person answers for, may be pending at a time',
    example: '20',
    fallback: '5',
  },
  WRIT_MAX_PENDING_PER_OWNER: {
    kind: whole(1, 1_000_000),
    meaning: 'how many pending grants may wait for one owner at a time',
    example: '100',
    fallback: '50',
  },
  WRIT_DENIED_RESTS: {
    kind: span(() => seconds(1)),
    meaning: 'how long a change that was denied may not be asked for again by the same person, at least 1s',
    example: '4h',
    fallback: '1h',
  },
  WRIT_OTLP_URL: {
    kind: collector,
    meaning:
      'base URL of an OpenTelemetry collector (OTLP over HTTP): traces go to its /v1/traces; without it nothing is traced',
    example: 'http://collector:4318',
  },
  WRIT_FIRST_OPERATOR: {
    kind: person,
    meaning: 'a person of people.yaml who may operate the broker as long as the guards permit it to nobody',
    example: 'oscar',
  },
} as const satisfies Readonly<Record<`WRIT_${string}`, Row<unknown>>>

export type SettingName = keyof typeof SETTINGS
type ValueOf<R> = R extends { readonly kind: Kind<infer T> } ? T : never
/** A fallback or `required` means that it is there once there is no problem. */
type Sure<R> = R extends { readonly fallback: string } | { readonly required: true }
  ? ValueOf<R>
  : ValueOf<R> | undefined
type Values = { readonly [N in SettingName]: Sure<(typeof SETTINGS)[N]> }

export const SETTING_NAMES: readonly SettingName[] = Object.keys(SETTINGS) as SettingName[]
export const rowOf = (name: SettingName): Row<unknown> => SETTINGS[name]
export const isInFile = (name: SettingName): boolean => name !== 'WRIT_SETTINGS_FILE'
/** `WRIT_REDIS_URL_FILE` is `redisUrlFile`. */
export const fileKey = (name: SettingName): string =>
  name
    .slice('WRIT_'.length)
    .toLowerCase()
    .replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** The JSON Schema of the file, for editors. What is required may come from the environment, so nothing is required here. */
export const settingsSchema = (): object =>
  z.toJSONSchema(
    z.strictObject(
      Object.fromEntries(
        SETTING_NAMES.filter(isInFile).map((name) => [
          fileKey(name),
          rowOf(name)
            .kind.inFile.optional()
            .describe(`${rowOf(name).meaning}.`),
        ]),
      ),
    ),
    { io: 'input' },
  )

export interface SettingProblem {
  /** The variable, or file and line. */
  readonly name: string
  readonly message: string
}
export class SettingsError extends Error {
  readonly problems: readonly SettingProblem[]
  /** Absent where that is what is wrong. */
  readonly places: Places | undefined
  constructor(problems: readonly SettingProblem[], places: Places | undefined) {
    super(`the settings are not usable:\n${problems.map(({ name, message }) => `  ${name}: ${message}`).join('\n')}`)
    this.name = 'SettingsError'
    this.problems = problems
    this.places = places
  }
}

type Environment = Readonly<Record<string, string | undefined>>
type Report = (name: string, message: string) => void

/** A setting as somebody wrote it, and where a problem with it is. */
interface Given {
  /** Undefined where it is of the wrong type, which has been told. */
  readonly text: string | undefined
  readonly folder: string
  report(message: string): void
}
type Source = ReadonlyMap<SettingName, Given>

/** Reads and checks everything. Throws SettingsError with every problem. Unknown WRIT_ names are problems too: a typo must not be a default. */
export function readSettings(env: Environment): Settings {
  const problems: SettingProblem[] = []
  const report: Report = (name, message) => void problems.push({ name, message })
  const fromEnvironment = readEnvironment(env, report)
  const file = fromEnvironment.get('WRIT_SETTINGS_FILE')
  const fromFile = file?.text ? readFile(file, report) : NOTHING
  const given = merged(fromFile ?? NOTHING, fromEnvironment)
  // Of a file that could not be read nobody knows what it lacks.
  const missing = (name: SettingName): void => {
    if (fromFile !== undefined) report(name, `is required: ${rowOf(name).meaning}, like ${rowOf(name).example}`)
  }
  const mode = given.get('WRIT_MODE')?.text === 'dev' ? 'dev' : 'production'
  const read = (name: SettingName): unknown => {
    const { kind, fallback, required } = rowOf(name)
    const { text, folder, report: problem } = given.get(name) ?? { text: fallback, folder: '', report: undefined }
    if (text === undefined) return problem === undefined && required ? missing(name) : undefined
    const reading = kind.read(text, { folder, mode })
    if ('value' in reading) return reading.value
    return problem?.(reading.problem)
  }
  const values = Object.fromEntries(SETTING_NAMES.map((name) => [name, read(name)])) as Values
  if (!EITHER.some((name) => given.has(name))) missing('WRIT_REDIS_URL')
  if (fromFile !== undefined) checkTogether(given, values, report)
  const areKnown = fromFile !== undefined && PLACES.every((name) => values[name] !== undefined)
  if (problems.length > 0) throw new SettingsError(problems, areKnown ? placesOf(values) : undefined)
  return settingsOf(values)
}

const NOTHING: Source = new Map()
const PLACES = ['WRIT_MODE', 'WRIT_CONFIG_DIR', 'WRIT_VAULT', 'WRIT_STATUS_TTL'] as const
const EITHER = ['WRIT_REDIS_URL', 'WRIT_REDIS_URL_FILE'] as const

function readEnvironment(env: Environment, report: Report): Source {
  const found = Object.entries(env).flatMap(([variable, text]): [SettingName, Given][] => {
    if (!variable.startsWith('WRIT_') || NOT_OURS.test(variable) || text === undefined) return []
    const name = SETTING_NAMES.find((one) => one === variable)
    if (name !== undefined) return [[name, { text, folder: '', report: (message) => report(name, message) }]]
    report(variable, 'is not a setting of Writ')
    return []
  })
  return new Map(found)
}
/** Of the set-up, of tests, and of the command line, which people have in the same shell. */
const NOT_OURS = /^WRIT_(CACHE_DIR$|TEST_|(BROKER|TOKEN|DEBUG)$)/

/** Undefined where the file could not be read at all. */
function readFile(named: Given, report: Report): Source | undefined {
  const file = resolve(named.text ?? '')
  const text = textOf(file)
  if (text === undefined) return void named.report('names a file that cannot be read')
  const { value, problems, line } = readConfig(text, file, SETTINGS_FILE)
  for (const problem of problems) report(`${file}:${problem.line}`, problem.message)
  if (problems.length > 0) return undefined
  const found = Object.entries(value ?? {}).flatMap(([key, written]): [SettingName, Given][] => {
    const problem = (message: string): void => report(`${file}:${line([key])}`, `${key}: ${message}`)
    const name = SETTING_NAMES.find((one) => isInFile(one) && fileKey(one) === key)
    if (name === undefined) problem('there is no setting of this name')
    const parsed = name && rowOf(name).kind.inFile.safeParse(written)
    for (const issue of parsed?.error?.issues ?? []) problem(issue.message)
    const text = parsed?.data === undefined ? undefined : String(parsed.data)
    return name === undefined ? [] : [[name, { text, folder: dirname(file), report: problem }]]
  })
  return new Map(found)
}
const SETTINGS_FILE = z.record(z.string(), z.unknown(), { error: 'settings by name are needed' }).nullable()

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** The environment wins; where two settings are two ways to say one thing, it puts both of the file aside. */
function merged(file: Source, environment: Source): Source {
  const aside = EITHER.some((name) => environment.has(name)) ? EITHER : []
  const rest = [...file].filter(([name]) => !aside.some((one) => one === name))
  return new Map([...rest, ...environment])
}

/** What no setting can say alone. */
function checkTogether(given: Source, values: Values, report: Report): void {
  if (EITHER.every((name) => given.has(name)))
    given.get('WRIT_REDIS_URL')?.report('is given, and a file for it too; leave one out')
  const tls = ['WRIT_TLS_CERT_FILE', 'WRIT_TLS_KEY_FILE'] as const
  const [one, ...both] = tls.filter((name) => given.has(name))
  if (one !== undefined && both.length === 0)
    given.get(one)?.report(`needs ${tls.find((name) => name !== one)} beside it`)
  const isOpen = one === undefined && !given.has('WRIT_TRUSTED_PROXIES') && !isLoopback(values.WRIT_LISTEN?.host ?? '')
  if (values.WRIT_MODE === 'production' && isOpen && values.WRIT_LISTEN !== undefined)
    report(
      'WRIT_LISTEN',
      'would take plain http from the network: set WRIT_TLS_CERT_FILE and WRIT_TLS_KEY_FILE, or WRIT_TRUSTED_PROXIES to the proxy that ends TLS, or listen on 127.0.0.1',
    )
}

const isLoopback = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|::1)$/i.test(host)

function settingsOf(values: Values): Settings {
  const redis = values.WRIT_REDIS_URL_FILE ?? values.WRIT_REDIS_URL
  if (redis === undefined) throw new Error('a missing Redis URL was not reported')
  return Object.freeze({
    ...placesOf(values),
    ...values.WRIT_LISTEN,
    publicUrl: values.WRIT_PUBLIC_URL,
    trustedProxies: values.WRIT_TRUSTED_PROXIES ?? [],
    redisUrl: redis,
    dataDir: values.WRIT_DATA_DIR,
    keysDir: values.WRIT_KEYS_DIR,
    sweepEveryMs: values.WRIT_SWEEP_EVERY_MS,
    inventoryEvery: values.WRIT_INVENTORY_EVERY,
    retention: values.WRIT_RETENTION,
    canaryEvery: values.WRIT_CANARY_EVERY,
    rateLimit: values.WRIT_RATE_LIMIT,
    rateLimitEnds: values.WRIT_RATE_LIMIT_ENDS,
    flood: {
      maxPendingPerRequester: values.WRIT_MAX_PENDING_PER_REQUESTER,
      maxPendingPerOwner: values.WRIT_MAX_PENDING_PER_OWNER,
      deniedRests: values.WRIT_DENIED_RESTS,
    },
    otlpUrl: values.WRIT_OTLP_URL,
  } satisfies Settings)
}

function placesOf(values: Values): Places {
  const { WRIT_CONFIG_DIR: configDir, WRIT_TLS_CERT_FILE: certFile, WRIT_TLS_KEY_FILE: keyFile } = values
  return {
    mode: values.WRIT_MODE,
    configDir,
    issuersFile: values.WRIT_ISSUERS_FILE ?? resolve(configDir, 'issuers.yaml'),
    clientsFile: values.WRIT_CLIENTS_FILE ?? resolve(configDir, 'clients.yaml'),
    backendsFile: values.WRIT_BACKENDS_FILE ?? resolve(configDir, 'backends.yaml'),
    forgesFile: values.WRIT_FORGES_FILE,
    vault: values.WRIT_VAULT === 'on',
    tls: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
    firstOperator: values.WRIT_FIRST_OPERATOR,
    statusTtl: values.WRIT_STATUS_TTL,
  }
}
