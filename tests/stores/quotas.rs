use super::{Fresh, HOSTILE, jti};
use scrip::escrow::{Allowance, Balance, Unit, Unreported, Window};
use scrip::store::Tenants;
use scrip::store::escrows::{self, Cost, Due, Escrow};
use scrip::store::ledgers::{self, Ledger};
use scrip::store::quotas::{self, Account, By, Filter, Key, Listed};
use scrip::store::usage::{self, Sum, Usage};
use scrip::store::{Lock, StoreError, acks, verifiers};
use scrip_token::Jti;
use std::collections::{BTreeMap, BTreeSet};

on_both![
    an_account_is_made_once_and_comes_back_as_it_was,
    two_replicas_reserve_one_after_the_other,
    replicas_that_share_accounts_do_not_deadlock,
    accounts_are_listed_newest_first_and_forgotten,
    tenants_are_summed_up,
    what_is_left_is_told_of_limits_only,
    no_amount_is_too_large_for_a_list,
    an_escrow_comes_back_as_it_was,
    what_is_due_is_taken_by_one,
    what_a_batch_ends_is_due_early,
    a_ledger_is_counted_until_it_retires,
    a_ledger_falls_silent_once,
    a_count_never_decreases,
    how_far_a_verifier_had_got,
];

fn keys(clients: &[&str]) -> BTreeSet<Key> {
    clients.iter().map(|client| ((*client).to_owned(), Window::Day, 86_400)).collect()
}

async fn an_account_is_made_once_and_comes_back_as_it_was(store: &Fresh) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    assert_eq!(quotas::lock(&mut tx, &BTreeSet::new()).await.unwrap(), []);
    let hostile: Vec<&str> = HOSTILE.into_iter().chain(["acme/b", "acme/a", "acme/a-1"]).collect();
    let mut accounts = quotas::lock(&mut tx, &keys(&hostile)).await.unwrap();
    let order: Vec<Key> = accounts.iter().map(Account::key).collect();
    assert_eq!(order, keys(&hostile).into_iter().collect::<Vec<_>>(), "in order of bytes");
    let of = |accounts: &[Account], client: &str| {
        accounts.iter().find(|account| account.client == client).cloned().unwrap()
    };
    assert_eq!(of(&accounts, "acme/a").tenant, "acme");
    let nothing = Allowance::default();
    assert_eq!((of(&accounts, "acme/a").tokens, of(&accounts, "acme/a").money), (nothing, nothing));
    let some = |n: u64| Allowance {
        quota: n * 100,
        alerted: n,
        balance: Balance {
            granted: n,
            reserved: n + 1,
            spent: n + 2,
            refunded: n + 3,
            overrun: n + 4,
            carried: i64::MAX.unsigned_abs(),
        },
    };
    for (n, account) in (1..).zip(&mut accounts) {
        (account.tokens, account.money) = (some(n), some(n + 1000));
    }
    quotas::put_many(&mut tx, &accounts).await.unwrap();
    quotas::put_many(&mut tx, &[]).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin(Lock::Mint).await.unwrap();
    assert_eq!(quotas::lock(&mut tx, &keys(&hostile)).await.unwrap(), accounts);
    let more: Vec<&str> = hostile.into_iter().chain(["acme/c"]).collect();
    let with_new = quotas::lock(&mut tx, &keys(&more)).await.unwrap();
    assert_eq!(with_new.len(), accounts.len() + 1);
    assert_eq!(of(&with_new, "acme/a"), of(&accounts, "acme/a"), "those that there were stay");
}

