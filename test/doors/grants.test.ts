// The grants of `/v1` on the wire: what reaches the verbs, and what their answers look like.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Explained } from '../../src/broker/broker.ts'
import { asFiled } from '../../src/broker/judge.ts'
import type { Entitlement } from '../../src/domain/entitlement.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { named } from '../../src/domain/ids.ts'
import { days, hours, after as later, minutes } from '../../src/domain/instant.ts'
import { STATUSES } from '../../src/domain/lifecycle.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import { secret } from '../../src/domain/secret.ts'
import * as wire from '../../src/http/wire.ts'
import { sampleDecision, sampleEvent, sampleMints } from '../support/sample-grants.ts'
import {
  BOUND_TOKEN,
  CANARY,
  dpop,
  grantIn,
  ISSUER,
  JSON_TYPE,
  jwtCredential,
  KEY,
  liveMint,
  NOW,
  OTHER_KEY,
  PROOF,
  type Stage,
  stage,
  TOKEN,
  vera,
} from './door.ts'

let on: Stage
beforeAll(async () => {
  on = await stage()
})
afterAll(() => on.stop())
beforeEach(() => {
  on.calls.length = 0
  on.proofs.length = 0
  on.state.nonce = undefined
  on.state.clockTrusted = true
})

const post = (path: string, value: unknown, headers: readonly (readonly [string, string])[] = []) =>
  on.send('POST', path, { headers: [JSON_TYPE, ...headers], body: JSON.stringify(value) })
const caller = { principal: vera, key: undefined, session: '', facts: {} }

const asked = grantIn('pending')
const explained: Explained = {
  intent: asked.ask.intent,
  digest: asked.ask.digest,
  entitlement: asFiled(asked.ask),
  executor: vera,
  auto: false,
  tier: 'elevated',
  flags: ['exposure', 'privilegedAccess'],
  reasons: ['tier elevated', 'needs owner'],
  couldDecide: 2,
  decideBy: asked.ask.decideBy,
  lapsesAt: asked.ask.lapsesAt,
  policy: asked.ask.policy,
}
const least = {
  entitlement: 'payments-migrator',
  actions: ['db.migrate'],
  task: { summary: 'Add the settlement table' },
  window: { duration: '30m' },
}
const full = {
  ...least,
  scope: ['schema:payments'],
  dataTypes: ['pii'],
  destination: 'https://warehouse.example',
  task: {
    id: 'CHG1',
    summary: 'Zażółć gęślą jaźń 🚀',
    objective: 'Settle\nfaster',
    expectedOutcome: 'It is there\nand works',
    rollback: 'Drop it',
  },
  changeClass: 'emergency',
  impact: { dataFlow: true, backupOrRecovery: true },
  exposure: { segment: 'eu', from: 5, to: 20, rollbackCriteria: 'Errors rise' },
  plan: { digest: `sha-256:${'A'.repeat(43)}`, mediaType: 'application/json', uri: 'https://ci.example/plan/1' },
  ticket: { system: 'servicenow', id: 'CHG0031337', url: 'https://desk.example/CHG0031337' },
  window: { opensAt: '2026-11-21T23:00:00+01:00', closesAt: '2026-11-21T23:00:00Z' },
  credential: { uses: 3 },
  executor: { principal: 'vera-agent', key: KEY },
  replaces: `g0-${'a'.repeat(26)}`,
  more: [{ entitlement: 'sales-report', actions: ['report.read'], credential: { uses: 2 } }],
}

