// Finding, following, questioning and ending by what grants are for: what one gets is what one may see, no more, and no less.
import { describe, expect, it } from 'vitest'
import type { Filters } from '../../src/broker/list.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { type GrantId, named, type PrincipalId } from '../../src/domain/ids.ts'
import { milliseconds, minutes } from '../../src/domain/instant.ts'
import { unavailable } from '../../src/redis/connect.ts'
import { codeOf } from '../support/code-of.ts'
import { digest } from '../support/sample-grants.ts'
import { asking, KEY, login, triage, type World, world } from '../support/world.ts'

const approve = { verdict: 'approve', reason: 'fine', digest: undefined } as const

/** Everything that this filter finds, page by page. */
async function found(w: World, who: string, filters: Filters, limit = 3): Promise<readonly Grant[]> {
  const seen: Grant[] = []
  let cursor: string | undefined
  do {
    const page = await w.broker.list(w.as(who), filters, { limit, cursor })
    expect(page.grants.length).toBeLessThanOrEqual(limit)
    seen.push(...page.grants)
    cursor = page.next
  } while (cursor !== undefined)
  return seen
}
const idsOf = (grants: readonly Grant[]): readonly GrantId[] => grants.map(({ id }) => id)

/** A login of vera in every stage, and a token of the triage agent. */
async function several(w: World) {
  const pending = await w.file(w.as('vera'), { ...login(w.now()), task: 'first' })
  const approvedLogin = async (plan: string) => {
    w.advance(minutes(1))
    const { id } = await w.file(w.as('vera'), {
      ...login(w.now()),
      task: 'second',
      plan: { digest: digest(plan), mediaType: 'text/plain' },
    })
    return w.broker.decide(w.as('olivia'), id, approve)
  }
  const [approved, active] = [await approvedLogin('one'), await approvedLogin('other')]
  await w.broker.exchange(w.as('vera'), active.id)
  w.advance(minutes(1))
  const token = await w.approvedToken()
  return { pending, approved, active, token }
}

describe('a list', () => {
  it('holds what each filter says, newest first, each grant once', async () => {
    const w = await world()
    const { pending, approved, active, token } = await several(w)
    const of = async (who: string, filters: Filters) => idsOf(await found(w, who, filters))
    expect(await of('audra', {})).toEqual(idsOf([token, active, approved, pending]))
    expect(await of('audra', { statuses: ['active', 'pending'] })).toEqual(idsOf([active, pending]))
    expect(await of('audra', { entitlement: named.entitlement('ticket-triage') })).toEqual([token.id])
    expect(await of('audra', { target: 'payments-db' })).toEqual(idsOf([active, approved, pending]))
    expect(await of('audra', { task: 'first' })).toEqual([pending.id])
    expect(await of('audra', { ticket: { system: 'desk', id: 'CHG-1' } })).toEqual(idsOf([active, approved, pending]))
    expect(await of('audra', { ticket: { system: 'desk', id: 'CHG-2' } })).toEqual([])
    expect(await of('audra', { filedFrom: approved.ask.filedAt })).toEqual(idsOf([token, active, approved]))
    expect(await of('audra', { filedTo: approved.ask.filedAt })).toEqual([pending.id])
    expect(await of('audra', { filedFrom: approved.ask.filedAt, filedTo: active.ask.filedAt })).toEqual([approved.id])
    expect(await of('audra', { mine: true })).toEqual([])
    expect(await of('audra', { tenant: named.tenant('northwind'), statuses: ['approved'] })).toEqual(
      idsOf([token, approved]),
    )
  })

  it('shows a vendor’s own, and with `tenant` those at one customer; never the customer’s others', async () => {
    const w = await world()
    const { pending, approved, active } = await several(w)
    const own = idsOf([active, approved, pending])
    expect(idsOf(await found(w, 'vera', {}))).toEqual(own)
    expect(idsOf(await found(w, 'vera', { mine: true }))).toEqual(own)
    expect(idsOf(await found(w, 'vera', { tenant: named.tenant('northwind') }))).toEqual(own)
    expect(await found(w, 'vera', { tenant: named.tenant('acme') })).toEqual([])
    expect(await found(w, 'vera', { entitlement: named.entitlement('ticket-triage') })).toEqual([])
    // Her agent may look at hers; a person sees what the agent that they answer for has.
    expect(idsOf(await found(w, 'vera-agent', {}))).toEqual(own)
    expect(await found(w, 'vera-agent', { mine: true })).toEqual([])
    expect(await found(w, 'sam', { mine: true })).toHaveLength(1)
  })

  it('shows what waits for somebody’s decision: not what they asked for, have voted on, or may not decide', async () => {
    const w = await world()
    const { pending } = await several(w)
    expect(idsOf(await found(w, 'olivia', { waiting: true }))).toEqual([pending.id])
    for (const who of ['vera', 'sol', 'paula', 'lena', 'audra', 'triage-agent'])
      expect([who, await found(w, who, { waiting: true })]).toEqual([who, []])
    await w.broker.decide(w.as('olivia'), pending.id, approve)
    expect(await found(w, 'olivia', { waiting: true })).toEqual([])
  })

  it('moves a grant with its status, in the very commit', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    const is = async (status: 'pending' | 'approved' | 'active' | 'ended') =>
      idsOf(await found(w, 'audra', { statuses: [status] })).includes(grant.id)
    expect([await is('pending'), await is('approved')]).toEqual([false, true])
    await w.broker.exchange(w.as('vera'), grant.id)
    expect([await is('approved'), await is('active')]).toEqual([false, true])
    await w.broker.complete(w.as('vera'), grant.id, {})
    expect([await is('active'), await is('ended')]).toEqual([false, true])
    expect(await w.store.counts([named.tenant('northwind'), named.tenant('acme')])).toMatchObject({
      active: 0,
      ended: 1,
    })
  })

  it('finds what is sparse without showing or counting what lies between', async () => {
    const w = await world()
    const rare = await w.file(w.as('vera'), { ...login(w.now()), task: 'rare' })
    for (let n = 0; n < 120; n += 1) await w.file(w.as('triage-agent', { key: KEY }), triage(w.now()))
    const page = await w.broker.list(w.as('audra'), { target: 'payments-db' }, { limit: 1, cursor: undefined })
    expect([idsOf(page.grants), page.next]).toEqual([[rare.id], undefined])
    expect(await w.broker.list(w.as('vera'), {}, { limit: 1, cursor: undefined })).toEqual({
      grants: [{ ...rare, born: expect.any(Number) }],
      next: undefined,
    })
  })
})

