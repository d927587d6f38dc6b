// A broker under a policy with owners, deputies, reviewers, vetoes, passkeys, releases and a catalogue, on the memory ports of `world`. Rules
// are plain values that a test replaces member by member, published under running grants; what lies in the store can be edited by hand.
import { type Broker, broker } from '../../src/broker/broker.ts'
import type { Ballot } from '../../src/broker/decide.ts'
import type { Ports, Rules } from '../../src/broker/ports.ts'
import type { Asking } from '../../src/broker/request.ts'
import type { Evidence } from '../../src/domain/decision.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { type GrantId, named } from '../../src/domain/ids.ts'
import { after, between, days, formatInstant, hours, type Instant, instant } from '../../src/domain/instant.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { compileDirectory, type PeopleDirectory } from '../../src/identity/directory.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import type { StoredTexts } from '../../src/redis/grant-record.ts'
import { configText } from './config-text.ts'
import { compiled, someJwks } from './directory.ts'
import { digest } from './sample-grants.ts'
import { asking, type World, world } from './world.ts'

export const MONDAY: Instant = instant(Date.parse('2026-11-23T09:00:00Z'))
export const FRIDAY: Instant = after(MONDAY, days(4))
/** Until when the first deputy's term lasts: past Monday, and over on Friday. */
export const TERM_END: Instant = after(MONDAY, days(3))
export const FORGE = 'hub'
export const REPOSITORY = 'northwind/shop'
export const MANIFEST = digest('the registered agent')

type Fields = Readonly<Record<string, unknown>>
type Entries = Readonly<Record<string, Fields>>

/** Members that are put over those of the fixture; `undefined` takes one away. */
export interface Change {
  readonly persons?: Entries
  readonly agents?: Entries
  readonly workloads?: Entries
  readonly groups?: Fields
  readonly tiers?: Entries
  readonly destinations?: Fields
  readonly entitlements?: Entries
  /** Rules of Cedar besides those of the fixture. */
  readonly guards?: string
}

const account = (subject: string, issuer = 'login') => ({ issuer, subject })
const person = (name: string, groups: readonly string[], forgeId?: string, tenant = 'northwind') => ({
  name,
  tenant,
  groups,
  accounts: [account(name), ...(forgeId === undefined ? [] : [account(forgeId, FORGE)])],
})

const PERSONS = {
  olivia: person('olivia', ['dba']),
  rob: person('rob', ['release-managers'], '202'),
  lena: person('lena', ['support-leads']),
  dora: person('dora', ['duty'], '203'),
  dirk: person('dirk', ['duty']),
  paula: person('paula', ['security'], '205'),
  pete: person('pete', ['security']),
  priya: person('priya', ['privacy'], '206'),
  piet: person('piet', ['privacy']),
  lars: person('lars', ['legal']),
  dana: person('dana', ['askers'], '201'),
  sam: person('sam', ['support']),
  oscar: person('oscar', ['operators']),
  sol: person('sol', ['soc']),
  vera: person('vera', ['askers'], undefined, 'acme'),
  gus: person('gus', ['security', 'privacy', 'dba'], undefined, 'globex'),
}
const AGENTS = {
  'fix-agent': {
    tenant: 'northwind',
    groups: ['askers'],
    sponsors: ['sam'],
    accounts: [account('fix-agent'), account('301', FORGE)],
    manifest: MANIFEST,
  },
  // Paula answers for this one.
  'paula-agent': { tenant: 'northwind', groups: ['askers'], sponsors: ['paula'], accounts: [account('paula-agent')] },
}
const WORKLOADS = {
  'release-bot': {
    tenant: 'northwind',
    groups: ['askers'],
    sponsors: ['oscar'],
    issuer: 'login',
    match: { sub: 'release-bot' },
  },
}

