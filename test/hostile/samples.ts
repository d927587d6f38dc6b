// For every operation of the API document requests with which nothing is wrong, that say everything which the document knows, and who is let in
// with them. Invariant (samples.test.ts): each fits its schema, and no field of the document is in none of them.
import type { Sample } from './requests.ts'

/** Who sends. `CI` is a workload that nobody here lets ask for anything; `other tenant` is at home elsewhere. */
export const ROLES = [
  'anonymous',
  'requester',
  'owner',
  'reviewer',
  'SOC',
  'auditor',
  'operator',
  'colleague',
  'other tenant',
  'agent',
  'executor',
  'CI',
  'resource server',
] as const
export type Role = (typeof ROLES)[number]

/** A grant, or a freeze, in the state in which the operation is let through. */
export type SeedKind =
  | 'nothing'
  | 'pending'
  | 'reviewed'
  | 'conditioned'
  | 'approved'
  | 'active'
  | 'asked'
  | 'frozen'
  | 'contained'
export interface Seed {
  readonly id: string
  readonly digest: string
  readonly ticket: { readonly system: string; readonly id: string }
  readonly condition: string
  readonly question: string
  readonly freeze: string
  /** Of the credential, where there is one; whether a list of its place is published, and where. */
  readonly jti: string
  readonly token: string
  readonly list: string
  /** Where the feed of ended grants stands, where that of events does, and the second page of a list of grants. */
  readonly position: string
  readonly place: string
  readonly cursor: string
}

export const ENTITLEMENT = 'stock-export'
export const AUDIENCE = 'https://desk.northwind.example'
const DIGEST = `sha-256:${'A'.repeat(43)}`
const KEY = 'A'.repeat(43)
const HOUR = 3_600_000
const at = (ms: number): string => new Date(ms).toISOString()

/** What a sample is made from: a number that nobody had before, and the time. */
export interface Making {
  readonly seed: Seed
  readonly n: number
  readonly now: number
  /** What the sender has, where a form names it: its own token, and an assertion of a resource server, where it is one. */
  readonly subject: string
  readonly assertion: string
}

const FLAGS = [
  'dataFlow',
  'privilegedAccess',
  'resilience',
  'externalTransfer',
  'destructive',
  'irreversible',
  'exposure',
  'tenancyBoundary',
  'backupOrRecovery',
  'regulated',
] as const

/** The longest window that its tier allows: one that ended during a run would be a change that nobody asked for. */
export const askingOf = ({ n, now }: Pick<Making, 'n' | 'now'>, more: object = {}) => ({
  entitlement: ENTITLEMENT,
  actions: ['stock.export'],
  scope: ['batch:1'],
  dataTypes: ['sales-figures'],
  destination: 'warehouse',
  credential: { uses: 1 },
  task: {
    id: `hostile-${n}`,
    summary: 'Export the stock of the week',
    objective: 'The warehouse counts',
    expectedOutcome: 'It is counted',
    rollback: 'None is needed',
  },
  changeClass: 'normal',
  impact: Object.fromEntries(FLAGS.map((flag) => [flag, false])),
  exposure: { segment: 'ring-1', from: 0, to: 10, rollbackCriteria: 'Errors rise' },
  plan: { digest: DIGEST, mediaType: 'text/plain', uri: 'https://plans.example/1' },
  ticket: { system: 'desk', id: `CHG-${n}`, url: `https://desk.example/${n}` },
  window: { opensAt: at(now - 1_000), closesAt: at(now + 4 * HOUR - 60_000) },
  executor: { principal: 'report-job' },
  ...more,
})
const PART = {
  entitlement: ENTITLEMENT,
  actions: ['stock.export'],
  scope: ['batch:2'],
  dataTypes: ['sales-figures'],
  destination: 'warehouse',
  credential: { uses: 1 },
}

const evidence = [
  { kind: 'note', text: 'Looked at by two.' },
  { kind: 'threat-model', url: 'https://docs.example/model', digest: DIGEST },
]
const risks = (now: number) => [{ risk: 'review:security', until: at(now + 2 * HOUR) }]
const vote = ({ seed, now }: Making, by: 'owner' | 'reviewer', more: object = {}) => ({
  verdict: 'approve',
  reason: 'fine',
  digest: seed.digest,
  as: by === 'owner' ? 'owner' : 'security',
  checklist: [],
  evidence,
  conditions: [],
  accepts: by === 'owner' ? risks(now) : [],
  ...more,
})
const conditions = (now: number) => [{ text: 'Watch the errors', owner: 'rob', due: at(now + 2 * HOUR) }]
const selector = {
  person: 'vera',
  agent: 'triage-agent',
  workload: 'report-job',
  sponsor: 'sam',
  tenant: 'northwind',
  target: 'payments-db',
  environment: 'production',
  entitlement: 'payments-migrator',
  task: 'no-such-task',
  session: 'run-1',
  ticket: { system: 'desk', id: 'CHG-0' },
  planDigest: DIGEST,
  key: KEY,
  approver: 'olivia',
  policyDigest: DIGEST,
  issuedBefore: '2026-01-01T00:00:00Z',
}
const where = ({ ticket }: Seed) => ({ ticket })
const key = ({ n }: Making) => ({ 'Idempotency-Key': `"hostile-key-${n}"` })
const onGrant = ({ seed }: Making, body?: unknown): Sample => ({
  params: { id: seed.id },
  ...(body === undefined ? {} : { body }),
})
const use = {
  id: 'use-1',
  at: '2026-11-20T22:00:00Z',
  action: 'stock.export',
  target: '/stock',
  argumentDigest: DIGEST,
}
const CHANGE_TYPE = 'https://writ.dev/schemas/change/v1'

