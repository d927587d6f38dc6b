// A hundred orphans of each kind, planted in Vault and PostgreSQL in the names of grants that never were or are over, beside grants that live:
// gone within a minute, sessions cut, no live grant touched. What another group of brokers made, or somebody by hand, stays and is named.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, type Json } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { ARTEFACT_KINDS, type ArtefactKind } from '../../src/broker/ports.ts'
import type { GrantId, MintName } from '../../src/domain/ids.ts'
import { type Actors, actors, type Eyes, eachOf, eventually, eyes, type Issued } from '../support/journey-actors.ts'
import {
  absentMint,
  groupOfUrl,
  type JourneyPlants,
  journeyPlants,
  mintOf,
  stillThere,
} from '../support/journey-plants.ts'
import { closeStage } from '../support/leak-scan.ts'

const EACH = 100
const LIVE = 10
const OVER = 5
const WITHIN_MS = 60_000

let stage: DevStage
let broker: BrokerProcess
let play: Actors
let see: Eyes
let made: JourneyPlants

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault()
  broker = await stage.startBroker()
  play = actors(stage)
  see = eyes(services)
  made = journeyPlants(services)
}, 120_000)
afterAll(() => closeStage(stage))

const readiness = async (): Promise<Json> => (await client(broker.url).get({ token: '' }, '/readyz')).body
const figure = async (name: string): Promise<number> => {
  const text = await (await fetch(`${broker.url}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line.startsWith(name))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

it('a hundred orphans of each kind are gone within a minute, their sessions cut; every live grant works on', async () => {
  const live: Issued[] = []
  for (let n = 0; n < LIVE; n += 1) live.push(await play.issued(broker.url, 900))
  const over: Issued[] = []
  for (let n = 0; n < OVER; n += 1) over.push(await play.issued(broker.url, 900))
  for (const grant of over) expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
  const sessions = await Promise.all(live.map(({ login }) => see.openSession(login)))

  const group = groupOfUrl(stage.url)
  const planted = new Map<ArtefactKind, readonly MintName[]>()
  for (const kind of ARTEFACT_KINDS) {
    // Some in the names of grants that are over: a hold and a role at most, since a login would come back with a lease.
    const named = kind === 'hold' || kind === 'role' ? over.map(({ id }) => mintOf(id as GrantId)) : []
    const mints = [...named, ...Array.from({ length: EACH - named.length }, () => absentMint(group))]
    planted.set(kind, mints)
    await eachOf(mints.length, 4, (n) => made.plant(kind, mints[n] as MintName))
  }
  const all = [...planted.values()].flat()
  const openOf = await Promise.all(
    [planted.get('lease')?.at(-1), planted.get('login')?.at(-1)].map(async (mint) =>
      made.openSession(mint as MintName).catch(() => undefined),
    ),
  )
  const started = performance.now()
  const NONE = { leases: 0, holds: 0, roles: 0, logins: 0 }
  console.log('planted:', JSON.stringify(await stillThere(see, all)))
  await eventually(
    'gone',
    () => stillThere(see, all),
    (left) => JSON.stringify(left) === JSON.stringify(NONE),
    WITHIN_MS,
    1_000,
  )
  console.log(`all of them gone ${Math.round(performance.now() - started)} ms after the last was planted`)
  for (const session of openOf) if (session !== undefined) expect(await session.isOpen()).toBe(false)

  for (const [n, grant] of live.entries()) {
    expect(await play.statusOf(broker.url, grant)).toBe('active')
    expect(await see.tryLogin(grant.login)).toBe('ok')
    expect((await sessions[n]?.client.query('select 1 as one'))?.rows).toEqual([{ one: 1 }])
  }
  expect(await figure('writ_orphans_total{')).toBeGreaterThanOrEqual(4 * EACH)
  expect(broker.output()).toContain('an orphan was ended')
  for (const [n, grant] of live.entries()) {
    await sessions[n]?.client.end()
    expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
  }
}, 300_000)

it('what another group made, or somebody by hand, is named and stays', async () => {
  const foreign = ARTEFACT_KINDS.map((kind) => [kind, absentMint('zzzzzz')] as const)
  for (const [kind, mint] of foreign) await made.plant(kind, mint)
  await made.query('CREATE ROLE "writ-by-hand" LOGIN')
  const own = absentMint(groupOfUrl(stage.url))
  await made.plant('role', own)
  // When ours is gone, a whole pass has seen the others.
  await eventually(
    'a pass',
    () => made.isThere('role', own),
    (there) => !there,
    WITHIN_MS,
    500,
  )
  await eventually('named', readiness, ({ warnings }) => /unknown/.test(warnings?.[0]?.why ?? ''), WITHIN_MS)
  expect((await readiness()).ready).toBe(true)
  for (const [kind, mint] of foreign) expect(await made.isThere(kind, mint), kind).toBe(true)
  expect(await made.query(`SELECT FROM pg_roles WHERE rolname = 'writ-by-hand'`)).toHaveLength(1)
  // One of each kind, the login that a lease brings with it, its hold, and the one made by hand.
  expect(await figure('writ_unknown_artefacts{')).toBe(ARTEFACT_KINDS.length + 3)
  for (const handle of ['writ-by-hand', ...foreign.map(([, { mint }]) => mint)])
    expect(broker.output()).toContain(handle)
}, 180_000)
