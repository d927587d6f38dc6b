// How one setting is read, whichever way it came: a kind parses the text, and says how the settings file writes it. Invariant: a kind
// gives a value or what is wrong, never a default; what may be a secret is in a file of its own, or is refused.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { isName, named, type PrincipalId } from './domain/ids.ts'
import { type Duration, formatDuration, parseDuration } from './domain/instant.ts'
import { type Secret, secret } from './domain/secret.ts'
import { parseSubnet, type Subnet } from './http/client-address.ts'

export interface Around {
  readonly mode: 'dev' | 'production'
  /** What a path is relative to: the working folder, or the folder of the settings file. */
  readonly folder: string
}
export type Reading<T> = { readonly value: T } | { readonly problem: string }
export interface Kind<T> {
  /** How the settings file writes it. */
  readonly inFile: z.ZodType<string | number | string[]>
  /** From the text of the environment; what the file holds is turned into the same text first. */
  read(text: string, around: Around): Reading<T>
}

const inFileText = z.string({ error: 'text is needed' }).min(1, 'this may not be empty')
const kind = <T>(read: Kind<T>['read'], inFile: Kind<T>['inFile'] = inFileText): Kind<T> => ({ inFile, read })
const problem = (text: string) => ({ problem: text })

export const choice = <const T extends string>(...choices: readonly [T, ...T[]]): Kind<T> => {
  const wrong = `must be ${choices.join(' or ')}`
  return kind<T>(
    (text) => {
      const value = choices.find((one) => one === text)
      return value === undefined ? problem(wrong) : { value }
    },
    z.enum(choices, { error: wrong }),
  )
}

export const path: Kind<string> = kind((text, { folder }) =>
  text === '' ? problem('must name a file or folder') : { value: resolve(folder, text) },
)

export const listen: Kind<{ readonly host: string; readonly port: number }> = kind((text) => {
  const [, host = '', port = ''] = /^(\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})$/i.exec(text) ?? []
  return host === '' || Number(port) > 65_535
    ? problem('must be address:port')
    : { value: { host: host.replace(/^\[|\]$/g, ''), port: Number(port) } }
})

export const origin: Kind<string> = kind((text, { mode }) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const secure = url?.protocol === 'https:' || (mode === 'dev' && url?.protocol === 'http:')
  return secure && url?.origin === text
    ? { value: text }
    : problem(`must be an ${mode === 'dev' ? 'http(s)' : 'https'} origin without path, query or trailing slash`)
})

/** Nothing in it that would be a secret. */
export const collector: Kind<string> = kind((text) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain = url !== undefined && /^https?:$/.test(url.protocol) && `${url.origin}${url.pathname}` === url.href
  return plain
    ? { value: url.href.replace(/\/$/, '') }
    : problem('must be an http(s) URL without a user, query or fragment')
})

const isRedisUrl = (text: string): boolean => URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol)
const NO_REDIS_URL = 'must be a redis:// or rediss:// URL'

/** In the open: without a password. */
export const redisUrl: Kind<Secret<string>> = kind((text) => {
  if (!isRedisUrl(text)) return problem(NO_REDIS_URL)
  if (new URL(text).password === '') return { value: secret(text) }
  return problem('holds a password: put the URL into a file and name that with …_FILE')
})

/** The name of a file that holds it. */
export const redisUrlFile: Kind<Secret<string>> = kind((text, { folder }) => {
  try {
    const url = readFileSync(resolve(folder, text), 'utf8').trim()
    return isRedisUrl(url) ? { value: secret(url) } : problem(`names a file whose content ${NO_REDIS_URL}`)
  } catch (thrown) {
    return problem(`cannot be read: ${thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'}`)
  }
})

export const whole = (least: number, most: number): Kind<number> => {
  const wrong = `must be a whole number from ${least} to ${most}`
  return kind(
    (text) => {
      const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
      return value >= least && value <= most ? { value } : problem(wrong)
    },
    z.int({ error: wrong }).min(least, wrong).max(most, wrong),
  )
}

export const span = (
  least: (mode: Around['mode']) => Duration,
  bounds?: { readonly most: Duration; readonly whole: Duration },
): Kind<Duration> =>
  kind((text, { mode }) => {
    const value = parseDuration(text)
    const fits = (one: Duration) => bounds === undefined || (one <= bounds.most && one % bounds.whole === 0)
    if (value !== undefined && value >= least(mode) && fits(value)) return { value }
    const from = formatDuration(least(mode))
    return problem(
      bounds === undefined
        ? `must be a duration like 30d, at least ${from}`
        : `must be a duration from ${from} to ${formatDuration(bounds.most)}, a multiple of ${formatDuration(bounds.whole)}`,
    )
  })

/** 0 says never. */
export const spanOrNever = (least: Duration): Kind<Duration> =>
  kind((text) => {
    const value = parseDuration(text)
    return value !== undefined && (value === 0 || value >= least)
      ? { value }
      : problem(`must be a duration like 1h, at least ${formatDuration(least)}, or 0s for never`)
  })

export interface Rate {
  readonly count: number
  readonly per: Duration
}
export const rate: Kind<Rate> = kind((text) => {
  const [, count = '', time = ''] = /^([1-9]\d{0,8})\/(.+)$/.exec(text) ?? []
  const per = parseDuration(time)
  return per !== undefined && per >= 1_000 && per <= 86_400_000
    ? { value: { count: Number(count), per } }
    : problem('must be a count per time like 600/1m, the time from 1s to 1d')
})

/** In the environment separated by commas, in the file a list. */
export const subnets: Kind<readonly Subnet[]> = kind(
  (text) => {
    const parts = text.split(',').map((part) => part.trim())
    const value = parts.map(parseSubnet)
    const wrong = parts.filter((_, at) => value[at] === undefined)
    return wrong.length === 0
      ? { value: value.filter((one) => one !== undefined) }
      : problem(`must be addresses or subnets like 10.1.0.0/16, never /0: '${wrong.join("', '")}'`)
  },
  z.array(z.string({ error: 'text is needed' }).regex(/^[^,]+$/, 'one subnet is needed'), {
    error: 'a list of subnets is needed',
  }),
)

export const person: Kind<PrincipalId> = kind((text) =>
  isName(text) ? { value: named.principal(text) } : problem('must be the id of a person in people.yaml'),
)