describe('the feed', () => {
  it('tells what happened to what one may see, in order, each once, from any place on', async () => {
    const w = await world()
    const start = (await w.broker.feed(w.as('audra'), undefined, 10)).next
    const { pending, token } = await several(w)
    // The feed tells of milliseconds that are over.
    w.advance(milliseconds(1))
    const read = async (who: string, limit: number) => {
      const seen: { readonly grant: GrantId; readonly type: string; readonly place: string }[] = []
      for (let place = start; ; ) {
        const { events, next } = await w.broker.feed(w.as(who), place, limit)
        seen.push(...events.map(({ grant, type, place }) => ({ grant, type, place })))
        if (next === place) return seen
        place = next
      }
    }
    const all = await read('audra', 50)
    expect(all.filter(({ grant }) => grant === token.id).map(({ type }) => type)).toEqual(['filed', 'approved'])
    expect(await read('audra', 2)).toEqual(all)
    const own = await read('vera', 3)
    expect(own).toEqual(all.filter(({ grant }) => grant !== token.id))
    expect(await read('dana', 3)).toEqual([])
    const [first, ...rest] = own
    const later = await w.broker.feed(w.as('vera'), first?.place, 100)
    expect(later.events.map(({ place }) => place)).toEqual(rest.map(({ place }) => place))
    expect(pending.id).toBe(first?.grant)
  })

  it('passes nothing over while the store does not answer: neither the feed, nor a list, nor an end', async () => {
    const w = await world()
    const start = (await w.broker.feed(w.as('audra'), undefined, 10)).next
    await several(w)
    w.advance(milliseconds(1))
    let down = false
    const grants = w.failing(({ load }) => ({
      load: (...args) => (down ? Promise.reject(unavailable(new Error('no answer within 700 ms'))) : load(...args)),
    }))
    const cut = w.another({ grants })
    const where = { ticket: { system: 'desk', id: 'CHG-1' } }
    down = true
    expect(await codeOf(cut.feed(w.as('audra'), start, 50))).toBe('store_unavailable')
    expect(await codeOf(cut.list(w.as('audra'), {}, { limit: 5, cursor: undefined }))).toBe('store_unavailable')
    expect(await codeOf(cut.revokeEach(w.as('sol'), where, 'alarm'))).toBe('store_unavailable')
    down = false
    expect((await cut.feed(w.as('audra'), start, 50)).events.length).toBeGreaterThan(0)
    expect(await cut.revokeEach(w.as('sol'), where, 'alarm')).toHaveLength(3)
  })

  it('leaves one that is damaged out, and only that one', async () => {
    const w = await world()
    const { pending, approved } = await several(w)
    const grants = w.failing(({ load }) => ({
      load: async (shard, seen, keys, what) => {
        const reply = await load(shard, seen, keys, what)
        const at = keys.findIndex(({ head }) => head.endsWith(pending.id))
        const row = reply[0] === 'ok' ? reply[5][at] : undefined
        if (row !== undefined && row.length > 0) row[1] = '{'
        return reply
      },
    }))
    const page = await w.another({ grants }).list(w.as('vera'), {}, { limit: 50, cursor: undefined })
    expect(idsOf(page.grants)).toContain(approved.id)
    expect(idsOf(page.grants)).not.toContain(pending.id)
  })

  it('is judged by who somebody is when they look, not by who they were when they came', async () => {
    const w = await world()
    const start = (await w.broker.feed(w.as('audra'), undefined, 10)).next
    const { token } = await several(w)
    w.advance(milliseconds(1))
    const came = w.as('audra')
    expect((await w.broker.view(came, token.id)).id).toBe(token.id)
    const { directory } = w.book.current()
    const isAudra = (id: string) => id === came.principal.id
    const left = {
      ...directory,
      revision: directory.revision + 1,
      principal: (id: PrincipalId) => {
        const found = directory.principal(id)
        return found && isAudra(id) ? { ...found, groups: [] } : found
      },
    }
    await w.publish({ directory: left })
    expect(await codeOf(w.broker.view(came, token.id))).toBe('grant_not_found')
    expect(await codeOf(w.broker.events(came, token.id))).toBe('grant_not_found')
    expect((await w.broker.feed(came, start, 50)).events).toEqual([])
  })

  it('names in its place no shard but those there are, whatever it was given', async () => {
    const w = await world()
    const [place = ''] = (await w.broker.feed(w.as('audra'), undefined, 10)).next.split('_')
    const { next } = await w.broker.feed(w.as('audra'), `${place}_7.1-1_9999.1-1`, 10)
    expect(next).toMatch(/^0\.\d+-\d+$/)
  })

  it('without a place tells only where to begin, and refuses a place that is none', async () => {
    const w = await world()
    expect((await w.broker.feed(w.as('audra'), undefined, 10)).events).toEqual([])
    await several(w)
    w.advance(milliseconds(1))
    const { events, next } = await w.broker.feed(w.as('audra'), undefined, 10)
    expect(events).toEqual([])
    expect((await w.broker.feed(w.as('audra'), next, 10)).events).toEqual([])
    for (const bad of ['x', '0', '0.', '0.1', '1-2', '0.1-2_', '0.1-2_x'])
      expect([bad, await codeOf(w.broker.feed(w.as('audra'), bad, 10))]).toEqual([bad, 'invalid_request'])
  })
})

