// Everything that can be read before anything is opened: settings, configuration files, the certificate. The start reads them here, and
// `--check` does and stops there. Invariant: every problem is told at once, each with its place and what mends it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readCertificate } from './http/certificate.ts'
import type { Problem } from './identity/config-file.ts'
import { type Configuration, RulesError, readConfiguration } from './rules.ts'
import { type Places, readSettings, SettingsError } from './settings.ts'
import { type Backends, compileBackends } from './vault/backends.ts'

export interface Files {
  readonly configuration: Configuration
  readonly backends: Backends | undefined
}

/** Throws RulesError with every problem of every file. */
export function readFiles(settings: Places): Files {
  const problems: Problem[] = []
  const backends = settings.vault ? readBackends(settings, problems) : undefined
  const configuration = readRules(settings, backends, problems)
  const { firstOperator, tls } = settings
  const isThere = configuration?.rules.directory
    .entered()
    .some(({ id, kind }) => id === firstOperator && kind === 'person')
  if (firstOperator !== undefined && isThere !== true) {
    const message = `has no person '${firstOperator}', whom WRIT_FIRST_OPERATOR names: add the person, or name another`
    if (configuration !== undefined) problems.push({ file: join(settings.configDir, 'people.yaml'), line: 1, message })
  }
  if (tls !== undefined) {
    try {
      readCertificate(tls)
    } catch (thrown) {
      problems.push({ file: tls.certFile, line: 1, message: thrown instanceof Error ? thrown.message : 'unknown' })
    }
  }
  if (configuration === undefined || problems.length > 0) throw new RulesError(problems)
  return { configuration, backends }
}

function readRules(settings: Places, backends: Backends | undefined, problems: Problem[]): Configuration | undefined {
  try {
    return readConfiguration(settings, backends)
  } catch (thrown) {
    if (!(thrown instanceof RulesError)) throw thrown
    problems.push(...thrown.problems)
    return undefined
  }
}

function readBackends({ backendsFile: file, mode }: Places, problems: Problem[]): Backends | undefined {
  try {
    const compiled = compileBackends(readFileSync(file, 'utf8'), {
      file,
      plainHttp: mode === 'dev',
      readFile: (path) => readFileSync(path, 'utf8'),
    })
    if (compiled.ok) return compiled.value
    problems.push(...compiled.problems)
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown)) throw thrown
    problems.push({ file, line: 1, message: 'this file cannot be read' })
  }
  return undefined
}

/** For `--check`: opens nothing, and looks at the files also where the settings are not usable. */
export function check(env: Readonly<Record<string, string | undefined>>): {
  readonly ok: boolean
  readonly said: readonly string[]
} {
  const settings = outcome(() => readSettings(env), SettingsError)
  const places: Places | undefined = settings.value ?? settings.refusal?.places
  const files = places && outcome(() => readFiles(places), RulesError)
  const warnings = files?.value?.configuration.warnings ?? []
  const refusals = [settings.refusal, files?.refusal].filter((refusal) => refusal !== undefined)
  return {
    ok: refusals.length === 0,
    said: [...refusals.map(({ message }) => message), ...warnings.map((w) => `${w.file}:${w.line}: ${w.message}`)],
  }
}

function outcome<T, E extends Error>(
  work: () => T,
  kind: new (...args: never[]) => E,
): { readonly value?: T; readonly refusal?: E } {
  try {
    return { value: work() }
  } catch (thrown) {
    if (thrown instanceof kind) return { refusal: thrown }
    throw thrown
  }
}
