// What cannot be revoked: its end is called one only together with the time until which something may be left, and that stands at every door.
import { describe, expect, it } from 'vitest'
import type { Grant } from '../../src/domain/grant.ts'
import { inStatus } from '../../src/domain/grant.ts'
import { after, formatInstant, minutes, seconds } from '../../src/domain/instant.ts'
import { showEvent, showGrant } from '../../src/http/show.ts'
import { codeOf } from '../support/code-of.ts'
import { attempt, KEY, policyWith, type World, world } from '../support/world.ts'

const OF_A_PATH = policyWith(
  ['revision: 1', 'revision: 2'],
  [
    `engine: database
      database:
        mount: database
        connection: payments
        grantedRole: payments_migrator
        ownerRole: payments_owner
      revocability: at_once`,
    `engine: path
      path: { mount: aws, path: sts/deployer, method: write, lifeParameter: ttl }
      maxLife: 10m
      revocability: expiry`,
  ],
  ['limits: { maxDuration: 4h, horizon: 14d, maxUses: 1 }', 'limits: { maxDuration: 4h, horizon: 14d, maxUses: 3 }'],
)
const pathWorld = async (): Promise<World> => {
  const w = await world()
  await w.publish({ policy: OF_A_PATH })
  return w
}
const residueOf = (grant: Grant) => (inStatus(grant, 'ended') ? grant.head.facts.residueUntil : undefined)

describe('a grant whose credential cannot be revoked', () => {
  it('says so, and for how long at worst, before anybody has approved it', async () => {
    const w = await pathWorld()
    const grant = await w.approvedLogin()
    expect(showGrant(grant, w.now())).toMatchObject({ revocability: 'expiry', residue: '10m' })
    const token = await w.approvedToken()
    expect(showGrant(token, w.now())).toMatchObject({ revocability: 'at_once', residue: '30s' })
  })

  it('is ended with the time until which it lasts, in its facts, its event and its next action', async () => {
    const w = await pathWorld()
    const grant = await w.approvedLogin()
    const issuedAt = w.now()
    const { mint, credential } = await w.broker.exchange(w.as('vera'), grant.id)
    expect(credential.kind === 'vault' && credential.leaseId).toBe('')
    w.advance(minutes(1))
    const ended = await w.broker.revoke(w.as('olivia'), grant.id, 'no longer needed')
    const until = residueOf(ended)
    expect(ended.head.status).toBe('ended')
    expect(w.backend.liveSecrets()).toHaveLength(1)
    // Never before its own end, and not by more than the time that making it may take.
    expect(until).toBeGreaterThanOrEqual(mint.expiresAt)
    expect(until).toBeLessThanOrEqual(after(mint.expiresAt, seconds(30)))
    expect(until).toBe(after(issuedAt, minutes(10.4)))
    const shown = showGrant(ended, w.now())
    expect(shown.facts.residueUntil).toBe(formatInstant(until ?? w.now()))
    expect(shown.next_action).toContain(shown.facts.residueUntil)
    expect(shown.mints[0]?.expiresAt).toBe(shown.facts.residueUntil)
    const events = (await w.broker.events(w.as('olivia'), grant.id)).map(showEvent)
    expect(events.at(-1)?.details.residueUntil).toBe(shown.facts.residueUntil)
    w.advance(minutes(10))
    expect(w.backend.liveSecrets()).toEqual([])
    expect(showGrant(ended, w.now()).next_action).toBe('Nothing: it has ended.')
  })

  it('leaves what was handed out within its window', async () => {
    const w = await pathWorld()
    const grant = await w.approvedLogin()
    w.advance(minutes(51))
    await w.broker.exchange(w.as('vera'), grant.id)
    const ended = await w.broker.revoke(w.as('olivia'), grant.id, 'no longer needed')
    expect(residueOf(ended)).toBeLessThanOrEqual(grant.ask.intent.window.closesAt)
  })

  it('counts the last of several, also of one that was never handed out', async () => {
    const w = await pathWorld()
    const grant = await w.approvedLogin(3)
    const vera = w.as('vera')
    await w.broker.exchange(vera, grant.id, attempt('attempt-one'))
    w.advance(minutes(2))
    w.backend.fault('issue', 'lose_reply')
    expect(await codeOf(w.broker.exchange(vera, grant.id, attempt('attempt-two')))).toBe('vault_unavailable')
    // What came to nothing afterwards takes nothing of that away, while it lasts.
    for (const name of ['attempt-three', 'attempt-four']) {
      w.backend.fault('open', 'fail', { definite: true })
      expect(await codeOf(w.broker.exchange(vera, grant.id, attempt(name)))).toBe('vault_unavailable')
    }
    const ended = await w.broker.revoke(w.as('olivia'), grant.id, 'no longer needed')
    expect(ended.head.status).toBe('ended')
    expect(residueOf(ended)).toBe(after(w.now(), minutes(10.5)))
  })

  it('keeps no mint that was given back longer than it may last', async () => {
    const w = await pathWorld()
    const grant = await w.approvedLogin(3)
    const vera = w.as('vera')
    await w.broker.exchange(vera, grant.id, attempt('attempt-one'))
    w.backend.fault('issue', 'lose_reply')
    expect(await codeOf(w.broker.exchange(vera, grant.id, attempt('attempt-two')))).toBe('vault_unavailable')
    w.advance(minutes(11))
    await w.broker.exchange(vera, grant.id, attempt('attempt-three'))
    expect((await w.store.loadToEnd(grant.id))?.head.mints.map(({ n }) => n)).toEqual([1, 3])
  })

  it('is not given a second credential where the answer was lost: the first could not be ended', async () => {
    const w = await pathWorld()
    const grant = await w.approvedLogin(3)
    const vera = w.as('vera', { key: KEY })
    await w.broker.exchange(vera, grant.id, attempt('attempt-one'))
    expect(await codeOf(w.broker.exchange(vera, grant.id, attempt('attempt-one')))).toBe('uses_exhausted')
    expect(w.backend.liveSecrets()).toHaveLength(1)
    expect(await codeOf(w.broker.exchange(vera, grant.id, attempt('attempt-two')))).toBe('accepted')
  })
})

describe('a grant whose credential ends at once', () => {
  it('is ended with nothing left from then on', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    expect(showGrant(grant, w.now())).toMatchObject({ revocability: 'at_once', residue: '0s' })
    await w.broker.exchange(w.as('vera'), grant.id)
    const ended = await w.broker.revoke(w.as('olivia'), grant.id, 'no longer needed')
    expect(residueOf(ended)).toBe(w.now())
    expect(showGrant(ended, w.now()).next_action).toBe('Nothing: it has ended.')
  })

  it('has in its stream, of a token too, until when a verifier may still take it', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    const ended = await w.broker.revoke(w.as('lena'), grant.id, 'no longer needed')
    expect(residueOf(ended)).toBe(after(w.now(), seconds(30)))
    const events = (await w.broker.events(w.as('lena'), grant.id)).map(showEvent)
    expect(events.at(-1)?.details.residueUntil).toBe(formatInstant(after(w.now(), seconds(30))))
  })
})
