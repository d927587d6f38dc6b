// An approval is worth what is true when it is used: whatever it rested on is asked again at the exchange, and the refusal names what does
// not hold. A refused grant stays approved: put back, or decided again by who may now, it works.
import { describe, expect, it } from 'vitest'
import type { Asking } from '../../src/broker/request.ts'
import { named } from '../../src/domain/ids.ts'
import { after, days, formatInstant, hours, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import type { Intent, Texts } from '../../src/domain/intent.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import { checkReferences } from '../../src/policy/references.ts'
import { memoryDecisionSigner } from '../support/memory-ports.ts'
import {
  type Change,
  cited,
  DEPUTIES,
  FRIDAY,
  HOUR,
  LEGAL,
  ledger,
  MONDAY,
  PRIVACY,
  REVIEW,
  type ReviewWorld,
  refusal,
  reviewDirectory,
  reviewPolicy,
  reviewWorld,
  SECURITY,
  TERM_END,
} from '../support/review-world.ts'
import { digest } from '../support/sample-grants.ts'
import { asking, attempt, KEY } from '../support/world.ts'

const statusOf = async (w: ReviewWorld, grant: Parameters<ReviewWorld['found']>[0]) =>
  (await w.found(grant)).head.status
/** Of the entitlement for the ledger. */
const people = (part: Record<string, unknown> = {}) => ({
  approval: { owner: 'olivia', deputies: DEPUTIES, reviewers: [SECURITY, PRIVACY], ...part },
})
const forLedger = (part: Record<string, unknown>): Change => ({ entitlements: { 'ledger-repair': part } })

it('the fixture is a policy and a directory that fit each other', () => {
  expect(checkReferences(reviewPolicy(1, {}), reviewDirectory(1, {})).problems).toEqual([])
})

describe('what was approved on Monday for Friday', () => {
  const CASES: readonly (readonly [string, Change, Readonly<Record<string, unknown>>])[] = [
    [
      'the requester has left its group',
      { agents: { 'fix-agent': { groups: [] } } },
      { code: 'policy_refused', action: 'Request' },
    ],
    [
      'the executor has left its group',
      { persons: { dana: { groups: [] } } },
      { code: 'policy_refused', action: 'Exchange' },
    ],
    [
      'a reviewer has left the group',
      { persons: { paula: { groups: ['askers'] } } },
      {
        code: 'policy_refused',
        limit: 'approval',
        missing: ['security'],
        void: [{ by: 'paula', seat: 'security', because: 'may not decide as security any more' }],
      },
    ],
    [
      'the requester, an agent, is switched off',
      { agents: { 'fix-agent': { active: false } } },
      { code: 'not_permitted', role: 'requester', absence: 'inactive' },
    ],
    [
      "the agent's sponsor is switched off",
      { persons: { sam: { active: false } } },
      { code: 'not_permitted', role: 'requester', absence: 'no_active_sponsor' },
    ],
    [
      'the executor is switched off',
      { persons: { dana: { active: false } } },
      { code: 'not_permitted', role: 'executor', absence: 'inactive' },
    ],
    [
      'a reviewer is switched off',
      { persons: { priya: { active: false } } },
      {
        limit: 'approval',
        missing: ['privacy'],
        void: [{ by: 'priya', seat: 'privacy', because: 'no longer active' }],
      },
    ],
    [
      'the owner is switched off',
      { persons: { olivia: { active: false } } },
      { limit: 'approval', missing: ['owner'], void: [{ by: 'olivia', seat: 'owner', because: 'no longer active' }] },
    ],
    [
      'the owner has moved to another tenant',
      { persons: { olivia: { tenant: 'globex' } } },
      {
        limit: 'approval',
        missing: ['owner'],
        void: [{ by: 'olivia', seat: 'owner', because: 'the guards do not permit Approve' }],
      },
    ],
    [
      'a reviewer has got standing access to the target',
      { persons: { paula: { standingAccess: ['ledger-db'] } } },
      {
        limit: 'approval',
        missing: ['security'],
        void: [{ by: 'paula', because: 'has standing access to the target' }],
      },
    ],
    [
      "a reviewer's agent has got standing access to the target",
      { agents: { 'paula-agent': { standingAccess: ['ledger-db'] } } },
      {
        limit: 'approval',
        missing: ['security'],
        void: [{ by: 'paula', because: 'has standing access to the target' }],
      },
    ],
    [
      'a reviewer has become a sponsor of the requester',
      { agents: { 'fix-agent': { sponsors: ['sam', 'paula'] } } },
      { limit: 'approval', missing: ['security'], void: [{ by: 'paula', because: 'requester_sponsor' }] },
    ],
    ['a window is shorter now', forLedger({ limits: { maxUses: 2, maxDuration: '59m' } }), { limit: 'duration' }],
    ['fewer uses are allowed', forLedger({ limits: { maxUses: 1 } }), { limit: 'uses' }],
    ['the action is gone', forLedger({ actions: { 'ledger.look': 'read' } }), { limit: 'actions' }],
    ['the scope is gone', forLedger({ scopes: ['schema:other'] }), { limit: 'scope' }],
    ['a plan must be named', forLedger({ planRequired: true }), { limit: 'plan' }],
    ['a ticket must be named', forLedger({ ticketRequired: true }), { limit: 'ticket' }],
    [
      'another reviewer is needed',
      forLedger(people({ reviewers: [SECURITY, PRIVACY, LEGAL] })),
      { limit: 'approval', missing: ['legal'] },
    ],
    [
      'a second reviewer of the same role is needed',
      forLedger(people({ reviewers: [SECURITY, { ...PRIVACY, count: 2 }] })),
      { limit: 'approval', missing: ['privacy'] },
    ],
    [
      'one more criterion is to be found true',
      forLedger(
        people({ reviewers: [{ ...SECURITY, criteria: { ...SECURITY.criteria, more: 'And this.' } }, PRIVACY] }),
      ),
      { limit: 'approval', missing: ['security'] },
    ],
    [
      'one more kind of evidence is to be cited',
      forLedger(people({ reviewers: [{ ...SECURITY, evidence: [...SECURITY.evidence, 'test-results'] }, PRIVACY] })),
      { limit: 'approval', missing: ['security'] },
    ],
    [
      'one more person is needed',
      forLedger(people({ approvals: 4 })),
      { limit: 'approval', missing: ['1 more person'] },
    ],
    ['another owner is named', forLedger(people({ owner: 'lars' })), { limit: 'approval', missing: ['owner'] }],
    ['passkeys are asked for', forLedger(people({ stepUp: true })), { limit: 'approval' }],
    [
      'it is of a higher tier, which asks more persons',
      { ...forLedger({ tier: 'critical' }), tiers: { critical: { approvals: 4, maxUses: 2 } } },
      { limit: 'approval', missing: ['1 more person'] },
    ],
    [
      'its tier asks more persons',
      { tiers: { high: { approvals: 4 }, critical: { approvals: 4 } } },
      { limit: 'approval', missing: ['1 more person'] },
    ],
    [
      'the entitlement is not offered to this tenant any more',
      forLedger({ openTo: ['acme'] }),
      { code: 'policy_refused' },
    ],
    [
      'a guard forbids it',
      {
        guards:
          '@id("not-now") forbid (principal, action == Action::"Exchange", resource == Entitlement::"ledger-repair");',
      },
      { code: 'policy_refused', action: 'Exchange', because: ['not-now'] },
    ],
    [
      'a guard forbids the approver',
      { guards: '@id("not-paula") forbid (principal == Person::"paula", action == Action::"Approve", resource);' },
      {
        limit: 'approval',
        missing: ['security'],
        void: [{ by: 'paula', because: 'the guards do not permit Approve' }],
      },
    ],
    [
      'the agent is registered with another manifest',
      { agents: { 'fix-agent': { manifest: digest('other tools') } } },
      { limit: 'manifest', role: 'requester' },
    ],
    [
      'the agent is registered with no manifest',
      { agents: { 'fix-agent': { manifest: undefined } } },
      { limit: 'manifest', role: 'requester' },
    ],
    [
      'its credential is made in another way',
      forLedger({
        credential: {
          kind: 'vault',
          backend: 'vault-main',
          engine: 'database',
          database: { mount: 'database', connection: 'ledger', grantedRole: 'ledger_admin', ownerRole: 'ledger_owner' },
        },
      }),
      { limit: 'entitlement' },
    ],
  ]

  it.each(CASES)('is refused when %s, says so, and works once that is put back', async (_, change, says) => {
    const w = await reviewWorld()
    const grant = await w.approved({ uses: 2 })
    const dana = w.as('dana')
    w.advance(days(2))
    await w.put(change)
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(dana, grant.id))).toMatchObject({ code: 'policy_refused', ...says })
    expect(w.backend.calls('open')).toBe(0)
    expect(await statusOf(w, grant)).toBe('approved')
    await w.put()
    expect(await refusal(w.broker.exchange(dana, grant.id))).toBe('ok')
  })

  it("is refused when the deputy's term is over, and then decided again by the owner", async () => {
    const w = await reviewWorld()
    await w.put({ persons: { olivia: { active: false } } })
    const grant = await w.filed()
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    expect((await w.yes('rob', grant)).head.status).toBe('approved')
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({
      limit: 'approval',
      missing: ['owner'],
      void: [{ by: 'rob', seat: 'owner', because: 'may not decide as owner any more' }],
    })
    await w.put()
    expect((await w.yes('olivia', grant)).head.status).toBe('approved')
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  const AGAIN: readonly (readonly [string, Change, string, Record<string, unknown>])[] = [
    ['another reviewer, after the first has left', { persons: { paula: { active: false } } }, 'pete', REVIEW],
    ['a deputy, after the owner has left', { persons: { olivia: { active: false } } }, 'dora', {}],
    ['a new owner', forLedger(people({ owner: 'lars' })), 'lars', {}],
    ['a new role', forLedger(people({ reviewers: [SECURITY, PRIVACY, LEGAL] })), 'lars', {}],
  ]
  it.each(AGAIN)('can be decided again: by %s', async (_, change, who, more) => {
    const w = await reviewWorld()
    const grant = await w.approved()
    await w.put(change)
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'approval' })
    expect((await w.yes(who, grant, more)).head.status).toBe('approved')
    expect((await w.store.events(grant.id)).at(-1)).toMatchObject({ type: 'approval_added', by: who })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it('can be taken on by the owner: the risk of a review that does not hold any more', async () => {
    const w = await reviewWorld()
    const grant = await w.approved()
    await w.put({ persons: { paula: { active: false } } })
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ missing: ['security'] })
    const accepts = [{ risk: 'review:security', until: after(FRIDAY, minutes(1)) }]
    await w.broker.acceptRisks(w.as('olivia'), grant.id, { accepts, reason: 'mine' })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it('needs no further approval, nor a denial, as long as its approvals hold', async () => {
    const w = await reviewWorld()
    const grant = await w.approved()
    expect(await refusal(w.yes('pete', grant, REVIEW))).toMatchObject({ code: 'wrong_status' })
    expect(await refusal(w.no('pete', grant))).toMatchObject({ code: 'wrong_status' })
  })

  it('keeps refusing where whoever decides again has no part in it', async () => {
    const w = await reviewWorld()
    const grant = await w.approved()
    await w.put({ persons: { paula: { active: false } } })
    w.until(FRIDAY)
    expect(await refusal(w.yes('lars', grant))).toMatchObject({ code: 'not_permitted' })
    expect(await refusal(w.yes('pete', grant))).toMatchObject({ limit: 'review' })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'approval' })
  })

  it('is asked again at every single exchange, also of an active grant', async () => {
    const w = await reviewWorld()
    const grant = await w.approved({ uses: 2 })
    w.until(FRIDAY)
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id, attempt('attempt-one')))).toBe('ok')
    await w.put({ persons: { paula: { active: false } } })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id, attempt('attempt-two')))).toMatchObject({
      limit: 'approval',
    })
  })
})

