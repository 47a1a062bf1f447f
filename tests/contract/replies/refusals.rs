use crate::contract::document::{Operation, text};
use crate::contract::session::Session;
use crate::harness::api::form;
use crate::harness::service::Operator;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};

/// 401 for nobody, 403 for a token without the scope.
pub async fn of_strangers(session: &Session) {
    let usage = session.api.bearer("scrip:usage").await;
    let keys = session.api.bearer("scrip:keys").await;
    for operation in session.document.operations().filter(|one| one.takes_a("token")) {
        let request = || session.plain(operation.method.clone(), &operation.example_path());
        session.expect(401, request()).await;
        let counts = operation.path.starts_with("/v1/ledgers") || operation.id() == "reportUsage";
        let useless = if counts { &keys } else { &usage };
        session.expect(403, request().header(AUTHORIZATION, useless)).await;
    }
}

/// An operator's own credential opens what it is documented to open, and nothing else.
pub async fn of_credentials(session: &Session) {
    let Operator { id, secret } = &session.api.operator;
    for operation in session.document.operations().filter(|one| one.takes_a("token")) {
        let request = session.plain(operation.method.clone(), &operation.example_path());
        let reply = session.send(request.basic_auth(id, Some(secret))).await;
        let opened = !matches!(reply.status, 401 | 403);
        assert_eq!(opened, operation.takes_a("client"), "{}: {}", operation.id(), reply.status);
    }
}

/// Whoever guesses too often is told to wait, wherever a credential is taken.
pub async fn of_guesses(session: &Session) {
    let guess = |operation: &Operation<'_>| {
        let request = session.plain(operation.method.clone(), &operation.example_path());
        let request = request.basic_auth("acme/guessed", Some("a guess"));
        match operation.takes() {
            Some(media) if media != "application/json" => {
                request.header(CONTENT_TYPE, media).body("grant_type=client_credentials")
            }
            _ => request,
        }
    };
    let takes_one = |one: &Operation<'_>| one.takes_a("client");
    for operation in session.document.operations().filter(takes_one) {
        loop {
            let guesses = (0..10).map(|_| session.send(guess(&operation)));
            let replies = futures_util::future::join_all(guesses).await;
            if replies.iter().any(|reply| reply.status == 429) {
                break;
            }
            assert!(replies.iter().all(|reply| reply.status == 401), "{}", operation.id());
        }
    }
}

/// 415 for another media type, 413 for a body that is too long.
pub async fn of_odd_bodies(session: &Session) {
    for operation in session.document.operations() {
        let Some(media) = operation.takes() else { continue };
        let request = |media: &str, body: Vec<u8>| {
            let request = session.ask(operation.method.clone(), &operation.example_path());
            request.header(CONTENT_TYPE, media).body(body)
        };
        session.expect(415, request("text/plain", b"{}".to_vec())).await;
        let most = match operation.id() {
            // A batch of the deny list may be in it.
            "acknowledge" => 2 << 20,
            "reportUsage" => 1 << 20,
            _ => 64 << 10,
        };
        session.expect(413, request(media, vec![b' '; most + 1])).await;
    }
}

/// Each query parameter is taken as it is documented, and no other is.
pub async fn of_odd_queries(session: &Session) {
    for operation in session.document.operations() {
        let parameters = operation.parameters("query");
        if parameters.is_empty() {
            continue;
        }
        let path = operation.example_path();
        let query = |name: &str, value: &str| {
            let join = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{join}{}", form(&[(name, value)]));
            session.ask(operation.method.clone(), &path)
        };
        let refused = session.expect(400, query("limt", "1")).await.json();
        assert!(refused["detail"].as_str().is_some_and(|why| why.contains("limt")), "{refused}");

        // Lists have these in common; what else has a query is asked elsewhere.
        if !parameters.iter().any(|one| one["name"] == "limit") {
            continue;
        }
        for parameter in parameters.iter().filter(|one| one["name"] != "after") {
            session
                .expect(200, query(&text(&parameter["name"]), &text(&parameter["example"])))
                .await;
        }
        session.expect(400, query("limit", "0")).await;
        let first = session.expect(200, query("limit", "1")).await.json();
        let next = first["next"].as_str().unwrap_or_else(|| panic!("{path} has a second page"));
        let second = session.expect(200, query("after", next)).await.json();
        assert_ne!(first["items"][0], second["items"][0], "{path}");
    }
}
