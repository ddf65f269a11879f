//! From a spec and what was observed to the objects that should exist. Pure: no clock, no chance, no cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Resource;
use kube::api::ObjectMeta;

use crate::controller::objects::Objects;
use crate::controller::observe::Observed;
use crate::controller::validate::Validated;
use crate::crd::{DeletionPolicy, WebStack};
use crate::names::{self, Component};

pub mod migration;
mod mysql;
mod pod;
mod policy;
mod web;

/// What the operator itself is told about its surroundings.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// The operator's own namespace.
    pub namespace: String,
}

/// What should exist.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// Applied. Of the kinds that come and go, what is there beyond it is deleted.
    pub objects: Objects,
    /// The migration is left as it is: its tier has a problem.
    pub keeps_migration: bool,
    /// Pods to delete: others of a newer version take their place.
    pub outdated_pods: Vec<Pod>,
}

/// Builds everything.
pub fn build(observed: &Observed, validated: &Validated, around: &Surroundings) -> Built {
    let stack = &*observed.stack;
    let mut built = Built::default();
    let has_passwords = stack.spec.mysql.is_none() || observed.exists(&names::credentials(stack));
    if let Some(spec) = &stack.spec.mysql {
        mysql::build(observed, spec, around, &mut built.objects);
        if let Some(secret) = generated_secret(stack).filter(|_| has_passwords) {
            built.objects.secrets.push(secret);
        }
        built.objects.secrets.extend(group_secret(observed));
    }
    web::build(observed, around, &mut built.objects);
    policy::build(observed, around, &mut built.objects);
    built.outdated_pods = mysql::outdated_pods(observed);
    // Nothing that reads the passwords before they are there: their checksum is part of it.
    if validated.mysql.is_some() || !has_passwords {
        let live = observed.stateful_set().and_then(|set| set.spec.as_ref());
        built.objects.stateful_sets.retain_mut(|set| live.is_some_and(|live| mysql::only_counts(set, live)));
        built.outdated_pods.clear();
    }
    if validated.web.is_some() || !has_passwords {
        let live = observed.deployment().and_then(|deployment| deployment.spec.as_ref());
        built.objects.deployments.retain_mut(|wanted| live.is_some_and(|live| web::only_counts(wanted, live)));
        if !stack.spec.suspend {
            built.objects.jobs.clear();
            built.keeps_migration = true;
        }
    }
    built
}

/// The Secret that the operator makes and keeps, without the passwords; `None` where the user has one, or no database.
pub fn generated_secret(stack: &WebStack) -> Option<Secret> {
    let mysql = stack.spec.mysql.as_ref()?;
    let metadata = ObjectMeta {
        name: Some(names::credentials(stack)),
        owner_references: data_owner(stack),
        ..metadata(stack, Component::Mysql)
    };
    mysql.credentials_secret.is_none().then(|| Secret { metadata, ..Secret::default() })
}

/// The Secret of the operator's own account on a group's members, without the password; `None` where there is no group.
pub fn group_secret(observed: &Observed) -> Option<Secret> {
    let stack = &*observed.stack;
    let metadata = ObjectMeta {
        owner_references: data_owner(stack),
        ..named(stack, Component::Mysql, names::group_secret(stack))
    };
    observed.is_group().then(|| Secret { metadata, ..Secret::default() })
}

/// The metadata of an object that goes when its stack goes.
fn metadata(stack: &WebStack, component: Component) -> ObjectMeta {
    named(stack, component, component.of(stack))
}

fn named(stack: &WebStack, component: Component, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: stack.metadata.namespace.clone(),
        labels: Some(names::component_labels(stack, component)),
        owner_references: stack.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The owner of what holds data: the stack only where the data shall go with it. That leaves the deleting to the
/// cluster's garbage collection, with no finalizer that could hang.
fn data_owner(stack: &WebStack) -> Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>> {
    match stack.spec.deletion_policy {
        DeletionPolicy::Retain => None,
        DeletionPolicy::Delete => stack.owner_ref(&()).map(|owner| vec![owner]),
    }
}

fn optional<K: Ord, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    Some(map).filter(|map| !map.is_empty())
}

fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|items| !items.is_empty())
}
