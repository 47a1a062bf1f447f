//! Who is believed to be whom.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Client, Reply, form, terms};
use super::raw;
use crate::harness::service::Installation;
use crate::harness::until::until;
use crate::harness::vault::DevVault;
use crate::vault::proxy::{Mode, Proxy};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use scrip::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn n40_one_way_of_authenticating_is_taken() {
    let api = Api::start().await;
    let client = api.billing().await;
    let Client { id, secret } = &client;
    let grant = ("grant_type", "client_credentials");
    let post = || api.request(Method::POST, "/oauth2/token");
    let in_body = [grant, ("client_id", id.as_str()), ("client_secret", secret.as_str())];

    assert_eq!(Reply::to(form(post(), &in_body)).await.status, StatusCode::OK);
    let named_twice = form(post().basic_auth(id, Some(secret)), &[grant, ("client_id", id)]);
    assert_eq!(Reply::to(named_twice).await.status, StatusCode::OK);

    for both in [
        form(post().basic_auth(id, Some(secret)), &in_body),
        form(post().bearer_auth(&api.bearer), &in_body),
        form(post().basic_auth(id, Some(secret)), &[grant, ("client_id", "acme/other")]),
        form(post().basic_auth(id, Some(secret)), &[grant, ("client_assertion", "x.y.z")]),
    ] {
        Reply::to(both).await.refused(400, "invalid_request");
    }
    for none in [
        form(post(), &[grant]),
        form(post(), &[grant, ("client_id", id)]),
        form(post(), &[grant, ("client_secret", secret)]),
        form(post(), &[grant, ("client_assertion", "x.y.z")]),
        form(post().bearer_auth(secret), &[grant]),
        form(post().header("authorization", ""), &[grant]),
        form(post().header("authorization", "Basic"), &[grant]),
        form(post().header("authorization", "Basic !"), &[grant]),
        form(post().header("authorization", "Digest username=x"), &[grant]),
        form(post().basic_auth(id, Some(secret)).basic_auth(id, Some(secret)), &[grant]),
    ] {
        let refused = Reply::to(none).await;
        refused.refused(401, "invalid_client");
        assert!(refused.header("www-authenticate").starts_with("Basic "), "{refused:?}");
    }
}

