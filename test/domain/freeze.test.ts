// Selectors and freezes: what matches, what a freeze bites, what stays dead. On tables and on random selectors and subjects.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBrokerError } from '../../src/domain/errors.ts'
import { checkFreeze, type Freeze, isContained, type StoredFreeze } from '../../src/domain/freeze.ts'
import { type Digest, freezeIdFrom, named, type Thumbprint } from '../../src/domain/ids.ts'
import { after, instant, seconds } from '../../src/domain/instant.ts'
import type { Principal } from '../../src/domain/principal.ts'
import {
  checkSelector,
  isSameSelector,
  matches,
  membersOf,
  SELECTOR_MEMBERS,
  type Selector,
  type Subject,
} from '../../src/domain/selector.ts'
import { nextGrantId, sampleAsk } from '../support/sample-grants.ts'

const NOW = instant(1_795_000_000_000)
const { intent: INTENT } = sampleAsk(nextGrantId(0 as never), NOW)
const KEYS = ['a', 'b', 'c'].map((letter) => letter.repeat(43) as Thumbprint)
const DIGESTS = ['A', 'B'].map((letter) => `sha-256:${letter.repeat(43)}` as Digest)

const person = (id: string, tenant: string): Principal => ({
  kind: 'person',
  id: named.principal(id),
  person: named.person(id),
  tenant: named.tenant(tenant),
  groups: [],
})
const machine = (kind: 'agent' | 'workload', id: string, tenant: string, ...sponsors: string[]): Principal => ({
  kind,
  id: named.principal(id),
  tenant: named.tenant(tenant),
  groups: [],
  sponsors: sponsors.map(named.person),
})
/** vera asks for payments-db of northwind; the agent of sam and tess executes. */
const SUBJECT: Subject = {
  intent: {
    ...INTENT,
    executor: { principal: named.principal('bot'), key: KEYS[0] },
    task: 'task-1',
    session: 'run-1',
    plan: { digest: DIGESTS[0] as Digest, mediaType: 'text/plain' },
  },
  requester: person('vera', 'acme'),
  executor: machine('agent', 'bot', 'northwind', 'sam', 'tess'),
  shown: { key: KEYS[1], session: 'run-2' },
  approvers: ['olivia', 'lena'].map(named.person),
  policies: [DIGESTS[0] as Digest],
  issuedAt: NOW,
}
const other = { ...SUBJECT, executor: machine('workload', 'job', 'northwind', 'sam') }

const one = (selector: object): Selector => selector as Selector

