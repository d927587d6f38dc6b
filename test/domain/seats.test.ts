// Who may fill a seat: the owner always, deputies in their order and in their term alone, reviewers by their group.
import { describe, expect, it } from 'vitest'
import type { PeopleRule } from '../../src/domain/entitlement.ts'
import { named, type PersonId } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import { hasPart, type Standing, seatsFor } from '../../src/domain/quorum.ts'
import { deputy, reviewer, ruleOf } from './sample-rules.ts'

const GROUPS: Readonly<Record<string, readonly string[]>> = { dba: ['dora', 'dirk'], empty: [] }
const groupsOf = (person: string) =>
  Object.keys(GROUPS)
    .filter((group) => GROUPS[group]?.includes(person))
    .map(named.group)

interface When {
  readonly at?: number
  readonly escalated?: boolean
  /** Who could not decide even in their turn. */
  readonly barred?: readonly string[]
}
const standing = ({ at = 150, escalated = false, barred = [] }: When): Standing => ({
  at: instant(at),
  escalated,
  isFree: (person) => !barred.includes(person),
  membersOf: (group) => (GROUPS[group] ?? []).map(named.person),
})
/** Of these, who sits as owner. */
const owners = (rule: PeopleRule, when: When, persons = ['olivia', 'ann', 'bert', 'dora', 'dirk', 'zoe']) =>
  persons.filter((one) =>
    seatsFor(rule, { person: named.person(one), groups: groupsOf(one) }, standing(when)).includes('owner'),
  )

describe('the seats of a rule', () => {
  it('a reviewer has the seat of every role whose group they are in, and the owner theirs besides', () => {
    const rule = ruleOf({ reviewers: [reviewer({ role: 'security' }), reviewer({ role: 'privacy' })] })
    const seats = (person: string, ...groups: string[]) =>
      seatsFor(rule, { person: named.person(person), groups: groups.map(named.group) }, standing({}))
    expect(seats('paula', 'security')).toEqual(['security'])
    expect(seats('paula', 'security', 'privacy', 'legal')).toEqual(['security', 'privacy'])
    expect(seats('olivia', 'security')).toEqual(['owner', 'security'])
    expect(seats('olivia')).toEqual(['owner'])
    for (const stranger of [seats('sam'), seats('owner'), seats('security', 'owner')]) expect(stranger).toEqual([])
  })

  it('a deputy has the seat from the beginning of the term until before its end', () => {
    const rule = ruleOf({ deputies: [deputy({ person: 'ann' }, 100, 200)] })
    for (const [at, sits] of [
      [99, ['olivia']],
      [100, ['olivia', 'ann']],
      [199, ['olivia', 'ann']],
      [200, ['olivia']],
      [201, ['olivia']],
    ] as const) {
      expect([at, owners(rule, { at })]).toEqual([at, sits])
      // An escalation lengthens no term.
      expect([at, owners(rule, { at, escalated: true })]).toEqual([at, sits])
    }
    const over = ruleOf({ deputies: [deputy({ person: 'ann' }, 100, 100)] })
    expect(owners(over, { at: 100, escalated: true })).toEqual(['olivia'])
  })

  it('a later deputy has it only where no earlier one could, or once it is escalated', () => {
    const rule = ruleOf({ deputies: [deputy({ person: 'ann' }, 100, 200), deputy({ person: 'bert' }, 0, 900)] })
    expect(owners(rule, {})).toEqual(['olivia', 'ann'])
    expect(owners(rule, { barred: ['ann'] })).toEqual(['olivia', 'ann', 'bert'])
    expect(owners(rule, { escalated: true })).toEqual(['olivia', 'ann', 'bert'])
    // Out of their term the earlier one stands before nobody.
    expect(owners(rule, { at: 200 })).toEqual(['olivia', 'bert'])
    expect(owners(rule, { at: 99 })).toEqual(['olivia', 'bert'])
  })

  it('a group of deputies has it together, and stands before the next while one of it is free', () => {
    const rule = ruleOf({
      deputies: [
        deputy({ group: 'empty' }, 0, 900),
        deputy({ group: 'dba' }, 100, 200),
        deputy({ person: 'bert' }, 0, 900),
      ],
    })
    expect(owners(rule, {})).toEqual(['olivia', 'dora', 'dirk'])
    expect(owners(rule, { barred: ['dora'] })).toEqual(['olivia', 'dora', 'dirk'])
    expect(owners(rule, { barred: ['dora', 'dirk'] })).toContain('bert')
    expect(owners(rule, { at: 200 })).toEqual(['olivia', 'bert'])
    expect(owners(rule, { escalated: true })).toEqual(['olivia', 'bert', 'dora', 'dirk'].toSorted(byListing))
  })

  it('who is named twice has it in either term, and an entry that names nobody gives it to nobody', () => {
    const twice = ruleOf({ deputies: [deputy({ person: 'ann' }, 0, 10), deputy({ person: 'ann' }, 100, 200)] })
    expect(owners(twice, { at: 150 })).toEqual(['olivia', 'ann'])
    expect(owners(twice, { at: 50 })).toEqual(['olivia'])
    const nobody = ruleOf({ deputies: [deputy({}, 0, 900), deputy({ person: 'ann' }, 0, 900)] })
    expect(owners(nobody, {})).toEqual(['olivia', 'ann'])
  })

  it('whoever has a part at any time may see what waits, and nobody else', () => {
    const rule = ruleOf({
      deputies: [deputy({ person: 'ann' }, 100, 200), deputy({ group: 'dba' }, 0, 1)],
      reviewers: [reviewer({ role: 'security' })],
    })
    const part = (person: string, ...groups: string[]) =>
      hasPart(rule, { person: person as PersonId, groups: groups.map(named.group) })
    expect([part('olivia'), part('ann'), part('x', 'dba'), part('x', 'security')]).toEqual([true, true, true, true])
    expect([part('x'), part('dba'), part('x', 'privacy')]).toEqual([false, false, false])
  })
})

const LISTED = ['olivia', 'ann', 'bert', 'dora', 'dirk', 'zoe']
const byListing = (a: string, b: string): number => LISTED.indexOf(a) - LISTED.indexOf(b)