describe('filing', () => {
  const grant = grantIn('pending')
  beforeEach(() => on.answer({ request: () => ({ grant, again: false }) }))

  it('fills every default in and leaves it to the verb when a window by duration opens', async () => {
    const got = await post('/v1/grants', least)
    expect(got.status).toBe(201)
    expect(on.calls).toEqual([
      {
        verb: 'request',
        args: [
          caller,
          {
            entitlement: 'payments-migrator',
            actions: ['db.migrate'],
            scope: [],
            dataTypes: [],
            destination: '',
            task: '',
            changeClass: 'normal',
            impact: NO_IMPACT,
            exposure: undefined,
            plan: undefined,
            ticket: undefined,
            window: { duration: minutes(30) },
            uses: 1,
            executor: undefined,
            executorKey: undefined,
            texts: {
              summary: 'Add the settlement table',
              objective: '',
              expectedOutcome: '',
              rollback: '',
              ticketUrl: '',
              planUri: '',
            },
            replaces: undefined,
            more: [],
          },
          undefined,
        ],
      },
    ])
  })

  it('hands every member on as it was written', async () => {
    expect((await post('/v1/grants', full)).status).toBe(201)
    expect(on.calls[0]?.args[1]).toEqual({
      entitlement: 'payments-migrator',
      actions: ['db.migrate'],
      scope: ['schema:payments'],
      dataTypes: ['pii'],
      destination: 'https://warehouse.example',
      task: 'CHG1',
      changeClass: 'emergency',
      impact: { ...NO_IMPACT, dataFlow: true, backupOrRecovery: true },
      exposure: full.exposure,
      plan: { digest: full.plan.digest, mediaType: 'application/json' },
      ticket: { system: 'servicenow', id: 'CHG0031337' },
      window: { opensAt: NOW, closesAt: later(NOW, hours(1)) },
      uses: 3,
      executor: 'vera-agent',
      executorKey: KEY,
      texts: {
        summary: full.task.summary,
        objective: 'Settle\nfaster',
        expectedOutcome: full.task.expectedOutcome,
        rollback: 'Drop it',
        ticketUrl: full.ticket.url,
        planUri: full.plan.uri,
      },
      replaces: full.replaces,
      more: [
        {
          entitlement: 'sales-report',
          actions: ['report.read'],
          scope: [],
          dataTypes: [],
          destination: '',
          uses: 2,
        },
      ],
    })
  })

  it('hands an Idempotency-Key on, quoted or bare, and says when the asking had been filed before', async () => {
    for (const sent of ['"5f1c-key-of-one-asking"', '5f1c-key-of-one-asking']) {
      const got = await post('/v1/grants', least, [['Idempotency-Key', sent]])
      expect([got.status, got.headers['idempotency-replayed']]).toEqual([201, undefined])
      expect(on.calls.at(-1)?.args[2]).toBe('5f1c-key-of-one-asking')
    }
    on.answer({ request: () => ({ grant, again: true }) })
    const got = await post('/v1/grants', least, [['Idempotency-Key', '"5f1c-key-of-one-asking"']])
    expect([got.status, got.headers['idempotency-replayed']]).toEqual([201, 'true'])
  })

  it.each([
    ['too short', '"short"'],
    ['too long', `"${'k'.repeat(129)}"`],
    ['half quoted', '"a-key-without-an-end'],
    ['with a quote inside', '"a-key-with-"-inside"'],
    ['with a space, bare', 'a key with spaces'],
    ['empty', ''],
  ])('refuses an Idempotency-Key that is %s', async (_, sent) => {
    const got = await post('/v1/grants', least, [['Idempotency-Key', sent]])
    expect([got.status, got.body.type]).toEqual([400, 'urn:writ:error:invalid_request'])
    expect(on.calls).toEqual([])
  })

  it('says on a dry run what would become of it, and files nothing', async () => {
    on.answer({ explain: () => [explained] })
    const got = await on.send('POST', '/v1/grants?dryRun=true', { headers: [JSON_TYPE], body: JSON.stringify(least) })
    expect(got.status).toBe(200)
    expect(wire.dryRunAnswer.parse(got.body).grants[0]).toMatchObject({
      approval: 'people',
      couldDecide: 2,
      flags: ['exposure', 'privilegedAccess'],
      lapsesAt: '2026-11-21T22:40:00.000Z',
      residue: '30s',
      revocability: 'at_once',
      rule: { owner: 'olivia', reviewers: [{ role: 'security', evidence: ['threat-model'], veto: true }] },
    })
    expect(on.calls.map(({ verb }) => verb)).toEqual(['explain'])
    const odd = await on.send('POST', '/v1/grants?dryRun=false', { headers: [JSON_TYPE], body: JSON.stringify(least) })
    expect(odd.status).toBe(400)
  })

  it('answers 201 with the place of the grant and its revision', async () => {
    const got = await post('/v1/grants', least)
    expect(got.headers.location).toBe(`/v1/grants/${grant.id}`)
    expect(got.headers.etag).toBe(`"${grant.ask.digest}"`)
    expect(wire.grantAnswer.parse(got.body)).toMatchObject({
      id: grant.id,
      status: 'pending',
      digest: grant.ask.digest,
    })
  })

  it('refuses texts that hold what cannot be seen, and says which', async () => {
    for (const bad of [
      '\u0000',
      '\u0007',
      '\u001b[31m',
      '\u0085',
      '\u009b',
      '\r',
      '\u2028',
      '\u202e',
      '\u2066',
      '\u200f',
      '\u061c',
      '\ufeff',
      '\u200b',
      '\u{e0041}',
    ]) {
      for (const task of [{ summary: `a${bad}b` }, { summary: 'a', rollback: `a${bad}b` }]) {
        const got = await post('/v1/grants', { ...least, task })
        expect({ bad, status: got.status }).toEqual({ bad, status: 400 })
        expect(got.body.facts.issues[0].member).toMatch(/^task\./)
      }
    }
    expect(on.calls).toEqual([])
  })

  it('refuses every member that is too long, too many, of another form or out of range', async () => {
    const many = (n: number) => Array.from({ length: n }, (_, i) => `a${i}`)
    const plan = full.plan
    const bad: readonly object[] = [
      { entitlement: 'Payments' },
      { entitlement: '../root' },
      { actions: [] },
      { actions: many(21) },
      { actions: ['db migrate'] },
      { scope: many(51) },
      { scope: ['a'.repeat(201)] },
      { scope: ['a\u202eb'] },
      { task: { summary: '' } },
      { task: { summary: 'a'.repeat(501) } },
      { task: { summary: 'two\nlines' } },
      { task: { summary: 'a', rollback: 'a'.repeat(2_001) } },
      { task: { summary: 'a', more: 1 } },
      { task: { summary: 'a', id: 'a b' } },
      { changeClass: 'urgent' },
      { impact: { dataFlow: 'true' } },
      { plan: { ...plan, digest: 'sha-256:short' } },
      { plan: { ...plan, uri: 'javascript:alert(1)' } },
      { plan: { ...plan, uri: 'https://a b' } },
      { plan: { ...plan, mediaType: 'json' } },
      { ticket: { system: 'servicenow' } },
      { ticket: { system: 'servicenow', id: 'CHG 1' } },
      // Shown as one word, it would be the ticket `1` of this system, or `CHG:1` of servicenow.
      { ticket: { system: 'servicenow:CHG', id: '1' } },
      { window: {} },
      { window: { duration: '0m' } },
      { window: { duration: '30' } },
      { window: { duration: '30m', closesAt: '2026-11-21T23:00:00Z' } },
      { window: { opensAt: '2026-11-21T23:00:00', closesAt: '2026-11-21T23:00:00Z' } },
      { window: { opensAt: '2026-02-30T23:00:00Z', closesAt: '2026-11-21T23:00:00Z' } },
      { window: { duration: `${'9'.repeat(9)}d` } },
      { credential: { uses: 0 } },
      { credential: { uses: 1.5 } },
      { credential: { uses: 1_001 } },
      { executor: {} },
      { executor: { principal: 'Vera' } },
      { executor: { key: 'short' } },
      { requester: 'olivia' },
      { tenant: 'northwind' },
    ]
    for (const change of bad) {
      const got = await post('/v1/grants', { ...least, ...change })
      expect({ change, status: got.status, type: got.body.type }).toEqual({
        change,
        status: 400,
        type: 'urn:writ:error:invalid_request',
      })
    }
    expect(on.calls).toEqual([])
  })
})