const TIERS = {
  low: { approvals: 1, maxDuration: '8h', horizon: '14d', decideWithin: '24h', maxUses: 20, maxLife: '15m' },
  elevated: {
    approvals: 1,
    maxDuration: '4h',
    horizon: '14d',
    decideWithin: '24h',
    escalateWithin: '6h',
    useWithin: '2h',
    agentsUseWithin: '10m',
    maxUses: 5,
    maxLife: '15m',
  },
  high: {
    approvals: 2,
    maxDuration: '2h',
    horizon: '7d',
    decideWithin: '12h',
    escalateWithin: '3h',
    useWithin: '1h',
    agentsUseWithin: '5m',
    maxUses: 3,
    maxLife: '10m',
    maxApprovers: 3,
  },
  critical: {
    approvals: 3,
    maxDuration: '1h',
    horizon: '7d',
    decideWithin: '4h',
    escalateWithin: '1h',
    useWithin: '30m',
    agentsUseWithin: '5m',
    maxUses: 1,
    maxLife: '5m',
    maxApprovers: 3,
  },
}

const login = (connection: string) => ({
  kind: 'vault',
  backend: 'vault-main',
  engine: 'database',
  database: { mount: 'database', connection, grantedRole: `${connection}_user`, ownerRole: `${connection}_owner` },
})
const token = { kind: 'jwt', sender: 'dpop' }
const target = (id: string, audience?: string) => ({
  id,
  environment: 'production',
  ...(audience === undefined ? {} : { audience }),
})
const deputy = (who: Fields, until: Instant) => ({
  ...who,
  from: formatInstant(after(MONDAY, days(-1))),
  until: formatInstant(until),
})
export const SECURITY = {
  role: 'security',
  group: 'security',
  criteria: { threats: 'Every threat has an answer.', reach: 'It reaches nothing else.' },
  evidence: ['threat-model', 'rollback-plan'],
}
export const PRIVACY = { role: 'privacy', group: 'privacy' }
export const LEGAL = { role: 'legal', group: 'legal' }
/** Rob for three days, then the duty group; Lena only after them. */
export const DEPUTIES = [
  deputy({ person: 'rob' }, TERM_END),
  deputy({ group: 'duty' }, after(MONDAY, days(60))),
  deputy({ person: 'lena' }, after(MONDAY, days(60))),
]

const northwind = { tenant: 'northwind' }
const ENTITLEMENTS = {
  // Of tier high: an owner with deputies, a reviewer with criteria and evidence, and one without.
  'ledger-repair': {
    ...northwind,
    title: 'Repair the ledger',
    openTo: ['northwind', 'acme'],
    tier: 'high',
    target: target('ledger-db'),
    actions: { 'ledger.repair': 'write', 'ledger.drop': { class: 'destructive', flags: ['irreversible'] } },
    scopes: ['schema:*'],
    credential: login('ledger'),
    approval: { owner: 'olivia', deputies: DEPUTIES, reviewers: [SECURITY, PRIVACY] },
    limits: { maxUses: 2 },
  },
  // One owner, a token.
  'desk-triage': {
    ...northwind,
    title: 'Triage tickets',
    tier: 'elevated',
    target: target('desk', 'https://desk.northwind.example'),
    actions: { 'tickets.update': 'write' },
    credential: token,
    approval: { owner: 'lena' },
  },
  'keys-rotate': {
    ...northwind,
    title: 'Rotate the keys',
    tier: 'elevated',
    target: target('key-store', 'https://keys.northwind.example'),
    actions: { 'keys.rotate': 'write' },
    credential: token,
    approval: { owner: 'olivia', reviewers: [{ role: 'security', group: 'security', veto: true }, PRIVACY] },
  },
  'shop-release': {
    ...northwind,
    title: 'Release the shop',
    tier: 'elevated',
    target: target('shop', 'https://shop.northwind.example'),
    actions: { deploy: 'deploy' },
    scopes: ['commit:*'],
    credential: token,
    approval: { owner: 'rob', deputies: [deputy({ group: 'duty' }, after(MONDAY, days(60)))], reviewers: [PRIVACY] },
    release: { forge: FORGE, repository: REPOSITORY, scope: 'commit' },
  },
  'payout-run': {
    ...northwind,
    title: 'Run the payout',
    tier: 'elevated',
    target: target('payout', 'https://payout.northwind.example'),
    actions: { 'payout.run': 'write' },
    credential: token,
    approval: { owner: 'olivia', reviewers: [PRIVACY], stepUp: true },
  },
  'split-duty': {
    ...northwind,
    title: 'Executed by another',
    tier: 'elevated',
    target: target('split', 'https://split.northwind.example'),
    actions: { 'split.run': 'write' },
    credential: token,
    approval: { owner: 'olivia' },
    separateExecutor: true,
  },
  // What is harmless alone.
  'customers-read': {
    ...northwind,
    title: 'Read customers',
    tier: 'elevated',
    target: target('customers', 'https://customers.northwind.example'),
    actions: { 'customers.read': 'read' },
    credential: token,
    approval: { owner: 'lena', reviewers: [PRIVACY, SECURITY] },
  },
  'files-send': {
    ...northwind,
    title: 'Send files',
    tier: 'elevated',
    target: target('files', 'https://files.northwind.example'),
    actions: { 'files.send': 'transfer' },
    credential: token,
    approval: { owner: 'lena', reviewers: [PRIVACY, { role: 'security', group: 'security' }] },
  },
  'sales-report': {
    ...northwind,
    title: 'Read the sales report',
    tier: 'low',
    target: target('reports', 'https://reports.northwind.example'),
    actions: { 'report.read': 'read' },
    credential: token,
    approval: 'auto',
  },
}
const DESTINATIONS = { archive: 'internal', partner: 'external' }
const DATA_TYPES = { metrics: 'plain', 'customer-contact': 'personal', 'card-data': 'regulated' }
const GUARDS = `
@id("askers-ask")
permit (principal, action in [Action::"Request", Action::"Exchange", Action::"AutoApprove"], resource)
when { principal.groups.contains("askers") };
@id("colleagues-approve-and-look")
permit (principal is Person, action in [Action::"Approve", Action::"ReadGrant"], resource)
when { principal.tenant == resource.tenant };
@id("soc-revokes")
permit (principal is Person, action == Action::"Revoke", resource)
when { principal.tenant == resource.tenant && principal.groups.contains("soc") };
`

