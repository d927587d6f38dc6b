// What the verbs promise, one guarantee a test, on memory ports and a clock that only the test moves.
import { describe, expect, it } from 'vitest'
import { broker, type Exchanged } from '../../src/broker/broker.ts'
import { BrokerError, type ErrorCode } from '../../src/domain/errors.ts'
import { deadlineOf, type Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, days, hours, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import type { Caller } from '../../src/domain/principal.ts'
import { reveal } from '../../src/domain/secret.ts'
import { ALL } from '../support/sample-grants.ts'
import { until } from '../support/until.ts'
import { asking, attempt, KEY, login, policyWith, triage, type World, world } from '../support/world.ts'

const codeOf = async (work: Promise<unknown>): Promise<ErrorCode | 'ok' | 'bug'> =>
  work.then(
    () => 'ok' as const,
    (thrown: unknown) => (thrown instanceof BrokerError ? thrown.code : 'bug'),
  )
const approve = { verdict: 'approve', reason: 'fine', digest: undefined } as const
const deny = { verdict: 'deny', reason: 'no', digest: undefined } as const
const statusOf = async (w: World, grant: Grant) => (await w.store.loadToEnd(grant.id))?.head.status
const secretOf = ({ credential }: Exchanged) =>
  credential.kind === 'vault' ? reveal(credential.secret) : reveal(credential.token)

describe('asking', () => {
  it('identity, tenant and session come from the caller and the entitlement, never from the asking', async () => {
    const w = await world()
    const { ask } = await w.file(w.as('triage-agent', { key: KEY, session: 'session-7' }), triage(w.now()))
    expect(ask.intent).toMatchObject({
      requester: 'triage-agent',
      tenant: 'northwind',
      session: 'session-7',
      executor: { principal: 'triage-agent', key: KEY },
    })
  })

  it('what is not offered and what does not exist read the same', async () => {
    const w = await world()
    const refusal = async (entitlement: string, who: string) =>
      w
        .file(w.as(who), asking(w.now(), { entitlement: named.entitlement(entitlement), actions: ['x'] }))
        .catch((thrown: BrokerError) => [thrown.code, thrown.message])
    expect(await refusal('sales-report', 'vera')).toEqual(await refusal('no-such-thing', 'vera'))
  })

  it.each<[string, Partial<ReturnType<typeof login>>, ErrorCode]>([
    ['an action outside the entitlement', { actions: ['db.drop'] }, 'policy_refused'],
    ['no action', { actions: [] }, 'policy_refused'],
    ['a scope outside the entitlement', { scope: ['schema:hr'] }, 'policy_refused'],
    ['no ticket where one is required', { ticket: undefined }, 'policy_refused'],
    ['more uses than allowed', { uses: 99 }, 'policy_refused'],
    ['an executor nobody knows', { executor: named.principal('ghost') }, 'invalid_request'],
    ['an executor of a tenant that it is not open to', { executor: named.principal('rob') }, 'invalid_request'],
  ])('%s is refused and changes nothing', async (_, part, code) => {
    const w = await world()
    expect(await codeOf(w.file(w.as('vera'), { ...login(w.now()), ...part }))).toBe(code)
    expect((await w.store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toEqual([])
  })

  it('how long and how far ahead are two limits, and a window in the past is refused', async () => {
    const w = await world()
    const at = (opens: number, length: number) => ({
      ...login(w.now()),
      window: { opensAt: after(w.now(), milliseconds(opens)), closesAt: after(w.now(), milliseconds(opens + length)) },
    })
    expect(await codeOf(w.file(w.as('vera'), at(days(14), hours(4))))).toBe('ok')
    expect(await codeOf(w.file(w.as('vera'), at(days(14) + 1, hours(4))))).toBe('policy_refused')
    expect(await codeOf(w.file(w.as('vera'), at(0, hours(4) + 1)))).toBe('policy_refused')
    expect(await codeOf(w.file(w.as('vera'), at(-minutes(10), minutes(10))))).toBe('window_closed')
    expect(await codeOf(w.file(w.as('vera'), at(0, 0)))).toBe('policy_refused')
  })

  it('an agent that shows no key is refused', async () => {
    const w = await world()
    expect(await codeOf(w.file(w.as('triage-agent'), triage(w.now())))).toBe('invalid_request')
  })

  it('where nobody could decide, the asking is refused at once', async () => {
    const w = await world()
    await w.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ['owner: lena', 'owner: sam']) })
    expect(await codeOf(w.file(w.as('triage-agent', { key: KEY }), triage(w.now())))).toBe('nobody_can_decide')
  })

  it('a read-only asking of tier low is approved by the policy, signed in its name', async () => {
    const w = await world()
    const grant = await w.file(
      w.as('dana', { key: KEY }),
      asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'] }),
    )
    expect(grant.head.status).toBe('approved')
    expect(grant.decisions.map(({ by }) => by)).toEqual(['policy'])
    expect(await codeOf(w.broker.exchange(w.as('dana', { key: KEY }), grant.id))).toBe('ok')
  })
})

