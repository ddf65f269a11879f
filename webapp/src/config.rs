//! The configuration: environment variables in, one checked [`Config`] out. Nothing else in this crate reads the
//! environment.

mod traces;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use tandem_environment::log::{LOG_FORMAT, LOG_LEVEL, LogFormat};
use tandem_environment::variable::{self, number};
use tandem_environment::{Described, Environment, Error, SHUTDOWN_TIMEOUT, Variable};

use crate::cors::Origins;
pub use traces::TraceConfig;

const LISTEN: Variable<Listen> =
    Variable::new("LISTEN", "host:port, [IPv6 address]:port or unix:/path", listen, "where the pages are served")
        .default("127.0.0.1:8000");
const METRICS_LISTEN: Variable<Listen> = Variable::new(
    "METRICS_LISTEN",
    "host:port, [IPv6 address]:port or unix:/path",
    listen,
    "a second listener that serves `/metrics` and the two probes; without it there is none",
);
const METRICS_PUBLIC: Variable<bool> =
    Variable::switch("METRICS_PUBLIC", "whether `LISTEN` serves `/metrics` as well").default("false");
const DATABASE_URL: Variable<MySqlConnectOptions> = Variable::new(
    "DATABASE_URL",
    "mysql://user:password@host:port/database, with special characters percent-encoded",
    database_url,
    "the database in one value, instead of the five variables below",
)
.secret();
const DATABASE_HOST: Variable<String> =
    Variable::new("DATABASE_HOST", "a host name or an IP address", variable::host, "the database server");
const DATABASE_PORT: Variable<u16> = Variable::port("DATABASE_PORT", "its port").default("3306");
const DATABASE_NAME: Variable<String> = Variable::new(
    "DATABASE_NAME",
    "1 to 64 characters",
    |value| variable::text(value).filter(|name| name.chars().count() <= 64),
    "the database that holds the data set",
);
const DATABASE_USER: Variable<String> = Variable::new(
    "DATABASE_USER",
    "1 to 32 characters",
    |value| variable::text(value).filter(|name| name.chars().count() <= 32),
    "the user to connect as",
);
const DATABASE_PASSWORD: Variable<String> =
    Variable::text("DATABASE_PASSWORD", "the user's password, whatever characters it has").secret();
const DATABASE_READ_HOST: Variable<String> = Variable::new(
    "DATABASE_READ_HOST",
    "a host name or an IP address",
    variable::host,
    "where reads go instead (read-only replicas); migrations stay on the database server",
);
const DATABASE_TLS: Variable<MySqlSslMode> = Variable::new(
    "DATABASE_TLS",
    "preferred, disabled, required, verify-ca or verify-identity",
    tls_mode,
    "whether connections are encrypted, and what is checked of the server's certificate",
)
.default("preferred");
const DATABASE_TLS_CA: Variable<Vec<u8>> = Variable::new(
    "DATABASE_TLS_CA",
    "the path of a readable file of PEM certificates",
    certificates,
    "whom to trust with `verify-ca` and `verify-identity`, instead of the public authorities",
);
const DATABASE_POOL_SIZE: Variable<u32> =
    Variable::new("DATABASE_POOL_SIZE", "1 to 1000", number::<u32, 1, 1000>, "the most connections at once")
        .default("10");
const DATABASE_CONNECT_TIMEOUT: Variable<u64> = Variable::new(
    "DATABASE_CONNECT_TIMEOUT",
    "seconds, 1 to 60",
    number::<u64, 1, 60>,
    "how long the database may stay silent before it counts as away and requests are answered with 503",
)
.default("1");
const DATABASE_QUERY_TIMEOUT: Variable<u64> = Variable::new(
    "DATABASE_QUERY_TIMEOUT",
    "seconds, 1 to 600",
    number::<u64, 1, 600>,
    "how long one query may take; the server enforces it as well",
)
.default("5");
const DATABASE_MAX_LIFETIME: Variable<u64> = Variable::new(
    "DATABASE_MAX_LIFETIME",
    "seconds, 1 to 86400",
    number::<u64, 1, 86_400>,
    "the age at which a connection is replaced, so that the pool follows changes of address",
)
.default("300");
const EXPORTS_AT_ONCE: Variable<u32> = Variable::new(
    "EXPORTS_AT_ONCE",
    "1 to 100",
    number::<u32, 1, 100>,
    "how many exports may run at once; whoever asks for one more is answered with 503",
)
.default("4");
const EXPORT_TIMEOUT: Variable<u64> = Variable::new(
    "EXPORT_TIMEOUT",
    "seconds, 1 to 86400",
    number::<u64, 1, 86_400>,
    "how long one export may take, however slowly it is read; then it is broken off",
)
.default("600");
const MIGRATE_ON_START: Variable<bool> =
    Variable::switch("MIGRATE_ON_START", "whether `serve` runs the migrations as soon as the database answers")
        .default("false");
