use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::clock;
use crate::error::ClientError;
use crate::renewal::{Held, State};
use crate::token::Token;

/// How often the wall clock is looked at: the monotonic one stands still while a machine sleeps.
const LOOK: Duration = Duration::from_secs(1);

/// Each new token of a [`TokenSource`](crate::TokenSource), and each failure to obtain one, for
/// whoever passes tokens on. Renewal goes on as long as this or the source is there.
#[derive(Debug)]
pub struct Changes(watch::Receiver<State>);

impl Changes {
    pub(crate) fn new(mut state: watch::Receiver<State>) -> Self {
        // A token that is there already is news to whoever begins to look.
        state.mark_changed();
        Self(state)
    }

    /// Waits for the next token, or for the next attempt that failed; the token before may still be
    /// alive then, and another attempt follows by itself. Several changes since the last call are
    /// told as one, the newest. `None` after the end of the runtime in which the source was built.
    pub async fn next(&mut self) -> Option<Result<Token, ClientError>> {
        loop {
            let held = self.0.borrow().held.clone();
            tokio::select! {
                changed = self.0.changed() => {
                    changed.ok()?;
                    let state = self.0.borrow_and_update();
                    if let Some(failure) = &state.failure {
                        return Some(Err(failure.clone()));
                    }
                    if let Some(token) = state.live(clock::now()) {
                        return Some(Ok(token.clone()));
                    }
                }
                // It should have been renewed long ago: the machine slept, and the renewal's timer
                // stood still.
                () = end(held) => {}
            }
        }
    }
}

/// Withdraws a token at its end. Waits for ever where there is no token, or it was withdrawn
/// before.
async fn end(held: Option<Held>) {
    let Some(Held { token, withdrawn }) = held.filter(|held| !held.withdrawn.is_cancelled()) else {
        return std::future::pending().await;
    };
    loop {
        let now = clock::now();
        if !token.is_live(now) {
            return withdrawn.cancel();
        }
        sleep_until(now.monotonic + LOOK).await;
    }
}
