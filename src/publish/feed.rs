//! The deny list's feed: snapshot, blobs, batches, stream. For clients with `scrip:feed`.

mod batches;
mod snapshot;
mod stream;

use axum::http::HeaderMap;

pub use batches::batches;
pub use snapshot::{blob, snapshot};
pub use stream::stream;

use super::malformed;
use crate::app::App;
use crate::caller::{Means, Pass, operator};
use crate::error::{Failure, Problem};
use crate::receipts::{Sighting, is_name};
use crate::router::Arrival;
use crate::store::{Store, StoreError, deny_batches, installation};

/// Most batches in one reply, and read at once for a stream.
const MAX_BATCHES: u32 = 256;

/// Who reads the feed, in the name of which verifier, and by what right; nobody reads it before that is
/// on record.
async fn follower(
    app: &App,
    headers: &HeaderMap,
    arrival: Arrival,
) -> Result<(Sighting, Pass), Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(app, headers, arrival.address, arrival.at, "scrip:feed", means).await?;
    let (by, pass) = by.to_stay()?;
    let reader = Sighting::Feed(by.client, verifier(headers)?);
    if !app.sightings.record(reader.clone()).await {
        let detail = "it could not be recorded who reads the feed";
        return Err(Problem(Failure::unavailable(detail, 1)));
    }
    Ok((reader, pass))
}

/// The verifier that will acknowledge what is read.
fn verifier(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("x-scrip-verifier").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let name = value.to_str().unwrap_or_default();
    if values.next().is_some() || !is_name(name) {
        return Err(malformed("X-Scrip-Verifier is 1 to 64 of a-z, 0-9, `.` and `-`, once"));
    }
    Ok(Some(name.to_owned()))
}

/// Some of the batches that follow `seq`, or why a follower there cannot go on. The connection is
/// given back before anything is waited for.
async fn read(
    store: &Store,
    epoch: &str,
    seq: i64,
) -> Result<Result<Vec<deny_batches::Batch>, &'static str>, StoreError> {
    let mut session = store.read_reserved().await?;
    match installation::read(&mut session).await? {
        Some(row) if row.epoch != epoch => return Ok(Err("epoch")),
        Some(row) if row.seq < seq => return Ok(Err("ahead")),
        _ => {}
    }
    let batches = deny_batches::after(&mut session, epoch, seq, MAX_BATCHES).await?;
    let whole = batches.first().is_none_or(|first| first.seq == seq + 1)
        && batches.iter().all(|batch| batch.jws.is_some());
    Ok(if whole { Ok(batches) } else { Err("pruned") })
}
