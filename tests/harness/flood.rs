use super::cli::Cli;
use super::http::Http;
use scrip_token::Jti;
use serde_json::json;
use tokio::task::JoinSet;

/// Together they leave no moment without a revocation under way.
const REVOKERS: u8 = 8;

/// Revocations without a pause, until it is dropped.
pub struct Flood {
    _revokers: JoinSet<()>,
}

impl Flood {
    pub fn start(http: &Http, operator: &Cli) -> Self {
        let revokers = (0..REVOKERS).map(|number| revoke(number, http.clone(), operator.clone()));
        Self { _revokers: revokers.collect() }
    }
}

async fn revoke(number: u8, http: Http, operator: Cli) {
    for round in 0_u64.. {
        let mut id = [number; 10];
        id[2..].copy_from_slice(&round.to_be_bytes());
        let jti = Jti::new(scrip::clock::now_ms().unsigned_abs(), id);
        let revoked = http.revoke(&operator, json!({"jti": jti})).await.expect("it is answered");
        assert_eq!(revoked.status, 201, "{revoked:?}");
    }
}
