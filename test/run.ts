// `npm run check`: types, lint and the tests that need no service, in seconds. `npm test`: brings the services up, then everything.
// Fails on the first part that fails; the last lines are the test runner's own summary. What tests leave in the temporary folder goes.
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PURE = [
  'domain',
  'broker',
  'policy',
  'identity',
  'forge',
  'tokens',
  'webauthn',
  'console',
  'vault-adapter',
  'doors',
  'cli',
  'verifier',
  'house',
]
const BIN = 'node_modules/.bin/'

let running: ReturnType<typeof spawn> | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => running?.kill(signal))

const run = (command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<number> =>
  new Promise((resolve, reject) => {
    running = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env })
    running.once('error', reject)
    running.once('exit', (code) => resolve(code ?? 1))
  })

const step = async (name: string, work: () => Promise<number>): Promise<void> => {
  const started = performance.now()
  const code = await work()
  process.stdout.write(
    `${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)\n`,
  )
  if (code !== 0) process.exit(code)
}

const vitest = (filters: readonly string[], temporary: string): Promise<number> =>
  run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts', ...filters], {
    ...process.env,
    NODE_ENV: 'test',
    TMPDIR: temporary,
  })

const mode = process.argv[2] ?? 'all'
const more = process.argv.slice(3)

if (mode === 'all') {
  const { setUp } = await import('../deploy/dev/services.ts')
  await setUp({ vault: true, chromium: true, report: (line: string) => process.stdout.write(`${line}\n`) })
}
await step('types', () => run(`${BIN}tsc`, ['-p', '.']))
await step('lint', () => run(`${BIN}biome`, ['check', '--error-on-warnings', '.']))
const filters = more.length > 0 ? more : mode === 'check' ? PURE.map((folder) => `test/${folder}/`) : []
const temporary = mkdtempSync(join(tmpdir(), 'writ-test-'))
// PostgreSQL runs as another user, who must get to its own folder in there.
chmodSync(temporary, 0o755)
process.exitCode = await vitest(filters, temporary).finally(() =>
  rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }),
)
