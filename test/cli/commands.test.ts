// The commands against a broker that answers what a test says: what is sent, what is printed where, and how each ends.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/dev/running.ts'
import { GLOBAL, readArguments } from '../../src/cli/arguments.ts'
import { EXIT, exitOfProblem, MEANING } from '../../src/cli/exit-codes.ts'
import { COMMANDS } from '../../src/cli/writ.ts'
import { BLAME } from '../../src/domain/errors.ts'
import { STATUSES } from '../../src/domain/lifecycle.ts'
import { STATUS } from '../../src/http/problem.ts'
import type { GrantAnswer } from '../../src/http/wire.ts'
import { type Bench, bench, problem, type Sent, TOKEN, wireGrant } from './bench.ts'

let on: Bench
let pending: GrantAnswer
let folder: string
beforeAll(async () => {
  on = await bench()
  pending = wireGrant('pending', on.url)
  folder = mkdtempSync(join(tmpdir(), 'writ-files-'))
})
afterAll(async () => {
  await on.stop()
  rmSync(folder, { recursive: true })
})

const ESCAPE = '\u001b'
const ok = (body: unknown) => (): Sent => ({ body })
const show = (grant: GrantAnswer, more: object = {}) => ({
  [`GET /v1/grants/${grant.id}`]: ok(grant),
  [`GET /v1/grants/${grant.id}/questions`]: ok({ questions: [] }),
  ...more,
})
const OFFER = {
  id: 'sales-report',
  title: 'Read sales',
  tenant: 'northwind',
  tier: 'low',
  target: { id: 'reports', environment: 'production', audience: 'https://reports.example' },
  actions: { 'report.read': 'read' },
  scopes: [],
  credential: { kind: 'jwt', sender: 'dpop' },
  revocability: 'at_once',
  residue: '30s',
  approval: { mode: 'auto' },
  limits: { maxDuration: '1h', horizon: '14d', decideWithin: '1d', maxUses: 20 },
  ticketRequired: false,
  planRequired: false,
  separateExecutor: false,
}
const OFFERED = { 'GET /v1/entitlements': ok({ entitlements: [OFFER] }) }
const ASK = ['request', 'sales-report', '--action', 'report.read', '--for', '10m', '--summary', 'Weekly']

