// JSON as an attacker may not write it: whatever two parsers could read differently is refused. Duplicate members, `__proto__`,
// lone surrogates, numbers beyond a double, trailing text, deep or wide input. What is accepted means exactly what JSON.parse says.
import { BrokerError } from '../domain/errors.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [member: string]: Json }

export interface JsonLimits {
  /** UTF-8 bytes of the whole text. */
  readonly bytes: number
  /** Objects and arrays inside each other. */
  readonly depth: number
  /** Members of all objects together. */
  readonly keys: number
}

/** For request bodies. */
export const BODY_LIMITS: JsonLimits = { bytes: 64 * 1024, depth: 16, keys: 200 }

/**
 * Reads one JSON value (RFC 8259) strictly. Rejects with `invalid_request`; the message names the position and the kind of the
 * mistake, never the text. RFC 8259 §4 leaves duplicate names open; we refuse them, because a check and an effect may differ.
 */
export function parseStrictJson(text: string, limits: JsonLimits = BODY_LIMITS): Json {
  // A UTF-16 code unit is at least one byte, so the cheap test comes first.
  if (text.length > limits.bytes || Buffer.byteLength(text) > limits.bytes)
    throw refuse(`The JSON text is longer than ${limits.bytes} bytes.`)
  let at = 0
  let keys = 0

  const fail = (what: string): BrokerError => refuse(`The JSON text has ${what} at position ${at}.`)

  const skipSpace = (): void => {
    for (;;) {
      const code = text.charCodeAt(at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      at += 1
    }
  }

  const value = (depth: number): Json => {
    skipSpace()
    switch (text.charCodeAt(at)) {
      case 0x7b: // {
        return object(depth + 1)
      case 0x5b: // [
        return array(depth + 1)
      case 0x22: // "
        return string()
      case 0x74: // t
        return word('true', true)
      case 0x66: // f
        return word('false', false)
      case 0x6e: // n
        return word('null', null)
      default:
        return number()
    }
  }

  const object = (depth: number): Json => {
    if (depth > limits.depth) throw fail('too many levels')
    at += 1
    const members: Record<string, Json> = {}
    skipSpace()
    if (text.charCodeAt(at) === 0x7d) {
      at += 1
      return members
    }
    for (;;) {
      skipSpace()
      if (text.charCodeAt(at) !== 0x22) throw fail('something that is not a member name')
      const name = string()
      keys += 1
      if (keys > limits.keys) throw fail('too many members')
      if (name === '__proto__') throw fail('a member name that is not allowed')
      if (Object.hasOwn(members, name)) throw fail('a member that is there twice')
      skipSpace()
      if (text.charCodeAt(at) !== 0x3a) throw fail('a missing colon')
      at += 1
      members[name] = value(depth)
      skipSpace()
      const code = text.charCodeAt(at)
      if (code !== 0x2c && code !== 0x7d) throw fail('an object without its end')
      at += 1
      if (code === 0x7d) return members
    }
  }

  const array = (depth: number): Json => {
    if (depth > limits.depth) throw fail('too many levels')
    at += 1
    const items: Json[] = []
    skipSpace()
    if (text.charCodeAt(at) === 0x5d) {
      at += 1
      return items
    }
    for (;;) {
      items.push(value(depth))
      skipSpace()
      const code = text.charCodeAt(at)
      if (code !== 0x2c && code !== 0x5d) throw fail('an array without its end')
      at += 1
      if (code === 0x5d) return items
    }
  }

  const string = (): string => {
    const start = at + 1
    let escaped = false
    let unusual = false
    for (at = start; ; at += 1) {
      const code = text.charCodeAt(at)
      if (code === 0x22) break
      // NaN, past the end, is not >= 0x20 either.
      if (!(code >= 0x20)) throw fail('a string without its end')
      if (code === 0x5c) {
        escaped = true
        at += 1
      } else if (code >= 0xd800) unusual = true
    }
    const raw = text.slice(start, at)
    at += 1
    if (!escaped && !unusual) return raw
    const read = escaped ? unescaped(raw) : raw
    if (!read.isWellFormed()) throw fail('a lone surrogate')
    return read
  }

  const unescaped = (raw: string): string => {
    if (!ESCAPED.test(raw)) throw fail('an unknown escape')
    return JSON.parse(`"${raw}"`) as string
  }

  const word = <T extends boolean | null>(letters: string, means: T): T => {
    if (!text.startsWith(letters, at)) throw fail('an unknown word')
    at += letters.length
    return means
  }

  const number = (): number => {
    NUMBER.lastIndex = at
    const found = NUMBER.exec(text)?.[0]
    if (found === undefined) throw fail('something that is no JSON value')
    const read = Number(found)
    if (!Number.isFinite(read)) throw fail('a number that is too large')
    at += found.length
    return read
  }

  const read = value(0)
  skipSpace()
  if (at !== text.length) throw fail('more text than one value')
  return read
}

// Linear: every alternative starts with another character.
const ESCAPED = /^(?:[^\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*$/
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y

const refuse = (message: string): BrokerError =>
  new BrokerError('invalid_request', message, { nextAction: 'Send one JSON value as RFC 8259 describes it.' })

/** Whether a JSON value is an object. */
export const isJsonObject = (value: Json | undefined): value is { readonly [member: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
