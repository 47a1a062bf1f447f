//! Tells somebody of guessing, once it has run into a limit.
//!
//! Not done by the requests that guess, so neither what they are answered nor when depends on it;
//! and while the database is away nothing is lost.

use serde_json::json;

use super::Rates;
use super::failures::Guess;
use crate::audit::Event;
use crate::clock;
use crate::store::{Lock, Store, StoreError, audit};

/// Raises an alert for each guess that has run into a limit since the last time.
///
/// # Errors
/// [`StoreError`]; what was found is told the next time then.
pub async fn tell_of_guessing(store: &Store, rates: &Rates) -> Result<(), StoreError> {
    for (failures, at) in [(&rates.failures, "oauth"), (&rates.reserved_failures, "reserved")] {
        let guesses = failures.take_untold();
        if guesses.is_empty() {
            continue;
        }
        if let Err(error) = raise(store, &guesses, at).await {
            failures.still_untold(guesses);
            return Err(error);
        }
        let raised = guesses.len() as u64;
        metrics::counter!("scrip_alerts_total", "of" => "credential.guess").increment(raised);
    }
    Ok(())
}

async fn raise(store: &Store, guesses: &[Guess], at: &str) -> Result<(), StoreError> {
    let mut tx = store.begin(Lock::Admin).await?;
    let now_ms = tx.now_ms(clock::now_ms()).await?;
    let events: Vec<_> = guesses.iter().map(|guess| alert(guess, at).at(now_ms)).collect();
    audit::insert_many(&mut tx, &events).await?;
    tx.commit().await
}

/// Does not say whether there is such a client: nobody has looked. A text that is no client's name
/// is not repeated, because it may be a secret in the wrong place.
fn alert(guess: &Guess, at: &str) -> Event {
    let event = Event::new("credential.guess", "alert")
        .detail(&json!({"place": guess.place(), "endpoints": at}));
    match &guess.client {
        Some(client) => event.tenant(client.tenant()).target(client.as_str()),
        None => event,
    }
}
