-- The PostgreSQL side of one entitlement. Run it as a superuser in the entitlement's database, once for each entitlement; running it
-- again changes only the two passwords. By hand:
--   psql -v ON_ERROR_STOP=1 -v granted_role=payments_migrator -v owner_role=payments_owner -v schema=public -v schema_rights='USAGE, CREATE' \
--        -v vault_login=writ_vault -v vault_password='…' -v probe_login=writ_probe -v probe_password='…' -f postgres.sql
-- A password may also be a SCRAM verifier (SCRAM-SHA-256$…), so that the server and its log never see it.
BEGIN;
SELECT set_config('writ.granted_role', :'granted_role', true), set_config('writ.owner_role', :'owner_role', true),
       set_config('writ.vault_login', :'vault_login', true), set_config('writ.probe_login', :'probe_login', true);

-- Missing roles. What is there already keeps its attributes, but for the ones below.
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY[current_setting('writ.granted_role'), current_setting('writ.owner_role'),
                                current_setting('writ.vault_login'), current_setting('writ.probe_login')]
  LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
    END IF;
  END LOOP;
END $$;

-- The rights of every login that this entitlement makes, as members of the granted role: USAGE, or USAGE, CREATE for migrations.
-- Tables are the DBA's to add.
GRANT :schema_rights ON SCHEMA :"schema" TO :"granted_role";
-- Who owns afterwards what a login made. PostgreSQL lets only a role that may create in the schema take things over.
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"owner_role";

-- Vault's login: makes and ends logins (CREATEROLE), ends their sessions (pg_signal_backend), hands their things to the owner role
-- (membership). No superuser, no database of its own, no replication.
ALTER ROLE :"vault_login" LOGIN INHERIT CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD :'vault_password';
GRANT pg_signal_backend TO :"vault_login";
GRANT :"owner_role" TO :"vault_login";

-- The broker's probe: counts the sessions of a login and ends what slipped in between; below, it may end a login. It sees no data.
ALTER ROLE :"probe_login" LOGIN INHERIT NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD :'probe_password';
GRANT pg_monitor, pg_signal_backend TO :"probe_login";

-- From PostgreSQL 16 on, CREATEROLE alone may no longer hand out a role that it did not make.
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
                   current_setting('writ.granted_role'), current_setting('writ.vault_login'));
  END IF;
END $$;

-- The end of a login that Vault knows no more: after a copy of an older Vault was put back, only PostgreSQL knows what was made since. Two
-- functions with the rights of Vault's login, which the probe may call: they touch nothing but logins that are named as Writ names them,
-- and they make none. Shutting is a statement of its own, so that it holds whatever becomes of the rest.
CREATE SCHEMA IF NOT EXISTS writ;
CREATE OR REPLACE FUNCTION writ.shut_login(login text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $writ$
BEGIN
  IF login !~ '^writ-g[0-9]{1,4}-[a-z2-7]{26}-(0|[1-9][0-9]{0,5})$' THEN
    RAISE EXCEPTION 'not a login of Writ' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
    RETURN false;
  END IF;
  PERFORM set_config('lock_timeout', '3s', true);
  EXECUTE format('ALTER ROLE %I NOLOGIN', login);
  RETURN true;
END
$writ$;
CREATE OR REPLACE FUNCTION writ.end_login(login text, owner text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $writ$
DECLARE
  login_oid oid := (SELECT oid FROM pg_roles WHERE rolname = login);
BEGIN
  IF NOT writ.shut_login(login) THEN
    RETURN;
  END IF;
  FOR round IN 1..20 LOOP
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usesysid = login_oid;
    EXIT WHEN NOT FOUND;
  END LOOP;
  EXECUTE format('GRANT %I TO CURRENT_USER', login);
  EXECUTE format('REASSIGN OWNED BY %I TO %I', login, owner);
  EXECUTE format('DROP OWNED BY %I', login);
  EXECUTE format('DROP ROLE %I', login);
END
$writ$;
ALTER FUNCTION writ.shut_login(text) OWNER TO :"vault_login";
ALTER FUNCTION writ.end_login(text, text) OWNER TO :"vault_login";
REVOKE ALL ON FUNCTION writ.shut_login(text), writ.end_login(text, text) FROM PUBLIC;
GRANT USAGE ON SCHEMA writ TO :"vault_login", :"probe_login";
GRANT EXECUTE ON FUNCTION writ.shut_login(text), writ.end_login(text, text) TO :"probe_login";
COMMIT;
