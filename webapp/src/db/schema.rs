//! What `/readyz` asks: are the tables there, and have our migrations run?

use super::{Database, Error};

/// How many tables the data set has.
pub const TABLES: i64 = 6;

/// How many of the data set's tables exist.
///
/// # Errors
/// See [`Error`].
pub async fn tables(db: &Database) -> Result<i64, Error> {
    db.read(|pool| {
        sqlx::query_scalar(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN \
             ('employees', 'departments', 'dept_manager', 'dept_emp', 'titles', 'salaries')",
        )
        .fetch_one(pool)
    })
    .await
}

/// The migrations that have been applied; `None` where none has ever been started on this database.
///
/// # Errors
/// See [`Error`].
pub async fn applied_migrations(db: &Database) -> Result<Option<Vec<u32>>, Error> {
    let applied = db
        .read(|pool| sqlx::query_scalar("SELECT version FROM tandem_migrations ORDER BY version").fetch_all(pool))
        .await;
    match applied {
        Ok(versions) => Ok(Some(versions)),
        Err(Error::NotLoaded(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
