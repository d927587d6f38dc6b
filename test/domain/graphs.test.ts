// Random people directories: persons with several accounts, agents and workloads with several sponsors, any of them asking, executing or
// having written the change. Whoever comes by whichever account, no approval is free that has a part; told from the graph alone.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { conflictOf } from '../../src/domain/duties.ts'
import type { Principal } from '../../src/domain/principal.ts'
import type { WorkloadEntry } from '../../src/identity/clients.ts'
import { compileDirectory, type PeopleDirectory } from '../../src/identity/directory.ts'
import type { AgentEntry, PersonEntry } from '../../src/identity/people.ts'

interface Graph {
  readonly persons: number
  /** Of each account besides the first of every person, the person. */
  readonly aliases: readonly number[]
  readonly machines: readonly { readonly kind: 'agent' | 'workload'; readonly sponsors: readonly number[] }[]
}
const index = fc.nat({ max: 999 })
const graph: fc.Arbitrary<Graph> = fc.record({
  persons: fc.integer({ min: 2, max: 6 }),
  aliases: fc.array(index, { maxLength: 6 }),
  machines: fc.array(
    fc.record({
      kind: fc.constantFrom<'agent' | 'workload'>('agent', 'workload'),
      sponsors: fc.array(index, { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 4 },
  ),
})
/** Each by the number of one of all accounts. */
const parts = fc.record({ requester: index, executor: index, authors: fc.array(index, { maxLength: 3 }) })

/** By account: the persons behind it, and whether it is a person's own. */
interface Account {
  readonly subject: string
  readonly behind: readonly number[]
  readonly isPerson: boolean
}
const accountsOf = ({ persons, aliases, machines }: Graph): readonly Account[] =>
  [...Array.from({ length: persons }, (_, n) => n), ...aliases.map((one) => one % persons)]
    .map((person, n): Account => ({ subject: `s${n}`, behind: [person], isPerson: true }))
    .concat(
      machines.map(({ sponsors }, n) => ({
        subject: `m${n}`,
        behind: sponsors.map((one) => one % persons),
        isPerson: false,
      })),
    )

const entry = { tenant: 't', groups: [], active: true, standingAccess: [] } as const
function directoryOf({ persons, machines }: Graph, accounts: readonly Account[]): PeopleDirectory {
  const line = (): number => 1
  const named = machines.map((machine, n) => ({
    ...machine,
    id: `m${n}`,
    sponsors: [...new Set(machine.sponsors.map((one) => `p${one % persons}`))],
  }))
  const people = Array.from({ length: persons }, (_, n): PersonEntry => {
    const own = accounts.filter(({ isPerson, behind }) => isPerson && behind[0] === n)
    return { ...entry, id: `p${n}`, name: `p${n}`, accounts: own.map(({ subject }) => ({ issuer: 'login', subject })) }
  })
  const agents = named.flatMap(({ kind, id, sponsors }): AgentEntry[] =>
    kind === 'agent'
      ? [{ ...entry, id, sponsors, accounts: [{ issuer: 'login', subject: id }], manifest: undefined }]
      : [],
  )
  const workloads = named.flatMap(({ kind, id, sponsors }): WorkloadEntry[] =>
    kind === 'workload'
      ? [
          {
            ...entry,
            id,
            sponsors,
            issuer: 'login',
            match: { sub: id },
            not: {},
            absent: [],
            session: undefined,
            facts: undefined,
          },
        ]
      : [],
  )
  const compiled = compileDirectory(
    { file: 'people.yaml', revision: 1, persons: people, agents, groups: {}, line },
    { file: 'clients.yaml', revision: 1, workloads, resourceServers: [], line },
  )
  if (!compiled.ok) throw new Error(compiled.problems.map(({ message }) => message).join())
  return compiled.value
}

it('in 50,000 graphs nobody who asks, executes, wrote the change or answers for one of these is free to approve, nor any machine', () => {
  let free = 0
  let barred = 0
  fc.assert(
    fc.property(graph, parts, (graph, { requester, executor, authors }) => {
      const accounts = accountsOf(graph)
      const directory = directoryOf(graph, accounts)
      const principalOf = ({ subject }: Account): Principal => {
        const found = directory.resolve('login', { sub: subject })
        if (found === undefined) throw new Error(`${subject} is nobody`)
        return found.principal
      }
      const account = (n: number): Account => accounts[n % accounts.length] ?? accounts[0] ?? never()
      const parties = [requester, executor, ...authors].map(account)
      const duties = {
        requester: principalOf(account(requester)),
        executor: principalOf(account(executor)),
        authors: authors.map((one) => principalOf(account(one))),
      }
      const involved = new Set(parties.flatMap(({ behind }) => behind))
      for (const approver of accounts) {
        const mayApprove = approver.isPerson && !approver.behind.some((person) => involved.has(person))
        const isFree = conflictOf(principalOf(approver), duties) === undefined
        if (isFree !== mayApprove) throw new Error(`${approver.subject} is ${isFree ? 'free' : 'not free'}`)
        if (isFree) free += 1
        else barred += 1
      }
    }),
    { numRuns: 50_000 },
  )
  expect(free).toBeGreaterThan(50_000)
  expect(barred).toBeGreaterThan(50_000)
}, 300_000)

function never(): never {
  throw new Error('a graph has accounts')
}
