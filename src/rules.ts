// The configuration files that decide what is allowed: read, compiled together, and looked at again while the broker runs.
// Invariant: rules are taken whole or not at all; a file that cannot be used leaves the rules that are in force.
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { ControlStore, Rules, Seal } from './broker/ports.ts'
import { isUnder, type PublishedRules, publishedOf, type Rulebook } from './broker/rulebook.ts'
import { isBrokerError } from './domain/errors.ts'
import type { Shard } from './domain/ids.ts'
import { type Duration, formatDuration } from './domain/instant.ts'
import { mayGoByList } from './domain/status-list.ts'
import { compileForges, type ForgeTable, NO_FORGES } from './forge/config.ts'
import { isRepository } from './forge/hands.ts'
import { type Clients, compileClients } from './identity/clients.ts'
import type { Compiled, Problem } from './identity/config-file.ts'
import { compileDirectory, type PeopleDirectory } from './identity/directory.ts'
import { compileIssuers, type Issuer } from './identity/issuers.ts'
import { compilePeople, type People } from './identity/people.ts'
import { type Log, thrownRecord } from './observe/log.ts'
import { type CompiledPolicy, compilePolicy } from './policy/compile.ts'
import { PolicyError } from './policy/problem.ts'
import { checkReferences } from './policy/references.ts'
import type { Settings } from './settings.ts'

export interface LoadedRules extends Rules {
  readonly policy: CompiledPolicy
  readonly directory: PeopleDirectory
  readonly forges: ForgeTable
}
export interface Configuration {
  readonly rules: LoadedRules
  /** What stops nothing and should be looked at. */
  readonly warnings: readonly Problem[]
  readonly issuers: readonly Issuer[]
}

/** Everything that is wrong with the files, each with its line. */
export class RulesError extends Error {
  readonly problems: readonly Problem[]
  constructor(problems: readonly Problem[]) {
    super(
      `the configuration cannot be used:\n${problems.map(({ file, line, message }) => `  ${file}:${line}: ${message}`).join('\n')}`,
    )
    this.name = 'RulesError'
    this.problems = problems
  }
}

type Where = Pick<Settings, 'configDir' | 'issuersFile' | 'clientsFile' | 'mode'> &
  Partial<Pick<Settings, 'forgesFile' | 'statusTtl'>>

/** The backends there are, and the database connections each can be asked about. */
export type KnownBackends = ReadonlyMap<string, { readonly probes: ReadonlyMap<string, unknown> }>

/**
 * Reads and compiles all of them. Throws RulesError with every problem of every file. With `backends`, an entitlement must name one of
 * them; without (a broker that runs without backends), those entitlements are there and cannot be exchanged. `readNamed` reads what a
 * file names, such as public keys.
 */
export function readConfiguration(
  where: Where,
  backends?: KnownBackends,
  readNamed: (file: string) => string = (file) => readFileSync(file, 'utf8'),
): Configuration {
  const problems: Problem[] = []
  const warnings: Problem[] = []
  const take = <T>(compiled: Compiled<T>): T | undefined => {
    if (compiled.ok) {
      warnings.push(...compiled.warnings)
      return compiled.value
    }
    problems.push(...compiled.problems)
    return undefined
  }
  const read = (file: string): string => {
    try {
      return readFileSync(file, 'utf8')
    } catch {
      problems.push({ file, line: 1, message: 'this file cannot be read' })
      return ''
    }
  }
  const path = (name: string): string => join(where.configDir, name)
  // A file named inside a configuration file is looked for beside it.
  const beside = (file: string) => (name: string) => readNamed(resolve(dirname(file), name))

  const people = take<People>(compilePeople(read(path('people.yaml')), path('people.yaml')))
  const clients = take<Clients>(compileClients(read(where.clientsFile), where.clientsFile, beside(where.clientsFile)))
  const issuers = take<readonly Issuer[]>(
    compileIssuers(read(where.issuersFile), where.issuersFile, beside(where.issuersFile), {
      dev: where.mode === 'dev',
    }),
  )
  const policy = policyFrom(read, path, problems)
  const names = issuers?.map(({ name }) => name)
  const { forgesFile } = where
  const forges =
    forgesFile === undefined
      ? NO_FORGES
      : take<ForgeTable>(
          compileForges(read(forgesFile), {
            file: forgesFile,
            dev: where.mode === 'dev',
            issuers: names ?? [],
            readFile: (file) => readFileSync(file, 'utf8'),
          }),
        )
  // What cannot be read names nobody: accounts there are not wrong by that.
  const known = names && forges && { issuers: names, forges: [...forges.keys()] }
  const directory = people && clients && take(compileDirectory(people, clients, known))
  if (policy && directory) {
    const fit = checkReferences(policy, directory)
    problems.push(...fit.problems)
    warnings.push(...fit.warnings, ...checkTargets(policy, people, clients))
  }
  if (policy && where.statusTtl !== undefined) warnings.push(...checkStatus(policy, where.statusTtl))
  if (policy && backends) problems.push(...checkBackends(policy, backends))
  if (policy && forges) problems.push(...checkForges(policy, forges))
  if (problems.length > 0 || !policy || !directory || !issuers || !forges) throw new RulesError(problems)
  return { rules: { policy, directory, forges }, issuers, warnings }
}

