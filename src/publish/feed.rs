//! The deny list's feed: snapshot, blobs, batches, stream. For clients with `scrip:feed`.

mod batches;
mod snapshot;
mod stream;

use axum::http::HeaderMap;

pub use batches::batches;
pub use snapshot::{blob, snapshot};
pub use stream::stream;

use crate::app::App;
use crate::caller::{Means, operator};
use crate::error::Problem;
use crate::receipts::Sighting;
use crate::router::Arrival;
use crate::store::{Store, StoreError, deny_batches, installation};

/// Most batches in one reply, and read at once for a stream.
const MAX_BATCHES: u32 = 256;

async fn follower(app: &App, headers: &HeaderMap, arrival: Arrival) -> Result<(), Problem> {
    let means = Means::TokenOrSecret;
    let by = operator(app, headers, arrival.address, arrival.at, "scrip:feed", means).await?;
    app.sightings.note(Sighting::Feed(by.everywhere()?.client));
    Ok(())
}

/// Some of the batches that follow a place in the feed.
struct Page {
    batches: Vec<deny_batches::Batch>,
    /// Number of the newest batch.
    head: i64,
}

/// The batches that follow `seq`, or why a follower there cannot go on. The connection is given
/// back before anything is waited for.
async fn read(
    store: &Store,
    epoch: &str,
    seq: i64,
) -> Result<Result<Page, &'static str>, StoreError> {
    let mut session = store.read_reserved().await?;
    let head = match installation::read(&mut session).await? {
        Some(row) if row.epoch != epoch => return Ok(Err("epoch")),
        Some(row) if row.seq < seq => return Ok(Err("ahead")),
        row => row.map_or(0, |row| row.seq),
    };
    let batches = deny_batches::after(&mut session, epoch, seq, MAX_BATCHES).await?;
    let whole = batches.first().is_none_or(|first| first.seq == seq + 1)
        && batches.iter().all(|batch| batch.jws.is_some());
    Ok(if whole { Ok(Page { batches, head }) } else { Err("pruned") })
}
