//! What clients are warned of, once each.

use super::{Session, StoreError, Tx, on};
use sqlx::QueryBuilder;

/// A warning that stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Warning {
    /// Who is warned.
    pub client: String,
    /// Of what.
    pub kind: String,
    /// Since when, in seconds.
    pub at: i64,
}

/// Warns a client; false where it is warned of this already.
///
/// # Errors
/// As any statement.
pub async fn raise(tx: &mut Tx, client: &str, kind: &str, at: i64) -> Result<bool, StoreError> {
    let sql = "INSERT INTO client_warnings (client, kind, at) VALUES ($1, $2, $3) \
               ON CONFLICT (client, kind) DO NOTHING";
    Ok(on!(tx, |c| sqlx::query(sql)
        .bind(client)
        .bind(kind)
        .bind(at)
        .execute(c)
        .await?
        .rows_affected()
        == 1))
}

/// Takes warnings back.
///
/// # Errors
/// As any statement.
pub async fn lift(tx: &mut Tx, client: &str, kinds: &[&str]) -> Result<(), StoreError> {
    let sql = "DELETE FROM client_warnings WHERE client = $1 AND kind = $2";
    for kind in kinds {
        on!(tx, |c| sqlx::query(sql).bind(client).bind(*kind).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// What these clients are warned of, in the order of its name.
///
/// # Errors
/// As any statement.
pub async fn of_clients(
    from: &mut impl Session,
    clients: &[&str],
) -> Result<Vec<Warning>, StoreError> {
    if clients.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on!(from, |c| {
        let mut query = QueryBuilder::new("SELECT * FROM client_warnings WHERE client IN (");
        let mut list = query.separated(", ");
        for client in clients {
            list.push_bind(*client);
        }
        query.push(") ORDER BY client, kind").build_query_as().fetch_all(c).await?
    }))
}

/// How many clients are warned of each kind.
///
/// # Errors
/// As any statement.
pub async fn count(from: &mut impl Session) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT kind, count(*) FROM client_warnings GROUP BY kind";
    Ok(on!(from, |c| sqlx::query_as(sql).fetch_all(c).await?))
}
