//! `dry_run`: what a revocation would kill, without doing it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;

use scrip_token::{Claims, Jti};
use serde::Serialize;

use super::NotRevoked;
use super::enact::elsewhere;
use super::selector::{Selector, Target};
use crate::app::App;
use crate::caller::Reach;
use crate::clock;
use crate::deny::subject;
use crate::signer::{self, Purpose};
use crate::store::tokens::{self, Token};
use crate::store::{self, Session, StoreError, deny_entries};

/// Tokens judged at once.
const PAGE: u32 = 1000;

/// What a revocation would kill: tokens that live and that nothing on the list kills already.
#[derive(Debug, Default, Serialize)]
pub(super) struct Preview {
    live_tokens: u64,
    clients: BTreeSet<String>,
    /// LLM tokens that they may still spend: the sum of their budgets. One without a budget is
    /// not in it.
    budget_outstanding: u64,
}

/// Counts, a page at a time. Nothing is locked, so what is minted meanwhile may be in it or not.
///
/// # Errors
/// [`NotRevoked`], as the revocation itself.
pub(super) async fn preview(
    app: &App,
    selector: &Selector,
    reach: &Reach,
) -> Result<Preview, NotRevoked> {
    let mut session = app.store.read_for_operator().await?;
    let now = clock::seconds(store::now_ms(&mut session, clock::now_ms()).await?);
    let everything = Selector { target: Target::All, before: None };
    let mut found = selector.resolve(&mut session, reach, now).await?;
    let mut selector = selector;
    if let Target::Kid(kid) = &selector.target
        && is_feed_key(&mut session, kid).await?
    {
        // Revoking the feed's key begins an epoch, which refuses everything that was minted before.
        selector = &everything;
        found = selector.resolve(&mut session, reach, now).await?;
    }
    let mut preview = Preview::default();

    let mut after: Option<Jti> = None;
    loop {
        let matching = selector.target.matching();
        let page = tokens::live(&mut session, matching, after, now.cast_signed(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.jti);
        let named = page.iter().filter(|token| selector.names(token, found.before));
        preview.add(&mut session, &named.collect::<Vec<_>>(), now).await?;
    }

    // What was delegated from them dies too, whoever holds it. Whoever does not reach those holders
    // is not told of them.
    let delegated = tokens::delegated(&mut session, now.cast_signed()).await?;
    let elsewhere = elsewhere(&mut session, selector, found.before, &delegated).await?;
    let heirs: BTreeMap<Jti, &Token> =
        elsewhere.iter().flat_map(|(_, heirs)| heirs).map(|token| (token.jti, *token)).collect();
    let heirs = heirs.into_values().filter(|token| reach.covers(Some(&token.tenant)));
    preview.add(&mut session, &heirs.collect::<Vec<_>>(), now).await?;
    Ok(preview)
}

async fn is_feed_key(session: &mut impl Session, kid: &str) -> Result<bool, StoreError> {
    let keys = signer::keys(session).await?;
    Ok(keys.iter().any(|key| key.jwk.kid == kid && key.purpose == Purpose::Feed))
}

impl Preview {
    async fn add(
        &mut self,
        session: &mut impl Session,
        tokens: &[&Token],
        now: u64,
    ) -> Result<(), StoreError> {
        let mut judged = Vec::with_capacity(tokens.len());
        for token in tokens {
            let claims = Claims::parse(token.claims.as_bytes())
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            judged.push((subject::of_token(&claims, &token.kid), claims));
        }
        let subjects: BTreeSet<&str> =
            judged.iter().flat_map(|(subjects, _)| subjects).map(String::as_str).collect();
        let subjects: Vec<&str> = subjects.into_iter().collect();
        let cuts = deny_entries::cuts(session, &subjects, now.cast_signed()).await?;
        let cuts: HashMap<&str, Option<i64>> =
            cuts.iter().map(|cut| (cut.subject.as_str(), cut.before)).collect();

        for (subjects, claims) in &judged {
            let is_dead = subjects.iter().any(|subject| match cuts.get(subject.as_str()) {
                None => false,
                Some(before) => before.is_none_or(|before| claims.iat <= before.unsigned_abs()),
            });
            if is_dead {
                continue;
            }
            self.live_tokens += 1;
            self.clients.insert(claims.client_id.to_string());
            let tokens = claims.budget.and_then(|budget| budget.tokens).map_or(0, NonZeroU64::get);
            self.budget_outstanding = self.budget_outstanding.saturating_add(tokens);
        }
        Ok(())
    }
}
