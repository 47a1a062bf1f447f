//! Hears of batches that other processes commit. On SQLite there is no other process.

use super::session::heard;
use super::{Database, Store, StoreError};
use sqlx::postgres::PgListener;
use std::io;
use std::time::Duration;

/// Silence after which a server is asked whether it is still there: one that vanished without a
/// word would otherwise be listened to for ever.
const QUIET: Duration = Duration::from_secs(30);

/// Where [`super::installation::advance`] tells what it has numbered, once that is committed.
const CHANNEL: &str = "scrip_deny";

/// A connection of its own that hears of commits.
pub struct Listener(Option<PgListener>);

/// A batch that has been committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// A UUIDv7 in text.
    pub epoch: String,
    /// Its number.
    pub seq: i64,
}

impl Store {
    /// Begins to listen. What is committed while nobody does is never heard of.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after 2 s without a connection.
    pub async fn listen(&self) -> Result<Listener, StoreError> {
        let Database::Postgres(db) = &*self.0 else { return Ok(Listener(None)) };
        let mut listener = heard(db.listener()).await?;
        heard(listener.listen(CHANNEL)).await?;
        Ok(Listener(Some(listener)))
    }
}

impl Listener {
    /// The next batch that is committed, by this process too; on SQLite never. Cancelling loses
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the connection is lost: listen anew.
    pub async fn next(&mut self) -> Result<Numbered, StoreError> {
        let Some(listener) = &mut self.0 else { return std::future::pending().await };
        loop {
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(told))) => {
                    if let Some((epoch, seq)) = told.payload().split_once(':')
                        && let Ok(seq) = seq.parse()
                    {
                        return Ok(Numbered { epoch: epoch.to_owned(), seq });
                    }
                }
                Ok(Ok(None)) => {
                    return Err(sqlx::Error::Io(io::ErrorKind::ConnectionAborted.into()).into());
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    heard(sqlx::query("SELECT 1").execute(&mut *listener)).await?;
                }
            }
        }
    }
}
