// One approved grant and its decision, as the tests of tokens and signatures need them.
import type { Vote } from '../../src/domain/decision.ts'
import type { Ask, Grant } from '../../src/domain/grant.ts'
import { type Digest, type GrantId, grantId, named, shard, type Thumbprint } from '../../src/domain/ids.ts'
import { after, hours, type Instant, minutes } from '../../src/domain/instant.ts'
import type { Intent } from '../../src/domain/intent.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import { NOON } from './keys.ts'

export const GRANT: GrantId = grantId(shard(0), 'abcdefghijklmnopqrstuvwxyz')
export const OTHER_GRANT: GrantId = grantId(shard(0), 'bbcdefghijklmnopqrstuvwxyz')
export const digestOf = (letter: string): Digest => `sha-256:${letter.repeat(43)}` as Digest
export const AUDIENCE = 'https://webshop.northwind.example'

export function deployIntent(opensAt: Instant = NOON): Intent {
  return {
    tenant: named.tenant('northwind'),
    entitlement: named.entitlement('webshop-deploy'),
    requester: named.principal('webshop-deploy'),
    executor: { principal: named.principal('webshop-deploy'), key: 'k'.repeat(43) as Thumbprint },
    manifests: { requester: undefined, executor: undefined },
    task: 'release 42',
    session: '1001',
    target: 'webshop',
    environment: 'production',
    actions: ['deploy'],
    scope: ['commit:0123456789abcdef0123456789abcdef01234567'],
    dataTypes: [],
    destination: '',
    changeClass: 'normal',
    exposure: undefined,
    change: undefined,
    impact: { ...NO_IMPACT, resilience: true },
    plan: { digest: digestOf('p'), mediaType: 'application/json' },
    ticket: { system: 'servicenow', id: 'CHG0031337' },
    window: { opensAt, closesAt: after(opensAt, hours(1)) },
    credential: { kind: 'jwt', uses: 1 },
  }
}

export function deployGrant(intent: Intent = deployIntent()): Grant {
  const ask: Ask = {
    v: 3,
    id: GRANT,
    intent,
    texts: {
      summary: 'a text by a person',
      objective: 'ship',
      expectedOutcome: 'runs',
      rollback: 'roll back',
      ticketUrl: '',
      planUri: '',
    },
    digest: digestOf('i'),
    textsDigest: digestOf('t'),
    requesterTenant: named.tenant('northwind'),
    askers: [named.person('rob')],
    tier: 'elevated',
    flags: ['resilience'],
    earlier: [],
    rule: { mode: 'people', owner: named.person('rob'), deputies: [], reviewers: [], approvals: 1, stepUp: false },
    credential: { kind: 'jwt', sender: 'dpop', maxLife: minutes(15), verifierCache: minutes(1) },
    audience: AUDIENCE,
    filedAt: NOON,
    decideBy: after(NOON, hours(1)),
    lapsesAt: after(NOON, hours(1)),
    policy: { revision: 1, digest: digestOf('y') },
    reasons: [],
    asked: '',
    replaces: undefined,
    linked: [],
  }
  return {
    id: GRANT,
    ask,
    decisions: [],
    head: {
      v: 2,
      status: 'approved',
      facts: { approvedAt: NOON, useBy: after(NOON, hours(1)) },
      mints: [],
      result: undefined,
    },
    version: 2,
    born: 7,
    recorded: 0,
  }
}

export const approvalByRob: Omit<Vote, 'signature'> = {
  v: 2,
  act: 'vote',
  seat: 'owner',
  deputyFor: undefined,
  checklist: [],
  evidence: [],
  conditions: [],
  accepts: [],
  assertion: undefined,
  by: named.person('rob'),
  verdict: 'approve',
  reason: 'reviewed “the plan”',
  at: NOON,
  digest: digestOf('i'),
  textsDigest: digestOf('t'),
  policyDigest: digestOf('y'),
  peopleDigest: digestOf('e'),
}
