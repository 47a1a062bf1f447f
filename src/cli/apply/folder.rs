//! The folder, read whole or not at all.
//!
//! A TOML file in no folder that is known here is an error: it may be meant for one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use scrip_token::QualifiedName;
use serde::{Deserialize, Serialize};

use crate::admin::clients::MAX_OVERLAP;
use crate::cli::failure::Failure;
use crate::cli::input;
use crate::cli::policy::test::{SUFFIX, Tried};
use crate::cli::price;
use crate::policy::Policy;
use crate::prices::PriceList;

/// Most files of one folder.
const MOST_FILES: usize = 10_000;
/// Folders within folders.
const DEEPEST: usize = 8;
/// Largest file of a client, in bytes.
const MAX_CLIENT_BYTES: usize = 64 * 1024;

/// The file with what models cost.
const PRICES: &str = "prices.toml";

/// What prices, policies and clients there are to be.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Absent: whatever they are.
    pub(super) prices: Option<PriceList>,
    pub(super) policies: BTreeMap<QualifiedName, Policy>,
    pub(super) clients: BTreeMap<QualifiedName, Client>,
    tests: Vec<PathBuf>,
}

/// A client's file. When its secret must be replaced is not in it: that moves with each rotation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) id: QualifiedName,
    pub(super) policy: QualifiedName,
    /// Absent: whatever it is, and for a new client what the service prefers.
    pub(super) source: Option<Source>,
    /// Seconds; absent: whatever it is.
    pub(super) overlap: Option<u32>,
    /// Absent: whatever it is. A file that says nothing does not enable a client that somebody has
    /// disabled.
    pub(super) enabled: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    Vault,
    Embedded,
}

impl Folder {
    /// Reads `dir/prices.toml`, `dir/policies` and `dir/clients`.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming everything that is wrong with any file.
    pub(super) fn read(dir: &Path) -> Result<Self, Failure> {
        let (mut folder, mut wrong) = (Self::default(), Vec::new());
        let [policies, clients] = ["policies", "clients"].map(|name| dir.join(name));
        let prices = dir.join(PRICES);
        if !policies.is_dir() && !clients.is_dir() && !prices.is_file() {
            let why = match dir.read_dir() {
                Err(error) => error.to_string(),
                Ok(_) => format!("has neither policies/ nor clients/ nor {PRICES}"),
            };
            return Err(Failure::Usage(format!("{}: {why}", dir.display())));
        }
        for path in toml_files(dir, &[&policies, &clients], &mut wrong) {
            if path != prices {
                wrong.push(format!("{}: is neither in policies/ nor in clients/", path.display()));
                continue;
            }
            match price::read(&path) {
                Ok(list) => folder.prices = Some(list),
                Err(failure) => wrong.push(failure.to_string()),
            }
        }
        for path in toml_files(&policies, &[], &mut wrong) {
            if path.to_str().is_some_and(|path| path.ends_with(SUFFIX)) {
                folder.tests.push(path);
                continue;
            }
            match crate::cli::policy::read(&path) {
                Ok(policy) => {
                    let name = policy.name().clone();
                    if folder.policies.insert(name.clone(), policy).is_some() {
                        wrong.push(format!("{}: {name} has another file", path.display()));
                    }
                }
                Err(failure) => wrong.push(failure.to_string()),
            }
        }
        for path in toml_files(&clients, &[], &mut wrong) {
            match Client::read(&path) {
                Ok(client) => {
                    let id = client.id.clone();
                    if folder.clients.insert(id.clone(), client).is_some() {
                        wrong.push(format!("{}: {id} has another file", path.display()));
                    }
                }
                Err(failure) => wrong.push(failure.to_string()),
            }
        }
        if wrong.is_empty() { Ok(folder) } else { Err(Failure::Usage(wrong.join("\nscrip: "))) }
    }

    /// Runs the tests beside the policies.
    ///
    /// # Errors
    /// [`Failure::Rejected`] naming each mismatch.
    pub(super) fn try_tests(&self) -> Result<(), Failure> {
        let mut mismatches = Vec::new();
        for path in &self.tests {
            mismatches.extend(Tried::file(path)?.mismatches());
        }
        if mismatches.is_empty() {
            return Ok(());
        }
        Err(Failure::Rejected(mismatches.join("\nscrip: ")))
    }

    /// Those that some file names.
    pub(super) fn tenants(&self) -> BTreeSet<&str> {
        self.policies.keys().chain(self.clients.keys()).map(QualifiedName::tenant).collect()
    }
}

impl Client {
    fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
        let text = input::read(path, MAX_CLIENT_BYTES)?;
        let client: Self =
            toml::from_str(&text).map_err(|error| refuse(input::at(&text, &error)))?;
        if client.policy.tenant() != client.id.tenant() {
            return Err(refuse("`policy` belongs to another tenant than the client".to_owned()));
        }
        if client.overlap.is_some_and(|seconds| seconds > MAX_OVERLAP) {
            return Err(refuse(format!("`overlap` is at most {MAX_OVERLAP} seconds")));
        }
        Ok(client)
    }
}

/// The TOML files below a folder that may be absent, but for those in some of its folders, in the order
/// of their paths. What begins with a dot is passed over: editors and mounted volumes keep copies so.
fn toml_files(dir: &Path, but: &[&PathBuf], wrong: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        if !dir.exists() {
            continue;
        }
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) => {
                wrong.push(format!("{}: {error}", dir.display()));
                continue;
            }
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    wrong.push(format!("{}: {error}", dir.display()));
                    continue;
                }
            };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth == DEEPEST {
                    wrong.push(format!("{}: is too deep", path.display()));
                } else if !but.contains(&&path) {
                    open.push((path, depth + 1));
                }
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        if files.len() > MOST_FILES {
            wrong.push(format!("{}: more than {MOST_FILES} files", dir.display()));
            return Vec::new();
        }
    }
    files.sort();
    files
}
