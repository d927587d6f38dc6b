// What decisions amount to: nothing that is missing, negative, open, taken back, copied or over ever counts as a yes.
import { describe, expect, it } from 'vitest'
import type {
  Acceptance,
  Closure,
  Condition,
  Decision,
  Evidence,
  Retraction,
  Verdict,
  Vote,
} from '../../src/domain/decision.ts'
import type { PeopleRule } from '../../src/domain/entitlement.ts'
import { type Digest, named } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import type { Seat } from '../../src/domain/quorum.ts'
import { lacks, risksOf, tally } from '../../src/domain/reviews.ts'
import { reviewer, ruleOf } from './sample-rules.ts'

const about = {
  v: 2,
  reason: 'because',
  at: instant(1),
  digest: 'd' as Digest,
  textsDigest: 't' as Digest,
  policyDigest: 'p' as Digest,
  peopleDigest: 'q' as Digest,
  assertion: undefined,
} as const
let signed = 0
const signature = (): string => `k1.${++signed}`

const vote = (by: string, seat: Seat, verdict: Verdict = 'approve', change: Partial<Vote> = {}): Vote => ({
  ...about,
  act: 'vote',
  by: named.person(by),
  seat,
  verdict,
  deputyFor: undefined,
  checklist: [],
  evidence: [],
  conditions: [],
  accepts: [],
  signature: signature(),
  ...change,
})
const accept = (by: string, risk: string, until = 100): Acceptance => ({
  ...about,
  act: 'accept',
  by: named.person(by),
  accepts: [{ risk, until: instant(until) }],
  signature: signature(),
})
const close = (by: string, condition: string): Closure => ({
  ...about,
  act: 'close',
  by: named.person(by),
  condition,
  evidence: [],
  signature: signature(),
})
const retract = (of: Vote): Retraction => ({
  ...about,
  act: 'retract',
  by: of.by,
  vote: of.signature,
  signature: signature(),
})
const condition = (id: string): Condition => ({ id, text: 'first', owner: named.person('dana'), due: instant(50) })

const SEATS: Readonly<Record<string, readonly Seat[]>> = {
  olivia: ['owner'],
  paula: ['security'],
  peter: ['security'],
  petra: ['privacy'],
  both: ['owner', 'security'],
}
const sits = (person: string, seat: Seat): boolean => SEATS[person]?.includes(seat) ?? false
const rule = ruleOf({ approvals: 2, reviewers: [reviewer({ role: 'security' })] })
const vetoing = ruleOf({ approvals: 2, reviewers: [reviewer({ role: 'security', veto: true })] })
const of = (decisions: readonly Decision[], on: { rule?: PeopleRule; now?: Instant; without?: string } = {}) =>
  tally(
    on.rule ?? rule,
    decisions,
    (person, seat) => person !== on.without && sits(person, seat),
    on.now ?? instant(10),
  )

const owner = vote('olivia', 'owner')
const security = vote('paula', 'security')
const no = vote('paula', 'security', 'deny')

describe('the tally', () => {
  it('is met by owner and reviewer, and by neither alone', () => {
    expect(of([])).toMatchObject({ met: false, missing: ['owner', 'security'] })
    expect(of([owner])).toMatchObject({ met: false, missing: ['security'] })
    expect(of([security])).toMatchObject({ met: false, missing: ['owner'] })
    expect(of([security, owner])).toEqual({ met: true, missing: [], negative: [], vetoed: [], open: [] })
  })

  it('counts nobody who may not sit there, whatever seat the vote names', () => {
    for (const stranger of [vote('sam', 'security'), vote('olivia', 'security'), vote('petra', 'security')])
      expect(of([owner, stranger]).met).toBe(false)
    expect(of([owner, security], { without: 'paula' }).missing).toEqual(['security'])
    expect(of([owner, security], { without: 'olivia' }).missing).toEqual(['owner'])
    const policy = vote('x', 'owner', 'approve', { by: 'policy', seat: 'policy' })
    expect(of([policy, security]).met).toBe(false)
    expect(of([{ ...policy, seat: 'owner' }, security]).met).toBe(false)
    expect(of([owner, { ...policy, seat: 'security' }]).met).toBe(false)
  })

  it('seats one person once, whatever they voted as', () => {
    expect(of([vote('both', 'owner'), vote('both', 'security')]).met).toBe(false)
    expect(of([vote('both', 'owner'), security]).met).toBe(true)
  })

  it('a no stands beside a yes of the same role, also after who said it has left', () => {
    const other = vote('peter', 'security')
    for (const decisions of [
      [owner, no, other],
      [other, no, owner],
    ]) {
      expect(of(decisions)).toMatchObject({ met: false, negative: ['security'], vetoed: [] })
      expect(of(decisions, { without: 'paula' })).toMatchObject({ met: false, negative: ['security'] })
    }
    expect(of([owner, no, other, retract(no)])).toMatchObject({ met: true, negative: [] })
  })

  it('with criteria and evidence a yes counts only with all of them, and a note is evidence of no kind', () => {
    const role = reviewer({ role: 'security', criteria: { a: 'A.', b: 'B.' }, evidence: ['threat-model'] })
    const strict = ruleOf({ approvals: 2, reviewers: [role] })
    const model: Evidence = { kind: 'threat-model', url: 'https://docs.example/t', digest: 'sha-256:x' as Digest }
    const other: Evidence = { ...model, kind: 'test-results' }
    const met = (checklist: readonly string[], evidence: readonly Evidence[]) =>
      of([owner, vote('paula', 'security', 'approve', { checklist, evidence })], { rule: strict }).met
    expect(met(['b', 'a'], [other, model])).toBe(true)
    expect(met(['a'], [model])).toBe(false)
    expect(met(['a', 'b'], [])).toBe(false)
    expect(met(['a', 'b'], [other])).toBe(false)
    expect(met(['a', 'b'], [{ kind: 'note', text: 'threat-model' }])).toBe(false)
    expect(lacks(role, { checklist: ['a'], evidence: [other] })).toEqual(['criterion b', 'evidence threat-model'])
    expect(lacks(undefined, { checklist: [], evidence: [] })).toEqual([])
  })
})

