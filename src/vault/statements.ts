// The SQL that makes and unmakes one login in PostgreSQL, written once: the broker sends exactly these bytes to Vault, and the broker's
// policy at Vault (`deploy/vault`) pins exactly these bytes, so that a stolen broker token cannot make Vault run anything else.
// Vault fills in {{name}}, {{password}} and {{expiration}}, and runs the statements of a list in one transaction.

export interface DatabaseStatements {
  readonly creation: readonly string[]
  readonly revocation: readonly string[]
}

/**
 * The statements for logins that get the rights of `grantedRole`, and whose objects go to `ownerRole` at their end.
 * Throws RangeError for a name that is not a plain PostgreSQL identifier.
 */
export function databaseStatements(grantedRole: string, ownerRole: string): DatabaseStatements {
  const granted = identifier(grantedRole)
  const owner = identifier(ownerRole)
  return {
    creation: [
      `CREATE ROLE "{{name}}" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE ${granted}`,
    ],
    revocation: [revocation(owner)],
  }
}

/**
 * One DO block, because the end must succeed when there is nothing left to end, and ALTER ROLE knows no IF EXISTS.
 * - The lock limit is there because Vault serialises all work on a connection: waiting for a lock of somebody else's would hold up every other end.
 * - The sessions are terminated before the objects move, as they may hold locks on them, and again after the role is gone, for whoever
 *   logged in before this transaction became visible. (What slips in between its end and its commit is the probe's.)
 * - REASSIGN comes before DROP OWNED, which would otherwise destroy what the login created: the customer's migration.
 * - The membership is what lets Vault's own login, which is no superuser, reassign.
 */
const revocation = (owner: string): string => `DO $writ$
DECLARE
  login oid := (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = '{{name}}');
BEGIN
  IF login IS NULL THEN
    RETURN;
  END IF;
  PERFORM pg_catalog.set_config('lock_timeout', '3s', true);
  ALTER ROLE "{{name}}" NOLOGIN;
  PERFORM pg_catalog.pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity WHERE usesysid = login;
  GRANT "{{name}}" TO CURRENT_USER;
  REASSIGN OWNED BY "{{name}}" TO ${owner};
  DROP OWNED BY "{{name}}";
  DROP ROLE "{{name}}";
  PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usesysid = login;
END
$writ$`

function identifier(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) throw new RangeError('not a plain PostgreSQL role name')
  return `"${name}"`
}
