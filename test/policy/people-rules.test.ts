// Who decides, as entitlements.yaml says it: one owner, deputies with a term, reviewers by role; and the same asking at a higher tier.
// Whatever could let nobody decide, or fewer than the tier asks for, is refused when the file is loaded.
import { describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import type { Entitlement } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { hours, minutes, parseInstant, seconds } from '../../src/domain/instant.ts'
import { TIERS, type Tier } from '../../src/domain/tier.ts'
import type { CompiledPolicy } from '../../src/policy/compile.ts'
import { compileEntitlements } from '../../src/policy/entitlements.ts'
import { checkReferences } from '../../src/policy/references.ts'
import { altered, compileTexts, intentFor, person, smallFile } from './sample-policies.ts'

const told = (text: string) => compileEntitlements('entitlements.yaml', text).problems
const paths = (text: string) => told(text).map(({ path }) => path)
const asked = (approval: object) => altered(['entitlements', 'asked', 'approval'], approval)
const at = (path: string) => `entitlements.asked.approval${path === '' ? '' : `.${path}`}`

const SECURITY = { role: 'security', group: 'security' }
const TERM = { from: '2026-11-01T00:00:00Z', until: '2026-12-01T00:00:00Z' }
const ruleOf = (text: string) => {
  const approval = compileTexts(text).entitlement(named.entitlement('asked'))?.approval
  if (approval?.mode !== 'people') throw new Error('people decide on the sample')
  return approval
}

describe('the owner', () => {
  it('is one: the former list of owners is refused, and the message names what to write', () => {
    const problems = told(asked({ owners: ['lena', 'rob'], reviewers: [SECURITY] }))
    expect(problems.map(({ path }) => path).toSorted()).toEqual([at('owner'), at('owners')])
    expect(problems.find(({ path }) => path === at('owners'))?.message).toMatch(/known are: owner,/)
  })
  it('is there, whoever else is', () => {
    expect(paths(asked({ reviewers: [SECURITY], deputies: [{ person: 'rob', ...TERM }] }))).toEqual([at('owner')])
  })
})

describe('deputies', () => {
  const deputies = (...list: readonly object[]) => asked({ owner: 'lena', reviewers: [SECURITY], deputies: list })
  it('keep their order and their term', () => {
    const { deputies: compiled } = ruleOf(deputies({ person: 'rob', ...TERM }, { group: 'leads', ...TERM }))
    const term = { from: parseInstant(TERM.from), until: parseInstant(TERM.until) }
    expect(compiled).toEqual([
      { person: 'rob', group: undefined, ...term },
      { person: undefined, group: 'leads', ...term },
    ])
    const digest = (...list: readonly object[]) => compileTexts(deputies(...list)).digest
    const [one, two] = [
      { person: 'rob', ...TERM },
      { person: 'sam', ...TERM },
    ]
    expect(digest(one, two)).not.toBe(digest(two, one))
  })
  it.each([
    ['of more than 180 days', { ...TERM, until: '2027-05-01T00:00:00Z' }, 'until'],
    ['that ends before it begins', { from: TERM.until, until: TERM.from }, 'until'],
    ['that ends when it begins', { from: TERM.from, until: TERM.from }, 'until'],
    ['without an end', { from: TERM.from }, 'until'],
    ['without a beginning', { until: TERM.until }, 'from'],
    ['in a zone that is not said', { ...TERM, from: '2026-11-01T00:00:00' }, 'from'],
    ['on a day that does not exist', { ...TERM, from: '2026-11-31T00:00:00Z' }, 'from'],
  ])('have no term %s', (_, term, where) => {
    expect(paths(deputies({ person: 'rob', ...term }))).toEqual([at(`deputies.0.${where}`)])
  })
  it('have a term of up to 180 days', () => {
    expect(paths(deputies({ person: 'rob', from: '2026-11-01T00:00:00Z', until: '2027-04-30T00:00:00Z' }))).toEqual([])
  })
  it('are a person or a group, never both, neither, or the owner', () => {
    expect(paths(deputies({ person: 'rob', group: 'leads', ...TERM }))).toEqual([at('deputies.0')])
    expect(paths(deputies({ person: 'rob', ...TERM }, TERM))).toEqual([at('deputies.1')])
    expect(paths(deputies({ person: 'lena', ...TERM }))).toEqual([at('deputies.0.person')])
    expect(paths(deputies({ person: 'rob', ...TERM, may: 'delegate' }))).toEqual([at('deputies.0.may')])
  })
})

describe('reviewers', () => {
  const reviewers = (...list: readonly object[]) => asked({ owner: 'lena', reviewers: list })
  it('are compiled complete, in one order', () => {
    const privacy = {
      role: 'privacy',
      group: 'legal',
      count: 2,
      criteria: { a: 'A.' },
      evidence: ['impact-assessment'],
    }
    const one = ruleOf(reviewers(SECURITY, { ...privacy, veto: true }))
    expect(one).toMatchObject({
      approvals: 4,
      stepUp: false,
      reviewers: [
        { ...privacy, veto: true },
        { ...SECURITY, count: 1, criteria: {}, evidence: [], veto: false },
      ],
    })
    expect(ruleOf(reviewers({ ...privacy, veto: true }, SECURITY))).toEqual(one)
  })
  it.each([
    ['a role twice', [SECURITY, { ...SECURITY, group: 'other' }], 'reviewers.1'],
    ['a role that there is not', [{ ...SECURITY, role: 'owner' }], 'reviewers.0.role'],
    ['no role', [{ group: 'security' }], 'reviewers.0.role'],
    ['no group', [{ role: 'security' }], 'reviewers.0.group'],
    ['a person in place of a group', [{ role: 'security', person: 'paula' }], 'reviewers.0.person'],
    ['evidence of no kind', [{ ...SECURITY, evidence: ['note'] }], 'reviewers.0.evidence.0'],
    ['an empty list of evidence', [{ ...SECURITY, evidence: [] }], 'reviewers.0.evidence'],
    ['an empty criterion', [{ ...SECURITY, criteria: { a: '' } }], 'reviewers.0.criteria.a'],
    ['a criterion of two lines', [{ ...SECURITY, criteria: { a: 'A.\nB.' } }], 'reviewers.0.criteria.a'],
    ['a criterion without a name', [{ ...SECURITY, criteria: ['A.'] }], 'reviewers.0.criteria'],
    ['a veto that is no yes or no', [{ ...SECURITY, veto: 'yes' }], 'reviewers.0.veto'],
  ])('with %s are refused', (_, list, where) => {
    expect(paths(reviewers(...list))).toContain(at(where))
  })
  it('without criteria, or none at all, leave what the tier asks for', () => {
    expect(ruleOf(reviewers({ ...SECURITY, criteria: {} })).reviewers).toEqual(ruleOf(reviewers(SECURITY)).reviewers)
    expect(ruleOf(reviewers())).toMatchObject({ approvals: 1, reviewers: [] })
    expect(paths(altered(['entitlements', 'database', 'approval'], { owner: 'olivia', reviewers: [] }))).toEqual([
      'entitlements.database.approval',
    ])
  })
})

describe('a release', () => {
  const release = { forge: 'forge', repository: 'northwind/desk', scope: 'commit' }
  const scopes = (list: readonly string[], change: object = {}) => {
    const file = smallFile()
    Object.assign(file.entitlements.asked ?? {}, { scopes: [...list, 'queue:*'], release: { ...release, ...change } })
    return stringify(file)
  }
  it('is of a commit that can be asked for', () => {
    expect(compileTexts(scopes(['commit:*'])).entitlement(named.entitlement('asked'))?.release).toEqual(release)
    for (const list of [[], ['commits:*'], ['a:commit:*']])
      expect(paths(scopes(list))).toEqual(['entitlements.asked.release.scope'])
  })
  it.each([
    [{ repository: '../etc' }, 'repository'],
    [{ repository: 'northwind//desk' }, 'repository'],
    [{ repository: 'northwind/desk?x' }, 'repository'],
    [{ forge: 'https://forge.example' }, 'forge'],
    [{ scope: 'commit:' }, 'scope'],
    [{ branch: 'main' }, 'branch'],
  ])('%j is refused', (change, where) => {
    expect(paths(scopes(['commit:*'], change))).toContain(`entitlements.asked.release.${where}`)
  })
})

describe('the catalogue', () => {
  it('is taken as it is written, and is a part of the meaning', () => {
    const text = (destinations: object, dataTypes: object) => stringify({ ...smallFile(), destinations, dataTypes })
    const policy = compileTexts(text({ Partner: 'external' }, { pii: 'personal' }))
    expect(policy.catalogue).toEqual({ destinations: { Partner: 'external' }, dataTypes: { pii: 'personal' } })
    expect(policy.digest).not.toBe(compileTexts(text({ Partner: 'internal' }, { pii: 'personal' })).digest)
    expect(policy.digest).not.toBe(compileTexts(text({ Partner: 'external' }, { pii: 'plain' })).digest)
    expect(paths(text({ a: 'trusted' }, { b: 'secret' }))).toEqual(['destinations.a', 'dataTypes.b'])
    expect(paths(text({ 'a b': 'internal' }, { '': 'plain' }))).toEqual(['destinations.a b', 'dataTypes.'])
    expect(compileTexts(stringify(smallFile())).catalogue).toEqual({ destinations: {}, dataTypes: {} })
  })
})

const TIER = { approvals: 1, maxDuration: '8h', horizon: '14d', decideWithin: '24h', maxUses: 20, maxLife: '15m' }
const STEPS = {
  low: TIER,
  elevated: { ...TIER, maxDuration: '4h', useWithin: '2h' },
  high: {
    approvals: 2,
    maxDuration: '30m',
    horizon: '1d',
    decideWithin: '2h',
    escalateWithin: '10m',
    useWithin: '20m',
    agentsUseWithin: '5m',
    maxUses: 2,
    maxLife: '40s',
    maxApprovers: 4,
    stepUp: true,
    ticketRequired: true,
  },
}
/** The sample with these tiers; `asked` at elevated, `automatic` at low, `database` at elevated. */
function stepped(tiers: object, database: object = {}, askedChange: object = {}): CompiledPolicy {
  const file = smallFile()
  const { automatic, asked, database: former } = file.entitlements
  return compileTexts(
    stringify({
      ...file,
      tiers,
      entitlements: {
        automatic: { ...automatic, limits: { maxUses: 10 } },
        asked: { ...asked, credential: { kind: 'jwt', sender: 'bearer' }, limits: { maxUses: 5 }, ...askedChange },
        database: {
          ...former,
          tier: 'elevated',
          ...database,
        },
      },
    }),
  )
}
const [AUTOMATIC, ASKED, DATABASE] = ['automatic', 'asked', 'database'].map(named.entitlement) as [
  Entitlement['id'],
  Entitlement['id'],
  Entitlement['id'],
]

describe('an entitlement at a higher tier', () => {
  const policy = stepped(STEPS)
  it('has the rules of that tier in everything in which they are stricter', () => {
    const filed = policy.at(ASKED, 'elevated')
    expect(filed).toEqual(policy.entitlement(ASKED))
    expect(filed).toMatchObject({ ticketRequired: false, credential: { sender: 'bearer' }, maxApprovers: 10 })
    expect(policy.at(ASKED, 'high')).toEqual({
      ...filed,
      tier: 'high',
      approval: { ...filed?.approval, approvals: 2, stepUp: true },
      credential: { kind: 'jwt', sender: 'dpop', maxLife: seconds(40), verifierCache: seconds(30) },
      limits: {
        maxDuration: minutes(30),
        horizon: hours(24),
        decideWithin: hours(2),
        escalateWithin: minutes(10),
        useWithin: minutes(20),
        agentsUseWithin: minutes(5),
        maxUses: 2,
      },
      ticketRequired: true,
      maxApprovers: 4,
    })
  })
  it('keeps what it has stricter itself', () => {
    const own = { maxDuration: '10m', horizon: '1h', decideWithin: '1h', useWithin: '3m', maxUses: 1 }
    const strict = stepped(
      STEPS,
      {},
      { limits: own, approval: { owner: 'lena', reviewers: [SECURITY], approvals: 5, stepUp: true } },
    )
    const high = strict.at(ASKED, 'high')
    expect(high?.limits).toMatchObject({
      maxDuration: minutes(10),
      horizon: hours(1),
      useWithin: minutes(3),
      maxUses: 1,
    })
    expect(high?.approval).toMatchObject({ approvals: 5, stepUp: true })
  })
  it('is never laxer than at a lower one, whatever the tiers say', () => {
    const lax = {
      ...STEPS,
      elevated: { ...STEPS.elevated, ticketRequired: true, planRequired: true, maxApprovers: 3 },
      high: { ...TIER, approvals: 1, maxDuration: '365d', maxUses: 1_000, maxLife: '1d' },
    }
    const numbers = ({ limits, approval, credential, ticketRequired, planRequired, maxApprovers }: Entitlement) => [
      ...Object.values(limits),
      approval.mode === 'people' ? -approval.approvals : 0,
      credential.kind === 'jwt' ? credential.maxLife : 0,
      -Number(ticketRequired),
      -Number(planRequired),
      maxApprovers,
    ]
    for (const one of [policy, stepped(lax)])
      for (const { id } of one.entitlements()) {
        const steps = TIERS.flatMap((tier) => one.at(id, tier) ?? [])
        expect(steps.length).toBeGreaterThan(1)
        for (const [n, step] of steps.slice(1).entries()) {
          const below = numbers(steps[n] as Entitlement)
          for (const [m, number] of numbers(step).entries()) expect(number).toBeLessThanOrEqual(below[m] ?? 0)
        }
      }
  })
  it('cannot be had where that tier is not described, nor below its own', () => {
    const has = (id: Entitlement['id']) => TIERS.filter((tier) => policy.at(id, tier) !== undefined)
    expect(has(AUTOMATIC)).toEqual(['low', 'elevated', 'high'])
    expect(has(ASKED)).toEqual(['elevated', 'high'])
    expect(has(named.entitlement('nothing'))).toEqual([])
    expect(policy.at(ASKED, 'toString' as Tier)).toBeUndefined()
  })
  it('cannot be had at tier high where its login ends only by itself', () => {
    const database = smallFile().entitlements.database
    const expiring = { credential: { ...Object(database?.credential), revocability: 'expiry' } }
    const { at: expires } = stepped(STEPS, expiring)
    expect([expires(DATABASE, 'elevated')?.tier, expires(DATABASE, 'high')]).toEqual(['elevated', undefined])
    expect(policy.at(DATABASE, 'high')?.tier).toBe('high')
  })
  it('is approved by nobody but persons: what is automatic at low is refused there', () => {
    const principal = person('sam', 'northwind')
    const automatic = (tier: Tier) => {
      const entitlement = policy.at(AUTOMATIC, tier)
      if (entitlement === undefined) throw new Error(`not at ${tier}`)
      const intent = intentFor(entitlement, principal)
      return policy.judge({ action: 'AutoApprove', principal, entitlement, intent }).allowed
    }
    expect([automatic('low'), automatic('elevated'), automatic('high')]).toEqual([true, false, false])
  })
  it('is a part of the meaning: another number of a tier that only askings are raised to changes the digest', () => {
    const other = stepped({ ...STEPS, high: { ...STEPS.high, useWithin: '19m' } })
    expect(other.entitlements()).toEqual(policy.entitlements())
    expect(other.digest).not.toBe(policy.digest)
  })
})

describe('tiers among each other', () => {
  const tiers = (change: object) => paths(stringify({ ...smallFile(), tiers: { ...STEPS, ...change } }))
  it('a higher one asks for no fewer persons, and for a passkey where a lower one does', () => {
    expect(tiers({ low: { ...TIER, approvals: 2 } })).toContain('tiers.elevated.approvals')
    expect(tiers({ low: { ...TIER, stepUp: true } })).toContain('tiers.elevated.stepUp')
    expect(tiers({ elevated: { ...STEPS.elevated, stepUp: true }, high: { ...STEPS.high, stepUp: false } })).toContain(
      'tiers.high.stepUp',
    )
  })
  it('no token outlives the longest window', () => {
    expect(tiers({ low: { ...TIER, maxLife: '9h' } })).toContain('tiers.low.maxLife')
  })
  it.each(['useWithin', 'agentsUseWithin', 'escalateWithin'])('%s takes no edge value', (key) => {
    for (const value of ['0s', '', '-1h', 0, 1, null, '366d'])
      expect(tiers({ low: { ...TIER, [key]: value } })).toContain(`tiers.low.${key}`)
  })
  it('maxApprovers takes no edge value', () => {
    for (const value of [0, -1, 1.5, '3', null, 1_001])
      expect(tiers({ low: { ...TIER, maxApprovers: value } })).toContain('tiers.low.maxApprovers')
  })
  it('a passkey that the tier asks for cannot be switched off', () => {
    const file = parse(altered(['entitlements', 'database', 'approval', 'stepUp'], false))
    file.tiers.high.stepUp = true
    expect(paths(stringify(file))).toEqual(['entitlements.database.approval.stepUp'])
    delete file.entitlements.database.approval.stepUp
    const stands = compileTexts(stringify(file)).entitlement(DATABASE)
    expect(stands?.approval).toMatchObject({ stepUp: true })
  })
  it('agents never have longer than persons to use an approval', () => {
    const limits = (own: object, tier: object = {}) =>
      stepped({ ...STEPS, elevated: { ...STEPS.elevated, ...tier } }, {}, { limits: own }).entitlement(ASKED)?.limits
    expect(limits({})).toMatchObject({ useWithin: hours(2), agentsUseWithin: minutes(15) })
    expect(limits({}, { useWithin: '5m' })).toMatchObject({ useWithin: minutes(5), agentsUseWithin: minutes(5) })
    expect(limits({ useWithin: '5m' })).toMatchObject({ useWithin: minutes(5), agentsUseWithin: minutes(5) })
    expect(limits({ agentsUseWithin: '2m' })).toMatchObject({ useWithin: hours(2), agentsUseWithin: minutes(2) })
    expect(tiers({ low: { ...TIER, useWithin: '5m', agentsUseWithin: '6m' } })).toContain('tiers.low.agentsUseWithin')
    const own = altered(['entitlements', 'asked', 'limits'], { useWithin: '5m', agentsUseWithin: '6m' })
    expect(paths(own)).toEqual(['entitlements.asked.limits.agentsUseWithin'])
  })
})

describe('beside the people directory', () => {
  const everybody = [
    person('lena', 'northwind'),
    person('rob', 'northwind', 'leads'),
    person('paula', 'northwind', 'security'),
    person('vera', 'acme', 'leads', 'security'),
    person('olivia', 'northwind'),
    person('dora', 'northwind', 'dba'),
  ]
  const found = (approval: object, group: { administrative?: boolean; members?: number } = {}, tier: Tier = 'high') => {
    const file = parse(asked({ owner: 'lena', reviewers: [SECURITY], ...approval }))
    file.tiers.critical = { ...file.tiers.high }
    file.entitlements.asked.tier = tier
    const { problems } = checkReferences(compileTexts(stringify(file)), {
      entered: () => everybody,
      persons: () => everybody,
      group: (_, name) => ({ administrative: false, members: 1, ...(name === 'leads' ? group : {}) }),
    })
    return problems.map(({ path }) => path)
  }
  const leads = { deputies: [{ group: 'leads', ...TERM }] }
  it('an administrative or too large group supplies no deputies either, from tier high on', () => {
    for (const tier of ['high', 'critical'] as const) {
      expect(found(leads, {}, tier)).toEqual([])
      expect(found(leads, { members: 10 }, tier)).toEqual([])
      expect(found(leads, { members: 11 }, tier)).toEqual([at('')])
      expect(found(leads, { administrative: true }, tier)).toEqual([at('')])
    }
    expect(found(leads, { administrative: true, members: 11 }, 'elevated')).toEqual([])
  })
  it('an owner or deputy who is nobody there, or of another tenant, is told', () => {
    for (const stranger of ['gone', 'vera']) {
      expect(found({ owner: stranger })).toEqual([at('owner')])
      expect(
        found({
          deputies: [
            { person: 'rob', ...TERM },
            { person: stranger, ...TERM },
          ],
        }),
      ).toEqual([at('deputies.1')])
    }
    expect(found({ deputies: [{ group: 'nobodies', ...TERM }] })).toEqual([at('')])
  })
  it('a role for which there are too few is told', () => {
    expect(found({ reviewers: [{ ...SECURITY, count: 2 }] })).toEqual([at('reviewers')])
  })
})
