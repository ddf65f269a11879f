//! The image's variables: declared once, read into [`Settings`] before anything starts.
//!
//! In: the environment of the container. Out: values that can stand in nginx's configuration as they are, because every
//! parser here lets only characters through that mean nothing to nginx.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tandem_environment::limits::Limits;
use tandem_environment::variable::{host, number};
use tandem_environment::{Environment, Error, SHUTDOWN_TIMEOUT, Variable};

/// The folder of everything that is written while the container runs.
pub(crate) const RUN: &str = "/run/tandem";

/// Our own application, and how it checks its variables.
const WEBAPP: &str = "webapp serve";
const WEBAPP_CHECK: [&str; 2] = ["webapp", "check"];

const ROLE: Variable<Role> = Variable::new(
    "WEB_ROLE",
    "app or proxy",
    role,
    "`app`: nginx in front of the application, both in this container. `proxy`: nginx alone, in front of several such \
     containers.",
)
.default("app");
const PORT: Variable<u16> = Variable::port(
    "PORT",
    "Where nginx listens, on all addresses, IPv4 and (where there is any) IPv6. The application must not use it: see \
     `LISTEN`.",
)
.default("8080");
const COMMAND: Variable<Vec<String>> = Variable::new(
    "APP_COMMAND",
    "a program in PATH and its arguments (quotes and backslashes as in a shell, nothing is expanded)",
    command,
    "The application. It inherits every variable; `LISTEN` is always set for it.",
)
.default(WEBAPP);
const CHECK: Variable<Vec<String>> = Variable::new(
    "APP_CHECK",
    "a program in PATH and its arguments, as in `APP_COMMAND`",
    command,
    "A command that looks at the application's variables before anything is started. When it fails, its code is the \
     container's, and what it wrote says why. Default: `webapp check` for `webapp serve`, nothing for another command.",
);
/// The application's own variable, looked at for a port that nginx has already.
const METRICS_LISTEN: Variable<String> = Variable::text("METRICS_LISTEN", "");
const LISTEN: Variable<Listen> = Variable::new(
    "LISTEN",
    "unix:/PATH, or ADDRESS:PORT with an IP address or localhost",
    listen,
    "Where the application listens and nginx finds it. For a TCP address the application also gets `PORT` with its \
     port; `PORT` of nginx is never passed on.",
)
.default("unix:/run/tandem/app.sock");
const UPSTREAM: Variable<HostPort> = Variable::new(
    "PROXY_UPSTREAM",
    "HOST:PORT",
    host_port,
    "For `WEB_ROLE=proxy`: the web containers. A name is looked up every second, each of its addresses is one replica.",
)
.default("web:8080");
const TRUSTED: Variable<Networks> = Variable::new(
    "TRUSTED_PROXIES",
    "none, or addresses and networks (10.0.0.0/8) separated by commas",
    networks,
    "From whom `X-Forwarded-For`, `-Proto` and `-Host` are believed. Default: the private networks for `WEB_ROLE=app` \
     (it stands behind a proxy), nobody for `WEB_ROLE=proxy` (it is the front).",
);
const METRICS_PUBLIC: Variable<bool> =
    Variable::switch("METRICS_PUBLIC", "Whether `/metrics` is answered on `PORT`; else it is 404 there.")
        .default("false");
