//! Public keys as JSON Web Keys (RFC 7517), and sets of them read member by member.

use aws_lc_rs::digest::{SHA256, digest};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::compact::{base64url, from_base64url};
use crate::json;
use crate::signature::{Alg, VerifyingKey};

/// Largest key set that is read, in bytes.
pub const MAX_SET_BYTES: usize = 64 * 1024;
/// Most keys of a set that are looked at.
pub const MAX_SET_KEYS: usize = 32;

/// A public signing key. Written with exactly `kty`, its material, `kid`, `alg` and `use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    /// The one algorithm that the key is for.
    pub alg: Alg,
    /// RFC 7638 SHA-256 thumbprint.
    pub kid: String,
    /// The key itself.
    pub material: Material,
}

/// Public key material, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// `kty` `EC`, `crv` `P-256` (RFC 7518 section 6.2).
    P256 {
        /// First coordinate.
        x: [u8; 32],
        /// Second coordinate.
        y: [u8; 32],
    },
    /// `kty` `OKP`, `crv` `Ed25519` (RFC 8037 section 2).
    Ed25519 {
        /// The encoded point.
        x: [u8; 32],
    },
    /// `kty` `RSA` (RFC 7518 section 6.3), big-endian without leading zeros.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Exponent.
        e: Vec<u8>,
    },
}

impl Material {
    /// From an uncompressed point (SEC 1 section 2.3.3); `None` for another form.
    #[must_use]
    pub fn from_p256_point(point: &[u8]) -> Option<Self> {
        let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
        Some(Self::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? })
    }

    pub(crate) fn ed25519(point: &[u8]) -> Self {
        let mut x = [0; 32];
        x.iter_mut().zip(point).for_each(|(to, from)| *to = *from);
        Self::Ed25519 { x }
    }

    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::Rsa { n: n.to_vec(), e: e.to_vec() }
    }

    /// SHA-256 over the required members in order (RFC 7638 section 3), base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let members = match self {
            Self::P256 { x, y } => {
                let (x, y) = (base64url(x), base64url(y));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(x))
            }
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n))
            }
        };
        base64url(digest(&SHA256, members.as_bytes()))
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut jwk = serializer.serialize_struct("Jwk", 7)?;
        match &self.material {
            Material::P256 { x, y } => {
                jwk.serialize_field("kty", "EC")?;
                jwk.serialize_field("crv", "P-256")?;
                jwk.serialize_field("x", &base64url(x))?;
                jwk.serialize_field("y", &base64url(y))?;
            }
            Material::Ed25519 { x } => {
                jwk.serialize_field("kty", "OKP")?;
                jwk.serialize_field("crv", "Ed25519")?;
                jwk.serialize_field("x", &base64url(x))?;
            }
            Material::Rsa { n, e } => {
                jwk.serialize_field("kty", "RSA")?;
                jwk.serialize_field("n", &base64url(n))?;
                jwk.serialize_field("e", &base64url(e))?;
            }
        }
        jwk.serialize_field("kid", &self.kid)?;
        jwk.serialize_field("alg", self.alg.as_str())?;
        jwk.serialize_field("use", "sig")?;
        jwk.end()
    }
}

/// Why one key of a set was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// Not an object, ambiguous, or a member of the wrong type.
    #[error("malformed")]
    Malformed,
    /// Private or symmetric material in a published document: somebody's key has leaked.
    #[error("carries private or symmetric material")]
    Private,
    /// A `kty`, `crv` or `alg` that is not used here.
    #[error("key type or algorithm is not supported")]
    Unsupported,
    /// `use` or `key_ops` say that it is not for verifying signatures.
    #[error("not for verifying signatures")]
    Purpose,
    /// `alg` does not go with the key type.
    #[error("`alg` contradicts the key type")]
    Contradiction,
    /// `kid` is missing or not the thumbprint.
    #[error("`kid` is not the RFC 7638 thumbprint")]
    Kid,
    /// The key does not parse: off the curve, degenerate, or of a refused size.
    #[error("unusable key")]
    Key,
    /// The same key once more: a `kid` is a thumbprint, so two keys never share one.
    #[error("repeated `kid`")]
    Repeated,
    /// Beyond [`MAX_SET_KEYS`].
    #[error("too many keys")]
    TooMany,
}