describe('what the policy approved by itself', () => {
  it.each<[string, Change, string]>([
    ['asks a person today', { entitlements: { 'sales-report': { approval: { owner: 'lena' } } } }, 'approval'],
    [
      'is forbidden to approve it',
      { guards: '@id("no") forbid (principal, action == Action::"AutoApprove", resource);' },
      'approval',
    ],
    ['is of a higher tier today', { entitlements: { 'sales-report': { flags: ['resilience'] } } }, 'entitlement'],
  ])('is refused where it %s', async (_, change, limit) => {
    const w = await reviewWorld()
    const dana = w.as('dana', { key: KEY })
    const report = asking(MONDAY, { entitlement: named.entitlement('sales-report'), actions: ['report.read'] })
    const grant = await w.file(dana, report)
    expect(grant.head.status).toBe('approved')
    await w.put(change)
    expect(await refusal(w.broker.exchange(dana, grant.id))).toMatchObject({
      code: 'policy_refused',
      limit,
    })
    await w.put()
    expect(await refusal(w.broker.exchange(dana, grant.id))).toBe('ok')
  })
})

describe('the agent that executes', () => {
  const triage = (from = MONDAY): Asking =>
    asking(from, { entitlement: named.entitlement('desk-triage'), actions: ['tickets.update'] })
  const CASES: readonly (readonly [string, Change, Readonly<Record<string, unknown>>])[] = [
    [
      'its sponsor is gone',
      { persons: { sam: { active: false } } },
      { role: 'executor', absence: 'no_active_sponsor' },
    ],
    ['it is switched off', { agents: { 'fix-agent': { active: false } } }, { role: 'executor', absence: 'inactive' }],
    ['it has other tools', { agents: { 'fix-agent': { manifest: digest('other') } } }, { limit: 'manifest' }],
    [
      'its token would be for another audience',
      {
        entitlements: {
          'desk-triage': { target: { id: 'desk', environment: 'production', audience: 'https://other.example' } },
        },
      },
      { limit: 'entitlement' },
    ],
    [
      'whoever asks is not to execute any more',
      { entitlements: { 'desk-triage': { separateExecutor: true } } },
      { limit: 'executor' },
    ],
  ]
  it.each(CASES)('gets nothing when %s', async (_, change, says) => {
    const w = await reviewWorld()
    const agent = w.as('fix-agent', { key: KEY })
    const grant = await w.file(agent, triage())
    await w.yes('lena', grant)
    await w.put(change)
    expect(await refusal(w.broker.exchange(agent, grant.id))).toMatchObject(says)
    await w.put()
    expect(await refusal(w.broker.exchange(agent, grant.id))).toBe('ok')
  })
})

