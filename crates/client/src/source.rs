use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::builder::TokenSourceBuilder;
use crate::changes::Changes;
use crate::clock;
use crate::credential::MasterCredential;
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::renewal::{self, State};
use crate::token::Token;

/// Least time between two tokens that are given up because a gateway refused them: a broken gateway
/// must not cause a storm of mints.
const INVALIDATION_INTERVAL: Duration = Duration::from_secs(30);

/// A fresh token at any time. Clones share one token and one renewal, which ends with the last.
#[derive(Debug, Clone)]
pub struct TokenSource {
    state: watch::Receiver<State>,
    invalidated: Arc<Mutex<Option<Instant>>>,
    patience: Duration,
}

impl TokenSource {
    /// A source for `client` (`<tenant>/<client>`) at `issuer`, the URL that stands in `iss`,
    /// byte for byte.
    pub fn builder(
        issuer: impl Into<String>,
        client: impl Into<String>,
        credential: MasterCredential,
    ) -> TokenSourceBuilder {
        TokenSourceBuilder::new(issuer.into(), client.into(), credential)
    }

    pub(crate) fn start(runtime: &Handle, endpoint: Endpoint, patience: Duration) -> Self {
        let (sender, state) = watch::channel(State::default());
        runtime.spawn(renewal::run(endpoint, sender));
        Self { state, invalidated: Arc::default(), patience }
    }

    /// A token that has not ended. Immediate while there is one; else waits for the attempt that
    /// is under way, at most for the source's patience.
    ///
    /// # Errors
    /// [`ClientError`]: at once for a refusal and for anything that is put off for longer than the
    /// patience lasts; for any other temporary failure once the patience has run out.
    pub async fn token(&self) -> Result<Token, ClientError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| {
            let live = state.live(clock::now()).is_some();
            if !live && let Some(held) = &state.held {
                // The machine may have slept past the token's end, with the renewal's timer
                // standing still.
                held.withdrawn.cancel();
            }
            live || state.failure.as_ref().is_some_and(|failure| failure.outlasts(self.patience))
        });
        match tokio::time::timeout(self.patience, settled).await {
            Ok(Ok(state)) => outcome(&state),
            Ok(Err(_)) => Err(ClientError::Stopped),
            Err(_) => outcome(&self.state.borrow()),
        }
    }

    /// Each new token from now on, beginning with the one that there is, and each failure to obtain
    /// one: for whoever passes tokens on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.state.clone())
    }

    /// Gives up a token that a gateway refused (401), so that the next [`token`](Self::token) is
    /// another one. `false`: the last one was given up less than 30 seconds ago, so this one stays.
    /// It is given the token that was refused, so that a late 401 does not give up the token that
    /// has replaced it.
    pub fn invalidate(&self, token: &Token) -> bool {
        let Some(held) = self.state.borrow().held.clone() else { return true };
        if held.token.jti() != token.jti() || held.withdrawn.is_cancelled() {
            return true;
        }
        let now = clock::now().monotonic;
        let mut last = self.invalidated.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if last.is_some_and(|last| now < last + INVALIDATION_INTERVAL) {
            return held.withdrawn.is_cancelled();
        }
        *last = Some(now);
        held.withdrawn.cancel();
        true
    }
}

fn outcome(state: &State) -> Result<Token, ClientError> {
    match (state.live(clock::now()), &state.failure) {
        (Some(token), _) => Ok(token.clone()),
        (None, Some(failure)) => Err(failure.clone()),
        (None, None) => Err(ClientError::Away {
            peer: "Scrip",
            reason: "no answer yet".to_owned(),
            retry_after: None,
        }),
    }
}
