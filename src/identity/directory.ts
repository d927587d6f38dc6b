// The people directory as one immutable value: who stands behind an account or a set of claims, and who answers for whom.
// Whatever is unknown, or could be two, is nobody; comparison is of exact text only.
import { createHash } from 'node:crypto'
import type { Account, Directory } from '../broker/ports.ts'
import { canonical } from '../domain/canonical.ts'
import { type Digest, isDigest, named, type PrincipalId } from '../domain/ids.ts'
import type { Agent, Person, Principal, Workload } from '../domain/principal.ts'
import { type Clients, isOf, type ResourceServer, type WorkloadEntry } from './clients.ts'
import type { Compiled, Problem } from './config-file.ts'
import { freezeDeep } from './fields.ts'
import { type AgentEntry, accountKey, type People, type PersonEntry } from './people.ts'

export interface Resolved {
  readonly principal: Principal
  /** The claim that names the session, where the principal's own entry names one. */
  readonly sessionClaim: string | undefined
  /** The claims that become facts, where the principal's own entry names them. */
  readonly factClaims: readonly string[] | undefined
}

export interface PeopleDirectory extends Directory {
  /** Who these verified claims of this issuer (short name) are; undefined for nobody and for more than one. */
  resolve(issuer: string, claims: Readonly<Record<string, unknown>>): Resolved | undefined
  /** Everybody whom these claims fit: for the log when `resolve` gave nobody. */
  candidates(issuer: string, claims: Readonly<Record<string, unknown>>): readonly PrincipalId[]
  resourceServer(id: string): ResourceServer | undefined
  resourceServers(): readonly ResourceServer[]
  /** The name to show for a person, or the id. */
  displayName(id: PrincipalId): string
  /** The accounts and criteria by which principals come from this issuer. */
  expectedFrom(issuer: string): readonly Expected[]
}

export interface Expected {
  readonly principal: Principal
  readonly match: Readonly<Record<string, string>>
}

/** Short names that an account may have as its issuer. */
export interface KnownNames {
  readonly issuers: readonly string[]
  readonly forges?: readonly string[]
}

const TYPE = 'writ/people/v1'

/**
 * Joins both files. Finds what only shows when they lie side by side: unknown sponsors, ids used twice, an account that is also a
 * workload's criterion, and, when the names are given, issuers that do not exist. An account may also be at a forge, whose name
 * authenticates nobody, so a workload cannot come from there.
 * `revision` is the sum of both files' revisions: both only rise, so any change raises it.
 */
export function compileDirectory(people: People, clients: Clients, known?: KnownNames): Compiled<PeopleDirectory> {
  const problems = crossCheck(people, clients, known)
  if (problems.length > 0) return { ok: false, problems }
  return { ok: true, value: directoryOf(people, clients, known?.forges ?? []), warnings: [] }
}

function directoryOf(people: People, clients: Clients, forges: readonly string[]): PeopleDirectory {
  const principals = new Map<string, Principal>()
  const byAccount = new Map<string, Principal>()
  const expected: { readonly issuer: string; readonly expected: Expected }[] = []
  const add = (principal: Principal, accounts: readonly Account[]): void => {
    principals.set(principal.id, freezeDeep(principal))
    for (const account of accounts) {
      byAccount.set(accountKey(account), principal)
      if (!forges.includes(account.issuer))
        expected.push({ issuer: account.issuer, expected: { principal, match: { sub: account.subject } } })
    }
  }
  for (const entry of people.persons) add(personOf(entry), entry.accounts)
  for (const entry of people.agents) add(agentOf(entry), entry.accounts)
  const workloads = clients.workloads.map((entry) => ({ entry, principal: workloadOf(entry) }))
  for (const { entry, principal } of workloads) {
    add(principal, [])
    expected.push({ issuer: entry.issuer, expected: { principal, match: entry.match } })
  }
  const persons = Object.freeze([...principals.values()].filter((principal) => principal.kind === 'person'))
  const answeredFor = new Map<string, PrincipalId[]>()
  for (const principal of principals.values())
    if (principal.kind !== 'person')
      for (const sponsor of principal.sponsors)
        answeredFor.set(sponsor, [...(answeredFor.get(sponsor) ?? []), principal.id])
  const everybody = Object.freeze([...principals.values()])
  const servers = new Map(clients.resourceServers.map((server) => [server.id, server]))
  const names = new Map(people.persons.map(({ id, name }) => [id, name]))

  const fitting = (issuer: string, claims: Readonly<Record<string, unknown>>): readonly Resolved[] => {
    // A forge vouches for nobody at the door, whatever issuer may have had its name before.
    const { sub } = claims
    const account =
      typeof sub === 'string' && !forges.includes(issuer)
        ? byAccount.get(accountKey({ issuer, subject: sub }))
        : undefined
    const matching = workloads.filter(({ entry }) => entry.issuer === issuer && isOf(entry, claims))
    return [
      ...(account === undefined ? [] : [{ principal: account, sessionClaim: undefined, factClaims: undefined }]),
      ...matching.map(({ entry, principal }) => ({ principal, sessionClaim: entry.session, factClaims: entry.facts })),
    ]
  }
  return Object.freeze({
    revision: people.revision + clients.revision,
    digest: digestOf(people, clients),
    principal: (id) => principals.get(id),
    byAccount: (account) => byAccount.get(accountKey(account)),
    persons: () => persons,
    answeredForBy: (person) => answeredFor.get(person) ?? [],
    principals: () => everybody,
    resolve: (issuer, claims) => {
      const found = fitting(issuer, claims)
      return found.length === 1 ? found[0] : undefined
    },
    candidates: (issuer, claims) => fitting(issuer, claims).map(({ principal }) => principal.id),
    resourceServer: (id) => servers.get(id),
    resourceServers: () => clients.resourceServers,
    displayName: (id) => names.get(id) ?? id,
    expectedFrom: (issuer) => expected.filter((one) => one.issuer === issuer).map((one) => one.expected),
  } satisfies PeopleDirectory)
}

