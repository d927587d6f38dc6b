// The long poll, on a real socket with short pauses.
import { afterEach, describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { after as later, minutes } from '../../src/domain/instant.ts'
import { grantIn, moved, NOW, type Stage, stage } from './door.ts'

const LIMITS = { perProcess: 3, perPrincipal: 2, firstMs: 5, mostMs: 20 }
let on: Stage | undefined
afterEach(async () => {
  await on?.stop()
})

/** A door where `view` shows these grants one after the other, then the last for ever. */
async function showing(first: Grant, ...then: readonly Grant[]): Promise<Stage> {
  on = await stage(LIMITS)
  const queue = [first, ...then]
  on.answer({ view: () => (queue.length > 1 ? queue.shift() : queue[0]) })
  return on
}
const wait = (at: Stage, grant: Grant, query: string) => at.send('GET', `/v1/grants/${grant.id}?${query}`)

describe('waiting for a grant', () => {
  const pending = grantIn('pending')
  const approved = moved(pending, 'approved')

  it('answers as soon as the grant has moved', async () => {
    const at = await showing(pending, pending, pending, approved)
    const got = await wait(at, pending, 'wait=30')
    expect(got.body).toMatchObject({ status: 'approved', timed_out: false })
    expect(at.calls).toHaveLength(4)
  })

  it('answers timed_out, not an error, when nothing happens', async () => {
    const at = await showing(pending)
    const got = await wait(at, pending, 'wait=1')
    expect({ status: got.status, said: got.body.status, timedOut: got.body.timed_out }).toEqual({
      status: 200,
      said: 'pending',
      timedOut: true,
    })
  })

  it('sees a vote that changes no status, unless only the status is waited for', async () => {
    const voted = { ...pending, version: 2 }
    expect((await wait(await showing(pending, voted), pending, 'wait=30')).body).toMatchObject({
      status: 'pending',
      timed_out: false,
    })
    await on?.stop()
    expect((await wait(await showing(pending, voted, approved), pending, 'wait=30&for=status')).body).toMatchObject({
      status: 'approved',
    })
  })

  it('answers at once when the caller’s last status is no longer true, and for a grant that cannot move', async () => {
    const at = await showing(approved)
    expect((await wait(at, approved, 'wait=30&for=status&since=pending')).body).toMatchObject({
      status: 'approved',
      timed_out: false,
    })
    at.answer({ view: () => grantIn('ended') })
    expect((await wait(at, approved, 'wait=30')).body).toMatchObject({ status: 'ended', timed_out: false })
    expect(at.calls).toHaveLength(2)
  })

  it('answers when the window of an approved grant opens, though nothing was written', async () => {
    const scheduled = grantIn('approved', later(NOW, minutes(5)))
    const at = await showing(scheduled)
    const waiting = wait(at, scheduled, 'wait=30&for=status')
    await until(() => at.calls.length > 2)
    at.state.now = later(NOW, minutes(5))
    expect((await waiting).body).toMatchObject({ status: 'approved', scheduled: false, timed_out: false })
  })

  it('stops looking when the client has gone', async () => {
    const at = await showing(pending)
    const gone = new AbortController()
    const waiting = at.send('GET', `/v1/grants/${pending.id}?wait=30`, { signal: gone.signal })
    await until(() => at.calls.length > 2)
    gone.abort()
    await expect(waiting).rejects.toThrow()
    await until(async () => (await at.send('GET', '/metrics')).text.includes('writ_http_waiting 0'))
    const looked = at.calls.length
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(at.calls.length).toBe(looked)
  })

  it('does not begin to wait for a client that left while it was looked for', async () => {
    on = await stage({ ...LIMITS, perPrincipal: 1 })
    const at = on
    let found = (_: Grant): void => undefined
    const finding = new Promise<Grant>((resolve) => {
      found = resolve
    })
    at.answer({ view: () => finding })
    const gone = new AbortController()
    const waiting = at.send('GET', `/v1/grants/${pending.id}?wait=30`, { signal: gone.signal })
    await until(() => at.calls.length > 0)
    gone.abort()
    await expect(waiting).rejects.toThrow()
    await until(async () => new Promise((resolve) => at.door.server.getConnections((_, count) => resolve(count === 0))))
    found(pending)
    expect((await wait(at, pending, 'wait=1')).status).toBe(200)
  })

  it('bounds how many wait for one principal, and gives the place back', async () => {
    const at = await showing(pending)
    const waiting = [wait(at, pending, 'wait=30'), wait(at, pending, 'wait=30')]
    await until(async () => (await at.send('GET', '/metrics')).text.includes('writ_http_waiting 2'))
    const third = await wait(at, pending, 'wait=30')
    expect({ status: third.status, retry: third.headers['retry-after'] }).toEqual({ status: 429, retry: '5' })
    at.answer({ view: () => approved })
    expect((await Promise.all(waiting)).map(({ body }) => body.timed_out)).toEqual([false, false])
    expect((await wait(at, pending, 'wait=1')).body.timed_out).toBe(true)
  })

  it('tells a failure while waiting as what it is', async () => {
    const at = await showing(pending)
    let looks = 0
    at.answer({
      view: () => {
        looks += 1
        if (looks < 3) return pending
        throw new BrokerError('store_unavailable', 'The store does not answer.')
      },
    })
    expect((await wait(at, pending, 'wait=30')).status).toBe(503)
  })

  it('answers who waits when the broker stops, and then closes', async () => {
    const at = await showing(pending)
    const waiting = wait(at, pending, 'wait=30')
    await until(() => at.calls.length > 1)
    const closing = at.stop()
    expect((await waiting).body).toMatchObject({ status: 'pending', timed_out: true })
    await closing
    on = undefined
  })

  it('takes no more than a minute, and no other question', async () => {
    const at = await showing(pending)
    for (const query of [
      'wait=61',
      'wait=0',
      'wait=-1',
      'wait=',
      'wait=1&for=version',
      'for=status',
      'wait=1&since=gone',
    ])
      expect({ query, status: (await wait(at, pending, query)).status }).toEqual({ query, status: 400 })
    expect(at.calls).toEqual([])
  })
})

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error('it never came about')
}
