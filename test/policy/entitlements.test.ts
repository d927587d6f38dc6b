// Guarantees of reading entitlements.yaml: nothing fails open (T09), the stricter stands, and every problem is told with its place.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NEVER_AUTOMATIC } from '../../src/domain/entitlement.ts'
import { isName, named } from '../../src/domain/ids.ts'
import { hours, minutes, seconds } from '../../src/domain/instant.ts'
import { compileEntitlements } from '../../src/policy/entitlements.ts'
import { nameShape } from '../../src/policy/entitlements-file.ts'
import { inOrder } from '../../src/policy/problem.ts'
import { altered, compileTexts, smallFile, smallText } from './sample-policies.ts'

const problemsOf = (text: string) => inOrder(compileEntitlements('entitlements.yaml', text).problems)
const compiled = (text: string, id: string) => {
  const entitlement = compileTexts(text).entitlement(named.entitlement(id))
  if (entitlement === undefined) throw new Error(`no entitlement ${id}`)
  return entitlement
}
const at = (path: readonly string[]) => path.join('.')

describe('T09: a count, a quorum or a limit never fails open', () => {
  const NOT_COUNTS = [
    0,
    -1,
    -0,
    1.5,
    1e300,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    null,
    '',
    '1',
    '2',
    true,
    [],
    [1],
    {},
    'all',
  ]
  const COUNTS = [
    ['tiers', 'low', 'approvals'],
    ['tiers', 'high', 'approvals'],
    ['tiers', 'low', 'maxUses'],
    ['entitlements', 'asked', 'approval', 'approvals'],
    ['entitlements', 'asked', 'limits', 'maxUses'],
  ]
  it.each(COUNTS.map((path) => [at(path), path] as const))('%s takes no edge value', (name, path) => {
    for (const value of NOT_COUNTS) expect(problemsOf(altered(path, value)).map((one) => one.path)).toContain(name)
  })

  it('a reviewer count takes no edge value', () => {
    for (const count of NOT_COUNTS) {
      const text = altered(
        ['entitlements', 'asked', 'approval', 'reviewers'],
        [{ role: 'security', group: 'security', count }],
      )
      expect(problemsOf(text).map((one) => one.path)).toContain('entitlements.asked.approval.reviewers.0.count')
    }
  })

  const NOT_DURATIONS = [
    0,
    1,
    -1,
    '0s',
    '-1h',
    '',
    ' ',
    '1',
    '1 h',
    '1H',
    '1w',
    'P1D',
    '1.5h',
    '1ms',
    '366d',
    '999999999d',
    null,
    true,
    [],
    {},
  ]
  const DURATIONS = [
    ['tiers', 'low', 'maxDuration'],
    ['tiers', 'low', 'horizon'],
    ['tiers', 'low', 'decideWithin'],
    ['tiers', 'low', 'maxLife'],
    ['entitlements', 'asked', 'limits', 'maxDuration'],
    ['entitlements', 'asked', 'credential', 'maxLife'],
  ]
  it.each(DURATIONS.map((path) => [at(path), path] as const))('%s takes no edge value', (name, path) => {
    for (const value of NOT_DURATIONS) expect(problemsOf(altered(path, value)).map((one) => one.path)).toContain(name)
  })

  it.each(['approvals', 'maxDuration', 'horizon', 'decideWithin', 'maxUses', 'maxLife'])(
    'a tier without %s does not load',
    (key) => {
      expect(problemsOf(altered(['tiers', 'low', key], undefined)).map((one) => one.path)).toContain(`tiers.low.${key}`)
    },
  )
  it.each(['title', 'tenant', 'tier', 'target', 'actions', 'credential', 'approval'])(
    'an entitlement without %s does not load',
    (key) => {
      const paths = problemsOf(altered(['entitlements', 'asked', key], undefined)).map((one) => one.path)
      expect(paths).toContain(`entitlements.asked.${key}`)
    },
  )
  it('an entitlement of a tier that is not described does not load', () => {
    expect(problemsOf(altered(['tiers', 'low'], undefined)).map((one) => one.path)).toContain(
      'entitlements.automatic.tier',
    )
  })

  it('nothing but the word auto is automatic', () => {
    for (const value of ['Auto', 'AUTO', '', 'none', null, true, [], {}, { mode: 'auto' }, { owners: [] }, 0])
      expect(problemsOf(altered(['entitlements', 'automatic', 'approval'], value))).not.toEqual([])
  })
  it('no owner, or more than one, is never a rule', () => {
    for (const owner of [undefined, null, '', 'UPPER', 1, true, {}, [], ['lena'], ['lena', 'rob'], [['lena']]]) {
      const paths = problemsOf(altered(['entitlements', 'asked', 'approval', 'owner'], owner)).map((one) => one.path)
      expect(paths).toContain('entitlements.asked.approval.owner')
    }
  })
  it('only the tier low is automatic', () => {
    for (const tier of ['elevated', 'high'])
      expect(problemsOf(altered(['entitlements', 'automatic', 'tier'], tier)).map((one) => one.path)).toContain(
        'entitlements.automatic.approval',
      )
  })
  it.each(NEVER_AUTOMATIC)('what is %s is never automatic, not even beside an action that may be', (kind) => {
    const text = altered(['entitlements', 'automatic', 'actions'], { 'a.read': 'read', 'b.do': kind })
    expect(problemsOf(text).map((one) => one.path)).toEqual(['entitlements.automatic.actions.b.do'])
  })
  it('what compiled always asks for a person, unless it is low and automatic', () => {
    const values = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.array(fc.string()),
    )
    const paths = fc.constantFrom(
      ['entitlements', 'asked', 'approval'],
      ['entitlements', 'asked', 'approval', 'owner'],
      ['entitlements', 'asked', 'approval', 'reviewers'],
      ['entitlements', 'asked', 'approval', 'approvals'],
      ['entitlements', 'asked', 'tier'],
      ['tiers', 'elevated', 'approvals'],
      ['entitlements', 'asked', 'limits', 'maxUses'],
    )
    fc.assert(
      fc.property(paths, values, (path, value) => {
        const text = altered(path, value)
        const { problems, entitlements } = compileEntitlements('entitlements.yaml', text)
        if (problems.length > 0) return
        for (const { approval, tier, limits } of entitlements) {
          if (approval.mode === 'auto') expect(tier).toBe('low')
          else {
            expect(isName(approval.owner)).toBe(true)
            for (const { count } of approval.reviewers) expect(count).toBeGreaterThanOrEqual(1)
            expect(approval.approvals).toBeGreaterThanOrEqual(1)
          }
          expect(limits.maxUses).toBeGreaterThanOrEqual(1)
        }
      }),
      { numRuns: 150 },
    )
  })
})