describe('a question on a pending grant', () => {
  it('is asked by who could decide and answered once by who asked for the grant', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    const asked = await w.broker.ask(w.as('olivia'), grant.id, 'Why at night?')
    expect(asked).toMatchObject([{ n: 2, by: 'olivia', text: 'Why at night?', answer: undefined }])
    await w.broker.ask(w.as('olivia'), grant.id, 'Which rows?')
    const answered = await w.broker.answer(w.as('vera'), grant.id, 2, 'Nobody uses it then.')
    expect(answered).toMatchObject([
      { n: 2, answer: { by: 'vera', text: 'Nobody uses it then.' } },
      { n: 3, answer: undefined },
    ])
    expect(await codeOf(w.broker.answer(w.as('vera'), grant.id, 2, 'again'))).toBe('invalid_request')
    expect(await codeOf(w.broker.answer(w.as('vera'), grant.id, 99, 'what'))).toBe('invalid_request')
    expect(await w.broker.questions(w.as('audra'), grant.id)).toHaveLength(2)
    expect((await w.broker.decide(w.as('olivia'), grant.id, approve)).head.status).toBe('approved')
  })

  it('is nobody else’s to ask or to answer, and nobody’s once it is decided', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    for (const who of ['vera', 'sol', 'audra'])
      expect([who, await codeOf(w.broker.ask(w.as(who), grant.id, 'Why?'))]).toEqual([who, 'not_permitted'])
    for (const who of ['dana', 'triage-agent'])
      expect([who, await codeOf(w.broker.ask(w.as(who), grant.id, 'Why?'))]).toEqual([who, 'grant_not_found'])
    await w.broker.ask(w.as('olivia'), grant.id, 'Why?')
    for (const who of ['olivia', 'audra', 'vera-agent'])
      expect([who, await codeOf(w.broker.answer(w.as(who), grant.id, 2, 'So.'))]).toEqual([who, 'not_permitted'])
    await w.broker.decide(w.as('olivia'), grant.id, approve)
    expect(await codeOf(w.broker.answer(w.as('vera'), grant.id, 2, 'So.'))).toBe('wrong_status')
    expect(await codeOf(w.broker.ask(w.as('olivia'), grant.id, 'Why?'))).toBe('not_permitted')
  })

  it('cannot fill the grant up without end', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    let asked = 0
    while ((await codeOf(w.broker.ask(w.as('olivia'), grant.id, `Question ${asked}?`))) === 'accepted') asked += 1
    expect(asked).toBeGreaterThan(20)
    expect(await codeOf(w.broker.ask(w.as('olivia'), grant.id, 'One more?'))).toBe('too_many_requests')
    expect((await w.broker.decide(w.as('olivia'), grant.id, approve)).head.status).toBe('approved')
  })
})

