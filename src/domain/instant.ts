// Time as values. An Instant is integer milliseconds since the epoch, a Duration integer milliseconds; a bare number is neither.
// The domain never asks what time it is: `now` is always handed in.

declare const instantBrand: unique symbol
declare const durationBrand: unique symbol

/** Integer milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = number & { readonly [instantBrand]: true }
/** Integer milliseconds. */
export type Duration = number & { readonly [durationBrand]: true }

/** Parses integer milliseconds. Throws RangeError for anything a calendar cannot hold. */
export function instant(ms: number): Instant {
  if (!Number.isSafeInteger(ms) || ms < 0 || ms > 8_640_000_000_000_000) throw new RangeError(`not an instant: ${ms}`)
  return ms as Instant
}

/** Parses integer milliseconds. Throws RangeError for fractions and for what is not finite. */
export function duration(ms: number): Duration {
  if (!Number.isSafeInteger(ms)) throw new RangeError(`not a duration: ${ms}`)
  return ms as Duration
}

export const milliseconds = (n: number): Duration => duration(n)
export const seconds = (n: number): Duration => duration(n * 1_000)
export const minutes = (n: number): Duration => duration(n * 60_000)
export const hours = (n: number): Duration => duration(n * 3_600_000)
export const days = (n: number): Duration => duration(n * 86_400_000)

export const after = (start: Instant, wait: Duration): Instant => instant(start + wait)
export const between = (start: Instant, end: Instant): Duration => duration(end - start)
export const earliest = (first: Instant, ...more: readonly Instant[]): Instant => instant(Math.min(first, ...more))
export const latest = (first: Instant, ...more: readonly Instant[]): Instant => instant(Math.max(first, ...more))
export const shortest = (first: Duration, ...more: readonly Duration[]): Duration => duration(Math.min(first, ...more))

/** Whole seconds, rounded down: the only place where milliseconds become the seconds that JWT and Vault speak. */
export const toSeconds = (span: Instant | Duration): number => Math.floor(span / 1_000)

const RFC3339 =
  /^(19[7-9]\d|[2-9]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,3})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/

/** The form of a time as text, for schemas that are shown to clients. */
export const INSTANT_PATTERN = RFC3339.source

/** RFC 3339 text with a zone to an Instant; undefined for anything else, also for days that do not exist. */
export function parseInstant(text: string): Instant | undefined {
  if (!RFC3339.test(text)) return undefined
  const day = Number(text.slice(8, 10))
  const ms = Date.parse(text)
  if (!Number.isSafeInteger(ms) || ms < 0) return undefined
  // Date.parse rolls 30 February over into March: a date that does not exist is an error here.
  const month = Number(text.slice(5, 7))
  const lengthOfMonth = new Date(Date.UTC(Number(text.slice(0, 4)), month, 0)).getUTCDate()
  return day > lengthOfMonth ? undefined : instant(ms)
}

/** RFC 3339 in UTC with milliseconds. */
export function formatInstant(at: Instant): string {
  const day = Math.floor(at / DAY)
  if (day !== dayOf.day) dayOf = { day, text: new Date(at).toISOString().slice(0, -13) }
  const ms = at - day * DAY
  const [h, m, s] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1_000) % 60]
  return `${dayOf.text}${TWO[h]}:${TWO[m]}:${TWO[s]}.${String(ms % 1_000).padStart(3, '0')}Z`
}
const DAY = 86_400_000
const TWO: readonly string[] = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'))
/** Nearly all that is shown together lies in one day, and naming the day is what costs. */
let dayOf = { day: Number.NaN, text: '' }

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `90s`, `15m`, `2h`, `14d`, or several together (`1h30m`); undefined for anything else. */
export function parseDuration(text: string): Duration | undefined {
  if (!/^(\d{1,9}(ms|s|m|h|d))+$/.test(text)) return undefined
  let total = 0
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g))
    total += Number(count) * (UNITS[unit ?? ''] ?? Number.NaN)
  return Number.isSafeInteger(total) ? duration(total) : undefined
}

/** The short form that `parseDuration` reads. */
export function formatDuration(span: Duration): string {
  if (span === 0) return '0s'
  let rest: number = span
  let text = ''
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const size = UNITS[unit] ?? 1
    const count = Math.floor(rest / size)
    if (count > 0) text += `${count}${unit}`
    rest -= count * size
  }
  return text
}
