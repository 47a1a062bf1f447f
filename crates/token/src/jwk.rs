//! Public keys as JSON Web Keys (RFC 7517), and sets of them read member by member.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::compact::{base64url, from_base64url};
use crate::json;
use crate::limits::MAX_JSON_MEMBERS;
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
    /// `kid` is not the thumbprint.
    #[error("`kid` is not the RFC 7638 thumbprint")]
    Kid,
    /// The key does not parse: off the curve, degenerate, or of a refused size
    /// ([`VerifyingKey::new`]).
    #[error("unusable key")]
    Key,
    /// The same key once more.
    #[error("repeated `kid`")]
    Repeated,
    /// A good key whose `kid` an odd member claims too: nobody can say which of them is meant.
    #[error("`kid` is also that of an odd key")]
    Conflict,
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
    /// Reads a JWK Set (RFC 7517 section 5). An odd member never spoils its neighbours, unless it
    /// claims the `kid` of one.
    ///
    /// # Errors
    /// [`KeySetError`] where the document as a whole is not a key set, or ambiguous outside the
    /// keys themselves.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > MAX_SET_BYTES {
            return Err(KeySetError::TooLong(document.len()));
        }
        let Document { keys, rest } =
            serde_json::from_slice(document).map_err(json::JsonError::from)?;
        rest.iter().try_for_each(|raw| json::unambiguous(raw.get().as_bytes()))?;
        Ok(Self::from_members(keys.iter().map(|raw| raw.get())))
    }

    /// Reads keys given one by one as JSON texts.
    pub fn from_members<'m>(members: impl IntoIterator<Item = &'m str>) -> Self {
        let mut members = members.into_iter();
        let readings: Vec<Reading> = members.by_ref().take(MAX_SET_KEYS).map(read).collect();
        let claimed: Vec<String> = readings
            .iter()
            .filter(|reading| reading.key.is_err())
            .filter_map(|reading| reading.kid.clone())
            .collect();

        let mut set = Self::default();
        for (position, Reading { key, .. }) in readings.into_iter().enumerate() {
            match key {
                Ok((jwk, _)) if claimed.contains(&jwk.kid) => {
                    set.odd.push((position, Odd::Conflict));
                }
                Ok((jwk, _)) if set.keys.iter().any(|(known, _)| known.kid == jwk.kid) => {
                    set.odd.push((position, Odd::Repeated));
                }
                Ok(pair) => set.keys.push(pair),
                Err(odd) => set.odd.push((position, odd)),
            }
        }
        if members.next().is_some() {
            set.odd.push((MAX_SET_KEYS, Odd::TooMany));
        }
        set
    }
}

/// A JWK Set with its keys unread, so that one of them cannot spoil the others.
struct Document<'d> {
    keys: Vec<&'d RawValue>,
    rest: Vec<&'d RawValue>,
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Document<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JWK Set")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut seen: Vec<String> = Vec::new();
                let (mut keys, mut rest) = (None, Vec::new());
                while let Some(name) = map.next_key()? {
                    if seen.contains(&name) || seen.len() == MAX_JSON_MEMBERS {
                        return Err(A::Error::custom("duplicate members, or too many"));
                    }
                    match name.as_str() {
                        "keys" => keys = Some(map.next_value()?),
                        _ => rest.push(map.next_value()?),
                    }
                    seen.push(name);
                }
                let keys = keys.ok_or_else(|| A::Error::missing_field("keys"))?;
                Ok(Document { keys, rest })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// What one member of a set says.
struct Reading {
    /// The `kid` that it claims: the one that it names, else its thumbprint.
    kid: Option<String>,
    key: Result<(Jwk, VerifyingKey), Odd>,
}

fn read(text: &str) -> Reading {
    let Ok(member) = json::read(text.as_bytes()).map(Member) else {
        return Reading { kid: None, key: Err(Odd::Malformed) };
    };
    let material = member.material();
    let thumbprint = material.as_ref().ok().map(|(_, material)| material.thumbprint());
    let kid = member.text("kid").ok().flatten().map(str::to_owned).or(thumbprint);
    Reading { kid, key: member.key(material) }
}

/// A JWK as it stands in a set.
struct Member(Map<String, Value>);

impl Member {
    /// Judges the whole member. Private material is looked for first: it is the one reason that is
    /// an alarm.
    fn key(&self, material: Result<(Alg, Material), Odd>) -> Result<(Jwk, VerifyingKey), Odd> {
        /// RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2, RFC 9964 section 3.
        const SECRET: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
        let is_symmetric = self.0.get("kty").is_some_and(|kty| kty == "oct");
        if is_symmetric || SECRET.iter().any(|name| self.0.contains_key(*name)) {
            return Err(Odd::Private);
        }
        self.check_purpose()?;
        let (alg, material) = material?;
        match self.text("alg")? {
            Some(given) if alg.is_spelt(given) => {}
            None => {}
            Some(given) if Alg::is_known(given) => return Err(Odd::Contradiction),
            Some(_) => return Err(Odd::Unsupported),
        }
        let kid = material.thumbprint();
        if self.text("kid")?.is_some_and(|given| given != kid) {
            return Err(Odd::Kid);
        }
        let jwk = Jwk { alg, kid, material };
        let key = VerifyingKey::new(&jwk).map_err(|_| Odd::Key)?;
        Ok((jwk, key))
    }

    /// `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3), each where it is present.
    fn check_purpose(&self) -> Result<(), Odd> {
        /// How many operations there are.
        const KEY_OPS: usize = 8;
        if self.text("use")?.is_some_and(|usage| usage != "sig") {
            return Err(Odd::Purpose);
        }
        let Some(ops) = self.0.get("key_ops") else { return Ok(()) };
        let ops = ops.as_array().filter(|ops| ops.len() <= KEY_OPS).ok_or(Odd::Malformed)?;
        let is_new = |at: usize| ops.iter().take(at).all(|before| Some(before) != ops.get(at));
        if !ops.iter().all(Value::is_string) || !(0..ops.len()).all(is_new) {
            return Err(Odd::Malformed);
        }
        if ops.iter().any(|op| op == "verify") { Ok(()) } else { Err(Odd::Purpose) }
    }

    /// The key material, and the one algorithm that goes with it.
    fn material(&self) -> Result<(Alg, Material), Odd> {
        let kty = self.text("kty")?.ok_or(Odd::Malformed)?;
        match (kty, self.text("crv")?) {
            ("EC", Some("P-256")) => {
                let (x, y) = (self.coordinate("x")?, self.coordinate("y")?);
                Ok((Alg::ES256, Material::P256 { x, y }))
            }
            ("OKP", Some("Ed25519")) => {
                Ok((Alg::EdDSA, Material::Ed25519 { x: self.coordinate("x")? }))
            }
            ("RSA", None) => {
                let (n, e) = (self.bytes("n")?, self.bytes("e")?);
                Ok((Alg::RS256, Material::Rsa { n, e }))
            }
            _ => Err(Odd::Unsupported),
        }
    }

    /// Always its full 32 bytes (RFC 7518 section 6.2.1.2).
    fn coordinate(&self, name: &str) -> Result<[u8; 32], Odd> {
        self.bytes(name)?.try_into().map_err(|_| Odd::Malformed)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Odd> {
        self.text(name)?.and_then(from_base64url).ok_or(Odd::Malformed)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Odd> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Odd::Malformed),
        }
    }
}
