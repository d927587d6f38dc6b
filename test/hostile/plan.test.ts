// The table, the samples and the order, without a broker: that nothing that the API document knows is left out.
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { openApiDocument } from '../../src/http/openapi.ts'
import { ISSUER } from '../support/world.ts'
import { BAD_MEMBERS, BAD_VALUES, BAD_WHOLES, bytesOf, type Place } from './bad-values.ts'
import { fieldsOf, isDoc, nameOf, operationsOf } from './fields.ts'
import { askedFor } from './main.ts'
import { OAUTH_VALUES } from './oauth-values.ts'
import { refusals } from './oracle.ts'
import { planOf } from './plan.ts'
import { badnessesOf, holds, requestOf, written } from './requests.ts'
import { ROLES, ROWS, rowOf } from './samples.ts'

const parsed: unknown = JSON.parse(JSON.stringify(openApiDocument(ISSUER)))
if (!isDoc(parsed)) throw new Error('no API document')
const document = parsed
const operations = operationsOf(document)

const making = {
  seed: {
    id: `g0-${'a'.repeat(26)}`,
    digest: `sha-256:${'A'.repeat(43)}`,
    ticket: { system: 'desk', id: 'CHG-1' },
    ...{ condition: 'abcdefghijkl', question: '1', freeze: `f-${'a'.repeat(26)}`, jti: 'jti-1', token: 'a.b.c' },
    ...{ list: '0-0', position: '0.0-1', place: '0-0', cursor: 'a' },
  },
  ...{ n: 1, now: Date.UTC(2026, 10, 26), subject: 'a.b.c', assertion: 'a.b.c' },
}

describe('the table', () => {
  it('has more than 45 values for every place, each with a name of its own', () => {
    for (const place of ['path', 'query', 'header', 'body', 'form'] satisfies readonly Place[])
      expect(BAD_VALUES.filter(({ places }) => places?.includes(place) ?? true).length, place).toBeGreaterThanOrEqual(
        90,
      )
    for (const table of [BAD_VALUES, BAD_MEMBERS, BAD_WHOLES] satisfies readonly (readonly {
      readonly name: string
    }[])[])
      expect(new Set(table.map(({ name }) => name)).size).toBe(table.length)
    expect(new Set(OAUTH_VALUES.map(({ operation, name }) => `${operation} ${name}`)).size).toBe(OAUTH_VALUES.length)
    expect(OAUTH_VALUES.length).toBeGreaterThanOrEqual(150)
  })

  it('can say every value as bytes where it is said as bytes', () => {
    for (const value of BAD_VALUES) {
      if (value.places?.includes('path') ?? true) expect(bytesOf(value), value.name).toMatch(/^[\0-\xff]*$/)
    }
  })

  it('writes one place of a body otherwise, and leaves the rest to the byte', () => {
    const body = { a: 1, b: { c: ['x', 'y'], d: null } }
    expect(written(body, ['b', 'c', '1'], { value: '1e999' })).toBe('{"a":1,"b":{"c":["x",1e999],"d":null}}')
    const [missing, twice, escaped] = BAD_MEMBERS
    expect(written(body, ['b', 'c'], { member: missing?.write ?? String })).toBe('{"a":1,"b":{"d":null}}')
    expect(written(body, ['a'], { member: twice?.write ?? String })).toBe('{"a":1,"a":1,"b":{"c":["x","y"],"d":null}}')
    expect(written(body, ['a'], { member: escaped?.write ?? String })).toContain('"a":1,"\\u0061":1')
  })
})

describe('the samples', () => {
  const ajv = new Ajv2020({ strict: false, validateSchema: false })
  formats.default(ajv)
  ajv.addSchema({ ...document, $id: 'writ' })

  it('are there for every operation that the document knows, and for no other', () => {
    expect(Object.keys(ROWS).toSorted()).toEqual(operations.map(({ id }) => id).toSorted())
  })

  it.each(operations.map((one) => [one.id, one] as const))(
    'of %s say every field, and fit their schema',
    (id, operation) => {
      const samples = rowOf(id).samples(making)
      const unsaid = fieldsOf(document, operation).filter((field) => !samples.some((sample) => holds(sample, field)))
      expect(unsaid.map(nameOf)).toEqual([])
      if (operation.body === undefined) return
      const valid = ajv.compile({ $ref: `writ#${operation.pointer}` })
      for (const { body, form } of samples) expect([valid(body ?? form), valid.errors]).toEqual([true, null])
    },
  )

  it('are sent as they are where nothing is wrong', () => {
    const operation = operations.find(({ id }) => id === 'answer')
    if (operation === undefined) throw new Error('no such operation')
    const [sample = {}] = rowOf('answer').samples(making)
    const sent = requestOf(operation, sample, 'Bearer a')
    expect([sent.target, sent.body?.toString()]).toEqual([
      `/v1/grants/g0-${'a'.repeat(26)}/questions/1/answer`,
      '{"text":"Nobody is there."}',
    ])
  })
})