describe('a selector', () => {
  it.each<[object, boolean]>([
    [{ person: 'vera' }, true],
    [{ person: 'sam' }, true],
    [{ person: 'tess' }, true],
    [{ person: 'bot' }, false],
    [{ person: 'olivia' }, false],
    [{ agent: 'bot' }, true],
    [{ agent: 'vera' }, false],
    [{ agent: 'job' }, false],
    [{ workload: 'bot' }, false],
    [{ sponsor: 'tess' }, true],
    [{ sponsor: 'vera' }, false],
    [{ tenant: 'acme' }, true],
    [{ tenant: 'northwind' }, true],
    [{ tenant: 'elsewhere' }, false],
    [{ target: 'payments-db' }, true],
    [{ target: 'payments' }, false],
    [{ environment: 'production' }, true],
    [{ environment: 'staging' }, false],
    [{ entitlement: 'payments-migrator' }, true],
    [{ entitlement: 'other' }, false],
    [{ task: 'task-1' }, true],
    [{ task: 'task-2' }, false],
    [{ session: 'run-1' }, true],
    [{ session: 'run-2' }, true],
    [{ session: 'run-3' }, false],
    [{ ticket: { system: 'desk', id: 'CHG-1' } }, true],
    [{ ticket: { system: 'desk', id: 'CHG-2' } }, false],
    [{ ticket: { system: 'other', id: 'CHG-1' } }, false],
    [{ planDigest: DIGESTS[0] }, true],
    [{ planDigest: DIGESTS[1] }, false],
    [{ key: KEYS[0] }, true],
    [{ key: KEYS[1] }, true],
    [{ key: KEYS[2] }, false],
    [{ approver: 'lena' }, true],
    [{ approver: 'vera' }, false],
    [{ policyDigest: DIGESTS[0] }, true],
    [{ policyDigest: DIGESTS[1] }, false],
    [{ issuedBefore: NOW + 1 }, true],
    [{ issuedBefore: NOW }, false],
  ])('%j matches: %s', (selector, expected) => {
    expect(matches(one(selector), SUBJECT)).toBe(expected)
  })

  it('names an agent as an agent and a workload as a workload', () => {
    expect(matches(one({ workload: 'job' }), other)).toBe(true)
    expect(matches(one({ agent: 'job' }), other)).toBe(false)
  })

  it('does not take what is absent for what is named', () => {
    const bare: Subject = {
      intent: { ...INTENT, plan: undefined, ticket: undefined, executor: { ...INTENT.executor, key: undefined } },
      requester: SUBJECT.requester,
      executor: SUBJECT.requester,
    }
    for (const selector of [
      { planDigest: DIGESTS[0] },
      { ticket: { system: 'desk', id: 'CHG-1' } },
      { key: KEYS[0] },
      { session: 'run-1' },
      { approver: 'lena' },
      { policyDigest: DIGESTS[0] },
      { issuedBefore: NOW + 1 },
    ])
      expect(matches(one(selector), bare)).toBe(false)
  })

  it('the tenant as filed counts too, when the requester has become another one’s', () => {
    expect(matches(one({ tenant: 'former' }), { ...SUBJECT, requesterTenant: named.tenant('former') })).toBe(true)
  })

  it('who answered for the requester as filed counts too, when somebody else does by now', () => {
    const askers = [named.person('former')]
    const byAgent = { ...SUBJECT, requester: SUBJECT.executor, askers }
    expect([matches(one({ person: 'former' }), byAgent), matches(one({ sponsor: 'former' }), byAgent)]).toEqual([
      true,
      true,
    ])
    // Who asks in person has no sponsor.
    expect(matches(one({ sponsor: 'former' }), { ...SUBJECT, askers })).toBe(false)
  })

  const anyValues = fc.record({
    person: fc.constantFrom('vera', 'sam', 'olivia'),
    agent: fc.constantFrom('bot', 'other'),
    workload: fc.constantFrom('job', 'other'),
    sponsor: fc.constantFrom('sam', 'olivia'),
    tenant: fc.constantFrom('acme', 'northwind', 'elsewhere'),
    target: fc.constantFrom('payments-db', 'other'),
    environment: fc.constantFrom('production', 'staging'),
    entitlement: fc.constantFrom('payments-migrator', 'other'),
    task: fc.constantFrom('task-1', 'other'),
    session: fc.constantFrom('run-1', 'run-2', 'other'),
    ticket: fc.constantFrom({ system: 'desk', id: 'CHG-1' }, { system: 'desk', id: 'CHG-2' }),
    planDigest: fc.constantFrom(...DIGESTS),
    key: fc.constantFrom(...KEYS),
    approver: fc.constantFrom('olivia', 'lena', 'vera'),
    policyDigest: fc.constantFrom(...DIGESTS),
    issuedBefore: fc.constantFrom(NOW, NOW + 1),
  })
  /** Few members, so that all of them hold often enough. */
  const anySelector = fc
    .tuple(anyValues, fc.subarray([...SELECTOR_MEMBERS], { maxLength: 4 }))
    .map(([values, members]) => one(Object.fromEntries(members.map((member) => [member, values[member]]))))
  const anySubject = fc.constantFrom(SUBJECT, other)
  const singly = (selector: Selector): readonly Selector[] =>
    membersOf(selector).map((member) => one({ [member]: selector[member] }))

  it('is conjunctive: it matches exactly where each of its members alone does', () => {
    let matched = 0
    fc.assert(
      fc.property(anySelector, anySubject, (selector, subject) => {
        const members = singly(selector)
        const expected = members.length > 0 && members.every((member) => matches(member, subject))
        expect(matches(selector, subject)).toBe(expected)
        if (expected) matched += 1
      }),
      { numRuns: 5_000 },
    )
    expect(matched).toBeGreaterThan(20)
  })

  it('never matches more when it names more', () => {
    fc.assert(
      fc.property(anySelector, anySelector, anySubject, (selector, more, subject) => {
        if (membersOf(selector).length === 0) return
        if (matches({ ...more, ...selector }, subject)) expect(matches(selector, subject)).toBe(true)
      }),
      { numRuns: 5_000 },
    )
  })

  it('that names nothing is refused, and matches nothing', () => {
    for (const empty of [{}, { target: undefined }].map(one)) {
      expect(() => checkSelector(empty, NOW)).toThrow('names at least one')
      expect(matches(empty, SUBJECT)).toBe(false)
    }
    for (const member of SELECTOR_MEMBERS) expect(() => checkSelector(one({ [member]: 'x' }), NOW)).not.toThrow()
    expect(() => checkSelector({ issuedBefore: NOW }, NOW)).not.toThrow()
    const ahead = () => checkSelector({ issuedBefore: after(NOW, seconds(1)) }, NOW)
    expect(ahead).toThrow(expect.objectContaining({ code: 'invalid_request', facts: { member: 'where.issuedBefore' } }))
  })

  it('is the same in whatever order it is written', () => {
    fc.assert(
      fc.property(anySelector, anySelector, (a, b) => {
        const reversed = Object.fromEntries(Object.entries(a).reverse())
        expect(isSameSelector(a, one(reversed))).toBe(true)
        const alike = JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
        expect(isSameSelector(a, b)).toBe(alike)
      }),
    )
  })
})

type More = Partial<Pick<Freeze, 'contains' | 'everything' | 'answered'>> & {
  tenant?: string
  seq?: number
  lifted?: boolean
}

