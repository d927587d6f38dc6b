// What a containment promises, one guarantee a test, on memory ports: what is dead from its commit on, what the clean-up behind it ends and how
// it says so, whoever dies in between, and that lifting its freeze revives nothing.
import { describe, expect, it } from 'vitest'
import { cleanUp, cleanUpMemory } from '../../src/broker/contain.ts'
import type { Ports } from '../../src/broker/ports.ts'
import { BrokerError, type ErrorCode } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, minutes, seconds } from '../../src/domain/instant.ts'
import type { Selector } from '../../src/domain/selector.ts'
import { dyingPorts } from '../support/crash.ts'
import { directoryWith } from '../support/directory.ts'
import { attempt, HOME, KEY, login, policyWith, triage, type World, world } from '../support/world.ts'

const codeOf = async (work: Promise<unknown>): Promise<ErrorCode | 'ok' | 'bug'> =>
  work.then(
    () => 'ok' as const,
    (thrown: unknown) => (thrown instanceof BrokerError ? thrown.code : 'bug'),
  )
const AGENT: Selector = { agent: named.principal('triage-agent') }
const DB: Selector = { target: 'payments-db' }
const agent = (w: World) => w.as('triage-agent', { key: KEY })
const contain = (w: World, selector: Selector, freezes = true, reason = 'INC-1') =>
  w.broker.contain(w.as('sol'), selector, reason, { freezes })

/** A token in the agent's hands. */
async function token(w: World): Promise<{ grant: Grant; isActive: () => Promise<boolean> }> {
  const { id } = await w.approvedToken()
  const { grant } = await w.broker.exchange(agent(w), id)
  const [mint] = grant.head.mints
  if (mint?.status !== 'live' || mint.kind !== 'jwt') throw new Error('a token is live')
  const { jti } = mint
  const isActive = async () => (await w.broker.introspect({ grant: id, jti, audience: grant.ask.audience })).active
  return { grant, isActive }
}
async function loginOf(w: World): Promise<Grant> {
  const { id } = await w.approvedLogin()
  return (await w.broker.exchange(w.as('vera'), id)).grant
}
const statusOf = async (w: World, { id }: Pick<Grant, 'id'>): Promise<string> =>
  (await w.store.loadToEnd(id))?.head.status ?? 'gone'

/** The clean-up as a broker runs it, the sweep beside it, until nothing is open; the time goes on meanwhile. */
async function cleaned(w: World, ports: Ports = w.ports): Promise<void> {
  const clean = cleanUp(ports)
  for (let n = 0; n < 40; n += 1) {
    const { open } = await clean()
    if (open.length === 0) return
    await w.settle(seconds(5))
  }
  throw new Error('it is not done')
}

/** The live set with one grant in a page, by id. */
const onePerPage =
  (w: World): Ports['grants']['live'] =>
  async (of) => {
    const { grants } = await (await w.store.live({ ...of, cursor: undefined })).found
    const later = grants.filter(({ grant }) => of.cursor === undefined || grant.id > of.cursor)
    const [first] = later.toSorted((a, b) => (a.grant.id < b.grant.id ? -1 : 1))
    const found = Promise.resolve({ grants: first ? [first] : [], unread: 0 })
    return { found, cursor: later.length > 1 ? first?.grant.id : undefined }
  }