async fn two_replicas_reserve_one_after_the_other(store: &Fresh) {
    let reserve = async || {
        for _ in 0..20 {
            let mut tx = store.begin(Lock::Mint).await.unwrap();
            let mut accounts = quotas::lock(&mut tx, &keys(&["acme/a"])).await.unwrap();
            if accounts[0].tokens.balance.reserve(1, 30).is_ok() {
                quotas::put_many(&mut tx, &accounts).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
    };
    tokio::join!(reserve(), reserve());
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let accounts = quotas::lock(&mut tx, &keys(&["acme/a"])).await.unwrap();
    assert_eq!(accounts[0].tokens.balance.reserved, 30);
}

async fn replicas_that_share_accounts_do_not_deadlock(store: &Fresh) {
    let names: Vec<String> = (0..40).map(|n| format!("acme/{n}")).collect();
    let reserve = async |skip: usize| {
        for round in 0..10 {
            let mine = names.iter().map(String::as_str).skip(skip).step_by(2);
            let shared = names.iter().map(String::as_str).take(10 + round);
            let clients: Vec<&str> = mine.chain(shared).collect();
            let mut tx = store.begin(Lock::Admin).await.unwrap();
            let mut accounts = quotas::lock(&mut tx, &keys(&clients)).await.unwrap();
            for account in &mut accounts {
                account.tokens.balance.reserve(1, 1000).unwrap();
            }
            quotas::put_many(&mut tx, &accounts).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    tokio::join!(reserve(0), reserve(1));
    assert_eq!(store.number("SELECT CAST(min(reserved) AS BIGINT) FROM quotas").await, 10);
}

/// An account with this much spent and a quota of ten times as much.
async fn spend(store: &Fresh, client: &str, window: Window, starts: i64, spent: u64) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let key = (client.to_owned(), window, starts);
    let mut accounts = quotas::lock(&mut tx, &[key].into()).await.unwrap();
    let balance = Balance { granted: spent, spent, ..Balance::default() };
    accounts[0].tokens = Allowance { quota: spent * 10, alerted: spent, balance };
    let balance = Balance { granted: spent * 2, spent: spent * 2, ..Balance::default() };
    accounts[0].money = Allowance { quota: spent * 20, alerted: spent * 2, balance };
    quotas::put_many(&mut tx, &accounts).await.unwrap();
    tx.commit().await.unwrap();
}

async fn some_accounts(store: &Fresh) {
    spend(store, "acme/a", Window::Day, 86_400, 1).await;
    spend(store, "acme/b", Window::Day, 86_400, 2).await;
    spend(store, "acme/a", Window::Hour, 90_000, 4).await;
    spend(store, "acme-2/a", Window::Day, 86_400, 8).await;
    spend(store, "acme/a", Window::Lifetime, 0, 16).await;
}

async fn accounts_are_listed_newest_first_and_forgotten(store: &Fresh) {
    some_accounts(store).await;
    let mut reader = store.read().await.unwrap();
    let mut listed = async |filter: Filter<'_>, after, limit| -> Vec<u64> {
        let rows = quotas::list(&mut reader, By::Client, filter, after, limit).await.unwrap();
        rows.iter().map(|row| row.account.tokens.balance.spent).collect()
    };
    let all = Filter::default();
    assert_eq!(listed(all, None, 9).await, [4, 2, 1, 8, 16]);
    assert_eq!(listed(all, None, 2).await, [4, 2]);
    assert_eq!(listed(all, Some((86_400, "acme/b", Window::Day)), 9).await, [1, 8, 16]);
    let client = Filter { client: Some("acme/a"), ..all };
    assert_eq!(listed(client, None, 9).await, [4, 1, 16]);
    assert_eq!(
        listed(Filter { tenants: Tenants::One("acme"), ..all }, None, 9).await,
        [4, 2, 1, 16]
    );
    let day = Filter { window: Some(Window::Day), tenants: Tenants::One("acme"), ..all };
    assert_eq!(listed(day, None, 9).await, [2, 1]);
    assert!(listed(Filter { client: Some("' OR 1=1 --"), ..all }, None, 9).await.is_empty());

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(quotas::prune(&mut tx, 90_000, 2).await.unwrap(), 2);
    assert_eq!(quotas::prune(&mut tx, 90_000, 9).await.unwrap(), 1);
    assert_eq!(quotas::prune(&mut tx, 90_000, 9).await.unwrap(), 0);
    let left = quotas::list(&mut tx, By::Client, all, None, 9).await.unwrap();
    assert_eq!(
        left.iter().map(|row| row.account.tokens.balance.spent).collect::<Vec<_>>(),
        [4, 16]
    );
}

/// An account of a lifetime with these quotas and so much out, in LLM tokens and in money.
async fn limit(store: &Fresh, client: &str, tokens: [u64; 2], money: [u64; 2]) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let key = (client.to_owned(), Window::Lifetime, 0);
    let mut accounts = quotas::lock(&mut tx, &[key].into()).await.unwrap();
    let allowance = |[quota, out]: [u64; 2]| {
        let (carried, reserved) = (out / 2, out / 4);
        let spent = out - carried - reserved;
        let balance = Balance { carried, reserved, spent, ..Balance::default() };
        Allowance { quota, alerted: 0, balance }
    };
    (accounts[0].tokens, accounts[0].money) = (allowance(tokens), allowance(money));
    quotas::put_many(&mut tx, &accounts).await.unwrap();
    tx.commit().await.unwrap();
}

/// What is left by client or by tenant, in order of their names.
async fn left(store: &Fresh, by: By) -> Vec<[Option<u64>; 2]> {
    let mut reader = store.read().await.unwrap();
    let rows = quotas::list(&mut reader, by, Filter::default(), None, 9).await.unwrap();
    rows.iter().rev().map(|row| Unit::ALL.map(|unit| row.left(unit))).collect()
}

async fn what_is_left_is_told_of_limits_only(store: &Fresh) {
    limit(store, "acme/both", [1000, 600], [70, 70]).await;
    limit(store, "acme/lowered", [1000, 1001], [0, 500]).await;
    limit(store, "acme/money", [0, 5000], [90, 40]).await;
    limit(store, "beta/free", [0, 7], [0, 0]).await;
    let by_client = [[Some(400), Some(0)], [Some(0), None], [None, Some(50)], [None, None]];
    assert_eq!(left(store, By::Client).await, by_client);
    assert_eq!(left(store, By::Tenant).await, [[Some(400), Some(50)], [None, None]]);
}

async fn no_amount_is_too_large_for_a_list(store: &Fresh) {
    let most = i64::MAX.unsigned_abs();
    for client in ["acme/a", "acme/b"] {
        spend(store, client, Window::Day, 86_400, 1).await;
        limit(store, client, [most; 2], [most; 2]).await;
        let all = "carried = 9223372036854775807, reserved = 9223372036854775807, \
                   spent = 9223372036854775807, money_carried = 9223372036854775807";
        store.sql(&format!("UPDATE quotas SET {all} WHERE period = 'lifetime'")).await;
    }
    assert_eq!(left(store, By::Client).await[..2], [[Some(0); 2]; 2]);
    let mut reader = store.read().await.unwrap();
    let rows = quotas::list(&mut reader, By::Tenant, Filter::default(), None, 9).await.unwrap();
    let spent: Vec<u64> = rows.iter().map(|row| row.account.tokens.balance.spent).collect();
    assert_eq!(spent, [2, most], "the others are exact");
    assert_eq!(rows[1].account.money.quota, most);
}

async fn tenants_are_summed_up(store: &Fresh) {
    some_accounts(store).await;
    let mut reader = store.read().await.unwrap();
    let rows = quotas::list(&mut reader, By::Tenant, Filter::default(), None, 9).await.unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|Listed { account, .. }| {
            let Allowance { quota, balance, .. } = account.tokens;
            (account.client.as_str(), account.window, quota, balance.spent)
        })
        .collect();
    let expected = [
        ("acme", Window::Hour, 40, 4),
        ("acme-2", Window::Day, 80, 8),
        ("acme", Window::Day, 30, 3),
        ("acme", Window::Lifetime, 160, 16),
    ];
    assert_eq!(shown, expected);
    for Listed { account: Account { tokens, money, .. }, .. } in &rows {
        assert_eq!(money.quota, tokens.quota * 2);
        assert_eq!(money.balance.spent, tokens.balance.spent * 2);
    }
    let Account { tokens, money, .. } = &rows[2].account;
    assert_eq!((tokens.alerted, money.alerted), (2, 4), "the highest, not the sum");
    let after = Some((86_400, "acme-2", Window::Day));
    let tenant = Filter { tenants: Tenants::One("acme"), ..Filter::default() };
    let rows = quotas::list(&mut reader, By::Tenant, tenant, after, 1).await.unwrap();
    assert_eq!((rows.len(), rows[0].account.tokens.balance.spent), (1, 3));
}