describe('help', () => {
  it('lists every command, and each has an example that its own options can read', async () => {
    const overview = await on.run(['--help'])
    expect(overview.code).toBe(EXIT.ok)
    for (const [name, load] of Object.entries(COMMANDS)) {
      const command = await load()
      expect(command.name).toBe(name)
      expect(overview.out).toContain(command.summary)
      const { code, out } = await on.run([name, '--help'])
      expect(code).toBe(EXIT.ok)
      expect(command.examples.length).toBeGreaterThan(0)
      for (const example of command.examples) {
        expect(out).toContain(example)
        // One shell word each, as far as examples go: quotes, and what a shell puts in.
        const line = /writ (.*?)(?:\)"| \||$)/.exec(example)?.[1] ?? ''
        const [first, ...words] = [...line.matchAll(/"[^"]*"|\S+/g)].map(([word]) => word.replaceAll('"', ''))
        expect([name, 'show']).toContain(first)
        if (first === name) expect(() => readArguments(words, { ...GLOBAL, ...command.options }), example).not.toThrow()
      }
      for (const option of Object.keys(command.options)) expect(out).toContain(`--${option}`)
    }
  })
  it('has no command that is missing from its groups', async () => {
    const { out } = await on.run(['help'])
    for (const name of Object.keys(COMMANDS)) expect(out).toMatch(new RegExp(`^  ${name} `, 'm'))
  })
  it('documents every exit code, and every refusal has one', async () => {
    const { out } = await on.run(['help', 'exit-codes'])
    for (const [code, { says }] of Object.entries(MEANING))
      expect(out).toMatch(new RegExp(`^  ${code}  .*${says}$`, 'm'))
    for (const code of Object.keys(BLAME)) {
      const http = Object.entries(STATUS).find(([name]) => name === code)?.[1] ?? 0
      expect(Object.values(EXIT)).toContain(exitOfProblem(code, http, undefined))
      expect(exitOfProblem(code, http, undefined)).not.toBe(EXIT.ok)
    }
  })
  it.each([
    [[], EXIT.usage],
    [['--help'], EXIT.ok],
    [['--version'], EXIT.ok],
    [['nonsense'], EXIT.usage],
    [['show'], EXIT.usage],
    [['show', 'a', 'b'], EXIT.usage],
    [['show', '../../etc'], EXIT.usage],
    [['list', '--limit', '0'], EXIT.usage],
    [['approve', 'x', '--reason', 'y'], EXIT.usage],
  ])('writ %j ends with %d', async (args, code) => {
    expect((await on.run(args)).code).toBe(code)
  })
})

describe('exit codes', () => {
  it.each([
    ['invalid_request', 400, {}, EXIT.usage],
    ['unauthenticated', 401, {}, EXIT.unauthenticated],
    ['not_permitted', 403, {}, EXIT.forbidden],
    ['own_request', 403, {}, EXIT.forbidden],
    ['grant_not_found', 404, {}, EXIT.missing],
    ['wrong_status', 409, { facts: { status: 'pending' } }, EXIT.notYet],
    ['wrong_status', 409, { facts: { status: 'ended' } }, EXIT.over],
    ['wrong_status', 409, { facts: { status: 'active' } }, EXIT.refused],
    ['window_not_open', 409, {}, EXIT.notYet],
    ['window_closed', 409, {}, EXIT.over],
    ['policy_refused', 422, {}, EXIT.refused],
    ['vault_unavailable', 503, {}, EXIT.unavailable],
    ['a_code_of_tomorrow', 503, {}, EXIT.unavailable],
    ['a_code_of_tomorrow', 409, {}, EXIT.refused],
  ])('%s (%d, %j) is %d', async (code, status, more, exit) => {
    on.routes({
      [`GET /v1/grants/${pending.id}`]: () => problem(code, status, { next_action: 'Do it otherwise.', ...more }),
    })
    const human = await on.run(['show', pending.id])
    expect(human.code).toBe(exit)
    expect([human.out, human.err]).toEqual(['', expect.stringContaining(`It is ${code}.`)])
    expect(human.err).toContain('→')
    const json = await on.run(['show', pending.id, '--json'])
    expect([json.code, json.out]).toEqual([exit, ''])
    expect(JSON.parse(json.err)).toMatchObject({ type: `urn:writ:error:${code}`, status })
  })
  it.each(STATUSES)('of a wait for a decision that came to %s', async (status) => {
    const grant = { ...wireGrant(status, on.url), id: pending.id }
    let looked = 0
    on.routes({
      ...show(pending),
      [`GET /v1/grants/${pending.id}`]: () => ({
        body: ++looked === 1 ? pending : { ...grant, timed_out: status === 'pending' },
      }),
    })
    let now = 0
    const { code } = await on.run(['show', pending.id, '--wait=60'], { now: () => ++now * 10_000 })
    const good = ['approved', 'issuing', 'active', 'ended'].includes(status)
    expect(code).toBe(good ? EXIT.ok : ['pending', 'ending', 'stuck'].includes(status) ? EXIT.notYet : EXIT.over)
  })
  it('is 8 where nobody answers, 3 where nobody is logged in, 2 where no broker is known', async () => {
    expect((await on.run(['list'], { env: { WRIT_BROKER: `http://127.0.0.1:${await freePort()}` } })).code).toBe(
      EXIT.unavailable,
    )
    expect((await on.run(['list'], { env: { WRIT_TOKEN: '' } })).code).toBe(EXIT.unauthenticated)
    expect((await on.run(['list'], { env: { WRIT_BROKER: '' } })).code).toBe(EXIT.usage)
  })
})

describe('what is sent', () => {
  it('is the token of the environment or of a file, and never to a plain http address elsewhere', async () => {
    on.routes({ 'GET /v1/grants': ok({ grants: [] }) })
    await on.run(['list'])
    expect(on.received[0]?.headers.authorization).toBe(`Bearer ${TOKEN}`)
    const file = join(folder, 'token')
    writeFileSync(file, 'of-a-file\n')
    await on.run(['list', '--token-file', file])
    expect(on.received[1]?.headers.authorization).toBe('Bearer of-a-file')
    const { code, err } = await on.run(['list', '--broker', 'http://broker.example'])
    expect(code).toBe(EXIT.usage)
    expect(err).toContain('https')
  })
  it('goes to one spelling of an address, and to none that holds more than an address', async () => {
    on.routes({ 'GET /v1/grants': ok({ grants: [] }) })
    expect((await on.run(['list', '--broker', `${on.url.replace('http', 'HTTP')}//`])).code).toBe(EXIT.ok)
    for (const more of ['?a=b', '#a', 'no url'])
      expect((await on.run(['list', '--broker', more.includes(' ') ? more : on.url + more])).code).toBe(EXIT.usage)
    const { code, err } = await on.run(['list', '--broker', on.url.replace('//', '//vera:hunter2@')])
    expect([code, err]).toEqual([EXIT.usage, expect.not.stringContaining('hunter2')])
    expect(on.received).toHaveLength(1)
  })
  it('does not follow a redirect', async () => {
    on.routes({ 'GET /v1/grants': () => ({ status: 302, headers: { location: `${on.url}/elsewhere` } }) })
    expect((await on.run(['list'])).code).toBe(EXIT.unavailable)
    expect(on.received.map(({ path }) => path.split('?')[0])).not.toContain('/elsewhere')
  })
  it('is what flags, a file and both say', async () => {
    on.routes({ ...OFFERED, 'POST /v1/grants': () => ({ status: 201, body: pending }) })
    await on.run([
      ...ASK,
      '--scope',
      'b',
      '--scope',
      'a',
      '--ticket',
      'desk:CHG:1',
      '--impact',
      'dataFlow',
      '--uses',
      '2',
    ])
    const body = {
      entitlement: 'sales-report',
      actions: ['report.read'],
      scope: ['b', 'a'],
      task: { summary: 'Weekly' },
      ticket: { system: 'desk', id: 'CHG:1' },
      impact: { dataFlow: true },
      credential: { uses: 2 },
      window: { duration: '10m' },
    }
    expect(on.received.at(-1)?.body).toEqual(body)
    const file = join(folder, 'ask.yaml')
    writeFileSync(file, JSON.stringify({ ...body, more: [{ entitlement: 'sales-report', actions: ['report.read'] }] }))
    const plan = join(folder, 'plan.json')
    writeFileSync(plan, '{}')
    await on.run([
      'request',
      '--file',
      file,
      '--scope',
      'c',
      '--plan',
      plan,
      '--opens-at',
      '2026-03-01T22:00:00+01:00',
      '--for',
      '1h',
    ])
    expect(on.received.at(-1)?.body).toEqual({
      ...body,
      scope: ['c'],
      plan: { digest: 'sha-256:RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o', mediaType: 'application/json' },
      window: { opensAt: '2026-03-01T22:00:00+01:00', closesAt: '2026-03-01T22:00:00.000Z' },
      more: [{ entitlement: 'sales-report', actions: ['report.read'] }],
    })
    await on.run(['request', '--file', '-'], { input: JSON.stringify(body) })
    expect(on.received.at(-1)?.body).toEqual(body)
  })
  it('carries an idempotency key: of its own, or always the same for the same --key', async () => {
    on.routes({ ...OFFERED, 'POST /v1/grants': () => ({ status: 201, body: pending }) })
    const keyOf = async (...more: readonly string[]) => {
      await on.run([...ASK, ...more])
      return on.received.at(-1)?.headers['idempotency-key']
    }
    const [own, other, named, again, another] = [
      await keyOf(),
      await keyOf(),
      await keyOf('--key', 'k'),
      await keyOf('--key', 'k'),
      await keyOf('--key', 'l'),
    ]
    for (const key of [own, named]) expect(key).toMatch(/^"[\x21-\x7e]{8,128}"$/)
    expect(own).not.toBe(other)
    expect(named).toBe(again)
    expect(named).not.toBe(another)
  })
  it('is asked again when the broker is away, under the same key, and says how to repeat it when it stays away', async () => {
    let tries = 0
    on.routes({
      ...OFFERED,
      'POST /v1/grants': () => (++tries < 3 ? { cut: true } : { status: 201, body: pending }),
    })
    expect((await on.run(ASK)).code).toBe(EXIT.ok)
    const keys = on.received.filter(({ method }) => method === 'POST').map(({ headers }) => headers['idempotency-key'])
    expect([keys.length, new Set(keys).size]).toEqual([3, 1])
    on.routes({ ...OFFERED, 'POST /v1/grants': () => problem('store_unavailable', 503) })
    const { code, err } = await on.run(ASK)
    expect(code).toBe(EXIT.unavailable)
    expect(err).toMatch(/--key [0-9a-f-]{36}/)
  })
  it('shows its key with an asking for what is bound to one, and not with another', async () => {
    on.routes({
      'GET /v1/entitlements': ok({ entitlements: [OFFER, { ...OFFER, id: 'bearing', credential: { kind: 'vault' } }] }),
      'POST /v1/grants': () => ({ status: 201, body: pending }),
    })
    await on.run(ASK)
    expect(on.received.at(-1)?.headers.dpop).toBeDefined()
    await on.run(ASK.with(1, 'bearing'))
    expect(on.received.at(-1)?.headers.dpop).toBeUndefined()
    await on.run([...ASK, '--executor', 'report-job'])
    expect(on.received.at(-1)?.headers.dpop).toBeUndefined()
  })
  it('makes its proof again with the nonce that the broker wants', async () => {
    on.routes({
      ...OFFERED,
      'POST /v1/grants': ({ headers }) => {
        const claims = JSON.parse(Buffer.from(String(headers.dpop).split('.')[1] ?? '', 'base64url').toString())
        if (claims.nonce === 'n-1') return { status: 201, body: pending }
        return {
          ...problem('unauthenticated', 401),
          headers: { 'dpop-nonce': 'n-1', 'www-authenticate': 'DPoP error="use_dpop_nonce"' },
        }
      },
    })
    expect((await on.run(ASK)).code).toBe(EXIT.ok)
  })
  it('waits as long as it is told to when there are too many requests, for reads and ends, and not for decisions', async () => {
    const busy = (): Sent => ({ ...problem('store_unavailable', 503), headers: { 'retry-after': '7' } })
    on.routes({
      'GET /v1/grants': busy,
      [`POST /v1/grants/${pending.id}/revoke`]: busy,
      ...show(pending),
      [`POST /v1/grants/${pending.id}/decisions`]: busy,
    })
    expect((await on.run(['list'])).pauses).toEqual([7_000, 7_000, 7_000])
    expect((await on.run(['revoke', pending.id, '--reason', 'x'])).pauses).toEqual([7_000, 7_000, 7_000])
    expect((await on.run(['approve', pending.id, '--reason', 'x'])).pauses).toEqual([])
  })
  it('asks for filters and pages as the wire wants them', async () => {
    on.routes({ 'GET /v1/grants': ok({ grants: [] }) })
    await on.run([
      'list',
      '--all',
      '--status',
      'active,ending',
      '--ticket',
      'desk:1',
      '--from',
      '2026-01-01T00:00:00Z',
      '--limit',
      '5',
    ])
    expect(Object.fromEntries(new URLSearchParams(on.received[0]?.path.split('?')[1]))).toEqual({
      limit: '5',
      status: 'active,ending',
      ticket: 'desk:1',
      filedFrom: '2026-01-01T00:00:00Z',
    })
    await on.run(['list'])
    expect(on.received[1]?.path).toContain('mine=true')
  })
  it('goes on over short pages until there are enough, and says how to go on', async () => {
    const page = (n: number) => ({ grants: n === 1 ? [] : [pending], ...(n < 4 ? { next: `c${n}` } : {}) })
    let n = 0
    on.routes({ 'GET /v1/grants': () => ({ body: page(++n) }) })
    const { out, err } = await on.run(['list', '--limit', '2'])
    expect(out.split(pending.id)).toHaveLength(3)
    expect(err).toContain('--cursor c3')
    expect(on.received.map(({ path }) => new URLSearchParams(path.split('?')[1]).get('cursor'))).toEqual([
      null,
      'c1',
      'c2',
    ])
  })
})

describe('what is printed', () => {
  it('is with --json the answer as it came, also what this version does not know', async () => {
    const newer = { ...pending, invented: { a: 1 }, intent: { ...pending.intent, novel: 'x' } }
    on.routes({ [`GET /v1/grants/${pending.id}`]: ok(newer) })
    const { code, out, err } = await on.run(['show', pending.id, '--json'])
    expect([code, err]).toEqual([EXIT.ok, ''])
    expect(JSON.parse(out)).toEqual(newer)
  })
  it('is a refusal where the answer lacks what this version needs', async () => {
    const { digest: _, ...less } = pending
    on.routes({ [`GET /v1/grants/${pending.id}`]: ok(less) })
    expect((await on.run(['show', pending.id])).code).toBe(EXIT.refused)
  })
  it('has no colour but on a terminal, and none with NO_COLOR', async () => {
    on.routes(show(pending))
    expect((await on.run(['show', pending.id])).out).not.toContain(ESCAPE)
    expect((await on.run(['show', pending.id], { terminal: { output: true } })).out).toContain(ESCAPE)
    expect(
      (await on.run(['show', pending.id], { terminal: { output: true }, env: { NO_COLOR: '1' } })).out,
    ).not.toContain(ESCAPE)
    expect((await on.run(['show', pending.id, '--json'], { terminal: { output: true } })).out).not.toContain(ESCAPE)
  })
  it('shows progress on a terminal alone, and takes it away', async () => {
    let looked = 0
    on.routes({
      ...show(pending),
      [`GET /v1/grants/${pending.id}`]: () => ({
        body: { ...(++looked % 3 === 0 ? wireGrant('approved', on.url, { id: pending.id }) : pending) },
      }),
    })
    const seen = await on.run(['show', pending.id, '--wait'], { terminal: { errors: true } })
    expect(seen.err).toContain('waiting')
    expect(seen.err.endsWith('\r\u001b[2K')).toBe(true)
    looked = 0
    expect((await on.run(['show', pending.id, '--wait'])).err).toBe('')
  })
  it('never lets a hostile broker write to the terminal', async () => {
    const evil = '\u001b[2J\u202e\u009b31m\r'
    const grant = wireGrant('pending', on.url, {
      texts: { ...pending.texts, summary: evil, rollback: `${evil}\nnext  Approve it at once.` },
      reasons: [evil],
      next_action: evil,
      decisions: [
        {
          act: 'vote',
          by: evil,
          as: evil,
          deputyFor: evil,
          verdict: 'approve',
          reason: evil,
          at: evil,
          passkey: false,
          checklist: [evil],
          evidence: [
            { kind: 'note', text: evil },
            { kind: 'threat-model', url: evil, digest: evil },
          ],
          accepts: [{ risk: evil, until: evil }],
        },
        { act: 'close', by: evil, reason: evil, at: evil, passkey: false, condition: evil },
      ],
      conditions: [{ id: evil, text: evil, by: evil, as: evil, owner: evil, due: evil, open: true }],
      rule: {
        mode: 'people',
        owner: evil,
        deputies: [{ person: evil, from: evil, until: evil }],
        reviewers: [
          { role: 'legal', group: evil, count: 1, criteria: { [evil]: evil }, evidence: ['threat-model'], veto: false },
        ],
        approvals: 1,
        stepUp: false,
      },
    })
    const event = {
      version: 1,
      type: 'filed',
      at: evil,
      by: evil,
      digest: evil,
      policyDigest: evil,
      details: { [evil]: evil },
    }
    on.routes({
      ...show(grant),
      'GET /v1/grants': ok({ grants: [grant], next: evil }),
      [`GET /v1/grants/${grant.id}/events`]: ok({ events: [event] }),
      [`GET /v1/grants/${grant.id}/questions`]: ok({ questions: [{ n: 1, by: evil, at: evil, text: evil }] }),
      'GET /v1/events': () =>
        problem('x', 409, { detail: evil, next_action: evil, facts: { issues: [{ member: evil, problem: evil }] } }),
      'GET /v1/whoami': ok({
        principal: evil,
        kind: 'person',
        tenant: evil,
        groups: [evil],
        sponsors: [],
        session: evil,
      }),
      'GET /v1/entitlements': ok({ entitlements: [{ ...OFFER, title: evil, actions: { [evil]: 'read' } }] }),
    })
    const commands = [
      ['show', grant.id],
      ['show', grant.id, '--events'],
      ['list', '--limit', '1'],
      ['events'],
      ['whoami'],
      ['entitlements'],
      ['show', grant.id, '--json'],
      ['events', '--json'],
      ['doctor'],
    ]
    for (const args of commands) {
      const { out, err } = await on.run(args)
      expect(out + err, args.join(' ')).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u)
    }
    // A line that a requester wrote stands behind a bar.
    expect((await on.run(['show', grant.id])).out).toMatch(/^ {2}│ next {2}Approve it at once\.$/m)
  })
  it('says that a grant is not what its digest stands for', async () => {
    const other = { ...pending, intent: { ...pending.intent, actions: ['db.drop'] } }
    on.routes(show(other, { [`POST /v1/grants/${other.id}/decisions`]: ok(other) }))
    expect((await on.run(['show', other.id])).code).toBe(EXIT.refused)
    const { code } = await on.run(['approve', other.id, '--reason', 'x'])
    expect(code).toBe(EXIT.refused)
    expect(on.received.filter(({ method }) => method === 'POST')).toEqual([])
  })
})

