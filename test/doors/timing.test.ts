// No such grant takes the same time to be told, whether it is not there or another tenant's: over a socket, by medians and by Welch's t.
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { EVENLY_MS } from '../../src/broker/evenly.ts'
import type { Ports } from '../../src/broker/ports.ts'
import { named } from '../../src/domain/ids.ts'
import { ROUTES } from '../../src/http/routes.ts'
import { type Compared, compared } from '../support/timing.ts'
import { accountOf, twoTenants } from '../support/two-tenants.ts'
import { asking, world } from '../support/world.ts'
import { bodies, realDoor, tokenOf } from './real-door.ts'

const evenly = (): Promise<void> => pause(EVENLY_MS)
const doors: { stop(): Promise<void> }[] = []
afterAll(() => Promise.all(doors.map((door) => door.stop())))

/** A door at which the SOC of one tenant asks for a grant of the other's, or for one that is not there. */
async function strangersDoor(over: (w: Awaited<ReturnType<typeof world>>) => Partial<Ports>) {
  const w = await world()
  await w.publish(twoTenants())
  const { id } = await w.file(
    w.as('south-requester'),
    asking(w.now(), { entitlement: named.entitlement('south-repair'), actions: ['repair'] }),
  )
  const door = await realDoor(w, w.another(over(w)))
  doors.push(door)
  const asked = bodies({})
  return async (name: string): Promise<Compared> => {
    const route = ROUTES.find((row) => row.name === name)
    if (route === undefined) throw new Error(`no route ${name}`)
    const authorization = `Bearer ${tokenOf(accountOf('north', 'soc'))}`
    const of = (grant: string) => ({
      method: route.method,
      path: route.path.replace(':id', grant).replace(':n', '2'),
      headers: { authorization, ...(route.method === 'POST' ? { 'content-type': 'application/json' } : {}) },
      body: route.method === 'POST' ? JSON.stringify(asked[name]) : '',
    })
    return compared(door.on.port, of(id), of(`${id.slice(0, -3)}777`))
  }
}
/** As if finding and judging a grant cost three milliseconds more than not finding one. */
const slowFinds = ({ store }: Awaited<ReturnType<typeof world>>): Ports['grants'] => {
  const slow = async <T>(found: Promise<T | undefined>): Promise<T | undefined> => {
    if ((await found) !== undefined) await pause(3)
    return found
  }
  return { ...store, load: (id) => slow(store.load(id)), loadToEnd: (id) => slow(store.loadToEnd(id)) }
}

describe('the time to hear that there is no such grant', () => {
  it.each(ROUTES.filter(({ path }) => path.includes(':id')).map(({ name }) => name))(
    '%s: tells nobody whether it is there',
    async (name) => {
      const measure = await strangersDoor((w) => ({ evenly, grants: slowFinds(w) }))
      const { deltaMs, welch } = await measure(name)
      expect(Math.abs(deltaMs)).toBeLessThan(1)
      expect(Math.abs(welch)).toBeLessThan(4.5)
    },
  )
  it('would tell, if it were said as soon as it is known', async () => {
    const measure = await strangersDoor((w) => ({ grants: slowFinds(w) }))
    const { deltaMs, welch } = await measure('view')
    expect(deltaMs).toBeGreaterThan(1)
    expect(welch).toBeGreaterThan(4.5)
  })
})
