//! `scrip policy replay`: what would change.

use std::io::{self, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Api, Column, Failure, path, raw, read};
use crate::cli::api::Scope;
use crate::cli::print::{Printer, cell};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A policy in TOML
    file: PathBuf,
    /// How many requests, the newest first [default: 1000, at most 5000]
    #[arg(long, value_name = "N")]
    last: Option<NonZeroU16>,
}

impl Args {
    pub(super) async fn run(self, api: &Api, printer: Printer) -> Result<(), Failure> {
        let policy = read(&self.file)?;
        let mut replay = format!("{}/replay", path(policy.name()));
        if let Some(last) = self.last {
            replay = format!("{replay}?last={last}");
        }
        let reply = api.send(Scope::Replay, Method::POST, &replay, &policy).await?;
        if printer.json {
            return raw(&reply);
        }
        let reply = reply.json()?;
        let said = |member: &str| cell(reply.get(member));
        writeln!(
            io::stdout(),
            "{}, version {} and the file, over {} requests since {} ({} skipped): {} come out the same",
            said("name"),
            said("version"),
            said("requests"),
            said("since"),
            said("skipped"),
            said("unchanged")
        )?;
        let changes = reply["changes"].as_array().into_iter().flatten();
        let rows: Vec<Value> = changes.flat_map(examples).collect();
        if rows.is_empty() { Ok(()) } else { printer.table(&json!(rows), EXAMPLES) }
    }
}

/// A row for each example; how many there are of its kind stands in the first.
fn examples(changes: &Value) -> impl Iterator<Item = Value> {
    let examples = changes["cases"].as_array().into_iter().flatten();
    examples.enumerate().map(|(place, example)| {
        let mut row = example.clone();
        for member in ["kind", "count"] {
            row[member] = if place == 0 { changes[member].clone() } else { json!("") };
        }
        for (side, other) in [("was", "is"), ("is", "was")] {
            let refused = &example[side]["refused"];
            row[side] = match refused["error"].as_str() {
                Some(error) => {
                    json!(format!("{error}: {}", cell(refused.get("error_description"))))
                }
                None => told(&example[side]["granted"], &example[other]["granted"]),
            };
        }
        row
    })
}

/// What a token says that the other one does not; all of it where there is no other.
fn told(granted: &Value, other: &Value) -> Value {
    let members = granted.as_object().into_iter().flatten();
    members
        .filter(|(name, value)| other.get(name.as_str()) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

const EXAMPLES: &[Column] = &[
    ("WOULD BE", "/kind"),
    ("REQUESTS", "/count"),
    ("SUCH AS", "/at"),
    ("CLIENT", "/client"),
    ("ADDRESS", "/address"),
    ("ASKED", "/asked"),
    ("WAS", "/was"),
    ("IS", "/is"),
];
