use sqlx::error::ErrorKind;

/// Why the database did not do what was asked. The source is for the log; it may quote a value
/// that was stored, never a credential: those are stored as digests only.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, no turn, no room, or the statement was refused: nothing is known to have
    /// been stored, and trying again later may help.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// What was to be inserted, or the state it was to follow, is there already.
    #[error("the database has changed or has this already")]
    Conflict,
    /// A value the database cannot hold, such as a NUL in Postgres' text.
    #[error("the database cannot hold this value")]
    Unstorable(#[source] sqlx::Error),
    /// A row that this binary did not write.
    #[error("the database holds a row that does not parse: {0}")]
    Corrupt(String),
    /// A setting, or a place, that would lose what was acknowledged.
    #[error("the database is not safe to serve from: {0}")]
    Unsafe(String),
    /// Tables are missing.
    #[error(
        "tables are missing: run `scrip bootstrap` for a new database, `scrip migrate` for an older one"
    )]
    NotMigrated,
    /// Migrated by a newer binary.
    #[error("the database is newer than this binary: it has migration {0}")]
    Newer(i64),
    /// Not the address of a database. Never quotes it, for it may contain a password.
    #[error("the database URL is not usable: {0}")]
    Url(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(e) if e.kind() == ErrorKind::UniqueViolation => Self::Conflict,
            // SQLSTATE class 22, "data exception". SQLite's codes have other lengths.
            E::Database(e) if e.code().is_some_and(|c| c.len() == 5 && c.starts_with("22")) => {
                Self::Unstorable(error)
            }
            E::RowNotFound
            | E::ColumnDecode { .. }
            | E::ColumnIndexOutOfBounds { .. }
            | E::ColumnNotFound(_)
            | E::Decode(_)
            | E::TypeNotFound { .. } => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error),
        }
    }
}