describe('from the answer to a containment on', () => {
  it('no token of what matches holds at introspection, though nothing has been walked', async () => {
    const w = await world()
    const { grant, isActive } = await token(w)
    expect(await isActive()).toBe(true)
    await contain(w, AGENT)
    expect(await isActive()).toBe(false)
    expect(await statusOf(w, grant)).toBe('active')
  })

  it('nothing of it is asked, approved or exchanged', async () => {
    const w = await world()
    const approved = await w.approvedToken()
    const pending = await w.file(agent(w), triage(w.now()))
    await contain(w, AGENT)
    expect(await codeOf(w.broker.exchange(agent(w), approved.id))).toBe('frozen')
    const yes = { verdict: 'approve', reason: 'fine', digest: undefined } as const
    expect(await codeOf(w.broker.decide(w.as('lena'), pending.id, yes))).toBe('frozen')
    expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe('frozen')
  })

  it('what was judged before it is not committed after it', async () => {
    const w = await world()
    const { id } = await w.approvedToken()
    let contained = false
    const grants: Ports['grants'] = {
      ...w.store,
      commit: async (step, guard) => {
        if (!contained && guard !== undefined) {
          contained = true
          await contain(w, AGENT)
        }
        return w.store.commit(step, guard)
      },
    }
    expect(await codeOf(w.another({ grants }).exchange(agent(w), id))).toBe('frozen')
    expect(await statusOf(w, { id })).toBe('approved')
  })

  it('what does not match goes on', async () => {
    const w = await world()
    const { isActive } = await token(w)
    await contain(w, DB)
    await cleaned(w)
    expect(await isActive()).toBe(true)
    expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe('ok')
  })

  it('a freeze alone leaves live tokens as they are', async () => {
    const w = await world()
    const { isActive } = await token(w)
    await w.broker.freeze(w.as('sol'), AGENT, 'INC-1')
    await cleaned(w)
    expect(await isActive()).toBe(true)
  })

  it('another tenant’s containment ends nothing here', async () => {
    const w = await world()
    const { isActive } = await token(w)
    const { tenant } = w.as('vera').principal
    expect(tenant).not.toBe(w.as('sol').principal.tenant)
    const made = await w.ports.freezes.put({
      v: 2,
      id: w.ports.newFreezeId(),
      tenant: named.tenant('elsewhere'),
      selector: AGENT,
      reason: '',
      by: named.principal('mallory'),
      at: w.now(),
      contains: true,
      everything: false,
      answered: {},
      lifted: undefined,
    })
    expect(made).toHaveLength(1)
    await cleaned(w)
    expect(await isActive()).toBe(true)
  })
})

