// Authors as persons: nobody gets out of being one through an agent, a workload or a second account.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { authorPersons, isAuthor } from '../../src/domain/authorship.ts'
import { named } from '../../src/domain/ids.ts'
import { type Principal, personsBehind } from '../../src/domain/principal.ts'

const NAMES = ['ana', 'ben', 'cleo', 'dan', 'eva', 'finn']
const tenant = named.tenant('northwind')
const person = (id: string): Principal => ({
  kind: 'person',
  id: named.principal(id),
  person: named.person(id),
  tenant,
  groups: [],
})
const answeredFor = (kind: 'agent' | 'workload', id: string, sponsors: readonly string[]): Principal => ({
  kind,
  id: named.principal(`${id}-${kind}`),
  tenant,
  groups: [],
  sponsors: sponsors.map(named.person),
})
const somebody = fc.constantFrom(...NAMES)
const principal = fc.oneof(
  somebody.map(person),
  fc
    .tuple(fc.constantFrom('agent' as const, 'workload' as const), somebody, fc.uniqueArray(somebody, { minLength: 1 }))
    .map(([kind, id, sponsors]) => answeredFor(kind, id, sponsors)),
)

describe('authorship', () => {
  it('is that of every person behind an author, sorted and once', () => {
    const robot = answeredFor('agent', 'bot', ['eva', 'ben'])
    expect(authorPersons([person('dan'), robot, person('ben')])).toEqual(['ben', 'dan', 'eva'])
    expect(authorPersons([])).toEqual([])
  })

  it('is of an agent itself, of its sponsors and of their other agents', () => {
    const authors = [answeredFor('agent', 'bot', ['eva'])]
    expect(isAuthor(answeredFor('agent', 'bot', ['eva']), authors)).toBe(true)
    // The same id stays an author also where the directory names others for it by now.
    expect(isAuthor(answeredFor('agent', 'bot', ['ben']), authors)).toBe(true)
    expect(isAuthor(person('eva'), authors)).toBe(true)
    expect(isAuthor(answeredFor('workload', 'pipeline', ['eva', 'ben']), authors)).toBe(true)
    expect(isAuthor(answeredFor('workload', 'pipeline', ['ben']), authors)).toBe(false)
    expect(isAuthor(person('ben'), authors)).toBe(false)
  })

  it('is shared by no two principals exactly where they share neither id nor person', () => {
    fc.assert(
      fc.property(fc.array(principal, { maxLength: 4 }), principal, (authors, other) => {
        const shares = authors.some(
          (author) => author.id === other.id || personsBehind(author).some((one) => personsBehind(other).includes(one)),
        )
        expect(isAuthor(other, authors)).toBe(shares)
      }),
      { numRuns: 5_000 },
    )
  })
})
