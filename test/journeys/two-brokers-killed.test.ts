// Two brokers on one Redis, and one of them is killed (SIGKILL) at its work: the other ends what it began, no grant has two credentials,
// and nothing is left at Vault or in PostgreSQL.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eventually,
  eyes,
  type Filed,
  NOTHING,
  redisDo,
  sleepUntil,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const DONE = ['ended', 'lapsed']

let stage: DevStage
let play: Actors
let see: Eyes

beforeAll(async () => {
  stage = await openStage({ vault: true })
  see = eyes(await stage.bringVault())
  play = actors(stage)
}, 120_000)
afterAll(() => closeStage(stage))

/** So many grants, asked for and approved, of one window. */
const approvedAll = (url: string, many: number, closesAt: number): Promise<readonly Filed[]> =>
  Promise.all(Array.from({ length: many }, () => play.approved(url, { closesAt })))

/** Exchanges all of them, and says of each what came back; a broken connection is an answer too. */
const exchangeAll = (url: string, grants: readonly Filed[]): Promise<readonly string[]> =>
  Promise.all(
    grants.map((grant) =>
      play.exchange(url, grant).then(
        ({ said }) => said,
        () => 'no answer',
      ),
    ),
  )

/** More than are made while somebody looks whether some are. */
const LOGINS = 30

it('a broker killed while it makes logins and the other killed while it ends them lose nothing, double nothing and leave nothing', async () => {
  const first = await stage.startBroker(0)
  const second = await stage.startBroker(1)
  const closesAt = Date.now() + 24_000
  const grants = await approvedAll(first.url, LOGINS, closesAt)
  const exchanging = exchangeAll(second.url, grants)
  // Somewhere in the middle: some are made, some are being made, some wait for a slot.
  await eventually(
    'some are issued',
    async () => (await see.leases()).length,
    (many) => many >= 3,
    10_000,
    20,
  )
  await second.kill()
  const said = await exchanging
  expect(said.filter((word) => word === 'ok').length, said.join(', ')).toBeLessThan(LOGINS)
  expect(said).toContain('no answer')

  // What was approved and not begun is still good at the other one; what was begun is not made a second time.
  const again = await exchangeAll(first.url, grants)
  for (const [n, word] of again.entries()) {
    if (said[n] === 'ok') expect(word).toBe('refused: uses_exhausted')
    expect(['ok', 'refused: uses_exhausted', 'refused: wrong_status']).toContain(word)
  }
  for (const grant of grants) {
    const issued = (await play.eventsOf(first.url, grant)).filter(({ type }) => type === 'issued')
    expect(issued.length).toBeLessThanOrEqual(1)
  }

  // The one that lives is killed while the windows end; a new one takes the place of the first that was killed, with its folder.
  const third = await stage.startBroker(1)
  await sleepUntil(closesAt + 150)
  await first.kill()
  for (const grant of grants)
    await eventually(
      'done',
      () => play.statusOf(third.url, grant),
      (status) => DONE.includes(status),
      60_000,
    )
  // A lease that its killed maker could not record is ended through its hold: its login is confirmed gone, and Vault strikes the lease
  // from its own list a moment later.
  const gone = (left: Awaited<ReturnType<typeof see.left>>) => JSON.stringify(left) === JSON.stringify(NOTHING)
  expect({ ...(await see.left()), leases: 0 }).toEqual(NOTHING)
  await eventually('nothing is left at Vault', () => see.left(), gone, 20_000)
  for (const grant of grants) {
    const types = (await play.eventsOf(third.url, grant)).map(({ type }) => type)
    expect(types.filter((type) => DONE.includes(type))).toHaveLength(1)
  }
  expect(await redisDo(stage.redis.url, (redis) => redis.zcard('{writ:0}:due:vault-main'))).toBe(0)
  await third.stop()
}, 150_000)