/// A key set as read: the good keys, and the odd ones by position.
#[derive(Debug, Default)]
pub struct KeySet {
    /// Usable keys.
    pub keys: Vec<(Jwk, VerifyingKey)>,
    /// Keys left out: position in the document, reason.
    pub odd: Vec<(usize, Odd)>,
}

/// Why a whole document is no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Above [`MAX_SET_BYTES`].
    #[error("key set of {0} bytes is too long")]
    TooLong(usize),
    /// Not an object with an array `keys`.
    #[error("not a key set: {0}")]
    Json(#[from] json::JsonError),
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517 section 5). An odd member never spoils its neighbours.
    ///
    /// # Errors
    /// [`KeySetError`] where the document as a whole is not a key set.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document<'d> {
            #[serde(borrow)]
            keys: Vec<&'d RawValue>,
        }
        if document.len() > MAX_SET_BYTES {
            return Err(KeySetError::TooLong(document.len()));
        }
        let Document { keys } = serde_json::from_slice(document).map_err(json::JsonError::from)?;
        Ok(Self::from_members(keys.iter().map(|raw| raw.get())))
    }

    /// Reads keys given one by one as JSON texts.
    pub fn from_members<'m>(members: impl IntoIterator<Item = &'m str>) -> Self {
        let mut set = Self::default();
        for (position, member) in members.into_iter().enumerate() {
            if position == MAX_SET_KEYS {
                set.odd.push((position, Odd::TooMany));
                break;
            }
            match parse_member(member) {
                Ok((jwk, _)) if set.keys.iter().any(|(known, _)| known.kid == jwk.kid) => {
                    set.odd.push((position, Odd::Repeated));
                }
                Ok(pair) => set.keys.push(pair),
                Err(odd) => set.odd.push((position, odd)),
            }
        }
        set
    }
}

