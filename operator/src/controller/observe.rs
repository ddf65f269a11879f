//! What the cluster holds of a stack, gathered anew for every reconcile: objects from the watches' cache, what Pods
//! read from the API server. No reconcile remembers anything of another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, ResourceExt};

use crate::controller::apply::words;
use crate::controller::cache::Cache;
use crate::controller::keeper::Report;
use crate::controller::objects::Objects;
use crate::controller::references::{self, Content, Contents, Kind, Unread};
use crate::controller::storage::{self, Usage};
use crate::crd::WebStack;
use crate::group::Ordinal;
use crate::names::Component;

/// How long Pods may take to be created, and to their first container, before warnings about them count: in between
/// there are some that mean nothing.
const USUAL: SignedDuration = SignedDuration::from_secs(4);

/// How long reading one object may take: what else there is to do for its stack must not wait for it.
const READ: Duration = Duration::from_secs(10);

/// Everything that a decision may depend on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What the user wants.
    pub stack: Arc<WebStack>,
    /// What is there of it.
    pub live: Objects,
    /// Its Pods.
    pub pods: Vec<Pod>,
    /// What its Pods read.
    pub contents: Contents,
    /// What of it could not be read, and why.
    pub unread: Unread,
    /// What Kubernetes said of Pods that it could not create: `(object, words)`.
    pub refusals: Vec<(String, String)>,
    /// How the group stands, as its keeper has told last; `None` where there is no group, or no news yet.
    pub group: Option<Report>,
    /// Why its keeper cannot ask the members.
    pub unasked: Option<String>,
    /// How much of its volume a server that runs alone uses, as it has said last.
    pub used_alone: Option<Usage>,
}

impl Observed {
    /// Whether a Secret exists.
    pub fn exists(&self, secret: &str) -> bool {
        matches!(self.contents.get(&(Kind::Secret, secret.to_owned())), Some(Some(_)))
    }

    /// Whether a Secret is known not to exist.
    pub fn lacks(&self, secret: &str) -> bool {
        !self.exists(secret) && !self.unread.contains_key(&(Kind::Secret, secret.to_owned()))
    }

    /// The database's StatefulSet.
    pub fn stateful_set(&self) -> Option<&StatefulSet> {
        self.live.stateful_sets.first()
    }

    /// What the database's next Pods are made from.
    pub fn template(&self) -> Option<Template> {
        Template::of(self.stateful_set()?)
    }

    /// The web tier's Deployment.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.live.deployments.first()
    }

    /// Whether the database is a group. One that was a group stays one, be it of a single member: its volumes know of
    /// the others.
    pub fn is_group(&self) -> bool {
        let Some(mysql) = &self.stack.spec.mysql else { return false };
        mysql.instances > 1 || storage::claims(self).into_keys().any(|member| member > 0)
    }

    /// The UUID of the group that worked last, where there has been one.
    pub fn group_uuid(&self) -> Option<&str> {
        let before = || self.stack.status.as_ref()?.mysql.as_ref()?.uuid.as_deref();
        self.group.as_ref().and_then(|group| group.uuid.as_deref()).or_else(before)
    }

    /// How much of their volumes the servers use, of those that have said so.
    pub fn used(&self) -> BTreeMap<Ordinal, Usage> {
        let members = self.group.iter().flat_map(|group| &group.members);
        let alone = self.used_alone.map(|used| (0, used)).filter(|_| !self.is_group());
        members.filter_map(|(&member, told)| Some((member, told.used?))).chain(alone).collect()
    }

    /// Whether the database serves. What is outside of the cluster is taken to serve.
    pub fn database_ready(&self) -> bool {
        if self.is_group() {
            let before = || self.stack.status.as_ref()?.mysql.as_ref()?.primary.clone();
            return self.group.as_ref().map_or_else(|| before().is_some(), |group| group.primary.is_some());
        }
        self.stack.spec.external_database.is_some()
            || self.stateful_set().and_then(|set| set.status.as_ref()?.ready_replicas).unwrap_or_default() > 0
    }

    /// Whether something is not there that may still come within the usual time.
    pub fn is_young(&self) -> bool {
        self.live.stateful_sets.iter().any(|set| lacks_pods(set) && !is_late(set))
            || self.pods.iter().any(|pod| is_about_to_start(pod) && !is_late(pod))
    }

    /// A component's Pods.
    pub fn pods_of(&self, component: Component) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| {
            pod.labels().get("app.kubernetes.io/component").is_some_and(|label| label == component.name())
        })
    }
}