describe('an automatic approval', () => {
  const report = (w: World) =>
    asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'] })

  it('is judged anew when the rules move between filing and approving, and files once', async () => {
    const w = await world()
    let moved = false
    const verbs = w.another({
      grants: {
        ...w.store,
        commit: async (step, guard) => {
          if (step.grant.head.status === 'approved' && !moved) {
            moved = true
            await w.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ['maxUses: 1 }', 'maxUses: 2 }']) })
          }
          return w.store.commit(step, guard)
        },
      },
    })
    expect((await verbs.request(w.as('dana', { key: KEY }), report(w))).grant.head.status).toBe('approved')
    expect((await w.store.list({ of: ALL, limit: 10, cursor: undefined })).grants).toHaveLength(1)
  })

  it('that is interrupted leaves nothing that anybody must wait for: it lapses within a minute', async () => {
    const w = await world()
    const verbs = w.another({
      grants: {
        ...w.store,
        commit: async (step, guard) => {
          if (step.grant.head.status === 'approved') throw new BrokerError('store_unavailable', 'away')
          return w.store.commit(step, guard)
        },
      },
    })
    expect(await codeOf(verbs.request(w.as('dana', { key: KEY }), report(w)))).toBe('store_unavailable')
    await w.settle(seconds(65))
    const { grants } = await w.store.list({ of: ALL, limit: 10, cursor: undefined })
    expect(grants.map((grant) => grant.head.status)).toEqual(['lapsed'])
  })
})

describe('deciding', () => {
  it.each([
    ['the requester', 'vera', 'own_request'],
    ["the requester's agent", 'vera-agent', 'own_request'],
    ['an agent of somebody else', 'triage-agent', 'grant_not_found'],
    ['somebody of the tenant who owns nothing', 'paula', 'not_permitted'],
    ['the auditor', 'audra', 'not_permitted'],
    ['the owner', 'olivia', 'ok'],
  ])('%s gets %s → %s', async (_, who, code) => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    expect(await codeOf(w.broker.decide(w.as(who), grant.id, approve))).toBe(code)
  })

  it('a sponsor does not approve the asking of its agent or workload', async () => {
    const w = await world()
    const grant = await w.file(w.as('triage-agent', { key: KEY }), triage(w.now()))
    expect(await codeOf(w.broker.decide(w.as('sam'), grant.id, approve))).toBe('own_request')
  })

  it('a decision on another revision is refused', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    const other = await w.file(w.as('vera'), { ...login(w.now()), task: 'other' })
    expect(await codeOf(w.broker.decide(w.as('olivia'), grant.id, { ...approve, digest: other.ask.digest }))).toBe(
      'revision_mismatch',
    )
  })

  it('a denial is final, and nobody decides twice', async () => {
    const w = await world()
    const grant = await w.file(w.as('vera'), login(w.now()))
    expect((await w.broker.decide(w.as('olivia'), grant.id, deny)).head.status).toBe('denied')
    expect(await codeOf(w.broker.decide(w.as('olivia'), grant.id, approve))).toBe('already_decided')
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id))).toBe('wrong_status')
  })

  it('two approvers at the same moment lose no vote', async () => {
    const w = await world()
    const two = policyWith(
      ['revision: 1', 'revision: 2'],
      [
        'owner: olivia',
        'owner: olivia\n      reviewers: [{ role: security, group: security }, { role: operations, group: support-leads }]',
      ],
    )
    await w.publish({ policy: two })
    const grant = await w.file(w.as('vera'), login(w.now()))
    await Promise.all([
      w.broker.decide(w.as('lena'), grant.id, approve),
      w.broker.decide(w.as('paula'), grant.id, approve),
    ])
    await w.broker.decide(w.as('olivia'), grant.id, approve)
    const decided = await w.store.loadToEnd(grant.id)
    expect(decided?.head.status).toBe('approved')
    expect(decided?.decisions.map(({ by }) => by).sort()).toEqual(['lena', 'olivia', 'paula'])
  })

  it('what nobody decides in time lapses, and so does what is approved and never used', async () => {
    const w = await world()
    const far = { ...login(w.now()), window: { opensAt: after(w.now(), days(3)), closesAt: after(w.now(), hours(74)) } }
    const undecided = await w.file(w.as('vera'), far)
    const unused = await w.approvedLogin()
    await w.settle(minutes(61))
    expect(await statusOf(w, unused)).toBe('lapsed')
    expect(await statusOf(w, undecided)).toBe('pending')
    w.advance(hours(24))
    await w.settle(seconds(5))
    expect(await statusOf(w, undecided)).toBe('pending')
    expect((await w.store.events(undecided.id)).map(({ type }) => type)).toEqual(['filed', 'escalated'])
    w.advance(hours(6))
    await w.settle(seconds(5))
    expect(await statusOf(w, undecided)).toBe('lapsed')
  })

  it('only the requester or who answers for it withdraws, before anything is made', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    expect(await codeOf(w.broker.withdraw(w.as('olivia'), grant.id, 'x'))).toBe('not_permitted')
    expect((await w.broker.withdraw(w.as('vera'), grant.id, 'x')).head.status).toBe('withdrawn')
    const used = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), used.id)
    expect(await codeOf(w.broker.withdraw(w.as('vera'), used.id, 'x'))).toBe('wrong_status')
  })
})

