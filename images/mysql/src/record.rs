//! Which data set a database holds, written down beside it in a table of its own.

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

use crate::Error;
use crate::accounts::identifier;
use crate::dataset::Manifest;

/// The table; it has one row.
const RECORD_TABLE: &str = "tandem_dataset";

/// Writes down which data set the database holds: the application's pages show it, `verify` compares with it.
///
/// # Errors
/// A statement fails.
pub async fn write(connection: &mut MySqlConnection, database: &str, manifest: &Manifest) -> Result<(), Error> {
    let doing = || Error::sql("recording the data set");
    let table = format!("{}.{}", identifier(database), RECORD_TABLE);
    let create = format!(
        "CREATE TABLE {table} (name VARCHAR(64) NOT NULL PRIMARY KEY, description VARCHAR(255) NOT NULL, \
         source VARCHAR(255), licence VARCHAR(255), employees INT UNSIGNED NOT NULL, manifest JSON NOT NULL, \
         loaded_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    );
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await.map_err(doing())?;
    let employees = manifest.tables.iter().find(|t| t.name == "employees").map_or(0, |t| t.rows);
    let insert = format!(
        "INSERT INTO {table} (name, description, source, licence, employees, manifest) VALUES (?, ?, ?, ?, ?, ?)"
    );
    let json = serde_json::to_string(manifest).map_err(|e| Error::Configuration(e.to_string()))?;
    sqlx::query(AssertSqlSafe(insert))
        .bind(&manifest.name)
        .bind(&manifest.description)
        .bind(&manifest.source)
        .bind(&manifest.licence)
        .bind(employees)
        .bind(json)
        .execute(connection)
        .await
        .map_err(doing())?;
    Ok(())
}

/// The manifest that the first start wrote down, if a data set was loaded.
///
/// # Errors
/// The query fails for another reason than that there is no such table.
pub async fn read(connection: &mut MySqlConnection, database: &str) -> Result<Option<Manifest>, Error> {
    let doing = || Error::sql("reading which data set is loaded");
    let exists: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?")
            .bind(database)
            .bind(RECORD_TABLE)
            .fetch_optional(&mut *connection)
            .await
            .map_err(doing())?;
    if exists.is_none() {
        return Ok(None);
    }
    let query = format!("SELECT CAST(manifest AS CHAR) FROM {}.{RECORD_TABLE}", identifier(database));
    let json: Option<(String,)> =
        sqlx::query_as(AssertSqlSafe(query)).fetch_optional(connection).await.map_err(doing())?;
    json.map(|(json,)| serde_json::from_str(&json)).transpose().map_err(|e| Error::Configuration(e.to_string()))
}
