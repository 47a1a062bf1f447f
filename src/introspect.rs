//! `POST /oauth2/introspect` (RFC 7662), for those who cannot verify offline.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use scrip_token::compact::Compact;
use scrip_token::{Claims, limits};
use scrip_verify::{DenySet, Information, Issuer, Trust, Verifier};
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::{self, Proved, Reach};
use crate::error::OAuthError;
use crate::mint::{NO_STORE, read_form, token_parameter};
use crate::router::Arrival;
use crate::store::{self, Lane, StoreError};
use crate::{clock, deny};

/// 200 with the claims, or `{"active":false}` for anything that is not a good token or not the
/// caller's to see: its own tokens, and with `scrip:feed` those of the audiences that it serves.
/// 400, 401, 503.
///
/// # Errors
/// [`OAuthError`].
pub async fn introspect(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let form = read_form(&headers, &body)?;
    let (address, lane) = (arrival.address, Lane::Minting);
    let proved = caller::authenticate(&app, &headers, &form, address, arrival.at, lane).await?;
    let token = token_parameter(&form)?;
    let reply = match inspect(&app, token.as_bytes(), lane).await? {
        Some(Inspected { claims, is_denied: false }) if may_see(&proved, &claims) => {
            let mut reply = serde_json::to_value(claims)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            reply["active"] = json!(true);
            reply["token_type"] = json!("Bearer");
            reply
        }
        _ => json!({"active": false}),
    };
    Ok((NO_STORE, Json::<Value>(reply)).into_response())
}

/// A token of ours whose time has not passed.
pub struct Inspected {
    /// What it says.
    pub claims: Claims,
    /// Whether it was revoked.
    pub is_denied: bool,
}

/// Checks a token of ours for whatever audience: signature, claims, times, and the deny list as
/// the database has it now, read over the connections of `lane`.
///
/// # Errors
/// [`StoreError`].
pub async fn inspect(app: &App, token: &[u8], lane: Lane) -> Result<Option<Inspected>, StoreError> {
    // The audience and the environment are read before they are verified, only to be compared with
    // themselves afterwards; everything else is judged as a verifier would.
    let Ok(compact) = Compact::parse(token, limits::MAX_TOKEN_BYTES) else { return Ok(None) };
    let Ok(claims) = Claims::parse(&compact.payload) else { return Ok(None) };
    let mut session = app.store.read_in(lane).await?;
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let keys = app.token_keys(&mut session, now).await?;
    let issuer = Issuer::new(app.config.issuer.clone(), keys, DenySet::default());
    let trust = Trust::one(&issuer, Information::Followed { as_of: now, silence: 0 });
    let verifier = Verifier::new(&claims.aud, &claims.env);
    let Ok(authentic) = verifier.authenticate(token, now, &trust) else { return Ok(None) };
    let is_denied = deny::is_denied(&mut session, authentic.claims(), authentic.kid(), now).await?;
    Ok(Some(Inspected { claims: authentic.claims().clone(), is_denied }))
}

fn may_see(Proved { caller, policy, .. }: &Proved, claims: &Claims) -> bool {
    claims.client_id == caller.client
        || policy.grants("scrip:feed")
            && policy.serves().contains(&claims.aud)
            && Reach::of(policy).covers(Some(&claims.tenant))
}
