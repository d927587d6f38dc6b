// When a backend whose gate is shut is looked through again, and what the log hears of a pass that failed. The gates are made up, to fail in time.
import { expect, it } from 'vitest'
import { BrokerError, type ErrorCode } from '../../src/domain/errors.ts'
import { watchedInventory } from '../../src/observe/inventory.ts'

const QUIET = {
  isUsed: () => true,
  figures: {
    count: () => undefined,
    observe: () => undefined,
    set: () => undefined,
    text: async () => ({ text: '', media: '' }),
  },
  everyMs: 60_000,
  jitter: () => 0,
}

/** When passes begin, looked for every 100 ms for five minutes, where each takes so long and then fails in this way; and what is logged. */
async function passes(
  tookMs: number,
  code: ErrorCode,
): Promise<{ begun: readonly number[]; logged: readonly string[] }> {
  let now = 0
  const begun: number[] = []
  const logged: string[] = []
  const watched = watchedInventory<string>({
    gates: {
      backends: ['vault-main'],
      closed: () => 'not_looked_through',
      shut: () => [],
      cleanAgeMs: () => undefined,
      pass: async () => {
        begun.push(now)
        now += tookMs
        throw new BrokerError(code, 'It did not answer.')
      },
      keep: async () => undefined,
    },
    ...QUIET,
    log: (level) => void logged.push(level),
    ticks: () => now,
  })
  while (now < 300_000) {
    watched.tick()
    await new Promise((resolve) => setImmediate(resolve))
    now += 100
  }
  return { begun, logged }
}
const gapsOf = (begun: readonly number[]): readonly number[] => begun.slice(1).map((at, n) => at - (begun[n] ?? 0))

it.each([
  ['a second after a quick one', 50, 1_000],
  ['after as long as one of three seconds took', 3_000, 3_000],
  ['five seconds after one that took twenty, so that it is not twenty more', 20_000, 5_000],
])('while no login is made a pass follows %s', async (_, tookMs, waitMs) => {
  const gaps = gapsOf((await passes(tookMs, 'vault_unavailable')).begun)
  expect(gaps.length).toBeGreaterThan(5)
  for (const gap of gaps) {
    expect(gap - tookMs).toBeGreaterThanOrEqual(waitMs)
    expect(gap - tookMs).toBeLessThanOrEqual(waitMs + 200)
  }
})

it.each([
  ['vault_unavailable', 'warn'],
  ['store_unavailable', 'info'],
  ['recovering', 'info'],
] as const)('a pass that fails again and again by %s is told once, as %s', async (code, level) => {
  expect((await passes(50, code)).logged).toEqual([level])
})

it('where single databases could not be looked through it is told once, looked again soon, and told when it is over', async () => {
  let now = 0
  let away: readonly string[] = ['payments']
  const begun: number[] = []
  const logged: string[] = []
  const watched = watchedInventory<string>({
    gates: {
      backends: ['vault-main'],
      closed: () => undefined,
      shut: () => away,
      cleanAgeMs: () => undefined,
      pass: async () => {
        begun.push(now)
        const error = new BrokerError('not_confirmed', 'These databases could not be looked through: payments.')
        return { ended: [], failed: [], unknown: [], unread: away.length === 0 ? undefined : { error } }
      },
      keep: async () => undefined,
    },
    ...QUIET,
    log: (level) => void logged.push(level),
    ticks: () => now,
  })
  const until = async (end: number): Promise<void> => {
    for (; now < end; now += 100) {
      watched.tick()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await until(10_000)
  expect(begun.length).toBeGreaterThan(7)
  expect(watched.shut()).toEqual([{ backend: 'vault-main', databases: 1 }])
  expect(logged).toEqual(['warn'])
  away = []
  await until(12_000)
  expect(watched.shut()).toEqual([])
  expect(logged).toEqual(['warn', 'info'])
  const before = begun.length
  await until(40_000)
  expect(begun.length).toBe(before)
})
