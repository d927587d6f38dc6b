// Plain values: time, windows, ids, secrets, canonical JSON.
import { inspect } from 'node:util'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Canonical, canonical } from '../../src/domain/canonical.ts'
import { grantId, isGrantId, isName, mintId, shard, shardOf } from '../../src/domain/ids.ts'
import {
  formatDuration,
  formatInstant,
  hours,
  instant,
  milliseconds,
  minutes,
  parseDuration,
  parseInstant,
} from '../../src/domain/instant.ts'
import { reveal, secret } from '../../src/domain/secret.ts'
import { faultOf, isClosed, isOpen } from '../../src/domain/window.ts'

describe('time', () => {
  it('reads what it writes, and refuses days that do not exist', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4_000_000_000_000 }),
        (ms) => parseInstant(formatInstant(instant(ms))) === ms,
      ),
    )
    for (const bad of [
      '2026-02-30T00:00:00Z',
      '2026-13-01T00:00:00Z',
      '2026-01-01',
      '2026-01-01T24:00:00Z',
      '2026-01-01T00:00:00',
      'now',
      '2025-02-29T10:00:00Z',
    ]) {
      expect(parseInstant(bad), bad).toBeUndefined()
    }
    expect(parseInstant('2024-02-29T10:00:00+02:00')).toBe(Date.UTC(2024, 1, 29, 8))
  })

  it('reads and writes durations', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9_000_000_000 }),
        (ms) => parseDuration(formatDuration(milliseconds(ms))) === ms,
      ),
    )
    expect(parseDuration('1h30m')).toBe(90 * 60_000)
    for (const bad of ['', '1', 'h', '1.5h', '-1h', '1h ', 'P1D']) expect(parseDuration(bad), bad).toBeUndefined()
  })

  it('a window is half-open: its first instant is inside, its last is not', () => {
    const window = { opensAt: instant(1_000), closesAt: instant(2_000) }
    expect([999, 1_000, 1_999, 2_000].map((ms) => isOpen(window, instant(ms)))).toEqual([false, true, true, false])
    expect(isClosed(window, instant(2_000))).toBe(true)
  })

  it('how far ahead and how long are two limits', () => {
    const limits = { maxDuration: hours(2), horizon: hours(14 * 24) }
    const now = instant(1_700_000_000_000)
    const at = (opens: number, length: number) =>
      faultOf({ opensAt: instant(now + opens), closesAt: instant(now + opens + length) }, limits, now)
    expect(at(hours(14 * 24), hours(2))).toBeUndefined()
    expect(at(hours(14 * 24) + 1, hours(2))).toBe('too_far_ahead')
    expect(at(0, hours(2) + 1)).toBe('too_long')
    expect(at(-minutes(10), minutes(10))).toBe('past')
    expect(at(0, 0)).toBe('empty')
  })
})

describe('ids', () => {
  it('a grant id carries its shard, and a mint id its grant', () => {
    const id = grantId(shard(7), 'abcdefghijklmnopqrstuvwx27')
    expect(shardOf(id)).toBe(7)
    expect(mintId(id, 2)).toBe(`${id}-2`)
    for (const bad of ['g0-ABC', 'g-abcdefghijklmnopqrstuvwx27', 'g0-abcdefghijklmnopqrstuvwx27-1', `${id}\n`, ''])
      expect(isGrantId(bad), bad).toBe(false)
  })

  it('a name is safe in a path, a key and SQL', () => {
    expect(isName('payments-migrator')).toBe(true)
    for (const bad of ['', 'A', 'a--b', '-a', 'a-', 'a/b', 'a..b', 'a_b', 'a'.repeat(33), 'a\n'])
      expect(isName(bad), bad).toBe(false)
  })
})

describe('secret', () => {
  it('shows nothing, however it is looked at', () => {
    const hidden = secret('hunter2-canary')
    const seen = [
      String(hidden),
      JSON.stringify({ hidden }),
      inspect(hidden, { depth: 10, showHidden: true }),
      `${hidden}`,
      inspect({ a: [hidden] }),
    ]
    for (const text of seen) expect(text).not.toContain('canary')
    expect(reveal(hidden)).toBe('hunter2-canary')
  })
})

describe('canonical JSON', () => {
  const value: fc.Arbitrary<Canonical> = fc.letrec<{ any: Canonical }>((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.string({ unit: 'grapheme' }),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(fc.string({ unit: 'grapheme' }), tie('any'), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).any

  it('is what an independent RFC 8785 library writes', () => {
    fc.assert(
      fc.property(value, (any) => {
        expect(canonical(any)).toBe(canonicalize(any))
      }),
      { numRuns: 2_000 },
    )
  })

  it('refuses fractions and broken text, and leaves out what is undefined', () => {
    expect(() => canonical(1.5)).toThrow(TypeError)
    expect(() => canonical('\ud800')).toThrow(TypeError)
    expect(canonical({ b: undefined, a: -0 })).toBe('{"a":0}')
  })
})
