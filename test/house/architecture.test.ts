// The dependency table of the design, as data. `domain` imports nothing at all; only compose.ts may import everything.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const SRC = resolve(import.meta.dirname, '../../src')
const adapter = ['domain/', 'broker/ports.ts']
const door = ['domain/', 'broker/']

/** Beyond itself. `type:` = `import type` only. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  policy: ['domain/'],
  broker: ['domain/', 'type:policy/'],
  verifier: [],
  redis: adapter,
  vault: adapter,
  tokens: adapter,
  log: adapter,
  identity: adapter,
  webauthn: adapter,
  observe: adapter,
  // Its configuration is read by the same strict reader as every other file.
  forge: [...adapter, 'identity/config-file.ts', 'identity/fields.ts'],
  http: door,
  oauth: door,
  mcp: door,
  console: door,
  queue: door,
  hooks: door,
  // A client of the wire alone, and the pure domain. What works without a broker (`policy check`, `policy test`, askings in YAML) is loaded
  // when it is wanted, and is the very code that the broker runs: a second compiler of policies would be another opinion.
  cli: [
    'domain/',
    'http/wire.ts',
    'type:http/endpoint.ts',
    'identity/config-file.ts',
    'type:identity/',
    'policy/',
    'vault/backends.ts',
    'rules.ts',
  ],
}
/** Folders that may not import every package. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  // Published on its own: whoever installs it installs one package more, and no other.
  verifier: ['node:', 'jose'],
}
/** Files beside the folders. */
const TOP: Readonly<Record<string, readonly string[]>> = {
  'compose.ts': ['*'],
  'main.ts': ['check.ts', 'compose.ts', 'settings.ts'],
  'settings.ts': ['setting-kinds.ts', 'domain/', 'identity/config-file.ts', 'type:http/'],
  'setting-kinds.ts': ['domain/', 'http/client-address.ts'],
  'check.ts': ['http/certificate.ts', 'identity/config-file.ts', 'rules.ts', 'settings.ts', 'vault/backends.ts'],
  'rules.ts': [
    'broker/ports.ts',
    'broker/rulebook.ts',
    'domain/',
    'forge/',
    'identity/',
    'observe/log.ts',
    'policy/',
    'settings.ts',
  ],
}

interface Import {
  readonly target: string
  readonly typeOnly: boolean
}

/** Every form: import, import type, side effects, dynamic import, export from. */
function importsOf(source: string): readonly Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
  const forms = [
    /\b(?:import|export)\s+(type\s+)?(?:[\w*${}\s,]+?\s+from\s+)?['"]([^'"]+)['"]/g,
    /\b(?:import|require)\s*\(\s*()['"]([^'"]+)['"]/g,
  ]
  return forms.flatMap((form) =>
    [...code.matchAll(form)].map(([, type, target]) => ({ target: target ?? '', typeOnly: Boolean(type) })),
  )
}

const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file))

function violationsOf(file: string, source: string): readonly string[] {
  const here = relative(SRC, file)
  const [folder = ''] = here.split('/')
  const isTop = !here.includes('/')
  const allowed = isTop ? TOP[here] : MAY_IMPORT[folder]
  if (allowed === undefined) return [`${here}: not in the table`]
  return importsOf(source).flatMap(({ target, typeOnly }) => {
    if (!target.startsWith('.')) {
      const packages = PACKAGES[folder]
      const isAllowed = packages === undefined || packages.some((name) => target === name || target.startsWith(name))
      return isAllowed ? [] : [`${here}: ${folder} imports the package ${target}`]
    }
    const wanted = relative(SRC, resolve(file, '..', target))
    if (wanted.startsWith('..')) return [`${here}: leaves src for ${target}`]
    if (!isTop && wanted.startsWith(`${folder}/`)) return []
    const fits = (rule: string): boolean =>
      rule === '*' ||
      (rule.startsWith('type:')
        ? typeOnly && wanted.startsWith(rule.slice(5))
        : rule.endsWith('/')
          ? wanted.startsWith(rule)
          : wanted === rule)
    return allowed.some(fits) ? [] : [`${here} imports ${wanted}${typeOnly ? ' (type)' : ''}`]
  })
}

describe('architecture', () => {
  it('holds the dependency table of the design', () => {
    expect(filesIn(SRC).flatMap((file) => violationsOf(file, readFileSync(file, 'utf8')))).toEqual([])
  })

  it('would see every form of a forbidden import', () => {
    const file = join(SRC, 'domain/x.ts')
    for (const source of [
      `import { a } from '../broker/ports.ts'`,
      `import type { a } from '../broker/ports.ts'`,
      `import '../broker/ports.ts'`,
      `export * from '../broker/ports.ts'`,
      `const a = await import('../broker/ports.ts')`,
      `import x from 'node:fs'`,
      `import {\n  a,\n  b,\n} from '../redis/keys.ts'`,
    ]) {
      expect(violationsOf(file, source), source).toHaveLength(1)
    }
    const verifier = join(SRC, 'verifier/x.ts')
    for (const source of [
      `import { z } from 'zod'`,
      `import type { a } from '../domain/ids.ts'`,
      `export * from '../cli/x.ts'`,
    ])
      expect(violationsOf(verifier, source), source).toHaveLength(1)
    for (const source of [
      `import { hash } from 'node:crypto'`,
      `import { SignJWT } from 'jose'`,
      `import { a } from './keys.ts'`,
    ])
      expect(violationsOf(verifier, source), source).toEqual([])
  })
})