const WORKERS: Variable<usize> = Variable::new(
    "NGINX_WORKERS",
    "a number from 1 to 256",
    number::<usize, 1, 256>,
    "nginx's worker processes. Default: the container's processor quota, rounded up, or the processors it may use.",
);
const CONNECTIONS: Variable<u32> = Variable::new(
    "NGINX_CONNECTIONS",
    "a number from 64 to 65536",
    number::<u32, 64, 65_536>,
    "Connections per worker, to clients and to the application together. Each takes 0.4 KB of memory from the start. \
     Slow clients hold one each: as many of them as this fit beside everybody else, so it must not be small.",
)
.default("12288");
const RATE_LIMIT: Variable<u32> = Variable::new(
    "RATE_LIMIT",
    "requests per second from 1 to 100000",
    number::<u32, 1, 100_000>,
    "The most requests per second of one client; more are answered with 429 and `Retry-After`. A client is an IPv4 \
     address or an IPv6 network of 64 bits, judged by `TRUSTED_PROXIES`. `/healthz` and `/readyz` are exempt. Not set: \
     no limit.",
);
const RATE_BURST: Variable<u32> = Variable::new(
    "RATE_LIMIT_BURST",
    "requests from 0 to 100000",
    number::<u32, 0, 100_000>,
    "With `RATE_LIMIT`: how many requests a client may be ahead of its rate. Default: those of one second.",
);
const CLIENT_REQUESTS: Variable<u32> = Variable::new(
    "CLIENT_REQUEST_LIMIT",
    "requests from 1 to 65535",
    number::<u32, 1, 65_535>,
    "The most requests of one client (see `RATE_LIMIT`) that are being answered at a time; more are answered with 429. \
     It bounds who reads large answers slowly. Not set: no limit.",
);
const BODY_SIZE: Variable<u64> = Variable::new(
    "BODY_SIZE_LIMIT",
    "a size from 1 to 1024g: bytes, or a number with k, m or g",
    size::<1, { 1 << 40 }>,
    "The largest request body; a larger one is answered with 413.",
)
.default("1m");
const HEADER_SIZE: Variable<u64> = Variable::new(
    "HEADER_SIZE_LIMIT",
    "a size from 1k to 1m: bytes, or a number with k or m",
    size::<1024, { 1 << 20 }>,
    "The longest request line (414) and the longest header field (431).",
)
.default("8k");
const CLIENT_TIMEOUT: Variable<u32> = Variable::new(
    "CLIENT_TIMEOUT",
    "seconds from 1 to 3600",
    number::<u32, 1, 3600>,
    "How long a client may take for its whole header, and between two reads or writes after that.",
)
.default("15");
const KEEPALIVE_TIMEOUT: Variable<u32> = Variable::new(
    "KEEPALIVE_TIMEOUT",
    "seconds from 5 to 3600",
    number::<u32, 5, 3600>,
    "How long an idle client connection stays open.",
)
.default("65");
const APP_TIMEOUT: Variable<u32> = Variable::new(
    "APP_TIMEOUT",
    "seconds from 1 to 3600",
    number::<u32, 1, 3600>,
    "How long the application may stay silent before nginx answers 504.",
)
.default("60");
const SHUTDOWN_DELAY: Variable<u32> = Variable::new(
    "SHUTDOWN_DELAY",
    "seconds from 0 to 3600",
    number::<u32, 0, 3600>,
    "How long the container goes on serving as before after it was asked to stop, for load balancers that hear of it \
     late.",
)
.default("0");
const HEALTH_PATH: Variable<String> = Variable::new(
    "HEALTH_PATH",
    "a path that starts with / (letters, digits and /._~-)",
    path,
    "What the image's health check asks for, through nginx. `/readyz`: healthy means that pages are served; \
     `/healthz`: that nginx and the application run.",
)
.default("/readyz");

/// Every variable of the image, in the order of the documentation.
#[cfg(test)]
pub(crate) const VARIABLES: &[&dyn tandem_environment::Described] = &[
    &ROLE,
    &PORT,
    &COMMAND,
    &CHECK,
    &LISTEN,
    &UPSTREAM,
    &TRUSTED,
    &METRICS_PUBLIC,
    &WORKERS,
    &CONNECTIONS,
    &RATE_LIMIT,
    &RATE_BURST,
    &CLIENT_REQUESTS,
    &BODY_SIZE,
    &HEADER_SIZE,
    &CLIENT_TIMEOUT,
    &KEEPALIVE_TIMEOUT,
    &APP_TIMEOUT,
    &SHUTDOWN_DELAY,
    &SHUTDOWN_TIMEOUT,
    &HEALTH_PATH,
];

/// The private networks and the machine itself.
const PRIVATE: &str = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7";

/// Everything that the container is told.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) role: Role,
    pub(crate) application: Application,
    pub(crate) upstream: HostPort,
    pub(crate) trusted_proxies: Networks,
    pub(crate) metrics_public: bool,
    pub(crate) limits: NginxLimits,
    pub(crate) client_limits: ClientLimits,
    pub(crate) shutdown_delay: u32,
}

/// What the container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    App,
    Proxy,
}

/// The application: how it is started and where it listens.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) command: Vec<String>,
    pub(crate) check: Option<Vec<String>>,
    pub(crate) listen: Listen,
    /// Whether it is ours, which reads no body.
    pub(crate) own: bool,
}

/// Numbers that go into nginx's configuration as they are.
#[derive(Debug)]
pub(crate) struct NginxLimits {
    pub(crate) workers: usize,
    pub(crate) connections: u32,
    pub(crate) body_size: u64,
    pub(crate) header_size: u64,
    pub(crate) client_timeout: u32,
    pub(crate) keepalive_timeout: u32,
    pub(crate) app_timeout: u32,
    pub(crate) shutdown_timeout: u32,
}

