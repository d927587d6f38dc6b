// The store restored from an older copy: what lives there may have ended since, so nothing is allowed until all of it is over. On memory
// ports and a clock that only the test moves; the same with a real Redis, by its files, is `journeys/recovery`.
import { describe, expect, it } from 'vitest'
import { lookAfter, type RecoverPorts, recover, recovery, type Walks } from '../../src/broker/recover.ts'
import { publishedOf } from '../../src/broker/rulebook.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { shard } from '../../src/domain/ids.ts'
import type { Duration } from '../../src/domain/instant.ts'
import { minutes, seconds } from '../../src/domain/instant.ts'
import type { LiveMint } from '../../src/domain/mint.ts'
import { codeOf } from '../support/code-of.ts'
import { KEY, triage, type World, world } from '../support/world.ts'

const HOME = shard(0)
const agentOf = (w: World) => w.as('triage-agent', { key: KEY })

/** An operator, and the looks of one broker that never sleeps. */
function operating(w: World, over: Partial<RecoverPorts> = {}) {
  const recorded: unknown[] = []
  const ports: RecoverPorts = {
    ...w.ports,
    shards: [HOME],
    store: w.store,
    firstOperator: undefined,
    acceptStore: (of, floor) => w.store.accept(of, publishedOf(w.book.current()), floor),
    acceptClock: w.now,
    inventory: async () => undefined,
    record: async (act) => void recorded.push(act),
    ...over,
  }
  const walks: Walks = new Map()
  const look = () => lookAfter(ports, walks)(HOME)
  return {
    recorded,
    look,
    recover: (who = 'oscar', when?: 'now') => recover(ports, walks)(w.as(who), 'INC-1: restored', when),
    view: (who = 'oscar') => recovery(ports, walks)(w.as(who)),
    /** Looks and sweeps for so long, or until issuing resumes. */
    until: async (span: Duration): Promise<boolean> => {
      for (let spent = 0; spent <= span; spent += seconds(5)) {
        if ((await look()).resumed) return true
        await w.settle(seconds(0))
      }
      return false
    },
  }
}

/** A grant of every kind that could still give or hold something, as the copy has it. */
async function everyKind(w: World) {
  const pending = await w.file(agentOf(w), triage(w.now()))
  const approvedToken = await w.approvedToken()
  const approvedLogin = await w.approvedLogin()
  const activeToken = await w.approvedToken(2)
  await w.broker.exchange(agentOf(w), activeToken.id)
  const activeLogin = await w.approvedLogin()
  await w.broker.exchange(w.as('vera'), activeLogin.id)
  return { pending, approvedToken, approvedLogin, activeToken, activeLogin }
}
const tokenOf = async (w: World, { id }: Grant) => {
  const grant = await w.store.loadToEnd(id)
  const mint = grant?.head.mints.find((one): one is LiveMint => one.status === 'live')
  if (grant === undefined || mint?.kind !== 'jwt') throw new Error('no token')
  return { grant: id, jti: mint.jti, audience: grant.ask.audience }
}
const statusOf = async (w: World, { id }: Grant) => (await w.store.loadToEnd(id))?.head.status

/** What was copied, and then ended; and the copy put back. */
async function restored(w: World) {
  const kinds = await everyKind(w)
  const token = await tokenOf(w, kinds.activeToken)
  const back = w.snapshot()
  for (const grant of Object.values(kinds)) await w.broker.revoke(w.as('sol'), grant.id, 'alarm')
  back()
  return { ...kinds, token }
}

