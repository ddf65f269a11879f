//! One reconcile, in five steps: observe → validate → build → apply → report. Only the first, which also makes
//! passwords that are missing, and the last two talk to the cluster; what lies between is pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::scheduler::ScheduleRequest;
use kube::runtime::{WatchStreamExt, scheduler, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::client::Clients;
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

/// How long a stack's events are gathered, from the first one on, before they set off a reconcile: what one reconcile
/// makes comes back as a dozen of them.
const GATHERING: Duration = Duration::from_millis(400);

/// How long it takes at most until what could not be read is asked for again.
const UNREAD: Duration = Duration::from_secs(30);

/// How many stacks are reconciled at once.
const CONCURRENCY: u16 = 32;

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
    /// Something that Pods read could not be read: what it is, and why.
    #[error("observing: {0}")]
    Observe(String),
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

    /// Forgets a stack that was deleted: another one of its name begins anew.
    fn forget(&self, stack: &ObjectRef<WebStack>) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(stack);
        self.groups.forget(stack);
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
    // Before anything that may fail or take its time: a group is looked after whatever becomes of its objects.
    context.groups.keep(&observed);
    let validated = validate::validate(&observed);
    let built = build::build(&observed, &validated, &context.around);
    let (changes, outcome) = apply::apply(&context.client, &observed, built, generated).await;
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
    if let Some(((kind, name), why)) = observed.unread.first_key_value() {
        return Err(Error::Observe(format!("{} {name}: {why}", kind.name())));
    }
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
    // No watch tells when what could not be read can be.
    let pause = if matches!(error, Error::Observe(_)) { pause.min(UNREAD) } else { pause };
    let (namespace, name) = (stack.namespace().unwrap_or_default(), stack.name_any());
    tracing::error!(namespace, name, %error, again_in_seconds = pause.as_secs_f32(), "reconcile failed");
    Action::requeue(pause)
}

/// However a run ends: from then on no database is told anything.
struct Run(Arc<Context>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.groups.end();
        self.0.metrics.rest();
    }
}

/// Reconciles the stacks of the namespace that is watched (of all, where there is none) until `stop`: then the
/// reconciles that have begun are brought to their end, while groups are looked after as before. Whoever drops it ends
/// all of them.
pub async fn run(
    clients: Clients,
    config: &Config,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (Clients { patient: client, prompt }, namespace) = (clients, config.watch_namespace.as_deref());
    let (stacks, writer) = reflector::store();
    // Who set which field is the larger part of a stack, and nothing to us.
    let specs = cache::watched(cache::api::<WebStack>(&client, namespace), cache::in_pages())
        .modify(|stack: &mut WebStack| stack.metadata.managed_fields = None)
        .backoff(backoff::watches())
        .reflect(writer)
        .touched_objects()
        .filter_map(|stack| future::ready(told(stack)))
        .map(|stack| ObjectRef::from_obj(&stack));
    metrics.watch(stacks.clone());
    let (cache, changes) = cache::watch(&client, namespace);
    let stop = stop.shared();
    let unbegun = {
        let (cache, stop) = (Arc::clone(&cache), stop.clone());
        async move {
            tokio::select! {
                biased;
                () = cache.ready() => future::pending().await,
                () = stop => {}
            }
        }
    };
    let around = Surroundings { cluster_domain: config.cluster_domain.clone(), namespace: config.namespace(&client) };
    let (groups, news) = Groups::new(prompt, Arc::clone(&cache), around.clone());
    let secrets = referenced::<Secret>(&client, namespace, Kind::Secret, stacks.clone());
    let config_maps = referenced::<ConfigMap>(&client, namespace, Kind::ConfigMap, stacks.clone());
    let all = [specs.boxed(), changes.boxed(), news.boxed(), secrets.boxed(), config_maps.boxed()];
    // The stacks' own changes are among the others.
    let controller = Controller::for_stream(stream::pending(), stacks)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(gathered(stream::select_all(all)));
    let context = Arc::new(Context::new(client, cache, around, groups, config.pod_name.clone(), metrics));
    let run = Run(Arc::clone(&context));
    let running = controller.graceful_shutdown_on(stop).run(reconcile, after_error, context).for_each(|done| {
        match done {
            Ok((stack, _)) => tracing::debug!(namespace = stack.namespace, name = stack.name, "reconciled"),
            // Told already, with the stack's name.
            Err(controller::Error::ReconcilerFailed(..)) => {}
            // Deleted in the meantime.
            Err(controller::Error::ObjectNotFound(stack)) => {
                let namespace = stack.namespace.unwrap_or_default();
                run.0.forget(&ObjectRef::new(&stack.name).within(&namespace));
            }
            Err(error) => tracing::warn!(%error, "a watch was interrupted"),
        }
        future::ready(())
    });
    // Until the watches have told everything, each reconcile waits for that: none has to be brought to its end, and a
    // controller that stops hears no more of them.
    tokio::select! {
        () = running => {}
        () = unbegun => {}
    }
}