describe('exchanging', () => {
  it('gives nothing before approval, before the window, after it, or to anybody but the executor', async () => {
    const w = await world()
    const pending = await w.file(w.as('vera'), login(w.now()))
    expect(await codeOf(w.broker.exchange(w.as('vera'), pending.id))).toBe('wrong_status')
    const later = await w.file(w.as('vera'), {
      ...login(w.now()),
      window: { opensAt: after(w.now(), minutes(5)), closesAt: after(w.now(), minutes(60)) },
    })
    await w.broker.decide(w.as('olivia'), later.id, approve)
    expect(await codeOf(w.broker.exchange(w.as('vera'), later.id))).toBe('window_not_open')
    expect(await codeOf(w.broker.exchange(w.as('olivia'), later.id))).toBe('not_executor')
    expect(await codeOf(w.broker.exchange(w.as('dana'), later.id))).toBe('grant_not_found')
    w.advance(minutes(5))
    expect(await codeOf(w.broker.exchange(w.as('vera'), later.id))).toBe('ok')
    w.advance(minutes(55))
    expect(await codeOf(w.broker.exchange(w.as('vera'), later.id))).toBe('window_closed')
    expect(w.backend.calls('issue')).toBe(1)
  })

  it('a token never outlives the window, in the last second neither', async () => {
    const w = await world()
    const grant = await w.approvedToken(5)
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    w.advance(minutes(59))
    const { mint } = await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    expect(mint.expiresAt).toBeLessThanOrEqual(grant.ask.intent.window.closesAt)
    w.advance(milliseconds(59_500))
    expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id))).toBe('window_closing')
  })

  it('another key, another session, another commit or another environment get nothing', async () => {
    const w = await world()
    const agent = w.as('triage-agent', { key: KEY, session: 's-1' })
    const grant = await w.file(agent, triage(w.now()))
    await w.broker.decide(w.as('lena'), grant.id, approve)
    expect(await codeOf(w.broker.exchange({ ...agent, key: undefined }, grant.id))).toBe('unauthenticated')
    expect(await codeOf(w.broker.exchange({ ...agent, session: 's-2' }, grant.id))).toBe('not_executor')
    const sha = 'b'.repeat(40)
    const job = w.as('webshop-deploy', { key: KEY, session: '77', facts: { sha, environment: 'production' } })
    const deploy = await w.file(
      job,
      asking(w.now(), {
        entitlement: named.entitlement('webshop-deploy'),
        actions: ['deploy'],
        scope: [`commit:${sha}`],
        plan: { digest: grant.ask.digest, mediaType: 'application/json' },
      }),
    )
    await w.broker.decide(w.as('rob'), deploy.id, approve)
    for (const facts of [
      { sha: 'c'.repeat(40), environment: 'production' },
      { sha, environment: 'staging' },
      { sha },
      {},
    ]) {
      expect(await codeOf(w.broker.exchange({ ...job, facts }, deploy.id))).toBe('policy_refused')
    }
    expect(
      await codeOf(w.broker.exchange(w.as('webshop-build', { key: KEY, session: '77', facts: job.facts }), deploy.id)),
    ).toBe('grant_not_found')
    expect(await codeOf(w.broker.exchange(job, deploy.id))).toBe('ok')
  })

  it('gives as many credentials as were approved, and not one more, to any number of racers', async () => {
    const w = await world()
    for (const uses of [1, 3]) {
      const grant = await w.approvedToken(uses)
      const said = await Promise.all(
        Array.from({ length: 20 }, () => codeOf(w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id))),
      )
      expect(said.filter((code) => code === 'ok')).toHaveLength(uses)
    }
    const grant = await w.approvedLogin()
    const said = await Promise.all(Array.from({ length: 20 }, () => codeOf(w.broker.exchange(w.as('vera'), grant.id))))
    expect(said.filter((code) => code === 'ok')).toHaveLength(1)
    expect(w.backend.leases()).toHaveLength(1)
  })

  it('the same attempt and key within a minute get the same token again; another key or a later time do not', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const agent = w.as('triage-agent', { key: KEY })
    const first = await w.broker.exchange(agent, grant.id, attempt('attempt-one'))
    w.advance(seconds(59))
    const again = await w.broker.exchange(agent, grant.id, attempt('attempt-one'))
    expect(secretOf(again)).toBe(secretOf(first))
    expect(await codeOf(w.broker.exchange(agent, grant.id, attempt('attempt-two')))).toBe('uses_exhausted')
    w.advance(seconds(1))
    expect(await codeOf(w.broker.exchange(agent, grant.id, attempt('attempt-one')))).toBe('uses_exhausted')
  })

  it('the same attempt gets the same bearer token again, whatever key is shown beside it', async () => {
    const w = await world()
    const bearer = policyWith(
      ['revision: 1', 'revision: 2'],
      [
        'credential: { kind: jwt, sender: dpop, maxLife: 5m }',
        'credential: { kind: jwt, sender: bearer, maxLife: 5m }',
      ],
    )
    await w.publish({ policy: bearer })
    const shows = (key: typeof KEY | undefined) => w.as('sam', { key })
    const report = { entitlement: named.entitlement('sales-report'), actions: ['report.read'] }
    for (const [once, again] of [
      [KEY, KEY],
      [KEY, undefined],
      [undefined, KEY],
    ]) {
      const grant = await w.file(w.as('sam'), asking(w.now(), { ...report, uses: 2 }))
      const first = await w.broker.exchange(shows(once), grant.id, attempt('attempt-one'))
      const second = await w.broker.exchange(shows(again), grant.id, attempt('attempt-one'))
      expect(secretOf(second)).toBe(secretOf(first))
      expect(second.grant.head.mints).toHaveLength(1)
    }
  })

  it('repeating an attempt without end is refused, because every repetition is recorded', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const agent = w.as('triage-agent', { key: KEY })
    const said = []
    for (let n = 0; n < 210; n += 1) said.push(await codeOf(w.broker.exchange(agent, grant.id, attempt('attempt-one'))))
    expect(new Set(said)).toEqual(new Set(['ok', 'too_many_requests']))
    expect((await w.store.events(grant.id)).length).toBeLessThanOrEqual(200)
  })

  it('a lost login is ended and replaced once, never doubled', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    const first = await w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one'))
    const second = await w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one'))
    expect(secretOf(second)).not.toEqual(secretOf(first))
    expect(w.backend.leases().map(({ username }) => username)).toHaveLength(1)
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one')))).toBe('uses_exhausted')
  })

  it('while a lost login is replaced nobody else can take its use', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    const vera = w.as('vera')
    const logins = [secretOf(await w.broker.exchange(vera, grant.id, attempt('attempt-0')))]
    for (let round = 0; round < 5; round += 1) {
      const racers = ['attempt-0', ...Array.from({ length: 10 }, (_, n) => `other-${round}-${n}`)]
      const answers = await Promise.allSettled(racers.map((id) => w.broker.exchange(vera, grant.id, attempt(id))))
      for (const answer of answers) if (answer.status === 'fulfilled') logins.push(secretOf(answer.value))
    }
    // The first, and its one replacement.
    expect(logins).toHaveLength(2)
    expect(w.backend.leases()).toHaveLength(1)
  })

  it('a replacement that fails leaves no use for another attempt', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one'))
    w.backend.fault('open', 'fail', { definite: true })
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one')))).not.toBe('ok')
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-two')))).toBe('uses_exhausted')
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one')))).toBe('ok')
    expect(w.backend.leases()).toHaveLength(1)
  })

  it('a definite refusal of the backend gives the claim back; an unknown outcome ends the grant', async () => {
    const w = await world()
    const refused = await w.approvedLogin()
    w.backend.fault('open', 'fail', { definite: true })
    expect(await codeOf(w.broker.exchange(w.as('vera'), refused.id))).not.toBe('ok')
    expect(await statusOf(w, refused)).toBe('approved')
    expect(await codeOf(w.broker.exchange(w.as('vera'), refused.id))).toBe('ok')
    const unknown = await w.approvedLogin()
    w.backend.fault('issue', 'lose_reply')
    expect(await codeOf(w.broker.exchange(w.as('vera'), unknown.id))).not.toBe('ok')
    await w.settle()
    expect(await statusOf(w, unknown)).toBe('ended')
    expect(w.backend.leases()).toHaveLength(1)
  })

  it('what was given back leaves one mint behind however often it is tried, and no number is used twice', async () => {
    const w = await world()
    const { id } = await w.approvedLogin(2)
    const tried: number[] = []
    for (let tries = 1; tries <= 5; tries += 1) {
      w.advance(minutes(1))
      w.backend.fault('open', 'fail', { definite: true })
      expect(await codeOf(w.broker.exchange(w.as('vera'), id))).toBe('vault_unavailable')
      const mints = (await w.store.loadToEnd(id))?.head.mints ?? []
      expect(mints).toMatchObject([{ status: 'closed', released: true }])
      tried.push(mints[0]?.n ?? 0)
    }
    expect(tried).toEqual([1, 2, 3, 4, 5])
    w.advance(minutes(1))
    expect((await w.broker.exchange(w.as('vera'), id)).mint.n).toBe(6)
    expect((await w.broker.exchange(w.as('vera'), id)).mint.n).toBe(7)
    expect(await codeOf(w.broker.exchange(w.as('vera'), id))).toBe('uses_exhausted')
  })

  it('what comes to nothing again and again is tried more and more rarely, and at once again when it was made', async () => {
    const w = await world()
    const { id } = await w.approvedLogin(2)
    const tryIn = async (wait: number): Promise<unknown> => {
      w.advance(seconds(wait))
      w.backend.fault('open', 'fail', { definite: true })
      return w.broker.exchange(w.as('vera'), id).catch((thrown: BrokerError) => thrown.facts.retryAfter ?? 'refused')
    }
    for (const _ of [1, 2, 3]) expect(await tryIn(0)).toBe('refused')
    expect(await tryIn(0)).toBe('refused')
    for (const rest of [1, 2, 4, 8, 16, 32, 60, 60]) {
      const { version } = (await w.store.loadToEnd(id)) ?? {}
      expect(await tryIn(0)).toBe(rest)
      expect((await w.store.loadToEnd(id))?.version).toBe(version)
      expect(await tryIn(rest)).toBe('refused')
    }
    w.advance(seconds(60))
    expect(await codeOf(w.broker.exchange(w.as('vera'), id))).toBe('ok')
    expect(await tryIn(0)).toBe('refused')
    expect(await tryIn(0)).toBe('refused')
  })

  it('a lost login is not ended for a replacement that would not be tried now', async () => {
    const w = await world()
    const { id } = await w.approvedLogin(2)
    await w.broker.exchange(w.as('vera'), id, attempt('attempt-one'))
    for (let tries = 1; tries <= 4; tries += 1) {
      w.backend.fault('open', 'fail', { definite: true })
      expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-two')))).toBe('vault_unavailable')
    }
    expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-one')))).toBe('vault_unavailable')
    expect(w.backend.leases()).toHaveLength(1)
    w.advance(seconds(1))
    expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-one')))).toBe('ok')
    expect(w.backend.leases()).toHaveLength(1)
  })

  it('a backend that is out of reach is asked before the next claim: whoever tries again and again writes nothing', async () => {
    const w = await world()
    const { id } = await w.approvedLogin()
    w.backend.down()
    expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-one')))).toBe('vault_unavailable')
    const { version } = (await w.store.loadToEnd(id)) ?? {}
    for (let tries = 1; tries <= 20; tries += 1) {
      expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-one')))).toBe('vault_unavailable')
      expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt(`another-${tries}`)))).toBe('vault_unavailable')
    }
    expect((await w.store.loadToEnd(id))?.version).toBe(version)
    w.backend.up()
    expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-one')))).toBe('ok')
  })

  it('a login that cannot be confirmed gone in a grant that lives on is tried again for hours without a word in its record', async () => {
    const w = await world()
    const { id } = await w.approvedLogin(2)
    await w.broker.exchange(w.as('vera'), id, attempt('attempt-one'))
    w.backend.freeze()
    expect(await codeOf(w.broker.exchange(w.as('vera'), id, attempt('attempt-one')))).toBe('not_confirmed')
    const [before, asked] = [(await w.store.loadToEnd(id))?.version, w.backend.calls('close')]
    await w.settle(minutes(30))
    expect((await w.store.loadToEnd(id))?.version).toBe(before)
    expect(w.backend.calls('close')).toBeGreaterThan(asked + 20)
    w.backend.thaw()
    await w.settle()
    expect((await w.store.loadToEnd(id))?.head).toMatchObject({ status: 'active', mints: [{ status: 'closed' }] })
  })

  it('nothing leaves when the witness cannot be written, and a login is taken back', async () => {
    const w = await world()
    const [token, database] = [await w.approvedToken(), await w.approvedLogin()]
    w.seal.setWritable(false)
    const agent = w.as('triage-agent', { key: KEY })
    expect(await codeOf(w.broker.exchange(agent, token.id, attempt('attempt-one')))).toBe('log_unavailable')
    // Asked again with the same attempt it is still not on record, so it still does not leave.
    expect(await codeOf(w.broker.exchange(agent, token.id, attempt('attempt-one')))).toBe('log_unavailable')
    expect(await codeOf(w.broker.exchange(w.as('vera'), database.id))).toBe('log_unavailable')
    expect(w.backend.liveSecrets()).toEqual([])
    w.seal.setWritable(true)
    expect(await codeOf(w.broker.exchange(agent, token.id, attempt('attempt-one')))).toBe('ok')
    expect(await codeOf(w.broker.exchange(w.as('vera'), database.id))).toBe('ok')
  })
})

