// Quorum: every seat by another natural person, no number that means nobody, and who may fill a seat when.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PeopleRule, ReviewerRole } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { quorum, type Seat, type Voter } from '../../src/domain/quorum.ts'
import { reviewer, ruleOf } from './sample-rules.ts'

const voter = (person: string, ...seats: Seat[]): Voter => ({ person: named.person(person), seats })
const rule = (roles: readonly [ReviewerRole, number][], approvals = 1): PeopleRule =>
  ruleOf({ approvals, reviewers: roles.map(([role, count]) => reviewer({ role, count })) })

describe('quorum', () => {
  it('nobody is never enough, whatever numbers a rule holds', () => {
    for (const approvals of [0, -1, Number.NaN, 1]) expect(quorum(rule([], approvals), []).met).toBe(false)
    expect(quorum(rule([]), []).met).toBe(false)
  })

  const NO_COUNTS = [0, -1, -0, 0.5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53]
  // What a record that was written by hand might hold.
  const broken = (change: object): PeopleRule => ({ ...rule([['security', 1]], 2), ...change })
  const everybody = [voter('olivia', 'owner'), voter('paula', 'security'), voter('lena', 'owner', 'security')]
  it.each([...NO_COUNTS, undefined, null, '1', '', true, [], {}].map((one) => [one]))(
    '%j persons are never enough',
    (number) => {
      expect(quorum(rule([['security', 1]], 2), everybody).met).toBe(true)
      expect(quorum(broken({ approvals: number }), everybody).met).toBe(false)
      const role = { ...reviewer({ role: 'security' }), count: number } as never
      expect(quorum(broken({ reviewers: [role] }), everybody).met).toBe(false)
      expect(quorum(broken({ reviewers: [role, reviewer({ role: 'privacy' })] }), everybody).met).toBe(false)
      expect(quorum(broken({ reviewers: [role] }), everybody, ['security']).met).toBe(false)
    },
  )

  it('one person in two groups counts once', () => {
    const both = rule([['security', 1]], 2)
    expect(quorum(both, [voter('olivia', 'owner', 'security')]).met).toBe(false)
    const twice = [voter('olivia', 'owner', 'security'), voter('olivia', 'owner', 'security')]
    expect(quorum(both, twice).met).toBe(false)
    expect(quorum(both, [voter('olivia', 'owner', 'security'), voter('paula', 'security')]).met).toBe(true)
  })

  it('a person moves to the seat that nobody else can fill', () => {
    const two = rule([
      ['security', 1],
      ['privacy', 1],
    ])
    expect(quorum(two, [voter('a', 'security', 'privacy'), voter('b', 'security'), voter('o', 'owner')]).met).toBe(true)
    expect(quorum(two, [voter('a', 'security', 'privacy'), voter('o', 'owner')]).missing).toEqual(['privacy'])
  })

  it('strangers fill no seat and do not count towards the number of persons', () => {
    const two = rule([], 2)
    for (const stranger of [voter('stranger'), voter('stranger', 'security')])
      expect(quorum(two, [voter('olivia', 'owner'), stranger])).toEqual({ met: false, missing: ['1 more person'] })
  })

  it('the owner is never waived, and a waived seat is one person less but never nobody', () => {
    const both = rule([['security', 1]], 2)
    expect(quorum(both, [voter('olivia', 'owner')], ['security']).met).toBe(true)
    expect(quorum(both, [voter('paula', 'security')], ['security', 'owner']).missing).toEqual(['owner'])
    expect(quorum(both, [], ['security', 'owner']).met).toBe(false)
    // Of three persons two are left to find: whose seat was waived still counts as one of them.
    const three = rule([['security', 1]], 3)
    expect(quorum(three, [voter('olivia', 'owner')], ['security']).met).toBe(false)
    expect(quorum(three, [voter('olivia', 'owner'), voter('paula', 'security')], ['security']).met).toBe(true)
  })

  it('is met exactly when every seat can have a person of its own (against brute force)', () => {
    const people = ['a', 'b', 'c', 'd']
    const seats: readonly Seat[] = ['owner', 'security', 'privacy']
    const arbitrary = fc.record({
      roles: fc.subarray([
        ['security', 1],
        ['privacy', 1],
        ['privacy', 2],
      ] as [ReviewerRole, number][]),
      approvals: fc.integer({ min: 1, max: 4 }),
      accepted: fc.subarray([...seats]),
      voters: fc
        .subarray(people)
        .chain((chosen) =>
          fc.tuple(...chosen.map((name) => fc.subarray([...seats]).map((fits) => voter(name, ...fits)))),
        ),
    })
    const seated = (wanted: readonly Seat[], free: readonly Voter[]): boolean => {
      const [seat, ...rest] = wanted
      if (seat === undefined) return true
      return free.some(
        (who) =>
          who.seats.includes(seat) &&
          seated(
            rest,
            free.filter((other) => other !== who),
          ),
      )
    }
    fc.assert(
      fc.property(arbitrary, ({ roles, approvals, accepted, voters }) => {
        const all: readonly Seat[] = ['owner', ...roles.flatMap(([role, count]) => Array<Seat>(count).fill(role))]
        const wanted = all.filter((seat) => seat === 'owner' || !accepted.includes(seat))
        const persons = voters.filter((who) => who.seats.some((seat) => all.includes(seat))).length
        const enough = persons >= Math.max(1, approvals - (all.length - wanted.length))
        expect(quorum(rule(roles, approvals), voters, accepted).met).toBe(enough && seated(wanted, voters))
      }),
      { numRuns: 5_000 },
    )
  })
})
