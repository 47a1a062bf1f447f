use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use scrip_token::Jti;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::clock::Moment;

/// A Scrip token that was alive when it was handed out. Cloning shares it; `Debug` names it by its
/// `jti` and shows nothing else.
#[derive(Clone)]
pub struct Token(Arc<Minted>);

pub(crate) struct Minted {
    pub(crate) secret: SecretString,
    pub(crate) jti: Jti,
    pub(crate) audience: String,
    pub(crate) scope: String,
    pub(crate) models: Vec<String>,
    /// Taken before the request was sent, so that a slow answer makes the life shorter and not
    /// longer.
    pub(crate) asked: Moment,
    pub(crate) life: Duration,
}

impl Token {
    pub(crate) fn new(minted: Minted) -> Self {
        Self(Arc::new(minted))
    }

    /// The token itself, for `Authorization: Bearer`. Not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.secret.expose_secret()
    }

    /// The name of the token: what goes into logs, and what the security team revokes.
    #[must_use]
    pub fn jti(&self) -> Jti {
        self.0.jti
    }

    /// The gateways that accept it.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.0.audience
    }

    /// The granted scopes, separated by spaces.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.0.scope
    }

    /// The granted model patterns. None = no model.
    #[must_use]
    pub fn models(&self) -> &[String] {
        &self.0.models
    }

    /// When it ends, by this machine's clock.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.0.asked.wall + self.0.life
    }

    pub(crate) fn is_live(&self, now: Moment) -> bool {
        now.monotonic < self.0.asked.monotonic + self.0.life && now.wall < self.expires_at()
    }

    /// The moment at which `share` of its life is over.
    pub(crate) fn aged(&self, share: f64) -> Instant {
        self.0.asked.monotonic + self.0.life.mul_f64(share)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.jti)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn either_clock_ends_a_token() {
        let asked = clock::now();
        let life = Duration::from_secs(300);
        let token = Token::new(Minted {
            secret: SecretString::from("a.b.c"),
            jti: Jti::new(0, [7; 10]),
            audience: "llm-gateway".to_owned(),
            scope: "llm:chat".to_owned(),
            models: Vec::new(),
            asked,
            life,
        });
        let after = |monotonic: Duration, wall: Duration| Moment {
            monotonic: asked.monotonic + monotonic,
            wall: asked.wall + wall,
        };
        let last = life - Duration::from_nanos(1);
        assert!(token.is_live(after(last, last)));
        assert!(!token.is_live(after(life, Duration::ZERO)), "the wall clock was set back");
        assert!(!token.is_live(after(Duration::ZERO, life)), "the machine slept");
    }
}
