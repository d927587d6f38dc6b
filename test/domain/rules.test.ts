// Quorum, separation of duties, lifecycle, digest: the rules that decide, on tables and random input.
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { conflictOf } from '../../src/domain/duties.ts'
import type { PeopleRule } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import { type Intent, intentDigest, semantic, textsDigest } from '../../src/domain/intent.ts'
import { isTerminal, LIFECYCLE, mintMayGo, OVERDUE, STATUSES } from '../../src/domain/lifecycle.ts'
import type { Agent, Person, Principal, Workload } from '../../src/domain/principal.ts'
import { isEligible, quorum, type Voter } from '../../src/domain/quorum.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')
const voter = (person: string, ...groups: string[]): Voter => ({
  person: named.person(person),
  groups: groups.map(named.group),
})
const rule = (owners: string[], reviewers: [string, number][], approvals = 1): PeopleRule => ({
  mode: 'people',
  owners: owners.map(named.person),
  reviewers: reviewers.map(([group, count]) => ({ group: named.group(group), count })),
  approvals,
})

describe('quorum', () => {
  it('nobody is never enough, whatever numbers a rule holds', () => {
    for (const approvals of [0, -1, Number.NaN, 1]) expect(quorum({ ...rule([], []), approvals }, []).met).toBe(false)
    expect(quorum(rule(['olivia'], []), []).met).toBe(false)
  })

  it('one person in two groups counts once', () => {
    const both = rule(['olivia'], [['security', 1]], 2)
    expect(quorum(both, [voter('olivia', 'security')]).met).toBe(false)
    expect(quorum(both, [voter('olivia', 'security'), voter('olivia', 'security')]).met).toBe(false)
    expect(quorum(both, [voter('olivia', 'security'), voter('paula', 'security')]).met).toBe(true)
  })

  it('a person moves to the seat that nobody else can fill', () => {
    const two = rule(
      ['olivia'],
      [
        ['security', 1],
        ['privacy', 1],
      ],
    )
    expect(quorum(two, [voter('a', 'security', 'privacy'), voter('b', 'security'), voter('olivia')]).met).toBe(true)
    expect(quorum(two, [voter('a', 'security', 'privacy'), voter('olivia')]).missing).toEqual(['group privacy'])
  })

  it('strangers fill no seat and do not count towards the number of persons', () => {
    expect(quorum(rule(['olivia'], [], 2), [voter('olivia'), voter('stranger')]).missing).toEqual(['1 more person'])
    expect(isEligible(rule(['olivia'], []), voter('stranger'))).toBe(false)
  })

  it('is met exactly when every seat can have a person of its own (against brute force)', () => {
    const people = ['a', 'b', 'c', 'd']
    const groups = ['g', 'h']
    const arbitrary = fc.record({
      owners: fc.subarray(people, { minLength: 1 }),
      reviewers: fc.subarray([
        ['g', 1],
        ['h', 1],
        ['g', 2],
      ] as [string, number][]),
      voters: fc
        .subarray(people)
        .chain((chosen) =>
          fc.tuple(...chosen.map((name) => fc.subarray(groups).map((member) => voter(name, ...member)))),
        ),
    })
    const seated = (seats: readonly ((who: Voter) => boolean)[], free: readonly Voter[]): boolean => {
      const [seat, ...rest] = seats
      if (seat === undefined) return true
      return free.some(
        (who) =>
          seat(who) &&
          seated(
            rest,
            free.filter((other) => other !== who),
          ),
      )
    }
    fc.assert(
      fc.property(arbitrary, ({ owners, reviewers, voters }) => {
        const seats = [
          (who: Voter) => owners.includes(who.person),
          ...reviewers.flatMap(([group, count]) =>
            Array.from({ length: count }, () => (who: Voter) => who.groups.includes(named.group(group))),
          ),
        ]
        expect(quorum(rule(owners, reviewers), voters).met).toBe(voters.length > 0 && seated(seats, voters))
      }),
      { numRuns: 2_000 },
    )
  })
})

const known = (id: string) => ({ id: named.principal(id), tenant: named.tenant('t'), groups: [] })
const person = (id: string): Person => ({ ...known(id), kind: 'person', person: named.person(id) })
const agent = (id: string, ...sponsors: string[]): Agent => ({
  ...known(id),
  kind: 'agent',
  sponsors: sponsors.map(named.person),
})
const workload = (id: string, ...sponsors: string[]): Workload => ({
  ...known(id),
  kind: 'workload',
  sponsors: sponsors.map(named.person),
})

describe('separation of duties', () => {
  const cases: [Principal, Principal, Principal, string | undefined][] = [
    [person('vera'), person('vera'), person('vera'), 'requester'],
    [person('vera'), agent('bot', 'vera'), agent('bot', 'vera'), 'requester_sponsor'],
    [person('dana'), person('rob'), workload('ci', 'dana'), 'executor_sponsor'],
    [person('dana'), person('rob'), person('dana'), 'executor'],
    [agent('bot', 'vera'), person('vera'), person('vera'), 'requester'],
    [agent('bot', 'sam'), person('vera'), person('vera'), 'not_a_person'],
    [workload('ci', 'sam'), person('vera'), person('vera'), 'not_a_person'],
    [person('olivia'), person('vera'), workload('ci', 'dana'), undefined],
  ]
  it.each(cases)('%o on what %o asks and %o executes', (approver, requester, executor, conflict) => {
    expect(conflictOf(approver, requester, executor)?.conflict).toBe(conflict)
  })

  it('an approver without a conflict is always a person with nobody in common with the parties', () => {
    const name = fc.constantFrom('a', 'b', 'c')
    const any: fc.Arbitrary<Principal> = fc.oneof(
      name.map(person),
      fc.tuple(name, name).map(([id, sponsor]) => agent(`agent-${id}`, sponsor)),
      fc.tuple(name, name, name).map(([id, one, two]) => workload(`work-${id}`, one, two)),
    )
    const behind = (who: Principal): readonly string[] => (who.kind === 'person' ? [who.person] : who.sponsors)
    fc.assert(
      fc.property(any, any, any, (approver, requester, executor) => {
        const free = conflictOf(approver, requester, executor) === undefined
        const clash = behind(approver).some((one) => [...behind(requester), ...behind(executor)].includes(one))
        expect(free).toBe(approver.kind === 'person' && !clash)
      }),
    )
  })
})

