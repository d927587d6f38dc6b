// The database under an end: dropped by hand it is nothing to be stuck on; refusing for ever it is `stuck`, seen and alarmed, and retried until
// it lets go.
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client } from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, type Eyes, eventually, eyes, type Login, NOTHING } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let broker: BrokerProcess
let postgres: PostgresService
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault()
  postgres = services.postgres
  see = eyes(services)
  broker = await stage.startBroker()
  play = actors(stage)
}, 120_000)
afterAll(() => closeStage(stage))

/** As an administrator of PostgreSQL, in the database named. */
async function sql(text: string, database = 'payments', as?: Login): Promise<readonly pg.QueryResultRow[]> {
  const { host, port, user, password } = postgres
  const session = new pg.Client({ host, port, database, user: as?.user ?? user, password: as?.password ?? password })
  session.on('error', () => undefined)
  await session.connect()
  try {
    return (await session.query(text)).rows
  } finally {
    await session.end().catch(() => undefined)
  }
}
const dropByHand = async ({ user }: Login): Promise<void> => {
  await sql(`DROP OWNED BY "${user}"; DROP ROLE "${user}"`)
  expect(await see.logins()).toEqual([])
}

it('a login that somebody dropped by hand is ended and confirmed, by its executor and by the clock, and is never stuck', async () => {
  const done = await play.issued(broker.url, 600)
  await dropByHand(done.login)
  const { body } = await play.complete(broker.url, done)
  expect([body.status, body.facts.confirmation.asked]).toEqual(['ended', 'backend'])

  const late = await play.issued(broker.url, 14)
  const session = await see.openSession(late.login)
  await dropByHand(late.login)
  const ended = await eventually(
    'ended',
    () => play.show(broker.url, late),
    ({ status }) => status === 'ended',
    late.closesAt + 10_000 - Date.now(),
  )
  expect(ended.facts.outcome).toBe('expired')
  for (const grant of [done, late]) {
    const types = (await play.eventsOf(broker.url, grant)).map(({ type }) => type)
    expect(types).not.toContain('stuck')
    expect(types).not.toContain('end_delayed')
  }
  // The role is gone and its name with it; the session was found all the same.
  await session.closed
  expect(await see.left()).toEqual(NOTHING)
}, 90_000)

const figures = async (): Promise<string> => (await fetch(`${broker.url}/metrics`)).text()
const figureOf = (text: string, name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
const stuckOnes = async (): Promise<readonly string[]> => {
  const { body } = await client(broker.url).get(await play.who('sol'), '/v1/grants?status=stuck')
  return body.grants.map(({ id }: { readonly id: string }) => id)
}

it('a backend that refuses for ever leaves a grant stuck, seen and alarmed, others end meanwhile, and it is ended when it lets go', async () => {
  const grant = await play.issued(broker.url, 3_600)
  // What a role owns in another database is out of the reach of an end: PostgreSQL refuses to drop it.
  await sql('SELECT lo_create(4711)', 'postgres', grant.login)
  const { body } = await play.complete(broker.url, grant)
  expect(body.status).toBe('ending')
  expect(await see.tryLogin(grant.login)).toMatch(/refused/)
  const stuck = await eventually(
    'stuck',
    () => play.show(broker.url, grant),
    ({ status }) => status === 'stuck',
    240_000,
    1_000,
  )
  expect(stuck.facts.attempts).toBeGreaterThanOrEqual(8)
  expect(stuck.facts.lastError).toBe('not_confirmed')
  expect(await stuckOnes()).toEqual([grant.id])
  const seen = await figures()
  expect(figureOf(seen, 'writ_stuck')).toBe(1)
  expect(figureOf(seen, 'writ_stuck_total')).toBe(1)
  // The alert asks for exactly these.
  const alerts = readFileSync(new URL('../../deploy/prometheus/alerts.yaml', import.meta.url), 'utf8')
  expect(alerts).toMatch(/alert: WritGrantStuck\n\s+expr: max\(writ_stuck\) > 0 or sum\(increase\(writ_stuck_total/)

  // It holds nobody else up.
  const other = await play.issued(broker.url, 600)
  expect((await play.complete(broker.url, other)).body.status).toBe('ended')
  // And is retried: whoever asks Vault sees the tries go on.
  const refusals = () =>
    figures().then((text) =>
      [
        ...text.matchAll(/^writ_backend_call_seconds_count\{call="close",result="(?:failed|refused)"\} (\d+)$/gm),
      ].reduce((sum, [, count]) => sum + Number(count), 0),
    )
  const before = await refusals()
  await eventually('tried again', refusals, (now) => now > before, 50_000, 500)
  expect((await play.show(broker.url, grant)).status).toBe('stuck')

  await sql('SELECT lo_unlink(4711)', 'postgres')
  const ended = await eventually(
    'ended',
    () => play.show(broker.url, grant),
    ({ status }) => status === 'ended',
    60_000,
    500,
  )
  expect(ended.facts.outcome).toBe('completed')
  const types = (await play.eventsOf(broker.url, grant)).map(({ type }) => type)
  expect(types.filter((type) => type === 'stuck')).toHaveLength(1)
  expect(await stuckOnes()).toEqual([])
  expect(figureOf(await figures(), 'writ_stuck')).toBe(0)
  expect(await see.left()).toEqual(NOTHING)
}, 420_000)
