// The configuration files that decide what is allowed: read, compiled together, and looked at again while the broker runs.
// Invariant: rules are taken whole or not at all; a file that cannot be used leaves the rules that are in force.
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Rules } from './broker/ports.ts'
import { type Clients, compileClients } from './identity/clients.ts'
import type { Compiled, Problem } from './identity/config-file.ts'
import { compileDirectory, type PeopleDirectory } from './identity/directory.ts'
import { compileIssuers, type Issuer } from './identity/issuers.ts'
import { compilePeople, type People } from './identity/people.ts'
import { type CompiledPolicy, compilePolicy } from './policy/compile.ts'
import { PolicyError } from './policy/problem.ts'
import { checkReferences } from './policy/references.ts'
import type { Settings } from './settings.ts'

export interface LoadedRules extends Rules {
  readonly policy: CompiledPolicy
  readonly directory: PeopleDirectory
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

type Where = Pick<Settings, 'configDir' | 'issuersFile' | 'clientsFile' | 'mode'>

/** Reads and compiles all of them. Throws RulesError with every problem of every file. */
export function readConfiguration(where: Where): Configuration {
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
  const beside = (file: string) => (name: string) => readFileSync(resolve(dirname(file), name), 'utf8')

  const people = take<People>(compilePeople(read(path('people.yaml')), path('people.yaml')))
  const clients = take<Clients>(compileClients(read(where.clientsFile), where.clientsFile, beside(where.clientsFile)))
  const issuers = take<readonly Issuer[]>(
    compileIssuers(read(where.issuersFile), where.issuersFile, beside(where.issuersFile), {
      dev: where.mode === 'dev',
    }),
  )
  const policy = policyFrom(read, path, problems)
  const names = issuers?.map(({ name }) => name)
  const directory = people && clients && take(compileDirectory(people, clients, names))
  if (policy && directory) problems.push(...checkReferences(policy, directory))
  if (problems.length > 0 || policy === undefined || directory === undefined || issuers === undefined)
    throw new RulesError(problems)
  return { rules: { policy, directory }, issuers, warnings }
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
  return [...files, where.clientsFile, where.issuersFile]
    .map((file) => {
      try {
        return readFileSync(file, 'utf8')
      } catch {
        return '?'
      }
    })
    .join('\0')
}