pub fn escrow(n: u16, aud: &str, exp: i64) -> Escrow {
    Escrow {
        jti: jti(100, n),
        client: "acme/a".to_owned(),
        window: Window::Day,
        starts: 0,
        aud: aud.to_owned(),
        exp,
        tokens: u64::from(n),
        unreported: if n.is_multiple_of(2) { Unreported::Spent } else { Unreported::Released },
        denied_epoch: None,
        denied_seq: None,
        spent: None,
        settled: None,
        overrun: 0,
        cost: Cost { prices: i64::from(n), rate: 7, held: u64::from(n) * 7, ..Cost::default() },
    }
}

pub async fn put(store: &Fresh, rows: &[Escrow]) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    tx.insert(|all| escrows::push(all, rows)).await.unwrap();
    tx.commit().await.unwrap();
}

fn jtis(rows: &[Escrow]) -> Vec<Jti> {
    rows.iter().map(|row| row.jti).collect()
}

async fn an_escrow_comes_back_as_it_was(store: &Fresh) {
    let mut rows: Vec<Escrow> = (1..).zip(HOSTILE).map(|(n, text)| escrow(n, text, 400)).collect();
    put(store, &rows).await;
    put(store, &[]).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let again = tx.insert(|all| escrows::push(all, &rows[..1])).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
    drop(tx);

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(escrows::lock(&mut tx, &[]).await.unwrap(), []);
    let asked: Vec<Jti> = jtis(&rows).into_iter().rev().chain([jti(100, 99)]).collect();
    assert_eq!(escrows::lock(&mut tx, &asked).await.unwrap(), rows, "in order of their ids");
    (rows[0].spent, rows[0].settled, rows[0].overrun) = (Some(1), Some(500), 7);
    (rows[0].cost.spent, rows[0].cost.overrun) = (5, i64::MAX.unsigned_abs());
    rows[1].overrun = 9;
    escrows::put_many(&mut tx, &rows[..2]).await.unwrap();
    escrows::put_many(&mut tx, &[]).await.unwrap();
    assert_eq!(escrows::lock(&mut tx, &asked).await.unwrap(), rows);

    assert_eq!(escrows::prune(&mut tx, 101, 9).await.unwrap(), 1, "what is out stays");
    assert_eq!(escrows::lock(&mut tx, &asked).await.unwrap(), rows[1..]);
}

