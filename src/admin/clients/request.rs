//! What is asked of a client, read strictly: a misspelt member must not change something else.

use scrip_token::QualifiedName;
use scrip_token::json::present;
use serde::Deserialize;

use super::credential::{EMBEDDED, VAULT};
use crate::admin::{Moment, read};
use crate::bootstrap::OVERLAP;
use crate::error::Problem;
use crate::store::clients::{Change, Client};

/// The longest that an old secret can go on, in seconds.
pub const MAX_OVERLAP: u32 = 7 * 24 * 3600;

/// A new client.
pub(super) struct Creation {
    pub(super) id: QualifiedName,
    pub(super) policy: QualifiedName,
    pub(super) source: &'static str,
    overlap: i64,
    rotate_by: Option<Moment>,
    show_secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreationBody {
    id: QualifiedName,
    policy: QualifiedName,
    #[serde(default, deserialize_with = "present")]
    source: Option<Source>,
    #[serde(default, deserialize_with = "present")]
    overlap: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    rotate_by: Option<Moment>,
    #[serde(default)]
    show_secret: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Vault,
    Embedded,
}

impl Creation {
    /// `has_vault`: whether Vault is configured, and so keeps the secret where nothing is asked.
    pub(super) fn read(body: &[u8], has_vault: bool) -> Result<Self, Problem> {
        let body: CreationBody = read(body)?;
        let source = match (body.source, has_vault) {
            (Some(Source::Embedded), _) | (None, false) => EMBEDDED,
            (Some(Source::Vault) | None, true) => VAULT,
            (Some(Source::Vault), false) => {
                return Err(Problem::invalid("/source", "no Vault is configured"));
            }
        };
        let overlap = bounded(body.overlap)?.map_or(OVERLAP, i64::from);
        let CreationBody { id, policy, rotate_by, show_secret, .. } = body;
        Ok(Self { id, policy, source, overlap, rotate_by, show_secret })
    }

    /// An embedded secret is always shown: this is the only moment at which anybody can have it.
    pub(super) fn shows_secret(&self) -> bool {
        self.show_secret || self.source == EMBEDDED
    }

    /// The row, made at `now` in seconds.
    pub(super) fn client(&self, now: i64) -> Client {
        let rotate_by = self.rotate_by.map(Moment::seconds);
        let client = Client::new(&self.id, self.policy.as_str(), self.source, self.overlap, now);
        Client { rotate_by, ..client }
    }
}

/// What is to be different. `"rotate_by": null` takes the date away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Amendment {
    #[serde(default, deserialize_with = "present")]
    pub(super) policy: Option<QualifiedName>,
    #[serde(default, deserialize_with = "present")]
    pub(super) enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub(super) overlap: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    rotate_by: Option<Option<Moment>>,
    #[serde(default)]
    pub(super) revoke: bool,
}

impl Amendment {
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let amendment: Self = read(body)?;
        bounded(amendment.overlap)?;
        Ok(amendment)
    }

    pub(super) fn change(&self) -> Change<'_> {
        Change {
            policy: self.policy.as_ref().map(QualifiedName::as_str),
            enabled: self.enabled,
            overlap: self.overlap.map(i64::from),
            rotate_by: self.rotate_by.map(|by| by.map(Moment::seconds)),
            ..Change::default()
        }
    }
}

/// How the secret is to be replaced.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    #[serde(default)]
    pub(super) revoke: bool,
    #[serde(default)]
    pub(super) show_secret: bool,
}

impl Rotation {
    /// A rotation without a body is a plain one.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() { Ok(Self::default()) } else { read(body) }
    }
}

fn bounded(overlap: Option<u32>) -> Result<Option<u32>, Problem> {
    if overlap.is_some_and(|seconds| seconds > MAX_OVERLAP) {
        return Err(Problem::invalid("/overlap", format!("is at most {MAX_OVERLAP} seconds")));
    }
    Ok(overlap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn vault_keeps_the_secret_wherever_there_is_one() {
        let source = |source: Option<&str>, has_vault| {
            let mut body = json!({"id": "acme/a", "policy": "acme/p"});
            if let Some(source) = source {
                body["source"] = json!(source);
            }
            Creation::read(body.to_string().as_bytes(), has_vault).map(|c| c.source).ok()
        };
        assert_eq!(source(None, true), Some(VAULT));
        assert_eq!(source(None, false), Some(EMBEDDED));
        assert_eq!(source(Some("embedded"), true), Some(EMBEDDED));
        assert_eq!(source(Some("vault"), false), None);
        assert_eq!(source(Some("file"), true), None);
    }

    #[test]
    fn n43_what_is_misspelt_is_refused() {
        let creation = |more: &str| {
            let body = format!(r#"{{"id":"acme/a","policy":"acme/p"{more}}}"#);
            Creation::read(body.as_bytes(), false)
        };
        assert!(creation(r#","overlap":604800,"rotate_by":"2030-01-31T12:00:00Z""#).is_ok());
        assert!(creation("").is_ok_and(|creation| creation.overlap == 86_400));
        for bad in [
            r#","overlap":604801"#,
            r#","overlap":-1"#,
            r#","overlap":null"#,
            r#","rotate_by":1795000000"#,
            r#","show_secrets":true"#,
            r#","id":"acme/b""#,
        ] {
            assert!(creation(bad).is_err(), "{bad}");
        }
        for bad in ["Admin", "a/../admin", "acme/a%2fb", "acme/", "acme/a "] {
            let body = json!({"id": bad, "policy": "acme/p"}).to_string();
            assert!(Creation::read(body.as_bytes(), false).is_err(), "{bad}");
        }
    }

    #[test]
    fn absent_and_null_differ_in_a_change() {
        let read = |body: &str| Amendment::read(body.as_bytes());
        let rotate_by = |body| read(body).ok().map(|amendment| amendment.change().rotate_by);
        assert_eq!(rotate_by("{}"), Some(None));
        assert_eq!(rotate_by(r#"{"rotate_by":null}"#), Some(Some(None)));
        for bad in [r#"{"enabled":null}"#, r#"{"revoke":"yes"}"#, r#"{"source":"vault"}"#, ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Rotation::read(b"").is_ok_and(|rotation| !rotation.revoke));
        assert!(Rotation::read(br#"{"revoked":true}"#).is_err());
    }
}
