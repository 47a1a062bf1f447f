use std::time::Duration;

use scrip_client::{BuildError, ClientError, MasterCredential, TokenSource};

use crate::issuer::{Answer, CLIENT, Issuer, SECRET, error, failure, pass};

#[tokio::test]
async fn the_form_carries_what_was_asked_and_nothing_else() {
    let issuer = Issuer::start([]).await;
    let source = issuer
        .source()
        .audience("llm-gateway")
        .scope("llm:chat")
        .scope("llm:embed")
        .model("gpt-4o-mini")
        .model("claude-haiku-*")
        .cidr("10.20.0.0/16")
        .budget_tokens(5000)
        .budget_requests(10)
        .ttl(Duration::from_secs(120))
        .build()
        .unwrap();
    source.token().await.unwrap();
    let mut form: Vec<_> = issuer.requests().remove(0).form.into_iter().collect();
    form.sort();
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        form,
        [
            ("audience", "llm-gateway"),
            ("budget_requests", "10"),
            ("budget_tokens", "5000"),
            ("cidrs", "10.20.0.0/16"),
            ("grant_type", "client_credentials"),
            ("models", "gpt-4o-mini claude-haiku-*"),
            ("scope", "llm:chat llm:embed"),
            ("ttl", "120"),
        ]
    );
}

#[tokio::test]
async fn basic_authentication_is_form_encoded_first() {
    let issuer = Issuer::start([]).await;
    let secret = "colon:plus+percent%space é";
    let source = issuer.source_with(MasterCredential::Text(secret.into())).build().unwrap();
    source.token().await.unwrap();
    let request = issuer.requests().remove(0);
    assert_eq!(request.id, "acme%2Fbilling");
    assert_eq!(request.password, "colon%3Aplus%2Bpercent%25space+%C3%A9");
    assert_eq!(request.form.len(), 1, "what was not asked for is not sent");
}

#[tokio::test]
async fn a_retry_repeats_its_idempotency_key_and_a_new_mint_does_not() {
    let issuer = Issuer::start([
        error(503, None, "temporarily_unavailable"),
        error(409, None, "invalid_request"),
        error(503, None, "temporarily_unavailable"),
    ])
    .await;
    let source = issuer.source().patience(Duration::from_secs(20)).build().unwrap();
    let token = source.token().await.unwrap();
    assert!(source.invalidate(&token));
    source.token().await.unwrap();
    let keys: Vec<_> =
        issuer.requests().into_iter().map(|request| request.idempotency_key).collect();
    assert_eq!(keys[0].len(), 32);
    assert_eq!(keys[1], keys[0], "a retry");
    assert_ne!(keys[2], keys[1], "409: that mint is over");
    assert_eq!(keys[3], keys[2], "a retry");
    assert_ne!(keys[4], keys[3], "another mint");
}

#[tokio::test]
async fn an_idempotency_key_is_not_kept_for_long() {
    let issuer = Issuer::start([error(503, Some(60), "temporarily_unavailable")]).await;
    let (_source, _) = failure(issuer.source()).await;
    pass(61.0).await;
    let requests = issuer.seen(2).await;
    assert_ne!(requests[1].idempotency_key, requests[0].idempotency_key);
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_at_once() {
    let issuer = Issuer::start([error(400, None, "invalid_scope")]).await;
    let source = issuer.source().patience(Duration::from_secs(3600)).build().unwrap();
    match source.token().await.unwrap_err() {
        ClientError::Refused(refusal) => {
            assert_eq!((refusal.status, refusal.error.as_str()), (400, "invalid_scope"));
            assert_eq!(refusal.description, "for a reason");
            assert_eq!(refusal.request_id, "r-1");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_refused_text_is_not_tried_again_at_once() {
    let issuer = Issuer::start([error(401, None, "invalid_client")]).await;
    let source = issuer.source().build().unwrap();
    let refused = source.token().await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(refusal) if refusal.status == 401));
    pass(2.0).await;
    issuer.settle().await;
    assert_eq!(issuer.requests().len(), 1);
    pass(4.0).await;
    issuer.seen(2).await;
}

#[tokio::test]
async fn a_file_is_read_again_for_each_mint_and_after_a_refusal() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let issuer =
        Issuer::start([Answer::HeldRefusal(gate.clone()), Answer::Token { expires_in: 100 }]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let source = issuer.source_with(MasterCredential::File(path.clone())).build().unwrap();
    issuer.seen(1).await;
    std::fs::write(&path, "rotated-1").unwrap();
    gate.add_permits(1);
    source.token().await.unwrap();
    std::fs::write(&path, "rotated-2\r\n").unwrap();
    pass(76.0).await;
    let passwords: Vec<_> =
        issuer.seen(3).await.into_iter().map(|request| request.password).collect();
    assert_eq!(passwords, [SECRET, "rotated-1", "rotated-2"]);
}

#[tokio::test]
async fn a_file_that_comes_late_is_waited_for() {
    let issuer = Issuer::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let credential = || MasterCredential::File(path.clone());
    let impatient =
        issuer.source_with(credential()).patience(Duration::from_millis(200)).build().unwrap();
    let unreadable = impatient.token().await.unwrap_err();
    assert!(matches!(unreadable, ClientError::Credential(_)), "{unreadable}");
    let patient = issuer.source_with(credential()).build().unwrap();
    let waiting = tokio::spawn(async move { patient.token().await });
    std::fs::write(&path, SECRET).unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_sent() {
    let credential = || MasterCredential::Text(SECRET.into());
    for issuer in [
        "scrip.internal",
        "http://scrip.internal",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "https://user@scrip.internal",
        "https://scrip.internal?x=1",
        "https://scrip.internal#x",
    ] {
        let refused = TokenSource::builder(issuer, CLIENT, credential()).build().err();
        assert!(matches!(refused, Some(BuildError::Address(..))), "{issuer}: {refused:?}");
    }
    for client in ["", "acme", "acme/billing/x", "Acme/billing", "acme/bil ling"] {
        let refused = TokenSource::builder("https://s.internal", client, credential()).build();
        assert_eq!(refused.err(), Some(BuildError::Client), "{client}");
    }
    let builder = || TokenSource::builder("https://s.internal", CLIENT, credential());
    for (builder, parameter) in [
        (builder().audience(""), "audience"),
        (builder().scope("llm:chat").scope("llm:chat"), "scope"),
        (builder().scope("llm:*"), "scope"),
        (builder().model(""), "models"),
        (builder().model("a*b"), "models"),
        (builder().cidr("10.20.0.1/16"), "cidrs"),
        (builder().budget_tokens(0), "budget_tokens"),
        (builder().budget_requests(1 << 53), "budget_requests"),
        (builder().ttl(Duration::from_secs(59)), "ttl"),
        (builder().ttl(Duration::from_secs(901)), "ttl"),
        (builder().ttl(Duration::from_millis(60_500)), "ttl"),
    ] {
        match builder.build().err() {
            Some(BuildError::Parameter(name, _)) => assert_eq!(name, parameter),
            other => panic!("{parameter}: {other:?}"),
        }
    }
}

#[test]
fn a_source_needs_a_runtime() {
    let builder =
        TokenSource::builder("https://s.internal", CLIENT, MasterCredential::Text(SECRET.into()));
    assert_eq!(builder.build().err(), Some(BuildError::NoRuntime));
}