/// What one client may do at most; nothing is limited by default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientLimits {
    pub(crate) rate: Option<Rate>,
    /// Requests that are being answered at a time.
    pub(crate) requests: Option<u32>,
}

impl ClientLimits {
    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self.rate.is_some() || self.requests.is_some()
    }
}

/// Requests per second, and how many may come ahead of that rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

/// What the health check needs to know.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl Settings {
    /// Reads and checks every variable, whether or not the role uses it.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub(crate) fn read(environment: &Environment, container: &Limits) -> Result<Self, Error> {
        let role = ROLE.require(environment)?;
        let Health { port, path: _ } = Health::read(environment)?;
        let listen = LISTEN.require(environment)?;
        if role == Role::App && listen.port() == Some(port) {
            return Err(Error::Conflict(format!(
                "LISTEN and PORT are both port {port}: nginx listens on PORT, give the application another one"
            )));
        }
        let metrics = METRICS_LISTEN.read(environment)?;
        let metrics_port = metrics.as_deref().and_then(|address| address.rsplit_once(':')?.1.parse().ok());
        if role == Role::App && metrics_port == Some(port) {
            return Err(Error::Conflict(format!(
                "METRICS_LISTEN and PORT are both port {port}: nginx listens on PORT, give the metrics another one"
            )));
        }
        let command = COMMAND.require(environment)?;
        let own = Some(&command) == self::command(WEBAPP).as_ref();
        let own_check = own.then(|| WEBAPP_CHECK.map(str::to_owned).into());
        let check = CHECK.read(environment)?.or(own_check);
        let default_networks = match role {
            Role::App => networks(PRIVATE),
            Role::Proxy => None,
        };
        Ok(Self {
            port,
            role,
            application: Application { command, check, listen, own },
            upstream: UPSTREAM.require(environment)?,
            trusted_proxies: TRUSTED.read(environment)?.or(default_networks).unwrap_or_default(),
            metrics_public: METRICS_PUBLIC.require(environment)?,
            limits: NginxLimits {
                workers: WORKERS.read(environment)?.unwrap_or_else(|| container.workers()),
                connections: CONNECTIONS.require(environment)?,
                body_size: BODY_SIZE.require(environment)?,
                header_size: HEADER_SIZE.require(environment)?,
                client_timeout: CLIENT_TIMEOUT.require(environment)?,
                keepalive_timeout: KEEPALIVE_TIMEOUT.require(environment)?,
                app_timeout: APP_TIMEOUT.require(environment)?,
                shutdown_timeout: SHUTDOWN_TIMEOUT.require(environment)?,
            },
            client_limits: ClientLimits { rate: rate(environment)?, requests: CLIENT_REQUESTS.read(environment)? },
            shutdown_delay: SHUTDOWN_DELAY.require(environment)?,
        })
    }
}

/// The limit of requests per second. A burst that would be ignored is refused: who gives one expects a limit.
fn rate(environment: &Environment) -> Result<Option<Rate>, Error> {
    match (RATE_LIMIT.read(environment)?, RATE_BURST.read(environment)?) {
        (Some(per_second), burst) => Ok(Some(Rate { per_second, burst: burst.unwrap_or(per_second) })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::Conflict("RATE_LIMIT_BURST needs RATE_LIMIT: give both, or none".to_owned())),
    }
}

impl Application {
    /// The application's command, its program as a file, looked up in `search` (the value of PATH).
    ///
    /// # Errors
    /// There is no such program: found here, it costs one line instead of a container that half starts.
    pub(crate) fn command(&self, search: &OsStr) -> Result<Vec<OsString>, Error> {
        with_program(&COMMAND, &self.command, search)
    }

    /// The same of the command that checks the application's variables, where there is one.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub(crate) fn check(&self, search: &OsStr) -> Result<Option<Vec<OsString>>, Error> {
        self.check.as_ref().map(|check| with_program(&CHECK, check, search)).transpose()
    }
}

fn with_program(variable: &Variable<Vec<String>>, command: &[String], search: &OsStr) -> Result<Vec<OsString>, Error> {
    let name = command.first().map_or("", String::as_str);
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        std::env::split_paths(search).map(|folder| folder.join(name)).collect()
    };
    let program = candidates.into_iter().find(|file| executable(file)).ok_or_else(|| variable.refuse(name))?;
    Ok(std::iter::once(program.into_os_string()).chain(command.iter().skip(1).map(OsString::from)).collect())
}

