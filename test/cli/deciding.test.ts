// What is said with a decision, and after one: every flag is in the body or is a usage error, and the walk asks whoever sits there for what
// their seat must bring, and nobody for more.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.ts'
import type { GrantAnswer } from '../../src/http/wire.ts'
import { type Bench, bench, problem, type Routes, type Sent, wireGrant } from './bench.ts'

let on: Bench
let grant: GrantAnswer
let folder: string
let model: string
beforeAll(async () => {
  on = await bench()
  grant = wireGrant('pending', on.url)
  folder = mkdtempSync(join(tmpdir(), 'writ-deciding-'))
  model = join(folder, 'the model.pdf')
  writeFileSync(model, 'a model')
})
afterAll(async () => {
  await on.stop()
  rmSync(folder, { recursive: true })
})

const ok = (body: unknown) => (): Sent => ({ body })
const DIGEST = `sha-256:${createHash('sha256').update('a model').digest('base64url')}`
const DUE = '2026-12-01T20:00:00Z'
const CONDITION = 'k3V9xQ-f2Lr_'
const posts = () => on.received.filter(({ method }) => method === 'POST')
const at = (path: string, answer: () => Sent = ok(grant)): Routes => ({
  [`GET /v1/grants/${grant.id}`]: ok(grant),
  [`POST /v1/grants/${grant.id}/${path}`]: answer,
})

describe('a decision by flags', () => {
  it('says all that they say', async () => {
    on.routes(at('decisions'))
    const flags = [
      ...['--as', 'security', '--found', 'modelled', '--found', 'tested'],
      ...['--evidence', `threat-model https://docs.example/a?b=c#d ${model}`],
      ...['--evidence', `test-results https://ci.example/1 ${DIGEST}`, '--note', 'Looked at by two.'],
      ...['--if', `Close the port; and log it; rob; ${DUE}`, '--accept', `review:legal=${DUE}`],
    ]
    expect((await on.run(['approve', grant.id, '--reason', 'Sound', ...flags])).code).toBe(EXIT.ok)
    expect(posts()[0]?.body).toEqual({
      verdict: 'approve',
      reason: 'Sound',
      as: 'security',
      checklist: ['modelled', 'tested'],
      evidence: [
        { kind: 'threat-model', url: 'https://docs.example/a?b=c#d', digest: DIGEST },
        { kind: 'test-results', url: 'https://ci.example/1', digest: DIGEST },
        { kind: 'note', text: 'Looked at by two.' },
      ],
      conditions: [{ text: 'Close the port; and log it', owner: 'rob', due: DUE }],
      accepts: [{ risk: 'review:legal', until: DUE }],
    })
    expect((await on.run(['deny', grant.id, '--reason', 'No', '--as', 'legal', '--note', 'Out of scope.'])).code).toBe(
      0,
    )
    expect(posts()[1]?.body).toEqual({
      verdict: 'deny',
      reason: 'No',
      as: 'legal',
      evidence: [{ kind: 'note', text: 'Out of scope.' }],
    })
  })

  it.each([
    ['a seat that is none', ['--as', 'admin']],
    ['a criterion that is no name', ['--found', 'Not A Name']],
    ['evidence without a file', ['--evidence', 'threat-model https://docs.example/m']],
    ['evidence of no kind', ['--evidence', `rumour https://docs.example/m ${DIGEST}`]],
    ['evidence at no address', ['--evidence', `threat-model docs ${DIGEST}`]],
    ['evidence whose file is not there', ['--evidence', 'threat-model https://docs.example/m no-such-file']],
    ['a note as evidence', ['--evidence', `note https://docs.example/m ${DIGEST}`]],
    ['a condition without a person', ['--if', `Close the port; ${DUE}`]],
    ['a condition without a time', ['--if', 'Close the port; rob; soon']],
    ['a risk without a time', ['--accept', 'review:legal']],
    ['a risk that is none', ['--accept', `everything=${DUE}`]],
    ['a risk until no time', ['--accept', 'review:legal=tomorrow']],
  ])('is not sent with %s', async (_, flags) => {
    on.routes(at('decisions'))
    expect((await on.run(['approve', grant.id, '--reason', 'x', ...flags])).code).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })

  it('knows no conditions and no risks where it denies', async () => {
    on.routes(at('decisions'))
    for (const flags of [
      ['--if', `a; rob; ${DUE}`],
      ['--accept', `review:legal=${DUE}`],
    ])
      expect((await on.run(['deny', grant.id, '--reason', 'x', ...flags])).code).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })
})

