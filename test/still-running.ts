// Says every few minutes which test files are still at work, and ends a run in which one of them says nothing any more: a test that blocks
// its own process is stopped by no timeout of the test runner's, and would be found by nobody.
import { readFileSync } from 'node:fs'
import type { Reporter, TestCase, TestModule, TestSuite } from 'vitest/node'

const LOOK_MS = 60_000
/** From here on it is told; tests that measure take minutes. */
const TOLD_MS = 3 * 60_000
/** Longer than the longest timeout of any test, so that it is the one that speaks first. */
const MOST_MS = 25 * 60_000

type Last = { readonly at: number; readonly doing: string }

const childrenOf = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)

export default class StillRunning implements Reporter {
  #last = new Map<string, Last>()
  #timer: NodeJS.Timeout | undefined

  onTestRunStart(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }
  onTestRunEnd(): void {
    clearInterval(this.#timer)
  }
  onTestModuleQueued(module: TestModule): void {
    this.#heard(module, 'being loaded, or blocked')
  }
  onTestModuleEnd(module: TestModule): void {
    this.#last.delete(module.relativeModuleId)
  }
  onTestSuiteReady(suite: TestSuite): void {
    this.#heard(suite.module, `before ${suite.fullName}`)
  }
  onTestCaseReady(test: TestCase): void {
    this.#heard(test.module, test.fullName)
  }
  onTestCaseResult(test: TestCase): void {
    this.#heard(test.module, `after ${test.fullName}`)
  }

  #heard(module: TestModule, doing: string): void {
    this.#last.set(module.relativeModuleId, { at: performance.now(), doing })
  }

  #look(): void {
    const now = performance.now()
    const silent = [...this.#last].filter(([, { at }]) => now - at > TOLD_MS)
    for (const [file, { at, doing }] of silent)
      process.stdout.write(`still running, ${Math.round((now - at) / 60_000)} min: ${file}: ${doing}\n`)
    if (!silent.some(([, { at }]) => now - at > MOST_MS)) return
    process.stdout.write('FAIL: the files above block their own processes, or wait for what never comes\n')
    try {
      for (const pid of childrenOf(process.pid)) process.kill(pid, 'SIGKILL')
    } catch {
      // Elsewhere than on Linux they end with the run.
    }
    process.exit(1)
  }
}