describe('after a restore of an older copy', () => {
  it('nothing that had ended works again, and nothing is issued before all of it is over', async () => {
    const w = await world()
    const { token, ...kinds } = await restored(w)
    const o = operating(w)
    expect(await codeOf(w.broker.introspect(token))).toBe('recovering')
    expect(await o.view()).toMatchObject({
      state: 'behind',
      endsAll: true,
      live: { active: 2, approved: 2, pending: 1 },
    })
    expect(await o.recover()).toMatchObject({ recovered: false })
    expect(o.recorded).toEqual([{ what: 'recover', by: 'oscar', asFirstOperator: false, reason: 'INC-1: restored' }])
    for (const work of [w.broker.introspect(token), w.broker.exchange(agentOf(w), kinds.approvedToken.id)])
      expect(await codeOf(work)).toBe('recovering')
    // The login is asked of its backend by the sweep; until that has answered, nothing is issued.
    expect((await o.look()).resumed).toBe(false)
    expect(await o.view()).toMatchObject({ state: 'clearing', clearing: { by: 'oscar', left: 1, ended: 5 } })
    expect(await statusOf(w, kinds.activeLogin)).toBe('ending')
    expect(await codeOf(w.file(agentOf(w), triage(w.now())))).toBe('recovering')
    expect(await o.until(minutes(2))).toBe(true)
    expect(await o.view()).toMatchObject({ state: 'well', live: { active: 0, approved: 0, pending: 0, ending: 0 } })
    expect(await o.view()).toMatchObject({ last: { by: 'oscar', reason: 'INC-1: restored' } })
    expect(await w.broker.introspect(token)).toEqual({ active: false })
    for (const grant of [kinds.approvedToken, kinds.activeToken])
      expect(await codeOf(w.broker.exchange(agentOf(w), grant.id))).toBe('wrong_status')
    expect(await statusOf(w, kinds.activeLogin)).toBe('ended')
    expect(w.backend.liveSecrets()).toEqual([])
    const fresh = await w.approvedToken()
    expect(await codeOf(w.broker.exchange(agentOf(w), fresh.id))).toBe('accepted')
  })

  it('a backend that does not answer holds up issuing until an operator says now, and even then nothing of before is allowed', async () => {
    const w = await world()
    const { token, ...kinds } = await restored(w)
    // The login of the copy never came to its end here.
    w.backend.freeze()
    const o = operating(w)
    await o.recover()
    expect(await o.until(minutes(10))).toBe(false)
    expect(await o.view()).toMatchObject({ state: 'clearing', clearing: { left: 1 }, live: { active: 0, approved: 0 } })
    expect(await o.recover('oscar', 'now')).toMatchObject({ recovered: true })
    expect(o.recorded.at(-1)).toMatchObject({ what: 'recover_now' })
    expect(await w.broker.introspect(token)).toEqual({ active: false })
    expect(await codeOf(w.broker.exchange(agentOf(w), kinds.approvedToken.id))).toBe('wrong_status')
    expect(['ending', 'stuck']).toContain(await statusOf(w, kinds.activeLogin))
    expect(await codeOf(w.broker.exchange(agentOf(w), (await w.approvedToken()).id))).toBe('accepted')
    w.backend.thaw()
    await w.settle(minutes(2))
    expect(await statusOf(w, kinds.activeLogin)).toBe('ended')
  })

  it('said now where the store refuses an end again and again is answered with that, and goes on by itself when it does not', async () => {
    const w = await world()
    const { activeToken } = await restored(w)
    let refuses = true
    const commitEach: typeof w.store.commitEach = async (steps, contains) => {
      const kept = steps.filter(({ grant }) => !(refuses && grant.id === activeToken.id))
      const results = await w.store.commitEach(kept, contains)
      return steps.map((step) => results[kept.indexOf(step)] ?? { id: step.grant.id, receipt: undefined })
    }
    const o = operating(w, { grants: { ...w.store, commitEach } })
    await expect(o.recover('oscar', 'now')).rejects.toMatchObject({ code: 'recovering' })
    expect(await o.until(minutes(1))).toBe(false)
    refuses = false
    expect(await o.until(minutes(10))).toBe(true)
    expect(await statusOf(w, activeToken)).toBe('ended')
  })

  it('the backends must be in order too, and why they are not is said', async () => {
    const w = await world()
    await restored(w)
    let why: string | undefined = 'vault-main was not looked through yet'
    const o = operating(w, { inventory: async () => why })
    await o.recover()
    expect(await o.until(minutes(2))).toBe(false)
    expect(await o.view()).toMatchObject({ state: 'clearing', clearing: { left: 0, waitsFor: why } })
    why = undefined
    expect(await o.until(minutes(2))).toBe(true)
  })

  it('brokers that walk at once, die and begin anew end every grant once', async () => {
    const w = await world()
    const { token: _, ...kinds } = await restored(w)
    const [one, two] = [operating(w), operating(w)]
    await one.recover()
    // A second operator at another broker joins the same recovery.
    expect(await two.recover()).toMatchObject({ recovered: false })
    await Promise.all([one.look(), two.look(), operating(w).look()])
    expect(await two.until(minutes(2))).toBe(true)
    expect((await one.look()).resumed).toBe(false)
    for (const { id } of Object.values(kinds)) {
      const events = (await w.store.events(id)).map(({ type }) => type)
      expect(events.filter((type) => type === 'ended' || type === 'lapsed')).toHaveLength(1)
    }
  })

  it('grants are found by the indexes where the events were lost with the rest', async () => {
    const w = await world()
    const { token, activeToken } = await restored(w)
    const store = { ...w.store, born: async () => ({ ids: [], next: '', more: false }) }
    const o = operating(w, { store })
    await o.recover()
    expect(await o.until(minutes(2))).toBe(true)
    expect(await statusOf(w, activeToken)).toBe('ended')
    expect(await w.broker.introspect(token)).toEqual({ active: false })
  })

  it('a record that nobody can read holds nothing up, and is counted', async () => {
    const w = await world()
    const { activeToken } = await restored(w)
    const loadManyToEnd: RecoverPorts['grants']['loadManyToEnd'] = async (ids) => {
      const { grants, unreadable } = await w.store.loadManyToEnd(ids.filter((id) => id !== activeToken.id))
      return { grants, unreadable: ids.includes(activeToken.id) ? [...unreadable, activeToken.id] : unreadable }
    }
    // The store would not list it either.
    const list: RecoverPorts['grants']['list'] = async (query) => {
      const found = await w.store.list(query)
      return { ...found, grants: found.grants.filter(({ id }) => id !== activeToken.id) }
    }
    const o = operating(w, { grants: { ...w.store, loadManyToEnd, list } })
    await o.recover()
    expect((await o.look()).progress).toMatchObject({ unreadable: 1 })
    expect(await o.until(minutes(2))).toBe(true)
  })

  it('a store that stops answering in the middle of the walk is asked again, and nothing is issued meanwhile', async () => {
    const w = await world()
    await restored(w)
    let calls = 0
    const commitEach: RecoverPorts['grants']['commitEach'] = async (steps) => {
      calls += 1
      if (calls === 1) throw new Error('gone')
      return w.store.commitEach(steps)
    }
    const o = operating(w, { grants: { ...w.store, commitEach } })
    await o.recover()
    await expect(o.look()).rejects.toThrow('gone')
    expect(await codeOf(w.ports.control())).toBe('recovering')
    expect(await o.until(minutes(2))).toBe(true)
  })
})