describe('showing', () => {
  it.each(STATUSES)(
    'shows a grant that is %s as that, strictly as the schema says, without the store’s own members',
    async (status) => {
      const plain = grantIn(status)
      const grant = {
        ...plain,
        decisions: [sampleDecision('olivia', NOW)],
        head: { ...plain.head, mints: sampleMints(NOW), result: { done: 'yes' } },
      } as typeof plain
      on.answer({ view: () => grant })
      const got = await on.send('GET', `/v1/grants/${grant.id}`)
      expect(got.status).toBe(200)
      expect(wire.waitAnswer.parse(got.body)).toMatchObject({
        status,
        intent: { window: { opensAt: '2026-11-21T22:00:00.000Z' } },
      })
      expect(got.text).not.toMatch(/"signature"|"accessor"|acc-|"version"|"attempt"|"seq"|grantedRole/)
      expect(got.body.next_action).toMatch(/\w/)
      if (status === 'ending' || status === 'stuck') expect(got.body.facts).not.toHaveProperty('endedAt')
    },
  )

  it('calls an approved grant scheduled until its window opens', async () => {
    const grant = grantIn('approved', later(NOW, minutes(10)))
    on.answer({ view: () => grant })
    expect((await on.send('GET', `/v1/grants/${grant.id}`)).body.scheduled).toBe(true)
    on.state.now = later(NOW, minutes(10))
    expect((await on.send('GET', `/v1/grants/${grant.id}`)).body.scheduled).toBe(false)
    on.state.now = NOW
  })

  it('lists by limit and cursor, and shows the next cursor only where there is one', async () => {
    const grants = [grantIn('pending'), grantIn('ended')]
    on.answer({ list: () => ({ grants, next: '12-3' }) })
    const got = await on.send('GET', '/v1/grants?limit=2&cursor=9-9')
    expect(on.calls).toEqual([{ verb: 'list', args: [caller, {}, { limit: 2, cursor: '9-9' }] }])
    expect(wire.listAnswer.parse(got.body)).toMatchObject({ next: '12-3' })
    on.answer({ list: () => ({ grants: [], next: undefined }) })
    expect((await on.send('GET', '/v1/grants')).body).toEqual({ grants: [] })
    expect(on.calls[1]?.args.slice(1)).toEqual([{}, { limit: 20, cursor: undefined }])
  })

  it('shows the events of a grant without where they stand in the store', async () => {
    const grant = grantIn('pending')
    on.answer({ events: () => [{ ...sampleEvent(grant.id, 'filed', NOW), version: 1, seq: 77 }] })
    const got = await on.send('GET', `/v1/grants/${grant.id}/events`)
    expect(wire.eventsAnswer.parse(got.body).events).toMatchObject([
      { type: 'filed', version: 1, at: '2026-11-21T22:00:00.000Z' },
    ])
    expect(got.text).not.toContain('77')
  })

  it('shows what may be asked for, without the backend’s mounts, connections and roles', async () => {
    const grant = grantIn('pending')
    const entitlement: Entitlement = {
      id: named.entitlement('payments-migrator'),
      title: 'Migrate payments',
      tenant: named.tenant('northwind'),
      openTo: [named.tenant('acme')],
      tier: 'elevated',
      target: { id: 'payments-db', environment: 'production', audience: 'https://payments.northwind.example' },
      actions: { 'db.migrate': 'write' },
      actionFlags: {},
      flags: [],
      scopes: ['schema:payments'],
      credential: {
        kind: 'vault',
        backend: 'vault-main',
        engine: 'database',
        database: {
          mount: 'hidden-mount',
          connection: 'hidden-connection',
          grantedRole: 'hidden-role',
          ownerRole: 'hidden-owner',
        },
        revocability: 'at_once',
      },
      approval: grant.ask.rule,
      limits: {
        maxDuration: hours(4),
        horizon: days(14),
        decideWithin: days(1),
        escalateWithin: hours(4),
        useWithin: hours(4),
        agentsUseWithin: minutes(15),
        maxUses: 1,
      },
      ticketRequired: true,
      planRequired: false,
      separateExecutor: false,
      maxApprovers: 20,
      release: undefined,
      bindClaims: {},
      onMisuse: undefined,
    }
    on.answer({ offered: () => [entitlement] })
    const got = await on.send('GET', '/v1/entitlements')
    expect(wire.entitlementsAnswer.parse(got.body).entitlements).toMatchObject([
      { id: 'payments-migrator', credential: { kind: 'vault' }, limits: { maxDuration: '4h' } },
    ])
    expect(got.text).not.toContain('hidden')
  })
})

