use super::api::form;
use super::cli::Cli;
use super::service::Installation;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the service may take for any answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service's HTTP API, for what no command does.
#[derive(Clone)]
pub struct Http {
    http: Client,
    url: String,
    ops_url: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `null` where it is not JSON.
    pub body: Value,
}

impl Http {
    pub fn new(installation: &Installation) -> Self {
        let http = Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            // The service closes idle connections after 10 s; nobody shall be about to use one then.
            .pool_idle_timeout(Duration::from_secs(5))
            .build()
            .expect("a client without certificates");
        Self { http, url: installation.url(), ops_url: installation.ops_url() }
    }

    /// `POST /oauth2/token`; an error where no answer came.
    pub async fn mint(
        &self,
        client: &Cli,
        wishes: &[(&str, &str)],
        idempotency_key: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let wishes = [&[("grant_type", "client_credentials")], wishes].concat();
        let mut request = self.form("/oauth2/token", &wishes);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        send(request.basic_auth(&client.id, Some(&client.secret))).await
    }

    /// `POST /v1/revocations`; an error where no answer came.
    pub async fn revoke(&self, operator: &Cli, selector: Value) -> reqwest::Result<Answer> {
        self.revoke_and_wait(operator, selector, 0, None).await
    }

    /// The same, answered when all verifiers enforce it, or after so many seconds.
    pub async fn revoke_and_wait(
        &self,
        operator: &Cli,
        selector: Value,
        wait: u32,
        idempotency_key: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let body = json!({"selector": selector, "reason": "test", "wait": wait});
        let mut request = self.http.post(format!("{}/v1/revocations", self.url)).json(&body);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        send(request.basic_auth(&operator.id, Some(&operator.secret))).await
    }

    /// `POST /oauth2/revoke` (RFC 7009).
    pub async fn give_up(&self, client: &Cli, token: &str) -> Answer {
        let request = self.form("/oauth2/revoke", &[("token", token)]);
        answered(request.basic_auth(&client.id, Some(&client.secret))).await
    }

    /// `POST /v1/deny/acks`.
    pub async fn acknowledge(&self, client: &Cli, ack: &Value) -> Answer {
        let request = self.http.post(format!("{}/v1/deny/acks", self.url)).json(ack);
        answered(request.basic_auth(&client.id, Some(&client.secret))).await
    }

    /// `GET` without a credential.
    pub async fn published(&self, path: &str) -> Answer {
        answered(self.http.get(format!("{}{path}", self.url))).await
    }

    /// `GET` with the credential of a client.
    pub async fn read(&self, client: &Cli, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        answered(request.basic_auth(&client.id, Some(&client.secret))).await
    }

    /// `GET` with an operator's token.
    pub async fn read_with(&self, token: &str, path: &str) -> Answer {
        answered(self.http.get(format!("{}{path}", self.url)).bearer_auth(token)).await
    }

    /// `GET /readyz` of the operations listener.
    pub async fn readiness(&self) -> Answer {
        answered(self.http.get(format!("{}/readyz", self.ops_url))).await
    }

    /// A metric without labels, of the operations listener; 0 before it was first counted.
    pub async fn metric(&self, name: &str) -> f64 {
        let asked = self.http.get(format!("{}/metrics", self.ops_url)).send().await;
        let text = asked.expect("the service answers").text().await.expect("it is text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn form(&self, path: &str, pairs: &[(&str, &str)]) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.url)).body(form(pairs));
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
    }
}

async fn answered(request: RequestBuilder) -> Answer {
    send(request).await.expect("the service answers")
}

async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let reply = request.send().await?;
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    let body = serde_json::from_slice(&reply.bytes().await?).unwrap_or_default();
    Ok(Answer { status, headers, body })
}
