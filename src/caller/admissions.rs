//! Who was let in for longer than a request: a stream has no end, so those who read one are looked at
//! again and again. The proof of a moment ago does not outlive what it proved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use scrip_token::QualifiedName;
use scrip_token::limits::LEEWAY;
use scrip_verify::Verified;
use tokio_util::sync::CancellationToken;

use super::register::Entry;
use super::{Caller, Reach, Unproved, good_versions};
use crate::app::App;
use crate::clock;
use crate::deny::subject;
use crate::store::{self, deny_entries};

/// Most clients looked up at once, and most subjects in one statement.
const MOST: usize = 256;

/// What an operator has shown to be let in.
#[derive(Debug)]
pub struct Pass {
    client: QualifiedName,
    address: IpAddr,
    scope: &'static str,
    by: By,
}

#[derive(Debug)]
enum By {
    /// By this version of its secret.
    Secret { cred: String },
    /// By a token, which ends.
    Token { subjects: Vec<String>, iat: u64, end: Instant },
}

impl Pass {
    pub(super) fn by_secret(caller: &Caller, scope: &'static str) -> Self {
        Self::new(caller, scope, By::Secret { cred: caller.cred.clone() })
    }

    /// By a token that was good at `now`, a time of the database's in seconds.
    pub(super) fn by_token(
        caller: &Caller,
        scope: &'static str,
        verified: &Verified,
        now: u64,
    ) -> Self {
        let claims = verified.claims();
        let left = (claims.exp + LEEWAY).saturating_sub(now);
        let by = By::Token {
            subjects: subject::of_token(claims, verified.kid()),
            iat: claims.iat,
            end: clock::monotonic() + Duration::from_secs(left),
        };
        Self::new(caller, scope, by)
    }

    fn new(caller: &Caller, scope: &'static str, by: By) -> Self {
        Self { client: caller.client.clone(), address: caller.address, scope, by }
    }

    fn subjects(&self) -> &[String] {
        if let By::Token { subjects, .. } = &self.by { subjects } else { &[] }
    }

    /// Whether whoever brought it now would be let in again; `cuts` are those of all its subjects.
    fn holds(&self, entry: Option<&Entry>, cuts: &HashMap<String, Option<i64>>) -> bool {
        let Some(Entry { client, credentials, policy: Some(policy), now }) = entry else {
            return false;
        };
        let is_client = client.enabled && client.deleted.is_none();
        if !is_client || !policy.grants(self.scope) || Reach::of(policy).is_confined() {
            return false;
        }
        match &self.by {
            By::Secret { cred } => {
                let overlap = Duration::from_secs(client.overlap.unsigned_abs());
                client.refused.is_none()
                    && policy.admits(self.address)
                    && good_versions(credentials, overlap, *now).contains(cred)
            }
            By::Token { subjects, iat, .. } => {
                let mut cuts = subjects.iter().filter_map(|subject| cuts.get(subject));
                !cuts.any(|before| before.is_none_or(|before| *iat <= before.unsigned_abs()))
            }
        }
    }
}

/// Everybody who was let in and has not left.
#[derive(Default)]
pub struct Admissions(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    last: u64,
    all: BTreeMap<u64, (Arc<Pass>, CancellationToken)>,
}

/// One of them, for as long as this lives.
pub struct Admission {
    admissions: Arc<Admissions>,
    number: u64,
    pass: Arc<Pass>,
    over: CancellationToken,
}

impl Admissions {
    /// Lets somebody in.
    #[must_use]
    pub fn admit(self: &Arc<Self>, pass: Pass) -> Admission {
        let (pass, over) = (Arc::new(pass), CancellationToken::new());
        let mut inside = self.0.lock();
        inside.last += 1;
        let number = inside.last;
        inside.all.insert(number, (pass.clone(), over.clone()));
        drop(inside);
        Admission { admissions: self.clone(), number, pass, over }
    }

    /// Ends those that would not be let in again.
    ///
    /// # Errors
    /// [`Unproved`] where the database cannot be asked; nobody is sent away then.
    pub async fn review(&self, app: &App) -> Result<(), Unproved> {
        let all: Vec<_> = self.0.lock().all.values().cloned().collect();
        let names: BTreeSet<&QualifiedName> = all.iter().map(|(pass, _)| &pass.client).collect();
        let names: Vec<_> = names.into_iter().collect();
        let mut entries = HashMap::new();
        for names in names.chunks(MOST) {
            let found = names.iter().map(|name| app.reserved_register.find(name));
            entries.extend(names.iter().copied().zip(try_join_all(found).await?));
        }
        let subjects: BTreeSet<&str> =
            all.iter().flat_map(|(pass, _)| pass.subjects()).map(String::as_str).collect();
        let cuts = cuts(app, &subjects.into_iter().collect::<Vec<_>>()).await?;
        for (pass, over) in &all {
            let entry = entries.get(&pass.client).and_then(Option::as_deref);
            if !pass.holds(entry, &cuts) {
                tracing::info!(client = %pass.client, "whoever follows may do so no more");
                over.cancel();
            }
        }
        Ok(())
    }
}

impl Admission {
    /// Returns when it is over: with the token that proved it, or when a look has found that it would
    /// not be given again.
    pub async fn over(&self) {
        match self.pass.by {
            By::Secret { .. } => self.over.cancelled().await,
            By::Token { end, .. } => {
                // Either is an end.
                let _ = tokio::time::timeout_at(end.into(), self.over.cancelled()).await;
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.admissions.0.lock().all.remove(&self.number);
    }
}

/// What stands against any of these subjects.
async fn cuts(app: &App, subjects: &[&str]) -> Result<HashMap<String, Option<i64>>, Unproved> {
    let mut cuts = HashMap::new();
    if subjects.is_empty() {
        return Ok(cuts);
    }
    let mut session = app.store.read_reserved().await?;
    let now = store::now_ms(&mut session, clock::now_ms()).await? / 1000;
    for subjects in subjects.chunks(MOST) {
        let found = deny_entries::cuts(&mut session, subjects, now).await?;
        cuts.extend(found.into_iter().map(|cut| (cut.subject, cut.before)));
    }
    Ok(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_showed_a_token_is_let_in_until_its_end_and_no_longer() {
        let admissions = Arc::new(Admissions::default());
        let caller = Caller {
            client: "acme/gateway".parse().unwrap(),
            cred: "embedded:1.0".to_owned(),
            address: IpAddr::from([127, 0, 0, 1]),
        };
        let end = clock::monotonic() + Duration::from_millis(300);
        let token = By::Token { subjects: Vec::new(), iat: 0, end };
        let by_token = admissions.admit(Pass::new(&caller, "scrip:feed", token));
        let by_secret = admissions.admit(Pass::by_secret(&caller, "scrip:feed"));
        tokio::select! {
            () = by_token.over() => assert!(clock::monotonic() >= end),
            () = by_secret.over() => panic!("a secret has no such end"),
        }
        drop((by_token, by_secret));
        assert!(admissions.0.lock().all.is_empty());
    }
}