describe('the stored ask', () => {
  const later = after(FRIDAY, minutes(90))
  /** Every member of an intent, made another. The types hold this against the intent: a new member is a new row. */
  const INTENT: { readonly [K in keyof Intent]: readonly ((intent: Intent) => Intent[K])[] } = {
    tenant: [() => named.tenant('acme')],
    entitlement: [() => named.entitlement('keys-rotate')],
    requester: [() => named.principal('vera')],
    executor: [
      () => ({ principal: named.principal('release-bot'), key: undefined }),
      ({ executor }) => ({ ...executor, key: KEY }),
    ],
    manifests: [
      (intent) => ({ ...intent.manifests, requester: digest('other') }),
      (intent) => ({ ...intent.manifests, requester: undefined }),
      (intent) => ({ ...intent.manifests, executor: digest('other') }),
    ],
    task: [() => 'another task', () => ''],
    session: [() => 'session-9'],
    target: [() => 'orders-db'],
    environment: [() => 'staging'],
    actions: [() => ['ledger.drop'], ({ actions }) => [...actions, 'ledger.drop'], () => []],
    scope: [() => ['schema:hr'], ({ scope }) => [...scope, 'schema:hr'], () => []],
    dataTypes: [() => ['metrics', 'customer-contact'], () => []],
    destination: [() => 'partner', () => ''],
    exposure: [
      ({ exposure }) => exposure && { ...exposure, segment: 'everybody' },
      ({ exposure }) => exposure && { ...exposure, from: 2 },
      ({ exposure }) => exposure && { ...exposure, to: 50 },
      ({ exposure }) => exposure && { ...exposure, rollbackCriteria: 'never' },
      () => undefined,
    ],
    change: [() => ({ forge: 'hub', repository: 'northwind/shop', sha: 'a'.repeat(40) })],
    changeClass: [() => 'standard', () => 'emergency'],
    impact: [({ impact }) => ({ ...impact, resilience: !impact.resilience })],
    plan: [
      ({ plan }) => plan && { ...plan, digest: digest('another plan') },
      ({ plan }) => plan && { ...plan, mediaType: 'text/plain' },
      () => undefined,
    ],
    ticket: [
      ({ ticket }) => ticket && { ...ticket, system: 'other' },
      ({ ticket }) => ticket && { ...ticket, id: 'CHG-9' },
      () => undefined,
    ],
    window: [
      ({ window }) => ({ ...window, closesAt: later }),
      ({ window }) => ({ ...window, opensAt: after(window.opensAt, milliseconds(-1)) }),
    ],
    credential: [
      ({ credential }) => ({ ...credential, uses: 2 }),
      ({ credential }) => ({ ...credential, kind: 'jwt' }),
    ],
  }
  const TEXTS: { readonly [K in keyof Texts]: string } = {
    summary: 'another',
    objective: 'another',
    expectedOutcome: 'another',
    rollback: 'none',
    ticketUrl: 'https://desk.example/2',
    planUri: 'https://plans.example/2',
  }
  const full: Partial<Asking> = {
    dataTypes: ['metrics'],
    destination: 'archive',
    exposure: { segment: 'beta', from: 1, to: 10, rollbackCriteria: 'errors above one of 100' },
    plan: { digest: digest('the plan'), mediaType: 'application/json' },
    ticket: { system: 'desk', id: 'CHG-1' },
    impact: { ...NO_IMPACT, dataFlow: true },
    texts: {
      summary: 'a repair',
      objective: 'the sums are right',
      expectedOutcome: 'three rows',
      rollback: 'the backup of Sunday',
      ticketUrl: 'https://desk.example/1',
      planUri: 'https://plans.example/1',
    },
  }
  const onFriday = async () => {
    const w = await reviewWorld()
    const grant = await w.approved(full)
    w.until(FRIDAY)
    return { w, grant }
  }
  const altered = Object.entries(INTENT).flatMap(([member, ways]) => ways.map((way, n) => [member, n, way] as const))

  it.each(altered)('altered in %s (%d) after the approval is refused', async (member, _, way) => {
    const { w, grant } = await onFriday()
    const value = way(grant.ask.intent)
    expect(value).not.toEqual(grant.ask.intent[member as keyof Intent])
    const intent: Intent = { ...grant.ask.intent, [member]: value }
    const verbs = w.edited(grant.id, (stored) => ({ ...stored, ask: JSON.stringify({ ...grant.ask, intent }) }))
    // Whoever alters who executes would come as that.
    const { principal, key } = intent.executor
    const caller = w.as(principal, { key, session: intent.session })
    expect(await refusal(verbs.exchange(caller, grant.id))).toMatchObject({ code: 'policy_refused', limit: 'digest' })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id))).toBe('ok')
  })

  it.each(Object.entries(TEXTS))('altered in the text %s after the approval is refused', async (member, value) => {
    const { w, grant } = await onFriday()
    const texts = { ...grant.ask.texts, [member]: value }
    const verbs = w.edited(grant.id, (stored) => ({ ...stored, ask: JSON.stringify({ ...grant.ask, texts }) }))
    expect(await refusal(verbs.exchange(w.as('dana'), grant.id))).toMatchObject({
      code: 'policy_refused',
      limit: 'digest',
    })
  })

  it('altered together with its digest is refused: the votes were on another', async () => {
    const { w, grant } = await onFriday()
    const other = await w.filed({ ...full, scope: ['schema:hr'] })
    const { intent, digest: of } = other.ask
    const verbs = w.edited(grant.id, (stored) => ({
      ...stored,
      ask: JSON.stringify({ ...grant.ask, intent, digest: of }),
    }))
    expect(await refusal(verbs.exchange(w.as('dana'), grant.id))).toMatchObject({
      limit: 'approval',
      missing: ['owner', 'privacy', 'security'],
    })
  })

  it('weakened in what was asked of approvers is judged by what is asked today', async () => {
    const { w, grant } = await onFriday()
    const weak = { mode: 'people', owner: 'sam', deputies: [], reviewers: [], approvals: 1, stepUp: false }
    for (const rule of [weak, { mode: 'auto' }]) {
      const verbs = w.edited(grant.id, (stored) => ({
        ...stored,
        ask: JSON.stringify({ ...grant.ask, rule, tier: 'low', earlier: [] }),
        decisions: [],
      }))
      expect(await refusal(verbs.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'approval' })
    }
  })

  it('is the same in any order of its members, and for any attempt', async () => {
    const { w, grant } = await onFriday()
    const turned = (text: string): string => JSON.stringify(backwards(JSON.parse(text)))
    const verbs = w.edited(grant.id, ({ ask, head, decisions, ...rest }) => ({
      ...rest,
      ask: turned(ask),
      head: turned(head),
      decisions: decisions.map(turned),
    }))
    expect((await w.stored(grant.id)).ask).not.toBe(turned((await w.stored(grant.id)).ask))
    w.backend.fault('open', 'fail', { definite: true })
    expect(await refusal(verbs.exchange(w.as('dana'), grant.id, attempt('attempt-one')))).not.toBe('ok')
    expect(await refusal(verbs.exchange(w.as('dana'), grant.id, attempt('attempt-two')))).toBe('ok')
  })
})

