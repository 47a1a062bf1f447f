//! `scrip feed mirror`: the feed as files.

use std::path::PathBuf;
use std::time::Duration;

use scrip_feed::{Config, Copied, Mirror};
use scrip_token::Jti;
use serde::Serialize;
use tokio::time::sleep;

use super::super::failure::Failure;
use super::super::moment::Moment;
use super::super::print::{Printer, plain};
use super::{json, line};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write it
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Write it once, and end
    #[arg(long)]
    once: bool,
    /// How often to look for something newer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, conflicts_with = "once",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

impl Args {
    /// Copies until it is stopped; a round that fails leaves what is there, and is tried again.
    pub(super) async fn run(self, config: Config, printer: Printer) -> Result<(), Failure> {
        let mirror = Mirror::open(config, self.dir).await;
        let mut mirror = mirror.map_err(|error| Failure::Usage(error.to_string()))?;
        let mut last = None;
        loop {
            match mirror.copy().await {
                Ok(copied) if last == Some(copied) => {}
                Ok(copied) => {
                    last = Some(copied);
                    show(&copied, printer)?;
                }
                Err(error) if self.once => {
                    return Err(Failure::Unreachable(plain(&error.to_string())));
                }
                Err(error) => eprintln!("scrip: not copied: {}", plain(&error.to_string())),
            }
            if self.once {
                return Ok(());
            }
            sleep(Duration::from_secs(self.every)).await;
        }
    }
}

fn show(copied: &Copied, printer: Printer) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Line {
        event: &'static str,
        epoch: Jti,
        seq: u64,
        as_of: u64,
        keys: u64,
    }
    let Copied { position, as_of, keys } = *copied;
    if printer.json {
        let (epoch, seq) = (position.epoch, position.seq);
        return json(&Line { event: "copied", epoch, seq, as_of, keys });
    }
    let at = Moment::at(as_of).map_or_else(|| as_of.to_string(), |moment| moment.to_string());
    line(format_args!("{at}  snapshot {}, keys {keys}", position.seq))
}
