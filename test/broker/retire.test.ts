// What is over leaves in one order: read, archived, forgotten. Wherever a broker dies, the archive holds what the store no longer has.
import { describe, expect, it } from 'vitest'
import type { Archive, Retired } from '../../src/broker/ports.ts'
import { type RetirePorts, retire } from '../../src/broker/retire.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { GrantId } from '../../src/domain/ids.ts'
import { type Duration, days, minutes, seconds } from '../../src/domain/instant.ts'
import { codeOf } from '../support/code-of.ts'
import { dyingPorts } from '../support/crash.ts'
import { KEY, triage, type World, world } from '../support/world.ts'

/** An archive in memory; a disk that is full takes half of what it is given. */
function memoryArchive() {
  const kept: Retired[] = []
  let full = false
  const archive: Archive = {
    keep: async (grants) => {
      kept.push(...(full ? grants.slice(0, 1) : grants))
      if (full) throw new BrokerError('log_unavailable', 'full')
    },
  }
  return { archive, kept, setFull: (to: boolean) => (full = to) }
}
const portsOf = (w: World, archive: Archive, retention: Duration = days(30)): RetirePorts => ({
  ...w.ports,
  archive,
  retention,
})

/** A token that was exchanged and revoked, and one that was asked for and withdrawn. */
async function twoThatAreOver(w: World): Promise<readonly GrantId[]> {
  const token = await w.approvedToken()
  await w.broker.exchange(w.as('triage-agent', { key: KEY }), token.id)
  await w.broker.revoke(w.as('sol'), token.id, 'alarm')
  const asked = await w.file(w.as('triage-agent', { key: KEY }), triage(w.now()))
  await w.broker.withdraw(w.as('triage-agent', { key: KEY }), asked.id, 'not needed')
  return [token.id, asked.id]
}
const idsOf = (kept: readonly Retired[]) => [...new Set(kept.map(({ id }) => id))].sort()

describe('a grant that is over', () => {
  it('leaves for the archive when the retention has passed, and not before', async () => {
    const w = await world()
    const { archive, kept } = memoryArchive()
    const run = retire(portsOf(w, archive))
    const ids = await twoThatAreOver(w)
    const open = await w.approvedLogin()
    w.advance((days(30) - 1) as Duration)
    expect(await run()).toEqual({ forgotten: 0, more: false })
    w.advance(1 as Duration)
    expect(await run()).toEqual({ forgotten: 2, more: false })
    expect(idsOf(kept)).toEqual([...ids].sort())
    expect(await run()).toEqual({ forgotten: 0, more: false })
    expect(kept).toHaveLength(2)
    expect(await w.store.loadToEnd(open.id)).toBeDefined()
  })

  it('is not found any more by whoever asks for it, its events or a list', async () => {
    const w = await world()
    const ids = await twoThatAreOver(w)
    const open = await w.approvedLogin()
    w.advance(days(30))
    await retire(portsOf(w, memoryArchive().archive))()
    for (const id of ids) {
      for (const who of ['triage-agent', 'sol', 'lena']) {
        expect(await codeOf(w.broker.view(w.as(who), id))).toBe('grant_not_found')
        expect(await codeOf(w.broker.events(w.as(who), id))).toBe('grant_not_found')
      }
      expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), id))).toBe('grant_not_found')
      expect(await codeOf(w.broker.revoke(w.as('sol'), id, 'again'))).toBe('grant_not_found')
    }
    const listed = await w.broker.list(w.as('vera'), {}, { limit: 10, cursor: undefined })
    expect(listed.grants.map(({ id }) => id)).toEqual([open.id])
  })

  it('stays for as long as a token could still be accepted, however short the retention', async () => {
    const w = await world()
    const { archive } = memoryArchive()
    const run = retire(portsOf(w, archive, minutes(1)))
    await twoThatAreOver(w)
    const lives = w.book
      .current()
      .policy.entitlements()
      .flatMap(({ credential: rule }) => (rule.kind === 'jwt' ? [rule.maxLife + rule.verifierCache] : []))
    const longest = Math.max(...lives) as Duration
    expect(longest).toBeGreaterThan(minutes(1))
    w.advance(longest)
    expect((await run()).forgotten).toBe(0)
    w.advance(seconds(60))
    expect((await run()).forgotten).toBe(2)
  })

  it('stays in the store while it cannot be archived', async () => {
    const w = await world()
    const { archive, kept, setFull } = memoryArchive()
    const ids = await twoThatAreOver(w)
    w.advance(days(30))
    setFull(true)
    expect(await codeOf(retire(portsOf(w, archive))())).toBe('log_unavailable')
    for (const id of ids) expect(await w.store.loadToEnd(id)).toBeDefined()
    setFull(false)
    expect((await retire(portsOf(w, archive))()).forgotten).toBe(2)
    expect(idsOf(kept)).toEqual([...ids].sort())
  })

  it('stays while the clock is not trusted', async () => {
    const w = await world()
    const { archive, kept } = memoryArchive()
    await twoThatAreOver(w)
    w.advance(days(30))
    const jumped = () => {
      throw new BrokerError('clock_untrusted', 'it jumped')
    }
    expect(await codeOf(retire({ ...portsOf(w, archive), now: jumped })())).toBe('clock_untrusted')
    expect(kept).toEqual([])
  })

  it('leaves with a hundred others at a time, until no more are old enough', async () => {
    const w = await world()
    const { archive, kept } = memoryArchive()
    for (let n = 0; n < 130; n += 1) {
      const asked = await w.file(w.as('triage-agent', { key: KEY }), triage(w.now()))
      await w.broker.withdraw(w.as('triage-agent', { key: KEY }), asked.id, 'not needed')
    }
    w.advance(days(30))
    const run = retire(portsOf(w, archive))
    expect(await run()).toEqual({ forgotten: 100, more: true })
    expect(await run()).toEqual({ forgotten: 30, more: false })
    expect(idsOf(kept)).toHaveLength(130)
  })
})

