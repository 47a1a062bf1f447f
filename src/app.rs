//! What a request may use. No logic.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Journal;
use crate::caller::{Admissions, Register};
use crate::config::Config;
use crate::deny::DenyList;
use crate::deny::audience::Audience;
use crate::deny::heartbeat::Pulse;
use crate::deny::snapshot::Snapshots;
use crate::latest::Latest;
use crate::publish::Jwks;
use crate::rates::{Appointments, Rates};
use crate::receipts::{Receipts, Sightings};
use crate::recorder::Recorder;
use crate::revoke::Revoker;
use crate::secret::DigestKey;
use crate::signer::Signer;
use crate::store::keys_documents::KeysDocument;
use crate::store::{Store, StoreError};
use crate::vault::MasterCredentials;

/// Shared by all requests.
pub struct App {
    /// The checked settings.
    pub config: Config,
    /// What outlives the process.
    pub store: Store,
    /// Private keys.
    pub signer: Arc<Signer>,
    /// Approved -> Recorded.
    pub recorder: Recorder,
    /// Orders -> revoked.
    pub revoker: Revoker,
    /// The deny list.
    pub deny: Arc<DenyList>,
    /// The newest heartbeat.
    pub pulse: Pulse,
    /// Everybody who follows the deny list's stream.
    pub audience: Audience,
    /// By what they were let in.
    pub admissions: Arc<Admissions>,
    /// What verifiers acknowledge.
    pub receipts: Receipts,
    /// Who was seen to verify.
    pub sightings: Sightings,
    /// Snapshots of the deny list.
    pub snapshots: Snapshots,
    /// The key set, read once for all who ask for it.
    pub(crate) jwks: Latest<Result<Arc<Jwks>, Arc<StoreError>>>,
    /// The same as it was read last.
    pub last_jwks: ArcSwapOption<Jwks>,
    /// The newest keys document, read once for all who ask for it.
    pub(crate) keys_document: Latest<Result<Option<KeysDocument>, Arc<StoreError>>>,
    /// Versions of it that were asked for, those that there are not included.
    pub(crate) keys_versions: Mutex<HashMap<i64, Option<KeysDocument>>>,
    /// Places for look-ups that anybody can cause: few, so that they leave the connections of
    /// administration, of the audit log and of upkeep to these.
    pub(crate) strangers: Semaphore,
    /// Master credentials held in Vault, where Vault is configured.
    pub vault: Option<MasterCredentials>,
    /// Digests of embedded credentials.
    pub digest_key: DigestKey,
    /// Clients as they are now.
    pub register: Register,
    /// The same, over the connections that are kept for revocation and the feed.
    pub reserved_register: Register,
    /// Who may ask how often.
    pub rates: Rates,
    /// When whoever was turned away shall come back.
    pub appointments: Appointments,
    /// Takes refusals for the audit log.
    pub journal: Journal,
    /// Cancelled when the process is to end: streams end, tasks finish.
    pub shutdown: CancellationToken,
    /// What the end of the process waits for.
    pub tasks: TaskTracker,
}