const WAIT_FOR_MIGRATIONS: Variable<bool> = Variable::switch(
    "WAIT_FOR_MIGRATIONS",
    "whether a replica is ready only after the migrations although another process runs them; without it, it is ready \
     where nobody has ever run one, too",
)
.default("false");
const SERVED_BY: Variable<String> = Variable::new(
    "SERVED_BY",
    "1 to 255 printable ASCII characters",
    served_by,
    "the name in `X-Served-By` and in the footer; the host's name where it is not set",
);
const CORS_ORIGINS: Variable<Origins> = Variable::new(
    "CORS_ORIGINS",
    "`*`, or origins as https://example.org with commas between them",
    Origins::parse,
    "whose pages may read the API in a browser, beside our own; without it nobody's",
);

const ACCESS_LOG: Variable<bool> = Variable::switch(
    "ACCESS_LOG",
    "whether each request is a log line as well; behind nginx, which writes one already, it need not be",
)
.default("false");

/// Every variable, in the order of the documentation.
pub const VARIABLES: &[&dyn Described] = &[
    &LISTEN,
    &METRICS_LISTEN,
    &METRICS_PUBLIC,
    &DATABASE_URL,
    &DATABASE_HOST,
    &DATABASE_PORT,
    &DATABASE_NAME,
    &DATABASE_USER,
    &DATABASE_PASSWORD,
    &DATABASE_READ_HOST,
    &DATABASE_TLS,
    &DATABASE_TLS_CA,
    &DATABASE_POOL_SIZE,
    &DATABASE_CONNECT_TIMEOUT,
    &DATABASE_QUERY_TIMEOUT,
    &DATABASE_MAX_LIFETIME,
    &EXPORTS_AT_ONCE,
    &EXPORT_TIMEOUT,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &ACCESS_LOG,
    &traces::ENDPOINT,
    &traces::PROTOCOL,
    &traces::HEADERS,
    &traces::CERTIFICATE,
    &traces::SERVICE_NAME,
    &traces::RESOURCE_ATTRIBUTES,
    &traces::SAMPLER,
    &traces::SAMPLER_ARG,
    &MIGRATE_ON_START,
    &WAIT_FOR_MIGRATIONS,
    &SERVED_BY,
    &CORS_ORIGINS,
    &SHUTDOWN_TIMEOUT,
];

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address, `host:port`.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// How to reach the database. Deliberately without `Debug`: it holds the password.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// The server that takes writes: migrations go here.
    pub primary: MySqlConnectOptions,
    /// The server that pages are read from.
    pub reads: MySqlConnectOptions,
    /// The most connections at once.
    pub pool_size: u32,
    /// How long a request waits for a connection.
    pub connect_timeout: Duration,
    /// How long one query may take.
    pub query_timeout: Duration,
    /// The age at which a connection is replaced.
    pub max_lifetime: Duration,
}

/// The whole configuration.
pub struct Config {
    /// Where pages are served.
    pub listen: Listen,
    /// Where metrics are served, if at all.
    pub metrics_listen: Option<Listen>,
    /// Whether `listen` serves `/metrics` too.
    pub metrics_public: bool,
    /// How to reach the database.
    pub database: DatabaseConfig,
    /// How many exports may run at once.
    pub exports_at_once: u32,
    /// How long one export may take.
    pub export_timeout: Duration,
    /// The least severe messages that are logged.
    pub log_level: tracing::Level,
    /// What a log line looks like.
    pub log_format: LogFormat,
    /// Whether each request is a log line.
    pub access_log: bool,
    /// How traces are made and sent; `None`: not at all.
    pub traces: Option<TraceConfig>,
    /// Whether `serve` runs the migrations.
    pub migrate_on_start: bool,
    /// Whether we are ready only after the migrations even if another process runs them.
    pub wait_for_migrations: bool,
    /// This replica's name.
    pub served_by: String,
    /// Whose pages may read the API in a browser, beside our own.
    pub cors_origins: Option<Origins>,
    /// How long requests in flight may take to finish.
    pub shutdown_timeout: Duration,
}

