// What misuse sets off, as the policy says; and how the one reader of ends serves all who listen, on memory ports.
import { describe, expect, it } from 'vitest'
import type { Ports, RevocationsRead } from '../../src/broker/ports.ts'
import { revocationVerbs } from '../../src/broker/revocations.ts'
import { BrokerError, type ErrorCode } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { milliseconds, seconds } from '../../src/domain/instant.ts'
import type { Use } from '../../src/domain/use.ts'
import { sampleUse } from '../contracts/revocation-store.ts'
import { KEY, policyWith, triage, type World, world } from '../support/world.ts'

const codeOf = async (work: Promise<unknown>): Promise<ErrorCode | 'ok' | 'bug'> =>
  work.then(
    () => 'ok' as const,
    (thrown: unknown) => (thrown instanceof BrokerError ? thrown.code : 'bug'),
  )
const LIMITS = '    limits: { maxDuration: 2h, maxUses: 5 }'
async function answering(contain?: string): Promise<World> {
  const w = await world()
  if (contain !== undefined)
    await w.publish({
      policy: {
        ...policyWith([LIMITS, `${LIMITS}\n    onMisuse: { contain: [${contain}] }`]),
        revision: w.book.current().policy.revision + 1,
      },
    })
  return w
}
const agent = (w: World, session = 'run-1') => w.as('triage-agent', { key: KEY, session })
async function token(w: World, session?: string) {
  const filed = await w.file(agent(w, session), triage(w.now()))
  await w.broker.decide(w.as('lena'), filed.id, { verdict: 'approve', reason: 'fine', digest: undefined })
  const { grant } = await w.broker.exchange(agent(w, session), filed.id)
  const [mint] = grant.head.mints
  if (mint?.status !== 'live' || mint.kind !== 'jwt') throw new Error('a token is live')
  const { jti } = mint
  return {
    grant,
    isActive: async () => (await w.broker.introspect({ grant: grant.id, jti, audience: grant.ask.audience })).active,
  }
}
const report = (w: World, { id }: Grant, part: Partial<Use>, server = 'desk-api') =>
  w.broker.reportUses(server, id, [sampleUse(w.now(), part)])
const STOLEN = { outcome: 'refused', reason: 'wrong_key' } as const
const statusOf = async (w: World, { id }: Grant) => (await w.store.loadToEnd(id))?.head.status