async fn what_is_due_is_taken_by_one(store: &Fresh) {
    let rows: Vec<Escrow> = (1..=6).map(|n| escrow(n, "gw", i64::from(n) * 10)).collect();
    put(store, &rows).await;
    put(store, &[escrow(9, "other", 1)]).await;
    let mut reader = store.read().await.unwrap();
    let mut next = async |after| escrows::next_audience(&mut reader, after).await.unwrap();
    assert_eq!(next("").await.as_deref(), Some("gw"));
    assert_eq!(next("gw").await.as_deref(), Some("other"));
    assert_eq!(next("other").await, None);

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let mut taken = escrows::take(&mut tx, "gw", Due::Expired(50), 2).await.unwrap();
    assert_eq!(taken, rows[..2], "those that expired first");
    if store.is_postgres() {
        let mut other = store.begin(Lock::Admin).await.unwrap();
        let rest = escrows::take(&mut other, "gw", Due::Expired(50), 9).await.unwrap();
        assert_eq!(rest, rows[2..4], "without what the other one has");
    }
    for row in &mut taken {
        (row.spent, row.settled) = (Some(0), Some(99));
    }
    escrows::put_many(&mut tx, &taken).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(escrows::take(&mut tx, "gw", Due::Expired(50), 9).await.unwrap(), rows[2..4]);
}

async fn what_a_batch_ends_is_due_early(store: &Fresh) {
    let rows: Vec<Escrow> = (1..=4).map(|n| escrow(n, "gw", 1000)).collect();
    put(store, &rows).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    escrows::deny(&mut tx, &[], "e1", 1).await.unwrap();
    escrows::deny(&mut tx, &jtis(&rows[..2]), "e1", 7).await.unwrap();
    escrows::deny(&mut tx, &jtis(&rows[1..3]), "e2", 1).await.unwrap();
    let mut taken = async |epoch, seq| {
        let rows = escrows::take(&mut tx, "gw", Due::Denied(epoch, seq), 9).await.unwrap();
        jtis(&rows).into_iter().collect::<BTreeSet<_>>()
    };
    let first = |n: usize| jtis(&rows[..n]).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(taken("e1", 6).await, first(0));
    assert_eq!(taken("e1", 7).await, first(2), "what was said first stands");
    assert_eq!(taken("e2", 0).await, first(2));
    assert_eq!(taken("e2", 1).await, first(3));
}

