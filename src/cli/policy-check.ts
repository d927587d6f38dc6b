// A folder of configuration files compiled here exactly as the broker compiles it: the same code, all problems at once.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Problem } from '../identity/config-file.ts'
import { type LoadedRules, RulesError, readConfiguration } from '../rules.ts'
import { type Backends, compileBackends } from '../vault/backends.ts'
import { hasCode } from './profiles.ts'

export interface Checked {
  /** Undefined exactly where there are problems. */
  readonly rules: LoadedRules | undefined
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
}
interface Elsewhere {
  readonly issuers: string | undefined
  readonly clients: string | undefined
  readonly backends: string | undefined
  readonly forges: string | undefined
  readonly dev: boolean
}

/** A key that signs nothing (RFC 7517 A.1): stands in where the file of a resource server's public keys lies elsewhere. */
const NOT_HERE = JSON.stringify({
  keys: [
    {
      kty: 'EC',
      crv: 'P-256',
      x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
      y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
      kid: 'not-here',
    },
  ],
})

export function compileFolder(folder: string, elsewhere: Elsewhere): Checked {
  const file = (name: keyof Omit<Elsewhere, 'dev'>): string => elsewhere[name] ?? join(folder, `${name}.yaml`)
  const notes: Problem[] = []
  const { backends, problems } = backendsIn(file('backends'), elsewhere.dev, notes)
  const forges = file('forges')
  const where = {
    mode: elsewhere.dev ? ('dev' as const) : ('production' as const),
    configDir: folder,
    issuersFile: file('issuers'),
    clientsFile: file('clients'),
    // A folder without forges is one for a broker that asks none.
    ...(elsewhere.forges !== undefined || existsSync(forges) ? { forgesFile: forges } : {}),
  }
  const readNamed = (path: string): string => {
    try {
      return readFileSync(path, 'utf8')
    } catch (thrown) {
      if (!hasCode(thrown, 'ENOENT')) throw thrown
      notes.push({ file: path, line: 1, message: 'not here; the broker needs it when it starts' })
      return NOT_HERE
    }
  }
  try {
    const { rules, warnings } = readConfiguration(where, backends, readNamed)
    return { rules: problems.length > 0 ? undefined : rules, problems, warnings: [...warnings, ...notes] }
  } catch (thrown) {
    if (!(thrown instanceof RulesError)) throw thrown
    return { rules: undefined, problems: [...thrown.problems, ...problems], warnings: notes }
  }
}

/** A folder without backends is one for a broker that runs without them. */
function backendsIn(
  file: string,
  dev: boolean,
  notes: Problem[],
): { readonly backends?: Backends; readonly problems: readonly Problem[] } {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (thrown) {
    if (hasCode(thrown, 'ENOENT')) return { problems: [] }
    throw thrown
  }
  const compiled = compileBackends(text, { file, plainHttp: dev, readFile: (path) => readFileSync(path, 'utf8') })
  if (!compiled.ok) return { problems: compiled.problems }
  notes.push(...compiled.warnings)
  return { backends: compiled.value, problems: [] }
}