describe('deciding and ending', () => {
  const grant = grantIn('pending')
  const path = `/v1/grants/${grant.id}`

  it('takes the revision voted on from the body or from If-Match', async () => {
    on.answer({ decide: () => grant })
    const { digest } = grant.ask
    const vote = { verdict: 'approve', reason: 'fine' }
    expect((await post(`${path}/decisions`, { ...vote, digest })).status).toBe(200)
    expect((await post(`${path}/decisions`, vote, [['If-Match', `"${digest}"`]])).status).toBe(200)
    expect((await post(`${path}/decisions`, { ...vote, digest }, [['If-Match', `"${digest}"`]])).status).toBe(200)
    const bare = { ...vote, checklist: [], evidence: [], conditions: [], accepts: [], again: false }
    expect(on.calls.map(({ args }) => args)).toEqual(Array(3).fill([caller, grant.id, { ...bare, digest }]))
    expect((await post(`${path}/decisions`, vote)).status).toBe(200)
    expect(on.calls[3]?.args[2]).toEqual({ ...bare, digest: undefined })
    expect((await post(`${path}/decisions`, vote, [['Idempotency-Key', '"the-vote-of-today"']])).status).toBe(200)
    expect(on.calls[4]?.args[2]).toMatchObject({ again: true })
  })

  it('hands on everything that a review says', async () => {
    on.answer({ decide: () => grant, closeCondition: () => grant, acceptRisks: () => grant, retract: () => grant })
    const evidence = [
      { kind: 'threat-model', url: 'https://docs.example/model', digest: `sha-256:${'A'.repeat(43)}` },
      { kind: 'note', text: 'Looked at\nby two.' },
    ]
    const accepts = [{ risk: 'review:legal', until: '2026-11-22T23:00:00+01:00' }]
    const accepted = [{ risk: 'review:legal', until: later(NOW, hours(24)) }]
    const review = { verdict: 'approve', reason: 'yes', as: 'security', checklist: ['modelled'], evidence }
    const conditions = [{ text: 'Watch', owner: 'rob', due: '2026-11-21T23:00:00Z' }]
    expect((await post(`${path}/decisions`, { ...review, conditions, accepts })).status).toBe(200)
    expect((await post(`${path}/closures`, { condition: 'abcdefghijkl', reason: 'done', evidence })).status).toBe(200)
    expect((await post(`${path}/acceptances`, { accepts, reason: 'small' })).status).toBe(200)
    expect((await post(`${path}/retractions`, { reason: 'I was wrong' })).status).toBe(200)
    const { as: seat, ...said } = review
    const due = later(NOW, hours(1))
    expect(on.calls.map(({ verb, args }) => [verb, ...args.slice(1)])).toEqual([
      [
        'decide',
        grant.id,
        {
          ...said,
          seat,
          digest: undefined,
          conditions: [{ text: 'Watch', owner: 'rob', due }],
          accepts: accepted,
          again: false,
        },
      ],
      ['closeCondition', grant.id, { condition: 'abcdefghijkl', reason: 'done', evidence }],
      ['acceptRisks', grant.id, { accepts: accepted, reason: 'small' }],
      ['retract', grant.id, 'I was wrong'],
    ])
  })

  it('says of a decision taken back that the end is not confirmed, where it is not', async () => {
    for (const [status, code] of [
      ['ending', 202],
      ['stuck', 202],
      ['ended', 200],
      ['withdrawn', 200],
      ['pending', 200],
    ] as const) {
      on.answer({ retract: () => grantIn(status) })
      expect([status, (await on.send('POST', `${path}/retractions`)).status]).toEqual([status, code])
    }
  })

  it.each([
    [
      'a risk that is none',
      'acceptances',
      { accepts: [{ risk: 'everything', until: '2026-11-22T22:00:00Z' }], reason: 'a' },
    ],
    ['no risk', 'acceptances', { accepts: [], reason: 'a' }],
    ['a risk without a reason', 'acceptances', { accepts: [{ risk: 'review:legal', until: '2026-11-22T22:00:00Z' }] }],
    ['a risk without an end', 'acceptances', { accepts: [{ risk: 'review:legal' }], reason: 'a' }],
    ['no condition', 'closures', { reason: 'a' }],
    [
      'evidence of a kind without an address',
      'closures',
      { condition: 'abcdefghijkl', evidence: [{ kind: 'threat-model', text: 'a' }] },
    ],
    [
      'evidence of no kind',
      'decisions',
      {
        verdict: 'approve',
        evidence: [{ kind: 'rumour', url: 'https://a.example', digest: `sha-256:${'A'.repeat(43)}` }],
      },
    ],
    ['a seat that is none', 'decisions', { verdict: 'approve', as: 'admin' }],
    ['a condition without an end', 'decisions', { verdict: 'approve', conditions: [{ text: 'a', owner: 'rob' }] }],
  ])('refuses %s', async (_, of, body) => {
    const got = await post(`${path}/${of}`, body)
    expect([got.status, got.body.type, on.calls]).toEqual([400, 'urn:writ:error:invalid_request', []])
  })

  it('refuses an If-Match that is not one revision, or another than the body names', async () => {
    const other = `sha-256:${'B'.repeat(43)}`
    for (const headers of [
      [['If-Match', '*']],
      [['If-Match', `W/"${other}"`]],
      [['If-Match', `"${other}", "${other}"`]],
      [['If-Match', '"v3"']],
      [
        ['If-Match', `"${other}"`],
        ['If-Match', `"${other}"`],
      ],
      [['If-Match', `"${other}"`]],
    ] as const) {
      const got = await post(`${path}/decisions`, { verdict: 'approve', digest: grant.ask.digest }, headers)
      expect({ headers, status: got.status }).toEqual({ headers, status: 400 })
    }
    expect((await post(`${path}/decisions`, { verdict: 'maybe' })).status).toBe(400)
    expect(on.calls).toEqual([])
  })

  it('hands reason and result on', async () => {
    const ended = grantIn('ended')
    on.answer({ withdraw: () => grantIn('withdrawn'), revoke: () => ended, complete: () => ended })
    expect((await post(`${path}/withdraw`, { reason: 'not needed' })).body.status).toBe('withdrawn')
    expect((await post(`${path}/revoke`, { reason: 'alarm' })).status).toBe(200)
    expect((await post(`${path}/complete`, { result: { rows: '3' } })).status).toBe(200)
    expect(on.calls.map(({ verb, args }) => [verb, args[2]])).toEqual([
      ['withdraw', 'not needed'],
      ['revoke', 'alarm'],
      ['complete', { rows: '3' }],
    ])
  })

  it.each(['ending', 'stuck'] as const)('answers 202 and never says ended while the end is %s', async (status) => {
    on.answer({ revoke: () => grantIn(status), complete: () => grantIn(status) })
    for (const verb of ['revoke', 'complete']) {
      const got = await post(`${path}/${verb}`, {})
      expect({ status: got.status, said: got.body.status }).toEqual({ status: 202, said: status })
    }
  })

  it('refuses bytes that are no UTF-8 inside a text, and never mends them', async () => {
    const body = Buffer.concat([Buffer.from('{"reason":"a'), Buffer.from([0xff]), Buffer.from('"}')])
    const got = await on.send('POST', `${path}/revoke`, { headers: [JSON_TYPE], body })
    expect({ status: got.status, calls: on.calls }).toEqual({ status: 400, calls: [] })
  })

  it('ends also without a body, and while the clock is not trusted', async () => {
    on.state.clockTrusted = false
    on.answer({ revoke: () => grantIn('ended') })
    expect((await on.send('POST', `${path}/revoke`)).status).toBe(200)
  })

  it('hands operations to those who judge them', async () => {
    expect((await post('/v1/operations/recover', { reason: 'Redis was restored' })).body).toEqual({ done: true })
    expect((await on.send('POST', '/v1/operations/accept-clock')).body).toEqual({ done: true })
    expect(on.calls).toEqual([
      { verb: 'recover', args: [caller, 'Redis was restored', 'when_clean'] },
      { verb: 'acceptClock', args: [caller, ''] },
    ])
  })
})

