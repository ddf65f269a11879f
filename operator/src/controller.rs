//! One reconcile, in five steps: observe → validate → build → apply → report. Only the first, which also makes passwords
//! that are missing, and the last two talk to the cluster; what lies between is pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::config::Config;
use crate::controller::apply::words;
use crate::controller::build::Surroundings;
use crate::controller::cache::Cache;
use crate::controller::keeper::Groups;
use crate::controller::objects::Child;
use crate::controller::references::Kind;
use crate::crd::{WebStack, WebStackStatus};
use crate::metrics::Metrics;
use crate::names::{Component, OPERATOR};

pub mod apply;
pub mod backoff;
pub mod build;
pub mod cache;
pub mod difference;
pub mod keeper;
pub mod objects;
pub mod observe;
pub mod references;
pub mod report;
pub mod storage;
pub mod validate;
pub mod warnings;

/// How long one reconcile may take. The client tries again for minutes where the API server is overloaded.
const LIMIT: Duration = Duration::from_secs(60);

/// How long events are gathered before they set off a reconcile: what one reconcile makes comes back as a dozen of them.
const DEBOUNCE: Duration = Duration::from_millis(400);

/// How many stacks are reconciled at once.
const CONCURRENCY: u16 = 16;

/// When a stack is looked at again without any event: soon, where what is not there yet is not worth a word yet, and
/// late otherwise, since watches miss nothing.
const SOON: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(300);