describe('what is true at the commit', () => {
  const narrowed = () =>
    policyWith(['revision: 1', 'revision: 2'], ['actions: { db.migrate: write }', 'actions: { db.read: read }'])

  it('a policy narrowed after the approval refuses the exchange', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    await w.publish({ policy: narrowed() })
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id))).toBe('policy_refused')
    expect(w.backend.calls('open')).toBe(0)
  })

  it('a policy narrowed between judgement and commit refuses it, at the claim and at the last commit', async () => {
    for (const which of [1, 2]) {
      const w = await world()
      const grant = await w.approvedLogin()
      let guarded = 0
      const verbs = w.another({
        grants: {
          ...w.store,
          commit: async (step, guard) => {
            if (guard !== undefined && ++guarded === which) await w.publish({ policy: narrowed() })
            return w.store.commit(step, guard)
          },
        },
      })
      expect(await codeOf(verbs.exchange(w.as('vera'), grant.id))).toBe('policy_refused')
      await w.settle()
      expect(w.backend.liveSecrets()).toEqual([])
    }
  })

  it('an approver who lost the right, and one who left, count no more', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    await w.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ['owner: olivia', 'owner: paula']) })
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id))).toBe('policy_refused')
    const gone = await world()
    const other = await gone.approvedLogin()
    const { directory } = gone.book.current()
    await gone.publish({
      directory: {
        ...directory,
        revision: directory.revision + 1,
        digest: `${directory.digest.slice(0, -1)}A` as never,
        principal: (id) => (id === 'olivia' ? undefined : directory.principal(id)),
        persons: () => directory.persons().filter(({ id }) => id !== 'olivia'),
      },
    })
    expect(await codeOf(gone.broker.exchange(gone.as('vera'), other.id))).toBe('policy_refused')
  })

  it('a broker with older rules issues nothing and says so', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    const { book } = await world()
    const old = w.another({ rules: book.under, rulesToEnd: book.current })
    await w.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ['maxUses: 1 }', 'maxUses: 2 }']) })
    expect(await codeOf(old.exchange(w.as('vera'), grant.id))).toBe('policy_outdated')
    expect(await codeOf(old.request(w.as('vera'), login(w.now())))).toBe('policy_outdated')
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id))).toBe('ok')
    expect((await old.complete(w.as('vera'), grant.id, {})).head.status).toBe('ended')
  })

  it('a store rolled back to before a commit issues nothing, and what falls due is ended all the same', async () => {
    const w = await world()
    const live = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), live.id)
    const restore = w.snapshot()
    const later = await w.approvedLogin()
    restore()
    expect(await codeOf(w.broker.exchange(w.as('vera'), later.id))).toBe('recovering')
    expect(await codeOf(w.file(w.as('vera'), login(w.now())))).toBe('recovering')
    expect(await codeOf(w.broker.introspect({ grant: live.id, jti: 'x', audience: 'y' }))).toBe('recovering')
    await w.settle(minutes(61))
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('a forged, altered or borrowed approval does not count', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    const other = await w.approvedLogin()
    const forged = (change: (loaded: Grant) => Grant) =>
      w.another({
        grants: {
          ...w.store,
          load: async (id) => {
            const loaded = await w.store.load(id)
            return loaded && { ...loaded, grant: change(loaded.grant) }
          },
        },
      })
    const cases: ((found: Grant) => Grant)[] = [
      (found) => ({ ...found, decisions: other.decisions }) as Grant,
      (found) =>
        ({
          ...found,
          decisions: found.decisions.map((decision) => ({ ...decision, signature: `${decision.signature}x` })),
        }) as Grant,
      (found) => ({ ...found, decisions: [] }) as Grant,
      (found) => ({ ...found, ask: { ...found.ask, intent: { ...found.ask.intent, scope: ['schema:hr'] } } }) as Grant,
      (found) => ({ ...found, ask: { ...found.ask, texts: { ...found.ask.texts, rollback: 'none' } } }) as Grant,
      (found) => ({ ...found, ask: { ...found.ask, rule: { mode: 'auto' } } }) as Grant,
    ]
    for (const change of cases)
      expect(await codeOf(forged(change).exchange(w.as('vera'), grant.id))).toBe('policy_refused')
    expect(w.backend.calls('open')).toBe(0)
  })
})

