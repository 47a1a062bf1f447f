//! Keys of an issuer that has no feed, from its JWK set (RFC 7517 section 5).

use std::sync::Arc;
use std::time::Duration;

use scrip_token::jwk::{KeySet, Odd};
use scrip_verify::{DenySet, Freshness, Issuer, Keys};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::alarm::{Alarm, Alarms};
use crate::follower::StartError;
use crate::origin::{self, Fault, is_private, jwks};
use crate::refetch::{self, Bell, Rhythm};
use crate::view::{Published, Reader, Source};

/// Bounds of a set's `max-age`, and what counts without one.
const SOONEST: Duration = Duration::from_secs(30);
const LATEST: Duration = Duration::from_secs(3600);
const UNSAID: Duration = Duration::from_secs(300);

/// Where the keys of an issuer without a feed come from.
#[derive(Debug, Clone)]
pub struct KeySource {
    /// Issuer URL, byte for byte as in `iss`.
    pub issuer: String,
    /// Where its JWK set is. Over `http` only on this machine.
    pub jwks: Url,
    /// PEM certificates to trust beside the platform's.
    pub ca: Option<Vec<u8>>,
}

/// Keeps the keys of an issuer that has no feed. What that issuer revokes is not known: views say
/// [`scrip_verify::Information::Unfollowed`]. It stops when this is dropped.
#[derive(Debug)]
pub struct KeysAlone {
    bell: Bell,
    alarms: Arc<Alarms>,
    _task: AbortOnDropHandle<()>,
}

impl KeysAlone {
    /// Begins to fetch, on the current Tokio runtime. Until there are keys, no token is accepted.
    ///
    /// # Errors
    /// [`StartError`] for a configuration that cannot work.
    pub fn start(source: KeySource) -> Result<(Self, Reader), StartError> {
        let http = origin::client(source.ca.as_deref())
            .map_err(|error| StartError::Http(error.to_string()))?;
        if !is_private(&source.jwks) {
            return Err(StartError::Url(source.jwks.into()));
        }
        let alarms = Arc::new(Alarms::default());
        let reader = Reader::new(published(&source.issuer, Keys::default()), Freshness::default());
        let (rhythm, bell) = Rhythm::new();
        let set = Set { source, http, alarms: alarms.clone(), reader: reader.clone() };
        let task = AbortOnDropHandle::new(tokio::spawn(rhythm.keep(set)));
        Ok((Self { bell, alarms, _task: task }, reader))
    }

    /// To be called where a token names a key that is not known: fetches the keys once for all
    /// who ask, at most every 30 seconds, and returns when that is done or need not be.
    pub async fn refetch_keys(&self) {
        self.bell.unknown_key().await;
    }

    /// What should not have happened, counted.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }
}

/// A JWK set that is fetched again and again; the last good one stays.
struct Set {
    source: KeySource,
    http: reqwest::Client,
    alarms: Arc<Alarms>,
    reader: Reader,
}

impl refetch::Source for Set {
    async fn fetch(&mut self) -> Result<Duration, Fault> {
        let (document, max_age) = jwks(&self.http, &self.source.jwks).await?;
        let set = KeySet::parse(&document).map_err(Fault::protocol);
        let set = set.inspect_err(|fault| self.alarms.raise(Alarm::Keys, fault))?;
        if set.odd.iter().any(|(_, odd)| *odd == Odd::Private) {
            self.alarms.raise(Alarm::PrivateKey, &"a published key set");
        }
        if set.keys.is_empty() {
            let fault = Fault::protocol("no usable key");
            self.alarms.raise(Alarm::Keys, &fault);
            return Err(fault);
        }
        let keys = Keys::from(set);
        self.reader.update(|_| published(&self.source.issuer, keys.clone()));
        Ok(max_age.unwrap_or(UNSAID).clamp(SOONEST, LATEST))
    }
}

fn published(issuer: &str, keys: Keys) -> Published {
    Published { issuer: Issuer::new(issuer, keys, DenySet::default()), source: Source::KeysAlone }
}
