// The people directory as one immutable value: who stands behind an account or a set of claims, and who answers for whom.
// Whatever is unknown, switched off, without an active sponsor, or could be two, is nobody; comparison is of exact text only.
import { createHash } from 'node:crypto'
import type { Account, Directory } from '../broker/ports.ts'
import { canonical } from '../domain/canonical.ts'
import { type Digest, isDigest, named, type PrincipalId } from '../domain/ids.ts'
import type { Absence, Agent, Person, Principal, Workload } from '../domain/principal.ts'
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
  /** Who these verified claims of this issuer (short name) are; undefined for nobody, for who is nobody now, and for more than one. */
  resolve(issuer: string, claims: Readonly<Record<string, unknown>>): Resolved | undefined
  /** Everybody whom these claims fit, also who is nobody now: for the log when `resolve` gave nobody. */
  candidates(issuer: string, claims: Readonly<Record<string, unknown>>): readonly PrincipalId[]
  /** Everybody in the files, also who is nobody now: for the question whether a name in another file is one. */
  entered(): readonly Principal[]
  resourceServer(id: string): ResourceServer | undefined
  resourceServers(): readonly ResourceServer[]
  /** The resource server whose account these verified claims of this issuer are; undefined where somebody else fits them too. */
  serverOf(issuer: string, claims: Readonly<Record<string, unknown>>): ResourceServer | undefined
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
  const entered = new Map<string, Principal>()
  const byAccount = new Map<string, Principal>()
  const expected: { readonly issuer: string; readonly expected: Expected }[] = []
  const add = (principal: Principal, accounts: readonly Account[]): void => {
    entered.set(principal.id, freezeDeep(principal))
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
  const entries = new Map([...people.persons, ...people.agents, ...clients.workloads].map((entry) => [entry.id, entry]))
  const absence = (id: string): Absence | undefined => {
    const principal = entered.get(id)
    if (principal === undefined) return 'unknown'
    if (entries.get(id)?.active !== true) return 'inactive'
    if (principal.kind === 'person') return undefined
    return principal.sponsors.some((sponsor) => entries.get(sponsor)?.active === true) ? undefined : 'no_active_sponsor'
  }
  const everybody = Object.freeze([...entered.values()])
  const present = Object.freeze(everybody.filter(({ id }) => absence(id) === undefined))
  const principals = new Map<string, Principal>(present.map((principal) => [principal.id, principal]))
  const inactive = Object.freeze(everybody.map(({ id }) => id).filter((id) => !principals.has(id)))
  const persons = Object.freeze(present.filter((principal) => principal.kind === 'person'))
  const manifests = new Map(people.agents.map(({ id, manifest }) => [id, manifest]))
  const answeredFor = new Map<string, PrincipalId[]>()
  for (const principal of everybody)
    if (principal.kind !== 'person')
      for (const sponsor of principal.sponsors)
        answeredFor.set(sponsor, [...(answeredFor.get(sponsor) ?? []), principal.id])
  const servers = new Map(clients.resourceServers.map((server) => [server.id, server]))
  const serversByAccount = new Map(
    clients.resourceServers.flatMap((server) =>
      server.account === undefined ? [] : [[accountKey(server.account), server] as const],
    ),
  )
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
    absence,
    inactive: () => inactive,
    persons: () => persons,
    answeredForBy: (person) => answeredFor.get(person) ?? [],
    principals: () => present,
    entered: () => everybody,
    manifestOf: (id) => {
      const manifest = manifests.get(id)
      return manifest !== undefined && isDigest(manifest) ? manifest : undefined
    },
    hasStandingAccess: (id, target) => entries.get(id)?.standingAccess.includes(target) ?? false,
    group: (tenant, name) => ({
      administrative: isAdministrative(people, tenant, name),
      members: persons.filter((person) => person.tenant === tenant && person.groups.includes(name)).length,
    }),
    resolve: (issuer, claims) => {
      // Who is nobody now still stands in the way of others: a token that fits two entries is nobody's, whichever of them is active.
      const [found, ...more] = fitting(issuer, claims)
      return found !== undefined && more.length === 0 && principals.has(found.principal.id) ? found : undefined
    },
    candidates: (issuer, claims) => fitting(issuer, claims).map(({ principal }) => principal.id),
    resourceServer: (id) => servers.get(id),
    resourceServers: () => clients.resourceServers,
    serverOf: (issuer, claims) => {
      const { sub } = claims
      if (typeof sub !== 'string' || fitting(issuer, claims).length > 0) return undefined
      return serversByAccount.get(accountKey({ issuer, subject: sub }))
    },
    displayName: (id) => names.get(id) ?? id,
    expectedFrom: (issuer) => expected.filter((one) => one.issuer === issuer).map((one) => one.expected),
  } satisfies PeopleDirectory)
}

