// How what ends leaves room: by a clock and a load that the test sets.
import { expect, it } from 'vitest'
import { batchOf, often, paced } from '../../src/queue/pace.ts'

it('a sweep takes few at a time while many ask, so that each waits behind few; not where a backend is what takes the time', async () => {
  const taken: (readonly [string, number])[] = []
  let crowded = true
  const sweep = paced(
    async (lane, most) => {
      taken.push([lane, most])
      return { more: false }
    },
    () => crowded,
  )
  for (const lane of ['local', 'vault-main']) expect(await sweep(lane)).toEqual({ more: false })
  crowded = false
  await sweep('local')
  expect(taken).toEqual([
    ['local', 25],
    ['vault-main', 100],
    ['local', 100],
  ])
  expect([batchOf(true), batchOf(false)]).toEqual([25, 100])
})

it('many ask where ten questions and answers came within a tenth of a second', () => {
  let now = 0
  const traffic = often(() => now)
  expect(traffic.isSo()).toBe(false)
  for (let n = 0; n < 9; n += 1) traffic.note()
  now = 50
  expect(traffic.isSo()).toBe(false)
  traffic.note()
  now = 99
  expect(traffic.isSo()).toBe(true)
  now = 100
  expect(traffic.isSo()).toBe(false)
  for (let n = 0; n < 9; n += 1) traffic.note()
  expect(traffic.isSo()).toBe(true)
  now = 150
  expect(traffic.isSo()).toBe(false)
})
