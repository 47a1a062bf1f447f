//! Secrets, recognisable, sent wherever a request can carry them, and looked for in all that is said.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;

use super::api::{Api, Client, Reply, form, run, terms};
use crate::harness::service::Installation;
use crate::harness::vault::DevVault;

const FOREIGN: &str = "canary-of-a-secret-that-the-team-chose-0123456789";

#[tokio::test]
async fn n134_no_secret_is_ever_said() {
    let vault = DevVault::start().await;
    let installation = Installation::on_sqlite()
        .set("SCRIP_LOG", "trace")
        .set("SCRIP_KEY_LEAD", "0")
        .set("SCRIP_VAULT_ADDR", &vault.admin.address)
        .set("SCRIP_VAULT_TOKEN", &vault.admin.token);
    let api = Api::on(installation).await;
    let embedded = json!({"id": "acme/embedded", "policy": "acme/billing", "source": "embedded"});
    let mut policy = terms();
    policy["name"] = json!("acme/billing");
    api.write(Method::PUT, "/v1/policies/acme/billing", &policy).await;
    let embedded = api.write(Method::POST, "/v1/clients", &embedded).await.text("secret");
    let embedded = Client { id: "acme/embedded".to_owned(), secret: embedded };
    vault.admin.put_secret("scrip/acme/billing", FOREIGN).await;
    let adopted = json!({"id": "acme/billing", "policy": "acme/billing"});
    api.write(Method::POST, "/v1/clients", &adopted).await;
    let adopted = Client { id: "acme/billing".to_owned(), secret: FOREIGN.to_owned() };

    let mut jwts = vec![api.bearer.clone()];
    for client in [&embedded, &adopted] {
        jwts.push(api.token(client).await.jwt);
        let body = [
            ("grant_type", "client_credentials"),
            ("client_id", client.id.as_str()),
            ("client_secret", client.secret.as_str()),
        ];
        let posted = Reply::to(form(api.request(Method::POST, "/oauth2/token"), &body)).await;
        jwts.push(posted.text("access_token"));
    }
    let rotated = json!({"show_secret": true});
    let rotated = api.write(Method::POST, "/v1/clients/acme/billing/rotate", &rotated).await;
    let rotated = Client { secret: rotated.text("secret"), ..adopted.clone() };
    jwts.push(api.token(&rotated).await.jwt);
    api.write(Method::POST, "/v1/keys/ES256/rotate", &json!({})).await;
    jwts.push(api.token(&embedded).await.jwt);

    // Where they do not belong: in errors, in headers that are not read, in bodies that are not understood. Of
    // a secret that a team chose itself, nobody could tell that it is none of the names that errors repeat.
    for misplaced in
        ["scope", "audience", "resource", "models", "ttl", "client_assertion", &embedded.secret]
    {
        api.mint(&embedded, &[(misplaced, &embedded.secret)]).await;
        api.mint(&embedded, &[(misplaced, &format!("x:{}", embedded.secret))]).await;
    }
    let details = json!([{"type": "llm_inference", &embedded.secret: 1}]).to_string();
    api.mint(&embedded, &[("authorization_details", &details)]).await;
    let body = json!({"id": "acme/x", "policy": "acme/billing", &embedded.secret: 1});
    api.write(Method::POST, "/v1/clients", &body).await;
    for client in [&embedded, &adopted] {
        let other = Client { id: "acme/unknown".to_owned(), secret: client.secret.clone() };
        api.mint(&other, &[]).await;
        api.mint(&Client { id: client.secret.clone(), secret: client.secret.clone() }, &[]).await;
        let odd = api.request(Method::GET, "/v1/keys").bearer_auth(&client.secret);
        Reply::to(odd.header("cookie", &client.secret).header("user-agent", &client.secret)).await;
        let body = json!({"selector": {"jti": client.secret}, "reason": client.secret});
        api.write(Method::POST, "/v1/revocations", &body).await;
        let body = json!({"id": "acme/x", "policy": client.secret, "secret": client.secret});
        api.write(Method::POST, "/v1/clients", &body).await;
        api.get(&format!("/v1/{}?secret={}", client.secret, client.secret)).await;
    }
    for jwt in &jwts {
        api.form("/oauth2/introspect", &embedded, &[("token", jwt)]).await;
        api.form("/oauth2/revoke", &embedded, &[("token", jwt)]).await;
        api.mint(&embedded, &[("scope", jwt)]).await;
        Reply::to(api.request(Method::GET, "/v1/clients").bearer_auth(format!("{jwt}x"))).await;
    }
    api.sql("CREATE TRIGGER refuses BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    api.mint(&embedded, &[]).await.refused(503, "temporarily_unavailable");
    let audit = api.read("/v1/audit?limit=200").await.body;
    let metrics = format!("{}/metrics", api.installation.ops_url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = Reply::to(http.get(metrics)).await.body;

    let Api { installation, mut service, operator, .. } = api;
    service.process.signal(crate::harness::process::Signal::Terminate);
    assert!(service.process.exit().await.success());
    let (_, bootstrapped) = run(&installation, &["bootstrap"]).await;
    let said =
        [service.process.stdout(), service.process.stderr(), audit, metrics, bootstrapped].concat();
    assert!(
        said.contains("DEBUG") && said.contains("sqlx::query") && said.contains("/oauth2/token"),
        "the log is complete"
    );

    let mut secrets = vec![operator.secret.clone(), vault.admin.token.clone()];
    secrets.extend([&embedded, &adopted, &rotated].map(|client| client.secret.clone()));
    let basic = |client: &Client| STANDARD.encode(format!("{}:{}", client.id, client.secret));
    secrets.extend([&operator, &embedded, &adopted, &rotated].map(basic));
    // A token's signature is what makes it one; all three parts are in none of these logs anyway.
    secrets.extend(jwts.iter().map(|jwt| jwt.rsplit('.').next().unwrap().to_owned()));
    for file in fs::read_dir(installation.folder.path().join("keys")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with("-----"));
            secrets.push(lines.clone().collect());
            secrets.extend(lines.filter(|line| line.len() >= 40).map(str::to_owned));
        }
    }
    for secret in secrets {
        let line = said.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}