function checkBackends(policy: CompiledPolicy, backends: KnownBackends): readonly Problem[] {
  return policy.entitlements().flatMap(({ id, credential }) => {
    if (credential.kind !== 'vault') return []
    const { backend } = credential
    const known = backends.get(backend)
    const connection = credential.engine === 'database' ? credential.database.connection : undefined
    if (known !== undefined && (connection === undefined || known.probes.has(connection))) return []
    const what =
      known === undefined ? `no backend ${backend}` : `no probe for the connection ${connection} of ${backend}`
    const { line } = policy.source.placeOf(['entitlements', id, 'credential'])
    return [
      {
        file: policy.source.entitlementsFile,
        line,
        message: `entitlements.${id}.credential: backends.yaml has ${what}`,
      },
    ]
  })
}

/** Nobody would be wrong by it: the tokens name no list. But whoever wrote this may count on verifiers that go by one. */
const checkStatus = (policy: CompiledPolicy, ttl: Duration): readonly Problem[] =>
  policy.entitlements().flatMap(({ id, credential }) => {
    if (credential.kind !== 'jwt' || credential.verifierCache === 0 || mayGoByList(credential, ttl)) return []
    const at = ['entitlements', id, 'credential', 'verifierCache']
    const { line } = policy.source.placeOf(at)
    const message = `${at.join('.')}: shorter than a status list is kept (WRIT_STATUS_TTL, ${formatDuration(ttl)}), so its tokens name none and verifiers must introspect; write at least that, or 0s if they do`
    return [{ file: policy.source.entitlementsFile, line, message }]
  })

/** Where no forge can be asked, nobody's hand in a change can be known, and nothing would ever be released. */
const checkForges = (policy: CompiledPolicy, forges: ForgeTable): readonly Problem[] =>
  policy.entitlements().flatMap(({ id, release }) => {
    if (release === undefined) return []
    const problem = (member: 'forge' | 'repository', message: string): Problem => {
      const at = ['entitlements', id, 'release', member]
      const { line } = policy.source.placeOf(at)
      return { file: policy.source.entitlementsFile, line, message: `${at.join('.')}: ${message}` }
    }
    const absent = `there is no forge ${release.forge}; describe it in the file that WRIT_FORGES_FILE names`
    return [
      ...(forges.has(release.forge) ? [] : [problem('forge', absent)]),
      ...(isRepository(release.repository) ? [] : [problem('repository', 'write its id, or its full path')]),
    ]
  })

/** Standing access to a target that nothing here is about counts for nothing: most likely its name is spelled differently. */
function checkTargets(policy: CompiledPolicy, people: People, clients: Clients): readonly Problem[] {
  const targets = new Set(policy.entitlements().map(({ target }) => target.id))
  const sections = [
    { source: people, section: 'persons', entries: people.persons },
    { source: people, section: 'agents', entries: people.agents },
    { source: clients, section: 'workloads', entries: clients.workloads },
  ]
  return sections.flatMap(({ source: { file, line }, section, entries }) =>
    entries.flatMap(({ id, standingAccess }) =>
      [...standingAccess.entries()].flatMap(([n, target]) => {
        if (targets.has(target)) return []
        const path = [section, id, 'standingAccess', n]
        return [{ file, line: line(path), message: `${path.join('.')}: no entitlement is about a target '${target}'` }]
      }),
    ),
  )
}

function policyFrom(
  read: (file: string) => string,
  path: (name: string) => string,
  problems: Problem[],
): CompiledPolicy | undefined {
  const source = (name: string) => ({ file: path(name), text: read(path(name)) })
  try {
    return compilePolicy({
      entitlements: source('entitlements.yaml'),
      guards: source('guards.cedar'),
      schema: source('guards.cedarschema'),
    })
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    problems.push(...thrown.problems)
    return undefined
  }
}

