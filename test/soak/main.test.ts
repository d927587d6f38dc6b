// The command line of the soak: nothing is started by one that is wrong.
import { expect, it } from 'vitest'
import { askedFor } from './main.ts'

it('is taken as it is meant', () => {
  expect(askedFor(['--minutes', '0.5'])).toEqual({ minutes: 0.5, rate: 4, seed: 1, quick: false, json: false })
  expect(askedFor(['--minutes', '60', '--rate', '2.5', '--seed', '9', '--quick', '--json'])).toEqual({
    ...{ minutes: 60, rate: 2.5, seed: 9, quick: true, json: true },
  })
})

it.each([
  [],
  ['--minutes'],
  ['--minutes', '0'],
  ['--minutes', '-1'],
  ['--minutes', '1e2'],
  ['--minutes', 'NaN'],
  ['--minutes', '1', '--rate', '0'],
  ['--minutes', '1', '--seed', '1.5'],
  ['--minutes', '1', '--foo'],
  ['1'],
])('is refused with %s %s %s %s', (...args) => {
  expect(askedFor(args.filter((one) => one !== undefined))).toBeTypeOf('string')
})
