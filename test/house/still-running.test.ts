// The one who ends a test run that hangs ends no other: a run longer than its patience, in which every file has ended, goes on.
import { afterEach, beforeEach, expect, it, type Mock, vi } from 'vitest'
import type { TestCase, TestModule } from 'vitest/node'
import StillRunning from '../still-running.ts'

const LONGER_THAN_ITS_PATIENCE_MS = 60 * 60_000

const file = { relativeModuleId: 'test/some.test.ts' } as TestModule
const last = { module: file, fullName: 'the last one' } as TestCase

let said: string[]
let ended: Mock<() => void>
let watching: StillRunning
beforeEach(() => {
  vi.useFakeTimers()
  said = []
  ended = vi.fn<() => void>()
  watching = new StillRunning({ say: (line) => said.push(line), end: ended })
  watching.onTestRunStart()
  watching.onTestModuleQueued(file)
})
afterEach(() => {
  watching.onTestRunEnd()
  vi.useRealTimers()
})

it('a file of which nothing more is heard is told, and ends the run', () => {
  watching.onTestCaseReady(last)
  vi.advanceTimersByTime(5 * 60_000)
  for (const named of [file.relativeModuleId, last.fullName]) expect(said.at(-1)).toContain(named)
  expect(ended).not.toHaveBeenCalled()
  vi.advanceTimersByTime(LONGER_THAN_ITS_PATIENCE_MS)
  expect(ended).toHaveBeenCalled()
})

it.each<[string, (of: StillRunning) => void]>([
  [
    'with its last word before',
    (of) => {
      of.onTestCaseResult(last)
      of.onTestModuleEnd(file)
    },
  ],
  [
    'with a last word that comes after, as the test runner does not keep them in order',
    (of) => {
      of.onTestModuleEnd(file)
      of.onTestCaseResult(last)
    },
  ],
])('a file that has ended is not waited for, %s', (_, end) => {
  end(watching)
  vi.advanceTimersByTime(LONGER_THAN_ITS_PATIENCE_MS)
  expect(said).toEqual([])
  expect(ended).not.toHaveBeenCalled()
})

it('one that is run again is waited for again', () => {
  watching.onTestModuleEnd(file)
  watching.onTestModuleQueued(file)
  watching.onTestCaseReady(last)
  vi.advanceTimersByTime(LONGER_THAN_ITS_PATIENCE_MS)
  expect(ended).toHaveBeenCalled()
})