describe('exchanging', () => {
  const grant = grantIn('active')
  const path = `/v1/grants/${grant.id}/exchange`

  it('shows a token once, with the attempt handed on, and never stores the answer', async () => {
    on.answer({ exchange: () => ({ grant, mint: liveMint(), credential: jwtCredential(CANARY) }) })
    const got = await post(path, { attempt: 'attempt-1' }, [dpop(KEY)])
    expect(on.calls).toEqual([{ verb: 'exchange', args: [{ ...caller, key: KEY }, grant.id, 'attempt-1'] }])
    expect(got.status).toBe(200)
    expect(got.headers['cache-control']).toBe('no-store')
    expect(wire.exchangeAnswer.parse(got.body).credential).toEqual({
      kind: 'jwt',
      token: CANARY,
      tokenType: 'DPoP',
      expiresAt: '2026-11-21T22:05:00.000Z',
      audience: 'https://payments.northwind.example',
    })
  })

  it('shows a login once', async () => {
    const credential = {
      kind: 'vault' as const,
      secret: secret({ username: 'u', password: CANARY }),
      leaseId: 'lease/1',
      expiresAt: NOW,
    }
    on.answer({ exchange: () => ({ grant, mint: liveMint(), credential }) })
    const got = await post(path, {})
    expect(wire.exchangeAnswer.parse(got.body).credential).toMatchObject({
      kind: 'vault',
      secret: { username: 'u', password: CANARY },
    })
    expect(got.headers['cache-control']).toBe('no-store')
  })

  it('hands out what was made even if the clock is lost meanwhile', async () => {
    on.answer({
      exchange: () => {
        on.state.clockTrusted = false
        return { grant, mint: liveMint(), credential: jwtCredential(CANARY) }
      },
    })
    const got = await post(path, {}, [dpop(KEY)])
    expect(got.body.credential.token).toBe(CANARY)
  })

  it('refuses an attempt that is no name for one', async () => {
    for (const attempt of ['short', 'a'.repeat(65), 'with space', 7])
      expect((await post(path, { attempt })).status).toBe(400)
    expect(on.calls).toEqual([])
  })

  it('never writes a secret, a token, a proof, a body or a query into a log line', async () => {
    on.lines.length = 0
    const verbs: Parameters<Stage['answer']>[0] = {
      exchange: () => {
        throw new BrokerError('vault_refused', 'Vault refuses.', { cause: { token: CANARY, password: CANARY } })
      },
      request: () => {
        throw Object.assign(new Error(`${CANARY} ${TOKEN}`), { config: { headers: { 'X-Vault-Token': CANARY } } })
      },
    }
    on.answer(verbs)
    await post(path, { attempt: CANARY }, [dpop(KEY)])
    await post('/v1/grants', { ...least, destination: CANARY })
    await on.send('GET', `/v1/grants?cursor=${CANARY}`)
    await on.send('GET', `/v1/grants/${CANARY}`, {
      headers: [
        ['Authorization', `Bearer ${CANARY}`],
        ['User-Agent', CANARY],
      ],
    })
    expect(on.lines.length).toBeGreaterThanOrEqual(2)
    expect(on.lines.join('')).not.toContain(CANARY)
    expect(on.lines.join('')).not.toContain(TOKEN)
    expect(on.lines.join('')).not.toContain(PROOF[KEY])
  })
})

