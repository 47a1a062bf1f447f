//! `scrip audit`: who did what, when, from where.

use scrip_token::Jti;

use super::Remote;
use super::api::Scope;
use super::failure::Failure;
use super::moment::Moment;
use super::print::{Column, Page};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Only what this client did
    #[arg(long, value_name = "TENANT/NAME")]
    actor: Option<String>,
    /// Only this kind of event, such as `mint`
    #[arg(long)]
    action: Option<String>,
    /// Only what concerns this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only what concerns this token
    #[arg(long)]
    jti: Option<Jti>,
    /// Only from this moment on
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    #[command(flatten)]
    page: Page,
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (api, printer) = self.remote.open()?;
        let filters = [
            ("actor", self.actor),
            ("action", self.action),
            ("tenant", self.tenant),
            ("jti", self.jti.map(|jti| jti.to_string())),
            ("since", self.since.map(|since| since.to_string())),
        ];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = filters.chain(self.page.query()).collect();
        printer.list(&api.get(Scope::Audit, "/v1/audit", &query).await?, EVENTS)
    }
}

const EVENTS: &[Column] = &[
    ("AT", "/at"),
    ("ACTION", "/action"),
    ("OUTCOME", "/outcome"),
    ("ACTOR", "/actor"),
    ("TARGET", "/target"),
    ("JTI", "/jti"),
    ("ADDRESS", "/address"),
    ("REQUEST", "/request_id"),
];
