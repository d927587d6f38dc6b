# The second identity: finds what Writ may have left behind. It reads handles and never a credential, and it ends nothing.
# Listing accessors and leases needs sudo in Vault; it has sudo for nothing else.
path "auth/token/accessors" {
  capabilities = ["list", "sudo"]
}
path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities        = ["update"]
  required_parameters = ["lease_id"]
  allowed_parameters  = { "lease_id" = <leases> }
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
