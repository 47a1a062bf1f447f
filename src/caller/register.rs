//! Clients as they are now, each with its credentials and its policy: read in groups.
//!
//! Whoever asks while a reading runs is in the next one, which does not wait for a reading that is held
//! up. Only what a version of a policy says is remembered, because it never changes: a client that was
//! disabled a moment ago is found disabled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use scrip_token::QualifiedName;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::clock;
use crate::policy::Policy;
use crate::store::clients::{Client, Governed};
use crate::store::credentials::Credential;
use crate::store::{Lane, Store, StoreError, clients, credentials, policies};

/// Readings under way at once, where one is held up by a silent connection.
const AT_ONCE: usize = 4;
/// How long a reading is alone; after that, whoever has asked meanwhile is read beside it.
const HEAD_START: Duration = Duration::from_millis(10);
/// Longest wait for what a reading finds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most clients in one reading.
const MAX_GROUP: usize = 256;
/// Most that wait for the next reading.
const MAX_QUEUE: usize = 8192;
/// Most policies that are remembered.
const MAX_POLICIES: usize = 4096;

/// All that is known of a client.
pub(super) struct Entry {
    pub(super) client: Client,
    /// Newest first.
    pub(super) credentials: Vec<Credential>,
    /// `None` where the database has none that can be read.
    pub(super) policy: Option<Arc<Policy>>,
    /// The database's time when this was read, in seconds.
    pub(super) now: u64,
}

/// Why nothing is known of a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unread {
    /// The database.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// Too many are waiting, or the database is too slow.
    #[error("the client could not be looked up in time")]
    Busy,
}

type Answer = Result<Option<Arc<Entry>>, Unread>;

/// Hands names to the one task that looks them up.
pub struct Register(mpsc::Sender<(QualifiedName, oneshot::Sender<Answer>)>);

impl Register {
    /// Starts the task, which reads over the connections of `lane`; it ends with the register.
    #[must_use]
    pub fn start(store: Store, lane: Lane) -> (Self, AbortHandle) {
        let (queue, mut asking) = mpsc::channel(MAX_QUEUE);
        let task = tokio::spawn(async move {
            let read = Arc::new(Policies::default());
            let places = Arc::new(Semaphore::new(AT_ONCE));
            while let Ok(place) = places.clone().acquire_owned().await {
                let mut group = Vec::new();
                if asking.recv_many(&mut group, MAX_GROUP).await == 0 {
                    return;
                }
                let (store, read) = (store.clone(), read.clone());
                let reading = tokio::spawn(async move {
                    answer(&store, lane, &read, group).await;
                    drop(place);
                });
                let _ = tokio::time::timeout(HEAD_START, reading).await;
            }
        });
        (Self(queue), task.abort_handle())
    }

    /// The client of this name, deleted or not; `None` where there is none.
    pub(super) async fn find(&self, name: &QualifiedName) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.0.try_send((name.clone(), reply)).map_err(|_| Unread::Busy)?;
        let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| Unread::Busy)?;
        answer.map_err(|_| Unread::Busy)?
    }
}

/// For each name the version that was read last, and what it says.
#[derive(Default)]
struct Policies(Mutex<HashMap<String, (i64, Arc<Policy>)>>);

impl Policies {
    fn find(&self, name: &str, version: i64) -> Option<Arc<Policy>> {
        let read = self.0.lock();
        read.get(name).filter(|(read, _)| *read == version).map(|(_, policy)| policy.clone())
    }

    /// `None` where it cannot be read.
    fn learn(&self, row: policies::Policy) -> Option<Arc<Policy>> {
        let policies::Policy { name, version, body, .. } = row;
        let policy = Policy::from_json(body.as_bytes())
            .inspect_err(|error| tracing::error!(policy = name, version, %error, "unreadable"));
        let policy = Arc::new(policy.ok()?);
        let mut read = self.0.lock();
        if read.len() >= MAX_POLICIES {
            read.clear();
        }
        read.insert(name, (version, policy.clone()));
        Some(policy)
    }
}

async fn answer(
    store: &Store,
    lane: Lane,
    read: &Policies,
    group: Vec<(QualifiedName, oneshot::Sender<Answer>)>,
) {
    let mut names: Vec<&str> = group.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let found = look_up(store, lane, read, &names).await.map_err(Arc::new);
    for (name, reply) in group {
        let entry = match &found {
            Ok(entries) => Ok(entries.get(name.as_str()).cloned()),
            Err(error) => Err(error.clone().into()),
        };
        // Whoever asked may have gone away.
        let _ = reply.send(entry);
    }
}

async fn look_up(
    store: &Store,
    lane: Lane,
    read: &Policies,
    names: &[&str],
) -> Result<HashMap<String, Arc<Entry>>, StoreError> {
    let mut session = store.read_in(lane).await?;
    let clients = clients::by_ids_with_policies(&mut session, names).await?;
    let mut credentials: HashMap<String, Vec<Credential>> = HashMap::new();
    for credential in credentials::of_clients(&mut session, names).await? {
        credentials.entry(credential.client.clone()).or_default().push(credential);
    }
    // By name: within one reading each policy has one version.
    let mut theirs: HashMap<String, Option<Arc<Policy>>> = HashMap::new();
    for Governed { client, policy_version, .. } in &clients {
        let (name, Some(version)) = (&client.policy, *policy_version) else { continue };
        if !theirs.contains_key(name) {
            let policy = match read.find(name, version) {
                Some(policy) => Some(policy),
                None => policies::version(&mut session, name, version)
                    .await?
                    .and_then(|row| read.learn(row)),
            };
            theirs.insert(name.clone(), policy);
        }
    }
    drop(session);

    let entry = |Governed { client, clock_ms, .. }: Governed| {
        let policy = theirs.get(&client.policy).cloned().flatten();
        let credentials = credentials.remove(&client.id).unwrap_or_default();
        let now = clock::seconds(clock_ms.unwrap_or_else(clock::now_ms));
        (client.id.clone(), Arc::new(Entry { client, credentials, policy, now }))
    };
    Ok(clients.into_iter().map(entry).collect())
}