/** Everybody with a token of a person, an agent or a workload. */
const CALLERS = ROLES.filter((role) => role !== 'anonymous' && role !== 'resource server')
const PERSONS: readonly Role[] = CALLERS.filter((role) => !['agent', 'executor', 'CI'].includes(role))
/** The requester answers for the CI. */
const SEES: readonly Role[] = ['requester', 'owner', 'reviewer', 'SOC', 'auditor', 'executor', 'CI']
const AUDIT: readonly Role[] = ['SOC', 'auditor']

export interface Row {
  readonly seed: SeedKind
  /** Who is let in with the first sample; the first of them is who sends what is wrong for the first time. */
  readonly may: readonly Role[]
  samples(making: Making): readonly Sample[]
}
const row = (seed: SeedKind, may: readonly Role[], samples: Row['samples']): Row => ({ seed, may, samples })
const plain = (seed: SeedKind, may: readonly Role[]): Row => row(seed, may, (m) => [onGrant(m)])
const open = (): Row => row('nothing', ROLES, () => [{}])
const reasoned = (seed: SeedKind, may: readonly Role[]): Row =>
  row(seed, may, (m) => [onGrant(m, { reason: 'not needed' })])

export const ROWS: Readonly<Record<string, Row>> = {
  request: row('pending', ['requester'], (m) => [
    { query: {}, headers: key(m), body: askingOf(m) },
    { headers: key(m), body: askingOf(m, { executor: { principal: 'report-job', key: KEY } }) },
    { headers: key(m), body: askingOf(m, { more: [PART], window: { duration: '3h' } }) },
    { headers: key(m), body: askingOf(m, { replaces: m.seed.id }) },
    { query: { dryRun: 'true' }, headers: key(m), body: askingOf(m) },
  ]),
  list: row('active', CALLERS, ({ seed }) => [
    {
      query: {
        limit: '2',
        status: 'pending,active',
        mine: 'true',
        tenant: 'northwind',
        entitlement: ENTITLEMENT,
        target: 'stock',
        ticket: `${seed.ticket.system}:${seed.ticket.id}`,
        task: 'hostile-1',
        session: 'run-1',
        filedFrom: '2026-01-01T00:00:00Z',
        filedTo: '2036-01-01T00:00:00Z',
      },
    },
    { query: { limit: '1', cursor: seed.cursor } },
    { query: { limit: '1', waiting: 'true' } },
  ]),
  view: row('active', SEES, (m) => [{ ...onGrant(m), query: { wait: '1', for: 'status', since: 'pending' } }]),
  decide: row('pending', ['owner'], (m) => [
    { ...onGrant(m, vote(m, 'owner')), headers: { ...key(m), 'If-Match': `"${m.seed.digest}"` } },
    {
      ...onGrant(m, vote(m, 'reviewer', { checklist: ['modelled'], conditions: conditions(m.now) })),
      by: 'reviewer',
    },
  ]),
  // Nobody here has a passkey: with one it is done in journeys/step-up.
  begin_step_up: row('pending', [], (m) => [
    { ...onGrant(m, vote(m, 'owner')), headers: { ...key(m), 'If-Match': `"${m.seed.digest}"` } },
    onGrant(m, vote(m, 'reviewer', { checklist: ['modelled'], conditions: conditions(m.now) })),
    onGrant(m, { condition: m.seed.condition, reason: 'done', evidence }),
    onGrant(m, { accepts: risks(m.now), reason: 'It is small.' }),
  ]),
  close: row('conditioned', ['reviewer'], (m) => [
    onGrant(m, { condition: m.seed.condition, reason: 'done', evidence }),
  ]),
  accept: row('pending', ['owner'], (m) => [onGrant(m, { accepts: risks(m.now), reason: 'It is small.' })]),
  retract: reasoned('reviewed', ['reviewer']),
  withdraw: reasoned('pending', ['requester']),
  exchange: row('approved', ['executor'], (m) => [onGrant(m, { attempt: `attempt-${m.n}` })]),
  complete: row('active', ['executor', 'requester', 'owner'], (m) => [onGrant(m, { result: { rows: '1' } })]),
  revoke: reasoned('active', ['SOC', 'requester', 'owner', 'reviewer', 'executor']),
  events: row('active', SEES, (m) => [{ ...onGrant(m), headers: { 'Last-Event-ID': '1' } }]),
  questions: plain('asked', SEES),
  ask: row('pending', ['owner', 'reviewer'], (m) => [onGrant(m, { text: 'Why tonight?' })]),
  answer: row('asked', ['requester'], ({ seed }) => [
    { params: { id: seed.id, n: seed.question }, body: { text: 'Nobody is there.' } },
  ]),
  feed: row('active', CALLERS, ({ seed }) => [
    { query: { limit: '2', after: seed.place }, headers: { 'Last-Event-ID': seed.place } },
  ]),
  complete_each: row('active', SEES, ({ seed }) => [
    { body: { where: where(seed), result: { rows: '1' } } },
    { body: { where: { ...where(seed), task: 'no-such-task', session: 'run-1' }, result: {} } },
  ]),
  revoke_each: row('active', SEES, ({ seed }) => [
    { body: { where: where(seed), reason: 'alarm' } },
    { body: { where: { ...where(seed), task: 'no-such-task', session: 'run-1' }, reason: '' } },
  ]),
  revocations: row('active', ['resource server'], ({ seed }) => [
    { query: { after: seed.position, wait: '0' }, headers: { 'Last-Event-ID': seed.position } },
    { query: { since: '2026-01-01T00:00:00Z' } },
  ]),
  acknowledge: row('active', ['resource server'], ({ seed }) => [
    { body: { position: seed.position, consumer: 'eu-1' } },
  ]),
  report_uses: row('active', ['resource server'], (m) => [
    onGrant(m, { uses: [{ ...use, credential: m.seed.jti, outcome: 'used' }] }),
    onGrant(m, { uses: [{ ...use, credential: m.seed.jti, outcome: 'refused', reason: 'expired' }] }),
  ]),
  uses: plain('active', SEES),
  freeze: row('nothing', ['SOC'], () => [{ body: { where: selector, reason: 'alarm' } }]),
  freezes: row('frozen', AUDIT, () => [{}]),
  lift_freeze: row('frozen', ['SOC'], ({ seed }) => [{ params: { freeze: seed.freeze }, body: { reason: 'over' } }]),
  contain: row('nothing', ['SOC'], () => [
    { query: {}, body: { where: selector, reason: 'alarm', freeze: true } },
    { query: { dryRun: 'true' }, body: { where: selector, reason: 'alarm', freeze: true } },
  ]),
  containment: row('contained', AUDIT, ({ seed }) => [{ params: { freeze: seed.freeze } }]),
  contained: row('contained', AUDIT, ({ seed }) => [
    { params: { freeze: seed.freeze }, query: { stage: 'ended' } },
    { params: { freeze: seed.freeze }, query: { stage: 'ended', cursor: `0:${seed.id}` } },
  ]),
  whoami: open(),
  passkeys: open(),
  add_passkey: row('nothing', PERSONS, () => [{ body: { name: 'laptop' } }]),
  remove_passkey: row('nothing', [], () => [{ params: { passkey: 'a2V5' }, body: {} }]),
  offered: open(),
  recover: row('nothing', ['operator'], () => [{ body: { reason: 'as it is', resume: 'when_clean' } }]),
  recovery: row('nothing', ['operator'], () => [{}]),
  accept_clock: row('nothing', ['operator'], () => [{ body: { reason: 'as it is' } }]),
  canaries: row('nothing', ['operator'], () => [{}]),
  token: row('approved', ['executor'], ({ seed, subject }) => [
    {
      form: {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: subject,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        authorization_details: JSON.stringify([{ type: CHANGE_TYPE, identifier: seed.id }]),
        resource: AUDIENCE,
        audience: AUDIENCE,
      },
    },
  ]),
  introspect: row('active', ['resource server'], ({ seed, assertion }) => [
    {
      form: {
        token: seed.token,
        token_type_hint: 'access_token',
        client_id: 'desk-api',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      },
    },
  ]),
  jwks: open(),
  status_lists: open(),
  status_list: row('active', ROLES, ({ seed }) => [
    { params: { list: seed.list } },
    { params: { list: seed.list }, query: { time: '0' } },
  ]),
  metadata: open(),
  openid_metadata: open(),
  healthz: open(),
  readyz: open(),
  metrics: open(),
  openapi: open(),
}
/** Where a token is needed after all. */
export const rowOf = (operation: string): Row => {
  const found = ROWS[operation]
  if (found === undefined) throw new Error(`no sample of ${operation}`)
  if (operation === 'whoami' || operation === 'offered') return { ...found, may: CALLERS }
  return operation === 'passkeys' ? { ...found, may: PERSONS } : found
}

/** Where the credential is said in a form, it is said nowhere else. */
export const isForm = (operation: { readonly id: string }): boolean =>
  operation.id === 'token' || operation.id === 'introspect'
/** GET, and what only asks: whoever calls, the store is as it was. */
export const isReading = (operation: { readonly id: string; readonly method: string }): boolean =>
  operation.method === 'GET' || operation.id === 'introspect'
