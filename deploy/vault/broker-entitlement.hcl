
# Entitlement <entitlement>: a role of its own for each mint, with this database and this SQL. Only the two lives are free.
# Vault takes an empty list or text as a subset of every list, so these are denied by name; without revocation statements
# Vault would use its own, which end no session.
path "<mount>/roles/writ-<entitlement>-*" {
  capabilities        = ["create", "update", "delete"]
  required_parameters = ["db_name", "creation_statements", "revocation_statements", "default_ttl", "max_ttl"]
  denied_parameters = {
    "creation_statements"   = [[], ""]
    "revocation_statements" = [[], ""]
  }
  allowed_parameters = {
    "db_name"               = [<connection>]
    "default_ttl"           = []
    "max_ttl"               = []
    "creation_statements"   = [<creation>]
    "revocation_statements" = [<revocation>]
  }
}
