// Start and stop: settings, adapters, broker; on SIGTERM doors first, then workers, then clients. What nobody expected ends the process.
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
