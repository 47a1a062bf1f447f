//! The versions of a client's secret: made, told, ended.

use std::time::Duration;

use scrip_token::QualifiedName;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::admin::rfc3339;
use crate::app::App;
use crate::caller::{embedded_number, embedded_version, embedded_versions};
use crate::error::{Failure, Problem};
use crate::secret::{self, DigestKey};
use crate::store::clients::Client;
use crate::store::credentials::{self, Credential};
use crate::store::{StoreError, Tx};
use crate::vault::{Vault, Version, VersionName, Versions};

/// The source of a client whose secret Vault keeps.
pub(super) const VAULT: &str = "vault";
/// The source of a client that keeps its secret itself; there is a digest of it here.
pub(super) const EMBEDDED: &str = "embedded";

/// Vault, which has to be configured for a client whose secret lies there.
pub(super) fn vault(app: &App) -> Result<&Vault, Problem> {
    let vault = app.vault.as_ref().map(|credentials| credentials.vault());
    vault.ok_or_else(|| Problem(Failure::unavailable("no Vault is configured", 5)))
}

/// What Vault has of this client; nothing where the secret is embedded.
pub(super) async fn in_vault(
    app: &App,
    client: &Client,
    id: &QualifiedName,
) -> Result<Versions, Problem> {
    if client.source == EMBEDDED {
        return Ok(Versions::default());
    }
    Ok(vault(app)?.every_version(id).await?)
}

/// A new embedded secret, and the row that comes after `rows`. `now` in seconds.
pub(super) fn embedded(
    key: &DigestKey,
    client: &QualifiedName,
    rows: &[Credential],
    now: i64,
) -> (Credential, SecretString) {
    let secret = secret::generate(client.tenant());
    let newest = rows.iter().filter_map(|row| embedded_number(&row.version)).max().unwrap_or(0);
    let row = Credential {
        client: client.to_string(),
        version: embedded_version(newest + 1, now),
        created: now,
        digest: Some(key.digest(&secret)),
        ended: None,
    };
    (row, secret)
}

/// All versions, with what has been ended here; `None` where Vault keeps them and was not asked.
pub(super) fn known(
    client: &Client,
    rows: &[Credential],
    in_vault: Option<&Versions>,
) -> Option<Versions> {
    if client.source == EMBEDDED {
        return Some(embedded_versions(rows));
    }
    let mut versions = in_vault?.clone();
    let has_ended = |name: &VersionName| {
        rows.iter().any(|row| row.ended.is_some() && row.version == name.to_string())
    };
    let ended: Vec<_> = versions.iter().map(Version::name).filter(has_ended).collect();
    versions.end(&ended);
    Some(versions)
}

/// The versions that are no longer good: their overlap is over, or Vault has ended them.
pub(super) fn over(client: &Client, versions: &Versions, now: i64) -> Vec<Credential> {
    let good: Vec<u64> = good(client, versions, now).map(|version| version.number).collect();
    let over = versions.iter().filter(|version| !good.contains(&version.number));
    over.map(|version| row(client, version, now)).collect()
}

/// The versions before the newest that Vault has not ended.
pub(super) fn old(client: &Client, versions: &Versions, now: i64) -> Vec<Credential> {
    let newest = versions.newest().map(|version| version.number);
    let old = versions
        .iter()
        .filter(|version| Some(version.number) != newest && !version.has_ended(now.unsigned_abs()));
    old.map(|version| row(client, version, now)).collect()
}

fn row(client: &Client, version: &Version, now: i64) -> Credential {
    Credential {
        client: client.id.clone(),
        version: name(client, version),
        created: version.created_seconds().cast_signed(),
        digest: None,
        ended: Some(now),
    }
}

/// Ends versions for good.
pub(super) async fn end(
    tx: &mut Tx,
    client: &QualifiedName,
    versions: &[Credential],
    now: i64,
) -> Result<(), StoreError> {
    for version in versions {
        credentials::end_for_good(tx, client.as_str(), &version.version, now).await?;
    }
    Ok(())
}