fn executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl Health {
    /// Reads what the health check needs.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub(crate) fn read(environment: &Environment) -> Result<Self, Error> {
        Ok(Self { port: PORT.require(environment)?, path: HEALTH_PATH.require(environment)? })
    }
}

/// Where the application listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A socket file.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl Listen {
    /// The TCP port.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(address) => Some(address.port()),
        }
    }

    /// The address to connect to: "all addresses" is where to listen, not where to connect.
    pub(crate) fn target(&self) -> Self {
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => {
                let loopback = match address.ip() {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                };
                Self::Tcp(SocketAddr::new(loopback, address.port()))
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// Whether the host is a name that has to be looked up.
    pub(crate) fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Networks in nginx's notation.
pub(crate) type Networks = Vec<Network>;

/// One network: an address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn role(value: &str) -> Option<Role> {
    match value {
        "app" => Some(Role::App),
        "proxy" => Some(Role::Proxy),
        _ => None,
    }
}

fn command(value: &str) -> Option<Vec<String>> {
    if value.contains('\0') {
        return None;
    }
    shell_words::split(value).ok().filter(|words| words.first().is_some_and(|program| !program.is_empty()))
}

fn path(value: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
    (value.starts_with('/') && value.len() <= 200 && value.bytes().all(plain)).then(|| value.to_owned())
}

fn listen(value: &str) -> Option<Listen> {
    if let Some(file) = value.strip_prefix("unix:") {
        // The kernel's limit for a socket's path is 107 bytes.
        let file = path(file).filter(|file| file.len() <= 107 && !file.ends_with('/'))?;
        return Some(Listen::Unix(PathBuf::from(file)));
    }
    let address = match value.strip_prefix("localhost:") {
        Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), number::<u16, 1, 65_535>(port)?),
        None => value.parse().ok()?,
    };
    // A scope (fe80::1%2) means nothing to nginx.
    let scoped = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    (address.port() != 0 && !scoped).then_some(Listen::Tcp(address))
}

fn host_port(value: &str) -> Option<HostPort> {
    let (name, port) = value.rsplit_once(':')?;
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None if name.contains(':') => return None,
        None => host(name)?,
    };
    Some(HostPort { host: name, port: number::<u16, 1, 65_535>(port)? })
}

fn networks(value: &str) -> Option<Networks> {
    if value == "none" {
        return Some(Vec::new());
    }
    value.split(',').map(|one| network(one.trim())).collect()
}

