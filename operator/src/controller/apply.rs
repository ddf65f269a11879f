//! Brings the cluster to what was built: creates, changes and deletes, and writes nothing where nothing differs.
//!
//! An object is applied when what is asked for changed (its checksum, kept in an annotation, differs) or when somebody
//! else changed what we asked for (the object no longer holds it all). Both are needed: the first sees fields that we
//! no longer set, the second changes by hand.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::controller::build::Built;
use crate::controller::objects::Objects;
use crate::controller::observe::Observed;
use crate::controller::references::hex;
use crate::crd::WebStack;
use crate::names::{self, APPLIED, Component, OPERATOR};
use crate::quantity::quantity;

/// Why something could not be done: the object, and the API server's words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses or does not answer.
    #[error("{kind} {name}: {source}")]
    Api {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// An object cannot be written as JSON.
    #[error("{kind} {name}: {source}")]
    Json {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// No chance to be had from the system.
    #[error("no random password: {0}")]
    Random(getrandom::Error),
}

impl Error {
    /// The tier whose object it is about: all of a tier's objects are called after it.
    pub fn concerns(&self, stack: &WebStack) -> Component {
        match self {
            Self::Api { name, .. } | Self::Json { name, .. } => {
                let database = stack.spec.mysql.is_some() && name.contains(&Component::Mysql.of(stack));
                if database { Component::Mysql } else { Component::Web }
            }
            Self::Random(_) => Component::Mysql,
        }
    }
}

/// What was done, for people: `Created StatefulSet employees-mysql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Created, Updated or Deleted.
    pub action: &'static str,
    /// The object's kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

/// Does all of it, and says what it changed. An object that is refused does not keep the others from being applied: the
/// first error counts.
pub async fn apply(client: &Client, observed: &Observed, built: Built) -> (Vec<Change>, Result<(), Error>) {
    let namespace = observed.stack.namespace().unwrap_or_default();
    let mut work = Work { client, namespace: &namespace, observed, changes: Vec::new(), error: None };
    let Built { objects, keep, generate, stuck_pods } = built;
    if let Some(secret) = generate {
        work.generate(secret).await;
    }
    let Objects {
        service_accounts,
        config_maps,
        secrets,
        services,
        network_policies,
        disruption_budgets,
        claims,
        stateful_sets,
        jobs,
        deployments,
        autoscalers,
        ingresses,
    } = objects;
    let live = &observed.live;
    // What Pods need comes before the Pods.
    work.sync(service_accounts, &live.service_accounts, Prune::Yes).await;
    work.sync(config_maps, &live.config_maps, Prune::Yes).await;
    // Secrets and volumes hold data: never deleted here.
    work.sync(secrets, &live.secrets, Prune::No).await;
    work.sync(claims, &live.claims, Prune::No).await;
    work.sync(services, &live.services, Prune::Yes).await;
    work.sync(network_policies, &live.network_policies, Prune::Yes).await;
    let prune = |component| if keep.contains(&component) { Prune::No } else { Prune::Yes };
    work.sync(stateful_sets, &live.stateful_sets, prune(Component::Mysql)).await;
    work.create(jobs, &live.jobs, prune(Component::Migration)).await;
    work.sync(deployments, &live.deployments, prune(Component::Web)).await;
    work.sync(disruption_budgets, &live.disruption_budgets, Prune::Yes).await;
    work.sync(autoscalers, &live.autoscalers, Prune::Yes).await;
    work.sync(ingresses, &live.ingresses, Prune::Yes).await;
    for pod in stuck_pods {
        work.delete::<Pod>(&pod).await;
    }
    (work.changes, work.error.map_or(Ok(()), Err))
}

/// Whether what is there beyond the built objects goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prune {
    Yes,
    No,
}

struct Work<'a> {
    client: &'a Client,
    namespace: &'a str,
    observed: &'a Observed,
    changes: Vec<Change>,
    error: Option<Error>,
}