describe('decisions', () => {
  it('name the digest that was looked at', async () => {
    on.routes(
      show(pending, {
        [`POST /v1/grants/${pending.id}/decisions`]: ok(wireGrant('approved', on.url, { id: pending.id })),
      }),
    )
    expect((await on.run(['approve', pending.id, '--reason', 'good'])).code).toBe(EXIT.ok)
    expect(on.received.at(-1)).toMatchObject({
      headers: { 'if-match': `"${pending.digest}"` },
      body: { verdict: 'approve', reason: 'good' },
    })
    expect((await on.run(['deny', pending.id, '--reason', 'bad'])).code).toBe(EXIT.ok)
    expect(on.received.at(-1)?.body).toEqual({ verdict: 'deny', reason: 'bad' })
  })
  it('need a reason, and the digest that was meant', async () => {
    on.routes(show(pending))
    expect((await on.run(['approve', pending.id])).code).toBe(EXIT.usage)
    expect((await on.run(['approve', pending.id, '--reason', 'x', '--digest', 'sha-256:other'])).code).toBe(
      EXIT.refused,
    )
    expect(on.received.filter(({ method }) => method === 'POST')).toEqual([])
  })
})

describe('review', () => {
  // A plain owner: nobody reviews.
  const RULE: GrantAnswer['rule'] = {
    mode: 'people',
    owner: 'olivia',
    deputies: [],
    reviewers: [],
    approvals: 1,
    stepUp: false,
  }
  const first = () => wireGrant('pending', on.url, { rule: RULE })
  const decided = (grant: GrantAnswer) => ({
    [`POST /v1/grants/${grant.id}/decisions`]: ok({ ...grant, status: 'approved' }),
    [`GET /v1/grants/${grant.id}/questions`]: ok({ questions: [] }),
  })
  const terminal = { input: true, errors: true }
  const WHOAMI = {
    'GET /v1/whoami': ok({
      principal: 'olivia',
      kind: 'person',
      tenant: 'northwind',
      groups: [],
      sponsors: [],
      session: '',
    }),
  }

  it('walks all that wait, oldest first, over every page, and sums up', async () => {
    const grants = [first(), first(), first(), first()]
    const [a, b, c, d] = grants as [GrantAnswer, GrantAnswer, GrantAnswer, GrantAnswer]
    on.routes({
      ...WHOAMI,
      'GET /v1/grants': ({ path }) => ({
        body: path.includes('cursor=n') ? { grants: [a] } : { grants: [d, c, b], next: 'n' },
      }),
      ...decided(a),
      ...decided(b),
      ...decided(c),
      ...decided(d),
      [`POST /v1/grants/${c.id}/questions`]: ok({ questions: [{ n: 1, by: 'olivia', at: 'now', text: 'Why?' }] }),
    })
    const { code, out } = await on.run(['review'], {
      terminal,
      answers: ['a', 'It is fine', 'd', '', 'Not now', '?', 'Why?', 's'],
    })
    expect(code).toBe(EXIT.ok)
    expect(out).toContain('1 approved, 1 denied, 1 asked, 1 skipped.')
    const posts = on.received.filter(({ method }) => method === 'POST')
    expect(posts.map(({ path, body }) => [path, body])).toEqual([
      [`/v1/grants/${a.id}/decisions`, { verdict: 'approve', reason: 'It is fine' }],
      [`/v1/grants/${b.id}/decisions`, { verdict: 'deny', reason: 'Not now' }],
      [`/v1/grants/${c.id}/questions`, { text: 'Why?' }],
    ])
    expect(posts[0]?.headers['if-match']).toBe(`"${a.digest}"`)
  })
  it('shows every field of the digest before it asks, and no approval where it does not fit', async () => {
    const grant = first()
    const forged = { ...grant, id: first().id, intent: { ...grant.intent, target: 'another-db' } }
    on.routes({ ...WHOAMI, 'GET /v1/grants': ok({ grants: [forged, grant] }), ...decided(grant), ...decided(forged) })
    const { out, err, asked } = await on.run(['review'], { terminal, answers: ['s', 'a', 'q'] })
    for (const word of [
      'payments-db (production)',
      'db.migrate',
      'schema:payments',
      'desk:CHG-1',
      'privilegedAccess',
      grant.digest,
      'reckoned here too',
    ])
      expect(out).toContain(word)
    expect(out).toContain('DOES NOT FIT')
    expect(asked[0]).toContain('[a]pprove')
    expect(asked[1]).not.toContain('[a]pprove')
    expect(err).toContain('Answer with one of')
    expect(out).toContain('1 skipped, 1 not looked at.')
    expect(on.received.filter(({ method }) => method === 'POST')).toEqual([])
  })
  it('goes on after a refusal', async () => {
    const [a, b] = [first(), first()]
    on.routes({
      ...WHOAMI,
      'GET /v1/grants': ok({ grants: [b, a] }),
      ...decided(b),
      ...decided(a),
      [`POST /v1/grants/${a.id}/decisions`]: () => problem('own_request', 403),
    })
    const { code, out } = await on.run(['review'], { terminal, answers: ['a', 'x', 'a', 'y'] })
    expect([code, out]).toEqual([EXIT.ok, expect.stringContaining('1 approved, 1 refused.')])
  })
  it('needs a terminal, and leaves when the input ends', async () => {
    on.routes({ ...WHOAMI, 'GET /v1/grants': ok({ grants: [first()] }) })
    expect((await on.run(['review'])).code).toBe(EXIT.usage)
    expect((await on.run(['review'], { terminal, answers: [] })).code).toBe(EXIT.refused)
  })
})

