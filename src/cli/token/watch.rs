//! `scrip token get --watch`: a file in which there is always a token that lives.

use std::path::Path;

use scrip_client::TokenSource;
use sd_notify::NotifyState;

use super::super::failure::Failure;
use super::super::service::stop_on_signal;
use super::file::TokenFile;
use super::keep::{Keeper, LOOK, News};
use super::source::failure;

/// Keeps the file fresh until SIGTERM or SIGINT, and tells systemd (`sd_notify(3)`) how it stands:
/// ready with the first token, alive each time that it has looked after the file.
///
/// # Errors
/// [`Failure`] where the file cannot be had, and where the first attempt is refused. Whatever comes
/// later is said, and tried again.
pub(super) async fn watch(source: TokenSource, path: &Path) -> Result<(), Failure> {
    let (file, ends) = TokenFile::open(path)?;
    let stop = stop_on_signal()?;
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK, |limit| LOOK.min(limit / 2));
    let mut keeper = Keeper::new(file, ends, source.changes(), every);
    let mut is_ready = false;
    loop {
        let news = tokio::select! {
            news = keeper.step() => news,
            () = stop.cancelled() => break,
        };
        match news {
            Some(News::Fresh(said)) => {
                say(&said);
                if !is_ready {
                    notify(NotifyState::Ready);
                }
                is_ready = true;
            }
            // Somebody has to change something first.
            Some(News::Failed(error, _)) if !is_ready && !error.is_temporary() => {
                return Err(failure(&error));
            }
            Some(News::Failed(_, said) | News::Wrong(said)) => say(&said),
            None => {}
        }
        if watchdog.is_some() {
            notify(NotifyState::Watchdog);
        }
    }
    notify(NotifyState::Stopping);
    say(&format!("stopped: {}, and is renewed no more", keeper.standing()));
    Ok(())
}

fn say(what: &str) {
    eprintln!("scrip: {what}");
    notify(NotifyState::Status(what));
}

fn notify(state: NotifyState<'_>) {
    // An error means that whoever started this does not listen.
    let _ = sd_notify::notify(&[state]);
}
