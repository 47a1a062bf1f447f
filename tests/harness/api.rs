use super::service::{Installation, Operator};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// The API of a running service, as its operator sees it.
pub struct Api {
    pub http: Client,
    pub url: String,
    pub operator: Operator,
}

impl Api {
    pub fn new(installation: &Installation, operator: Operator) -> Self {
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10))
            .build()
            .expect("a client without certificates");
        Self { http, url: installation.url(), operator }
    }

    /// An operator's token with these scopes, as the value of an `Authorization` header.
    pub async fn bearer(&self, scope: &str) -> String {
        let request = self
            .http
            .post(format!("{}/oauth2/token", self.url))
            .basic_auth(&self.operator.id, Some(&self.operator.secret))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(&[
                ("grant_type", "client_credentials"),
                ("audience", "self"),
                ("scope", scope),
            ]));
        let minted = reply(request).await;
        format!("Bearer {}", minted["access_token"].as_str().expect("a token"))
    }

    /// Registers an embedded client under a policy of the same name; returns its secret.
    pub async fn client(&self, id: &str, mut policy: Value) -> String {
        let bearer = self.bearer("scrip:policies scrip:clients").await;
        policy["name"] = json!(id);
        let put = self.http.put(format!("{}/v1/policies/{id}", self.url)).json(&policy);
        reply(put.header(AUTHORIZATION, &bearer)).await;
        let client = json!({"id": id, "policy": id, "source": "embedded"});
        let post = self.http.post(format!("{}/v1/clients", self.url)).json(&client);
        let client = reply(post.header(AUTHORIZATION, &bearer)).await;
        client["secret"].as_str().expect("shown this once").to_owned()
    }

    /// Gives a client another secret, and returns it; the one before stays good for its overlap.
    pub async fn rotate(&self, id: &str) -> String {
        let bearer = self.bearer("scrip:clients").await;
        let post = self.http.post(format!("{}/v1/clients/{id}/rotate", self.url)).json(&json!({}));
        let client = reply(post.header(AUTHORIZATION, bearer)).await;
        client["secret"].as_str().expect("shown this once").to_owned()
    }
}

/// A body of type `application/x-www-form-urlencoded`.
pub fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// The body of a reply that must be a success.
async fn reply(request: RequestBuilder) -> Value {
    let reply = request.send().await.expect("the service answers");
    let status = reply.status();
    let body = reply.text().await.expect("a whole body");
    assert!(matches!(status, StatusCode::OK | StatusCode::CREATED), "{status}: {body}");
    serde_json::from_str(&body).expect("JSON")
}
