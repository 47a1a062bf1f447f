//! Every metric's name, and how they are rendered.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// How often histograms are folded.
const DRAIN: Duration = Duration::from_secs(5);

/// Renders the metrics of this process.
#[derive(Clone)]
pub struct Metrics(Option<PrometheusHandle>);

impl Metrics {
    /// Installs the recorder. A process has one: where there is one already (several services in
    /// one test process), this renders nothing.
    #[must_use]
    pub fn install() -> Self {
        let handle = PrometheusBuilder::new().install_recorder().ok();
        describe_counter!("scrip_mints_total", "Mint requests, by outcome");
        describe_histogram!("scrip_mint_group_size", "Mints in one commit");
        describe_counter!("scrip_alerts_total", "Alerts raised, by what of");
        describe_counter!("scrip_escrows_settled_total", "Escrows settled");
        describe_counter!(
            "scrip_escrows_forfeited_total",
            "Of those, taken to be used because a ledger is silent"
        );
        describe_counter!("scrip_revocations_total", "Revocations recorded");
        describe_histogram!("scrip_revocation_group_size", "Revocations in one commit");
        describe_counter!("scrip_log_lines_lost_total", "Lines of the log that nobody took");
        describe_gauge!("scrip_deny_seq", "Number of the newest deny batch");
        describe_counter!(
            "scrip_epochs_total",
            "Epochs begun because something was lost or stolen"
        );
        describe_gauge!("scrip_followers", "Connections to the feed's stream");
        describe_gauge!("scrip_verifiers_known", "Verifiers that acknowledged within 7 days");
        describe_gauge!("scrip_verifiers_connected", "Verifiers that acknowledged lately");
        describe_gauge!(
            "scrip_verifiers_farthest_behind",
            "Batches that the slowest connected verifier lacks"
        );
        describe_gauge!("scrip_feed_most_followers", "Connections to it that there may be");
        describe_gauge!(
            "scrip_feed_kept_bytes",
            Unit::Bytes,
            "Frames kept for followers that are behind, once for all of them"
        );
        describe_gauge!(
            "scrip_feed_most_kept_bytes",
            Unit::Bytes,
            "Beyond it whoever is behind is cut"
        );
        describe_gauge!(
            "scrip_feed_most_follower_bytes",
            Unit::Bytes,
            "What one follower can have buffered for it alone, here and in the kernel"
        );
        describe_counter!("scrip_feed_cut_total", "Followers cut because they were too far behind");
        describe_counter!(
            "scrip_connections_refused_total",
            "Connections closed because there were too many, of all or of one address"
        );
        describe_counter!(
            "scrip_feed_batches_total",
            "Batches published, by what this process learned of them from"
        );
        describe_gauge!("scrip_feed_snapshot_bytes", Unit::Bytes, "The newest snapshot's blob");
        describe_counter!(
            "scrip_throttled_total",
            "Requests that came too often, by whose limit it was"
        );
        describe_gauge!("scrip_client_warnings", "Clients that are warned, by what of");
        describe_counter!("scrip_rotations_total", "Secrets replaced, by whom");
        describe_counter!("scrip_shed_total", "Requests shed under load");
        describe_counter!("scrip_panics_total", "Panics caught in handlers");
        describe_counter!("scrip_webhooks_total", "Attempts to send an alert, by outcome");
        describe_counter!("scrip_audit_lost_total", "Refusals that are not in the audit log");
        describe_counter!(
            "scrip_audit_spared_total",
            "Refusals that are not in it because the same client or place had many"
        );
        describe_histogram!(
            "scrip_request_seconds",
            Unit::Seconds,
            "Requests, by route and status"
        );
        Self(handle)
    }

    /// Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Keeps histograms that nobody scrapes from growing, until shutdown.
    pub async fn keep_small(self, shutdown: CancellationToken) {
        let Some(handle) = self.0 else { return };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(DRAIN) => handle.run_upkeep(),
            }
        }
    }
}
