//! The invariants of budgets, under whatever may happen in whatever order, against a plain model: mints,
//! reports that come twice, late, out of order or never, expiries, revocations, quotas that are raised
//! and lowered, in LLM tokens and in money, prices that change, ledgers that come and go, and transactions
//! that are given up half-way.

use super::Fresh;
use crate::harness::dice::{Dice, Size};
use scrip::caller::Caller;
use scrip::escrow::{Balance, Unit, Window};
use scrip::mint::request::MintRequest;
use scrip::policy::{Approved, Denial, Policy, judge};
use scrip::prices::{ByModel, Money};
use scrip::recorder::quotas::{NotHeld, Quotas};
use scrip::store::Tenants;
use scrip::store::ledgers::{self, Ledger};
use scrip::store::quotas::{self, By, Filter, Listed};
use scrip::store::tokens::{self, Token};
use scrip::store::verifiers::Verifier;
use scrip::store::{Lock, acks, escrows, prices};
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
    /// In LLM tokens, and in millionths of money.
    held: [u64; 2],
    /// The prices that it was minted under; none: its quota was not in money.
    prices: Option<PerModel>,
    /// By ledgers.
    counted: BTreeMap<usize, Count>,
    denied: Option<i64>,
    spent: Option<[u64; 2]>,
    overrun: [u64; 2],
}

/// What a ledger has counted for a token: in all, and with each model, what is not said with which being
/// the last. A ledger that errs says more by models than in all.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    tokens: u64,
    by_model: [u64; 3],
}

/// Prices of a million LLM tokens with `m-cheap`, with `m-dear` and with anything else, in millionths.
type PerModel = [u64; 3];

const MODELS: [&str; 3] = ["m-cheap", "m-dear", "unheard-of"];

