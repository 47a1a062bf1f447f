//! `scrip token exec`: a command with a token at hand.
//!
//! The folder with the token is in memory where the system has such a place (`XDG_RUNTIME_DIR`). A
//! `kill -9` leaves the command running, and the folder with a token that ends by itself.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::super::Remote;
use super::super::failure::Failure;
use super::Wish;
use super::file::TokenFile;
use super::keep::{Keeper, LOOK, News};
use super::source::failure;
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wish: Wish,
    /// Variable that holds the first token; may be repeated
    #[arg(long = "env", value_name = "NAME", default_value = "OPENAI_API_KEY", value_parser = variable)]
    variables: Vec<String>,
    /// What to run, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn variable(name: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !name.is_empty() && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        Err("a variable's name is letters, digits and `_`")
    }
}

/// Names the file in which there is always a token that lives.
const TOKEN_FILE: &str = "SCRIP_TOKEN_FILE";

impl Args {
    /// Runs the command until it ends, and ends as it did. The master credential is not handed on.
    pub(super) async fn run(self, remote: Remote) -> Result<(), Failure> {
        let source = self.wish.source(remote.connection)?;
        let first = source.token().await.map_err(|error| failure(&error))?;
        let folder = private_folder()?;
        let path = folder.path().join("token");
        let (file, _) = TokenFile::open(&path)?;
        file.put(first.expose()).map_err(|error| refused(&error))?;

        let mut signals = signals()?;
        let [program, arguments @ ..] = &self.command[..] else {
            return Err(Failure::Usage("there is nothing to run".into()));
        };
        let mut command = Command::new(program);
        command.args(arguments).env(TOKEN_FILE, &path);
        for credential in ["SCRIP_CLIENT_SECRET", "SCRIP_CLIENT_SECRET_FILE"] {
            command.env_remove(credential);
        }
        for variable in &self.variables {
            command.env(variable, first.expose());
        }
        let mut child = command.spawn().map_err(|error| not_run(program, &error))?;
        let mut keeper = Keeper::new(file, None, source.changes(), LOOK);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.map_err(|error| refused(&error))?,
                Some(signal) = signals.recv() => pass(signal, &child),
                news = keeper.step() => match news {
                    Some(News::Failed(_, said) | News::Wrong(said)) => eprintln!("scrip: {said}"),
                    Some(News::Fresh(_)) | None => {}
                },
            }
        };
        match code(status) {
            0 => Ok(()),
            code => Err(Failure::Ended(code)),
        }
    }
}

fn refused(error: &io::Error) -> Failure {
    Failure::Rejected(error.to_string())
}

/// A folder that only its owner may read, in memory where the system has such a place, removed at
/// the end.
fn private_folder() -> Result<TempDir, Failure> {
    let place = config::runtime_dir().unwrap_or_else(std::env::temp_dir);
    let mut folder = tempfile::Builder::new();
    folder.prefix("scrip-").permissions(Permissions::from_mode(0o700));
    folder
        .tempdir_in(&place)
        .map_err(|error| Failure::Usage(format!("{}: {error}", place.display())))
}

/// The signals that are passed on to the command. Ctrl-C and Ctrl-\ at a terminal tell the command
/// themselves.
fn signals() -> Result<mpsc::Receiver<Signal>, Failure> {
    let keys = [(SignalKind::interrupt(), Signal::INT), (SignalKind::quit(), Signal::QUIT)];
    let others = [
        (SignalKind::terminate(), Signal::TERM),
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::user_defined1(), Signal::USR1),
        (SignalKind::user_defined2(), Signal::USR2),
    ];
    let (sender, receiver) = mpsc::channel(16);
    for (kind, passed) in keys.into_iter().chain(others) {
        let mut arrivals = signal(kind).map_err(|error| refused(&error))?;
        let sender = sender.clone();
        let is_key = matches!(passed, Signal::INT | Signal::QUIT);
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() {
                let is_known = is_key && in_foreground();
                if !is_known && sender.send(passed).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Whether the keys of a terminal reach this process, and so the command: wherever its input comes from.
fn in_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

fn pass(signal: Signal, child: &Child) {
    // Without an id it has ended.
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let _ = kill_process(pid, signal);
    }
}

/// As shells say it: 128 and the signal for what a signal ended.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// As shells say it: 127 for what is not there, 126 for what cannot be run.
fn not_run(program: &OsString, error: &io::Error) -> Failure {
    eprintln!("scrip: {}: {error}", program.display());
    Failure::Ended(if error.kind() == ErrorKind::NotFound { 127 } else { 126 })
}
