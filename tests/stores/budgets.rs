//! The invariants of budgets, under whatever may happen in whatever order, against a plain model: mints,
//! reports that come twice, late, out of order or never, expiries, revocations, quotas that are raised
//! and lowered, ledgers that come and go, and transactions that are given up half-way.

use super::Fresh;
use crate::harness::dice::{Dice, Size};
use scrip::caller::Caller;
use scrip::escrow::{Balance, Window};
use scrip::mint::request::MintRequest;
use scrip::policy::{Approved, Policy, judge};
use scrip::recorder::quotas::Quotas;
use scrip::store::Tenants;
use scrip::store::ledgers::{self, Ledger};
use scrip::store::quotas::{self, By, Filter};
use scrip::store::tokens::{self, Token};
use scrip::store::verifiers::Verifier;
use scrip::store::{Lock, acks, escrows};
use scrip::usage::{Counted, Report, settle, take};
use scrip_token::{Jti, QualifiedName};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;

on_both![n47_whatever_happens_the_budgets_hold];

const BEGIN: i64 = 1_795_000_000;
const EPOCH: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const LEEWAY: i64 = 5;
const GRACE: i64 = 3600;

async fn n47_whatever_happens_the_budgets_hold(store: &Fresh) {
    let mut dice = Dice::new();
    let mut minted = 0;
    for run in 0..Size::asked_for().of(6, 60) {
        let window = if run % 3 == 2 { Window::Lifetime } else { Window::Hour };
        let mut world = World::new(store, dice.clone(), run, window);
        for _ in 0..Size::asked_for().of(120, 300) {
            world.step().await;
        }
        minted += world.end().await;
        dice = world.dice;
    }
    assert!(minted > 60, "{minted} tokens are too few to tell");
}

/// A window of a client's.
type Account = (String, i64);

/// A token, as plainly as it can be told.
#[derive(Debug)]
struct Minted {
    jti: Jti,
    account: Account,
    exp: i64,
    tokens: u64,
    /// By ledgers.
    counted: BTreeMap<usize, u64>,
    denied: Option<i64>,
    spent: Option<u64>,
    overrun: u64,
}

impl Minted {
    fn reported(&self) -> u64 {
        self.counted.values().sum()
    }
}

#[derive(Debug, Default)]
struct Gateway {
    registered: bool,
    complete: i64,
    /// (number of the batch, milliseconds)
    acks: Vec<(i64, i64)>,
}

struct World<'s> {
    store: &'s Fresh,
    dice: Dice,
    tenant: String,
    window: Window,
    audience: String,
    released: bool,
    now: i64,
    seq: i64,
    quota: u64,
    gateways: [Gateway; 2],
    minted: Vec<Minted>,
    carried: BTreeMap<Account, u64>,
    sent: Vec<Report>,
    names: u64,
}

impl<'s> World<'s> {
    fn new(store: &'s Fresh, mut dice: Dice, run: u64, window: Window) -> Self {
        let released = dice.roll(0..2) == 0;
        Self {
            store,
            dice,
            tenant: format!("run-{run}"),
            window,
            audience: format!("gw-{run}"),
            released,
            now: BEGIN,
            seq: 0,
            quota: 1000,
            gateways: Default::default(),
            minted: Vec::new(),
            carried: BTreeMap::new(),
            sent: Vec::new(),
            names: run << 32,
        }
    }

    async fn step(&mut self) {
        match self.dice.roll(0..20) {
            0..6 => self.mint().await,
            6..10 => self.report().await,
            10 => self.repeat().await,
            11..13 => self.now += self.dice.roll(1..400).cast_signed(),
            13 if self.dice.roll(0..4) == 0 => self.now += self.dice.roll(400..8000).cast_signed(),
            13 => self.quota = self.dice.roll(300..2000),
            14 => self.revoke().await,
            15 => self.acknowledge().await,
            16 => self.come_or_go().await,
            _ => self.settle().await,
        }
        self.check().await;
    }

    fn dies(&mut self) -> bool {
        self.dice.roll(0..5) == 0
    }

    fn start(&self) -> i64 {
        if self.window == Window::Hour { self.now - self.now % 3600 } else { 0 }
    }

