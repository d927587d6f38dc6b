// Who the authors of a change are in the people directory. Invariant: an account that nobody there has refuses the whole change, because
// it could be another account of whoever wants to decide on it.
import { type Authors, authorPersons, authorsUnknown } from '../domain/authorship.ts'
import type { ChangeRef, Ports, Rules } from './ports.ts'

/** Rejects `authors_unknown`, `forge_unavailable`. */
export async function authorsOfChange(
  p: Pick<Ports, 'forges'>,
  { directory }: Pick<Rules, 'directory'>,
  change: ChangeRef,
): Promise<Authors> {
  const found = (await p.forges.authorsOf(change)).map(({ account, roles }) => ({
    account,
    roles,
    principal: directory.byAccount(account),
  }))
  if (found.length === 0) throw authorsUnknown('the forge names nobody')
  const unlisted = found.filter(({ principal }) => principal === undefined).map(({ account }) => account.subject)
  if (unlisted.length > 0)
    throw authorsUnknown('an account is nobody in the people directory', { forge: change.forge, unlisted })
  // Two accounts of one person are one author with the roles of both.
  const known = Map.groupBy(
    found.flatMap(({ principal, roles }) => (principal === undefined ? [] : [{ principal, roles }])),
    ({ principal }) => principal.id,
  )
  const each = [...known.values()].flatMap((parts) => {
    const principal = parts[0]?.principal
    return principal === undefined ? [] : [{ principal, roles: [...new Set(parts.flatMap(({ roles }) => roles))] }]
  })
  const principals = each.map(({ principal }) => principal)
  return {
    principals,
    persons: authorPersons(principals),
    labels: each.map(({ principal, roles }) => `${principal.id}: ${roles.join(', ')}`).toSorted(),
  }
}