const isAdministrative = ({ groups }: People, tenant: string, name: string): boolean => {
  const marked = Object.hasOwn(groups, tenant) ? groups[tenant] : undefined
  return marked !== undefined && Object.hasOwn(marked, name) && marked[name]?.administrative === true
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
  const everybody = [...people.persons, ...people.agents, ...clients.workloads]
  for (const [tenant, marked] of Object.entries(people.groups))
    for (const name of Object.keys(marked))
      if (!everybody.some((one) => one.tenant === tenant && one.groups.includes(name)))
        report(people, ['groups', tenant, name], `nobody of ${tenant} is in a group of this name`)
  for (const { id, account } of clients.resourceServers) {
    if (taken.has(id)) report(clients, ['resourceServers', id], 'a person or an agent has this id')
    if (account === undefined) continue
    if (!isIssuer(account.issuer))
      report(clients, ['resourceServers', id, 'account', 'issuer'], `there is no issuer '${account.issuer}'`)
    const others = clients.resourceServers.filter(
      (one) => one.account && accountKey(one.account) === accountKey(account),
    )
    const workload = clients.workloads.find(
      ({ issuer, match }) => issuer === account.issuer && match.sub === account.subject,
    )
    const owner = owners.get(accountKey(account)) ?? workload?.id ?? others.find((one) => one.id !== id)?.id
    if (owner !== undefined)
      report(clients, ['resourceServers', id, 'account'], `this account belongs to '${owner}' already`)
  }
  return problems
}

/**
 * Over everything that decides who is who: not the names for people to read, not comments, not the order. Keys of resource servers
 * are left out, for they decide nothing about a grant and may rotate without a new revision. What is as it is by default is left out too,
 * so that a file which says nothing of it means the same to a broker that did not know it yet.
 */
function digestOf(people: People, clients: Clients): Digest {
  const byId = <T extends { readonly id: string }>(entries: readonly T[]): readonly T[] =>
    entries.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const accountsOf = (accounts: readonly Account[]): readonly string[] => accounts.map(accountKey).toSorted()
  const switches = ({ active, standingAccess }: Pick<PersonEntry, 'active' | 'standingAccess'>) => ({
    active: active ? undefined : false,
    standingAccess: standingAccess.length === 0 ? undefined : standingAccess.toSorted(),
  })
  const administrative = Object.entries(people.groups)
    .flatMap(([tenant, marked]) => Object.keys(marked).map((name) => ({ tenant, name })))
    .filter(({ tenant, name }) => isAdministrative(people, tenant, name))
    .map(({ tenant, name }) => `${tenant}/${name}`)
    .toSorted()
  const value = canonical({
    typ: TYPE,
    persons: byId(people.persons).map(({ id, tenant, groups, accounts, ...entry }) => ({
      id,
      tenant,
      groups: groups.toSorted(),
      accounts: accountsOf(accounts),
      ...switches(entry),
    })),
    agents: byId(people.agents).map(({ id, tenant, groups, sponsors, accounts, manifest, ...entry }) => ({
      id,
      tenant,
      groups: groups.toSorted(),
      sponsors: sponsors.toSorted(),
      accounts: accountsOf(accounts),
      manifest,
      ...switches(entry),
    })),
    administrative: administrative.length === 0 ? undefined : administrative,
    workloads: byId(clients.workloads).map((entry) => ({
      ...entry,
      groups: entry.groups.toSorted(),
      sponsors: entry.sponsors.toSorted(),
      not: Object.fromEntries(Object.entries(entry.not).map(([claim, values]) => [claim, values.toSorted()])),
      absent: entry.absent.toSorted(),
      facts: entry.facts?.toSorted(),
      ...switches(entry),
    })),
    resourceServers: byId(clients.resourceServers).map(({ id, tenant, audiences, account }) => ({
      id,
      tenant,
      audiences: audiences.toSorted(),
      account: account && accountKey(account),
    })),
  })
  const digest = `sha-256:${createHash('sha256').update(value).digest('base64url')}`
  if (!isDigest(digest)) throw new TypeError('not a digest')
  return digest
}
