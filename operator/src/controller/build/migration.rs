//! The migration: one Job for each version of the web tier, before that version serves.
//!
//! The version is the web image, with the command and the database that it is for; a group that a person had formed anew from
//! what was left is another one. The Job's name is made from it, so that a Job that exists is the answer to whether its version
//! has been migrated to, and nothing else has to remember it. One that is older than the only server's volume says nothing
//! of what is in there now.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::controller::observe::Observed;
use crate::controller::references::hex;
use crate::crd::WebStack;
use crate::names::{self, Component};

/// How the migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is nothing to migrate with.
    None,
    /// The database does not serve yet.
    WaitsForDatabase,
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
    /// Whether the web tier has to stay on its version for now. One that does not exist yet has none to stay on: its Pods
    /// start beside the migration and become ready after it.
    pub fn holds_back(&self) -> bool {
        self.image_changes && matches!(self.stage, Stage::WaitsForDatabase | Stage::Runs)
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

/// How the migration stands for what the spec asks for.
pub fn stage(observed: &Observed) -> Stage {
    let Some(name) = job_name(observed) else { return Stage::None };
    let live = observed.live.jobs.iter().find(|job| job.name_any() == name);
    let live = live.filter(|job| !is_of_lost_data(observed, job));
    let succeeded = live.and_then(|job| job.status.as_ref()?.succeeded).unwrap_or_default() > 0;
    match live {
        Some(_) if succeeded => Stage::Done,
        Some(_) => Stage::Runs,
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
    // One of the same name goes first.
    let goes = observed.live.jobs.iter().any(|job| is_of_lost_data(observed, job));
    let name = job_name(observed).filter(|_| (due || stage == Stage::Done) && !goes);
    Migration { stage, job: name.map(|name| job(stack, name, pod)), image_changes }
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
    Job {
        metadata: super::named(stack, Component::Migration, name),
        spec: Some(JobSpec {
            // Until it works, with the kubelet's pauses in between: what is in its way may go away.
            backoff_limit: Some(i32::MAX),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::component_labels(stack, Component::Migration)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}
