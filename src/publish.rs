//! What everybody may read: the JWKS, the metadata, the keys document. The feed is below.

pub mod feed;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use scrip_token::Digest;
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::clock;
use crate::error::{Failure, Problem};
use crate::policy::OPERATOR_SCOPES;
use crate::receipts::Sighting;
use crate::signer::{self, Key, Purpose};
use crate::store::keys_documents::{self, KeysDocument};
use crate::store::{self, Session, StoreError, installation};
use crate::strict::Query;

/// How long the JWKS, and a version of the keys document, may be kept, in seconds.
const JWKS_MAX_AGE: u64 = 300;
/// Most versions of the keys document that are remembered.
const MOST_VERSIONS: usize = 1024;

/// `GET /.well-known/jwks.json`: the keys of tokens (RFC 7517), `next` ones included. 200 with
/// `ETag`, 304.
///
/// # Errors
/// 503 where the database is away, and has been from the start or since a key was revoked.
pub async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    // Everybody may ask: however many do, they take one connection.
    let read = async || {
        let mut session = app.store.read_reserved().await?;
        Jwks::read(&mut session).await.map(Arc::new).map_err(Arc::new)
    };
    let set = match app.jwks.after(clock::monotonic(), read).await {
        Ok(set) => {
            app.last_jwks.store(Some(set.clone()));
            app.sightings.record(Sighting::Keys).await;
            set
        }
        Err(error) => match app.last_jwks.load_full() {
            // Who verifies does not depend on the database: it gets what was published last, as long
            // as no key is known to have been revoked since.
            Some(set)
                if matches!(*error, StoreError::Unavailable(_))
                    && set.version >= app.deny.keys_version() =>
            {
                app.sightings.note(Sighting::Keys);
                set
            }
            _ => return Err(error.into()),
        },
    };
    Ok(cacheable(&headers, "application/jwk-set+json", JWKS_MAX_AGE, set.json.clone()))
}

/// A key set as it was published.
pub struct Jwks {
    /// The keys document that it is as new as, or newer.
    version: i64,
    json: Bytes,
}

impl Jwks {
    /// As the database has it now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(session: &mut impl Session) -> Result<Self, StoreError> {
        Self::read_with_keys(session).await.map(|(set, ..)| set)
    }

    /// The same, with all keys, and the time (seconds) that it is of.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_with_keys(
        session: &mut impl Session,
    ) -> Result<(Self, Vec<Key>, u64), StoreError> {
        // The version first: a key that is revoked in between makes the set newer than it says.
        let row = installation::read(session).await?;
        let version = row.map_or(0, |row| row.keys_version);
        let now = clock::seconds(store::now_ms(session, clock::now_ms()).await?);
        let keys = signer::keys(session).await?;
        Ok((Self { version, json: render(&keys, now)?.into() }, keys, now))
    }
}

fn render(keys: &[Key], now: u64) -> Result<Vec<u8>, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    let published = signer::published_jwks(keys, Purpose::Token, now);
    let keys = published
        .map(|jwk| serde_json::from_value::<Jwk>(serde_json::to_value(jwk)?))
        .collect::<Result<_, _>>()
        .map_err(corrupt)?;
    serde_json::to_vec(&JwkSet { keys }).map_err(corrupt)
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414): everything follows from the issuer.
pub async fn metadata(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let issuer = &app.config.issuer;
    let at = |path: &str| format!("{issuer}{path}");
    let methods = ["client_secret_basic", "client_secret_post"];
    let body = json!({
        "issuer": issuer,
        "token_endpoint": at("/oauth2/token"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "scopes_supported": OPERATOR_SCOPES,
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": at("/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": at("/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "authorization_details_types_supported": ["llm_inference"],
        "scrip_feed_uri": at("/v1/deny/stream"),
        "scrip_keys_uri": at("/.well-known/scrip-keys"),
        "scrip_revocations_uri": at("/v1/revocations"),
        "scrip_token_parameters_supported": [
            "models", "budget_tokens", "budget_request_tokens", "budget_requests", "cidrs", "ttl",
        ],
    });
    cacheable(&headers, "application/json", JWKS_MAX_AGE, body.to_string().into_bytes())
}

/// Which keys document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    version: Option<u32>,
}

/// `GET /.well-known/scrip-keys[?version=N]`: the signed keys document. 200 `application/jose`,
/// 304, 404.
///
/// # Errors
/// 404 for a version that there is not, 503 where the database is away or too many ask for old ones.
pub async fn keys_document(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let (document, max_age) = match which.version {
        // Seldom asked for: only by whoever has not followed for long.
        Some(version) => (version_of_keys(&app, version.into()).await?, JWKS_MAX_AGE),
        None => (latest_keys(&app).await?, 0),
    };
    let document = document.ok_or_else(|| Problem::not_found("there is no such version"))?;
    Ok(cacheable(&headers, JOSE, max_age, document.jws.into_bytes()))
}

async fn latest_keys(app: &App) -> Result<Option<KeysDocument>, Arc<StoreError>> {
    let read = async || {
        let mut session = app.store.read_reserved().await?;
        keys_documents::latest(&mut session).await.map_err(Arc::new)
    };
    app.keys_document.after(clock::monotonic(), read).await
}

/// A version never changes: each is read once, and none that there cannot be yet.
async fn version_of_keys(app: &App, version: i64) -> Result<Option<KeysDocument>, Problem> {
    let known = || app.keys_versions.lock();
    if let Some(document) = known().get(&version) {
        return Ok(document.clone());
    }
    let latest = latest_keys(app).await?;
    if latest.is_none_or(|latest| latest.version < version) {
        return Ok(None);
    }
    let Ok(_place) = app.strangers.try_acquire() else {
        return Err(Problem(Failure::unavailable("too many are waiting", 1)));
    };
    let document =
        keys_documents::version(&mut app.store.read_for_operator().await?, version).await?;
    let mut known = known();
    if known.len() >= MOST_VERSIONS {
        known.clear();
    }
    known.insert(version, document.clone());
    Ok(document)
}

/// A bare JWS (RFC 7515 section 9.2.1).
pub(crate) const JOSE: &str = "application/jose";

/// 200 with an `ETag`, or 304.
fn cacheable(
    asked: &HeaderMap,
    media: &'static str,
    max_age: u64,
    body: impl Into<Bytes>,
) -> Response {
    let body = body.into();
    let tag = format!("\"{}\"", &Digest::of(&body).to_string()[..32]);
    let mut response = if is_known(asked, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        body.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    let control = format!("public, max-age={max_age}");
    for (name, value) in [(header::CACHE_CONTROL, control), (header::ETAG, tag)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Whether whoever asks has this version already (RFC 9110 section 13.1.2).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag || known == "*"))
}

/// A path or query that does not parse.
pub(crate) fn malformed(detail: &'static str) -> Problem {
    Problem(Failure::new(StatusCode::BAD_REQUEST, "invalid-request", detail))
}
