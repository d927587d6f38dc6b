// The soak of seconds: that the program works, that the shipped broker keeps nothing of them, and that one which does is found.
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { level, soak } from './run.ts'

const LEAKING = fileURLToPath(new URL('../support/leaking-broker.ts', import.meta.url))

it('the shipped broker keeps nothing of twenty seconds of everything', async () => {
  const report = await soak({ minutes: 0.34, rate: 4, seed: 3, quick: true })
  expect(report.errors).toEqual([])
  expect(report.why).toEqual([])
  expect(level(report)).toBe(true)
  // Everything was among it, and each metric was seen.
  expect(Object.keys(report.verbs)).toEqual(
    expect.arrayContaining(['POST /v1/grants/:id/exchange', 'POST /oauth2/token', 'GET /v1/revocations (stream)']),
  )
  expect(Object.values(report.level).some(Number.isNaN)).toBe(false)
}, 240_000)

it('a broker that keeps memory, a descriptor and a key of everything that it seals is found out, each by its name', async () => {
  const report = await soak({ minutes: 0.34, rate: 4, seed: 3, quick: true, program: LEAKING })
  expect(level(report)).toBe(false)
  for (const name of ['broker0.rssMb', 'broker0.fds', 'broker1.fds', 'redis.live'])
    expect([name, report.met[name]]).toEqual([name, false])
  // And nothing else is blamed for it.
  for (const name of ['vault.leases', 'postgres.logins', 'redis.clients', 'broker0.waiting'])
    expect([name, report.met[name]]).toEqual([name, true])
}, 240_000)