/** The same value, its members in the other order; lists stay as they are. */
const backwards = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(backwards)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, member]) => [key, backwards(member)]),
  )
}

describe('a decision', () => {
  const onFriday = async () => {
    const w = await reviewWorld()
    const grant = await w.approved()
    w.until(FRIDAY)
    return { w, grant, dana: w.as('dana') }
  }
  const member = (change: (vote: Record<string, unknown>) => Record<string, unknown>) => (text: string) =>
    JSON.stringify(change(JSON.parse(text)))

  const ALTERED: readonly (readonly [string, Record<string, unknown>])[] = [
    ['its signature', { signature: 'memory.none' }],
    ['an empty signature', { signature: '' }],
    ['who decided', { by: 'pete' }],
    ['the seat', { seat: 'owner' }],
    ['the reason', { reason: 'other' }],
    ['the time', { at: MONDAY + 1 }],
    ['the checklist', { checklist: ['threats', 'reach', 'more'] }],
    ['the evidence', { evidence: [cited('threat-model'), cited('rollback-plan'), cited('test-results')] }],
    ['the policy it was made under', { policyDigest: digest('other') }],
    ['the people it was made under', { peopleDigest: digest('other') }],
    ['the texts it is about', { textsDigest: digest('other') }],
    ['the intent it is about', { digest: digest('other') }],
    ['the owner it stands for', { deputyFor: 'olivia' }],
    ['a risk that it takes', { accepts: [{ risk: 'review:privacy', until: FRIDAY + HOUR }] }],
  ]
  it.each(ALTERED)('altered in %s counts no more', async (_, change) => {
    const { w, grant, dana } = await onFriday()
    const alter = member((vote) => ({ ...vote, ...change }))
    const verbs = w.edited(grant.id, (stored) => ({
      ...stored,
      decisions: stored.decisions.map((text, n) => (n === 0 ? alter(text) : text)),
    }))
    const said = await refusal(verbs.exchange(dana, grant.id))
    expect(said).toMatchObject({ code: 'policy_refused', limit: 'approval' })
    expect(said).toHaveProperty('missing', ['security'])
    expect(said).toHaveProperty('void.0.because', 'its signature does not hold')
  })

  it('with a condition taken out of it counts no more', async () => {
    const w = await reviewWorld()
    const grant = await w.filed()
    const condition = { text: 'tell the desk', owner: named.person('dana'), due: FRIDAY }
    await w.yes('paula', grant, { ...REVIEW, conditions: [condition] })
    await w.yes('priya', grant)
    await w.yes('olivia', grant)
    w.until(FRIDAY)
    const without = member((vote) => ({ ...vote, conditions: [] }))
    const verbs = w.edited(grant.id, (stored) => ({ ...stored, decisions: stored.decisions.map(without) }))
    expect(await refusal(verbs.exchange(w.as('dana'), grant.id))).toMatchObject({ limit: 'approval' })
  })

  it('left out is missing', async () => {
    const { w, grant, dana } = await onFriday()
    for (const [n, seat] of ['security', 'privacy', 'owner'].entries()) {
      const verbs = w.edited(grant.id, (stored) => ({ ...stored, decisions: stored.decisions.toSpliced(n, 1) }))
      expect(await refusal(verbs.exchange(dana, grant.id))).toMatchObject({ limit: 'approval', missing: [seat] })
    }
  })

  it('copied from another grant, or swapped between two of the same intent, counts for neither', async () => {
    const w = await reviewWorld()
    const [one, two] = [await w.approved(), await w.approved()]
    expect(two.ask.digest).toBe(one.ask.digest)
    const third = await w.filed()
    w.until(FRIDAY)
    const [of1, of2] = [await w.stored(one.id), await w.stored(two.id)]
    const dana = w.as('dana')
    const says = { limit: 'approval', missing: ['owner', 'privacy', 'security'] }
    for (const [grant, decisions] of [
      [one, of2.decisions],
      [two, of1.decisions],
    ] as const) {
      const verbs = w.edited(grant.id, (stored) => ({ ...stored, decisions }))
      expect(await refusal(verbs.exchange(dana, grant.id))).toMatchObject(says)
    }
    // A single one of them is not either, and nor is a whole copy beside the own ones.
    const mixed = w.edited(one.id, (stored) => ({
      ...stored,
      decisions: [...stored.decisions.slice(0, 2), ...of2.decisions.slice(2)],
    }))
    expect(await refusal(mixed.exchange(dana, one.id))).toMatchObject({ limit: 'approval', missing: ['owner'] })
    const planted = w.edited(third.id, (stored) => ({ ...stored, head: of1.head, decisions: of1.decisions }))
    expect(await refusal(planted.exchange(dana, third.id))).toMatchObject(says)
    expect(await refusal(w.broker.exchange(dana, one.id))).toBe('ok')
  })

  it('of another group of brokers counts for nothing', async () => {
    const { w, grant, dana } = await onFriday()
    const others = w.another({ signatures: memoryDecisionSigner('two') })
    expect(await refusal(others.exchange(dana, grant.id))).toMatchObject({ limit: 'approval' })
  })

  it.each([
    ['a reviewer', 'paula', 'security'],
    ['the owner', 'olivia', 'owner'],
  ])(
    'of %s, replayed after it was withdrawn, counts for nothing, whoever sets the grant back',
    async (_, who, seat) => {
      const { w, grant, dana } = await onFriday()
      const before = await w.stored(grant.id)
      const own = before.decisions.filter((text) => text.includes(`"by":"${who}"`))
      expect(own).toHaveLength(1)
      expect((await w.broker.retract(w.as(who), grant.id, 'not so')).head.status).toBe('withdrawn')
      const now = await w.stored(grant.id)
      for (const decisions of [now.decisions, [...now.decisions, ...own], [...own, ...now.decisions]]) {
        const verbs = w.edited(grant.id, (stored) => ({ ...stored, head: before.head, decisions }))
        expect(await refusal(verbs.exchange(dana, grant.id))).toMatchObject({ limit: 'approval', missing: [seat] })
      }
      expect(await refusal(w.broker.exchange(dana, grant.id))).toMatchObject({ code: 'wrong_status' })
    },
  )
})

