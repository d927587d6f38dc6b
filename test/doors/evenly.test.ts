// That there is no such grant is said at one moment, set before anything is looked for: whether it is another tenant's or not there, at
// every route. The moment is the test's to let come; that nothing else can be measured is shown in journeys/even-time.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { named } from '../../src/domain/ids.ts'
import { ROUTES } from '../../src/http/routes.ts'
import { accountOf, twoTenants } from '../support/two-tenants.ts'
import { until } from '../support/until.ts'
import { asking, type World, world } from '../support/world.ts'
import { bodies, type RealDoor, realDoor } from './real-door.ts'

let w: World
let door: RealDoor
let foreign = ''
let own = ''
/** What was done, in order. */
let log: string[] = []
/** Lets the moments come that are waited for. */
let moments: (() => void)[] = []
beforeAll(async () => {
  w = await world()
  await w.publish(twoTenants())
  const file = async (tenant: string) =>
    (
      await w.file(
        w.as(`${tenant}-requester`),
        asking(w.now(), { entitlement: named.entitlement(`${tenant}-repair`), actions: ['repair'], task: tenant }),
      )
    ).id
  ;[foreign, own] = [await file('south'), await file('north')]
  const noted = <A extends readonly unknown[], T>(look: (...args: A) => Promise<T>) => {
    return async (...args: A): Promise<T> => {
      const found = await look(...args)
      log.push('looked')
      return found
    }
  }
  const verbs = w.another({
    grants: {
      ...w.store,
      load: noted(w.store.load),
      loadToEnd: noted(w.store.loadToEnd),
      list: noted(w.store.list),
    },
    evenly: () => {
      log.push('set')
      return new Promise((resolve) => {
        moments.push(resolve)
      })
    },
  })
  door = await realDoor(w, verbs)
})
afterAll(() => door.stop())
beforeEach(() => {
  log = []
  moments = []
})

const asked: Readonly<Record<string, unknown>> = {
  ...bodies({
    entitlement: 'north-repair',
    actions: ['repair'],
    task: { summary: 'Repair' },
    window: { duration: '30m' },
  }),
  complete_each: { where: { task: 'south' } },
  revoke_each: { where: { task: 'south' } },
}
const soc = accountOf('north', 'soc')
const HIDING = ROUTES.filter(
  ({ path, name, action }) => action !== 'server' && (path.includes(':id') || name.endsWith('_each')),
)

describe('no such grant', () => {
  it.each(HIDING.flatMap((route) => ['foreign', 'missing'].map((which) => [route.name, which, route] as const)))(
    '%s of one that is %s: is said when its moment comes and not when it is known',
    async (name, which, { method, path }) => {
      const id = which === 'foreign' ? foreign : `${foreign.slice(0, -3)}777`
      let answered = false
      const answer = door.send(soc, method, path.replace(':id', id).replace(':n', '2'), asked[name]).finally(() => {
        answered = true
      })
      await until('a look', 10_000, async () => log.includes('looked'), 5)
      // Whatever is known by now has had its chance to be said.
      await new Promise((resolve) => setImmediate(resolve))
      expect([log[0], answered]).toEqual(['set', false])
      for (const come of moments) come()
      expect((await answer).status).toBe(404)
    },
  )

  it('is all that waits: what is there is shown at once', async () => {
    expect((await door.send(soc, 'GET', `/v1/grants/${own}`)).status).toBe(200)
    expect(log).toEqual(['set', 'looked'])
  })
})
