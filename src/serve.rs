//! Puts the service together, runs it, and ends it in order.

mod guests;
mod prompt;
mod sockets;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum_server::Handle;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::audit::Journal;
use crate::bootstrap::{self, BootstrapError};
use crate::caller::Register;
use crate::config::Config;
use crate::deny::audience::{Broadcast, KEPT};
use crate::deny::heartbeat::Pulse;
use crate::deny::snapshot::Snapshots;
use crate::deny::stream::publish;
use crate::deny::{DenyList, epoch};
use crate::latest::Latest;
use crate::metrics::Metrics;
use crate::outbox::{self, Webhook};
use crate::rates::{Appointments, Rates};
use crate::receipts::{Receipts, Sightings};
use crate::recorder::Recorder;
use crate::revoke::Revoker;
use crate::signer::{self, Signer};
use crate::store::{self, Lane, Store, StoreError, installation};
use crate::vault::{InvalidSettings, MasterCredentials, Vault};
use crate::witness::{Place, Testimony, Witness, WitnessError};
use crate::{clock, ops, random, router, tls, upkeep};
use guests::Guests;
use prompt::Prompt;

/// Longest time for requests under way to finish, and after that for what they left to be written.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest time for the first bytes of a connection to arrive, and for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes, and most that a connection buffers each way.
const MAX_HEAD: usize = 32 * 1024;
/// Most followers that one process serves.
const MAX_FOLLOWERS: u64 = 20_000;
/// Most look-ups at once that anybody can cause without having proved anything.
const MOST_STRANGERS: usize = 2;

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database, the keys, or what should be in them.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// Nothing is in the database.
    #[error("the database is not set up; run `scrip bootstrap`")]
    NotSetUp,
    /// The record of what was published.
    #[error("the witness: {0}")]
    Witness(#[from] WitnessError),
    /// Settings of Vault.
    #[error(transparent)]
    Vault(#[from] InvalidSettings),
    /// The client of the webhook.
    #[error("the webhook: {0}")]
    Webhook(reqwest::Error),
    /// The certificate.
    #[error("TLS: {0}")]
    Tls(#[from] tls::TlsError),
    /// An address that cannot be listened on, or a listener that broke.
    #[error("{address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        BootstrapError::from(error).into()
    }
}

/// A service that is ready to be run.
pub struct Service {
    app: Arc<App>,
    listeners: Listeners,
    tls: Option<RustlsAcceptor>,
    metrics: Metrics,
    watched: ops::Tasks,
    writers: Vec<JoinHandle<()>>,
}

/// The sockets of a service, bound before anything else is done.
pub struct Listeners {
    api: TcpListener,
    ops: TcpListener,
}

impl Listeners {
    /// Binds the addresses of the configuration; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub fn bind(config: &Config) -> Result<Self, ServeError> {
        let bind = |address: SocketAddr| {
            let listener = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            listener.map_err(|source| ServeError::Listen { address, source })
        };
        let listeners = Self { api: bind(config.listen)?, ops: bind(config.ops_listen)? };
        sockets::prepare(&listeners.api)
            .map_err(|source| ServeError::Listen { address: config.listen, source })?;
        Ok(listeners)
    }

    /// Where operations are served.
    ///
    /// # Errors
    /// What the system says.
    pub fn ops_address(&self) -> std::io::Result<SocketAddr> {
        self.ops.local_addr()
    }
}

