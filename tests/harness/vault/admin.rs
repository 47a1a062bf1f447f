use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// What an administrator does to a Vault: its HTTP API with a root token.
pub struct Admin {
    /// `http://127.0.0.1:<port>`.
    pub address: String,
    pub token: String,
    http: reqwest::Client,
}

/// What a workload logs in with.
pub struct AppRole {
    pub role_id: String,
    pub secret_id: String,
}

impl Admin {
    pub fn new(port: u16, token: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("a client without certificates");
        Self { address: format!("http://127.0.0.1:{port}"), token: token.to_owned(), http }
    }

    /// The status of `sys/health`, if anybody answers.
    pub async fn health(&self) -> Option<u16> {
        let reply = self.http.get(format!("{}/v1/sys/health", self.address)).send().await.ok()?;
        Some(reply.status().as_u16())
    }

    /// Writes the next version of `secret/<path>` with this `secret`; returns its number.
    pub async fn put_secret(&self, path: &str, secret: &str) -> u64 {
        let reply =
            self.post(&format!("secret/data/{path}"), json!({"data": {"secret": secret}})).await;
        reply["data"]["version"].as_u64().expect("KV v2 numbers its versions")
    }

    /// The field `secret` of one version, if that can still be read.
    pub async fn secret(&self, path: &str, version: u64) -> Option<String> {
        let (status, reply) =
            self.send(Method::GET, &format!("secret/data/{path}?version={version}"), None).await;
        (status == 200)
            .then(|| reply["data"]["data"]["secret"].as_str().expect("a text").to_owned())
    }

    pub async fn delete_version(&self, path: &str, version: u64) {
        self.post(&format!("secret/delete/{path}"), json!({"versions": [version]})).await;
    }

    pub async fn undelete_version(&self, path: &str, version: u64) {
        self.post(&format!("secret/undelete/{path}"), json!({"versions": [version]})).await;
    }

    pub async fn destroy_version(&self, path: &str, version: u64) {
        self.post(&format!("secret/destroy/{path}"), json!({"versions": [version]})).await;
    }

    pub async fn put_policy(&self, name: &str, hcl: &str) {
        self.post(&format!("sys/policies/acl/{name}"), json!({"policy": hcl})).await;
    }

    /// This Vault, as seen with a new token of these policies.
    pub async fn with_policies(&self, policies: &[&str]) -> Self {
        let reply = self.post("auth/token/create", json!({"policies": policies})).await;
        let token = reply["auth"]["client_token"].as_str().expect("a token").to_owned();
        Self { address: self.address.clone(), token, http: self.http.clone() }
    }

    /// Mounts the AppRole method; `settings` are its role's, such as `token_policies`, `token_ttl`.
    pub async fn enable_approle(&self, role: &str, settings: Value) -> AppRole {
        self.post("sys/auth/approle", json!({"type": "approle"})).await;
        self.post(&format!("auth/approle/role/{role}"), settings).await;
        let role_id = self.get(&format!("auth/approle/role/{role}/role-id")).await;
        let secret_id = self.post(&format!("auth/approle/role/{role}/secret-id"), json!({})).await;
        let text = |value: &Value| value.as_str().expect("Vault's own reply").to_owned();
        AppRole {
            role_id: text(&role_id["data"]["role_id"]),
            secret_id: text(&secret_id["data"]["secret_id"]),
        }
    }

    /// Mounts the JWT method at `kubernetes`, whose request it shares; tokens are checked with `public_key` (PEM).
    pub async fn enable_kubernetes(&self, public_key: &str, role: &str, settings: Value) {
        self.post("sys/auth/kubernetes", json!({"type": "jwt"})).await;
        self.post("auth/kubernetes/config", json!({"jwt_validation_pubkeys": [public_key]})).await;
        self.post(&format!("auth/kubernetes/role/{role}"), settings).await;
    }

    pub async fn get(&self, path: &str) -> Value {
        self.done(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.done(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.done(Method::PUT, path, Some(body)).await
    }

    /// Status and body of one request; `null` for an empty body.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}/v1/{path}", self.address));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply =
            request.header("X-Vault-Token", &self.token).send().await.expect("Vault answers");
        (reply.status().as_u16(), reply.json().await.unwrap_or_default())
    }

    async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, reply) = self.send(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {reply}");
        reply
    }
}
