// Start and stop: settings, adapters, broker; on SIGTERM doors first, then workers, then clients. What nobody expected ends the process.
import { openAdapters, startBroker } from './compose.ts'
import { readSettings } from './settings.ts'

process.on('unhandledRejection', fail)
process.on('uncaughtException', fail)

function fail(thrown: unknown): void {
  // Problems of settings, files and keys are written for people and hold no secret; of anything else only the stack's first lines.
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : 'unknown'
  process.stderr.write(`${text.split('\n').slice(0, 60).join('\n')}\n`)
  process.exit(1)
}

const running = await startBroker(await openAdapters(readSettings(process.env)))

let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) return
    stopping = true
    void running.stop().then(() => process.exit(0), fail)
  })
}
