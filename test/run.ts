// `npm run check`: types, lint and the tests that need no service, in seconds. `npm test`: brings the services up, then everything.
// Fails on the first part that fails; the last line is always the test runner's own summary.
import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'

const PURE = ['domain', 'broker', 'policy', 'identity', 'tokens', 'vault-adapter', 'doors', 'house']
const BIN = 'node_modules/.bin/'

const run = (command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env })
    const stop = (signal: NodeJS.Signals) => child.kill(signal)
    process.once('SIGINT', stop).once('SIGTERM', stop)
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })

const step = async (name: string, work: () => Promise<number>): Promise<void> => {
  const started = performance.now()
  const code = await work()
  process.stdout.write(
    `${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)\n`,
  )
  if (code !== 0) process.exit(code)
}

const vitest = (filters: readonly string[]): Promise<number> =>
  run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts', ...filters], {
    ...process.env,
    NODE_ENV: 'test',
  })

const mode = process.argv[2] ?? 'all'
const more = process.argv.slice(3)

if (mode === 'all') {
  const { setUp } = await import('../deploy/dev/services.ts')
  await setUp({ vault: true, report: (line: string) => process.stdout.write(`${line}\n`) })
}
await step('types', () => run(`${BIN}tsc`, ['-p', '.']))
await step('lint', () => run(`${BIN}biome`, ['check', '.']))
const filters = more.length > 0 ? more : mode === 'check' ? PURE.map((folder) => `test/${folder}/`) : []
rmSync('node_modules/.vite', { recursive: true, force: true })
process.exitCode = await vitest(filters)
