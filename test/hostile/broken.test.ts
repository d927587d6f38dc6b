// A hostile run finds what is broken: the real door with one thing broken in it, each in the operation where it shows.
import { expect, it } from 'vitest'
import { brokenTarget, FAULTS } from '../support/broken-door.ts'
import { planOf } from './plan.ts'
import { clean, hostileRun } from './run.ts'

/** Enough for every role to have come by. */
const REQUESTS = 1_500
const OPERATIONS = new Set(Object.values(FAULTS).map(({ operation }) => operation))

it('nothing is found where nothing is broken', async () => {
  const target = await brokenTarget((ports) => ports)
  const report = await hostileRun(target, { requests: REQUESTS, seed: 7, only: (one) => OPERATIONS.has(one) })
  await target.stop()
  expect(report.findings).toEqual([])
  expect([clean(report), report.requests]).toEqual([true, REQUESTS])
})

it('nothing is found either where two things are wrong at once', async () => {
  const target = await brokenTarget((ports) => ports)
  const only = (one: string): boolean => one === 'accept_clock'
  const { product } = planOf(target.document, 3, only)
  const report = await hostileRun(target, { requests: product + 500, seed: 3, only })
  await target.stop()
  expect(report.findings).toEqual([])
  expect([report.covered, clean(report)]).toEqual([product, true])
})

it.each(Object.entries(FAULTS))('%s is found, with what to send to see it again', async (_, broken) => {
  const target = await brokenTarget(broken.fault)
  const report = await hostileRun(target, { requests: REQUESTS, seed: 7, only: (one) => one === broken.operation })
  await target.stop()
  const found = report.findings.find(({ kind }) => kind === broken.kind)
  expect([report.found, found?.curl]).toEqual([
    expect.objectContaining({ [broken.kind]: expect.toSatisfy((n: number) => n > 0) }),
    expect.stringMatching(/^curl -i --path-as-is -X \w+ /),
  ])
  expect(clean(report)).toBe(false)
  expect(JSON.stringify(report)).not.toMatch(/Bearer eyJ/)
})
