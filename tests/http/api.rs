//! A running service, its operator, and a client of HTTP.

use std::collections::HashSet;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::harness::service::{Installation, Operator, Service};
use crate::harness::{self, process::Process};

/// A client's id and master credential.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

/// A service of its own for one test.
pub struct Api {
    pub installation: Installation,
    pub service: Service,
    /// May do everything but follow the deny list.
    pub operator: Client,
    /// The operator's access token.
    pub bearer: String,
    pub http: reqwest::Client,
}

impl Api {
    /// On a new SQLite file.
    pub async fn start() -> Self {
        Self::on(Installation::on_sqlite()).await
    }

    /// On an installation that nobody has bootstrapped.
    pub async fn on(installation: Installation) -> Self {
        let Operator { id, secret } = installation.bootstrap().await;
        Self::over(installation, Client { id, secret }).await
    }

    /// On an installation that has been bootstrapped.
    pub async fn over(installation: Installation, operator: Client) -> Self {
        let service = installation.serve().await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client without certificates");
        let mut api = Self { installation, service, operator, bearer: String::new(), http };
        api.bearer = api.mint(&api.operator, &[]).await.text("access_token");
        api
    }

    /// Ends the service by `kill -9` and starts it again on what it left behind.
    pub async fn crash(self) -> Self {
        drop(self.service);
        Self::over(self.installation, self.operator).await
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.installation.url()))
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::GET, path)).await
    }

    /// `GET` with the operator's token.
    pub async fn read(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::GET, path).bearer_auth(&self.bearer)).await
    }

    /// A JSON body with the operator's token.
    pub async fn write(&self, method: Method, path: &str, body: &Value) -> Reply {
        Reply::to(self.request(method, path).bearer_auth(&self.bearer).json(body)).await
    }

    /// A form with the client's credential in Basic.
    pub async fn form(&self, path: &str, client: &Client, parameters: &[(&str, &str)]) -> Reply {
        let request = self.request(Method::POST, path).basic_auth(&client.id, Some(&client.secret));
        Reply::to(form(request, parameters)).await
    }

    pub async fn mint(&self, client: &Client, parameters: &[(&str, &str)]) -> Reply {
        Reply::to(self.mint_request(client, parameters)).await
    }

    pub fn mint_request(&self, client: &Client, parameters: &[(&str, &str)]) -> RequestBuilder {
        let request = self.request(Method::POST, "/oauth2/token");
        let request = request.basic_auth(&client.id, Some(&client.secret));
        form(request, &[&[("grant_type", "client_credentials")], parameters].concat())
    }

    /// A token for `client`, with the policy's defaults.
    pub async fn token(&self, client: &Client) -> Token {
        let reply = self.mint(client, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        Token { jwt: reply.text("access_token"), jti: reply.text("jti") }
    }

    /// By the operator's master credential, as the security team does.
    pub async fn revoke(&self, selector: Value) -> Reply {
        let request = self.request(Method::POST, "/v1/revocations");
        let request = request.basic_auth(&self.operator.id, Some(&self.operator.secret));
        Reply::to(request.json(&json!({"selector": selector, "reason": "leaked"}))).await
    }

    /// Whether the service itself still takes the token, asked by its holder.
    pub async fn is_active(&self, holder: &Client, jwt: &str) -> bool {
        let reply = self.form("/oauth2/introspect", holder, &[("token", jwt)]).await;
        reply.json()["active"].as_bool().unwrap_or_else(|| panic!("{reply:?}"))
    }

    /// A client with a policy of the same name. `terms` are the policy's members beside the name.
    pub async fn client(&self, id: &str, mut terms: Value) -> Client {
        terms["name"] = json!(id);
        let applied = self.write(Method::PUT, &format!("/v1/policies/{id}"), &terms).await;
        assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
        self.client_under(id, id).await
    }

    /// A client with a policy that there is.
    pub async fn client_under(&self, id: &str, policy: &str) -> Client {
        let body = json!({"id": id, "policy": policy, "source": "embedded"});
        let made = self.write(Method::POST, "/v1/clients", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        Client { id: id.to_owned(), secret: made.text("secret") }
    }

    /// `acme/billing`, who may do what [`terms`] grants.
    pub async fn billing(&self) -> Client {
        self.client("acme/billing", terms()).await
    }

    /// A verifier of `llm-gateway`.
    pub async fn verifier(&self) -> Client {
        self.follower("acme/gateway").await
    }

    /// A client that may follow the deny list.
    pub async fn follower(&self, id: &str) -> Client {
        let terms = json!({
            "audiences": ["self"], "scopes": ["scrip:feed"], "serves": ["llm-gateway"], "env": "scrip",
        });
        self.client(id, terms).await
    }

    /// Statements straight into the SQLite file, past the service.
    pub async fn sql(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.database().await).await.unwrap();
    }

    /// One number straight from the SQLite file.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.database().await).await.unwrap()
    }

    async fn database(&self) -> SqliteConnection {
        let path = self.installation.folder.path().join("scrip.db");
        SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap()
    }

    /// What the token says, after jsonwebtoken has verified it with the published keys.
    pub async fn verified(&self, jwt: &str, audience: &str) -> (jsonwebtoken::Header, Value) {
        let keys: JwkSet = serde_json::from_value(self.get("/.well-known/jwks.json").await.json())
            .expect("jsonwebtoken reads the JWKS");
        let header = jsonwebtoken::decode_header(jwt).expect("a JWS");
        let key = keys.find(header.kid.as_deref().expect("a kid")).expect("the kid is published");
        let mut expected = Validation::new(header.alg);
        expected.set_audience(&[audience]);
        expected.set_issuer(&[self.installation.url()]);
        expected.required_spec_claims =
            HashSet::from(["exp", "nbf", "aud", "iss", "sub"].map(str::to_owned));
        expected.validate_nbf = true;
        let key = DecodingKey::from_jwk(key).expect("a key of a known algorithm");
        let decoded = jsonwebtoken::decode::<Value>(jwt, &key, &expected);
        (header, decoded.expect("jsonwebtoken takes the token").claims)
    }
}