describe('the stricter of tier and entitlement stands', () => {
  it('a limit looser than its tier is an error at its place, never cut in silence', () => {
    const looser: readonly [readonly string[], unknown][] = [
      [['limits', 'maxDuration'], '5h'],
      [['limits', 'horizon'], '15d'],
      [['limits', 'decideWithin'], '2d'],
      [['limits', 'maxUses'], 6],
      [['credential', 'maxLife'], '16m'],
    ]
    for (const [path, value] of looser) {
      const whole = ['entitlements', 'asked', ...path]
      expect(problemsOf(altered(whole, value)).map((one) => one.path)).toEqual([at(whole)])
    }
  })
  it('the very limit of the tier is allowed', () => {
    expect(
      problemsOf(altered(['entitlements', 'asked', 'limits'], { maxDuration: '4h', horizon: '14d', maxUses: 5 })),
    ).toEqual([])
  })
  it('fewer approvals than the tier asks is an error', () => {
    const text = altered(['entitlements', 'database', 'approval', 'approvals'], 1)
    expect(problemsOf(text).map((one) => one.path)).toEqual(['entitlements.database.approval.approvals'])
  })
  it('fewer approvals than there are seats is an error', () => {
    const text = altered(['entitlements', 'asked', 'approval', 'approvals'], 1)
    expect(problemsOf(text).map((one) => one.path)).toEqual(['entitlements.asked.approval.approvals'])
  })
  it('a quorum that nobody could ever meet is an error', () => {
    for (const reviewers of [undefined, []]) {
      const text = altered(['entitlements', 'database', 'approval', 'reviewers'], reviewers)
      expect(problemsOf(text).map((one) => one.path)).toEqual(['entitlements.database.approval'])
    }
    const many = altered(['entitlements', 'database', 'approval'], { owner: 'olivia', approvals: 2 })
    expect(problemsOf(many).map((one) => one.path)).toEqual(['entitlements.database.approval.approvals'])
  })
  it('a higher tier never asks fewer persons than a lower one', () => {
    expect(problemsOf(altered(['tiers', 'low', 'approvals'], 3)).map((one) => one.path)).toContain(
      'tiers.high.approvals',
    )
  })
  it('what the tier requires cannot be switched off', () => {
    const file = smallText().replace('maxLife: 15m\n  elevated', 'maxLife: 15m\n    ticketRequired: true\n  elevated')
    expect(compiled(file, 'automatic').ticketRequired).toBe(true)
    const off = file.replace('title: Read\n', 'title: Read\n    ticketRequired: false\n')
    expect(problemsOf(off).map((one) => one.path)).toEqual(['entitlements.automatic.ticketRequired'])
  })
  it.each([
    ['bearer', ['credential'], { kind: 'jwt', sender: 'bearer' }, 'credential.sender'],
    ['expiry', ['credential', 'revocability'], 'expiry', 'credential.revocability'],
  ])('from tier high on, %s is refused', (_, path, value, where) => {
    const text = altered(['entitlements', 'database', ...path], value)
    const problems = problemsOf(text).map((one) => one.path)
    expect(problems).toContain(`entitlements.database.${where}`)
  })
})

