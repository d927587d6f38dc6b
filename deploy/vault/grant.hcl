# What a hold of entitlement <entitlement> may do: read the credential of its own role. Names in <angle brackets> are filled in by
# setup.ts; for every entitlement whose name begins with this one's, it adds a path that denies that one's roles.
path "<mount>/creds/writ-<entitlement>-*" {
  capabilities = ["read"]
}
