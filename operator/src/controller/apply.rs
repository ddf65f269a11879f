//! Brings the cluster to what was built: creates, changes and deletes, and writes nothing where nothing differs.
//!
//! An object is applied when what is asked for changed (its checksum, kept in an annotation, differs) or when somebody
//! else changed what we asked for, or added where nothing else belongs (difference.rs). Both are needed: the first sees
//! fields that we no longer set, the second changes by hand.

use std::collections::BTreeMap;

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::controller::build::{Built, generated_secret, group_secret};
use crate::controller::difference::{correction, holds};
use crate::controller::objects::{Child, Objects};
use crate::controller::observe::Observed;
use crate::controller::references::{self, Content, hex};
use crate::crd::WebStack;
use crate::names::{self, APPLIED, Component, OPERATOR};

/// Why something could not be done: the object, and the API server's words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses or does not answer.
    #[error("{kind} {name}: {}", words(source))]
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
    fn api<K: Child>(name: &str, source: kube::Error) -> Self {
        Self::Api { kind: K::kind(&()).into_owned(), name: name.to_owned(), source: Box::new(source) }
    }

    fn json<K: Child>(name: &str, source: serde_json::Error) -> Self {
        Self::Json { kind: K::kind(&()).into_owned(), name: name.to_owned(), source }
    }

    /// Whether the namespace is being deleted: nothing can be made there any more, and nothing has to be.
    pub fn namespace_ends(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let kube::Error::Api(status) = &**source else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

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

/// What the API server says, without all that kube adds to it.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        // Some of its messages are lists.
        kube::Error::Api(status) => status.message.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
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

impl Change {
    fn new<K: Child>(action: &'static str, name: &str) -> Self {
        Self { action, kind: K::kind(&()).into_owned(), name: name.to_owned() }
    }
}

/// Creates the Secrets with new passwords where they are missing, and adds them to what was observed: everything else
/// is built from them. One that is there keeps what it holds.
///
/// # Errors
/// One cannot be created.
pub async fn generate(client: &Client, observed: &mut Observed) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    if let Some(secret) = generated_secret(&observed.stack).filter(|secret| observed.lacks(&secret.name_any())) {
        changes.push(make(client, observed, secret, &[names::ROOT_PASSWORD, names::PASSWORD]).await?);
    }
    if let Some(secret) = group_secret(observed)
        && find(&observed.live.secrets, &secret.name_any()).is_none()
    {
        match make(client, observed, secret, &[names::PASSWORD]).await {
            // Made a moment ago, and not seen yet.
            Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 409) => {}
            made => changes.push(made?),
        }
    }
    Ok(changes)
}

async fn make(client: &Client, observed: &mut Observed, mut secret: Secret, keys: &[&str]) -> Result<Change, Error> {
    let name = secret.name_any();
    let mut passwords = BTreeMap::new();
    for key in keys {
        passwords.insert((*key).to_owned(), password()?);
    }
    // As applying would leave it: there is nothing left to apply.
    let wanted = json(&secret).map_err(|source| Error::json::<Secret>(&name, source))?;
    secret.annotations_mut().insert(APPLIED.to_owned(), checksum(&wanted));
    secret.string_data = Some(passwords);
    let api: Api<Secret> = Api::namespaced(client.clone(), &observed.stack.namespace().unwrap_or_default());
    // Another field manager than that of what is applied: applying never takes the passwords away.
    let how = PostParams { field_manager: Some(format!("{OPERATOR}-passwords")), dry_run: false };
    match api.create(&how, &secret).await {
        Ok(made) => {
            observed.contents.insert((references::Kind::Secret, name.clone()), Some(Content::of_secret(&made)));
            observed.live.secrets.push(made);
            Ok(Change::new::<Secret>("Created", &name))
        }
        Err(error) => Err(Error::api::<Secret>(&name, error)),
    }
}