/// A minted token.
pub struct Token {
    pub jwt: String,
    pub jti: String,
}

/// What most tests' clients may do.
pub fn terms() -> Value {
    json!({
        "audiences": ["llm-gateway"],
        "scopes": ["llm:chat", "llm:embed", "db:*"],
        "models": ["gpt-4o-mini", "claude-haiku-*"],
        "cidrs": ["10.20.0.0/16"],
        "env": "prod",
        "ttl": {"default": 300, "max": 600},
        "budget": {"tokens": 50000, "request_tokens": 2000, "requests": 100},
        "defaults": {"scopes": ["llm:chat"], "models": ["gpt-4o-mini"], "budget": {"tokens": 5000}},
    })
}

/// A form body.
pub fn form(request: RequestBuilder, parameters: &[(&str, &str)]) -> RequestBuilder {
    let body = harness::api::form(parameters);
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// Everything that was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the service answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.expect("a whole body");
        Self { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A member of the body that is a text.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        match &self.json()[member] {
            Value::String(text) => text.clone(),
            _ => panic!("no text `{member}`: {self:?}"),
        }
    }

    /// The one header of this name; empty where there is none.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is repeated: {self:?}");
        value
    }

    /// Asserts an OAuth error (RFC 6749 section 5.2), whole; returns its description.
    #[track_caller]
    pub fn refused(&self, status: u16, error: &str) -> String {
        assert_eq!(
            (self.status.as_u16(), self.text("error").as_str()),
            (status, error),
            "{self:?}"
        );
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        assert_eq!(self.header("pragma"), "no-cache", "{self:?}");
        let description = self.text("error_description");
        let id = self.header("x-request-id");
        assert!(scrip_token::Jti::parse(id).is_ok(), "{self:?}");
        let whole = json!({"error": error, "error_description": description, "request_id": id});
        assert_eq!(self.json(), whole);
        description
    }

    /// Asserts a problem document (RFC 9457), whole; returns its detail.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        let (detail, id) = (self.text("detail"), self.header("x-request-id"));
        assert!(scrip_token::Jti::parse(id).is_ok(), "{self:?}");
        let mut whole = json!({
            "type": format!("urn:scrip:problem:{code}"), "title": code.replace('-', " "),
            "status": status, "detail": detail, "request_id": id,
        });
        if let Some(pointer) = self.json().get("pointer") {
            whole["pointer"] = pointer.clone();
        }
        assert_eq!(self.json(), whole);
        detail
    }
}

/// Runs `scrip` to its end; what it printed, and whether it did what it was asked.
pub async fn run(installation: &Installation, arguments: &[&str]) -> (bool, String) {
    let mut process = Process::start(installation.command(arguments));
    let status = process.exit().await;
    (status.success(), format!("{}{}", process.stdout(), process.stderr()))
}
