//! The Secrets and ConfigMaps that a stack's Pods read: which they are, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Secret};
use sha2::{Digest, Sha256};

use crate::crd::WebStack;
use crate::names::{self, Component};

/// What holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Kind {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// One object that Pods read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// What it is.
    pub kind: Kind,
    /// Its name, in the stack's namespace.
    pub name: String,
    /// A key that it must have; none where all of it is read.
    pub key: Option<String>,
    /// Whether Pods start without it.
    pub optional: bool,
    /// Whether it may be empty: a password may not.
    pub may_be_empty: bool,
}

/// What is known of an object's content, without the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its keys.
    pub keys: BTreeSet<String>,
    /// Those of them that have no value.
    pub empty: BTreeSet<String>,
    /// A checksum of keys and values.
    pub checksum: String,
}

impl Content {
    /// Of a Secret as the cluster has it.
    pub fn of_secret(secret: &Secret) -> Self {
        Self::of(secret.data.iter().flatten().map(|(key, value)| (key, value.0.as_slice())))
    }

    /// Of keys and values, in the keys' order.
    pub fn of<'a>(data: impl IntoIterator<Item = (&'a String, &'a [u8])>) -> Self {
        let (mut keys, mut empty, mut digest) = (BTreeSet::new(), BTreeSet::new(), Sha256::new());
        for (key, value) in data {
            keys.insert(key.clone());
            if value.is_empty() {
                empty.insert(key.clone());
            }
            // Lengths first, so that no two contents read the same.
            for part in [key.as_bytes(), value] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        Self { keys, empty, checksum: hex(&digest.finalize()) }
    }
}

/// Contents by kind and name; `None` for an object that does not exist.
pub type Contents = BTreeMap<(Kind, String), Option<Content>>;

/// Why objects could not be read, by kind and name.
pub type Unread = BTreeMap<(Kind, String), String>;

/// The first half of a digest as hexadecimal digits: 128 bits are plenty to notice a change.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Everything that the Pods of `component` read, beside the operator's own ConfigMaps.
pub fn of(stack: &WebStack, component: Component) -> Vec<Reference> {
    let secret = |name: &str, key: &str| Reference {
        kind: Kind::Secret,
        name: name.to_owned(),
        key: Some(key.to_owned()),
        optional: false,
        may_be_empty: false,
    };
    let mut found = Vec::new();
    match component {
        Component::Mysql => {
            let Some(mysql) = &stack.spec.mysql else { return found };
            let credentials = names::credentials(stack);
            found.push(secret(&credentials, names::ROOT_PASSWORD));
            found.push(secret(&credentials, names::PASSWORD));
            let initdb = mysql.initdb.as_ref().and_then(|initdb| initdb.config_map.as_ref());
            found.extend(initdb.map(|name| Reference {
                kind: Kind::ConfigMap,
                name: name.clone(),
                key: None,
                optional: false,
                may_be_empty: true,
            }));
            variables(&mysql.env, &mysql.env_from, &mut found);
        }
        Component::Web | Component::Migration => {
            match &stack.spec.external_database {
                Some(external) => {
                    found.push(secret(&external.credentials_secret, names::PASSWORD));
                    found.extend(external.tls.ca_secret.iter().map(|name| secret(name, names::CA)));
                }
                None => found.push(secret(&names::credentials(stack), names::PASSWORD)),
            }
            variables(&stack.spec.web.env, &stack.spec.web.env_from, &mut found);
        }
    }
    found.sort();
    found.dedup();
    found
}

fn variables(env: &[EnvVar], env_from: &[EnvFromSource], found: &mut Vec<Reference>) {
    for source in env.iter().filter_map(|variable| variable.value_from.as_ref()) {
        let config_map = source.config_map_key_ref.iter().map(|r| (Kind::ConfigMap, &r.name, &r.key, r.optional));
        let secret = source.secret_key_ref.iter().map(|r| (Kind::Secret, &r.name, &r.key, r.optional));
        found.extend(config_map.chain(secret).map(|(kind, name, key, optional)| Reference {
            kind,
            name: name.clone(),
            key: Some(key.clone()),
            optional: optional == Some(true),
            may_be_empty: true,
        }));
    }
    for source in env_from {
        let config_map = source.config_map_ref.iter().map(|r| (Kind::ConfigMap, &r.name, r.optional));
        let secret = source.secret_ref.iter().map(|r| (Kind::Secret, &r.name, r.optional));
        found.extend(config_map.chain(secret).map(|(kind, name, optional)| Reference {
            kind,
            name: name.clone(),
            key: None,
            optional: optional == Some(true),
            may_be_empty: true,
        }));
    }
}

/// What of `references` could not be read, in words; `None` where all could. Also what is optional counts: without it,
/// its readers would be started anew.
pub fn unreadable(references: &[Reference], unread: &Unread) -> Option<String> {
    references.iter().find_map(|Reference { kind, name, .. }| {
        let why = unread.get(&(*kind, name.clone()))?;
        Some(format!("{} {name} cannot be read: {why}", kind.name()))
    })
}

/// What of `references` is missing, or empty and may not be, in words; `None` where nothing is.
pub fn missing(references: &[Reference], contents: &Contents) -> Option<String> {
    references.iter().filter(|reference| !reference.optional).find_map(
        |Reference { kind, name, key, may_be_empty, .. }| {
            let content = contents.get(&(*kind, name.clone())).and_then(Option::as_ref);
            match (content, key) {
                (None, _) => Some(format!("{} {name} does not exist", kind.name())),
                (Some(content), Some(key)) if !content.keys.contains(key) => {
                    Some(format!("{} {name} has no key {key}", kind.name()))
                }
                (Some(content), Some(key)) if !may_be_empty && content.empty.contains(key) => {
                    Some(format!("{} {name} has an empty {key}", kind.name()))
                }
                _ => None,
            }
        },
    )
}

/// A checksum of all that `references` hold, and of `own`, the operator's own ConfigMap.
pub fn checksum(references: &[Reference], contents: &Contents, own: &BTreeMap<String, String>) -> String {
    let mut digest = Sha256::new();
    digest.update(Content::of(own.iter().map(|(key, value)| (key, value.as_bytes()))).checksum);
    for Reference { kind, name, .. } in references {
        let content = contents.get(&(*kind, name.clone())).and_then(Option::as_ref);
        let known = content.map_or("absent", |content| content.checksum.as_str());
        digest.update(format!("\n{} {name} {known}", kind.name()));
    }
    hex(&digest.finalize())
}