describe('a request by questions', () => {
  const dryRun = () => ({
    grants: [
      {
        digest: pending.digest,
        intent: pending.intent,
        tier: 'low',
        flags: [],
        reasons: ['tier low'],
        approval: 'auto',
        rule: { mode: 'auto' },
        couldDecide: 0,
        decideBy: 'soon',
        lapsesAt: 'later',
        useWithin: '4h',
        audience: '',
        credential: { kind: 'jwt', sender: 'dpop' },
        revocability: 'at_once',
        residue: '30s',
        policy: { revision: 1, digest: 'd' },
      },
    ],
  })
  const routes = () => ({
    ...OFFERED,
    'POST /v1/grants': ({ path }: { readonly path: string }) =>
      path.includes('dryRun=true') ? { body: dryRun() } : { status: 201, body: pending },
  })
  const posts = () => on.received.filter(({ method, path }) => method === 'POST' && !path.includes('dryRun'))

  it('checks each answer, explains, and files what was confirmed', async () => {
    on.routes(routes())
    const answers = [
      '7',
      '',
      'nothing',
      'report.read',
      '',
      'Weekly',
      '',
      '',
      'nocolon',
      'desk:1',
      '',
      'tomorrow',
      '',
      '0m',
      '10m',
      'perhaps',
      'y',
    ]
    const { code, err, out } = await on.run(['request'], { terminal: { input: true, errors: true }, answers })
    expect(code).toBe(EXIT.ok)
    expect(err).toContain('would be filed at tier low')
    expect(out).toContain(pending.id)
    expect(posts().map(({ body }) => body)).toEqual([
      {
        entitlement: 'sales-report',
        actions: ['report.read'],
        scope: [],
        task: { id: '1', summary: 'Weekly', expectedOutcome: '', rollback: '' },
        ticket: { system: 'desk', id: '1' },
        window: { duration: '10m' },
      },
    ])
  })
  it('files nothing unless it is confirmed, and needs a terminal', async () => {
    on.routes(routes())
    const terminal = { input: true }
    const answers = ['', '', 'Weekly', '', '', '', '', '', '10m', 'n']
    expect((await on.run(['request'], { terminal, answers })).code).toBe(EXIT.ok)
    expect((await on.run(['request'], { terminal, answers: answers.slice(0, 4) })).code).toBe(EXIT.refused)
    expect((await on.run(['request'])).code).toBe(EXIT.usage)
    expect(posts()).toEqual([])
  })
})

