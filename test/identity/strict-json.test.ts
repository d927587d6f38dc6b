// The strict reader against JSON.parse: what it accepts means the same; what is ambiguous it refuses.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBrokerError } from '../../src/domain/errors.ts'
import { BODY_LIMITS, parseStrictJson } from '../../src/identity/strict-json.ts'

/** Milliseconds; many runs on a busy machine. */
const SLOW = 60_000

const refused = (text: string, limits = BODY_LIMITS): boolean => {
  try {
    parseStrictJson(text, limits)
    return false
  } catch (thrown) {
    if (!isBrokerError(thrown, 'invalid_request')) throw thrown
    return true
  }
}
const reads = (text: string): unknown => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}
const roomy = { bytes: 1 << 20, depth: 100, keys: 10_000 }

describe('parseStrictJson', () => {
  it(
    'reads every value that JSON.stringify writes, exactly as JSON.parse does',
    () => {
      const value = fc.jsonValue({ maxDepth: 6 }).filter((v) => !JSON.stringify(v).includes('__proto__'))
      fc.assert(
        fc.property(value, fc.constantFrom(0, 2, '\t'), (given, indent) => {
          const text = JSON.stringify(given, null, indent)
          if (!text.isWellFormed() || /\\ud[89a-f]/i.test(text)) return
          expect(parseStrictJson(text, roomy)).toEqual(JSON.parse(text))
        }),
        { numRuns: 3_000 },
      )
    },
    SLOW,
  )

  it(
    'accepts nothing that JSON.parse refuses, however valid text is mutated',
    () => {
      const piece = fc.constantFrom(
        ...'{}[]":,\\ut0123456789eE+-. \n\t\u0000\u00a0\ufeff\ud800é"',
        'true',
        'null',
        '\\u00e9',
      )
      const mutated = fc
        .tuple(fc.jsonValue({ maxDepth: 3 }), fc.nat(), fc.nat(4), piece)
        .map(([v, at, cut, insert]) => {
          const text = JSON.stringify(v)
          const start = at % (text.length + 1)
          return text.slice(0, start) + insert + text.slice(start + cut)
        })
      fc.assert(
        fc.property(
          fc.oneof(
            mutated,
            fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
          ),
          (text) => {
            if (refused(text, roomy)) return
            expect({ value: parseStrictJson(text, roomy) }).toEqual(reads(text))
          },
        ),
        { numRuns: 20_000 },
      )
    },
    SLOW,
  )

  it.each([
    ['a member twice', '{"a":1,"a":2}'],
    ['a member twice, once escaped', '{"a":1,"\\u0061":2}'],
    ['a member twice in a nested object', '{"x":[{"b":1,"c":2,"b":1}]}'],
    ['a member named like something inherited, twice', '{"toString":1,"toString":2}'],
    ['__proto__', '{"__proto__":{"isAdmin":true}}'],
    ['__proto__, escaped', '{"\\u005f_proto__":1}'],
    ['a lone high surrogate', '"\\ud800"'],
    ['a lone low surrogate, raw', '"\udc00"'],
    ['a number beyond a double', '1e999'],
    ['a leading zero', '01'],
    ['a hexadecimal number', '0x10'],
    ['NaN', 'NaN'],
    ['a trailing comma', '[1,]'],
    ['a comment', '{/*x*/"a":1}'],
    ['single quotes', "{'a':1}"],
    ['a control character inside a string', '"a\nb"'],
    ['text after the value', '{} {}'],
    ['a byte order mark', '\ufeff{}'],
    ['a no-break space', '\u00a0{}'],
    ['nothing', ''],
    ['spaces only', '  '],
  ])('refuses %s', (_, text) => {
    expect(refused(text)).toBe(true)
  })

  it('holds its limits exactly', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    const members = (count: number) => `{${Array.from({ length: count }, (_, n) => `"k${n}":0`).join(',')}}`
    const bytes = (count: number) => `"${'é'.repeat((count - 2) / 2)}"`
    expect([refused(nested(16)), refused(nested(17))]).toEqual([false, true])
    expect([refused(members(200)), refused(members(201))]).toEqual([false, true])
    expect([refused(`[${members(100)},${members(100)}]`), refused(`[${members(100)},${members(101)}]`)]).toEqual([
      false,
      true,
    ])
    expect([refused(bytes(65_536)), refused(bytes(65_538))]).toEqual([false, true])
  })

  it('never repeats the text in its message', () => {
    const secret = 'hunter2-hunter2'
    for (const text of [`{"${secret}":1,"${secret}":2}`, `"${secret}`, `{"a":${secret}}`]) {
      const message = (() => {
        try {
          parseStrictJson(text)
          return secret
        } catch (thrown) {
          return String(thrown)
        }
      })()
      expect(message).not.toContain(secret)
    }
  })
})
