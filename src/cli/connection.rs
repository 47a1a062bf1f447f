//! Where the service is, and who asks.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use scrip_token::QualifiedName;
use secrecy::SecretString;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::input;
use crate::config;

/// Longest secret that is read, in bytes.
const MAX_SECRET_BYTES: usize = 4096;

/// Names the service and the client. The secret is never an argument, because arguments show in
/// process lists and shell histories: it comes from `SCRIP_CLIENT_SECRET` or from a file.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The service: its issuer URL
    #[arg(
        long,
        visible_alias = "issuer",
        env = "SCRIP_URL",
        value_name = "URL",
        global = true,
        help_heading = "Service"
    )]
    pub(super) url: Option<Issuer>,
    /// The client that asks
    #[arg(
        long,
        env = "SCRIP_CLIENT_ID",
        value_name = "TENANT/NAME",
        global = true,
        help_heading = "Service"
    )]
    pub(super) client_id: Option<QualifiedName>,
    /// File with its secret, `-` for standard input; without it SCRIP_CLIENT_SECRET
    #[arg(
        long,
        env = "SCRIP_CLIENT_SECRET_FILE",
        value_name = "PATH",
        global = true,
        help_heading = "Service"
    )]
    pub(super) client_secret_file: Option<PathBuf>,
}

impl Connection {
    /// Everything that a request needs.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming what is missing, or the file that cannot be read.
    pub(super) fn complete(self) -> Result<(Issuer, QualifiedName, SecretString), Failure> {
        let url = self.url()?.clone();
        let id = self.client_id.ok_or_else(|| missing("--client-id (or SCRIP_CLIENT_ID)"))?;
        let secret = match self.client_secret_file {
            Some(path) => read_secret(&path)?,
            None => config::client_secret().ok_or_else(|| {
                missing("SCRIP_CLIENT_SECRET (or --client-secret-file, SCRIP_CLIENT_SECRET_FILE)")
            })?,
        };
        Ok((url, id, secret))
    }

    /// The service alone.
    ///
    /// # Errors
    /// [`Failure::Usage`] where it is missing.
    pub(super) fn url(&self) -> Result<&Issuer, Failure> {
        self.url.as_ref().ok_or_else(|| missing("--url (or SCRIP_URL)"))
    }
}

fn missing(what: &str) -> Failure {
    Failure::Usage(format!("{what} is missing"))
}

fn read_secret(path: &Path) -> Result<SecretString, Failure> {
    let text = Zeroizing::new(input::read(path, MAX_SECRET_BYTES)?);
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::Usage(format!("{}: is empty", path.display()))),
        secret => Ok(SecretString::from(secret)),
    }
}

/// An issuer URL as it was given: tokens are compared with it to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issuer(String);

impl Issuer {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of `path`, which begins with a slash.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }
}

impl FromStr for Issuer {
    type Err = &'static str;

    /// Only https, or http to this very machine: whoever listens between would read the secret.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "not a URL")?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => return Err("no host"),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err("must be https, or http on loopback"),
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err("must be without user, query and fragment");
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn http_is_for_loopback_only() {
        for good in [
            "https://sts.example",
            "https://sts.example/t1",
            "http://127.0.0.1:7070",
            "http://localhost:7070/",
            "http://[::1]:7070",
        ] {
            assert!(good.parse::<Issuer>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "sts.example",
            "http://sts.example",
            "http://127.0.0.1.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "https://user:password@sts.example",
            "https://sts.example/?tenant=a",
            "https://sts.example/#a",
        ] {
            assert!(bad.parse::<Issuer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_one_slash_whatever_the_issuer_ends_in() {
        for issuer in ["https://sts.example", "https://sts.example/"] {
            let issuer: Issuer = issuer.parse().unwrap();
            assert_eq!(issuer.at("/v1/keys"), "https://sts.example/v1/keys");
        }
    }

    #[test]
    fn a_secret_file_ends_at_its_line_and_is_not_empty() {
        let file = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            file
        };
        let secret = read_secret(file("scrip_mc_x\r\n").path()).unwrap();
        assert_eq!(secret.expose_secret(), "scrip_mc_x");
        assert!(read_secret(file("\n").path()).is_err());
        assert!(read_secret(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let nothing = Connection { url: None, client_id: None, client_secret_file: None };
        let failure = nothing.complete().unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("SCRIP_URL"));
    }
}