impl Config {
    /// Reads and checks every variable.
    ///
    /// # Errors
    /// The first variable that is missing, not allowed, or in conflict with another one.
    pub fn read(environment: &Environment) -> Result<Self, Error> {
        let seconds = |variable: Variable<u64>| variable.require(environment).map(Duration::from_secs);
        Ok(Self {
            listen: LISTEN.require(environment)?,
            metrics_listen: METRICS_LISTEN.read(environment)?,
            metrics_public: METRICS_PUBLIC.require(environment)?,
            database: {
                let primary = with_tls(primary(environment)?, environment)?;
                let reads = match DATABASE_READ_HOST.read(environment)? {
                    Some(host) => primary.clone().host(&host),
                    None => primary.clone(),
                };
                DatabaseConfig {
                    primary,
                    reads,
                    pool_size: DATABASE_POOL_SIZE.require(environment)?,
                    connect_timeout: seconds(DATABASE_CONNECT_TIMEOUT)?,
                    query_timeout: seconds(DATABASE_QUERY_TIMEOUT)?,
                    max_lifetime: seconds(DATABASE_MAX_LIFETIME)?,
                }
            },
            exports_at_once: EXPORTS_AT_ONCE.require(environment)?,
            export_timeout: seconds(EXPORT_TIMEOUT)?,
            log_level: LOG_LEVEL.require(environment)?,
            log_format: LOG_FORMAT.require(environment)?,
            access_log: ACCESS_LOG.require(environment)?,
            traces: TraceConfig::read(environment)?,
            migrate_on_start: MIGRATE_ON_START.require(environment)?,
            wait_for_migrations: WAIT_FOR_MIGRATIONS.require(environment)?,
            served_by: SERVED_BY.read(environment)?.unwrap_or_else(host_name),
            cors_origins: CORS_ORIGINS.read(environment)?,
            shutdown_timeout: Duration::from_secs(SHUTDOWN_TIMEOUT.require(environment)?.into()),
        })
    }
}

/// The server, database and user: from one URL, or from the single variables. The options are never built by pasting
/// text into a URL, so that every password works.
fn primary(environment: &Environment) -> Result<MySqlConnectOptions, Error> {
    if let Some(options) = DATABASE_URL.read(environment)? {
        let single = [
            DATABASE_HOST.name(),
            DATABASE_PORT.name(),
            DATABASE_NAME.name(),
            DATABASE_USER.name(),
            DATABASE_PASSWORD.name(),
            "DATABASE_PASSWORD_FILE",
        ];
        return match single.into_iter().find(|name| environment.has(name)) {
            Some(name) => Err(Error::Conflict(format!("DATABASE_URL and {name} are both set: give one of them"))),
            None => Ok(options),
        };
    }
    Ok(MySqlConnectOptions::new()
        .host(&DATABASE_HOST.require(environment)?)
        .port(DATABASE_PORT.require(environment)?)
        .database(&DATABASE_NAME.require(environment)?)
        .username(&DATABASE_USER.require(environment)?)
        .password(&DATABASE_PASSWORD.require(environment)?))
}

/// Adds the encryption settings. An authority that would be ignored is refused: who names one expects it to be used.
fn with_tls(options: MySqlConnectOptions, environment: &Environment) -> Result<MySqlConnectOptions, Error> {
    let mode = DATABASE_TLS.require(environment)?;
    let options = options.ssl_mode(mode);
    match (DATABASE_TLS_CA.read(environment)?, mode) {
        (None, _) => Ok(options),
        (Some(pem), MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity) => Ok(options.ssl_ca_from_pem(pem)),
        (Some(_), MySqlSslMode::Disabled | MySqlSslMode::Preferred | MySqlSslMode::Required) => {
            Err(Error::Conflict("DATABASE_TLS_CA needs DATABASE_TLS to be verify-ca or verify-identity".to_owned()))
        }
    }
}

