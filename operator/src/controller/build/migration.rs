//! The migration: one Job for each version of the web tier, before that version serves.
//!
//! The version is the web image, with the command and the database that it is for; a group that a person had formed
//! anew from what was left is another one. The Job's name is made from it, so that a Job that exists is the answer to
//! whether its version has been migrated to, and nothing else has to remember it. One that is older than the only
//! server's volume says nothing of what is in there now.
//!
//! What a Job's Pods are made from cannot be changed. One that has not succeeded goes where the spec asks for other
//! Pods by now: what kept it from succeeding may be mended by that. One that has succeeded stays, whatever changes. Two
//! never run at once: a command of the user's need not bear that, so the next one waits until the Pods of the last one
//! are gone.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::controller::apply::checksum;
use crate::controller::observe::Observed;
use crate::controller::references::hex;
use crate::crd::{Web, WebStack, WebStackSpec};
use crate::names::{self, CONFIG, Component};

/// On each Pod of a Job, by Kubernetes: the Job's name.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// How the migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is nothing to migrate with.
    None,
    /// The database does not serve yet.
    WaitsForDatabase,
    /// Another version's, or an earlier try, has to end first.
    WaitsForAnother,
    /// The Job is at it, or fails and tries again.
    Runs,
    /// Done.
    Done,
}

/// What is to be done about the migration.
#[derive(Clone, Debug)]
pub struct Migration {
    /// How it stands.
    pub stage: Stage,
    /// The Job that should exist.
    pub job: Option<Job>,
    /// Whether the web tier runs another image than the spec's.
    image_changes: bool,
}

impl Migration {
    /// Whether the web tier has to stay on its version for now. One that does not exist yet has none to stay on: its
    /// Pods start beside the migration and become ready after it.
    pub fn holds_back(&self) -> bool {
        self.image_changes && !matches!(self.stage, Stage::None | Stage::Done)
    }
}

/// The name of the Job for what the spec asks for; `None` without a command.
pub fn job_name(observed: &Observed) -> Option<String> {
    let (stack, spec) = (&*observed.stack, &observed.stack.spec);
    if spec.web.migrate_command.is_empty() {
        return None;
    }
    let mut digest = Sha256::new();
    let database = spec.external_database.as_ref().map(|external| (&external.host, external.port, &external.database));
    digest.update(format!("{:?} {:?} {database:?}", spec.web.image, spec.web.migrate_command));
    if let Some(uuid) = observed.group_uuid().filter(|uuid| *uuid != names::group_uuid(stack)) {
        digest.update(uuid);
    }
    Some(format!("{}-migrate-{}", stack.name_any(), &hex(&digest.finalize())[..8]))
}

/// Whether a Job has migrated a database that is lost: the volume of the only server has been made after it.
fn is_of_lost_data(observed: &Observed, job: &Job) -> bool {
    let alone = observed.stack.spec.mysql.is_some() && !observed.is_group();
    let volume = observed.live.claims.iter().filter_map(ResourceExt::creation_timestamp).max();
    alone && volume.zip(job.creation_timestamp()).is_some_and(|(volume, job)| volume.0 > job.0)
}

fn has_succeeded(job: &Job) -> bool {
    job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default() > 0
}

/// Whether there is a migration that may still be at it, where the wanted one is not there yet.
fn another_runs(observed: &Observed) -> bool {
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    let ended = |pod: &Pod| phase(pod).is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
    // Others may have our labels, to be let in by the database.
    let ours = format!("{}-migrate-", observed.stack.name_any());
    let is_migration = |pod: &Pod| pod.labels().get(JOB_NAME).is_some_and(|job| job.starts_with(&ours));
    observed.live.jobs.iter().any(|job| !has_succeeded(job))
        || observed.pods_of(Component::Migration).any(|pod| is_migration(pod) && !ended(pod))
}

