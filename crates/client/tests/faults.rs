use std::time::Duration;

use scrip_client::{ClientError, MasterCredential, TokenSource};

use crate::issuer::{Answer, CLIENT, Issuer, TOKEN_CANARY, failure, failure_of, pass};

#[tokio::test]
async fn n127_an_endpoint_that_never_answers_costs_five_seconds() {
    let issuer = Issuer::start([Answer::Never, Answer::Never]).await;
    let source = issuer.source().patience(Duration::from_millis(100)).build().unwrap();
    issuer.seen(1).await;
    pass(2.0).await;
    issuer.settle().await;
    let waiting = source.token().await.unwrap_err();
    assert!(waiting.to_string().contains("no answer yet"), "{waiting}");
    pass(3.0).await;
    let away = failure_of(&source).await;
    assert!(away.to_string().contains("timed out"), "{away}");
    issuer.seen(2).await;
}

#[tokio::test]
async fn n133_a_redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let issuer = Issuer::start([]).await;
        let elsewhere = Issuer::start([]).await;
        let location = ("location", format!("{}/elsewhere", elsewhere.url));
        issuer.answer(Answer::Raw(status, vec![location], String::new()));
        let source = issuer.source().build().unwrap();
        let refused = source.token().await.unwrap_err();
        assert!(matches!(refused, ClientError::Malformed(_)), "{status}: {refused}");
        assert_eq!(*elsewhere.strayed.borrow(), 0);
    }
}

#[tokio::test]
async fn n133_an_endless_body_is_cut_off() {
    let body = format!(r#"{{"error":"{}"}}"#, "x".repeat(64 * 1024));
    for status in [200, 400] {
        let endless = || Answer::Raw(status, vec![], body.clone());
        let issuer = Issuer::start(std::iter::repeat_with(endless).take(20)).await;
        let (_, failure) = failure(issuer.source()).await;
        let reason = failure.to_string();
        assert!(reason.contains("longer than 64 KiB"), "{status}: {reason}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_a_token_reply_is_refused() {
    let good = |access_token: &str, token_type: &str, expires_in: &str| {
        format!(
            r#"{{"access_token":"{access_token}","token_type":"{token_type}","expires_in":{expires_in},
                "jti":"01890a5d-ac96-774b-bcce-b302099a8057","audience":"a","scope":"llm:chat"}}"#
        )
    };
    let jwt = "a.b.c";
    for body in [
        String::new(),
        "<html>502</html>".to_owned(),
        "\0\u{1}".to_owned(),
        "{}".to_owned(),
        "[".repeat(10_000),
        good(jwt, "DPoP", "300"),
        good(jwt, "Bearer", "0"),
        good(jwt, "Bearer", "-1"),
        good(jwt, "Bearer", "1e3"),
        good(jwt, "Bearer", "\"300\""),
        good("", "Bearer", "300"),
        good("a.b.c\\r\\nX-Evil: 1", "Bearer", "300"),
        good(&"a".repeat(8193), "Bearer", "300"),
        good(jwt, "Bearer", r#"300,"access_token":"d.e.f""#),
        good(jwt, "Bearer", "300").replace("01890a5d", "nonsense"),
    ] {
        let issuer = Issuer::start([Answer::Raw(200, vec![], body.clone())]).await;
        let source = issuer.source().patience(Duration::from_secs(3600)).build().unwrap();
        let refused = source.token().await.unwrap_err();
        assert!(matches!(refused, ClientError::Malformed(_)), "{body}: {refused}");
    }
    let issuer = Issuer::start([Answer::Raw(200, vec![], good(jwt, "bearer", "300"))]).await;
    let token = issuer.source().build().unwrap().token().await.unwrap();
    assert_eq!(token.expose(), jwt, "the good one differs in nothing else");
    assert!(token.models().is_empty());
}

#[tokio::test]
async fn a_life_longer_than_any_verifier_takes_is_cut() {
    let issuer = Issuer::start([Answer::Token { expires_in: u64::MAX }]).await;
    let source = issuer.source().build().unwrap();
    assert!(source.token().await.unwrap().expose().starts_with(TOKEN_CANARY));
    pass(676.0).await;
    issuer.seen(2).await;
}

#[tokio::test]
async fn the_credential_goes_only_where_the_issuer_itself_points() {
    let elsewhere = Issuer::start([]).await;
    for metadata in [
        r#"{"issuer":"URL/","token_endpoint":"URL/oauth2/token"}"#,
        r#"{"issuer":"ELSEWHERE","token_endpoint":"URL/oauth2/token"}"#,
        r#"{"issuer":"URL","token_endpoint":"ELSEWHERE/oauth2/token"}"#,
        r#"{"issuer":"URL","token_endpoint":"https://scrip.example/oauth2/token"}"#,
        r#"{"issuer":"URL","token_endpoint":"/oauth2/token"}"#,
        r#"{"issuer":"URL"}"#,
        r#"{"issuer":"ELSEWHERE","issuer":"URL","token_endpoint":"URL/oauth2/token"}"#,
        "not json",
    ] {
        let issuer = Issuer::start([]).await;
        issuer.publish(metadata.replace("URL", &issuer.url).replace("ELSEWHERE", &elsewhere.url));
        let source = issuer.source().build().unwrap();
        let refused = source.token().await.unwrap_err();
        assert!(matches!(refused, ClientError::Malformed(_)), "{metadata}: {refused}");
        assert!(issuer.requests().is_empty(), "{metadata}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_away() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let credential = MasterCredential::Text("x".into());
    let absent = TokenSource::builder(format!("http://{address}"), CLIENT, credential);
    let (_, away) = failure(absent).await;
    assert!(away.to_string().contains("refused"), "{away}");
    assert!(away.is_temporary());
}
