//! Lists, a page at a time.

use std::num::NonZeroU16;

use scrip_token::Jti;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::Problem;
use crate::publish::malformed;

/// Items of a page where nothing is asked.
const USUAL: u16 = 100;
/// Most items of a page, whatever is asked.
const MOST: u16 = 200;

/// Which part of a list: `?limit=&after=`, where `after` is the `next` of the page before.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    limit: Option<NonZeroU16>,
    after: Option<String>,
}

impl Page {
    /// A page of a list that has filters too.
    #[must_use]
    pub fn new(limit: Option<NonZeroU16>, after: Option<String>) -> Self {
        Self { limit, after }
    }

    /// Most items to read.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.map_or(USUAL, NonZeroU16::get).min(MOST).into()
    }

    /// The cursor.
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The cursor of a list of tokens.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn after_jti(&self) -> Result<Option<Jti>, Problem> {
        let jti = self.after().map(Jti::parse).transpose();
        jti.map_err(|_| malformed("`after` is not the `next` of this list"))
    }

    /// The cursor of a list of other things that have UUIDv7s.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn after_id(&self) -> Result<Option<Uuid>, Problem> {
        Ok(self.after_jti()?.map(|id| Uuid::from_bytes(*id.as_bytes())))
    }

    /// The cursor of a list of versions.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn after_version(&self) -> Result<Option<i64>, Problem> {
        let version = self.after().map(str::parse).transpose();
        version.map_err(|_| malformed("`after` is not the `next` of this list"))
    }

    /// The page; `last` is the cursor of its last item.
    #[must_use]
    pub fn reply(&self, items: Vec<Value>, last: Option<String>) -> Value {
        let full = items.len() >= self.limit() as usize;
        let mut page = json!({"next": last.filter(|_| full)});
        page["items"] = Value::Array(items);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Query;

    #[test]
    fn pages_are_bounded_and_queries_strict() {
        let page = |query: &str| {
            let uri = format!("/v1/x?{query}").parse().unwrap();
            Query::<Page>::try_from_uri(&uri).map(|Query(page)| page)
        };
        assert_eq!(page("").unwrap().limit(), 100);
        assert_eq!(page("limit=7").unwrap().limit(), 7);
        assert_eq!(page("limit=60000").unwrap().limit(), 200);
        for bad in ["limit=0", "limit=-1", "limit=x", "limit=70000", "limit=1&limit=2", "lim=1"] {
            assert!(page(bad).is_err(), "{bad}");
        }
        assert!(page("after=x").unwrap().after_id().is_err());
    }

    #[test]
    fn only_a_full_page_has_a_next_one() {
        let page = Page { limit: NonZeroU16::new(2), after: None };
        let last = || Some("z".to_owned());
        assert_eq!(page.reply(vec![json!(1), json!(2)], last())["next"], "z");
        assert_eq!(page.reply(vec![json!(1)], last())["next"], Value::Null);
        assert_eq!(page.reply(vec![], None)["next"], Value::Null);
    }
}