/// What we can do with a kind.
trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl Work<'_> {
    fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn done<K: Kind>(&mut self, action: &'static str, name: &str) {
        self.changes.push(Change { action, kind: K::kind(&()).into_owned(), name: name.to_owned() });
    }

    fn failed<K: Kind>(&mut self, name: &str, source: kube::Error) {
        let kind = K::kind(&()).into_owned();
        tracing::warn!(kind, name, error = %source, "not applied");
        self.error.get_or_insert(Error::Api { kind, name: name.to_owned(), source: Box::new(source) });
    }

    /// Applies what differs, and deletes what is there beyond it.
    async fn sync<K: Kind>(&mut self, desired: Vec<K>, live: &[K], prune: Prune) {
        for object in &desired {
            if let Err(error) = self.apply_one(object, live).await {
                self.error.get_or_insert(error);
            }
        }
        self.prune(&desired, live, prune).await;
    }

    /// Creates what is not there and changes nothing: for Jobs, which cannot be changed.
    async fn create<K: Kind>(&mut self, desired: Vec<K>, live: &[K], prune: Prune) {
        for object in desired.iter().filter(|object| find(live, &object.name_any()).is_none()) {
            let name = object.name_any();
            match self
                .api::<K>()
                .create(&PostParams { field_manager: Some(OPERATOR.to_owned()), dry_run: false }, object)
                .await
            {
                Ok(_) => self.done::<K>("Created", &name),
                // Made a moment ago, and not seen yet.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => self.failed::<K>(&name, error),
            }
        }
        self.prune(&desired, live, prune).await;
    }

    async fn prune<K: Kind>(&mut self, desired: &[K], live: &[K], prune: Prune) {
        let uid = self.observed.stack.uid();
        for object in live.iter().filter(|object| prune == Prune::Yes && find(desired, &object.name_any()).is_none()) {
            // Labels can be copied by hand; an owner reference to us means that we made it.
            let ours = object.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref());
            if ours && object.meta().deletion_timestamp.is_none() {
                self.delete::<K>(&object.name_any()).await;
            }
        }
    }

    async fn delete<K: Kind>(&mut self, name: &str) {
        let how = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        match self.api::<K>().delete(name, &how).await {
            Ok(_) => self.done::<K>("Deleted", name),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => self.failed::<K>(name, error),
        }
    }

    async fn apply_one<K: Kind>(&mut self, object: &K, live: &[K]) -> Result<(), Error> {
        let name = object.name_any();
        let wanted = document(object).map_err(|source| Error::Json {
            kind: K::kind(&()).into_owned(),
            name: name.clone(),
            source,
        })?;
        let there = find(live, &name);
        if let Some(there) = there {
            let holds = serde_json::to_value(there).is_ok_and(|there| holds(&there, &wanted));
            if holds || there.meta().deletion_timestamp.is_some() {
                return Ok(());
            }
        }
        // What nobody has seen as ours may be somebody else's: then the API server names the conflict.
        let how = PatchParams { force: there.is_some(), ..PatchParams::apply(OPERATOR) };
        match self.api::<K>().patch(&name, &how, &Patch::Apply(&wanted)).await {
            Ok(_) => self.done::<K>(if there.is_some() { "Updated" } else { "Created" }, &name),
            Err(error) => self.failed::<K>(&name, error),
        }
        Ok(())
    }

    /// Creates the Secret with new passwords. One that is there keeps what it holds.
    async fn generate(&mut self, mut secret: Secret) {
        let mut passwords = std::collections::BTreeMap::new();
        for key in [names::ROOT_PASSWORD, names::PASSWORD] {
            match password() {
                Ok(password) => passwords.insert(key.to_owned(), password),
                Err(error) => {
                    self.error.get_or_insert(Error::Random(error));
                    return;
                }
            };
        }
        secret.string_data = Some(passwords);
        let name = secret.name_any();
        // Another field manager than that of what is applied: applying never takes the passwords away.
        let how = PostParams { field_manager: Some(format!("{OPERATOR}-passwords")), dry_run: false };
        match self.api::<Secret>().create(&how, &secret).await {
            Ok(_) => self.done::<Secret>("Created", &name),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => self.failed::<Secret>(&name, error),
        }
    }
}

fn find<'a, K: Kind>(objects: &'a [K], name: &str) -> Option<&'a K> {
    objects.iter().find(|object| object.name_any() == name)
}

/// The object as JSON, with its own checksum in it.
fn document<K: Kind>(object: &K) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(object)?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    let checksum = hex(&Sha256::digest(value.to_string()));
    value["metadata"]["annotations"][APPLIED] = checksum.into();
    Ok(value)
}

/// Whether `there` has everything that `wanted` has. The API server adds to objects and writes quantities in its own way.
fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| match there.get(key) {
            Some(there) => holds(there, wanted),
            None => is_nothing(wanted),
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        // The checksum has told that the wish is the same: two spellings of one quantity are.
        (Value::String(there), Value::String(wanted)) => {
            there == wanted || quantity(there).is_some_and(|there| quantity(wanted) == Some(there))
        }
        (there, wanted) => there == wanted,
    }
}

/// Empty objects and lists are left out by the API server.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
    }
}

/// 24 random bytes in hexadecimal digits: nothing that anything would have to quote.
fn password() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"a": 1, "b": 2}), json!({"a": 1}), true)]
    #[case(json!({"a": 1}), json!({"a": 2}), false)]
    #[case(json!({}), json!({"a": {}, "b": []}), true)]
    #[case(json!({}), json!({"a": {"b": 1}}), false)]
    #[case(json!([{"a": 1, "b": 2}]), json!([{"a": 1}]), true)]
    #[case(json!([{"a": 1}, {"a": 2}]), json!([{"a": 1}]), false)]
    #[case(json!({"cpu": "1"}), json!({"cpu": "1000m"}), true)]
    #[case(json!({"memory": "1Gi"}), json!({"memory": "1024Mi"}), true)]
    #[case(json!({"memory": "1Gi"}), json!({"memory": "1G"}), false)]
    #[case(json!({"cpu": "1500m"}), json!({"cpu": "1.5"}), true)]
    #[case(json!({"value": "tandem/web:1"}), json!({"value": "tandem/web:2"}), false)]
    fn an_object_holds_what_is_asked_for_whatever_else_it_has(
        #[case] there: Value,
        #[case] wanted: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(holds(&there, &wanted), expected);
    }
}
