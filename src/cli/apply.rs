//! `scrip apply`: brings prices, policies and clients to what a folder of files says.

mod folder;
mod plan;
mod present;
mod prices;

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use self::folder::Folder;
use self::plan::{Plan, Step};
use self::present::Present;
use super::failure::Failure;
use super::print::{Column, Printer, plain, warn};
use super::{Api, Remote, client};

/// DIR has two folders: policies/ with the files that `scrip policy apply` takes, and clients/ with a
/// file for each client: `id`, `policy`, and if wanted `source`, `overlap`, `enabled`. Both may have
/// folders of their own. Beside them there may be prices.toml, which `scrip price set` takes. All files
/// are read, and the tests beside the policies are run, before anything is changed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// The folder
    dir: PathBuf,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Disable the clients that have no file, in each tenant that the folder names
    #[arg(long)]
    prune: bool,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let folder = Folder::read(&self.dir)?;
        if self.prune && !self.dir.join("clients").is_dir() {
            let why = "--prune needs a folder clients/, even if there is nothing in it";
            return Err(Failure::Usage(format!("{}: {why}", self.dir.display())));
        }
        folder.try_tests()?;
        let (api, printer) = self.remote.open()?;
        let present = Present::read(&api, &folder).await?;
        let plan = Plan::new(&folder, &present, self.prune.then(|| api.id()))?;
        print(printer, &plan)?;
        if self.dry_run {
            return Ok(());
        }
        let all = plan.steps.len();
        for (done, step) in plan.steps.into_iter().enumerate() {
            take(&api, printer, &step).await.inspect_err(|_| {
                eprintln!("{done} of {all} done; run it again to go on");
            })?;
        }
        Ok(())
    }
}

/// Takes a step and shows what came of it at once: a secret is in the first answer only.
async fn take(api: &Api, printer: Printer, step: &Step) -> Result<(), Failure> {
    let answer = api.send(step.scope(), step.method(), &step.path(), &step.body).await?;
    let mut out = io::stdout().lock();
    if printer.json {
        let line = json!({"done": step.action, "name": step.name, "answer": answer.json()?});
        return Ok(writeln!(out, "{line}")?);
    }
    writeln!(out, "done: {} {}", step.action, step.name)?;
    drop(out);
    warn(&answer)?;
    if step.creates() { client::show(printer, &answer) } else { Ok(()) }
}

fn print(printer: Printer, plan: &Plan) -> Result<(), Failure> {
    if printer.json {
        let Plan { steps, notes } = plan;
        return Ok(writeln!(io::stdout(), "{}", json!({"plan": steps, "notes": notes}))?);
    }
    if plan.steps.is_empty() {
        writeln!(io::stdout(), "Everything is as the folder says.")?;
    } else {
        let rows: Vec<Value> = plan.steps.iter().flat_map(Step::rows).collect();
        printer.table(&json!(rows), STEPS)?;
    }
    for note in &plan.notes {
        writeln!(io::stdout(), "{}", plain(note))?;
    }
    Ok(())
}

const STEPS: &[Column] = &[
    ("TO DO", "/action"),
    ("NAME", "/name"),
    ("MEMBER", "/member"),
    ("WAS", "/was"),
    ("IS", "/is"),
    ("EFFECT", "/effect"),
];