describe('the caller', () => {
  const get = (headers: readonly (readonly [string, string])[]) => on.send('GET', '/v1/entitlements', { headers })
  beforeEach(() => on.answer({ offered: () => [] }))
  const seen = () => (on.calls[0]?.args[0] as { key?: string } | undefined)?.key

  it('has no key without a proof', async () => {
    expect((await get([])).status).toBe(200)
    expect(seen()).toBeUndefined()
  })

  it('may prove a key beside a bearer token, for this method, this public URL and this token', async () => {
    expect((await on.send('GET', '/v1/grants/g0-x?wait=1', { headers: [dpop(KEY)] })).status).toBe(404)
    expect((await get([dpop(KEY)])).status).toBe(200)
    expect(seen()).toBe(KEY)
    expect(on.proofs[0]).toEqual({
      proof: PROOF[KEY],
      method: 'GET',
      url: `${ISSUER}/v1/grants/g0-x`,
      accessToken: TOKEN,
    })
  })

  it('has the key that was proven here and no other, and proves one only', async () => {
    const before = on.state.authenticate
    on.state.authenticate = async () => ({ ...caller, key: OTHER_KEY })
    expect((await get([dpop(KEY)])).status).toBe(200)
    on.state.authenticate = before
    expect(seen()).toBe(KEY)
    on.calls.length = 0
    expect((await get([dpop(KEY), dpop(KEY)])).status).toBe(401)
    expect(on.calls).toEqual([])
  })

  it('is taken with a bound token only as DPoP, with a proof of that key', async () => {
    const as = (scheme: string, token: string) => ['Authorization', `${scheme} ${token}`] as const
    expect((await get([as('DPoP', BOUND_TOKEN), dpop(KEY)])).status).toBe(200)
    expect((await get([as('dpop', BOUND_TOKEN), dpop(KEY)])).status).toBe(200)
    on.calls.length = 0
    expect((await get([as('Bearer', BOUND_TOKEN), dpop(KEY)])).status).toBe(401)
    expect((await get([as('Bearer', BOUND_TOKEN)])).status).toBe(401)
    expect((await get([as('DPoP', BOUND_TOKEN)])).status).toBe(401)
    expect((await get([as('DPoP', BOUND_TOKEN), dpop(OTHER_KEY)])).status).toBe(401)
    expect((await get([as('DPoP', TOKEN), dpop(KEY)])).status).toBe(401)
    expect(on.calls).toEqual([])
  })

  it('is refused with a proof that was used before, and nobody else leaves a mark of one', async () => {
    on.spent.length = 0
    const strangers = [
      [['Authorization', 'Bearer of.some.body'] as const, dpop(KEY)],
      [['Authorization', `DPoP ${BOUND_TOKEN}`] as const, dpop(OTHER_KEY)],
      [['Authorization', `Bearer ${BOUND_TOKEN}`] as const, dpop(KEY)],
    ]
    for (const headers of strangers) expect((await get(headers)).status).toBe(401)
    expect(on.spent).toEqual([])
    on.state.proofsOnce = true
    expect((await get([dpop(KEY)])).status).toBe(200)
    expect(on.spent).toEqual([PROOF[KEY]])
    const again = await get([dpop(KEY)])
    expect([again.status, again.headers['www-authenticate']]).toEqual([
      401,
      expect.stringContaining('DPoP error="invalid_dpop_proof"'),
    ])
    expect(on.calls).toHaveLength(1)
    on.state.proofsOnce = false
  })

  it('is told which nonce the next proof needs, and gets a fresh one with every answer to a proof', async () => {
    on.state.nonce = 'fresh-nonce'
    const got = await get([['DPoP', PROOF.nonceless]])
    expect(got.status).toBe(401)
    expect(got.headers['www-authenticate']).toContain('DPoP error="use_dpop_nonce"')
    expect(got.headers['dpop-nonce']).toBe('fresh-nonce')
    expect((await get([['DPoP', PROOF.bad]])).headers['www-authenticate']).toContain('DPoP error="invalid_dpop_proof"')
    expect((await get([dpop(KEY)])).headers['dpop-nonce']).toBe('fresh-nonce')
    expect((await get([])).headers['dpop-nonce']).toBeUndefined()
  })
})
