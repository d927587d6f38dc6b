
# The roles and leases that Writ made under <mount>.
path "<mount>/roles" {
  capabilities = ["list"]
}
path "sys/leases/lookup/<mount>/creds/writ-*" {
  capabilities = ["list", "sudo"]
}
