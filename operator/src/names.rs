//! What the objects of a stack are called, and the labels by which they are found again.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::crd::WebStack;

/// The field manager, the value of `app.kubernetes.io/managed-by`, and the reporter of events.
pub const OPERATOR: &str = "tandem-operator";

/// On every object that was applied: a checksum of what was asked for.
pub const APPLIED: &str = "tandem.dev/applied";

/// On a Pod template: a checksum of the ConfigMaps and Secrets that the Pods read, so that a change rolls them.
pub const CONFIG: &str = "tandem.dev/config";

/// In the credentials' Secret: root's password.
pub const ROOT_PASSWORD: &str = "root-password";

/// In the credentials' Secret: the application's password.
pub const PASSWORD: &str = "password";

/// In the Secret of an external database's authorities.
pub const CA: &str = "ca.crt";

/// A part of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The database.
    Mysql,
    /// The web tier.
    Web,
    /// The Job that migrates the database.
    Migration,
}

impl Component {
    /// As a label's value, and as a part of names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Web => "web",
            Self::Migration => "migration",
        }
    }

    /// `NAME-mysql` and so on: what the component's objects are called.
    pub fn of(self, stack: &WebStack) -> String {
        format!("{}-{}", stack.name_any(), self.name())
    }
}

/// The headless Service, which gives each MySQL Pod a host name.
pub fn mysql_nodes(stack: &WebStack) -> String {
    format!("{}-mysql-nodes", stack.name_any())
}

/// The Service for reads.
pub fn mysql_read(stack: &WebStack) -> String {
    format!("{}-mysql-read", stack.name_any())
}

/// The Secret with the passwords: the user's, or the one that the operator generates.
pub fn credentials(stack: &WebStack) -> String {
    let given = stack.spec.mysql.as_ref().and_then(|mysql| mysql.credentials_secret.clone());
    given.unwrap_or_else(|| Component::Mysql.of(stack))
}

/// The labels of every object of a stack.
pub fn labels(stack: &WebStack) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/instance".to_owned(), stack.name_any()),
        ("app.kubernetes.io/managed-by".to_owned(), OPERATOR.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "webstack".to_owned()),
    ])
}

/// The labels of a component's objects. They select its Pods, so they never change.
pub fn component_labels(stack: &WebStack, component: Component) -> BTreeMap<String, String> {
    let mut labels = labels(stack);
    labels.insert("app.kubernetes.io/component".to_owned(), component.name().to_owned());
    labels
}

/// Labels as a selector's text.
pub fn selector(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
