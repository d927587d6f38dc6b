// What the shipped guards and entitlements allow, as a table of who may do what; and every example compiles.
import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { named } from '../../src/domain/ids.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { riskOf, trustOf } from '../../src/domain/risk.ts'
import { explain } from '../../src/policy/explain.ts'
import { ACTIONS, type Action, asksForPasskeys } from '../../src/policy/policy.ts'
import { compileTexts, configText, intentFor, machine, person, SCHEMA, shipped } from './sample-policies.ts'

const policy = shipped()
const WHO: Readonly<Record<string, Principal>> = {
  vera: person('vera', 'acme', 'vendor-engineers'),
  'vera-agent': machine('agent', 'vera-agent', 'acme', 'vera'),
  olivia: person('olivia', 'northwind', 'dba'),
  rob: person('rob', 'northwind', 'release-managers'),
  dana: person('dana', 'northwind', 'developers'),
  sam: person('sam', 'northwind', 'support'),
  lena: person('lena', 'northwind', 'support-leads'),
  paula: person('paula', 'northwind', 'security'),
  sol: person('sol', 'northwind', 'soc'),
  audra: person('audra', 'northwind', 'auditors'),
  oscar: person('oscar', 'northwind', 'operators'),
  'triage-agent': machine('agent', 'triage-agent', 'northwind', 'sam'),
  'webshop-deploy': machine('workload', 'webshop-deploy', 'northwind', 'dana'),
  'webshop-build': machine('workload', 'webshop-build', 'northwind', 'dana'),
  'report-job': machine('workload', 'report-job', 'northwind', 'dana'),
}
const northwind = ['olivia', 'rob', 'dana', 'sam', 'lena', 'paula', 'sol', 'audra', 'oscar']
const readers = ['olivia', 'rob', 'lena', 'paula', 'sol', 'audra']
const MAY: Readonly<Record<string, Partial<Record<Action, readonly string[]>>>> = {
  'payments-migrator': {
    Request: ['vera'],
    Exchange: ['vera'],
    Approve: northwind,
    Complete: ['olivia'],
    Revoke: ['olivia', 'sol'],
    ReadGrant: readers,
    ReadAudit: ['sol', 'audra'],
  },
  'webshop-deploy': {
    Request: ['webshop-deploy'],
    Exchange: ['webshop-deploy'],
    Approve: northwind,
    Complete: ['rob'],
    Revoke: ['rob', 'sol'],
    ReadGrant: readers,
    ReadAudit: ['sol', 'audra'],
  },
  'ticket-triage': {
    Request: ['triage-agent'],
    Exchange: ['triage-agent'],
    Approve: northwind,
    Complete: ['lena'],
    Revoke: ['lena', 'sol'],
    ReadGrant: readers,
    ReadAudit: ['sol', 'audra'],
  },
  'sales-report': {
    Request: [...northwind, 'report-job'],
    Exchange: [...northwind, 'report-job'],
    AutoApprove: [...northwind, 'triage-agent', 'webshop-deploy', 'webshop-build', 'report-job'],
    Approve: northwind,
    Revoke: ['sol'],
    ReadGrant: readers,
    ReadAudit: ['sol', 'audra'],
  },
}

/** Whatever entitlement is at hand. */
const OF_BROKER: Partial<Record<Action, readonly string[]>> = { Operate: ['oscar'], Freeze: ['sol'] }