describe('ending', () => {
  it('a token ends in one commit: introspection refuses from then on, and residueUntil says what offline verifiers may still take', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const { mint } = await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    const token = { grant: grant.id, jti: mint.kind === 'jwt' ? mint.jti : '', audience: grant.ask.audience }
    expect((await w.broker.introspect(token)).active).toBe(true)
    expect((await w.broker.introspect({ ...token, audience: 'https://other.example' })).active).toBe(false)
    expect((await w.broker.introspect({ ...token, jti: 'other' })).active).toBe(false)
    const ended = await w.broker.revoke(w.as('sol'), grant.id, 'alarm')
    expect(ended.head).toMatchObject({
      status: 'ended',
      facts: { outcome: 'revoked', residueUntil: after(w.now(), seconds(30)) },
    })
    expect((await w.broker.introspect(token)).active).toBe(false)
  })

  /** What others do after this broker has read the grant, and before it commits. */
  const overtaken = (w: World, by: () => Promise<unknown>) => {
    const meanwhile = once(by)
    const loadToEnd = async (id: Grant['id']) => {
      const grant = await w.store.loadToEnd(id)
      await meanwhile()
      return grant
    }
    return broker({ ...w.ports, grants: { ...w.store, loadToEnd } })
  }
  const once = (work: () => Promise<unknown>) => {
    let begun = false
    return async () => {
      if (begun) return
      begun = true
      await work()
    }
  }

  it('a revocation ends what was approved, or exchanged, while it read the grant', async () => {
    const w = await world()
    const pending = await w.file(w.as('vera'), login(w.now()))
    const approved = () => w.broker.decide(w.as('olivia'), pending.id, approve)
    const exchanged = () => w.broker.exchange(w.as('vera'), pending.id)
    const late = overtaken(w, () => approved().then(exchanged))
    const { head } = await late.revoke(w.as('vera'), pending.id, 'alarm')
    expect(head).toMatchObject({ status: 'ended', facts: { outcome: 'revoked' } })
    expect([w.backend.liveSecrets(), w.backend.holds()]).toEqual([[], []])
  })

  it('a completion ends also what was made while it read the grant', async () => {
    const w = await world()
    const grant = await w.approvedToken(2)
    const agent = w.as('triage-agent', { key: KEY })
    await w.broker.exchange(agent, grant.id)
    const { head } = await overtaken(w, () => w.broker.exchange(agent, grant.id)).complete(agent, grant.id, {})
    expect(head.mints.map(({ status }) => status)).toEqual(['closed', 'closed'])
    expect((await w.store.loadToEnd(grant.id))?.head).toEqual(head)
  })

  it('of two that end the same at once the first cause stands', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    const late = overtaken(w, () => w.broker.revoke(w.as('sol'), grant.id, 'alarm'))
    const { head } = await late.complete(w.as('triage-agent', { key: KEY }), grant.id, {})
    expect(head).toMatchObject({ status: 'ended', facts: { outcome: 'revoked' } })
    expect((await w.store.events(grant.id)).filter(({ type }) => type === 'ended')).toHaveLength(1)
  })

  it('introspection refuses at the last instant of the window, whether or not anybody has swept', async () => {
    const w = await world()
    const grant = await w.approvedToken(2)
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    w.advance(minutes(50))
    const { mint } = await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    const token = { grant: grant.id, jti: mint.kind === 'jwt' ? mint.jti : '', audience: grant.ask.audience }
    w.advance(milliseconds(minutes(10) - 1))
    expect((await w.broker.introspect(token)).active).toBe(true)
    w.advance(milliseconds(1))
    expect((await w.broker.introspect(token)).active).toBe(false)
  })

  it.each([
    ['vera', 'ok'],
    ['olivia', 'ok'],
    ['sol', 'ok'],
    ['vera-agent', 'not_permitted'],
    ['paula', 'not_permitted'],
    ['audra', 'not_permitted'],
    ['triage-agent', 'grant_not_found'],
  ])('revoking a login by %s: %s', async (who, code) => {
    const w = await world()
    const grant = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), grant.id)
    expect(await codeOf(w.broker.revoke(w.as(who), grant.id, 'now'))).toBe(code)
    expect(w.backend.liveSecrets()).toHaveLength(code === 'ok' ? 0 : 1)
  })

  it('complete keeps the result, may be repeated, and the first cause stands', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    expect(await codeOf(w.broker.complete(w.as('vera'), grant.id, {}))).toBe('wrong_status')
    await w.broker.exchange(w.as('vera'), grant.id)
    const done = await w.broker.complete(w.as('vera'), grant.id, { rows: '3' })
    expect(done.head).toMatchObject({ status: 'ended', facts: { outcome: 'completed', result: { rows: '3' } } })
    expect((await w.broker.complete(w.as('vera'), grant.id, { rows: '4' })).head.facts).toMatchObject({
      outcome: 'completed',
      result: { rows: '3' },
    })
    expect((await w.broker.revoke(w.as('sol'), grant.id, 'late')).head.facts).toMatchObject({ outcome: 'completed' })
  })

  it('a pending grant that is revoked is denied, and an approved one ends without having held anything', async () => {
    const w = await world()
    const pending = await w.file(w.as('vera'), login(w.now()))
    expect((await w.broker.revoke(w.as('sol'), pending.id, 'no')).head.status).toBe('denied')
    const approved = await w.approvedLogin()
    expect((await w.broker.revoke(w.as('sol'), approved.id, 'no')).head).toMatchObject({
      status: 'ended',
      facts: { confirmation: { asked: 'nothing' } },
    })
  })

  it('an error or a silence of the backend keeps it ending, then stuck, and never ended; afterwards it ends', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    await w.broker.exchange(w.as('vera'), grant.id)
    w.backend.freeze()
    expect((await w.broker.revoke(w.as('sol'), grant.id, 'alarm')).head.status).toBe('ending')
    w.advance(minutes(1))
    for (let tries = 0; tries < 40; tries += 1) {
      await w.broker.sweep('vault-main')
      w.advance(seconds(31))
    }
    const stuck = await w.store.loadToEnd(grant.id)
    expect(stuck?.head.status).toBe('stuck')
    const told = (await w.store.events(grant.id)).filter(({ type }) => type === 'stuck' || type === 'end_delayed')
    expect(told.filter(({ type }) => type === 'stuck')).toHaveLength(1)
    expect(told.length).toBeLessThanOrEqual(8)
    w.backend.thaw()
    await w.settle(minutes(2))
    expect((await w.store.loadToEnd(grant.id))?.head).toMatchObject({ status: 'ended', facts: { outcome: 'revoked' } })
    expect(w.backend.liveSecrets()).toEqual([])
  })

  it('a record that cannot be read stops no other end, and is named', async () => {
    const w = await world()
    const [bad, good] = [await w.approvedLogin(), await w.approvedLogin()]
    for (const grant of [bad, good]) await w.broker.exchange(w.as('vera'), grant.id)
    w.advance(minutes(61))
    const verbs = w.another({
      grants: {
        ...w.store,
        loadManyToEnd: async (ids) => {
          const { grants } = await w.store.loadManyToEnd(ids.filter((id) => id !== bad.id))
          return { grants, unreadable: ids.filter((id) => id === bad.id) }
        },
      },
    })
    expect(await verbs.sweep('vault-main')).toMatchObject({ done: 1, failed: [bad.id] })
    expect(await statusOf(w, good)).toBe('ended')
  })

  it('what the store gives out as due is ended, though our own clock is a little behind', async () => {
    const w = await world()
    const [token, database] = [await w.approvedToken(), await w.approvedLogin()]
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), token.id)
    await w.broker.exchange(w.as('vera'), database.id)
    w.advance(minutes(60))
    const behind = w.another({ nowToEnd: () => after(w.now(), milliseconds(-300)) })
    await behind.sweep('local')
    await behind.sweep('vault-main')
    for (const grant of [token, database]) {
      const ended = await w.store.loadToEnd(grant.id)
      expect(ended?.head).toMatchObject({ status: 'ended', facts: { outcome: 'expired' } })
    }
  })

  it('with the queue gone everything still ends, by the sweep alone', async () => {
    const w = await world()
    w.timetable.setLost(true)
    const [database, token] = [await w.approvedLogin(), await w.approvedToken()]
    await w.broker.exchange(w.as('vera'), database.id)
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), token.id)
    await w.settle(minutes(61))
    expect([await statusOf(w, database), await statusOf(w, token)]).toEqual(['ended', 'ended'])
  })

  it('nobody is asked to look at a grant after its window: no job of one that is over waits on', async () => {
    const w = await world()
    for (const grant of [await w.approvedLogin(), await w.approvedToken()]) {
      const { closesAt } = grant.ask.intent.window
      expect(w.timetable.asked.filter(({ when }) => when > closesAt)).toEqual([])
      expect(w.timetable.asked.map(({ when }) => when)).toContain(deadlineOf(grant))
    }
  })

  it('two sweeps at once close each login once', async () => {
    const w = await world()
    const grants = []
    for (let n = 0; n < 20; n += 1) {
      const grant = await w.approvedLogin()
      await w.broker.exchange(w.as('vera'), grant.id)
      grants.push(grant)
    }
    w.advance(minutes(61))
    const other = w.another()
    await Promise.all([w.broker.sweep('vault-main'), other.sweep('vault-main'), w.broker.sweep('vault-main')])
    expect(await Promise.all(grants.map((grant) => statusOf(w, grant)))).toEqual(grants.map(() => 'ended'))
    expect(w.backend.calls('close')).toBe(20)
  })

  it('a login that is being made is not confirmed gone while its maker is at work, and the maker leaves word of the lease', async () => {
    for (const by of ['revoke', 'complete'] as const) {
      const w = await world({ nativeExpiry: false })
      const grant = await w.approvedLogin()
      w.backend.fault('issue', 'hang')
      const making = codeOf(w.broker.exchange(w.as('vera'), grant.id))
      await until('the making', 10_000, async () => w.backend.hanging('issue') > 0, 1)
      const other = w.another()
      const shown =
        by === 'revoke'
          ? await other.revoke(w.as('sol'), grant.id, 'alarm')
          : await other.complete(w.as('vera'), grant.id, {})
      expect(shown.head.status).toBe('ending')
      w.advance(seconds(5))
      await other.sweep('vault-main')
      expect(await statusOf(w, grant)).toBe('ending')
      // Only now Vault makes the login, under a hold that was already ended.
      w.backend.release('issue')
      expect(await making).not.toBe('ok')
      await w.settle(seconds(40))
      expect(await statusOf(w, grant)).toBe('ended')
      expect([w.backend.liveSecrets(), w.backend.leases(), w.backend.holds()]).toEqual([[], [], []])
    }
  })

  it('a maker that died is waited for until its deadline, and no longer', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    w.backend.fault('issue', 'hang')
    void w.broker.exchange(w.as('vera'), grant.id).catch(() => undefined)
    await until('the making', 10_000, async () => w.backend.hanging('issue') > 0, 1)
    await w.another().revoke(w.as('sol'), grant.id, 'alarm')
    await w.settle(seconds(20), w.another())
    expect(await statusOf(w, grant)).toBe('ending')
    await w.settle(seconds(30), w.another())
    expect(await statusOf(w, grant)).toBe('ended')
  })

  it('a broker that wakes after its mint was closed hands nothing out and leaves nothing', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    w.backend.fault('issue', 'hang')
    const sleeping = codeOf(w.broker.exchange(w.as('vera'), grant.id))
    await until('the making', 10_000, async () => w.backend.hanging('issue') > 0, 1)
    w.advance(minutes(1))
    await w.another().sweep('vault-main')
    expect(await statusOf(w, grant)).toBe('ended')
    w.backend.release('issue')
    expect(await sleeping).not.toBe('ok')
    await w.settle()
    expect(w.backend.liveSecrets()).toEqual([])
    expect(w.backend.holds()).toEqual([])
  })
})

