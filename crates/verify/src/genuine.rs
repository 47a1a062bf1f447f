//! What a signature has vouched for.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;

use scrip_token::claims::Claims;

/// Bytes that the key `kid` has signed, and the claims in them. Depends on nothing that changes:
/// who is believed, what is revoked and what time it is are judged anew for each request.
pub(crate) struct Genuine {
    pub(crate) token: Box<[u8]>,
    /// The issuer's own copy of the claim `iss`, shared with it.
    pub(crate) iss: Arc<str>,
    /// Shared with the key.
    pub(crate) kid: Arc<str>,
    pub(crate) claims: Claims,
}

impl Genuine {
    /// The most memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        /// Of one allocation, whatever it holds.
        const ALLOCATION: usize = 32;
        let Claims { models, cidrs, lin, .. } = &self.claims;
        let lists = models.len() + cidrs.as_ref().map_or(0, Vec::len) + lin.len();
        // The texts of the claims are no longer than the token.
        size_of::<Self>() + 2 * self.token.len() + (16 + 2 * lists) * ALLOCATION
    }
}

impl fmt::Debug for Genuine {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, iss: _, kid, claims } = self;
        f.debug_struct("Genuine").field("kid", kid).field("claims", claims).finish()
    }
}