#[tokio::test]
async fn n41_all_failures_look_the_same_and_take_as_long() {
    let api = Api::start().await;
    let client = api.billing().await;
    let off = api.client_under("acme/off", "acme/billing").await;
    let change = json!({"enabled": false});
    let changed = api.write(Method::PATCH, "/v1/clients/acme/off", &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");

    let other = api.client_under("acme/other", "acme/billing").await.secret;
    let mut first = client.secret.clone().into_bytes();
    first[0] ^= 1;
    let mut last = client.secret.clone().into_bytes();
    *last.last_mut().unwrap() ^= 1;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let mut bodies = Vec::new();
    for (id, secret) in [
        (client.id.as_str(), text(first)),
        (client.id.as_str(), text(last)),
        (client.id.as_str(), other.clone()),
        (client.id.as_str(), String::new()),
        ("acme/unknown", other),
        ("not a name", client.secret.clone()),
        ("acme/off", off.secret),
    ] {
        let claimed = Client { id: id.to_owned(), secret };
        let sent = clock::monotonic();
        let refused = api.mint(&claimed, &[]).await;
        assert!(sent.elapsed() >= Duration::from_millis(250), "{id}");
        refused.refused(401, "invalid_client");
        let mut body = refused.json();
        body["request_id"] = Value::Null;
        bodies.push((refused.header("www-authenticate").to_owned(), body));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

/// A service whose Vault can be made slow, with one client of each kind: in Vault, disabled there, with
/// a digest, disabled, and one that there is not.
async fn of_each_kind() -> (Api, DevVault, Proxy, [Client; 5]) {
    let vault = DevVault::start().await;
    let proxy = Proxy::start(&vault.admin.address).await;
    let installation = Installation::on_sqlite().with_vault(&vault.admin).await;
    let api = Api::on(installation.set("SCRIP_VAULT_ADDR", &proxy.address)).await;
    api.billing().await;
    for (id, source) in [("vaulted", "vault"), ("vaulted-off", "vault"), ("off", "embedded")] {
        let body = json!({"id": format!("acme/{id}"), "policy": "acme/billing", "source": source});
        let made = api.write(Method::POST, "/v1/clients", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    }
    for id in ["vaulted-off", "off"] {
        let change = json!({"enabled": false});
        let changed = api.write(Method::PATCH, &format!("/v1/clients/acme/{id}"), &change).await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    }
    let kinds = ["vaulted", "vaulted-off", "billing", "off", "nobody"];
    let guess = |id| Client { id: format!("acme/{id}"), secret: "w".repeat(40) };
    (api, vault, proxy, kinds.map(guess))
}

/// The head of a mint that presents this credential, and its body.
fn mint_by_parts(client: &Client) -> (String, &'static str) {
    let body = "grant_type=client_credentials";
    let id: String = form_urlencoded::byte_serialize(client.id.as_bytes()).collect();
    let basic = BASE64_STANDARD.encode(format!("{id}:{}", client.secret));
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n\
         Content-Type: {FORM}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head, body)
}

#[tokio::test]
async fn n41_whoever_sends_the_body_late_learns_no_more() {
    let (api, _vault, _proxy, clients) = of_each_kind().await;
    let answer = async |client: &Client| {
        let (head, body) = mint_by_parts(client);
        let mut stream = raw::connect(&api).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // As long as failures are held back, and longer.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let sent = clock::monotonic();
        stream.write_all(body.as_bytes()).await.unwrap();
        let status = raw::status(&raw::rest(&mut stream).await);
        assert!(sent.elapsed() >= Duration::from_millis(250), "{}", client.id);
        status
    };
    // Where Vault itself is late, on a busy machine, it is so for all of them.
    until("none of them is told from the others", Duration::from_secs(10), async || {
        let answered = join_all(clients.iter().map(&answer)).await;
        (answered == [401; 5]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn n41_a_slow_vault_tells_nobody_whom_it_keeps_and_lets_nobody_guess() {
    let (api, _vault, proxy, clients) = of_each_kind().await;
    proxy.switch(Mode::Slow(Duration::from_millis(600)));
    for client in &clients {
        let sent = clock::monotonic();
        let refused = api.mint(client, &[]).await;
        refused.refused(503, "temporarily_unavailable");
        assert!(sent.elapsed() >= Duration::from_millis(250), "{}", client.id);
    }
    for client in &clients {
        let tried = join_all((0..24).map(|_| api.mint(client, &[]))).await;
        let refused = tried.iter().filter(|reply| reply.status == 429).count();
        // Of 25, with the one before; what was earned meanwhile on a busy machine.
        assert!((3..=5).contains(&refused), "{refused}: {}", client.id);
    }
}

#[tokio::test]
async fn n41_requests_that_are_under_way_together_guess_no_oftener() {
    let api = Api::start().await;
    let client = api.billing().await;
    let guess = Client { id: client.id.clone(), secret: "a guess".to_owned() };
    let tried = join_all((0..60).map(|_| api.mint(&guess, &[]))).await;
    let tried = tried.iter().filter(|reply| reply.status == StatusCode::UNAUTHORIZED).count();
    assert_eq!(tried, 20);
    // Whoever has the secret may ask as often at once as it likes.
    let operator = join_all((0..60).map(|_| api.mint(&api.operator, &[]))).await;
    assert!(operator.iter().all(|reply| reply.status == StatusCode::OK));
}

#[tokio::test]
async fn n41_whoever_hangs_up_is_in_the_audit_log_all_the_same() {
    let api = Api::start().await;
    api.billing().await;
    let guess = Client { id: "acme/billing".to_owned(), secret: "w".repeat(40) };
    let left = (0..10).map(async |_| {
        let (head, body) = mint_by_parts(&guess);
        let mut stream = raw::connect(&api).await;
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let answer = stream.read_u8();
        assert!(tokio::time::timeout(Duration::from_millis(150), answer).await.is_err());
    });
    join_all(left).await;
    let unproved = "SELECT count(*) FROM audit WHERE action = 'mint' AND outcome = 'unproved'";
    until("ten guesses are on record", Duration::from_secs(10), async || {
        (api.number(unproved).await == 10).then_some(())
    })
    .await;
}

#[tokio::test]
async fn n43_names_outside_the_grammar_are_unknown_clients() {
    let api = Api::start().await;
    let secret = api.billing().await.secret;
    let long = "a".repeat(300);
    let names = [
        "Admin",
        "admin ",
        "acme/Billing",
        "acme/billing ",
        "acme/billing/",
        "/acme/billing",
        "a/../admin",
        "..",
        "%2e%2e",
        "a%2fb",
        "acme",
        "",
        "acme/bill\u{131}ng",
        "undefined",
        "null",
        "acme/\u{202e}x",
        "acme/x\r\ny",
        "acme/x\0",
        "'; DROP TABLE clients; --",
        &long,
    ];
    let refused = names.map(|id| {
        let body =
            [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", &secret)];
        Reply::to(form(api.request(Method::POST, "/oauth2/token"), &body))
    });
    for refused in futures_util::future::join_all(refused).await {
        refused.refused(401, "invalid_client");
    }

    for path in ["/v1/clients/Acme/billing", "/v1/clients/acme/a%2fb", "/v1/clients/acme/x%00"] {
        api.read(path).await.problem(400, "invalid-request");
    }
    for id in ["Admin", "acme/billing/x", "acme/..", "", "acme/"] {
        let body = json!({"id": id, "policy": "acme/billing"});
        api.write(Method::POST, "/v1/clients", &body).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn n71_only_tokens_made_for_this_api_open_it() {
    let api = Api::start().await;
    let client = api.billing().await;
    let jwt = api.token(&client).await.jwt;
    let terms = json!({"audiences": ["self"], "scopes": ["scrip:tokens"], "env": "scrip"});
    let reader = api.client("acme/reader", terms).await;
    let narrow = api.token(&reader).await.jwt;
    let get = |path: &'static str, jwt: &str| {
        Reply::to(api.request(Method::GET, path).header("authorization", format!("Bearer {jwt}")))
    };

    let cut = &api.bearer[..api.bearer.len() - 4];
    let twice = format!("Bearer {}", api.bearer);
    for refused in [jwt.as_str(), cut, "", "x", &twice, &client.secret] {
        let reply = get("/v1/clients", refused).await;
        reply.problem(401, "invalid-token");
        let challenge = r#"Bearer realm="scrip", error="invalid_token""#;
        assert_eq!(reply.header("www-authenticate"), challenge);
    }
    assert_eq!(get("/v1/tokens", &narrow).await.status, StatusCode::OK);
    for path in ["/v1/clients", "/v1/policies", "/v1/keys", "/v1/audit", "/v1/revocations"] {
        let reply = get(path, &narrow).await;
        let why = reply.problem(403, "insufficient-scope");
        assert!(why.contains("`scrip:"), "{why}");
        assert!(reply.header("www-authenticate").contains("insufficient_scope"));
    }

    // A master credential opens what must work while nothing can be minted, and nothing else.
    let basic = |path: &'static str, client: &Client| {
        let request = api.request(Method::GET, path);
        Reply::to(request.basic_auth(&client.id, Some(&client.secret)))
    };
    for path in ["/v1/revocations", "/v1/keys", "/v1/deny/snapshot"] {
        assert_eq!(basic(path, &api.operator).await.status, StatusCode::OK);
        basic(path, &client).await.problem(403, "insufficient-scope");
        let wrong = Client { id: client.id.clone(), secret: api.operator.secret.clone() };
        basic(path, &wrong).await.problem(401, "invalid-client");
    }
    for path in ["/v1/clients", "/v1/policies", "/v1/tokens", "/v1/audit"] {
        basic(path, &api.operator).await.problem(401, "invalid-token");
    }
}

#[tokio::test]
async fn n71_an_operators_token_dies_with_its_revocation_and_its_client() {
    let api = Api::start().await;
    let terms = json!({"audiences": ["self"], "scopes": ["scrip:tokens"], "env": "scrip"});
    let reader = api.client("acme/reader", terms).await;
    let open = async |jwt: &str| {
        Reply::to(api.request(Method::GET, "/v1/tokens").bearer_auth(jwt)).await.status.as_u16()
    };
    let (one, two) = (api.token(&reader).await, api.token(&reader).await);
    assert_eq!(api.revoke(json!({"jti": one.jti})).await.status, StatusCode::CREATED);
    assert_eq!((open(&one.jwt).await, open(&two.jwt).await), (401, 200));
    let gone = api.request(Method::DELETE, "/v1/clients/acme/reader").bearer_auth(&api.bearer);
    assert_eq!(Reply::to(gone).await.status, StatusCode::NO_CONTENT);
    assert_eq!(open(&two.jwt).await, 401);
}

#[tokio::test]
async fn a_credential_opens_the_api_from_where_a_token_would() {
    let trusting = Installation::on_sqlite().set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8");
    let api = Api::on(trusting).await;
    for networks in ["mint_from", "cidrs"] {
        let mut terms = json!({
            "audiences": ["self"], "scopes": ["scrip:revoke"], "env": "scrip",
        });
        terms[networks] = json!(["10.20.30.0/24"]);
        let operator = api.client(&format!("ops/{}", networks.replace('_', "-")), terms).await;
        let from = |address: &str| {
            let request = api.request(Method::GET, "/v1/revocations");
            let request = request.basic_auth(&operator.id, Some(&operator.secret));
            Reply::to(request.header("x-forwarded-for", address))
        };
        assert_eq!(from("10.20.30.7").await.status, StatusCode::OK, "{networks}");
        from("10.20.31.7").await.problem(403, "wrong-network");
    }
}

#[tokio::test]
async fn n151_what_looks_like_sql_is_a_wrong_credential() {
    let api = Api::start().await;
    api.billing().await;
    for hostile in
        ["' OR '1'='1", "x'; DROP TABLE clients; --", "Basic ' OR '1'='1", "Bearer ' OR 1=1"]
    {
        let post = api.request(Method::POST, "/oauth2/token").header("authorization", hostile);
        let refused = Reply::to(form(post, &[("grant_type", "client_credentials")])).await;
        refused.refused(401, "invalid_client");
        let get = api.request(Method::GET, "/v1/clients").header("authorization", hostile);
        Reply::to(get).await.problem(401, "invalid-token");
    }
    for (id, secret) in
        [("' OR '1'='1", "x"), ("acme/billing", "' OR '1'='1"), ("acme/billing", "x\0y")]
    {
        let claimed = Client { id: id.to_owned(), secret: secret.to_owned() };
        api.mint(&claimed, &[]).await.refused(401, "invalid_client");
    }
    let nul = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic a\0b\r\nContent-Type: {FORM}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw::status(&raw::exchange(&api, nul.as_bytes()).await), 400);
    assert_eq!(api.read("/v1/clients/acme/billing").await.status, StatusCode::OK);
}

#[tokio::test]
async fn n137_a_trusted_proxy_that_says_nonsense_is_refused() {
    let api = Api::on(Installation::on_sqlite().set("SCRIP_TRUSTED_PROXIES", "127.0.0.0/8")).await;
    let client = api.client("acme/billing", terms()).await;
    let request = api.mint_request(&client, &[]).header("x-forwarded-for", "somebody");
    Reply::to(request).await.problem(400, "invalid-request");
    let request = api.request(Method::GET, "/.well-known/jwks.json");
    let published = Reply::to(request.header("x-forwarded-for", "somebody")).await;
    assert_eq!(
        published.status,
        StatusCode::OK,
        "what everybody may read is not kept from anybody"
    );
}
