//! Whom the selectors meet that revoke more than one token: clients, subjects, tenants and versions of
//! credentials of their own, so that none of those revocations takes from another what it is to find.

use super::ledger::{Target, Token};
use crate::harness::acme::Acme;
use crate::harness::api::Api;
use crate::harness::cli::Cli;
use crate::harness::dice::{Dice, Size};
use crate::harness::service::Operator;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::iter::repeat_n;
use std::sync::{Mutex, MutexGuard};

const CLIENTS: usize = 4;
const TENANTS: usize = 3;
/// Clients of which versions are revoked, none of them twice.
const ROTATED: usize = 8;
/// Of one client there are at most so many that are good at a time, and the last is not revoked.
const VERSIONS: usize = 3;

pub struct Targets {
    /// Each is met by `client`.
    clients: Vec<Cli>,
    /// Each is met as a subject.
    subjects: Vec<Cli>,
    /// The clients of one tenant each.
    tenants: Vec<Vec<Cli>>,
    /// One client each, with every version of its secret, oldest first.
    credentials: Vec<Vec<Cli>>,
    /// Whose tokens are revoked one by one, and by what spares nobody.
    pub workload: Cli,
    deck: Mutex<Deck>,
}

/// Which selector is next.
struct Deck {
    dice: Dice,
    /// The last is drawn first.
    cards: Vec<Kind>,
    drawn: Vec<Kind>,
    /// What spares nobody: it comes when all others have met what there was.
    last: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Client,
    Sub,
    Tenant,
    Cred,
    Kid,
    All,
}

/// Who is revoked together.
pub struct Herd {
    pub kind: Kind,
    /// Who holds what is revoked.
    pub doomed: Vec<Cli>,
    /// Who mints before and afterwards, and goes on.
    pub heirs: Vec<Cli>,
}

impl Targets {
    pub async fn found(acme: &Acme, workload: &Cli, size: Size, dice: Dice) -> Self {
        let Cli { id, secret, .. } = acme.operator.clone();
        let operator = Operator { id, secret };
        let api = Api::new(&acme.installation, operator);
        let tenant = async |name: String, count: usize| {
            let clients = (0..count).map(|n| client(acme, &api, format!("{name}/app-{n}")));
            join_all(clients).await
        };
        let versions = (0..ROTATED).map(|n| versions(acme, &api, format!("versions/app-{n}")));
        Self {
            clients: tenant("clients".to_owned(), CLIENTS).await,
            subjects: tenant("subjects".to_owned(), CLIENTS).await,
            tenants: join_all((0..TENANTS).map(|n| tenant(format!("tenant-{n}"), 2))).await,
            credentials: join_all(versions).await,
            workload: workload.clone(),
            deck: Mutex::new(Deck::new(size, dice)),
        }
    }

    /// From each of these a token is delegated to somebody whom no selector names.
    pub fn ancestors(&self) -> Vec<Cli> {
        let tenants = self.tenants.iter().map(|tenant| &tenant[0]);
        let versions = self.credentials.iter().flat_map(|versions| &versions[..VERSIONS - 1]);
        let clients = self.clients.iter().chain(&self.subjects);
        clients.chain(tenants).chain(versions).cloned().collect()
    }

    /// No key is revoked by chance: the drill does that.
    pub fn spare_keys(&self) {
        let mut deck = self.deck();
        deck.last.retain(|kind| *kind != Kind::Kid);
        deck.cards.retain(|kind| *kind != Kind::Kid);
    }

    /// The next that are drawn are one of each kind.
    pub fn deal(&self) {
        let mut deck = self.deck();
        let all = [Kind::Client, Kind::Sub, Kind::Tenant, Kind::Cred, Kind::Kid, Kind::All];
        deck.shuffle(all.to_vec());
    }

    pub fn draw(&self) -> Herd {
        let (drawn, before) = self.deck().draw();
        let kind = match drawn {
            Kind::Cred if before >= ROTATED * (VERSIONS - 1) => Kind::Client,
            kind => kind,
        };
        let doomed = match kind {
            Kind::Client => vec![self.clients[before % CLIENTS].clone()],
            Kind::Sub => vec![self.subjects[before % CLIENTS].clone()],
            Kind::Tenant => self.tenants[before % TENANTS].clone(),
            Kind::Cred => vec![self.credentials[before % ROTATED][before / ROTATED].clone()],
            Kind::Kid | Kind::All => vec![self.workload.clone()],
        };
        let heirs = match kind {
            Kind::Cred => vec![self.credentials[before % ROTATED][before / ROTATED + 1].clone()],
            _ => doomed.clone(),
        };
        Herd { kind, doomed, heirs }
    }

    fn deck(&self) -> MutexGuard<'_, Deck> {
        self.deck.lock().expect("nobody panics with it")
    }
}

impl Deck {
    /// For a short drill one of each kind is enough at first.
    fn new(size: Size, dice: Dice) -> Self {
        let last = vec![Kind::Kid, Kind::All];
        let mut deck = Self { dice, cards: Vec::new(), drawn: Vec::new(), last };
        deck.fill(size.of([1; 4], MANY));
        deck
    }

    /// With how often it was drawn before.
    fn draw(&mut self) -> (Kind, usize) {
        if self.cards.is_empty() {
            self.fill(MANY);
        }
        let kind = self.cards.pop().expect("there are some");
        let before = self.drawn.iter().filter(|drawn| **drawn == kind).count();
        self.drawn.push(kind);
        (kind, before)
    }

    fn fill(&mut self, counts: [usize; 4]) {
        self.shuffle(self.last.clone());
        let kinds = [Kind::Client, Kind::Sub, Kind::Tenant, Kind::Cred].into_iter().zip(counts);
        self.shuffle(kinds.flat_map(|(kind, count)| repeat_n(kind, count)).collect());
    }

    /// Puts these on top, in any order.
    fn shuffle(&mut self, mut cards: Vec<Kind>) {
        while !cards.is_empty() {
            let card = self.dice.roll(0..cards.len() as u64) as usize;
            self.cards.push(cards.swap_remove(card));
        }
    }
}

/// Of each kind that spares somebody, between two that spare nobody.
const MANY: [usize; 4] = [6, 5, 4, 3];

impl Kind {
    /// The selector of this kind that names this token.
    pub fn that_names(self, token: &Token) -> Target {
        let claims = &token.claims;
        let client = claims.client_id.to_string();
        match self {
            Self::Client => Target::Client(client),
            Self::Sub => Target::Sub { tenant: claims.tenant.clone(), id: claims.sub.clone() },
            Self::Tenant => Target::Tenant(claims.tenant.clone()),
            Self::Cred => {
                let version = claims.cred.clone().expect("it was traded for a secret");
                Target::Cred { client, version }
            }
            Self::Kid => Target::Kid(token.kid.clone()),
            Self::All => Target::All,
        }
    }
}

async fn client(acme: &Acme, api: &Api, id: String) -> Cli {
    let secret = api.client(&id, terms()).await;
    Cli::new(&acme.installation, &id, &secret)
}

/// With one secret after the other, all of them good.
async fn versions(acme: &Acme, api: &Api, id: String) -> Vec<Cli> {
    let mut versions = vec![client(acme, api, id.clone()).await];
    while versions.len() < VERSIONS {
        versions.push(Cli::new(&acme.installation, &id, &api.rotate(&id).await));
    }
    versions
}

fn terms() -> Value {
    json!({
        "audiences": ["llm-gateway"],
        "scopes": ["llm:chat"],
        "env": "prod",
        "ttl": {"default": 300, "max": 600},
    })
}
