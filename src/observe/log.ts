// JSON lines. Invariant: a line holds only names of the list below, and values that cannot be a secret: a Secret prints itself as
// [redacted], what looks like a token is cut out, controls are escaped, and of an unknown error only its name and place are told.
import { isBrokerError } from '../domain/errors.ts'

/** What a line may name. A log call with another name does not compile, and is dropped if it gets here all the same. */
const NAMES = [
  'requestId',
  'traceId',
  'route',
  'status',
  'code',
  'reason',
  'error',
  'cause',
  'at',
  'grant',
  'freeze',
  'mint',
  'kind',
  'handle',
  'principal',
  'passkey',
  'lane',
  'backend',
  'check',
  'shard',
  'seq',
  'count',
  'done',
  'failed',
  'attempts',
  'ms',
  'address',
  'port',
  'file',
  'setting',
  'revision',
  'digest',
  'version',
] as const
export type LogName = (typeof NAMES)[number]
export type LogRecord = { readonly [N in LogName]?: string | number | boolean | { toJSON(): string } | undefined }
export type Level = 'info' | 'warn' | 'error'
export type Log = (level: Level, message: string, record?: LogRecord) => void

const MOST = 500

export interface LogOutput {
  write(line: string): void
  /** For the reader of the log only; nothing is decided by it. */
  time(): string
  /** Of the trace that is open where the line is written. */
  traceId?(): string | undefined
}

/** Writes one line per call. */
export function jsonLog({ write, time, traceId }: LogOutput): Log {
  return (level, message, record = {}) => {
    const whole: LogRecord = { traceId: traceId?.(), ...record }
    const named = NAMES.flatMap((name) => (whole[name] === undefined ? [] : [[name, printable(whole[name])]]))
    const line = { time: time(), level, message: printable(message), ...Object.fromEntries(named) }
    write(`${escaped(JSON.stringify(line))}\n`)
  }
}

/** For a sentence of ours about something thrown: a refusal's code and message; of anything else its name and where it came from. */
export function thrownRecord(thrown: unknown): LogRecord {
  if (isBrokerError(thrown)) {
    const { cause } = thrown
    return {
      code: thrown.code,
      reason: thrown.message,
      ...(cause === undefined ? {} : { cause: isBrokerError(cause) ? cause.message : named(cause), at: place(cause) }),
    }
  }
  const cause = thrown instanceof Error && thrown.cause !== undefined ? { cause: named(thrown.cause) } : {}
  return { error: named(thrown), at: place(thrown), ...cause }
}

/** An unknown error's message may quote what it choked on (JSON.parse does), so it is never told. */
function named(thrown: unknown): string {
  if (!(thrown instanceof Error)) return typeof thrown
  const code = 'code' in thrown && typeof thrown.code === 'string' ? ` ${thrown.code}` : ''
  return `${thrown.name}${code}`
}

const place = (thrown: unknown): string | undefined =>
  thrown instanceof Error
    ? thrown.stack
        ?.replace(thrown.message, '')
        .split('\n')
        .filter((line) => /^\s+at /.test(line))
        .slice(0, 5)
        .map((line) => line.trim())
        .join(' | ')
    : undefined

// Compact JWTs, Vault's tokens, and what follows the words of an Authorization header.
const TOKENS = /eyJ[\w-]+\.[\w-]+(\.[\w-]*)*|\bhv[sbr]\.[\w-]+|\b(bearer|dpop|basic)\s+[\w.~+/=-]{8,}/gi

/** A value as it may be told: shortened, and without what looks like a token. */
export const printable = (value: unknown): string | number | boolean => {
  if (typeof value === 'number' || typeof value === 'boolean') return value
  return String(value).replace(TOKENS, '[token]').slice(0, MOST)
}

/** JSON leaves C1, line separators and bidirectional controls as they are: a terminal does not. */
const escaped = (line: string): string =>
  line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
