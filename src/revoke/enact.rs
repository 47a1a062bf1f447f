//! Puts revocations on the list and on record, within the transaction that decides them.

use scrip_token::deny::{Entry, MAX_BATCH_ENTRIES};
use scrip_token::limits::LEEWAY;
use scrip_token::{Jti, QualifiedName};

use super::selector::{Found, Selector, Target};
use crate::deny::{Appended, DenyList, PublishError};
use crate::store::revocations::{self, Revocation};
use crate::store::tokens::{self, Token};
use crate::store::{Session, StoreError, Tx};
use crate::{clock, random};

/// A revocation that is not numbered yet.
#[derive(Debug)]
pub struct Draft {
    /// What it names.
    pub(super) selector: Selector,
    /// What carries it out; `None` where there is nothing left to kill.
    entry: Option<Entry>,
    /// The row as it will be on record, without its place in the list.
    pub(super) revocation: Revocation,
}

/// Why something is revoked.
#[derive(Debug, Clone)]
pub struct Grounds {
    /// One of the short list.
    pub reason: String,
    /// Why, in words.
    pub note: String,
}

impl Draft {
    /// A draft of what `by` wants revoked, as it was found at `now_ms`.
    #[must_use]
    pub fn new(
        selector: Selector,
        found: Found,
        by: &QualifiedName,
        grounds: Grounds,
        now_ms: i64,
    ) -> Self {
        let revocation = Revocation {
            id: random::uuid(now_ms),
            epoch: None,
            seq: None,
            selector: selector.to_json().to_string(),
            subject: found.subject,
            tenant: found.tenant,
            before: found.before.map(u64::cast_signed),
            reason: grounds.reason,
            note: grounds.note,
            by_whom: by.to_string(),
            at_ms: now_ms,
            until: found.entry.as_ref().and_then(Entry::until).map(u64::cast_signed),
            known: found.known,
        };
        Self { selector, entry: found.entry, revocation }
    }
}

/// Numbers what was drafted, in the order of the drafts, and records it. The transaction holds
/// `Lock::Revoke`. Yields the revocations and what was put on the list; `None` for
/// nothing.
///
/// # Errors
/// [`PublishError`]; the transaction must be given up then.
pub async fn enact(
    tx: &mut Tx,
    deny: &DenyList,
    drafts: Vec<Draft>,
    now_ms: i64,
) -> Result<(Vec<Revocation>, Option<Appended>), PublishError> {
    // An id names all that was delegated from its token as well.
    let are_all_ids = drafts.iter().all(|draft| matches!(draft.selector.target, Target::Jti(_)));
    let delegated =
        if are_all_ids { Vec::new() } else { tokens::delegated(tx, now_ms / 1000).await? };
    let (mut entries, mut last_entries) = (Vec::new(), Vec::with_capacity(drafts.len()));
    for draft in &drafts {
        if let Some(entry) = &draft.entry {
            entries.push(entry.clone());
            let before = draft.revocation.before.map(i64::cast_unsigned);
            entries.extend(
                ancestors(tx, &draft.selector, before, &delegated, clock::seconds(now_ms)).await?,
            );
        }
        last_entries.push(draft.entry.is_some().then_some(entries.len()));
    }
    let appended = match entries.is_empty() {
        true => None,
        false => {
            let mut appended = deny.append(tx, now_ms, &entries).await?;
            appended.revocations = drafts.len();
            Some(appended)
        }
    };

    let mut numbered: Vec<_> = drafts.into_iter().map(|draft| draft.revocation).collect();
    if let Some(Appended { position, .. }) = &appended {
        let batches = |entries: usize| entries.div_ceil(MAX_BATCH_ENTRIES) as i64;
        let before = position.seq - batches(entries.len());
        for (revocation, last) in numbered.iter_mut().zip(last_entries) {
            let Some(last) = last else { continue };
            revocation.epoch = Some(position.epoch.clone());
            revocation.seq = Some(before + batches(last));
        }
    }
    revocations::insert_many(tx, &numbered).await?;
    Ok((numbered, appended))
}

/// Entries for tokens whose descendants the selector does not name: a descendant is refused by its
/// ancestor's id, whoever holds it. An entry that is such an id already needs none.
async fn ancestors(
    tx: &mut Tx,
    selector: &Selector,
    before: Option<u64>,
    delegated: &[Token],
    now: u64,
) -> Result<Vec<Entry>, StoreError> {
    if let Target::Jti(_) = selector.target {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for (ancestor, descendants) in elsewhere(tx, selector, before, delegated).await? {
        let last = descendants.iter().map(|token| token.exp).chain([ancestor.exp]).max();
        let until = last.unwrap_or_default().unsigned_abs() + LEEWAY;
        if until > now {
            entries.push(Entry::Jti { jti: ancestor.jti, until });
        }
    }
    Ok(entries)
}

/// Tokens that a selector names and from which tokens were delegated that it does not name, with
/// those.
pub(super) async fn elsewhere<'d>(
    session: &mut impl Session,
    selector: &Selector,
    before: Option<u64>,
    delegated: &'d [Token],
) -> Result<Vec<(Token, Vec<&'d Token>)>, StoreError> {
    let spared: Vec<&Token> =
        delegated.iter().filter(|token| !selector.names(token, before)).collect();
    let mut ancestors: Vec<Jti> = spared.iter().flat_map(|token| token.lin.clone()).collect();
    ancestors.sort_unstable();
    ancestors.dedup();
    let mut found = Vec::new();
    for jti in ancestors {
        let Some(ancestor) = tokens::by_jti(session, jti).await? else { continue };
        if selector.names(&ancestor, before) {
            let of = spared.iter().copied().filter(|token| token.lin.contains(&jti));
            found.push((ancestor, of.collect()));
        }
    }
    Ok(found)
}
