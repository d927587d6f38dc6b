// Guarantees of judging: deny wins, any doubt is a refusal with its name, and what is left out of a question never changes its answer.
import { isAuthorized } from '@cedar-policy/cedar-wasm/nodejs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ACTION_CLASSES } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { type AskedRisk, FLAGS, SENSITIVITIES, TRUSTS } from '../../src/domain/risk.ts'
import { callFor } from '../../src/policy/guard-question.ts'
import { EVERYTHING } from '../../src/policy/guard-reads.ts'
import { compileGuards, guardJudge } from '../../src/policy/guards.ts'
import { ACTIONS, mayBeOfBroker, type Question } from '../../src/policy/policy.ts'
import {
  anyIntent,
  anyPrincipal,
  compileTexts,
  intentFor,
  machine,
  PERMIT_ALL,
  person,
  problemsOf,
  SCHEMA,
  shipped,
  smallText,
} from './sample-policies.ts'

const small = compileTexts(smallText())
const asked = small.entitlement(named.entitlement('asked'))
if (asked === undefined) throw new Error('the sample has no entitlement')
const vera = person('vera', 'acme', 'vendor-engineers')
const olivia = person('olivia', 'northwind', 'dba')
const withGuards = (guards: string) => compileTexts(smallText(), guards)

const anyRisk: fc.Arbitrary<AskedRisk> = fc.record({
  flags: fc.subarray([...FLAGS]),
  trust: fc.option(fc.constantFrom(...TRUSTS), { nil: undefined }),
  sensitivities: fc.subarray([...SENSITIVITIES]),
  earlier: fc.array(
    fc.record({
      entitlement: fc.constant(asked.id),
      classes: fc.subarray([...ACTION_CLASSES]),
      flags: fc.subarray([...FLAGS], { maxLength: 2 }),
      dataTypes: fc.constantFrom([], ['pii']),
      destination: fc.constantFrom('', 'partner'),
    }),
    { maxLength: 2 },
  ),
})
const anyQuestion: fc.Arbitrary<Question> = fc
  .record({
    action: fc.constantFrom(...ACTIONS),
    principal: anyPrincipal,
    entitlement: fc.option(fc.constantFrom(...small.entitlements()), { nil: undefined }),
    intent: fc.option(anyIntent(asked), { nil: undefined }),
    requester: fc.option(anyPrincipal, { nil: undefined }),
    risk: fc.option(anyRisk, { nil: undefined }),
  })
  .map(({ action, principal, entitlement, intent, requester, risk }) => ({
    action,
    principal,
    ...(entitlement && { entitlement }),
    ...(intent && { intent }),
    ...(requester && { requester }),
    ...(risk && { risk }),
  }))

