// The stored form of a grant: what is written comes back as it was, and what this broker does not know is refused.
import { describe, expect, it } from 'vitest'
import type { Grant } from '../../src/domain/grant.ts'
import { shard } from '../../src/domain/ids.ts'
import { instant, minutes } from '../../src/domain/instant.ts'
import { STATUSES } from '../../src/domain/lifecycle.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import {
  printAsk,
  printDecisions,
  printEvent,
  printHead,
  readEvent,
  readGrant,
  type StoredTexts,
} from '../../src/redis/grant-record.ts'
import {
  nextGrantId,
  sampleBirth,
  sampleDecision,
  sampleHead,
  sampleMints,
  sampleStatements,
  VAULT,
} from '../support/sample-grants.ts'

const at = instant(Date.parse('2026-11-21T12:00:00.000Z'))
const born = sampleBirth(nextGrantId(shard(0)), at, VAULT)
const whole = (head: Grant['head'] = sampleHead('active', at)): Grant =>
  ({
    ...born.grant,
    decisions: [sampleDecision('olivia', at), sampleDecision('paula', at), ...sampleStatements('paula', at)],
    head,
    version: 4,
  }) as Grant
/** All of it, as if nothing had been read. */
const printed = (grant: Grant): StoredTexts => printedOf({ ...grant, recorded: 0 })
const printedOf = (grant: Grant): StoredTexts => ({
  version: grant.version,
  born: grant.born,
  ask: printAsk(grant.ask),
  decisions: printDecisions(grant),
  head: printHead(grant.head),
})
/** The text with one member of its JSON changed; an undefined value takes it away. */
const edited = (text: string, member: string, value: unknown): string =>
  JSON.stringify({ ...(JSON.parse(text) as object), [member]: value })

/** As the second version wrote it. */
const ASK_2 = {
  v: 2,
  id: born.grant.id,
  intent: {
    tenant: 'northwind',
    entitlement: 'payments-migrator',
    requester: 'vera',
    executor: { principal: 'vera' },
    task: 'migrate',
    session: '',
    target: 'payments-db',
    environment: 'production',
    actions: ['db.migrate'],
    scope: ['schema:payments'],
    dataTypes: [],
    destination: '',
    changeClass: 'normal',
    impact: { dataFlow: false, privilegedAccess: true, resilience: false, externalTransfer: false },
    ticket: { system: 'desk', id: 'CHG-1' },
    window: { opensAt: at, closesAt: at + 3_600_000 },
    credential: { kind: 'jwt', uses: 1 },
  },
  texts: { summary: 'Add a column', expectedOutcome: '', rollback: 'Drop it', ticketUrl: '', planUri: '' },
  digest: `sha-256:${'a'.repeat(43)}`,
  textsDigest: `sha-256:${'b'.repeat(43)}`,
  requesterTenant: 'acme',
  tier: 'elevated',
  rule: { mode: 'people', owners: ['olivia', 'rob'], reviewers: [{ group: 'security', count: 1 }], approvals: 2 },
  credential: { kind: 'jwt', sender: 'dpop', maxLife: 300_000, verifierCache: 30_000 },
  audience: 'https://payments.northwind.example',
  filedAt: at,
  decideBy: at + 1_800_000,
  policy: { revision: 1, digest: `sha-256:${'c'.repeat(43)}` },
  reasons: ['tier elevated'],
  asked: 'hash',
  linked: [],
}
const readAsk = (ask: object) => readGrant(born.grant.id, { ...printed(whole()), ask: JSON.stringify(ask) }).ask

