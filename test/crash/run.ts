// `npm run crash`: kills brokers, Redis and Vault while a load of all verbs runs, and checks from outside what must hold all the while.
// Progress goes to standard error; with --json the last line of standard output is one JSON object. Ends with 1 where something was violated.
import { randomInt } from 'node:crypto'
import { parseOptions } from './options.ts'

const parsed = parseOptions(process.argv.slice(2), () => randomInt(2 ** 32))
if ('help' in parsed) {
  process.stdout.write(parsed.help)
  process.exit(0)
}
if ('problem' in parsed) {
  process.stderr.write(`${parsed.problem}\n`)
  process.exit(2)
}
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const { options } = parsed
try {
  // Only now: whoever mistyped an option need not wait for all of it.
  const { setUp } = await import('../../deploy/dev/services.ts')
  const { crashRun } = await import('./crash.ts')
  await setUp({ vault: true, report: say })
  const result = await crashRun({ ...options, say })
  const text = options.json
    ? JSON.stringify(result)
    : `${result.kills} kills (${Object.entries(result.byVictim)
        .map(([victim, count]) => `${count} ${victim}`)
        .join(', ')}), ${result.verbs} verbs, ${result.violations.length} violations, seed ${result.seed}`
  await new Promise<void>((resolve) => process.stdout.write(`${text}\n`, () => resolve()))
  process.exit(result.violations.length === 0 ? 0 : 1)
} catch (thrown) {
  say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
  process.exit(1)
}