describe('what is said after a decision', () => {
  it('closes a condition, with evidence', async () => {
    on.routes(at('closures'))
    const flags = ['--reason', 'I looked', '--evidence', `test-results https://ci.example/1 ${DIGEST}`]
    expect((await on.run(['close', grant.id, CONDITION, ...flags])).code).toBe(EXIT.ok)
    expect(posts()[0]?.body).toEqual({
      condition: CONDITION,
      reason: 'I looked',
      evidence: [{ kind: 'test-results', url: 'https://ci.example/1', digest: DIGEST }],
    })
  })
  it('takes risks by name', async () => {
    on.routes(at('acceptances'))
    const risks = [`review:legal=${DUE}`, `condition:${CONDITION}=${DUE}`]
    expect((await on.run(['accept', grant.id, ...risks, '--reason', 'Small'])).code).toBe(EXIT.ok)
    expect(posts()[0]?.body).toEqual({
      accepts: [
        { risk: 'review:legal', until: DUE },
        { risk: `condition:${CONDITION}`, until: DUE },
      ],
      reason: 'Small',
    })
  })
  it.each([
    ['close', 'closures', { condition: CONDITION, reason: 'x' }],
    ['accept', 'acceptances', { accepts: [{ risk: 'review:legal', until: DUE }], reason: 'x' }],
  ])('%s goes to the page where it needs a passkey, and is not said of what does not fit', async (verb, path, body) => {
    const word = verb === 'close' ? CONDITION : `review:legal=${DUE}`
    const by = { act: verb, by: 'olivia', reason: 'x', at: '2026-12-01T22:00:00.000Z', passkey: true }
    const signed = { ...grant, decisions: [by] }
    let looks = 0
    on.routes({
      ...at(path, () => problem('step_up_required', 401)),
      [`GET /v1/grants/${grant.id}`]: () => ({ body: ++looks === 1 ? grant : signed }),
      [`POST /v1/grants/${grant.id}/ceremonies`]: () => ({
        status: 201,
        body: {
          url: `${on.url}/step-up/page`,
          expiresAt: new Date(Date.now() + 60_000).toISOString(),
          statement: JSON.stringify({
            grant: grant.id,
            decision: { by: 'olivia', at: Date.parse(by.at), digest: grant.digest },
          }),
        },
      }),
    })
    const { code, err } = await on.run([verb, grant.id, word, '--reason', 'x', '--no-browser'])
    expect([code, err.includes('/step-up/page')]).toEqual([EXIT.ok, true])
    expect(posts().map((one) => [one.path.split('/').at(-1), one.body])).toEqual([
      [path, body],
      ['ceremonies', body],
    ])
    const forged = { ...grant, intent: { ...grant.intent, target: 'another-db' } }
    on.routes({ ...at(path), [`GET /v1/grants/${grant.id}`]: ok(forged) })
    expect((await on.run([verb, grant.id, word, '--reason', 'x'])).code).toBe(EXIT.refused)
    expect(posts()).toEqual([])
  })
  it.each([
    ['pending', 200, EXIT.ok],
    ['withdrawn', 200, EXIT.ok],
    ['ended', 200, EXIT.ok],
    ['ending', 202, EXIT.notYet],
    ['stuck', 202, EXIT.notYet],
  ] as const)('takes a decision back: %s afterwards', async (status, http, exit) => {
    const after = { ...wireGrant(status, on.url), id: grant.id }
    on.routes({
      [`POST /v1/grants/${grant.id}/retractions`]: () => ({ status: http, body: after }),
      [`GET /v1/grants/${grant.id}`]: ok({ ...wireGrant('ended', on.url), id: grant.id }),
    })
    expect((await on.run(['retract', grant.id, '--reason', 'I was wrong'])).code).toBe(exit)
    expect(posts()[0]?.body).toEqual({ reason: 'I was wrong' })
    expect((await on.run(['retract', grant.id, '--reason', 'I was wrong', '--wait'])).code).toBe(EXIT.ok)
  })
  it('needs a reason and its words', async () => {
    on.routes({})
    for (const args of [
      ['close', grant.id, CONDITION],
      ['close', grant.id, '--reason', 'x'],
      ['close', grant.id, 'short', '--reason', 'x'],
      ['accept', grant.id, `review:legal=${DUE}`],
      ['accept', grant.id, '--reason', 'x'],
      ['accept', grant.id, 'review:legal', '--reason', 'x'],
      ['retract', grant.id],
    ])
      expect((await on.run(args)).code, args.join(' ')).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })
})

