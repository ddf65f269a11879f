//! The API server's faults and late news: whatever it answers in between, and however far the watches are behind,
//! reconciling again ends where it would have ended without.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use fixture::stack;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::controller::build::Surroundings;
use tandem_operator::controller::cache::{Cache, Child};
use tandem_operator::controller::{Context, reconcile};
use tandem_operator::crd::WebStack;
use tandem_operator::metrics::Metrics;

/// What happens to a request instead of its answer.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// This status. What was asked for is not done.
    Status(u16),
    /// It is done, and the answer gets lost.
    Lost,
    /// Nothing, for ever.
    Hangs,
}

/// An API server in memory: objects by their path, without any rules.
#[derive(Default)]
struct Api {
    objects: Documents,
    /// What happens to the next requests, in their order.
    faults: VecDeque<Option<Fault>>,
    /// The namespace is being deleted.
    ends: bool,
    requests: usize,
    writes: usize,
}

impl Api {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        self.requests += 1;
        let object = path.trim_end_matches("/status").to_owned();
        let failure = |code: u16| {
            let reason = if code == 404 { "NotFound" } else { "AlreadyExists" };
            (code, json!({"kind": "Status", "status": "Failure", "message": "no", "reason": reason, "code": code}))
        };
        // …/namespaces/default/KINDS, and …/KINDS/NAME.
        let is_list = object.split('/').skip_while(|part| *part != "namespaces").count() == 3;
        if *method != Method::GET && !path.contains("/events") {
            self.writes += 1;
        }
        if self.ends && matches!(*method, Method::POST | Method::PATCH) {
            let causes = json!([{"reason": "NamespaceTerminating", "message": "", "field": ""}]);
            let details = json!({"causes": causes});
            return (403, json!({"kind": "Status", "status": "Failure", "code": 403, "details": details}));
        }
        match *method {
            Method::GET if is_list => {
                let below = format!("{object}/");
                let items: Vec<_> =
                    self.objects.iter().filter(|(path, _)| path.starts_with(&below)).map(|(_, o)| o.clone()).collect();
                (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
            Method::GET => self.objects.get(&object).map_or_else(|| failure(404), |found| (200, found.clone())),
            Method::POST | Method::PATCH if path.contains("/events") => (201, body),
            Method::POST => {
                let path = format!("{object}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return failure(409);
                }
                let mut made = body;
                if let Some(Value::Object(texts)) = made.as_object_mut().unwrap().remove("stringData") {
                    // As base64 that decodes.
                    made["data"] = texts
                        .keys()
                        .map(|key| (key.clone(), json!("c2VjcmV0")))
                        .collect::<serde_json::Map<_, _>>()
                        .into();
                }
                self.objects.insert(path, made.clone());
                (201, made)
            }
            Method::PATCH if path.ends_with("/status") => {
                let there = self.objects.get_mut(&object).unwrap();
                there["status"] = body["status"].clone();
                (200, there.clone())
            }
            Method::PATCH => {
                let mut made = body;
                if object.contains("/statefulsets/") {
                    made["status"] = json!({"replicas": 1, "readyReplicas": 1});
                }
                if let Some(data) =
                    self.objects.get(&object).and_then(|there| there.get("data")).filter(|_| made.get("data").is_none())
                {
                    made["data"] = data.clone();
                }
                self.objects.insert(object, made.clone());
                (200, made)
            }
            Method::DELETE => match self.objects.remove(&object) {
                Some(_) => (200, json!({"kind": "Status", "status": "Success"})),
                None => failure(404),
            },
            _ => failure(405),
        }
    }
}

const STACK: &str = "/apis/tandem.dev/v1alpha1/namespaces/default/webstacks/shop";

type Documents = BTreeMap<String, Value>;

/// A cluster with one stack in it.
struct Cluster {
    api: Arc<Mutex<Api>>,
    client: Client,
    /// What there was after each round: where the watches may still be.
    history: Vec<Documents>,
    /// How many rounds the watches are behind in the next rounds; then they are not.
    behind: VecDeque<usize>,
}

impl Cluster {
    fn new(faults: Vec<Option<Fault>>) -> Self {
        let stack = serde_json::to_value(stack(json!({"mysql": {}}))).unwrap();
        let objects = BTreeMap::from([(STACK.to_owned(), stack)]);
        let api = Arc::new(Mutex::new(Api { objects, faults: faults.into(), ends: false, requests: 0, writes: 0 }));
        let server = Arc::clone(&api);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(serve(&server, request).await) }
        });
        let client = Client::new(service, "default");
        Self { api, client, history: Vec::new(), behind: VecDeque::new() }
    }

    fn stack(&self) -> WebStack {
        serde_json::from_value(self.api.lock().unwrap().objects[STACK].clone()).unwrap()
    }

    /// What the operator knows at the begin of a round.
    fn context(&mut self) -> Arc<Context> {
        self.history.push(self.api.lock().unwrap().objects.clone());
        let behind = self.behind.pop_front().unwrap_or_default();
        let seen = &self.history[self.history.len().saturating_sub(behind + 1)];
        let around = Surroundings { cluster_domain: "cluster.local".to_owned() };
        let metrics = Arc::new(Metrics::default());
        Arc::new(Context::new(self.client.clone(), cache(seen), around, "operator-0".to_owned(), metrics))
    }

    /// Reconciles until there is nothing left to do; how often that took.
    async fn settle(&mut self) -> usize {
        for round in 1..200 {
            let context = self.context();
            self.api.lock().unwrap().writes = 0;
            let done = reconcile(Arc::new(self.stack()), context).await;
            let api = self.api.lock().unwrap();
            if done.is_ok() && api.writes == 0 && api.faults.is_empty() && self.behind.is_empty() {
                return round;
            }
        }
        usize::MAX
    }

    /// What there is in the end, but for what is different every time.
    fn objects(&self) -> Documents {
        let mut objects = self.api.lock().unwrap().objects.clone();
        objects.remove(STACK);
        objects
    }
}