const over = (base: Entries, put: Entries = {}): Entries => ({
  ...base,
  ...Object.fromEntries(Object.entries(put).map(([id, fields]) => [id, { ...base[id], ...fields }])),
})

/** Rules are values: what was compiled once serves every test. */
function once<T>(compile: (revision: number, change: Change) => T): (revision: number, change: Change) => T {
  const known = new Map<string, T>()
  return (revision, change) => {
    const key = JSON.stringify([revision, change], (_, value) => (value === undefined ? 'absent' : value))
    const found = known.get(key) ?? compile(revision, change)
    known.set(key, found)
    return found
  }
}

export const reviewDirectory = once((revision, { persons, agents, workloads, groups = {} }): PeopleDirectory => {
  const people = { revision, persons: over(PERSONS, persons), agents: over(AGENTS, agents), groups }
  const clients = { revision, workloads: over(WORKLOADS, workloads), resourceServers: {} }
  return compiled(
    compileDirectory(
      compiled(compilePeople(JSON.stringify(people), 'people.yaml')),
      compiled(compileClients(JSON.stringify(clients), 'clients.yaml', someJwks)),
      { issuers: ['login'], forges: [FORGE] },
    ),
  )
})

export const reviewPolicy = once((revision, { tiers, destinations, entitlements, guards = '' }) => {
  const file = {
    revision,
    tiers: over(TIERS, tiers),
    destinations: { ...DESTINATIONS, ...destinations },
    dataTypes: DATA_TYPES,
    entitlements: over(ENTITLEMENTS, entitlements),
  }
  return compilePolicy({
    entitlements: { file: 'entitlements.yaml', text: JSON.stringify(file) },
    guards: { file: 'guards.cedar', text: GUARDS + guards },
    schema: { file: 'guards.cedarschema', text: configText('guards.cedarschema') },
  })
})

