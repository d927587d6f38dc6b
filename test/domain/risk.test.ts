// Risk is derived: what the requester says of it can only raise, what nobody knows counts as the worst, and every step up has its reason.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ACTION_CLASSES, type ActionClass, type Entitlement } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { type ChangeClass, type Intent, intentDigest } from '../../src/domain/intent.ts'
import {
  type Catalogue,
  classesOf,
  type Earlier,
  FLAGS,
  FLOOR,
  type Flag,
  NO_IMPACT,
  type Risk,
  riskOf,
  sensitivityOf,
  trustOf,
} from '../../src/domain/risk.ts'
import { atLeast, TIERS, type Tier } from '../../src/domain/tier.ts'
import { anyImpact, least, whole } from './sample-intents.ts'
import { entitlementOf, ruleOf } from './sample-rules.ts'

const CATALOGUE: Catalogue = {
  destinations: { warehouse: 'internal', partner: 'external', pastebin: 'untrusted' },
  dataTypes: { stock: 'plain', contact: 'personal', health: 'regulated' },
}
/** What no catalogue names, also where a table would find it by accident. */
const UNKNOWN = ['unknown', 'Warehouse', '__proto__', 'constructor', 'toString', 'hasOwnProperty', ' ']

interface Asked {
  readonly entitlement?: Partial<Entitlement>
  readonly intent?: Partial<Intent>
  readonly tenant?: string
  readonly earlier?: readonly Earlier[] | 'too many'
}
const of = ({ entitlement, intent, tenant = 'northwind', earlier = [] }: Asked): Risk =>
  riskOf({
    entitlement: entitlementOf(entitlement),
    intent: { ...least, actions: ['do.read'], ...intent },
    requesterTenant: tenant,
    catalogue: CATALOGUE,
    earlier: earlier === 'too many' ? undefined : earlier,
  })
const brief = (risk: Risk) => [risk.tier, ...risk.flags]
const before = (change: Partial<Earlier>): readonly Earlier[] => [
  { entitlement: named.entitlement('before'), classes: ['read'], flags: [], dataTypes: [], destination: '', ...change },
]

const text = fc.constantFrom('', 'warehouse', 'partner', 'pastebin', ...UNKNOWN)
const type = fc.constantFrom('stock', 'contact', 'health', ...UNKNOWN)
const action = fc.constantFrom(...ACTION_CLASSES.map((kind) => `do.${kind}`), ...UNKNOWN)
const share = fc.integer({ min: 0, max: 100 })
const anyEarlier: fc.Arbitrary<Earlier> = fc.record({
  entitlement: fc.constant(named.entitlement('before')),
  classes: fc.subarray([...ACTION_CLASSES]),
  flags: fc.subarray([...FLAGS], { maxLength: 2 }),
  dataTypes: fc.array(type, { maxLength: 2 }),
  destination: text,
})
const anyAsked = fc.record({
  entitlement: fc.record({
    tier: fc.constantFrom(...TIERS),
    flags: fc.subarray([...FLAGS], { maxLength: 2 }),
    approval: fc.constantFrom({ mode: 'auto' as const }, ruleOf()),
  }),
  intent: fc.record({
    actions: fc.array(action, { minLength: 1, maxLength: 3 }),
    dataTypes: fc.array(type, { maxLength: 2 }),
    destination: text,
    exposure: fc.option(
      fc.record({ segment: fc.constant('eu'), from: share, to: share, rollbackCriteria: fc.constant('errors') }),
      { nil: undefined },
    ),
    changeClass: fc.constantFrom<ChangeClass>('standard', 'normal', 'emergency'),
  }),
  tenant: fc.constantFrom('northwind', 'acme'),
  earlier: fc.oneof(
    { weight: 9, arbitrary: fc.array(anyEarlier, { maxLength: 2 }) },
    { weight: 1, arbitrary: fc.constant('too many' as const) },
  ),
})

