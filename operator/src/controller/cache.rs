//! What the watches have told of the objects that stacks are made of, so that a reconcile asks the API server for next
//! to nothing (docs/decisions/0014-watches-fill-a-cache.md).
//!
//! A cache is behind the cluster by a moment. What is done upon old news does no harm: to apply again changes nothing,
//! to create again is refused, and what is deleted is the object that was seen, not another one that has its name by
//! now. The newer news then sets off the next reconcile.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::controller::backoff;
use crate::controller::objects::{Child, Objects};
use crate::controller::warnings::{self, Warnings};
use crate::crd::WebStack;
use crate::names::OPERATOR;

/// How many kinds are watched, warnings among them.
const KINDS: usize = 14;

/// The objects of one kind as JSON by their names, by the stack that they belong to. As typed objects they would take
/// six times the memory, and an operator looks at few of them at any time.
#[derive(Default)]
struct Shelf {
    objects: HashMap<ObjectRef<WebStack>, BTreeMap<String, Box<[u8]>>>,
    /// The stack's name by an object's namespace and name: who changes the label takes an object from one stack to
    /// another, or from all.
    holders: HashMap<(String, String), String>,
}

#[derive(Default)]
struct Shelves {
    /// By kind; a kind is there once all of its objects have been told.
    complete: HashMap<&'static str, Shelf>,
    /// What is being told anew, from the begin of a watch.
    incoming: HashMap<&'static str, Shelf>,
    warnings: Warnings,
    /// Whether the warnings that there are have been told once.
    warned: bool,
}

/// The objects of all stacks, and the warnings about them.
pub struct Cache {
    shelves: Mutex<Shelves>,
    /// How many kinds are complete.
    complete: watch::Sender<usize>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { shelves: Mutex::default(), complete: watch::Sender::new(0) }
    }
}

impl Cache {
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every kind has been told once.
    pub async fn ready(&self) {
        // The sender lives as long as this does, so waiting cannot fail.
        let _ = self.complete.subscribe().wait_for(|complete| *complete == KINDS).await;
    }

    /// Takes in what a watch tells; the stacks that it is about.
    ///
    /// # Errors
    /// An object cannot be written as JSON.
    pub fn take<K: Child>(&self, event: watcher::Event<K>) -> serde_json::Result<Vec<ObjectRef<WebStack>>> {
        let mut shelves = self.shelves();
        let Shelves { complete, incoming, .. } = &mut *shelves;
        Ok(match event {
            watcher::Event::Init => {
                incoming.insert(K::KIND, Shelf::default());
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                incoming.entry(K::KIND).or_default().put(&object)?;
                Vec::new()
            }
            // Everything was listed anew, as after a lost watch: nothing else tells what has gone since then.
            watcher::Event::InitDone => {
                let now = incoming.remove(K::KIND).unwrap_or_default();
                let stacks = now.objects.keys().cloned().collect();
                let before = complete.insert(K::KIND, now).unwrap_or_default();
                self.complete.send_replace(shelves.kinds());
                [stacks, before.objects.into_keys().collect::<Vec<_>>()].concat()
            }
            watcher::Event::Apply(object) => complete.entry(K::KIND).or_default().put(&object)?,
            watcher::Event::Delete(object) => {
                complete.get_mut(K::KIND).and_then(|shelf| shelf.remove(&object)).into_iter().collect()
            }
        })
    }

    /// Takes in what the watch of warnings tells; the stacks that it is about.
    pub fn warn(&self, event: watcher::Event<Event>) -> Vec<ObjectRef<WebStack>> {
        let mut shelves = self.shelves();
        if matches!(event, watcher::Event::InitDone) {
            shelves.warned = true;
            self.complete.send_replace(shelves.kinds());
        }
        let about = shelves.warnings.take(event);
        about.and_then(|about| shelves.holder(&about)).into_iter().collect()
    }

    /// The words of the last warning about an object.
    pub fn warning(&self, object: &impl ResourceExt) -> Option<String> {
        self.shelves().warnings.about(&object.uid()?).map(str::to_owned)
    }

