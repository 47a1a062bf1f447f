use proptest::prelude::*;

use super::*;

/// Seconds of a moment in RFC 3339.
fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

#[test]
fn windows_follow_the_calendar_of_utc() {
    let now = "2028-02-29T23:59:59Z";
    for (window, start, next) in [
        (Window::Hour, "2028-02-29T23:00:00Z", "2028-03-01T00:00:00Z"),
        (Window::Day, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        (Window::Month, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
    ] {
        assert_eq!(window.start(at(now)), at(start), "{window}");
        assert_eq!(window.next(at(now)), Some(at(next)), "{window}");
        assert_eq!(window.start(at(next)), at(next), "a window begins with its first second");
    }
    assert_eq!((Window::Lifetime.start(at(now)), Window::Lifetime.next(at(now))), (0, None));
    let december = at("2026-12-31T12:00:00Z");
    assert_eq!(Window::Month.next(december), Some(at("2027-01-01T00:00:00Z")));
    assert_eq!(Window::Hour.start(-1), -3600, "before 1970 too");
}

#[test]
fn the_next_window_pays_or_the_present_one() {
    let (one, two, nine) =
        (at("2026-11-18T01:00:00Z"), at("2026-11-18T02:00:00Z"), at("2026-11-18T09:00:00Z"));
    assert_eq!(Window::Hour.liable(one, one + 5), two);
    assert_eq!(Window::Hour.liable(one, two + 5), two);
    assert_eq!(Window::Hour.liable(one, nine + 5), nine, "an hour that is over pays nothing");
    assert_eq!(Window::Lifetime.liable(0, nine), 0);
}

#[test]
fn each_percentage_is_reached_once() {
    let mut balance = Balance::default();
    let alerts = [80, 50, 100];
    let reached = |balance: &Balance, raised| -> Vec<u64> {
        balance.reached(1000, &alerts, raised).collect()
    };
    balance.reserve(499, 1000).unwrap();
    assert!(reached(&balance, 0).is_empty());
    balance.reserve(1, 1000).unwrap();
    assert_eq!(reached(&balance, 0), [50]);
    assert!(reached(&balance, 50).is_empty());
    balance.carry(500);
    assert_eq!(reached(&balance, 50), [80, 100]);
    let most = Balance { reserved: u64::MAX, ..Balance::default() };
    assert_eq!(most.reached(u64::MAX, &[100], 0).count(), 0, "no product overflows");
}

#[test]
fn what_is_settled_and_what_goes_beyond_it() {
    assert_eq!(spent(100, 30, Unreported::Released), 30);
    assert_eq!(spent(100, 300, Unreported::Released), 100);
    assert_eq!(spent(100, 30, Unreported::Spent), 100);
    assert_eq!(overrun(100, None, 100), 0);
    assert_eq!(overrun(100, None, 130), 30);
    assert_eq!(overrun(100, Some(30), 30), 0);
    assert_eq!(overrun(100, Some(30), 70), 40, "the rest has been returned");
    assert_eq!(overrun(100, Some(100), 70), 0, "silence has cost more than was used");
}

/// One thing that happens to a balance. Escrows are named by their place among those that are out.
#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    Settle { escrow: usize, spent: u64 },
    Overrun(u64),
    Carry(u64),
    Quota(u64),
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 1..1000_u64, 1 => Just((1 << 53) - 1)]
}

fn any_amount() -> impl Strategy<Value = u64> {
    prop_oneof![9 => amount(), 1 => Just(u64::MAX)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => amount().prop_map(Step::Reserve),
        4 => (any::<usize>(), any_amount()).prop_map(|(escrow, spent)| Step::Settle { escrow, spent }),
        1 => any_amount().prop_map(Step::Overrun),
        1 => any_amount().prop_map(Step::Carry),
        1 => amount().prop_map(Step::Quota),
    ]
}

proptest! {
    #[test]
    fn n47_no_order_of_things_grants_more_than_the_quota(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (mut balance, mut quota, mut out) = (Balance::default(), 5000, Vec::new());
        for step in steps {
            let before = balance;
            match step {
                Step::Reserve(tokens) => match balance.reserve(tokens, quota) {
                    Ok(()) => {
                        out.push(tokens);
                        prop_assert!(balance.carried + balance.reserved + balance.spent <= quota);
                    }
                    Err(left) => {
                        prop_assert!(left < tokens);
                        prop_assert_eq!(balance, before);
                    }
                },
                Step::Settle { escrow, spent } if !out.is_empty() => {
                    let tokens = out.swap_remove(escrow % out.len());
                    balance.settle(tokens, spent);
                    prop_assert!(balance.spent - before.spent <= tokens);
                }
                Step::Settle { .. } => {}
                Step::Overrun(tokens) => balance.overrun(tokens),
                Step::Carry(tokens) => balance.carry(tokens),
                Step::Quota(tokens) => quota = tokens,
            }
            prop_assert_eq!(balance.reserved, out.iter().sum::<u64>());
            prop_assert_eq!(balance.granted, balance.reserved + balance.spent + balance.refunded);
            prop_assert!(balance.left(quota) <= quota);
        }
        for tokens in out {
            balance.settle(tokens, 0);
        }
        prop_assert_eq!(balance.reserved, 0);
        prop_assert_eq!(balance.granted, balance.spent + balance.refunded);
    }

    #[test]
    fn windows_join_without_a_gap(at in -62_000_000_000_i64..250_000_000_000) {
        for window in [Window::Hour, Window::Day, Window::Month] {
            let (start, next) = (window.start(at), window.next(at).unwrap());
            prop_assert!(start <= at && at < next, "{window}");
            prop_assert_eq!(window.start(next - 1), start);
            prop_assert_eq!(window.start(next), next);
            prop_assert!(window.liable(start, at) == next);
        }
    }
}
