//! `POST /oauth2/token`: a master credential for a token that lives for minutes.

pub mod request;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use scrip_token::{Alg, Budget, Cidr, Digest, ModelPattern};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::audit::Event;
use crate::caller::{self, Caller, Form, Proved, Unproved};
use crate::clock;
use crate::config::Config;
use crate::error::{Failure, OAuthError};
use crate::policy::{self, Approved, Denial, Policy};
use crate::rates::TooOften;
use crate::recorder::quotas::NotHeld;
use crate::recorder::{NotRecorded, Order, RepeatKey};
use crate::router::{Arrival, RequestId};
use crate::store::Lane;
use request::{LlmInference, MintRequest, RequestError};

/// Where it is served; also the route under which its `Idempotency-Key`s are remembered.
pub const ROUTE: &str = "/oauth2/token";

/// The reply (RFC 6749 section 5.1), with what was granted.
#[derive(Serialize)]
struct Reply<'r> {
    access_token: &'r str,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    jti: String,
    audience: &'r str,
    scope: &'r str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    models: &'r [ModelPattern],
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidrs: Option<&'r [Cidr]>,
    /// As RFC 9396 section 7 asks, where the request had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<[LlmInference; 1]>,
}

/// Mints a token.
///
/// 200 the token; 400 `invalid_request`, `invalid_scope`, `invalid_target`,
/// `invalid_authorization_details`, `unauthorized_client`, `unsupported_grant_type`; 401
/// `invalid_client`; 409 `invalid_request` for a reused `Idempotency-Key`; 413, 415 problem
/// documents; 429 `temporarily_unavailable` where it is asked too often, or too little is left of the
/// client's quota; 503
/// `temporarily_unavailable`.
///
/// # Errors
/// [`OAuthError`].
pub async fn mint(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    id: RequestId,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    // 1. The body is a form, decoded once.
    let form = read_form(&headers, &body)?;
    let repeat_key = idempotency_key(&headers).map_err(OAuthError)?;

    // 2. Who asks.
    let address = arrival.address;
    let lane = Lane::Minting;
    let proved = match caller::authenticate(&app, &headers, &form, address, arrival.at, lane).await
    {
        Ok(proved) => proved,
        // None of these says that a credential is wrong. They come in floods, which the audit log
        // must not make worse.
        Err(
            why @ (Unproved::TooOften(_)
            | Unproved::OneTooMany(_)
            | Unproved::Away
            | Unproved::Store(_)
            | Unproved::Unread(_)),
        ) => {
            return Err(why.into());
        }
        Err(why) => {
            metrics::counter!("scrip_mints_total", "outcome" => "unproved").increment(1);
            let event = Event::new("mint", "unproved").origin(address, id.to_string());
            app.journal.note(event.detail(&json!({"reason": why.to_string()})));
            return Err(why.into());
        }
    };

    // 3. What is asked.
    let parameters = form.pairs().iter();
    let request =
        MintRequest::parse(parameters.map(|(n, v)| (Cow::from(n.as_str()), Cow::from(v.as_str()))));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            let refused = Refused::Request(error);
            note(&app, &proved.caller, &id, None, &refused);
            return Err(refused.into());
        }
    };

    // 4. Whether it may be had.
    let approved = match consider(&app, &proved, &request) {
        Ok(approved) => approved,
        Err(refused @ Refused::TooOften(_)) => return Err(refused.into()),
        Err(refused) => {
            note(&app, &proved.caller, &id, Some(&request), &refused);
            return Err(refused.into());
        }
    };

    // 5. On record, durably.
    let order = Order {
        alg: app.config.alg(approved.audience()),
        approved,
        asked: request.record(),
        repeat: repeat_key.map(|key| RepeatKey { key, digest: digest(&form) }),
        address,
        request_id: id.to_string(),
    };
    let recorded = match app.recorder.record(order).await {
        Ok(recorded) => recorded,
        // These are no refusals: the request may be good, and is not in the audit log.
        Err(
            why @ (NotRecorded::Store(_)
            | NotRecorded::Busy
            | NotRecorded::Cut
            | NotRecorded::NoKey),
        ) => {
            metrics::counter!("scrip_mints_total", "outcome" => "failed").increment(1);
            app.rates.give_back(&proved.caller.client, proved.policy.rate());
            return Err(Refused::NotRecorded(why).into());
        }
        Err(why) => {
            let refused = Refused::NotRecorded(why);
            note(&app, &proved.caller, &id, Some(&request), &refused);
            return Err(refused.into());
        }
    };

    // 6. Only what is on record can be signed.
    let token = app.signer.sign(&recorded)?;
    let outcome = if recorded.is_repeated() { "repeated" } else { "granted" };
    metrics::counter!("scrip_mints_total", "outcome" => outcome).increment(1);
    app.appointments.granted(clock::monotonic());

    // 7. The reply says what the token says.
    let claims = recorded.claims();
    let reply = Reply {
        access_token: token.expose_secret(),
        token_type: "Bearer",
        expires_in: recorded.expires_in(),
        jti: claims.jti.to_string(),
        audience: &claims.aud,
        scope: claims.scope.as_str(),
        models: &claims.models,
        budget: claims.budget,
        cidrs: claims.cidrs.as_deref(),
        authorization_details: request.with_details.then(|| [LlmInference::from(claims)]),
    };
    Ok((NO_STORE, Json(reply)).into_response())
}