/// Each stack once for all its changes within a moment from the first one on. The controller's own debouncing waits for
/// a moment without changes: a stack that changes all the time would never be looked at.
fn gathered(changes: impl Stream<Item = ObjectRef<WebStack>>) -> impl Stream<Item = ObjectRef<WebStack>> {
    // Of several requests, the scheduler keeps the earliest.
    scheduler(changes.map(|message| ScheduleRequest { message, run_at: tokio::time::Instant::now() + GATHERING }))
}

/// What a watch tells, but for its interruptions, which end by themselves.
fn told<T>(event: watcher::Result<T>) -> Option<T> {
    event.inspect_err(|error| tracing::warn!(%error, "a watch was interrupted")).ok()
}

/// The stacks whose Pods read a Secret or ConfigMap, with each of its changes.
fn referenced<K: Child>(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    stacks: Store<WebStack>,
) -> impl Stream<Item = ObjectRef<WebStack>> + Send + use<K> {
    // By their metadata alone: contents are read when they are needed.
    let objects: Api<PartialObjectMeta<K>> = cache::api(client, namespace);
    let touched = cache::watched(objects, cache::in_pages()).backoff(backoff::watches()).touched_objects();
    touched.filter_map(|object| future::ready(told(object))).flat_map(move |object| {
        let (namespace, name) = (object.namespace(), object.name_any());
        let reads = |stack: &WebStack| {
            let of = |component| references::of(stack, component);
            let all = of(Component::Mysql).into_iter().chain(of(Component::Web));
            all.into_iter().any(|reference| reference.kind == kind && reference.name == name)
        };
        let readers = stacks.state().into_iter().filter(|stack| stack.namespace() == namespace && reads(stack));
        stream::iter(readers.map(|stack| ObjectRef::from_obj(&*stack)).collect::<Vec<_>>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// A context whose API server knows nothing.
    fn context() -> Context {
        let nothing = async |_: http::Request<kube::client::Body>| {
            let answer = http::Response::builder().status(404);
            answer.body(kube::client::Body::empty())
        };
        let client = Client::new(tower::service_fn(nothing), "default");
        let around = Surroundings { cluster_domain: "cluster.local".to_owned(), namespace: "default".to_owned() };
        let cache = Arc::new(Cache::default());
        let (groups, _) = Groups::new(client.clone(), Arc::clone(&cache), around.clone());
        Context::new(client, cache, around, groups, "operator-0".to_owned(), Arc::default())
    }

    /// When each stack is passed on, in milliseconds, for changes at these times, which are in order.
    async fn passed_on(changes: Vec<(u64, &'static str)>) -> Vec<(u128, String)> {
        let began = tokio::time::Instant::now();
        let last = changes.last().map_or(0, |(at, _)| at + 1000);
        let changes = stream::iter(changes).then(move |(at, name)| async move {
            tokio::time::sleep_until(began + Duration::from_millis(at)).await;
            ObjectRef::new(name).within("default")
        });
        // It ends as soon as its changes do.
        let end = tokio::time::sleep_until(began + Duration::from_millis(last));
        let changes = changes.chain(stream::pending());
        let passed = gathered(changes).map(|stack| (began.elapsed().as_millis(), stack.name)).take_until(end);
        passed.collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_sets_off_one_reconcile() {
        let changes = (0..12).map(|n| (n * 30, "shop")).chain([(360, "club"), (2000, "shop")]).collect();
        let expected = [(400, "shop"), (760, "club"), (2400, "shop")];
        let passed = passed_on(changes).await;
        // The timer's steps are whole milliseconds.
        let near = |(passed, due): (&(u128, String), &(u128, &str))| passed.1 == due.1 && passed.0.abs_diff(due.0) < 3;
        assert!(passed.len() == 3 && passed.iter().zip(&expected).all(near), "{passed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stack_that_changes_all_the_time_is_reconciled_all_the_same() {
        let passed = passed_on((0..100).map(|n| (n * 100, "shop")).collect()).await;
        let times: Vec<u128> = [0].into_iter().chain(passed.into_iter().map(|(at, _)| at)).collect();
        assert!(times.windows(2).all(|two| two[1] - two[0] <= 510), "{times:?}");
        assert!((20..=25).contains(&(times.len() - 1)), "{times:?}");
    }

    #[tokio::test]
    async fn another_stack_of_the_name_of_one_that_failed_begins_anew() {
        let context = context();
        let mut stack = WebStack::new("shop", serde_json::from_value(json!({"mysql": {}})).unwrap());
        stack.metadata.namespace = Some("default".to_owned());
        assert_eq!((context.failed(&stack), context.failed(&stack)), (1, 2));
        context.forget(&ObjectRef::new("shop").within("default"));
        assert_eq!(context.failed(&stack), 1);
    }

    #[test]
    fn a_reconcile_that_has_begun_is_ended_before_the_process_is_killed() {
        let path = format!("{}/../manifests/operator/deployment.yaml", env!("CARGO_MANIFEST_DIR"));
        let deployment: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
        // Giving the Lease back takes up to 5 s more.
        assert!(Duration::from_secs(grace) > LIMIT + Duration::from_secs(5), "{grace}");
    }
}
