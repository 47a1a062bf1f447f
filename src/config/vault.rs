use std::time::Duration;

use super::{VaultAuth, VaultSettings, is_loopback};
use crate::vault::{Auth, Settings, Source};

impl VaultSettings {
    pub(super) fn check(self, wrong: &mut Vec<String>) -> Option<Settings> {
        let Some(addr) = self.vault_addr else {
            let files = [&self.vault_token_file, &self.vault_role_id_file, &self.vault_ca];
            let texts = [&self.vault_namespace, &self.vault_role, &self.vault_role_id];
            if files.iter().any(|file| file.is_some())
                || texts.iter().any(|text| text.is_some())
                || self.vault_token.is_some()
                || self.vault_secret_id_file.is_some()
            {
                wrong.push(
                    "SCRIP_VAULT_ADDR is missing, and other SCRIP_VAULT_ settings are there".into(),
                );
            }
            return None;
        };
        let loopback = is_loopback(&addr);
        if addr.scheme() != "https" && !loopback {
            wrong.push("SCRIP_VAULT_ADDR is not https, and not loopback".into());
        }
        if !(1..=3600).contains(&self.vault_refresh) {
            wrong.push("SCRIP_VAULT_REFRESH is 1 to 3600 seconds".into());
        }
        if !(0..=86_400).contains(&self.vault_grace) {
            wrong.push("SCRIP_VAULT_GRACE is at most 86400 seconds".into());
        }
        let mount = |method: &str| self.vault_auth_mount.clone().unwrap_or_else(|| method.into());
        let auth = match self.vault_auth {
            VaultAuth::Token => match (self.vault_token, self.vault_token_file) {
                (Some(token), None) => Some(Auth::Token(Source::Value(token))),
                (None, Some(path)) => Some(Auth::Token(Source::File(path))),
                _ => {
                    wrong.push(
                        "SCRIP_VAULT_AUTH=token needs SCRIP_VAULT_TOKEN or SCRIP_VAULT_TOKEN_FILE"
                            .into(),
                    );
                    None
                }
            },
            VaultAuth::Approle => {
                let role_id = match (self.vault_role_id, self.vault_role_id_file) {
                    (Some(id), None) => Some(Source::Value(id.into())),
                    (None, Some(path)) => Some(Source::File(path)),
                    _ => None,
                };
                match (role_id, self.vault_secret_id_file) {
                    (Some(role_id), Some(path)) => Some(Auth::AppRole {
                        mount: mount("approle"),
                        role_id,
                        secret_id: Source::File(path),
                    }),
                    _ => {
                        wrong.push(
                            "SCRIP_VAULT_AUTH=approle needs SCRIP_VAULT_SECRET_ID_FILE and one of \
                             SCRIP_VAULT_ROLE_ID, SCRIP_VAULT_ROLE_ID_FILE"
                                .into(),
                        );
                        None
                    }
                }
            }
            VaultAuth::Kubernetes => match self.vault_role {
                Some(role) => Some(Auth::Kubernetes {
                    mount: mount("kubernetes"),
                    role,
                    jwt: Source::File(self.vault_jwt_path),
                }),
                None => {
                    wrong.push("SCRIP_VAULT_AUTH=kubernetes needs SCRIP_VAULT_ROLE".into());
                    None
                }
            },
        }?;
        Some(Settings {
            addr,
            mount: self.vault_mount,
            prefix: self.vault_prefix,
            namespace: self.vault_namespace,
            ca: self.vault_ca,
            auth,
            refresh: Duration::from_secs(self.vault_refresh),
            grace: Duration::from_secs(self.vault_grace),
        })
    }
}