describe('a risk that the owner takes', () => {
  const accepting = (until: number, risk = 'review:security') =>
    vote('olivia', 'owner', 'approve', { accepts: [{ risk, until: instant(until) }] })

  it('stands for a review that is missing or negative, until its time', () => {
    for (const taken of [[accepting(100)], [owner, accept('olivia', 'review:security')]]) {
      expect(of(taken).met).toBe(true)
      expect(of([no, ...taken])).toMatchObject({ met: true, negative: [] })
      expect(of(taken, { now: instant(99) }).met).toBe(true)
      for (const now of [100, 101]) {
        expect(of(taken, { now: instant(now) }).missing).toEqual(['security'])
        expect(of([no, ...taken], { now: instant(now) })).toMatchObject({ met: false, negative: ['security'] })
      }
    }
  })
  it('stands for nothing else', () => {
    for (const risk of ['review:privacy', 'review:owner', 'security', 'review:', 'condition:security', ''])
      expect(of([accepting(100, risk)]).met).toBe(false)
    expect(of([accept('olivia', 'review:security')]).missing).toEqual(['owner'])
  })
  it('is taken by nobody else, not by an owner who is one no more, and not with a no', () => {
    for (const other of ['paula', 'sam', 'petra']) expect(of([owner, accept(other, 'review:security')]).met).toBe(false)
    const reviewing = vote('petra', 'privacy', 'approve', { accepts: accepting(100).accepts })
    expect(of([owner, reviewing]).met).toBe(false)
    const taken = [vote('both', 'owner'), accept('olivia', 'review:security')]
    expect(of(taken).met).toBe(true)
    expect(of(taken, { without: 'olivia' }).met).toBe(false)
    const refusing = { ...accepting(100), verdict: 'deny' as const, signature: signature() }
    expect(of([vote('both', 'owner'), refusing]).met).toBe(false)
  })
  it('goes with the vote it was taken in', () => {
    const taken = accepting(100)
    expect(of([taken, retract(taken), owner]).missing).toEqual(['security'])
  })
  it('never stands where the role has a veto', () => {
    for (const decisions of [
      [accepting(100)],
      [no, accepting(100)],
      [no, owner, accept('olivia', 'review:security')],
      [no, vote('peter', 'security'), accepting(100)],
    ])
      expect(of(decisions, { rule: vetoing }).met).toBe(false)
    expect(of([no, accepting(100)], { rule: vetoing }).vetoed).toEqual(['security'])
    expect(of([no, accepting(100)], { rule: vetoing, without: 'paula' }).vetoed).toEqual(['security'])
    expect(of([owner, security], { rule: vetoing })).toMatchObject({ met: true, vetoed: [] })
  })
  it('can be taken of what is there to be taken', () => {
    const open = vote('paula', 'security', 'approve', { conditions: [condition('c1'), condition('c2')] })
    expect(risksOf(rule, [])).toEqual(['review:security'])
    expect(risksOf(rule, [open, close('paula', 'c1')])).toEqual(['review:security', 'condition:c2'])
    expect(risksOf(rule, [open, retract(open)])).toEqual(['review:security'])
    expect(risksOf(vetoing, [open])).toEqual([])
  })
})