describe('an approval that nobody uses', () => {
  const CASES = [
    ['a person', 'dana', hours(1)],
    ['an agent, sooner', 'fix-agent', minutes(5)],
  ] as const
  const approvedNow = async (executor: string) => {
    const w = await reviewWorld()
    const window = { opensAt: MONDAY, closesAt: after(MONDAY, hours(2)) }
    const asked = ledger(MONDAY, { window, executor: named.principal(executor) })
    const grant = await w.file(w.as('fix-agent', { key: KEY }), asked)
    await w.yes('paula', grant, REVIEW)
    await w.yes('priya', grant)
    w.advance(minutes(10))
    const { head } = await w.yes('olivia', grant)
    return { w, grant, facts: head.facts, caller: w.as(executor, { key: executor === 'fix-agent' ? KEY : undefined }) }
  }

  it.each(CASES)('of %s is good until the last moment', async (_, executor, within) => {
    const { w, grant, facts, caller } = await approvedNow(executor)
    expect(facts).toMatchObject({ useBy: after(w.now(), within) })
    w.advance(milliseconds(within - 1))
    while ((await w.broker.sweep('vault-main')).more);
    expect(await refusal(w.broker.exchange(caller, grant.id))).toBe('ok')
  })

  it.each(CASES)('of %s is over then, and lapses', async (_, executor, within) => {
    const { w, grant, caller } = await approvedNow(executor)
    w.advance(within)
    const useBy = formatInstant(w.now())
    expect(await refusal(w.broker.exchange(caller, grant.id))).toMatchObject({ code: 'window_closed', useBy })
    await w.settle(seconds(10))
    expect(await statusOf(w, grant)).toBe('lapsed')
    expect((await w.store.events(grant.id)).filter(({ type }) => type === 'lapsed')).toHaveLength(1)
  })

  it('counts from the opening of a window that lies ahead', async () => {
    const w = await reviewWorld()
    const grant = await w.approved({ window: { opensAt: FRIDAY, closesAt: after(FRIDAY, hours(2)) } })
    expect(grant.head.facts).toMatchObject({ useBy: after(FRIDAY, hours(1)) })
  })

  it('is used by its first exchange: what comes later counts from the window alone', async () => {
    const w = await reviewWorld()
    const window = { opensAt: MONDAY, closesAt: after(MONDAY, hours(2)) }
    const grant = await w.approved({ window, uses: 2 })
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id, attempt('attempt-one')))).toBe('ok')
    w.advance(minutes(90))
    await w.settle(seconds(5))
    expect(await refusal(w.broker.exchange(w.as('dana'), grant.id, attempt('attempt-two')))).toBe('ok')
  })
})

it.each([
  ['at the last moment of it holds', milliseconds(-1), 'ok'],
  ['is over with it', milliseconds(0), { limit: 'approval', missing: ['owner'] }],
] as const)('a decision by a deputy whose term ends within the window %s', async (_, from, says) => {
  const w = await reviewWorld()
  await w.put({ persons: { olivia: { active: false } } })
  const grant = await w.filed({
    window: { opensAt: after(TERM_END, minutes(-30)), closesAt: after(TERM_END, minutes(30)) },
  })
  await w.yes('paula', grant, REVIEW)
  await w.yes('priya', grant)
  await w.yes('rob', grant)
  w.until(after(TERM_END, from))
  const said = await refusal(w.broker.exchange(w.as('dana'), grant.id))
  if (says === 'ok') expect(said).toBe('ok')
  else expect(said).toMatchObject(says)
})