describe('what is compiled is complete', () => {
  it('every default is filled in', () => {
    expect(compiled(smallText(), 'automatic')).toEqual({
      id: 'automatic',
      title: 'Read',
      tenant: 'northwind',
      openTo: ['northwind'],
      tier: 'low',
      target: { id: 'reports', environment: 'production', audience: 'https://reports.example' },
      actions: { 'report.read': 'read' },
      actionFlags: {},
      flags: [],
      scopes: [],
      credential: { kind: 'jwt', sender: 'dpop', maxLife: minutes(15), verifierCache: seconds(30) },
      approval: { mode: 'auto' },
      limits: {
        maxDuration: hours(4),
        horizon: hours(14 * 24),
        decideWithin: hours(24),
        escalateWithin: hours(6),
        useWithin: hours(4),
        agentsUseWithin: minutes(15),
        maxUses: 1,
      },
      ticketRequired: false,
      planRequired: false,
      separateExecutor: false,
      maxApprovers: 10,
      release: undefined,
      bindClaims: {},
      onMisuse: undefined,
    })
  })
  it('a token never lives longer than the window may be', () => {
    const text = altered(['entitlements', 'automatic', 'limits'], { maxDuration: '20s' })
    expect(compiled(text, 'automatic').credential).toMatchObject({ maxLife: seconds(20), verifierCache: seconds(20) })
    const longer = altered(['entitlements', 'asked', 'limits', 'maxDuration'], '5m')
    expect(problemsOf(longer).map((one) => one.path)).toEqual(['entitlements.asked.credential.maxLife'])
  })
  it('approvals that the file leaves out are the tier’s or the seats, whichever is more', () => {
    expect(compiled(smallText(), 'asked').approval).toMatchObject({ approvals: 2 })
    expect(compiled(smallText(), 'database').approval).toMatchObject({ approvals: 2 })
  })
  it('a name here is a name of the domain', () => {
    const texts = fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9-]{0,40}$/))
    fc.assert(fc.property(texts, (text) => nameShape.safeParse(text).success === isName(text)))
  })
})