describe('the walk', () => {
  const RULE: GrantAnswer['rule'] = {
    mode: 'people',
    owner: 'olivia',
    deputies: [{ group: 'dba', from: DUE, until: DUE }],
    reviewers: [
      {
        role: 'security',
        group: 'security',
        count: 1,
        criteria: { modelled: 'The threats are modelled.' },
        evidence: ['threat-model'],
        veto: false,
      },
      { role: 'legal', group: 'counsel', count: 1, criteria: {}, evidence: [], veto: false },
    ],
    approvals: 3,
    stepUp: false,
  }
  const vote = (as: string, verdict: 'approve' | 'deny') =>
    ({ act: 'vote', by: as, as, verdict, reason: '', at: DUE, passkey: false }) as const
  const me = (principal: string, ...groups: readonly string[]) => ({
    'GET /v1/whoami': ok({ principal, kind: 'person', tenant: 'northwind', groups, sponsors: [], session: '' }),
  })
  const walk = async (who: Routes, change: Partial<GrantAnswer>, answers: readonly string[]) => {
    const waiting = wireGrant('pending', on.url, { id: grant.id, rule: RULE, ...change })
    on.routes({
      ...at('decisions'),
      ...who,
      'GET /v1/grants': ok({ grants: [waiting] }),
      [`GET /v1/grants/${grant.id}/questions`]: ok({ questions: [] }),
    })
    const ran = await on.run(['review'], { terminal: { input: true, errors: true }, answers })
    return { ...ran, sent: posts().map(({ body }) => body) }
  }

  it('shows the rule, and asks a reviewer for each criterion, each kind of evidence and conditions', async () => {
    const { code, out, sent, err } = await walk(me('paula', 'security'), {}, [
      'a',
      'perhaps',
      'y',
      'no address',
      `https://docs.example/m ${model}`,
      `Close the port; rob; ${DUE}`,
      'half a condition',
      '',
      'Sound',
    ])
    expect(code).toBe(EXIT.ok)
    for (const word of ['finds modelled true: The threats are modelled.', 'cites evidence: threat-model'])
      expect(out).toContain(word)
    expect(err).toContain('Answer with one of: y n')
    expect(sent).toEqual([
      {
        verdict: 'approve',
        reason: 'Sound',
        checklist: ['modelled'],
        evidence: [{ kind: 'threat-model', url: 'https://docs.example/m', digest: DIGEST }],
        conditions: [{ text: 'Close the port', owner: 'rob', due: DUE }],
      },
    ])
  })
  it('lets a reviewer who does not find a criterion true deny it', async () => {
    const { sent, out } = await walk(me('paula', 'security'), {}, ['a', 'n', 'd', 'Not modelled'])
    expect(sent).toEqual([{ verdict: 'deny', reason: 'Not modelled' }])
    expect(out).toContain('1 denied.')
  })
  it('asks the owner for the risk of what is missing, negative or open, by name', async () => {
    const conditions = [
      { id: CONDITION, text: 'Close the port', by: 'paula', as: 'security', owner: 'rob', due: DUE, open: true },
    ]
    const decisions = [vote('security', 'approve'), vote('legal', 'deny')]
    const { asked, sent } = await walk(me('olivia'), { decisions, conditions }, ['a', DUE, '', 'I answer for it'])
    expect(asked.filter((question) => question.includes('risk'))).toHaveLength(2)
    expect(sent).toEqual([
      { verdict: 'approve', reason: 'I answer for it', accepts: [{ risk: 'review:legal', until: DUE }] },
    ])
  })
  it('lets the owner who takes no risk wait, and asks for none over a veto', async () => {
    const some = await walk(me('olivia'), {}, ['a', '', 's'])
    expect([some.sent, some.out]).toEqual([[], expect.stringContaining('1 skipped.')])
    const vetoing = { ...RULE, reviewers: RULE.reviewers.map((one) => ({ ...one, veto: true })) }
    const { sent, asked, err } = await walk(me('olivia'), { rule: vetoing }, ['a', 's'])
    expect([sent, asked.length]).toEqual([[], 2])
    expect(err).toContain('has a veto')
  })
  it('goes on where the time of a risk cannot be used', async () => {
    const decisions = [vote('security', 'approve')]
    const { sent, err } = await walk(me('olivia'), { decisions }, ['a', 'tomorrow', 'x', 'a', DUE, 'Small'])
    expect(err).toContain('RFC 3339')
    expect(sent).toEqual([{ verdict: 'approve', reason: 'Small', accepts: [{ risk: 'review:legal', until: DUE }] }])
  })
  it('asks as which where there are several seats, and asks a deputy like the owner', async () => {
    const both = await walk(me('paula', 'security', 'dba'), {}, [
      'a',
      'security',
      'y',
      `https://a.example ${model}`,
      '',
      'x',
    ])
    expect(both.sent).toMatchObject([{ as: 'security', checklist: ['modelled'] }])
    const decisions = [vote('security', 'approve'), vote('legal', 'approve')]
    const deputy = await walk(me('dan', 'dba'), { decisions }, ['a', 'For olivia'])
    expect(deputy.sent).toEqual([{ verdict: 'approve', reason: 'For olivia' }])
  })
  it('asks a plain owner nothing but why', async () => {
    const plain = { ...RULE, reviewers: [], approvals: 1 }
    const { asked, sent } = await walk(me('olivia'), { rule: plain }, ['a', 'Fine'])
    expect([asked.length, sent]).toEqual([2, [{ verdict: 'approve', reason: 'Fine' }]])
  })
})

