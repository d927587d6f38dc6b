# What a hold of entitlement <entitlement> may do where its credential comes from another path of Vault: that one call, word for word.
# Names in <angle brackets> are filled in by setup.ts; of what is written only the life is free, and nothing else may be sent.
path <path> {
  capabilities = <capabilities>
  <parameters>
}