describe('what the requester declares', () => {
  it.each(FLAGS)('%s: false is nothing said, true is at least its floor and named', (flag) => {
    const said = (value: boolean): Partial<Intent> => ({ impact: { ...NO_IMPACT, [flag]: value } })
    expect(of({ intent: said(false) })).toEqual(of({}))
    const digest = (intent: Partial<Intent>): string => intentDigest({ ...least, ...intent }, 'i', (one) => one)
    expect(digest(said(false))).toBe(digest({}))
    const raised = of({ intent: said(true) })
    expect(raised.flags).toEqual([flag])
    expect(raised.tier).toBe(FLOOR[flag])
    expect(raised.why.length).toBe(FLOOR[flag] === 'low' ? 0 : 1)
  })

  it('never lowers a tier, takes a flag away or makes a class less', () => {
    const classes: readonly ChangeClass[] = ['standard', 'normal', 'emergency']
    fc.assert(
      fc.property(anyAsked, anyImpact, (asked, impact) => {
        const without = of({ ...asked, intent: { ...asked.intent, changeClass: 'standard' } })
        const declared = of({ ...asked, intent: { ...asked.intent, impact } })
        expect(atLeast(declared.tier, without.tier)).toBe(true)
        expect(declared.flags).toEqual(expect.arrayContaining([...without.flags]))
        expect(classes.indexOf(declared.changeClass)).toBeGreaterThanOrEqual(classes.indexOf(without.changeClass))
        for (const flag of FLAGS) if (impact[flag]) expect(atLeast(declared.tier, FLOOR[flag])).toBe(true)
      }),
      { numRuns: 10_000 },
    )
  })

  it('more data, more exposure, more askings before never lower either', () => {
    fc.assert(
      fc.property(anyAsked, type, anyEarlier, (asked, another, one) => {
        const now = of(asked)
        const more: readonly Asked[] = [
          { ...asked, intent: { ...asked.intent, dataTypes: [...asked.intent.dataTypes, another] } },
          { ...asked, intent: { ...asked.intent, exposure: asked.intent.exposure ?? whole.exposure } },
          { ...asked, earlier: asked.earlier === 'too many' ? asked.earlier : [...asked.earlier, one] },
          { ...asked, earlier: 'too many' },
          { ...asked, tenant: 'acme' },
        ]
        for (const each of more) expect(atLeast(of(each).tier, now.tier)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })

  it('leaving the destination of a transfer out never lowers below that of the worst', () => {
    fc.assert(
      fc.property(anyAsked, ({ intent, ...asked }) => {
        const transfer = { ...intent, actions: ['do.transfer'] }
        const nowhere = of({ ...asked, intent: { ...transfer, destination: '' } })
        const worst = of({ ...asked, intent: { ...transfer, destination: 'unknown' } })
        expect([nowhere.tier, nowhere.flags]).toEqual([worst.tier, worst.flags])
      }),
    )
  })

  it('a class can be raised, and is never standard where a person decides or the tier is not low', () => {
    const classOf = (asked: Asked): ChangeClass => of(asked).changeClass
    expect(classOf({ intent: { changeClass: 'standard' } })).toBe('standard')
    expect(classOf({ intent: { changeClass: 'emergency' } })).toBe('emergency')
    expect(classOf({ intent: { changeClass: 'standard' }, tenant: 'acme' })).toBe('normal')
    expect(classOf({ intent: { changeClass: 'standard' }, entitlement: { approval: ruleOf() } })).toBe('normal')
  })
})

describe('what is derived', () => {
  it('every step up has its reason, the last of which names the tier, and nothing else has one', () => {
    fc.assert(
      fc.property(anyAsked, anyImpact, (asked, impact) => {
        const { tier, why } = of({ ...asked, intent: { ...asked.intent, impact } })
        const steps = why.map((one) => one.split(':')[0] as Tier)
        const raised = [asked.entitlement.tier, ...steps]
        expect(raised.at(-1)).toBe(tier)
        for (const [n, step] of steps.entries()) {
          expect(TIERS).toContain(step)
          expect(TIERS.indexOf(step)).toBeGreaterThan(TIERS.indexOf(raised[n] ?? 'critical'))
        }
      }),
      { numRuns: 3_000 },
    )
  })

  it.each([
    ['', undefined, ['low']],
    ['warehouse', 'internal', ['low', 'dataFlow']],
    ['partner', 'external', ['high', 'dataFlow', 'externalTransfer']],
    ['pastebin', 'untrusted', ['high', 'dataFlow', 'externalTransfer']],
    ...UNKNOWN.map((id) => [id, 'untrusted', ['high', 'dataFlow', 'externalTransfer']] as const),
  ] as const)('the destination %j is %s', (destination, trust, risk) => {
    expect(trustOf(CATALOGUE, destination)).toBe(trust)
    expect(brief(of({ intent: { destination } }))).toEqual(risk)
  })

  it.each([
    ['stock', 'plain', ['low']],
    ['contact', 'personal', ['elevated', 'regulated']],
    ['health', 'regulated', ['high', 'regulated']],
    ...[...UNKNOWN, ''].map((id) => [id, 'regulated', ['high', 'regulated']] as const),
  ] as const)('data of the type %j is %s', (dataType, sensitivity, risk) => {
    expect(sensitivityOf(CATALOGUE, dataType)).toBe(sensitivity)
    expect(brief(of({ intent: { dataTypes: [dataType] } }))).toEqual(risk)
    expect(brief(of({ intent: { dataTypes: ['stock', dataType] } }))).toEqual(risk)
  })

  it.each([
    ['read', ['low']],
    ['write', ['low']],
    ['deploy', ['low']],
    ['destructive', ['high', 'destructive']],
    ['escalating', ['high', 'privilegedAccess']],
    ['transfer', ['high', 'dataFlow', 'externalTransfer']],
  ] as const)('an action that is %s', (kind, risk) => {
    expect(brief(of({ intent: { actions: [`do.${kind}`] } }))).toEqual(risk)
    // Beside another, and where the entitlement has more than is asked for.
    expect(brief(of({ intent: { actions: ['do.read', `do.${kind}`] } }))).toEqual(risk)
  })
  it('a transfer to a place of ours is none to the outside', () => {
    expect(brief(of({ intent: { actions: ['do.transfer'], destination: 'warehouse' } }))).toEqual(['low', 'dataFlow'])
  })
  it('an action that is not there has no class', () => {
    expect(classesOf(entitlementOf(), UNKNOWN)).toEqual([])
  })

  it.each(FLAGS)('%s by the entitlement or by the action is as if it were declared', (flag) => {
    const flags: readonly Flag[] = [flag]
    expect(of({ entitlement: { flags } }).tier).toBe(FLOOR[flag])
    const marked = { actionFlags: { 'do.read': flags } }
    expect(brief(of({ entitlement: marked }))).toEqual([FLOOR[flag], flag])
    expect(brief(of({ entitlement: marked, intent: { actions: ['do.write'] } }))).toEqual(['low'])
  })

  it('asked from another tenant it is elevated', () => {
    expect(brief(of({ tenant: 'acme' }))).toEqual(['elevated', 'tenancyBoundary'])
  })

  it('exposure is elevated, and high from more than half on', () => {
    const exposure = (to: number) => ({ intent: { exposure: { segment: 'eu', from: 0, to, rollbackCriteria: 'x' } } })
    expect(brief(of(exposure(0)))).toEqual(['elevated', 'exposure'])
    expect(brief(of(exposure(50)))).toEqual(['elevated', 'exposure'])
    expect(brief(of(exposure(51)))).toEqual(['high', 'exposure'])
  })

  it('to destroy what cannot be brought back is critical', () => {
    const irreversible: Partial<Intent> = { impact: { ...NO_IMPACT, irreversible: true } }
    expect(of({ intent: { ...irreversible, actions: ['do.destructive'] } }).tier).toBe('critical')
    expect(of({ entitlement: { flags: ['irreversible'] }, intent: { actions: ['do.destructive'] } }).tier).toBe(
      'critical',
    )
  })

  it.each([
    ['named as external', { intent: { destination: 'partner' } }],
    ['named as nobody knows', { intent: { destination: '__proto__' } }],
    ['not named, of a transfer', { intent: { actions: ['do.transfer'] } }],
    ['not named, where the entitlement sends out', { entitlement: { flags: ['externalTransfer'] } }],
    ['not named, where the requester says so', { intent: { impact: { ...NO_IMPACT, externalTransfer: true } } }],
  ] as readonly (readonly [string, Asked])[])(
    'to send personal data out is critical: the destination is %s',
    (_, asked) => {
      expect(of(asked).tier).toBe('high')
      for (const dataType of ['contact', 'health', 'unknown'])
        expect(of({ ...asked, intent: { ...asked.intent, dataTypes: [dataType] } }).tier).toBe('critical')
      expect(of({ ...asked, intent: { ...asked.intent, dataTypes: ['stock'] } }).tier).toBe('high')
    },
  )
})

describe('combinations with what was asked before', () => {
  const out: readonly [string, Partial<Earlier>, Partial<Intent>][] = [
    ['to outside', { destination: 'partner' }, { destination: 'partner' }],
    ['to a place that nobody knows', { destination: 'constructor' }, { destination: 'constructor' }],
    ['without saying where to', { classes: ['transfer'] }, { actions: ['do.transfer'] }],
  ]
  it.each(out)('reading personal data, then sending %s, is critical, in both orders', (_, sent, sends) => {
    for (const dataType of ['contact', 'health', 'unknown']) {
      expect(of({ intent: sends, earlier: before({ dataTypes: [dataType] }) }).tier).toBe('critical')
      expect(of({ intent: { dataTypes: [dataType] }, earlier: before(sent) }).tier).toBe('critical')
    }
    expect(of({ intent: sends, earlier: before({ dataTypes: ['stock'] }) }).tier).toBe('high')
    expect(of({ intent: { dataTypes: ['stock'] }, earlier: before(sent) }).tier).toBe('low')
  })
  it('a place of ours is no outside, in both orders', () => {
    const inside = { classes: ['transfer'] as const, destination: 'warehouse' }
    expect(of({ intent: { dataTypes: ['contact'] }, earlier: before(inside) }).tier).toBe('elevated')
    const sends = { actions: ['do.transfer'], destination: 'warehouse' }
    expect(of({ intent: sends, earlier: before({ dataTypes: ['contact'] }) }).tier).toBe('low')
  })
  it('gaining rights and destroying is critical, in both orders', () => {
    const kinds: readonly [ActionClass, ActionClass][] = [
      ['escalating', 'destructive'],
      ['destructive', 'escalating'],
    ]
    for (const [first, second] of kinds) {
      expect(of({ intent: { actions: [`do.${second}`] }, earlier: before({ classes: [first] }) }).tier).toBe('critical')
      expect(of({ intent: { actions: [`do.${second}`] }, earlier: before({ classes: [second] }) }).tier).toBe('high')
    }
  })
  it('of several askings before, any one is enough', () => {
    const several = [...before({}), ...before({ dataTypes: ['stock'] }), ...before({ dataTypes: ['contact'] })]
    // What was sent out, destroyed or gained by a mark alone, with no destination or class that says so.
    const marked = (flag: Earlier['flags'][number]) => before({ flags: [flag] })
    expect(of({ intent: { dataTypes: ['contact'] }, earlier: marked('externalTransfer') }).tier).toBe('critical')
    expect(of({ intent: { actions: ['do.escalating'] }, earlier: marked('destructive') }).tier).toBe('critical')
    expect(of({ intent: { actions: ['do.destructive'] }, earlier: marked('privilegedAccess') }).tier).toBe('critical')
    for (const earlier of [several, several.toReversed()])
      expect(of({ intent: { destination: 'partner' }, earlier }).tier).toBe('critical')
  })
  it('more than anybody has read is critical', () => {
    expect(of({ earlier: 'too many' }).tier).toBe('critical')
    expect(of({ earlier: [] }).tier).toBe('low')
  })
})