    /// What of an account is not to be had any more.
    fn out(&self, account: &Account) -> u64 {
        let mine = self.minted.iter().filter(|one| one.account == *account);
        let held: u64 = mine.map(|one| one.spent.unwrap_or(one.tokens)).sum();
        held + self.carried.get(account).copied().unwrap_or_default()
    }

    fn approved(&self, client: &str, tokens: u64) -> Approved {
        let policy = json!({
            "name": format!("{}/p", self.tenant), "audiences": [self.audience], "env": "prod",
            "scopes": ["llm:chat"], "quota": {
                "tokens": self.quota, "window": self.window,
                "unreported": if self.released { "released" } else { "spent" },
            },
        });
        let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
        let tokens = tokens.to_string();
        let form = [("grant_type", "client_credentials"), ("budget_tokens", tokens.as_str())];
        let form = form.map(|(name, value)| (Cow::from(name), Cow::from(value)));
        let request = MintRequest::parse(form).unwrap();
        let caller = Caller {
            client: QualifiedName::parse(client).unwrap(),
            cred: "embedded:1.1".to_owned(),
            address: "10.0.0.1".parse().unwrap(),
        };
        judge(&caller, &request, &policy, "https://sts.example").unwrap()
    }

    async fn mint(&mut self) {
        let orders: Vec<(Account, u64)> = (0..self.dice.roll(1..5))
            .map(|_| {
                let client =
                    format!("{}/{}", self.tenant, ["a", "b"][self.dice.roll(0..2) as usize]);
                ((client, self.start()), self.dice.roll(1..300))
            })
            .collect();
        let approved: Vec<Approved> =
            orders.iter().map(|((client, _), tokens)| self.approved(client, *tokens)).collect();
        let now = self.now.unsigned_abs();
        let mut tx = self.store.begin(Lock::Mint).await.unwrap();
        let mut quotas = Quotas::lock(&mut tx, approved.iter(), now).await.unwrap();
        let (mut rows, mut minted) = (Vec::new(), Vec::new());
        for ((account, tokens), approved) in orders.into_iter().zip(approved) {
            let fresh: u64 = minted
                .iter()
                .filter(|one: &&Minted| one.account == account)
                .map(|one| one.tokens)
                .sum();
            let out = self.out(&account) + fresh;
            let taken = match quotas.take(&approved) {
                Ok(taken) => taken.expect("the policy has a quota"),
                Err(_) => {
                    assert!(out + tokens > self.quota, "{tokens} of {out} were refused");
                    continue;
                }
            };
            assert!(out + tokens <= self.quota, "{tokens} were granted beyond {out}");
            if self.dice.roll(0..6) == 0 {
                quotas.give_back(&taken);
                continue;
            }
            self.names += 1;
            let mut name = [0; 10];
            name[2..].copy_from_slice(&self.names.to_be_bytes());
            let claims = approved.into_claims(now, Jti::new(now * 1000, name));
            quotas.keep(taken, &claims);
            rows.push(Token {
                jti: claims.jti,
                tenant: self.tenant.clone(),
                client: account.0.clone(),
                sub: claims.sub.clone(),
                aud: claims.aud.clone(),
                kid: "K".to_owned(),
                cred: claims.cred.clone(),
                iat: claims.iat.cast_signed(),
                exp: claims.exp.cast_signed(),
                lin: Vec::new(),
                claims: "{}".to_owned(),
            });
            minted.push(Minted {
                jti: claims.jti,
                account,
                exp: claims.exp.cast_signed(),
                tokens,
                counted: BTreeMap::new(),
                denied: None,
                spent: None,
                overrun: 0,
            });
        }
        tokens::insert_many(&mut tx, &rows).await.unwrap();
        quotas.write(&mut tx, self.now * 1000).await.unwrap();
        if self.dies() {
            return drop(tx);
        }
        tx.commit().await.unwrap();
        self.minted.extend(minted);
    }