/// Why a request of somebody who has proved who it is was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The policy does not grant it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The client, or its tenant, has minted too often.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// It cannot be put on record.
    #[error(transparent)]
    NotRecorded(NotRecorded),
}

impl Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::Denied(denial) => denial.code(),
            Self::NotRecorded(NotRecorded::Ended) => "invalid_client",
            Self::NotRecorded(NotRecorded::KeyReused | NotRecorded::NotRepeatable) => {
                "invalid_request"
            }
            Self::NotRecorded(NotRecorded::Quota(NotHeld::Exhausted { .. })) => "quota",
            Self::NotRecorded(NotRecorded::Quota(NotHeld::Denied(denial))) => denial.code(),
            Self::TooOften(_) | Self::NotRecorded(_) => "temporarily_unavailable",
        }
    }
}

fn note(
    app: &App,
    caller: &Caller,
    id: &RequestId,
    asked: Option<&MintRequest>,
    refused: &Refused,
) {
    metrics::counter!("scrip_mints_total", "outcome" => "refused").increment(1);
    let event = Event::new("mint", refused.code()).actor(&caller.client);
    let event = event.origin(caller.address, id.to_string());
    let mut detail = json!({"reason": refused.to_string()});
    if let Some(asked) = asked {
        detail["asked"] = asked.record();
        detail["cred"] = json!(caller.cred);
    }
    app.journal.note(event.detail(&detail));
}

fn consider(
    app: &App,
    Proved { caller, policy, .. }: &Proved,
    request: &MintRequest,
) -> Result<Approved, Refused> {
    let approved = judge(&app.config, caller, request, policy)?;
    // Last: what is refused for another reason does not count.
    app.rates.admit(&caller.client, policy.rate(), clock::monotonic())?;
    Ok(approved)
}

/// Judges a request as this service does: for its issuer, and with its signatures.
///
/// # Errors
/// [`Denial`].
pub fn judge(
    config: &Config,
    caller: &Caller,
    request: &MintRequest,
    policy: &Policy,
) -> Result<Approved, Denial> {
    let approved = policy::judge(caller, request, policy, &config.issuer)?;
    if config.alg(approved.audience()) == Alg::RS256 {
        approved.fits(RSA_SIGNATURE_BYTES)?;
    }
    Ok(approved)
}

/// Signature of the RSA keys that are made here (2048 bits).
const RSA_SIGNATURE_BYTES: usize = 256;

/// RFC 6749 section 5.1.
pub const NO_STORE: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::PRAGMA, HeaderValue::from_static("no-cache")),
];

/// Reads the form body of an OAuth endpoint (RFC 6749 section 3.2).
///
/// # Errors
/// 415 for another media type, 400 for a form that is none.
pub fn read_form(headers: &HeaderMap, body: &[u8]) -> Result<Form, OAuthError> {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    let is_form = essence.is_some_and(|media| {
        media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form || headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "the body must be application/x-www-form-urlencoded, without Content-Encoding";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(OAuthError(Failure::new(status, "unsupported_media_type", detail)));
    }
    Form::parse(body).map_err(|error| {
        OAuthError(Failure::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()))
    })
}

/// The one `token` of a form (RFC 7009 section 2.1, RFC 7662 section 2.1).
///
/// # Errors
/// 400 `invalid_request` where it is missing or repeated.
pub fn token_parameter(form: &Form) -> Result<&str, OAuthError> {
    form.only("token").ok_or_else(|| {
        let detail = "`token` is missing or repeated";
        OAuthError(Failure::new(StatusCode::BAD_REQUEST, "invalid_request", detail))
    })
}

/// The one `Idempotency-Key`: 1 to 255 printable ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let graphic = text.bytes().all(|b| b.is_ascii_graphic());
    if values.next().is_some() || !(1..=255).contains(&text.len()) || !graphic {
        let detail = "Idempotency-Key is 1 to 255 printable ASCII characters, once";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_request", detail));
    }
    Ok(Some(text.to_owned()))
}

/// Of the parameters in a canonical order; the credential is not among them.
fn digest(form: &Form) -> Digest {
    let mut pairs: Vec<_> = form.pairs().iter().collect();
    pairs.sort();
    let mut text = form_urlencoded::Serializer::new(String::new());
    Digest::of(text.extend_pairs(pairs).finish().as_bytes())
}
