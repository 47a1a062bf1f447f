//! A token seen before: every judgement again, the signature check spared.

use std::sync::Barrier;
use std::time::Duration;

use scrip_verify::token::Alg;
use scrip_verify::{DenySet, Trust, Verifier};

use crate::fixture::{FRESH, issuer, presented, signing_key, token, verifier};
use crate::rounds::{Entry, now, ratio, rounds};

const MANY: u64 = 10_000;
/// Tokens at a time.
const READ: usize = 16;

pub(crate) fn run() {
    let key = signing_key(Alg::EdDSA);
    let tokens: Vec<String> = (0..MANY).map(|n| token(&key, n)).collect();
    let issuer = issuer(&[&key], DenySet::default());
    let trust = Trust::one(&issuer, FRESH);
    let verifier = verifier();
    let permit = |verifier: &Verifier, token: &String| {
        verifier.verify(&presented(token), &trust).expect("a good token");
    };
    tokens.iter().for_each(|token| permit(&verifier, token));

    let hot = &tokens[0];
    let title = "a verdict that is known: judged again in full";
    let [one, two, many] = rounds(
        title,
        [
            Entry::new("one hot token", || permit(&verifier, hot)),
            Entry::many("one hot token, two threads at once", |times| {
                both(times, || permit(&verifier, hot))
            }),
            Entry::many("10,000 tokens, in no order", |times| {
                received(&tokens, times, |token| permit(&verifier, token))
            }),
        ],
    );
    ratio("verify_warm_hot", one.median, "ns, cached verdict judged again, one hot token");
    let what = "the same on two threads at once, over one thread";
    ratio("verify_warm_hot_2t", two.median / one.median, what);
    ratio(
        "verify_warm_10k",
        many.median,
        "ns, cached verdict judged again, 10,000 tokens in no order",
    );
}

/// How long `operation` takes for so many tokens, in an order that no prefetcher follows, each as
/// a proxy holds it: just read from a connection, hence in the cache of its core.
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