    /// What there is of one stack, but for its Pods.
    ///
    /// # Errors
    /// None that can be: it was written by [`Self::take`].
    pub fn objects(&self, stack: &WebStack) -> serde_json::Result<Objects> {
        let shelves = self.shelves();
        Ok(Objects {
            service_accounts: shelves.of(stack)?,
            config_maps: shelves.of(stack)?,
            secrets: shelves.of(stack)?,
            services: shelves.of(stack)?,
            network_policies: shelves.of(stack)?,
            disruption_budgets: shelves.of(stack)?,
            claims: shelves.of(stack)?,
            stateful_sets: shelves.of(stack)?,
            jobs: shelves.of(stack)?,
            deployments: shelves.of(stack)?,
            autoscalers: shelves.of(stack)?,
            ingresses: shelves.of(stack)?,
        })
    }

    /// A stack's Services.
    ///
    /// # Errors
    /// As [`Self::objects`].
    pub fn services(&self, stack: &WebStack) -> serde_json::Result<Vec<Service>> {
        self.shelves().of(stack)
    }

    /// A stack's Pods.
    ///
    /// # Errors
    /// As [`Self::objects`].
    pub fn pods(&self, stack: &WebStack) -> serde_json::Result<Vec<Pod>> {
        self.shelves().of(stack)
    }
}

impl Shelves {
    /// How many kinds have been told completely.
    fn kinds(&self) -> usize {
        self.complete.len() + usize::from(self.warned)
    }

    /// The stack that holds an object.
    fn holder(&self, about: &warnings::About) -> Option<ObjectRef<WebStack>> {
        let (_, shelf) = self.complete.iter().find(|(kind, _)| **kind == about.kind)?;
        let name = shelf.holders.get(&(about.namespace.clone(), about.name.clone()))?;
        Some(ObjectRef::new(name).within(&about.namespace))
    }

    /// A stack's objects of one kind, in the names' order.
    fn of<K: Child>(&self, stack: &WebStack) -> serde_json::Result<Vec<K>> {
        let objects = self.complete.get(K::KIND).and_then(|shelf| shelf.objects.get(&ObjectRef::from_obj(stack)));
        objects.into_iter().flat_map(BTreeMap::values).map(|json| serde_json::from_slice(json)).collect()
    }
}

impl Shelf {
    /// Keeps an object; the stacks that it belongs to now and belonged to before.
    fn put<K: Child>(&mut self, object: &K) -> serde_json::Result<Vec<ObjectRef<WebStack>>> {
        let json = serde_json::to_vec(object)?.into_boxed_slice();
        let (before, now) = (self.remove(object), owner(object));
        if let Some(owner) = &now {
            self.objects.entry(owner.clone()).or_default().insert(object.name_any(), json);
            self.holders.insert(key(object), owner.name.clone());
        }
        Ok(before.filter(|before| now.as_ref() != Some(before)).into_iter().chain(now.clone()).collect())
    }

    /// Takes an object away, whatever labels it has by now; the stack that it belonged to.
    fn remove(&mut self, object: &impl ResourceExt) -> Option<ObjectRef<WebStack>> {
        let (namespace, name) = key(object);
        let holder = ObjectRef::new(&self.holders.remove(&(namespace.clone(), name))?).within(&namespace);
        if let Some(objects) = self.objects.get_mut(&holder) {
            objects.remove(&object.name_any());
            if objects.is_empty() {
                self.objects.remove(&holder);
            }
        }
        Some(holder)
    }
}

