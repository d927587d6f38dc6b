// A decision is taken back by whoever gave it, at any time, and what was derived from it ends: a pending grant goes on without it, an unused
// approval is gone, a credential is revoked and its end confirmed. A broker that dies while it does so leaves nothing alive.
import { describe, expect, it } from 'vitest'
import { broker } from '../../src/broker/broker.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import { isTerminal } from '../../src/domain/lifecycle.ts'
import { dyingPorts } from '../support/crash.ts'
import { FRIDAY, HOUR, MONDAY, REVIEW, type ReviewWorld, refusal, reviewWorld } from '../support/review-world.ts'
import { until } from '../support/until.ts'
import { asking, attempt, KEY } from '../support/world.ts'

const NOW = { opensAt: MONDAY, closesAt: after(MONDAY, HOUR) }
const login = (w: ReviewWorld, uses = 1) => w.approved({ window: NOW, uses })
async function token(w: ReviewWorld): Promise<Grant> {
  const asked = asking(MONDAY, { entitlement: named.entitlement('desk-triage'), actions: ['tickets.update'] })
  const grant = await w.file(w.as('fix-agent', { key: KEY }), asked)
  return w.yes('lena', grant)
}
const retract = (w: ReviewWorld, who: string, { id }: Grant) => w.broker.retract(w.as(who), id, 'not so')
const typesOf = async (w: ReviewWorld, { id }: Grant) => (await w.store.events(id)).map(({ type }) => type)

