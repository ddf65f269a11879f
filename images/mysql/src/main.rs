//! What the MySQL image runs beside mysqld: entrypoint, health check, data check, sample data.

fn main() {}