describe('a stored grant', () => {
  it('comes back as it was in every status and with every mint, members that are undefined included', () => {
    for (const status of STATUSES) {
      for (const result of [undefined, { rows: '3' }]) {
        const grant = whole({ ...sampleHead(status, at), mints: sampleMints(at), result } as Grant['head'])
        expect(readGrant(grant.id, printed(grant))).toStrictEqual({ ...grant, recorded: grant.decisions.length })
      }
    }
  })

  it('comes back with what is read or written at any path of Vault', () => {
    const path = { mount: 'aws', path: 'sts/x', method: 'write', parameters: { a: 'b' } } as const
    for (const more of [
      { lifeParameter: 'ttl', endMember: undefined },
      { lifeParameter: undefined, endMember: 'ends' },
    ]) {
      const rule = { kind: 'vault', backend: 'vault-main', engine: 'path', path: { ...path, ...more } } as const
      const { grant } = sampleBirth(nextGrantId(shard(0)), at, { ...rule, maxLife: minutes(5), revocability: 'expiry' })
      expect(readGrant(grant.id, printed(grant))).toStrictEqual(grant)
    }
  })

  it('is not written again with the decisions that were read of it; what was said since is', () => {
    const read = readGrant(born.grant.id, printed(whole()))
    const said = sampleDecision('rob', at)
    const texts = printDecisions({ ...read, decisions: [...read.decisions, said] } as Grant)
    expect(texts.slice(0, -1)).toEqual(read.decisions.map(() => ''))
    expect(JSON.parse(texts.at(-1) ?? '')).toEqual(JSON.parse(JSON.stringify(said)))
  })
  it.each(['again', 'last', 'once'] as const)('is the same however it is read: %s', (reading) => {
    const stored = printed(whole())
    const [first, second] = [readGrant(born.grant.id, stored, reading), readGrant(born.grant.id, stored, reading)]
    expect(first).toStrictEqual(readGrant(born.grant.id, stored))
    expect(second).toStrictEqual(first)
  })

  it('comes back with an event as it was', () => {
    expect(readEvent(printEvent(born.event))).toStrictEqual(born.event)
  })

  it('is refused in a version that this broker does not know, part by part', () => {
    const texts = printed(whole())
    const read = (changed: Partial<StoredTexts>) => () => readGrant(born.grant.id, { ...texts, ...changed })
    expect(read({})).not.toThrow()
    for (const version of [0, 4, '1', undefined]) {
      expect(read({ ask: edited(texts.ask, 'v', version) })).toThrow(/version/)
      expect(read({ head: edited(texts.head, 'v', version) })).toThrow(/version/)
      expect(read({ decisions: texts.decisions.map((text) => edited(text, 'v', version)) })).toThrow(/version/)
      expect(() => readEvent(edited(printEvent(born.event), 'v', version))).toThrow(/version/)
    }
  })

  it('is read in the first version of its ask, which knew nothing of repeated, replaced and linked askings', () => {
    const { asked: _, linked: __, ...first } = ASK_2
    expect(readAsk({ ...first, v: 1 })).toStrictEqual(readAsk({ ...ASK_2, asked: '', linked: [] }))
  })

  it('is read in the second version of its ask, which knew several owners, four impacts and no reviewer roles', () => {
    const { impact, ...intent } = ASK_2.intent
    expect(readAsk(ASK_2)).toStrictEqual({
      ...ASK_2,
      v: 3,
      intent: {
        ...intent,
        executor: { ...intent.executor, key: undefined },
        manifests: { requester: undefined, executor: undefined },
        exposure: undefined,
        change: undefined,
        plan: undefined,
        impact: { ...NO_IMPACT, ...impact },
      },
      texts: { ...ASK_2.texts, objective: '' },
      askers: [],
      flags: [],
      earlier: [],
      lapsesAt: ASK_2.decideBy,
      replaces: undefined,
      rule: {
        mode: 'people',
        owner: 'olivia',
        deputies: [{ person: 'rob', group: undefined, from: ASK_2.filedAt, until: ASK_2.filedAt }],
        reviewers: [{ role: 'security', group: 'security', count: 1, criteria: {}, evidence: [], veto: false }],
        approvals: 2,
        stepUp: false,
      },
    })
  })

  it('is read with decisions of the first version, which were one kind only and whose signature says nothing any more', () => {
    const { v, act, seat, deputyFor, checklist, evidence, conditions, accepts, assertion, ...said } = sampleDecision(
      'olivia',
      at,
    )
    const [read] = readGrant(born.grant.id, {
      ...printed(whole()),
      decisions: [JSON.stringify({ ...said, v: 1 })],
    }).decisions
    const nothing = {
      checklist: [],
      evidence: [],
      conditions: [],
      accepts: [],
      deputyFor: undefined,
      assertion: undefined,
    }
    expect(read).toStrictEqual({ ...said, ...nothing, v: 2, act: 'vote', seat: 'owner' })
  })

  it('is read with a head of the first version, in which an approval was to be used within its window only', () => {
    const read = (head: unknown) => readGrant(born.grant.id, { ...printed(whole()), head: JSON.stringify(head) }).head
    for (const status of STATUSES) {
      const { facts, ...head } = sampleHead(status, at)
      const { useBy, escalatedAt, ...first } = facts as Record<string, unknown>
      const { facts: after, ...same } = read({ ...head, v: 1, facts: first })
      expect(same).toStrictEqual({ ...head, v: 2 })
      const never = 8_640_000_000_000_000
      expect(after).toStrictEqual(useBy === undefined ? facts : { ...facts, useBy: never })
    }
  })

  it('is refused with a member that this broker does not know, or without one that it needs', () => {
    const texts = printed(whole())
    const read = (changed: Partial<StoredTexts>) => () => readGrant(born.grant.id, { ...texts, ...changed })
    expect(read({ ask: edited(texts.ask, 'more', 1) })).toThrow()
    expect(read({ head: edited(texts.head, 'more', 1) })).toThrow()
    expect(read({ decisions: [edited(texts.decisions[0] ?? '', 'more', 1)] })).toThrow()
    expect(() => readEvent(edited(printEvent(born.event), 'more', 1))).toThrow()
    // Without what was asked before, more was asked than is known: that refuses by itself.
    const members = Object.keys(JSON.parse(texts.ask) as object).filter((member) => member !== 'earlier')
    for (const member of members) {
      expect(read({ ask: edited(texts.ask, member, undefined) }), member).toThrow()
      expect(read({ ask: edited(texts.ask, member, null) }), member).toThrow()
    }
  })

  it('is refused with facts of another status', () => {
    const texts = printed(whole())
    const head = edited(texts.head, 'status', 'ended')
    expect(() => readGrant(born.grant.id, { ...texts, head })).toThrow()
  })

  it("is refused under another grant's id", () => {
    expect(() => readGrant(nextGrantId(shard(0)), printed(whole()))).toThrow(/another grant/)
  })
})
