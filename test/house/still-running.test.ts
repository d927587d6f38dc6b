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
  expect(said).toContainEqual('still running, 5 min: test/some.test.ts: the last one')
  expect(ended).not.toHaveBeenCalled()
  vi.advanceTimersByTime(LONGER_THAN_ITS_PATIENCE_MS)
  expect(ended).toHaveBeenCalled()
})

it('a file that has ended is not waited for', () => {
  watching.onTestCaseResult(last)
  watching.onTestModuleEnd(file)
  vi.advanceTimersByTime(LONGER_THAN_ITS_PATIENCE_MS)
  expect(said).toEqual([])
  expect(ended).not.toHaveBeenCalled()
})

it('nor is one of which a last word comes after its end, as the test runner does not keep them in order', () => {
  watching.onTestModuleEnd(file)
  watching.onTestCaseResult(last)
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