fn key(object: &impl ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The stack whose labels an object carries.
fn owner(object: &impl ResourceExt) -> Option<ObjectRef<WebStack>> {
    let name = object.labels().get("app.kubernetes.io/instance")?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

/// Watches every kind in `namespace` (everywhere, where there is none): the cache, and the stream of the stacks that
/// each change belongs to. The stream must be read for the cache to be filled.
pub fn watch(
    client: &Client,
    namespace: Option<&str>,
) -> (Arc<Cache>, impl Stream<Item = ObjectRef<WebStack>> + Send + use<>) {
    let mut watches = Watches { client, namespace, cache: Arc::default(), changes: SelectAll::new() };
    watches.kind::<ServiceAccount>(|_| {});
    watches.kind::<ConfigMap>(|_| {});
    watches.kind::<Secret>(|secret| secret.data = None);
    watches.kind::<Service>(|_| {});
    watches.kind::<NetworkPolicy>(|_| {});
    watches.kind::<PodDisruptionBudget>(|_| {});
    watches.kind::<PersistentVolumeClaim>(|_| {});
    watches.kind::<StatefulSet>(|_| {});
    watches.kind::<Job>(|job| job.spec = None);
    watches.kind::<Deployment>(|_| {});
    watches.kind::<HorizontalPodAutoscaler>(|_| {});
    watches.kind::<Ingress>(|_| {});
    watches.kind::<Pod>(|pod| pod.spec = None);
    watches.warnings();
    debug_assert_eq!(watches.changes.len(), KINDS, "the cache is ready when all of these have told");
    (watches.cache, watches.changes)
}

struct Watches<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    cache: Arc<Cache>,
    changes: SelectAll<BoxStream<'static, ObjectRef<WebStack>>>,
}

impl Watches<'_> {
    /// Watches the objects of one kind that carry our labels; `trim` takes away what is not to be kept.
    fn kind<K: Child>(&mut self, trim: fn(&mut K)) {
        let ours = in_pages().labels(&format!("app.kubernetes.io/managed-by={OPERATOR}"));
        let events = watched(api::<K>(self.client, self.namespace), ours)
            .modify(move |object: &mut K| {
                Resource::meta_mut(object).managed_fields = None;
                trim(object);
            })
            .backoff(backoff::watches());
        let cache = Arc::clone(&self.cache);
        self.follow(K::KIND, events, move |event| cache.take(event).map_err(|error| error.to_string()));
    }

    fn warnings(&mut self) {
        let all = in_pages().fields(warnings::SELECTOR);
        let events = watched(api::<Event>(self.client, self.namespace), all).backoff(backoff::watches());
        let cache = Arc::clone(&self.cache);
        self.follow("Event", events, move |event| Ok(cache.warn(event)));
    }

    /// Adds the stacks that `take` finds in `events` to the changes.
    fn follow<E: 'static>(
        &mut self,
        kind: &'static str,
        events: impl Stream<Item = watcher::Result<E>> + Send + 'static,
        take: impl Fn(E) -> Result<Vec<ObjectRef<WebStack>>, String> + Send + 'static,
    ) {
        let changes = events.flat_map(move |event| {
            let taken = event.map_err(|error| error.to_string()).and_then(&take);
            stream::iter(taken.unwrap_or_else(|error| {
                tracing::warn!(kind, error, "a watch was interrupted");
                Vec::new()
            }))
        });
        self.changes.push(changes.boxed());
    }
}

/// What is there when a watch begins comes in pages of so many: as typed objects, all at once, they would take most of
/// the memory that the operator ever needs.
const PAGE: u32 = 50;

/// How watches begin.
pub(super) fn in_pages() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// What a watch tells. Where nobody knows any more what there was when it broke, it begins anew: kube does so where the
/// watch itself says it, but asks for ever where the answer to the request does.
pub(super) fn watched<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    stream::unfold(None, move |watch: Option<BoxStream<'static, watcher::Result<watcher::Event<K>>>>| {
        let mut watch = watch.unwrap_or_else(|| watcher(api.clone(), config.clone()).boxed());
        async move {
            let event = watch.next().await?;
            let is_forgotten = matches!(&event,
                Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 410);
            Some((event, (!is_forgotten).then_some(watch)))
        }
    })
}

