use std::sync::Arc;
use std::time::{Duration, SystemTime};

use scrip_client::{ClientError, Token, TokenSource};
use tokio::sync::Semaphore;

use crate::issuer::{Answer, Issuer, error, failure, failure_of, pass};

#[tokio::test]
async fn a_thousand_callers_share_one_mint() {
    let gate = Arc::new(Semaphore::new(0));
    let issuer = Issuer::start([Answer::Held(gate.clone())]).await;
    let source = issuer.source().build().unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let source = source.clone();
        callers.spawn(async move { source.token().await });
    }
    issuer.seen(1).await;
    gate.add_permits(1000);
    for token in callers.join_all().await {
        assert_eq!(number(&token.unwrap()), 1);
    }
    assert_eq!(issuer.requests().len(), 1);
}

#[tokio::test]
async fn renewed_at_seventy_percent_while_the_old_token_serves() {
    let gate = Arc::new(Semaphore::new(0));
    let issuer =
        Issuer::start([Answer::Token { expires_in: 600 }, Answer::Held(gate.clone())]).await;
    let source = issuer.source().build().unwrap();
    let first = source.token().await.unwrap();
    assert_eq!((first.audience(), first.scope()), ("llm-gateway", "llm:chat"));
    assert_eq!(first.models(), ["gpt-4o-mini"]);
    let left = first.expires_at().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(left > Duration::from_secs(1_700_000_000));

    pass(380.0).await;
    issuer.settle().await;
    assert_eq!(issuer.requests().len(), 1, "renewed before 65 % of its life");

    pass(75.0).await;
    issuer.seen(2).await;
    assert_eq!(number(&source.token().await.unwrap()), 1, "the old token serves meanwhile");
    gate.add_permits(1);
    assert_eq!(until_number(&source, 2).await, 2);
}

#[tokio::test]
async fn whoever_passes_tokens_on_hears_of_each_and_of_each_failure() {
    let answers = [Answer::Token { expires_in: 600 }, error(503, None, "temporarily_unavailable")];
    let issuer = Issuer::start(answers).await;
    // The source itself is gone; whoever waits for changes keeps the renewal alive.
    let mut changes = issuer.source().build().unwrap().changes();
    let mut next = async || {
        let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
        change.expect("a change").expect("the runtime goes on")
    };
    assert_eq!(number(&next().await.unwrap()), 1);
    pass(455.0).await;
    let away = next().await.unwrap_err();
    assert!(matches!(&away, ClientError::Away { .. }), "{away}");
    assert!(number(&next().await.unwrap()) > 1);
}

#[tokio::test]
async fn an_ended_token_is_not_handed_out_and_the_source_recovers() {
    let down = (0..10).map(|_| error(503, None, "temporarily_unavailable"));
    let issuer =
        Issuer::start(std::iter::once(Answer::Token { expires_in: 600 }).chain(down)).await;
    let source = issuer.source().patience(Duration::from_millis(100)).build().unwrap();
    issuer.seen(1).await;
    assert_eq!(until_number(&source, 1).await, 1);

    pass(455.0).await;
    issuer.seen(2).await;
    assert_eq!(number(&source.token().await.unwrap()), 1, "away, but the token lives");
    pass(130.0).await;
    assert_eq!(number(&source.token().await.unwrap()), 1, "its last seconds");
    pass(20.0).await;
    let away = failure_of(&source).await;
    assert!(matches!(&away, ClientError::Away { .. }), "{away}");

    let mut minted = source.token().await;
    for _ in 0..200 {
        if minted.is_ok() {
            break;
        }
        pass(4.0).await;
        issuer.settle().await;
        minted = source.token().await;
    }
    assert!(number(&minted.unwrap()) > 10);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let issuer = Issuer::start([error(503, Some(50), "temporarily_unavailable")]).await;
    let (_source, away) = failure(issuer.source()).await;
    assert!(
        matches!(away, ClientError::Away { retry_after: Some(asked), .. } if asked.as_secs() == 50)
    );

    pass(30.0).await;
    issuer.settle().await;
    assert_eq!(issuer.requests().len(), 1, "earlier than the service asked for");
    pass(20.5).await;
    issuer.seen(2).await;
}

#[tokio::test]
async fn retry_after_is_bounded() {
    let issuer = Issuer::start([error(429, Some(86_400), "temporarily_unavailable")]).await;
    // Answered with the refusal at once: nobody waits in vain for what comes tomorrow.
    let source = issuer.source().patience(Duration::from_secs(30)).build().unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(20), source.token()).await;
    match refused.expect("at once").unwrap_err() {
        ClientError::NotYet { refusal, retry_after } => {
            assert_eq!((refusal.status, refusal.description.as_str()), (429, "for a reason"));
            assert_eq!(retry_after.map(|asked| asked.as_secs()), Some(60));
        }
        other => panic!("{other}"),
    }
    pass(60.5).await;
    issuer.seen(2).await;
}

#[tokio::test]
async fn an_invalidated_token_is_replaced_but_not_in_a_storm() {
    let issuer = Issuer::start([]).await;
    let source = issuer.source().build().unwrap();
    let first = source.token().await.unwrap();

    assert!(source.invalidate(&first));
    let second = source.token().await.unwrap();
    assert_eq!(number(&second), 2);
    assert!(source.invalidate(&first), "already replaced: nothing to do");
    assert!(!source.invalidate(&second), "a second one within 30 seconds");
    assert_eq!(number(&source.token().await.unwrap()), 2);

    pass(31.0).await;
    assert!(source.invalidate(&second));
    assert_eq!(number(&source.token().await.unwrap()), 3);
    assert_eq!(issuer.requests().len(), 3);
}

#[tokio::test]
async fn dropping_the_last_clone_ends_the_renewal() {
    let issuer = Issuer::start([]).await;
    let source = issuer.source().build().unwrap();
    let clone = source.clone();
    source.token().await.unwrap();
    drop(source);
    pass(76.0).await;
    issuer.seen(2).await;
    drop(clone);
    issuer.settle().await;
    pass(1000.0).await;
    issuer.settle().await;
    assert_eq!(issuer.requests().len(), 2);
}

#[test]
fn a_source_ends_with_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let source = first.block_on(async {
        let issuer = Issuer::start([Answer::Never]).await;
        issuer.source().build().unwrap()
    });
    drop(first);
    assert_eq!(runtime().block_on(source.token()).unwrap_err(), ClientError::Stopped);
}

/// The issuer numbers its tokens.
fn number(token: &Token) -> u64 {
    token.jti().milliseconds()
}

async fn until_number(source: &TokenSource, wanted: u64) -> u64 {
    let reached = async {
        loop {
            match source.token().await {
                Ok(token) if number(&token) >= wanted => return number(&token),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("a newer token")
}
