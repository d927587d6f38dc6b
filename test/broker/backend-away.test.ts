// A backend that is away for an hour, with very many ends before it: nothing is dropped, retries spread out, the other lanes do not notice, and
// when it is back all of it ends at a bounded width. On memory ports and a clock that only the test moves.
import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { grantIdFrom, shard } from '../../src/domain/ids.ts'
import { minutes, seconds } from '../../src/domain/instant.ts'
import { sampleBirth, sampleMints, sampleStep, VAULT } from '../support/sample-grants.ts'
import { KEY, type World, world } from '../support/world.ts'

const HOME = shard(0)
const MANY = 1_000
const STEP = seconds(5)
const LANE = 'vault-main'

/** Active logins whose windows close an hour from now. */
async function logins(w: World, many: number): Promise<void> {
  const judgedUnder = await w.ports.control()
  const live = sampleMints(w.now()).filter((mint) => mint.status === 'live' && mint.kind === 'vault')
  const credential = VAULT.kind === 'vault' ? { ...VAULT, backend: LANE } : VAULT
  for (let n = 0; n < many; n += 1) {
    const id = grantIdFrom(HOME, 'aaaaaa', randomBytes(17))
    await w.store.commit(sampleBirth(id, w.now(), credential), { judgedUnder })
    for (const to of ['approved', 'active'] as const) {
      const grant = (await w.store.load(id))?.grant
      if (grant === undefined) throw new Error('not stored')
      const head = to === 'active' ? { head: { mints: live } } : {}
      await w.store.commit(sampleStep(grant, to, w.now(), head), { judgedUnder })
    }
  }
}

/** Numbers that look like chance, the same in every run. */
function chance(): () => number {
  let state = 42
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

it('loses none, tries none at once with all the others, holds no other lane up, and ends all of them when it is back', async () => {
  const w = await world()
  await logins(w, MANY)
  const token = await w.approvedToken()
  await w.broker.exchange(w.as('triage-agent', { key: KEY }), token.id)
  let [running, widest, tries] = [0, 0, 0]
  const { source } = w.backend
  const credentials: typeof source = {
    ...source,
    close: async (plan, mint) => {
      tries += 1
      running += 1
      widest = Math.max(widest, running)
      // One turn of the loop, so that whoever is at it at once is seen at once.
      await new Promise((resolve) => setImmediate(resolve))
      running -= 1
      return source.close(plan, mint)
    },
  }
  const broker = w.another({ credentials, jitter: chance() })
  const drain = async (lane: string) => {
    while ((await broker.sweep(lane)).more);
  }
  const left = async () => {
    const { active, ending, stuck } = await w.store.counts(['acme', 'northwind'].map((one) => one as never))
    return { active, ending, stuck }
  }
  w.advance(minutes(60))
  await drain('local')
  expect((await w.store.loadToEnd(token.id))?.head.status).toBe('ended')

  w.backend.freeze()
  const perStep: number[] = []
  for (let spent = 0; spent < minutes(60); spent += STEP) {
    const before = tries
    await drain(LANE)
    perStep.push(tries - before)
    w.advance(STEP)
  }
  expect(await left()).toEqual({ active: 0, ending: 0, stuck: MANY })
  // The first try is all of them at once, when their windows close; after some minutes no step has more than a share of them.
  expect(perStep[0]).toBe(MANY)
  const later = perStep.slice((5 * 60) / 5)
  expect(Math.max(...later)).toBeLessThan(MANY / 2)
  // Tried on to the last, each about twice a minute.
  const perMinute = later.reduce((sum, count) => sum + count, 0) / (later.length / 12) / MANY
  expect(perMinute).toBeGreaterThan(1.5)
  expect(perMinute).toBeLessThan(3)

  w.backend.thaw()
  for (let spent = 0; spent <= minutes(1); spent += STEP) {
    await drain(LANE)
    w.advance(STEP)
  }
  expect(await left()).toEqual({ active: 0, ending: 0, stuck: 0 })
  expect(widest).toBeLessThanOrEqual(16)
}, 120_000)
