//! What the operator reads from its environment.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use kube::Client;
use tandem_environment::log::{LOG_FORMAT, LOG_LEVEL, LogFormat};
use tandem_environment::{Described, Environment, Error, Variable};

use crate::names::OPERATOR;

const WATCH_NAMESPACE: Variable<String> = Variable::new(
    "WATCH_NAMESPACE",
    "the name of a namespace",
    label,
    "The one namespace whose WebStacks are reconciled. Not set: all.",
);
const POD_NAMESPACE: Variable<String> = Variable::new(
    "POD_NAMESPACE",
    "the name of a namespace",
    label,
    "Where the Lease is kept that makes one replica the leader. Not set: the namespace of the kubeconfig or of the Pod.",
);
const POD_NAME: Variable<String> = Variable::new(
    "POD_NAME",
    "1 to 253 characters",
    |value| (value.len() <= 253).then(|| value.to_owned()),
    "Who the leader is, in the Lease, and who reports events. Not set: a random name.",
);
const LEADER_ELECTION: Variable<bool> = Variable::switch(
    "LEADER_ELECTION",
    "Whether a Lease decides which replica reconciles. Without it there must be one replica.",
)
.default("true");
const LISTEN: Variable<SocketAddr> = Variable::new(
    "LISTEN",
    "ADDRESS:PORT with an IP address",
    |value| value.parse().ok(),
    "Where `/healthz`, `/readyz` and `/metrics` are served.",
)
.default("0.0.0.0:8080");
const CLUSTER_DOMAIN: Variable<String> = Variable::new(
    "CLUSTER_DOMAIN",
    "a host name",
    tandem_environment::variable::host,
    "The cluster's DNS domain, for the name by which the web tier finds its database.",
)
.default("cluster.local");

/// Every variable of the operator, in the documentation's order.
pub const VARIABLES: [&dyn Described; 8] =
    [&WATCH_NAMESPACE, &POD_NAMESPACE, &POD_NAME, &LEADER_ELECTION, &LISTEN, &CLUSTER_DOMAIN, &LOG_LEVEL, &LOG_FORMAT];

/// The checked values.
#[derive(Clone, Debug)]
pub struct Config {
    /// The one namespace to reconcile, or all.
    pub watch_namespace: Option<String>,
    /// Where the Lease is.
    pub pod_namespace: Option<String>,
    /// Who this is.
    pub pod_name: String,
    /// Whether a Lease decides who reconciles.
    pub leader_election: bool,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// The least severe messages that are logged.
    pub log_level: tracing::Level,
    /// How they are written.
    pub log_format: LogFormat,
}

impl Config {
    /// Where this operator is: said, or known from the Pod or the kubeconfig.
    pub fn namespace(&self, client: &Client) -> String {
        self.pod_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned())
    }

    /// Reads and checks all variables.
    ///
    /// # Errors
    /// The first variable that is wrong.
    pub fn read(environment: &Environment) -> Result<Self, Error> {
        Ok(Self {
            watch_namespace: WATCH_NAMESPACE.read(environment)?,
            pod_namespace: POD_NAMESPACE.read(environment)?,
            pod_name: POD_NAME.read(environment)?.unwrap_or_else(random_name),
            leader_election: LEADER_ELECTION.require(environment)?,
            listen: LISTEN.require(environment)?,
            cluster_domain: CLUSTER_DOMAIN.require(environment)?,
            log_level: LOG_LEVEL.require(environment)?,
            log_format: LOG_FORMAT.require(environment)?,
        })
    }
}

/// Two operators of one name would both take themselves for the leader.
fn random_name() -> String {
    let hash = BuildHasher::hash_one(&RandomState::new(), std::process::id());
    format!("{OPERATOR}-{hash:016x}")
}

/// A DNS label, as namespaces are called.
fn label(value: &str) -> Option<String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let well_formed = !value.is_empty() && value.len() <= 63 && value.bytes().all(inner);
    (well_formed && !value.starts_with('-') && !value.ends_with('-')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn everything_has_a_default() {
        let config = Config::read(&Environment::default()).unwrap();
        assert_eq!((config.watch_namespace, config.listen.port(), config.leader_election), (None, 8080, true));
        let another = Config::read(&Environment::default()).unwrap();
        assert_ne!(config.pod_name, another.pod_name);
    }

    #[rstest]
    #[case("WATCH_NAMESPACE", "Shop", "WATCH_NAMESPACE is \"Shop\": give the name of a namespace")]
    #[case("LISTEN", "8080", "LISTEN is \"8080\": give ADDRESS:PORT with an IP address")]
    #[case("LEADER_ELECTION", "perhaps", "LEADER_ELECTION is \"perhaps\": give true or false")]
    #[case("CLUSTER_DOMAIN", "a b", "CLUSTER_DOMAIN is \"a b\": give a host name")]
    fn a_wrong_value_is_refused_in_one_line(#[case] name: &str, #[case] value: &str, #[case] line: &str) {
        let error = Config::read(&[(name, value)].into_iter().collect()).unwrap_err();
        assert_eq!(error.to_string(), line);
    }

    #[test]
    fn the_documented_table_is_current() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let table = tandem_environment::variable::table(&VARIABLES);
        assert_eq!(tandem_environment::docs::check(page.as_ref(), "operator", &table), Ok(()));
    }
}