/// What the watches have told when they have told of these objects.
fn cache(objects: &Documents) -> Arc<Cache> {
    let cache = Cache::default();
    tell::<ServiceAccount>(&cache, objects);
    tell::<ConfigMap>(&cache, objects);
    tell::<Secret>(&cache, objects);
    tell::<Service>(&cache, objects);
    tell::<NetworkPolicy>(&cache, objects);
    tell::<PodDisruptionBudget>(&cache, objects);
    tell::<PersistentVolumeClaim>(&cache, objects);
    tell::<StatefulSet>(&cache, objects);
    tell::<Job>(&cache, objects);
    tell::<Deployment>(&cache, objects);
    tell::<HorizontalPodAutoscaler>(&cache, objects);
    tell::<Ingress>(&cache, objects);
    tell::<Pod>(&cache, objects);
    Arc::new(cache)
}

fn tell<K: Child>(cache: &Cache, objects: &Documents) {
    let kind = format!("/{}/", <K as kube::Resource>::plural(&()));
    for (_, object) in objects.iter().filter(|(path, _)| path.contains(&kind)) {
        cache.take::<K>(watcher::Event::InitApply(serde_json::from_value(object.clone()).unwrap())).unwrap();
    }
    cache.take::<K>(watcher::Event::InitDone).unwrap();
}

async fn serve(server: &Mutex<Api>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    let fault = server.lock().unwrap().faults.pop_front().flatten();
    let (code, answer) = match fault {
        Some(Fault::Status(code)) => (
            code,
            json!({"kind": "Status", "status": "Failure", "message": "a fault", "reason": "Fault", "code": code}),
        ),
        Some(Fault::Hangs) => std::future::pending().await,
        Some(Fault::Lost) => {
            server.lock().unwrap().answer(&parts.method, parts.uri.path(), body);
            (500, json!("lost"))
        }
        None => server.lock().unwrap().answer(&parts.method, parts.uri.path(), body),
    };
    Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap()
}

/// The paths of what is not the same.
fn differences(one: &Documents, other: &Documents) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

/// What there is without any fault, and after how many requests.
async fn undisturbed() -> (Documents, usize) {
    let mut cluster = Cluster::new(Vec::new());
    assert!(cluster.settle().await < 10);
    let requests = cluster.api.lock().unwrap().requests;
    (cluster.objects(), requests)
}

#[tokio::test]
async fn without_faults_everything_is_there_after_a_few_rounds() {
    let (objects, _) = undisturbed().await;
    for path in [
        "/apis/apps/v1/namespaces/default/statefulsets/shop-mysql",
        "/apis/apps/v1/namespaces/default/deployments/shop-web",
        "/api/v1/namespaces/default/secrets/shop-mysql",
    ] {
        assert!(objects.contains_key(path), "{path}");
    }
    assert!(objects.keys().any(|path| path.contains("/jobs/shop-migrate-")));
}

#[tokio::test]
async fn in_a_namespace_that_is_being_deleted_one_try_is_enough() {
    let mut cluster = Cluster::new(Vec::new());
    cluster.api.lock().unwrap().ends = true;
    let context = cluster.context();
    let done = reconcile(Arc::new(cluster.stack()), context).await;
    assert!(done.is_ok(), "{done:?}");
    assert_eq!(cluster.api.lock().unwrap().writes, 1);
}

/// Each request is hit once.
#[rstest]
#[case(Fault::Status(409))]
#[case(Fault::Status(410))]
#[case(Fault::Status(429))]
#[case(Fault::Status(500))]
#[case(Fault::Lost)]
#[case(Fault::Hangs)]
#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_changes_nothing_in_the_end(#[case] fault: Fault) {
    let (expected, requests) = undisturbed().await;
    for position in 0..requests {
        let mut faults = vec![None; position];
        faults.push(Some(fault));
        let mut cluster = Cluster::new(faults);
        assert!(cluster.settle().await < 20, "{fault:?} at request {position}");
        let differ = differences(&cluster.objects(), &expected);
        assert!(differ.is_empty(), "{fault:?} at request {position}: {differ:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_sequence_of_faults_and_late_news_is_outlived(behind in prop::collection::vec(0..8usize, 0..30), faults in prop::collection::vec(prop::option::weighted(0.3, prop_oneof![
        Just(Fault::Status(409)), Just(Fault::Status(429)), Just(Fault::Status(500)), Just(Fault::Lost), Just(Fault::Hangs),
    ]), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut cluster = Cluster::new(faults);
            cluster.behind = behind.into();
            prop_assert!(cluster.settle().await < 200);
            let differ = differences(&cluster.objects(), &undisturbed().await.0);
            prop_assert!(differ.is_empty(), "{:?}", differ);
            Ok(())
        })?;
    }
}