fn listen(value: &str) -> Option<Listen> {
    if let Some(path) = value.strip_prefix("unix:") {
        // 107 bytes and a NUL are all that the kernel's address structure holds.
        let good = path.starts_with('/') && !path.ends_with('/') && path.len() <= 107 && !path.contains('\0');
        return good.then(|| Listen::Unix(path.into()));
    }
    let (host, port) = value.rsplit_once(':')?;
    number::<u16, 1, 65_535>(port)?;
    let good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.contains(':') && variable::host(host).is_some(),
    };
    good.then(|| Listen::Tcp(value.to_owned()))
}

fn database_url(value: &str) -> Option<MySqlConnectOptions> {
    let rest = value.strip_prefix("mysql://")?;
    // Options have variables of their own; what stands behind a `?` would be ignored or win silently.
    if rest.contains(['?', '#']) || rest.starts_with(['/', '@']) {
        return None;
    }
    let options = MySqlConnectOptions::from_str(value).ok()?;
    let named = |name: &str| (1..=64).contains(&name.chars().count()) && !name.contains('\0');
    // "root" is the default of an absent user name, and nothing to fall back to silently.
    let (user, _) = rest.split_once([':', '@'])?;
    let whole = rest.contains('@') && !user.is_empty() && options.get_database().is_some_and(named);
    whole.then_some(options)
}

fn tls_mode(value: &str) -> Option<MySqlSslMode> {
    match value {
        "disabled" => Some(MySqlSslMode::Disabled),
        "preferred" => Some(MySqlSslMode::Preferred),
        "required" => Some(MySqlSslMode::Required),
        "verify-ca" => Some(MySqlSslMode::VerifyCa),
        "verify-identity" => Some(MySqlSslMode::VerifyIdentity),
        _ => None,
    }
}

fn certificates(path: &str) -> Option<Vec<u8>> {
    std::fs::read_to_string(path).ok().filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----")).map(String::into_bytes)
}