describe('the shipped policy', () => {
  it.each(policy.entitlements().map((entitlement) => [entitlement.id, entitlement] as const))(
    '%s: exactly these may do exactly that',
    (id, entitlement) => {
      for (const action of ACTIONS) {
        const allowed = Object.entries(WHO).filter(([, principal]) => {
          const intent = intentFor(entitlement, principal)
          // The requester is somebody else, as for everybody who looks at another's grant.
          const requester = action === 'Request' || action === 'AutoApprove' ? principal : person('else', 'northwind')
          return policy.judge({ action, principal, entitlement, intent, requester }).allowed
        })
        const expected = OF_BROKER[action] ?? MAY[id]?.[action] ?? []
        expect(allowed.map(([name]) => name).toSorted(), action).toEqual(expected.toSorted())
      }
    },
  )
  it('only operators operate, only the SOC freezes, and only auditors and the SOC read the audit trail', () => {
    const allowed = (action: Action) =>
      Object.keys(WHO).filter((name) => {
        const principal = WHO[name]
        return principal !== undefined && policy.judge({ action, principal }).allowed
      })
    expect(allowed('Operate')).toEqual(['oscar'])
    expect(allowed('Freeze')).toEqual(['sol'])
    expect(allowed('ReadAudit')).toEqual(['sol', 'audra'])
  })
  it('a requester completes what it asked for, and nobody else’s', () => {
    const entitlement = policy.entitlement(named.entitlement('payments-migrator'))
    const { vera, dana } = WHO
    if (entitlement === undefined || vera === undefined || dana === undefined) throw new Error('not in the story')
    expect(policy.judge({ action: 'Complete', principal: vera, entitlement, requester: vera }).allowed).toBe(true)
    expect(policy.judge({ action: 'Complete', principal: dana, entitlement, requester: vera }).allowed).toBe(false)
  })
  it('its list of actions is the list of the schema, and of the guards', () => {
    const inSchema = [...SCHEMA.matchAll(/^action ([\w, ]+) appliesTo/gm)].flatMap(
      ([, names]) => names?.split(', ') ?? [],
    )
    expect(inSchema.toSorted()).toEqual([...ACTIONS].toSorted())
  })
  it('demands a passkey, a soon use and few approvers from tier high on, to which each offer can be raised', () => {
    const raised = policy.at(named.entitlement('payments-migrator'), 'critical')
    expect(raised).toMatchObject({ maxApprovers: 5, limits: { useWithin: 900_000 }, approval: { stepUp: true } })
    for (const { id } of policy.entitlements()) {
      expect(policy.at(id, 'high')).toMatchObject({ maxApprovers: 8, ticketRequired: true })
      expect(policy.entitlement(id)).toMatchObject({ maxApprovers: 10 })
    }
    expect(policy.catalogue.destinations).toMatchObject({ warehouse: 'internal', 'payment-processor': 'external' })
  })
  it('what it offers is what the story needs', () => {
    const brief = policy
      .entitlements()
      .map(({ id, tier, approval, credential, limits }) => [id, tier, approval.mode, credential.kind, limits.maxUses])
    expect(brief).toEqual([
      ['payments-migrator', 'elevated', 'people', 'vault', 1],
      ['sales-report', 'low', 'auto', 'jwt', 20],
      ['ticket-triage', 'elevated', 'people', 'jwt', 5],
      ['webshop-deploy', 'elevated', 'people', 'jwt', 1],
    ])
  })
  it('the guard that is shown as a comment works as it says', () => {
    const guards = configText('guards.cedar')
    const shown = guards.slice(guards.indexOf('// @id("transfers-are-critical")')).replaceAll(/^\/\/ ?/gm, '')
    const strict = compileTexts(configText('entitlements.yaml'), `${guards}\n${shown}`)
    const entitlement = strict.entitlement(named.entitlement('sales-report'))
    const { dana } = WHO
    if (entitlement === undefined || dana === undefined) throw new Error('not in the story')
    const intent = intentFor(entitlement, dana)
    const transfer = { ...intent, impact: { ...intent.impact, externalTransfer: true } }
    const ask = (asked: typeof intent) =>
      strict.judge({ action: 'Request', principal: dana, entitlement, intent: asked })
    expect(ask(intent).allowed).toBe(true)
    expect(ask(transfer)).toEqual({ allowed: false, because: ['transfers-are-critical'] })
  })
})

