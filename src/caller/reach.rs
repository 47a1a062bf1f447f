//! How far an operator reaches: everywhere, or one tenant. Decided here, from its policy as it is at
//! the moment of the request, and nowhere else.
//!
//! Names of a foreign tenant are answered before anything is looked up, and ids after the same
//! statements as unknown ones. A place in a list (`after`) says nothing of what is not in the list.
//! Confined operators are told whether all verifiers enforce a revocation, and by when, because that
//! is about their own tokens, but not which verifiers; the feed's `seq` is one number for all
//! tenants.

use scrip_token::QualifiedName;

use super::{Caller, Pass, Unproved};
use crate::policy::Policy;
use crate::store::Tenants;

/// An operator who has proved who it is. How it is opened says what it is let in for: there is no
/// way to the caller around its confinement.
#[derive(Debug)]
#[must_use]
pub struct Operator {
    caller: Caller,
    pass: Pass,
    reach: Reach,
}

impl Operator {
    pub(super) fn new(caller: Caller, pass: Pass, policy: &Policy) -> Self {
        Self { caller, pass, reach: Reach::of(policy) }
    }

    /// For what belongs to tenants: who asks, and whose things it sees and touches.
    pub fn within(self) -> (Caller, Reach) {
        (self.caller, self.reach)
    }

    /// For what is everybody's: keys, the feed.
    ///
    /// # Errors
    /// [`Unproved::Confined`].
    pub fn everywhere(self) -> Result<Caller, Unproved> {
        self.to_stay().map(|(caller, _)| caller)
    }

    /// The same, for what goes on after the request: with what has to be looked at again then.
    ///
    /// # Errors
    /// [`Unproved::Confined`].
    pub fn to_stay(self) -> Result<(Caller, Pass), Unproved> {
        if self.reach.is_confined() {
            return Err(Unproved::Confined);
        }
        Ok((self.caller, self.pass))
    }
}

/// Where an operator's scopes hold: in this tenant, or everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach(Option<String>);

impl Reach {
    /// The service's own.
    pub const EVERYWHERE: Self = Self(None);

    /// The reach of whoever has this policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self(policy.admin_tenant().map(str::to_owned))
    }

    /// Whether there is anything that it does not cover.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it covers what belongs to this tenant or, with `None`, to no single one.
    #[must_use]
    pub fn covers(&self, tenant: Option<&str>) -> bool {
        self.0.is_none() || self.0.as_deref() == tenant
    }

    /// Whether it covers a client, or a policy.
    #[must_use]
    pub fn covers_name(&self, name: &QualifiedName) -> bool {
        self.covers(Some(name.tenant()))
    }

    /// Whose rows a list shows where those of `tenant`, or all, were asked for.
    #[must_use]
    pub fn within<'a>(&'a self, tenant: Option<&'a str>) -> Tenants<'a> {
        match (self.0.as_deref(), tenant) {
            (None, None) => Tenants::All,
            (None, Some(tenant)) | (Some(tenant), None) => Tenants::One(tenant),
            (Some(own), Some(tenant)) if own == tenant => Tenants::One(own),
            (Some(_), Some(_)) => Tenants::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_confined_reaches_nothing_but_its_tenant() {
        let confined = Reach(Some("acme".to_owned()));
        assert!(confined.covers(Some("acme")) && Reach::EVERYWHERE.covers(Some("acme")));
        for foreign in [Some("beta"), Some("acme2"), Some(""), None] {
            assert!(!confined.covers(foreign), "{foreign:?}");
            assert!(Reach::EVERYWHERE.covers(foreign), "{foreign:?}");
        }
        assert_eq!(Reach::EVERYWHERE.within(None), Tenants::All);
        assert_eq!(Reach::EVERYWHERE.within(Some("beta")), Tenants::One("beta"));
        assert_eq!(confined.within(None), Tenants::One("acme"));
        assert_eq!(confined.within(Some("acme")), Tenants::One("acme"));
        assert_eq!(confined.within(Some("beta")), Tenants::Nobody);
    }
}