/// What the database's next Pods are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    revision: String,
    annotations: BTreeMap<String, String>,
}

impl Template {
    /// That of a StatefulSet whose newest spec Kubernetes has taken over.
    pub fn of(set: &StatefulSet) -> Option<Self> {
        let status = set.status.as_ref().filter(|status| status.observed_generation == set.metadata.generation)?;
        let annotations = set.spec.as_ref()?.template.metadata.as_ref()?.annotations.clone();
        Some(Self { revision: status.update_revision.clone()?, annotations: annotations.unwrap_or_default() })
    }

    /// Whether a Pod is of another revision.
    pub fn differs(&self, pod: &Pod) -> bool {
        pod.labels().get("controller-revision-hash").is_some_and(|revision| *revision != self.revision)
    }

    /// Whether a Pod has to be replaced, since somebody has asked for something else than what it was made for:
    /// annotations say what that was. What only a newer operator makes otherwise waits for the Pod's next start: it
    /// restarts no database.
    pub fn replaces(&self, pod: &Pod) -> bool {
        self.differs(pod) && self.annotations.iter().any(|(name, value)| pod.annotations().get(name) != Some(value))
    }
}

/// Whether a Pod is on a node, and none of its containers has been made yet.
fn is_about_to_start(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut waiting = statuses.filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    pod.metadata.deletion_timestamp.is_none() && waiting.any(|reason| reason == "ContainerCreating")
}

/// Whether an object is older than what the cluster needs for its usual steps.
fn is_late(object: &impl ResourceExt) -> bool {
    object.creation_timestamp().is_some_and(|created| Timestamp::now().duration_since(created.0) > USUAL)
}

fn lacks_pods(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    set.status.as_ref().map_or(0, |status| status.replicas) < wanted
}

fn is_unbound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending")
}

/// The reason of a Pod whose container ended with an error, whether it waits for its next start or runs once more.
pub const CRASHED: &str = "ContainerCrashed";

/// The exit codes of what a signal ended: 128 and the signal's number, of which there are 64.
const SIGNALS: RangeInclusive<i32> = 129..=192;

/// What keeps a Pod from running, if something does: one word, and a sentence.
pub fn waits_for(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled" && condition.status == "False" && condition.reason.is_some()
    });
    if let Some(condition) = unscheduled {
        return Some((condition.reason.clone()?, condition.message.clone().unwrap_or_default()));
    }
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    statuses.filter_map(container_waits_for).next()
}

fn container_waits_for(status: &ContainerStatus) -> Option<(String, String)> {
    let state = status.state.clone().unwrap_or_default();
    let waiting = state.waiting.unwrap_or_default();
    let words = waiting.message.unwrap_or_default();
    match waiting.reason.as_deref() {
        // The two alternate.
        Some("ErrImagePull" | "ImagePullBackOff") => {
            return Some(("ImagePullBackOff".to_owned(), status.image.clone()));
        }
        // Every Pod passes through these; a crash is looked at below.
        None | Some("ContainerCreating" | "PodInitializing" | "CrashLoopBackOff") => {}
        Some(reason) => return Some((reason.to_owned(), words)),
    }
    // Also while it runs once more: until it is ready, it may well end like the last time.
    let last = || status.last_state.as_ref().and_then(|state| state.terminated.clone());
    let ended = state.terminated.or_else(last).filter(|ended| !status.ready && ended.exit_code != 0)?;
    let said = ended.message.unwrap_or_default();
    // The end of the log: the last line is the one that says why, unless the end came from outside.
    let line = said.lines().rfind(|line| !line.trim().is_empty()).map(str::trim);
    let cause = match (ended.reason.as_deref(), ended.exit_code, line) {
        (Some("OOMKilled"), ..) => "OOMKilled: it needed more than its memory limit".to_owned(),
        (_, code, Some(line)) if SIGNALS.contains(&code) => format!("ended by signal {}, after: {line}", code - 128),
        (_, code, None) if SIGNALS.contains(&code) => format!("ended by signal {}", code - 128),
        (_, _, Some(line)) => line.to_owned(),
        (_, code, None) => format!("exit code {code}"),
    };
    Some((CRASHED.to_owned(), cause))
}