/// Whether a Job has not succeeded, and people have asked for other Pods since it was made.
fn is_outdated(live: &Job, wanted: &Job) -> bool {
    let same = live.name_any() == wanted.name_any();
    let asked = |job: &Job| job.annotations().get(CONFIG).cloned();
    same && !has_succeeded(live) && asked(live).is_some() && asked(live) != asked(wanted)
}

/// A checksum of what people have asked for and a migration is started with: the operator's own part of it is none of
/// their business, and a newer operator stops no migration.
fn asked(stack: &WebStack) -> String {
    let WebStackSpec { mysql, external_database, image_pull_secrets, web, .. } = &stack.spec;
    let Web {
        image,
        migrate_command,
        env,
        env_from,
        resources,
        affinity,
        node_selector,
        tolerations,
        image_pull_policy: _,
        replicas: _,
        autoscaling: _,
        topology_spread_constraints: _,
        service: _,
        ingress: _,
    } = web;
    let database = mysql.as_ref().map(|mysql| (&mysql.database, &mysql.user, &mysql.credentials_secret));
    checksum(&json!({
        "image": image, "migrateCommand": migrate_command, "env": env, "envFrom": env_from, "resources": resources,
        "affinity": affinity, "nodeSelector": node_selector, "tolerations": tolerations,
        "imagePullSecrets": image_pull_secrets, "externalDatabase": external_database, "mysql": database,
    }))
}

/// How the migration stands for what the spec asks for.
pub fn stage(observed: &Observed) -> Stage {
    let Some(name) = job_name(observed) else { return Stage::None };
    let live = observed.live.jobs.iter().find(|job| job.name_any() == name);
    match live.filter(|job| !is_of_lost_data(observed, job)) {
        Some(job) if has_succeeded(job) => Stage::Done,
        Some(_) => Stage::Runs,
        None if another_runs(observed) => Stage::WaitsForAnother,
        None if observed.database_ready() => Stage::Runs,
        None => Stage::WaitsForDatabase,
    }
}

/// `pod` is the web tier's Pod of the wanted version.
pub(super) fn plan(observed: &Observed, pod: &PodSpec) -> Migration {
    let stack = &*observed.stack;
    let stage = stage(observed);
    let live = observed
        .deployment()
        .and_then(|live| live.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.clone());
    let image_changes = live.is_some_and(|image| image != stack.spec.web.image);
    let due = matches!(stage, Stage::Runs | Stage::Done) && !stack.spec.suspend;
    let wanted = job_name(observed).map(|name| job(stack, name, pod));
    // One of the same name goes first.
    let outdated = |live: &Job| wanted.as_ref().is_some_and(|wanted| is_outdated(live, wanted));
    let goes = observed.live.jobs.iter().any(|job| is_of_lost_data(observed, job) || outdated(job));
    Migration { stage, job: wanted.filter(|_| (due || stage == Stage::Done) && !goes), image_changes }
}

fn job(stack: &WebStack, name: String, pod: &PodSpec) -> Job {
    let mut pod = PodSpec { restart_policy: Some("OnFailure".to_owned()), ..pod.clone() };
    for container in &mut pod.containers {
        container.name = "migrate".to_owned();
        container.args = Some(stack.spec.web.migrate_command.clone());
        container.ports = None;
        (container.startup_probe, container.readiness_probe, container.liveness_probe) = (None, None, None);
    }
    pod.topology_spread_constraints = None;
    let labels = Some(names::component_labels(stack, Component::Migration));
    let metadata = ObjectMeta { labels, ..ObjectMeta::default() };
    let template = PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) };
    Job {
        metadata: ObjectMeta {
            annotations: Some([(CONFIG.to_owned(), asked(stack))].into()),
            ..super::named(stack, Component::Migration, name)
        },
        spec: Some(JobSpec {
            // Until it works, with the kubelet's pauses in between: what is in its way may go away.
            backoff_limit: Some(i32::MAX),
            template,
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}
