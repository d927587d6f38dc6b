// Writ's policies at Vault, out of the .hcl files beside this one. Invariant: SQL and database are pinned to exactly what the broker
// sends (src/vault/statements.ts), so that a stolen broker token cannot make Vault run anything else.
import { readFileSync } from 'node:fs'
import type { VaultDatabase, VaultPath } from '../../src/domain/entitlement.ts'
import { type EntitlementId, isName } from '../../src/domain/ids.ts'
import { isMount, isSegment, policyName } from '../../src/vault/names.ts'
import { isVaultPath } from '../../src/vault/path-engine.ts'
import { databaseStatements } from '../../src/vault/statements.ts'

export interface DatabaseEntitlement {
  readonly id: EntitlementId
  readonly database: VaultDatabase
}
/** What it reads or writes is there already: Writ brings only the rights. */
export interface PathEntitlement {
  readonly id: EntitlementId
  readonly path: VaultPath
}
export type VaultEntitlement = DatabaseEntitlement | PathEntitlement
export const isOfDatabase = (one: VaultEntitlement): one is DatabaseEntitlement => 'database' in one

const template = (file: string): string => readFileSync(new URL(file, import.meta.url), 'utf8')

/** Fills in the names in angle brackets, all of them, once: what is filled in is not looked at again. */
const fill = (text: string, values: Readonly<Record<string, string>>): string =>
  text.replace(/<(\w+)>/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new RangeError(`the template names <${name}>, which nothing fills in`)
    return value
  })

/** Without the comments: Vault keeps a policy's text, and the names in the comments are no names of ours. */
const withoutComments = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')

/** HCL's strings are JSON's, but for `${`, which would start an expression. */
const hcl = (value: string | readonly string[]): string => {
  const text = JSON.stringify(value)
  if (text.includes('${')) throw new RangeError('a value must not hold ${')
  return text
}

const checked = <Entitlement extends VaultEntitlement>(entitlement: Entitlement): Entitlement => {
  const { id } = entitlement
  if (!isName(id)) throw new RangeError('not the name of an entitlement')
  const isSafe = isOfDatabase(entitlement)
    ? isMount(entitlement.database.mount) && isSegment(entitlement.database.connection)
    : isVaultPath(entitlement.path.mount) && isVaultPath(entitlement.path.path)
  if (!isSafe) throw new RangeError(`${id}: mount, path or connection`)
  return entitlement
}

const pathOf = ({ path: { mount, path } }: PathEntitlement): string => `${mount}/${path}`

const leasesOf = (entitlements: readonly VaultEntitlement[]): string =>
  hcl([
    ...new Set(
      entitlements
        .map(checked)
        .map((one) => (isOfDatabase(one) ? `${one.database.mount}/creds/writ-${one.id}-*` : `${pathOf(one)}/*`)),
    ),
  ])

/** The broker's own policy: fixed rights, and for each database entitlement the roles that it may write. */
export const brokerPolicy = (entitlements: readonly VaultEntitlement[]): string => {
  const fixed = fill(withoutComments(template('broker.hcl')), {
    holdPolicies: `[${entitlements.map(({ id }) => hcl([policyName(id)])).join(', ')}]`,
    leases: leasesOf(entitlements),
  })
  const perEntitlement = entitlements.filter(isOfDatabase).map(({ id, database }) => {
    const { creation, revocation } = databaseStatements(database.grantedRole, database.ownerRole)
    return fill(withoutComments(template('broker-entitlement.hcl')), {
      entitlement: id,
      mount: database.mount,
      connection: hcl(database.connection),
      creation: hcl(creation),
      revocation: hcl(revocation),
    })
  })
  return fixed + perEntitlement.join('')
}

/** The policy of one entitlement's holds. `payments-*` also matches the roles of `payments-audit`, so those are denied by name. */
export const grantPolicy = (entitlement: VaultEntitlement, all: readonly VaultEntitlement[]): string => {
  const one = checked(entitlement)
  if (!isOfDatabase(one)) return pathPolicy(one)
  const { id, database } = one
  const longer = all.filter((other) => other.id.startsWith(`${id}-`))
  const denied = longer.map(
    (other) => `path ${hcl(`${database.mount}/creds/writ-${other.id}-*`)} {\n  capabilities = ["deny"]\n}\n`,
  )
  return fill(withoutComments(template('grant.hcl')), { entitlement: id, mount: database.mount }) + denied.join('')
}

function pathPolicy(one: PathEntitlement): string {
  const { method, parameters, lifeParameter } = one.path
  const sent = [
    ...Object.entries(parameters).map(([name, text]) => `${hcl(name)} = ${hcl([text])}`),
    ...(lifeParameter === undefined ? [] : [`${hcl(lifeParameter)} = []`]),
  ]
  const names = [...Object.keys(parameters), ...(lifeParameter === undefined ? [] : [lifeParameter])]
  // An empty list of allowed parameters would allow them all.
  const pinned =
    sent.length === 0
      ? 'denied_parameters = { "*" = [] }'
      : `required_parameters = ${hcl(names)}\n  allowed_parameters = { ${sent.join(', ')} }`
  return fill(withoutComments(template('grant-path.hcl')), {
    entitlement: one.id,
    path: hcl(pathOf(one)),
    capabilities: hcl(method === 'read' ? ['read'] : ['create', 'update']),
    parameters: method === 'read' ? '' : pinned,
  })
}

/** The policy of the inventory, which finds what was left behind. */
export const inventoryPolicy = (entitlements: readonly VaultEntitlement[]): string => {
  const mounts = [
    ...new Set(entitlements.filter(isOfDatabase).map((entitlement) => checked(entitlement).database.mount)),
  ]
  const fixed = fill(withoutComments(template('inventory.hcl')), { leases: leasesOf(entitlements) })
  return fixed + mounts.map((mount) => fill(withoutComments(template('inventory-mount.hcl')), { mount })).join('')
}