const known = ({
  id,
  tenant,
  groups,
}: {
  readonly id: string
  readonly tenant: string
  readonly groups: readonly string[]
}) => ({
  id: named.principal(id),
  tenant: named.tenant(tenant),
  groups: groups.toSorted().map(named.group),
})
const personOf = (entry: PersonEntry): Person => ({ kind: 'person', ...known(entry), person: named.person(entry.id) })
const agentOf = (entry: AgentEntry): Agent => ({
  kind: 'agent',
  ...known(entry),
  sponsors: entry.sponsors.toSorted().map(named.person),
})
const workloadOf = (entry: WorkloadEntry): Workload => ({
  kind: 'workload',
  ...known(entry),
  sponsors: entry.sponsors.toSorted().map(named.person),
})

function crossCheck(people: People, clients: Clients, known: KnownNames | undefined): readonly Problem[] {
  const problems: Problem[] = []
  const report = (source: People | Clients, path: readonly PropertyKey[], message: string): void => {
    problems.push({ file: source.file, line: source.line(path), message: `${path.join('.')}: ${message}` })
  }
  const persons = new Set(people.persons.map(({ id }) => id))
  const taken = new Set([...persons, ...people.agents.map(({ id }) => id)])
  const owners = new Map(
    [...people.persons, ...people.agents].flatMap(({ id, accounts }) =>
      accounts.map((one) => [accountKey(one), id] as const),
    ),
  )
  const isIssuer = (name: string): boolean => known === undefined || known.issuers.includes(name)
  const isForge = (name: string): boolean => known?.forges?.includes(name) === true
  for (const [section, entries] of [
    ['persons', people.persons],
    ['agents', people.agents],
  ] as const)
    for (const { id, accounts } of entries)
      for (const [n, { issuer }] of accounts.entries())
        if (!isIssuer(issuer) && !isForge(issuer))
          report(people, [section, id, 'accounts', n, 'issuer'], `there is no issuer or forge '${issuer}'`)
  for (const { id, issuer, sponsors, match } of clients.workloads) {
    if (taken.has(id)) report(clients, ['workloads', id], 'a person or an agent has this id')
    if (!isIssuer(issuer)) report(clients, ['workloads', id, 'issuer'], `there is no issuer '${issuer}'`)
    for (const [n, sponsor] of sponsors.entries())
      if (!persons.has(sponsor))
        report(clients, ['workloads', id, 'sponsors', n], `'${sponsor}' is not a person of ${people.file}`)
    const owner = match.sub === undefined ? undefined : owners.get(accountKey({ issuer, subject: match.sub }))
    if (owner !== undefined)
      report(clients, ['workloads', id, 'match', 'sub'], `this account belongs to '${owner}' already`)
  }
  for (const { id } of clients.resourceServers)
    if (taken.has(id)) report(clients, ['resourceServers', id], 'a person or an agent has this id')
  return problems
}

/**
 * Over everything that decides who is who: not the names for people to read, not comments, not the order. Keys of resource servers
 * are left out, for they decide nothing about a grant and may rotate without a new revision.
 */
function digestOf(people: People, clients: Clients): Digest {
  const byId = <T extends { readonly id: string }>(entries: readonly T[]): readonly T[] =>
    entries.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const accountsOf = (accounts: readonly Account[]): readonly string[] => accounts.map(accountKey).toSorted()
  const value = canonical({
    typ: TYPE,
    persons: byId(people.persons).map(({ id, tenant, groups, accounts }) => ({
      id,
      tenant,
      groups: groups.toSorted(),
      accounts: accountsOf(accounts),
    })),
    agents: byId(people.agents).map(({ id, tenant, groups, sponsors, accounts }) => ({
      id,
      tenant,
      groups: groups.toSorted(),
      sponsors: sponsors.toSorted(),
      accounts: accountsOf(accounts),
    })),
    workloads: byId(clients.workloads).map((entry) => ({
      ...entry,
      groups: entry.groups.toSorted(),
      sponsors: entry.sponsors.toSorted(),
      not: Object.fromEntries(Object.entries(entry.not).map(([claim, values]) => [claim, values.toSorted()])),
      absent: entry.absent.toSorted(),
      facts: entry.facts?.toSorted(),
    })),
    resourceServers: byId(clients.resourceServers).map(({ id, tenant, audiences }) => ({
      id,
      tenant,
      audiences: audiences.toSorted(),
    })),
  })
  const digest = `sha-256:${createHash('sha256').update(value).digest('base64url')}`
  if (!isDigest(digest)) throw new TypeError('not a digest')
  return digest
}
