// One configuration for every test. The pure ones run side by side; then those on real services, one file at a time, because they measure
// and kill. `test/run.ts` chooses the folders.
import { defineConfig } from 'vitest/config'

const shared = { pool: 'forks', testTimeout: 60_000, hookTimeout: 180_000 } as const

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    reporters: ['default', 'json'],
    outputFile: { json: process.env.WRIT_TEST_REPORT ?? 'node_modules/.writ-tests.json' },
    projects: [
      {
        test: {
          ...shared,
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: ['test/adapters/**', 'test/crash/**', 'test/journeys/**'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: 'real',
          setupFiles: ['test/support/openapi-listen.ts'],
          include: ['test/adapters/**/*.test.ts', 'test/crash/**/*.test.ts', 'test/journeys/**/*.test.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
