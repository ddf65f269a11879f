//! An application without a database, for the tests of the whole router.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use tandem_webapp::app::App;
use tandem_webapp::config::DatabaseConfig;
use tandem_webapp::db::Database;

/// An application whose database should be there.
pub(crate) fn app(host: &str, port: u16) -> App {
    let options =
        MySqlConnectOptions::new().host(host).port(port).username("app").password("secret").database("employees");
    let config = DatabaseConfig {
        primary: options.clone(),
        reads: options,
        pool_size: 2,
        connect_timeout: Duration::from_secs(1),
        query_timeout: Duration::from_secs(1),
        max_lifetime: Duration::from_secs(60),
    };
    App::new(Database::new(&config), "replica-1".to_owned(), false)
}

/// A port on which nobody listens.
pub(crate) fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
