// Complete, valid grants in every status, for tests of stores and of records. Nothing here says what a verb would do.
import { createHash } from 'node:crypto'
import type { Index } from '../../src/broker/ports.ts'
import type { Decision, Vote } from '../../src/domain/decision.ts'
import type { CredentialRule } from '../../src/domain/entitlement.ts'
import type { GrantEvent } from '../../src/domain/events.ts'
import { type Ask, born, type Grant, type Head, type Step } from '../../src/domain/grant.ts'
import {
  type AttemptId,
  type Digest,
  type GrantId,
  grantId,
  named,
  type Shard,
  type Thumbprint,
} from '../../src/domain/ids.ts'
import { after, type Instant, minutes, seconds } from '../../src/domain/instant.ts'
import { STATUSES, type Status } from '../../src/domain/lifecycle.ts'
import type { Mint } from '../../src/domain/mint.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')
export const digest = (text: string): Digest => `sha-256:${sha256(text)}` as Digest

/** Everything of the tenant of the samples. */
export const ALL: readonly Index[] = STATUSES.map((status) => ({ tenant: named.tenant('northwind'), status }))

let born26 = 0
/** Counting ids, the later one also later in the order of ids. */
export function nextGrantId(shard: Shard): GrantId {
  born26 += 1
  const letters = born26.toString(26).replace(/./g, (c) => String.fromCharCode(97 + Number.parseInt(c, 26)))
  return grantId(shard, letters.padStart(26, 'a'))
}

export const JWT: CredentialRule = { kind: 'jwt', sender: 'dpop', maxLife: minutes(5), verifierCache: seconds(30) }
export const VAULT: CredentialRule = {
  kind: 'vault',
  backend: 'vault-main',
  engine: 'database',
  database: {
    mount: 'database',
    connection: 'payments',
    grantedRole: 'payments_migrator',
    ownerRole: 'payments_owner',
  },
  revocability: 'at_once',
}

export function sampleAsk(id: GrantId, filedAt: Instant, credential: CredentialRule = JWT): Ask {
  return {
    v: 3,
    id,
    intent: {
      tenant: named.tenant('northwind'),
      entitlement: named.entitlement('payments-migrator'),
      requester: named.principal('vera'),
      executor: { principal: named.principal('vera'), key: undefined },
      manifests: { requester: undefined, executor: digest('manifest') },
      task: 'migrate',
      session: '',
      target: 'payments-db',
      environment: 'production',
      actions: ['db.migrate'],
      scope: ['schema:payments'],
      dataTypes: [],
      destination: '',
      changeClass: 'normal',
      exposure: { segment: 'eu', from: 0, to: 10, rollbackCriteria: 'errors rise' },
      change: { forge: 'github', repository: '1', sha: 'c0ffee' },
      impact: { ...NO_IMPACT, privilegedAccess: true },
      plan: undefined,
      ticket: { system: 'desk', id: 'CHG-1' },
      window: { opensAt: filedAt, closesAt: after(filedAt, minutes(60)) },
      credential: { kind: credential.kind, uses: 1 },
    },
    texts: {
      summary: 'Add a column',
      objective: 'Invoices need it',
      expectedOutcome: 'A new column',
      rollback: 'Drop it',
      ticketUrl: '',
      planUri: '',
    },
    digest: digest('intent'),
    textsDigest: digest('texts'),
    requesterTenant: named.tenant('acme'),
    askers: [named.person('vera')],
    tier: 'elevated',
    flags: ['privilegedAccess'],
    earlier: [
      {
        entitlement: named.entitlement('sales-report'),
        classes: ['read'],
        flags: ['regulated'],
        dataTypes: ['pii'],
        destination: '',
      },
    ],
    rule: {
      mode: 'people',
      owner: named.person('olivia'),
      deputies: [{ person: undefined, group: named.group('dba'), from: filedAt, until: after(filedAt, minutes(90)) }],
      reviewers: [
        {
          role: 'security',
          group: named.group('security'),
          count: 1,
          criteria: { modelled: 'The threats are modelled.' },
          evidence: ['threat-model'],
          veto: true,
        },
      ],
      approvals: 2,
      stepUp: false,
    },
    credential,
    audience: 'https://payments.northwind.example',
    filedAt,
    decideBy: after(filedAt, minutes(30)),
    lapsesAt: after(filedAt, minutes(40)),
    policy: { revision: 1, digest: digest('policy') },
    reasons: ['permit: vendor-may-ask'],
    asked: '',
    replaces: undefined,
    linked: [],
  }
}

export const sampleDecision = (by: string, at: Instant): Vote => ({
  v: 2,
  act: 'vote',
  by: named.person(by),
  verdict: 'approve',
  reason: 'As discussed — “tonight”',
  at,
  digest: digest('intent'),
  textsDigest: digest('texts'),
  policyDigest: digest('policy'),
  peopleDigest: digest('people'),
  seat: 'security',
  deputyFor: undefined,
  checklist: ['modelled'],
  evidence: [
    { kind: 'threat-model', url: 'https://docs.example/model', digest: digest('model') },
    { kind: 'note', text: 'looked at by two' },
  ],
  conditions: [
    { id: 'abcdefghijkl', text: 'Watch the errors', owner: named.person('rob'), due: after(at, minutes(50)) },
  ],
  accepts: [{ risk: 'review:privacy', until: after(at, minutes(60)) }],
  assertion: {
    credentialId: 'Y3JlZA',
    authenticatorData: 'YXV0aA',
    clientDataJSON: 'Y2xpZW50',
    signature: 'c2ln',
    publicKey: 'a2V5',
    algorithm: -7,
  },
  signature: 'k1.c2lnbmF0dXJl',
})

