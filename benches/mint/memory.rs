//! Whether memory is flat under load.

use std::time::Duration;

use scrip::clock;

use crate::field::Field;
use crate::figures::ratio;
use crate::harness::service::Installation;
use crate::{load, proc};

const CLIENTS: usize = 10;
/// One look after each.
const TURN: Duration = Duration::from_secs(2);

pub(crate) async fn run(seconds: u64) {
    for name in ["sqlite", "postgres"] {
        let installation = match name {
            "sqlite" => Installation::on_sqlite(),
            _ => Installation::on_postgres().await,
        };
        let field = Field::new(installation, CLIENTS).await;
        let requests = field.requests();
        let (mut looks, mut tokens) = (Vec::new(), 0);
        let begun = clock::monotonic();
        while begun.elapsed() < Duration::from_secs(seconds) {
            tokens += load::run(field.address(), &requests, TURN).await.granted.len();
            looks.push(proc::resident(field.pid()));
        }
        // Caches fill in the first fifth.
        let settled = &looks[looks.len() / 5..];
        let most = |of: &[f64]| of.iter().copied().fold(0.0, f64::max) / f64::from(1 << 20);
        let (first, second) = settled.split_at(settled.len().div_ceil(2));
        let (before, after) = (most(first), most(second));
        println!(
            "\n{name}: {tokens} tokens in {seconds} s, {before:.1} MiB at most, then {after:.1}"
        );
        let what = format!("most resident memory, later over earlier, of {seconds} s under load");
        ratio(&format!("mint_memory_growth_{name}"), after / before, &what);
    }
}
