
# The roles and leases that Writ made under <mount>.
path "<mount>/roles" {
  capabilities = ["list"]
}
# Under which roles there are leases: one whose role is gone is found in no other way. It shows names of roles, and of no lease.
path "sys/leases/lookup/<mount>/creds/" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup/<mount>/creds/writ-*" {
  capabilities = ["list", "sudo"]
}
