// The SOC revokes while the login is being made, at every moment of the making, forty times: whoever wins, nothing is left alive, and
// nothing is called ended that still comes.
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, type Who } from '../../deploy/dev/client.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type BackendView, backendView, NOTHING } from '../support/backend-view.ts'
import { type Actors, actors, type Filed } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { until } from '../support/until.ts'

const RACES = 40
const WINDOW_SECONDS = 1_800

let stage: DevStage
let people: Actors
let view: BackendView
let sol: Who

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const { vault, postgres } = await stage.bringVault()
  await stage.startBroker()
  people = actors(stage)
  const url = new URL(postgres.url)
  url.pathname = '/payments'
  view = backendView(vault, url.href)
  sol = await people.who('sol')
})

afterAll(async () => {
  await view?.close()
  await closeStage(stage)
})

it('leaves no login, lease, hold or session, however the race ends', { timeout: 180_000 }, async () => {
  const to = client(stage.url)
  const seen = new Map<string, number>()
  const grants: Filed[] = []
  for (let race = 0; race < RACES; race += 1) {
    const grant = await people.approved(stage.url, WINDOW_SECONDS)
    grants.push(grant)
    const making = people.exchange(stage.url, grant)
    // Spread over the whole of the making.
    await pause(race * 3)
    const cut = await to.post(sol, `${grant.path}/revoke`, { reason: 'alarm' })
    expect(['ending', 'ended']).toContain(cut.body.status)
    const said = `exchange ${(await making).said}, revoke ${cut.body.status}`
    seen.set(said, (seen.get(said) ?? 0) + 1)
  }
  console.log(Object.fromEntries(seen))
  await until('all have ended', 60_000, async () => {
    const shown = await Promise.all(grants.map(({ path }) => to.get(sol, path)))
    expect(shown.map(({ body }) => body.status)).toEqual(grants.map(() => 'ended'))
    return true
  })
  await until('nothing is left', 20_000, async () => {
    expect(await view.everything()).toEqual(NOTHING)
    return true
  })
})
