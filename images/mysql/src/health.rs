//! The health check: the server that serves lets its own account in and answers a query.
//!
//! It cannot be early: the first start's temporary server listens on another socket, and the password is written only
//! when that server is gone.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::server::Login;
use crate::settings::HEALTH_USER;

/// The server's socket, as the image's option file has it.
pub const SOCKET: &str = "/run/mysqld/mysqld.sock";

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

/// Asks the server.
///
/// # Errors
/// It does not answer as it should; the text says how far the check got.
pub async fn check(password_file: &Path) -> Result<(), Error> {
    let password = fs::read_to_string(password_file).map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound { Error::NotYet } else { Error::io(password_file, e) }
    })?;
    let ask = async {
        let mut connection = Login::new(SOCKET, HEALTH_USER, &password).connect().await?;
        sqlx::raw_sql("SELECT 1").execute(&mut connection).await.map(|_| ())
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(answer) => answer.map_err(Error::sql("the server does not answer")),
        Err(_) => Err(Error::Slow(PATIENCE)),
    }
}