impl Service {
    /// Checks the database, loads the keys, starts the tasks.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn start(
        config: Config,
        store: Store,
        listeners: Listeners,
    ) -> Result<Self, ServeError> {
        store.check().await?;
        let metrics = Metrics::install();
        let mut session = store.read().await?;
        let row = installation::read(&mut session).await?.ok_or(ServeError::NotSetUp)?;
        if row.issuer != config.issuer {
            return Err(BootstrapError::OtherIssuer(row.issuer).into());
        }
        let signer = Arc::new(Signer::open(&config.keys_dir).map_err(BootstrapError::from)?);
        let keys = signer::keys(&mut session).await?;
        signer.load(&keys, clock::now_seconds()).map_err(BootstrapError::from)?;
        let digest_key = bootstrap::digest_key(&mut session, &signer).await?;
        let digest_key = digest_key.ok_or(ServeError::NotSetUp)?;
        let (place, witnesses) = Place::take(&config.keys_dir)?;
        let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
        let found = Testimony::read(&mut session, now).await?.ok_or(ServeError::NotSetUp)?;
        let known = witnesses.iter().cloned().reduce(|mut all, one| {
            all.add(one);
            all
        });
        let witness = Witness::new(place, known.unwrap_or(found));
        signer.withdraw(&witness.known().revoked);
        drop(session);
        // The first random draw of a process can take milliseconds, which no request should pay
        // for.
        let _ = random::bytes::<32>();

        let (ended, ended_versions) = mpsc::channel(1024);
        let vault = match &config.vault {
            Some(settings) => {
                let vault = Vault::start(settings.clone())?;
                Some(MasterCredentials::new(vault, digest_key.hmac().clone(), ended))
            }
            None => None,
        };
        let deny = DenyList::new(config.issuer.clone(), signer.clone(), witness, (&row).into());
        epoch::resume(&store, &deny, &witnesses).await.map_err(BootstrapError::from)?;
        let (broadcast, audience) = Broadcast::new(places(), deny.follow().borrow().clone());
        let deny = Arc::new(deny);
        let (register, reading) = Register::start(store.clone(), Lane::Minting);
        let (reserved_register, reading_reserved) = Register::start(store.clone(), Lane::Reserved);
        let (recorder, recording) = Recorder::start(store.clone());
        let (revoker, revoking) = Revoker::start(store.clone(), deny.clone(), signer.clone());
        let (journal, journaling) = Journal::start(store.clone());
        let (receipts, receiving) = Receipts::start(store.clone(), config.heartbeat);
        let (sightings, sighting) = Sightings::start(store.clone());
        let (beats, pulse) = Pulse::new();
        let rates = Rates::new(config.tenant_rate, !store.is_embedded());
        let app = Arc::new(App {
            config,
            store,
            signer,
            recorder,
            revoker,
            deny,
            pulse,
            audience,
            admissions: Arc::default(),
            snapshots: Snapshots::default(),
            receipts,
            sightings,
            jwks: Latest::default(),
            last_jwks: ArcSwapOption::empty(),
            keys_document: Latest::default(),
            keys_versions: Mutex::default(),
            strangers: Semaphore::new(MOST_STRANGERS),
            vault,
            digest_key,
            register,
            reserved_register,
            rates,
            appointments: Appointments::default(),
            journal,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });

        let tasks = &app.tasks;
        let mut other = vec![
            ("mints", recording.abort_handle()),
            ("uses of clients", app.recorder.writing()),
            ("clients that mint", reading),
            ("audit of refusals", journaling.abort_handle()),
        ];
        if let Some(vault) = &app.vault {
            other.push(("login to Vault", vault.vault().keeper()));
        }
        let tls = match &app.config.tls {
            Some((cert, key)) => {
                let (acceptor, reloading) = tls::acceptor(cert, key, app.shutdown.clone()).await?;
                other.push(("certificate", reloading));
                Some(acceptor)
            }
            None => None,
        };
        if let Some(settings) = &app.config.webhook {
            let webhook = Webhook::new(settings.clone()).map_err(ServeError::Webhook)?;
            let telling = tasks.spawn(outbox::run(app.clone(), webhook));
            other.push(("webhook", telling.abort_handle()));
        }
        let publishing = tasks.spawn(publish(
            app.store.clone(),
            app.deny.clone(),
            broadcast,
            beats,
            app.config.heartbeat,
            app.shutdown.clone(),
        ));
        let keeper = app.clone();
        let keeping = tasks.spawn(async move {
            let (store, list) = (keeper.store.clone(), keeper.deny.clone());
            keeper.snapshots.keep(store, list, keeper.shutdown.clone()).await;
        });
        // Vital, because it ends credentials, and so tokens.
        let upkeep = tasks.spawn(upkeep::run(app.clone(), ended_versions));
        let measuring = tasks.spawn(metrics.clone().keep_small(app.shutdown.clone()));
        other.push(("metrics", measuring.abort_handle()));
        let vital = vec![
            ("revocations", revoking.abort_handle()),
            ("clients that revoke or follow", reading_reserved),
            ("acknowledgements", receiving.abort_handle()),
            ("sightings", sighting.abort_handle()),
            ("feed", publishing.abort_handle()),
            ("snapshots", keeping.abort_handle()),
            ("upkeep", upkeep.abort_handle()),
        ];
        let watched = ops::Tasks { vital, other };
        let writers = vec![recording, revoking, journaling, receiving, sighting];
        Ok(Self { app, listeners, tls, metrics, watched, writers })
    }

    /// Serves until `stop` is cancelled: stops accepting, finishes what was accepted, ends the
    /// streams, flushes.
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { app, listeners, tls, metrics, watched, writers } = self;
        let handle = Handle::new();
        let ops_handle = Handle::new();
        let (listen, ops_listen) = (app.config.listen, app.config.ops_listen);

        let routes =
            router::routes(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let at = |address| move |source| ServeError::Listen { address, source };
        let guests = Guests::new(most_connections(), app.config.trusted_proxies.clone());
        let api = async {
            let mut server =
                axum_server::from_tcp(listeners.api).map_err(at(listen))?.handle(handle.clone());
            bound(server.http_builder());
            match tls {
                Some(inner) => {
                    let server = server.acceptor(Prompt { inner, guests, within: HEAD_TIME });
                    server.serve(routes).await.map_err(at(listen))
                }
                None => {
                    let inner = DefaultAcceptor::new();
                    let server = server.acceptor(Prompt { inner, guests, within: HEAD_TIME });
                    server.serve(routes).await.map_err(at(listen))
                }
            }
        };
        let operations = async {
            let routes = ops::routes(app.clone(), metrics, watched).into_make_service();
            let server = axum_server::from_tcp(listeners.ops).map_err(at(ops_listen))?;
            server.handle(ops_handle.clone()).serve(routes).await.map_err(at(ops_listen))
        };
        let ending = async {
            if let Some(address) = handle.listening().await {
                tracing::info!(%address, issuer = app.config.issuer, "serving");
            }
            stop.cancelled().await;
            tracing::info!("stopping");
            // Streams end first: they would otherwise hold the listener open for ever.
            app.shutdown.cancel();
            handle.graceful_shutdown(Some(DRAIN));
            ops_handle.graceful_shutdown(Some(DRAIN));
            Ok(())
        };
        let served = tokio::try_join!(api, operations, ending);
        app.shutdown.cancel();
        let flushed = async {
            app.tasks.close();
            app.tasks.wait().await;
            // The writers end when nobody can hand them anything any more.
            let store = app.store.clone();
            drop(app);
            join_all(writers).await;
            store.close().await;
        };
        // Together: whoever is to end the process does not wait for ever, and kills it then.
        if tokio::time::timeout(DRAIN, flushed).await.is_err() {
            tracing::warn!("not all has been written that was to be");
        }
        served.map(drop)
    }
}

/// How many may follow, so that some of the files that this process can open are left for everybody
/// else. Logs what they can cost.
fn places() -> usize {
    let descriptors = sockets::descriptors();
    let places = MAX_FOLLOWERS.min(descriptors - descriptors / 8);
    let each = 2 * MAX_HEAD + sockets::UNSENT as usize;
    metrics::gauge!("scrip_feed_most_followers").set(places as f64);
    metrics::gauge!("scrip_feed_most_kept_bytes").set(KEPT as f64);
    metrics::gauge!("scrip_feed_most_follower_bytes").set(each as f64);
    tracing::info!(
        followers = places,
        kept_bytes_for_all = KEPT,
        buffered_bytes_for_each = each,
        "feed: at most"
    );
    usize::try_from(places).unwrap_or(usize::MAX)
}

/// How many connections there may be: some files are left for the database, Vault and the disk.
fn most_connections() -> usize {
    let descriptors = sockets::descriptors();
    usize::try_from(descriptors - (descriptors / 8).min(1024)).unwrap_or(usize::MAX)
}

/// Bounds what a connection can cost before a request is there (slow heads, huge heads, floods of
/// streams).
fn bound(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
}