fn served_by(value: &str) -> Option<String> {
    let good = value.len() <= 255 && value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value;
    good.then(|| value.to_owned())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .and_then(|name| served_by(name.trim()).filter(|name| !name.is_empty()))
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const COMPLETE: &[(&str, &str)] = &[
        ("DATABASE_HOST", "db"),
        ("DATABASE_NAME", "employees"),
        ("DATABASE_USER", "app"),
        ("DATABASE_PASSWORD", "it's \"quoted\" \\ $x `y` é"),
    ];

    fn read(more: &[(&str, &str)]) -> Result<Config, Error> {
        Config::read(&COMPLETE.iter().chain(more).copied().collect())
    }

    fn refused(result: Result<Config, Error>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn four_variables_are_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen, Listen::Tcp("127.0.0.1:8000".to_owned()));
        assert_eq!(config.database.primary.get_host(), "db");
        assert_eq!(config.database.reads.get_host(), "db");
        assert_eq!(config.database.primary.get_port(), 3306);
        assert!(!config.served_by.is_empty());
        assert!(!config.migrate_on_start && !config.metrics_public && config.metrics_listen.is_none());
    }

    #[test]
    fn reads_go_to_their_own_host_where_one_is_given() {
        let config = read(&[("DATABASE_READ_HOST", "replicas")]).unwrap();
        assert_eq!(config.database.primary.get_host(), "db");
        assert_eq!(config.database.reads.get_host(), "replicas");
    }

    #[rstest]
    #[case("127.0.0.1:80", true)]
    #[case("localhost:8000", true)]
    #[case("[::]:8000", true)]
    #[case("unix:/run/app.sock", true)]
    #[case("8000", false)]
    #[case("::1:8000", false)]
    #[case("[::1]", false)]
    #[case("host:0", false)]
    #[case("host:65536", false)]
    #[case("unix:relative", false)]
    #[case("unix:/", false)]
    #[case("/run/app.sock", false)]
    fn listeners_are_tcp_or_unix_addresses(#[case] value: &str, #[case] good: bool) {
        assert_eq!(listen(value).is_some(), good);
    }

    #[rstest]
    #[case("mysql://app:p%40ss%2F@db:3307/employees", true)]
    #[case("mysql://app@db/employees", true)]
    #[case("mysql://app:x@[::1]:3306/employees", true)]
    #[case("postgres://app:x@db/employees", false)]
    #[case("mysql://db/employees", false)]
    #[case("mysql://:x@db/employees", false)]
    #[case("mysql://app:x@db", false)]
    #[case("mysql://app:x@db/", false)]
    #[case("mysql://app:x@/employees", false)]
    #[case("mysql://app:x@db:port/employees", false)]
    #[case("mysql://app:x@db/employees?ssl-mode=disabled", false)]
    #[case("mysql://", false)]
    fn a_database_url_names_user_host_and_database(#[case] value: &str, #[case] good: bool) {
        assert_eq!(database_url(value).is_some(), good);
    }

    #[rstest]
    #[case("DATABASE_HOST", "a b", r#"DATABASE_HOST is "a b": give a host name or an IP address"#)]
    #[case("DATABASE_PORT", "x", r#"DATABASE_PORT is "x": give a port from 1 to 65535"#)]
    #[case("DATABASE_POOL_SIZE", "0", r#"DATABASE_POOL_SIZE is "0": give 1 to 1000"#)]
    #[case("EXPORTS_AT_ONCE", "0", r#"EXPORTS_AT_ONCE is "0": give 1 to 100"#)]
    #[case("EXPORT_TIMEOUT", "1h", r#"EXPORT_TIMEOUT is "1h": give seconds, 1 to 86400"#)]
    #[case("DATABASE_QUERY_TIMEOUT", "-1", r#"DATABASE_QUERY_TIMEOUT is "-1": give seconds, 1 to 600"#)]
    #[case(
        "DATABASE_URL",
        "nonsense:secret",
        "DATABASE_URL is not allowed: give mysql://user:password@host:port/database, with special characters percent-encoded"
    )]
    #[case("DATABASE_URL", "mysql://a:b@c/d", "DATABASE_URL and DATABASE_HOST are both set: give one of them")]
    #[case(
        "DATABASE_PASSWORD_FILE",
        "/x",
        "DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set: give one of them"
    )]
    #[case(
        "DATABASE_TLS",
        "yes",
        r#"DATABASE_TLS is "yes": give preferred, disabled, required, verify-ca or verify-identity"#
    )]
    #[case(
        "DATABASE_TLS_CA",
        "/nonexistent",
        r#"DATABASE_TLS_CA is "/nonexistent": give the path of a readable file of PEM certificates"#
    )]
    #[case("LOG_LEVEL", "loud", r#"LOG_LEVEL is "loud": give error, warn, info, debug or trace"#)]
    #[case("LOG_LEVEL", "3", r#"LOG_LEVEL is "3": give error, warn, info, debug or trace"#)]
    #[case("LOG_FORMAT", "xml", r#"LOG_FORMAT is "xml": give json or text"#)]
    #[case("SERVED_BY", "a\nb", r#"SERVED_BY is "a\nb": give 1 to 255 printable ASCII characters"#)]
    #[case(
        "CORS_ORIGINS",
        "example.org",
        r#"CORS_ORIGINS is "example.org": give `*`, or origins as https://example.org with commas between them"#
    )]
    #[case("METRICS_PUBLIC", "maybe", r#"METRICS_PUBLIC is "maybe": give true or false"#)]
    #[case("MIGRATE_ON_START", "", "MIGRATE_ON_START is set but empty: give it a value or leave it out")]
    fn a_bad_value_is_refused_in_one_line(#[case] name: &str, #[case] value: &str, #[case] message: &str) {
        assert_eq!(refused(read(&[(name, value)])), message);
    }

    #[rstest]
    #[case("DATABASE_HOST")]
    #[case("DATABASE_NAME")]
    #[case("DATABASE_USER")]
    #[case("DATABASE_PASSWORD")]
    fn a_missing_variable_is_named(#[case] missing: &str) {
        let result = Config::read(&COMPLETE.iter().filter(|(name, _)| *name != missing).copied().collect());
        let message = refused(result);
        assert!(message.starts_with(missing) && message.contains("is not set"), "{message}");
    }

    #[test]
    fn an_authority_that_would_be_ignored_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\n").unwrap();
        let ca = ("DATABASE_TLS_CA", file.path().to_str().unwrap());
        assert!(refused(read(&[ca])).starts_with("DATABASE_TLS_CA needs DATABASE_TLS"));
        assert!(read(&[ca, ("DATABASE_TLS", "verify-ca")]).is_ok());
    }

    #[test]
    fn the_documented_table_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        tandem_environment::docs::check(&path, "webapp", &variable::table(VARIABLES)).unwrap();
    }
}
