// Start and stop, or `--check`, which reads settings and files and starts nothing: settings, adapters, broker; on SIGTERM doors first, then workers, then clients. What nobody expected ends the process.
import { flushCompileCache } from 'node:module'
import { check } from './check.ts'
import { openAdapters, startBroker } from './compose.ts'
import { readSettings } from './settings.ts'

process.on('unhandledRejection', fail)
process.on('uncaughtException', fail)

function fail(thrown: unknown): void {
  // Problems of settings, files and keys are written for people, all of them at once, and hold no secret.
  const forPeople = thrown instanceof Error && 'problems' in thrown
  const text = thrown instanceof Error ? (forPeople ? thrown.message : (thrown.stack ?? thrown.message)) : 'unknown'
  process.stderr.write(`${text}\n`)
  process.exit(1)
}

const [option, ...others] = process.argv.slice(2)
if (option === '--check' && others.length === 0) {
  const { ok, said } = check(process.env)
  process.stderr.write(said.map((line) => `${line}\n`).join(''))
  if (ok) process.stdout.write('settings and files can be used\n')
  process.exit(ok ? 0 : 1)
}
if (option !== undefined) {
  process.stderr.write('the broker takes no option but --check; its settings come from the environment and a file\n')
  process.exit(1)
}

const running = await startBroker(await openAdapters(readSettings(process.env)))

const STOP_WITHIN_MS = 30_000
let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) return
    stopping = true
    // Whatever hangs: whoever supervises us would kill us later anyway.
    setTimeout(() => process.exit(1), STOP_WITHIN_MS).unref()
    void running.stop().then(() => process.exit(0), fail)
  })
}

// Where NODE_COMPILE_CACHE names a folder the next start is faster, also after a death; it does nothing where none is named.
flushCompileCache()
