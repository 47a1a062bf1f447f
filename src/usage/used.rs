//! What has been used of escrows: what all ledgers have counted, and what that costs by the prices that
//! each escrow was taken by. A price that changes meanwhile changes nothing.

use std::collections::BTreeMap;

use scrip_token::Jti;

use crate::escrow::Unit;
use crate::prices::{Count, Money, PriceList};
use crate::store::escrows::Escrow;
use crate::store::{Session, StoreError, prices, usage};

/// What was used of each token's escrow; tokens that no ledger has counted anything for are left
/// out.
pub(super) struct Used(BTreeMap<Jti, [u64; 2]>);

impl Used {
    /// What was used of these escrows, 1,000 at most.
    ///
    /// # Errors
    /// As any statement; [`StoreError::Corrupt`] where a list of prices cannot be read.
    pub(super) async fn of(
        from: &mut impl Session,
        escrows: &[&Escrow],
    ) -> Result<Self, StoreError> {
        let jtis: Vec<Jti> = escrows.iter().map(|escrow| escrow.jti).collect();
        let mut counts: BTreeMap<Jti, Vec<Count>> = BTreeMap::new();
        for usage in usage::of_tokens(from, &jtis).await? {
            let by_model = serde_json::from_str(&usage.by_model)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            counts.entry(usage.jti).or_default().push(Count { tokens: usage.tokens, by_model });
        }
        let mut lists: BTreeMap<i64, PriceList> = BTreeMap::new();
        let mut used = BTreeMap::new();
        for escrow in escrows {
            let Some(counts) = counts.get(&escrow.jti) else { continue };
            let tokens = counts.iter().fold(0_u64, |sum, one| sum.saturating_add(one.tokens));
            let version = escrow.cost.prices;
            if version > 0 && !lists.contains_key(&version) {
                let row = prices::version(from, version).await?;
                let missing = || StoreError::Corrupt(format!("there are no prices {version}"));
                lists.insert(version, row.ok_or_else(missing)?.list()?);
            }
            let cost = match lists.get(&version) {
                Some(list) => {
                    list.cost(Money::from_millionths(escrow.cost.rate), counts).millionths()
                }
                None => 0,
            };
            used.insert(escrow.jti, [tokens, cost]);
        }
        Ok(Self(used))
    }

    /// How much of a unit.
    pub(super) fn by(&self, jti: Jti, unit: Unit) -> u64 {
        let [tokens, cost] = self.0.get(&jti).copied().unwrap_or_default();
        match unit {
            Unit::Tokens => tokens,
            Unit::Money => cost,
        }
    }
}
