// Closing the door: what was begun is worked through, even for somebody who has hung up, because a verb whose store goes away under it
// leaves a half-made mint behind; and nobody who says nothing keeps the door open.
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { until } from '../support/until.ts'
import { grantIn, type Stage, stage } from './door.ts'

const LONG_MS = 60_000
const approved = grantIn('approved')
const path = `/v1/grants/${approved.id}`

let on: Stage | undefined
afterEach(() => on?.stop())

/** A door behind which a look takes until `finish` is called. */
async function slowDoor() {
  on = await stage()
  const { promise, resolve } = Promise.withResolvers<typeof approved>()
  on.answer({ view: () => promise })
  return { at: on, finish: () => resolve(approved) }
}
const begun = (at: Stage): Promise<true> =>
  until('it has begun', 5_000, async () => at.calls.length > 0 || undefined, 5)
async function closedOf(closing: Promise<void>) {
  let closed = false
  void closing.then(() => {
    closed = true
  })
  await new Promise(setImmediate)
  return () => closed
}

it('answers what was begun, and is closed only then', async () => {
  const { at, finish } = await slowDoor()
  const asking = at.send('GET', path)
  await begun(at)
  const closing = at.door.close(LONG_MS)
  const isClosed = await closedOf(closing)
  expect(isClosed()).toBe(false)
  finish()
  const { status, headers } = await asking
  expect([status, headers.connection]).toEqual([200, 'close'])
  await closing
})

it('waits for work whose asker has hung up', async () => {
  const { at, finish } = await slowDoor()
  const hangUp = new AbortController()
  const asking = at.send('GET', path, { signal: hangUp.signal })
  await begun(at)
  hangUp.abort()
  await expect(asking).rejects.toThrow()
  await until('its connection is gone', 5_000, () => connections(at).then((many) => many === 0 || undefined), 5)
  const closing = at.door.close(LONG_MS)
  const isClosed = await closedOf(closing)
  expect(isClosed()).toBe(false)
  finish()
  await closing
})

it('does not wait for a connection on which nothing is asked', async () => {
  const at = await stage()
  on = at
  const silent = connect(at.port, '127.0.0.1')
  await once(silent, 'connect')
  await until('it is seen', 5_000, () => connections(at).then((many) => many === 1 || undefined), 5)
  const gone = once(silent, 'close')
  await at.door.close(LONG_MS)
  await gone
})

it('after the grace waits for nothing', async () => {
  const { at } = await slowDoor()
  const asking = at.send('GET', path)
  asking.catch(() => undefined)
  await begun(at)
  await at.door.close(20)
  await expect(asking).rejects.toThrow()
})

const connections = ({ door }: Stage): Promise<number> =>
  new Promise((resolve, reject) =>
    door.server.getConnections((error, many) => (error === null ? resolve(many) : reject(error))),
  )