/// A kind, in one namespace or in all.
pub(super) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{from_value, json};
    use watcher::Event;

    fn map(stack: &str, name: &str) -> ConfigMap {
        let labels = json!({"app.kubernetes.io/instance": stack});
        from_value(json!({"metadata": {"namespace": "default", "name": name, "labels": labels}})).unwrap()
    }

    fn stack(name: &str) -> WebStack {
        let mut stack = WebStack::new(name, from_value(json!({"mysql": {}})).unwrap());
        stack.metadata.namespace = Some("default".to_owned());
        stack
    }

    fn names(cache: &Cache, of: &str) -> Vec<String> {
        let objects = cache.objects(&stack(of)).unwrap();
        objects.config_maps.iter().map(ResourceExt::name_any).collect()
    }

    fn told(cache: &Cache, event: Event<ConfigMap>) -> Vec<String> {
        let mut stacks: Vec<_> = cache.take(event).unwrap().into_iter().map(|stack| stack.name).collect();
        stacks.sort();
        stacks.dedup();
        stacks
    }

    #[test]
    fn a_stack_is_told_of_what_is_its_own() {
        let cache = Cache::default();
        assert_eq!(told(&cache, Event::Apply(map("shop", "b"))), ["shop"]);
        assert_eq!(told(&cache, Event::Apply(map("shop", "a"))), ["shop"]);
        assert_eq!(told(&cache, Event::Apply(map("club", "c"))), ["club"]);
        assert_eq!((names(&cache, "shop"), names(&cache, "club")), (vec!["a".into(), "b".into()], vec!["c".into()]));
        assert_eq!(told(&cache, Event::Delete(map("shop", "b"))), ["shop"]);
        assert_eq!(names(&cache, "shop"), ["a"]);
    }

    #[test]
    fn who_changes_the_label_takes_an_object_from_its_stack() {
        let cache = Cache::default();
        told(&cache, Event::Apply(map("shop", "a")));
        assert_eq!(told(&cache, Event::Apply(map("club", "a"))), ["club", "shop"]);
        assert_eq!((names(&cache, "shop"), names(&cache, "club")), (vec![], vec!["a".into()]));
        let mut nobodys = map("club", "a");
        nobodys.metadata.labels = None;
        assert_eq!(told(&cache, Event::Apply(nobodys.clone())), ["club"]);
        assert!(names(&cache, "club").is_empty() && told(&cache, Event::Delete(nobodys)).is_empty());
        told(&cache, Event::Apply(map("shop", "a")));
        assert_eq!(told(&cache, Event::Delete(map("club", "a"))), ["shop"], "as it was known, not as it was deleted");
        assert!(names(&cache, "shop").is_empty());
    }

    #[test]
    fn what_is_gone_after_a_lost_watch_is_told_to_its_stack() {
        let cache = Cache::default();
        told(&cache, Event::Apply(map("shop", "a")));
        assert!(told(&cache, Event::Init).is_empty() && told(&cache, Event::InitApply(map("club", "c"))).is_empty());
        assert_eq!(names(&cache, "shop"), ["a"], "until everything has been told, the old news counts");
        assert_eq!(told(&cache, Event::InitDone), ["club", "shop"]);
        assert!(names(&cache, "shop").is_empty());
    }

    #[test]
    fn it_is_ready_when_every_kind_has_been_told() {
        let cache = Cache::default();
        told(&cache, Event::InitDone);
        assert_eq!(*cache.complete.borrow(), 1);
        told(&cache, Event::InitDone);
        assert_eq!(*cache.complete.borrow(), 1);
    }

    #[test]
    fn a_warning_is_told_to_the_stack_whose_object_it_is_about() {
        let cache = Cache::default();
        let mut object = map("shop", "a");
        object.metadata.uid = Some("1".to_owned());
        told(&cache, Event::Apply(object.clone()));
        let about = |namespace: &str| {
            let object = json!({"kind": "ConfigMap", "namespace": namespace, "name": "a", "uid": "1"});
            from_value(json!({"metadata": {"name": "e"}, "involvedObject": object, "message": "no"})).unwrap()
        };
        assert!(cache.warn(Event::Apply(about("another"))).is_empty());
        let stacks = cache.warn(Event::Apply(about("default")));
        assert_eq!(stacks.iter().map(|stack| stack.name.as_str()).collect::<Vec<_>>(), ["shop"]);
        assert_eq!(cache.warning(&object).as_deref(), Some("no"));
        assert_eq!(cache.warning(&map("shop", "a")), None, "another object of the same name");
    }

    proptest! {
        #[test]
        fn it_holds_what_there_is(events in prop::collection::vec((0..4u8, 0..3u8, 0..4u8), 0..60)) {
            let (cache, mut there, mut listed) = (Cache::default(), BTreeMap::new(), None);
            for (event, owner, name) in events {
                let (owner, name) = (format!("s{owner}"), format!("m{name}"));
                let object = map(&owner, &name);
                // As a watcher does: between Init and InitDone nothing but InitApply.
                let event = match (event, &mut listed) {
                    (0, None) => { listed = Some(BTreeMap::new()); Event::Init }
                    (0, Some(_)) => { there = listed.take().unwrap(); Event::InitDone }
                    (_, Some(listed)) => { listed.insert(name, owner); Event::InitApply(object) }
                    (1, None) => { there.remove(&name); Event::Delete(object) }
                    (_, None) => { there.insert(name, owner); Event::Apply(object) }
                };
                cache.take(event).unwrap();
                for stack in ["s0", "s1", "s2"] {
                    let expected: Vec<_> =
                        there.iter().filter(|(_, owner)| *owner == stack).map(|(name, _)| name.clone()).collect();
                    prop_assert_eq!(names(&cache, stack), expected);
                }
            }
        }
    }
}
