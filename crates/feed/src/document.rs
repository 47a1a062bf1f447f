//! Fetches the keys document, and walks to a new root where there is one.

use std::sync::Arc;
use std::time::Duration;

use scrip_verify::Issuer;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::alarm::{Alarm, Alarms};
use crate::files::Files;
use crate::keeper::{Held, Keeper, KeysError, claimed_version};
use crate::origin::{Fault, Origin, is_private};
use crate::refetch::Source;
use crate::view::{Published, Reader};

/// How often keys are fetched where no heartbeat tells of newer ones.
const UNASKED: Duration = Duration::from_secs(3600);
/// Most versions between the document that is trusted and the newest.
const MAX_WALK: u64 = 1024;
/// How long one origin may take. Ours may have a long way to go from an old pin; a mirror is anybody's,
/// and would lead us on for as long as it likes.
const ORIGIN: Duration = Duration::from_secs(120);
const MIRROR: Duration = Duration::from_secs(15);

/// Keeps the keys document of one issuer up to date.
pub(crate) struct Document {
    pub(crate) keeper: Keeper,
    /// The issuer itself is the first.
    pub(crate) issuer: Origin,
    pub(crate) origins: Vec<Origin>,
    pub(crate) files: Files,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) reader: Reader,
    pub(crate) held: watch::Sender<Option<Arc<Held>>>,
}

impl Source for Document {
    async fn fetch(&mut self) -> Result<Duration, Fault> {
        let origins = match self.keeper.is_first_contact() {
            // Without a pin, whoever answers decides whom we believe from now on.
            true if is_private(&self.issuer.base) => vec![self.issuer.clone()],
            true => return Err(Fault::protocol("first contact needs TLS or a pin")),
            false => self.origins.clone(),
        };
        let mut asked = Err(Fault::Silent);
        for origin in origins {
            // They are for when nobody of ours is there.
            if origin.is_mirror && asked.is_ok() {
                break;
            }
            let limit = if origin.is_mirror { MIRROR } else { ORIGIN };
            let too_long = || Fault::Transport(format!("no keys within {} s", limit.as_secs()));
            let fetched = timeout(limit, self.fetch_from(&origin)).await;
            match fetched.unwrap_or_else(|_| Err(too_long())) {
                Ok(true) => return Ok(UNASKED),
                // This origin may be keeping a newer one from us: the next is asked as well.
                Ok(false) => asked = Ok(UNASKED),
                Err(fault) => asked = asked.or(Err(fault)),
            }
        }
        asked
    }
}

impl Document {
    /// Whether this origin had a newer one. Where that is given up half-way, the next goes on from
    /// there.
    async fn fetch_from(&mut self, origin: &Origin) -> Result<bool, Fault> {
        let newest = origin.keys(None).await?;
        let result = match self.keeper.accept(&newest) {
            Err(KeysError::UnknownRoot { version }) => self.walk(origin, &newest, version).await?,
            result => result.map(|_| ()),
        };
        if let Err(error) = result {
            self.alarms.raise(Alarm::Keys, &error);
            return Err(Fault::protocol(error));
        }
        let published = self.held.borrow().as_ref().map(|held| held.version);
        match self.keeper.held().cloned() {
            Some(held) if Some(held.version) != published => self.publish(held).await,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Goes through older versions until one leads to the newest. The newest document is not
    /// trusted yet: what version it claims to be serves as a bound only.
    async fn walk(
        &mut self,
        origin: &Origin,
        newest: &str,
        claimed: u64,
    ) -> Result<Result<(), KeysError>, Fault> {
        let nearest = claimed.saturating_sub(MAX_WALK).max(1);
        if self.keeper.held().is_none() {
            for version in (nearest..claimed).rev() {
                let Some(document) = version_of(origin, version).await? else { continue };
                match self.keeper.accept(&document) {
                    Err(KeysError::UnknownRoot { .. }) => {}
                    Err(error) => return Ok(Err(error)),
                    Ok(_) => break,
                }
            }
        }
        let unknown = KeysError::UnknownRoot { version: claimed };
        let Some(held) = self.keeper.held() else { return Ok(Err(unknown)) };
        for version in nearest.max(held.version + 1)..claimed {
            match self.keeper.accept(newest) {
                Err(KeysError::UnknownRoot { .. }) => {}
                result => return Ok(result.map(|_| ())),
            }
            // A copy keeps only those that lead on.
            let Some(document) = version_of(origin, version).await? else { continue };
            if let Err(error) = self.keeper.accept(&document) {
                return Ok(Err(error));
            }
        }
        Ok(self.keeper.accept(newest).map(|_| ()))
    }

    async fn publish(&self, held: Arc<Held>) {
        tracing::info!(version = held.version, "keys document");
        if held.leaked > 0 {
            self.alarms.raise(Alarm::PrivateKey, &"the keys document");
        }
        self.held.send_replace(Some(held.clone()));
        self.reader.update(|published| Published {
            issuer: Issuer::new(
                published.issuer.iss(),
                held.token.clone(),
                published.issuer.deny().clone(),
            ),
            source: published.source,
        });

        self.files.write(move |disk| disk.save_keys(&held.chain)).await;
    }
}

/// An older document, by query or, at file servers, which ignore queries, by the name of its file.
async fn version_of(origin: &Origin, version: u64) -> Result<Option<String>, Fault> {
    match origin.keys(Some(version)).await {
        Ok(document) if claimed_version(&document) == Some(version) => return Ok(Some(document)),
        Ok(_) | Err(Fault::Absent) => {}
        Err(fault) => return Err(fault),
    }
    match origin.keys_file(version).await {
        Ok(document) => Ok(Some(document)),
        Err(Fault::Absent) => Ok(None),
        Err(fault) => Err(fault),
    }
}