describe('a bad file is told whole', () => {
  it('every problem stands at its own line and column', () => {
    const text = [
      'revision: 0', // 1
      'tiers:', // 2
      '  low: { approvals: 1, maxDuration: 4h, horizon: 1d, decideWithin: 1h, maxUses: 1, maxLife: 5m, grace: 1h }', // 3
      '  elevated: { approvals: 1, maxDuration: 4h, horizon: 1d, decideWithin: 1h, maxUses: 1, maxLife: 5m }', // 4
      'entitlements:', // 5
      '  Bad_Name:', // 6
      '    title: x', // 7
      '  good-name:', // 8
      '    title: x', // 9
      '    tenant: northwind', // 10
      '    tier: elevated', // 11
      '    target: { id: x, environment: production, audience: "not a uri" }', // 12
      '    actions: { x.do: explode }', // 13
      '    credential: { kind: jwt }', // 14
      '    approval:', // 15
      '      owner: []', // 16
      '      quorum: 0', // 17
      '  other-name:', // 18
      '    title: x', // 19
      '    tenant: northwind', // 20
      '    tier: elevated', // 21
      '    target: { id: x, environment: production, audience: https://x.example }', // 22
      '    actions: { x.do: write }', // 23
      '    credential: { kind: jwt, maxLife: 1h }', // 24
      '    approval: auto', // 25
      'extra: 1', // 26
    ].join('\n')
    const places = problemsOf(text).map(({ line, column, path }) => `${line}:${column} ${path}`)
    expect(places).toEqual([
      '1:1 revision',
      '3:97 tiers.low.grace',
      '6:3 entitlements.Bad_Name',
      '6:3 entitlements.Bad_Name.tenant',
      '6:3 entitlements.Bad_Name.tier',
      '6:3 entitlements.Bad_Name.target',
      '6:3 entitlements.Bad_Name.actions',
      '6:3 entitlements.Bad_Name.credential',
      '6:3 entitlements.Bad_Name.approval',
      '12:47 entitlements.good-name.target.audience',
      '13:16 entitlements.good-name.actions.x.do',
      '16:7 entitlements.good-name.approval.owner',
      '17:7 entitlements.good-name.approval.quorum',
      '24:30 entitlements.other-name.credential.maxLife',
      '25:5 entitlements.other-name.approval',
      '26:1 extra',
    ])
  })
  it('every message says what to write instead', () => {
    const text = altered(['entitlements', 'asked'], {
      title: 1,
      tenant: 2,
      tier: 3,
      target: 4,
      actions: 5,
      credential: 6,
      approval: 7,
    })
    for (const { message } of problemsOf(text)) expect(message).toMatch(/[Ww]rite|Remove|Name|keep/)
  })
  it.each([
    ['a duplicate key', 'revision: 1\nrevision: 2\n', 2],
    ['a duplicate entitlement', 'revision: 1\nentitlements:\n  a: {}\n  a: {}\n', 4],
    ['an anchor', 'revision: &one 1\n', 1],
    ['an alias', 'revision: 1\ntiers: *one\n', 2],
    ['a tag', 'revision: 1\ntiers: !!map {}\n', 2],
    ['a directive', '%YAML 1.2\n---\nrevision: 1\n', 1],
    ['a merge key', 'revision: 1\n<<: { tiers: {} }\n', 2],
    ['a second document', 'revision: 1\n---\nrevision: 2\n', 2],
    ['a tab as indent', 'tiers:\n\tlow: 1\n', 2],
    ['a complex key', 'revision: 1\n? [a]\n: 1\n', 2],
    ['a prototype', 'revision: 1\n__proto__: { tiers: {} }\n', 2],
    ['an unclosed quote', 'revision: 1\ntiers: "\n', 3],
  ])('%s is an error at its line', (_, text, line) => {
    expect(problemsOf(text).map((one) => one.line)).toContain(line)
  })
  it.each(['', 'null', '[]', '1', 'text', '# only a comment', '---'])('the whole file %j is an error', (text) => {
    expect(problemsOf(text)).not.toEqual([])
  })
  it('texts that look like tricks inside quotes or blocks are only texts', () => {
    const file = smallFile()
    const asked = file.entitlements.asked
    if (asked !== undefined) asked.title = '*not an alias, &not an anchor, !no tag [[[[[[[[[[[[[[[[['
    expect(problemsOf(JSON.stringify(file))).toEqual([])
  })
  it('whatever the bytes, it answers with problems or a policy and never throws anything else', () => {
    const pieces = fc.constantFrom(
      'revision: 1\n',
      'tiers:',
      ' low:',
      '{',
      '}',
      '[',
      ']',
      '- ',
      '? ',
      ': ',
      '"',
      "'",
      '|',
      '>',
      '\n',
      '  ',
      '#',
      '&a',
      '*a',
      '!t',
      '\t',
      '\0',
      '\ud800',
      'auto',
    )
    fc.assert(
      fc.property(
        fc.array(fc.oneof(pieces, fc.string()), { maxLength: 40 }),
        (parts) => problemsOf(parts.join('')).length > 0,
      ),
    )
  })
})
