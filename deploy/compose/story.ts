// Plays the story inside the compose network: `docker compose exec identity node deploy/compose/story.ts`. Exit 0 only if every step held and
// both brokers are ready. Development only.
import { createPrivateKey, type JsonWebKeyInput } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { signIn } from '../dev/sign-in.ts'
import { playDatabase, playTheEnd, playTokens, type Stage, type Told } from '../dev/story.ts'
import { BROKER_URL, POSTGRES, postgresUrl, SECOND_BROKER_URL, STATE_FILE } from './place.ts'

interface State extends Readonly<Record<'loginUrl' | 'ciUrl' | 'brokerUrl', string>> {
  readonly clientSecrets: Readonly<Record<string, string>>
  readonly servers: readonly { readonly id: string; readonly kid: string; readonly jwk: JsonWebKeyInput['key'] }[]
}
const state: State = JSON.parse(readFileSync(STATE_FILE, 'utf8'))
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const admin = new URL(postgresUrl())
admin.pathname = '/payments'
const at = signIn(state)
const stage: Stage = {
  brokerUrl: BROKER_URL,
  personToken: at.personToken,
  agentToken: at.agentToken,
  ciToken: at.ciToken,
  resourceServer: (id) => {
    const server = state.servers.find((one) => one.id === id)
    if (server === undefined) throw new Error(`no resource server ${id}`)
    return { id, kid: server.kid, privateKey: createPrivateKey({ key: server.jwk, format: 'jwk' }) }
  },
  database: { ...POSTGRES, database: 'payments', adminUrl: admin.href },
  say,
}

const told: Told = { seen: {}, failures: [] }
for (const url of [BROKER_URL, SECOND_BROKER_URL]) {
  const ready = await fetch(`${url}/readyz`)
  if (!ready.ok) told.failures.push(`${url} is not ready: ${await ready.text()}`)
}
await playTokens(stage, told)
await playDatabase(stage, told)
await playTheEnd(stage, told)
say(JSON.stringify({ ok: told.failures.length === 0, failures: told.failures }))
process.exitCode = told.failures.length === 0 ? 0 : 1
