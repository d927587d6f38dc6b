// Knowledge by Token Status List (IETF draft-ietf-oauth-status-list): the signed list that a token names, kept no longer than `maxStaleness`
// after the broker signed it. Invariant: a list counts only under the broker's key, for its own address; an older one never replaces a newer.
import { inflateSync } from 'node:zlib'
import { compactVerify } from 'jose'
import { age, type KeySource, type Moment, moment } from './keys.ts'
import type { Machine } from './machine.ts'
import { ENDED, type Knowledge, LIVE, type Problem, unknown } from './standing.ts'
import { compactJws, isObject, isSeconds, isText, jsonObject } from './strict-jws.ts'
import type { Wire } from './wire.ts'

export interface StatusListOptions {
  readonly maxStalenessMs: number
  readonly toleranceMs: number
  readonly timeoutMs: number
}
interface List {
  readonly bits: number
  readonly bytes: Uint8Array
  /** When it was signed and until when it counts, by the broker's clock. */
  readonly signedAt: number
  readonly endsAt: number
  /** When it is to be read again. */
  readonly freshUntil: number
  readonly read: Moment
}
interface Slot {
  list: List | undefined
  reading: Promise<void> | undefined
  tried: Moment | undefined
}

const LONGEST_TOKEN = 2 * 1_048_576
const LONGEST_LIST = 4 * 1_048_576
const MOST_LISTS = 256
const AFTER_FAILURE_MS = 1_000

export function byStatusList(
  wire: Pick<Wire, 'ask' | 'issuer'>,
  machine: Machine,
  keys: KeySource,
  options: StatusListOptions,
  problem: Problem,
): Knowledge {
  const slots = new Map<string, Slot>()
  const closing = new AbortController()

  const slotOf = (uri: string): Slot => {
    const known = slots.get(uri)
    if (known !== undefined) return known
    const oldest = slots.size >= MOST_LISTS ? slots.keys().next().value : undefined
    if (oldest !== undefined) slots.delete(oldest)
    const slot: Slot = { list: undefined, reading: undefined, tried: undefined }
    slots.set(uri, slot)
    return slot
  }
  const readAgain = (uri: string, slot: Slot): Promise<void> => {
    slot.reading ??= (async () => {
      try {
        const answer = await wire.ask(uri, {
          headers: { accept: 'application/statuslist+jwt' },
          timeoutMs: options.timeoutMs,
          longest: LONGEST_TOKEN,
          signal: closing.signal,
        })
        if (answer.status !== 200) throw new Error(`the status list was answered with status ${answer.status}`)
        const list = await listOf(answer.text, uri)
        // A store that was rolled back, or an old copy on the way, must not bring a grant back.
        if (slot.list === undefined || list.signedAt >= slot.list.signedAt) slot.list = list
      } catch (thrown) {
        if (!closing.signal.aborted) problem('status list', thrown)
      }
      slot.tried = moment(machine)
      slot.reading = undefined
    })()
    return slot.reading
  }

  const listOf = async (text: string, uri: string): Promise<List> => {
    const jws = compactJws(text, ['alg', 'typ', 'kid'], LONGEST_TOKEN)
    const { alg, typ, kid } = jws?.header ?? {}
    if (jws === undefined || alg !== 'ES256' || typ !== 'statuslist+jwt' || !isText(kid, 128))
      throw new Error('this is not a status list signed with ES256')
    const key = await keys.key(kid)
    if (key === undefined || key === 'unknown') throw new Error('the key of the status list is not known')
    await compactVerify(text, key, { algorithms: ['ES256'] })
    const { iss, sub, iat, exp, ttl, status_list: list } = jsonObject(jws.payloadText) ?? {}
    if (sub !== uri || (iss !== undefined && iss !== wire.issuer)) throw new Error('the status list is another one')
    if (!isSeconds(iat) || !isSeconds(exp) || !isSeconds(ttl)) throw new Error('the status list lacks one of its times')
    const now = machine.now()
    if (iat * 1_000 > now + options.toleranceMs) throw new Error('the status list is dated in the future')
    if (exp * 1_000 <= now) throw new Error('the status list has expired')
    if (!isObject(list) || typeof list.lst !== 'string' || !isBits(list.bits))
      throw new Error('the status list cannot be read')
    const bytes = inflateSync(Buffer.from(list.lst, 'base64url'), { maxOutputLength: LONGEST_LIST })
    return {
      bits: list.bits,
      bytes,
      signedAt: iat * 1_000,
      endsAt: exp * 1_000,
      freshUntil: (iat + ttl) * 1_000,
      read: moment(machine),
    }
  }

  /** By the broker's own date, and never less than the time that it has lain here. */
  const ageOf = ({ signedAt, read }: List): number => Math.max(machine.now() - signedAt, age(machine, read))
  const isUsable = (list: List | undefined): list is List =>
    list !== undefined && ageOf(list) <= options.maxStalenessMs && machine.now() < list.endsAt

  return {
    of: async ({ status }) => {
      if (status === undefined) return unknown('The credential names no status list.')
      // The broker signed the address; that it is the broker's own is asked all the same, so that nobody is made to ask others.
      if (!status.uri.startsWith(`${wire.issuer}/status/`)) return unknown('The status list is not one of the broker.')
      const slot = slotOf(status.uri)
      const mayAsk = slot.tried === undefined || age(machine, slot.tried) >= AFTER_FAILURE_MS
      const { list } = slot
      if (list === undefined || machine.now() >= list.freshUntil || !isUsable(list)) {
        if (mayAsk || slot.reading !== undefined) await readAgain(status.uri, slot)
      }
      if (!isUsable(slot.list)) return unknown('The status list cannot be read, or is too old.')
      const value = valueAt(slot.list, status.index)
      if (value === undefined) return unknown('The status list has no such place.')
      // 1 is INVALID, 2 SUSPENDED; whatever else there may come to be is not VALID.
      return value === 0 ? LIVE : ENDED
    },
    brokerTime: () => undefined,
    staleness: () => [...slots.values()].reduce((oldest, { list }) => Math.max(oldest, list ? ageOf(list) : 0), 0),
    ready: async () => undefined,
    close: async () => {
      closing.abort()
      await Promise.all([...slots.values()].map(({ reading }) => reading))
    },
  }
}

const isBits = (value: unknown): value is 1 | 2 | 4 | 8 => value === 1 || value === 2 || value === 4 || value === 8

/** The draft, §4.1: the first status stands in the lowest bits of the first byte. */
function valueAt({ bits, bytes }: List, index: number): number | undefined {
  const perByte = 8 / bits
  const byte = bytes[Math.floor(index / perByte)]
  return byte === undefined ? undefined : (byte >> ((index % perByte) * bits)) & (2 ** bits - 1)
}
