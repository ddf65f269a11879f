//! What the objects of a stack are called, and the labels by which they are found again.

use std::collections::BTreeMap;

use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::controller::references::hex;
use crate::crd::WebStack;
use crate::group::Ordinal;
use crate::mysql;

/// The field manager, the value of `app.kubernetes.io/managed-by`, and the reporter of events.
pub const OPERATOR: &str = "tandem-operator";

/// On every object that was applied: a checksum of what was asked for.
pub const APPLIED: &str = "tandem.dev/applied";

/// On a Pod template, and on a migration's Job: a checksum of what people have asked for, so that a change takes
/// effect.
pub const CONFIG: &str = "tandem.dev/config";

/// In the credentials' Secret: root's password.
pub const ROOT_PASSWORD: &str = "root-password";

/// In the credentials' Secret: the application's password.
pub const PASSWORD: &str = "password";

/// In the Secret of an external database's authorities.
pub const CA: &str = "ca.crt";

/// On the Pod of a group's member: the group's UUID. A Pod without it runs alone.
pub const GROUP: &str = "tandem.dev/group";

/// On the Pod of a server that runs alone: the UUID of the group that it would be the first member of.
pub const FUTURE_GROUP: &str = "tandem.dev/future-group";

/// On each Pod of a StatefulSet, by Kubernetes: its own name. The Service for writes selects the primary of a group by
/// it.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// In the place of a Pod's name: no Pod of a StatefulSet is called so.
pub const NOBODY: &str = "none";

/// On the Pod of a group's member: `primary` or `replica`, where it is in the group.
pub const ROLE: &str = "tandem.dev/role";

/// On the Pod of a group's member that may be read from: `true`.
pub const READS: &str = "tandem.dev/reads";

/// The condition of a group member's Pod without which it is not ready: it is in the group. While it is not, no other
/// Pod of the group may be evicted.
pub const IN_GROUP: &str = "tandem.dev/in-group";

/// On a stack: the Pod that shall be the primary.
pub const PREFERRED: &str = "tandem.dev/primary";

/// On a stack: the Pod from which the group is formed anew, whatever only others have.
pub const SURVIVOR: &str = "tandem.dev/force-quorum";

/// On a stack: the Pod that is filled anew, whatever only it has.
pub const RECLONE: &str = "tandem.dev/reclone";

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

/// The Pod of one of the servers.
pub fn member(stack: &WebStack, ordinal: Ordinal) -> String {
    format!("{}-{ordinal}", Component::Mysql.of(stack))
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

/// The Secret with the password of the operator's account on the members of a group.
pub fn group_secret(stack: &WebStack) -> String {
    format!("{}-mysql-group", stack.name_any())
}

/// How a group and its members are called.
pub fn group(stack: &WebStack, cluster_domain: &str) -> mysql::Names {
    let namespace = stack.namespace().unwrap_or_default();
    let domain = format!("{}.{namespace}.svc.{cluster_domain}", mysql_nodes(stack));
    mysql::Names { set: Component::Mysql.of(stack), domain, group: group_uuid(stack) }
}

/// The UUID under which a stack's group is formed first. It comes from the stack's name: volumes that outlive the stack
/// are known again by the next one of that name.
pub fn group_uuid(stack: &WebStack) -> String {
    let namespace = stack.namespace().unwrap_or_default();
    let digest = hex(&Sha256::digest(format!("{OPERATOR} group {namespace}/{}", stack.name_any())));
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    // As a UUID that its maker has made in a way of his own: version 8, variant 1.
    format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
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
