//! What a group of mints has to respect, read from several tables by one statement, because
//! everybody in the group waits for each round trip.

use super::column::{Bytes, floor};
use super::installation::{postgres_floor, postgres_ms};
use super::{Conn, Session, StoreError, Tx, on, push_list};
use scrip_token::Jti;
use sqlx::QueryBuilder;
use std::collections::{HashMap, HashSet};

/// What stands while the transaction holds the mint's lock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// As [`super::now_ms`].
    pub now_ms: i64,
    /// Those of the clients that are enabled, and not deleted.
    pub enabled: HashSet<String>,
    /// The versions of their credentials that have ended, with whose they were.
    pub ended: HashSet<(String, String)>,
    /// What stands against any of the subjects, whatever the epoch it was said in: the latest of the
    /// entries' `before`, in seconds; `None` where an entry asks for none.
    pub cuts: HashMap<String, Option<i64>>,
    /// The keys of tokens that sign, each from its time on.
    pub keys: Vec<Signing>,
}

/// A key that is not retired or revoked, nor going to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Which one.
    pub kid: String,
    /// As in its JWK.
    pub alg: String,
    /// Since when, in seconds; that may be yet to come.
    pub from: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    name: Option<String>,
    version: Option<String>,
    number: Option<i64>,
    #[sqlx(try_from = "Bytes")]
    token: Option<Jti>,
}

/// Reads what stands for `clients` and against `subjects`. `clock_ms` is what counts on SQLite.
///
/// # Errors
/// As any statement.
pub async fn read(
    tx: &mut Tx,
    clients: &[&str],
    subjects: &[&str],
    clock_ms: i64,
) -> Result<Standing, StoreError> {
    let is_sqlite = matches!(tx.conn(), Conn::Sqlite(_));
    let rows: Vec<Row> = on!(tx, |c| {
        let mut query = QueryBuilder::new("SELECT 'now' AS kind, CAST(NULL AS TEXT) AS name, ");
        query.push("CAST(NULL AS TEXT) AS version, ");
        if is_sqlite {
            query.push_bind(clock_ms).push(" AS number, ");
            query.push("(SELECT jti FROM tokens WHERE jti >= ").push_bind(floor(clock_ms).to_vec());
        } else {
            query.push(concat!(postgres_ms!("clock_timestamp()"), " AS number, "));
            query.push(concat!("(SELECT jti FROM tokens WHERE jti >= ", postgres_floor!()));
        }
        query.push(
            " ORDER BY jti DESC LIMIT 1) AS token \
             UNION ALL SELECT 'now', NULL, NULL, newest_ms, NULL FROM installation \
             UNION ALL SELECT 'enabled', id, NULL, NULL, NULL FROM clients \
             WHERE enabled = 1 AND deleted IS NULL AND id IN (",
        );
        push_list!(query, clients);
        query.push(
            ") UNION ALL SELECT 'ended', client, version, NULL, NULL FROM credentials \
             WHERE ended IS NOT NULL AND client IN (",
        );
        push_list!(query, clients);
        query.push(
            ") UNION ALL SELECT 'key', kid, alg, active_from, NULL FROM signing_keys \
             WHERE use = 'token' AND active_from IS NOT NULL AND retire_at IS NULL \
             AND revoked_at IS NULL \
             UNION ALL SELECT 'cut', subject, NULL, \
             CASE WHEN count(before) = count(*) THEN max(before) END, NULL \
             FROM deny_entries WHERE subject IN (",
        );
        push_list!(query, subjects);
        query.push(") AND (until IS NULL OR until > ");
        // The clock may be behind database time. Then a cut that has just passed is read too, and
        // stops nobody.
        if is_sqlite {
            query.push_bind(clock_ms / 1000)
        } else {
            query.push(concat!(postgres_ms!("statement_timestamp()"), " / 1000"))
        };
        query.push(") GROUP BY subject").build_query_as().fetch_all(c).await?
    });
    let mut standing = Standing::default();
    for row in rows {
        let Row { kind, name, version, number, token } = row;
        match (kind.as_str(), name, version) {
            ("now", ..) => {
                let token = token.map_or(0, |jti| jti.milliseconds().cast_signed());
                standing.now_ms = standing.now_ms.max(number.unwrap_or(0)).max(token);
            }
            ("enabled", Some(client), _) => drop(standing.enabled.insert(client)),
            ("ended", Some(client), Some(version)) => {
                standing.ended.insert((client, version));
            }
            ("key", Some(kid), Some(alg)) => {
                standing.keys.push(Signing { kid, alg, from: number.unwrap_or(i64::MAX) });
            }
            ("cut", Some(subject), _) => drop(standing.cuts.insert(subject, number)),
            _ => return Err(StoreError::Corrupt(format!("a row of kind {kind}"))),
        }
    }
    Ok(standing)
}