describe('an asking', () => {
  it('says objective, stage and every impact by flags', async () => {
    const impact = ['destructive', 'irreversible', 'exposure', 'tenancyBoundary', 'backupOrRecovery', 'regulated']
    on.routes({
      'GET /v1/entitlements': ok({ entitlements: [] }),
      'POST /v1/grants': () => ({ status: 201, body: grant }),
    })
    const ASK = ['request', 'sales-report', '--action', 'report.read', '--for', '10m', '--summary', 'Weekly']
    const { code } = await on.run([
      ...ASK,
      ...['--objective', 'They asked', '--exposure', 'eu:north:5-10', '--exposure-rollback', 'Errors rise'],
      ...impact.flatMap((flag) => ['--impact', flag]),
    ])
    expect([code, posts()[0]?.body]).toEqual([
      EXIT.ok,
      {
        entitlement: 'sales-report',
        actions: ['report.read'],
        task: { summary: 'Weekly', objective: 'They asked' },
        exposure: { segment: 'eu:north', from: 5, to: 10, rollbackCriteria: 'Errors rise' },
        impact: Object.fromEntries(impact.map((flag) => [flag, true])),
        window: { duration: '10m' },
      },
    ])
    for (const wrong of [
      ['--exposure', 'eu'],
      ['--exposure', 'eu:20-10'],
      ['--exposure', 'eu:0-101'],
      ['--exposure-rollback', 'Errors rise'],
      ['--impact', 'none'],
    ])
      expect((await on.run([...ASK, ...wrong])).code, wrong.join(' ')).toBe(EXIT.usage)
    expect(posts()).toHaveLength(1)
  })

  it('is explained: tier and why, who must agree and how many could, until when, what may remain', async () => {
    const explained = {
      digest: grant.digest,
      intent: grant.intent,
      tier: 'high',
      flags: ['privilegedAccess'],
      reasons: ['high: privilegedAccess, because the entitlement says so'],
      approval: 'people',
      rule: grant.rule,
      couldDecide: 2,
      decideBy: 'soon',
      lapsesAt: 'later',
      useWithin: '15m',
      audience: '',
      credential: { kind: 'vault' },
      revocability: 'expiry',
      residue: '1h',
      policy: { revision: 7, digest: 'd' },
    }
    on.routes({
      'GET /v1/entitlements': ok({ entitlements: [] }),
      'POST /v1/grants': ok({ grants: [explained] }),
    })
    const file = join(folder, 'ask.yaml')
    writeFileSync(
      file,
      'entitlement: payments-migrator\nactions: [db.migrate]\ntask: { summary: Add, objective: They asked }\nwindow: { duration: 30m }\n',
    )
    for (const args of [
      ['policy', 'explain', file],
      ['request', '--file', file, '--dry-run'],
    ]) {
      const { code, out } = await on.run(args)
      expect(code).toBe(EXIT.ok)
      for (const word of [
        'at tier high',
        'because the entitlement says so',
        'privilegedAccess',
        'olivia, who decides last',
        '1 of the group security for security (veto)',
        'The threats are modelled.',
        'cites evidence: threat-model',
        '2 persons',
        'soon, and lapses at later',
        '15m of approval',
        'it cannot be revoked',
        '1h',
        'revision 7',
        'They asked',
      ])
        expect(out).toContain(word)
    }
    expect(posts().every(({ path }) => path.includes('dryRun=true'))).toBe(true)
  })
})