describe('misuse', () => {
  it('ends nothing where the policy says nothing of it', async () => {
    const w = await answering()
    const { grant, isActive } = await token(w)
    expect(await report(w, grant, STOLEN)).toMatchObject({ accepted: 1, misuse: ['wrong_key'] })
    expect([await isActive(), await w.store.freezes.list()]).toEqual([true, []])
  })

  it('ends the grant where the policy says so; a refusal that is none, and a use, do not', async () => {
    const w = await answering('grant')
    const { grant, isActive } = await token(w)
    await report(w, grant, { outcome: 'refused', reason: 'stale' })
    await report(w, grant, {})
    expect(await isActive()).toBe(true)
    await report(w, grant, STOLEN)
    expect([await isActive(), await statusOf(w, grant)]).toEqual([false, 'ended'])
    expect(await w.store.freezes.list()).toEqual([])
  })

  it.each(['session', 'executor', 'task'])(
    'contains the %s: what else is of it is dead at once, and gets nothing new',
    async (what) => {
      const w = await answering(what)
      const [one, other] = [await token(w), await token(w)]
      await report(w, one.grant, STOLEN)
      expect([await one.isActive(), await statusOf(w, one.grant)]).toEqual([false, 'ended'])
      const [freeze] = await w.store.freezes.list()
      expect(freeze).toMatchObject({ by: 'broker', contains: true, tenant: 'northwind', lifted: undefined })
      expect(Object.keys(freeze?.selector ?? {})).toEqual([what === 'executor' ? 'agent' : what])
      // Each asking of the tests is a task of its own.
      expect(await other.isActive()).toBe(what === 'task')
      expect(await codeOf(w.file(agent(w), triage(w.now())))).toBe(what === 'task' ? 'ok' : 'frozen')
    },
  )

  it('of a session leaves other sessions alone', async () => {
    const w = await answering('session')
    const [one, other] = [await token(w, 'run-1'), await token(w, 'run-2')]
    await report(w, one.grant, STOLEN)
    expect([await one.isActive(), await other.isActive()]).toEqual([false, true])
  })

  it('of a grant without a session ends that grant alone', async () => {
    const w = await answering('session')
    const one = await token(w, '')
    await report(w, one.grant, STOLEN)
    expect([await one.isActive(), await w.store.freezes.list()]).toEqual([false, []])
  })

  it('is answered once however often it is reported, and not again after the freeze was lifted', async () => {
    const w = await answering('executor')
    const { grant } = await token(w)
    const uses = [sampleUse(w.now(), STOLEN)]
    for (let n = 0; n < 3; n += 1) await w.broker.reportUses('desk-api', grant.id, uses)
    const [freeze, ...more] = await w.store.freezes.list()
    if (freeze === undefined) throw new Error('nothing was contained')
    expect(more).toEqual([])
    await w.broker.liftFreeze(w.as('sol'), freeze.id, 'looked into')
    expect(await w.broker.reportUses('desk-api', grant.id, uses)).toMatchObject({ accepted: 0, repeated: 1 })
    expect((await w.store.freezes.list()).filter(({ lifted }) => lifted === undefined)).toEqual([])
    await report(w, grant, STOLEN)
    expect((await w.store.freezes.list()).filter(({ lifted }) => lifted === undefined)).toHaveLength(1)
  })

  it('that could not be answered is answered with the next report of the same', async () => {
    const w = await answering('executor')
    const { grant, isActive } = await token(w)
    const put = async () => {
      throw new BrokerError('store_unavailable', 'Not now.')
    }
    const dying = w.another({ freezes: { ...w.store.freezes, put } })
    const uses = [sampleUse(w.now(), STOLEN)]
    expect(await codeOf(dying.reportUses('desk-api', grant.id, uses))).toBe('store_unavailable')
    expect(await isActive()).toBe(true)
    await w.broker.reportUses('desk-api', grant.id, uses)
    expect(await isActive()).toBe(false)
  })

  it('is nobody’s to report but the server’s of that audience, and of what is not there nobody’s', async () => {
    const w = await answering('grant')
    const { grant, isActive } = await token(w)
    expect(await codeOf(report(w, grant, STOLEN, 'webshop-api'))).toBe('grant_not_found')
    expect(await codeOf(report(w, grant, STOLEN, 'nobody'))).toBe('unauthenticated')
    expect(await isActive()).toBe(true)
  })
})

const SOON = { lookEveryMs: 5, look: 50, most: 20, keepMs: 60_000, linger: 5, patienceMs: 30 }
const gone = new AbortController().signal
/** The verbs over the store of this world, whose reads can be counted and made to fail. */
function listening(w: World, limits = SOON) {
  const state = { reads: 0, failure: undefined as BrokerError | undefined }
  const read = async (...args: Parameters<Ports['revocations']['read']>): Promise<RevocationsRead> => {
    state.reads += 1
    if (state.failure !== undefined) throw state.failure
    return w.store.revocations.read(...args)
  }
  const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref())
  const verbs = revocationVerbs({ ...w.ports, pause, revocations: { ...w.store.revocations, read } }, limits)
  return { ...verbs, state }
}
async function ended(w: World): Promise<Grant> {
  const { grant } = await token(w)
  await w.broker.complete(agent(w), grant.id, {})
  w.advance(milliseconds(2))
  return grant
}

