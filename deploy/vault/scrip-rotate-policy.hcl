# Only where `scrip client create`, `scrip client rotate` and policies with `rotate.automatic` shall write
# secrets into Vault; leave it out
# when another tool does. Grants no delete: ending a version for good stays with Vault's operators.

path "secret/data/scrip/*" {
  capabilities = ["create", "update"]
}
