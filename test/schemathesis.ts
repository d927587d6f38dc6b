// Lets schemathesis loose on a real broker with its own API document: data that fits the schemas and data that does not, every check on.
// Needs Python: `pip install schemathesis` into any environment, then
//   node deploy/dev/node.mjs test/schemathesis.ts <path of st> [options of st run]
// By hand and not in the suite: it wants Python and minutes. What the suite itself answers is held against the document in every run.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { openStage } from '../deploy/dev/stage.ts'

const [st, ...more] = process.argv.slice(2)
if (st === undefined) {
  process.stderr.write('usage: node deploy/dev/node.mjs test/schemathesis.ts <path of st> [options of st run]\n')
  process.exit(2)
}
const stage = await openStage({ vault: false })
try {
  const broker = await stage.startBroker()
  const token = await stage.idp.personToken('vera')
  const config = fileURLToPath(new URL('support/schemathesis.toml', import.meta.url))
  const options = ['--mode', 'all', '--continue-on-failure', '--no-color', ...more]
  const run = ['--config-file', config, 'run', `${broker.url}/openapi.json`, '-H', `Authorization: Bearer ${token}`]
  const child = spawn(st, [...run, ...options], { stdio: 'inherit', cwd: stage.dir })
  process.exitCode = await new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)))
  // Whatever it found out there, the broker must not have failed of itself.
  const failed = broker
    .output()
    .split('\n')
    .filter((line) => line.includes('"level":"error"'))
  process.stdout.write(
    `lines of level error in the broker's log: ${failed.length}\n${failed.slice(0, 20).join('\n')}\n`,
  )
} finally {
  await stage.stop()
}
