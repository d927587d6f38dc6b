// Intents to test with: the least, one with every optional member, and any; and for each semantic member a change of its meaning.
import fc from 'fast-check'
import { type Digest, named, type Thumbprint } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import type { ChangeClass, Intent } from '../../src/domain/intent.ts'
import { FLAGS, type Impact, NO_IMPACT } from '../../src/domain/risk.ts'

const digest = (letter: string): Digest => `sha-256:${letter.repeat(43)}` as Digest
const key = (letter: string): Thumbprint => letter.repeat(43) as Thumbprint

export const least: Intent = {
  tenant: named.tenant('northwind'),
  entitlement: named.entitlement('payments-migrator'),
  requester: named.principal('vera'),
  executor: { principal: named.principal('vera'), key: undefined },
  manifests: { requester: undefined, executor: undefined },
  task: 'CHG0031337',
  session: '',
  target: 'payments-db',
  environment: 'production',
  actions: ['db.migrate'],
  scope: [],
  dataTypes: [],
  destination: '',
  exposure: undefined,
  change: undefined,
  changeClass: 'normal',
  impact: NO_IMPACT,
  plan: undefined,
  ticket: undefined,
  window: { opensAt: instant(1_795_298_400_000), closesAt: instant(1_795_302_000_000) },
  credential: { kind: 'vault', uses: 1 },
}
const exposure = { segment: 'eu-customers', from: 5, to: 25, rollbackCriteria: 'errors above 1 of 100' }
const change = { forge: 'forge', repository: 'northwind/shop', sha: '4f0c1f0a2b8e8d5f7a6b3c9d1e2f30415263748a' }
const plan = { digest: digest('P'), mediaType: 'application/json' }
const ticket = { system: 'servicenow', id: 'CHG0031337' }
export const whole: Intent = {
  ...least,
  executor: { principal: named.principal('shop-deploy'), key: key('K') },
  manifests: { requester: digest('R'), executor: digest('E') },
  session: 'run-7',
  scope: ['commit:4f0c1f0'],
  dataTypes: ['orders'],
  destination: 'warehouse',
  exposure,
  change,
  plan,
  ticket,
}

/** For each leaf of the hashed form, a change of its meaning; where an optional member is absent, the change brings it. */
export const CHANGES: Readonly<Record<string, (intent: Intent) => Intent>> = {
  tenant: (one) => ({ ...one, tenant: named.tenant(`${one.tenant}x`) }),
  entitlement: (one) => ({ ...one, entitlement: named.entitlement(`${one.entitlement}x`) }),
  requester: (one) => ({ ...one, requester: named.principal(`${one.requester}x`) }),
  'executor.principal': (one) => ({
    ...one,
    executor: { ...one.executor, principal: named.principal(`${one.executor.principal}x`) },
  }),
  'executor.key': (one) => ({
    ...one,
    executor: { ...one.executor, key: one.executor.key === key('K') ? key('L') : key('K') },
  }),
  'manifests.requester': (one) => ({
    ...one,
    manifests: { ...one.manifests, requester: one.manifests.requester === digest('R') ? digest('S') : digest('R') },
  }),
  'manifests.executor': (one) => ({
    ...one,
    manifests: { ...one.manifests, executor: one.manifests.executor === digest('E') ? digest('S') : digest('E') },
  }),
  task: (one) => ({ ...one, task: `${one.task}x` }),
  session: (one) => ({ ...one, session: `${one.session}x` }),
  target: (one) => ({ ...one, target: `${one.target}x` }),
  environment: (one) => ({ ...one, environment: `${one.environment}x` }),
  actions: (one) => ({ ...one, actions: otherSet(one.actions) }),
  scope: (one) => ({ ...one, scope: otherSet(one.scope) }),
  dataTypes: (one) => ({ ...one, dataTypes: otherSet(one.dataTypes) }),
  destination: (one) => ({ ...one, destination: `${one.destination}x` }),
  'exposure.segment': (one) => ({
    ...one,
    exposure: one.exposure ? { ...one.exposure, segment: `${one.exposure.segment}x` } : exposure,
  }),
  'exposure.from': (one) => ({
    ...one,
    exposure: one.exposure ? { ...one.exposure, from: one.exposure.from + 1 } : exposure,
  }),
  'exposure.to': (one) => ({
    ...one,
    exposure: one.exposure ? { ...one.exposure, to: one.exposure.to + 1 } : exposure,
  }),
  'exposure.rollbackCriteria': (one) => ({
    ...one,
    exposure: one.exposure ? { ...one.exposure, rollbackCriteria: `${one.exposure.rollbackCriteria}x` } : exposure,
  }),
  'change.forge': (one) => ({
    ...one,
    change: one.change ? { ...one.change, forge: `${one.change.forge}x` } : change,
  }),
  'change.repository': (one) => ({
    ...one,
    change: one.change ? { ...one.change, repository: `${one.change.repository}x` } : change,
  }),
  'change.sha': (one) => ({ ...one, change: one.change ? { ...one.change, sha: `${one.change.sha}x` } : change }),
  changeClass: (one) => ({ ...one, changeClass: one.changeClass === 'normal' ? 'emergency' : 'normal' }),
  ...Object.fromEntries(
    FLAGS.map((flag) => [
      `impact.${flag}`,
      (one: Intent): Intent => ({ ...one, impact: { ...one.impact, [flag]: !one.impact[flag] } }),
    ]),
  ),
  'plan.digest': (one) => ({
    ...one,
    plan: one.plan ? { ...one.plan, digest: one.plan.digest === digest('P') ? digest('Q') : digest('P') } : plan,
  }),
  'plan.mediaType': (one) => ({
    ...one,
    plan: one.plan ? { ...one.plan, mediaType: `${one.plan.mediaType}x` } : plan,
  }),
  'ticket.system': (one) => ({
    ...one,
    ticket: one.ticket ? { ...one.ticket, system: `${one.ticket.system}x` } : ticket,
  }),
  'ticket.id': (one) => ({ ...one, ticket: one.ticket ? { ...one.ticket, id: `${one.ticket.id}x` } : ticket }),
  'window.opensAt': (one) => ({ ...one, window: { ...one.window, opensAt: instant(one.window.opensAt + 1) } }),
  'window.closesAt': (one) => ({ ...one, window: { ...one.window, closesAt: instant(one.window.closesAt + 1) } }),
  'credential.kind': (one) => ({
    ...one,
    credential: { ...one.credential, kind: one.credential.kind === 'jwt' ? 'vault' : 'jwt' },
  }),
  'credential.uses': (one) => ({ ...one, credential: { ...one.credential, uses: one.credential.uses + 1 } }),
}

