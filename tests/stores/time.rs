use super::{Fresh, jti};
use scrip::store::installation::{self, Installation};
use scrip::store::{Lock, StoreError, Tx, standing, tokens};
use scrip_token::Digest;
use std::time::{Duration, SystemTime};

on_both![
    there_is_one_installation,
    numbers_have_no_gap,
    numbering_at_once_gives_each_its_number,
    n110_recorded_time_never_goes_back,
    time_is_the_databases,
];

/// In the year 2100, ahead of every clock a test may meet.
const FAR: i64 = 4_102_444_800;

fn row() -> Installation {
    Installation {
        issuer: "https://sts.example".to_owned(),
        epoch: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        seq: 0,
        head: Digest::from_bytes([0; 32]),
        keys_version: 0,
        created: 1_700_000_000,
    }
}

async fn installed(store: &Fresh) {
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    assert!(installation::create(&mut tx, &row()).await.unwrap());
    tx.commit().await.unwrap();
}

async fn there_is_one_installation(store: &Fresh) {
    let mut reader = store.read().await.unwrap();
    assert_eq!(installation::read(&mut reader).await.unwrap(), None);
    installed(store).await;
    let mut tx = store.begin(Lock::Admin).await.unwrap();
    let other = Installation { issuer: "https://other.example".to_owned(), ..row() };
    assert!(!installation::create(&mut tx, &other).await.unwrap());
    assert_eq!(installation::lock(&mut tx).await.unwrap(), Some(row()));
    tx.commit().await.unwrap();
    assert_eq!(installation::read(&mut reader).await.unwrap(), Some(row()));
}

async fn numbers_have_no_gap(store: &Fresh) {
    installed(store).await;
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    installation::advance(&mut tx, 1, &Digest::from_bytes([1; 32]), 5).await.unwrap();
    for seq in [0, 1, 3] {
        let refused = installation::advance(&mut tx, seq, &Digest::from_bytes([9; 32]), 6).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{seq}: {refused:?}");
    }
    installation::advance(&mut tx, 2, &Digest::from_bytes([2; 32]), 6).await.unwrap();
    installation::set_keys_version(&mut tx, 3).await.unwrap();
    let refused = installation::set_keys_version(&mut tx, 3).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    tx.commit().await.unwrap();

    let mut reader = store.read_reserved().await.unwrap();
    let now = installation::read(&mut reader).await.unwrap().unwrap();
    assert_eq!(
        now,
        Installation { seq: 2, head: Digest::from_bytes([2; 32]), keys_version: 3, ..row() }
    );
}

async fn numbering_at_once_gives_each_its_number(store: &Fresh) {
    installed(store).await;
    let tasks: Vec<_> = [Lock::Revoke, Lock::Admin]
        .into_iter()
        .cycle()
        .take(8)
        .map(|lock| {
            let store = store.store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin(lock).await.unwrap();
                let last = installation::lock(&mut tx).await.unwrap().unwrap().seq;
                installation::advance(&mut tx, last + 1, &Digest::from_bytes([1; 32]), 5)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                last + 1
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}

async fn n110_recorded_time_never_goes_back(store: &Fresh) {
    installed(store).await;
    let mut tx = store.begin(Lock::Revoke).await.unwrap();
    installation::advance(&mut tx, 1, &Digest::from_bytes([1; 32]), FAR * 1000 + 7).await.unwrap();
    assert_eq!(now_ms(&mut tx, 5).await, FAR * 1000 + 7);
    installation::advance(&mut tx, 2, &Digest::from_bytes([2; 32]), 5).await.unwrap();
    assert_eq!(now_ms(&mut tx, 5).await, FAR * 1000 + 7, "an older batch takes nothing back");
    tx.commit().await.unwrap();

    let token = |n: u16| tokens::Token {
        jti: jti(FAR + i64::from(n), n),
        tenant: "acme".to_owned(),
        client: "acme/a".to_owned(),
        sub: "client:acme/a".to_owned(),
        aud: "llm-gateway".to_owned(),
        kid: "K".to_owned(),
        cred: None,
        iat: FAR + i64::from(n),
        exp: FAR + 300,
        lin: Vec::new(),
        claims: "{}".to_owned(),
    };
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    tx.insert(|all| tokens::push(all, &[token(9), token(1)])).await.unwrap();
    assert_eq!(now_ms(&mut tx, 5).await, (FAR + 9) * 1000);
}

/// As everybody reads it; a mint, which reads it with other things, finds the same.
async fn now_ms(tx: &mut Tx, clock_ms: i64) -> i64 {
    let now = tx.now_ms(clock_ms).await.unwrap();
    let mints = standing::read(tx, &[], &[], clock_ms).await.unwrap().now_ms;
    assert!((now..now + 60_000).contains(&mints), "{now}, for a mint {mints}");
    now
}

async fn time_is_the_databases(store: &Fresh) {
    let mut tx = store.begin(Lock::Mint).await.unwrap();
    let now = now_ms(&mut tx, 12_345).await;
    if store.is_postgres() {
        // The server runs on this machine.
        let since = Duration::from_millis(now.try_into().unwrap());
        let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        assert!(clock.abs_diff(since) < Duration::from_secs(60), "{since:?}, not {clock:?}");
    } else {
        assert_eq!(now, 12_345);
    }
}