describe('what the document refuses', () => {
  const operation = operations.find(({ id }) => id === 'report_uses')
  if (operation === undefined) throw new Error('no such operation')
  const target = fieldsOf(document, operation).find(({ at }) => at.at(-1) === 'target')
  if (target === undefined) throw new Error('no such field')
  const isRefusal = refusals(document)
  const isRefused = (name: string, jti: string): boolean => {
    const [sample = {}] = rowOf('report_uses').samples({ ...making, seed: { ...making.seed, jti } })
    const bad = badnessesOf(target, operation).find((one) => one.name === name)
    if (bad === undefined) throw new Error('no such field or value')
    return isRefusal(operation, target, bad, requestOf(operation, sample, 'Bearer a', { field: target, bad }))
  }
  // A jti is chosen by chance: once one had these four characters, and a good request was taken for a number that is none.
  it.each(['jti-1', 'da6cee16-56f7-4a6c-9117-d967e423e999'])(
    'is told by what is wrong, not by a jti like %s',
    (jti) => {
      expect(isRefused('letters that look like others', jti)).toBe(false)
      for (const name of ['a number too large for doubles', 'the same member twice', 'twice', 'NaN'])
        expect([name, isRefused(name, jti)]).toEqual([name, true])
    },
  )
})

describe('the order', () => {
  const plan = planOf(document, 1, (id) => id === 'answer' || id === 'whoami')
  const many = plan.combinations.length
  const named = (n: number, by = plan): string => {
    const { operation, field, bad, role } = by.at(n)
    return `${role} ${operation.id} ${nameOf(field)} ${bad.name}`
  }

  it('meets every field with every bad value once before it meets one again', () => {
    const first = Array.from({ length: many }, (_, n) => named(n))
    expect(new Set(first).size).toBe(many)
  })

  it('begins with who is let in, then comes to every other role, then to two things at once', () => {
    const rolesIn = (round: number): ReadonlySet<string> =>
      new Set(Array.from({ length: many }, (_, n) => plan.at(round * many + n).role))
    expect([...rolesIn(0)]).toEqual(['requester'])
    expect(rolesIn(1).size).toBe(ROLES.length - 1)
    const all = new Set(Array.from({ length: many * ROLES.length }, (_, n) => named(n)))
    expect(all.size).toBe(plan.product)
    expect(plan.at(many * ROLES.length).also).toBeDefined()
  })

  it('is the same for the same seed, and another for another', () => {
    const other = planOf(document, 2, (id) => id === 'answer' || id === 'whoami')
    const same = planOf(document, 1, (id) => id === 'answer' || id === 'whoami')
    expect(Array.from({ length: 50 }, (_, n) => named(n, same))).toEqual(Array.from({ length: 50 }, (_, n) => named(n)))
    expect(Array.from({ length: 50 }, (_, n) => named(n, other))).not.toEqual(
      Array.from({ length: 50 }, (_, n) => named(n)),
    )
  })
})

describe('the command line', () => {
  it('is taken as it is meant', () => {
    expect(askedFor([])).toEqual({ requests: 20_000, seed: 1, json: false })
    expect(askedFor(['--requests', '5', '--seed', '7', '--json'])).toEqual({ requests: 5, seed: 7, json: true })
  })
  it.each([
    ['--requests', '0'],
    ['--requests', '1e6'],
    ['--requests', '-1'],
    ['--seed', 'a'],
    ['--seed'],
    ['--foo'],
    ['all'],
  ])('is refused with %s %s', (...args) => {
    expect(askedFor(args)).toBeTypeOf('string')
  })
})
