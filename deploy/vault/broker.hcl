# What the broker may do at Vault, and nothing else. Names in <angle brackets> are filled in by setup.ts.
# Whoever steals the broker's token can make logins of these entitlements with this SQL and this much life, and end them;
# they cannot write other SQL, read a credential, list anything, or touch a lease, policy, mount or token role of anybody else.

# A hold: an empty orphan token that dies in 15 seconds unless it is kept. Exactly one policy each: the lists are nested because
# Vault compares a list with a list; a flat list here would allow any combination of its members.
path "auth/token/create/writ" {
  capabilities        = ["update"]
  required_parameters = ["policies", "ttl", "renewable", "display_name", "meta"]
  allowed_parameters = {
    "policies"     = <holdPolicies>
    "ttl"          = ["15s"]
    "renewable"    = [true]
    "display_name" = ["g*"]
    "meta"         = []
  }
}
path "auth/token/renew-accessor" {
  capabilities       = ["update"]
  allowed_parameters = { "accessor" = [], "increment" = [] }
}
path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}
path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}

# Ending. Only leases of Writ's own roles, and only synchronously: an answer then means that the database has done it.
path "sys/leases/revoke" {
  capabilities        = ["update"]
  required_parameters = ["lease_id", "sync"]
  allowed_parameters  = { "lease_id" = <leases>, "sync" = [true] }
}
path "sys/leases/lookup" {
  capabilities        = ["update"]
  required_parameters = ["lease_id"]
  allowed_parameters  = { "lease_id" = <leases> }
}

# Its own login, and the look at its own rights with which it refuses to start when it may too much.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