describe('the clean-up behind a containment', () => {
  it('denies what is pending, ends what is approved or active, and confirms each at its backend', async () => {
    const w = await world()
    const pending = await w.file(w.as('vera'), login(w.now()))
    const approved = await w.approvedLogin()
    const active = await loginOf(w)
    const { freeze } = await contain(w, DB)
    await cleaned(w)
    expect(await Promise.all([pending, approved, active].map((grant) => statusOf(w, grant)))).toEqual([
      'denied',
      'ended',
      'ended',
    ])
    expect(w.backend.liveSecrets()).toEqual([])
    const { progress, done, leftMs } = await w.broker.containment(w.as('sol'), freeze.id)
    expect(done).toBe(true)
    expect(leftMs).toBe(0)
    expect(progress.counts).toEqual({ ending: 0, stuck: 0, stopped: 1, ended: 2 })
    const { grants } = await w.broker.contained(w.as('sol'), freeze.id, { stage: undefined, cursor: undefined })
    expect(new Map(grants.map(({ id, stage }) => [id, stage]))).toEqual(
      new Map([
        [pending.id, 'stopped'],
        [approved.id, 'ended'],
        [active.id, 'ended'],
      ]),
    )
    const ended = grants.find(({ id }) => id === active.id)?.grant?.head
    expect(ended?.status === 'ended' && [ended.facts.cause.outcome, ended.facts.confirmation.asked]).toEqual([
      'revoked',
      'backend',
    ])
    expect(ended?.status === 'ended' && ended.facts.cause.reason).toContain(freeze.id)
  })

  it('says until when an offline verifier may still take what was handed out', async () => {
    const w = await world()
    const { grant } = await token(w)
    const { freeze } = await contain(w, AGENT)
    await cleaned(w)
    const { progress } = await w.broker.containment(w.as('sol'), freeze.id)
    const head = (await w.store.loadToEnd(grant.id))?.head
    expect(head?.status === 'ended' && head.facts.residueUntil).toBe(progress.residueUntil)
    expect(progress.residueUntil).toBeGreaterThan(freeze.at)
  })

  it('is not done while a backend does not confirm, says what is stuck, and is done when it does', async () => {
    const w = await world()
    const grant = await loginOf(w)
    const other = await token(w)
    w.backend.down()
    const { freeze } = await contain(w, { tenant: named.tenant('northwind') })
    const clean = cleanUp(w.ports)
    for (let n = 0; n < 60; n += 1) {
      await clean()
      await w.settle(seconds(10))
    }
    await clean()
    const stuck = await w.broker.containment(w.as('sol'), freeze.id)
    expect([stuck.done, stuck.progress.counts]).toEqual([false, { ending: 0, stuck: 1, stopped: 0, ended: 1 }])
    expect(await statusOf(w, grant)).toBe('stuck')
    expect(await other.isActive()).toBe(false)
    w.backend.up()
    await cleaned(w)
    expect((await w.broker.containment(w.as('sol'), freeze.id)).progress.counts.ended).toBe(2)
  })

  it.each(['before', 'after'] as const)(
    'whose walker dies %s any effect is finished by the next one, and each grant is counted once',
    async (when) => {
      for (let n = 1; ; n += 1) {
        const w = await world()
        const grants = [await loginOf(w), (await token(w)).grant, await w.approvedLogin()]
        const { freeze } = await contain(w, { tenant: named.tenant('northwind') })
        const dying = dyingPorts(w.ports, n, when)
        await cleanUp(dying.ports)().catch(() => undefined)
        w.advance(seconds(2))
        await cleaned(w)
        expect(await Promise.all(grants.map((grant) => statusOf(w, grant)))).toEqual(['ended', 'ended', 'ended'])
        expect(w.backend.liveSecrets()).toEqual([])
        const { progress } = await w.broker.containment(w.as('sol'), freeze.id)
        expect([n, progress.counts]).toEqual([n, { ending: 0, stuck: 0, stopped: 0, ended: 3 }])
        if (!dying.hasDied()) {
          expect(n).toBeGreaterThan(15)
          return
        }
      }
    },
  )

  it('done by two at once, and twice over, ends the same', async () => {
    const w = await world()
    const grants = [await loginOf(w), await loginOf(w), (await token(w)).grant]
    const [first, second] = await Promise.all([
      contain(w, { tenant: named.tenant('northwind') }),
      contain(w, { environment: 'production' }, true, 'INC-2'),
    ])
    const memory = cleanUpMemory()
    for (let n = 0; n < 10; n += 1) {
      await Promise.all([cleanUp(w.ports, memory)(), cleanUp(w.ports)(), cleanUp(w.ports)()])
      await w.settle(seconds(5))
    }
    expect(await Promise.all(grants.map((grant) => statusOf(w, grant)))).toEqual(['ended', 'ended', 'ended'])
    for (const { freeze } of [first, second])
      expect((await w.broker.containment(w.as('sol'), freeze.id)).done).toBe(true)
  })

  it('counts with the older of two what both match', async () => {
    const w = await world()
    await loginOf(w)
    for (let n = 0; n < 4; n += 1) await token(w)
    const older = await contain(w, { tenant: named.tenant('northwind') })
    const newer = await contain(w, { environment: 'production' }, true, 'INC-2')
    await cleaned(w)
    const ended = async (id: typeof older.freeze.id) =>
      (await w.broker.containment(w.as('sol'), id)).progress.counts.ended
    expect(await ended(older.freeze.id)).toBe(5)
    expect(await ended(newer.freeze.id)).toBeLessThanOrEqual(1)
  })

  it('leaves room for other work after so many pages, and goes on at once when its turn comes again', async () => {
    const w = await world()
    const all: Grant[] = []
    for (let n = 0; n < 30; n += 1) all.push((await token(w)).grant)
    await contain(w, AGENT)
    const clean = cleanUp({ ...w.ports, grants: { ...w.store, live: onePerPage(w) } })
    const ended = async () => (await Promise.all(all.map((grant) => statusOf(w, grant)))).filter((s) => s === 'ended')
    expect(await clean()).toMatchObject({ more: true })
    expect((await ended()).length).toBe(25)
    expect(await clean()).toEqual({ more: false, open: [] })
    expect((await ended()).length).toBe(30)
  })

  it('goes through what lives in pages of the size that it is told, so that whoever asks meanwhile waits behind few', async () => {
    const w = await world()
    await token(w)
    const sizes: number[] = []
    const live: Ports['grants']['live'] = async (of) => {
      sizes.push(of.about)
      return w.store.live(of)
    }
    await contain(w, AGENT)
    expect(await cleanUp({ ...w.ports, grants: { ...w.store, live } })(7)).toEqual({ more: false, open: [] })
    expect(new Set(sizes)).toEqual(new Set([7]))
  })

  it('goes through a page again that could not be ended, though the one after it was, and counts each grant once', async () => {
    const w = await world()
    const all: Grant[] = []
    for (let n = 0; n < 6; n += 1) all.push((await token(w)).grant)
    const [first] = all.map(({ id }) => id).toSorted()
    if (first === undefined) throw new Error('there are six')
    let failed = 0
    const next = Promise.withResolvers<void>()
    const commitEach: Ports['grants']['commitEach'] = async (steps, contains) => {
      if (failed > 0 && steps[0]?.grant.id !== first) next.resolve()
      if (failed > 0 || steps[0]?.grant.id !== first) return w.store.commitEach(steps, contains)
      failed += 1
      // The page after it is ended while this one is still under way.
      await next.promise
      throw new BrokerError('store_unavailable', 'The store did not answer.')
    }
    const { freeze } = await contain(w, AGENT)
    const clean = cleanUp({ ...w.ports, grants: { ...w.store, live: onePerPage(w), commitEach } })
    expect(await codeOf(clean())).toBe('store_unavailable')
    expect(failed).toBe(1)
    expect(await statusOf(w, { id: first })).toBe('active')
    w.advance(seconds(2))
    await cleaned(w)
    expect(await Promise.all(all.map((grant) => statusOf(w, grant)))).toEqual(all.map(() => 'ended'))
    const { progress } = await w.broker.containment(w.as('sol'), freeze.id)
    expect(progress.counts).toEqual({ ending: 0, stuck: 0, stopped: 0, ended: 6 })
  })

  it('goes on while the store is recovering', async () => {
    const w = await world()
    const { grant } = await token(w)
    const back = w.snapshot()
    await w.approvedToken()
    back()
    expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe('recovering')
    await contain(w, AGENT)
    await cleaned(w)
    expect(await statusOf(w, grant)).toBe('ended')
  })

  it('goes after what was kept back of the agent when somebody else answers for it since', async () => {
    const w = await world()
    const { grant } = await token(w)
    const sponsor = named.person('sam')
    await contain(w, { sponsor })
    const accounts = '\n    accounts:\n      - { issuer: login, subject: triage-agent }'
    const directory = await directoryWith([
      ['revision: 1', 'revision: 2'],
      [`sponsors: [sam]${accounts}`, `sponsors: [dana]${accounts}`],
    ])
    await w.publish({ directory })
    await cleaned(w)
    expect(await statusOf(w, grant)).toBe('ended')
  })
})

