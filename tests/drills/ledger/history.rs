//! Everything that one drill saw.

use super::selector::{Selector, Target};
use scrip_token::{Claims, Jti};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Time since the drill began, on the monotonic clock of the process that runs it.
pub type Time = Duration;

#[derive(Debug, Default)]
pub struct History {
    pub tokens: Vec<Token>,
    pub revocations: Vec<Revocation>,
    pub verdicts: Vec<Verdict>,
    pub receipts: Vec<Receipt>,
    pub faults: Vec<Fault>,
    /// When an epoch began that revokes everything older.
    pub purged: Option<Time>,
    /// From here on nothing was wrong and nothing was asked for.
    pub settled: Option<Time>,
    /// Tokens that a revocation covers beyond doubt, in the order in which that came to be known.
    pub doomed: Vec<usize>,
    /// Each token, with all that was delegated from it, by its id. The token itself is first.
    families: HashMap<Jti, Vec<usize>>,
    /// Revocations of one token each, by its id; and all others.
    narrow: HashMap<Jti, Vec<usize>>,
    broad: Vec<usize>,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub text: Arc<str>,
    pub claims: Claims,
    pub kid: String,
    pub maker: Maker,
    /// When the request left that was answered with it.
    pub asked: Time,
    pub minted: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    Service,
    /// The drill, from another token, as a token exchange would.
    Delegate,
    /// Somebody who stole the key, and dates tokens as he likes.
    Thief,
}

#[derive(Debug)]
pub struct Revocation {
    pub selector: Selector,
    pub sent: Time,
    pub acknowledged: Option<Acknowledgement>,
}

#[derive(Debug, Clone)]
pub struct Acknowledgement {
    pub at: Time,
    pub epoch: String,
    pub seq: u64,
    /// Tokens dated then or earlier are revoked, in seconds; for selectors that have a cut.
    pub cut: Option<u64>,
}

/// What the service said of who enforces a revocation.
#[derive(Debug)]
pub struct Receipt {
    pub revocation: usize,
    pub at: Time,
    /// The gateways that do.
    pub enforcing: Vec<usize>,
    /// Whether those are all.
    pub all: bool,
    /// From when on nobody accepts what it covers, enforced or not; `None` where that is not said.
    pub by: Option<Time>,
}

/// What one gateway said of one token.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub gateway: usize,
    pub token: usize,
    pub asked: Time,
    pub answered: Time,
    pub said: Said,
    /// How old its information was, in seconds, as it says itself.
    pub age: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Accepted,
    Revoked,
    /// For another reason, such as `stale`.
    Refused(String),
}

/// When something was wrong, up to when everybody was well again.
#[derive(Debug)]
pub struct Fault {
    /// The gateway that it was between; `None`: everybody.
    pub gateway: Option<usize>,
    pub during: Range<Time>,
}

impl History {
    /// Returns the number of the token.
    pub fn put(&mut self, token: Token) -> usize {
        let number = self.tokens.len();
        for jti in [&token.claims.jti].into_iter().chain(&token.claims.lin) {
            self.families.entry(*jti).or_default().push(number);
        }
        self.tokens.push(token);
        if self.covering(number).any(|(_, revocation)| revocation.acknowledged.is_some()) {
            self.doomed.push(number);
        }
        number
    }

    /// Returns the number of the revocation.
    pub fn send(&mut self, selector: Selector, sent: Time) -> usize {
        let number = self.revocations.len();
        match selector.target {
            Target::Jti(jti) => self.narrow.entry(jti).or_default().push(number),
            _ => self.broad.push(number),
        }
        self.revocations.push(Revocation { selector, sent, acknowledged: None });
        self.doom(number);
        number
    }

    pub fn acknowledge(&mut self, revocation: usize, acknowledgement: Acknowledgement) {
        self.revocations[revocation].acknowledged = Some(acknowledgement);
        self.doom(revocation);
    }

    fn doom(&mut self, revocation: usize) {
        let doomed: Vec<usize> = match self.revocations[revocation].selector.target {
            Target::Jti(jti) => self.families.get(&jti).cloned().unwrap_or_default(),
            _ => (0..self.tokens.len()).filter(|token| self.covers(revocation, *token)).collect(),
        };
        self.doomed.extend(doomed);
    }

    /// The revocations that cover a token, as far as is known.
    pub fn covering(&self, token: usize) -> impl Iterator<Item = (usize, &Revocation)> {
        let claims = &self.tokens[token].claims;
        let line = [&claims.jti].into_iter().chain(&claims.lin);
        let narrow = line.filter_map(|jti| self.narrow.get(jti)).flatten();
        let numbers = narrow.chain(&self.broad).copied();
        let covering = numbers.filter(move |revocation| self.covers(*revocation, token));
        covering.map(|revocation| (revocation, &self.revocations[revocation]))
    }

    /// Whether it names the token, or one from which that was delegated.
    fn covers(&self, revocation: usize, token: usize) -> bool {
        let revocation = &self.revocations[revocation];
        let line = self.tokens[token].claims.lin.iter();
        let ancestors = line.filter_map(|jti| self.tokens.get(*self.families.get(jti)?.first()?));
        [&self.tokens[token]].into_iter().chain(ancestors).any(|token| revocation.names(token))
    }

    /// What was acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&Selector, &Acknowledgement)> {
        let revocations = self.revocations.iter();
        revocations.filter_map(|one| Some((&one.selector, one.acknowledged.as_ref()?)))
    }

    /// How much of each kind was acknowledged, in the order of [`Target::KINDS`].
    pub fn mix(&self) -> [usize; 7] {
        Target::KINDS.map(|kind| {
            self.acknowledged().filter(|(selector, _)| selector.target.kind() == kind).count()
        })
    }
}

impl Revocation {
    pub fn kind(&self) -> &'static str {
        self.selector.target.kind()
    }

    /// Whether it means this token, as it is dated.
    fn names(&self, token: &Token) -> bool {
        let cut = match &self.acknowledged {
            Some(done) => done.cut,
            None => self.selector.before,
        };
        // Where the service has yet to say at which time it cuts, that is not before now.
        cut.is_none_or(|cut| token.claims.iat <= cut) && self.selector.target.names(token)
    }
}