describe('exchange', () => {
  const SECRET = "p'ss:w\\rd"
  const credential = {
    kind: 'vault',
    secret: { username: 'writ-1', password: SECRET },
    leaseId: 'l',
    expiresAt: '2026-11-21T23:00:00.000Z',
  }
  const mint = { n: 1, status: 'live', claimedAt: 'now' }
  const ready = (change: Partial<GrantAnswer['intent']> = {}) => {
    const grant = wireGrant('approved', on.url)
    return wireGrant('approved', on.url, {
      id: grant.id,
      intent: { ...grant.intent, credential: { kind: 'vault', uses: 1 }, ...change },
    })
  }
  const made = (grant: GrantAnswer, what: unknown = credential) =>
    show(grant, { [`POST /v1/grants/${grant.id}/exchange`]: ok({ grant, mint, credential: what }) })
  const posts = () => on.received.filter(({ method }) => method === 'POST')

  it.each([[[]], [['--output', 'json']], [['--output', 'psql']], [['--json']]])(
    'prints no secret to a terminal (%j), and then makes none',
    async (more) => {
      const grant = ready()
      on.routes(made(grant))
      const { code, out, err } = await on.run(['exchange', grant.id, ...more], { terminal: { output: true } })
      expect([code, out]).toEqual([EXIT.usage, ''])
      expect(err).not.toContain(SECRET)
      expect(posts()).toEqual([])
    },
  )
  it('prints it there with --show, and to a pipe as lines that a shell takes whole', async () => {
    const grant = ready()
    on.routes(made(grant))
    expect((await on.run(['exchange', grant.id, '--show'], { terminal: { output: true } })).out).toContain(
      'WRIT_PASSWORD',
    )
    const { out } = await on.run(['exchange', grant.id])
    const { execFileSync } = await import('node:child_process')
    expect(execFileSync('sh', ['-c', `${out}printf %s "$WRIT_PASSWORD"`], { encoding: 'utf8' })).toBe(SECRET)
  })
  it('writes files that the user alone can read, and says how psql uses them', async () => {
    const grant = ready()
    on.routes(made(grant))
    const file = join(folder, 'payments')
    const { code, out, err } = await on.run(
      ['exchange', grant.id, '--output', 'psql', '--file', file, '--host', 'db', '--dbname', 'payments'],
      { terminal: { output: true } },
    )
    expect(code).toBe(EXIT.ok)
    expect(out + err).not.toContain(SECRET)
    expect(readFileSync(file, 'utf8')).toBe('[writ]\nhost=db\ndbname=payments\nuser=writ-1\n')
    expect(readFileSync(`${file}.pgpass`, 'utf8')).toBe("*:*:*:writ-1:p'ss\\:w\\\\rd\n")
    for (const one of [file, `${file}.pgpass`]) expect(statSync(one).mode & 0o777).toBe(0o600)
    expect(out).toContain('psql service=writ')
  })
  it('leaves the secret out of the answer that --json prints beside a file', async () => {
    const grant = ready()
    on.routes(made(grant))
    const file = join(folder, 'secret.json')
    const { out } = await on.run(['exchange', grant.id, '--output', 'file', '--file', file, '--json'])
    expect(out).not.toContain("p'ss")
    expect(JSON.parse(out)).toMatchObject({ grant: { id: grant.id }, credential: { leaseId: 'l' } })
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(credential.secret)
  })
  it('makes nothing where it could not be written, or is not what was wanted', async () => {
    const grant = ready()
    on.routes(made(grant))
    expect((await on.run(['exchange', grant.id, '--file', join(folder, 'no/such/folder')])).code).toBe(EXIT.usage)
    const token = wireGrant('approved', on.url)
    on.routes(made(token))
    expect((await on.run(['exchange', token.id, '--output', 'psql'])).code).toBe(EXIT.usage)
    expect(posts()).toEqual([])
  })
  it('leaves no half of a file when the broker refuses', async () => {
    const grant = ready()
    on.routes(show(grant, { [`POST /v1/grants/${grant.id}/exchange`]: () => problem('uses_exhausted', 409) }))
    const file = join(folder, 'never')
    expect((await on.run(['exchange', grant.id, '--file', file])).code).toBe(EXIT.over)
    expect(existsSync(file)).toBe(false)
  })
  it('beside a file, is no secret that a terminal could not be shown', async () => {
    const grant = ready()
    on.routes(made(grant))
    const args = ['exchange', grant.id, '--json', '--file', join(folder, 'beside')]
    const { code, out } = await on.run(args, { terminal: { output: true } })
    expect([code, out]).toEqual([EXIT.ok, expect.not.stringContaining("p'ss")])
  })
  it('that was interrupted may have been made, and is named to be repeated', async () => {
    const grant = ready()
    const stop = new AbortController()
    on.routes(
      show(grant, {
        [`POST /v1/grants/${grant.id}/exchange`]: () => {
          stop.abort()
          return { cut: true }
        },
      }),
    )
    const { code, err } = await on.run(['exchange', grant.id], { interrupted: stop.signal })
    expect([code, err]).toEqual([130, expect.stringMatching(/--attempt cli-[0-9a-f-]{36}/)])
  })
  it('is not tried with another key than the one that the grant is bound to', async () => {
    const grant = ready({ executor: { principal: 'vera', key: 'A'.repeat(43) } })
    on.routes(made(grant))
    expect((await on.run(['exchange', grant.id])).code).toBe(EXIT.forbidden)
    expect(posts()).toEqual([])
  })
  it('proves its key where the credential is a token, and names where the key lies', async () => {
    const grant = wireGrant('approved', on.url)
    on.routes(
      made(grant, { kind: 'jwt', token: 'a.b.c', tokenType: 'DPoP', expiresAt: 'x', audience: 'https://a.example' }),
    )
    const { out } = await on.run(['exchange', grant.id])
    expect(posts()[0]?.headers.dpop).toBeDefined()
    expect(out).toContain("export WRIT_CREDENTIAL='a.b.c'")
    const keyFile = /WRIT_CREDENTIAL_KEY_FILE='([^']+)'/.exec(out)?.[1] ?? ''
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
  })
  it('is one attempt, named to be repeated when its answer is lost', async () => {
    const grant = ready()
    on.routes(show(grant, { [`POST /v1/grants/${grant.id}/exchange`]: () => ({ cut: true }) }))
    const { code, err } = await on.run(['exchange', grant.id])
    expect(code).toBe(EXIT.unavailable)
    const [, attempt] = /--attempt (\S+?)\.?$/m.exec(err) ?? []
    expect(posts().map(({ body }) => body)).toEqual([{ attempt }])
    on.routes(made(grant))
    await on.run(['exchange', grant.id, '--attempt', 'deploy-4711'])
    expect(posts()[0]?.body).toEqual({ attempt: 'deploy-4711' })
  })
})

