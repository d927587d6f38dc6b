// A real broker, killed with SIGKILL before and after every effect of exchange and of end, on real Redis, Vault and PostgreSQL. Another
// broker lives on. Afterwards nothing is left at the backend, and no grant hangs.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, client, type Json, type Who } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type BackendView, backendView, NOTHING } from '../support/backend-view.ts'
import { closeStage } from '../support/leak-scan.ts'
import { until } from '../support/until.ts'

const PROGRAM = fileURLToPath(new URL('../support/dying-broker.ts', import.meta.url))
const WINDOW_MS = 50_000
const ENDS = ['ended', 'denied', 'withdrawn', 'lapsed']

let stage: DevStage
let living: Client
let view: BackendView
let vera: Who
let olivia: Who
const grants: string[] = []

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const { vault, postgres } = await stage.bringVault()
  await stage.startBroker()
  living = client(stage.url)
  const url = new URL(postgres.url)
  url.pathname = '/payments'
  view = backendView(vault, url.href)
  vera = { token: await stage.idp.personToken('vera') }
  olivia = { token: await stage.idp.personToken('olivia') }
}, 120_000)

afterAll(async () => {
  await view?.close()
  await closeStage(stage)
})

async function approvedLogin(): Promise<string> {
  const asked = await living.post(vera, '/v1/grants', {
    entitlement: 'payments-migrator',
    actions: ['db.migrate'],
    task: { id: `kill-${grants.length}`, summary: 'To be interrupted' },
    ticket: { system: 'desk', id: 'CHG-1' },
    window: { duration: `${WINDOW_MS / 1000}s` },
  })
  expect(asked.status, JSON.stringify(asked.body)).toBe(201)
  const id: string = asked.body.id
  expect(
    (await living.post(olivia, `/v1/grants/${id}/decisions`, { verdict: 'approve', reason: 'go' })).body.status,
  ).toBe('approved')
  grants.push(id)
  return id
}

/** Starts a broker that dies at its n-th effect, arms it, and lets it do the work. Answers how many effects it got to. */
async function dieAt(
  n: number,
  when: 'before' | 'after',
  prepare: () => Promise<string>,
  work: (to: Client, id: string) => Promise<Json>,
): Promise<number> {
  const [arm, effects] = [join(stage.dir, 'armed'), join(stage.dir, 'effects')]
  for (const file of [arm, effects]) rmSync(file, { force: true })
  const env = { WRIT_TEST_DIE: `${n}:${when}`, WRIT_TEST_ARM: arm, WRIT_TEST_EFFECTS: effects }
  const dying: BrokerProcess = await stage.startBroker(1, { program: PROGRAM, env })
  const id = await prepare()
  writeFileSync(arm, '')
  await work(client(dying.url), id).catch(() => undefined)
  const reached = existsSync(effects) ? Number(readFileSync(effects, 'utf8')) : 0
  if (reached >= n) await until('the broker died', 5_000, async () => dying.hasExited())
  else await dying.kill()
  return reached
}

const SCENES = {
  exchange: { prepare: approvedLogin, work: (to: Client, id: string) => to.post(vera, `/v1/grants/${id}/exchange`) },
  end: {
    prepare: async () => {
      const id = await approvedLogin()
      expect((await living.post(vera, `/v1/grants/${id}/exchange`)).said).toBe('ok')
      return id
    },
    work: (to: Client, id: string) => to.post(vera, `/v1/grants/${id}/complete`, { result: { done: 'yes' } }),
  },
}

describe('a broker killed at any effect', () => {
  it.each(Object.entries(SCENES))('of %s leaves nothing behind', { timeout: 300_000 }, async (_, { prepare, work }) => {
    // Until there is no n-th effect any more. What a sweep does for others meanwhile counts too, so their number is not the same each time.
    let n = 1
    for (; ; n += 1) {
      const reached = [await dieAt(n, 'before', prepare, work), await dieAt(n, 'after', prepare, work)]
      if (Math.max(...reached) < n) break
    }
    expect(n).toBeGreaterThan(7)
    console.log(`killed ${2 * (n - 1)} brokers at ${n - 1} effects`)
  })

  it('and no grant hangs: all have ended, and neither lease, role, hold, login nor session is left', {
    timeout: 150_000,
  }, async () => {
    await until(
      'every grant has ended',
      WINDOW_MS + 60_000,
      async () => {
        const shown = await Promise.all(grants.map((id) => living.get(vera, `/v1/grants/${id}`)))
        const open = shown.filter(({ body }) => !ENDS.includes(body?.status))
        expect(open.map(({ body }) => [body?.id, body?.status, body?.facts])).toEqual([])
        return true
      },
      1_000,
    )
    await until(
      'nothing is left',
      20_000,
      async () => {
        expect(await view.everything()).toEqual(NOTHING)
        return true
      },
      500,
    )
  })
})
