//! The data check: every table's row count and checksum against the data set's manifest.

use futures_util::TryStreamExt;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::Error;
use crate::accounts::identifier;
use crate::dataset::{Chain, Manifest, TABLES, Table, TableCheck};

/// What `database` holds of one table.
///
/// # Errors
/// The query fails, for example for want of the table.
pub async fn table(connection: &mut MySqlConnection, database: &str, table: &Table) -> Result<TableCheck, Error> {
    // One column instead of several: the server joins them faster than the protocol carries them.
    let query = format!(
        "SELECT CONCAT_WS('#', {}) FROM {}.{} ORDER BY {}",
        table.checked.join(", "),
        identifier(database),
        identifier(table.name),
        table.key.join(", ")
    );
    let doing = || Error::sql(format!("checking table {}", table.name));
    let mut rows = sqlx::raw_sql(AssertSqlSafe(query)).fetch(connection);
    let mut chain = Chain::default();
    while let Some(row) = rows.try_next().await.map_err(doing())? {
        let joined: &[u8] = row.try_get_unchecked(0).map_err(doing())?;
        chain.link([Some(joined)]);
    }
    Ok(chain.check(table.name))
}

/// Compares what was found with what the manifest says.
///
/// # Errors
/// The first table that differs.
pub fn compare(manifest: &Manifest, found: &[TableCheck]) -> Result<(), Error> {
    match manifest.mismatches(found).into_iter().next() {
        None => Ok(()),
        Some(mismatch) => Err(Error::Check(mismatch)),
    }
}

/// Checks all tables over as many connections as are given.
///
/// # Errors
/// As [`table`] and [`compare`].
pub async fn all(connections: Vec<MySqlConnection>, database: &str, manifest: &Manifest) -> Result<(), Error> {
    // The largest table first: the others fit beside it.
    let queue = std::sync::Mutex::new(TABLES.iter().collect::<Vec<_>>());
    let checks = connections.into_iter().map(|mut connection| {
        let queue = &queue;
        async move {
            let mut found = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                let Some(next) = next else { return Ok::<_, Error>(found) };
                found.push(table(&mut connection, database, next).await?);
            }
        }
    });
    let found = futures_util::future::try_join_all(checks).await?;
    compare(manifest, &found.concat())
}
