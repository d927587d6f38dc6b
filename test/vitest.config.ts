// One configuration for every test. The pure ones run side by side; then those on real services that measure nothing or mostly wait, two at a
// time; then the others on real services, one file at a time, because they measure and kill. `test/run.ts` chooses the folders.
import { defineConfig } from 'vitest/config'

const shared = { pool: 'forks', testTimeout: 60_000, hookTimeout: 180_000 } as const

const SIDE_BY_SIDE = ['test/model/**/*.test.ts', 'test/hostile/stage.test.ts']
/** They wait for windows, time-outs and restarts, and hold nothing against a clock but what takes seconds. */
const IN_PAIRS = [
  ...['canaries', 'readiness', 'vault-setup', 'vault-source'].map((name) => `test/adapters/${name}.test.ts`),
  ...[
    ...['canary', 'command-line', 'ending-tried', 'filed-once', 'kill', 'orphans', 'orphans-without-store'],
    ...['postgres-frozen', 'recovery', 'remaining-ways', 'rules-in-force', 'shutdown', 'step-up', 'stuck'],
    ...['two-brokers-killed', 'two-brokers-survivor', 'vault-restored'],
  ].map((name) => `test/journeys/${name}.test.ts`),
]
const ALONE = [
  'test/adapters/**/*.test.ts',
  'test/journeys/**/*.test.ts',
  'test/crash/crash.test.ts',
  'test/soak/stage.test.ts',
  'test/bench/quick.test.ts',
]

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    reporters: ['default', 'json', 'test/still-running.ts'],
    outputFile: { json: process.env.WRIT_TEST_REPORT ?? 'node_modules/.writ-tests.json' },
    projects: [
      {
        test: {
          ...shared,
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: [...SIDE_BY_SIDE, ...ALONE],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: { ...shared, name: 'side', include: SIDE_BY_SIDE, maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
      {
        test: {
          ...shared,
          name: 'pairs',
          setupFiles: ['test/support/openapi-listen.ts'],
          include: IN_PAIRS,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...shared,
          name: 'real',
          setupFiles: ['test/support/openapi-listen.ts'],
          include: ALONE,
          exclude: IN_PAIRS,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
})
