// How a sweep leaves room: by a clock and a load that the test sets.
import { expect, it } from 'vitest'
import { lately, paced } from '../../src/queue/pace.ts'

function sweeping({ more, busy, workedMs }: { more: boolean; busy: boolean; workedMs: number }) {
  let worked = 0
  const pauses: number[] = []
  const sweep = async () => {
    worked += workedMs
    return { more }
  }
  const pause = async (ms: number) => void pauses.push(ms)
  return { pauses, once: () => paced(sweep, { workedMs: () => worked, isBusy: () => busy, pause })('local') }
}

it('stands back for as long as a batch was worked at while somebody waits, and not at all while nobody does', async () => {
  const busy = sweeping({ more: true, busy: true, workedMs: 20 })
  expect(await busy.once()).toEqual({ more: true })
  expect(busy.pauses).toEqual([20])
  const alone = sweeping({ more: true, busy: false, workedMs: 20 })
  await alone.once()
  expect(alone.pauses).toEqual([])
})

it('never puts an end off for long, and puts nothing off where nothing more is due', async () => {
  const long = sweeping({ more: true, busy: true, workedMs: 60_000 })
  await long.once()
  expect(long.pauses).toEqual([100])
  const last = sweeping({ more: false, busy: true, workedMs: 20 })
  await last.once()
  expect(last.pauses).toEqual([])
})

it('somebody waits from the moment they ask until a tenth of a second after an answer', () => {
  let now = 0
  const traffic = lately(() => now)
  expect(traffic.isSo()).toBe(false)
  traffic.note()
  now = 99
  expect(traffic.isSo()).toBe(true)
  now = 100
  expect(traffic.isSo()).toBe(false)
})
