//! The one task that mints. Callers read what it has, and never mint themselves.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::random;
use crate::token::Token;

/// What callers see: the newest token, and why there is no newer one.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) held: Option<Held>,
    pub(crate) failure: Option<ClientError>,
}

/// A token, until it is withdrawn.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) withdrawn: CancellationToken,
}

impl State {
    pub(crate) fn live(&self, now: Moment) -> Option<&Token> {
        let held = self.held.as_ref()?;
        (held.token.is_live(now) && !held.withdrawn.is_cancelled()).then_some(&held.token)
    }
}

/// Mints and renews until nobody holds the source any more.
pub(crate) async fn run(endpoint: Endpoint, state: watch::Sender<State>) {
    tokio::select! {
        () = state.closed() => {}
        never = renew(endpoint, &state) => match never {},
    }
}

async fn renew(mut endpoint: Endpoint, state: &watch::Sender<State>) -> Infallible {
    let mut failures = 0;
    loop {
        match endpoint.mint().await {
            Ok(token) => {
                failures = 0;
                tracing::debug!(jti = %token.jti(), "token minted");
                let renewal = token.aged(renewal_share(random::fraction()));
                let withdrawn = CancellationToken::new();
                let held = Held { token, withdrawn: withdrawn.clone() };
                state.send_replace(State { held: Some(held), failure: None });
                tokio::select! {
                    () = tokio::time::sleep_until(renewal) => {}
                    () = withdrawn.cancelled() => {}
                }
            }
            Err(error) => {
                let pause = pause(failures, error.rest(), random::fraction());
                failures += 1;
                tracing::warn!(%error, failures, retry_in = ?pause, "no new token");
                state.send_modify(|state| state.failure = Some(error));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Renewal is due at 65 to 75 % of a token's life, at random: a fleet that started together does
/// not renew together.
fn renewal_share(fraction: f64) -> f64 {
    0.65 + 0.1 * fraction
}

/// Back-off with full jitter: anything up to half a second, doubling up to half a minute, on top
/// of what the failure itself asks for.
fn pause(failures: u32, rest: Duration, fraction: f64) -> Duration {
    let ceiling = Duration::from_millis(500 << failures.min(6)).min(Duration::from_secs(30));
    rest + ceiling.mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_lies_around_seventy_percent() {
        assert_eq!(renewal_share(0.0), 0.65);
        assert!((renewal_share(0.5) - 0.7).abs() < 1e-9);
        assert!(renewal_share(0.999_999) < 0.75);
    }

    #[test]
    fn back_off_doubles_and_is_bounded() {
        let ceilings: Vec<u128> =
            (0..9).map(|failures| pause(failures, Duration::ZERO, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(pause(u32::MAX, Duration::ZERO, 0.0), Duration::ZERO);
    }

    #[test]
    fn jitter_never_shortens_what_the_service_asked_for() {
        let asked = Duration::from_secs(7);
        assert_eq!(pause(0, asked, 0.0), asked);
        assert!(pause(0, asked, 0.9) > asked);
    }
}
