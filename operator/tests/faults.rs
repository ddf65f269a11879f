//! The API server's faults: whatever it answers in between, reconciling again ends where it would have ended without.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use fixture::stack;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::controller::build::Surroundings;
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
    objects: BTreeMap<String, Value>,
    /// What happens to the next requests, in their order.
    faults: VecDeque<Option<Fault>>,
    writes: usize,
}

impl Api {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
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
                if let Some(texts) = made["stringData"].take().as_object() {
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

/// A cluster with one stack in it, and the operator's view of it.
struct Cluster {
    api: Arc<Mutex<Api>>,
    context: Arc<Context>,
}

impl Cluster {
    fn new(faults: Vec<Option<Fault>>) -> Self {
        let stack = serde_json::to_value(stack(json!({"mysql": {}}))).unwrap();
        let objects = BTreeMap::from([(STACK.to_owned(), stack)]);
        let api = Arc::new(Mutex::new(Api { objects, faults: faults.into(), writes: 0 }));
        let server = Arc::clone(&api);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(serve(&server, request).await) }
        });
        let around = Surroundings { cluster_domain: "cluster.local".to_owned() };
        let context = Context::new(Client::new(service, "default"), around, None, Arc::new(Metrics::default()));
        Self { api, context: Arc::new(context) }
    }

    fn stack(&self) -> WebStack {
        serde_json::from_value(self.api.lock().unwrap().objects[STACK].clone()).unwrap()
    }

    /// Reconciles until there is nothing left to do; how often that took.
    async fn settle(&self) -> usize {
        for round in 1..200 {
            self.api.lock().unwrap().writes = 0;
            let done = reconcile(Arc::new(self.stack()), Arc::clone(&self.context)).await;
            let api = self.api.lock().unwrap();
            if done.is_ok() && api.writes == 0 && api.faults.is_empty() {
                return round;
            }
        }
        usize::MAX
    }

    /// What there is in the end, but for what is different every time.
    fn objects(&self) -> BTreeMap<String, Value> {
        let mut objects = self.api.lock().unwrap().objects.clone();
        objects.remove(STACK);
        objects
    }
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
fn differences(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

async fn undisturbed() -> BTreeMap<String, Value> {
    let cluster = Cluster::new(Vec::new());
    assert!(cluster.settle().await < 10);
    cluster.objects()
}

#[tokio::test]
async fn without_faults_everything_is_there_after_a_few_rounds() {
    let objects = undisturbed().await;
    for path in [
        "/apis/apps/v1/namespaces/default/statefulsets/shop-mysql",
        "/apis/apps/v1/namespaces/default/deployments/shop-web",
        "/api/v1/namespaces/default/secrets/shop-mysql",
    ] {
        assert!(objects.contains_key(path), "{path}");
    }
    assert!(objects.keys().any(|path| path.contains("/jobs/shop-migrate-")));
}

/// The first round makes some 35 requests, the second as many: each of them is hit once.
#[rstest]
#[case(Fault::Status(409))]
#[case(Fault::Status(410))]
#[case(Fault::Status(429))]
#[case(Fault::Status(500))]
#[case(Fault::Lost)]
#[case(Fault::Hangs)]
#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_changes_nothing_in_the_end(#[case] fault: Fault) {
    let expected = undisturbed().await;
    for position in 0..80 {
        let mut faults = vec![None; position];
        faults.push(Some(fault));
        let cluster = Cluster::new(faults);
        assert!(cluster.settle().await < 20, "{fault:?} at request {position}");
        let differ = differences(&cluster.objects(), &expected);
        assert!(differ.is_empty(), "{fault:?} at request {position}: {differ:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_sequence_of_faults_is_outlived(faults in prop::collection::vec(prop::option::weighted(0.3, prop_oneof![
        Just(Fault::Status(409)), Just(Fault::Status(429)), Just(Fault::Status(500)), Just(Fault::Lost), Just(Fault::Hangs),
    ]), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new(faults);
            prop_assert!(cluster.settle().await < 200);
            let differ = differences(&cluster.objects(), &undisturbed().await);
            prop_assert!(differ.is_empty(), "{:?}", differ);
            Ok(())
        })?;
    }
}
