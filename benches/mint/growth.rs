//! What a hundred thousand clients cost over ten.

use crate::field::Field;
use crate::figures::ratio;
use crate::harness::service::Installation;
use crate::side::{interleaved, table};

const FEW: usize = 10;
const MANY: usize = 100_000;

pub(crate) async fn run(rounds: u64) {
    for name in ["sqlite", "postgres"] {
        let installation = async || match name {
            "sqlite" => Installation::on_sqlite(),
            _ => Installation::on_postgres().await,
        };
        let few = Field::new(installation().await, FEW).await;
        let many = Field::new(installation().await, MANY).await;
        let mut sides = [few.side("10 clients"), many.side("100,000 clients, all asking")];
        interleaved(&mut sides, rounds).await;
        table(&format!("{name}, 64 connections"), &sides);
        let over = sides[1].rate() / sides[0].rate();
        let what = "tokens each second, 100,000 clients over 10; >= 0.9";
        ratio(&format!("mint_growth_100k_{name}"), over, what);
    }
}
