// Writ's policies at Vault, out of the .hcl files beside this one. Invariant: SQL and database are pinned to exactly what the broker
// sends (src/vault/statements.ts), so that a stolen broker token cannot make Vault run anything else.
import { readFileSync } from 'node:fs'
import type { VaultDatabase } from '../../src/domain/entitlement.ts'
import { type EntitlementId, isName } from '../../src/domain/ids.ts'
import { isMount, isSegment, policyName } from '../../src/vault/names.ts'
import { databaseStatements } from '../../src/vault/statements.ts'

export interface DatabaseEntitlement {
  readonly id: EntitlementId
  readonly database: VaultDatabase
}

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

const checked = (entitlement: DatabaseEntitlement): DatabaseEntitlement => {
  const { id, database } = entitlement
  if (!isName(id)) throw new RangeError('not the name of an entitlement')
  if (!isMount(database.mount) || !isSegment(database.connection)) throw new RangeError(`${id}: mount or connection`)
  return entitlement
}

const leasesOf = (entitlements: readonly DatabaseEntitlement[]): string =>
  hcl(entitlements.map(({ id, database }) => `${database.mount}/creds/writ-${id}-*`))

/** The broker's own policy: fixed rights, and for each entitlement the roles that it may write. */
export const brokerPolicy = (entitlements: readonly DatabaseEntitlement[]): string => {
  const fixed = fill(withoutComments(template('broker.hcl')), {
    holdPolicies: `[${entitlements.map(({ id }) => hcl([policyName(id)])).join(', ')}]`,
    leases: leasesOf(entitlements),
  })
  const perEntitlement = entitlements.map(checked).map(({ id, database }) => {
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
export const grantPolicy = (entitlement: DatabaseEntitlement, all: readonly DatabaseEntitlement[]): string => {
  const { id, database } = checked(entitlement)
  const longer = all.filter((other) => other.id.startsWith(`${id}-`))
  const denied = longer.map(
    (other) => `path ${hcl(`${database.mount}/creds/writ-${other.id}-*`)} {\n  capabilities = ["deny"]\n}\n`,
  )
  return fill(withoutComments(template('grant.hcl')), { entitlement: id, mount: database.mount }) + denied.join('')
}

/** The policy of the inventory, which finds what was left behind. */
export const inventoryPolicy = (entitlements: readonly DatabaseEntitlement[]): string => {
  const mounts = [...new Set(entitlements.map((entitlement) => checked(entitlement).database.mount))]
  const fixed = fill(withoutComments(template('inventory.hcl')), { leases: leasesOf(entitlements) })
  return fixed + mounts.map((mount) => fill(withoutComments(template('inventory-mount.hcl')), { mount })).join('')
}