fn ledger(client: &str, instance: &str) -> Ledger {
    Ledger {
        client: client.to_owned(),
        instance: instance.to_owned(),
        audience: "gw".to_owned(),
        registered: 100,
        retired: None,
        complete_until: 100,
        silent: None,
    }
}

async fn a_ledger_falls_silent_once(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let other = Ledger { audience: "other".to_owned(), ..ledger("acme/gw", "c") };
    let retired = Ledger { retired: Some(100), ..ledger("acme/gw", "d") };
    let late = Ledger { complete_until: 99, ..ledger("acme/gw", "a") };
    for row in [&late, &ledger("acme/gw", "b"), &other, &retired] {
        ledgers::put(&mut tx, row).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert_eq!(ledgers::fall_silent(&mut tx, "gw", 98, 200).await.unwrap(), []);
    let silent = Ledger { silent: Some(200), ..late };
    let found = ledgers::fall_silent(&mut tx, "gw", 99, 200).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&silent));
    assert_eq!(ledgers::fall_silent(&mut tx, "gw", 99, 201).await.unwrap(), []);
    if store.is_postgres() {
        let mut report = store.begin(Lock::Admin).await.unwrap();
        assert!(ledgers::lock(&mut report, "acme/gw", "b").await.unwrap().is_some());
        assert_eq!(ledgers::fall_silent(&mut tx, "gw", 100, 202).await.unwrap(), [], "it reports");
    }
    assert_eq!(ledgers::lock(&mut tx, "acme/gw", "a").await.unwrap(), Some(silent));
    ledgers::retire_all(&mut tx, "acme/gw", 300).await.unwrap();
    for (instance, at) in [("a", 300), ("b", 300), ("c", 300), ("d", 100)] {
        let row = ledgers::lock(&mut tx, "acme/gw", instance).await.unwrap().unwrap();
        assert_eq!(row.retired, Some(at), "{instance}");
    }
}

async fn a_ledger_is_counted_until_it_retires(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    for text in HOSTILE {
        ledgers::put(&mut tx, &ledger(text, text)).await.unwrap();
        assert_eq!(ledgers::lock(&mut tx, text, text).await.unwrap(), Some(ledger(text, text)));
    }
    assert_eq!(ledgers::of_audience(&mut tx, "gw").await.unwrap().len(), HOSTILE.len());
    drop(tx);

    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let (one, two) = (ledger("acme/gw", "a"), ledger("acme/gw", "b"));
    ledgers::put(&mut tx, &two).await.unwrap();
    ledgers::put(&mut tx, &one).await.unwrap();
    assert_eq!(ledgers::lock(&mut tx, "acme/other", "a").await.unwrap(), None);
    assert_eq!(ledgers::of_audience(&mut tx, "gw").await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(ledgers::of_audience(&mut tx, "other").await.unwrap(), []);
    ledgers::put(&mut tx, &Ledger { audience: "other".to_owned(), ..ledger("acme2/gw", "a") })
        .await
        .unwrap();
    let mut listed = async |filter: ledgers::Filter<'_>, after, limit| -> Vec<String> {
        let rows = ledgers::list(&mut tx, filter, after, limit).await.unwrap();
        rows.into_iter().map(|row| format!("{}/{}", row.client, row.instance)).collect()
    };
    let all = ledgers::Filter::default();
    assert_eq!(listed(all, None, 9).await, ["acme/gw/a", "acme/gw/b", "acme2/gw/a"]);
    assert_eq!(listed(all, Some(("acme/gw", "a")), 1).await, ["acme/gw/b"]);
    let acme = ledgers::Filter { tenants: Tenants::One("acme"), ..all };
    assert_eq!(listed(acme, None, 9).await, ["acme/gw/a", "acme/gw/b"]);
    let other = ledgers::Filter { audience: Some("other"), ..all };
    assert_eq!(listed(other, None, 9).await, ["acme2/gw/a"]);
    let nobody = ledgers::Filter { tenants: Tenants::Nobody, ..all };
    assert!(listed(nobody, None, 9).await.is_empty());
    let later = Ledger { complete_until: 200, retired: Some(300), ..one };
    ledgers::put(&mut tx, &later).await.unwrap();
    assert_eq!(ledgers::of_audience(&mut tx, "gw").await.unwrap(), std::slice::from_ref(&two));
    assert_eq!(ledgers::lock(&mut tx, "acme/gw", "a").await.unwrap(), Some(later));
    assert_eq!(ledgers::count(&mut tx, "acme/gw").await.unwrap(), 2);
    assert_eq!(ledgers::prune(&mut tx, 300, 9).await.unwrap(), 0);
    assert_eq!(ledgers::prune(&mut tx, 301, 9).await.unwrap(), 1);
    assert_eq!(ledgers::count(&mut tx, "acme/gw").await.unwrap(), 1);
}