/** Of what may be absent, its absence is a meaning of its own. */
export const REMOVALS: Readonly<Record<string, (intent: Intent) => Intent>> = {
  'executor.key': (one) => ({ ...one, executor: { ...one.executor, key: undefined } }),
  'manifests.requester': (one) => ({ ...one, manifests: { ...one.manifests, requester: undefined } }),
  'manifests.executor': (one) => ({ ...one, manifests: { ...one.manifests, executor: undefined } }),
  exposure: (one) => ({ ...one, exposure: undefined }),
  change: (one) => ({ ...one, change: undefined }),
  plan: (one) => ({ ...one, plan: undefined }),
  ticket: (one) => ({ ...one, ticket: undefined }),
  scope: (one) => ({ ...one, scope: [] }),
  dataTypes: (one) => ({ ...one, dataTypes: [] }),
  session: (one) => ({ ...one, session: '' }),
  destination: (one) => ({ ...one, destination: '' }),
}

const otherSet = (items: readonly string[]): readonly string[] =>
  items.includes('another') ? items.filter((item) => item !== 'another') : [...items, 'another']

const text = fc.oneof(
  fc.constantFrom('northwind', 'vera', '', 'a', 'constructor', '__proto__', 'é', '\u0000', '"\\'),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
)
const set = fc.array(text, { maxLength: 3 })
const maybe = <T>(some: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(some, { nil: undefined })
const someDigest = fc.constantFrom('P', 'Q', 'R', 'E').map(digest)
const share = fc.integer({ min: 0, max: 100 })

export const anyImpact: fc.Arbitrary<Impact> = fc
  .subarray([...FLAGS])
  .map((declared) => ({ ...NO_IMPACT, ...Object.fromEntries(declared.map((flag) => [flag, true])) }))

/** Any intent, also one that no policy would take. */
export const anyIntent: fc.Arbitrary<Intent> = fc.record({
  tenant: text.map(named.tenant),
  entitlement: text.map(named.entitlement),
  requester: text.map(named.principal),
  executor: fc.record({ principal: text.map(named.principal), key: maybe(fc.constantFrom('K', 'M').map(key)) }),
  manifests: fc.record({ requester: maybe(someDigest), executor: maybe(someDigest) }),
  task: text,
  session: text,
  target: text,
  environment: text,
  actions: set,
  scope: set,
  dataTypes: set,
  destination: text,
  exposure: maybe(fc.record({ segment: text, from: share, to: share, rollbackCriteria: text })),
  change: maybe(fc.record({ forge: text, repository: text, sha: text })),
  changeClass: fc.constantFrom<ChangeClass>('standard', 'normal', 'emergency'),
  impact: anyImpact,
  plan: maybe(fc.record({ digest: someDigest, mediaType: text })),
  ticket: maybe(fc.record({ system: text, id: text })),
  window: fc.record({ opensAt: fc.nat().map(instant), closesAt: fc.nat().map(instant) }),
  credential: fc.record({ kind: fc.constantFrom('jwt', 'vault'), uses: fc.integer({ min: 1, max: 99 }) }),
})
