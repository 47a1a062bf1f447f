//! A token seen before: every judgement again, the signature check spared.

use std::sync::Barrier;
use std::time::Duration;

use scrip_verify::token::Alg;
use scrip_verify::token::QualifiedName;
use scrip_verify::token::deny::{Credential, Entry, Subject};
use scrip_verify::token::limits::HORIZON;
use scrip_verify::{DenySet, Trust};

use crate::deny;
use crate::fixture::{FRESH, NOW, issuer, presented, signing_key, token, verifier};
use crate::rounds::{Timing, now, ratio, rounds};

const MANY: u64 = 10_000;
/// Tokens at a time.
const READ: usize = 16;

pub(crate) fn run() {
    let key = signing_key(Alg::EdDSA);
    let tokens: Vec<String> = (0..MANY).map(|n| token(&key, n)).collect();
    let none_denied = issuer(&[&key], DenySet::default());
    let trust = Trust::one(&none_denied, FRESH);
    let million = DenySet::from_blob(&deny::blob(1_000_000));
    let ruled = issuer(&[&key], million.with(&rules()));
    let ruled = Trust::one(&ruled, FRESH);
    let million = issuer(&[&key], million);
    let million = Trust::one(&million, FRESH);
    let verifier = verifier();
    let permit_under = |trust: &Trust<'_>, token: &String| {
        verifier.verify(&presented(token), trust).expect("a good token");
    };
    let permit = |token: &String| permit_under(&trust, token);
    tokens.iter().for_each(permit);

    let hot = &tokens[0];
    let mut chain = Chain::new(MANY as usize * 2500);
    let title = "a verdict that is known: judged again in full";
    let [one, two, denied, _, many, access] = rounds(
        title,
        [
            Timing::new("one hot token", || permit(hot)),
            Timing::many("one hot token, two threads at once", |times| both(times, || permit(hot))),
            Timing::new("one hot token, 1 M tokens denied", || permit_under(&million, hot)),
            Timing::new("one hot token, 300 rules as well", || permit_under(&ruled, hot)),
            Timing::many("10,000 tokens, in no order", |times| received(&tokens, times, permit)),
            Timing::new("one access to as much memory, at random", || chain.next()),
        ],
    );
    ratio("verify_warm_hot", one.median, "ns, cached verdict judged again, one hot token");
    // The measure is whether they get in each other's way, not whether two cores were free all the
    // time.
    let what = "the same on two threads at once, over one thread; least over least";
    ratio("verify_warm_hot_2t", two.least / one.least, what);
    let what = "one hot token, 1 M denied over none denied";
    ratio("verify_warm_growth_1m", denied.median / one.median, what);
    let what = "ns, cached verdict judged again, 10,000 tokens in no order";
    ratio("verify_warm_10k", many.median, what);
    let what = "the same, over one random access to as much memory";
    ratio("verify_warm_10k_over_access", many.median / access.median, what);
}

/// A hundred each for other clients, subjects and versions of credentials.
fn rules() -> Vec<Entry> {
    let (before, until) = (NOW, NOW + HORIZON);
    let rules = (0..100).flat_map(|n| {
        let client: QualifiedName = format!("acme/client-{n}").parse().expect("a name");
        let id = format!("client:{client}");
        let cred = Credential { client: client.clone(), version: "vault:1.1795000000".to_owned() };
        [
            Entry::Client { client, before, until },
            Entry::Sub { sub: Subject { tenant: "acme".to_owned(), id }, before, until },
            Entry::Cred { cred, until },
        ]
    });
    rules.collect()
}

/// How long `operation` takes for so many tokens, in an order that no prefetcher follows. Each
/// token's bytes are in the core's cache, as where a proxy has just read them from a connection.
fn received(tokens: &[String], times: u64, operation: impl Fn(&String)) -> Duration {
    let mut order = (0..tokens.len()).map(|n| n * 7919 % tokens.len()).cycle();
    let mut took = Duration::ZERO;
    for begin in (0..times).step_by(READ) {
        let read: Vec<String> = order
            .by_ref()
            .take(READ.min((times - begin) as usize))
            .map(|index| tokens[index].clone())
            .collect();
        let begun = now();
        read.iter().for_each(&operation);
        took += begun.elapsed();
    }
    took
}

/// How long two threads take that start together and do so many each.
fn both(times: u64, operation: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(2);
    let work = || {
        start.wait();
        let begun = now();
        (0..times).for_each(|_| operation());
        begun.elapsed()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mine = work();
        mine.max(other.join().expect("the other thread"))
    })
}

/// Memory in which each place says where to go next: what one miss of every cache costs here.
struct Chain {
    lines: Vec<[usize; 8]>,
    at: usize,
}

impl Chain {
    fn new(bytes: usize) -> Self {
        let lines = bytes / size_of::<[usize; 8]>();
        // A step without a factor in common with the number of lines visits them all.
        let step = (lines * 5 / 13..).find(|step| coprime(*step, lines)).expect("there is one");
        Self { lines: (0..lines).map(|line| [(line + step) % lines; 8]).collect(), at: 0 }
    }

    fn next(&mut self) -> usize {
        self.at = self.lines[self.at][0];
        self.at
    }
}

fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}
