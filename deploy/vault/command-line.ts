// `npm run vault:setup`: applies the set-up for the entitlements and backends of the configuration, or prints it for a Vault
// administrator who applies it by hand. Secrets go into the files that backends.yaml names, readable by their owner only, and
// nowhere else: never to the terminal.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { compileEntitlements } from '../../src/policy/entitlements.ts'
import { compileBackends, type VaultBackend } from '../../src/vault/backends.ts'
import { policyName } from '../../src/vault/names.ts'
import { databaseStatements } from '../../src/vault/statements.ts'
import { brokerPolicy, grantPolicy, inventoryPolicy, isOfDatabase, type VaultEntitlement } from './policies.ts'
import type { SchemaRights } from './postgres-roles.ts'
import type { applyVaultSetup, DatabaseConnection, VaultSetupResult } from './setup.ts'
import { appRole, tokenRole } from './token-roles.ts'

const USAGE = `usage: npm run vault:setup -- [options]
  --entitlements FILE          default config/entitlements.yaml
  --backends FILE              default config/backends.yaml
  --backend NAME               of backends.yaml; default vault-main
  --superuser NAME=FILE        for each connection: a file with a superuser's URL of the entitlement's database, or
  --vault-password NAME=FILE   where postgres.sql was run by hand: the password of Vault's login (the probe's is in its passwordFile)
  --vault-sees NAME=HOST:PORT  where Vault reaches the database under another address than the broker
  --vault-login USER           default writ_vault
  --schema NAME                where the logins work; default public
  --schema-rights RIGHTS       USAGE or "USAGE, CREATE" (migrations); default USAGE
  --broker-cidr CIDR           from where broker and inventory may come; can be repeated
  --print                      print the policies, roles and SQL statements instead; needs no Vault
VAULT_TOKEN holds the administrator's token. NODE_EXTRA_CA_CERTS names a private authority of Vault's certificate.
`
const OPTIONS = {
  entitlements: { type: 'string', default: 'config/entitlements.yaml' },
  backends: { type: 'string', default: 'config/backends.yaml' },
  backend: { type: 'string', default: 'vault-main' },
  superuser: { type: 'string', multiple: true, default: [] as string[] },
  'vault-password': { type: 'string', multiple: true, default: [] as string[] },
  'vault-sees': { type: 'string', multiple: true, default: [] as string[] },
  'vault-login': { type: 'string', default: 'writ_vault' },
  schema: { type: 'string', default: 'public' },
  'schema-rights': { type: 'string', default: 'USAGE' },
  'broker-cidr': { type: 'string', multiple: true, default: [] as string[] },
  print: { type: 'boolean', default: false },
} as const
const parseOptions = (args: readonly string[]) => parseArgs({ args: [...args], options: OPTIONS }).values
type Options = ReturnType<typeof parseOptions>

/** For the one who typed it: told without a stack. */
class Refusal extends Error {}

const readEntitlements = (file: string, backend: string): readonly VaultEntitlement[] => {
  const { entitlements, problems } = compileEntitlements(file, readFileSync(file, 'utf8'))
  const [problem] = problems
  if (problem) throw new Refusal(`${problem.file}:${problem.line} ${problem.path}: ${problem.message}`)
  const found = entitlements.flatMap(({ id, credential }): VaultEntitlement[] => {
    if (credential.kind !== 'vault' || credential.backend !== backend) return []
    return [credential.engine === 'database' ? { id, database: credential.database } : { id, path: credential.path }]
  })
  if (found.length === 0) throw new Refusal(`${file}: no entitlement has the backend ${backend}`)
  return found
}

const readBackend = (file: string, name: string): VaultBackend => {
  const options = { file, plainHttp: false, readFile: (path: string) => readFileSync(path, 'utf8') }
  const compiled = compileBackends(readFileSync(file, 'utf8'), options)
  if (!compiled.ok) {
    throw new Refusal(
      compiled.problems.map((problem) => `${problem.file}:${problem.line} ${problem.message}`).join('\n'),
    )
  }
  const backend = compiled.value.get(name)
  if (!backend) throw new Refusal(`${file}: there is no backend ${name}`)
  return backend
}

/** `name=value` options as a map. */
const named = (option: string, values: readonly string[]): ReadonlyMap<string, string> =>
  new Map(
    values.map((text) => {
      const [, name, value] = /^([^=]+)=(.+)$/.exec(text) ?? []
      if (name === undefined || value === undefined) throw new Refusal(`--${option} ${text}: write name=value`)
      return [name, value]
    }),
  )

const secretIn = (file: string): string => readFileSync(file, 'utf8').trim()

const isSchemaRights = (text: string): text is SchemaRights => text === 'USAGE' || text === 'USAGE, CREATE'