/** What the files hold now, to see whether anything changed since. Unreadable counts as a content of its own. */
export function fingerprint(where: Where): string {
  const files = ['people.yaml', 'entitlements.yaml', 'guards.cedar', 'guards.cedarschema'].map((name) =>
    join(where.configDir, name),
  )
  return [...files, where.clientsFile, where.issuersFile, ...(where.forgesFile === undefined ? [] : [where.forgesFile])]
    .map((file) => {
      try {
        return readFileSync(file, 'utf8')
      } catch {
        return '?'
      }
    })
    .join('\0')
}

/** Looks at the files every second. A good change is published, then judged under; a bad one is told once, and the rules in force stay. */
export function watchRules(
  p: {
    readonly settings: Where
    readonly backends: KnownBackends | undefined
    readonly book: Rulebook
    readonly log: Log
    publish(): Promise<unknown>
  },
  every: (ms: number, task: () => void) => () => void,
): () => void {
  const { settings, backends, book, log, publish } = p
  let seen = fingerprint(settings)
  let busy = false
  const look = async (): Promise<void> => {
    const now = fingerprint(settings)
    if (now !== seen) {
      seen = now
      const { rules: next, warnings } = readConfiguration(settings, backends)
      const change = changeOf(book.current() as LoadedRules, next)
      if (change !== undefined) throw new RulesError([change])
      book.adopt(next)
      tellWarnings(log, warnings)
      log('info', 'new rules', { revision: next.policy.revision, digest: next.policy.digest })
    }
    await publish()
  }
  return every(1_000, () => {
    if (busy) return
    busy = true
    void look()
      .catch((thrown: unknown) => tellRefusal(log, thrown))
      .finally(() => {
        busy = false
      })
  })
}

/** One line a problem, so that none is cut short. */
function tellRefusal(log: Log, thrown: unknown): void {
  if (!(thrown instanceof RulesError)) log('error', 'the rules cannot be looked at', thrownRecord(thrown))
  const problems = thrown instanceof RulesError ? thrown.problems : []
  for (const { file, line, message } of problems) {
    log('error', 'the changed rules are refused, the former ones stay', { file: `${file}:${line}`, reason: message })
  }
}

export function tellWarnings(log: Log, warnings: readonly Problem[]): void {
  for (const { file, line, message } of warnings)
    log('warn', 'configuration', { file: `${file}:${line}`, reason: message })
}

/** What is wrong with going from these rules to those, or undefined: whoever changes a meaning says so by raising the revision. */
function changeOf(now: LoadedRules, next: LoadedRules): Problem | undefined {
  const parts = [
    { name: 'entitlements.yaml or guards.cedar', was: now.policy, is: next.policy },
    { name: 'people.yaml or clients.yaml', was: now.directory, is: next.directory },
  ]
  for (const { name, was, is } of parts) {
    if (is.revision < was.revision)
      return {
        file: name,
        line: 1,
        message: `revision ${is.revision} is lower than ${was.revision}, which is in force`,
      }
    if (is.revision === was.revision && is.digest !== was.digest)
      return {
        file: name,
        line: 1,
        message: `the meaning changed but not the revision; raise revision above ${was.revision}`,
      }
  }
  return undefined
}

/**
 * Puts the rules of this broker's files into the control record of every shard; resolves to what hinders it, if anything. Told once per
 * reason, not once per second. A record is created only where the witness knows of no commit.
 */
export function publisher(p: {
  readonly store: Pick<ControlStore, 'read'> & {
    publish(shard: Shard, rules: PublishedRules, mayCreate: boolean): Promise<unknown>
  }
  readonly shards: readonly Shard[]
  readonly book: Rulebook
  readonly witness: Seal & { highest(shard: Shard): number }
  readonly log: Log
}): () => Promise<string | undefined> {
  const { store, book, witness, log } = p
  let told = ''
  return async () => {
    const rules = publishedOf(book.current())
    let hinders = ''
    for (const shard of p.shards) {
      try {
        const known = await store.read(shard)
        // A broker that commits nothing remembers all the same how far the others had come.
        if (known !== undefined && known.seq > witness.highest(shard))
          await witness.seal({ shard, seq: known.seq, eventHash: '-' })
        if (known === undefined || !isUnder(book.current(), known.control))
          await store.publish(shard, rules, witness.highest(shard) === 0)
      } catch (thrown) {
        if (!isBrokerError(thrown)) throw thrown
        hinders = thrown.message
      }
    }
    if (hinders !== told && hinders !== '') log('error', 'nothing is issued', { reason: hinders })
    told = hinders
    return hinders === '' ? undefined : hinders
  }
}