    /// What a gateway has counted since, and of some tokens more than they may use.
    async fn report(&mut self) {
        let gateway = self.dice.roll(0..2) as usize;
        let mut items = Vec::new();
        for one in &self.minted {
            if self.dice.roll(0..3) > 0 {
                continue;
            }
            let before = one.counted.get(&gateway).copied().unwrap_or_default();
            let tokens = match self.dice.roll(0..8) {
                0 => before,
                1 => before / 2,
                2 => before + self.dice.roll(1..600),
                _ => before + self.dice.roll(1..40),
            };
            items.push(Counted { jti: one.jti, tokens, requests: 1, by_model: "[]".to_owned() });
        }
        items.push(Counted {
            jti: Jti::new(BEGIN.unsigned_abs() * 1000, [0xff; 10]),
            tokens: 1,
            requests: 1,
            by_model: "[]".to_owned(),
        });
        // Often about the end of a token that is out: there it matters.
        let expired = |one: &&Minted| one.spent.is_none() && one.exp <= self.now;
        let ends: Vec<i64> = self.minted.iter().filter(expired).map(|one| one.exp).collect();
        let complete_until = match ends.len() as u64 {
            0 => self.now - self.dice.roll(0..200).cast_signed(),
            ends_there_are => {
                let end = ends[self.dice.roll(0..ends_there_are) as usize];
                (end + self.dice.roll(0..2 * LEEWAY.unsigned_abs()).cast_signed()).min(self.now)
            }
        };
        let report = Report {
            client: format!("{}/gw", self.tenant),
            instance: format!("g{gateway}"),
            audience: self.audience.clone(),
            complete_until,
            items,
        };
        self.send(report).await;
    }

    /// The same report again, however late.
    async fn repeat(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let place = self.dice.roll(0..self.sent.len() as u64) as usize;
        let report = self.sent.swap_remove(place);
        self.send(report).await;
    }

    async fn send(&mut self, report: Report) {
        let gateway = usize::from(report.instance == "g1");
        let mut tx = self.store.begin(Lock::Admin).await.unwrap();
        let taken = take(&mut tx, &report, self.now * 1000).await;
        if self.gateways[gateway].complete == 0 {
            assert!(taken.is_err(), "it was never registered");
            return;
        }
        assert_eq!(taken.unwrap().ignored.len(), 1, "the one that is not on record");
        if self.dies() {
            drop(tx);
            return self.sent.push(report);
        }
        tx.commit().await.unwrap();

        let (start, hour) = (self.start(), self.window == Window::Hour);
        for item in &report.items {
            let Some(one) = self.minted.iter_mut().find(|one| one.jti == item.jti) else {
                continue;
            };
            let counted = one.counted.entry(gateway).or_default();
            *counted = (*counted).max(item.tokens);
            let bound = one.spent.unwrap_or(one.tokens);
            let overrun = one.reported().saturating_sub(bound);
            let payer = if hour { start.max(one.account.1 + 3600) } else { 0 };
            let payer = (one.account.0.clone(), payer);
            *self.carried.entry(payer).or_default() += overrun - one.overrun;
            one.overrun = overrun;
        }
        let complete = &mut self.gateways[gateway].complete;
        *complete = (*complete).max(report.complete_until);
        self.sent.push(report);
    }

