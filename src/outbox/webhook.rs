//! One signed message (Standard Webhooks 1.0) and its answer: bounded in time, never redirected.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use crate::admin::{audit::show, rfc3339_ms};
use crate::config::is_loopback;
use crate::store::audit::Event;

/// Longest that connecting may take, and longest until the answer's head is there. The body is of no
/// interest and not read.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// Where alerts go, and what signs them. The address may hold a secret of its own.
#[derive(Clone)]
pub struct Settings {
    url: SecretString,
    key: hmac::Key,
}

/// Why settings are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The address.
    #[error("SCRIP_WEBHOOK_URL is not an https URL (http on loopback) without user and fragment")]
    Url,
    /// The secret.
    #[error("SCRIP_WEBHOOK_SECRET is not `whsec_` and the base64 of 24 to 64 bytes")]
    Secret,
}

impl Settings {
    /// Checks an address and a secret of Standard Webhooks.
    ///
    /// # Errors
    /// [`Unusable`], which repeats neither.
    pub fn new(url: SecretString, secret: &SecretString) -> Result<Self, Unusable> {
        let parsed = Url::parse(url.expose_secret()).map_err(|_| Unusable::Url)?;
        let is_private =
            parsed.scheme() == "https" || parsed.scheme() == "http" && is_loopback(&parsed);
        let has_user = !parsed.username().is_empty() || parsed.password().is_some();
        if !is_private || has_user || parsed.fragment().is_some() {
            return Err(Unusable::Url);
        }
        let encoded = secret.expose_secret().trim().strip_prefix("whsec_");
        let key = encoded.and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
        let key = key.filter(|key| (24..=64).contains(&key.len())).ok_or(Unusable::Secret)?;
        Ok(Self { url, key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }
}

/// Sends alerts.
pub struct Webhook {
    http: Client,
    settings: Settings,
}

/// Why an alert was not taken. Does not name the address.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// No answer in time, no connection, or none that is secure.
    #[error("{0}")]
    Unanswered(String),
    /// An answer that is no success; a redirect is none.
    #[error("it answered {}", .0.as_u16())]
    Refused(StatusCode),
}

impl Webhook {
    /// Makes the client of HTTP. The certificate is always checked.
    ///
    /// # Errors
    /// Where the system's certificate authorities cannot be used.
    pub fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .user_agent(concat!("scrip/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .build()?;
        Ok(Self { http, settings })
    }

    /// Sends one, dated `now` in seconds. It is the same message each time, under the same id.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn send(&self, event: &Event, now: u64) -> Result<(), NotTaken> {
        let data = show(event).map_err(|error| NotTaken::Unanswered(error.to_string()))?;
        let body = json!({
            "type": event.action, "timestamp": rfc3339_ms(event.at_ms), "data": data,
        });
        let body = body.to_string();
        let id = event.id.to_string();
        let signature = sign(&self.settings.key, &id, now, &body);
        let request = self
            .http
            .post(self.settings.url.expose_secret())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .body(body);
        let answer = request.send().await;
        let status = answer.map_err(|error| NotTaken::Unanswered(chain(error)))?.status();
        if status.is_success() { Ok(()) } else { Err(NotTaken::Refused(status)) }
    }
}

fn sign(key: &hmac::Key, id: &str, now: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{now}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn settings(url: &str, secret: &str) -> Result<Settings, Unusable> {
        Settings::new(url.into(), &secret.into())
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn a_message_is_signed_as_standard_webhooks_says() {
        let settings = settings("https://hooks.example/x", SECRET).unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signed = sign(&settings.key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_address_is_https_and_a_secret_long_enough() {
        for good in ["https://hooks.example/x?key=1", "http://127.0.0.1:9/", "http://localhost"] {
            assert!(settings(good, SECRET).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hooks.example",
            "http://hooks.example",
            "https://u:p@hooks.example",
            "https://hooks.example/#x",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
        ] {
            assert_eq!(settings(bad, SECRET).err(), Some(Unusable::Url), "{bad}");
        }
        for bad in
            ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"]
        {
            let refused = settings("https://hooks.example", bad).err();
            assert_eq!(refused, Some(Unusable::Secret), "{bad}");
        }
    }
}