describe('a freeze', () => {
  const stored = (selector: object, more: More = {}): StoredFreeze => ({
    seq: more.seq ?? 10,
    freeze: {
      v: 2,
      contains: more.contains ?? false,
      everything: more.everything ?? false,
      answered: more.answered ?? {},
      id: freezeIdFrom(Buffer.alloc(17, 7)),
      tenant: named.tenant(more.tenant ?? 'northwind'),
      selector: one(selector),
      reason: 'a reason that is nobody else’s business',
      by: named.principal('sol'),
      at: NOW,
      lifted: more.lifted === true ? { at: NOW, by: named.principal('sol'), reason: 'over' } : undefined,
    },
  })
  const refusalOf = (freezes: readonly StoredFreeze[], born: number | undefined, subject = SUBJECT) => {
    try {
      checkFreeze({ freezes, born }, subject)
      return undefined
    } catch (thrown) {
      if (isBrokerError(thrown, 'frozen')) return thrown
      throw thrown
    }
  }
  const target = { target: 'payments-db' }

  it('in force stops what matches, whenever it was born, and what is not born yet', () => {
    for (const born of [0, 9, 10, 11, undefined]) expect(refusalOf([stored(target)], born)).toBeDefined()
    for (const born of [0, 9, undefined]) expect(refusalOf([stored({ target: 'other' })], born)).toBeUndefined()
  })

  it('lifted leaves dead what was born at or before it, and lets through what came after', () => {
    const dead = [0, 9, 10].map((born) => refusalOf([stored(target, { lifted: true })], born)?.facts.lifted)
    expect(dead).toEqual([true, true, true])
    for (const born of [11, undefined]) expect(refusalOf([stored(target, { lifted: true })], born)).toBeUndefined()
  })

  it('bites only where target or requester are of the tenant of whoever froze, whatever it names', () => {
    for (const selector of [target, { tenant: 'northwind' }, { person: 'vera' }, { agent: 'bot' }]) {
      expect(refusalOf([stored(selector, { tenant: 'northwind' })], 1)).toBeDefined()
      expect(refusalOf([stored(selector, { tenant: 'acme' })], 1)).toBeDefined()
      expect(refusalOf([stored(selector, { tenant: 'elsewhere' })], 1)).toBeUndefined()
    }
  })

  it('says which it is and what it names, and neither why nor of whom', () => {
    const refusal = refusalOf([stored({ ...target, person: 'sam' })], 1)
    expect(refusal?.facts).toEqual({ freeze: stored({}).freeze.id, members: ['person', 'target'], lifted: false })
    expect(JSON.stringify([refusal?.message, refusal?.nextAction, refusal?.facts])).not.toMatch(/business|sam|sol/)
  })

  it('of several is found, whichever it is', () => {
    const others = [stored({ target: 'x' }), stored({ task: 'x' })]
    expect(refusalOf([...others, stored(target)], 1)).toBeDefined()
    expect(refusalOf(others, 1)).toBeUndefined()
    expect(refusalOf([], 1)).toBeUndefined()
  })

  it('that contains puts an end to what matches and was there, in force or lifted; to nothing that came after', () => {
    const ends = (freezes: readonly StoredFreeze[], born: number | undefined) =>
      isContained({ freezes, born }, () => SUBJECT)
    for (const lifted of [false, true]) {
      const contained = [stored(target, { contains: true, lifted })]
      expect([0, 9, 10].map((born) => ends(contained, born))).toEqual([true, true, true])
      expect([11, undefined].map((born) => ends(contained, born))).toEqual([false, false])
      expect(ends([stored({ target: 'other' }, { contains: true, lifted })], 9)).toBe(false)
      expect(ends([stored(target, { lifted })], 9)).toBe(false)
      expect(ends([stored(target, { contains: true, lifted, tenant: 'elsewhere' })], 9)).toBe(false)
    }
  })

  it('of everything ends whatever was there, of whatever tenant, and nothing else', () => {
    const everything = [stored({}, { contains: true, everything: true, lifted: true, tenant: 'elsewhere' })]
    expect([0, 10, 11].map((born) => isContained({ freezes: everything, born }, () => SUBJECT))).toEqual([
      true,
      true,
      false,
    ])
    expect(refusalOf(everything, 10)).toBeDefined()
    expect(refusalOf(everything, 11)).toBeUndefined()
  })

  it('of a person goes with the machines that they answered for when it was made, whoever does by now', () => {
    const handedOn = { ...SUBJECT, executor: machine('agent', 'bot', 'northwind', 'tess') }
    const answered = [named.principal('bot')]
    for (const name of ['person', 'sponsor'] as const) {
      expect(refusalOf([stored({ [name]: 'sam' })], 9, handedOn)).toBeUndefined()
      expect(refusalOf([stored({ [name]: 'sam' }, { answered: { [name]: answered } })], 9, handedOn)).toBeDefined()
    }
  })

  it('counts whom the directory does not know any more as whoever they may have been', () => {
    const gone: Subject = { ...SUBJECT, executor: { kind: 'absent', id: named.principal('bot') } }
    for (const name of ['agent', 'workload', 'person'])
      expect(refusalOf([stored({ [name]: 'bot' })], 9, gone)).toBeDefined()
    expect(refusalOf([stored({ agent: 'other' })], 9, gone)).toBeUndefined()
  })
})