describe('who recovers', () => {
  it('are operators alone, and what cannot be recorded is not done', async () => {
    const w = await world()
    const { token } = await restored(w)
    await codeOf(w.broker.introspect(token))
    const o = operating(w)
    for (const nobody of ['vera', 'olivia', 'sol']) {
      expect(await codeOf(o.recover(nobody))).toBe('not_permitted')
      expect(await codeOf(o.view(nobody))).toBe('not_permitted')
    }
    const mute = operating(w, { record: () => Promise.reject(new Error('no record')) })
    await expect(mute.recover()).rejects.toThrow('no record')
    expect(await o.view()).toMatchObject({ state: 'behind' })
  })

  it('end nothing where nothing can have come back: the record alone was lost', async () => {
    const w = await world()
    const kinds = await everyKind(w)
    const lost = await operating(w).view()
    expect(lost).toMatchObject({ state: 'well', endsAll: false })
    const store: RecoverPorts['store'] = {
      ...w.store,
      recovery: async (of) => ({ ...(await w.store.recovery(of)), reason: 'The store has no control record.' }),
    }
    expect(await operating(w, { store }).view()).toMatchObject({ state: 'no_record', endsAll: false })
    await operating(w, { store }).recover()
    expect(await statusOf(w, kinds.activeToken)).toBe('active')
    expect(await codeOf(w.broker.exchange(agentOf(w), kinds.approvedToken.id))).toBe('accepted')
  })
})