/// Why a reconcile was not brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the watches have told cannot be read.
    #[error("the cache: {0}")]
    Cache(#[from] serde_json::Error),
    /// The cluster could not be read.
    #[error("observing: {}", words(.0))]
    Observe(#[source] kube::Error),
    /// Not everything could be applied.
    #[error("applying: {0}")]
    Apply(#[from] apply::Error),
    /// The status could not be written.
    #[error("reporting: {}", words(.0))]
    Report(#[source] kube::Error),
    /// It took too long.
    #[error("not done within {} s", LIMIT.as_secs())]
    Late,
}

/// What all reconciles share. Nothing of it is about the stacks' state but what the watches have told.
pub struct Context {
    client: Client,
    cache: Arc<Cache>,
    around: Surroundings,
    groups: Groups,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    failures: Mutex<HashMap<ObjectRef<WebStack>, u32>>,
}

impl Context {
    /// For one run of the controller; `instance` is this operator's Pod.
    pub fn new(
        client: Client,
        cache: Arc<Cache>,
        around: Surroundings,
        groups: Groups,
        instance: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reporter = Reporter { controller: OPERATOR.to_owned(), instance: Some(instance) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, cache, around, groups, recorder, metrics, failures: Mutex::default() }
    }

    fn succeeded(&self, stack: &WebStack) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&ObjectRef::from_obj(stack));
    }

    fn failed(&self, stack: &WebStack) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(ObjectRef::from_obj(stack)).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

/// Brings one stack to what its spec says, and says how it stands.
///
/// # Errors
/// See [`Error`]. What was done stays done; the next reconcile begins anew.
pub async fn reconcile(stack: Arc<WebStack>, context: Arc<Context>) -> Result<Action, Error> {
    if stack.metadata.deletion_timestamp.is_some() {
        // What belongs to it goes by itself, see `build::data_owner`.
        return Ok(Action::await_change());
    }
    let began = Instant::now();
    let done = tokio::time::timeout(LIMIT, steps(Arc::clone(&stack), &context)).await.unwrap_or(Err(Error::Late));
    context.metrics.reconciled(began.elapsed(), done.is_ok());
    if done.is_ok() {
        context.succeeded(&stack);
    }
    done
}

async fn steps(stack: Arc<WebStack>, context: &Context) -> Result<Action, Error> {
    context.cache.ready().await;
    let mut observed = observe::observe(&context.client, &context.cache, stack).await?;
    context.groups.report(&mut observed);
    let generated = apply::generate(&context.client, &mut observed).await;
    let validated = validate::validate(&observed);
    let built = build::build(&observed, &validated, &context.around);
    let (changes, outcome) = apply::apply(&context.client, &observed, built, generated).await;
    context.groups.keep(&observed);
    if outcome.as_ref().is_err_and(apply::Error::namespace_ends) {
        return Ok(Action::await_change());
    }
    let now = k8s_openapi::jiff::Timestamp::now();
    let status = report::status(&observed, &validated, &changes, outcome.as_ref().err(), now);
    for event in report::events(&observed, &status, &changes) {
        // An event that gets lost is told by the status as well.
        if let Err(error) = context.recorder.publish(&event, &observed.stack.object_ref(&())).await {
            tracing::warn!(error = words(&error), reason = event.reason, "an event was not published");
        }
    }
    write_status(&context.client, &observed.stack, status).await.map_err(Error::Report)?;
    outcome?;
    Ok(Action::requeue(if observed.is_young() { SOON } else { LATE }))
}

/// Writes the status where it differs.
async fn write_status(client: &Client, stack: &WebStack, status: WebStackStatus) -> Result<(), kube::Error> {
    if stack.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let namespace = stack.namespace().unwrap_or_default();
    let document = json!({
        "apiVersion": WebStack::api_version(&()),
        "kind": WebStack::kind(&()),
        "metadata": {"uid": stack.uid()},
        "status": status,
    });
    let api: Api<WebStack> = Api::namespaced(client.clone(), &namespace);
    match api.patch_status(&stack.name_any(), &PatchParams::apply(OPERATOR).force(), &Patch::Apply(document)).await {
        // Deleted in the meantime, or deleted and made anew: somebody else's status.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        written => written.map(|_| ()),
    }
}

fn after_error(stack: Arc<WebStack>, error: &Error, context: Arc<Context>) -> Action {
    let pause = backoff::pause(context.failed(&stack), &stack.uid().unwrap_or_default());
    let (namespace, name) = (stack.namespace().unwrap_or_default(), stack.name_any());
    tracing::error!(namespace, name, %error, again_in_seconds = pause.as_secs_f32(), "reconcile failed");
    Action::requeue(pause)
}

/// Reconciles the stacks of the namespace that is watched (of all, where there is none) until `stop`; what has begun by
/// then is ended.
pub async fn run(
    client: Client,
    config: &Config,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let namespace = config.watch_namespace.as_deref();
    let (stacks, writer) = reflector::store();
    // Who set which field is the larger part of a stack, and nothing to us.
    let watched = watcher(cache::api::<WebStack>(&client, namespace), cache::in_pages())
        .modify(|stack: &mut WebStack| stack.metadata.managed_fields = None)
        .backoff(backoff::watches())
        .reflect(writer)
        .touched_objects();
    let controller = Controller::for_stream(watched, stacks.clone())
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY))
        .trigger_backoff(backoff::watches())
        .graceful_shutdown_on(stop);
    metrics.watch(stacks.clone());
    let (cache, changes) = cache::watch(&client, namespace);
    let around = Surroundings { cluster_domain: config.cluster_domain.clone(), namespace: config.namespace(&client) };
    let (groups, news) = Groups::new(client.clone(), Arc::clone(&cache), around.clone());
    let controller = controller.reconcile_on(changes).reconcile_on(news);
    let controller = referenced::<Secret>(controller, &client, namespace, Kind::Secret, stacks.clone());
    let controller = referenced::<ConfigMap>(controller, &client, namespace, Kind::ConfigMap, stacks);
    let context = Arc::new(Context::new(client, cache, around, groups, config.pod_name.clone(), metrics));
    let keepers = Arc::clone(&context);
    controller
        .run(reconcile, after_error, context)
        .for_each(|done| {
            match done {
                Ok((stack, _)) => tracing::debug!(namespace = stack.namespace, name = stack.name, "reconciled"),
                // Told already, with the stack's name.
                Err(controller::Error::ReconcilerFailed(..)) => {}
                // Deleted in the meantime.
                Err(controller::Error::ObjectNotFound(stack)) => {
                    let namespace = stack.namespace.unwrap_or_default();
                    keepers.groups.forget(&ObjectRef::new(&stack.name).within(&namespace));
                }
                Err(error) => tracing::warn!(%error, "a watch was interrupted"),
            }
            future::ready(())
        })
        .await;
}

/// Every change of a Secret or ConfigMap that a stack's Pods read sets off a reconcile of that stack.
fn referenced<K: Child>(
    controller: Controller<WebStack>,
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    stacks: Store<WebStack>,
) -> Controller<WebStack> {
    // By their metadata alone: contents are read when they are needed.
    let objects: Api<PartialObjectMeta<K>> = cache::api(client, namespace);
    controller.watches(objects, cache::in_pages(), move |object| {
        let (namespace, name) = (object.namespace(), object.name_any());
        let reads = |stack: &WebStack| {
            let of = |component| references::of(stack, component);
            let all = of(Component::Mysql).into_iter().chain(of(Component::Web));
            all.into_iter().any(|reference| reference.kind == kind && reference.name == name)
        };
        let readers = stacks.state().into_iter().filter(|stack| stack.namespace() == namespace && reads(stack));
        readers.map(|stack| ObjectRef::from_obj(&*stack)).collect::<Vec<_>>()
    })
}
