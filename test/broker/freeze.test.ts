// What a freeze promises, one guarantee a test, on memory ports: what is asked, approved and exchanged under it, what it kills, who may make it,
// and that it is never too late between a judgement and its commit.
import { describe, expect, it } from 'vitest'
import type { Ports } from '../../src/broker/ports.ts'
import { publishedOf } from '../../src/broker/rulebook.ts'
import { BrokerError, type ErrorCode } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, days, minutes } from '../../src/domain/instant.ts'
import type { Selector } from '../../src/domain/selector.ts'
import { printFreezeEvent } from '../../src/redis/freeze-record.ts'
import { directoryWith } from '../support/directory.ts'
import { ALL, sha256 } from '../support/sample-grants.ts'
import { TENANTS, twoTenants } from '../support/two-tenants.ts'
import { asking, attempt, HOME, KEY, login, triage, type World, world } from '../support/world.ts'

const codeOf = async (work: Promise<unknown>): Promise<ErrorCode | 'ok' | 'bug'> =>
  work.then(
    () => 'ok' as const,
    (thrown: unknown) => (thrown instanceof BrokerError ? thrown.code : 'bug'),
  )
const refusalOf = (work: Promise<unknown>): Promise<BrokerError> =>
  work.then(
    () => Promise.reject(new Error('it was not refused')),
    (thrown: BrokerError) => thrown,
  )
const approve = { verdict: 'approve', reason: 'fine', digest: undefined } as const
const deny = { verdict: 'deny', reason: 'no', digest: undefined } as const
const DB: Selector = { target: 'payments-db' }
const freezeBy = (w: World, selector: Selector = DB, who = 'sol') => w.broker.freeze(w.as(who), selector, 'INC-1')
const exchangeOf = (w: World, { id }: Grant) => w.broker.exchange(w.as('vera'), id)
const MOVED = 'sponsors: [dana]\n    accounts:\n      - { issuer: login, subject: triage-agent }'
const agent = (w: World) => w.as('triage-agent', { key: KEY })

