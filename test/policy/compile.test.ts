// Guarantees of a compiled policy: its digest is its meaning, it cannot be changed, it is all or nothing, and its names exist.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDocument, stringify } from 'yaml'
import { isDigest, named } from '../../src/domain/ids.ts'
import { TIERS, type Tier } from '../../src/domain/tier.ts'
import { PolicyError } from '../../src/policy/problem.ts'
import { checkApproverGroups, checkReferences } from '../../src/policy/references.ts'
import {
  altered,
  compileTexts,
  configText,
  machine,
  PERMIT_ALL,
  person,
  problemsOf,
  shipped,
  smallFile,
  smallText,
} from './sample-policies.ts'

const digestOf = (entitlements: string, guards?: string) => compileTexts(entitlements, guards).digest
/** Undefined where a text is refused: that is no digest, and no policy, either. */
const digestIfAny = (entitlements: string): string | undefined => {
  try {
    return digestOf(entitlements)
  } catch (thrown) {
    if (thrown instanceof PolicyError) return undefined
    throw thrown
  }
}
const original = digestOf(smallText())

describe('the digest', () => {
  it('is a SHA-256 named as such', () => {
    expect(isDigest(original)).toBe(true)
  })
  it('is not changed by comments, white space, quotes, flow style, or the order of keys and lists that are sets', () => {
    const reversed = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(reversed).toReversed()
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .toReversed()
                .map(([key, member]) => [key, reversed(member)]),
            )
          : value
    const texts = [
      `# a comment\n${smallText()}\n\n# another\n`,
      smallText().replaceAll('\n', ' # said again\n'),
      JSON.stringify(smallFile()),
      JSON.stringify(smallFile(), null, 3),
      stringify(reversed(smallFile())),
      stringify(smallFile(), { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN' }),
      smallText().replaceAll('15m', '900s'),
    ]
    for (const text of texts) expect(digestOf(text)).toBe(original)
  })
  it('is not changed by comments, white space or the order of guards', () => {
    const one = '@id("a") permit (principal, action == Action::"Request", resource);'
    const two = '@id("b") forbid (principal, action, resource) when { principal.id == "x" };'
    const digest = digestOf(smallText(), `${one}\n${two}`)
    const texts = [
      `// said\n${one} // again\n\n${two}`,
      `${two}\n${one}`,
      `${one}\n${two.replaceAll(' ', '\n  ')}`,
      `${one}${two.replace('"x"', '"\\u{78}"')}`,
    ]
    for (const text of texts) expect(digestOf(smallText(), text)).toBe(digest)
  })
  it('is not changed by the revision, which only says what is newer', () => {
    const raised = compileTexts(altered(['revision'], 7))
    expect([raised.revision, raised.digest]).toEqual([7, original])
  })
  it('is not changed by writing a default out', () => {
    expect(digestOf(altered(['entitlements', 'automatic', 'ticketRequired'], false))).toBe(original)
    expect(digestOf(altered(['entitlements', 'automatic', 'credential', 'verifierCache'], '30s'))).toBe(original)
  })

  const changes: readonly [readonly string[], unknown][] = [
    [['entitlements', 'automatic'], undefined],
    [['entitlements', 'asked', 'title'], 'Write more'],
    [['entitlements', 'asked', 'tenant'], 'acme'],
    [['entitlements', 'asked', 'openTo'], ['northwind']],
    [['entitlements', 'automatic', 'tier'], 'elevated'],
    [['entitlements', 'asked', 'target', 'id'], 'other'],
    [['entitlements', 'asked', 'target', 'environment'], 'staging'],
    [['entitlements', 'asked', 'target', 'audience'], 'https://other.example'],
    [['entitlements', 'asked', 'actions'], { 'desk.write': 'write' }],
    [['entitlements', 'asked', 'actions', 'desk.write'], 'deploy'],
    [['entitlements', 'asked', 'scopes'], ['queue:*']],
    [['entitlements', 'asked', 'credential', 'sender'], 'bearer'],
    [['entitlements', 'asked', 'credential', 'maxLife'], '9m'],
    [['entitlements', 'asked', 'credential', 'verifierCache'], '0s'],
    [['entitlements', 'asked', 'approval', 'owner'], 'rob'],
    [['entitlements', 'asked', 'approval', 'reviewers'], undefined],
    [['entitlements', 'asked', 'approval', 'approvals'], 3],
    [['entitlements', 'asked', 'limits', 'maxDuration'], '1h'],
    [['entitlements', 'asked', 'limits', 'horizon'], '1d'],
    [['entitlements', 'asked', 'limits', 'decideWithin'], '1h'],
    [['entitlements', 'asked', 'limits', 'maxUses'], 1],
    [['entitlements', 'asked', 'ticketRequired'], true],
    [['entitlements', 'asked', 'planRequired'], true],
    [['entitlements', 'asked', 'bindClaims'], undefined],
    [['entitlements', 'database', 'credential', 'backend'], 'vault-other'],
    [['entitlements', 'database', 'credential', 'database', 'mount'], 'other'],
    [['entitlements', 'database', 'credential', 'database', 'connection'], 'other'],
    [['entitlements', 'database', 'credential', 'database', 'grantedRole'], 'other'],
    [['entitlements', 'database', 'credential', 'database', 'ownerRole'], 'other'],
    [['tiers', 'low', 'maxDuration'], '3h'],
    [['tiers', 'high', 'approvals'], 3],
  ]
  it('is changed by every change of meaning, alone and together', () => {
    const whole = altered(['revision'], 1)
    const digests = new Map<string, string>([[original, 'nothing']])
    for (const [path, value] of changes) {
      const text = altered(path, value)
      const digest = digestIfAny(text)
      if (digest === undefined) continue
      expect(digests.get(digest), path.join('.')).toBeUndefined()
      digests.set(digest, path.join('.'))
    }
    expect(digests.size).toBeGreaterThan(changes.length - 3)
    fc.assert(
      fc.property(fc.subarray([...changes], { minLength: 2, maxLength: 4 }), (some) => {
        const document = parseDocument(whole)
        for (const [path, value] of some) {
          if (value === undefined) document.deleteIn([...path])
          // As a node: another change of the same run may go on inside it.
          else document.setIn([...path], document.createNode(value))
        }
        const text = String(document)
        expect(digestIfAny(text)).not.toBe(original)
      }),
      { numRuns: 30 },
    )
  })
  it('is changed by every change of a guard', () => {
    const base =
      '@id("a") permit (principal is Person, action == Action::"Request", resource) when { principal.tenant == "acme" };'
    const variants = [
      base.replace('permit', 'forbid'),
      base.replace('"a"', '"b"'),
      base.replace('Person', 'Agent'),
      base.replace('"Request"', '"Exchange"'),
      base.replace('acme', 'acme2'),
      base.replace('==  "acme"', '!= "acme"').replace('tenant ==', 'tenant !='),
      base.replace('when', 'unless'),
      base.replace('resource)', 'resource == Entitlement::"asked")'),
      `${base}\n@id("c") forbid (principal, action, resource);`,
    ]
    const digests = [base, ...variants].map((text) => digestOf(smallText(), text))
    expect(new Set(digests).size).toBe(digests.length)
  })
})

describe('a compiled policy', () => {
  it('cannot be changed, down to its last member', () => {
    const policy = shipped()
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
    expect(Object.isFrozen(policy)).toBe(true)
    expect(frozen(policy.entitlements())).toBe(true)
    const verdict = policy.judge({ action: 'Operate', principal: person('oscar', 'northwind', 'operators') })
    expect(frozen(verdict)).toBe(true)
    expect(() => Object.assign(policy.entitlements()[0] ?? {}, { tier: 'low' })).toThrow(TypeError)
  })
  it('knows an entitlement by its id and nothing else', () => {
    const policy = compileTexts(smallText())
    expect(policy.entitlements().map(({ id }) => id)).toEqual(['asked', 'automatic', 'database'])
    for (const id of ['', 'nothing', '__proto__', 'constructor', 'toString'])
      expect(policy.entitlement(named.entitlement(id))).toBeUndefined()
  })
  it('is all or nothing, and all problems of all files come together in the order of the files', () => {
    const problems = problemsOf(
      altered(['entitlements', 'asked', 'tier'], 'none'),
      '@id("x") permit (principal, action, resource',
    )
    expect(problems.map(({ file, path }) => `${file} ${path}`)).toEqual([
      'entitlements.yaml entitlements.asked.tier',
      'guards.cedar ',
    ])
  })
})

describe('groups that approve', () => {
  const paths = (tier: Tier, group: { readonly administrative: boolean; readonly members: number }, name = 'dba') => {
    const found: string[] = []
    checkApproverGroups(
      {
        id: named.entitlement('x'),
        tenant: named.tenant('acme'),
        tier,
        maxApprovers: 3,
        approverGroups: [named.group(name)],
      },
      { entered: () => [person('vera', 'acme', 'dba'), person('gus', 'globex', 'sre')], group: () => group },
      (path, message) => found.push(`${path.join('.')}: ${message}`),
    )
    return found.length
  }
  it('are neither administrative nor larger than maxApprovers from tier high on', () => {
    for (const tier of TIERS) {
      const strict = tier === 'high' || tier === 'critical'
      expect([tier, paths(tier, { administrative: false, members: 3 })]).toEqual([tier, 0])
      expect([tier, paths(tier, { administrative: true, members: 1 })]).toEqual([tier, strict ? 1 : 0])
      expect([tier, paths(tier, { administrative: false, members: 4 })]).toEqual([tier, strict ? 1 : 0])
      expect([tier, paths(tier, { administrative: true, members: 4 })]).toEqual([tier, strict ? 2 : 0])
    }
  })
  it('have a member in that tenant at every tier', () => {
    for (const tier of TIERS)
      for (const name of ['sre', 'dbas'])
        expect([tier, name, paths(tier, { administrative: false, members: 0 }, name)]).toEqual([tier, name, 1])
  })
  it('are looked at with the policy: reviewers of an entitlement at tier high', () => {
    const entitlements = altered(['entitlements', 'asked', 'tier'], 'high')
    const people = Array.from({ length: 2 }, (_, n) => person(`p${n}`, 'northwind', 'security'))
    const owners = ['lena', 'rob', 'olivia'].map((id) => person(id, 'northwind'))
    const everybody = [...people, ...owners, person('oscar', 'northwind', 'dba'), person('vera', 'acme')]
    const problems = (administrative: boolean, members: number) =>
      checkReferences(compileTexts(entitlements), {
        entered: () => everybody,
        persons: () => everybody,
        group: (tenant, name) => ({
          administrative: administrative && `${tenant}/${name}` === 'northwind/security',
          members: name === 'security' ? members : 1,
        }),
      }).problems.map(({ path }) => path)
    expect(problems(false, 10)).toEqual([])
    expect(problems(false, 11)).toEqual(['entitlements.asked.approval'])
    expect(problems(true, 10)).toEqual(['entitlements.asked.approval'])
  })
})

describe('names in a policy', () => {
  const persons = [
    person('lena', 'northwind', 'security'),
    person('rob', 'northwind', 'security'),
    person('olivia', 'northwind', 'soc', 'dba'),
    person('oscar', 'northwind', 'dba'),
    person('vera', 'acme', 'vendor-engineers'),
  ]
  const workload = machine('workload', 'job', 'northwind', 'rob')
  const directory = {
    entered: () => [...persons, workload],
    persons: () => persons,
    group: () => ({ administrative: false, members: 1 }),
  }
  const dangling = (entitlements: string, guards = PERMIT_ALL) =>
    checkReferences(compileTexts(entitlements, guards), directory).problems.map(({ file, path }) => `${file} ${path}`)

  it('that somebody answers to are no problem', () => {
    const guards = [
      '@id("a") permit (principal in Group::"northwind/soc", action, resource);',
      '@id("b") permit (principal == Workload::"job", action == Action::"Request", resource == Entitlement::"asked");',
      '@id("c") permit (principal in Tenant::"acme", action, resource);',
      '@id("d") permit (principal == Person::"vera", action, resource);',
    ]
    expect(dangling(smallText(), guards.join('\n'))).toEqual([])
  })
  it('that nobody answers to are told with their places', () => {
    expect(dangling(altered(['entitlements', 'asked', 'approval', 'owner'], 'gone'))).toEqual([
      'entitlements.yaml entitlements.asked.approval.owner',
    ])
    const reviewers = [{ role: 'security', group: 'security', count: 3 }]
    expect(dangling(altered(['entitlements', 'asked', 'approval', 'reviewers'], reviewers))).toEqual([
      'entitlements.yaml entitlements.asked.approval.reviewers',
    ])
    expect(
      dangling(
        altered(
          ['entitlements', 'asked', 'approval', 'reviewers'],
          [{ role: 'security', group: 'nobodies', count: 1 }],
        ),
      ),
    ).toEqual(['entitlements.yaml entitlements.asked.approval'])
    expect(dangling(altered(['entitlements', 'automatic', 'tenant'], 'nobody'))).toEqual([
      'entitlements.yaml entitlements.automatic.tenant',
    ])
    expect(dangling(altered(['entitlements', 'asked', 'openTo'], ['nobody']))).toEqual([
      'entitlements.yaml entitlements.asked.openTo',
    ])
  })
  it('of an owner of another tenant are told, because that owner could never approve', () => {
    expect(dangling(altered(['entitlements', 'asked', 'approval', 'owner'], 'vera'))).toEqual([
      'entitlements.yaml entitlements.asked.approval.owner',
    ])
  })
  it('in guards are told too, at the very name', () => {
    const guards = [
      '@id("a") permit (principal in Group::"acme/soc", action, resource);', // 1
      '@id("b") permit (principal == Agent::"job", action, resource);', // 2
      '@id("c") permit (principal, action == Action::"Request", resource == Entitlement::"gone");', // 3
      '@id("d") permit (principal, action == Action::"Request", resource in Tenant::"gone");', // 4
    ]
    const found = checkReferences(compileTexts(smallText(), guards.join('\n')), directory).problems
    expect(found.map(({ line, column, path }) => `${line}:${column} ${path}`)).toEqual([
      '1:31 a',
      '2:31 b',
      '3:70 c',
      '4:70 d',
    ])
  })
  it('that only who is switched off answers to are told as a warning, so that nobody stays for the sake of the policy', () => {
    const entitlements = altered(['entitlements', 'asked', 'approval'], {
      owner: 'lena',
      reviewers: [{ role: 'security', group: 'security', count: 2 }],
    })
    const guards =
      '@id("a") permit (principal == Person::"lena", action, resource); @id("b") permit (principal in Group::"northwind/soc", action, resource);'
    const without = (gone: readonly string[]) =>
      checkReferences(compileTexts(entitlements, guards), {
        ...directory,
        persons: () => persons.filter(({ id }) => !gone.includes(id)),
      })
    expect(without([])).toEqual({ problems: [], warnings: [] })
    const { problems, warnings } = without(['lena', 'olivia', 'vera'])
    expect(problems).toEqual([])
    expect(warnings.map(({ path }) => path)).toEqual([
      'entitlements.asked.approval.owner',
      'entitlements.asked.approval.reviewers',
      'entitlements.database.approval.owner',
    ])
  })
  it('an empty directory leaves no name standing', () => {
    const empty = { entered: () => [], persons: () => [], group: () => ({ administrative: false, members: 0 }) }
    const policy = compileTexts(configText('entitlements.yaml'), configText('guards.cedar'))
    const found = checkReferences(policy, empty).problems
    for (const path of [
      'entitlements.payments-migrator.approval.owner',
      'webshop-pipeline-deploys',
      'operators-operate',
    ])
      expect(found.map((one) => one.path)).toContain(path)
  })
})
