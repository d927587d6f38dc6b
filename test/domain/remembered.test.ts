// What is remembered is bounded, and what nobody asks about is forgotten.
import { describe, expect, it } from 'vitest'
import { aMinuteWentBy, memory } from '../../src/domain/remembered.ts'

const named = (n: number): string => `n${n}`

describe('a memory', () => {
  it('gives back what was kept, the latest of each name', () => {
    const m = memory<string, number>(10)
    m.set('a', 1)
    m.set('a', 2)
    expect([m.get('a'), m.get('b')]).toEqual([2, undefined])
  })

  it('never holds more than it may, and of those the ones that were asked about last', () => {
    const m = memory<string, number>(100)
    for (let n = 0; n < 10_000; n += 1) {
      m.set(named(n), n)
      expect(m.get('n0')).toBe(0)
    }
    const held = Array.from({ length: 10_000 }, (_, n) => m.get(named(n))).filter((one) => one !== undefined)
    expect(held.length).toBeLessThanOrEqual(100)
    expect(held.length).toBeGreaterThanOrEqual(50)
    expect(m.get('n9999')).toBe(9_999)
  })

  it('forgets what nobody asked about in the last minute but one, nor since', () => {
    const m = memory<string, number>(100)
    m.set('used', 1)
    m.set('left', 2)
    for (let n = 0; n < 5; n += 1) {
      aMinuteWentBy()
      expect(m.get('used')).toBe(1)
    }
    expect(m.get('left')).toBeUndefined()
    aMinuteWentBy()
    aMinuteWentBy()
    expect(m.get('used')).toBeUndefined()
  })

  it('forgets all when it is cleared', () => {
    const m = memory<string, number>(100)
    m.set('a', 1)
    aMinuteWentBy()
    m.set('b', 2)
    m.clear()
    expect([m.get('a'), m.get('b')]).toEqual([undefined, undefined])
  })
})
