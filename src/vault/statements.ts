// The SQL that makes and unmakes one login in PostgreSQL, written once: the broker sends exactly these bytes to Vault, and the broker's
// policy at Vault (`deploy/vault`) pins exactly these bytes, so that a stolen broker token cannot make Vault run anything else.
// Vault fills in {{name}}, {{password}} and {{expiration}}, and runs the statements of a list one after the other in one transaction.

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
    revocation: revocation(owner),
  }
}

/**
 * Shut, then end. Each is a DO block, because the end must succeed when there is nothing left to end, and ALTER ROLE knows no IF EXISTS.
 * - NOLOGIN is committed before anything else is tried. In one transaction with the rest it would be seen by nobody until its end, so
 *   that new sessions slip in (measured: 295 of 319), and it would be undone with it: whoever made an object that cannot be moved,
 *   such as a large object in another database, could log in again until VALID UNTIL.
 * - Sessions end before the objects move, as they may hold locks on them; in rounds, because the view is a snapshot.
 * - Locks of others are waited for only so long: Vault serialises all work on a connection, so it would hold up every other end.
 * - REASSIGN comes before DROP OWNED, which would otherwise destroy what the login created: the customer's migration.
 * - The membership is what lets Vault's own login, which is no superuser, reassign.
 */
const revocation = (owner: string): readonly string[] => [
  `DO $writ$
BEGIN
  PERFORM pg_catalog.set_config('lock_timeout', '3s', true);
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{{name}}') THEN
    ALTER ROLE "{{name}}" NOLOGIN;
  END IF;
END
$writ$`,
  'COMMIT AND CHAIN',
  `DO $writ$
DECLARE
  login oid := (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = '{{name}}');
BEGIN
  IF login IS NULL THEN
    RETURN;
  END IF;
  PERFORM pg_catalog.set_config('lock_timeout', '3s', true);
  FOR round IN 1..20 LOOP
    PERFORM pg_catalog.pg_stat_clear_snapshot();
    PERFORM pg_catalog.pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity WHERE usesysid = login;
    EXIT WHEN NOT FOUND;
  END LOOP;
  GRANT "{{name}}" TO CURRENT_USER;
  REASSIGN OWNED BY "{{name}}" TO ${owner};
  DROP OWNED BY "{{name}}";
  DROP ROLE "{{name}}";
END
$writ$`,
]

function identifier(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) throw new RangeError('not a plain PostgreSQL role name')
  return `"${name}"`
}