describe('a decision taken back', () => {
  it('leaves a pending grant pending, without the vote, and may be given anew', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    expect((await retract(w, 'paula', grant)).head.status).toBe('pending')
    expect((await w.store.events(grant.id)).at(-1)).toMatchObject({
      type: 'decision_withdrawn',
      by: 'paula',
      details: { reason: 'not so' },
    })
    expect(await refusal(w.yes('olivia', grant))).toMatchObject({ limit: 'reviews', missing: ['security'] })
    w.advance(milliseconds(1))
    await w.yes('paula', grant, REVIEW)
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it('that was a negative review is one no more', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.no('priya', grant)
    await retract(w, 'priya', grant)
    await w.yes('piet', grant)
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
  })

  it.each(['paula', 'priya', 'olivia'])('by any of them (%s) takes an unused approval away', async (who) => {
    const w = await reviewWorld()
    const grant = await w.approved()
    expect((await retract(w, who, grant)).head).toMatchObject({ status: 'withdrawn', facts: { by: who } })
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({
      code: 'wrong_status',
      status: 'withdrawn',
    })
    expect(w.backend.calls('open')).toBe(0)
  })

  it('ends a token: it is inactive from that commit on, which holds the retraction too', async () => {
    const w = await reviewWorld()
    const agent = w.as('fix-agent', { key: KEY })
    const grant = await token(w)
    const { mint } = await w.broker.exchange(agent, grant.id, attempt('attempt-one'))
    const shown = { grant: grant.id, jti: mint.kind === 'jwt' ? mint.jti : '', audience: grant.ask.audience }
    expect((await w.broker.introspect(shown)).active).toBe(true)
    const ended = await retract(w, 'lena', grant)
    expect(ended.head).toMatchObject({
      status: 'ended',
      facts: { outcome: 'revoked', cause: { by: 'lena', reason: 'a decision was withdrawn: not so' } },
    })
    expect((await w.found(grant)).decisions.at(-1)).toMatchObject({ act: 'retract', by: 'lena' })
    expect((await w.broker.introspect(shown)).active).toBe(false)
    expect(await refusal(w.broker.exchange(agent, grant.id, attempt('attempt-one')))).toMatchObject({
      code: 'wrong_status',
    })
    expect(await refusal(w.broker.exchange(agent, grant.id, attempt('attempt-two')))).toMatchObject({
      code: 'wrong_status',
    })
  })

  it('ends a login: ending, the backend asked, then ended', async () => {
    const w = await reviewWorld()
    const grant = await login(w)
    await w.broker.exchange(w.as('dana'), grant.id)
    expect(w.backend.liveSecrets()).toHaveLength(1)
    expect((await retract(w, 'priya', grant)).head).toMatchObject({
      status: 'ended',
      facts: { outcome: 'revoked', cause: { by: 'priya' }, confirmation: { asked: 'backend' } },
    })
    expect((await typesOf(w, grant)).slice(-2)).toEqual(['ending', 'ended'])
    expect([w.backend.calls('close'), w.backend.calls('confirmGone')]).toEqual([1, 1])
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('is not confirmed while the backend does not answer, and ends once it does', async () => {
    const w = await reviewWorld()
    const grant = await login(w)
    await w.broker.exchange(w.as('dana'), grant.id)
    w.backend.down()
    expect((await retract(w, 'olivia', grant)).head.status).toBe('ending')
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ code: 'wrong_status' })
    w.backend.up()
    await w.settle(minutes(2))
    expect((await w.found(grant)).head).toMatchObject({ status: 'ended', facts: { cause: { by: 'olivia' } } })
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('while a login is being made lets none of it out', async () => {
    const w = await reviewWorld()
    const grant = await login(w)
    w.backend.fault('issue', 'hang')
    const exchanged = refusal(w.broker.exchange(w.as('dana'), grant.id))
    await until('the login is being made', 10_000, async () => w.backend.hanging('issue') === 1, 1)
    expect((await retract(w, 'paula', grant)).head.status).toBe('ending')
    w.backend.release('issue')
    expect(await exchanged).not.toBe('ok')
    await w.settle(minutes(2))
    expect((await w.found(grant)).head.status).toBe('ended')
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('may be repeated, and the first cause stands', async () => {
    const w = await reviewWorld()
    for (const grant of [await w.filed(), await w.approved(), await login(w)]) {
      if (grant.head.status === 'pending') await w.yes('paula', grant, REVIEW)
      if (grant.ask.intent.window.opensAt === MONDAY) await w.broker.exchange(w.as('dana'), grant.id)
      const { version } = await retract(w, 'paula', grant)
      const again = await w.broker.retract(w.as('paula'), grant.id, 'for another reason')
      expect(again.version).toBe(version)
      expect(again.decisions.filter(({ act }) => act === 'retract')).toHaveLength(1)
    }
  })

  it('by two at once ends it once', async () => {
    const w = await reviewWorld()
    const grant = await login(w)
    await w.broker.exchange(w.as('dana'), grant.id)
    await Promise.all(['paula', 'priya', 'olivia', 'paula'].map((who) => retract(w, who, grant)))
    expect((await w.found(grant)).head.status).toBe('ended')
    expect((await typesOf(w, grant)).filter((type) => type === 'ended')).toHaveLength(1)
  })

  it('is nobody’s who has decided nothing, and nobody’s who sees nothing', async () => {
    const w = await reviewWorld()
    const grant = await w.approved()
    for (const who of ['pete', 'dana', 'sol', 'rob'])
      expect(await refusal(retract(w, who, grant)), who).toMatchObject({ code: 'invalid_request' })
    expect(await refusal(retract(w, 'gus', grant))).toEqual({ code: 'grant_not_found' })
    expect((await w.found(grant)).head.status).toBe('approved')
  })

  it('is too late once the grant is denied', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    await w.no('olivia', grant)
    expect(await refusal(retract(w, 'olivia', grant))).toMatchObject({ code: 'wrong_status', status: 'denied' })
  })

  it('goes on while the store is recovering, under whatever rules', async () => {
    const w = await reviewWorld()
    const grant = await login(w)
    await w.broker.exchange(w.as('dana'), grant.id)
    const restore = w.snapshot()
    await w.filed()
    restore()
    await w
      .put({ entitlements: { 'ledger-repair': { tenant: 'globex', approval: { owner: 'gus' }, openTo: ['acme'] } } })
      .catch(() => undefined)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ code: 'recovering' })
    expect((await retract(w, 'olivia', grant)).head.status).toBe('ended')
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('of one grant leaves another of the same asking as it is', async () => {
    const w = await reviewWorld()
    const [one, other] = [await w.approved(), await w.approved()]
    await retract(w, 'paula', one)
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), other.id))).toBe('ok')
  })
})