describe('judging', () => {
  it('permits by a named rule and refuses what no rule permits', () => {
    const policy = withGuards(
      '@id("vera-asks") permit (principal == Person::"vera", action == Action::"Request", resource);',
    )
    expect(policy.judge({ action: 'Request', principal: vera, entitlement: asked })).toEqual({
      allowed: true,
      because: ['vera-asks'],
    })
    expect(policy.judge({ action: 'Exchange', principal: vera, entitlement: asked })).toEqual({
      allowed: false,
      because: [],
    })
  })
  it('deny wins, whatever the order and however many permit', () => {
    const forbid = '@id("never") forbid (principal, action == Action::"Request", resource);'
    for (const guards of [`${PERMIT_ALL}\n${forbid}`, `${forbid}\n${PERMIT_ALL}`]) {
      const verdict = withGuards(guards).judge({ action: 'Request', principal: vera, entitlement: asked })
      expect(verdict).toEqual({ allowed: false, because: ['never'] })
    }
  })
  it('deny wins over random questions', () => {
    const open = small
    const closed = withGuards(
      `${PERMIT_ALL}\n@id("no-acme") forbid (principal, action, resource) when { principal.tenant == "acme" };`,
    )
    fc.assert(
      fc.property(anyQuestion, (question) => {
        const verdict = closed.judge(question)
        if (question.principal.tenant === 'acme') expect(verdict.allowed).toBe(false)
        else expect(verdict.allowed).toBe(open.judge(question).allowed)
      }),
      { numRuns: 500 },
    )
  })
  it('a forbid that fails while it is evaluated refuses, and is named', () => {
    const guards = `${PERMIT_ALL}\n@id("sums") forbid (principal, action, resource) when { context has ask && context.ask.durationMs * context.ask.durationMs * context.ask.durationMs < 0 };`
    const length = 8_000_000_000_000_000
    const intent = { ...intentFor(asked, vera), window: { opensAt: 0, closesAt: length } } as never
    const verdict = withGuards(guards).judge({ action: 'Request', principal: vera, entitlement: asked, intent })
    expect(verdict.allowed).toBe(false)
    expect(verdict.because.join()).toMatch(/^error: sums: /)
  })
  it('a permit that fails while it is evaluated refuses what another permits', () => {
    const guards = `${PERMIT_ALL}\n@id("sums") permit (principal, action, resource) when { resource is Entitlement && resource.tierRank * 9000000000000 * 9000000000000 > 0 };`
    expect(withGuards(guards).judge({ action: 'Request', principal: vera, entitlement: asked }).allowed).toBe(false)
  })
  it('is total: no question throws, and an answer is always a verdict', () => {
    const policy = shipped()
    const strange = fc.record({
      action: fc.oneof(fc.constantFrom<string>(...ACTIONS), fc.string()),
      principal: anyPrincipal,
      entitlement: fc.option(fc.constantFrom(...policy.entitlements(), ...small.entitlements()), { nil: undefined }),
      intent: fc.option(anyIntent(asked), { nil: undefined }),
      requester: fc.option(anyPrincipal, { nil: undefined }),
    })
    fc.assert(
      fc.property(strange, (question) => {
        const verdict = policy.judge(question as Question)
        expect(typeof verdict.allowed).toBe('boolean')
        expect(verdict.because.every((reason) => typeof reason === 'string')).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
  it('the same question has the same answer, asked again or asked of a policy compiled anew', () => {
    const [one, two] = [shipped(), shipped()]
    fc.assert(
      fc.property(anyQuestion, (question) => {
        expect(one.judge(question)).toEqual(two.judge(question))
        expect(one.judge(question)).toEqual(one.judge(question))
      }),
      { numRuns: 500 },
    )
  })
  it('two policies in one process never answer for each other', () => {
    const yes = withGuards('@id("same") permit (principal, action, resource);')
    const no = withGuards('@id("same") forbid (principal, action, resource);')
    expect(yes.judge({ action: 'Request', principal: vera, entitlement: asked }).allowed).toBe(true)
    expect(no.judge({ action: 'Request', principal: vera, entitlement: asked }).allowed).toBe(false)
  })
  it('groups of two tenants stay two groups', () => {
    const policy = withGuards('@id("soc") permit (principal in Group::"northwind/soc", action, resource);')
    const ask = (principal: Question['principal']) => policy.judge({ action: 'Operate', principal }).allowed
    expect(ask(person('sol', 'northwind', 'soc'))).toBe(true)
    expect(ask(person('eve', 'acme', 'soc'))).toBe(false)
    expect(ask(person('eve', 'northwind/soc', 'soc'))).toBe(false)
  })
})

describe('leaving out what no rule reads', () => {
  const conditions = [
    'principal.tenant == resource.tenant',
    'resource.owners.contains(principal.id)',
    '["soc", "dba"].containsAny(principal.groups)',
    'principal is Person',
    'principal has sponsors && principal.sponsors.contains("vera")',
    'context has ask && context.ask.impact.externalTransfer',
    'context has ask && context.ask.classes == ["write"]',
    'context has ask.destination && context.ask.destination like "*n*"',
    'context has ask && context.ask.flags.contains("tenancyBoundary")',
    'context has ask && context.ask.destinationTrust == "external" && context.ask.sensitivities.contains("personal")',
    'context has ask && context.ask.earlier.classes.contains("destructive") && context.ask.exposedTo == 0',
    'context has ask && context.ask.durationMs > 1000000',
    'context has ask',
    'context has requester && context.requester.id == principal.id',
    'context has requester && context.requester == {id: "vera-agent", kind: "agent", tenant: "acme", groups: ["soc"], sponsors: ["vera"]}',
    '(if context has ask then context else context) has requester',
    '(if context has ask then principal else principal).tenant == "acme"',
    '(if context has ask then resource else resource).owners.contains("rob")',
    '(if context has ask then context else context) == context && context has ask',
    'principal in Group::"northwind/soc"',
    'principal in Tenant::"northwind"',
    'resource in Tenant::"northwind"',
    '(if context has ask then principal.tenant else resource.tenant) == "acme"',
    'context has ask && (if context.ask.hasPlan then context.ask else context.ask).uses > 3',
    'resource.tierRank >= 2 || resource.tier == "low"',
    'resource["environment"] == "production"',
    '{x: principal.groups}.x.contains("dba")',
  ]
  // Not of ReadAudit, Freeze and Operate: they are asked of the broker too, which has no attributes.
  const actions = [
    'action in [Action::"Request", Action::"ReadGrant", Action::"Approve", Action::"Revoke"]',
    'action == Action::"Request"',
    'action in [Action::"Request", Action::"Exchange"]',
    'action == Action::"ReadGrant"',
    'action in [Action::"Approve"]',
  ]
  const onEntitlement = anyQuestion
    .filter(({ action, entitlement }) => entitlement !== undefined && !mayBeOfBroker(action))
    // An engine that reads text as UTF-8 cannot be asked about lone surrogates; that they are refused is shown above.
    .filter((question) => JSON.stringify(question).isWellFormed() && !JSON.stringify(question).includes('\\ud'))
  const rule = fc.record({
    effect: fc.constantFrom('permit', 'forbid'),
    action: fc.constantFrom(...actions),
    when: fc.array(fc.constantFrom(...conditions), { maxLength: 3 }),
    unless: fc.array(fc.constantFrom(...conditions), { maxLength: 1 }),
  })
  const guardsText = fc.array(rule, { minLength: 1, maxLength: 6 }).map((rules) =>
    rules.map(({ effect, action, when, unless }, n) => {
      const clauses = [...when.map((one) => `when { ${one} }`), ...unless.map((one) => `unless { ${one} }`)]
      return `@id("rule-${n}") ${effect} (principal, ${action}, resource) ${clauses.join(' ')};`
    }),
  )
  const schema = { file: 'guards.cedarschema', text: SCHEMA }
  /** Asks as the broker asks, and asks the engine with everything there is; both must say the same. Returns how many were compared. */
  const compare = (lines: readonly string[], questions: readonly Question[]): number => {
    const { rules, problems } = compileGuards({ file: 'guards.cedar', text: lines.join('\n') }, schema)
    // Some of the random rules can never apply, which is an error of its own.
    if (problems.length > 0) return 0
    const judge = guardJudge(rules, lines.join('\n'))
    const staticPolicies = Object.fromEntries(lines.map((line, n) => [`rule-${n}`, line]))
    let compared = 0
    for (const question of questions) {
      const verdict = judge(question)
      if (verdict.because.some((reason) => reason.startsWith('floor: '))) continue
      const whole = isAuthorized({ ...callFor(question, EVERYTHING), policies: { staticPolicies } })
      if (whole.type === 'failure') throw new Error(whole.errors[0]?.message)
      compared += 1
      const { decision, diagnostics } = whole.response
      expect(diagnostics.errors).toEqual([])
      expect(verdict).toEqual({ allowed: decision === 'allow', because: diagnostics.reason.toSorted() })
    }
    return compared
  }
  it.each(conditions)('never changes a verdict or its reasons: %s', (condition) => {
    const lines = [
      `@id("rule-0") permit (principal, ${actions[0]}, resource) when { ${condition} };`,
      '@id("rule-1") permit (principal, action == Action::"Request", resource);',
    ]
    // The same questions each time, and one whose requester is exactly the one that a condition names.
    const agent = { ...machine('agent', 'vera-agent', 'acme', 'vera'), groups: [named.group('soc')] }
    const exact = { action: 'ReadGrant', principal: olivia, entitlement: asked, requester: agent } as const
    const questions = [...fc.sample(onEntitlement, { numRuns: 80, seed: 20 }), exact]
    expect(compare(lines, questions)).toBeGreaterThan(20)
  })
  it('never changes a verdict or its reasons, over random rules and questions', () => {
    let compared = 0
    fc.assert(
      fc.property(guardsText, fc.array(onEntitlement, { minLength: 10, maxLength: 20 }), (lines, questions) => {
        compared += compare(lines, questions)
      }),
      { numRuns: 40 },
    )
    expect(compared).toBeGreaterThan(50)
  })
})

describe('floors hold whatever the guards say', () => {
  const everything = [...small.entitlements()]
  it('an agent or a workload never approves, even where every rule permits', () => {
    const machines = anyPrincipal.filter(({ kind }) => kind !== 'person')
    fc.assert(
      fc.property(machines, fc.constantFrom(...everything), (principal, entitlement) => {
        expect(small.judge({ action: 'Approve', principal, entitlement }).allowed).toBe(false)
      }),
    )
  })
  it('nobody of another tenant approves', () => {
    expect(small.judge({ action: 'Approve', principal: vera, entitlement: asked }).allowed).toBe(false)
    expect(small.judge({ action: 'Approve', principal: olivia, entitlement: asked }).allowed).toBe(true)
  })
  it('nobody asks or exchanges whose tenant it is not open to', () => {
    const mallory = person('mallory', 'elsewhere')
    for (const action of ['Request', 'Exchange', 'AutoApprove'] as const)
      expect(small.judge({ action, principal: mallory, entitlement: asked }).allowed).toBe(false)
  })
  it('nothing is automatic but what is low, says auto, and does nothing that needs a person', () => {
    fc.assert(
      fc.property(anyPrincipal, fc.constantFrom(...everything), anyIntent(asked), (principal, entitlement, intent) => {
        const verdict = small.judge({ action: 'AutoApprove', principal, entitlement, intent })
        if (!verdict.allowed) return
        expect(entitlement.tier).toBe('low')
        expect(entitlement.approval.mode).toBe('auto')
        expect(intent.actions.every((action) => entitlement.actions[action] === 'read')).toBe(true)
        expect(intent.actions.length).toBeGreaterThan(0)
      }),
    )
    const low = everything.find(({ approval }) => approval.mode === 'auto')
    if (low === undefined) throw new Error('the sample has no automatic entitlement')
    const intent = intentFor(low, olivia)
    expect(small.judge({ action: 'AutoApprove', principal: olivia, entitlement: low, intent }).allowed).toBe(true)
    expect(
      small.judge({ action: 'AutoApprove', principal: olivia, entitlement: low, intent: { ...intent, actions: [] } })
        .allowed,
    ).toBe(false)
    expect(small.judge({ action: 'AutoApprove', principal: olivia, entitlement: low }).allowed).toBe(false)
  })
  it('a question about an entitlement without one is refused', () => {
    for (const action of ACTIONS.filter((one) => !mayBeOfBroker(one)))
      expect(small.judge({ action, principal: olivia }).allowed).toBe(false)
  })
  it('no machine operates the broker, freezes or reads its audit trail', () => {
    for (const action of ['Operate', 'Freeze', 'ReadAudit'] as const) {
      expect(small.judge({ action, principal: machine('agent', 'a', 'northwind', 'sam') }).allowed).toBe(false)
      expect(small.judge({ action, principal: olivia }).allowed).toBe(true)
    }
  })
})

describe('bad guards are told whole', () => {
  const places = (guards: string) =>
    problemsOf(smallText(), guards).map(({ line, column, path }) => `${line}:${column} ${path}`)
  it('every bad rule at its own place, also behind letters that take several bytes', () => {
    const guards = [
      '// Grüße, 世界', // 1
      '@id("bad-syntax")', // 2
      'permit (principal, action, resource) when { principal. };', // 3
      '@id("fine") permit (principal, action, resource); // ümlaut', // 4
      'permit (principal, action, resource);', // 5
      '@id("Not An Id") forbid (principal, action, resource);', // 6
      '@id("fine") forbid (principal, action, resource);', // 7
      '@id("slot") permit (principal == ?principal, action, resource);', // 8
    ].join('\n')
    expect(places(guards)).toEqual(['3:56 ', '5:1 ', '6:1 ', '7:1 fine', '8:34 '])
  })
  it('what the schema does not know is an error at its place', () => {
    const guards = [
      '@id("typo")', // 1
      'permit (principal, action, resource) when { "ü" == "ü" && principal.tennant == "x" };', // 2
      '@id("wrong-action") permit (principal, action == Action::"Aprove", resource);', // 3
      '@id("unsafe") permit (principal, action == Action::"Request", resource) when { context.ask.hasPlan };', // 4
      '@id("types") permit (principal, action == Action::"Request", resource) when { resource.tier > 2 };', // 5
      '@id("impossible") permit (principal is Broker, action, resource);', // 6
    ].join('\n')
    const found = places(guards)
    for (const place of ['2:59 typo', '3:50 wrong-action', '4:80 unsafe', '5:79 types']) expect(found).toContain(place)
    expect(found.some((place) => place.endsWith(' impossible'))).toBe(true)
  })
  it('text that reads differently from what it is is refused', () => {
    expect(
      places(
        '@id("bidi") permit (principal, action == Action::"Request", resource) when { principal.id == "user\u202E \u2066admin" };',
      ),
    ).not.toEqual([])
    expect(
      places('@id("mixed") permit (principal == Person::"v\u0435ra", action == Action::"Request", resource);'),
    ).not.toEqual([])
  })
  it.each([
    '',
    '// nothing',
    'permit',
    'permit (principal, action, resource)',
    '@id("x") permit (principal, action, resource) when { "',
    ';',
    '}',
    '@id("x")',
  ])('the file %j is an error', (guards) => {
    expect(places(guards)).not.toEqual([])
  })
  it('a schema that does not describe what the broker asks is refused', () => {
    for (const schema of [
      '',
      'entity Person;',
      SCHEMA.replace('durationMs: Long', 'durationMs: String'),
      SCHEMA.replace('  owners: Set<String>,\n', ''),
      SCHEMA.replace('action Operate', 'action Operated'),
      SCHEMA.replace('ReadGrant appliesTo', 'ReadGrants appliesTo'),
    ])
      expect(problemsOf(smallText(), PERMIT_ALL, schema).map(({ file }) => file)).toContain('guards.cedarschema')
  })
  it('whatever the bytes, it answers with problems or a policy and never throws anything else', () => {
    const pieces = fc.constantFrom(
      'permit',
      'forbid',
      '(',
      ')',
      'principal',
      'action',
      'resource',
      ',',
      ';',
      'when',
      '{',
      '}',
      '@id("x")',
      '"',
      '\\',
      '::',
      '==',
      'context',
      '.',
      '//',
      '\n',
      'é',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 30 }), (parts) => {
        const { problems } = compileGuards({ file: 'g', text: parts.join(' ') }, { file: 's', text: SCHEMA })
        expect(problems).not.toEqual([])
      }),
      { numRuns: 300 },
    )
    // The engine is still whole.
    expect(small.judge({ action: 'Request', principal: vera, entitlement: asked }).allowed).toBe(true)
  })
})