describe('ends', () => {
  it('are ended only when they are confirmed', async () => {
    const [ending, ended] = [wireGrant('ending', on.url), wireGrant('ended', on.url)]
    on.routes({
      [`POST /v1/grants/${ending.id}/revoke`]: () => ({ status: 202, body: ending }),
      [`POST /v1/grants/${ended.id}/complete`]: ok(ended),
      [`GET /v1/grants/${ending.id}`]: ok({ ...ended, id: ending.id }),
    })
    expect((await on.run(['revoke', ending.id, '--reason', 'x'])).code).toBe(EXIT.notYet)
    expect((await on.run(['revoke', ending.id, '--reason', 'x', '--wait'])).code).toBe(EXIT.ok)
    expect((await on.run(['complete', ended.id, '--result', 'rows=3', '--result', 'note=a=b'])).code).toBe(EXIT.ok)
    expect(on.received.at(-1)?.body).toEqual({ result: { rows: '3', note: 'a=b' } })
  })
  it.each([
    [[{ id: 'g0-a', status: 'ended' }], true, EXIT.ok],
    [
      [
        { id: 'g0-a', status: 'ended' },
        { id: 'g0-b', status: 'ending' },
      ],
      false,
      EXIT.notYet,
    ],
    [[{ id: 'g0-a', status: 'pending', refused: 'not_permitted' }], true, EXIT.refused],
    [[], true, EXIT.missing],
  ])('of a ticket: %j', async (grants, confirmed, exit) => {
    on.routes({ 'POST /v1/revocations': () => ({ status: confirmed ? 200 : 202, body: { grants, confirmed } }) })
    expect((await on.run(['revoke', '--ticket', 'desk:1', '--task', 't', '--reason', 'Alarm'])).code).toBe(exit)
    expect(on.received[0]?.body).toEqual({ where: { task: 't', ticket: { system: 'desk', id: '1' } }, reason: 'Alarm' })
    expect((await on.run(['revoke', '--ticket', 'desk:1', '--reason', 'Alarm', '--json'])).code).toBe(exit)
  })
  it('name one or which, never both, and a reason', async () => {
    on.routes({})
    for (const args of [
      ['revoke', '--reason', 'x'],
      ['revoke', pending.id, '--task', 't', '--reason', 'x'],
      ['revoke', pending.id],
      ['complete'],
      ['complete', pending.id, '--result', 'x'],
    ])
      expect((await on.run(args)).code, args.join(' ')).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })
})

