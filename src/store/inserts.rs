//! Rows of several tables, inserted in one trip to the database. Groups of any size have few
//! different statements, so that all of them stay prepared.

use super::session::heard;
use super::{Conn, Session, StoreError, Tx};
use sqlx::{Postgres, QueryBuilder, Sqlite};

/// As many rows as fit into SQLite's 32,766 parameters, in a power of two: tables have 20 columns at
/// most.
pub(super) const MOST_ROWS: usize = 1024;

/// What is to be inserted: all of it or none.
pub struct Inserts {
    pub(super) query: Query,
    pub(super) tables: usize,
}

pub(super) enum Query {
    Sqlite(QueryBuilder<Sqlite>),
    Postgres(QueryBuilder<Postgres>),
}

impl Tx {
    /// Inserts what `add` adds.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where a key is taken.
    pub async fn insert<T>(
        &mut self,
        add: impl FnOnce(&mut Inserts) -> T,
    ) -> Result<T, StoreError> {
        let query = match self.conn() {
            Conn::Sqlite(_) => Query::Sqlite(QueryBuilder::new("")),
            Conn::Postgres(_) => Query::Postgres(QueryBuilder::new("")),
        };
        let mut inserts = Inserts { query, tables: 0 };
        let added = add(&mut inserts);
        if inserts.tables == 0 {
            return Ok(added);
        }
        match (inserts.query, self.conn()) {
            (Query::Sqlite(mut query), Conn::Sqlite(c)) => {
                query.build().execute(c).await?;
            }
            (Query::Postgres(mut query), Conn::Postgres(c)) => {
                heard(query.push(" SELECT 1").build().execute(c)).await?;
            }
            _ => unreachable!("a transaction stays with its database"),
        }
        Ok(added)
    }
}

/// Adds rows of one table: `insert!(inserts, "table", rows, |row| { column: type = value, .. })`, the type
/// being that of Postgres, and the first column never NULL. What stands behind the columns follows
/// the statement (`ON CONFLICT ..`).
///
/// Postgres is given an array for each column, and all tables as parts of one statement. SQLite is given
/// a statement for each table, and rows of NULL up to a power of two, which it passes over. What
/// fails half-way leaves rows to a transaction that is given up; so SQLite need not be able to
/// undo them.
macro_rules! insert {
    ($inserts:expr, $table:literal, $rows:expr,
     |$row:ident| { $first:ident: $first_type:ident = $first_value:expr
                    $(, $column:ident: $type:ident = $value:expr)* $(,)? }
     $(, $conflict:expr)?) => {{
        use $crate::store::inserts::{Inserts, MOST_ROWS, Query};
        const COLUMNS: &str =
            concat!($table, " (", stringify!($first), $(", ", stringify!($column),)* ") ");
        let (inserts, rows): (&mut Inserts, &[_]) = ($inserts, $rows);
        match &mut inserts.query {
            Query::Postgres(query) if !rows.is_empty() => {
                query.push(if inserts.tables == 0 { "WITH i" } else { ", i" });
                query.push(inserts.tables).push(" AS (INSERT INTO ").push(COLUMNS);
                query.push("SELECT * FROM UNNEST(");
                query.push_bind(rows.iter().map(|$row| $first_value).collect::<Vec<_>>());
                query.push(concat!("::", stringify!($first_type), "[]"));
                $(
                    query.push(", ");
                    query.push_bind(rows.iter().map(|$row| $value).collect::<Vec<_>>());
                    query.push(concat!("::", stringify!($type), "[]"));
                )*
                query.push(")") $(.push($conflict))? .push(")");
                inserts.tables += 1;
            }
            Query::Sqlite(query) => for rows in rows.chunks(MOST_ROWS) {
                query.push("INSERT OR FAIL INTO ").push(COLUMNS).push("SELECT * FROM (");
                let padding = rows.len()..rows.len().next_power_of_two();
                query.push_values(rows.iter().map(Some).chain(padding.map(|_| None)), |mut values, row| {
                    values.push_bind(row.map(|$row| $first_value));
                    $( values.push_bind(row.map(|$row| $value)); )*
                });
                query.push(") WHERE column1 IS NOT NULL") $(.push($conflict))? .push("; ");
                inserts.tables += 1;
            },
            Query::Postgres(_) => {}
        }
    }};
}

pub(super) use insert;
