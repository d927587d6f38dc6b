// Whoever is switched off in the people directory, or has no sponsor left who answers for them: they get nothing, and what they were given
// ends. On memory ports and a clock that only the test moves.
import { describe, expect, it } from 'vitest'
import { offboard } from '../../src/broker/offboard.ts'
import type { Ports } from '../../src/broker/ports.ts'
import { rulebook } from '../../src/broker/rulebook.ts'
import { BrokerError, isBrokerError } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { codeOf } from '../support/code-of.ts'
import { dyingPorts } from '../support/crash.ts'
import { directoryWith, withoutPersons } from '../support/directory.ts'
import { asking, KEY, triage, type World, world } from '../support/world.ts'

const approve = { verdict: 'approve', reason: 'fine', digest: undefined } as const
const factsOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'accepted',
    (thrown: unknown) => (isBrokerError(thrown) ? { code: thrown.code, ...thrown.facts } : Promise.reject(thrown)),
  )

describe('whoever is switched off', () => {
  it('gets nothing, and is told whether it is they or those who answer for them: before and after the approval', async () => {
    const w = await world()
    const agent = w.as('triage-agent', { key: KEY })
    const vera = w.as('vera')
    const token = await w.approvedToken()
    const waiting = await w.file(agent, triage(w.now()))
    const database = await w.approvedLogin()
    await w.publish({ directory: await withoutPersons('sam', 'vera') })
    const refused = (role: string, absence: string) => ({ code: 'not_permitted', role, absence })
    const { exchange, request, decide } = w.broker
    expect(await factsOf(exchange(agent, token.id))).toEqual(refused('executor', 'no_active_sponsor'))
    expect(await factsOf(request(agent, triage(w.now())))).toEqual(refused('requester', 'no_active_sponsor'))
    expect(await factsOf(decide(w.as('lena'), waiting.id, approve))).toEqual(refused('requester', 'no_active_sponsor'))
    expect(await factsOf(exchange(vera, database.id))).toEqual(refused('executor', 'inactive'))
    // What is not theirs is not there, whoever they are.
    expect(await codeOf(exchange(agent, database.id))).toBe('grant_not_found')
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('counts for nothing that they approved', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    await w.publish({ directory: await withoutPersons('lena') })
    expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id))).toBe('policy_refused')
    await w.publish({ directory: await directoryWith([['revision: 1', 'revision: 3']]) })
    expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id))).toBe('accepted')
  })

  it('sees nothing any more; the SOC still sees and ends what they hold', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const [agent, sam] = [w.as('triage-agent', { key: KEY }), w.as('sam')]
    await w.broker.exchange(agent, grant.id)
    await w.publish({ directory: await withoutPersons('sam') })
    for (const caller of [agent, sam]) expect(await codeOf(w.broker.view(caller, grant.id))).toBe('grant_not_found')
    expect((await w.broker.view(w.as('sol'), grant.id)).head.status).toBe('active')
    expect((await w.broker.revoke(w.as('sol'), grant.id, 'left')).head.status).toBe('ended')
  })
})

