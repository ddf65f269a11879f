//! The configurations of nginx and supervisor: templates, checked when this program is compiled, filled from typed
//! values only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use askama::Template;

use crate::link::Program;
use crate::settings::{ClientLimits, Network, NginxLimits, RUN, Role, Settings};

/// What the machine is like, as far as nginx's configuration depends on it.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Whether IPv6 sockets can be made.
    pub(crate) ipv6: bool,
    /// Whether this process is root, be it with no capability left.
    pub(crate) root: bool,
    /// The name servers, in their order.
    pub(crate) name_servers: Vec<IpAddr>,
}

impl Machine {
    /// All addresses of the machine, once per protocol; `listen` in nginx.conf must name the same.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.ipv6.then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        [IpAddr::V4(Ipv4Addr::UNSPECIFIED)].into_iter().chain(v6)
    }
}

#[derive(Template)]
#[template(path = "nginx.conf", escape = "none")]
struct Nginx<'a> {
    run: &'static str,
    root: bool,
    ipv6: bool,
    port: u16,
    metrics_public: bool,
    limits: &'a NginxLimits,
    client_limits: &'a ClientLimits,
    trusted_proxies: &'a [Network],
    application: Option<String>,
    /// Whether a body is passed on as it comes: whoever is behind lets go of a client that takes its time.
    bodies_pass: bool,
    proxy: Option<Proxy>,
}

struct Proxy {
    upstream: String,
    resolvers: String,
}

#[derive(Template)]
#[template(path = "supervisord.conf", escape = "none")]
struct Supervisord {
    run: &'static str,
    executable: &'static str,
    programs: Vec<ProgramSection>,
}

struct ProgramSection {
    name: &'static str,
    stop_signal: &'static str,
    stop_wait: u32,
}

/// nginx's configuration.
///
/// # Errors
/// Writing into memory fails.
pub(crate) fn nginx(settings: &Settings, machine: &Machine) -> Result<String, askama::Error> {
    let (application, proxy) = match settings.role {
        Role::App => {
            let target = settings.application.listen.target();
            (Some(target.to_string()), None)
        }
        Role::Proxy => {
            let upstream = settings.upstream.to_string();
            let resolvers = if settings.upstream.is_name() { resolvers(&machine.name_servers) } else { String::new() };
            (None, Some(Proxy { upstream, resolvers }))
        }
    };
    Nginx {
        run: RUN,
        root: machine.root,
        ipv6: machine.ipv6,
        port: settings.port,
        metrics_public: settings.metrics_public,
        limits: &settings.limits,
        client_limits: &settings.client_limits,
        trusted_proxies: &settings.trusted_proxies,
        application,
        bodies_pass: settings.role == Role::Proxy || settings.application.own,
        proxy,
    }
    .render()
}

/// supervisord's configuration.
///
/// # Errors
/// Writing into memory fails.
pub(crate) fn supervisord(settings: &Settings, executable: &'static str) -> Result<String, askama::Error> {
    let programs = Program::of(settings.role).iter().map(|&program| ProgramSection {
        name: program.name(),
        // nginx's TERM is a fast stop that cuts requests off: QUIT drains. Applications drain on TERM.
        stop_signal: match program {
            Program::Nginx => "QUIT",
            Program::App => "TERM",
        },
        // One second after nginx's own bound (worker_shutdown_timeout), so that it is nginx who ends the last requests.
        stop_wait: settings.limits.shutdown_timeout + 1,
    });
    Supervisord { run: RUN, executable, programs: programs.collect() }.render()
}

