//! Every bound of the token format, once.

/// How far clocks may disagree, in seconds. Added to `exp`, and allowed before `nbf` and `iat`.
pub const LEEWAY: u64 = 5;
/// Shortest life of a token, in seconds.
pub const MIN_LIFETIME: u64 = 60;
/// Life of a token where neither the request nor the policy says anything, in seconds.
pub const DEFAULT_LIFETIME: u64 = 300;
/// Longest life of a token, in seconds. A verifier refuses a longer one, however well signed.
pub const MAX_LIFETIME: u64 = 900;
/// Seconds after which a token of a given `iat` is refused everywhere. Deny entries are kept this
/// long: were it shorter than what verifiers accept, a pruned entry would bring a token back.
pub const HORIZON: u64 = MAX_LIFETIME + LEEWAY;

/// Largest token that a verifier looks at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8192;
/// Largest token that is ever built, in bytes: what Envoy's JWT cache still takes.
pub const MAX_MINTED_BYTES: usize = 4095;
/// Largest decoded header, in bytes.
pub const MAX_HEADER_BYTES: usize = 1024;
/// Deepest nesting of any JSON that is read.
pub const MAX_JSON_DEPTH: usize = 8;
/// Most members of any JSON object that is read.
pub const MAX_JSON_MEMBERS: usize = 64;

/// Most scopes in one token.
pub const MAX_SCOPES: usize = 64;
/// Most model patterns in one token.
pub const MAX_MODELS: usize = 64;
/// Most CIDRs in one token.
pub const MAX_CIDRS: usize = 32;
/// Most ancestors of a delegated token.
pub const MAX_LINEAGE: usize = 4;
/// Deepest chain of actors (RFC 8693 section 4.1).
pub const MAX_ACTORS: usize = 4;
/// Longest `sub`, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 160;
/// Integers in claims stay below this, so that every JSON library reads them exactly (RFC 8259
/// section 6).
pub const MAX_INTEGER: u64 = 1 << 53;