async fn a_count_never_decreases(store: &Fresh) {
    let count = |n: u16, instance: &str, tokens: u64, requests: u64| Usage {
        jti: jti(100, n),
        client: "acme/gw".to_owned(),
        instance: instance.to_owned(),
        tokens,
        requests,
        by_model: format!("[{tokens}]"),
        at: 100,
    };
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let most = (1 << 53) - 1;
    usage::put_many(&mut tx, &[]).await.unwrap();
    usage::put_many(&mut tx, &[count(1, "a", 10, 1), count(2, "a", most, 1)]).await.unwrap();
    for again in [count(1, "a", 10, 1), count(1, "a", 9, 9), count(1, "b", 5, 1)] {
        usage::put_many(&mut tx, &[again]).await.unwrap();
    }
    let asked = [jti(100, 3), jti(100, 1), jti(100, 2)];
    let sums = usage::sums(&mut tx, &asked).await.unwrap();
    let sum = |tokens, requests| Sum { tokens, requests };
    assert_eq!(sums, BTreeMap::from([(jti(100, 1), sum(15, 2)), (jti(100, 2), sum(most, 1))]));
    assert!(usage::sums(&mut tx, &[]).await.unwrap().is_empty());
    usage::put_many(&mut tx, &[count(1, "a", 10, 2), count(2, "b", most, 1)]).await.unwrap();
    let rows = usage::of_tokens(&mut tx, &asked[1..2]).await.unwrap();
    assert_eq!(rows, [count(1, "a", 10, 2), count(1, "b", 5, 1)], "more requests count");
    assert_eq!(usage::sums(&mut tx, &asked).await.unwrap()[&jti(100, 2)], sum(2 * most, 2));
    assert_eq!(usage::prune(&mut tx, 101, 3).await.unwrap(), 3);
    assert_eq!(usage::prune(&mut tx, 100, 3).await.unwrap(), 0);
    assert_eq!(usage::prune(&mut tx, 101, 3).await.unwrap(), 1);
}

async fn how_far_a_verifier_had_got(store: &Fresh) {
    let acked = |epoch: &str, seq: i64, ms: i64| verifiers::Verifier {
        client: "acme/gw".to_owned(),
        verifier: "a".to_owned(),
        epoch: epoch.to_owned(),
        seq,
        moved_ms: ms,
        acked_ms: ms,
        as_of: 0,
        max_staleness: 60,
        max_offline: 900,
        policy: "deny".to_owned(),
        allow_for: 0,
    };
    let mut tx = store.begin(Lock::Feed).await.unwrap();
    for row in [acked("e1", 3, 3000), acked("e1", 9, 9000), acked("e2", 0, 9500)] {
        acks::insert_many(&mut tx, &[row]).await.unwrap();
    }
    let mut reached = async |ms| acks::reached(&mut tx, ("acme/gw", "a"), ms).await.unwrap();
    assert_eq!(reached(3000).await, None);
    assert_eq!(reached(3001).await, Some(("e1".to_owned(), 3)));
    assert_eq!(reached(9500).await, Some(("e1".to_owned(), 9)));
    assert_eq!(reached(9501).await, Some(("e2".to_owned(), 0)));
    assert_eq!(acks::reached(&mut tx, ("acme/gw", "b"), 9999).await.unwrap(), None);
}
