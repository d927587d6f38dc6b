// Places and bytes of status lists, held against a reader that is not ours.
import { deflateSync } from 'node:zlib'
import { StatusList } from '@sd-jwt/jwt-status-list'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { shard } from '../../src/domain/ids.ts'
import { type Duration, minutes, seconds } from '../../src/domain/instant.ts'
import { LIFECYCLE, LIVE, type STATUSES } from '../../src/domain/lifecycle.ts'
import {
  LIST_SIZE,
  listUri,
  mayGoByList,
  parseList,
  placeAt,
  printList,
  statusBytes,
} from '../../src/domain/status-list.ts'
import { VAULT } from '../support/sample-grants.ts'

const ISSUER = 'https://writ.example'
const read = (bytes: Uint8Array): StatusList =>
  StatusList.decompressStatusList(deflateSync(bytes).toString('base64url'), 2)
/** As Redis keeps them: SETBIT counts from the most significant bit. */
const liveBits = (places: readonly number[], bytes = LIST_SIZE / 8): Uint8Array => {
  const bits = new Uint8Array(bytes)
  for (const place of places) bits[place >> 3] = (bits[place >> 3] ?? 0) | (128 >> (place & 7))
  return bits
}

describe('the place of a grant', () => {
  const born = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
  const of = fc.integer({ min: 0, max: 9_999 }).map(shard)

  it('is in no list where it is not known when the grant was born', () => {
    expect(placeAt(shard(0), 0)).toBeUndefined()
  })

  it('is its own, whatever the shard and however many were born: where it was born can be told from it', () => {
    fc.assert(
      fc.property(of, born, (at, seq) => {
        const place = placeAt(at, seq)
        expect(place).toBeDefined()
        if (place === undefined) return
        expect(place.idx).toBeLessThan(LIST_SIZE)
        expect([place.list.shard, place.list.block * LIST_SIZE + place.idx]).toEqual([at, seq])
      }),
    )
  })

  it('has one name for its list, which is read back, and every other spelling of it is none', () => {
    fc.assert(
      fc.property(of, born, (at, seq) => {
        const { list } = placeAt(at, seq) ?? { list: { shard: at, block: 0 } }
        expect(parseList(printList(list))).toEqual(list)
        expect(listUri(ISSUER, list)).toBe(`${ISSUER}/status/${list.shard}-${list.block}`)
      }),
    )
    for (const text of [
      '',
      '0',
      '0-',
      '-0',
      '00-1',
      '0-01',
      '0-1 ',
      ' 0-1',
      '0-1/',
      '0-1.5',
      '0--1',
      '0-1e3',
      '10000-1',
    ])
      expect([text, parseList(text)]).toEqual([text, undefined])
    expect(parseList(`0-${'9'.repeat(13)}`)).toBeUndefined()
  })
})

describe('the bytes of a list', () => {
  it('say VALID of exactly what is live, to a reader that is not ours', () => {
    const place = fc.integer({ min: 0, max: LIST_SIZE - 1 })
    const edges = [0, 1, 7, 8, LIST_SIZE - 1]
    fc.assert(
      fc.property(fc.array(place, { maxLength: 300 }), (places) => {
        const live = new Set([...places, ...edges])
        const list = read(statusBytes(liveBits([...live])))
        expect(list.statusList).toHaveLength(LIST_SIZE)
        const valid = list.statusList.flatMap((status, at) => (status === 0 ? [at] : []))
        expect(valid).toEqual([...live].sort((a, b) => a - b))
        expect(new Set(list.statusList)).toEqual(new Set([0, 1]))
      }),
      { numRuns: 20 },
    )
  })

  it('say INVALID of everything that Redis has no byte for, and take none beyond the list', () => {
    const short = read(statusBytes(liveBits([3], 1)))
    expect(short.statusList.filter((status) => status === 0)).toHaveLength(1)
    expect([short.getStatus(3), short.getStatus(4), short.getStatus(LIST_SIZE - 1)]).toEqual([0, 1, 1])
    const long = new Uint8Array(LIST_SIZE / 8 + 5).fill(255, LIST_SIZE / 8)
    expect(statusBytes(long)).toEqual(statusBytes(new Uint8Array()))
  })

  it('begin with the least significant bits, as the draft encodes them', () => {
    // Places 0 to 5 are 1, 0, 1, 1, 0, 1.
    expect([...statusBytes(liveBits([1, 4])).subarray(0, 2)]).toEqual([0b01_01_00_01, 0b01_01_01_00])
  })
})

describe('what a list says', () => {
  it('is VALID in one status alone, and nothing ever comes back to it that has left', () => {
    expect(LIVE).toEqual(['active'])
    const after = new Set<string>()
    const follow = (status: (typeof STATUSES)[number]): void => {
      for (const next of LIFECYCLE[status]) {
        if (after.has(next) || next === status) continue
        after.add(next)
        follow(next)
      }
    }
    for (const next of LIFECYCLE.active) if (next !== 'active') follow(next)
    expect(after.has('active')).toBe(false)
  })

  it.each<[string, Duration, Duration, boolean]>([
    ['as long as a list', seconds(30), minutes(5), true],
    ['longer', minutes(1), minutes(5), true],
    ['shorter', seconds(29), minutes(5), false],
    ['nothing: all introspect', seconds(0), minutes(5), false],
    ['as long as its token lives, which is shorter than a list', seconds(10), seconds(10), true],
  ])('counts for a verifier that may remember %s: %s of %s is %s', (_, verifierCache, maxLife, may) => {
    expect(mayGoByList({ kind: 'jwt', sender: 'dpop', maxLife, verifierCache }, seconds(30))).toBe(may)
  })

  it('counts for no login', () => {
    expect(mayGoByList(VAULT, seconds(30))).toBe(false)
  })
})