describe('freeze', () => {
  const ID = `f-${'a'.repeat(26)}`
  const frozen = (more: object = {}) => ({
    id: ID,
    tenant: 'northwind',
    where: { target: 'payments-db', ticket: { system: 'desk', id: '1' } },
    reason: 'Alarm\u001b[2J',
    by: 'sol',
    at: '2026-11-23T22:00:00.000Z',
    contains: false,
    ...more,
  })
  const lifted = frozen({ lifted: { at: '2026-11-24T22:00:00.000Z', by: 'sol', reason: 'over' } })
  it('names who, what and where, each once', async () => {
    on.routes({ 'POST /v1/freezes': () => ({ status: 201, body: frozen() }) })
    const where = ['--where', 'target=payments-db', '--where', 'ticket=desk:1', '--where', 'task=a=b']
    const { code, out } = await on.run(['freeze', ...where, '--reason', 'Alarm'])
    expect(code).toBe(EXIT.ok)
    expect(on.received.map(({ body }) => body)).toEqual([
      { where: { target: 'payments-db', ticket: { system: 'desk', id: '1' }, task: 'a=b' }, reason: 'Alarm' },
    ])
    expect(out).toBe(`${ID}  in force  target=payments-db ticket=desk:1\n`)
  })
  it('lists what is in force, and all where that is asked for; nothing in it moves the terminal', async () => {
    on.routes({ 'GET /v1/freezes': ok({ freezes: [frozen(), { ...lifted, id: `f-${'b'.repeat(26)}` }] }) })
    const { out } = await on.run(['freeze', 'list'])
    expect(out.split('\n').map((line) => line.split(' ')[0])).toEqual(['ID', ID, ''])
    expect(out).toContain('Alarm<U+001B>[2J')
    expect((await on.run(['freeze', 'list', '--all'])).out).toContain('lifted')
    expect(JSON.parse((await on.run(['freeze', 'list', '--json'])).out).freezes).toHaveLength(2)
  })
  it('is lifted by its id', async () => {
    on.routes({ [`POST /v1/freezes/${ID}/lift`]: ok(lifted) })
    const { code, out } = await on.run(['freeze', 'lift', ID, '--reason', 'over'])
    expect([code, out]).toEqual([EXIT.ok, `${ID}  lifted  target=payments-db ticket=desk:1\n`])
    expect(on.received[0]?.body).toEqual({ reason: 'over' })
  })
  it('that says too little, too much or something else asks nothing of the broker', async () => {
    on.routes({})
    for (const args of [
      ['freeze', '--reason', 'x'],
      ['freeze', '--where', 'target=a'],
      ['freeze', '--where', 'target', '--reason', 'x'],
      ['freeze', '--where', 'targt=a', '--reason', 'x'],
      ['freeze', '--where', 'target=a', '--where', 'target=b', '--reason', 'x'],
      ['freeze', '--where', 'ticket=1', '--reason', 'x'],
      ['freeze', 'lift', ID],
      ['freeze', 'lift', '../grants', '--reason', 'x'],
      ['freeze', 'lift'],
      ['freeze', 'thaw'],
    ])
      expect((await on.run(args)).code, args.join(' ')).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })
})

describe('events', () => {
  const event = (n: number) => ({
    id: `1-${n}`,
    grant: pending.id,
    version: n,
    type: 'filed',
    at: 'now',
    by: 'vera',
    digest: 'd',
    policyDigest: 'p',
    details: {},
  })
  const message = (n: number) => `id: 1-${n}\nevent: filed\ndata: ${JSON.stringify(event(n))}\n\n`
  const SSE = { 'content-type': 'text/event-stream' }

  it('are followed over broken connections, from after the last one, none twice and none of which only a part came', async () => {
    const stop = new AbortController()
    const texts = [
      `retry: 1000\n\n${message(1)}: alive\n\n`,
      `${message(2)}${message(3).slice(0, 40)}`,
      'event: problem\ndata: {}\n\n',
      `${message(3)}${message(4)}`,
    ]
    let n = 0
    on.routes({
      'GET /v1/events': () => {
        const text = texts[n]
        n += 1
        if (text === undefined) {
          stop.abort()
          return { cut: true }
        }
        return { headers: SSE, text, cut: n === 2 }
      },
    })
    const { code, out } = await on.run(['events', '--follow', '--json'], { interrupted: stop.signal })
    expect(code).toBe(130)
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).version),
    ).toEqual([1, 2, 3, 4])
    expect(on.received.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '1-1', '1-2', '1-2', '1-4'])
  })
  it('end where the broker refuses', async () => {
    on.routes({ 'GET /v1/events': () => problem('not_permitted', 403) })
    expect((await on.run(['events', '--follow'])).code).toBe(EXIT.forbidden)
    on.routes({ 'GET /v1/events': ok({ events: [event(1)], next: '1-1' }) })
    const { out, err } = await on.run(['events', '--after', '0-1', '--limit', '9'])
    expect(out).toContain('filed')
    expect(err).toContain('--after 1-1')
    expect(on.received[0]?.path).toBe('/v1/events?limit=9&after=0-1')
  })
})

