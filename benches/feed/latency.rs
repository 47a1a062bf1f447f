//! `revoke_to_refuse`, with 100 subscribers, with 1,000, and with 1,000 under load.

use std::sync::Arc;
use std::time::Duration;

use crate::drains::Probe;
use crate::field::{Field, REAL};
use crate::figures::{Times, ratio, title};
use crate::harness::service::Installation;
use crate::load::Load;
use crate::raw::Raw;

/// Revocations of each kind in one round.
const TURN: usize = 10;
/// Other revocations, each second, and how long they go on before anything is timed.
const LOAD: u32 = 1_000;
const WARM: Duration = Duration::from_secs(2);
/// Rounds under load are long.
const LOADED_ROUNDS: usize = 4;

#[derive(Default)]
struct Kind {
    refused: Times,
    acknowledged: Times,
    last_byte: Times,
}

pub(crate) async fn run(rounds: usize) {
    let mut fields = [
        Field::new("sqlite", Installation::on_sqlite()).await,
        Field::new("postgres", Installation::on_postgres().await).await,
    ];
    let mut raw = Raw::new();
    for (subscribers, limit) in [(100, 10), (1_000, 25)] {
        for field in &mut fields {
            field.grow(subscribers).await;
        }
        raw.grow(subscribers - REAL).await;
        alone(&fields, &raw, subscribers, limit, rounds).await;
    }
    loaded(&fields, (rounds * TURN).div_ceil(LOADED_ROUNDS)).await;
}

async fn alone(fields: &[Field; 2], raw: &Raw, subscribers: usize, limit: u32, rounds: usize) {
    let frame = wire(&fields[0]).await;
    let length = frame.len();
    let mut written = Times::default();
    let mut kinds = [Kind::default(), Kind::default()];
    // The first round finds caches and connections cold.
    for round in 0..=rounds {
        for _ in 0..TURN {
            let took = raw.write(frame.clone()).await;
            if round > 0 {
                written.push(took);
            }
        }
        for (field, kind) in fields.iter().zip(&mut kinds) {
            for _ in 0..TURN {
                let last_byte = field.drains.last_byte();
                let revoked = field.revoke().await;
                let last = last_byte.await - revoked.sent;
                if round > 0 {
                    revoked.refused.iter().for_each(|took| kind.refused.push(*took));
                    kind.acknowledged.push(revoked.acknowledged);
                    kind.last_byte.push(last);
                }
            }
        }
    }
    title(&format!("{subscribers} subscribers, {REAL} of them real, one revocation at a time"));
    written.row("raw write loop, first write to last byte");
    for (Field { name, .. }, kind) in fields.iter().zip(&kinds) {
        kind.acknowledged.row(&format!("{name}: request to acknowledgement"));
        kind.last_byte.row(&format!("{name}: request to last byte"));
        kind.refused.row(&format!("{name}: request to refusal"));
    }
    for (Field { name, .. }, kind) in fields.iter().zip(&kinds) {
        ratio(
            &format!("revoke_to_refuse_p99_{subscribers}_{name}"),
            kind.refused.at(0.99),
            &format!("ms, at {REAL} real followers among {subscribers} subscribers; <= {limit}"),
        );
        let over = kind.last_byte.median() / written.median();
        let which = if subscribers == 1_000 { String::new() } else { format!("_{subscribers}") };
        ratio(
            &format!("revoke_over_raw_p50{which}_{name}"),
            over,
            &format!("request to last of {subscribers}, over a raw write loop; <= 1.3 at 1,000"),
        );
    }
    ratio("revoke_wire_bytes", length as f64, "bytes to each subscriber, one lone revocation");
}

/// The bytes that a drain receives for one revocation, chunk and all.
async fn wire(field: &Field) -> Arc<Vec<u8>> {
    let mut probe = Probe::new(field.address(), &field.acme.gateway).await;
    // Read as it comes: what has waited may have come together with a heartbeat.
    let (batch, _) = tokio::join!(probe.batch(), field.revoke());
    Arc::new(batch)
}

async fn loaded(fields: &[Field; 2], turn: usize) {
    let mut kinds = [Kind::default(), Kind::default()];
    let (mut rates, mut bytes) = ([Vec::new(), Vec::new()], [0.0, 0.0]);
    for _ in 0..LOADED_ROUNDS {
        for (at, field) in fields.iter().enumerate() {
            let load = Load::start(field, LOAD);
            tokio::time::sleep(WARM).await;
            let before = (field.drains.bytes(), load.acknowledged());
            for _ in 0..turn {
                let revoked = field.revoke().await;
                revoked.refused.iter().for_each(|took| kinds[at].refused.push(*took));
                kinds[at].acknowledged.push(revoked.acknowledged);
            }
            let after = (field.drains.bytes(), load.acknowledged() + turn as u64);
            let each = (after.0 - before.0) as f64 / (1_000 - REAL) as f64;
            bytes[at] = each / (after.1 - before.1) as f64;
            rates[at].push(load.stop());
        }
    }
    title(&format!("1,000 subscribers, {REAL} of them real, {LOAD} other revocations a second"));
    for (Field { name, .. }, kind) in fields.iter().zip(&kinds) {
        kind.acknowledged.row(&format!("{name}: request to acknowledgement"));
        kind.refused.row(&format!("{name}: request to refusal"));
    }
    for (at, Field { name, .. }) in fields.iter().enumerate() {
        let rate = rates[at].iter().sum::<f64>() / rates[at].len() as f64;
        ratio(
            &format!("revoke_to_refuse_p99_1000_loaded_{name}"),
            kinds[at].refused.at(0.99),
            &format!("ms, while {rate:.0} other revocations a second are acknowledged; <= 50"),
        );
        let what = "bytes to each subscriber, for each revocation under that load";
        ratio(&format!("revoke_wire_bytes_loaded_{name}"), bytes[at], what);
    }
}