describe('an end by task, session or ticket', () => {
  it('completes what was exchanged, withdraws what was not, and leaves other tasks alone', async () => {
    const w = await world()
    const { pending, approved, active } = await several(w)
    const ended = await w.broker.completeEach(w.as('vera'), { task: 'second' }, { done: 'yes' })
    expect(new Map(ended.map(({ id, status }) => [id, status]))).toEqual(
      new Map([
        [active.id, 'ended'],
        [approved.id, 'withdrawn'],
      ]),
    )
    expect((await w.store.loadToEnd(active.id))?.head.result).toEqual({ done: 'yes' })
    expect((await w.store.loadToEnd(pending.id))?.head.status).toBe('pending')
    expect(await w.broker.completeEach(w.as('vera'), { task: 'second' }, {})).toEqual([])
  })

  it('ends all of a run, and of a ticket only those for which all that is named holds', async () => {
    const w = await world()
    const agent = (session: string) => w.as('triage-agent', { key: KEY, session })
    const one = await w.file(agent('run-1'), triage(w.now()))
    const other = await w.file(agent('run-2'), triage(w.now()))
    expect(await w.broker.revokeEach(w.as('sol'), { session: 'run-1' }, 'alarm')).toMatchObject([
      { id: one.id, status: 'denied' },
    ])
    expect((await w.store.loadToEnd(other.id))?.head.status).toBe('pending')
    const { pending } = await several(w)
    const where = { ticket: { system: 'desk', id: 'CHG-1' }, task: 'first' }
    expect(await w.broker.revokeEach(w.as('sol'), where, 'alarm')).toMatchObject([{ id: pending.id, status: 'denied' }])
  })

  it('says of each that one may see but not end why it was left, and nothing of those one may not see', async () => {
    const w = await world()
    const { active, token } = await several(w)
    const left = await w.broker.revokeEach(w.as('audra'), { task: 'second' }, 'curious')
    expect(left.map(({ refused }) => refused)).toEqual(left.map(() => 'not_permitted'))
    expect((await w.store.loadToEnd(active.id))?.head.status).toBe('active')
    const own = await w.broker.completeEach(w.as('vera'), { task: 'second' }, {})
    expect(own.map(({ id }) => id)).not.toContain(token.id)
    expect((await w.store.loadToEnd(token.id))?.head.status).toBe('approved')
    expect(await codeOf(w.broker.revokeEach(w.as('dana'), { task: 'second' }, 'x'))).toBe('grant_not_found')
    expect(await codeOf(w.broker.revokeEach(w.as('sol'), { task: 'no-such-task' }, 'x'))).toBe('grant_not_found')
  })

  it('goes through more grants than one page holds', async () => {
    const w = await world()
    for (let n = 0; n < 130; n += 1)
      await w.file(
        w.as('dana'),
        asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'], task: 'second' }),
      )
    const ended = await w.broker.completeEach(w.as('dana'), { task: 'second' }, {})
    expect([ended.length, new Set(ended.map(({ status }) => status))]).toEqual([130, new Set(['withdrawn'])])
  })

  it('goes on while the store is recovering', async () => {
    const w = await world()
    const { active } = await several(w)
    const back = w.snapshot()
    await w.broker.withdraw(w.as('vera'), (await w.file(w.as('vera'), login(w.now()))).id, '')
    back()
    expect(await codeOf(w.broker.list(w.as('vera'), {}, { limit: 5, cursor: undefined }))).toBe('recovering')
    const ended = await w.broker.completeEach(w.as('vera'), { ticket: { system: 'desk', id: 'CHG-1' } }, {})
    expect(ended.find(({ id }) => id === active.id)?.status).toBe('ended')
  })
})