describe('a condition', () => {
  const maybe = vote('paula', 'security', 'approve', { conditions: [condition('c1'), condition('c2')] })
  const open = (decisions: readonly Decision[], on: Parameters<typeof of>[1] = {}) =>
    of(decisions, on).open.map(({ id }) => id)

  it('is open until its reviewer closes it, also when it is due', () => {
    expect(of([maybe, owner])).toMatchObject({ met: true, open: [{ id: 'c1', by: 'paula', seat: 'security' }, {}] })
    expect(open([maybe, owner], { now: instant(1_000) })).toEqual(['c1', 'c2'])
    expect(open([maybe, owner, close('paula', 'c1')])).toEqual(['c2'])
    expect(open([maybe, owner, close('paula', 'c1'), close('paula', 'c2')])).toEqual([])
  })
  it('is closed by nobody else: not by another reviewer, its owner in name, the owner or a stranger', () => {
    for (const other of ['peter', 'dana', 'olivia', 'sam'])
      expect(open([maybe, owner, close(other, 'c1'), close(other, 'c2')])).toEqual(['c1', 'c2'])
    for (const id of ['c3', '', 'condition:c1']) expect(open([maybe, owner, close('paula', id)])).toEqual(['c1', 'c2'])
  })
  it('is accepted by the owner until a time, by name, and not where the role has a veto', () => {
    const accepted = [maybe, owner, accept('olivia', 'condition:c1')]
    expect(open(accepted)).toEqual(['c2'])
    expect(open(accepted, { now: instant(100) })).toEqual(['c1', 'c2'])
    expect(open(accepted, { rule: vetoing })).toEqual(['c1', 'c2'])
    for (const other of ['paula', 'peter', 'dana'])
      expect(open([maybe, owner, accept(other, 'condition:c1')])).toEqual(['c1', 'c2'])
  })
  it('stays open when who made it has left and another says yes', () => {
    const decisions = [maybe, vote('peter', 'security'), owner]
    expect(open(decisions, { without: 'paula' })).toEqual(['c1', 'c2'])
    expect(of(decisions, { without: 'paula' }).met).toBe(true)
    expect(open([...decisions, close('paula', 'c1')], { without: 'paula' })).toEqual(['c2'])
    expect(open([...decisions, accept('olivia', 'condition:c1')], { without: 'paula' })).toEqual(['c2'])
  })
  it('stays open when its review no longer says enough and another does', () => {
    const role = reviewer({ role: 'security', criteria: { a: 'A.' } })
    const stricter = ruleOf({ approvals: 2, reviewers: [role] })
    const full = vote('peter', 'security', 'approve', { checklist: ['a'] })
    expect(open([maybe, full, owner], { rule: stricter })).toEqual(['c1', 'c2'])
  })
  it('goes with the vote it was made in', () => {
    expect(open([maybe, owner, retract(maybe)])).toEqual([])
    expect(of([maybe, owner, retract(maybe)]).missing).toEqual(['security'])
  })
  it('of the owner holds too', () => {
    const owning = vote('olivia', 'owner', 'approve', { conditions: [condition('c9')] })
    expect(open([security, owning])).toEqual(['c9'])
    expect(open([security, owning, close('olivia', 'c9')])).toEqual([])
  })
})

describe('votes that were taken back or copied', () => {
  it('count no more, also when they are written again, before or behind', () => {
    const back = retract(security)
    for (const decisions of [
      [owner, security, back],
      [owner, security, back, security],
      [owner, back, security],
      [security, security, owner, back, { ...security }],
    ])
      expect(of(decisions).missing).toEqual(['security'])
    expect(of([owner, security, back, vote('paula', 'security')]).met).toBe(true)
  })
  it('count once: a copy makes no second person', () => {
    const two = ruleOf({ approvals: 3, reviewers: [reviewer({ role: 'security', count: 2 })] })
    expect(of([owner, security, { ...security }, security], { rule: two }).met).toBe(false)
    expect(of([owner, security, vote('paula', 'security')], { rule: two }).met).toBe(false)
    expect(of([owner, security, vote('peter', 'security')], { rule: two }).met).toBe(true)
  })
  it('the other decisions of the same person stay when one is taken back', () => {
    const again = vote('paula', 'security')
    expect(of([owner, security, again, retract(security)]).met).toBe(true)
    expect(of([owner, no, security, retract(security)])).toMatchObject({ met: false, negative: ['security'] })
  })
})
