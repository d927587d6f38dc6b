// T21: a policy that is written to hang, exhaust or break the broker is refused quickly, and what is accepted judges within 50 ms.
// The engine must be whole afterwards: a rule that overflows its stack would otherwise refuse every question until a restart.
import { afterEach, describe, expect, it } from 'vitest'
import { named } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import { compileEntitlements } from '../../src/policy/entitlements.ts'
import { compileGuards } from '../../src/policy/guards.ts'
import { compileTexts, intentFor, person, SCHEMA, smallText } from './sample-policies.ts'

const rule = (condition: string, id = 'x'): string =>
  `@id("${id}") permit (principal, action == Action::"Request", resource) when { ${condition} };`
const repeat = (text: string, times: number): string => text.repeat(times)

/** The quickest of a few runs: what is measured is the work, not the neighbours on the machine. */
function quickest(work: () => void, runs = 5): number {
  const times = Array.from({ length: runs }, () => {
    const start = performance.now()
    work()
    return performance.now() - start
  })
  return Math.min(...times)
}

const healthy = compileTexts(smallText())
const asked = healthy.entitlement(named.entitlement('asked'))
if (asked === undefined) throw new Error('the sample has no entitlement')
const olivia = person('olivia', 'northwind', 'dba')
afterEach(() => {
  // Never asked before, so that it is not answered from memory.
  const fresh = person(`p${performance.now()}`, 'northwind')
  expect(healthy.judge({ action: 'Request', principal: fresh, entitlement: asked }).allowed).toBe(true)
})

describe('YAML bombs are refused within 50 ms', () => {
  const laughs = Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${repeat(`*a${n},`, 9)}]`).join('\n')
  it.each([
    ['a billion laughs', `a0: &a0 lol\n${laughs}`],
    ['a quadratic blow-up', `a: &a ${repeat('x', 60_000)}\nb: [${repeat('*a,', 30_000)}]`],
    ['100,000 open brackets', `a: ${repeat('[', 100_000)}`],
    ['100,000 open braces', `a: ${repeat('{a: ', 60_000)}`],
    ['a staircase of lists', repeat('- ', 120_000)],
    ['a staircase of keys', repeat('? ', 120_000)],
    ['a file of 4 MiB', `revision: 1\n#${repeat('x', 4 << 20)}`],
    ['a cycle', 'a: &a [*a]\n'],
    ['merges of merges', `a: &a { x: 1 }\nb: &b { <<: *a }\n`],
  ])('%s', (_, text) => {
    expect(compileEntitlements('x.yaml', text).problems).not.toEqual([])
    expect(quickest(() => compileEntitlements('x.yaml', text))).toBeLessThan(50)
  })
  it('keys without end cost no more than their number', () => {
    const keys = (n: number): string => Array.from({ length: n }, (_, k) => `k${k}: 1`).join('\n')
    const [few, many] = [2_000, 8_000].map((n) => quickest(() => compileEntitlements('x.yaml', keys(n)), 3))
    expect(many).toBeLessThan(12 * (few ?? 0) + 50)
  })
  it('a thousand and one entitlements are refused', () => {
    const text = `revision: 1\ntiers: {}\nentitlements:\n${Array.from({ length: 1_001 }, (_, n) => `  e${n}: {}`).join('\n')}`
    expect(compileEntitlements('x.yaml', text).problems.map(({ path }) => path)).toContain('entitlements')
  })
})