/// Name servers in nginx's notation.
fn resolvers(servers: &[IpAddr]) -> String {
    let shown = servers.iter().map(|server| match server {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tandem_environment::Environment;
    use tandem_environment::limits::Limits;

    use crate::settings::VARIABLES;

    fn read(pairs: &[(&str, &str)]) -> Option<Settings> {
        let environment: Environment = pairs.iter().copied().collect();
        Settings::read(&environment, &Limits::below("/nonexistent")).ok()
    }

    fn machine() -> Machine {
        Machine { ipv6: true, root: false, name_servers: vec!["127.0.0.11".parse().unwrap()] }
    }

    #[test]
    fn the_application_role_puts_nginx_before_the_application() {
        let settings = read(&[("NGINX_WORKERS", "2")]).unwrap();
        insta::assert_snapshot!("nginx_app", nginx(&settings, &machine()).unwrap());
        insta::assert_snapshot!("supervisord_app", supervisord(&settings, "/usr/local/bin/tandem-web").unwrap());
    }

    #[test]
    fn the_proxy_role_follows_a_name() {
        let settings = read(&[("NGINX_WORKERS", "2"), ("WEB_ROLE", "proxy")]).unwrap();
        insta::assert_snapshot!("nginx_proxy", nginx(&settings, &machine()).unwrap());
        insta::assert_snapshot!("supervisord_proxy", supervisord(&settings, "/usr/local/bin/tandem-web").unwrap());
    }

    #[test]
    fn an_address_needs_no_name_server_and_ipv6_only_where_there_is_any() {
        let settings = read(&[("WEB_ROLE", "proxy"), ("PROXY_UPSTREAM", "10.0.0.1:80")]).unwrap();
        let machine = Machine { ipv6: false, root: true, name_servers: Vec::new() };
        let text = nginx(&settings, &machine).unwrap();
        assert!(text.contains("server 10.0.0.1:80 max_fails"), "{text}");
        assert!(text.contains("\nuser root;\n"), "{text}");
        assert!(!text.contains("resolver ") && !text.contains("[::]"), "{text}");
    }

    #[test]
    fn public_metrics_lose_their_404() {
        let hidden = nginx(&read(&[]).unwrap(), &machine()).unwrap();
        let public = nginx(&read(&[("METRICS_PUBLIC", "true")]).unwrap(), &machine()).unwrap();
        assert!(hidden.contains("location = /metrics") && !public.contains("/metrics"));
    }

    #[test]
    fn a_limited_client_is_known_by_its_address() {
        let limited = read(&[("RATE_LIMIT", "10"), ("RATE_LIMIT_BURST", "30"), ("CLIENT_REQUEST_LIMIT", "8")]).unwrap();
        let text = nginx(&limited, &machine()).unwrap();
        let (_, after) = text.split_once("    # A client is").unwrap();
        let (block, _) = after.split_once("\n    gzip on;").unwrap();
        insta::assert_snapshot!("nginx_limited", format!("    # A client is{block}"));
        assert!(text.contains("error_page 400 404 405 408 413 414 429 "), "{text}");
        assert!(!nginx(&read(&[]).unwrap(), &machine()).unwrap().contains("limit_"));
    }

    /// The characters that give a configuration its structure.
    fn structure(text: &str) -> String {
        text.chars().filter(|c| ";{}\n\r#'\"\\$%[]=".contains(*c)).collect()
    }

    /// What an attacker would try: characters with a meaning, around pieces that some parser accepts.
    fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "\\PC{0,4}",
            "[;{}\n\r#'\"\\\\$% =/:.,a-z0-9-]{0,6}",
            Just("unix:/run/x".to_owned()),
            Just("127.0.0.1:80".to_owned()),
            Just("10.0.0.0/8".to_owned()),
            Just("; return 200;".to_owned()),
            Just("web:80".to_owned()),
            Just("1m".to_owned()),
            "[0-9]{1,4}",
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_value_of_any_variable_adds_a_directive(
            index in 0..VARIABLES.len(),
            value in nasty(),
            role in prop_oneof![Just("app"), Just("proxy")],
        ) {
            let name = VARIABLES[index].name();
            // These choose between two structures, and the tests above show both; the limits are numbers.
            prop_assume!(!["WEB_ROLE", "METRICS_PUBLIC", "RATE_LIMIT", "CLIENT_REQUEST_LIMIT"].contains(&name));
            let (role, nobody) = (("WEB_ROLE", role), ("TRUSTED_PROXIES", "none"));
            let Some(mut settings) = read(&[role, nobody, (name, &value)]) else { return Ok(()) };
            let plain = read(&[role, nobody]).unwrap();
            // A list adds lines, each with one network.
            for network in std::mem::take(&mut settings.trusted_proxies) {
                let shown = network.to_string();
                prop_assert!(shown.chars().all(|c| c.is_ascii_hexdigit() || ".:/".contains(c)), "{shown}");
            }
            // An address has no lines about looking it up.
            let upstream = settings.upstream.to_string();
            prop_assert!(upstream.chars().all(|c| c.is_ascii_alphanumeric() || "._:-[]".contains(c)), "{upstream}");
            settings.upstream = plain.upstream.clone();
            let nginx = |settings: &Settings| structure(&nginx(settings, &machine()).unwrap()).replace(['[', ']'], "");
            let supervisord = |settings: &Settings| structure(&supervisord(settings, "/x").unwrap());
            prop_assert_eq!(nginx(&settings), nginx(&plain));
            prop_assert_eq!(supervisord(&settings), supervisord(&plain));
        }
    }
}
