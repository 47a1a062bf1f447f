use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use scrip_token::{Alg, Cidr};
use secrecy::SecretString;
use url::{Host, Url};

use super::{
    HEARTBEAT, KEY_LEAD, LEDGER_GRACE, MOST_ADDRESSES, Settings, TOKEN_RETENTION, UNUSED_DAYS,
};
use crate::outbox;
use crate::rates::Rate;
use crate::vault;

/// Thirty days, in seconds.
const MAX_KEY_LEAD: u64 = 30 * 86_400;

/// Settings that do not contradict each other.
pub struct Config {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address of the operations listener.
    pub ops_listen: SocketAddr,
    /// The `iss` of every token.
    pub issuer: String,
    /// Where everything is stored.
    pub database_url: SecretString,
    /// Folder of the private keys.
    pub keys_dir: PathBuf,
    /// Certificate and key, where TLS ends here.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Algorithms of audiences; see [`Config::alg`].
    audience_alg: BTreeMap<String, Alg>,
    /// Seconds between publishing a key and signing with it.
    pub key_lead: u64,
    /// Seconds between heartbeats.
    pub heartbeat: u64,
    /// Most mints of all clients of one tenant.
    pub tenant_rate: Option<Rate>,
    /// Where alerts go, where they go anywhere.
    pub webhook: Option<outbox::Settings>,
    /// Seconds for which an escrow waits for ledgers after its token's end.
    pub ledger_grace: u32,
    /// Days for which the record of a token is kept.
    pub token_retention: u32,
    /// Days without a mint after which a client counts as unused.
    pub unused_days: NonZeroU32,
    /// Addresses of a client within a day beyond which its secret counts as shared.
    pub most_addresses: u32,
    /// Where master credentials lie, when it is Vault.
    pub vault: Option<vault::Settings>,
}

impl Config {
    /// Everything embedded in one folder, on loopback; operations on a free port.
    #[must_use]
    pub fn embedded(listen: SocketAddr, folder: &Path) -> Self {
        let mut ops_listen = listen;
        ops_listen.set_port(0);
        Self {
            listen,
            ops_listen,
            issuer: format!("http://{listen}"),
            database_url: format!("sqlite:{}", folder.join("scrip.db").display()).into(),
            keys_dir: folder.join("keys"),
            tls: None,
            trusted_proxies: Vec::new(),
            audience_alg: BTreeMap::new(),
            key_lead: KEY_LEAD,
            heartbeat: HEARTBEAT,
            tenant_rate: None,
            webhook: None,
            ledger_grace: LEDGER_GRACE,
            token_retention: TOKEN_RETENTION,
            unused_days: UNUSED_DAYS,
            most_addresses: MOST_ADDRESSES,
            vault: None,
        }
    }

    /// The algorithm that signs tokens for `audience`.
    #[must_use]
    pub fn alg(&self, audience: &str) -> Alg {
        self.audience_alg.get(audience).copied().unwrap_or(Alg::ES256)
    }

    /// Every algorithm in use.
    #[must_use]
    pub fn algs(&self) -> Vec<Alg> {
        let mut algs: Vec<Alg> = self.audience_alg.values().copied().chain([Alg::ES256]).collect();
        algs.sort_unstable();
        algs.dedup();
        algs
    }
}

/// Everything that is wrong with the settings, at once.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not usable:\n  - {}", .0.join("\n  - "))]
pub struct Contradictions(Vec<String>);