describe('the examples', () => {
  const names = readdirSync(new URL('../../config/examples', import.meta.url)).filter((name) => name.endsWith('.yaml'))
  it.each(names)('%s compiles with its guards', (name) => {
    const example = compileTexts(
      configText(`examples/${name}`),
      configText(`examples/${name.replace('.yaml', '.cedar')}`),
    )
    expect(example.entitlements().length).toBeGreaterThan(0)
  })
  const example = (name: string, id: string) => {
    const compiled = compileTexts(configText(`examples/${name}.yaml`), configText(`examples/${name}.cedar`))
    const entitlement = compiled.entitlement(named.entitlement(id))
    if (entitlement === undefined) throw new Error(`no ${id}`)
    return { compiled, entitlement }
  }
  it('reading needs nobody, but not for longer than an hour and not when it leaves the house', () => {
    const { compiled, entitlement } = example('read-only-auto-approval', 'stock-levels')
    const principal = person('sam', 'northwind')
    const intent = intentFor(entitlement, principal)
    const auto = (changes: object) =>
      compiled.judge({ action: 'AutoApprove', principal, entitlement, intent: { ...intent, ...changes } }).allowed
    expect(auto({})).toBe(true)
    expect(auto({ window: { opensAt: 0, closesAt: 3_600_001 } })).toBe(false)
    expect(auto({ impact: { ...intent.impact, externalTransfer: true } })).toBe(false)
  })
  it('a production deploy without a plan cannot be asked for', () => {
    const { compiled, entitlement } = example('production-deploy', 'shop-deploy')
    const principal = machine('workload', 'webshop-deploy', 'northwind', 'dana')
    const intent = intentFor(entitlement, principal)
    expect(compiled.judge({ action: 'Request', principal, entitlement, intent }).because).toEqual([
      'production-needs-a-plan',
    ])
    expect(entitlement.release).toEqual({ forge: 'forge', repository: 'northwind/shop', scope: 'commit' })
    expect(entitlement.approval).toMatchObject({ owner: 'rob', approvals: 2, stepUp: true })
    const plan = { digest: `sha-256:${'A'.repeat(43)}` as never, mediaType: 'application/json' }
    expect(compiled.judge({ action: 'Request', principal, entitlement, intent: { ...intent, plan } }).allowed).toBe(
      true,
    )
  })
  it('a vendor asks for maintenance and can neither approve nor revoke it', () => {
    const { compiled, entitlement } = example('vendor-maintenance', 'ledger-maintenance')
    const may = (action: Action, principal: Principal) => compiled.judge({ action, principal, entitlement }).allowed
    const vendor = person('vera', 'acme', 'vendor-engineers')
    const owner = person('olivia', 'northwind', 'dba')
    expect([may('Request', vendor), may('Approve', vendor), may('Revoke', vendor)]).toEqual([true, false, false])
    expect([may('Request', owner), may('Approve', owner), may('Revoke', owner)]).toEqual([false, true, true])
  })
  it('a transfer to outside has a second control: asked, approved and executed by different hands', () => {
    const { compiled, entitlement } = example('external-transfer', 'partner-export')
    const dana = person('dana', 'northwind', 'developers')
    const job = machine('workload', 'report-job', 'northwind', 'sam')
    const may = (action: Action, principal: Principal, destination: string) => {
      const intent = intentFor(entitlement, dana, { destination })
      const risk = { flags: [], trust: trustOf(compiled.catalogue, destination), sensitivities: [], earlier: [] }
      return compiled.judge({ action, principal, entitlement, intent, requester: dana, risk }).allowed
    }
    for (const destination of ['partner', 'archive'])
      expect([may('Request', dana, destination), may('Exchange', job, destination)]).toEqual([true, true])
    for (const destination of ['', 'elsewhere'])
      expect([may('Request', dana, destination), may('Exchange', job, destination)]).toEqual([false, false])
    expect([may('Request', job, 'partner'), may('Exchange', dana, 'partner')]).toEqual([false, false])
    expect(entitlement).toMatchObject({ separateExecutor: true, ticketRequired: true })
    expect(entitlement.approval).toMatchObject({
      approvals: 3,
      stepUp: true,
      reviewers: [
        { role: 'privacy', veto: true, evidence: ['impact-assessment'] },
        { role: 'security', veto: false },
      ],
    })
    const tierOf = (dataType: string) =>
      riskOf({
        entitlement,
        intent: intentFor(entitlement, dana, { destination: 'partner', dataTypes: [dataType] }),
        requesterTenant: 'northwind',
        catalogue: compiled.catalogue,
        earlier: [],
      }).tier
    expect(['order-totals', 'customer-contacts', 'anything'].map(tierOf)).toEqual(['high', 'critical', 'critical'])
    expect(compiled.at(entitlement.id, 'critical')).toMatchObject({ planRequired: true, maxApprovers: 5 })
  })
  it('an erasure needs three persons: an owner and one of each group', () => {
    const { entitlement } = example('two-reviewers', 'customer-erasure')
    expect(entitlement.approval).toMatchObject({
      mode: 'people',
      approvals: 3,
      reviewers: [{ count: 1 }, { count: 1 }],
    })
  })
})

describe('explaining', () => {
  const { vera, dana } = WHO
  if (vera === undefined || dana === undefined) throw new Error('not in the story')
  const of = (id: string) => {
    const entitlement = policy.entitlement(named.entitlement(id))
    if (entitlement === undefined) throw new Error(`no ${id}`)
    return entitlement
  }
  it('says who must approve, which limits hold and what may remain', () => {
    expect(explain(policy, { principal: vera, entitlement: of('payments-migrator') })).toMatchObject({
      mayAsk: { allowed: true, because: ['vendor-engineers-migrate-payments'] },
      tier: 'elevated',
      approval: { mode: 'people', owner: 'olivia', approvals: 1 },
      limits: { maxDuration: 14_400_000 },
      ticketRequired: true,
      residue: 0,
    })
  })
  it('agrees with the judgement on whether it may be asked for', () => {
    for (const principal of Object.values(WHO))
      for (const entitlement of policy.entitlements())
        expect(explain(policy, { principal, entitlement }).mayAsk).toEqual(
          policy.judge({ action: 'Request', principal, entitlement, requester: principal }),
        )
  })
  it('does not promise an automatic approval that the guards refuse for this asking', () => {
    const entitlement = of('sales-report')
    const intent = intentFor(entitlement, dana)
    expect(explain(policy, { principal: dana, entitlement, intent }).approval).toEqual({ mode: 'auto' })
    const none = { ...intent, actions: [] }
    expect(explain(policy, { principal: dana, entitlement, intent: none }).approval).toEqual({ mode: 'refused' })
  })
})

describe('passkeys', () => {
  it('are asked for also where only what is raised to a higher tier wants them, and nowhere else', () => {
    expect(policy.entitlements().some(({ approval }) => approval.mode === 'people' && approval.stepUp)).toBe(false)
    expect(asksForPasskeys(policy)).toBe(true)
    const none = compileTexts(configText('entitlements.yaml').replaceAll('stepUp: true', 'stepUp: false'))
    expect(asksForPasskeys(none)).toBe(false)
  })
})
