// `npm run quickstart`: brings Writ up on this machine and plays the story against it, so that a person sees what is refused and why.
// `--once` stops everything afterwards and ends with one line of JSON, exit 0 only if every step held; `--no-vault` leaves the database part out.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { setUp } from './services.ts'
import { type DevStage, openStage } from './stage.ts'
import { playDatabase, playTheEnd, playTokens, type Told } from './story.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KNOWN = ['--once', '--no-vault', '--port']
const DEFAULT_PORT = 8480

const args = process.argv.slice(2)
const portAt = args.indexOf('--port')
const port = portAt < 0 ? undefined : Number(args[portAt + 1])
const strangers = args.filter((arg, n) => !KNOWN.includes(arg) && n !== portAt + 1)
if (strangers.length > 0 || (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))) {
  process.stderr.write('usage: npm run quickstart [-- [--once] [--no-vault] [--port N]]\n')
  process.exit(2)
}
const once = args.includes('--once')
const withVault = !args.includes('--no-vault')
const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Vault is built while the token part plays; what it reports comes in between, marked as its own. */
async function bring(stage: DevStage): Promise<void> {
  await setUp({ vault: true, report: (line) => say(`   · ${line}`) })
  say('   · PostgreSQL and Vault start')
  await stage.bringVault()
  await lookedThrough(stage.url)
}

/** The broker was there before Vault: it makes no login before it has looked through what lies there. */
async function lookedThrough(url: string): Promise<void> {
  for (let tries = 0; tries < 150; tries += 1) {
    const isReady = await fetch(`${url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isReady) return
    await pause(200)
  }
}

async function play(stage: DevStage): Promise<Told> {
  const told: Told = { seen: {}, failures: [] }
  const brought = withVault ? bring(stage) : undefined
  // Told apart below; here it only must not count as unhandled while the tokens play.
  brought?.catch(() => undefined)
  await playTokens(stage.story(say), told)
  if (brought === undefined) {
    say('\n── The database part is left out (--no-vault)')
    told.seen.database = 'left out: --no-vault'
  } else {
    say('\n── Vault and PostgreSQL')
    await brought
    await playDatabase(stage.story(say), told)
  }
  await playTheEnd(stage.story(say), told)
  return told
}

function tellHowToGoOn(stage: DevStage): void {
  const { idp, url } = stage
  mkdirSync(join(ROOT, '.writ'), { recursive: true, mode: 0o700 })
  const state = { brokerUrl: url, loginUrl: idp.loginUrl, ciUrl: idp.ciUrl, clientSecrets: idp.clientSecrets }
  writeFileSync(join(ROOT, '.writ/dev.json'), JSON.stringify(state), { mode: 0o600 })
  say(`
── Writ is running. Stop it with Ctrl-C.
   broker              ${url}     (its log: ${join(stage.dir, 'broker-0.log')})
   identity provider   ${idp.loginUrl}
   configuration       config/*.yaml, config/guards.cedar: change one, raise its revision, and it is taken over

   npx writ login ${url}     choose in the browser who you are: Vera asks, Olivia approves, Sol is the SOC; log in again to be another
   npx writ request                        then, as Olivia: npx writ review; as Vera: npx writ exchange <id> --output psql --file db; npx writ --help

   The same without it:
   TOKEN=$(npm run -s dev:token -- vera)
   curl -s ${url}/v1/entitlements -H "authorization: Bearer $TOKEN"
   curl -s ${url}/v1/grants -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d '{
     "entitlement": "payments-migrator", "actions": ["db.migrate"], "window": {"duration": "30m"},
     "task": {"id": "CHG0031337", "summary": "Add the settlement table"}, "ticket": {"system": "servicenow", "id": "CHG0031337"}}'
   OLIVIA=$(npm run -s dev:token -- olivia)
   curl -s ${url}/v1/grants/<id>/decisions -H "authorization: Bearer $OLIVIA" -H 'content-type: application/json' -d '{"verdict": "approve", "reason": "ok"}'
   curl -s -X POST ${url}/v1/grants/<id>/exchange -H "authorization: Bearer $TOKEN"
   curl -s ${url}/readyz; curl -s ${url}/metrics
`)
}

await setUp({ vault: false, report: say })
const stage = await openStage({
  vault: withVault,
  // A name: browsers know no relying party, and so no passkey, by an address.
  host: 'localhost',
  ...(once ? {} : { port: port ?? DEFAULT_PORT }),
  ...(port === undefined ? {} : { port }),
})
let leaving = false
const leave = async (code: number): Promise<void> => {
  if (leaving) return
  leaving = true
  rmSync(join(ROOT, '.writ/dev.json'), { force: true })
  await stage.stop()
  process.exit(code)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void leave(once ? 1 : 0))

try {
  await stage.startBroker()
  const told = await play(stage)
  const held = told.failures.length === 0
  say(held ? '\n── Every step held.' : `\n── These steps did not hold: ${told.failures.join(', ')}`)
  if (once) {
    await stage.stop()
    say(JSON.stringify(told.seen))
    process.exit(held ? 0 : 1)
  }
  tellHowToGoOn(stage)
} catch (thrown) {
  process.stderr.write(`${thrown instanceof Error ? thrown.stack : String(thrown)}\n`)
  await leave(1)
}
