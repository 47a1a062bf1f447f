//! The credential of a request, as presented.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use super::Unproved;

/// Most parameters of a form.
const MOST_PARAMETERS: usize = 64;

/// A form body (RFC 6749 appendix B), decoded once. The client's secret is taken out of it.
pub struct Form {
    pairs: Vec<(String, String)>,
    client_id: Option<String>,
    secret: Option<SecretString>,
    has_assertion: bool,
}

/// Why a body is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// More parameters than any request needs.
    #[error("more than 64 parameters")]
    TooMany,
    /// RFC 6749 section 3.2: parameters MUST NOT be included more than once.
    #[error("a client credential parameter is repeated")]
    Repeated,
}

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut form =
            Self { pairs: Vec::new(), client_id: None, secret: None, has_assertion: false };
        for (position, (name, value)) in form_urlencoded::parse(body).enumerate() {
            if position == MOST_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let mut value = value.into_owned();
            let repeated = match &*name {
                "client_id" => form.client_id.replace(value).is_some(),
                "client_secret" => {
                    let secret = SecretString::from(value.as_str());
                    value.zeroize();
                    form.secret.replace(secret).is_some()
                }
                "client_assertion" | "client_assertion_type" => {
                    form.has_assertion = true;
                    false
                }
                _ => {
                    form.pairs.push((name.into_owned(), value));
                    false
                }
            };
            if repeated {
                return Err(FormError::Repeated);
            }
        }
        Ok(form)
    }

    /// All parameters but those of the credential.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The value of a parameter that may stand once only; `None` where it is absent or repeated.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.pairs.iter().filter(|(given, _)| given == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Whom a request claims to come from, and its proof.
pub(super) struct Presented {
    pub(super) client: String,
    pub(super) secret: SecretString,
}

impl Presented {
    /// Takes it from Basic or the form, whichever there is (RFC 6749 section 2.3.1).
    pub(super) fn from_request(headers: &HeaderMap, form: &Form) -> Result<Option<Self>, Unproved> {
        let in_header = headers.contains_key(header::AUTHORIZATION);
        let in_form = form.secret.is_some() || form.has_assertion;
        if in_header && in_form {
            return Err(Unproved::Ambiguous);
        }
        if in_header {
            let presented = Self::from_basic(headers);
            return match (&presented, &form.client_id) {
                (Some(presented), Some(id)) if presented.client != *id => Err(Unproved::Ambiguous),
                _ => Ok(presented),
            };
        }
        Ok(match (&form.client_id, &form.secret) {
            (Some(client), Some(secret)) if !form.has_assertion => {
                Some(Self { client: client.clone(), secret: secret.clone() })
            }
            _ => None,
        })
    }

    /// Takes it from the one Authorization header: base64 of id and secret, each form-encoded,
    /// joined by the first colon.
    pub(super) fn from_basic(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
        let (client, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some(Self {
            client: form_decode(client)?.to_string(),
            secret: SecretString::from(form_decode(secret)?.as_str()),
        })
    }

    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// Undoes RFC 6749 appendix B for one value. Neither separator of forms can stand in one: an
/// encoder writes them as `%26` and `%3D`.
fn form_decode(text: &str) -> Option<Zeroizing<String>> {
    if text.contains(['&', '=']) {
        return None;
    }
    let pair = Zeroizing::new(format!("v={text}"));
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| Zeroizing::new(value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn n40_one_way_of_authenticating_or_none() {
        let none = Form::parse(b"").unwrap();
        let secret = Form::parse(b"client_id=acme%2Fbilling&client_secret=s").unwrap();
        let good = basic("acme%2Fbilling:a%2Bb+c");
        let presented = Presented::from_request(&headers(&[&good]), &none).unwrap().unwrap();
        assert_eq!((presented.client.as_str(), presented.secret()), ("acme/billing", "a+b c"));
        let presented = Presented::from_request(&headers(&[]), &secret).unwrap().unwrap();
        assert_eq!((presented.client.as_str(), presented.secret()), ("acme/billing", "s"));
        assert!(matches!(
            Presented::from_request(&headers(&[&good]), &secret),
            Err(Unproved::Ambiguous)
        ));
        let other = Form::parse(b"client_id=acme%2Fother").unwrap();
        assert!(Presented::from_request(&headers(&[&good]), &other).is_err());
        for odd in [
            vec![],
            vec!["Basic"],
            vec!["Basic !"],
            vec!["Negotiate x"],
            vec![good.as_str(); 2],
            vec!["' OR '1'='1"],
            vec!["Basic YQ=="],
        ] {
            assert!(Presented::from_request(&headers(&odd), &none).unwrap().is_none(), "{odd:?}");
        }
    }

    #[test]
    fn n49_repeated_credentials_and_floods_are_refused() {
        assert_eq!(Form::parse(b"client_id=a&client_id=a").err(), Some(FormError::Repeated));
        assert_eq!(
            Form::parse(b"client_secret=a&client_secret=b").err(),
            Some(FormError::Repeated)
        );
        let flood = "a=1&".repeat(65);
        assert_eq!(Form::parse(flood.as_bytes()).err(), Some(FormError::TooMany));
        let form = Form::parse(b"token=x&token=y&one=1").unwrap();
        assert_eq!(
            (form.only("token"), form.only("one"), form.only("no")),
            (None, Some("1"), None)
        );
    }
}
