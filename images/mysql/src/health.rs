//! The health check: the server that serves lets its own account in and answers a query.
//!
//! It cannot be early: the first start's temporary server listens on another socket, and the password is written only
//! when that server is gone.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::MySqlConnection;

use crate::Error;
use crate::server::Login;
use crate::settings::HEALTH_USER;

/// The server's socket, as the image's option file has it.
pub const SOCKET: &str = "/run/mysqld/mysqld.sock";

/// What is said of a server that does not do what it is asked.
const SILENT: &str = "the server does not answer";

/// A healthy server answers within this time.
const PATIENCE: Duration = Duration::from_secs(4);

/// Writes the password that this start gave to the health check's account, for this user only.
///
/// # Errors
/// The file cannot be written.
pub fn write_password(file: &Path, password: &str) -> Result<(), Error> {
    // A new file each time: one that another user left cannot be opened for writing.
    match fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(file, e)),
        _ => {}
    }
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    opened.and_then(|mut f| f.write_all(password.as_bytes())).map_err(|e| Error::io(file, e))
}

/// Logs in to the server as the image's own account.
///
/// # Errors
/// There is no server yet, or it does not let the account in.
pub async fn log_in(password_file: &Path) -> Result<MySqlConnection, Error> {
    let password = fs::read_to_string(password_file).map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound { Error::NotYet } else { Error::io(password_file, e) }
    })?;
    Login::new(SOCKET, HEALTH_USER, &password).connect().await.map_err(Error::sql(SILENT))
}

/// Asks the server.
///
/// # Errors
/// It does not answer as it should; the text says how far the check got.
pub async fn check(password_file: &Path) -> Result<(), Error> {
    let ask = async {
        let mut connection = log_in(password_file).await?;
        sqlx::raw_sql("SELECT 1").execute(&mut connection).await.map(|_| ()).map_err(Error::sql(SILENT))
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or(Err(Error::Slow(PATIENCE)))
}