impl Settings {
    /// Checks the settings against each other and reads what lies in files.
    ///
    /// # Errors
    /// [`Contradictions`], all of them.
    pub fn check(self) -> Result<Config, Contradictions> {
        let mut wrong = Vec::new();

        let issuer = self.issuer.unwrap_or_else(|| {
            wrong.push("SCRIP_ISSUER is missing: the URL under which clients reach this".into());
            String::new()
        });
        if !issuer.is_empty()
            && let Err(reason) = check_issuer(&issuer)
        {
            wrong.push(format!("SCRIP_ISSUER {reason}"));
        }

        let database_url =
            match secret("SCRIP_DATABASE_URL", self.database_url, self.database_url_file) {
                Ok(None) => {
                    Err("SCRIP_DATABASE_URL is missing: sqlite:PATH or postgres://..".into())
                }
                found => found,
            };
        let database_url = database_url.unwrap_or_else(|why| {
            wrong.push(why);
            None
        });

        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                wrong.push("SCRIP_TLS_CERT and SCRIP_TLS_KEY go together".into());
                None
            }
        };
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            wrong.push("SCRIP_LISTEN and SCRIP_OPS_LISTEN are the same address".into());
        }
        if self.key_lead > MAX_KEY_LEAD {
            wrong.push(format!("SCRIP_KEY_LEAD is {MAX_KEY_LEAD} seconds at most"));
        }
        if !(1..=60).contains(&self.heartbeat) {
            wrong.push("SCRIP_HEARTBEAT is 1 to 60 seconds".into());
        }
        if !(60..=86_400).contains(&self.ledger_grace) {
            wrong.push("SCRIP_LEDGER_GRACE is 60 to 86400 seconds".into());
        }
        if !(1..=3650).contains(&self.token_retention) {
            wrong.push("SCRIP_TOKEN_RETENTION is 1 to 3650 days".into());
        }
        if self.unused_days.get() > 3650 {
            wrong.push("SCRIP_UNUSED_DAYS is 1 to 3650 days".into());
        }
        if !(1..=200).contains(&self.most_addresses) {
            wrong.push("SCRIP_MOST_ADDRESSES is 1 to 200".into());
        }
        let mut audience_alg = BTreeMap::new();
        for (audience, alg) in self.audience_alg {
            if audience_alg.insert(audience.clone(), alg).is_some_and(|before| before != alg) {
                wrong.push(format!("SCRIP_AUDIENCE_ALG gives {audience} two algorithms"));
            }
        }
        let webhook = self.webhook.check(&mut wrong);
        let vault = self.vault.check(&mut wrong);

        match database_url {
            Some(database_url) if wrong.is_empty() => Ok(Config {
                listen: self.listen,
                ops_listen: self.ops_listen,
                issuer,
                database_url,
                keys_dir: self.keys_dir,
                tls,
                trusted_proxies: self.trusted_proxies,
                audience_alg,
                key_lead: self.key_lead,
                heartbeat: self.heartbeat,
                tenant_rate: self.tenant_rate,
                webhook,
                ledger_grace: self.ledger_grace,
                token_retention: self.token_retention,
                unused_days: self.unused_days,
                most_addresses: self.most_addresses,
                vault,
            }),
            _ => Err(Contradictions(wrong)),
        }
    }
}

/// A secret that is given itself or, in a file, without the white space around it.
pub(super) fn secret(
    name: &str,
    value: Option<SecretString>,
    file: Option<PathBuf>,
) -> Result<Option<SecretString>, String> {
    match (value, file) {
        (Some(_), Some(_)) => Err(format!("{name} and {name}_FILE are both set")),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(SecretString::from(text.trim()))),
            Err(error) => Err(format!("{name}_FILE {}: {error}", path.display())),
        },
        (value, None) => Ok(value),
    }
}

/// An issuer is an https URL without query or fragment (RFC 8414 section 2), written as verifiers
/// will compare it; plain http is for loopback only.
fn check_issuer(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err("is not https, and not loopback");
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if url.query().is_some() || url.fragment().is_some() || has_user {
        return Err("has a query, a fragment or a user");
    }
    if text.ends_with('/') || url.as_str().trim_end_matches('/') != text {
        return Err("is not in canonical form (lower case, no default port, no final slash)");
    }
    if url.path() != "/" {
        return Err("has a path; this service answers at the root of its host");
    }
    Ok(())
}

/// Whether a URL leads nowhere outside of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n63_the_issuer_is_configuration_in_one_spelling() {
        for good in ["https://sts.example", "https://sts.example:8443", "http://127.0.0.1:7070"] {
            assert_eq!(check_issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "sts.example",
            "http://sts.example",
            "https://sts.example/",
            "https://STS.example",
            "https://sts.example:443",
            "https://sts.example/a",
            "https://sts.example?x",
            "https://u@sts.example",
            "https://:p@sts.example",
            "ftp://127.0.0.1",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
