//! Which tokens a page shows. What an index can tell is left to the database. The rest is judged here,
//! of a bounded number of tokens for each page: what is rare among millions is found page by page.

use scrip_token::{Claims, Jti, ModelPattern};
use serde_json::Value;

use super::denied::Denied;
use super::{Issued, show_one};
use crate::caller::Reach;
use crate::store::tokens::{self, Matching, Span};
use crate::store::{Session, StoreError, usage};

/// Most tokens that are looked at for one page.
const MOST: u32 = 5_000;
/// Tokens that are read at once where not all of them will be shown.
const SLICE: u32 = 500;

/// What a token has to be to be shown: all of this.
pub(super) struct Search<'a> {
    pub(super) which: Matching<'a>,
    /// When it was issued.
    pub(super) span: Span,
    /// A scope that it has.
    pub(super) scope: Option<&'a str>,
    /// A model that it may use, or all that a pattern stands for.
    pub(super) model: Option<&'a ModelPattern>,
    /// Whether it neither has expired nor is revoked.
    pub(super) live: Option<bool>,
}

impl Search<'_> {
    /// The page from behind `after` on, and where the next one begins; `None` where nothing is left.
    /// `now` in seconds.
    pub(super) async fn page(
        &self,
        session: &mut impl Session,
        reach: &Reach,
        after: Option<Jti>,
        limit: u32,
        now: u64,
    ) -> Result<(Vec<Value>, Option<Jti>), StoreError> {
        let slice = if self.takes_each() { limit } else { SLICE };
        let (mut items, mut next, mut looked_at) = (Vec::new(), after, 0);
        while looked_at < MOST {
            let rows = tokens::list(session, self.which, self.span, next, slice).await?;
            let is_last = rows.len() < slice as usize;
            looked_at += slice;
            next = rows.last().map(|row| row.jti);
            let mut found = rows.into_iter().map(Issued::read).collect::<Result<Vec<_>, _>>()?;
            found.retain(|token| self.is_met_by(&token.claims, now));
            let denied = Denied::read(session, &found, now).await?;
            let jtis: Vec<Jti> = found.iter().map(|token| token.row.jti).collect();
            let spent = usage::sums(session, &jtis).await?;
            for token in found {
                let by = denied.by(&token);
                let is_live = token.claims.exp > now && by.is_none();
                if self.live.is_some_and(|live| live != is_live) {
                    continue;
                }
                let spent = spent.get(&token.row.jti).copied();
                items.push(show_one(&token, by, spent, reach, now));
                if items.len() == limit as usize {
                    return Ok((items, Some(token.row.jti)));
                }
            }
            if is_last {
                return Ok((items, None));
            }
        }
        Ok((items, next))
    }

    fn takes_each(&self) -> bool {
        self.scope.is_none() && self.model.is_none() && self.live.is_none()
    }

    fn is_met_by(&self, claims: &Claims, now: u64) -> bool {
        self.scope.is_none_or(|scope| claims.scope.contains(scope))
            && self.model.is_none_or(|model| claims.models.iter().any(|has| has.covers(model)))
            && (self.live != Some(true) || claims.exp > now)
    }
}