describe('lifting the freeze of a containment', () => {
  it('revives nothing, and lets what is asked from then on through', async () => {
    const w = await world()
    const { isActive } = await token(w)
    const approved = await w.approvedToken()
    const { freeze } = await contain(w, AGENT)
    await w.broker.liftFreeze(w.as('sol'), freeze.id, 'over')
    expect(await isActive()).toBe(false)
    expect(await codeOf(w.broker.exchange(agent(w), approved.id))).toBe('frozen')
    const fresh = await token(w)
    await cleaned(w)
    expect(await isActive()).toBe(false)
    expect(await fresh.isActive()).toBe(true)
  })

  it('that never froze stops nothing new', async () => {
    const w = await world()
    const before = await token(w)
    await contain(w, AGENT, false)
    const since = await token(w)
    await cleaned(w)
    expect([await before.isActive(), await since.isActive()]).toEqual([false, true])
  })
})

describe('what it names', () => {
  it('by who approved: what they said yes to, and nothing else', async () => {
    const w = await world()
    const theirs = await token(w)
    const other = await loginOf(w)
    await contain(w, { approver: named.person('lena') })
    await cleaned(w)
    expect(await theirs.isActive()).toBe(false)
    expect(await statusOf(w, other)).toBe('active')
  })

  it('by policy: what was filed or decided under it', async () => {
    const w = await world()
    const theirs = await token(w)
    await contain(w, { policyDigest: w.book.current().policy.digest })
    expect(await theirs.isActive()).toBe(false)
    expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe('frozen')
  })

  it('by time: what was issued before it; what was only approved, and what is issued since, goes on', async () => {
    const w = await world()
    const before = await token(w)
    const approved = await w.approvedToken()
    w.advance(seconds(30))
    const issuedBefore = w.now()
    const since = await token(w)
    w.advance(seconds(1))
    await contain(w, { issuedBefore })
    await cleaned(w)
    expect([await before.isActive(), await since.isActive()]).toEqual([false, true])
    expect(await codeOf(w.broker.exchange(agent(w), approved.id, attempt('attempt-later')))).toBe('ok')
    expect(await codeOf(contain(w, { issuedBefore: after(w.now(), minutes(1)) }))).toBe('invalid_request')
  })
})

