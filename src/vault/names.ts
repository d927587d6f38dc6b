// What a mint is called at Vault and in PostgreSQL. Everything is made from ids that the broker itself chose, so that whatever a mint
// may have left can be found from its id alone, and no text of a caller ever becomes part of a path, a role or a login.
import { VAULT_SEGMENT } from '../domain/entitlement.ts'
import { type EntitlementId, isName, type MintId, type MintName, readMintId } from '../domain/ids.ts'

/** Vault's role of one mint; the broker's policy at Vault lets it write `writ-<entitlement>-*` only. */
export const roleName = (entitlement: EntitlementId, mint: MintId): string => `writ-${entitlement}-${mint}`

/** The one policy of a hold: it may read the logins of one entitlement, and nothing else. */
export const policyName = (entitlement: EntitlementId): string => `writ-grant-${entitlement}`

/** The hold's display name. Vault puts `token-` in front of it, and the user name template turns that into the login's name. */
export const displayName = (mint: MintId): string => mint

/** The PostgreSQL login of one mint: at most 50 characters, so that PostgreSQL (63) never cuts it. One mint, one login. */
export const loginName = (mint: MintId): string => `writ-${mint}`

/** The `username_template` of every database connection that Writ uses: it makes `loginName` out of the hold's display name. */
export const USERNAME_TEMPLATE = '{{ .DisplayName | replace "token-" "writ-" | truncate 63 }}'

/** Whose role that is; undefined for a name that `roleName` does not make. An entitlement's name holds no mint's id at its end. */
export function mintOfRole(role: string): (MintName & { readonly entitlement: string }) | undefined {
  const [, entitlement = '', mint = ''] = /^writ-(.+?)-(g\d{1,4}-[a-z2-7]{26}-\d{1,6})$/.exec(role) ?? []
  const name = readMintId(mint)
  return name !== undefined && isName(entitlement) ? { ...name, entitlement } : undefined
}
/** Whose login that is; undefined for a name that `loginName` does not make. */
export const mintOfLogin = (login: string): MintName | undefined =>
  login.startsWith('writ-') ? readMintId(login.slice('writ-'.length)) : undefined

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/
/** Text that may stand in a Vault path as it is: no slash, no dot, no percent sign, no wildcard. */
export const isSegment = (text: string): boolean => SEGMENT.test(text)
const PATH_SEGMENT = new RegExp(`^${VAULT_SEGMENT}$`)
/** The same with dots inside, for paths that the operator has written. */
export const isPathSegment = (text: string): boolean => text.length <= 128 && PATH_SEGMENT.test(text)
/** A mount: segments joined by slashes. */
export const isMount = (text: string): boolean => text.length <= 128 && text.split('/').every(isSegment)