/** One statement of every other kind. */
export const sampleStatements = (by: string, at: Instant): readonly Decision[] => {
  const { v, reason, digest: intent, textsDigest, policyDigest, peopleDigest, signature } = sampleDecision(by, at)
  const said = { v, by: named.person(by), reason, at, digest: intent, textsDigest, policyDigest, peopleDigest }
  const signed = { ...said, assertion: undefined, signature }
  return [
    { ...signed, act: 'close', condition: 'abcdefghijkl', evidence: [] },
    { ...signed, act: 'accept', accepts: [{ risk: 'condition:abcdefghijkl', until: after(at, minutes(60)) }] },
    { ...signed, act: 'retract', vote: signature },
  ]
}

export const sampleEvent = (id: GrantId, type: GrantEvent['type'], at: Instant): GrantEvent => ({
  v: 1,
  type,
  grant: id,
  at,
  by: 'vera',
  digest: digest('intent'),
  policyDigest: digest('policy'),
  details: { reason: 'a "quoted" text', uses: 1, late: false, names: ['a', 'b'] },
})

const made = (n: number, at: Instant) => ({ n, attempt: 'attempt-0001' as AttemptId, key: undefined, claimedAt: at })
const key = sha256('key') as Thumbprint
/** One mint in every form that a mint can have. */
export const sampleMints = (at: Instant): readonly Mint[] => [
  { ...made(1, at), status: 'claimed', deadline: after(at, minutes(90)) },
  { ...made(2, at), key, status: 'opened', deadline: after(at, minutes(90)), accessor: 'acc-2' },
  {
    ...made(3, at),
    key,
    status: 'live',
    kind: 'jwt',
    jti: 'jti-3',
    issuedAt: at,
    expiresAt: after(at, minutes(5)),
    fingerprint: 'f3',
  },
  {
    ...made(4, at),
    status: 'live',
    kind: 'vault',
    accessor: 'acc-4',
    lease: { id: 'database/creds/x/4', durationSeconds: 294 },
    issuedAt: at,
    expiresAt: after(at, minutes(5)),
    fingerprint: 'f4',
  },
  {
    ...made(5, at),
    status: 'closing',
    deadline: after(at, minutes(90)),
    accessor: undefined,
    lease: undefined,
    handedOut: false,
    makerUntil: undefined,
  },
  {
    ...made(6, at),
    status: 'closed',
    closedAt: at,
    released: true,
    expiresAt: undefined,
    confirmation: { asked: 'nothing', answer: 'never made', at },
  },
]

/** A head of this status at this moment, its deadline in the future. */
export function sampleHead(status: Status, at: Instant): Head {
  const cause = { outcome: 'revoked', by: named.principal('sol'), reason: 'alarm' } as const
  const ending = { cause, since: at, attempts: 1, retryAt: after(at, minutes(1)), lastError: '' }
  const base = { v: 2, mints: [], result: undefined } as const
  switch (status) {
    case 'pending':
      return { ...base, status, facts: { escalatedAt: undefined } }
    case 'approved':
    case 'issuing':
      return { ...base, status, facts: { approvedAt: at, useBy: after(at, minutes(60)) } }
    case 'active':
      return { ...base, status, facts: { approvedAt: at, activeSince: at } }
    case 'ending':
      return { ...base, status, facts: ending }
    case 'stuck':
      return { ...base, status, facts: { ...ending, stuckSince: at } }
    case 'denied':
      return { ...base, status, facts: { at, by: named.person('olivia'), reason: 'no' } }
    case 'withdrawn':
      return { ...base, status, facts: { at, by: named.principal('vera'), reason: 'not needed' } }
    case 'lapsed':
      return { ...base, status, facts: { at, reason: 'nobody decided' } }
    case 'ended':
      return {
        ...base,
        status,
        facts: {
          outcome: 'revoked',
          cause,
          endedAt: at,
          confirmation: { asked: 'introspection', answer: 'inactive', at },
          residueUntil: after(at, seconds(30)),
          result: undefined,
        },
      }
  }
}

export const sampleBirth = (id: GrantId, filedAt: Instant, credential: CredentialRule = JWT): Step =>
  born(sampleAsk(id, filedAt, credential), sampleEvent(id, 'filed', filedAt))

/** A step to any status, also to one that no edge leads to. */
export function sampleStep(
  grant: Grant,
  to: Status,
  at: Instant,
  more: Partial<Pick<Grant, 'decisions'>> & { head?: Partial<Head> } = {},
): Step {
  const head = { ...sampleHead(to, at), ...more.head } as Head
  const next = { ...grant, decisions: more.decisions ?? grant.decisions, head, version: grant.version + 1 } as Grant
  return { grant: next, event: sampleEvent(grant.id, 'claimed', at), from: grant.head.status }
}

/** How each status is reached from birth. */
export const ROADS: Readonly<Record<Status, readonly Status[]>> = {
  pending: [],
  approved: ['approved'],
  issuing: ['approved', 'issuing'],
  active: ['approved', 'active'],
  ending: ['approved', 'ending'],
  stuck: ['approved', 'ending', 'stuck'],
  denied: ['denied'],
  withdrawn: ['withdrawn'],
  lapsed: ['lapsed'],
  ended: ['approved', 'active', 'ended'],
}
