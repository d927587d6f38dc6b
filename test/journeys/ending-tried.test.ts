// Whether ending works is known before it matters: the database can no longer end what it gives, the doctor says so to an operator and nothing
// is handed out; put right, all of it goes on by itself. Two brokers share what one of them has found; nothing of any canary is left.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client } from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { temporaryFolder } from '../../deploy/dev/running.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Person, person } from '../support/command-line.ts'
import { type Actors, actors, type Eyes, eventually, eyes, NOTHING } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let postgres: PostgresService
let brokers: readonly BrokerProcess[]
let play: Actors
let see: Eyes
let oscar: Person
let folder: { readonly path: string; remove(): void }

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault()
  postgres = services.postgres
  play = actors(stage)
  see = eyes(services)
  const env = { WRIT_CANARY_EVERY: '10s' }
  brokers = [await stage.startBroker(0, { env }), await stage.startBroker(1, { env })]
  folder = await temporaryFolder('terminals')
  oscar = person(folder.path, 'oscar')
}, 120_000)
afterAll(async () => {
  folder?.remove()
  await closeStage(stage)
})

const asSuperuser = async (text: string): Promise<void> => {
  const url = new URL(postgres.url)
  url.pathname = '/payments'
  const admin = new pg.Client({ connectionString: url.href })
  await admin.connect()
  await admin.query(text)
  await admin.end()
}

/** What the doctor says to an operator at this broker. */
async function canaries(): Promise<{ readonly code: number; readonly said: string }> {
  const { token } = await play.who('oscar')
  const file = join(folder.path, 'token')
  writeFileSync(file, token, { mode: 0o600 })
  const { code, out } = await oscar.run(['doctor', '--json', '--broker', stage.url, '--token-file', file])
  const { checks } = JSON.parse(out) as { checks: readonly { name: string; what: string }[] }
  return { code, said: checks.flatMap(({ name, what }) => (name === 'canary' ? [what] : [])).join('; ') }
}
const resultAt = async (broker: BrokerProcess): Promise<readonly [string, string | undefined]> => {
  const { body } = await client(broker.url).get(await play.who('oscar'), '/v1/operations/canaries')
  const [one] = body.canaries
  return [one.result, one.step]
}

it('the doctor finds that the database cannot end what it gives, nothing is handed out meanwhile, and repaired it is fine again', async () => {
  await eventually('tried', canaries, ({ said }) => said.includes('made, ended, and confirmed gone'), 30_000, 500)
  expect((await canaries()).code).toBe(0)
  const waiting = await play.approved(stage.url, 600)

  await asSuperuser('ALTER ROLE payments_owner RENAME TO payments_owner_away')
  const found = await eventually('found', canaries, ({ said }) => said.includes('it cannot be ended'), 40_000, 500)
  expect(found.code).toBe(8)
  for (const broker of brokers) {
    expect(await resultAt(broker)).toEqual(['failed', 'end'])
    const refused = await play.exchange(broker.url, waiting)
    expect([refused.status, refused.said]).toEqual([502, 'refused: vault_refused'])
  }

  await asSuperuser('ALTER ROLE payments_owner_away RENAME TO payments_owner')
  await eventually('mended', canaries, ({ code }) => code === 0, 60_000, 500)
  const given = await play.exchange(stage.url, waiting)
  expect(given.said).toBe('ok')
  expect((await play.complete(stage.url, waiting)).body.status).toBe('ended')
  // Between two canaries nothing is there.
  await eventually('nothing left', see.left, (left) => JSON.stringify(left) === JSON.stringify(NOTHING), 30_000)
  const { status } = await client(stage.url).get(await play.who('vera'), '/v1/operations/canaries')
  expect(status).toBe(403)
}, 180_000)
