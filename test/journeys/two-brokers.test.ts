// Two brokers on one Redis, both alive: each can go on with what the other began, and nothing is done twice at Vault. What they do there is
// seen by a proxy between them and Vault.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, type Eyes, eventually, eyes, type Filed, NOTHING } from '../support/journey-actors.ts'
import { tapBackends, type VaultTap, vaultTap } from '../support/journey-vault-tap.ts'
import { closeStage } from '../support/leak-scan.ts'

const LOGINS = 20
const ONCE = { open: 1, keep: 1, role: 1, login: 1, revoke: 1, drop: 1, unrole: 1 }

let stage: DevStage
let one: BrokerProcess
let other: BrokerProcess
let tap: VaultTap
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault()
  tap = await vaultTap(services.vault.addr)
  tapBackends(stage.dir, tap)
  ;[one, other] = await Promise.all([stage.startBroker(0), stage.startBroker(1)])
  play = actors(stage)
  see = eyes(services)
}, 120_000)
afterAll(async () => {
  await closeStage(stage)
  await tap?.close()
})

const ended = (grant: Filed) =>
  eventually(
    'ended',
    () => play.statusOf(one.url, grant),
    (status) => status === 'ended',
    45_000,
  )

it('a grant asked for at one broker is exchanged at the other and completed at the first, each call to Vault made once', async () => {
  const grant = await play.approved(one.url, 600)
  const got = await play.exchange(other.url, grant)
  expect(got.said).toBe('ok')
  const again = await play.exchange(one.url, grant)
  expect(again.said).toBe('refused: uses_exhausted')
  const done = await play.complete(one.url, grant)
  expect(done.body.status).toBe('ended')
  expect(await play.statusOf(other.url, grant)).toBe('ended')
  expect([...tap.counts().values()]).toEqual([ONCE])
  expect(await see.left()).toEqual(NOTHING)
})

it('exchanges of one grant at both brokers at once make one login', async () => {
  const before = tap.counts().size
  const grant = await play.approved(other.url, 600)
  const answers = await Promise.all([one, other, one, other, one, other].map(({ url }) => play.exchange(url, grant)))
  expect(answers.filter(({ said }) => said === 'ok')).toHaveLength(1)
  expect(tap.counts().size).toBe(before + 1)
  expect((await play.complete(other.url, grant)).body.status).toBe('ended')
  expect([...tap.counts().values()]).toEqual(Array.from({ length: before + 1 }, () => ONCE))
})

it(`${LOGINS} logins that end at the same moment are ended by two brokers with every call to Vault made exactly once`, async () => {
  const before = new Set(tap.counts().keys())
  const closesAt = Math.ceil(Date.now() / 1000) * 1000 + 32_000
  const grants: Filed[] = []
  await Promise.all(
    [one, other].map(async ({ url }, half) => {
      for (let n = half; n < LOGINS; n += 2) grants.push(await play.issued(url, { closesAt }))
    }),
  )
  expect(grants).toHaveLength(LOGINS)
  expect(Date.now(), 'all were issued before the window closed').toBeLessThan(closesAt - 1_000)
  expect(await see.logins()).toHaveLength(LOGINS)
  await eventually(
    'due',
    () => Date.now(),
    (now) => now > closesAt,
    60_000,
  )
  await Promise.all(grants.map(ended))
  const rows = [...tap.counts()].filter(([mint]) => !before.has(mint))
  expect(rows).toHaveLength(LOGINS)
  expect(rows.filter(([, row]) => JSON.stringify(row) !== JSON.stringify(ONCE))).toEqual([])
  expect(tap.seen.filter(({ mint, status }) => mint === '?' || status < 200 || status > 299)).toEqual([])
  expect(await see.left()).toEqual(NOTHING)
}, 120_000)