impl Minted {
    /// In LLM tokens, and in money.
    fn reported(&self) -> [u64; 2] {
        let sum = |n: usize| self.counted.values().map(|count| count.by_model[n]).sum::<u64>();
        let used = [sum(0), sum(1), sum(2)];
        let tokens = self.counted.values().map(|count| count.tokens).sum();
        let cost = self.prices.map_or(0, |prices| {
            (0..3).map(|n| used[n] * prices[n]).sum::<u64>().div_ceil(1_000_000)
        });
        [tokens, cost]
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
    /// In millionths.
    money: Option<u64>,
    prices: PerModel,
    gateways: [Gateway; 2],
    minted: Vec<Minted>,
    carried: BTreeMap<Account, [u64; 2]>,
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
            money: Some(1_000_000),
            prices: [0; 3],
            gateways: Default::default(),
            minted: Vec::new(),
            carried: BTreeMap::new(),
            sent: Vec::new(),
            names: run << 32,
        }
    }

    async fn step(&mut self) {
        if self.prices[2] == 0 {
            self.reprice().await;
        }
        match self.dice.roll(0..21) {
            0..6 => self.mint().await,
            6..10 => self.report().await,
            10 => self.repeat().await,
            11..13 => self.now += self.dice.roll(1..400).cast_signed(),
            13 if self.dice.roll(0..4) == 0 => self.now += self.dice.roll(400..8000).cast_signed(),
            13 => {
                self.quota = self.dice.roll(300..2000);
                let money = self.dice.roll(200_000..3_000_000);
                self.money = (self.dice.roll(0..4) > 0).then_some(money);
            }
            14 => self.revoke().await,
            15 => self.acknowledge().await,
            16 => self.come_or_go().await,
            17 => self.reprice().await,
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

    /// What of an account is not to be had any more, in each unit.
    fn out(&self, account: &Account) -> [u64; 2] {
        let mine = self.minted.iter().filter(|one| one.account == *account);
        let held = mine.map(|one| one.spent.unwrap_or(one.held)).fold([0, 0], plus);
        plus(held, self.carried.get(account).copied().unwrap_or_default())
    }

    /// The dearest is what has no price of its own.
    async fn reprice(&mut self) {
        let [cheap, dear] = [self.dice.roll(0..500_000_000), self.dice.roll(0..1_500_000_000)];
        let most = cheap.max(dear).max(1);
        self.prices = [cheap, dear, most];
        let price = |model: &str, amount: u64| {
            let price = Money::from_millionths(amount);
            json!({"model": model, "input": price, "output": price})
        };
        let models = [price("m-cheap", cheap), price("m-*", most), price("m-dear", dear)];
        let list = json!({"currency": "USD", "models": models});
        let mut tx = self.store.begin(Lock::Admin).await.unwrap();
        prices::insert(&mut tx, "acme/ops", self.now, &list.to_string()).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn approved(&self, client: &str, tokens: u64) -> Approved {
        let mut policy = json!({
            "name": format!("{}/p", self.tenant), "audiences": [self.audience], "env": "prod",
            "scopes": ["llm:chat"], "models": ["m-*"], "defaults": {"models": ["m-*"]}, "quota": {
                "tokens": self.quota, "window": self.window,
                "unreported": if self.released { "released" } else { "spent" },
            },
        });
        if let Some(money) = self.money {
            policy["quota"]["money"] = json!(Money::from_millionths(money));
        }
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
            let fresh = minted.iter().filter(|one: &&Minted| one.account == account);
            let fresh = fresh.map(|one| one.held).fold([0, 0], plus);
            let prices = self.money.map(|_| self.prices);
            let cost = prices.map_or(0, |prices| (tokens * prices[2]).div_ceil(1_000_000));
            let held = [tokens, cost];
            let out = plus(plus(self.out(&account), fresh), held);
            let fits = [out[0] <= self.quota, self.money.is_none_or(|money| out[1] <= money)];
            let taken = match quotas.take(&approved) {
                Ok(taken) => taken.expect("the policy has a quota"),
                Err(NotHeld::Denied(Denial::TooDear { .. })) => {
                    assert!(self.money.is_some_and(|money| cost > money), "{cost} were refused");
                    continue;
                }
                Err(_) => {
                    assert!(fits.contains(&false), "{held:?} of {out:?} were refused");
                    continue;
                }
            };
            assert_eq!(fits, [true, true], "{held:?} were granted beyond {out:?}");
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
                held,
                prices,
                counted: BTreeMap::new(),
                denied: None,
                spent: None,
                overrun: [0, 0],
            });
        }
        let insert = |all: &mut _| {
            tokens::push(all, &rows);
            quotas.push(all)
        };
        tx.insert(insert).await.unwrap();
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
            let mut used = before.by_model;
            let model = self.dice.roll(0..3) as usize;
            match self.dice.roll(0..8) {
                0 => {}
                1 => used = used.map(|tokens| tokens / 2),
                2 => used[model] += self.dice.roll(1..600),
                _ => used[model] += self.dice.roll(1..40),
            }
            // What is left out of the models is as dear as what has no price.
            let named = 2 + self.dice.roll(0..2) as usize;
            let by_model = MODELS.iter().zip(used).take(named).map(|(model, tokens)| {
                json!({"model": model, "input": tokens / 2, "output": tokens - tokens / 2})
            });
            let tokens = match self.dice.roll(0..6) {
                0 => before.tokens + 1,
                _ => used.iter().sum(),
            };
            items.push(Counted {
                jti: one.jti,
                tokens,
                requests: 1,
                by_model: json!(by_model.collect::<Vec<_>>()).to_string(),
            });
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
            if item.tokens > counted.tokens {
                *counted = count(item);
            }
            let (bound, reported) = (one.spent.unwrap_or(one.held), one.reported());
            let payer = if hour { start.max(one.account.1 + 3600) } else { 0 };
            let payer = (one.account.0.clone(), payer);
            for unit in 0..2 {
                // A split that got cheaper takes nothing back.
                let overrun = reported[unit].saturating_sub(bound[unit]).max(one.overrun[unit]);
                let carried = self.carried.entry(payer.clone()).or_default();
                carried[unit] += overrun - one.overrun[unit];
                one.overrun[unit] = overrun;
            }
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
            silent: None,
        };
        let mut tx = self.store.begin(Lock::Admin).await.unwrap();
        ledgers::put(&mut tx, &ledger).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Two replicas settle at once, and one of them may die of it.
    async fn settle(&mut self) {
        if self.dies() {
            let mut tx = self.store.begin(Lock::Admin).await.unwrap();
            settle(&mut tx, &self.audience, self.now, GRACE, 3).await.unwrap();
            drop(tx);
            self.store.is_idle().await;
        }
        let replica = async |limit| {
            loop {
                let mut tx = self.store.begin(Lock::Admin).await.unwrap();
                let settled =
                    settle(&mut tx, &self.audience, self.now, GRACE, limit).await.unwrap();
                tx.commit().await.unwrap();
                if settled.escrows == 0 {
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
            let reported = one.reported();
            let used = std::array::from_fn(|unit| reported[unit].min(one.held[unit]));
            let over = one.exp + LEEWAY;
            one.spent = match complete {
                None if over >= self.now => None,
                None => Some(if self.released { used } else { one.held }),
                Some(complete) if over < complete => Some(used),
                Some(_) if one.denied.is_some_and(|seq| seq <= enforced) => Some(used),
                Some(_) if over + GRACE < self.now => Some(one.held),
                Some(_) => None,
            };
        }
    }

    /// Every account in the database is what the model says.
    async fn check(&self) {
        let mut expected: BTreeMap<Account, [Balance; 2]> = BTreeMap::new();
        for (account, carried) in self.carried.iter().filter(|(_, carried)| **carried != [0, 0]) {
            let balances = expected.entry(account.clone()).or_default();
            (balances[0].carried, balances[1].carried) = (carried[0], carried[1]);
        }
        for one in &self.minted {
            let (balances, reported) =
                (expected.entry(one.account.clone()).or_default(), one.reported());
            for (unit, balance) in balances.iter_mut().enumerate() {
                let held = one.held[unit];
                balance.granted += held;
                balance.overrun += one.overrun[unit];
                match one.spent.map(|spent| spent[unit]) {
                    None => balance.reserved += held,
                    Some(spent) => {
                        balance.spent += spent;
                        balance.refunded += held - spent;
                    }
                }
                let used = one.spent.unwrap_or(one.held)[unit] + one.overrun[unit];
                assert!(used >= reported[unit], "what was used is paid for: {one:?}");
            }
        }
        let filter = Filter { tenants: Tenants::One(&self.tenant), ..Filter::default() };
        let mut reader = self.store.read().await.unwrap();
        let found = quotas::list(&mut reader, By::Client, filter, None, 1000).await.unwrap();
        let found: BTreeMap<Account, [Balance; 2]> = found
            .into_iter()
            .map(|Listed { account, .. }| {
                let balances = Unit::ALL.map(|unit| account.of(unit).balance);
                ((account.client, account.starts), balances)
            })
            .filter(|(_, balances)| *balances != <[Balance; 2]>::default())
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

fn plus(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// What is said of no model is as dear as what is unheard of.
fn count(item: &Counted) -> Count {
    let said: Vec<ByModel> = serde_json::from_str(&item.by_model).unwrap();
    let of = |n: usize| said.get(n).map_or(0, |one| one.input + one.output);
    let rest = item.tokens.saturating_sub(of(0) + of(1)).max(of(2));
    Count { tokens: item.tokens, by_model: [of(0), of(1), rest] }
}