/// Does all of it, and says what it changed, beginning with what was `generated`. An object that is refused does not
/// keep the others from being applied: the first error counts.
pub async fn apply(
    client: &Client,
    observed: &Observed,
    built: Built,
    generated: Result<Vec<Change>, Error>,
) -> (Vec<Change>, Result<(), Error>) {
    let namespace = observed.stack.namespace().unwrap_or_default();
    let (generated, error) = match generated {
        Ok(changes) => (changes, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut work = Work { client, namespace: &namespace, observed, changes: generated, error };
    let Built { objects, keeps_migration, outdated_pods } = built;
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
    // What Pods need comes before the Pods. Nothing is deleted here that every stack of a kind has, or that holds data.
    work.sync(&service_accounts, &live.service_accounts).await;
    work.sync(&config_maps, &live.config_maps).await;
    work.sync(&secrets, &live.secrets).await;
    work.sync(&claims, &live.claims).await;
    work.sync(&services, &live.services).await;
    work.sync(&network_policies, &live.network_policies).await;
    work.sync(&stateful_sets, &live.stateful_sets).await;
    work.create(&jobs, &live.jobs).await;
    if !keeps_migration {
        work.prune(&jobs, &live.jobs).await;
    }
    work.sync(&deployments, &live.deployments).await;
    // These come and go as the spec says.
    work.sync_all(&disruption_budgets, &live.disruption_budgets).await;
    work.sync_all(&autoscalers, &live.autoscalers).await;
    work.sync_all(&ingresses, &live.ingresses).await;
    for pod in outdated_pods {
        work.delete(&pod).await;
    }
    (work.changes, work.error.map_or(Ok(()), Err))
}

struct Work<'a> {
    client: &'a Client,
    namespace: &'a str,
    observed: &'a Observed,
    changes: Vec<Change>,
    error: Option<Error>,
}

impl Work<'_> {
    fn namespace_ends(&self) -> bool {
        self.error.as_ref().is_some_and(Error::namespace_ends)
    }

    fn api<K: Child>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn done<K: Child>(&mut self, action: &'static str, name: &str) {
        self.changes.push(Change::new::<K>(action, name));
    }

    fn failed<K: Child>(&mut self, name: &str, source: kube::Error) {
        let error = Error::api::<K>(name, source);
        tracing::warn!(%error, "not applied");
        self.error.get_or_insert(error);
    }

    /// Applies what differs, and deletes what is there beyond it.
    async fn sync_all<K: Child>(&mut self, desired: &[K], live: &[K]) {
        self.sync(desired, live).await;
        self.prune(desired, live).await;
    }

    /// Applies what differs.
    async fn sync<K: Child>(&mut self, desired: &[K], live: &[K]) {
        for object in desired {
            if self.namespace_ends() {
                return;
            }
            if let Err(error) = self.apply_one(object, live).await {
                self.error.get_or_insert(error);
            }
        }
    }

    /// Creates what is not there and changes nothing: for Jobs, which cannot be changed.
    async fn create<K: Child>(&mut self, desired: &[K], live: &[K]) {
        for object in desired.iter().filter(|object| find(live, &object.name_any()).is_none()) {
            if self.namespace_ends() {
                return;
            }
            let (name, api) = (object.name_any(), self.api::<K>());
            let how = PostParams { field_manager: Some(OPERATOR.to_owned()), dry_run: false };
            match api.create(&how, object).await {
                Ok(_) => self.done::<K>("Created", &name),
                // Made a moment ago, and not seen yet; or somebody else's.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    if let Err(error) = self.is_ours(&api, &name).await {
                        self.failed::<K>(&name, error);
                    }
                }
                Err(error) => self.failed::<K>(&name, error),
            }
        }
    }

    /// Deletes what is there beyond what is desired.
    async fn prune<K: Child>(&mut self, desired: &[K], live: &[K]) {
        let uid = self.observed.stack.uid();
        for object in live.iter().filter(|object| find(desired, &object.name_any()).is_none()) {
            // Labels can be copied by hand; an owner reference to us means that we made it.
            let ours = object.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref());
            if ours && object.meta().deletion_timestamp.is_none() {
                self.delete(object).await;
            }
        }
    }

    /// Deletes an object as it was seen: one that has changed since, or another one of its name, is judged anew when
    /// the watches have told of it.
    async fn delete<K: Child>(&mut self, object: &K) {
        let name = object.name_any();
        let how = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() }),
            ..DeleteParams::default()
        };
        match self.api::<K>().delete(&name, &how).await {
            Ok(_) => self.done::<K>("Deleted", &name),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => self.failed::<K>(&name, error),
        }
    }

    async fn apply_one<K: Child>(&mut self, object: &K, live: &[K]) -> Result<(), Error> {
        let name = object.name_any();
        let in_json = |source| Error::json::<K>(&name, source);
        let wanted = document(object).map_err(in_json)?;
        let seen = find(live, &name);
        let there = seen.map(serde_json::to_value).transpose().map_err(in_json)?;
        if seen.is_some_and(|seen| seen.meta().deletion_timestamp.is_some())
            || there.as_ref().is_some_and(|there| holds(there, &wanted))
        {
            return Ok(());
        }
        match self.bring::<K>(&name, there.as_ref(), &wanted).await {
            Ok(now) => match seen {
                Some(seen) if now.resource_version() == seen.resource_version() => {}
                Some(_) => self.done::<K>("Updated", &name),
                None => self.done::<K>("Created", &name),
            },
            Err(error) => self.failed::<K>(&name, error),
        }
        Ok(())
    }

    /// Applies `wanted`, and takes away what somebody added where nothing else belongs: applying alone leaves that.
    async fn bring<K: Child>(&self, name: &str, there: Option<&Value>, wanted: &Value) -> Result<K, kube::Error> {
        let api = self.api::<K>();
        let (plain, forced) = (PatchParams::apply(OPERATOR), PatchParams::apply(OPERATOR).force());
        let merge = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
        let how = if there.is_some() || self.is_ours(&api, name).await? { &forced } else { &plain };
        let applied = match (api.patch(name, how, &Patch::Apply(wanted)).await, there) {
            // Lists that were changed by hand can contradict the ones that are merged into them.
            (Err(kube::Error::Api(status)), Some(there)) if status.code == 422 => {
                let correction = correction(there, wanted);
                api.patch(name, &merge, &Patch::Merge(correction)).await.map_err(|_| kube::Error::Api(status))?;
                api.patch(name, &forced, &Patch::Apply(wanted)).await?
            }
            (applied, _) => applied?,
        };
        let now = serde_json::to_value(&applied).map_err(kube::Error::SerdeError)?;
        if there.is_none() || holds(&now, wanted) {
            return Ok(applied);
        }
        api.patch(name, &merge, &Patch::Merge(correction(&now, wanted))).await
    }

    /// Looks at what the watches have not told as ours: `false` where there is nothing of that name. Applying would be
    /// refused only where fields overlap; what has none in common would be taken over, emptied, and deleted with the
    /// stack.
    ///
    /// # Errors
    /// It is somebody else's.
    async fn is_ours<K: Child>(&self, api: &Api<K>, name: &str) -> Result<bool, kube::Error> {
        let Some(there) = api.get_metadata_opt(name).await? else { return Ok(false) };
        let stack = &*self.observed.stack;
        // Made a moment ago, or left by a stack of that name; or made by us, without the labels by which we find it.
        let labelled = names::labels(stack).iter().all(|(key, value)| there.labels().get(key) == Some(value));
        let owned = there.owner_references().iter().any(|owner| Some(&owner.uid) == stack.uid().as_ref());
        // A Secret with passwords is used as it is, whoever made it.
        if labelled || owned || K::KIND == Secret::KIND {
            return Ok(labelled || owned);
        }
        let words = "there is one already that is not this stack's: it is left alone, and has to make way";
        Err(kube::Error::Api(Box::new(Status::failure(words, "AlreadyExists").with_code(409))))
    }
}

fn find<'a, K: Child>(objects: &'a [K], name: &str) -> Option<&'a K> {
    objects.iter().find(|object| object.name_any() == name)
}

/// The object as JSON, with its own checksum in it.
fn document<K: Child>(object: &K) -> serde_json::Result<Value> {
    let mut value = json(object)?;
    // Whom the Service for writes names is not this document's to say: it takes over what it finds.
    let mut fixed = value.clone();
    if let Some(named) = fixed.pointer_mut("/spec/selector").and_then(|selector| selector.get_mut(names::POD_NAME)) {
        named.take();
    }
    value["metadata"]["annotations"][APPLIED] = checksum(&fixed).into();
    Ok(value)
}

fn json<K: Child>(object: &K) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(object)?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    Ok(value)
}

/// A checksum of what is asked for.
pub(super) fn checksum(wanted: &Value) -> String {
    hex(&Sha256::digest(wanted.to_string()))
}

/// 16 random bytes in hexadecimal digits: nothing that anything would have to quote, and no longer than MySQL's
/// replication allows.
fn password() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
