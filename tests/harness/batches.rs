use super::cli::Cli;
use super::http::Http;
use scrip_token::compact::Compact;
use scrip_token::deny::{Batch, first_head};
use scrip_token::{Digest, Jti};

/// Every batch of the deny list, as it is served; panics unless each continues the one before it.
pub async fn batches(http: &Http, gateway: &Cli, epoch: &str) -> Vec<String> {
    let epoch = Jti::parse(epoch).expect("a UUIDv7");
    let (mut all, mut head) = (Vec::new(), first_head(epoch));
    loop {
        let path = format!("/v1/deny/batches?epoch={epoch}&after={}", all.len());
        let page = http.read(gateway, &path).await;
        assert_eq!(page.status, 200, "{page:?}");
        for jws in page.body["batches"].as_array().expect("a list") {
            let jws = jws.as_str().expect("a JWS");
            let (batch, payload) = open(jws);
            let found = (batch.epoch, batch.seq, batch.prev);
            assert_eq!(found, (epoch, all.len() as u64 + 1, head), "a gap, or a fork");
            head = Digest::of(&payload);
            all.push(jws.to_owned());
        }
        if page.body["more"] != true {
            return all;
        }
    }
}

/// What a batch says.
pub fn read(jws: &str) -> Batch {
    open(jws).0
}

fn open(jws: &str) -> (Batch, Vec<u8>) {
    let payload = Compact::parse(jws.as_bytes(), jws.len()).expect("a JWS").payload;
    (Batch::parse(&payload).expect("a batch"), payload)
}