describe('under a freeze', () => {
  it('what was approved on Monday for Friday is refused on Friday, and the refusal says by which freeze', async () => {
    const w = await world()
    const friday = { opensAt: after(w.now(), days(4)), closesAt: after(after(w.now(), days(4)), minutes(60)) }
    const grant = await w.file(w.as('vera'), { ...login(w.now()), window: friday })
    expect((await w.broker.decide(w.as('olivia'), grant.id, approve)).head.status).toBe('approved')
    const { id } = await freezeBy(w)
    w.advance(days(4))
    const refusal = await refusalOf(exchangeOf(w, grant))
    expect([refusal.code, refusal.facts]).toEqual(['frozen', { freeze: id, members: ['target'], lifted: false }])
    expect(refusal.message).toContain(id)
    expect(JSON.stringify([refusal.message, refusal.nextAction, refusal.facts])).not.toContain('INC-1')
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('nothing that matches is filed, not even tried; what does not match goes on', async () => {
    const w = await world()
    await freezeBy(w)
    expect(await codeOf(w.file(w.as('vera'), login(w.now())))).toBe('frozen')
    expect(await codeOf(w.broker.explain(w.as('vera'), login(w.now())))).toBe('frozen')
    expect((await w.store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toEqual([])
    expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe('ok')
    expect(await codeOf(w.broker.explain(agent(w), triage(w.now())))).toBe('ok')
  })

  it('one frozen part of an asking refuses it whole', async () => {
    const w = await world()
    const report = { entitlement: named.entitlement('sales-report'), actions: ['report.read'], task: 'task-1' }
    const both = (more: object) => ({ ...asking(w.now(), report), more: [{ ...asking(w.now(), report), ...more }] })
    await freezeBy(w, { task: 'task-1', entitlement: named.entitlement('sales-report') })
    expect(await codeOf(w.file(w.as('dana', { key: KEY }), both({})))).toBe('frozen')
    expect((await w.store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toEqual([])
  })

  it('nothing that matches is approved; denying stays possible', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    await freezeBy(w)
    expect(await codeOf(w.broker.decide(w.as('olivia'), grant.id, approve))).toBe('frozen')
    // Who may not vote learns nothing of it.
    expect(await codeOf(w.broker.decide(w.as('vera'), grant.id, approve))).toBe('own_request')
    expect((await w.broker.decide(w.as('olivia'), grant.id, deny)).head.status).toBe('denied')
  })

  it('ending goes on', async () => {
    const w = await world()
    const [first, second] = [await w.approvedLogin(), await w.approvedLogin()]
    await exchangeOf(w, first)
    await exchangeOf(w, second)
    await freezeBy(w)
    expect((await w.broker.complete(w.as('vera'), first.id, {})).head.status).toBe('ended')
    expect((await w.broker.revoke(w.as('sol'), second.id, 'alarm')).head.status).toBe('ended')
  })

  it('a token is not given again, a further login is not made, and a lost one is not replaced', async () => {
    const w = await world()
    const token = await w.approvedToken()
    const first = await w.broker.exchange(agent(w), token.id, attempt('attempt-1'))
    const several = await w.approvedLogin(3)
    await w.broker.exchange(w.as('vera'), several.id, attempt('attempt-2'))
    await freezeBy(w, { tenant: named.tenant('northwind') })
    expect(first.credential.kind).toBe('jwt')
    expect(await codeOf(w.broker.exchange(agent(w), token.id, attempt('attempt-1')))).toBe('frozen')
    expect(await codeOf(exchangeOf(w, several))).toBe('frozen')
    expect(await codeOf(w.broker.exchange(w.as('vera'), several.id, attempt('attempt-2')))).toBe('frozen')
    expect(w.backend.liveSecrets()).toHaveLength(1)
  })

  it.each<[string, Selector, ErrorCode | 'ok']>([
    ['the requester', { person: named.person('vera') }, 'ok'],
    ['who answers for the agent', { person: named.person('sam') }, 'frozen'],
    ['its sponsor', { sponsor: named.person('sam') }, 'frozen'],
    ['the agent', { agent: named.principal('triage-agent') }, 'frozen'],
    ['an agent that is none', { workload: named.principal('triage-agent') }, 'ok'],
    ['its key', { key: KEY }, 'frozen'],
    ['its session', { session: 'session-7' }, 'frozen'],
    ['its task', { task: 'task-1' }, 'frozen'],
    ['its task elsewhere', { task: 'task-1', target: 'payments-db' }, 'ok'],
  ])('by %s an agent’s grant is: %s', async (_, selector, expected) => {
    const w = await world()
    const caller = w.as('triage-agent', { key: KEY, session: 'session-7' })
    const grant = await w.file(caller, { ...triage(w.now()), task: 'task-1' })
    await w.broker.decide(w.as('lena'), grant.id, approve)
    await freezeBy(w, selector)
    expect(await codeOf(w.broker.exchange(caller, grant.id))).toBe(expected)
  })

  it.each<[string, Selector]>([
    ['person', { person: named.person('sam') }],
    ['sponsor', { sponsor: named.person('sam') }],
  ])(
    'what was asked while a frozen %s answered for it stays dead when somebody else answers for it',
    async (_, who) => {
      const w = await world()
      const grant = await w.approvedToken()
      await freezeBy(w, who)
      const moved = [
        ['revision: 1', 'revision: 2'],
        ['sponsors: [sam]\n    accounts:\n      - { issuer: login, subject: triage-agent }', MOVED],
      ] as const
      await w.publish({ directory: await directoryWith(moved) })
      expect(await codeOf(w.broker.exchange(agent(w), grant.id))).toBe('frozen')
      // What is asked from now on is the new one's.
      expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe('ok')
    },
  )

  it('a key that is only shown counts too', async () => {
    const w = await world()
    const report = asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'] })
    const dana = w.as('dana', { key: KEY })
    await freezeBy(w, { key: KEY })
    expect(await codeOf(w.file(dana, report))).toBe('frozen')
    const grant = await w.file(w.as('dana'), report)
    expect(await codeOf(w.broker.exchange(dana, grant.id))).toBe('frozen')
  })
})

describe('between judging and committing', () => {
  /** A broker before whose commit number `which` with a guard somebody freezes. */
  const frozenBefore = (w: World, which: number, selector: Selector = DB) => {
    let guarded = 0
    return w.another({
      grants: {
        ...w.store,
        commit: async (step, guard) => {
          if (guard !== undefined && ++guarded === which) await freezeBy(w, selector)
          return w.store.commit(step, guard)
        },
      },
    })
  }

  it('a filing is judged again, and refused', async () => {
    const w = await world()
    expect(await codeOf(frozenBefore(w, 1).request(w.as('vera'), login(w.now())))).toBe('frozen')
    expect((await w.store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toEqual([])
  })

  it('an approval is judged again, and refused', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    expect(await codeOf(frozenBefore(w, 1).decide(w.as('olivia'), grant.id, approve))).toBe('frozen')
    expect((await w.store.loadToEnd(grant.id))?.head.status).toBe('pending')
  })

  it('an automatic approval is not given; what was filed lapses', async () => {
    const w = await world()
    const read = { entitlement: named.entitlement('sales-report'), actions: ['report.read'], task: 'task-1' }
    const report = asking(w.now(), read)
    const verbs = frozenBefore(w, 2, { task: 'task-1' })
    expect(await codeOf(verbs.request(w.as('dana', { key: KEY }), report))).toBe('frozen')
    await w.settle()
    const { grants } = await w.store.list({ of: ALL, limit: 10, cursor: undefined })
    expect(grants.map(({ head }) => head.status)).toEqual(['lapsed'])
  })

  it('a token is not handed out', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const verbs = frozenBefore(w, 1, { agent: named.principal('triage-agent') })
    expect(await codeOf(verbs.exchange(agent(w), grant.id))).toBe('frozen')
    expect((await w.store.loadToEnd(grant.id))?.head).toMatchObject({ status: 'approved', mints: [] })
  })

  it('a login is not begun', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    expect(await codeOf(frozenBefore(w, 1).exchange(w.as('vera'), grant.id))).toBe('frozen')
    expect((await w.store.loadToEnd(grant.id))?.head).toMatchObject({ status: 'approved', mints: [] })
  })

  it('a login that has been made is closed again at its last commit, and nothing leaves', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    // The claim is the first commit with a guard, the one that lets the login out the second.
    expect(await codeOf(frozenBefore(w, 2).exchange(w.as('vera'), grant.id))).toBe('frozen')
    await w.settle()
    expect(w.backend.liveSecrets()).toEqual([])
    expect((await w.store.loadToEnd(grant.id))?.head.status).toBe('ended')
  })

  it('a freeze of something else costs another try and nothing more', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    for (const which of [1, 2]) {
      const again = which === 1 ? grant : await w.approvedLogin()
      expect(await codeOf(frozenBefore(w, which, { target: 'other' }).exchange(w.as('vera'), again.id))).toBe('ok')
    }
  })
})

describe('every broker', () => {
  it('sees a freeze with its next read, and reads the freezes once per epoch', async () => {
    const w = await world()
    let reads = 0
    const other = w.failing((calls) => ({
      freezes: (...args) => {
        reads += 1
        return calls.freezes(...args)
      },
    }))
    const verbs = w.another({ grants: other, freezes: other.freezes, control: () => other.control(HOME) })
    const grants = [await w.approvedLogin(), await w.approvedLogin(), await w.approvedLogin()]
    const [one, two, three] = grants
    if (one === undefined || two === undefined || three === undefined) throw new Error('no grants')
    expect(await codeOf(verbs.exchange(w.as('vera'), one.id))).toBe('ok')
    expect(reads).toBe(1)
    await freezeBy(w)
    for (const grant of [two, three, two]) expect(await codeOf(verbs.exchange(w.as('vera'), grant.id))).toBe('frozen')
    expect(reads).toBe(2)
  })

  it('denies where it cannot read the freezes, and goes on ending', async () => {
    const w = await world()
    const [active, approved] = [await w.approvedLogin(), await w.approvedLogin()]
    const pending = await w.file(w.as('vera'), login(w.now()))
    await exchangeOf(w, active)
    const blind = w.failing(() => ({ freezes: () => Promise.reject(new BrokerError('store_unavailable', 'no')) }))
    const verbs = w.another({ freezes: blind.freezes })
    expect(await codeOf(verbs.exchange(w.as('vera'), approved.id))).toBe('store_unavailable')
    expect(await codeOf(verbs.decide(w.as('olivia'), pending.id, approve))).toBe('store_unavailable')
    expect(await codeOf(verbs.request(w.as('vera'), login(w.now())))).toBe('store_unavailable')
    expect((await verbs.revoke(w.as('sol'), active.id, 'alarm')).head.status).toBe('ended')
    // Who cannot read them can still make one.
    expect(await codeOf(verbs.freeze(w.as('sol'), DB, 'alarm'))).toBe('ok')
    expect(await codeOf(exchangeOf(w, approved))).toBe('frozen')
  })
})

describe('lifting', () => {
  it('revives nothing, and lets what is asked from then on through', async () => {
    const w = await world()
    const [approved, pending] = [await w.approvedLogin(), await w.file(w.as('vera'), login(w.now()))]
    const { id } = await freezeBy(w)
    const lifted = await w.broker.liftFreeze(w.as('sol'), id, 'over')
    expect(lifted.lifted).toMatchObject({ by: 'sol', reason: 'over' })
    const refusal = await refusalOf(exchangeOf(w, approved))
    expect([refusal.code, refusal.facts]).toEqual(['frozen', { freeze: id, members: ['target'], lifted: true }])
    expect(await codeOf(w.broker.decide(w.as('olivia'), pending.id, approve))).toBe('frozen')
    const fresh = await w.approvedLogin()
    expect(await codeOf(exchangeOf(w, fresh))).toBe('ok')
    w.advance(minutes(5))
    expect(await codeOf(exchangeOf(w, approved))).toBe('frozen')
  })

  it('leaves another freeze in force', async () => {
    const w = await world()
    const first = await freezeBy(w)
    await w.broker.freeze(w.as('sol'), DB, 'INC-2')
    await w.broker.liftFreeze(w.as('sol'), first.id, 'over')
    expect(await codeOf(w.file(w.as('vera'), login(w.now())))).toBe('frozen')
  })

  it('is harmless to repeat, and finds nothing where there is no such freeze', async () => {
    const w = await world()
    const { id } = await freezeBy(w)
    const lifted = await w.broker.liftFreeze(w.as('sol'), id, 'over')
    expect(await w.broker.liftFreeze(w.as('sol'), id, 'over and out')).toEqual(lifted)
    expect(await codeOf(w.broker.liftFreeze(w.as('sol'), w.ports.newFreezeId(), 'over'))).toBe('freeze_not_found')
  })

  it('is judged under the rules in force, while freezing is judged under those that this broker has', async () => {
    const w = await world()
    const { id } = await freezeBy(w)
    const outdated = w.another({
      rules: () => {
        throw new BrokerError('policy_outdated', 'A newer policy is in force.')
      },
    })
    expect(await codeOf(outdated.liftFreeze(w.as('sol'), id, 'over'))).toBe('policy_outdated')
    expect(await codeOf(outdated.freeze(w.as('sol'), { target: 'other' }, 'alarm'))).toBe('ok')
    expect(await outdated.freezes(w.as('sol'))).toHaveLength(2)
  })

  it('is judged again where the rules moved meanwhile', async () => {
    const w = await world()
    const { id } = await freezeBy(w)
    const without: Ports['freezes'] = {
      ...w.store.freezes,
      lift: async (freeze, judgedUnder) => {
        const { policy, directory } = w.book.current()
        if (policy.revision === 1)
          await w.publish({
            directory,
            policy: {
              ...policy,
              revision: 2,
              judge: (question) =>
                question.action === 'Freeze' ? { allowed: false, because: [] } : policy.judge(question),
            },
          })
        return w.store.freezes.lift(freeze, judgedUnder)
      },
    }
    expect(await codeOf(w.another({ freezes: without }).liftFreeze(w.as('sol'), id, 'over'))).toBe('not_permitted')
    expect(await codeOf(w.file(w.as('vera'), login(w.now())))).toBe('frozen')
  })
})

describe('making a freeze', () => {
  it('is for whom the guards let, under the tenant that the directory gives them', async () => {
    const w = await world()
    for (const who of ['vera', 'olivia', 'audra', 'oscar', 'triage-agent', 'webshop-deploy'])
      expect([who, await codeOf(freezeBy(w, DB, who))]).toEqual([who, 'not_permitted'])
    const made = await freezeBy(w)
    expect(made).toMatchObject({ tenant: 'northwind', by: 'sol', selector: DB, lifted: undefined })
    expect(await w.broker.freezes(w.as('sol'))).toEqual([made])
    expect(await w.broker.freezes(w.as('audra'))).toEqual([made])
    for (const who of ['vera', 'olivia', 'oscar', 'triage-agent'])
      expect([who, await codeOf(w.broker.freezes(w.as(who)))]).toEqual([who, 'not_permitted'])
  })

  it('of nothing is refused', async () => {
    const w = await world()
    expect(await codeOf(freezeBy(w, {}))).toBe('invalid_request')
    expect(await w.broker.freezes(w.as('sol'))).toEqual([])
  })

  it('again in the same words is the same freeze; for another reason it is another', async () => {
    const w = await world()
    const first = await freezeBy(w)
    expect(await freezeBy(w)).toEqual(first)
    const second = await w.broker.freeze(w.as('sol'), DB, 'INC-2')
    expect(second.id).not.toBe(first.id)
    await w.broker.liftFreeze(w.as('sol'), first.id, 'over')
    expect((await freezeBy(w)).id).not.toBe(first.id)
    expect(await w.broker.freezes(w.as('sol'))).toHaveLength(3)
  })

  it('goes on while the store is recovering, and the freeze holds once an operator has accepted it', async () => {
    const w = await world()
    const back = w.snapshot()
    const grant = await w.approvedLogin()
    back()
    expect(await codeOf(exchangeOf(w, grant))).toBe('recovering')
    const { id } = await freezeBy(w)
    expect(await codeOf(w.broker.liftFreeze(w.as('sol'), id, 'over'))).toBe('recovering')
    expect(await w.broker.freezes(w.as('sol'))).toHaveLength(1)
    await w.store.accept(HOME, publishedOf(w.book.current()))
    expect(await codeOf(w.file(w.as('vera'), login(w.now())))).toBe('frozen')
  })

  it('and lifting one are heard by the witness, and are not hindered where it cannot be written', async () => {
    const w = await world()
    const made = await freezeBy(w)
    const lifted = await w.broker.liftFreeze(w.as('sol'), made.id, 'over')
    const heard = w.seal.sealed.map(({ eventHash }) => eventHash)
    expect(heard).toContain(sha256(printFreezeEvent('frozen', made)))
    expect(heard).toContain(sha256(printFreezeEvent('freeze_lifted', lifted)))
    w.seal.setWritable(false)
    expect(await codeOf(freezeBy(w))).toBe('ok')
  })
})

describe('two tenants', () => {
  const two = async () => {
    const w = await world()
    const { policy, directory } = twoTenants()
    await w.publish({ policy, directory })
    return w
  }
  const repair = (w: World, tenant: string) =>
    asking(w.now(), { entitlement: named.entitlement(`${tenant}-repair`), actions: ['repair'], task: 'task-1' })

  it('cannot freeze each other, whatever they name, and do not see each other’s freezes', async () => {
    const w = await two()
    const named_: readonly Selector[] = [
      { tenant: named.tenant('north') },
      { person: named.person('north-requester') },
      { entitlement: named.entitlement('north-repair') },
      { task: 'task-1' },
    ]
    for (const selector of named_) await w.broker.freeze(w.as('south-soc'), selector, 'mine')
    expect(await codeOf(w.file(w.as('north-requester'), repair(w, 'north')))).toBe('ok')
    expect(await codeOf(w.file(w.as('south-requester'), repair(w, 'south')))).toBe('frozen')
    expect(await w.broker.freezes(w.as('south-soc'))).toHaveLength(named_.length)
    expect(await w.broker.freezes(w.as('north-soc'))).toEqual([])
    for (const { id } of await w.broker.freezes(w.as('south-soc')))
      expect(await codeOf(w.broker.liftFreeze(w.as('north-soc'), id, 'no'))).toBe('freeze_not_found')
  })

  it('each freezes what its own people ask of the other', async () => {
    for (const tenant of TENANTS) {
      const w = await two()
      const { policy, directory } = w.book.current()
      const open = (id: Parameters<typeof policy.entitlement>[0]) => {
        const found = policy.entitlement(id)
        return found && { ...found, openTo: TENANTS.map(named.tenant) }
      }
      const judge: typeof policy.judge = (question) =>
        question.action === 'Request' || question.action === 'Exchange'
          ? { allowed: true, because: ['all'] }
          : policy.judge(question)
      await w.publish({ directory, policy: { ...policy, revision: policy.revision + 1, entitlement: open, judge } })
      await w.broker.freeze(w.as(`${tenant}-soc`), { person: named.person('north-requester') }, 'mine')
      // South's target, asked for by north's requester, is both tenants' to freeze.
      expect(await codeOf(w.file(w.as('north-requester'), repair(w, 'south')))).toBe('frozen')
    }
  })
})
