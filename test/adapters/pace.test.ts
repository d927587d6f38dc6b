// How a sweep leaves room: by a clock and a load that the test sets.
import { expect, it } from 'vitest'
import { lately, paced } from '../../src/queue/pace.ts'

interface Load {
  readonly more: boolean
  readonly busy: boolean
  readonly crowded?: boolean
  readonly workedMs: number
}
function sweeping({ more, busy, crowded = false, workedMs }: Load) {
  let worked = 0
  const pauses: number[] = []
  const batches: number[] = []
  const sweep = async (_lane: string, most: number) => {
    worked += workedMs
    batches.push(most)
    return { more }
  }
  const pause = async (ms: number) => void pauses.push(ms)
  const load = { workedMs: () => worked, isBusy: () => busy, isCrowded: () => crowded, pause }
  return { pauses, batches, once: (lane = 'local') => paced(sweep, load)(lane) }
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

it('takes few at a time while many wait, so that each waits behind few; not where a backend is what takes the time', async () => {
  const crowded = sweeping({ more: true, busy: true, crowded: true, workedMs: 20 })
  const [, , quiet] = [
    await crowded.once(),
    await crowded.once('vault-main'),
    sweeping({ more: true, busy: true, workedMs: 20 }),
  ]
  await quiet.once()
  expect([...crowded.batches, ...quiet.batches]).toEqual([25, 100, 100])
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

it('many wait where ten came or were answered within a tenth of a second', () => {
  let now = 0
  const traffic = lately(() => now)
  for (let n = 0; n < 9; n += 1) traffic.note()
  now = 50
  expect(traffic.isOften()).toBe(false)
  traffic.note()
  now = 99
  expect(traffic.isOften()).toBe(true)
  now = 100
  expect([traffic.isOften(), traffic.isSo()]).toEqual([false, true])
  for (let n = 0; n < 9; n += 1) traffic.note()
  expect(traffic.isOften()).toBe(true)
})