describe('seeing', () => {
  it('machines of one sponsor are strangers to each other: they neither see nor end what is not theirs', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const { directory } = w.book.current()
    const triage = directory.principal(named.principal('triage-agent'))
    const sibling = { ...triage, id: named.principal('sibling-agent') } as Caller['principal']
    const caller = { ...w.as('triage-agent', { key: KEY }), principal: sibling }
    for (const ask of [
      () => w.broker.view(caller, grant.id),
      () => w.broker.complete(caller, grant.id, {}),
      () => w.broker.withdraw(caller, grant.id, ''),
      () => w.broker.revoke(caller, grant.id, ''),
    ])
      expect(await codeOf(ask())).toBe('grant_not_found')
    expect(await codeOf(w.broker.view(w.as('sam'), grant.id))).toBe('ok')
  })

  it('what lives on after its requester and its entitlement are gone is still seen and ended by the SOC', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
    const sol = w.as('sol')
    const { directory, policy } = w.book.current()
    await w.publish({
      directory: {
        ...directory,
        revision: directory.revision + 1,
        digest: `${directory.digest.slice(0, -1)}A` as never,
        principal: (id) => (id === 'triage-agent' ? undefined : directory.principal(id)),
      },
      policy: {
        ...policy,
        revision: policy.revision + 1,
        digest: `${policy.digest.slice(0, -1)}A` as never,
        entitlement: (id) => (id === 'ticket-triage' ? undefined : policy.entitlement(id)),
      },
    })
    expect((await w.broker.view(sol, grant.id)).head.status).toBe('active')
    expect((await w.broker.list(sol, {}, { limit: 5, cursor: undefined })).grants).toHaveLength(1)
    expect((await w.broker.revoke(sol, grant.id, 'gone')).head.status).toBe('ended')
  })

  it('absent and forbidden are the same answer, for every verb', async () => {
    const w = await world()
    const grant = await w.approvedToken()
    const missing = `${grant.id.slice(0, -3)}777` as typeof grant.id
    const vera = w.as('vera')
    const verbs: ((id: typeof grant.id) => Promise<unknown>)[] = [
      (id) => w.broker.view(vera, id),
      (id) => w.broker.events(vera, id),
      (id) => w.broker.decide(vera, id, approve),
      (id) => w.broker.withdraw(vera, id, ''),
      (id) => w.broker.exchange(vera, id),
      (id) => w.broker.complete(vera, id, {}),
      (id) => w.broker.revoke(vera, id, ''),
    ]
    const said = async (work: Promise<unknown>) =>
      work.catch(({ code, message, facts, nextAction }: BrokerError) =>
        JSON.stringify([code, message, facts, nextAction]),
      )
    for (const verb of verbs) expect(await said(verb(grant.id))).toBe(await said(verb(missing)))
    expect(await said(verbs[0]?.(grant.id) ?? Promise.resolve())).toContain('grant_not_found')
  })

  it('lists hold what one may see, page by page', async () => {
    const w = await world()
    for (let n = 0; n < 5; n += 1) {
      await w.approvedLogin()
      await w.approvedToken()
    }
    const all = async (who: string) => {
      const seen: string[] = []
      let cursor: string | undefined
      do {
        const page = await w.broker.list(w.as(who), {}, { limit: 3, cursor })
        seen.push(...page.grants.map((grant) => grant.ask.intent.entitlement))
        cursor = page.next
      } while (cursor !== undefined)
      return seen
    }
    expect(new Set(await all('vera'))).toEqual(new Set(['payments-migrator']))
    expect(await all('audra')).toHaveLength(10)
    expect(await all('paula')).toHaveLength(10)
    expect(await all('dana')).toEqual([])
  })
})
