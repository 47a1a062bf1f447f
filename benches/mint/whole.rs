//! `mint_over_sign_only`: the whole service, over a handler that only signs.

use crate::bare::Bare;
use crate::field::Field;
use crate::figures::ratio;
use crate::harness::service::Installation;
use crate::side::{Side, interleaved, table};

/// Few enough that each is in most groups.
const CLIENTS: usize = 10;

pub(crate) async fn run(rounds: u64) {
    let sqlite = Field::new(Installation::on_sqlite(), CLIENTS).await;
    let postgres = Field::new(Installation::on_postgres().await, CLIENTS).await;
    let token = sqlite.first.token(&[]).await;
    let bare = Bare::start(&token).await;
    let mut sides = [
        Side::new("bare axum, ES256 sign", bare.address, bare.process.pid(), sqlite.requests()),
        sqlite.side("sqlite"),
        postgres.side("postgres"),
    ];
    interleaved(&mut sides, rounds).await;
    table(&format!("64 connections, tokens of {} bytes", token.len()), &sides);
    let [bare, ours @ ..] = &sides;
    for side in ours {
        let over = side.rate() / bare.rate();
        let what = "whole pipeline over bare axum + ES256 sign, tokens each second; >= 0.55";
        ratio(&format!("mint_over_sign_only_{}", side.name), over, what);
        let what = format!("ms, under that load; median {:.2}", side.wait(0.5));
        ratio(&format!("mint_p99_{}", side.name), side.wait(0.99), &what);
    }
}
