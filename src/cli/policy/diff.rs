//! `scrip policy diff`: what differs, and in which direction.

use std::convert::Infallible;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use scrip_token::QualifiedName;
use serde_json::{Value, json};

use super::{Api, Column, Failure, parse, read, show};
use crate::cli::failure::Refusal;
use crate::cli::print::Printer;
use crate::policy::{Policy, differences};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A policy, whose versions are compared; or a file, with what is applied under its name
    #[arg(value_name = "TENANT/NAME | FILE")]
    what: Subject,
    /// The older version [default: the one before TO]
    #[arg(value_name = "FROM")]
    from: Option<NonZeroU32>,
    /// The newer version [default: the current one]
    #[arg(value_name = "TO")]
    to: Option<NonZeroU32>,
}

/// A file ends in `.toml`, which the name of no policy does.
#[derive(Debug, Clone)]
enum Subject {
    Policy(QualifiedName),
    File(PathBuf),
}

impl FromStr for Subject {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(QualifiedName::parse(text).map_or_else(|_| Self::File(text.into()), Self::Policy))
    }
}

impl Args {
    pub(super) async fn run(self, api: &Api, printer: Printer) -> Result<(), Failure> {
        match self.what {
            Subject::File(_) if self.from.is_some() => {
                Err(Failure::Usage("versions go with the name of a policy, not with a file".into()))
            }
            Subject::File(file) => {
                let new = read(&file)?;
                let (version, old) = match show(api, new.name(), None).await {
                    Ok(current) => {
                        let current = current.json()?;
                        (current["version"].clone(), Some(parse(&current)?))
                    }
                    Err(Failure::Refused(Refusal { status: 404, .. })) => (Value::Null, None),
                    Err(failure) => return Err(failure),
                };
                print(printer, &version, old.as_ref(), &Value::Null, &new)
            }
            Subject::Policy(name) => {
                let to = show(api, &name, self.to).await?.json()?;
                let before = to["version"].as_u64().unwrap_or_default().saturating_sub(1);
                let before = u32::try_from(before).ok().and_then(NonZeroU32::new);
                let from = self.from.or(before).ok_or_else(|| {
                    Failure::Rejected(format!("{name} has one version, and nothing before it"))
                })?;
                let from = show(api, &name, Some(from)).await?.json()?;
                let (old, new) = (parse(&from)?, parse(&to)?);
                print(printer, &from["version"], Some(&old), &to["version"], &new)
            }
        }
    }
}

/// A version is absent for a file, and the old policy where nothing is applied yet.
fn print(
    printer: Printer,
    from: &Value,
    old: Option<&Policy>,
    to: &Value,
    new: &Policy,
) -> Result<(), Failure> {
    let differences = old.map(|old| json!(differences(old, new)));
    let mut out = io::stdout().lock();
    if printer.json {
        let name = new.name();
        let document = json!({"name": name, "from": from, "to": to, "differences": differences});
        return Ok(writeln!(out, "{document}")?);
    }
    let to = to.as_u64().map_or("the file".to_owned(), |version| format!("version {version}"));
    match differences {
        None => writeln!(out, "{} is not applied yet", new.name())?,
        Some(differences) if differences == json!([]) => {
            writeln!(out, "{}: {to} is version {from}", new.name())?;
        }
        Some(differences) => {
            writeln!(out, "{}: from version {from} to {to}", new.name())?;
            drop(out);
            printer.table(&differences, DIFFERENCES)?;
        }
    }
    Ok(())
}

const DIFFERENCES: &[Column] =
    &[("MEMBER", "/member"), ("WAS", "/was"), ("IS", "/is"), ("EFFECT", "/effect")];