/// Gathers it: what the cache has of a stack, and what its Pods read.
///
/// # Errors
/// The cache cannot be read.
pub async fn observe(client: &Client, cache: &Cache, stack: Arc<WebStack>) -> serde_json::Result<Observed> {
    let (live, pods) = (cache.objects(&stack)?, cache.pods(&stack)?);
    let refusals = refusals(cache, &live, &pods);
    let namespace = stack.namespace().unwrap_or_default();
    let (contents, unread) = contents(client, &namespace, &stack).await;
    Ok(Observed { stack, live, pods, contents, unread, refusals, group: None, unasked: None, used_alone: None })
}

/// What Pods read, and what of it could not be read: that says nothing of the rest.
async fn contents(client: &Client, namespace: &str, stack: &WebStack) -> (Contents, Unread) {
    let of = [Component::Mysql, Component::Web].into_iter().flat_map(|component| references::of(stack, component));
    // One without a name is missing: there is nothing to read.
    let named = of.filter(|reference| !reference.name.is_empty());
    let wanted: BTreeSet<(Kind, String)> = named.map(|reference| (reference.kind, reference.name)).collect();
    let read = wanted.into_iter().map(async |(kind, name)| {
        let content = tokio::time::timeout(READ, content(client, namespace, kind, &name)).await;
        ((kind, name), content)
    });
    let (mut contents, mut unread) = (Contents::new(), Unread::new());
    for (object, content) in join_all(read).await {
        let why = match content {
            Ok(Ok(content)) => {
                contents.insert(object, content);
                continue;
            }
            Ok(Err(error)) => words(&error),
            Err(_) => format!("no answer within {} s", READ.as_secs()),
        };
        unread.insert(object, why);
    }
    (contents, unread)
}

async fn content(client: &Client, namespace: &str, kind: Kind, name: &str) -> Result<Option<Content>, kube::Error> {
    Ok(match kind {
        Kind::Secret => {
            let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await?;
            secret.as_ref().map(Content::of_secret)
        }
        Kind::ConfigMap => {
            let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
            map.map(|map| {
                let (data, binary) = (map.data.unwrap_or_default(), map.binary_data.unwrap_or_default());
                let mut all: BTreeMap<&String, &[u8]> =
                    data.iter().map(|(key, value)| (key, value.as_bytes())).collect();
                all.extend(binary.iter().map(|(key, value)| (key, value.0.as_slice())));
                Content::of(all)
            })
        }
    })
}

/// Why Pods are missing. A Deployment has a condition for it; for a StatefulSet, for a volume that cannot be made, and
/// for a Pod whose volume or network is not there, there are warnings alone.
fn refusals(cache: &Cache, live: &Objects, pods: &[Pod]) -> Vec<(String, String)> {
    let conditions = live.deployments.iter().flat_map(|deployment| {
        let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let failures = conditions.filter(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
        failures.filter_map(|condition| Some((deployment.name_any(), condition.message.clone()?)))
    });
    let sets = live.stateful_sets.iter().filter(|set| lacks_pods(set) && is_late(*set));
    let sets = sets.filter_map(|set| Some((set.name_any(), cache.warning(set)?)));
    let pods = pods.iter().filter(|pod| is_about_to_start(pod) && is_late(*pod));
    let pods = pods.filter_map(|pod| Some((pod.name_any(), cache.warning(pod)?)));
    let claims = live.claims.iter().filter(|claim| is_unbound(claim));
    let claims = claims.filter_map(|claim| Some((claim.name_any(), cache.warning(claim)?)));
    conditions.chain(sets).chain(pods).chain(claims).collect()
}
