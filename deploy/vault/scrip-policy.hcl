# What the service needs to prove master credentials: read them and their versions' times. `list` is
# for `scrip client import`, which looks for secrets that belong to no client yet.
# Replace `secret` and `scrip` when SCRIP_VAULT_MOUNT and SCRIP_VAULT_PREFIX differ.

path "secret/data/scrip/*" {
  capabilities = ["read"]
}

path "secret/metadata/scrip/*" {
  capabilities = ["read", "list"]
}