/// The versions that authenticate at `now` (seconds), newest first, and until when they do.
pub(super) fn show(client: &Client, versions: &Versions, now: i64) -> Value {
    let until = |version: &Version| {
        let successor = versions.iter().find(|next| next.number > version.number);
        let overlap = successor.map(|next| next.created.timestamp() + client.overlap);
        // While the newest is deleted, no version is good.
        let newest = versions.newest().and_then(|newest| newest.deleted);
        let deleted = version.deleted.into_iter().chain(newest).map(|at| at.timestamp());
        overlap.into_iter().chain(deleted).min()
    };
    good(client, versions, now)
        .map(|version| {
            json!({
                "version": name(client, version), "since": rfc3339(version.created.timestamp()),
                "until": until(version).map(rfc3339),
            })
        })
        .collect()
}

fn good<'v>(
    client: &Client,
    versions: &'v Versions,
    now: i64,
) -> impl Iterator<Item = &'v Version> + use<'v> {
    versions.good(Duration::from_secs(client.overlap.unsigned_abs()), now.unsigned_abs())
}

fn name(client: &Client, version: &Version) -> String {
    format!("{}:{}.{}", client.source, version.number, version.created_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const HOUR: i64 = 3600;

    fn client(source: &str) -> Client {
        Client::new(&"acme/a".parse().unwrap(), "acme/p", source, HOUR, 0)
    }

    /// Versions 1, 2, .. written at these times.
    fn written(at: &[i64]) -> Versions {
        let version = |(number, created): (u64, &i64)| Version {
            number,
            created: DateTime::from_timestamp(*created, 0).unwrap(),
            deleted: None,
            destroyed: false,
        };
        Versions::new((1..).zip(at).map(version).collect())
    }

    fn ended(version: &str) -> Credential {
        Credential {
            client: "acme/a".to_owned(),
            version: version.to_owned(),
            created: 0,
            digest: None,
            ended: Some(1),
        }
    }

    #[test]
    fn n130_an_old_version_is_good_until_its_successors_overlap_is_over() {
        let (client, versions) = (client(VAULT), written(&[0, 10_000]));
        let shown = show(&client, &versions, 10_000);
        assert_eq!(
            shown,
            json!([
                {"version": "vault:2.10000", "since": "1970-01-01T02:46:40Z", "until": null},
                {"version": "vault:1.0", "since": "1970-01-01T00:00:00Z",
                 "until": "1970-01-01T03:46:40Z"},
            ])
        );
        let later = show(&client, &versions, 10_000 + HOUR);
        assert_eq!(later, json!([shown[0]]));
        let over = over(&client, &versions, 10_000 + HOUR);
        assert_eq!(over.iter().map(|row| row.version.as_str()).collect::<Vec<_>>(), ["vault:1.0"]);
    }

    #[test]
    fn what_was_ended_here_is_over_whatever_vault_says() {
        let client = client(VAULT);
        let in_vault = written(&[0, 100, 200]);
        let versions = known(&client, &[ended("vault:2.100")], Some(&in_vault)).unwrap();
        assert_eq!(show(&client, &versions, 200).as_array().unwrap().len(), 2);
        let old: Vec<_> = old(&client, &versions, 200).into_iter().map(|row| row.version).collect();
        assert_eq!(old, ["vault:1.0"]);
        assert_eq!(known(&client, &[], None), None, "unknown is not the same as none");
    }

    #[test]
    fn embedded_versions_are_numbered_on() {
        let client = client(EMBEDDED);
        let key = DigestKey::new(&[1; 32]);
        let id = QualifiedName::parse("acme/a").unwrap();
        let mut rows = Vec::new();
        for number in 1..=11 {
            let (row, secret) = embedded(&key, &id, &rows, 7);
            assert_eq!(row.version, format!("embedded:{number}.7"));
            assert!(key.matches(&secret, &row.digest.unwrap()));
            rows.push(row);
        }
        let versions = known(&client, &rows, None).unwrap();
        assert_eq!(show(&client, &versions, 7)[0]["version"], "embedded:11.7");
        assert_eq!(old(&client, &versions, 7).len(), 10);
    }
}