describe('the one reader of ends', () => {
  it('tells a hundred who listen, each of their audiences alone, and reads the store once for all of them', async () => {
    const w = await world()
    const on = listening(w)
    const { position: after } = await on.revocations('desk-api', {}, { waitMs: 0, gone })
    const before = on.state.reads
    const desk = Array.from({ length: 100 }, () => on.revocations('desk-api', { after }, { waitMs: 2_000, gone }))
    const shop = on.revocations('webshop-api', { after }, { waitMs: 300, gone })
    const grant = await ended(w)
    for (const told of await Promise.all(desk)) expect(told.revocations.map((one) => one.grant)).toEqual([grant.id])
    expect(await shop).toMatchObject({ revocations: [], timedOut: true })
    expect(on.state.reads - before).toBeLessThan(150)
  })

  it.each([
    ['than so many', SOON],
    // So short that each is too old by the time the next has ended.
    ['than so long', { ...SOON, most: 20_000, keepMs: 1 }],
  ])('reads the store by position for who is further behind %s, and loses nothing', async (_, limits) => {
    const w = await world()
    const on = listening(w, limits)
    const start = await on.revocations('desk-api', {}, { waitMs: 0, gone })
    const grants: Grant[] = []
    for (let n = 0; n < 45; n += 1) {
      grants.push(await ended(w))
      if (n % 10 === 0) await on.revocations('desk-api', {}, { waitMs: 0, gone })
    }
    for (const from of [start.position, undefined]) {
      const found: string[] = []
      for (let after = from; ; ) {
        const since = w.now() - seconds(3_600)
        const told = await on.revocations('desk-api', after === undefined ? { since: since as never } : { after }, {
          waitMs: 0,
          gone,
        })
        found.push(...told.revocations.map((one) => one.grant))
        after = told.position
        if (told.timedOut) break
      }
      expect(found).toEqual(grants.map(({ id }) => id))
    }
  })

  it('says no word of all being well while the store cannot be read: who waits is told so', async () => {
    const w = await world()
    const on = listening(w)
    const { position: after } = await on.revocations('desk-api', {}, { waitMs: 0, gone })
    const waiting = on.revocations('desk-api', { after }, { waitMs: 2_000, gone })
    on.state.failure = new BrokerError('store_unavailable', 'No answer.')
    expect(await codeOf(waiting)).toBe('store_unavailable')
    expect(await codeOf(on.revocations('desk-api', { after }, { waitMs: 10, gone }))).toBe('store_unavailable')
    on.state.failure = new BrokerError('recovering', 'Behind.')
    expect(await codeOf(on.revocations('desk-api', { after }, { waitMs: 2_000, gone }))).toBe('recovering')
    on.state.failure = undefined
    expect(await codeOf(on.revocations('desk-api', { after }, { waitMs: 0, gone }))).toBe('ok')
  })

  it('bears with a store that fails for a moment, and tells what ended meanwhile', async () => {
    const w = await world()
    const on = listening(w, { ...SOON, patienceMs: 1_000 })
    const { position: after } = await on.revocations('desk-api', {}, { waitMs: 0, gone })
    const waiting = on.revocations('desk-api', { after }, { waitMs: 2_000, gone })
    on.state.failure = new BrokerError('store_unavailable', 'No answer.')
    const grant = await ended(w)
    await new Promise((resolve) => setTimeout(resolve, 40))
    on.state.failure = undefined
    expect((await waiting).revocations.map((one) => one.grant)).toEqual([grant.id])
  })

  it('stops reading when nobody listens any more', async () => {
    const w = await world()
    const on = listening(w)
    await on.revocations('desk-api', {}, { waitMs: 0, gone })
    await new Promise((resolve) => setTimeout(resolve, 300))
    const { reads } = on.state
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(on.state.reads).toBe(reads)
    const grant = await ended(w)
    expect(
      (await on.revocations('desk-api', { since: (w.now() - 1_000) as never }, { waitMs: 0, gone })).revocations,
    ).toMatchObject([{ grant: grant.id }])
  })
})