describe('Cedar bombs are refused within 50 ms and leave the engine whole', () => {
  it.each([
    ['10,000 parentheses', rule(`${repeat('(', 10_000)}true${repeat(')', 10_000)}`)],
    ['parentheses that never close', rule(repeat('(', 30_000))],
    ['150 parentheses, which overflow the stack of the engine', rule(`${repeat('(', 150)}true${repeat(')', 150)}`)],
    ['nested sets', rule(`${repeat('[', 200)}1${repeat(']', 200)} == [1]`)],
    ['nested records', rule(`${repeat('{a: ', 200)}1${repeat('}', 200)} == {a: 1}`)],
    ['nested calls', rule(`${repeat('resource.owners.contains(', 200)}"x"${repeat(')', 200)}`)],
    ['nested ifs', rule(`${repeat('if true then ', 200)}true${repeat(' else false', 200)}`)],
    ['a chain of ifs', rule(`${repeat('if true then true else ', 2_000)}true`)],
    ['a chain of or', rule(`${repeat('principal.id == "x" || ', 1_000)}true`)],
    ['a chain of sums', rule(`${repeat('resource.tierRank + ', 1_000)}1 > 0`)],
    ['a chain of members', rule(`context${repeat('.ask', 1_000)}`)],
    ['a chain of indexes', rule(`context${repeat('["ask"]', 1_000)}`)],
    ['a chain of methods', rule(`resource.owners${repeat('.contains("x")', 500)}`)],
    ['a chain of has', rule(`context has ask${repeat('.ask', 1_000)}`)],
    ['a chain of whens', `@id("x") permit (principal, action, resource) ${repeat('when { true } ', 1_000)};`],
    ['a chain of nots', rule(`${repeat('!', 1_000)}true`)],
    ['a chain of minus', rule(`${repeat('-', 1_000)}1 == 1`)],
    [
      'annotations without end',
      `${Array.from({ length: 3_000 }, (_, n) => `@a${n}("x")`).join(' ')} permit (principal, action, resource);`,
    ],
    ['a pattern of stars', rule(`principal.id like "${repeat('*a', 100)}"`)],
    ['a text of 60,000 letters', rule(`principal.id == "${repeat('a', 60_000)}"`)],
    ['a number beyond every integer', rule('resource.tierRank < 99999999999999999999999999')],
    ['a number that JavaScript rounds', rule('resource.tierRank < 9007199254740993')],
    ['a thousand rules', Array.from({ length: 1_000 }, (_, n) => rule('true', `x${n}`)).join('\n')],
    ['a file of 4 MiB', `// ${repeat('x', 4 << 20)}`],
    ['quotes without end', rule(repeat('"', 30_001))],
    ['backslashes without end', rule(`"${repeat('\\', 30_001)}`)],
    ['slashes without end', repeat('/ ', 30_000)],
  ])('%s', (_, text) => {
    const compile = () => compileGuards({ file: 'g.cedar', text }, { file: 's.cedarschema', text: SCHEMA })
    expect(compile().problems).not.toEqual([])
    expect(quickest(compile)).toBeLessThan(50)
  })
  it.each([
    ['nested sets', `entity Person { a: ${repeat('Set<', 2_000)}String${repeat('>', 2_000)} };`],
    ['nested records', `entity Person { a: ${repeat('{ a: ', 2_000)}String${repeat('}', 2_000)} };`],
    ['a type of itself', 'type A = B; type B = A; entity Person { a: A };'],
    ['a long chain of types', Array.from({ length: 1_500 }, (_, n) => `type T${n} = T${n + 1};`).join(' ')],
  ])('%s in the schema', (_, text) => {
    const compile = () => compileGuards({ file: 'g.cedar', text: rule('true') }, { file: 's.cedarschema', text })
    expect(compile().problems).not.toEqual([])
    expect(quickest(compile)).toBeLessThan(50)
  })
})

describe('what is accepted judges within 50 ms', () => {
  const long = { scope: Array.from({ length: 256 }, (_, n) => `scope:${n}`), destination: repeat('a', 2_048) }
  const intent = intentFor(asked, olivia, { ...long, dataTypes: long.scope })
  let turn = 0
  const question = () => {
    turn += 1
    const window = { opensAt: instant(0), closesAt: instant(60_000 + turn) }
    return { action: 'Request', principal: olivia, entitlement: asked, intent: { ...intent, window } } as const
  }
  const sets = (n: number): string =>
    `context has ask && [${Array.from({ length: n }, (_, k) => `"scope:${k}"`).join(',')}].containsAll(context.ask.scope)`
  it.each([
    [
      'the deepest rule',
      rule(`context has ask && context.ask.durationMs > 0 && ${repeat('(', 20)}true${repeat(')', 20)}`),
    ],
    ['the longest rule', rule(`context has ask && ${repeat('context.ask.uses > 0 && ', 30)}true`)],
    [
      'the most rules',
      Array.from({ length: 200 }, (_, n) => rule('context has ask && context.ask.scope.contains("x")', `x${n}`)).join(
        '\n',
      ),
    ],
    [
      'the hardest patterns',
      Array.from({ length: 16 }, (_, n) =>
        rule(
          `context has ask && context.ask.durationMs > ${n} && context.ask.destination like "*${repeat(`${repeat('a', 80)}*`, 2)}b"`,
          `x${n}`,
        ),
      ).join('\n'),
    ],
    ['the largest set', rule(sets(5_000))],
    ['every member of the asking', rule('context has ask && context.ask == context.ask && context.ask.durationMs > 0')],
  ])('%s', (_, guards) => {
    const policy = compileTexts(smallText(), guards)
    expect(policy.judge(question()).because.filter((reason) => reason.startsWith('error'))).toEqual([])
    expect(quickest(() => policy.judge(question()))).toBeLessThan(50)
  })
  it('an asking too large to be judged is refused', () => {
    for (const large of [
      { destination: repeat('a', 2_049) },
      { scope: Array.from({ length: 257 }, String) },
      { dataTypes: [repeat('a', 3_000)] },
    ])
      expect(healthy.judge({ ...question(), intent: { ...intent, ...large } }).allowed).toBe(false)
  })
})
