//! What the spec asks for against what the cluster holds: the part of validation that no schema can do. Pure.
//!
//! A tier with a problem is left as it is but for the number of its Pods, the other tier goes on.

use crate::controller::observe::Observed;
use crate::controller::references;
use crate::names::{self, Component};

/// Why a tier cannot be brought to what the spec says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In a condition: one word in CamelCase.
    pub reason: &'static str,
    /// For a person: names the object.
    pub message: String,
}

/// What can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The problem of the database tier.
    pub mysql: Option<Problem>,
    /// The problem of the web tier.
    pub web: Option<Problem>,
}

/// Looks for everything that the tiers refer to.
pub fn validate(observed: &Observed) -> Validated {
    let stack = &observed.stack;
    // The generated Secret is about to exist.
    let generated = stack.spec.mysql.as_ref().filter(|mysql| mysql.credentials_secret.is_none());
    let to_be_made =
        generated.filter(|_| observed.lacks(&names::credentials(stack))).map(|_| names::credentials(stack));
    let problem = |component| {
        let mut wanted = references::of(stack, component);
        wanted.retain(|reference| Some(&reference.name) != to_be_made.as_ref());
        let unreadable = references::unreadable(&wanted, &observed.unread).map(|words| ("ReferenceUnreadable", words));
        let missing = || Some(("ReferenceMissing", references::missing(&wanted, &observed.contents)?));
        unreadable.or_else(missing).map(|(reason, message)| Problem { reason, message })
    };
    Validated { mysql: stack.spec.mysql.as_ref().and_then(|_| problem(Component::Mysql)), web: problem(Component::Web) }
}
