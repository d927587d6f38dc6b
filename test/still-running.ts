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

export interface Effects {
  say(line: string): void
  end(): void
}
const REAL: Effects = { say: (line) => void process.stdout.write(`${line}\n`), end: endEverything }

export default class StillRunning implements Reporter {
  readonly #effects: Effects
  #last = new Map<string, Last>()
  /** What a file still had to say may come after its end: the test runner hands both on as they arrive, and waits for neither. */
  #ended = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  constructor(effects?: Partial<Effects>) {
    this.#effects = { ...REAL, ...effects }
  }

  onTestRunStart(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }
  onTestRunEnd(): void {
    clearInterval(this.#timer)
  }
  onTestModuleQueued(module: TestModule): void {
    this.#ended.delete(module.relativeModuleId)
    this.#heard(module, 'being loaded, or blocked')
  }
  onTestModuleEnd(module: TestModule): void {
    this.#ended.add(module.relativeModuleId)
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
    if (this.#ended.has(module.relativeModuleId)) return
    this.#last.set(module.relativeModuleId, { at: performance.now(), doing })
  }

  #look(): void {
    const now = performance.now()
    const silent = [...this.#last].filter(([, { at }]) => now - at > TOLD_MS)
    for (const [file, { at, doing }] of silent)
      this.#effects.say(`still running, ${Math.round((now - at) / 60_000)} min: ${file}: ${doing}`)
    if (!silent.some(([, { at }]) => now - at > MOST_MS)) return
    this.#effects.say('FAIL: the files above block their own processes, or wait for what never comes')
    this.#effects.end()
  }
}

function endEverything(): void {
  try {
    for (const pid of childrenOf(process.pid)) process.kill(pid, 'SIGKILL')
  } catch {
    // Elsewhere than on Linux they end with the run.
  }
  process.exit(1)
}

const childrenOf = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
