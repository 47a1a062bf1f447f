//! A JWS that is no Scrip token, judged by the parts that judge our own: compact form, strict JSON,
//! the algorithm of the key, the key from its JWK, the signature.

use scrip_token::compact::Compact;
use scrip_token::json;
use scrip_token::jwk::{KeySet, Odd};
use scrip_token::signature::{Alg, VerifyingKey};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const HEADER: &str = "header: malformed";
pub(crate) const UNSUPPORTED: &str = "header: algorithm is not supported";

pub(crate) const SIGNATURE: &str = "signature does not verify";

/// The payload, or why it was refused.
pub(crate) fn verify(jws: &str, jwk: &Value) -> Result<Vec<u8>, String> {
    /// Others' headers have no `typ`, and name keys as they like.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Header {
        alg: String,
        #[serde(rename = "kid")]
        _kid: Option<String>,
    }
    let compact = Compact::parse(jws.as_bytes(), 8192).map_err(|error| error.to_string())?;
    let Header { alg, .. } = json::read(&compact.header).map_err(|_| HEADER)?;
    if !Alg::is_known(&alg) {
        return Err(UNSUPPORTED.to_owned());
    }
    let key = load(jwk).map_err(|odd| odd.to_string())?;
    if !key.alg().is_spelt(&alg) {
        return Err("header: algorithm is not the key's".to_owned());
    }
    if !key.verify(compact.signing_input, &compact.signature) {
        return Err(SIGNATURE.to_owned());
    }
    Ok(compact.payload)
}

/// One key through the loader of key sets.
pub(crate) fn load(jwk: &Value) -> Result<VerifyingKey, Odd> {
    let document = json!({"keys": [unnamed(jwk)]}).to_string();
    let mut set = KeySet::parse(document.as_bytes()).unwrap();
    match set.odd.pop() {
        None => Ok(set.keys.pop().unwrap().1),
        Some((_, odd)) => Err(odd),
    }
}

/// Without its `kid`: ours are thumbprints, theirs are words, and the loader refuses a word.
fn unnamed(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}