export interface ReviewWorld extends World {
  /** The rules of the fixture with this change, in force from now on; without one, as they were. */
  put(change?: Change): Promise<void>
  /** A broker that finds this grant as somebody has edited it by hand. */
  edited(id: GrantId, edit: (stored: StoredTexts) => StoredTexts, more?: Partial<Ports>): Broker
  stored(id: GrantId): Promise<StoredTexts>
  found(grant: Grant): Promise<Grant>
  /** On Monday, for an hour of Friday: the agent asks for the ledger, and Dana would execute. */
  filed(part?: Partial<Asking>): Promise<Grant>
  /** The same, with every review and the owner's yes. */
  approved(part?: Partial<Asking>): Promise<Grant>
  yes(who: string, grant: Grant, more?: Partial<Ballot>): Promise<Grant>
  no(who: string, grant: Grant, more?: Partial<Ballot>): Promise<Grant>
  until(at: Instant): void
}

export const cited = (kind: 'threat-model' | 'rollback-plan' | 'test-results'): Evidence => ({
  kind,
  url: `https://docs.northwind.example/${kind}`,
  digest: digest(kind),
})
/** What the security review of the ledger must bring. */
export const REVIEW: Partial<Ballot> = {
  checklist: ['threats', 'reach'],
  evidence: [cited('threat-model'), cited('rollback-plan')],
}

export const ledger = (from: Instant, part: Partial<Asking> = {}): Asking =>
  asking(from, {
    entitlement: named.entitlement('ledger-repair'),
    actions: ['ledger.repair'],
    scope: ['schema:main'],
    executor: named.principal('dana'),
    task: 'task-1',
    ...part,
  })

/** Begins on Monday. */
export async function reviewWorld(): Promise<ReviewWorld> {
  const w = await world()
  w.advance(between(w.now(), MONDAY))
  let revision = 10
  const put = async (change: Change = {}): Promise<void> => {
    revision += 1
    const rules: Rules = { policy: reviewPolicy(revision, change), directory: reviewDirectory(revision, change) }
    await w.publish(rules)
  }
  await put()

  const edited: ReviewWorld['edited'] = (id, edit, more = {}) =>
    broker({
      ...w.ports,
      ...more,
      grants: w.failing((calls) => ({
        load: async (...asked) => {
          const reply = await calls.load(...asked)
          if (reply[0] !== 'ok') return reply
          const [tag, behind, seq, event, judged, rows] = reply
          const edit1 = (row: (typeof rows)[number]): (typeof rows)[number] => {
            if (row.length === 0 || JSON.parse(row[2]).id !== id) return row
            const next = edit({ version: row[0], head: row[1], ask: row[2], decisions: row[3], born: row[4] })
            return [next.version, next.head, next.ask, [...next.decisions], next.born]
          }
          return [tag, behind, seq, event, judged, rows.map(edit1)]
        },
      })),
    })
  const found: ReviewWorld['found'] = async ({ id }) => {
    const grant = await w.store.loadToEnd(id)
    if (grant === undefined) throw new Error('the grant is gone')
    return grant
  }
  const say =
    (verdict: 'approve' | 'deny'): ReviewWorld['yes'] =>
    (who, grant, more = {}) =>
      w.broker.decide(w.as(who), grant.id, { verdict, reason: 'because', digest: grant.ask.digest, ...more })
  const yes = say('approve')
  const filed: ReviewWorld['filed'] = (part) => w.file(w.as('fix-agent'), ledger(FRIDAY, part))
  return {
    ...w,
    put,
    edited,
    stored: async (id) => {
      let seen: StoredTexts | undefined
      const reading = edited(id, (stored) => {
        seen = stored
        return stored
      })
      await reading.view(w.as('olivia'), id)
      if (seen === undefined) throw new Error('nothing was read')
      return seen
    },
    found,
    filed,
    approved: async (part) => {
      const grant = await filed(part)
      await yes('paula', grant, REVIEW)
      await yes('priya', grant)
      return yes('olivia', grant)
    },
    yes,
    no: say('deny'),
    until: (at) => w.advance(between(w.now(), at)),
  }
}

/** The refusal with its facts, or `ok`. What is not a refusal of ours is thrown on. */
export const refusal = async (work: Promise<unknown>): Promise<'ok' | Readonly<Record<string, unknown>>> =>
  work.then(
    () => 'ok' as const,
    (thrown: unknown) => {
      if (thrown instanceof BrokerError) return { code: thrown.code, ...thrown.facts }
      throw thrown
    },
  )

export const HOUR = hours(1)