describe('what they hold', () => {
  const agentOf = (w: World) => w.as('triage-agent', { key: KEY })
  const headOf = async (w: World, { id }: Grant) => {
    const grant = await w.store.loadToEnd(id)
    if (grant === undefined) throw new Error(`${id} is gone`)
    return grant.head
  }
  const statusOf = async (w: World, grant: Grant) => (await headOf(w, grant)).status
  const lastEvent = async (w: World, { id }: Grant) => (await w.store.events(id)).at(-1)
  /** A grant of the agent in every status in which it could still get something. */
  async function everyKind(w: World) {
    const active = await w.approvedToken(2)
    await w.broker.exchange(agentOf(w), active.id)
    const approved = await w.approvedToken()
    const pending = await w.file(agentOf(w), triage(w.now()))
    return { active, approved, pending }
  }

  it('ends: what was asked or approved lapses, what was exchanged is revoked, each with its reason', async () => {
    const w = await world()
    const { active, approved, pending } = await everyKind(w)
    await w.publish({ directory: await withoutPersons('sam') })
    expect(await offboard(w.ports)()).toEqual({ revision: 3, ended: 3, failed: [] })
    const reason = 'its requester is no longer active'
    for (const grant of [approved, pending]) {
      expect(await headOf(w, grant)).toMatchObject({ status: 'lapsed', facts: { reason } })
      expect(await lastEvent(w, grant)).toMatchObject({ type: 'lapsed', by: 'broker', details: { reason } })
    }
    const cause = { outcome: 'revoked', by: 'broker', reason }
    expect(await headOf(w, active)).toMatchObject({ status: 'ended', facts: { outcome: 'revoked', cause } })
    expect(await lastEvent(w, active)).toMatchObject({ type: 'ended', by: 'broker' })
  })

  it('ends with a person of their own too: a login is closed, and confirmed by the backend', async () => {
    const w = await world()
    const login = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), login.id)
    expect(w.backend.liveSecrets()).toHaveLength(1)
    await w.publish({ directory: await withoutPersons('vera') })
    await offboard(w.ports)()
    expect(await headOf(w, login)).toMatchObject({ status: 'ended', facts: { confirmation: { asked: 'backend' } } })
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('ends also where somebody else asked and they execute', async () => {
    const w = await world()
    const report = asking(w.now(), {
      entitlement: named.entitlement('sales-report'),
      actions: ['report.read'],
      executor: named.principal('report-job'),
    })
    const grant = await w.file(w.as('olivia'), report)
    await w.publish({ directory: await withoutPersons('dana') })
    expect((await offboard(w.ports)()).ended).toBe(1)
    const reason = 'its executor is no longer active'
    expect(await headOf(w, grant)).toMatchObject({ status: 'lapsed', facts: { reason } })
  })

  it('stays while another sponsor is active, and what others hold stays anyhow', async () => {
    const w = await world()
    const { active } = await everyKind(w)
    const login = await w.approvedLogin()
    const several = await directoryWith([
      ['revision: 1', 'revision: 2'],
      ['sponsors: [sam]', 'sponsors: [dana, sam]'],
      ['\n  sam:\n', '\n  sam:\n    active: false\n'],
    ])
    await w.publish({ directory: several })
    expect(await offboard(w.ports)()).toEqual({ revision: 3, ended: 0, failed: [] })
    expect(await codeOf(w.broker.exchange(agentOf(w), active.id))).toBe('accepted')
    expect(await statusOf(w, login)).toBe('approved')
  })

  it('is ended once: repeated it writes nothing, also by several brokers at once', async () => {
    const w = await world()
    const { active, approved, pending } = await everyKind(w)
    await w.publish({ directory: await withoutPersons('sam') })
    const both = await Promise.all([offboard(w.ports)(), offboard(w.ports)()])
    expect(both.flatMap(({ failed }) => failed)).toEqual([])
    const versions = async () =>
      Promise.all([active, approved, pending].map(async ({ id }) => (await w.store.loadToEnd(id))?.version))
    const before = await versions()
    expect((await offboard(w.ports)()).ended).toBe(0)
    expect(await versions()).toEqual(before)
  })

  it('is found page by page, however much it is', async () => {
    const w = await world()
    const agent = agentOf(w)
    for (let n = 0; n < 230; n += 1) await w.file(agent, triage(w.now()))
    await w.publish({ directory: await withoutPersons('sam') })
    expect((await offboard(w.ports)()).ended).toBe(230)
    expect((await w.store.counts([named.tenant('northwind')])).pending).toBe(0)
  })

  it('is ended also where the grants of another who was switched off cannot be found now', async () => {
    const w = await world()
    const token = await w.approvedToken()
    const login = await w.approvedLogin()
    await w.publish({ directory: await withoutPersons('sam', 'vera') })
    for (const shut of ['vera', 'triage-agent']) {
      const list: Ports['grants']['list'] = (query) =>
        JSON.stringify(query.of).includes(`"party":"${shut}"`)
          ? Promise.reject(new BrokerError('store_unavailable', 'It cannot be read.'))
          : w.store.list(query)
      expect(await codeOf(offboard({ ...w.ports, grants: { ...w.store, list } })())).toBe('store_unavailable')
    }
    expect([await statusOf(w, token), await statusOf(w, login)]).toEqual(['lapsed', 'lapsed'])
  })

  it('that cannot be ended now stops no other, is named, and is ended by the next call', async () => {
    const w = await world()
    const { active, approved, pending } = await everyKind(w)
    await w.publish({ directory: await withoutPersons('sam') })
    const grants: Ports['grants'] = {
      ...w.ports.grants,
      commit: async (step, guard) => {
        if (step.grant.id === approved.id) throw new BrokerError('store_unavailable', 'not now')
        return w.ports.grants.commit(step, guard)
      },
    }
    expect(await offboard({ ...w.ports, grants })()).toEqual({ revision: 3, ended: 2, failed: [approved.id] })
    expect(await Promise.all([active, approved, pending].map((one) => statusOf(w, one)))).toEqual([
      'ended',
      'approved',
      'lapsed',
    ])
    expect(await offboard(w.ports)()).toEqual({ revision: 3, ended: 1, failed: [] })
  })

  it('is not touched by a broker whose files are not those in force: who is back keeps what they have', async () => {
    const w = await world()
    const { active } = await everyKind(w)
    const old = rulebook({ ...w.book.current(), directory: await withoutPersons('sam') })
    await w.publish({ directory: await directoryWith([['revision: 1', 'revision: 3']]) })
    const outdated = { ...w.ports, rules: old.under, rulesToEnd: old.current }
    expect(await codeOf(offboard(outdated)())).toBe('policy_outdated')
    expect(await statusOf(w, active)).toBe('active')
  })

  it('is ended by the next broker, wherever the first one dies', async () => {
    for (const when of ['before', 'after'] as const)
      for (let n = 1; ; n += 1) {
        const w = await world()
        const { active, approved, pending } = await everyKind(w)
        const login = await w.approvedLogin()
        await w.broker.exchange(w.as('vera'), login.id)
        await w.publish({ directory: await withoutPersons('sam', 'vera') })
        const dying = dyingPorts(w.ports, n, when)
        await offboard(dying.ports)().catch(() => undefined)
        expect((await offboard(w.ports)()).failed).toEqual([])
        await w.settle()
        const statuses = await Promise.all([active, approved, pending, login].map((one) => statusOf(w, one)))
        expect([when, n, ...statuses]).toEqual([when, n, 'ended', 'lapsed', 'lapsed', 'ended'])
        expect(w.backend.liveSecrets()).toEqual([])
        if (!dying.hasDied()) {
          expect(n).toBeGreaterThan(10)
          break
        }
      }
  })
})