/** One for each connection that an entitlement names, as its probe in backends.yaml describes it. */
const connectionsOf = (
  entitlements: readonly VaultEntitlement[],
  backend: VaultBackend,
  options: Options,
): Readonly<Record<string, DatabaseConnection>> => {
  const superusers = named('superuser', options.superuser)
  const passwords = named('vault-password', options['vault-password'])
  const addresses = named('vault-sees', options['vault-sees'])
  const schemaRights = options['schema-rights']
  if (!isSchemaRights(schemaRights)) throw new Refusal('--schema-rights: write USAGE or "USAGE, CREATE"')
  const names = [...new Set(entitlements.filter(isOfDatabase).map(({ database }) => database.connection))]
  return Object.fromEntries(
    names.map((name) => {
      const probe = backend.probes.get(name)
      if (!probe) throw new Refusal(`backends.yaml: the connection ${name} has no probe`)
      const [, host = probe.host, port = probe.port] = /^(.+):(\d+)$/.exec(addresses.get(name) ?? '') ?? []
      const [superuser, password] = [superusers.get(name), passwords.get(name)]
      if (superuser === undefined && password === undefined)
        throw new Refusal(`the connection ${name} needs --superuser or --vault-password`)
      const by =
        superuser !== undefined
          ? { superuserUrl: secretIn(superuser) }
          : { vaultPassword: secretIn(password ?? ''), probePassword: secretIn(probe.passwordFile) }
      const tls = {
        sslmode: probe.tls ? 'verify-full' : 'disable',
        ...(probe.tls?.ca ? { ca: probe.tls.ca } : {}),
      } as const
      const logins = { vaultLogin: options['vault-login'], probeLogin: probe.user }
      const place = { host, port: Number(port), database: probe.database, schema: options.schema, schemaRights }
      return [name, { ...place, ...tls, ...logins, by }]
    }),
  )
}

/** Whole or not at all: a broker may be reading it. */
const writeSecret = (file: string, secret: string): void => {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(`${file}.new`, secret, { mode: 0o600 })
  renameSync(`${file}.new`, file)
  process.stdout.write(`wrote ${file}\n`)
}

const writeSecrets = (backend: VaultBackend, made: VaultSetupResult): void => {
  writeSecret(backend.roleIdFile, made.broker.roleId)
  writeSecret(backend.secretIdFile, made.broker.secretId)
  const folder = dirname(backend.roleIdFile)
  writeSecret(join(folder, 'inventory-role-id'), made.inventory.roleId)
  writeSecret(join(folder, 'inventory-secret-id'), made.inventory.secretId)
  for (const [name, { password }] of Object.entries(made.probes)) {
    const probe = backend.probes.get(name)
    if (probe) writeSecret(probe.passwordFile, password)
  }
}

const print = (entitlements: readonly VaultEntitlement[], options: Options): void => {
  const brokerCidrs = options['broker-cidr']
  const parts: [string, string][] = [
    ['policy writ-broker', brokerPolicy(entitlements)],
    ['policy writ-inventory', inventoryPolicy(entitlements)],
    ...entitlements.map((one): [string, string] => [`policy ${policyName(one.id)}`, grantPolicy(one, entitlements)]),
    ['auth/token/roles/writ', JSON.stringify(tokenRole({ brokerCidrs }), null, 2)],
    ['auth/approle/role/writ-broker', JSON.stringify(appRole('writ-broker', { brokerCidrs }), null, 2)],
    ['auth/approle/role/writ-inventory', JSON.stringify(appRole('writ-inventory', { brokerCidrs }), null, 2)],
    ...entitlements.filter(isOfDatabase).map(({ id, database }): [string, string] => {
      const { creation, revocation } = databaseStatements(database.grantedRole, database.ownerRole)
      return [`SQL of ${id}`, `-- at the beginning\n${creation.join(';\n')}\n-- at the end\n${revocation.join(';\n')}`]
    }),
  ]
  for (const [title, text] of parts) process.stdout.write(`##### ${title}\n${text.trim()}\n\n`)
}

const parsed = (args: readonly string[]): Options => {
  try {
    return parseOptions(args)
  } catch (error) {
    throw new Refusal(`${error instanceof Error ? error.message : ''}\n${USAGE}`)
  }
}

/** The exit code: 0, or 2 for what the caller can mend. */
export const runFromCommandLine = async (args: readonly string[], apply: typeof applyVaultSetup): Promise<number> => {
  try {
    const options = parsed(args)
    const entitlements = readEntitlements(options.entitlements, options.backend)
    if (options.print) {
      print(entitlements, options)
      return 0
    }
    const backend = readBackend(options.backends, options.backend)
    const adminToken = process.env.VAULT_TOKEN
    if (!adminToken) throw new Refusal(`VAULT_TOKEN is not set\n${USAGE}`)
    const made = await apply({
      addr: backend.address,
      adminToken,
      ...(backend.namespace === undefined ? {} : { namespace: backend.namespace }),
      appRoleMount: backend.appRoleMount,
      brokerCidrs: options['broker-cidr'],
      connections: connectionsOf(entitlements, backend, options),
      entitlements,
    })
    writeSecrets(backend, made)
    return 0
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    process.stderr.write(`${error.message}\n`)
    return 2
  }
}