describe('several brokers', () => {
  it('that retire at once each archive at most once, and forget each grant once', async () => {
    const w = await world()
    const archives = [memoryArchive(), memoryArchive(), memoryArchive()]
    const ids = await twoThatAreOver(w)
    w.advance(days(30))
    const done = await Promise.all(archives.map(({ archive }) => retire(portsOf(w, archive))()))
    expect(done.reduce((sum, { forgotten }) => sum + forgotten, 0)).toBe(2)
    expect(idsOf(archives.flatMap(({ kept }) => kept))).toEqual([...ids].sort())
    for (const { kept } of archives) expect(kept.length).toBeLessThanOrEqual(2)
  })
})

describe('a broker that dies while it retires', () => {
  const EFFECTS = 3
  it.each([1, 2, 3].flatMap((n) => [[n, 'before'] as const, [n, 'after'] as const]))(
    'loses nothing at effect %i, %s it',
    async (n, when) => {
      const w = await world()
      const { archive, kept } = memoryArchive()
      const ids = await twoThatAreOver(w)
      const open = await w.approvedLogin()
      w.advance(days(30))
      const dying = dyingPorts(portsOf(w, archive), n, when)
      await retire(dying.ports)().catch(() => undefined)
      expect([dying.hasDied(), dying.effects()]).toEqual([true, n])
      const gone: GrantId[] = []
      for (const id of ids) if ((await w.store.loadToEnd(id)) === undefined) gone.push(id)
      expect(idsOf(kept)).toEqual(expect.arrayContaining(gone))
      // Another broker goes on where it stopped.
      await retire(portsOf(w, archive))()
      expect(idsOf(kept)).toEqual([...ids].sort())
      for (const id of ids) {
        expect(await w.store.loadToEnd(id)).toBeUndefined()
        const lines = kept.filter((one) => one.id === id)
        for (const line of lines) expect(line).toEqual(lines[0])
      }
      expect(await w.store.loadToEnd(open.id)).toBeDefined()
    },
  )

  it('has exactly these effects', async () => {
    const w = await world()
    await twoThatAreOver(w)
    w.advance(days(30))
    const dying = dyingPorts(portsOf(w, memoryArchive().archive), Number.POSITIVE_INFINITY, 'before')
    await retire(dying.ports)()
    expect(dying.effects()).toBe(EFFECTS)
  })
})