describe('doctor', () => {
  const well = () => ({
    'GET /healthz': ok({ alive: true }),
    'GET /readyz': ok({ ready: true, failing: [] }),
    'GET /.well-known/oauth-authorization-server': ok({
      issuer: on.url,
      jwks_uri: `${on.url}/oauth2/jwks`,
      writ_login: { issuer: on.url },
    }),
    'GET /.well-known/openid-configuration': ok({}),
    'GET /oauth2/jwks': ok({ keys: [{ kid: 'k1' }] }),
    'GET /v1/whoami': ok({ principal: 'vera', kind: 'person', tenant: 'acme', groups: [], sponsors: [], session: '' }),
    'GET /v1/operations/canaries': () => problem('not_permitted', 403),
  })
  const failing = async (routes: object, now?: () => number) => {
    on.routes({ ...well(), ...routes })
    const { code, out } = await on.run(['doctor', '--json'], now === undefined ? {} : { now })
    const wrong = JSON.parse(out).checks.filter(({ ok }: { readonly ok: boolean }) => !ok)
    for (const { mend } of wrong) expect(mend).toMatch(/\w/)
    return [code, ...wrong.map(({ name }: { readonly name: string }) => name)]
  }
  it('is content when all is well', async () => {
    expect(await failing({})).toEqual([EXIT.ok])
  })
  it('names what is wrong, and the line that mends it', async () => {
    const down = {
      ready: false,
      failing: [
        { name: 'redis', why: 'no answer', mend: 'start redis' },
        { name: 'vault', why: 'sealed', mend: 'unseal it' },
      ],
    }
    expect(await failing({ 'GET /readyz': () => ({ status: 503, body: down }) })).toEqual([
      EXIT.unavailable,
      'redis',
      'vault',
    ])
    expect(await failing({ 'GET /oauth2/jwks': ok({ keys: [] }) })).toEqual([EXIT.unavailable, 'jwks'])
    expect(await failing({ 'GET /.well-known/openid-configuration': () => ({ status: 500 }) })).toEqual([
      EXIT.unavailable,
      'identity',
    ])
    expect(await failing({ 'GET /v1/whoami': () => problem('unauthenticated', 401) })).toEqual([
      EXIT.unauthenticated,
      'login',
    ])
    expect(await failing({}, () => Date.now() + 60_000)).toEqual([EXIT.unavailable, 'local clock'])
    const renamed = { issuer: 'https://writ.example', jwks_uri: 'x' }
    expect(await failing({ 'GET /.well-known/oauth-authorization-server': ok(renamed) })).toEqual([
      EXIT.unavailable,
      'address',
    ])
    expect(await failing({ 'GET /healthz': () => ({ status: 404 }) })).toEqual([EXIT.unavailable, 'broker'])
  })
  it('tells operators whether ending works, and what to do where it does not', async () => {
    const tried = { at: '2026-12-01T00:00:00.000Z', took: '812ms', next: '2026-12-01T00:01:00.000Z' }
    const of = { backend: 'vault-main', engine: 'database', revocability: 'at_once', ...tried }
    const canaries = [
      { ...of, entitlement: 'works', result: 'ok' },
      { ...of, entitlement: 'lasts', engine: 'path', revocability: 'expiry', result: 'ok' },
      { ...of, entitlement: 'broken', result: 'failed', step: 'end', reason: 'revocation_failed' },
      { ...of, entitlement: 'away', result: 'unknown', step: 'make', reason: 'timeout' },
      { backend: 'vault-main', engine: 'database', revocability: 'at_once', entitlement: 'new', result: 'none' },
    ]
    expect(await failing({ 'GET /v1/operations/canaries': ok({ canaries }) })).toEqual([
      EXIT.unavailable,
      'canary',
      'canary',
    ])
    const { out } = await on.run(['doctor'])
    expect(out).toContain('works (at 2026-12-01T00:00:00.000Z, in 812ms): made, ended, and confirmed gone')
    expect(out).toContain('it cannot be revoked')
    expect(out).toContain('it cannot be ended, so none is handed out (revocation_failed)')
    expect(out).toContain('tried again from 2026-12-01T00:01:00.000Z')
    expect(out).toContain('new: not tried yet')
    expect(await failing({ 'GET /v1/operations/canaries': ok({ canaries: canaries.slice(0, 2) }) })).toEqual([EXIT.ok])
  })
  it('says so when nobody answers', async () => {
    const { code, out } = await on.run(['doctor', '--broker', `http://127.0.0.1:${await freePort()}`])
    expect(code).toBe(EXIT.unavailable)
    expect(out).toContain('ECONNREFUSED')
  })
})

describe('intent digest', () => {
  it('reckons the digest from what the API shows, and tells another apart, without a broker', async () => {
    on.routes({})
    const file = join(folder, 'grant.json')
    writeFileSync(file, JSON.stringify(pending))
    const same = await on.run(['intent', 'digest', file])
    expect([same.code, same.out]).toEqual([EXIT.ok, `${pending.digest}\n`])
    const bare = await on.run(['intent', 'digest', '-', '--issuer', on.url], { input: JSON.stringify(pending.intent) })
    expect(bare.out).toBe(same.out)
    expect((await on.run(['intent', 'digest', file, '--issuer', 'https://other.example'])).code).toBe(EXIT.refused)
    const changed = { ...pending, intent: { ...pending.intent, environment: 'staging' } }
    expect((await on.run(['intent', 'digest', '-'], { input: JSON.stringify(changed) })).code).toBe(EXIT.refused)
    expect((await on.run(['intent', 'digest', '-'], { input: '{"intent":{}}' })).code).toBe(EXIT.usage)
    expect(on.received).toEqual([])
  })
})