describe('lifecycle', () => {
  it('leads from everywhere to an end, and from an end nowhere', () => {
    const ends = STATUSES.filter(isTerminal)
    expect(ends.sort()).toEqual(['denied', 'ended', 'lapsed', 'withdrawn'])
    const reaches = (from: keyof typeof LIFECYCLE, seen = new Set<string>()): boolean =>
      isTerminal(from) || LIFECYCLE[from].some((to) => !seen.has(to) && reaches(to, new Set(seen).add(to)))
    for (const status of STATUSES) expect(reaches(status), status).toBe(true)
  })

  it('lets a mint be born claimed or live, never come back, and end closed', () => {
    const statuses = ['none', 'claimed', 'opened', 'live', 'closing', 'closed'] as const
    const edges = statuses.flatMap((from) => statuses.filter((to) => mintMayGo(from, to)).map((to) => `${from}>${to}`))
    expect(edges).toEqual([
      'none>claimed',
      'none>live',
      'claimed>opened',
      'claimed>closing',
      'claimed>closed',
      'opened>live',
      'opened>closing',
      'live>closing',
      'live>closed',
      'closing>closed',
    ])
  })

  it('has an answer to a passed deadline for every status that is not final', () => {
    for (const status of STATUSES) expect(OVERDUE[status] === 'nothing').toBe(isTerminal(status))
  })
})

const intent: Intent = {
  tenant: named.tenant('northwind'),
  entitlement: named.entitlement('payments-migrator'),
  requester: named.principal('vera'),
  executor: { principal: named.principal('vera'), key: undefined },
  task: 'CHG0031337',
  session: '',
  target: 'payments-db',
  environment: 'production',
  actions: ['db.migrate'],
  scope: ['schema:payments'],
  dataTypes: ['pii'],
  destination: '',
  changeClass: 'normal',
  impact: { dataFlow: false, privilegedAccess: true, resilience: false, externalTransfer: false },
  plan: undefined,
  ticket: { system: 'servicenow', id: 'CHG0031337' },
  window: { opensAt: instant(1_795_298_400_000), closesAt: instant(1_795_302_000_000) },
  credential: { kind: 'vault', uses: 1 },
}
const ISSUER = 'https://broker.example'

describe('intent digest', () => {
  it('is the golden value, made by hand from the documented form', () => {
    const text =
      '{"iss":"https://broker.example","typ":"writ/intent/v1","value":{"actions":["db.migrate"],"changeClass":"normal","credential":{"kind":"vault","uses":1},' +
      '"dataTypes":["pii"],"destination":"","entitlement":"payments-migrator","environment":"production","executor":{"principal":"vera"},' +
      '"impact":{"dataFlow":false,"externalTransfer":false,"privilegedAccess":true,"resilience":false},"requester":"vera","scope":["schema:payments"],' +
      '"session":"","target":"payments-db","task":"CHG0031337","tenant":"northwind","ticket":{"id":"CHG0031337","system":"servicenow"},' +
      '"window":{"closesAt":1795302000000,"opensAt":1795298400000}}}'
    expect(intentDigest(intent, ISSUER, sha256)).toBe(`sha-256:${sha256(text)}`)
  })

  it('changes with every semantic member, and not with order or repetition in a set', () => {
    const base = intentDigest(intent, ISSUER, sha256)
    const changed: readonly Partial<Intent>[] = [
      { tenant: named.tenant('acme') },
      { entitlement: named.entitlement('other') },
      { requester: named.principal('rob') },
      { executor: { principal: named.principal('rob'), key: undefined } },
      { task: 'x' },
      { session: 'run-1' },
      { target: 'x' },
      { environment: 'staging' },
      { actions: ['x'] },
      { scope: [] },
      { dataTypes: [] },
      { destination: 'x' },
      { changeClass: 'emergency' },
      { impact: { ...intent.impact, dataFlow: true } },
      { plan: { digest: base, mediaType: 'application/json' } },
      { ticket: undefined },
      { window: { ...intent.window, closesAt: instant(intent.window.closesAt + 1) } },
      { credential: { kind: 'vault', uses: 2 } },
    ]
    expect(new Set(changed.flatMap((part) => Object.keys(part)))).toEqual(new Set(Object.keys(semantic(intent))))
    const digests = changed.map((part) => intentDigest({ ...intent, ...part }, ISSUER, sha256))
    expect(new Set([base, ...digests]).size).toBe(changed.length + 1)
    expect(intentDigest({ ...intent, dataTypes: ['pii', 'pii'] }, ISSUER, sha256)).toBe(base)
    expect(intentDigest(intent, 'https://other.example', sha256)).not.toBe(base)
  })

  it('texts have a digest of their own', () => {
    const texts = { summary: 'a', expectedOutcome: 'b', rollback: 'c', ticketUrl: '', planUri: '' }
    expect(textsDigest(texts, ISSUER, sha256)).not.toBe(textsDigest({ ...texts, rollback: 'd' }, ISSUER, sha256))
  })
})