    async fn revoke(&mut self) {
        self.seq += 1;
        let live = self.minted.iter_mut().filter(|one| one.exp > self.now && one.denied.is_none());
        let mut ended = Vec::new();
        for one in live.filter(|one| one.spent.is_none()) {
            if self.dice.roll(0..4) == 0 {
                one.denied = Some(self.seq);
                ended.push(one.jti);
            }
        }
        let mut tx = self.store.begin(Lock::Admin).await.unwrap();
        escrows::deny(&mut tx, &ended, EPOCH, self.seq).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn acknowledge(&mut self) {
        let gateway = self.dice.roll(0..2) as usize;
        let ms = self.now * 1000;
        let acks = &mut self.gateways[gateway].acks;
        if acks.last().is_some_and(|(seq, _)| *seq == self.seq) {
            return;
        }
        acks.push((self.seq, ms));
        let moved = Verifier {
            client: format!("{}/gw", self.tenant),
            verifier: format!("g{gateway}"),
            epoch: EPOCH.to_owned(),
            seq: self.seq,
            moved_ms: ms,
            acked_ms: ms,
            as_of: self.now,
            max_staleness: 60,
            max_offline: 900,
            policy: "deny".to_owned(),
            allow_for: 0,
        };
        let mut tx = self.store.begin(Lock::Feed).await.unwrap();
        acks::insert_many(&mut tx, &[moved]).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn come_or_go(&mut self) {
        let place = self.dice.roll(0..2) as usize;
        let gateway = &mut self.gateways[place];
        gateway.registered = !gateway.registered;
        if gateway.registered {
            gateway.complete = self.now;
        }
        let ledger = Ledger {
            client: format!("{}/gw", self.tenant),
            instance: format!("g{place}"),
            audience: self.audience.clone(),
            registered: self.now,
            retired: (!gateway.registered).then_some(self.now),
            complete_until: gateway.complete,
        };
        let mut tx = self.store.begin(Lock::Admin).await.unwrap();
        ledgers::put(&mut tx, &ledger).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Two replicas settle at once, and one of them may die of it.
    async fn settle(&mut self) {
        if self.dies() {
            let mut tx = self.store.begin(Lock::Admin).await.unwrap();
            settle(&mut tx, &self.audience, self.now, 3).await.unwrap();
            drop(tx);
            self.store.is_idle().await;
        }
        let replica = async |limit| {
            loop {
                let mut tx = self.store.begin(Lock::Admin).await.unwrap();
                let settled = settle(&mut tx, &self.audience, self.now, limit).await.unwrap();
                tx.commit().await.unwrap();
                if settled == 0 {
                    break;
                }
            }
        };
        tokio::join!(Box::pin(replica(3)), Box::pin(replica(50)));
        // What one had in hand when the other looked.
        Box::pin(replica(50)).await;

        let active = || self.gateways.iter().filter(|gateway| gateway.registered);
        let complete = active().map(|gateway| gateway.complete).min();
        let enforced = active().map(|gateway| {
            let before = gateway.acks.iter().filter(|(_, ms)| *ms < gateway.complete * 1000);
            before.map(|(seq, _)| *seq).max().unwrap_or(-1)
        });
        let enforced = enforced.min().unwrap_or(-1);
        for one in self.minted.iter_mut().filter(|one| one.spent.is_none()) {
            let used: u64 = one.counted.values().sum::<u64>().min(one.tokens);
            let over = one.exp + LEEWAY;
            one.spent = match complete {
                None if over >= self.now => None,
                None => Some(if self.released { used } else { one.tokens }),
                Some(complete) if over < complete => Some(used),
                Some(_) if one.denied.is_some_and(|seq| seq <= enforced) => Some(used),
                Some(_) if over + GRACE < self.now => Some(one.tokens),
                Some(_) => None,
            };
        }
    }

    /// Every account in the database is what the model says.
    async fn check(&self) {
        let mut expected: BTreeMap<Account, Balance> = BTreeMap::new();
        for (account, carried) in self.carried.iter().filter(|(_, carried)| **carried > 0) {
            expected.entry(account.clone()).or_default().carried = *carried;
        }
        for one in &self.minted {
            let balance = expected.entry(one.account.clone()).or_default();
            balance.granted += one.tokens;
            balance.overrun += one.overrun;
            match one.spent {
                None => balance.reserved += one.tokens,
                Some(spent) => {
                    balance.spent += spent;
                    balance.refunded += one.tokens - spent;
                }
            }
            let used = one.spent.unwrap_or(one.tokens) + one.overrun;
            assert!(used >= one.reported(), "what was used is paid for: {one:?}");
        }
        let filter = Filter { tenants: Tenants::One(&self.tenant), ..Filter::default() };
        let mut reader = self.store.read().await.unwrap();
        let found = quotas::list(&mut reader, By::Client, filter, None, 1000).await.unwrap();
        let found: BTreeMap<Account, Balance> = found
            .into_iter()
            .map(|row| ((row.client, row.starts), row.balance))
            .filter(|(_, balance)| *balance != Balance::default())
            .collect();
        assert_eq!(found, expected);
    }

    /// Once every token has ended, nothing is out. Says how many there were.
    async fn end(&mut self) -> usize {
        self.now += 900 + LEEWAY + GRACE + 1;
        self.settle().await;
        self.check().await;
        assert!(self.minted.iter().all(|one| one.spent.is_some()), "{:?}", self.minted);
        self.minted.len()
    }
}