/// The members of a JWK that are looked at (RFC 7517 section 4, RFC 7518 section 6).
#[derive(Deserialize)]
struct Member {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

fn parse_member(text: &str) -> Result<(Jwk, VerifyingKey), Odd> {
    let member: Member = json::read(text.as_bytes()).map_err(|_| Odd::Malformed)?;
    if member.kty == "oct" || PRIVATE.iter().any(|name| member.rest.contains_key(*name)) {
        return Err(Odd::Private);
    }
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if member.usage.as_deref().is_some_and(|usage| usage != "sig")
        || !member.key_ops.as_ref().is_none_or(verifies)
    {
        return Err(Odd::Purpose);
    }
    let bytes =
        |text: &Option<String>| text.as_deref().and_then(from_base64url).ok_or(Odd::Malformed);
    let coordinate = |text| bytes(text)?.try_into().map_err(|_| Odd::Malformed);
    let (implied, material) = match (member.kty.as_str(), member.crv.as_deref()) {
        ("EC", Some("P-256")) => {
            let (x, y) = (coordinate(&member.x)?, coordinate(&member.y)?);
            (Alg::ES256, Material::P256 { x, y })
        }
        ("OKP", Some("Ed25519")) => (Alg::EdDSA, Material::Ed25519 { x: coordinate(&member.x)? }),
        ("RSA", None) => {
            let (n, e) = (bytes(&member.n)?, bytes(&member.e)?);
            if n.first().is_none_or(|b| *b == 0) || e.first().is_none_or(|b| *b == 0) {
                return Err(Odd::Malformed);
            }
            (Alg::RS256, Material::Rsa { n, e })
        }
        _ => return Err(Odd::Unsupported),
    };
    match member.alg.as_deref() {
        Some(alg) if implied.is_spelt(alg) => {}
        None => {}
        Some(alg) if Alg::is_known(alg) => return Err(Odd::Contradiction),
        Some(_) => return Err(Odd::Unsupported),
    }
    let kid = material.thumbprint();
    if member.kid.is_some_and(|given| given != kid) {
        return Err(Odd::Kid);
    }
    let jwk = Jwk { alg: implied, kid, material };
    let key = VerifyingKey::new(&jwk).map_err(|_| Odd::Key)?;
    Ok((jwk, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// RFC 8037 appendix A.2 and A.3.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    fn okp() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": KID, "alg": "EdDSA", "use": "sig"})
    }

    fn with(member: &str, value: Value) -> Value {
        let mut jwk = okp();
        jwk[member] = value;
        jwk
    }

    fn odd(jwk: &Value) -> Option<Odd> {
        let document = json!({"keys": [okp_other(), jwk]}).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap();
        assert!(set.keys.iter().any(|(key, _)| key.alg == Alg::ES256), "the neighbour is spoilt");
        set.odd.first().map(|(position, odd)| {
            assert_eq!(*position, 1);
            *odd
        })
    }

    /// RFC 7517 appendix A.1.
    fn okp_other() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }

    #[test]
    fn rfc8037_thumbprint_and_round_trip() {
        let set = KeySet::parse(json!({"keys": [okp()]}).to_string().as_bytes()).unwrap();
        let (jwk, _) = &set.keys[0];
        assert_eq!(jwk.kid, KID);
        assert_eq!(serde_json::to_value(jwk).unwrap(), okp());
    }

    #[test]
    fn n13_n108_odd_keys_are_left_out_by_name_and_spoil_nothing() {
        assert_eq!(odd(&okp()), None);
        assert_eq!(odd(&with("later", json!({"x": 1}))), None);
        for (jwk, expected) in [
            (with("use", json!("enc")), Odd::Purpose),
            (with("key_ops", json!(["encrypt"])), Odd::Purpose),
            (with("key_ops", json!([])), Odd::Purpose),
            (with("alg", json!("ES256")), Odd::Contradiction),
            (with("alg", json!("HS256")), Odd::Unsupported),
            (with("crv", json!("Ed448")), Odd::Unsupported),
            (with("kty", json!("AKP")), Odd::Unsupported),
            (with("kty", json!("EC")), Odd::Unsupported),
            (with("kid", json!("other")), Odd::Kid),
            (with("d", json!("AAAA")), Odd::Private),
            (json!({"kty": "oct", "k": "AAAA"}), Odd::Private),
            (with("x", json!("AAAA")), Odd::Malformed),
            (with("x", json!(7)), Odd::Malformed),
            (with("x", json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")), Odd::Kid),
            (json!(null), Odd::Malformed),
            (json!("key"), Odd::Malformed),
        ] {
            assert_eq!(odd(&jwk), Some(expected), "{jwk}");
        }
        let mut small = with("x", json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
        small.as_object_mut().unwrap().remove("kid");
        assert_eq!(odd(&small), Some(Odd::Key));
        let mut off = okp_other();
        off["y"] = off["x"].clone();
        assert_eq!(odd(&off), Some(Odd::Key));
    }

    #[test]
    fn n19_a_key_with_a_duplicate_member_is_left_out() {
        let twice = okp().to_string().replacen('{', "{\"kid\":\"x\",", 1);
        let set = KeySet::parse(format!(r#"{{"keys":[{twice}]}}"#).as_bytes()).unwrap();
        assert_eq!(set.odd, [(0, Odd::Malformed)]);
    }

    #[test]
    fn n36_n100_n104_documents_are_bounded_and_shaped() {
        for bad in ["", "{}", "null", "[]", "<html>", r#"{"keys":null}"#, r#"{"keys":{}}"#] {
            assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().keys.is_empty());
        let long = format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(MAX_SET_BYTES));
        assert!(matches!(KeySet::parse(long.as_bytes()), Err(KeySetError::TooLong(_))));
        let many = json!({"keys": vec![json!({"kty": "AKP"}); 10_000]}).to_string();
        assert!(KeySet::parse(many.as_bytes()).is_err());
        let many = json!({"keys": vec![json!({"kty": "AKP"}); 40]}).to_string();
        let set = KeySet::parse(many.as_bytes()).unwrap();
        assert_eq!(set.odd.last(), Some(&(MAX_SET_KEYS, Odd::TooMany)));
    }

    #[test]
    fn a_repeated_kid_counts_once() {
        let set = KeySet::parse(json!({"keys": [okp(), okp()]}).to_string().as_bytes()).unwrap();
        assert_eq!((set.keys.len(), set.odd), (1, vec![(1, Odd::Repeated)]));
    }
}