describe('a dry run', () => {
  it('counts by kind and status what would end, says the residue, and does nothing', async () => {
    const w = await world()
    const live = await token(w)
    const grants = [await loginOf(w), await loginOf(w), await w.file(w.as('vera'), login(w.now()))]
    const counted = await w.broker.countContained(w.as('sol'), { tenant: named.tenant('northwind') })
    expect(counted).toEqual({
      total: 4,
      kinds: [
        { kind: 'jwt', status: 'active', count: 1 },
        { kind: 'vault', status: 'active', count: 2 },
        { kind: 'vault', status: 'pending', count: 1 },
      ],
      residueUntil: counted.residueUntil,
      complete: true,
    })
    expect(counted.residueUntil).toBeGreaterThan(w.now())
    expect((await w.broker.countContained(w.as('sol'), DB)).total).toBe(3)
    expect(await live.isActive()).toBe(true)
    expect(await w.broker.freezes(w.as('sol'))).toEqual([])
    expect(await Promise.all(grants.map((grant) => statusOf(w, grant)))).toEqual(['active', 'active', 'pending'])
  })
})

/** The payments database at tier high, which asks for a second person and a group that is not too large. */
const HIGH = [
  ['    tier: elevated\n    target: { id: payments-db', '    tier: high\n    target: { id: payments-db'],
  [
    '      owner: olivia\n    limits: { maxDuration: 4h, horizon: 14d, maxUses: 1 }',
    `      owner: olivia
      reviewers: [{ role: security, group: security, count: 1 }]
    limits: { maxDuration: 2h, horizon: 7d, maxUses: 1 }`,
  ],
] as const

describe('who', () => {
  it('may contain and look is the guards’ to say, and another tenant’s is not there', async () => {
    const w = await world()
    const { freeze } = await contain(w, DB)
    for (const who of ['vera', 'olivia', 'dana']) {
      expect(await codeOf(w.broker.contain(w.as(who), DB, '', { freezes: true }))).toBe('not_permitted')
      expect(await codeOf(w.broker.countContained(w.as(who), DB))).toBe('not_permitted')
    }
    expect(await codeOf(w.broker.containment(w.as('vera'), freeze.id))).toBe('not_permitted')
    const plain = await w.broker.freeze(w.as('sol'), DB, 'only a freeze')
    expect(await codeOf(w.broker.containment(w.as('sol'), plain.id))).toBe('freeze_not_found')
    expect(await codeOf(w.broker.contained(w.as('sol'), plain.id, { stage: undefined, cursor: undefined }))).toBe(
      'freeze_not_found',
    )
    expect(HOME).toBe(0)
  })

  it('froze what is of tier high does not lift it; a colleague does; what names no place is lifted by who made it', async () => {
    const w = await world()
    await w.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ...HIGH) })
    await w.publish({
      directory: await directoryWith([
        ['revision: 1', 'revision: 2'],
        ['groups: [auditors]', 'groups: [auditors, soc]'],
      ]),
    })
    const { id } = await w.broker.freeze(w.as('sol'), DB, 'INC-1')
    expect(await codeOf(w.broker.liftFreeze(w.as('sol'), id, 'over'))).toBe('not_permitted')
    expect((await w.broker.freezes(w.as('sol')))[0]?.lifted).toBeUndefined()
    expect((await w.broker.liftFreeze(w.as('audra'), id, 'over')).lifted?.by).toBe('audra')
    const who = await w.broker.freeze(w.as('sol'), AGENT, 'INC-2')
    expect(await codeOf(w.broker.liftFreeze(w.as('sol'), who.id, 'over'))).toBe('ok')
  })
})
