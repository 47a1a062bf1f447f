//! `scrip serve`, `migrate` and `bootstrap`: on the service's host, straight at the database.

use std::io::IsTerminal;

use clap::{CommandFactory, Parser};
use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::Cli;
use super::failure::Failure;
use crate::bootstrap::{self, BootstrapError};
use crate::config::{Config, LogFormat, Settings, unknown_variables};
use crate::log::{Lines, Rest};
use crate::serve::{Listeners, ServeError, Service};
use crate::store::{Store, StoreError};

/// Settings of the service; each has a variable too.
#[derive(Debug, Parser)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

impl Args {
    /// Serves until SIGTERM or SIGINT.
    pub(super) async fn serve(self) -> Result<(), Failure> {
        let (config, _log) = self.open()?;
        let listeners = Listeners::bind(&config).map_err(refused)?;
        let store = Store::connect(&config.database_url).await.map_err(refused)?;
        let service = Service::start(config, store, listeners).await.map_err(refused)?;
        service.run(stop_on_signal()?).await.map_err(refused)
    }

    /// Brings the database's tables up to this binary.
    pub(super) async fn migrate(self) -> Result<(), Failure> {
        let (config, _log) = self.open()?;
        let store = Store::connect(&config.database_url).await.map_err(refused)?;
        store.migrate().await.map_err(refused)?;
        store.close().await;
        println!("The database is up to date.");
        Ok(())
    }

    /// Migrates, and makes what has to be there before the first request.
    pub(super) async fn bootstrap(self) -> Result<(), Failure> {
        let (config, _log) = self.open()?;
        let store = Store::connect(&config.database_url).await.map_err(refused)?;
        let made = bootstrap::bootstrap(&store, &config).await.map_err(refused)?;
        store.close().await;
        println!("root key        {}   (pin it: SCRIP_ROOT)", made.root);
        match made.operator_secret {
            Some(secret) => {
                println!("operator        {}", bootstrap::OPERATOR);
                println!("its secret      {}   (shown once)", secret.expose_secret());
            }
            None => println!("The operator was there already."),
        }
        Ok(())
    }

    fn open(self) -> Result<(Config, Rest), Failure> {
        let log = log(&self.settings.log, self.settings.log_format)?;
        let config = self.settings.check().map_err(|error| Failure::Usage(error.to_string()))?;
        for (name, nearest) in unknown_variables(&Cli::command()) {
            let nearest = nearest.unwrap_or_default();
            tracing::warn!(name, nearest, "a variable that means nothing here");
        }
        Ok((config, log))
    }
}

/// Cancelled at the first SIGTERM or SIGINT.
pub(super) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal = signal(kind).map_err(|error| Failure::Rejected(error.to_string()))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

/// Starts the log on standard error; to be kept until the end.
pub(super) fn log(level: &str, format: LogFormat) -> Result<Rest, Failure> {
    let filter =
        EnvFilter::try_new(level).map_err(|error| Failure::Usage(format!("SCRIP_LOG: {error}")))?;
    let (lines, rest) = Lines::to(std::io::stderr())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(lines);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::Usage(error.to_string()))?;
    // Its own hook would wait for standard error.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(rest)
}

pub(super) fn refused(error: impl Into<ServeError>) -> Failure {
    let error: ServeError = error.into();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    match error {
        ServeError::Bootstrap(BootstrapError::Store(StoreError::Unavailable(_))) => {
            Failure::Unreachable(text)
        }
        _ => Failure::Rejected(text),
    }
}