describe('a broker that dies while a decision is taken back', () => {
  interface Scene {
    readonly who: string
    prepare(w: ReviewWorld): Promise<Grant>
  }
  const SCENES: Readonly<Record<string, Scene>> = {
    'of an active login': {
      who: 'paula',
      prepare: async (w) => {
        const grant = await login(w, 2)
        await w.broker.exchange(w.as('dana'), grant.id, attempt('attempt-one'))
        await w.broker.exchange(w.as('dana'), grant.id, attempt('attempt-two'))
        return grant
      },
    },
    'of an active token': {
      who: 'lena',
      prepare: async (w) => {
        const grant = await token(w)
        await w.broker.exchange(w.as('fix-agent', { key: KEY }), grant.id)
        return grant
      },
    },
    'of an unused approval': { who: 'olivia', prepare: (w) => login(w) },
  }
  const dying = (w: ReviewWorld, n: number, when: 'before' | 'after') => {
    const ports = dyingPorts(w.ports, n, when)
    return { ...ports, verbs: broker(ports.ports) }
  }

  /** What must hold wherever it died: repeated by another broker and swept, all is over, by the hand of whoever took it back. */
  async function dieAt({ who, prepare }: Scene, n: number, when: 'before' | 'after'): Promise<boolean> {
    const w = await reviewWorld()
    const grant = await prepare(w)
    const { verbs, hasDied } = dying(w, n, when)
    const answered = await verbs.retract(w.as(who), grant.id, 'not so').catch(() => undefined)
    const found = await w.found(grant)
    // In one commit or not at all: nothing has begun to end without the retraction that ends it.
    const isBegun = found.version > grant.version && !['approved', 'active'].includes(found.head.status)
    expect(found.decisions.some(({ act }) => act === 'retract')).toBe(isBegun)
    if (answered !== undefined) expect(isBegun).toBe(true)
    await retract(w, who, grant)
    await w.settle(minutes(2))
    const after = await w.found(grant)
    expect(isTerminal(after.head.status), after.head.status).toBe(true)
    expect(after.head.facts).toMatchObject(
      after.head.status === 'ended' ? { outcome: 'revoked', cause: { by: who } } : { by: who },
    )
    expect(after.decisions.filter(({ act }) => act === 'retract')).toHaveLength(1)
    expect(after.head.mints.every(({ status }) => status === 'closed')).toBe(true)
    expect(w.backend.liveSecrets()).toEqual([])
    expect(w.backend.holds()).toEqual([])
    return hasDied()
  }

  it.each(Object.entries(SCENES))('%s leaves nothing alive, at whichever effect', async (_, scene) => {
    for (const when of ['before', 'after'] as const) {
      let n = 1
      while (await dieAt(scene, n, when)) n += 1
      expect(n).toBeGreaterThan(3)
    }
  })

  it.each(Object.entries(SCENES))('%s and is not repeated leaves nothing past its window', async (_, scene) => {
    for (let n = 1; ; n += 1) {
      const w = await reviewWorld()
      const grant = await scene.prepare(w)
      const { verbs, hasDied } = dying(w, n, 'after')
      await verbs.retract(w.as(scene.who), grant.id, 'not so').catch(() => undefined)
      w.until(after(MONDAY, HOUR))
      await w.settle(minutes(2))
      expect(isTerminal((await w.found(grant)).head.status)).toBe(true)
      expect(w.backend.liveSecrets()).toEqual([])
      if (!hasDied()) break
    }
  })

  it('is swept by itself where the retraction was committed: nobody needs to repeat it', async () => {
    const w = await reviewWorld()
    const grant = await SCENES['of an active login']?.prepare(w)
    if (grant === undefined) throw new Error('no scene')
    w.backend.fault('close', 'fail', { times: 2 })
    expect((await retract(w, 'paula', grant)).head.status).toBe('ending')
    await w.settle(seconds(60))
    expect((await w.found(grant)).head.status).toBe('ended')
  })
})
