//! What refuses the tokens of a page, and by which revocation: read for all of them at once.

use std::collections::{BTreeSet, HashMap};

use super::Issued;
use crate::deny::subject;
use crate::store::revocations::{self, Revocation};
use crate::store::{Session, StoreError, deny_entries};

/// What stands against some tokens.
pub(super) struct Denied {
    /// For each subject up to which `iat` tokens are refused; `None`: whenever issued.
    cuts: HashMap<String, Option<i64>>,
    /// The last revocation of each subject.
    revocations: HashMap<String, Revocation>,
}

impl Denied {
    /// Reads it in two statements at most. A token that has expired at `now` (seconds) is not looked
    /// up: its entries may have been pruned.
    pub(super) async fn read(
        session: &mut impl Session,
        tokens: &[Issued],
        now: u64,
    ) -> Result<Self, StoreError> {
        let live = tokens.iter().filter(|token| token.claims.exp > now);
        let subjects: BTreeSet<String> = live.flat_map(subjects).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let cuts = deny_entries::cuts(session, &subjects, now.cast_signed()).await?;
        let denied: Vec<&str> = cuts.iter().map(|cut| cut.subject.as_str()).collect();
        let revocations = revocations::latest(session, &denied).await?;
        let revocations = revocations.into_iter().map(|one| (one.subject.clone(), one)).collect();
        Ok(Self {
            cuts: cuts.into_iter().map(|cut| (cut.subject, cut.before)).collect(),
            revocations,
        })
    }

    /// Whether a token is refused, and the first of the revocations on record that do so: an entry
    /// that was made for another revocation's sake, such as an ancestor's, has none of its own.
    pub(super) fn by(&self, token: &Issued) -> Option<Option<&Revocation>> {
        let killing = |subject: &String| match self.cuts.get(subject) {
            None => false,
            Some(before) => before.is_none_or(|before| token.claims.iat <= before.unsigned_abs()),
        };
        let mut killing = subjects(token).into_iter().filter(killing).peekable();
        killing.peek()?;
        let revocations = killing.filter_map(|subject| self.revocations.get(&subject));
        Some(revocations.min_by_key(|revocation| revocation.id))
    }
}

fn subjects(token: &Issued) -> Vec<String> {
    subject::of_token(&token.claims, &token.row.kid)
}