fn network(value: &str) -> Option<Network> {
    let (address, prefix) = value.split_once('/').map_or((value, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(text) => number::<u8, 0, 128>(text).filter(|&length| length <= longest)?,
        None => longest,
    };
    Some(Network { address, prefix })
}

fn size<const MIN: u64, const MAX: u64>(value: &str) -> Option<u64> {
    let (digits, unit) = match value.as_bytes().last()? {
        b'k' | b'K' => (&value[..value.len() - 1], 1 << 10),
        b'm' | b'M' => (&value[..value.len() - 1], 1 << 20),
        b'g' | b'G' => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    let bytes = number::<u64, 0, { u64::MAX }>(digits)?.checked_mul(unit)?;
    (MIN..=MAX).contains(&bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tandem_environment::{docs, variable};

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(&pairs.iter().copied().collect(), &Limits::below("/nonexistent")).map_err(|e| e.to_string())
    }

    #[test]
    fn with_no_variable_set_the_defaults_hold() {
        let mut settings = read(&[]).unwrap();
        assert_eq!(settings.limits.workers, std::thread::available_parallelism().unwrap().get());
        settings.limits.workers = 0; // differs from machine to machine
        insta::assert_debug_snapshot!(settings);
    }

    #[rstest]
    #[case("WEB_ROLE", "front")]
    #[case("WEB_ROLE", "App")]
    #[case("PORT", "0")]
    #[case("PORT", "80a")]
    #[case("PORT", "8080; root /")]
    #[case("APP_COMMAND", "webapp 'serve")]
    #[case("APP_COMMAND", "   ")]
    #[case("APP_COMMAND", "'' serve")]
    #[case("LISTEN", "unix:app.sock")]
    #[case("LISTEN", "unix:/run/a b")]
    #[case("LISTEN", "unix:/run/a;b")]
    #[case("LISTEN", "unix:/run/")]
    #[case("LISTEN", "example.com:80")]
    #[case("LISTEN", "127.0.0.1")]
    #[case("LISTEN", "127.0.0.1:0")]
    #[case("LISTEN", "localhost:+1")]
    #[case("LISTEN", "[fe80::1%1]:80")]
    #[case("PROXY_UPSTREAM", "web")]
    #[case("PROXY_UPSTREAM", "web:")]
    #[case("PROXY_UPSTREAM", ":80")]
    #[case("PROXY_UPSTREAM", "http://web:80")]
    #[case("PROXY_UPSTREAM", "::1:80")]
    #[case("PROXY_UPSTREAM", "[web]:80")]
    #[case("PROXY_UPSTREAM", "web:80 down")]
    #[case("TRUSTED_PROXIES", "all")]
    #[case("TRUSTED_PROXIES", "10.0.0.0/33")]
    #[case("TRUSTED_PROXIES", "10.0.0.0/8,")]
    #[case("TRUSTED_PROXIES", "10.0.0.0/8;")]
    #[case("TRUSTED_PROXIES", "::/129")]
    #[case("METRICS_PUBLIC", "maybe")]
    #[case("NGINX_WORKERS", "0")]
    #[case("NGINX_WORKERS", "auto")]
    #[case("NGINX_CONNECTIONS", "63")]
    #[case("BODY_SIZE_LIMIT", "0")]
    #[case("BODY_SIZE_LIMIT", "m")]
    #[case("BODY_SIZE_LIMIT", "1.5m")]
    #[case("BODY_SIZE_LIMIT", "-1")]
    #[case("BODY_SIZE_LIMIT", "1025g")]
    #[case("BODY_SIZE_LIMIT", "99999999999999999999g")]
    #[case("BODY_SIZE_LIMIT", "1µ")]
    #[case("HEADER_SIZE_LIMIT", "1023")]
    #[case("HEADER_SIZE_LIMIT", "2m")]
    #[case("CLIENT_TIMEOUT", "15s")]
    #[case("KEEPALIVE_TIMEOUT", "4")]
    #[case("APP_TIMEOUT", "0")]
    #[case("SHUTDOWN_DELAY", "-1")]
    #[case("SHUTDOWN_TIMEOUT", "3601")]
    #[case("RATE_LIMIT", "0")]
    #[case("RATE_LIMIT", "10r/s")]
    #[case("RATE_LIMIT_BURST", "-1")]
    #[case("CLIENT_REQUEST_LIMIT", "0")]
    #[case("HEALTH_PATH", "readyz")]
    #[case("HEALTH_PATH", "/a b")]
    #[case("HEALTH_PATH", "/a\r\nHost: b")]
    fn a_bad_value_is_refused_in_one_line_that_names_the_variable(#[case] name: &str, #[case] value: &str) {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name} is ")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn every_variable_is_refused_when_it_is_set_but_empty() {
        for variable in VARIABLES {
            let error = read(&[(variable.name(), "")]).unwrap_err();
            assert_eq!(error, format!("{} is set but empty: give it a value or leave it out", variable.name()));
        }
    }

    #[rstest]
    #[case("unix:/tmp/x.sock", "unix:/tmp/x.sock")]
    #[case("127.0.0.1:3000", "127.0.0.1:3000")]
    #[case("localhost:3000", "127.0.0.1:3000")]
    #[case("0.0.0.0:3000", "127.0.0.1:3000")]
    #[case("[::]:3000", "[::1]:3000")]
    fn the_address_of_the_application_is_one_that_can_be_reached(#[case] value: &str, #[case] target: &str) {
        assert_eq!(listen(value).unwrap().target().to_string(), target);
    }

    #[test]
    fn nginx_and_the_application_cannot_share_a_port() {
        let error = read(&[("LISTEN", "127.0.0.1:8080")]).unwrap_err();
        assert!(error.starts_with("LISTEN and PORT are both port 8080"), "{error}");
        let error = read(&[("METRICS_LISTEN", "127.0.0.1:8080")]).unwrap_err();
        assert!(error.starts_with("METRICS_LISTEN and PORT are both port 8080"), "{error}");
        assert!(read(&[("METRICS_LISTEN", "127.0.0.1:9000")]).is_ok());
        assert!(read(&[("LISTEN", "127.0.0.1:8080"), ("WEB_ROLE", "proxy")]).is_ok());
    }

    #[rstest]
    #[case("web:8080", "web:8080", true)]
    #[case("web.ns.svc.cluster.local.:80", "web.ns.svc.cluster.local.:80", true)]
    #[case("10.0.0.1:80", "10.0.0.1:80", false)]
    #[case("[fd00::1]:80", "[fd00::1]:80", false)]
    fn the_front_follows_a_name_or_an_address(#[case] value: &str, #[case] shown: &str, #[case] name: bool) {
        let upstream = host_port(value).unwrap();
        assert_eq!((upstream.to_string().as_str(), upstream.is_name()), (shown, name));
    }

    #[rstest]
    #[case("none", "[]")]
    #[case("10.0.0.0/8, 192.0.2.7", r#"["10.0.0.0/8", "192.0.2.7/32"]"#)]
    #[case("fd00::/8,::1", r#"["fd00::/8", "::1/128"]"#)]
    fn trusted_proxies_are_networks(#[case] value: &str, #[case] expected: &str) {
        let shown: Vec<String> = networks(value).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(format!("{shown:?}"), expected);
    }

    #[test]
    fn the_front_trusts_nobody_unless_told() {
        assert_eq!(read(&[("WEB_ROLE", "proxy")]).unwrap().trusted_proxies, []);
        assert_eq!(read(&[]).unwrap().trusted_proxies.len(), 6);
        assert_eq!(read(&[("TRUSTED_PROXIES", "none")]).unwrap().trusted_proxies, []);
    }

    #[rstest]
    #[case(&[], ClientLimits::default())]
    #[case(&[("RATE_LIMIT", "5")], ClientLimits { rate: Some(Rate { per_second: 5, burst: 5 }), requests: None })]
    #[case(&[("RATE_LIMIT", "5"), ("RATE_LIMIT_BURST", "0")], ClientLimits { rate: Some(Rate { per_second: 5, burst: 0 }), requests: None })]
    #[case(&[("CLIENT_REQUEST_LIMIT", "9")], ClientLimits { rate: None, requests: Some(9) })]
    fn clients_are_limited_only_when_asked_for(#[case] pairs: &[(&str, &str)], #[case] expected: ClientLimits) {
        assert_eq!(read(pairs).unwrap().client_limits, expected);
    }

    #[test]
    fn a_burst_without_a_rate_is_refused() {
        let error = read(&[("RATE_LIMIT_BURST", "5")]).unwrap_err();
        assert_eq!(error, "RATE_LIMIT_BURST needs RATE_LIMIT: give both, or none");
    }

    #[test]
    fn sizes_take_a_unit() {
        assert_eq!(read(&[("BODY_SIZE_LIMIT", "10M")]).unwrap().limits.body_size, 10 << 20);
        assert_eq!(read(&[("BODY_SIZE_LIMIT", "1024g")]).unwrap().limits.body_size, 1 << 40);
        assert_eq!(read(&[("HEADER_SIZE_LIMIT", "2048")]).unwrap().limits.header_size, 2048);
    }

    #[rstest]
    #[case(&[], Some("webapp check"))]
    #[case(&[("APP_COMMAND", "webapp serve")], Some("webapp check"))]
    #[case(&[("APP_COMMAND", "gunicorn app:app")], None)]
    #[case(&[("APP_COMMAND", "gunicorn app:app"), ("APP_CHECK", "gunicorn --check-config app:app")], Some("gunicorn --check-config app:app"))]
    fn only_our_own_application_is_checked_without_being_told_how(
        #[case] pairs: &[(&str, &str)],
        #[case] check: Option<&str>,
    ) {
        let read = read(pairs).unwrap().application.check.map(|words| words.join(" "));
        assert_eq!(read.as_deref(), check);
    }

    #[test]
    fn the_program_is_looked_up_in_path() {
        let find = |command: &str| {
            let words = [command.to_owned(), "a b".to_owned()];
            with_program(&COMMAND, &words, "/nonexistent:/usr/bin:/bin".as_ref()).map_err(|e| e.to_string())
        };
        assert!(Path::new(&find("sh").unwrap()[0]).ends_with("sh"));
        assert_eq!(find("/bin/sh").unwrap(), ["/bin/sh", "a b"]);
        assert!(
            find("no-such-program").unwrap_err().starts_with(r#"APP_COMMAND is "no-such-program": give a program"#)
        );
        assert!(find("/etc/passwd").is_err());
        assert!(find("/etc").is_err());
    }

    #[test]
    fn the_documented_table_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        docs::check(&file, "web", &variable::table(VARIABLES)).unwrap();
    }
}
